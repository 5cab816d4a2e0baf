"""Exact filters: every image is divided by the overlap of all slices with its own, for any set of tilts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fourierrecon.weighting.base import TiltViews, Weighting, register
from fourierrecon.weighting.overlap import overlap_filter
from fourierrecon.weighting.ramp import divides_by_transfer
from fourierrecon.weighting.slab import WithThickness
from fourierrecon.weighting.snr import WithSnr, snr_words


@register
@dataclass(frozen=True)
class Exact(WithThickness, WithSnr, Weighting):
    """Multiply each image by ``cos(tilt) / (N (sum_g o(z_g) T_g² + 1/SNR))``, ``o(z) = sinc(z) sinc(z / 3)`` up to 3.

    What is ``L`` thick has slices that are blurred across by a sinc of width ``1/L``, ``sinc(z) = sin(pi z) / (pi z)``:
    that much of the slice of image ``g``, whose beam is ``n_g``, there is at a point ``k`` of this image,
    ``z_g = L |n_g . k|`` (Harauz & van Heel 1986, with a thickness that is the same from all sides). A beam of this
    image crosses ``L = N / cos(tilt)`` voxels of a slab ``N`` thick. The sinc is tapered, as if the specimen had soft
    faces: the tails of far slices would not cancel. The sum is never taken as less than what the image itself gives,
    since the sinc has negative lobes. Where slices are dense and even this is the ramp, where they are alone the sum is
    that of the image. Tilts may be uneven, and about several axes.

    Parameters
    ----------
    snr
        Signal-to-noise ratio, as for :class:`~fourierrecon.weighting.Wiener`; used only where ``T²`` is divided by.
    thickness
        Thickness of the specimen, Å; default: the depth of the region.
    """

    name: ClassVar[str] = "exact"

    thickness: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_thickness()

    @property
    def words(self) -> str:
        """One line on what the weighting does, for screens and headers."""
        return f"exact filter, thickness {self.thickness_words}, {snr_words(self.snr)} where the CTF is divided by"

    def image_filter(
        self, tilt: int, frequency_x: NDArray[np.float32], frequency_y: NDArray[np.float32], views: TiltViews
    ) -> NDArray[np.float32]:
        """Give the factors for one image; see :class:`Weighting`."""
        thickness = self.thickness_in(views)
        snr = self.known_snr if divides_by_transfer(views) else np.inf
        return overlap_filter(tilt, frequency_x, frequency_y, views, thickness=thickness, snr=snr, sinc=True)
