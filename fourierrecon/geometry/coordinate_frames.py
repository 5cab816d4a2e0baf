"""Frames of points: where the programs of the field count the same place of a tomogram from, in which unit, which way.

All of it is said relative to **reference voxels**: the unbinned voxels, from 0, of the tomogram as eTomo has it in the
end and RELION takes it over (rotated about x, ``trimvol -rx``). With the size
``(w, h, d)`` of that tomogram, the pixel size ``p`` and the binning ``B`` of the volume that points were picked in, a
reference voxel ``(x, y, z)`` is

=============== ==== ===================================================================================
frame           unit coordinates
=============== ==== ===================================================================================
volume          px   voxels of our volumes, from 0: ``(x, y, z) / B``; also of RELION's
relion4         px   ``rlnCoordinateX/Y/Z``, unbinned, from 1: ``(x, y, z) + 1``
relion5         Å    ``rlnCenteredCoordinateX/Y/ZAngst``: ``p ((x, y, z) - (int(w/2), int(h/2), int(d/2)))``
relion5-px      px   ``rlnCoordinateX/Y/Z`` of RELION 5, unbinned, from 0: ``(x, y, z)``
imod            px   points of a model (.mod) on eTomo's final tomogram: the middle of the first voxel is
                     (1/2, 1/2, 0), and a binned voxel is the mean of ``B x B x B``
imod-voxel      px   the same, as numbers of voxels from 1, as 3dmod shows them
imod-tilt       px   points of a model on what the program tilt writes: x, then ``z`` from the other side, then y
aretomo         px   voxels, from 0, of AreTomo's volume with ``-FlipVol 1``: ``z`` counts from the other side
aretomo-middle  px   unbinned, from the middle of the volume: ``X`` of AreTomo's geometry
warp            px   Warp's volume: ``(x, y, d - 1/2 - z) / B``, but see below
copick          Å    ``location`` of copick: voxels of the volume, from 0, times their size
=============== ==== ===================================================================================

Warp turns about ``n / 2`` where IMOD, whose alignments it imports, turns about ``(n - 1) / 2``, in the images as well
as in the volume. No shift of the volume makes up for that at all tilts. The best one, in x and y, is ``1/2 - s``, where
``s`` is half a pixel along both axes of the images, turned back by the tilt axis angle; across the tilt axis it counts
1.18 times, for tilts to ±60°. That leaves 0.1 px. The shift is next to nothing where the tilt axis is the images' y.

A tilt series of Warp gives a tomogram in Warp's frame: there ``volume`` and ``copick`` count as ``warp`` does. Between
frames of which one counts ``z`` from the other side a set of points is mirrored; so is the density in the volumes.
Sources: RELION's projection of particles; the facts in :mod:`fourierrecon.io.imod.alignment`, ``.aretomo`` and
``.warp``; the
IMOD file format (https://bio3d.colorado.edu/imod/doc/binspec.html); AreTomo's notes on ``-FlipVol``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import UsageError
from fourierrecon.geometry.projection import tilt_axis_angle
from fourierrecon.geometry.region import Region, centre_voxel
from fourierrecon.tilt_series import TiltSeries

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """The tomogram that points lie in.

    Parameters
    ----------
    size
        ``(width, height, depth)``, bin-1 px.
    pixel_size
        Å.
    z_reversed
        The tomogram itself is in Warp's frame.
    corner
        Unbinned voxel ``(x, y, z)`` of the whole tomogram at which a volume begins that shows a part of it.
    axis_angle
        Angle of the tilt axis from the images' y, degrees; it matters for Warp only.
    """

    size: tuple[float, float, float]
    pixel_size: float
    z_reversed: bool = False
    corner: tuple[float, float, float] = (0.0, 0.0, 0.0)
    axis_angle: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.size).all() and min(self.size) > 0):
            raise UsageError(f"size {self.size} of the tomogram must be three positive numbers (bin-1 px)")
        if not (np.isfinite(self.pixel_size) and self.pixel_size > 0):
            raise UsageError(f"pixel size {self.pixel_size:g} Å must be positive")

    @classmethod
    def of(cls, series: TiltSeries, region: Region | None = None) -> Box:
        """Give the tomogram of a tilt series: by default all of it, or a region as a part of it.

        Where the tilt series does not know the tomogram's size, the region is all of it.
        """
        region = Region.of(series) if region is None else region
        width, height, depth = series.size or region.size or (n * region.binning for n in region.shape[::-1])
        first = (series.world_origin,) * 3
        if series.middle is not None:
            x, y, z = (m - (n - 1) / 2 for m, n in zip(series.middle, (width, height, depth), strict=True))
            first = x, y, z
        elif series.rotation_centre is not None:
            halves = centre_voxel((width, height, depth), z_reversed=series.z_reversed)
            x, y, z = (c - h for c, h in zip(series.rotation_centre, halves, strict=True))
            first = x, y, z
        x, y, z = (float(a - b) for a, b in zip(region.origin, first, strict=True))
        # where z is the other way, the same tilt angles turn the other way: the axis points backwards
        angle = tilt_axis_angle(series.projections, series.tilt_angles) + 180.0 * series.z_reversed
        return cls((width, height, depth), series.pixel_size, series.z_reversed, (x, y, z), angle)


@dataclass(frozen=True)
class CoordinateFrame:
    """How one program counts.

    Parameters
    ----------
    unit
        ``px`` or ``Å``.
    binned
        Whether the numbers depend on the binning of the volume.
    matrix
        Function of a box and a binning that gives the matrix, ``(4, 4)``, from reference voxels to coordinates, for
        column vectors ``(x, y, z, 1)``.
    """

    unit: str
    binned: bool
    matrix: Callable[[Box, float], Matrix]


def affine(scale: object, shift: object) -> Matrix:
    """Give ``diag(scale)`` with a shift, ``(4, 4)``; the scale is one number or one an axis."""
    result = np.diag(np.append(np.broadcast_to(np.asarray(scale, float), 3), 1.0))
    result[:3, 3] = np.asarray(shift, float)
    return result


#: Sum of the cosines of tilts to ±60° over the sum of their squares: what a shift across the tilt axis comes to.
ACROSS = 1.18
#: Exchanges y and z.
SWAP = np.eye(4)[[0, 2, 1, 3]]


def _middle(box: Box) -> NDArray[np.float64]:
    return np.array([int(n / 2) for n in box.size], float)


def _upside_down(box: Box) -> Matrix:
    """Count z from the other side."""
    return affine((1, 1, -1), (0, 0, box.size[2] - 1))


def _mean_binned(binning: float) -> Matrix:
    """Count voxels that are means of ``binning`` voxels along each axis."""
    return affine(1 / binning, -(binning - 1) / (2 * binning))


def _warp(box: Box, binning: float) -> Matrix:
    cosine, sine = np.cos(np.radians(box.axis_angle)), np.sin(np.radians(box.axis_angle))
    across, along = ACROSS * (cosine + sine) / 2, (cosine - sine) / 2
    return affine(1 / binning, 0) @ affine((1, 1, -1), (0.5 - across, 0.5 - along, box.size[2] - 0.5))


def _volume(box: Box, binning: float) -> Matrix:
    own = _warp(box, 1.0) if box.z_reversed else np.eye(4)
    return affine(1 / binning, 0) @ affine(1, -np.asarray(box.corner)) @ own


def _aretomo(box: Box, binning: float) -> Matrix:
    """Count voxels about the middle ``n / 2`` of a binned volume, then turn z around."""
    n = np.asarray(box.size) / binning
    return affine((1, 1, -1), (0, 0, n[2] - 1)) @ affine(1 / binning, n / 2) @ affine(1, -_middle(box))


COORDINATE_FRAMES: dict[str, CoordinateFrame] = {
    "volume": CoordinateFrame("px", True, _volume),
    "relion4": CoordinateFrame("px", False, lambda box, _: affine(1, 1)),
    "relion5": CoordinateFrame("Å", False, lambda box, _: affine(box.pixel_size, -box.pixel_size * _middle(box))),
    "relion5-px": CoordinateFrame("px", False, lambda box, _: np.eye(4)),
    "imod": CoordinateFrame("px", True, lambda box, b: affine(1, (0.5, 0.5, 0)) @ _mean_binned(b)),
    "imod-voxel": CoordinateFrame("px", True, lambda box, b: affine(1, 1) @ _mean_binned(b)),
    "imod-tilt": CoordinateFrame(
        "px", True, lambda box, b: affine(1, (0.5, 0.5, 0)) @ SWAP @ _mean_binned(b) @ _upside_down(box)
    ),
    "aretomo": CoordinateFrame("px", True, _aretomo),
    "aretomo-middle": CoordinateFrame("px", False, lambda box, _: affine(1, -_middle(box))),
    "warp": CoordinateFrame("px", True, _warp),
    "copick": CoordinateFrame("Å", False, lambda box, _: affine(box.pixel_size, 0) @ _volume(box, 1.0)),
}


def coordinate_frame(name: str) -> CoordinateFrame:
    """Give a frame.

    Raises
    ------
    UsageError
        If there is none of this name.
    """
    if name not in COORDINATE_FRAMES:
        raise UsageError(f"unknown frame {name!r}; available: {', '.join(COORDINATE_FRAMES)}")
    return COORDINATE_FRAMES[name]


def conversion(
    source: str, target: str, box: Box, *, source_binning: float = 1.0, target_binning: float = 1.0
) -> Matrix:
    """Give the matrix that takes coordinates of one frame to those of another, ``(4, 4)``.

    Parameters
    ----------
    source, target
        Names of :data:`COORDINATE_FRAMES`.
    box
        The tomogram.
    source_binning, target_binning
        Binnings of the volumes, for frames that count binned voxels.

    Raises
    ------
    UsageError
        If there is no such frame, or a binning is below 1.
    """
    for name, binning in ((source, source_binning), (target, target_binning)):
        if not (np.isfinite(binning) and binning >= 1):
            raise UsageError(f"binning {binning:g} of the volume must be 1 or more")
        if binning != 1 and not coordinate_frame(name).binned:
            raise UsageError(f"{name} coordinates do not depend on the binning of a volume; leave it out")
    there = coordinate_frame(source).matrix(box, source_binning)
    return np.asarray(coordinate_frame(target).matrix(box, target_binning) @ np.linalg.inv(there))


def first_voxel(series: TiltSeries) -> NDArray[np.float64]:
    """Give the world point ``(x, y, z)`` of voxel 0 of the whole tomogram, which ``volume`` coordinates count from."""
    return np.asarray(Region.of(series).origin, float)


def convert(points: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    """Apply a conversion to points ``(n, 3)``."""
    return np.asarray(points, float) @ matrix[:3, :3].T + matrix[:3, 3]


def mirrors(matrix: Matrix) -> bool:
    """Tell whether a conversion turns a right hand into a left one."""
    return bool(np.linalg.det(matrix[:3, :3]) < 0)


def turns(matrix: Matrix) -> bool:
    """Tell whether a conversion turns or mirrors axes, so that orientations would have to be converted as well."""
    return bool((matrix[:3, :3] * (1 - np.eye(3))).any() or (np.diag(matrix) < 0).any())
