"""How much of each pixel's beam lies in a region: what least squares may explain by it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fourierrecon.geometry.region import Region
from fourierrecon.tilt_series import TiltSeries


def beam_lengths(region: Region, series: TiltSeries) -> NDArray[np.float64]:
    """Voxels that a beam of each image crosses where no side of the region is in its way, ``(n_tilts,)``."""
    return np.asarray([_longest(_beam(matrix), region) for matrix in series.projections[:, :2, :3]])


def seen_parts(region: Region, series: TiltSeries, tilt: int) -> NDArray[np.float32]:
    """Part of each pixel's beam that lies in the region, ``(height, width)``: 0 beside it, 1 where its sides are far.

    Parameters
    ----------
    region, series, tilt
        Region, tilt series, and number of the image.
    """
    matrix = series.projections[tilt, :2, :3] * region.binning
    zero = series.projections[tilt, :2, :3] @ region.origin + series.projections[tilt, :2, 3]
    beam, back = _beam(matrix), np.linalg.pinv(matrix)
    height, width = series.image_shape
    u, v = np.arange(width) - zero[0], (np.arange(height) - zero[1])[:, None]
    first, last = np.full((height, width), -np.inf), np.full((height, width), np.inf)
    for axis, n in enumerate(region.shape[::-1]):
        start = back[axis, 0] * u + back[axis, 1] * v
        if abs(beam[axis]) < 1e-6:
            last[(start < -0.5) | (start > n - 0.5)] = -np.inf
            continue
        ends = np.sort(np.stack([(-0.5 - start) / beam[axis], (n - 0.5 - start) / beam[axis]]), axis=0)
        np.maximum(first, ends[0], out=first)
        np.minimum(last, ends[1], out=last)
    inside = np.clip(last - first, 0, None) / _longest(beam, region)
    return np.asarray(np.minimum(inside, 1), np.float32)


def _beam(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    direction = np.cross(matrix[0], matrix[1])
    return np.asarray(direction / np.linalg.norm(direction))


def _longest(beam: NDArray[np.float64], region: Region) -> float:
    return float((np.array(region.shape[::-1]) / np.maximum(np.abs(beam), 1e-6)).min())
