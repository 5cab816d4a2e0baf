"""The half images of a tilt series: those of its even and of its odd frames."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.geometry.sound_images import where_from
from fourierrecon.io.relion.read import read_halves
from fourierrecon.text import counted
from fourierrecon.tilt_series import ImageStack, TiltSeries, chosen_images

COLUMNS = {"Even": "rlnMicrographNameEven", "Odd": "rlnMicrographNameOdd"}


def half_series(source: Path, series: TiltSeries) -> dict[str, TiltSeries]:
    """Open the half images of a tilt series, and check that they are what they should be.

    Parameters
    ----------
    source
        Set that names the tilt series.
    series
        Tilt series, with all of its images.

    Returns
    -------
    halves
        The same tilt series with the images of each half, under ``Even`` and ``Odd``.

    Raises
    ------
    DataError
        If the set names no half images, if their size differs from that of the full images, or if both of a tilt are
        the same image: their correlation would mean nothing.
    """
    images = read_halves(source, series.name) if source.suffix.lower() == ".star" else {}
    if not images:
        raise DataError(
            f"{source}: {series.name} has no images of even and odd frames ({', '.join(COLUMNS.values())}); add them, "
            'or use halves="tilts"'
        )
    for half, stack in images.items():
        if tuple(stack.shape) != tuple(series.images.shape):
            size, other = (
                f"{counted(s[0], 'image')} of {s[2]} x {s[1]} px" for s in (stack.shape, series.images.shape)
            )
            raise DataError(
                f"{source}: the half images of {series.name} ({COLUMNS[half]}) are {size}, the full ones {other}; the "
                'alignment is that of the full ones: make the halves of the same size, or use halves="tilts"'
            )
    halves = {half: replace(series, images=stack) for half, stack in images.items()}
    _check_different(source, halves["Even"], halves["Odd"])
    return halves


def halves_for_snr(source: Path, name: str, kept: Sequence[int] | None = None) -> dict[str, ImageStack]:
    """Open the half images of a tilt series, as the better source of its signal-to-noise ratio, if it has them.

    The half images are optional here: a set may still name them after their files were deleted. A warning then says
    that the ratio is measured from neighbouring tilts.

    Parameters
    ----------
    source
        File that the series was read from, of any program.
    name
        Name of the series.
    kept
        0-based numbers of the images to take; None: all.
    """
    if source.suffix.lower() != ".star":
        return {}
    try:
        halves = read_halves(source, name)
    except DataError as error:
        warnings.warn(
            f"the images of even and odd frames cannot be used ({error}); the SNR is measured from neighbouring tilts",
            stacklevel=2,
        )
        return {}
    return halves if kept is None else {half: chosen_images(images, kept) for half, images in halves.items()}


def _check_different(source: Path, even: TiltSeries, odd: TiltSeries) -> None:
    """Refuse the same image in both halves; for three tilts, copies under other names are found as well."""
    n = even.n_tilts
    looked_at = {0, n // 2, n - 1}
    for tilt in range(n):
        places = where_from(even, tilt, named=False), where_from(odd, tilt, named=False)
        named_twice = places[0] != "" and places[0] == places[1]
        if named_twice or (tilt in looked_at and _copies(even.images[tilt], odd.images[tilt])):
            raise DataError(
                f"{source}: the even and the odd image of tilt {tilt + 1} of {even.name} are the same "
                f'({where_from(even, tilt)}; {where_from(odd, tilt)}); correct these columns, or use halves="tilts"'
            )


def _copies(a: NDArray[np.generic], b: NDArray[np.generic]) -> bool:
    """Tell whether two images are the same. Blank images do not count: another check finds them."""
    return bool(np.array_equal(a, b) and (a != a.flat[0]).any())
