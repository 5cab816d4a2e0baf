"""Plan of a reconstruction: all sizes, windows and matrices that follow from geometry alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourierrecon.ctf import electron_wavelength
from fourierrecon.engine import preprocess
from fourierrecon.engine.central_slices import PAD, STOP, Slices
from fourierrecon.engine.coverage import Mask, border_distances
from fourierrecon.engine.curved_slices import CurvedSlices
from fourierrecon.engine.fft import fast_length
from fourierrecon.engine.gridding_kernel import GriddingKernel
from fourierrecon.engine.preprocess import BORDER, BORDER_BINNED, SURROUNDINGS, ImageGrid
from fourierrecon.engine.settings import PRECISIONS, Settings
from fourierrecon.engine.windows import View, Windows
from fourierrecon.errors import UsageError
from fourierrecon.geometry.ctf_depth import farthest_depth
from fourierrecon.geometry.region import Region
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.transfer import Transfer
from fourierrecon.weighting import TiltViews, Weighting

#: Taps and oversampling (z, o) of the planes where the weighting divides by gridded weights. There the kernel should be
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
        Distance and falloff of the taper, binned px.

    Raises
    ------
    UsageError
        If the taper is negative, leaves nothing of the images, or is so wide that no pixel counts in full.
    """
    if not (np.isfinite([distance, falloff]).all() and distance >= 0 and falloff >= 0):
        raise UsageError(f"taper distance {distance:g} and falloff {falloff:g} must be 0 or more binned pixels")
    if distance == falloff == 0:
        width = binning * (BORDER if binning < 1.01 else BORDER_BINNED)
        return Mask(-width, width)
    # of the middle of an image to its border, binned pixels
    room, size = (min(image_shape) - 1) / 2 / binning, " x ".join(f"{n / binning:.0f}" for n in image_shape[::-1])
    if distance >= room:
        raise UsageError(
            f"taper distance {distance:g} leaves nothing of images of {size} binned pixels; choose a smaller "
            f"taper_distance=..."
        )
    if distance + falloff > room:
        raise UsageError(
            f"taper falloff {falloff:g} behind distance {distance:g} goes beyond the middle of images of {size} binned "
            f"pixels, so that none counts in full; give taper_falloff={np.floor(room - distance):g} or less"
        )
    return Mask(distance * binning, falloff * binning)


