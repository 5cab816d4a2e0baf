"""A filter that gives what some steps of an iterative reconstruction (SIRT) give, without iterating."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import UsageError
from fourierrecon.text import counted
from fourierrecon.weighting.base import TiltViews, Weighting, register
from fourierrecon.weighting.fan import Fan, WithRollOff
from fourierrecon.weighting.slab import WithThickness


@register
@dataclass(frozen=True)
class SirtLike(WithRollOff, WithThickness, Weighting):
    """Multiply each image by ``ramp (1 - (1 - a)^N) / T²`` with ``a = T² least / ramp``.

    ``N`` steps ``V += A* (Y - A V)`` from an empty volume multiply a part of it that the images see with strength ``a``
    by ``1 - (1 - a)^N`` (Landweber; as a filter of back-projection: Zeng 2012, ``1 - (1 - a0 / |d|)^N``). The strength
    is one over the ramp of :class:`~fourierrecon.weighting.Ramp`, ``T²`` included, and 1 where all slices are one, at
    the ``least`` of the ramp. ``N = 1`` is plain back-projection, and with many steps the ramp is reached: few keep
    contrast at low resolution and hold fine detail and noise back.

    Parameters
    ----------
    n_iterations
        Steps, 1 or more; 10 to 30 are usual.
    cutoff, sigma, hamming, end
        Fall towards high frequencies, cycles per voxel; see :class:`~fourierrecon.weighting.fan.RollOff`. By default
        there is none.
    thickness
        Thickness of the specimen, Å; default: the depth of the region. The strength goes with it.
    """

    name: ClassVar[str] = "sirtlike"

    n_iterations: float = 10
    cutoff: float = 0.5
    sigma: float = 0.0
    hamming: float | None = None
    end: float = 0.06
    thickness: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.n_iterations <= 1e6:
            raise UsageError(f"n_iterations={self.n_iterations:g}: a SIRT-like filter takes 1 to 1000000 steps")
        self.roll_off  # noqa: B018 (it is checked as it is made)
        self.check_thickness()

    @property
    def words(self) -> str:
        """One line on what the weighting does, for screens and headers."""
        return f"SIRT-like filter, {counted(self.n_iterations, 'iteration')}{self.roll_off.words}"

    def image_filter(
        self, tilt: int, frequency_x: NDArray[np.float32], frequency_y: NDArray[np.float32], views: TiltViews
    ) -> NDArray[np.float32]:
        """Give the factors for one image; see :class:`Weighting`."""
        fan = Fan.of(views)
        thickness = self.thickness_in(views)
        least, step = fan.least(tilt, thickness), fan.steps[tilt]
        factors = np.empty((frequency_y.size, frequency_x.size), np.float32)
        for rows, distance, _, power in fan.rows(tilt, frequency_x, frequency_y):
            strength = np.clip(power * least / np.maximum(step * distance, least), 1e-30, 1 - 1e-12)
            gained = -np.expm1(self.n_iterations * np.log1p(-strength))
            factors[rows] = least * gained / strength * self.roll_off.at(distance)
        return factors
