"""Iterative reconstructions, named and parametrised like weightings; :mod:`fourierrecon.operators` carries them out.

All fit the projections of a volume to the images: ``S (A v - y)`` is to be small, with the projector ``A`` (transfer
functions included), the images ``y``, and ``S``, which counts a pixel by the part of its beam that lies in the region
and leaves the grey level of each image free. They differ in what else they ask of the volume ``v``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from fourierrecon.errors import UsageError
from fourierrecon.text import counted
from fourierrecon.weighting.base import Weighting, register
from fourierrecon.weighting.snr import AUTO, Auto, Snr, SnrCurve, read_snr, snr_words

#: Largest number of iterations: more is a mistake.
MOST = 1000


@dataclass(frozen=True)
class Iterative(Weighting):
    """What iterative reconstructions have in common.

    Attributes
    ----------
    volumes
        Volumes that are in memory at once, beside those that a projection takes.
    """

    iterative: ClassVar[bool] = True
    first: ClassVar[str | None] = "iterations"
    volumes: ClassVar[int] = 2

    iterations: float = 20

    #: Voxels are nowhere above 0: dense is dark.
    positive: bool = False
    #: Thickness of the specimen about the middle of the region, Å; None: the whole depth.
    slab: float | None = None

    def __post_init__(self) -> None:
        if not (1 <= self.iterations <= MOST and self.iterations == int(self.iterations)):
            raise UsageError(f"{self.name}: iterations={self.iterations:g}; choose a whole number from 1 to {MOST}")
        if self.slab is not None and not self.slab > 0:
            raise UsageError(f"{self.name}: slab={self.slab:g} must be above 0 (Å)")

    @property
    def linear(self) -> bool:
        """Whether the volume is linear in the images: not in general."""
        return False

    @property
    def divides(self) -> bool:
        """Whether anything is divided by: CTF² is, since projections hold the CTF."""
        return True

    @property
    def limits(self) -> str:
        """The constraints, in words."""
        slab = "" if self.slab is None else f", slab of {self.slab:g} Å"
        return f"{slab}{', nothing above 0' if self.positive else ''}"

    @property
    def warm(self) -> bool:
        """Whether the iteration begins with the Wiener volume."""
        return False


@dataclass(frozen=True)
class _Measured(Iterative):
    """With a signal-to-noise ratio, which may be measured."""

    snr: Snr = AUTO

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "snr", read_snr(self.snr))

    @property
    def measures(self) -> bool:
        """Whether the SNR is still to be measured."""
        return isinstance(self.snr, Auto)

    def resolved(self, measure: Callable[[], SnrCurve]) -> Weighting:
        """Give the same with an SNR that is known; see :class:`Weighting`."""
        return replace(self, snr=measure().times(self.snr.factor)) if isinstance(self.snr, Auto) else self

    @property
    def warm(self) -> bool:
        """Whether the iteration begins with the Wiener volume."""
        return True


@register
@dataclass(frozen=True)
class Cg(_Measured):
    """Least squares by conjugate gradients (Hestenes & Stiefel 1952): ``|S (A v - y)|² + D/SNR |v|²``, Tikhonov's.

    With an SNR by frequency, residuals count by it, so that the sum is the most probable volume for that SNR. The
    iteration begins with the Wiener volume and ends after some steps, or earlier, as soon as the residual is as small
    as the noise that the SNR leaves in the images (the discrepancy principle; Morozov 1966): fitting further would fit
    noise. ``D`` is the depth of the region, voxels. Gradients are filtered with the density of samples in Fourier space
    (:mod:`fourierrecon.operators.preconditioner`).

    Parameters
    ----------
    iterations
        Steps at the most; 5 to 30 are usual.
    positive
        Voxels are nowhere above 0 (dense is dark): every step is cut there, and begins anew.
    slab
        Thickness of the specimen about the middle of the region, Å; beyond it voxels are 0. Default: the whole depth.
    snr
        Signal-to-noise ratio, as for :class:`~fourierrecon.weighting.Wiener`; infinity: no regularisation.
    stop
        End where the residual is the noise.
    start
        Begin with the Wiener volume, not with an empty one.
    """

    name: ClassVar[str] = "cg"
    volumes: ClassVar[int] = 3

    stop: bool = True
    start: bool = True

    @property
    def warm(self) -> bool:
        """Whether the iteration begins with the Wiener volume."""
        return self.start

    @property
    def words(self) -> str:
        """One line on what the weighting does, for screens and headers."""
        return f"conjugate gradients, {counted(self.iterations, 'iteration')}{self.limits}, {snr_words(self.snr)}"


@register
@dataclass(frozen=True)
class Sirt(Iterative):
    """SIRT (Gilbert 1972): ``v += (1/n) sum A_f* (y_f - A_f v) / L_f`` from an empty volume, ``n`` images.

    ``L_f`` is the number of voxels that a beam of image ``f`` crosses.

    Parameters
    ----------
    iterations
        Steps: few keep coarse contrast and hold fine detail and noise back.
    positive, slab
        As for :class:`Cg`.
    """

    name: ClassVar[str] = "sirt"
    volumes: ClassVar[int] = 1

    @property
    def words(self) -> str:
        """One line on what the weighting does, for screens and headers."""
        return f"SIRT, {counted(self.iterations, 'iteration')}{self.limits}"


@register
@dataclass(frozen=True)
class Tv(_Measured):
    """Least squares with little total variation: ``|S (A v - y)|² / 2 + strength sigma sum |grad v|``.

    Steps of SIRT, accelerated (Nesterov 1983), with the gradient of the variation, which is smooth below ``sigma/2``.
    ``sigma`` is the standard deviation of the Wiener volume, which the iteration begins with.

    Parameters
    ----------
    strength
        How much variation costs: 0.01 to 0.1. More is smoother.
    iterations
        Steps.
    positive, slab
        As for :class:`Cg`.
    snr
        Signal-to-noise ratio of the Wiener volume.
    """

    name: ClassVar[str] = "tv"
    first: ClassVar[str | None] = "strength"
    volumes: ClassVar[int] = 3

    iterations: float = 30
    strength: float = 0.03

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.strength <= 10:
            raise UsageError(f"tv: strength={self.strength:g}; choose 0 to 10, for example 0.03")

    @property
    def words(self) -> str:
        """One line on what the weighting does, for screens and headers."""
        return f"total variation, strength {self.strength:g}, {counted(self.iterations, 'iteration')}{self.limits}"
