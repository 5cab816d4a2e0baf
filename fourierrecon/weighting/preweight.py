"""2D pre-weighting: every image is filtered before insertion, by how many other slices come near each frequency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fourierrecon.weighting.base import TiltViews, Weighting, register
from fourierrecon.weighting.overlap import overlap_filter
from fourierrecon.weighting.slab import WithThickness
from fourierrecon.weighting.snr import WithSnr, snr_words


@register
@dataclass(frozen=True)
class PreWeight(WithThickness, WithSnr, Weighting):
    """Multiply each image by ``cos(tilt) / (N (sum_g tri(z_g) CTF_g² + 1/SNR))``.

    The specimen is a slab ``N`` voxels thick, so it is smooth in Fourier space along kz, over ``1/N``: two slices carry
    the same information where they are nearer than that along kz. ``z_g = N |n_g . k| / |n_g,z|`` is that distance
    of a Fourier point ``k`` of the image from the central slice of image ``g``, whose beam is ``n_g``;
    ``tri(z) = max(0, 1 - |z|)``; the sum includes the image itself. Frequencies are true frequencies, so images need
    not be square (RELION's filter counts indices). Linear in the images, hence exact under any tiling of the volume:
    the choice for large tomograms. A beam crosses ``N / cos(tilt)`` voxels of the slab. The factor ``cos(tilt) / N``
    therefore makes the volume a density: its projections are the images again, up to 15 %, since the triangle only
    models how much slices share.

    Parameters
    ----------
    snr
        Signal-to-noise ratio, relative to one image with CTF = 1; as for :class:`~fourierrecon.weighting.Wiener`.
    thickness
        Thickness of the specimen, Å; default: the depth of the region.
    """

    name: ClassVar[str] = "preweight"

    thickness: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_thickness()

    @property
    def words(self) -> str:
        """One line on what the weighting does, for screens and headers."""
        return f"2D pre-weight, thickness {self.thickness_words}, {snr_words(self.snr)}"

    def image_filter(
        self, tilt: int, frequency_x: NDArray[np.float32], frequency_y: NDArray[np.float32], views: TiltViews
    ) -> NDArray[np.float32]:
        """Give the factors for one image; see :class:`Weighting`."""
        thickness = self.thickness_in(views)
        return overlap_filter(
            tilt, frequency_x, frequency_y, views, thickness=thickness, snr=self.known_snr, sinc=False
        )
