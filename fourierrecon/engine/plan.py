"""Plan of a reconstruction: all sizes, windows and matrices that follow from geometry alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourierrecon.ctf import electron_wavelength
from fourierrecon.engine import preprocess
from fourierrecon.engine.central_slices import PAD, STOP, Slices
from fourierrecon.engine.coverage import Mask, border_distances
from fourierrecon.engine.fft import fast_length
from fourierrecon.engine.gridding_kernel import GriddingKernel
from fourierrecon.engine.preprocess import BORDER, BORDER_BINNED, WINDOW_MARGIN, ImageGrid
from fourierrecon.errors import UsageError
from fourierrecon.geometry.region import Region
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.transfer import Correction, Transfer
from fourierrecon.weighting import TiltViews, Weighting

#: Taps of the gridding kernel and oversampling of plane grids and image rows, by precision.
PRECISIONS = {
    "default": (6, 1.24),  # relative error 2e-4 to 4e-4
    "high": (8, 1.5),  # 3e-6 to 2e-5; 2e-4 for noise right up to the Nyquist frequency
}
#: Taps and oversampling (z, o) of the planes where the strategy divides by gridded weights. There the kernel should be
#: narrow: what lies within its width is mixed, and the quotient of two mixtures is not the mixture of quotients.
WEIGHTED_KERNEL = (4, (2.0, 1.5))
#: Pixels kept free between an image and its periodic copies, by precision.
MARGIN = {"default": 8, "high": 64}


def mask_of(image_shape: tuple[int, int], binning: float, distance: float, falloff: float) -> Mask:
    """Give the mask of the images: a taper if one is asked for, else a border just outside of them.

    Parameters
    ----------
    image_shape
        ``(height, width)``, bin-1 px.
    binning
        Voxel over bin-1 px.
    distance, falloff
        Of the taper, binned px.

    Raises
    ------
    UsageError
        If the taper is negative, or leaves nothing of the images.
    """
    if not (np.isfinite([distance, falloff]).all() and distance >= 0 and falloff >= 0):
        raise UsageError(f"taper distance {distance:g} and falloff {falloff:g} must be 0 or more binned pixels")
    if distance == falloff == 0:
        width = binning * (BORDER if binning < 1.01 else BORDER_BINNED)
        return Mask(-width, width)
    if 2 * distance * binning >= min(image_shape) - 1:
        raise UsageError(
            f"taper distance {distance:g} leaves nothing of images of {image_shape[1] / binning:.0f} x "
            f"{image_shape[0] / binning:.0f} binned pixels; choose a smaller --td"
        )
    return Mask(distance * binning, falloff * binning)


@dataclass(frozen=True, eq=False)
class Plan:
    """What to cut out of the images, and where it goes.

    Parameters
    ----------
    slices
        Central slices of the tilts in use.
    sampling
        Grid of the prepared images.
    views
        Geometry and CTF of all tilts, for 2D filters.
    used
        Tilts that see the region, ``(n_used,)``.
    windows
        Parts of the prepared images that the region needs, ``(n_used, 2 (start, stop), 2 (x, y))``.
    along
        Image axis a of each tilt, 0 for x and 1 for y, ``(n_used,)``.
    row_kernel, row_grid
        Kernel along a, and padded length along a.
    late
        Images are filtered on their way to the samples, not before.
    filter_length
        Padded length along a for that; 0: there is nothing but a CTF, which the samples are multiplied with.
    plane_axis
        1: planes of constant ky (tilt axis near y); 0: of constant kx.
    borders
        See :func:`fourierrecon.engine.coverage.border_distances`; voxel axes (p, o, z), ``(n_used, 4, 4)``.
    weighted
        The strategy divides by gridded weights.
    """

    slices: Slices
    sampling: ImageGrid
    views: TiltViews
    used: NDArray[np.int64]
    windows: NDArray[np.int64]
    along: NDArray[np.int64]
    row_kernel: GriddingKernel
    row_grid: int
    late: bool
    filter_length: int
    plane_axis: int
    borders: NDArray[np.float64]
    weighted: bool

    @classmethod
    def of(
        cls,
        series: TiltSeries,
        region: Region,
        strategy: Weighting,
        mask: Mask,
        correction: Correction,
        precision: str,
        binnings: Sequence[float] = (),
    ) -> Plan:
        """Plan one reconstruction.

        Parameters
        ----------
        series, region, strategy, mask, correction, precision
            What is to be reconstructed, and how.
        binnings
            Those that the images are prepared for. All get the same border and padding, to share a transform.

        Raises
        ------
        UsageError
            If no image sees the region, or the correction makes no sense with the strategy.
        DataError
            If what the correction needs is missing.
        """
        binning = region.binning
        taps, oversampling = PRECISIONS[precision]
        a = series.projections[:, :2, :3]
        pixel_zero = np.einsum("fij,j->fi", a, np.asarray(region.origin)) + series.projections[:, :2, 3]
        # planes across the horizontal axis that stays nearest to one axis of every image
        plane_axis = int(np.argmax(np.abs(a[:, :, :2]).max(1).min(0)))
        order = np.array([plane_axis, 1 - plane_axis, 2])
        shape = region.shape[0], region.shape[2 - plane_axis], region.shape[1 + plane_axis]
        per_voxel = a[:, :, order] * binning

        others = [other for other in binnings if other >= 1.01] if binning >= 1.01 else []
        transfer = Transfer.of(series, correction, divides=strategy.divides)
        spread = _psf_radius(series, min([binning, *others])) if transfer.ctf is not None else 0.0
        filtered = transfer.applies or strategy.has_filter
        last = np.array([shape[1], shape[2], shape[0]]) - 1
        # whole, unbinned images whose borders need not match a count can be filtered on their way to the samples
        for late in (filtered and binning < 1.01 and not strategy.divides_by_count, False):
            coarsest = max([binning, *others])
            grid = preprocess.sampling(series.image_shape, binning, mask, spread, filtered, late, coarsest)
            matrices = per_voxel / grid.step[:, None]
            offsets = (pixel_zero + grid.border) / grid.step
            middle, reach = offsets + matrices @ (last / 2), np.abs(matrices) @ (last / 2)
            used = _seeing(series, region, middle, reach, grid)
            windows = _windows(middle[used], reach[used], grid)
            if (np.ptp(windows, axis=1) == np.array(grid.sampled)[::-1]).all():
                break

        # from here on (a, b): the image axis nearest to the plane axis, and the other
        along = np.argmax(np.abs(matrices[used][:, :, 0]), axis=1)
        axes = np.stack([along, 1 - along], axis=1)

        def turned(values: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
            index = axes.reshape(axes.shape + (1,) * (values.ndim - 2))
            return np.take_along_axis(np.asarray(values, float), index, axis=1)

        m, start = turned(matrices[used]), turned(windows[:, 0])
        size = turned(windows[:, 1]) - start
        # copies of an image repeat after H' M_ap along a, and after Lb along b: none may touch the region
        # what a CTF moves signal by, where the samples are multiplied with it
        moved = spread if late and not strategy.has_filter else 0.0
        reached = size / 2 + moved + MARGIN[precision]
        apart = np.abs(turned(middle[used]) - start - size / 2) + turned(reach[used]) + reached
        # these two also count as memory and samples: a slower transform of a shorter length pays
        period = fast_length(
            max(float((apart[:, 0] / np.abs(m[:, 0, 0])).max()), shape[1] + 2 * MARGIN[precision]), (2, 3, 5, 7)
        )
        row_length = fast_length(max(float(apart[:, 1].max()), float(size[:, 1].max()) + spread * late), (2, 3, 5, 7))
        longest = int(size[:, 0].max())
        row_grid = fast_length(max(oversampling * longest, longest + 2 * taps))
        centre = turned(offsets[used]) - start + m[:, :, 1] * (shape[2] // 2) + m[:, :, 2] * (shape[0] // 2)
        centre[:, 0] -= size[:, 0] // 2
        plane_taps, plane_oversampling = WEIGHTED_KERNEL if strategy.uses_weights else (taps, (oversampling,) * 2)
        return cls(
            slices=Slices(m, centre, shape, period, row_length, plane_taps, plane_oversampling),
            sampling=grid,
            views=TiltViews(a, shape[0], series.pixel_size * binning, transfer.ctf, transfer),
            used=used,
            windows=windows,
            along=along,
            row_kernel=GriddingKernel(taps, row_grid / longest),
            row_grid=row_grid,
            late=late,
            filter_length=fast_length(longest + spread) if late and strategy.has_filter else 0,
            plane_axis=plane_axis,
            borders=border_distances(per_voxel[used], pixel_zero[used], series.image_shape, mask),
            weighted=strategy.uses_weights,
        )

    @property
    def region_shape(self) -> tuple[int, int, int]:
        """Voxels ``(z, y, x)``."""
        depth, n_p, n_o = self.slices.shape
        return (depth, n_p, n_o) if self.plane_axis == 1 else (depth, n_o, n_p)

    @property
    def image_bytes(self) -> int:
        """What one thread takes to prepare and transform images."""
        rows, columns = self.sampling.sampled
        height, width = self.sampling.padded
        s = self.slices
        half_row = s.row_length // 2 + 1
        longest = max(rows, columns)
        read = 16 * height * width
        filtered = (28 * height * (width // 2 + 1) + 4 * rows * columns) if self.sampling.filters else 0
        window = 8 * rows * columns + longest * (4 * s.row_length + 8 * half_row)
        spectrum = half_row * (8 * (self.row_grid + 2 * PAD) + 20 * self.filter_length)
        return read + filtered + window + spectrum + 64 * s.n_planes

    @property
    def plane_work_bytes(self) -> int:
        """What one thread takes to insert planes, besides the planes themselves."""
        nz, no = self.slices.grid
        return (44 if self.weighted else 8) * (nz + 2 * PAD) * (no + 3 * PAD)


def _psf_radius(series: TiltSeries, binning: float) -> float:
    """How far the CTF moves signal within the band of the volume, bin-1 px: ``lambda |defocus| q``."""
    ctf = series.ctf
    if ctf is None:
        return 0.0
    defocus = float(max(np.abs(ctf.defocus_u).max(), np.abs(ctf.defocus_v).max()))
    highest = STOP / (binning * series.pixel_size)
    reach = electron_wavelength(ctf.voltage) * defocus * highest / series.pixel_size
    return float(min(reach, max(series.image_shape) / 4))


def _seeing(
    series: TiltSeries, region: Region, middle: NDArray[np.float64], reach: NDArray[np.float64], grid: ImageGrid
) -> NDArray[np.int64]:
    """Tilts whose image the region projects to, at least in part."""
    first = grid.border / grid.step
    last = (np.array(series.image_shape[::-1]) - 1 + grid.border) / grid.step
    used = np.flatnonzero(((middle + reach >= first) & (middle - reach <= last)).all(1))
    if len(used) == 0:
        end = np.asarray(region.origin) + region.binning * (np.array(region.shape[::-1]) - 1)
        raise UsageError(
            f"no image sees the region from {_point(region.origin)} to {_point(end)} (x y z, bin-1 px); "
            f"check --x0 --y0 --z0 and --w --h --d against `fourierrecon info`"
        )
    return used


def _point(values: NDArray[np.float64] | tuple[float, float, float]) -> str:
    return "(" + " ".join(f"{v:.6g}" for v in values) + ")"


def _windows(middle: NDArray[np.float64], reach: NDArray[np.float64], grid: ImageGrid) -> NDArray[np.int64]:
    """Parts of the prepared images that the region needs: all of it where that is most of the image."""
    limits = np.array(grid.sampled)[::-1]
    start = np.clip(np.floor(middle - reach - WINDOW_MARGIN), 0, limits - 1).astype(np.int64)
    stop = np.clip(np.ceil(middle + reach + WINDOW_MARGIN) + 1, start + 1, limits).astype(np.int64)
    for axis in range(2):
        # a cut saves nothing worth its edge where most of the image is needed
        if (stop - start)[:, axis].max() > 0.75 * limits[axis]:
            start[:, axis], stop[:, axis] = 0, limits[axis]
    return np.stack([start, stop], axis=1)
