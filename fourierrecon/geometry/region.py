"""Region: the box of voxels to reconstruct, from the set, the user, or the footprint of the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from numbers import Integral, Real
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import UsageError, as_numbers, check_type
from fourierrecon.geometry.projection import image_centre
from fourierrecon.tilt_series import TiltSeries

#: Depth assumed where neither the user nor the set gives one, Å.
ASSUMED_DEPTH = 3000.0
#: Voxel size that is aimed at where none is asked for, Å.
DEFAULT_VOXEL = 10.0
#: Voxels along one side of a region at the most.
MOST_VOXELS = 100_000
#: A side of the region, bin-1 px: a number, that of the footprint, or None where nothing is asked for.
Length: TypeAlias = float | Literal["auto"] | None


@dataclass(frozen=True, repr=False)
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
        Where the size came from, as a text for the user.
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
        check_type("binning", self.binning, (Real,), "a number from 1 on")
        for argument in ("origin", "shape"):
            if as_numbers(argument, getattr(self, argument)).shape != (3,):
                raise UsageError(f"{argument} {getattr(self, argument)} of the region must be three numbers")
        if not (np.isfinite(self.binning) and self.binning >= 1):
            raise UsageError(f"binning {self.binning:g} must be 1 or more; there is nothing finer than the images")
        if not np.isfinite(self.origin).all():
            raise UsageError(f"origin {self.origin} of the region must be finite numbers (bin-1 pixels)")
        depth, height, width = self.shape
        if max(self.shape) > MOST_VOXELS:
            raise UsageError(
                f"the region of {width:.6g} x {height:.6g} x {depth:.6g} voxels is larger than any tomogram; "
                f"give size=... in unbinned pixels"
            )
        if min(self.shape) < 1:
            raise UsageError(
                f"the region has no voxels: {width} x {height} x {depth} (w x h x d) at binning {self.binning:g}; "
                f"give size=... in unbinned pixels, each at least the binning"
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
            The tilt series: its coordinate frame, and its size where none is asked for.
        binning
            Any real number >= 1.
        origin
            ``(x0, y0, z0)`` in bin-1 px, in the coordinate frame that the size defines. Default, also for a single
            one that is None: the frame's first voxel.
        size
            ``(width, height, depth)`` in bin-1 px. Default, also for a single one that is None: from the set, else
            from the footprint of the images; ``auto``: from the footprint in any case.

        Raises
        ------
        UsageError
            If the region has no voxels or the binning is below 1.
        """
        check_type("series", series, (TiltSeries,), "a TiltSeries; read_tilt_series reads one from a file")
        check_type("binning", binning, (Real,), "a number from 1 on")
        if not (np.isfinite(binning) and binning >= 1):
            raise UsageError(f"binning {binning:g} must be 1 or more; there is nothing finer than the images")
        for argument, triple in (("origin", origin), ("size", size)):
            check_type(argument, triple, (Sequence, np.ndarray, type(None)), "three numbers, or None")
            if triple is not None and len(triple) != 3:
                raise UsageError(f"{argument} {triple} must be three values; None stands for the default of one")
        asked = size or (None, None, None)
        known, first = series.size, (series.world_origin,) * 3
        laid = [a == "auto" or (a is None and known is None) for a in asked]
        place, extent = footprint(series) if any(laid) else (first, known or (0.0, 0.0, 0.0))
        width, height, depth = (
            float(e if f else k if a is None else a)
            for a, k, e, f in zip(asked, known or extent, extent, laid, strict=True)
        )
        # where the set does not place the box, it lies where the images are
        corner = tuple(p if f or known is None else c for p, c, f in zip(place, first, laid, strict=True))
        if known is None and series.middle is not None:
            corner = tuple(m - (s - 1) / 2 for m, s in zip(series.middle, (width, height, depth), strict=True))
        note = _note(asked, known is not None, laid, extent[2])
        if not np.isfinite([width, height, depth]).all():
            raise UsageError(f"size {width:g} x {height:g} x {depth:g} of the region must be finite numbers")
        shape = int(depth / binning), int(height / binning + 0.5), int(width / binning + 0.5)
        start = origin or (None, None, None)
        if series.rotation_centre is not None:
            # the coordinate frame moves with this size
            half = centre_voxel((width, height, depth), z_reversed=series.z_reversed)
            world = tuple((s or 0.0) - h + c for s, h, c in zip(start, half, series.rotation_centre, strict=True))
        else:
            world = tuple(c if s is None else s for s, c in zip(start, corner, strict=True))
        x, y, z = (float(c) for c in world)
        return cls((x, y, z), shape, float(binning), note, (width, height, depth))

    @classmethod
    def around(
        cls,
        series: TiltSeries,
        point: tuple[float, float, float],
        size: float | tuple[float, float, float],
        *,
        binning: float = 1.0,
    ) -> Region:
        """Give a box around a point, such as a particle that was picked in a tomogram.

        Parameters
        ----------
        series
            The tilt series: its pixel size.
        point
            World position ``(x, y, z)`` of the middle of the box, Å, as ``volume.origin`` and
            ``volume.position(x, y, z)`` count.
        size
            ``(width, height, depth)`` in Å, or one value for all three.
        binning
            Any real number >= 1.

        Raises
        ------
        UsageError
            If the box has no voxels, or the numbers make no sense.

        Examples
        --------
        >>> import numpy as np
        >>> from fourierrecon import Region, TiltSeries
        >>> series = TiltSeries.from_angles(np.zeros((3, 60, 64)), [-20, 0, 20], pixel_size=5.0)
        >>> box = Region.around(series, point=(50.0, 0.0, -20.0), size=160.0, binning=2)
        >>> box.shape, (box.centre * series.pixel_size).tolist()
        ((16, 16, 16), [50.0, 0.0, -20.0])
        """
        check_type("series", series, (TiltSeries,), "a TiltSeries; read_tilt_series reads one from a file")
        check_type("binning", binning, (Real,), "a number from 1 on")
        middle, sides = as_numbers("point", point), as_numbers("size", size)
        if middle.shape != (3,) or sides.shape not in ((), (3,)):
            raise UsageError(
                f"point {point} and size {size} need three numbers each, (x, y, z) and (width, height, depth) in Å; "
                f"for a cube the size is one number"
            )
        voxel = series.pixel_size * binning
        n = np.round(np.broadcast_to(sides, 3) / voxel)
        if not np.isfinite([*middle, *n]).all():
            raise UsageError(f"point {point} and size {size} must be finite numbers (Å)")
        x, y, z = (float(c) for c in middle / series.pixel_size - binning * (n - 1) / 2)
        width, height, depth = (int(side) for side in n)
        note = "size as asked for, around a point"
        return cls(
            (x, y, z),
            (depth, height, width),
            float(binning),
            note,
            (width * binning, height * binning, depth * binning),
        )

    def __repr__(self) -> str:
        depth, height, width = self.shape
        first = ", ".join(f"{c:.6g}" for c in self.origin)
        return f"Region({width} x {height} x {depth} voxels, binning {self.binning:.4g}, voxel 0 at ({first}) px)"

    def voxel_to_pixel(self, series: TiltSeries, tilt: int) -> NDArray[np.float64]:
        """Give the matrix that takes a voxel to the pixel of an image that shows it.

        Parameters
        ----------
        series
            The tilt series.
        tilt
            0-based number of the image.

        Returns
        -------
        matrix
            ``(2, 4)``: pixel ``(u, v) = matrix @ (x, y, z, 1)`` with the voxel's numbers ``x, y, z`` from 0, so voxel
            ``volume.data[z, y, x]``. ``u`` is the column and ``v`` the row of the unbinned image, pixel centres at
            integers.

        Raises
        ------
        UsageError
            If there is no such image.

        Examples
        --------
        >>> import numpy as np
        >>> from fourierrecon import Region, TiltSeries
        >>> series = TiltSeries.from_angles(np.zeros((3, 60, 64)), [-60, 0, 60], pixel_size=5.0)
        >>> box = Region.around(series, point=(0.0, 0.0, 0.0), size=45.0)
        >>> box.voxel_to_pixel(series, 1) @ (4, 4, 8, 1)  # the middle of the topmost section, seen without tilt
        array([32., 30.])
        """
        check_type("series", series, (TiltSeries,), "a TiltSeries; read_tilt_series reads one from a file")
        check_type("tilt", tilt, (Integral,), "the 0-based number of an image")
        if not 0 <= tilt < series.n_tilts:
            raise UsageError(f"tilt {tilt}: the series has images 0 to {series.n_tilts - 1}")
        to_world = np.diag([self.binning, self.binning, self.binning, 1.0])
        to_world[:3, 3] = self.origin
        return np.asarray(series.projections[tilt, :2] @ to_world, np.float64)

    @property
    def whole_size(self) -> tuple[float, float, float]:
        """``(width, height, depth)`` in whole bin-1 px, as sets of RELION hold them, that make just these voxels."""
        found = []
        sides = self.size or tuple(n * self.binning for n in self.shape[::-1])
        # as Region.of counts voxels: the depth is cut, width and height are rounded
        for side, n, rounds in zip(sides, self.shape[::-1], (0.5, 0.5, 0.0), strict=True):
            near = (float(round(side)), float(floor(side)), float(ceil(side)))
            found.append(next((whole for whole in near if int(whole / self.binning + rounds) == n), near[0]))
        width, height, depth = found
        return width, height, depth

    @property
    def centre(self) -> NDArray[np.float64]:
        """World coordinates ``(x, y, z)`` of the middle of the box."""
        return np.asarray(self.origin) + self.binning * (np.asarray(self.shape[::-1]) - 1) / 2


