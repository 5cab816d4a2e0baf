"""Which images see a region, and which part of each is needed.

Lengths are in pixels of the prepared images, points ``(x, y)``, unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine.grid_weights import steeper_than_slab
from fourierrecon.engine.preprocess import ImageGrid
from fourierrecon.errors import UsageError
from fourierrecon.geometry.region import Region
from fourierrecon.tilt_series import TiltSeries

#: The whole image is used where the window covers more than this part of an axis.
MOST = 0.75
#: What is added on both sides along x and y to parts of a tomogram: over its depth, and over how far the CTF moves
#: signal. The division by its square reaches much farther: with an SNR of 10, half of it goes two such lengths on.
AROUND, TAILS = 1.5, 16.0


class NothingSeen(UsageError):
    """No image sees a region."""


@dataclass(frozen=True, eq=False)
class View:
    """How all images of a tilt series look at a region; axes of the region are (p, o, z).

    Parameters
    ----------
    per_voxel
        ``(n_tilts, 2, 3)``: bin-1 pixels over voxels.
    pixel_zero
        ``(n_tilts, 2)``: bin-1 pixel of voxel 0.
    plane_axis
        1: p is y (tilt axis near y); 0: p is x.
    shape
        ``(D, P, O)``: voxels along z, p and o.
    box
        What weights must be made for, along z and o: the first voxel, 0 or before that of the region, and the number.
    along
        The same along p: what windows must hold for that.
    """

    per_voxel: NDArray[np.float64]
    pixel_zero: NDArray[np.float64]
    plane_axis: int
    shape: tuple[int, int, int]
    box: tuple[tuple[int, int], tuple[int, int]]
    along: tuple[int, int]

    @classmethod
    def of(cls, series: TiltSeries, region: Region, spread: float = 0.0) -> View:
        """Give the view; planes lie across the horizontal axis that stays nearest to one axis of every image.

        The CTF moves signal as far as ``spread``, bin-1 px.
        """
        a = series.projections[:, :2, :3]
        pixel_zero = np.einsum("fij,j->fi", a, np.asarray(region.origin)) + series.projections[:, :2, 3]
        plane_axis = int(np.argmax(np.abs(a[:, :, :2]).max(1).min(0)))
        order = np.array([plane_axis, 1 - plane_axis, 2])
        shape = region.shape[0], region.shape[2 - plane_axis], region.shape[1 + plane_axis]
        along_z, across, along = _box(series, region, plane_axis, TAILS * spread / region.binning)
        return cls(a[:, :, order] * region.binning, pixel_zero, plane_axis, shape, (along_z, across), along)


@dataclass(frozen=True, eq=False, kw_only=True)
class Windows:
    """Windows of the images that see a region.

    Parameters
    ----------
    grid
        Grid of the prepared images.
    used
        Tilts that see the region, ``(n_used,)``.
    parts
        Windows that the region needs, ``(n_used, 2 (start, stop), 2 (x, y))``.
    matrices, offsets
        Pixel over voxel and pixel of voxel 0, ``(n_used, 2, 3)`` and ``(n_used, 2)``.
    middle, reach
        Where the middle of the region projects to, and how far the region reaches from there, ``(n_used, 2)``.
    """

    grid: ImageGrid
    used: NDArray[np.int64]
    parts: NDArray[np.int64]
    matrices: NDArray[np.float64]
    offsets: NDArray[np.float64]
    middle: NDArray[np.float64]
    reach: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        series: TiltSeries,
        region: Region,
        view: View,
        grid: ImageGrid,
        padded: bool,
        room: int,
        margin: int,
        moved: float = 0.0,
    ) -> Windows:
        """Find the windows of a region, or of the box about it (``padded``), with more room about them if need be.

        There is a ``margin`` around them, px. Signal that is moved as far as ``moved`` (bin-1 px) outside of its place
        lies within them as well.

        Raises
        ------
        UsageError
            If no image sees the region.
        """
        last = np.array([view.shape[1], view.shape[2], view.shape[0]]) - 1
        matrices = view.per_voxel / grid.step[:, None]
        offsets = (view.pixel_zero + grid.border) / grid.step
        middle, reach = offsets + matrices @ (last / 2), np.abs(matrices) @ (last / 2)
        used = _seeing(series, region, middle, reach, grid)
        if padded:
            (first_z, n_z), (first_o, n_o) = view.box
            first_p, n_p = view.along
            last = np.array([n_p, n_o, n_z]) - 1
            middle = offsets + matrices @ (np.array([first_p, first_o, first_z]) + last / 2)
            reach = np.abs(matrices) @ (last / 2)
        parts = _parts(middle[used], reach[used] + room + moved / grid.step, grid, margin)
        return cls(
            grid=grid,
            used=used,
            parts=parts,
            matrices=matrices[used],
            offsets=offsets[used],
            middle=middle[used],
            reach=reach[used],
        )

    @property
    def whole(self) -> bool:
        """Whether every window is the whole image."""
        return bool((np.ptp(self.parts, axis=1) == np.array(self.grid.sampled)[::-1]).all())


def _box(series: TiltSeries, region: Region, plane_axis: int, tails: float) -> tuple[tuple[int, int], ...]:
    """Give what a part of a tomogram needs around it to come out as in the whole, along z and across the planes.

    What a slice weighs depends on the depth of the specimen, and streaks reach farther across the tilt axis than it is
    deep. Nearer than that to a face of the tomogram all of it counts along that axis: what wraps around there, and what
    the grid makes of its border, are those of the whole. So it does where it would be most of it. Nothing is added
    beyond the tomogram, nor where the series does not tell its size, nor along an axis where the region is as long as
    the tomogram: such a region is a tomogram in another place.

    Only across the tilt axis the box is at least as broad as deep. What a breadth tells apart in Fourier space is one
    over it: in a narrower box a steep slice mixes with many others. Specimens that are seen from the side are no slabs:
    they end where the region ends.

    Parameters
    ----------
    series, region
        The tomogram, and what is wanted of it.
    plane_axis
        World axis across the planes: 0 for x, 1 for y.
    tails
        How far the division by the CTF's square reaches, voxels.

    Returns
    -------
    The first voxel, counted from that of the region, and the number of voxels; along z, o and p.
    """
    depth, n_o, n_p = region.shape[0], region.shape[1 + plane_axis], region.shape[2 - plane_axis]
    whole = region if series.size is None else Region.of(series, binning=region.binning)
    slab = not steeper_than_slab(np.cross(series.projections[:, 0, :3], series.projections[:, 1, :3])).any()

    def beyond(axis: int, n: int, limit: float, least: int = 0) -> tuple[int, int]:
        length = whole.shape[2 - axis]
        outside = -(-max(least - max(n, length), 0) // 2)
        if n >= length:
            return -outside, n + 2 * outside
        before = (region.origin[axis] - whole.origin[axis]) / region.binning
        after = length - n - before
        if min(before, after) < limit or n + 2 * limit > MOST * length:
            limit = np.inf
        first, last = (round(min(max(room, 0.0) + outside, limit)) for room in (before, after))
        return -first, first + n + last

    along_z = beyond(2, depth, np.inf)
    breadth = along_z[1] if slab else 0
    around = AROUND * along_z[1] + tails
    return along_z, beyond(1 - plane_axis, n_o, around, breadth), beyond(plane_axis, n_p, around)


def _seeing(
    series: TiltSeries, region: Region, middle: NDArray[np.float64], reach: NDArray[np.float64], grid: ImageGrid
) -> NDArray[np.int64]:
    """Tilts whose image the region projects to, at least in part."""
    first = grid.border / grid.step
    last = (np.array(series.image_shape[::-1]) - 1 + grid.border) / grid.step
    used = np.flatnonzero(((middle + reach >= first) & (middle - reach <= last)).all(1))
    if len(used) == 0:
        end = np.asarray(region.origin) + region.binning * (np.array(region.shape[::-1]) - 1)
        raise NothingSeen(
            f"no image sees the region from {_point(region.origin)} to {_point(end)} (x y z, bin-1 px); "
            f"check origin=... and size=... of the region against what `fourierrecon info` prints"
        )
    return used


def _point(values: NDArray[np.float64] | tuple[float, float, float]) -> str:
    return "(" + " ".join(f"{v:.6g}" for v in values) + ")"


def _parts(middle: NDArray[np.float64], reach: NDArray[np.float64], grid: ImageGrid, margin: int) -> NDArray[np.int64]:
    """Parts of the prepared images that the region needs: all of it where that is most of the image."""
    limits = np.array(grid.sampled)[::-1]
    start = np.clip(np.floor(middle - reach - margin), 0, limits - 1).astype(np.int64)
    stop = np.clip(np.ceil(middle + reach + margin) + 1, start + 1, limits).astype(np.int64)
    for axis in range(2):
        if (stop - start)[:, axis].max() > MOST * limits[axis]:
            start[:, axis], stop[:, axis] = 0, limits[axis]
    return np.stack([start, stop], axis=1)
