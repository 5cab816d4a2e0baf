"""Images that say nothing: blank, with pixels that are no grey values, or without a CTF. They can be left out."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.runtime.threads import available_cores, for_each
from fourierrecon.tilt_series import ImagesInFiles, TiltSeries

#: An image whose grey values spread less than this part of what those of the others do (median) is blank.
BLANK = 0.1
#: Rows and columns of each image that are looked at for its spread, at the most.
SAMPLED = 256
#: Pixels above this, either way, are no grey values: one of them drowns a tomogram, or makes it infinite.
LARGEST = 1e12
#: So many images are named in a message.
NAMED = 3


def sound_pixels(image: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Tell which pixels hold grey values: neither NaN nor infinite, nor beyond :data:`LARGEST`; shape of the image."""
    return np.asarray(np.abs(image) <= LARGEST)


def find_bad_images(series: TiltSeries, *, ctf: bool = True, n_threads: int | None = None) -> dict[int, str]:
    """Look at all images of a tilt series for those that cannot be used.

    Parameters
    ----------
    series
        Its images are read, one after the other.
    ctf
        Whether the CTF is to be corrected: images whose CTF is scaled by 0 or less cannot be used then.
    n_threads
        Default: the cores available to the process.

    Returns
    -------
    What is wrong, by 0-based number: ``blank: ...``, ``not finite: ...`` or ``no CTF: ...``.

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
        sound = sound_pixels(image)
        lost[tilt] = image.size - int(sound.sum())
        step = max(1, max(image.shape) // SAMPLED)
        known = image[::step, ::step][sound[::step, ::step]]
        if known.size:
            low, grey[tilt], high = np.percentile(known, (5, 50, 95))
            # a few bright pixels on a constant image say nothing either
            spread[tilt] = high - low

    for_each(series.n_tilts, look, state=lambda: None, n_threads=n_threads or available_cores())
    bad = without_ctf(series) if ctf else {}
    usual = float(np.median(spread))
    for tilt in range(series.n_tilts):
        if lost[tilt]:
            bad[tilt] = f"not finite: {lost[tilt]} pixels are NaN, infinite or beyond {LARGEST:g}"
        elif spread[tilt] == 0:
            bad[tilt] = f"blank: every pixel is {grey[tilt]:g}"
        elif spread[tilt] <= BLANK * usual:
            bad[tilt] = f"blank: its grey values spread over {spread[tilt]:.3g}, those of other images over {usual:.3g}"
    return bad


def without_ctf(series: TiltSeries) -> dict[int, str]:
    """Find images whose contrast transfer function is scaled by 0 or less, by 0-based number, and say so.

    With 0 they add nothing, as a blank image; with less they add the specimen with its contrast inverted.
    """
    scale = np.empty(0) if series.ctf is None else series.ctf.scale
    bad = np.flatnonzero(scale <= 0)
    return {int(tilt): f"no CTF: its scale factor (rlnCtfScalefactor) is {scale[tilt]:g}" for tilt in bad}


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
        remedy = "; are the half images what they should be? --halves tilts does without them" if halves else ""
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


def where_from(series: TiltSeries, tilt: int, *, named: bool = True) -> str:
    """Say where an image of a tilt series lies, ``image 3 of a.mrcs``; empty if it comes from no file.

    The column of a set that names it is told as well (``named``) where that is not the usual one.
    """
    images = series.images
    if not isinstance(images, ImagesInFiles):
        return ""
    path, number = images.sections[tilt]
    column = images.column if named else ""
    return f"image {number + 1} of {path}{f', {column}' if column else ''}"


def list_images(series: TiltSeries, tilts: Sequence[int] | NDArray[np.int64]) -> str:
    """Name images of a tilt series, given by 0-based number, in a message: the first, and how many more there are."""
    numbers = numbers_in_source(series)
    named = [f"{numbers[tilt]} ({series.tilt_angles[tilt]:.1f}°)" for tilt in tilts[:NAMED]]
    more = f" and {len(tilts) - NAMED} more" if len(tilts) > NAMED else ""
    return f"image{'s' * (len(tilts) > 1)} {', '.join(named)}{more}"
