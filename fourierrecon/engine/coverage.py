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
from numpy.typing import NDArray

from fourierrecon.runtime.compiled import compiled

#: Rows that are looked at together to find the images that see all or nothing of them.
ROWS = 16


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
        # the profile rises with the distance: that of the nearest border is the least
        across, along = (self.profile(d).astype(np.float32) for d in (vertical, horizontal))
        return np.minimum(across[:, None], along[None, :])


@compiled()
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
    lift = levels.shape[0] > 0
    # along a row: weights of the images; where they are full only their first and last voxel is noted, in steps
    steps, weights = np.zeros(n_o + 1, np.int32), np.zeros(n_o, np.float32)
    raised_steps, raised = np.zeros(n_o + 1, np.float32), np.zeros(n_o, np.float32)
    partly, borders = np.empty(n_tilts, np.int64), np.empty((n_tilts, 5), np.int64)
    for start in range(0, n_p, ROWS):
        stop = min(start + ROWS, n_p)
        everywhere, n_partly, ground = _sort(affine, start, stop, n_o, levels, partly, borders)
        for p in range(start, stop):
            row, mean = slab[p], means[p]
            if n_partly == 0:
                factor = np.float32(1) / np.float32(max(everywhere, 1))
                constant = np.float32(ground) * factor
                for o in range(n_o):
                    mean[o] = row[o] * factor + constant
                continue
            steps[0] = everywhere
            raised_steps[0] = ground
            # between these voxels nothing changes
            low, high = 0, n_o
            for i in range(n_partly):
                f = partly[i]
                level = levels[f] if lift else np.float32(0)
                if borders[i, 0] == 1 and level == 0:
                    c, dp, do = affine[f, borders[i, 1], 0], affine[f, borders[i, 1], 1], affine[f, borders[i, 1], 2]
                    full_low, full_high = _add_border(c + dp * p, do, n_o, steps, weights)
                else:
                    full_low, full_high = _add_row(
                        affine, f, borders, i, p, n_o, level, steps, weights, raised_steps, raised
                    )
                low, high = max(low, full_low), min(high, full_high)
            count, level = _divide_part(row, 0, low, 0, 0.0, steps, weights, lift, raised_steps, raised, mean)
            if low < high:
                count, level = count + steps[low], level + raised_steps[low]
                steps[low] = raised_steps[low] = 0
                factor = np.float32(1) / np.float32(max(count, 1))
                constant = np.float32(level) * factor
                # views: an index that might be negative would keep the loop from being vectorised
                part, part_mean = row[low:high], mean[low:high]
                for o in range(part.size):
                    part_mean[o] = part[o] * factor + constant
            _divide_part(row, max(low, high), n_o, count, level, steps, weights, lift, raised_steps, raised, mean)
            steps[n_o] = raised_steps[n_o] = 0


@compiled()
def _sort(
    affine: Any, start: int, stop: int, n_o: int, levels: Any, partly: Any, borders: Any
) -> tuple[int, int, float]:
    """Sort images by what they see of some rows: all (they need no look at single rows), nothing, or a part.

    Gives the number of the first and their levels, and the number of the last, which are noted in ``partly``, with the
    number of the borders that matter and the borders themselves in ``borders``.
    """
    everywhere, n_partly, ground = 0, 0, 0.0
    middle_p, half_p, middle_o = (start + stop - 1) / 2, (stop - 1 - start) / 2, (n_o - 1) / 2
    for f in range(affine.shape[0]):
        count, outside = 0, False
        for border in range(4):
            c, dp, do = affine[f, border, 0], affine[f, border, 1], affine[f, border, 2]
            # over all these voxels: the value in their middle, and how far it goes up and down from there
            middle, reach = c + dp * middle_p + do * middle_o, abs(dp) * half_p + abs(do) * middle_o
            if middle + reach <= 0:
                outside = True
            if middle - reach < 1:
                count += 1
                borders[n_partly, count] = border
        if count == 0:
            everywhere += 1
            if levels.shape[0] > 0:
                ground += levels[f]
        elif not outside:
            borders[n_partly, 0] = count
            partly[n_partly] = f
            n_partly += 1
    return everywhere, n_partly, ground


@compiled(inline=True)
def _add_border(at_zero: float, slope: float, n_o: int, steps: Any, weights: Any) -> tuple[int, int]:
    """Do what :func:`_add_row` does for an image of which one border matters and no level, as most often: faster."""
    inverse = 1 / (slope if abs(slope) > 1e-9 else 1e-9)
    begins, full = -at_zero * inverse, (1 - at_zero) * inverse
    if inverse > 0:
        first = int(min(max(np.ceil(begins), 0.0), n_o))
        full_first, full_end = int(min(max(np.ceil(full), first), n_o)), n_o
        end = full_first
        steps[full_first] += 1
        nothing = first == n_o
    else:
        end = int(min(max(np.floor(begins) + 1, 0.0), n_o))
        full_first, full_end = 0, int(min(max(np.floor(full) + 1, 0.0), end))
        first = full_end
        steps[0] += 1
        steps[full_end] -= 1
        nothing = end == 0
    one, zero = np.float32(1), np.float32(0)
    for o in range(first, end):
        t = min(max(np.float32(at_zero + slope * o), zero), one)
        weights[o] += t * t * (np.float32(3) - np.float32(2) * t)
    return (0, n_o) if nothing else (full_first, full_end)


