"""Which way a volume lies in its file: as RELION, IMOD, AreTomo or Warp write theirs.

The volumes of these programs show the same specimen with axes in another order or one of them turned around:

=============== ===================================================================================
``--like``      axes of the file, the fastest first
=============== ===================================================================================
relion          x, y, z
imod            x, y, z: eTomo's final tomogram, rotated about x (``trimvol -rx``)
imod-tilt       x, -z, y: what the program tilt writes
aretomo         x, z, y: what AreTomo writes if not told otherwise
aretomo-flipvol x, y, -z: with ``-FlipVol 1``
warp            x, y, -z
=============== ===================================================================================

Here z is that of eTomo's final tomogram and of RELION. A tilt series of Warp has its z the other way from the
beginning: what is written for it then looks like that of the program nevertheless. Voxels stay where they are: only
their order changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import UsageError
from fourierrecon.geometry.coordinate_frames import Box
from fourierrecon.geometry.region import Region
from fourierrecon.runtime.scratch_file import ScratchFile
from fourierrecon.tilt_series import TiltSeries

if TYPE_CHECKING:
    from fourierrecon.volume import SlabWriter

#: Whether z is turned around, and whether y and z are exchanged after that.
LIKE: dict[str, tuple[bool, bool]] = {
    "relion": (False, False),
    "imod": (False, False),
    "imod-tilt": (True, True),
    "aretomo": (False, True),
    "aretomo-flipvol": (True, False),
    "warp": (True, False),
}
#: Bytes of a volume that are in memory at a time while its axes are exchanged.
PIECE = 1 << 26


@dataclass(frozen=True)
class Orientation:
    """How the voxels of a region are ordered in a file.

    Parameters
    ----------
    flip_z
        The last z slab comes first.
    swap
        y and z are exchanged (after that).
    """

    flip_z: bool = False
    swap: bool = False

    @classmethod
    def like(cls, program: str | None, series: TiltSeries) -> Orientation:
        """Give that of a program for a tilt series; None: as the tilt series itself has it.

        Raises
        ------
        UsageError
            If there is no such program.
        """
        if program is None:
            return cls()
        if program not in LIKE:
            raise UsageError(f"--like {program}: unknown; available: {', '.join(LIKE)}")
        flip_z, swap = LIKE[program]
        return cls(flip_z != series.z_reversed, swap)

    @property
    def axes(self) -> tuple[str, str, str]:
        """Axes of the file, the fastest first."""
        z = "-z" if self.flip_z else "z"
        return ("x", z, "y") if self.swap else ("x", "y", z)

    def shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Give the shape of the file for a region of the shape ``(z, y, x)``."""
        depth, height, width = shape
        return (height, depth, width) if self.swap else shape

    def memory(self, shape: tuple[int, int, int]) -> int:
        """Give the bytes that a volume ``(z, y, x)`` takes of the memory when its axes are exchanged at the end."""
        return self._rows(shape) * 4 * shape[0] * shape[2] if self.swap else 0

    def _rows(self, shape: tuple[int, int, int]) -> int:
        """How many rows of all slabs are in memory at a time."""
        return max(1, min(shape[1], PIECE // (4 * shape[0] * shape[2])))

    def matrix(self, shape: tuple[int, int, int]) -> NDArray[np.float64]:
        """Give what takes a voxel of the file, fastest axis first, to that of the region ``(x, y, z)``, ``(4, 4)``."""
        result = np.eye(4)
        if self.swap:
            result = result[[0, 2, 1, 3]]
        if self.flip_z:
            turn = np.diag([1.0, 1, -1, 1])
            turn[2, 3] = shape[0] - 1
            result = turn @ result
        return result

    def origin(self, region: Region, box: Box) -> tuple[float, float, float]:
        """Give the place of the file's first voxel, Å, its fastest axis first, as headers hold it.

        As the tilt series has it: in the world. Else in the tomogram of that program, from its first voxel.
        """
        if self == Orientation():
            x, y, z = (float(c) * box.pixel_size for c in region.origin)
            return x, y, z
        first = self.matrix(region.shape)[:3, 3] * region.binning + box.corner
        if self.flip_z:
            first[2] = box.size[2] - 1 - first[2]
        x, y, z = (float(c) * box.pixel_size for c in (first[[0, 2, 1]] if self.swap else first))
        return x, y, z

    @contextmanager
    def writing(self, write: SlabWriter, shape: tuple[int, int, int], folder: Path | None) -> Iterator[SlabWriter]:
        """Take z slabs of a region in any order, and hand them on in the order of the file.

        Where y and z are exchanged, the region goes through a scratch file in this folder.

        Parameters
        ----------
        write
            Of the file.
        shape
            ``(z, y, x)`` of the region.
        folder
            For the scratch file.
        """
        depth, height, width = shape

        def place(z: int) -> int:
            return depth - 1 - z if self.flip_z else z

        if not self.swap:
            yield lambda z, slab: write(place(z), slab)
            return
        rows = self._rows(shape)
        with closing(ScratchFile(folder, depth, (height, width), np.float32)) as scratch:
            yield lambda z, slab: scratch.write(place(z), 0, np.ascontiguousarray(slab))
            for first in range(0, height, rows):
                part = np.empty((depth, min(rows, height - first), width), np.float32)
                for z in range(depth):
                    scratch.read(z, first * width, [part[z]])
                for i in range(part.shape[1]):
                    write(first + i, np.ascontiguousarray(part[:, i]))
