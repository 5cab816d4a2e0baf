"""Writes a volume in the order of axes of another program: sections come as the region has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from fourierrecon.geometry.axis_order import Orientation
from fourierrecon.runtime.scratch_file import ScratchFile
from fourierrecon.volume import SlabWriter

#: Bytes of a volume that are in memory at a time while its axes are exchanged.
PIECE = 1 << 26


def reorder_bytes(orientation: Orientation, shape: tuple[int, int, int]) -> int:
    """Give the bytes of memory that it takes to exchange the axes of a volume at the end.

    Parameters
    ----------
    orientation
        Order of the axes in the file.
    shape
        ``(z, y, x)`` of the region.
    """
    return _rows(shape) * 4 * shape[0] * shape[2] if orientation.swap else 0


@contextmanager
def reordering(
    write: SlabWriter, orientation: Orientation, shape: tuple[int, int, int], scratch_folder: Path | None
) -> Iterator[SlabWriter]:
    """Take z sections of a region in any order, and hand them on in the order of axes of the file.

    Where y and z are exchanged, the region goes through a scratch file.

    Parameters
    ----------
    write
        Writes a section of the file.
    orientation
        Order of the axes in the file.
    shape
        ``(z, y, x)`` of the region.
    scratch_folder
        Folder of the scratch file; None: that of the system.

    Yields
    ------
    write
        ``write(z, section)`` takes a section ``(y, x)`` of the region.
    """
    depth, height, width = shape

    def place(z: int) -> int:
        return depth - 1 - z if orientation.flip_z else z

    if not orientation.swap:
        yield lambda z, section: write(place(z), section)
        return
    rows = _rows(shape)
    with closing(ScratchFile(scratch_folder, depth, (height, width), np.float32)) as scratch_file:
        yield lambda z, section: scratch_file.write(place(z), 0, np.ascontiguousarray(section))
        for first in range(0, height, rows):
            part = np.empty((depth, min(rows, height - first), width), np.float32)
            for z in range(depth):
                scratch_file.read(z, first * width, [part[z]])
            for i in range(part.shape[1]):
                write(first + i, np.ascontiguousarray(part[:, i]))


def _rows(shape: tuple[int, int, int]) -> int:
    """Give how many rows of all sections are in memory at a time."""
    return max(1, min(shape[1], PIECE // (4 * shape[0] * shape[2])))
