"""Finds hot pixels and X-ray spikes, and gives the values that replace them.

A pixel is hot if it departs from the median of the 5 x 5 pixels about it by more than :data:`THRESHOLD` times their
spread, and stands alone: at most two of its 8 neighbours depart like it (:data:`LIKE`). So a spike over three pixels is
found, and a gold bead of three pixels and more is left alone, dark or bright. What is dark, as beads are, must stand
all alone. A hot pixel gets the median plus noise.

Medians are taken only where a cheap bound is passed first: the difference to the four pixels two steps away, against
the noise of the block around it. The threshold rises where the noise is not normal (few electrons a pixel).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.runtime.arrays import Real
from fourierrecon.runtime.compiled import compiled

#: Least departure of a hot pixel from the median around it, in standard deviations by the median deviation there.
THRESHOLD = 6.0
#: Part of its departure that is like that of a pixel that is too dark, or too bright; neighbours that may be like it.
LIKE, COMPANIONS = (0.15, 0.25), (0, 2)
#: The spread of 25 pixels scatters itself: it counts as no less than this part of the noise of the block.
LEAST_SPREAD = 0.85
#: Side of the blocks whose noise is measured, px, and step of the pixels that are looked at for it.
BLOCK, STEP = 128, 11
#: Standard deviation of a pixel less the mean of four others, in units of its own.
DIFFERENCE = 1.118
#: Quantile that shows whether noise has a longer tail than a normal distribution, its value for that, and the most that
#: the threshold may rise.
TAIL, NORMAL_TAIL, MOST_RISE = 0.998, 2.878, 3.0
#: Skewness of such differences over that of pixels.
SKEWNESS = 0.7
#: A block of fewer noisy pixels than this part has no noise to compare with.
LEAST_NOISY = 0.02
#: Part of the threshold that the cheap bound lets pass.
PASSES = 0.85
#: Differences that the tails of noise are taken from, at the most.
MOST_DIFFERENCES = 8192


@dataclass(frozen=True, eq=False)
class Replacements:
    """Pixels of one image to replace.

    Parameters
    ----------
    index
        Numbers of the pixels, rows first, ``(n,)``.
    values
        What they become, float32, ``(n,)``.
    """

    index: NDArray[np.int64]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.index)


NOTHING = Replacements(np.empty(0, np.int64), np.empty(0, np.float32))


def find_hot_pixels(image: Real, seed: int = 0) -> Replacements:
    """Find the hot pixels of an image.

    Parameters
    ----------
    image
        ``(height, width)``, float32. Pixels that are not finite are left to other checks.
    seed
        Seed of the noise that replaces them.

    Returns
    -------
    replacements
        Empty for images without noise: nothing tells what is hot there.

    Examples
    --------
    >>> import numpy as np
    >>> from fourierrecon.images.hot_pixels import find_hot_pixels
    >>> image = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    >>> image[20, 30] = 50
    >>> find_hot_pixels(image).index.tolist() == [20 * 64 + 30]
    True
    """
    height, width = image.shape
    if min(height, width) < 8:
        return NOTHING
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    noise = np.zeros((rows, columns), np.float32)
    tail = np.empty(rows * columns * (-(-BLOCK // STEP)) ** 2, np.float32)
    tail = tail[: _measure_noise(image, noise, tail)]
    tail = tail[:: 1 + len(tail) // MOST_DIFFERENCES]
    if not (len(tail) and np.isfinite(noise).all() and noise.max() > 0):
        return NOTHING
    limits = _limits(tail)
    found = np.empty(max(1024, height * width // 64), np.int64)
    n = _pass_bound(image, noise, limits * np.float32(PASSES * LEAST_SPREAD), found)
    if n > len(found):  # grey values unlike any image: as many spikes as noise
        return NOTHING
    medians, spreads = np.empty(n, np.float32), np.empty(n, np.float32)
    kept = found[:n][_judge(image, noise, limits, found[:n], medians, spreads)]
    chosen = np.isin(found[:n], kept)
    drawn = np.random.default_rng([seed, n]).standard_normal(len(kept), np.float32)
    return Replacements(kept, medians[chosen] + spreads[chosen] * drawn)


def _limits(tail: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the least departure of a hot pixel that is too dark, and too bright, in standard deviations.

    Of skewed noise, as of few counts, the quantile at which a normal distribution has z lies at z + (z² - 1) / 6 times
    the skewness (Cornish and Fisher).
    """
    last = len(tail) - 1
    at = [round((1 - TAIL) * last), round(TAIL * last)]
    ordered = np.partition(tail, at)
    low, high = -float(ordered[at[0]]), float(ordered[at[1]])
    skewness = 3 * (high - low) / (NORMAL_TAIL**2 - 1) / SKEWNESS
    skewed = 1 + np.array([-1, 1]) * skewness * (THRESHOLD**2 - 1) / 6 / THRESHOLD
    rise = np.clip(np.maximum(np.array([low, high]) / NORMAL_TAIL, skewed), 1, MOST_RISE)
    return np.asarray(THRESHOLD * rise, np.float32)


@compiled(fastmath=False, inline=True)
def _difference(image: Any, y: int, x: int) -> Any:
    """Give a pixel less the mean of those two steps away; reflected at the borders."""
    height, width = image.shape
    up, down = y - 2 if y >= 2 else y + 2, y + 2 if y < height - 2 else y - 2
    left, right = x - 2 if x >= 2 else x + 2, x + 2 if x < width - 2 else x - 2
    return image[y, x] - np.float32(0.25) * (image[up, x] + image[down, x] + image[y, left] + image[y, right])


