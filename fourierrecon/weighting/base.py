"""What a weighting is, and the registry of weightings by name.

A weighting is a small immutable record of its parameters with two hooks, both optional: a 2D filter for each image
before it is inserted, and a pointwise normalisation of the gridded planes after. Third parties register their own with
:func:`register`, or by the entry-point group ``fourierrecon.weighting`` of their package.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from inspect import signature
from typing import ClassVar, Protocol, TypeVar, get_args, get_type_hints, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import UsageError, check_type
from fourierrecon.tilt_series import CtfParameters
from fourierrecon.transfer import Transfer
from fourierrecon.weighting.snr import Auto, Snr, SnrCurve, read_snr


@dataclass(frozen=True, eq=False)
class TiltViews:
    """How all images of a tilt series look at the specimen; what a 2D filter may depend on.

    Parameters
    ----------
    matrices
        ``(n_tilts, 2, 3)``: rows are the image's x and y, columns the volume's x, y, z. Frequency ``q`` of an image
        (x, y) is the point ``k = q @ matrices[f]`` of the 3D Fourier space; both in cycles per voxel.
    depth
        Depth of the region, voxels.
    voxel_size
        Å.
    ctf
        Parameters of the CTF that the images are multiplied with, or None where it is off.
    transfer
        All that the images are multiplied with; None: the CTF alone.
    """

    matrices: NDArray[np.float64]
    depth: float
    voxel_size: float
    ctf: CtfParameters | None = None
    transfer: Transfer | None = None

    @cached_property
    def transfers(self) -> Transfer:
        """All that the images are multiplied with."""
        return self.transfer or Transfer.plain(len(self.matrices), self.ctf)

    @cached_property
    def envelopes(self) -> NDArray[np.float32]:
        """Tables of what damps the images; see :meth:`fourierrecon.transfer.Transfer.envelopes`."""
        return self.transfers.envelopes(self.voxel_size)

    @cached_property
    def likeness(self) -> NDArray[np.float32]:
        """Tables of how alike the CTF is at all depths; see :meth:`fourierrecon.transfer.Transfer.likeness_tables`."""
        return self.transfers.likeness_tables(self.voxel_size)


@runtime_checkable
class Weighting(Protocol):
    """A weighting. Subclass it and override what differs from plain back-projection.

    Attributes
    ----------
    name
        Name in the registry.
    divides_by_count
        The volume is the mean over the images that see a voxel, not their sum.
    uses_weights
        :meth:`normalise` is called on planes of data and of weights, both inserted with the same kernel and scaled so
        that one fully sampled slice alone has weight CTF² on its own plane and next to it: there data
        over weights are its back-projection. Otherwise the images' samples are inserted as an exact back-projection.
        The formula of the weights: :mod:`fourierrecon.engine.grid_weights`.
    corrects_near_axis
        Only with ``uses_weights``. Near the tilt axis, where slices crowd, the samples are corrected before they are
        inserted, so that data over weights project back to the images there. This assumes that :meth:`normalise`
        divides by the weights, nearly. False refuses it: then the data are the images' samples, unchanged.
    iterative
        An iteration makes the volume (:class:`~fourierrecon.weighting.Iterative`); neither hook is called.
    """

    name: ClassVar[str]
    divides_by_count: ClassVar[bool] = False
    uses_weights: ClassVar[bool] = False
    corrects_near_axis: ClassVar[bool] = True
    iterative: ClassVar[bool] = False
    #: The parameter that a value without a name stands for: ``sirt:30``.
    first: ClassVar[str | None] = None

    def image_filter(
        self, tilt: int, frequency_x: NDArray[np.float32], frequency_y: NDArray[np.float32], views: TiltViews
    ) -> NDArray[np.float32]:
        """Give the real factors that image ``tilt``, already multiplied with its CTF, is filtered with.

        Parameters
        ----------
        tilt
            0-based number of the image.
        frequency_x, frequency_y
            Cycles per voxel, ``(1, n)`` and ``(m, 1)``.
        views
            Geometry and CTF of all images.
        """
        return np.ones((1, 1), np.float32)

    @property
    def has_filter(self) -> bool:
        """Whether :meth:`image_filter` does anything; without, the images need not be filtered in 2D at all."""
        return type(self).image_filter is not Weighting.image_filter

    @property
    def linear(self) -> bool:
        """Whether the volume is linear in the images."""
        return True

    @property
    def words(self) -> str:
        """One line on what the weighting does, for screens and headers."""
        return self.name

    @property
    def uses_frequency(self) -> bool:
        """Whether :meth:`normalise` takes the spatial frequency."""
        return "frequency" in signature(self.normalise).parameters

    @property
    def measures(self) -> bool:
        """Whether the weighting leaves anything to be measured from the tilt series."""
        return False

    def resolved(self, measure: Callable[[], SnrCurve]) -> Weighting:
        """Give the weighting with all that it leaves open measured from a tilt series.

        Parameters
        ----------
        measure
            Gives the signal-to-noise ratio of the series.
        """
        return self

    @property
    def divides(self) -> bool:
        """Whether the weighting divides by anything, so that CTF² may be in the divisor."""
        return self.uses_weights or self.has_filter

    def normalise(
        self, data: NDArray[np.complex64], weights: NDArray[np.float32], frequency: NDArray[np.float32] | None = None
    ) -> None:
        """Normalise a block of gridded data in place.

        Parameters
        ----------
        data
            ``(rows, columns)``: sum over images of T times spectrum.
        weights
            ``(rows, columns)``: sum over images of T², the square of all that they were multiplied with, or its mean
            over the depths of the specimen; see
            :func:`fourierrecon.engine.grid_weights.separate`.
        frequency
            ``(rows, columns)``: spatial frequency, 1/Å. Weightings that do not use it may leave the parameter out.
        """
        return


#: Weighting that is used where none is asked for.
DEFAULT = "wiener"

S = TypeVar("S", bound=type)
_REGISTRY: dict[str, type[Weighting]] = {}


def register(weighting: S) -> S:
    """Class decorator: register a weighting by its ``name``."""
    _REGISTRY[weighting.name] = weighting  # type: ignore[attr-defined]
    return weighting


def _known() -> dict[str, type[Weighting]]:
    known = dict(_REGISTRY)
    for point in entry_points(group="fourierrecon.weighting"):
        if point.name not in known:
            known[point.name] = point.load()
    return known


def available() -> list[str]:
    """Give the names of all registered weightings, sorted."""
    return sorted(_known())


def from_text(text: str, **defaults: Snr) -> Weighting:
    """Build a weighting from ``NAME[:key=value,...]``, for example ``wiener:snr=5`` or ``sirt:30``.

    Parameters
    ----------
    text
        Name, and parameters that are numbers, true or false, or ``auto`` for a signal-to-noise ratio.
    **defaults
        Values of parameters that the text does not name; parameters that the weighting lacks are left out.

    Raises
    ------
    UsageError
        If the weighting or a parameter is unknown (the message lists what there is), or a value makes no sense.
    """
    name, colon, rest = text.strip().partition(":")
    known = _known()
    if name.strip() not in known:
        raise UsageError(f"unknown weighting {name.strip()!r}; available: {', '.join(sorted(known))}")
    chosen = known[name.strip()]
    fields: set[str] = set()
    if dataclasses.is_dataclass(chosen):
        fields = {f.name for f in dataclasses.fields(chosen) if f.init}
    kinds = get_type_hints(chosen)
    values: dict[str, Snr | bool | None] = {k: v for k, v in defaults.items() if k in fields}
    given: set[str] = set()
    for item in (part.strip() for part in rest.split(",") if colon):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals and chosen.first is not None and _is_number(key):
            key, equals, value = chosen.first, "=", key
        if not equals or key not in fields:
            options = ", ".join(sorted(fields)) or "none"
            raise UsageError(f"weighting {name} has no parameter {key!r}; its parameters: {options} (as key=value)")
        if key in given:
            raise UsageError(f"weighting {text.strip()}: {key} is given twice; give one of them")
        given.add(key)
        try:
            values[key] = _value(value, kinds.get(key))
        except ValueError:
            kind = "truth value" if kinds.get(key) is bool else "number"
            raise UsageError(f"weighting {name}:{key}={value}: the value is not a {kind}") from None
    return chosen(**values)


def read_weighting(weighting: Weighting | str | None) -> Weighting:
    """Give the weighting that a text stands for (see :func:`from_text`); by default :data:`DEFAULT`.

    Raises
    ------
    UsageError
        As :func:`from_text`.
    """
    if weighting is None:
        weighting = DEFAULT
    if isinstance(weighting, str):
        return from_text(weighting)
    check_type("weighting", weighting, (Weighting,), f'a weighting or its name, as "{DEFAULT}:snr=10"')
    return weighting


def _value(text: str, kind: object) -> Snr | bool:
    if kind is bool:
        return _truth(text)
    if text.lower().startswith("auto") and Auto in get_args(kind):
        return read_snr(text)
    return float(text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _truth(value: str) -> bool:
    if value.lower() in ("true", "yes", "1"):
        return True
    if value.lower() in ("false", "no", "0"):
        return False
    raise ValueError(value)
