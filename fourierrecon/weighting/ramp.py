"""Weighted back-projection: every image is filtered by the distance from the tilt axis, times its own tilt step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fourierrecon.weighting.base import TiltViews, Weighting, register
from fourierrecon.weighting.fan import Fan, WithRollOff
from fourierrecon.weighting.slab import WithThickness
from fourierrecon.weighting.snr import WithSnr, snr_words


@register
@dataclass(frozen=True)
class Ramp(WithRollOff, WithThickness, WithSnr, Weighting):
    """Multiply each image by ``ramp = step d``, where ``d`` is the distance from the tilt axis in Fourier space.

    Slices about one axis lie ``step d`` apart there, so this is one over their density: the filter of back-projection
    (Radermacher 1992; ``RADIAL`` of IMOD's tilt has the same course, linear and then a Gaussian). ``step`` is the angle
    that the image stands for: half of the way to its neighbours on both sides, in rad, so tilts need not be even. Where
    all slices are one, ``d < cos(tilt) / (N sum of steps)``, the ramp stays at what makes the mean over all images fill
    a slab ``N`` voxels thick. Without it, the axis itself would be lost.

    Where images are multiplied with a transfer function ``T`` that weights count, the filter is
    ``ramp / (T² + N ramp / (cos(tilt) SNR))``: the sum of ``n = cos(tilt) / (N ramp)`` slices that share a point is
    divided by ``n T² + 1/SNR``. Without, nothing is regularised.

    Parameters
    ----------
    snr
        Signal-to-noise ratio, as for :class:`~fourierrecon.weighting.Wiener`; used only where ``T²`` is divided by.
    cutoff, sigma, hamming, end
        Fall towards high frequencies, cycles per voxel; see :class:`~fourierrecon.weighting.fan.RollOff`. By default
        there is none.
    thickness
        Thickness of the specimen, Å; default: the depth of the region.
    """

    name: ClassVar[str] = "ramp"

    cutoff: float = 0.5
    sigma: float = 0.0
    hamming: float | None = None
    end: float = 0.06
    thickness: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.roll_off  # noqa: B018 (it is checked as it is made)
        self.check_thickness()

    @property
    def words(self) -> str:
        """One line on what the weighting does, for screens and headers."""
        return f"ramp filter by tilt step{self.roll_off.words}, {snr_words(self.snr)} where the CTF is divided by"

    def image_filter(
        self, tilt: int, frequency_x: NDArray[np.float32], frequency_y: NDArray[np.float32], views: TiltViews
    ) -> NDArray[np.float32]:
        """Give the factors for one image; see :class:`Weighting`."""
        fan = Fan.of(views)
        thickness = self.thickness_in(views)
        per_slice = thickness / fan.cosines[tilt]
        least, step = fan.least(tilt, thickness), fan.steps[tilt]
        factors = np.empty((frequency_y.size, frequency_x.size), np.float32)
        for rows, distance, radius, power in fan.rows(tilt, frequency_x, frequency_y):
            ramp = np.maximum(step * distance, least)
            divisor = power
            if divides_by_transfer(views):
                divisor = power + per_slice * ramp * self._noise(radius / views.voxel_size)
            factors[rows] = ramp * self.roll_off.at(distance) / np.maximum(divisor, 1e-6)
        return factors

    def _noise(self, frequency: NDArray[np.float64]) -> NDArray[np.float64] | float:
        """Give the inverse of the SNR at spatial frequencies, 1/Å."""
        snr = self.known_snr
        return 1 / snr if isinstance(snr, float) else np.asarray(1 / snr.at(frequency))


def divides_by_transfer(views: TiltViews) -> bool:
    """Whether what a filter divides by goes with the frequency, so that noise must be held back."""
    return views.transfers.weighs_ctf or bool(views.transfers.damping.any())