@compiled(fastmath=False, inline=True)
def _to_corners(image: Any, y: int, x: int) -> Any:
    """Give a pixel less the mean of those two steps away along the diagonals."""
    height, width = image.shape
    up, down = y - 2 if y >= 2 else y + 2, y + 2 if y < height - 2 else y - 2
    left, right = x - 2 if x >= 2 else x + 2, x + 2 if x < width - 2 else x - 2
    corners = image[up, left] + image[up, right] + image[down, left] + image[down, right]
    return image[y, x] - np.float32(0.25) * corners


@compiled(fastmath=False)
def _measure_noise(image: Any, noise: Any, tail: Any) -> int:
    """Measure the standard deviation of each block, and collect its differences in units of that."""
    height, width = image.shape
    values = np.empty((-(-BLOCK // STEP)) ** 2, np.float32)
    n_tail = 0
    for row in range(noise.shape[0]):
        for column in range(noise.shape[1]):
            n, total, noisy = 0, 0.0, 0
            for y in range(row * BLOCK, min((row + 1) * BLOCK, height), STEP):
                for x in range(column * BLOCK, min((column + 1) * BLOCK, width), STEP):
                    values[n] = _difference(image, y, x)
                    total += values[n] * values[n]
                    noisy += values[n] != 0
                    n += 1
            sigma = 1.4826 * np.median(np.abs(values[:n])) / DIFFERENCE
            if sigma == 0 and noisy >= LEAST_NOISY * n:
                sigma = np.sqrt(total / n) / DIFFERENCE  # few counts: most differences are 0
            noise[row, column] = sigma
            if sigma > 0:
                for i in range(n):
                    tail[n_tail] = values[i] / (sigma * DIFFERENCE)
                    n_tail += 1
    return n_tail


@compiled()
def _count_beyond(here: Any, above: Any, below: Any, bounds: Any, squares: Any, beyond: Any) -> None:
    """Count the differences of a row that pass a bound, block by block; about that where pixels are not finite."""
    # views, as an index that might be negative would keep the loop from being vectorised; and sums, as a maximum would
    middle, left, right, up, down = here[2:-2], here[:-4], here[4:], above[2:-2], below[2:-2]
    quarter, one, zero = np.float32(0.25), np.float32(1), np.float32(0)
    for x in range(middle.size):
        d = middle[x] - quarter * (up[x] + down[x] + left[x] + right[x])
        squares[x] = d * d
    for column in range(beyond.size):
        part = squares[max(column * BLOCK - 2, 0) : min((column + 1) * BLOCK - 2, middle.size)]
        bound, total = bounds[column], zero
        for x in range(part.size):
            total += one if part[x] > bound else zero
        beyond[column] = total


@compiled(fastmath=False)
def _list(image: Any, y: int, first: int, last: int, low: Any, high: Any, found: Any, count: int) -> int:
    """Add the pixels of a stretch whose difference passes a bound; gives how many there are by now."""
    for x in range(first, last):
        d = _difference(image, y, x)
        # the four pixels at the corners have a noise of their own, and leave fewer to look at
        if (d < low or d > high) and not low <= _to_corners(image, y, x) <= high:
            if count < found.shape[0]:
                found[count] = y * image.shape[1] + x
            count += 1
    return count


@compiled(fastmath=False)
def _pass_bound(image: Any, noise: Any, bounds: Any, found: Any) -> int:
    """List the pixels that may be hot by the cheap bound; gives their number, more than there is room for if so."""
    height, width = image.shape
    squares, beyond = np.empty(width, np.float32), np.empty(noise.shape[1], np.float32)
    least = (min(bounds[0], bounds[1]) * noise) ** 2
    count = 0
    for y in range(height):
        above, below = image[y - 2 if y >= 2 else y + 2], image[y + 2 if y < height - 2 else y - 2]
        _count_beyond(image[y], above, below, least[y // BLOCK], squares, beyond)
        for column in range(noise.shape[1]):
            sigma = noise[y // BLOCK, column]
            if sigma == 0:
                continue
            low, high = -bounds[0] * sigma, bounds[1] * sigma
            first, last = column * BLOCK, min((column + 1) * BLOCK, width)
            inner_first, inner_last = max(first, 2), max(min(last, width - 2), max(first, 2))
            count = _list(image, y, first, inner_first, low, high, found, count)
            if beyond[column] > 0:
                count = _list(image, y, inner_first, inner_last, low, high, found, count)
            count = _list(image, y, inner_last, last, low, high, found, count)
    return count


@compiled(fastmath=False)
def _judge(image: Any, noise: Any, limits: Any, found: Any, medians: Any, spreads: Any) -> Any:
    """Tell which pixels are hot, with the median and the spread around each."""
    height, width = image.shape
    hot = np.zeros(len(found), np.bool_)
    around = np.empty(25, np.float32)
    largest = np.float32(1e12)
    for i in range(len(found)):
        y, x = found[i] // width, found[i] % width
        n = 0
        for v in range(max(y - 2, 0), min(y + 3, height)):
            for u in range(max(x - 2, 0), min(x + 3, width)):
                around[n] = image[v, u]
                n += 1
        median = np.median(around[:n])
        spread = 1.4826 * np.median(np.abs(around[:n] - median))
        spread = max(spread, LEAST_SPREAD * noise[y // BLOCK, x // BLOCK])
        medians[i], spreads[i] = median, spread
        departure = image[y, x] - median
        bright = int(departure > 0)
        sign = 1.0 if departure > 0 else -1.0
        if not (abs(departure) > limits[bright] * spread and abs(image[y, x]) <= largest):
            continue
        like = 0
        for v in range(max(y - 1, 0), min(y + 2, height)):
            for u in range(max(x - 1, 0), min(x + 2, width)):
                like += sign * (image[v, u] - median) > LIKE[bright] * abs(departure)
        hot[i] = like - 1 <= COMPANIONS[bright]  # the pixel itself is like it
    return hot
