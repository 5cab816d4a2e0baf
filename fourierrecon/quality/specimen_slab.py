"""Finds the slab of specimen in a finished tomogram, its thickness and tilt, from the depths that have contrast.

The report uses this: it needs no images, so that it works on the volume of any program, and takes less than a second.
:mod:`fourierrecon.quality.slab_of_halves` is more exact, and needs two reconstructions of every other tilt each; where
a tomogram was fitted to its specimen by that, the report shows its figures.

Inside of the slab grey values vary more from place to place than above and below it, where there is only noise. The
local variance is taken in tiles of each z section, from large voxels, and the means over some pixels around are
subtracted: so neither noise nor slow gradients count, and the missing wedge draws the variance out little. Single dense
things such as gold beads are clipped. One slab between two parallel planes is then fitted to the profiles of all tiles.

The volume should be twice as deep as the specimen: simulated slabs are then found to 10 % of their thickness and to 1.3
degrees. Where little is left above and below, both come out too small: in a volume 1.75 times as deep, a tilt of 7
degrees as 4.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.optimize import least_squares

from fourierrecon.errors import UsageError
from fourierrecon.quality.registration import small_copy
from fourierrecon.volume import Volume

Array = NDArray[np.float64]

#: Least size of the large voxels, Å, and how many of them the depth has at least.
LARGE, DEEP = 36.0, 14
#: Large voxels over which means are taken off, and that a tile has along each side.
SMOOTH, TILE = 7, 8
#: Part of the width and height that is left out at each side: high tilts do not see it.
MARGIN = 0.08
#: Values beyond this many standard deviations (estimated from the median deviation) are clipped.
CLIP = 4.0
#: Tilts of the slab that are tried first, degrees.
TILTS = (-12.0, -6.0, 0.0, 6.0, 12.0)
#: A slab is believed if its variance is at least this many times that outside, and the planes explain at least this
#: part of the profile.
LEAST_CONTRAST, LEAST_EXPLAINED = 1.2, 0.4
#: Least distance of its surfaces from the faces of the volume, large voxels.
LEAST_DISTANCE = 0.5


@dataclass(frozen=True, eq=False, kw_only=True)
class SpecimenSlab:
    """The slab of specimen that was found. z counts from the middle of the volume.

    Parameters
    ----------
    thickness
        Perpendicular to its surfaces, Å; NaN where they were not found.
    centre
        z of its middle where x and y are those of the volume's middle, Å; NaN likewise.
    tilt_x, tilt_y
        Rotation about x and y, right-handed, degrees; NaN likewise.
    contrast
        Variance inside over that outside; NaN where nothing is known of one of them.
    z, profile
        ``(depth,)``: Å, and the local variance there, its plateau 1; each tile is shifted by the tilt that was found.
    problem
        Why there is no thickness; empty if there is one.
    """

    thickness: float
    centre: float
    tilt_x: float
    tilt_y: float
    contrast: float
    z: Array
    profile: Array
    problem: str = ""

    @property
    def found(self) -> bool:
        """Whether both surfaces were found."""
        return not self.problem


def estimate_slab(volume: Volume) -> SpecimenSlab:
    """Find the slab of specimen in a tomogram.

    Parameters
    ----------
    volume
        ``(z, y, x)``, any real type; mapped from a file, it is read once, plane by plane.

    Raises
    ------
    UsageError
        If the voxel size is unknown, or the volume has too few voxels: 8 along z, 24 along the others.
    """
    size = volume.voxel_size
    if not (math.isfinite(size) and size > 0):
        raise UsageError(f"voxel size {size:g} Å of the volume must be above 0")
    depth, height, width = volume.data.shape
    factor = max(1, min(math.ceil(LARGE / size), depth // DEEP))
    small = small_copy(volume.data, size, factor * size)
    if small.shape[0] < 8 or min(small.shape[1:]) < 24:
        raise UsageError(f"{width} x {height} x {depth} voxels are too few to find the specimen's slab")
    step = factor * size
    variance, x, y = _variances(small)
    z = (np.arange(len(variance[0])) - (len(variance[0]) - 1) / 2) * step
    plateau = np.quantile(variance, 0.8, axis=1)
    if not (plateau > 0).any():
        return _nothing(z, np.zeros(len(z)), "the volume has no contrast")
    known = plateau > 0.05 * np.median(plateau)
    tiles, x, y = variance[known] / plateau[known, None], x[known] * step, y[known] * step
    fit = _fit(tiles, x, y, z)
    slope_x, slope_y, low, high = (float(value) for value in fit[:4])
    profile = _levelled(tiles, x, y, z, slope_x, slope_y)
    missed = np.abs(profile - _model(fit, np.zeros(1), np.zeros(1), z)[0]).sum()
    explained = 1 - float(missed / max(np.abs(profile - np.median(profile)).sum(), 1e-12))
    within, beyond = (z > low + step) & (z < high - step), (z < low - step) | (z > high + step)
    contrast = _ratio(profile, within, beyond)
    # where x and y are those of the volume's middle; in the corners the surfaces may leave it
    inside = (LEAST_DISTANCE + 0.5) * step
    if contrast < LEAST_CONTRAST or explained < LEAST_EXPLAINED:
        return _nothing(z, profile, "contrast is the same at all depths", contrast)
    if low < z[0] + inside or high > z[-1] - inside:
        return _nothing(z, profile, "the specimen fills the depth of the volume", contrast)
    upright = math.hypot(1.0, slope_x, slope_y)
    tilt_x, tilt_y = math.degrees(math.atan(slope_y)), -math.degrees(math.atan(slope_x))
    return SpecimenSlab(
        thickness=float(high - low) / upright,
        centre=float(low + high) / 2,
        tilt_x=tilt_x,
        tilt_y=tilt_y,
        contrast=contrast,
        z=z,
        profile=profile,
    )


def _nothing(z: Array, profile: Array, problem: str, contrast: float = math.nan) -> SpecimenSlab:
    nan = math.nan
    return SpecimenSlab(
        thickness=nan, centre=nan, tilt_x=nan, tilt_y=nan, contrast=contrast, z=z, profile=profile, problem=problem
    )


def _ratio(profile: Array, within: NDArray[np.bool_], beyond: NDArray[np.bool_]) -> float:
    """Variance inside over that outside; NaN where there is no outside."""
    if not (within.any() and beyond.any()):
        return math.nan
    return float(np.median(profile[within]) / max(np.median(profile[beyond]), 1e-6))


def _variances(small: NDArray[np.float32]) -> tuple[Array, Array, Array]:
    """Give the local variance ``(n_tiles, depth)``, and x and y of the tiles from the middle, large voxels."""
    depth, height, width = small.shape
    data = np.where(np.isfinite(small), small, 0)
    for axis in (1, 2):
        smooth = uniform_filter1d(data, SMOOTH, axis=axis, mode="nearest")
        data = data - smooth
    deviation = 1.4826 * float(np.median(np.abs(data[:: max(1, depth // 32)])))
    # the median of a mostly empty volume is 0
    limit = CLIP * deviation if deviation > 0 else float(np.abs(data).max())
    squares = np.minimum(np.abs(data), limit) ** 2
    rows, columns = (_edges(n) for n in (height, width))
    sums = np.add.reduceat(squares[:, rows[0] : rows[-1]], rows[:-1] - rows[0], axis=1)
    sums = np.add.reduceat(sums[:, :, columns[0] : columns[-1]], columns[:-1] - columns[0], axis=2)
    counts = np.diff(rows)[:, None] * np.diff(columns)
    y, x = np.meshgrid((rows[:-1] + rows[1:] - height) / 2.0, (columns[:-1] + columns[1:] - width) / 2.0, indexing="ij")
    return (sums / counts).reshape(depth, -1).T.astype(float), x.ravel(), y.ravel()


def _edges(n: int) -> NDArray[np.int64]:
    """Divide the middle of a side into tiles."""
    margin = round(MARGIN * n)
    count = max(2, round((n - 2 * margin) / TILE))
    return np.round(np.linspace(margin, n - margin, count + 1)).astype(np.int64)


def _model(parameters: Array, x: Array, y: Array, z: Array) -> Array:
    """Variance of each tile at each z, its plateau 1.

    Parameters are the slopes of the slab along x and y, the z of both surfaces in the middle, the softness of the
    edges, and the level outside.
    """
    slope_x, slope_y, low, high, soft, base = parameters
    level = z - (slope_x * x + slope_y * y)[:, None]
    box = 0.25 * (1 + np.tanh((level - low) / soft)) * (1 - np.tanh((level - high) / soft))
    return np.asarray(base + (1 - base) * box)


def _fit(tiles: Array, x: Array, y: Array, z: Array) -> Array:
    """Fit two parallel planes to all tiles, for :func:`_model`."""
    step, length = float(z[1] - z[0]), float(z[-1] - z[0])
    median = np.median(tiles, axis=0)
    base = float(np.quantile(median, 0.1))
    above = np.flatnonzero(median > (base + 1) / 2)
    low, high = (z[above[0]], z[above[-1]]) if len(above) else (-length / 4, length / 4)
    bounds = (
        [-0.6, -0.6, z[0] - length, z[0], 0.3 * step, 0.0],
        [0.6, 0.6, z[-1], z[-1] + length, length / 4, 1.0],
    )
    starts = [
        np.array([math.tan(math.radians(a)), math.tan(math.radians(b)), low, high, 1.5 * step, min(base, 0.99)])
        for a in TILTS
        for b in TILTS
    ]

    def misfit(parameters: Array) -> Array:
        return np.asarray((_model(parameters, x, y, z) - tiles).ravel())

    def cost(parameters: Array) -> float:
        return float(np.abs(misfit(parameters)).sum())

    start = np.clip(min(starts, key=cost), *(np.asarray(b) for b in bounds))
    scale = [0.05, 0.05, step, step, step, 0.1]
    found = least_squares(misfit, start, bounds=bounds, loss="soft_l1", f_scale=0.15, x_scale=scale)
    return np.asarray(found.x)


def _levelled(tiles: Array, x: Array, y: Array, z: Array, slope_x: float, slope_y: float) -> Array:
    """Shift the tiles by the tilt of the slab and give their median; at the ends, that of the few that reach there."""
    shift = slope_x * x + slope_y * y
    moved = np.array([np.interp(z + s, z, tile) for s, tile in zip(shift, tiles, strict=True)])
    return np.asarray(np.median(moved, axis=0))
