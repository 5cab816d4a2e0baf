"""Finds the specimen's slab from two reconstructions, of every other tilt each: more exact than from one volume.

The product of two halves that share no image has no part of the noise, and outside of the specimen the streaks of the
two halves lie in different directions: there its mean is below zero, inside above, with an edge between that is as
sharp as the missing wedge allows. How many images see a voxel divides out.

Halves of tilts share Fourier coefficients only where neighbouring slices overlap, up to ``1 / (t sin(step))`` across
the tilt axis, with the thickness ``t``. What lies beyond is filtered out; along the axis all frequencies count. One
slab between two parallel planes is then fitted to the profiles of tiles, each with a level and an amplitude of its own,
so that tiles with little in them count little. For the slopes the profiles saturate: else what is dense in a cell, and
lies deep or high by chance, would count as a tilt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import fmin

from fourierrecon.errors import UsageError
from fourierrecon.quality.specimen_slab import SpecimenSlab

Array = NDArray[np.float64]

#: Lengths of the high-pass and of the low-pass filter, Å, and side of the tiles, Å.
COARSEST, FINEST, TILE = 300.0, 60.0, 250.0
#: The filter across the tilt axis falls to exp(-1/2) at this part of the frequency at which slices part.
SHARED = 1.0
#: Values beyond this many standard deviations (from the median deviation) are clipped: beads of gold.
CLIP = 4.0
#: Part of the width and height that is left out at each side, and least part of the images that sees a voxel.
MARGIN, LEAST_SEEN = 0.02, 0.25
#: Tilts of the slab that are tried first, degrees.
TILTS = tuple(range(-20, 21, 4))
#: Half width of an edge, voxels; largest part of the depth that a slab may take.
EDGE, MOST_OF_DEPTH = 1.2, 0.8
#: Of profiles that give slopes: blur (voxels), part of the upper decile where they saturate, and part of the usual
#: decile below which a tile is empty.
BLUR, SATURATED, EMPTY = 1.5, 0.5, 0.1
#: Least part of the mean profile that a slab has to explain.
LEAST_EXPLAINED = 0.4


def slab_of_halves(
    even: NDArray[np.float32],
    odd: NDArray[np.float32],
    seen: NDArray[np.float32],
    voxel_size: float,
    *,
    axis: tuple[float, float],
    step: float,
    thickness: float,
) -> SpecimenSlab:
    """Find the slab of specimen from two reconstructions of the same region.

    Parameters
    ----------
    even, odd
        ``(z, y, x)``: of every other tilt each; voxels of about 30 Å.
    seen
        Part of the images that sees each voxel, or only every so manieth row and column, ``(z, m, n)``.
    voxel_size
        Å.
    axis
        Direction ``(x, y)`` of the tilt axis.
    step
        Angle between neighbouring tilts of the whole series, radians.
    thickness
        Likely thickness, Å; it only sets the filter.

    Raises
    ------
    UsageError
        If there are too few voxels: 12 along z, 10 along the others.
    """
    depth, height, width = even.shape
    if depth < 12 or min(height, width) < 10:
        raise UsageError(f"{width} x {height} x {depth} voxels are too few to find the specimen's slab")
    factors = _filter((height, width), voxel_size, axis, step * thickness)
    product = _filtered(even, factors)
    product *= _filtered(odd, factors)
    rows, columns = (np.arange(n) * m // n for n, m in zip((height, width), seen.shape[1:], strict=True))
    product /= np.maximum(seen[:, rows][:, :, columns], np.float32(LEAST_SEEN))
    tiles, x, y = _tiles(product, voxel_size)
    z = (np.arange(depth) - (depth - 1) / 2) * voxel_size
    slopes, low, high = _fit(tiles, x, y, z)
    profile = _levelled(tiles, x, y, z, *slopes).mean(0)
    model = _box(z[None], low, high, EDGE * voxel_size)[0]
    model, spread = model - model.mean(), profile - profile.mean()
    explained = float(model @ spread) ** 2 / max(float(model @ model) * float(spread @ spread), 1e-30)
    inside = profile[(z > low) & (z < high)]
    plateau = float(np.median(inside)) if inside.size else 0.0
    nan = math.nan
    if not plateau > 0 or explained < LEAST_EXPLAINED:
        problem = "no slab stands out: contrast is the same at all depths"
        return SpecimenSlab(
            thickness=nan, centre=nan, tilt_x=nan, tilt_y=nan, contrast=nan, z=z, profile=profile, problem=problem
        )
    return SpecimenSlab(
        thickness=(high - low) / math.hypot(1.0, *slopes),
        centre=(low + high) / 2,
        tilt_x=math.degrees(math.atan(slopes[1])),
        tilt_y=-math.degrees(math.atan(slopes[0])),
        contrast=explained / max(1 - explained, 1e-6),
        z=z,
        profile=profile / plateau,
    )


def _filter(shape: tuple[int, int], voxel_size: float, axis: tuple[float, float], spread: float) -> Array:
    """Give the factors of the frequencies of a section, as ``rfft2`` has them."""
    fx, fy = np.fft.rfftfreq(shape[1])[None] / voxel_size, np.fft.fftfreq(shape[0])[:, None] / voxel_size
    length = math.hypot(*axis)
    across, squared = (fx * axis[1] - fy * axis[0]) / length, fx**2 + fy**2
    band = (1 - np.exp(-0.5 * squared * COARSEST**2)) * np.exp(-0.5 * squared * FINEST**2)
    return np.asarray(band * np.exp(-0.5 * (across * spread / SHARED) ** 2))


def _filtered(data: NDArray[np.float32], factors: Array) -> NDArray[np.float32]:
    """Filter all sections, and clip what is far above the rest."""
    kept = np.empty(data.shape, np.float32)
    for z, section in enumerate(data):
        spectrum = scipy.fft.rfft2(np.where(np.isfinite(section), section, np.float32(0)))
        kept[z] = scipy.fft.irfft2(spectrum * factors, section.shape)
    limit = CLIP * 1.4826 * float(np.median(np.abs(kept[:: max(1, len(kept) // 32)])))
    return np.clip(kept, -limit, limit, out=kept) if limit > 0 else kept


def _tiles(product: NDArray[np.float32], voxel_size: float) -> tuple[Array, Array, Array]:
    """Give the means over tiles ``(n_tiles, depth)``, and the places of the tiles from the middle, Å."""
    depth, *sides = product.shape
    edges = []
    for n in sides:
        margin = round(MARGIN * n)
        count = max(3, round((n - 2 * margin) * voxel_size / TILE))
        edges.append(np.unique(np.round(np.linspace(margin, n - margin, count + 1)).astype(np.int64)))
    rows, columns = edges
    sums = np.add.reduceat(product[:, rows[0] : rows[-1]], rows[:-1] - rows[0], axis=1)
    sums = np.add.reduceat(sums[:, :, columns[0] : columns[-1]], columns[:-1] - columns[0], axis=2)
    means = sums / (np.diff(rows)[:, None] * np.diff(columns))
    y, x = np.meshgrid(
        *((e[:-1] + e[1:] - n) / 2 * voxel_size for e, n in zip(edges, sides, strict=True)), indexing="ij"
    )
    return means.reshape(depth, -1).T.astype(float), x.ravel(), y.ravel()


def _box(z: Array, low: float, high: float, edge: float) -> Array:
    """Give 1 between two depths, 0 beyond, with soft edges."""
    return np.asarray(0.25 * (1 + np.tanh((z - low) / edge)) * (1 - np.tanh((z - high) / edge)))


def _fit(tiles: Array, x: Array, y: Array, z: Array) -> tuple[tuple[float, float], float, float]:
    """Fit two parallel planes: slopes along x and y, and the depths of both in the middle.

    Slopes come from tiles in which all that is there counts the same, depths from the tiles as they are.
    """
    step = float(z[1] - z[0])
    kept, equal = _equal(tiles)
    start = np.array(max(_starts(equal, x[kept], y[kept], z, [math.tan(math.radians(angle)) for angle in TILTS]))[1:])
    steps = np.array([0.05, 0.05, 2 * step, 2 * step])
    found = _minimum(lambda all_four: _cost(equal, x[kept], y[kept], z, all_four), start, steps)
    apart = tiles - tiles.mean(1, keepdims=True)
    apart /= np.sqrt(np.linalg.norm(apart, axis=1, keepdims=True) + 1e-30)
    slopes = found[:2]
    depths = _minimum(lambda both: _cost(apart, x, y, z, np.append(slopes, both)), found[2:], steps[2:])
    return (float(slopes[0]), float(slopes[1])), float(depths[0]), float(depths[1])


def _equal(tiles: Array) -> tuple[NDArray[np.bool_], Array]:
    """Choose the tiles that hold something, and let all that is there count the same: contents are no surfaces."""
    smooth = gaussian_filter1d(tiles, BLUR, axis=1)
    level = np.quantile(np.maximum(smooth, 0), 0.9, axis=1)
    kept = level > EMPTY * np.median(level)
    if not kept.any():
        kept[:] = True
    clipped = np.clip(smooth[kept] / np.maximum(level[kept, None], 1e-30), -SATURATED, SATURATED)
    clipped -= clipped.mean(1, keepdims=True)
    return kept, clipped / np.sqrt(np.linalg.norm(clipped, axis=1, keepdims=True) + 1e-30)


def _cost(apart: Array, x: Array, y: Array, z: Array, parameters: Array) -> float:
    """Give what a slab explains of tiles about their means, with a minus sign."""
    level = z - (parameters[0] * x + parameters[1] * y)[:, None]
    box = _box(level, parameters[2], parameters[3], EDGE * float(z[1] - z[0]))
    box -= box.mean(1, keepdims=True)
    shared = np.maximum((apart * box).sum(1), 0)
    return -float((shared**2 / np.maximum((box**2).sum(1), 1e-9)).sum())


def _minimum(cost: Callable[[Array], float], first: Array, steps: Array) -> Array:
    """Find the minimum next to a start."""
    simplex = np.vstack([first, first + np.diag(steps)])
    tolerance = 1e-7 * abs(cost(first))
    found = fmin(cost, first, xtol=1e-3, ftol=tolerance, maxiter=800, disp=False, initial_simplex=simplex)
    return np.asarray(found, float)


def _starts(
    tiles: Array, x: Array, y: Array, z: Array, slopes: Iterable[float]
) -> Iterable[tuple[float, float, float, float, float]]:
    """Try slopes; for each give how much the best pair of depths explains, the slopes, and the depths."""
    n = len(z)
    first, last = np.triu_indices(n + 1, 2)
    length = last - first
    allowed = length < MOST_OF_DEPTH * n
    first, last, length = first[allowed], last[allowed], length[allowed]
    slopes = list(slopes)
    for slope_x in slopes:
        for slope_y in slopes:
            profile = _levelled(tiles, x, y, z, slope_x, slope_y).mean(0)
            sums = np.concatenate([[0.0], np.cumsum(profile - profile.mean())])
            inside = np.maximum(sums[last] - sums[first], 0)
            best = int(np.argmax(inside**2 / (length * (1 - length / n))))
            value = float(inside[best] ** 2 / (length[best] * (1 - length[best] / n)))
            yield value, slope_x, slope_y, float(z[first[best]]), float(z[last[best] - 1])


def _levelled(tiles: Array, x: Array, y: Array, z: Array, slope_x: float, slope_y: float) -> Array:
    """Shift the profiles of tiles by a tilt of the slab."""
    at = (np.arange(len(z)) + ((slope_x * x + slope_y * y) / (z[1] - z[0]))[:, None]).clip(0, len(z) - 1.000001)
    whole = at.astype(np.int64)
    part = at - whole
    below = np.take_along_axis(tiles, whole, 1)
    return np.asarray(below + part * (np.take_along_axis(tiles, whole + 1, 1) - below))
