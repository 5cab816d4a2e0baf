"""Which image of the stack a row of AreTomo's files is of.

As facts, from its own readers and writers (those of AreTomo 2 and 3 are public):

* Rows come in the order that it works in, as a rule that of tilts. ``SEC`` is the image's number in the raw stack: from
  0 up to AreTomo 3 2.0.6, from 1 later. Before 2.0.7 dark images may not have been counted.
* ``DarkFrame`` has the place in that order, from 0, and the number in the raw stack, from 0, or from 1 since 2.0.10.
* ``_CTF.txt`` lists images in that order, dark ones among them (before 1.0.10 not always); its eighth column is the
  sign by which the defocus grows with the depth along the beam, for ``ROT`` as it stands in the ``.aln``.
* ``_TLT.txt`` lists images in the order of the raw stack.
* AreTomo 1 has one line instead of ``RawSize`` and ``NumPatches``: the numbers of tilts and patches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.text import counted


def places_in_stack(path: Path, alignment: Any) -> tuple[NDArray[np.intp], list[int]]:
    """Give the 0-based number in the raw stack of each row, and of each dark frame.

    The file does not say which version wrote it: the numbers themselves do, as together they count every image once.

    Parameters
    ----------
    path
        File ``.aln``, for messages.
    alignment
        Its contents, an ``alnfile.data_model.AlnData``.

    Returns
    -------
    rows
        Numbers of the rows, in the order of the file.
    dark
        Sorted.

    Raises
    ------
    DataError
        If they count no stack, or more than one.
    """
    n = int(alignment.RawSize[2])
    sections = [row.sec for row in alignment.GlobalAlignments]
    frames = alignment.DarkFrames
    if len(sections) + len(frames) != n:
        raise DataError(
            f"{path}: {counted(len(sections), 'row')} and {counted(len(frames), 'dark frame')}, but RawSize says "
            f"{counted(n, 'image')}; was the file cut short?"
        )
    places, written = [frame.section_idx for frame in frames], [frame.val2 for frame in frames]
    if sorted({*places} & {*range(n)}) != sorted(places):
        raise DataError(f"{path}, DarkFrame: first numbers {places} must lie in 0 to {n - 1}, each once; correct them")
    found = _count(sections, written, n)
    if not any(written):
        # perhaps they were not written; the place in the order of tilts is the same in a sorted stack
        other = _count(sections, places, n)
        tilts = [row.tilt for row in sorted(alignment.GlobalAlignments, key=lambda row: row.sec)]
        if found is not None and other is not None and found[:2] != other[:2] and tilts == sorted(tilts):
            found = None
        else:
            found = found or other
    if found is not None and not found[2] and found[1] != sorted(places):
        # SEC counts along the tilts then, the dark ones along the stack
        found = None
    if found is None:
        raise DataError(
            f"{path}, column SEC and DarkFrame: they do not number {counted(n, 'image')}, each once, in one way; was "
            "the file edited? Align the series anew"
        )
    return np.array(found[0], int), found[1]


def _count(sections: list[int], dark: list[int], n: int) -> tuple[list[int], list[int], bool] | None:
    """Find images for sections and dark frames: their numbers from 0, and whether dark ones are counted in SEC."""
    # the first numbers of SEC and DarkFrame: up to version 2.0.6, up to 2.0.9, and later
    for first, first_dark in ((0, 0), (1, 0), (1, 1)):
        rows, out = [section - first for section in sections], [number - first_dark for number in dark]
        if sorted(rows + out) == list(range(n)):
            return rows, sorted(out), True
    kept = sorted(set(range(n)) - set(dark))
    for first in (0, 1):
        if len(kept) == len(sections) and sorted(sections) == list(range(first, first + len(kept))):
            return [kept[section - first] for section in sections], sorted(dark), False
    return None


def version_1_places(path: Path, alignment: Any, n: int) -> tuple[NDArray[np.intp], list[int]]:
    """Do the same for AreTomo 1, which does not list the images that it found dark.

    Parameters
    ----------
    path, alignment
        As for :func:`places_in_stack`.
    n
        Number of images in the stack.

    Raises
    ------
    DataError
        If the rows name no images of this stack.
    """
    sections = np.array([row.sec for row in alignment.GlobalAlignments])
    if len(set(sections)) == len(sections) == n:
        # the stack may have lost its dark images since
        return np.argsort(np.argsort(sections)), []
    places = sections - int(sections.max() == n)
    if len(set(places)) < len(places) or places.min() < 0 or places.max() >= n:
        raise DataError(
            f"{path}, column SEC: it does not number images of the stack, which holds {n}, each once; give the one "
            f"that was aligned, stack=..."
        )
    return places, sorted(set(range(n)) - set(places.tolist()))


def places_in_order(alignment: Any, n: int) -> NDArray[np.intp]:
    """Give the 0-based place of each row in the order that AreTomo worked in, dark images counted, ``(rows,)``.

    Parameters
    ----------
    alignment
        As for :func:`places_in_stack`.
    n
        Number of all images.
    """
    dark = {frame.section_idx for frame in alignment.DarkFrames}
    return np.array(sorted(set(range(n)) - dark), np.intp)[: len(alignment.GlobalAlignments)]