@dataclass(frozen=True, eq=False, kw_only=True)
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
    mask
        Mask of the images.
    borders
        See :func:`fourierrecon.engine.coverage.border_distances`; voxel axes (p, o, z), ``(n_used, 4, 4)``.
    weighted
        The weighting divides by gridded weights.
    curved
        Each sample is inserted twice, with the CTF at each depth; None: once, with one CTF for each image.
    window_margin
        Room around what is needed in the windows, px.
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
    mask: Mask
    borders: NDArray[np.float64]
    weighted: bool
    curved: CurvedSlices | None = None
    window_margin: int = preprocess.WINDOW_MARGIN

    @classmethod
    def of(
        cls,
        series: TiltSeries,
        region: Region,
        weighting: Weighting,
        settings: Settings,
        *,
        tiled: bool = False,
        surroundings: bool = False,
    ) -> Plan:
        """Plan one reconstruction.

        Parameters
        ----------
        series, region, weighting, settings
            The reconstruction. Its images are prepared for all binnings of the settings: all get the
            same border and padding, to share a transform.
        tiled
            The region is made in tiles, or is one of them: images are prepared once for all, filters included.
        surroundings
            See :func:`fourierrecon.engine.preprocess.sampling`.

        Raises
        ------
        UsageError
            If no image sees the region, or the correction makes no sense with the weighting.
        DataError
            If what the correction needs is missing.
        """
        mask = mask_of(series.image_shape, region.binning, settings.taper_distance, settings.taper_falloff)
        # tiles share prepared images, which have one CTF each
        correction = replace(settings.correction, ctf_depth="off") if tiled else settings.correction
        transfer = Transfer.of(series, correction, divides=weighting.divides, region=region)
        # the image of a projector holds all that a volume shows, as defocused as it is at its depth
        deeper = farthest_depth(series, region) if surroundings and transfer.depth is not None else 0.0
        spread = _spread(series, region.binning, settings.binnings, deeper) if transfer.ctf is not None else 0.0
        view = View.of(series, region, spread)
        late, windows = _choose_windows(
            series, region, view, weighting, settings, mask, transfer, spread, surroundings, early=tiled
        )
        # the CTF moves signal that far, where the samples are multiplied with it
        moved = spread * late * (not weighting.has_filter)
        if transfer.depth is not None:
            moved = _spread(series, region.binning, (), deeper) / float(windows.grid.step.min())
        slices, along, longest = _choose_slices(windows, view, weighting, settings.precision, moved, surroundings)
        taps, oversampling = PRECISIONS[settings.precision]
        row_grid = fast_length(max(oversampling * longest, longest + 2 * taps))
        pixel_zero, borders = view.pixel_zero[windows.used], view.per_voxel[windows.used]
        voxel_size = series.pixel_size * region.binning
        curved = None
        if transfer.depth is not None:
            curved = CurvedSlices.of(
                slices, transfer, region, pixel_size=series.pixel_size, used=windows.used, along=along,
                plane_axis=view.plane_axis, step=windows.grid.step, exact=surroundings,
            )  # fmt: skip
        return cls(
            slices=slices,
            sampling=windows.grid,
            views=TiltViews(series.projections[:, :2, :3], view.box[0][1], voxel_size, transfer.ctf, transfer),
            used=windows.used,
            windows=windows.parts,
            along=along,
            row_kernel=GriddingKernel(taps, row_grid / longest),
            row_grid=row_grid,
            late=late,
            filter_length=fast_length(longest + spread) if late and weighting.has_filter else 0,
            plane_axis=view.plane_axis,
            mask=mask,
            borders=border_distances(borders, pixel_zero, series.image_shape, mask),
            weighted=weighting.uses_weights,
            curved=curved,
            window_margin=preprocess.TILE_MARGIN if tiled else preprocess.WINDOW_MARGIN,
        )

    @property
    def lines_per_image(self) -> int:
        """Sets of samples of an image."""
        return 1 if self.curved is None else self.curved.sheets

    @property
    def stores_weights(self) -> bool:
        """Whether samples have weights beside them; those of curved slices are made as they are inserted."""
        return self.weighted and self.curved is None

    @property
    def bytes_per_sample(self) -> int:
        """Bytes of a sample of an image, on all its lines, with its weight."""
        return 8 * self.lines_per_image + 4 * self.stores_weights

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
        plane = (44 if self.weighted else 8) * (nz + 2 * PAD) * (no + 3 * PAD)
        if self.curved is None:
            return plane
        # what each sample is inserted with
        return plane + 16 * self.lines_per_image * len(self.slices.matrices) * (2 * self.slices.half_rows + 1)


def _spread(series: TiltSeries, binning: float, binnings: tuple[float, ...], deeper: float = 0.0) -> float:
    """How far the CTF moves signal within the band of the finest volume, bin-1 px: ``lambda |defocus| q``.

    The defocus may be larger than that of the image by ``deeper``, Å.
    """
    ctf = series.ctf
    if ctf is None:
        return 0.0
    finest = min([binning, *_others(binning, binnings)])
    defocus = float(max(np.abs(ctf.defocus_u).max(), np.abs(ctf.defocus_v).max())) + deeper
    highest = STOP / (finest * series.pixel_size)
    reach = electron_wavelength(ctf.voltage) * defocus * highest / series.pixel_size
    return float(min(reach, max(series.image_shape) / 4))


def _others(binning: float, binnings: tuple[float, ...]) -> list[float]:
    """Binnings whose images share a transform with those of this one."""
    return [other for other in binnings if other >= 1.01] if binning >= 1.01 else []


