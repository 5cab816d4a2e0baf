"""Coordinates: projection matrices, the region to reconstruct, footprints. Every convention is said here, once.

* **World**: bin-1 pixels of the tomogram's frame. ``P_f`` (4 x 4) maps a world point ``(x, y, z, 1)`` to the
  unbinned image ``f``: ``(u, v) = (P_f X)[:2]``; ``u`` counts columns, ``v`` rows, pixel centres lie at integers,
  the first pixel is 0. The third row is the depth along the beam and is not used.
* **Voxels**: output voxel ``(i, j, k)`` sits at ``X = (x0 + B i, y0 + B j, z0 + B k)`` with the binning ``B``, any
  real number >= 1. Binned pixel ``a`` sits on unbinned pixel ``B a``. There are no half-pixel shifts anywhere.
* **Sizes** in voxels are ``int(w/B + 0.5), int(h/B + 0.5), int(d/B)``, as RELION writes them, so that masks and
  picks made on its tomograms fit.
* **Frames**: RELION 4's matrices map a 1-based world (as IMOD's does), RELION 5's a 0-based one. Voxel 0 therefore
  sits at world point (1, 1, 1) by default in the one and (0, 0, 0) in the other, the same point of the specimen.
* RELION 5's frame hangs on the size of the tomogram: its rotation centre is world point
  ``(int(w/2), int(h/2), int(d/2))``. Another size moves the frame, so that a region stays centred on the rotation
  centre. So does Warp's, whose centre is ``(w/2, h/2, d/2)``, also between voxels. With RELION 4's matrices a size only
  cuts.
* Arrays are ``(z, y, x)``, C order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import UsageError

if TYPE_CHECKING:
    from fourierrecon.tilt_series import TiltSeries
from fourierrecon.geometry.projection import _image_centre

#: Depth assumed where neither the user nor the set gives one, Å.
ASSUMED_DEPTH = 3000.0
#: Voxels along one side of a region at the most.
MOST_VOXELS = 100_000
#: A side of the region, bin-1 px: a number, that of the footprint, or None where nothing is asked for.
Length: TypeAlias = float | Literal["auto"] | None


def tilt_angles_of(projections: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tilt angles that projection matrices have, degrees in (-180, 180], ``(n_tilts,)``.

    The beams of a tilt series lie in the plane perpendicular to the tilt axis; the angles count in it from the place
    next to z. With ``P = Rz Ry(tilt) Rx(x tilt)`` and one x tilt for all, these are the tilts, whatever the x tilt.
    Nothing tells the sign: the axis points to larger y, or to smaller x where it lies nearer to x.

    Parameters
    ----------
    projections
        ``(n_tilts, 4, 4)``.
    """
    beams = np.cross(projections[:, 0, :3], projections[:, 1, :3])
    beams /= np.linalg.norm(beams, axis=1, keepdims=True)
    # an image that is seen from behind is that of the same beam
    beams *= -1 if beams[np.argmax(np.abs(beams[:, 2])), 2] < 0 else 1
    _, spread, directions = np.linalg.svd(beams)
    axis, told = directions[2], len(beams) > 1 and spread[1] > 0.02 * np.sqrt(len(beams))
    if len(beams) > 2:
        told = told and spread[2] < spread[1] / 3
    if not told or abs(axis[2]) > 0.9:
        # beams that are next to each other, or all over the place, do not tell the axis: x or y, from which they turn
        steep = np.abs(beams[:, :2]).sum(0)
        sines = -beams[:, 0] if steep[0] >= steep[1] else -beams[:, 1]
        return np.asarray(np.degrees(np.arcsin(np.clip(sines, -1, 1))))
    axis = axis * (np.sign(axis[1]) if abs(axis[1]) >= abs(axis[0]) else -np.sign(axis[0]))
    zero = np.array([0.0, 0.0, 1.0]) - axis[2] * axis
    return np.asarray(np.degrees(np.arctan2(beams @ np.cross(zero, axis), beams @ zero)))


