"""What a weighting strategy is, and the registry of those that the command line knows by name.

A strategy is a small immutable record of its parameters with two hooks, both optional: a 2D filter for each image
before it is inserted, and a pointwise normalisation of the gridded planes after. Third parties register theirs with
:func:`register`, or by the entry-point group ``fourierrecon.weighting`` of their package.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from typing import ClassVar, Protocol, TypeVar, get_type_hints, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import UsageError
from fourierrecon.tilt_series import CtfParameters
from fourierrecon.transfer import Transfer


@dataclass(frozen=True, eq=False)
class Views:
    """How all images of a tilt series look at the specimen; what a 2D filter may depend on.

    Parameters
    ----------
    matrices
        ``(n_tilts, 2, 3)``: rows are the image's x and y, columns the volume's x, y, z. Frequency ``q`` of an image
        (x, y) is the point ``k = q @ matrices[f]`` of the 3D Fourier space; both in cycles per voxel.
    depth
        Of the region, voxels.
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
        """Its tables; see :meth:`fourierrecon.transfer.Transfer.envelopes`."""
        return self.transfers.envelopes(self.voxel_size)


@runtime_checkable
class Weighting(Protocol):
    """A weighting strategy. Subclass it and override what differs from plain back-projection.

    Attributes
    ----------
    name
        In the registry.
    divides_by_count
        The volume is the mean over the images that see a voxel, not their sum.
    uses_weights
        :meth:`normalise` is called on planes of data and of weights, both inserted with the same kernel and scaled so
        that one fully sampled slice alone has weight CTF² (to 1.2 CTF²) on its own plane and next to it: there data
        over weights are its back-projection. Otherwise the images' samples are inserted as an exact back-projection.
    linear
        The volume is linear in the images.
    """

    name: ClassVar[str]
    divides_by_count: ClassVar[bool] = False
    uses_weights: ClassVar[bool] = False
    linear: ClassVar[bool] = True

    def image_filter(
        self, tilt: int, frequency_x: NDArray[np.float32], frequency_y: NDArray[np.float32], views: Views
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
    def divides(self) -> bool:
        """Whether the strategy divides by anything, so that CTF² may be in it."""
        return self.uses_weights or self.has_filter

    def normalise(self, data: NDArray[np.complex64], weights: NDArray[np.float32]) -> None:
        """Normalise a block of gridded data in place.

        Parameters
        ----------
        data
            ``(rows, columns)``: sum over images of CTF times spectrum.
        weights
            ``(rows, columns)``: sum over images of CTF²; see :func:`fourierrecon.insertion.compensate`.
        """
        return


S = TypeVar("S", bound=type)
_REGISTRY: dict[str, type[Weighting]] = {}


def register(strategy: S) -> S:
    """Class decorator: make a strategy known by its ``name``."""
    _REGISTRY[strategy.name] = strategy  # type: ignore[attr-defined]
    return strategy


def _known() -> dict[str, type[Weighting]]:
    known = dict(_REGISTRY)
    for point in entry_points(group="fourierrecon.weighting"):
        if point.name not in known:
            known[point.name] = point.load()
    return known


def available() -> list[str]:
    """Names of all registered strategies, sorted."""
    return sorted(_known())


def from_text(text: str, **defaults: float) -> Weighting:
    """Build a strategy from ``NAME[:key=value,...]``, for example ``wiener:snr=5``.

    Parameters
    ----------
    text
        Name, and parameters that are numbers, true or false.
    **defaults
        For parameters that the text does not name; those that the strategy does not have are left out.

    Raises
    ------
    UsageError
        If the strategy or a parameter is unknown (the message lists the known ones), or a value makes no sense.
    """
    name, _, rest = text.strip().partition(":")
    known = _known()
    if name.strip() not in known:
        raise UsageError(f"unknown weighting {name.strip()!r}; available: {', '.join(sorted(known))}")
    strategy = known[name.strip()]
    fields: set[str] = set()
    if dataclasses.is_dataclass(strategy):
        fields = {f.name for f in dataclasses.fields(strategy) if f.init}
    kinds = get_type_hints(strategy)
    values: dict[str, float | bool | None] = {k: v for k, v in defaults.items() if k in fields}
    for item in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or key not in fields:
            options = ", ".join(sorted(fields)) or "none"
            raise UsageError(f"weighting {name} has no parameter {key!r}; its parameters: {options} (as key=value)")
        try:
            values[key] = _truth(value) if kinds.get(key) is bool else float(value)
        except ValueError:
            kind = "truth value" if kinds.get(key) is bool else "number"
            raise UsageError(f"weighting {name}: {key}={value!r} is not a {kind}") from None
    return strategy(**values)


def _truth(value: str) -> bool:
    if value.lower() in ("true", "yes", "1"):
        return True
    if value.lower() in ("false", "no", "0"):
        return False
    raise ValueError(value)


def check_snr(snr: float) -> None:
    """Raise :class:`UsageError` unless the signal-to-noise ratio is positive; infinity is allowed."""
    if not snr > 0:
        raise UsageError(f"SNR {snr:g} must be above 0 (10 is the default; larger trusts the data more)")
