"""Which pixels and CTFs can be used, and how a message names an image of a tilt series.

The engine refuses images that are not sound; :mod:`fourierrecon.quality.bad_images` finds them beforehand. Both ask
here, so that they agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fourierrecon.tilt_series import ImagesInFiles, TiltSeries

#: Pixels above this, either way, are no grey values: one of them drowns a tomogram, or makes it infinite.
LARGEST = 1e12
#: A message names so many images; of the others it gives the number.
NAMED = 3


def sound_pixels(image: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Tell which pixels hold grey values: neither NaN nor infinite, nor beyond :data:`LARGEST`; shape of the image."""
    return np.asarray(np.abs(image) <= np.float32(LARGEST))  # half floats cannot hold it


def without_ctf(series: TiltSeries) -> dict[int, str]:
    """Find images whose contrast transfer function is scaled by 0 or less, by 0-based number, and say so.

    With 0 they add nothing, as a blank image; with less they add the specimen with its contrast inverted.
    """
    scale = np.empty(0) if series.ctf is None else series.ctf.scale
    bad = np.flatnonzero(scale <= 0)
    return {int(tilt): f"no CTF: its scale factor (rlnCtfScalefactor) is {scale[tilt]:g}" for tilt in bad}


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
