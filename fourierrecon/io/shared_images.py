"""Images that two tomograms name: most often a line that was copied, and not changed in all places."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path

from fourierrecon.errors import FourierReconError
from fourierrecon.io.relion.read import IMAGE, find_set, tilts_of


def shared_images(source: Path) -> dict[str, str]:
    """Find tomograms of a set that name images of another one; the images need not be there.

    Parameters
    ----------
    source
        Tomogram set (STAR); other sources name one tilt series, and share nothing.

    Returns
    -------
    What to tell, by the name of the tomogram.

    Raises
    ------
    DataError, UsageError
        If the set cannot be read. Its tomograms that cannot are left out: that is told when they are made.
    """
    if source.suffix.lower() != ".star":
        return {}
    _, overview, tables = find_set(source)
    images: dict[str, list[str]] = {}
    for i, name in enumerate(overview.words("rlnTomoName")):
        row = overview.row(i)
        if row.has("rlnTomoTiltSeriesName"):
            images[name] = [_plain(row.words("rlnTomoTiltSeriesName")[0])]
            continue
        try:
            tilts, _ = tilts_of(row, tables, name)
            images[name] = [_plain(word) for word in tilts.words(IMAGE["full"])]
        except (FourierReconError, OSError):
            continue
    return in_common(images)


def in_common(images: Mapping[str, Iterable[Hashable]]) -> dict[str, str]:
    """Say of each tomogram, by name, if it has images in common with another one.

    Parameters
    ----------
    images
        Keys of its images, by the name of the tomogram.
    """
    owners: dict[Hashable, list[str]] = {}
    for name, own in images.items():
        for image in dict.fromkeys(own):
            owners.setdefault(image, []).append(name)
    found: dict[str, str] = {}
    for image, names in owners.items():
        for name in names if len(names) > 1 else ():
            other = next(other for other in names if other != name)
            found.setdefault(
                name, f"names images of {other} as well, the first {image}: which of the two has the wrong ones?"
            )
    return found


def _plain(word: str) -> str:
    """Give the name of an image in one spelling, ``N@FILE`` or ``FILE``."""
    number, at, file = word.rpartition("@")
    return f"{number.lstrip('0')}{at}{os.path.normpath(file)}"