@compiled(inline=True)
def _add_row(
    affine: Any, f: int, borders: Any, i: int, p: int, n_o: int, level: Any, steps: Any, weights: Any,
    raised_steps: Any, raised: Any,
) -> tuple[int, int]:  # fmt: skip
    """Add one image's weight along one row: full weight is a step up and down, ramps are walked.

    Gives the voxels between which the image counts fully, or is not there at all.
    """
    zero, far = np.float32(0), np.float32(1e9)
    # the borders that matter, as lines along the row; most often one, and at the most four
    a0, b0, c0, d0 = far, far, far, far
    a1, b1, c1, d1 = zero, zero, zero, zero
    low, high = 0.0, n_o - 1.0
    full_low, full_high = low, high
    for k in range(borders[i, 0]):
        border = borders[i, k + 1]
        at_zero, slope = affine[f, border, 0] + affine[f, border, 1] * p, affine[f, border, 2]
        d0, d1, c0, c1, b0, b1 = c0, c1, b0, b1, a0, a1
        a0, a1 = np.float32(at_zero), np.float32(slope)
        if abs(slope) < 1e-9:
            slope = 1e-9
        # the border is crossed once along the row: here its weight begins, and there it is full
        inverse = 1 / slope
        begins, full = -at_zero * inverse, (1 - at_zero) * inverse
        if inverse > 0:
            low, full_low = max(low, begins), max(full_low, full)
        else:
            high, full_high = min(high, begins), min(full_high, full)
    first, last = int(np.ceil(low)), int(np.floor(high))
    full_first, full_last = last + 1, last
    if full_low <= full_high:
        full_first, full_last = int(np.ceil(full_low)), int(np.floor(full_high))
        if full_first > full_last:
            full_first, full_last = last + 1, last
        else:
            steps[full_first] += 1
            steps[full_last + 1] -= 1
            if level != 0:
                raised_steps[full_first] += level
                raised_steps[full_last + 1] -= level
    # the ramps before and after
    for side in range(2):
        begin, end = (first, full_first) if side == 0 else (full_last + 1, last + 1)
        ramp = weights[begin:end]
        for o in range(ramp.size):
            ramp[o] += _ramp(a0, a1, b0, b1, c0, c1, d0, d1, np.float32(begin + o))
        if level != 0:
            for o in range(begin, end):
                raised[o] += level * _ramp(a0, a1, b0, b1, c0, c1, d0, d1, np.float32(o))
    if first > last:
        return 0, n_o
    return full_first, full_last + 1


@compiled(inline=True)
def _ramp(a0: Any, a1: Any, b0: Any, b1: Any, c0: Any, c1: Any, d0: Any, d1: Any, x: Any) -> Any:
    """Weight of a voxel by its nearest border."""
    zero, one = np.float32(0), np.float32(1)
    t, other = a0 + a1 * x, b0 + b1 * x
    t = other if other < t else t
    other = c0 + c1 * x
    t = other if other < t else t
    other = d0 + d1 * x
    t = other if other < t else t
    t = t if t < one else one
    t = t if t > zero else zero
    return t * t * (np.float32(3) - np.float32(2) * t)


@compiled(inline=True)
def _divide_part(
    row: Any, begin: int, end: int, count: int, level: float, steps: Any, weights: Any, lift: bool, raised_steps: Any,
    raised: Any, mean: Any,
) -> tuple[int, float]:  # fmt: skip
    """Sum the steps up and divide, for a part of a row; clear what was noted there."""
    one = np.float32(1)
    # views: see above
    part, part_mean, weight, step = row[begin:end], mean[begin:end], weights[begin:end], steps[begin:end]
    for o in range(part.size):
        count += step[o]
        weight[o] += np.float32(count)
    if lift:
        lifted, raised_step = raised[begin:end], raised_steps[begin:end]
        for o in range(part.size):
            level += raised_step[o]
            lifted[o] += np.float32(level)
        for o in range(part.size):
            part_mean[o] = (part[o] + lifted[o]) / (weight[o] if weight[o] > one else one)
        lifted[:] = 0
        raised_step[:] = 0
    else:
        for o in range(part.size):
            part_mean[o] = part[o] / (weight[o] if weight[o] > one else one)
    weight[:] = 0
    step[:] = 0
    return count, level


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
        Mask of the images.

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
