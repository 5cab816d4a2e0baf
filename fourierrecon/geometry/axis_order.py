"""Order and direction of a volume's axes in its file: as RELION, IMOD, AreTomo or Warp write theirs.

The volumes of these programs show the same specimen with axes in another order or one of them turned around:

=============== ===================================================================================
program         axes of the file, the fastest first
=============== ===================================================================================
relion          x, y, z
imod            x, y, z: eTomo's final tomogram, rotated about x (``trimvol -rx``)
imod-tilt       x, -z, y: what the program tilt writes
aretomo         x, z, y: what AreTomo writes if not told otherwise
aretomo-flipvol x, y, -z: with ``-FlipVol 1``
warp            x, y, -z
=============== ===================================================================================

Here z is that of eTomo's final tomogram and of RELION. A tilt series of Warp has its z the other way from the
beginning; the file looks like that of the program all the same. Voxels stay where they are in the specimen: only their
order changes. :mod:`fourierrecon.io.volumes.reorder` writes the files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import UsageError
from fourierrecon.geometry.coordinate_frames import Box
from fourierrecon.geometry.region import Region
from fourierrecon.tilt_series import TiltSeries

#: Whether z is turned around, and whether y and z are exchanged after that.
LIKE: dict[str, tuple[bool, bool]] = {
    "relion": (False, False),
    "imod": (False, False),
    "imod-tilt": (True, True),
    "aretomo": (False, True),
    "aretomo-flipvol": (True, False),
    "warp": (True, False),
}


@dataclass(frozen=True)
class Orientation:
    """How the voxels of a region are ordered in a file.

    Parameters
    ----------
    flip_z
        The last z section comes first.
    swap
        y and z are exchanged, after z was turned around.
    """

    flip_z: bool = False
    swap: bool = False

    @classmethod
    def like(cls, program: str | None, series: TiltSeries) -> Orientation:
        """Give the orientation that makes a file look like one of a program.

        Parameters
        ----------
        program
            A name of :data:`LIKE`; None: as the tilt series itself has it.
        series
            The tilt series of the volume.

        Raises
        ------
        UsageError
            If there is no such program.
        """
        if program is None:
            return cls()
        if program not in LIKE:
            raise UsageError(f"like={program}: unknown; available: {', '.join(LIKE)}")
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

    def matrix(self, shape: tuple[int, int, int]) -> NDArray[np.float64]:
        """Give the matrix ``(4, 4)`` from voxels of the file, fastest axis first, to ``(x, y, z)`` of the region."""
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

        A file in the order of the tilt series holds world coordinates. Any other file counts from the first voxel of
        the whole tomogram, as the program has it.
        """
        if self == Orientation():
            x, y, z = (float(c) * box.pixel_size for c in region.origin)
            return x, y, z
        first = self.matrix(region.shape)[:3, 3] * region.binning + box.corner
        if self.flip_z:
            first[2] = box.size[2] - 1 - first[2]
        x, y, z = (float(c) * box.pixel_size for c in (first[[0, 2, 1]] if self.swap else first))
        return x, y, z