def default_binning(pixel_size: float) -> float:
    """Give the whole number that makes voxels of about :data:`DEFAULT_VOXEL`, 6.7 to 15 Å; images stay as they are
    where their pixels are larger.

    Parameters
    ----------
    pixel_size
        Å.
    """
    return float(max(1, round(DEFAULT_VOXEL / pixel_size)))


def _note(asked: tuple[Length, Length, Length], known: bool, laid: list[bool], depth: float) -> str:
    """Give a text on where the size of a region came from."""
    deep = f"depth {depth:.0f} px ({ASSUMED_DEPTH / 10:.0f} nm) assumed"
    if asked[2] == "auto":
        deep = f"depth {depth:.0f} px until that of the specimen is measured"
    names = " and ".join(name for name, f in zip(("width", "height"), laid, strict=False) if f)
    if "auto" in asked:
        parts = [f"{names} from the footprint of the images" if names else "", deep if laid[2] else ""]
        return ", ".join(filter(None, [*parts, "" if all(laid) else "the rest as asked for or from the set"]))
    if any(laid):
        parts = [f"{names} from the images" if names else "", deep if laid[2] else ""]
        text = ", ".join(filter(None, [*parts, "" if all(laid) else "the rest as asked for"]))
        return f"the set gives no size: {text}" + ("; give size=... to choose" if all(laid) else "")
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
    centre = image_centre(series)
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
