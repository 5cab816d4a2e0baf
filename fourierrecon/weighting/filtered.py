"""Filters of finished volumes, low-pass and deconvolution, as part of the weighting.

A filter that depends on the spatial frequency alone is the same in the images, on the planes of the Fourier grid and on
the volume. So it costs next to nothing, and volumes of any size can be filtered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourierrecon.ctf import contrast_transfer
from fourierrecon.errors import UsageError
from fourierrecon.runtime.compiled import compiled
from fourierrecon.tilt_series import CtfParameters
from fourierrecon.weighting.base import TiltViews, Weighting
from fourierrecon.weighting.snr import SnrCurve

#: Width of the edge of the low-pass filter, as a part of its frequency, to either side.
EDGE = 0.1
#: Entries of the tables of filters, up to sqrt(3) times Nyquist's frequency.
ENTRIES = 4096
#: What is left of the CTF in a volume, by the mode of its correction.
LEFT: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "none": lambda ctf: ctf,
    "phase-flip": np.abs,
    "multiply": np.square,
    "wiener": np.ones_like,
    "first-peak": np.ones_like,
}


@dataclass(frozen=True)
class Deconvolution:
    """Warp's and IsoNet's deconvolution of a volume: ``t / (t² + 1/snr)``.

    ``snr = 10^(3 strength) exp(-100 falloff n / v) h``, with the frequency ``n`` in parts of Nyquist's, the voxel size
    ``v`` (Å) and the high-pass ``h = 1 - cos(pi min(1, n / highpass))``. There ``t`` is the CTF of an uncorrected
    volume; here it is what the correction has left of it: the CTF, its magnitude after a phase flip, its square after
    a multiplication, 1 after a division.

    Parameters
    ----------
    strength, falloff
        Signal-to-noise ratio at low frequency, and how fast it falls.
    highpass
        Part of Nyquist's frequency where the high-pass ends.
    """

    strength: float = 1.0
    falloff: float = 1.0
    highpass: float = 0.02

    def __post_init__(self) -> None:
        if not (
            np.isfinite([self.strength, self.falloff]).all() and abs(self.strength) <= 3 and 0 <= self.falloff <= 10
        ):
            raise UsageError(
                f"deconvolve_strength={self.strength:g} must be -3 to 3, deconvolve_falloff={self.falloff:g} 0 to 10"
            )

    def factors(self, frequency: ArrayLike, left: ArrayLike, voxel_size: float) -> NDArray[np.float64]:
        """Give the factors at some frequencies.

        Parameters
        ----------
        frequency
            1/Å.
        left
            What is left of the CTF there.
        voxel_size
            Å.
        """
        t = np.asarray(left, float)
        of_nyquist = 2 * voxel_size * np.asarray(frequency, float)
        high = 1 - np.cos(np.pi * np.minimum(1, of_nyquist / self.highpass))
        snr = 10 ** (3 * self.strength) * np.exp(-100 * self.falloff / voxel_size * of_nyquist) * high
        return np.asarray(snr * t / (snr * t * t + 1))


@dataclass(frozen=True)
class RadialFilter:
    """Filter of a volume by spatial frequency alone.

    Parameters
    ----------
    voxel_size
        Å.
    lowpass
        Å: half is left at this resolution, nothing at 10 % finer; None: all passes.
    deconvolution
        None: none.
    ctf_mode
        What was done about the CTF, a name of :data:`fourierrecon.transfer.CTF_MODES`.
    defocus, phase_shift, optics
        Mean of the least tilted image, Å and degrees; voltage (kV), spherical aberration (mm), amplitude contrast.
    """

    voxel_size: float
    lowpass: float | None = None
    deconvolution: Deconvolution | None = None
    ctf_mode: str = "none"
    defocus: float = 0.0
    phase_shift: float = 0.0
    optics: tuple[float, float, float] = (300.0, 2.7, 0.07)

    def __post_init__(self) -> None:
        if self.lowpass is not None and not (np.isfinite(self.lowpass) and self.lowpass > 0):
            raise UsageError(f"lowpass={self.lowpass:g} must be above 0 (Å)")

    def __bool__(self) -> bool:
        return self.lowpass is not None or self.deconvolution is not None

    def __call__(self, frequency: ArrayLike) -> NDArray[np.float64]:
        """Give the factors at some frequencies, 1/Å."""
        q = np.asarray(frequency, float)
        factors = np.ones_like(q)
        if self.lowpass is not None:
            ramp = np.clip((q * self.lowpass - 1) / (2 * EDGE) + 0.5, 0, 1)
            factors *= 0.5 * (1 + np.cos(np.pi * ramp))
        if self.deconvolution is not None:
            voltage, aberration, contrast = self.optics
            ctf = CtfParameters.of(
                1, voltage=voltage, spherical_aberration=aberration, amplitude_contrast=contrast,
                defocus_u=self.defocus, phase_shift=self.phase_shift,
            )  # fmt: skip
            left = LEFT[self.ctf_mode](contrast_transfer(ctf, 0, q, 0.0))
            factors *= self.deconvolution.factors(q, left, self.voxel_size)
        return factors

    @cached_property
    def table(self) -> NDArray[np.float32]:
        """Factors at evenly spaced frequencies from 0 to sqrt(3) times Nyquist's."""
        return np.asarray(self(np.linspace(0, self.last, ENTRIES)), np.float32)

    @property
    def last(self) -> float:
        """Highest frequency of the table, 1/Å."""
        return float(np.sqrt(3) / 2 / self.voxel_size)

    @property
    def words(self) -> str:
        """One line on what it does."""
        parts = [] if self.lowpass is None else [f"low-pass {self.lowpass:g} Å"]
        if self.deconvolution is not None:
            d = self.deconvolution
            parts.append(f"deconvolved (strength {d.strength:g}, falloff {d.falloff:g})")
        return ", ".join(parts)