def _choose_windows(
    series: TiltSeries,
    region: Region,
    view: View,
    weighting: Weighting,
    settings: Settings,
    mask: Mask,
    transfer: Transfer,
    spread: float,
    surroundings: bool,
    *,
    early: bool = False,
) -> tuple[bool, Windows]:
    """Choose the grid of the prepared images and their windows, and whether images are filtered late.

    Whole, unbinned images whose borders need not match a count can be filtered on their way to the samples. With a CTF
    at each depth it is the samples that are multiplied with it, and so it is where planes are divided by weights, whole
    images or not, so that parts equal the whole: windows have to hold all that it moves.
    """
    binning, shape = region.binning, series.image_shape
    margin = preprocess.TILE_MARGIN if early else preprocess.WINDOW_MARGIN
    by_depth = transfer.depth is not None
    by_sample = by_depth or (weighting.uses_weights and not weighting.has_filter)
    moved = spread if by_sample else 0.0
    empty = spread if by_depth and weighting.has_filter else 0.0
    filtered = (transfer.applies and not by_depth) or weighting.has_filter
    room = SURROUNDINGS if surroundings else 0
    coarsest = max([binning, *_others(binning, settings.binnings)])
    if (filtered or by_depth) and binning < 1.01 and not weighting.divides_by_count and not early:
        grid = preprocess.sampling(shape, binning, mask, spread, True, True, coarsest, empty=empty)
        windows = Windows.of(series, region, view, grid, weighting.uses_weights, room, margin, moved)
        if windows.whole or not filtered or by_sample:
            return True, windows
    moved = spread if by_depth else 0.0
    grid = preprocess.sampling(shape, binning, mask, spread, filtered, False, coarsest, surroundings, empty)
    return False, Windows.of(series, region, view, grid, weighting.uses_weights, room, margin, moved)


def _choose_slices(
    windows: Windows, view: View, weighting: Weighting, precision: str, moved: float, surroundings: bool
) -> tuple[Slices, NDArray[np.int64], int]:
    """Choose the lengths that keep periodic copies of the images out of the region.

    From here on the axes of an image are (a, b): the one nearest to the plane axis, and the other. Copies of an image
    repeat after ``H' M_ap`` along a, and after ``Lb`` along b.

    Returns
    -------
    slices, along, longest
        The central slices, the image axis a of each tilt, and the longest window along a, px.
    """
    margin = max(MARGIN[precision], SURROUNDINGS if surroundings else 0)
    along = np.argmax(np.abs(windows.matrices[:, :, 0]), axis=1)
    axes = np.stack([along, 1 - along], axis=1)

    def turned(values: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
        index = axes.reshape(axes.shape + (1,) * (values.ndim - 2))
        return np.take_along_axis(np.asarray(values, float), index, axis=1)

    m, start, offsets = turned(windows.matrices), turned(windows.parts[:, 0]), turned(windows.offsets)
    middle, reach = turned(windows.middle), turned(windows.reach)
    size = turned(windows.parts[:, 1]) - start
    depth, n_p, n_o = view.shape
    reached = size / 2 + moved + margin
    apart = np.abs(middle - start - size / 2) + reach + reached
    least = max(float((apart[:, 0] / np.abs(m[:, 0, 0])).max()), n_p + 2 * margin)
    # both lengths also set memory and the number of samples: the shortest length with factors up to 7
    period = fast_length(least, (2, 3, 5, 7))
    row_length = fast_length(max(float(apart[:, 1].max()), float(size[:, 1].max()) + moved), (2, 3, 5, 7))
    box = view.box if weighting.uses_weights else ((0, depth), (0, n_o))
    (first_z, n_z), (first_o, n_across) = box
    centre = offsets - start + m[:, :, 1] * (first_o + n_across // 2) + m[:, :, 2] * (first_z + n_z // 2)
    centre[:, 0] -= size[:, 0] // 2
    taps, oversampling = PRECISIONS[precision]
    plane_taps, plane_oversampling = WEIGHTED_KERNEL if weighting.uses_weights else (taps, (oversampling,) * 2)
    if surroundings:
        # copies of the region, which interpolation leaves a little of, lie outside of what is seen around it
        z, o = plane_oversampling
        plane_oversampling = max(z, 1 + SURROUNDINGS / n_z), max(o, 1 + SURROUNDINGS / n_across)
    slices = Slices(
        matrices=m,
        offsets=centre,
        shape=view.shape,
        box=box,
        period=period,
        row_length=row_length,
        width=plane_taps,
        oversampling=plane_oversampling,
        low=weighting.uses_weights,
    )
    return slices, along, int(size[:, 0].max())
