"""Finds hot pixels and X-ray spikes, and gives the values that replace them.

A pixel is hot if it departs from the median of the 5 x 5 pixels about it by more than :data:`THRESHOLD` times their
spread, and stands alone: at most two of its 8 neighbours depart like it (:data:`LIKE`). So a spike over three pixels is
found, and a gold bead of three pixels and more is left alone, dark or bright. What is dark, as beads are, must stand
all alone.

A hot pixel gets the mean of the sound pixels among those 25, plus noise: what a sound pixel nearby departs from the
mean of its own. Both are sums over pixels, so images that are sums of others stay so if the same pixels are replaced.

Medians are taken only where cheap bounds are passed first. A pixel must leave the range of grey values of the block
around it; only then its difference to the four pixels two steps away is compared with the noise of the block. The
threshold rises where the noise is not normal (few electrons a pixel).
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
#: Distance at which a pixel lends its noise, px: its 25 pixels are others.
NEARBY = 7
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


def find_hot_pixels(image: Real) -> Replacements:
    """Find the hot pixels of an image.

    Parameters
    ----------
    image
        ``(height, width)``, float32. Pixels that are not finite are left to other checks.

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
    found = np.empty(max(1024, height * width // 64), np.int64)
    n = _find(image, found)
    return replacements(image, found[:n].copy()) if n else NOTHING


def replacements(image: Real, index: NDArray[np.int64]) -> Replacements:
    """Give the values that replace some pixels of an image, wherever these were found.

    Parameters
    ----------
    image
        ``(height, width)``, float32.
    index
        Numbers of the pixels, rows first.
    """
    values = np.empty(len(index), np.float32)
    _fill(image, index, values)
    return Replacements(index, values)


@compiled(fastmath=False)
def _fill(image: Any, index: Any, values: Any) -> None:
    """Write what replaces each pixel."""
    height, width = image.shape
    hot = np.zeros((height, width), np.bool_)
    for each in index:
        hot[each // width, each % width] = True
    for i, each in enumerate(index):
        y, x = each // width, each % width
        values[i] = _sound_mean(image, hot, y, x)
        # the noise of the first sound pixel that is so far away
        for step in range(NEARBY, NEARBY + 8):
            for dy, dx in ((step, 0), (0, step), (-step, 0), (0, -step)):
                v, u = y + dy, x + dx
                if 0 <= v < height and 0 <= u < width and not hot[v, u]:
                    values[i] += image[v, u] - _sound_mean(image, hot, v, u)
                    break
            else:
                continue
            break


@compiled(fastmath=False)
def _sound_mean(image: Any, hot: Any, y: int, x: int) -> Any:
    """Give the mean of the 5 x 5 pixels about a place without those that are hot; 0 if all are."""
    total, count = 0.0, 0
    for v in range(max(y - 2, 0), min(y + 3, image.shape[0])):
        for u in range(max(x - 2, 0), min(x + 3, image.shape[1])):
            if not hot[v, u]:
                total += image[v, u]
                count += 1
    return np.float32(total / count) if count else np.float32(0)


@compiled(fastmath=False)
def _find(image: Any, found: Any) -> Any:
    """List hot pixels; gives their number."""
    rows, columns = -(-image.shape[0] // BLOCK), -(-image.shape[1] // BLOCK)
    noise, greys = np.zeros((rows, columns), np.float32), np.empty((rows, columns, 2), np.float32)
    tail = np.empty(rows * columns * (-(-BLOCK // STEP)) ** 2, np.float32)
    tail = tail[: _measure_noise(image, noise, greys, tail)]
    tail = tail[:: 1 + len(tail) // MOST_DIFFERENCES]
    n = 0
    if len(tail) > 0 and np.isfinite(noise).all():
        limits = _limits(tail)
        for row in range(rows):
            for column in range(columns):
                # a hot pixel is at least this dark, or this bright, whatever part of its block it lies in
                away, least = noise[row, column] * np.float32(LEAST_SPREAD), greys[row, column, 0]
                greys[row, column, 0] = greys[row, column, 1] - away * limits[0]
                greys[row, column, 1] = least + away * limits[1]
        n = _pass_bound(image, noise, greys, limits * np.float32(PASSES * LEAST_SPREAD), found)
    if n > len(found):  # grey values unlike any image: as many spikes as noise
        n = 0
    return _judge(image, noise, limits, found[:n]) if n > 0 else 0


@compiled(fastmath=False)
def _limits(tail: Any) -> Any:
    """Give the least departure of a hot pixel that is too dark, and too bright, in standard deviations.

    Of skewed noise, as of few counts, the quantile at which a normal distribution has z lies at z + (z² - 1) / 6 times
    the skewness (Cornish and Fisher).
    """
    beyond = round((1 - TAIL) * (len(tail) - 1)) + 1
    low, high = _nth_largest(-tail, beyond), _nth_largest(tail, beyond)
    skewness = 3 * (high - low) / (NORMAL_TAIL**2 - 1) / SKEWNESS
    step = skewness * (THRESHOLD**2 - 1) / 6 / THRESHOLD
    dark, bright = max(low / NORMAL_TAIL, 1 - step), max(high / NORMAL_TAIL, 1 + step)
    rise = np.array([min(max(dark, 1.0), MOST_RISE), min(max(bright, 1.0), MOST_RISE)])
    return (THRESHOLD * rise).astype(np.float32)


@compiled(fastmath=False)
def _nth_largest(values: Any, n: int) -> float:
    """Give the n-th largest value, for a small n."""
    largest = np.full(n, -np.inf, np.float32)  # in order, the least first
    for value in values:
        if value > largest[0]:
            i = 1
            while i < n and value > largest[i]:
                largest[i - 1] = largest[i]
                i += 1
            largest[i - 1] = value
    return float(largest[0])


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
def _measure_noise(image: Any, noise: Any, greys: Any, tail: Any) -> int:
    """Measure the standard deviation of each block and its least and largest grey value; collect its differences.

    Differences come in units of the standard deviation, grey values are means of four pixels.
    """
    height, width = image.shape
    values = np.empty((-(-BLOCK // STEP)) ** 2, np.float32)
    n_tail = 0
    for row in range(noise.shape[0]):
        for column in range(noise.shape[1]):
            n, total, noisy = 0, 0.0, 0
            least, largest = np.float32(np.inf), np.float32(-np.inf)
            for y in range(row * BLOCK, min((row + 1) * BLOCK, height), STEP):
                for x in range(column * BLOCK, min((column + 1) * BLOCK, width), STEP):
                    values[n] = _difference(image, y, x)
                    total += values[n] * values[n]
                    noisy += values[n] != 0
                    least, largest = min(least, image[y, x] - values[n]), max(largest, image[y, x] - values[n])
                    n += 1
            sigma = 1.4826 * np.median(np.abs(values[:n])) / DIFFERENCE
            if sigma == 0 and noisy >= LEAST_NOISY * n:
                sigma = np.sqrt(total / n) / DIFFERENCE  # few counts: most differences are 0
            noise[row, column], greys[row, column, 0], greys[row, column, 1] = sigma, least, largest
            if sigma > 0:
                for i in range(n):
                    tail[n_tail] = values[i] / (sigma * DIFFERENCE)
                    n_tail += 1
    return n_tail


@compiled()
def _leaves(part: Any, low: Any, high: Any) -> bool:
    """Tell whether any pixel of a stretch lies outside a range; anything where one is not finite."""
    beyond = np.float32(0)  # a sum is vectorised, a maximum or a way out would not be
    for x in range(part.size):
        beyond += np.float32(1) if (part[x] < low) | (part[x] > high) else np.float32(0)
    return bool(beyond > 0)


@compiled(fastmath=False)
def _pass_bound(image: Any, noise: Any, greys: Any, bounds: Any, found: Any) -> int:
    """List the pixels that may be hot by the cheap bounds; gives their number, more than there is room for if so."""
    height, width = image.shape
    count = 0
    for y in range(height):
        for column in range(noise.shape[1]):
            sigma, range_ = noise[y // BLOCK, column], greys[y // BLOCK, column]
            part = image[y, column * BLOCK : min((column + 1) * BLOCK, width)]
            darkest, brightest = range_[0], range_[1]
            if sigma == 0 or not _leaves(part, darkest, brightest):
                continue
            low, high = -bounds[0] * sigma, bounds[1] * sigma
            for i in range(part.size):
                if darkest <= part[i] <= brightest:
                    continue
                x = column * BLOCK + i
                d = _difference(image, y, x)
                # the four pixels at the corners have a noise of their own, and leave fewer to look at
                if (d < low or d > high) and not low <= _to_corners(image, y, x) <= high:
                    if count < found.shape[0]:
                        found[count] = y * width + x
                    count += 1
    return count


@compiled(fastmath=False)
def _judge(image: Any, noise: Any, limits: Any, found: Any) -> int:
    """Keep those that are hot, in their places; gives their number."""
    height, width = image.shape
    count = 0
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
        departure = image[y, x] - median
        bright = int(departure > 0)
        sign = 1.0 if departure > 0 else -1.0
        if not (abs(departure) > limits[bright] * spread and abs(image[y, x]) <= largest):
            continue
        like = 0
        for v in range(max(y - 1, 0), min(y + 2, height)):
            for u in range(max(x - 1, 0), min(x + 2, width)):
                like += sign * (image[v, u] - median) > LIKE[bright] * abs(departure)
        if like - 1 <= COMPANIONS[bright]:  # the pixel itself is like it
            found[count] = found[i]
            count += 1
    return count