@dataclass(frozen=True)
class Filtered(Weighting):
    """A weighting whose volume is filtered: in 3D where it divides there, else in the images.

    Parameters
    ----------
    inner
        The weighting.
    by
        The filter.

    Raises
    ------
    UsageError
        If the weighting iterates.
    """

    name: ClassVar[str] = "filtered"

    inner: Weighting
    by: RadialFilter

    def __post_init__(self) -> None:
        if self.inner.iterative:
            asked = "deconvolve=..." if self.by.lowpass is None else "lowpass=..."
            raise UsageError(
                f"{asked} acts on the Fourier grid, and {self.inner.name} iterates on the volume; leave it out, or "
                f"choose a weighting that does not iterate (wiener)"
            )

    @property
    def divides_by_count(self) -> bool:  # type: ignore[override]
        """As the inner weighting."""
        return self.inner.divides_by_count

    @property
    def uses_weights(self) -> bool:  # type: ignore[override]
        """As the inner weighting."""
        return self.inner.uses_weights

    @property
    def corrects_near_axis(self) -> bool:  # type: ignore[override]
        """As the inner weighting."""
        return self.inner.corrects_near_axis

    @property
    def has_filter(self) -> bool:
        """Whether images are filtered."""
        return self.inner.has_filter or not self.uses_weights

    @property
    def linear(self) -> bool:
        """As the inner weighting."""
        return self.inner.linear

    @property
    def words(self) -> str:
        """One line on what the weighting does, for screens and headers."""
        return f"{self.inner.words}, {self.by.words}"

    @property
    def uses_frequency(self) -> bool:
        """The filter needs the frequency."""
        return self.uses_weights

    @property
    def measures(self) -> bool:
        """As the inner weighting."""
        return self.inner.measures

    @property
    def divides(self) -> bool:
        """As the inner weighting."""
        return self.inner.divides

    def resolved(self, measure: Callable[[], SnrCurve]) -> Weighting:
        """Give the filtered weighting with an SNR that is known; see :class:`Weighting`."""
        return replace(self, inner=self.inner.resolved(measure))

    def image_filter(
        self, tilt: int, frequency_x: NDArray[np.float32], frequency_y: NDArray[np.float32], views: TiltViews
    ) -> NDArray[np.float32]:
        """Give the factors of an image: those of the inner weighting, times the filter unless that acts in 3D."""
        factors = self.inner.image_filter(tilt, frequency_x, frequency_y, views)
        if self.uses_weights:
            return factors
        frequency = np.hypot(frequency_x, frequency_y) / np.float32(views.voxel_size)
        return np.asarray(
            factors * np.interp(frequency, np.linspace(0, self.by.last, ENTRIES), self.by.table), np.float32
        )

    def normalise(
        self, data: NDArray[np.complex64], weights: NDArray[np.float32], frequency: NDArray[np.float32] | None = None
    ) -> None:
        """Normalise as the inner weighting, and filter ``(rows, columns)``, in place."""
        if self.inner.uses_frequency:
            self.inner.normalise(data, weights, frequency)
        else:
            self.inner.normalise(data, weights)
        if frequency is None:
            raise UsageError("a filtered weighting needs the spatial frequency of each point")
        _filter(data, frequency, self.by.table, np.float32((ENTRIES - 1) / self.by.last))


@compiled()
def _filter(data: Any, frequency: Any, table: Any, per_frequency: Any) -> None:
    last, half = np.float32(table.shape[0] - 1), np.float32(0.5)
    for row in range(data.shape[0]):
        for column in range(data.shape[1]):
            data[row, column] *= table[np.int32(min(frequency[row, column] * per_frequency + half, last))]
