"""Finds images that cannot be used, and leaves them out: blank, not finite, dark, blocked, or without a CTF."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import replace

import numpy as np

from fourierrecon.errors import DataError
from fourierrecon.geometry.sound_images import LARGEST, numbers_in_source, sound_pixels, where_from, without_ctf
from fourierrecon.images.intensities import LEAST_MEAN, expected_intensities
from fourierrecon.runtime.arrays import Real
from fourierrecon.runtime.threads import available_cores, for_each
from fourierrecon.text import counted, is_or_are
from fourierrecon.tilt_series import TiltSeries

#: An image whose grey values spread less than this part of what those of the others do (median) is blank.
BLANK = 0.1
#: Rows and columns of each image that are looked at for its spread, at the most.
SAMPLED = 256
#: An image is dark if its intensity is less than this part of what its tilt lets expect.
DARK = 0.4  # such images are not scaled: see fourierrecon.images.intensities
#: An image is blocked if this part of it more than of others (median) has less than a part of its own light, looked at
#: in so many pieces along each side. What is opaque in all images, as a bar of the grid that stays, is no fault of one.
BLOCKED, SHADOW, PIECES = 0.2, 0.3, 16


def find_bad_images(series: TiltSeries, *, ctf: bool = True, n_threads: int | None = None) -> dict[int, str]:
    """Look at all images of a tilt series for those that cannot be used.

    Parameters
    ----------
    series
        Tilt series; all its images are read, one after the other.
    ctf
        Whether the CTF is to be corrected: images whose CTF is scaled by 0 or less cannot be used then.
    n_threads
        Number of threads. Default: the cores available to the process.

    Returns
    -------
    The fault of each bad image, by 0-based number: ``blank: ...``, ``not finite: ...``, ``dark: ...``,
    ``blocked: ...`` or ``no CTF: ...``.

    Raises
    ------
    DataError
        If an image cannot be read.
    """
    spread = np.zeros(series.n_tilts)
    lost = np.zeros(series.n_tilts, np.int64)
    grey, mean = np.zeros(series.n_tilts), np.full(series.n_tilts, np.nan)
    shadow = np.zeros(series.n_tilts)

    def look(_: None, tilt: int) -> None:
        image = np.asarray(series.images[tilt], np.float32)
        sound = sound_pixels(image)
        lost[tilt] = image.size - int(sound.sum())
        step = max(1, max(image.shape) // SAMPLED)
        known = image[::step, ::step][sound[::step, ::step]]
        if known.size:
            low, grey[tilt], high = np.percentile(known, (5, 50, 95))
            mean[tilt] = known.mean(dtype=float)
            # percentiles: an image that is constant but for a few bright pixels is blank as well
            spread[tilt] = high - low
        if lost[tilt] == 0:
            shadow[tilt] = _in_shadow(image[::step, ::step])

    for_each(series.n_tilts, look, state=lambda: None, n_threads=n_threads or available_cores())
    bad = without_ctf(series) if ctf else {}
    usual = float(np.median(spread))
    for tilt in range(series.n_tilts):
        if lost[tilt]:
            pixels = f"{counted(int(lost[tilt]), 'pixel')} {is_or_are(lost[tilt])}"
            bad[tilt] = f"not finite: {pixels} NaN, infinite or beyond {LARGEST:g}"
        elif spread[tilt] == 0:
            bad[tilt] = f"blank: every pixel is {grey[tilt]:g}"
        elif spread[tilt] <= BLANK * usual:
            bad[tilt] = f"blank: its grey values spread over {spread[tilt]:.3g}, those of other images over {usual:.3g}"
    # stacks that were set to mean 0 tell nothing of intensities
    light = np.nanmedian(mean) > LEAST_MEAN * usual / 3.3 if np.isfinite(mean).any() else False
    expected = expected_intensities(series.tilt_angles, mean) if light else None
    if expected is None:
        return bad
    for tilt in range(series.n_tilts):
        part, dark = mean[tilt] / expected[tilt], shadow[tilt] - float(np.median(shadow))
        if part < DARK:
            bad.setdefault(tilt, f"dark: its intensity is {100 * part:.0f} % of what its tilt lets expect")
        elif dark > BLOCKED:
            bad.setdefault(tilt, f"blocked: {100 * shadow[tilt]:.0f} % of it lies in shadow")
    return bad


def _in_shadow(image: Real) -> float:
    """Give the part of an image that has little of its own light."""
    rows, columns = (max(1, n // PIECES) for n in image.shape)
    height, width = (n // size for n, size in zip(image.shape, (rows, columns), strict=True))
    pieces = image[: height * rows, : width * columns].reshape(height, rows, width, columns).mean((1, 3))
    return float((pieces < SHADOW * np.percentile(pieces, 95)).mean())


def without_bad_images(
    series: TiltSeries, halves: Collection[TiltSeries] = (), *, ctf: bool = True, n_threads: int | None = None
) -> tuple[TiltSeries, list[int]]:
    """Leave images out that cannot be used, with a warning for each.

    Parameters
    ----------
    series, ctf, n_threads
        As for :func:`find_bad_images`.
    halves
        The same with the images of even and odd frames: a tilt is left out where one of these cannot be used, too.

    Returns
    -------
    The rest of the tilt series, which lists the others as excluded; and the 0-based numbers that were kept.

    Raises
    ------
    DataError
        If there is no image left, or one cannot be read.
    """
    bad = find_bad_images(series, ctf=ctf, n_threads=n_threads)
    for half in halves:
        for tilt, reason in find_bad_images(half, ctf=False, n_threads=n_threads).items():
            bad.setdefault(tilt, f"{reason}, {where_from(half, tilt)}")
    kept = [tilt for tilt in range(series.n_tilts) if tilt not in bad]
    if not kept:
        remedy = '; are the half images right? halves="tilts" does without them' if halves else ""
        raise DataError(
            f"{series.source or series.name}: no image of {series.name} can be used; image 1: {bad[0]}{remedy}"
        )
    if not bad:
        return series, kept
    numbers = numbers_in_source(series)
    for tilt in sorted(bad):
        warnings.warn(
            f"image {numbers[tilt]} of {series.name}, tilt {series.tilt_angles[tilt]:.1f}°: {bad[tilt]}; left out",
            stacklevel=2,
        )
    excluded = tuple(sorted([*series.excluded, *(numbers[tilt] for tilt in bad)]))
    return replace(series.select(kept), excluded=excluded), kept