@dataclass(frozen=True)
class Region:
    """The box of voxels to reconstruct.

    Parameters
    ----------
    origin
        World coordinates ``(x, y, z)`` of voxel ``(0, 0, 0)``, bin-1 px.
    shape
        ``(z, y, x)`` voxels.
    binning
        Distance of two voxels, bin-1 px; any real number >= 1.
    note
        Where the size came from, to be said on screen.
    size
        ``(width, height, depth)`` in bin-1 px as asked for, before it was rounded to voxels.

    Examples
    --------
    >>> from fourierrecon import Region
    >>> from fourierrecon.simulation.phantom import cell_like_specimen
    >>> from fourierrecon.simulation.simulate import simulate
    >>> series = simulate(cell_like_specimen((64, 60, 24)), (64, 60, 24)).series
    >>> Region.of(series, binning=2).shape
    (12, 30, 32)
    """

    origin: tuple[float, float, float]
    shape: tuple[int, int, int]
    binning: float = 1.0
    note: str = ""
    size: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.binning) and self.binning >= 1):
            raise UsageError(f"binning {self.binning:g} must be 1 or more; there is nothing finer than the images")
        if not np.isfinite(self.origin).all():
            raise UsageError(f"origin {self.origin} of the region must be finite numbers (bin-1 pixels)")
        depth, height, width = self.shape
        if max(self.shape) > MOST_VOXELS:
            raise UsageError(
                f"the region of {width:.6g} x {height:.6g} x {depth:.6g} voxels is larger than any tomogram; "
                f"--w --h --d are unbinned pixels"
            )
        if min(self.shape) < 1:
            raise UsageError(
                f"the region has no voxels: {width} x {height} x {depth} (w x h x d) at binning {self.binning:g}; "
                f"give --w --h --d in unbinned pixels, each at least the binning"
            )

    @classmethod
    def of(
        cls,
        series: TiltSeries,
        *,
        binning: float = 1.0,
        origin: tuple[float | None, float | None, float | None] | None = None,
        size: tuple[Length, Length, Length] | None = None,
    ) -> Region:
        """Give the region of a tilt series.

        Parameters
        ----------
        series
            Gives the frame, and the size where none is asked for.
        binning
            Any real number >= 1.
        origin
            ``(x0, y0, z0)`` in bin-1 px, in the frame that the size defines; None, or None for one of them: the
            frame's first voxel.
        size
            ``(width, height, depth)`` in bin-1 px; None, or None for one of them: from the set, else from the
            footprint of the images; ``auto``: from the footprint in any case.

        Raises
        ------
        UsageError
            If the region has no voxels or the binning is below 1.
        """
        if not (np.isfinite(binning) and binning >= 1):
            raise UsageError(f"binning {binning:g} must be 1 or more; there is nothing finer than the images")
        asked = size or (None, None, None)
        known, first = series.size, (series.world_origin,) * 3
        laid = [a == "auto" or (a is None and known is None) for a in asked]
        place, extent = footprint(series) if any(laid) else (first, known or (0.0, 0.0, 0.0))
        width, height, depth = (
            float(e if f else k if a is None else a)
            for a, k, e, f in zip(asked, known or extent, extent, laid, strict=True)
        )
        # a box that the set does not place lies where the images are
        corner = tuple(p if f or known is None else c for p, c, f in zip(place, first, laid, strict=True))
        if known is None and series.middle is not None:
            corner = tuple(m - (s - 1) / 2 for m, s in zip(series.middle, (width, height, depth), strict=True))
        note = _note(asked, known is not None, laid, extent[2])
        if not np.isfinite([width, height, depth]).all():
            raise UsageError(f"size {width:g} x {height:g} x {depth:g} of the region must be finite numbers")
        shape = int(depth / binning), int(height / binning + 0.5), int(width / binning + 0.5)
        start = origin or (None, None, None)
        if series.rotation_centre is not None:
            # the frame of this size
            half = centre_voxel((width, height, depth), z_reversed=series.z_reversed)
            world = tuple((s or 0.0) - h + c for s, h, c in zip(start, half, series.rotation_centre, strict=True))
        else:
            world = tuple(c if s is None else s for s, c in zip(start, corner, strict=True))
        x, y, z = (float(c) for c in world)
        return cls((x, y, z), shape, float(binning), note, (width, height, depth))

    @property
    def centre(self) -> NDArray[np.float64]:
        """World coordinates ``(x, y, z)`` of the middle of the box."""
        return np.asarray(self.origin) + self.binning * (np.asarray(self.shape[::-1]) - 1) / 2


def _note(asked: tuple[Length, Length, Length], known: bool, laid: list[bool], depth: float) -> str:
    """Say where the size of a region came from."""
    assumed = f"depth {depth:.0f} px ({ASSUMED_DEPTH / 10:.0f} nm) assumed"
    if "auto" in asked:
        names = " and ".join(name for name, f in zip(("width", "height"), laid, strict=False) if f)
        parts = [f"{names} from the footprint of the images" if names else "", assumed if laid[2] else ""]
        return ", ".join(filter(None, [*parts, "" if all(laid) else "the rest as asked for or from the set"]))
    if any(laid):
        return f"the set gives no size: width and height from the images, {assumed}; give --w --h --d to choose"
    if None not in asked:
        return "size as asked for"
    return "size from the set" if asked == (None, None, None) else "size as asked for, the rest from the set"


def centre_voxel(size: tuple[float, float, float], *, z_reversed: bool = False) -> tuple[float, float, float]:
    """Voxel ``(x, y, z)`` of a tomogram, bin-1 px from 0, that lies on the rotation centre of a frame that hangs on it.

    RELION 5 takes ``(int(w/2), int(h/2), int(d/2))``, Warp (``z_reversed``) half of the size, whatever that is.
    """
    x, y, z = (side / 2 if z_reversed else float(int(side / 2)) for side in size)
    return x, y, z


def footprint(series: TiltSeries) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Find the box that the least tilted image sees: ``(corner, (width, height, depth))``, bin-1 px.

    The width and height are those of the image laid into the plane of the specimen through the rotation centre (or
    the point nearest to all image centres); the depth is :data:`ASSUMED_DEPTH`.
    """
    height, width = series.image_shape
    a = series.projections[:, :2, :3]
    middle = np.array([width // 2, height // 2], float)
    centre = _image_centre(series)
    least = int(np.argmax(np.abs(np.linalg.det(a[:, :, :2]))))
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) - middle
    flat = np.linalg.solve(a[least][:, :2], corners.T).T
    extent = np.ptp(flat, axis=0)
    # a tilt axis that is a few degrees off an image axis should not blow the box up: the nearer of both sides
    sides = np.array([width, height], float)
    if abs(a[least, 0, 0]) < abs(a[least, 0, 1]):
        sides = sides[::-1]
    w, h = np.where(extent < 1.25 * sides, sides, np.ceil(extent))
    size = (float(w), float(h), float(round(ASSUMED_DEPTH / series.pixel_size)))
    x, y, z = (float(c - int(s / 2)) for c, s in zip(centre, size, strict=True))
    return (x, y, z), size
