"""Images that say nothing: blank ones, and those with values that are not finite. They can be left out."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from fourierrecon.errors import DataError
from fourierrecon.parallel import available_cores, for_each
from fourierrecon.tilt_series import TiltSeries

#: An image whose grey values spread less than this part of what those of the others do (median) is blank.
BLANK = 0.1
#: Rows and columns of each image that are looked at for its spread, at the most.
SAMPLED = 256


def find_bad_images(series: TiltSeries, *, n_threads: int | None = None) -> dict[int, str]:
    """Look at all images of a tilt series for those that cannot be used.

    Parameters
    ----------
    series
        Its images are read, one after the other.
    n_threads
        Default: the cores available to the process.

    Returns
    -------
    What is wrong, by 0-based number: ``blank: ...``, or ``not finite: ...``.

    Raises
    ------
    DataError
        If an image cannot be read.
    """
    spread = np.zeros(series.n_tilts)
    lost = np.zeros(series.n_tilts, np.int64)
    grey = np.zeros(series.n_tilts)

    def look(_: None, tilt: int) -> None:
        image = np.asarray(series.images[tilt], np.float32)
        lost[tilt] = image.size - int(np.isfinite(image).sum())
        step = max(1, max(image.shape) // SAMPLED)
        sample = image[::step, ::step]
        known = sample[np.isfinite(sample)]
        if known.size:
            low, grey[tilt], high = np.percentile(known, (5, 50, 95))
            # a few bright pixels on a constant image say nothing either
            spread[tilt] = high - low

    for_each(series.n_tilts, look, state=lambda: None, n_threads=n_threads or available_cores())
    bad = {}
    usual = float(np.median(spread))
    for tilt in range(series.n_tilts):
        if lost[tilt]:
            bad[tilt] = f"not finite: {lost[tilt]} pixels are NaN or infinite"
        elif spread[tilt] == 0:
            bad[tilt] = f"blank: every pixel is {grey[tilt]:g}"
        elif spread[tilt] <= BLANK * usual:
            bad[tilt] = f"blank: its grey values spread over {spread[tilt]:.3g}, those of other images over {usual:.3g}"
    return bad


def without_bad_images(series: TiltSeries, *, n_threads: int | None = None) -> tuple[TiltSeries, list[int]]:
    """Leave images out that cannot be used, with a warning for each.

    Parameters
    ----------
    series, n_threads
        As for :func:`find_bad_images`.

    Returns
    -------
    The rest of the tilt series, which lists the others as excluded; and the 0-based numbers that were kept.

    Raises
    ------
    DataError
        If there is no image left, or one cannot be read.
    """
    bad = find_bad_images(series, n_threads=n_threads)
    kept = [tilt for tilt in range(series.n_tilts) if tilt not in bad]
    if not kept:
        raise DataError(f"{series.source or series.name}: no image of {series.name} can be used; image 1 is {bad[0]}")
    if not bad:
        return series, kept
    numbers = numbers_in_source(series)
    for tilt, reason in bad.items():
        warnings.warn(
            f"image {numbers[tilt]} of {series.name}, tilt {series.tilt_angles[tilt]:.1f}°, is {reason}; left out",
            stacklevel=2,
        )
    excluded = tuple(sorted([*series.excluded, *(numbers[tilt] for tilt in bad)]))
    return replace(series.select(kept), excluded=excluded), kept


def numbers_in_source(series: TiltSeries) -> list[int]:
    """Give the 1-based number in the source of each image of a tilt series.

    Parameters
    ----------
    series
        Its images are those of the source, in order, without the excluded ones.
    """
    excluded = set(series.excluded)
    total = series.n_tilts + len(excluded)
    numbers = [number for number in range(1, total + 1) if number not in excluded]
    # excluded numbers beyond the end say that the source counts in another way
    return numbers if len(numbers) == series.n_tilts else list(range(1, series.n_tilts + 1))
