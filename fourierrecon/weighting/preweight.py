"""2D pre-weighting: every image is filtered before insertion, by how many other slices come near each frequency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fourierrecon.ctf import damp_row, transfer
from fourierrecon.errors import UsageError
from fourierrecon.runtime.compiled import compiled
from fourierrecon.transfer import PER_CYCLE
from fourierrecon.weighting.base import TiltViews, Weighting, register
from fourierrecon.weighting.snr import AUTO, STATED, STEP, Auto, Snr, SnrCurve, read_snr, snr_words

#: Cosine of the steepest tilt for which a specimen is a slab: no beam runs along one for ever.
STEEPEST = 0.1


@register
@dataclass(frozen=True)
class PreWeight(Weighting):
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

    snr: Snr = AUTO
    thickness: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "snr", read_snr(self.snr))
        if self.thickness is not None and not self.thickness > 0:
            raise UsageError(f"thickness {self.thickness:g} Å of the specimen must be above 0")

    @property
    def linear(self) -> bool:
        """Whether the volume is linear in the images: not where they give the SNR."""
        return not isinstance(self.snr, Auto)

    @property
    def words(self) -> str:
        """One line on what the weighting does, for screens and headers."""
        thickness = "of the region" if self.thickness is None else f"{self.thickness:g} Å"
        return f"2D pre-weight, thickness {thickness}, {snr_words(self.snr)}"

    @property
    def measures(self) -> bool:
        """Whether the SNR is still to be measured."""
        return isinstance(self.snr, Auto)

    def resolved(self, measure: Callable[[], SnrCurve]) -> Weighting:
        """Give the filter with an SNR that is known; see :class:`Weighting`."""
        return replace(self, snr=measure().times(self.snr.factor)) if isinstance(self.snr, Auto) else self

    def image_filter(
        self, tilt: int, frequency_x: NDArray[np.float32], frequency_y: NDArray[np.float32], views: TiltViews
    ) -> NDArray[np.float32]:
        """Give the factors for one image; see :class:`Weighting`."""
        thickness = views.depth if self.thickness is None else self.thickness / views.voxel_size
        slices = views.matrices
        normals = np.cross(slices[:, 0], slices[:, 1])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        cosines = np.maximum(np.abs(normals[:, 2]), STEEPEST)
        # z_g and the frequency in image g are linear in the frequency of this image
        distance = thickness / cosines[:, None] * (normals @ slices[tilt].T)
        into = np.linalg.solve(slices @ slices.transpose(0, 2, 1), slices @ slices[tilt].T)
        seen = views.transfers
        phases = np.stack([seen.phases(g, views.voxel_size) for g in range(len(slices))])
        # starts as what is added to the weights
        factors = np.empty((frequency_y.size, frequency_x.size), np.float32)
        if isinstance(self.snr, float):
            factors[:] = max(1 / self.snr, 1e-6)
        else:
            curve = STATED.times(self.snr.factor) if isinstance(self.snr, Auto) else self.snr
            scale = np.float32(1 / (STEP * views.voxel_size))
            squared = (frequency_x.reshape(1, -1) * scale) ** 2 + (frequency_y.reshape(-1, 1) * scale) ** 2
            places = np.minimum(np.sqrt(squared) + np.float32(0.5), len(curve.noise) - 1).astype(np.int32)
            np.maximum(curve.noise[places], np.float32(1e-6), out=factors)
        _filter(
            frequency_x.ravel(), frequency_y.ravel(), distance, into, phases, seen.form, seen.weighs_ctf,
            views.envelopes, PER_CYCLE, cosines[tilt] / thickness, factors,
        )  # fmt: skip
        return factors


@compiled()
def _filter(
    fx: Any, fy: Any, distance: Any, into: Any, phases: Any, form: int, use_ctf: bool, envelopes: Any,
    per_cycle: float, gain: float, factors: Any,
) -> None:  # fmt: skip
    n = fx.shape[0]
    envelopes_here = np.empty(n, np.float32)
    spacing = fx[1] - fx[0] if n > 1 else np.float32(1)
    for row in range(fy.shape[0]):
        y = fy[row]
        for g in range(distance.shape[0]):
            # the columns where |z_g| < 1 are an interval
            slope, start = distance[g, 0] * spacing, distance[g, 1] * y + distance[g, 0] * fx[0]
            first, last = 0, n - 1
            if abs(slope) > 1e-12:
                one, other = (-1 - start) / slope, (1 - start) / slope
                first = max(first, int(np.ceil(min(max(min(one, other), -1.0), n + 1.0))))
                last = min(last, int(np.floor(min(max(max(one, other), -1.0), n + 1.0))))
            elif abs(start) >= 1:
                continue
            xx, xy, yx, yy = into[g, 0, 0], into[g, 0, 1], into[g, 1, 0], into[g, 1, 1]
            coefficients, envelope = phases[g], envelopes[g]
            square = np.float32(coefficients[5] * coefficients[5])
            if envelope.shape[0] > 0 and first <= last:
                x = fx[first]
                damp_row(
                    xx * x + xy * y, xx * spacing, yx * x + yy * y, yx * spacing, envelope, per_cycle,
                    envelopes_here[first : last + 1],
                )  # fmt: skip
            for column in range(first, last + 1):
                near = np.float32(max(0.0, 1 - abs(start + slope * column)))
                x = fx[column]
                if use_ctf:
                    value = transfer(xx * x + xy * y, yx * x + yy * y, coefficients, form)
                    near *= value * value
                else:
                    near *= square
                if envelope.shape[0] > 0:
                    near *= envelopes_here[column] * envelopes_here[column]
                factors[row, column] += near
        for column in range(n):
            factors[row, column] = np.float32(gain) / factors[row, column]
