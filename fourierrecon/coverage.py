"""How much of every voxel's mean comes from which images: masks of the images and their count along rows of voxels.

An image counts with its full weight where a voxel projects well inside it and with less near its border, by the same
mask that the image itself was multiplied with, so that nothing is dimmed or ringing there. The mask depends on the
distance to the nearest border alone. By default it falls off just *outside* the image, where the image is continued;
with a taper (``td``, ``tf``) it falls off inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mask:
    """Weight of an image's pixel by its distance to the nearest border, bin-1 px (negative outside).

    Parameters
    ----------
    start
        Distance up to which the weight is zero.
    width
        The weight rises smoothly from 0 to 1 over this distance behind ``start``.
    """

    start: float
    width: float

    def profile(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weight at given distances: a smooth step, ``t² (3 - 2 t)``."""
        t = np.clip((distance - self.start) / max(self.width, 1e-6), 0, 1)
        return np.asarray(t * t * (3 - 2 * t))

    def weights(
        self, rows: NDArray[np.float64], columns: NDArray[np.float64], image_shape: tuple[int, int]
    ) -> NDArray[np.float32]:
        """Weights at the crossings of rows and columns (bin-1 px) of an image, ``(n_rows, n_columns)``."""
        height, width = image_shape
        vertical, horizontal = np.minimum(rows, height - 1 - rows), np.minimum(columns, width - 1 - columns)
        return self.profile(np.minimum(vertical[:, None], horizontal[None, :])).astype(np.float32)


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def divide_by_count(
    slab: Any,  # (P, O) float32
    affine: Any,  # (n_tilts, 4, 3): the four border distances over mask width: constant, per p, per o
    levels: Any,  # (n_tilts,) float32: grey levels that were taken off the images and belong to the mean; or (0,)
    means: Any,  # (P, O) float32, for the result; may be the slab itself
) -> None:
    """Turn sums over images into means: divide every voxel of a z slab by the sum of the images' weights there.

    Where less than one image sees a voxel the sum is divided by one: it fades to zero outside of all images.
    ``affine`` gives, for each image and each of its four borders, ``t = (distance - start) / width`` as a function of
    the voxel.
    """
    n_p, n_o = slab.shape
    n_tilts = affine.shape[0]
    # along a row each border is crossed once: at voxel zero + per_p p, where its weight begins, and full after that
    crossing = np.empty((n_tilts, 4, 3))
    for f in range(n_tilts):
        for border in range(4):
            slope = affine[f, border, 2]
            inverse = 1 / (slope if abs(slope) > 1e-9 else 1e-9)
            crossing[f, border, 0] = -affine[f, border, 0] * inverse
            crossing[f, border, 1] = -affine[f, border, 1] * inverse
            crossing[f, border, 2] = inverse
    lift = levels.shape[0] > 0
    one = np.float32(1)
    # along a row: differences of the number of images with full weight, weights of the others, and both times level
    steps, ramps = np.empty(n_o + 1, np.int32), np.empty(n_o, np.float32)
    raised_steps, raised = np.empty(n_o + 1, np.float32), np.empty(n_o, np.float32)
    partly = np.empty(n_tilts, np.int64)
    for start in range(0, n_p, 16):
        stop = min(start + 16, n_p)
        # images that see all of these rows, or nothing of them, need no look at single rows
        everywhere, n_partly, ground = 0, 0, 0.0
        for f in range(n_tilts):
            inside, outside = True, False
            for border in range(4):
                c, dp, do = affine[f, border, 0], affine[f, border, 1], affine[f, border, 2]
                first, last = c + dp * start, c + dp * (stop - 1)
                across = do * (n_o - 1)
                inside = inside and min(first, last) + min(0.0, across) >= 1
                outside = outside or max(first, last) + max(0.0, across) <= 0
            if inside:
                everywhere += 1
                ground += levels[f] if lift else 0.0
            elif not outside:
                partly[n_partly] = f
                n_partly += 1
        for p in range(start, stop):
            row, mean = slab[p], means[p]
            if n_partly == 0:
                factor = np.float32(1) / np.float32(max(everywhere, 1))
                level = np.float32(ground) * factor
                for o in range(n_o):
                    mean[o] = row[o] * factor + level
                continue
            steps[:] = 0
            ramps[:] = 0
            steps[0] = everywhere
            if lift:
                raised_steps[:] = 0
                raised[:] = 0
                raised_steps[0] = ground
            for i in range(n_partly):
                f = partly[i]
                level = levels[f] if lift else np.float32(0)
                _add_row(affine[f], crossing[f], p, n_o, level, steps, ramps, raised_steps, raised)
            total = np.int32(0)
            for o in range(n_o):
                total = np.int32(total + steps[o])
                steps[o] = total
            for o in range(n_o):
                ramps[o] += np.float32(steps[o])
            if lift:
                height = np.float32(0)
                for o in range(n_o):
                    height += raised_steps[o]
                    raised[o] += height
                for o in range(n_o):
                    mean[o] = (row[o] + raised[o]) / (ramps[o] if ramps[o] > one else one)
            else:
                for o in range(n_o):
                    mean[o] = row[o] / (ramps[o] if ramps[o] > one else one)


