"""Signal-to-noise ratios: a number, a curve over spatial frequency, or one that is still to be measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourierrecon.errors import UsageError, check_type

#: Step of tables over spatial frequency, and their end, 1/Å: so fine that the nearest entry does.
STEP, END = 2e-5, 1.0
#: No ratio is taken as less, so that its inverse stays a sensible number.
LEAST = 1e-6


@dataclass(frozen=True, repr=False)
class SnrCurve:
    """Ratio of the power of signal to that of noise in one image, where its transfer function is 1.

    Parameters
    ----------
    frequency
        Spatial frequencies, 1/Å, ascending and above 0.
    snr
        Ratios there, above 0. Between them it runs straight in logarithms of both; below the first it is constant, and
        beyond the last it goes on as it ended.
    origin
        One line on where the curve comes from.

    Raises
    ------
    UsageError
        If these are no such numbers.
    """

    frequency: tuple[float, ...]
    snr: tuple[float, ...]
    origin: str = "given"

    def __post_init__(self) -> None:
        q, snr = np.asarray(self.frequency, float), np.asarray(self.snr, float)
        sound = q.ndim == 1 and q.shape == snr.shape and len(q) > 0 and np.isfinite([q, snr]).all()
        if not (sound and (q > 0).all() and (np.diff(q) > 0).all() and (snr > 0).all()):
            raise UsageError(
                "an SNR curve needs as many ratios as frequencies (1/Å), one at least; both above 0 and finite, "
                "frequencies ascending"
            )

    def __repr__(self) -> str:
        return f"SnrCurve({self.words})"

    def at(self, frequency: ArrayLike) -> NDArray[np.float64]:
        """Give the ratio at spatial frequencies, 1/Å."""
        q, snr = np.log(self.frequency), np.log(self.snr)
        wanted = np.log(np.maximum(np.asarray(frequency, float), self.frequency[0]))
        values = np.interp(wanted, q, snr)
        if len(q) > 1:
            slope = (snr[-1] - snr[-2]) / (q[-1] - q[-2])
            values = np.where(wanted > q[-1], snr[-1] + slope * (wanted - q[-1]), values)
        return np.asarray(np.maximum(np.exp(values), LEAST))

    def times(self, factor: float) -> SnrCurve:
        """Give the curve times a number."""
        if factor == 1:
            return self
        return replace(self, snr=tuple(factor * v for v in self.snr), origin=f"{factor:g} times {self.origin}")

    @cached_property
    def noise(self) -> NDArray[np.float32]:
        """Inverse of the ratio at ``i STEP``, for compiled loops."""
        return np.asarray(1 / self.at(STEP * np.arange(int(END / STEP) + 2)), np.float32)

    @property
    def words(self) -> str:
        """Where it comes from, and its ratios at some periods."""
        periods = [period for period in (600, 200, 100, 50, 30, 20) if period >= 1 / self.frequency[-1]] or [20]
        return f"{self.origin}: " + ", ".join(f"{float(self.at(1 / p)):.3g} at {p} Å" for p in periods)


#: The curve that is assumed where nothing can be measured.
STATED = SnrCurve(
    tuple(float(q) for q in np.arange(1, 201) / 400),
    tuple(float(v) for v in np.maximum(1000 * np.exp(-200 * np.arange(1, 201) / 400), LEAST)),
    "assumed, 1000 exp(-200 q), q in 1/A, since nothing could be measured",
)


@dataclass(frozen=True)
class Auto:
    """A curve that is still to be measured from the tilt series, times a factor.

    Parameters
    ----------
    factor
        More trusts the data more.
    """

    factor: float = 1.0

    def __post_init__(self) -> None:
        if not (self.factor > 0 and np.isfinite(self.factor)):
            raise UsageError(f"SNR auto:{self.factor:g}: the factor must be above 0 and finite")

    def __repr__(self) -> str:
        return "auto" if self.factor == 1 else f"auto:{self.factor:g}"


#: As measured: the default.
AUTO = Auto()
#: What a weighting may be given.
Snr = float | Auto | SnrCurve


def read_snr(value: float | str | Auto | SnrCurve) -> Snr:
    """Give the ratio that a number or text stands for: ``10``, ``inf``, ``auto``, ``auto:3``.

    Raises
    ------
    UsageError
        If it is none.
    """
    if isinstance(value, (Auto, SnrCurve)):
        return value
    if isinstance(value, str):
        name, colon, rest = value.strip().partition(":")
        try:
            if name.lower() != "auto":
                value = float(value)
            else:
                return Auto(float(rest)) if colon else Auto()
        except ValueError:
            raise UsageError(f"SNR {value!r} is no number; give one above 0, auto, or auto:3 (3 times that)") from None
    check_type("snr", value, (Real,), "a number above 0, auto, or an SnrCurve")
    if not value > 0:
        raise UsageError(f"SNR {value:g} must be above 0, or auto (the default); larger trusts the data more")
    return float(value)


def snr_words(snr: Snr) -> str:
    """Give one line on a ratio, for screens and headers."""
    if isinstance(snr, SnrCurve):
        return f"SNR {snr.words}"
    if isinstance(snr, Auto):
        return "SNR measured" if snr.factor == 1 else f"{snr.factor:g} times the SNR measured"
    return f"SNR {snr:g}"


@dataclass(frozen=True)
class WithSnr:
    """What weightings with a signal-to-noise ratio share: derive from this class, then from ``Weighting``.

    Parameters
    ----------
    snr
        A number, infinity, a curve, or ``"auto"``, ``"auto:3"``: measured from the tilt series, times 3.
    """

    snr: Snr = AUTO

    def __post_init__(self) -> None:
        object.__setattr__(self, "snr", read_snr(self.snr))

    @property
    def linear(self) -> bool:
        """Whether the volume is linear in the images: not where they give the SNR."""
        return not self.measures

    @property
    def measures(self) -> bool:
        """Whether the SNR is still to be measured."""
        return isinstance(self.snr, Auto)

    def resolved(self, measure: Callable[[], SnrCurve]) -> Self:
        """Give the weighting with an SNR that is known; see :class:`~fourierrecon.weighting.base.Weighting`."""
        return replace(self, snr=measure().times(self.snr.factor)) if isinstance(self.snr, Auto) else self

    @property
    def known_snr(self) -> float | SnrCurve:
        """The SNR; where it is not measured yet, the assumed curve :data:`STATED`."""
        return STATED.times(self.snr.factor) if isinstance(self.snr, Auto) else self.snr
