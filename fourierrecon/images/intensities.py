"""What intensity each image should have by its tilt: images that step out of it are scaled, or are dark.

The beam that comes through a slab falls off as ``exp(-t / cos(tilt - pretilt))``. This is fitted to the mean grey
values by medians, so that images of another exposure, dark or blocked ones do not move it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fourierrecon.runtime.half_floats import to_single
from fourierrecon.tilt_series import ImageStack

#: Rows of each image that are read for its intensity, at the most.
ROWS = 64
#: Images are scaled if they depart by more than this factor, and by more than so many standard deviations.
LEAST_STEP, DEVIATIONS = 1.15, 5.0
#: Largest factor: an image that departs by more is dark or blocked, and scaling it would only raise its noise.
LARGEST_STEP = 2.5
#: Least tilts for a fit, and the pretilts that are tried, degrees.
LEAST_TILTS, PRETILTS = 7, np.arange(-24.0, 25.0, 4.0)
#: Means below this many standard deviations of the pixels are no intensities: the stack was normalised.
LEAST_MEAN = 1.0


def intensity_of(image: NDArray[np.generic]) -> tuple[float, float]:
    """Give the mean and the standard deviation of some rows of an image; NaN if they are not finite."""
    step = max(1, image.shape[0] // ROWS)
    some = to_single(image[step // 2 :: step])
    if not np.isfinite(some).all():
        return float("nan"), float("nan")
    return float(some.mean(dtype=float)), float(some.std(dtype=float))


def expected_intensities(tilt_angles: NDArray[np.float64], means: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Fit the intensity that each image should have by its tilt.

    Parameters
    ----------
    tilt_angles
        Degrees, ``(n_tilts,)``.
    means
        Mean grey values, ``(n_tilts,)``; those that are not above 0 do not count.

    Returns
    -------
    expected
        ``(n_tilts,)``; None where there is nothing to fit to.
    """
    known = np.isfinite(means) & (means > 0)
    if known.sum() < LEAST_TILTS or known.mean() < 0.6 or np.ptp(tilt_angles[known]) < 1:
        return None
    logs, best = np.log(means[known]), np.inf
    expected = None
    first, second = np.triu_indices(int(known.sum()), 1)
    for pretilt in PRETILTS:
        path = 1 / np.cos(np.radians(np.clip(tilt_angles - pretilt, -80, 80)))
        apart = path[known][first] - path[known][second]
        there = np.abs(apart) > 1e-3
        slope = min(float(np.median((logs[first] - logs[second])[there] / apart[there])), 0.0) if there.any() else 0.0
        level = float(np.median(logs - slope * path[known]))
        misfit = float(np.abs(logs - level - slope * path[known]).mean())
        if misfit < best - 1e-12:
            best, expected = misfit, np.exp(level + slope * path)
    return expected


def steps_of(tilt_angles: NDArray[np.float64], images: ImageStack) -> NDArray[np.float64]:
    """Find the images whose intensity steps out of what their tilt lets expect.

    Parameters
    ----------
    tilt_angles
        Degrees, ``(n_tilts,)``.
    images
        Images of these tilts; a few rows of each are read.

    Returns
    -------
    factors
        Intensity over the expected one, ``(n_tilts,)``; 1 where there is no step, and for all images of a stack that
        was normalised.
    """
    means, spreads = np.array([intensity_of(np.asarray(images[i])) for i in range(len(tilt_angles))]).T
    return steps_in(tilt_angles, means, spreads)


def steps_in(
    tilt_angles: NDArray[np.float64], means: NDArray[np.float64], spreads: NDArray[np.float64]
) -> NDArray[np.float64]:
    """As :func:`steps_of`, from the mean and the standard deviation of each image, ``(n_tilts,)``."""
    n = len(tilt_angles)
    factors = np.ones(n)
    if not (np.nanmedian(means) > LEAST_MEAN * np.nanmedian(spreads)):
        return factors
    expected = expected_intensities(tilt_angles, means)
    if expected is None:
        return factors
    with np.errstate(divide="ignore", invalid="ignore"):
        away = np.log(means / expected)
    usual = 1.4826 * float(np.nanmedian(np.abs(away)))
    size = np.abs(away)
    steps = (size > max(np.log(LEAST_STEP), DEVIATIONS * usual)) & (size < np.log(LARGEST_STEP))
    factors[steps] = np.exp(away[steps])
    return factors