@njit(cache=True, nogil=True, fastmath=True, inline="always")  # type: ignore[untyped-decorator]
def _add_row(
    borders: Any,
    crossing: Any,
    p: int,
    n_o: int,
    level: Any,
    steps: Any,
    ramps: Any,
    raised_steps: Any,
    raised: Any,
) -> None:
    """Add one image's weight along one row: full weight is a step up and down, ramps are walked."""
    low, high = 0.0, n_o - 1.0
    full_low, full_high = low, high
    for border in range(4):
        inverse = crossing[border, 2]
        zero = crossing[border, 0] + crossing[border, 1] * p
        if inverse > 0:
            low, full_low = max(low, zero), max(full_low, zero + inverse)
        else:
            high, full_high = min(high, zero), min(full_high, zero + inverse)
    if low > high:
        return
    first, last = int(np.ceil(low)), int(np.floor(high))
    full_first, full_last = int(np.ceil(full_low)), int(np.floor(full_high))
    if full_first > full_last:
        full_first, full_last = last + 1, last
    else:
        steps[full_first] += 1
        steps[full_last + 1] -= 1
        if level != 0:
            raised_steps[full_first] += level
            raised_steps[full_last + 1] -= level
    if first < full_first:
        _walk(borders, p, first, full_first, level, ramps, raised)
    if full_last < last:
        _walk(borders, p, full_last + 1, last + 1, level, ramps, raised)


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _walk(borders: Any, p: int, first: int, stop: int, level: Any, ramps: Any, raised: Any) -> None:
    """Add the weight of voxels ``[first, stop)``, which lie on a ramp."""
    zero, one, two, three = np.float32(0), np.float32(1), np.float32(2), np.float32(3)
    a = np.float32(borders[0, 0] + borders[0, 1] * p)
    b = np.float32(borders[1, 0] + borders[1, 1] * p)
    c = np.float32(borders[2, 0] + borders[2, 1] * p)
    d = np.float32(borders[3, 0] + borders[3, 1] * p)
    da, db = np.float32(borders[0, 2]), np.float32(borders[1, 2])
    dc, dd = np.float32(borders[2, 2]), np.float32(borders[3, 2])
    for i in range(first, stop):
        # comparisons, not min and max: those mind NaN and keep the loop from being vectorised
        o = np.float32(i)
        t, other = a + da * o, b + db * o
        t = other if other < t else t
        other = c + dc * o
        t = other if other < t else t
        other = d + dd * o
        t = other if other < t else t
        t = t if t < one else one
        t = t if t > zero else zero
        weight = t * t * (three - two * t)
        ramps[i] += weight
        if level != 0:
            raised[i] += level * weight


def border_distances(
    matrices: NDArray[np.float64],
    offsets: NDArray[np.float64],
    image_shape: tuple[int, int],
    mask: Mask,
) -> NDArray[np.float64]:
    """Affine functions ``t = (distance to border - start) / width`` of a voxel, ``(n_tilts, 4, 4)``.

    Parameters
    ----------
    matrices
        ``(n_tilts, 2, 3)``: bin-1 image pixel (u, v) over voxel, columns in any order of the voxel's axes.
    offsets
        ``(n_tilts, 2)``: pixel (u, v) of voxel (0, 0, 0).
    image_shape
        ``(height, width)``.
    mask
        Of the images.

    Returns
    -------
    affine
        For the borders left, right, top, bottom: the constant, then the factors of the voxel's axes.
    """
    height, width = image_shape
    scale = 1 / max(mask.width, 1e-6)
    result = np.empty((len(matrices), 4, 4))
    for border, (axis, sign, at) in enumerate([(0, 1, 0), (0, -1, width - 1), (1, 1, 0), (1, -1, height - 1)]):
        distance = np.concatenate([offsets[:, axis, None], matrices[:, axis]], axis=1) * sign
        distance[:, 0] += at if sign < 0 else -at
        distance[:, 0] -= mask.start
        result[:, border] = distance * scale
    return result
