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
    slab: Any,  # (P, O) float32, in place
    affine: Any,  # (n_tilts, 4, 3): the four border distances over mask width: constant, per p, per o
) -> None:
    """Turn sums over images into means: divide every voxel of a z slab by the sum of the images' weights there.

    Where less than one image sees a voxel the sum is divided by one: it fades to zero outside of all images.
    ``affine`` gives, for each image and each of its four borders, ``t = (distance - start) / width`` as a function of
    the voxel.
    """
    n_p, n_o = slab.shape
    n_tilts = affine.shape[0]
    steps = np.empty(n_o + 1, np.float32)
    count = np.empty(n_o, np.float32)
    for block in range(0, n_p, 32):
        stop = min(block + 32, n_p)
        # images that see all of the block, or nothing of it, need no look at single rows
        everywhere = 0
        partly = np.empty(n_tilts, np.int64)
        n_partly = 0
        for f in range(n_tilts):
            inside, outside = True, False
            for border in range(4):
                c, dp, do = affine[f, border]
                first, last = c + dp * block, c + dp * (stop - 1)
                least = min(first, last) + min(0.0, do * (n_o - 1))
                most = max(first, last) + max(0.0, do * (n_o - 1))
                inside = inside and least >= 1
                outside = outside or most <= 0
            if inside:
                everywhere += 1
            elif not outside:
                partly[n_partly] = f
                n_partly += 1
        for p in range(block, stop):
            if n_partly == 0:
                slab[p] *= np.float32(1) / np.float32(max(everywhere, 1))
                continue
            steps[:] = 0
            count[:] = everywhere
            for i in range(n_partly):
                _add_row(affine[partly[i]], p, steps, count)
            total = np.float32(0)
            for o in range(n_o):
                total += steps[o]
                slab[p, o] /= max(count[o] + total, np.float32(1))


@njit(cache=True, nogil=True, fastmath=True, inline="always")  # type: ignore[untyped-decorator]
def _add_row(borders: Any, p: int, steps: Any, count: Any) -> None:
    """Add the weight of one image along one row: full weight as a step up and down, the ramps voxel by voxel."""
    n_o = count.shape[0]
    seen_from, seen_to = 0.0, float(n_o - 1)
    full_from, full_to = 0.0, float(n_o - 1)
    for border in range(4):
        c = borders[border, 0] + borders[border, 1] * p
        slope = borders[border, 2]
        if abs(slope) < 1e-9:
            if c <= 0:
                return
            if c < 1:
                full_to = -1.0
        elif slope > 0:
            seen_from = max(seen_from, -c / slope)
            full_from = max(full_from, (1 - c) / slope)
        else:
            seen_to = min(seen_to, -c / slope)
            full_to = min(full_to, (1 - c) / slope)
    first, last = int(np.ceil(seen_from)), int(np.floor(seen_to))
    if first > last:
        return
    full_first, full_last = int(np.ceil(full_from)), int(np.floor(full_to))
    if full_first <= full_last:
        steps[full_first] += 1
        steps[full_last + 1] -= 1
    else:
        full_first, full_last = last + 1, last
    c0, c1, c2, c3 = borders[0, 0], borders[1, 0], borders[2, 0], borders[3, 0]
    c0, c1 = c0 + borders[0, 1] * p, c1 + borders[1, 1] * p
    c2, c3 = c2 + borders[2, 1] * p, c3 + borders[3, 1] * p
    for o in range(first, full_first):
        count[o] += _ramp(borders, c0, c1, c2, c3, o)
    for o in range(full_last + 1, last + 1):
        count[o] += _ramp(borders, c0, c1, c2, c3, o)


@njit(cache=True, nogil=True, fastmath=True, inline="always")  # type: ignore[untyped-decorator]
def _ramp(borders: Any, c0: float, c1: float, c2: float, c3: float, o: int) -> np.float32:
    t = min(
        min(c0 + borders[0, 2] * o, c1 + borders[1, 2] * o),
        min(c2 + borders[2, 2] * o, c3 + borders[3, 2] * o),
    )
    t = min(max(t, 0.0), 1.0)
    return np.float32(t * t * (3 - 2 * t))


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
