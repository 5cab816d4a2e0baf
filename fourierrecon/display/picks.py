"""Points of picks in the voxels of a volume, to be drawn over its slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.coordinate_frames import Box, conversion, convert
from fourierrecon.io.points import Points, read_points, usual_frame

#: Diameter of the circles around points, Å: about a ribosome.
DIAMETER = 300.0
#: Frames that are taken to count the voxels of the volume that is shown.
OF_THIS_VOLUME = ("volume", "imod", "imod-voxel", "imod-tilt", "aretomo", "warp", "copick")


@dataclass(frozen=True, eq=False, kw_only=True)
class Picks:
    """Points to be drawn over a volume.

    Parameters
    ----------
    name
        What they are called.
    voxels
        ``(n_points, 3)``: x, y, z in voxels of the volume, from 0. They may lie outside of it.
    """

    name: str
    voxels: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.voxels)


def read_picks(
    path: Path,
    shape: tuple[int, int, int],
    voxel_size: float,
    *,
    frame: str | None = None,
    box: Box | None = None,
    tomogram: str | None = None,
) -> Picks:
    """Read points, and count them in the voxels of a volume.

    Frames that count voxels (``volume``, ``imod``, ``aretomo``, ``warp``, ``copick``) are those of the volume itself:
    the points were picked in it, or in one of the same size. The others count unbinned pixels or Å of the whole
    tomogram, and need the volume's passport.

    Parameters
    ----------
    path
        File of points: ``.csv``, ``.star``, ``.mod`` or copick's ``.json``.
    shape, voxel_size
        ``(z, y, x)`` of the volume; Å, 0 where it is unknown.
    frame
        Name of :data:`~fourierrecon.geometry.coordinate_frames.COORDINATE_FRAMES`. Default:
        :func:`~fourierrecon.io.points.usual_frame`.
    box
        Tomogram that the volume shows a part of, from its passport; None: there is none.
    tomogram
        Name of the tomogram, where the file holds points of several.

    Raises
    ------
    DataError
        If the file cannot be used, or names other tomograms.
    UsageError
        If the frame is unknown, not clear, or needs a passport that is not there.
    """
    frame = frame or usual_frame(path)
    if frame is None:
        raise UsageError(
            f"{path}: rlnCoordinateX may count from 0 or 1, binned or not; say which: frame='relion4', 'relion5-px', "
            f"'warp' or 'volume'"
        )
    points = _of_tomogram(read_points(path, centred=frame == "relion5"), tomogram, path)
    if frame in OF_THIS_VOLUME:
        depth, height, width = shape
        own = Box((width, height, depth), voxel_size or 1.0)
        if box is not None:
            own = replace(own, z_reversed=box.z_reversed, axis_angle=box.axis_angle)
        if frame == "copick" and not voxel_size:
            raise UsageError(f"{path}: copick counts in Å, and the volume does not report its voxel size")
        matrix = conversion(frame, "volume", own)
    elif box is None:
        raise UsageError(
            f"{path}: {frame} coordinates count from the whole tomogram, and the volume has no passport beside it that "
            f"says where it lies in that; reconstruct with passport=True, or give frame='volume'"
        )
    else:
        matrix = conversion(frame, "volume", box, target_binning=voxel_size / box.pixel_size)
    return Picks(name=path.stem, voxels=convert(points.coordinates, matrix))


def _of_tomogram(points: Points, tomogram: str | None, path: Path) -> Points:
    """Give the points of one tomogram."""
    names: Sequence[str] = list(dict.fromkeys(name.removesuffix(".tomostar") for name in points.tomograms or ()))
    if not names:
        return points
    if tomogram is None:
        if len(names) > 1:
            shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
            raise UsageError(f"{path} holds points of {len(names)} tomograms ({shown}); choose one (name=...)")
        return points
    kept = np.array([name.removesuffix(".tomostar") == tomogram for name in points.tomograms or ()])
    if not kept.any():
        raise DataError(f"{path}: no points of tomogram {tomogram!r}; it names {', '.join(names[:5])}")
    return replace(points, coordinates=points.coordinates[kept], tomograms=None, columns={})
