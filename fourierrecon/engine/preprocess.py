"""From an image to the window that is inserted: mean, mask, border, binning, 2D filters.

The border is continued by reflection and faded out: no step, so no ringing, neither from the cut in Fourier space that
bins the image nor from its interpolation. Where voxels are counted next to nothing of the continuation is used, and
the reflection is odd, twice the border pixel less what lies inside: value and slope go on. Elsewhere it is even, since
an odd one draws the noise of each border pixel out into a streak of twice its height, and the streaks of all images
meet in a comb of black and white along the borders of the tomogram.

Binning is a cut in Fourier space onto a grid that is at least as fine as the voxels; the soft band limit itself is
applied to the samples in 3D (:mod:`fourierrecon.engine.central_slices`), where it is the same for all tilts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.ctf import damp_row, transfer
from fourierrecon.engine import fft
from fourierrecon.engine.coverage import Mask
from fourierrecon.engine.fft import fast_length
from fourierrecon.errors import DataError
from fourierrecon.geometry.sound_images import LARGEST, sound_pixels, where_from
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.runtime.compiled import compiled
from fourierrecon.runtime.half_floats import to_single
from fourierrecon.runtime.memory import Workspace
from fourierrecon.text import counted
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.transfer import PER_CYCLE
from fourierrecon.weighting import TiltViews, Weighting

#: How far an image is continued beyond its border before it is filtered or binned, voxels.
CONTINUATION = 8
#: How far it fades out there when it is inserted, voxels: so much that the interpolation of a sharp cut does not ring,
#: and so little that next to nothing that was not measured enters the mean. Binned images are smooth already.
BORDER, BORDER_BINNED = 3.0, 0.75
#: Room around what a region sees where only a window of each image is inserted, px; and around what a tile sees.
WINDOW_MARGIN, TILE_MARGIN = 48, 12

#: Room around an image where what lies outside of it counts, voxels: ringing of a cut there ends before the image.
SURROUNDINGS = 32

#: A 2D filter: frequencies (x, y) in cycles per voxel, broadcasting, to real factors.
ImageFilter = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class ImageGrid:
    """Grid of the prepared images, the same for all tilts.

    Parameters
    ----------
    border
        Pixels added on every side of the image, bin-1 px.
    padded
        ``(height, width)`` of the padded image, bin-1 px.
    sampled
        ``(height, width)`` after binning.
    filters
        Whether images go through a Fourier transform, to be filtered or binned.
    empty
        Outer part of the border that the image is not continued into: room for what filters move, bin-1 px.
    """

    border: int
    padded: tuple[int, int]
    sampled: tuple[int, int]
    filters: bool
    empty: int = 0

    @property
    def step(self) -> NDArray[np.float64]:
        """Bin-1 px per pixel of the prepared image, ``(x, y)``; at most the binning."""
        return np.array([self.padded[1] / self.sampled[1], self.padded[0] / self.sampled[0]])

    @property
    def upper_rows(self) -> int:
        """Rows of a spectrum with frequencies from 0 up; those below 0 follow, with Nyquist's of an even height."""
        return (self.sampled[0] + 1) // 2

    def frequencies(self, binning: float) -> tuple[Real, Real]:
        """Frequencies ``(x, y)`` of the spectrum of a prepared image, ``rfft2``, in cycles per voxel, broadcasting."""
        (height, width), (rows, columns), number = self.padded, self.sampled, np.arange(self.sampled[0])
        fx = np.arange(columns // 2 + 1) * (binning / width)
        fy = np.where(number < self.upper_rows, number, number - rows) * (binning / height)
        return fx.astype(np.float32)[None, :], fy.astype(np.float32)[:, None]


def sampling(
    image_shape: tuple[int, int],
    binning: float,
    mask: Mask,
    spread: float,
    filtered: bool,
    late: bool,
    coarsest: float | None = None,
    surroundings: bool = False,
    empty: float = 0.0,
) -> ImageGrid:
    """Choose the grid of the prepared images.

    Parameters
    ----------
    image_shape
        ``(height, width)``, bin-1 px.
    binning
        Voxel over bin-1 px.
    mask
        Mask of the images; a border is added where the mask begins outside of them.
    spread
        Distance by which the 2D filters move signal, bin-1 px: that much room is left around the image.
    filtered
        Whether there is any 2D filter.
    late
        Filters are left to :func:`fourierrecon.engine.central_slices.spectrum`, which transforms the images anyway.
    coarsest
        Binning that the border is made for, where images are prepared for several.
    surroundings
        What lies outside of the image, and filters and interpolation move into it, counts: room for it is left on
        every side.
    empty
        Distance by which signal that the filters move has to be kept, since the transfer function moves it back.
    """
    reworked = filtered or binning >= 1.01
    # a taper ends inside the image: nothing to continue
    continued = CONTINUATION * max(binning, coarsest or 0)
    border = int(np.ceil(continued if reworked else -mask.start)) if mask.start < 0 else 0
    if surroundings and reworked and not late:
        border = int(np.ceil(SURROUNDINGS * max(binning, 1) + (spread if filtered else 0)))
    around = int(np.ceil(empty))
    border += around
    room = int(np.ceil(spread)) if filtered else 0
    if late or not reworked:
        padded = image_shape[0] + 2 * border, image_shape[1] + 2 * border
        return ImageGrid(border, padded, padded, False, around)
    height, width = (fast_length(n + 2 * border + room) for n in image_shape)
    if binning < 1.01:
        return ImageGrid(border, (height, width), (height, width), True, around)
    binned = fast_length(height / binning), fast_length(width / binning)
    return ImageGrid(border, (height, width), binned, True, around)


def load_image(series: TiltSeries, tilt: int, *, keep_mean: bool = False) -> Real:
    """Load one image as float32 and look whether it can be used.

    Parameters
    ----------
    series, tilt
        Tilt series, and 0-based number of the image.
    keep_mean
        The mean of the image counts: then one of a single grey value other than 0 can be used.

    Raises
    ------
    DataError
        If the image holds NaN, infinite or absurdly large pixels, or has no contrast; the message names it.
    """
    image = np.asarray(series.images[tilt])
    if image.shape != series.image_shape:
        raise DataError(f"{_name(series, tilt)} has {image.shape} pixels, the others {series.image_shape}")
    if np.iscomplexobj(image):
        raise DataError(f"{_name(series, tilt)} is complex; real images are needed")
    image = to_single(image)
    low, high = float(image.min()), float(image.max())
    if not (low >= -LARGEST and high <= LARGEST):  # NaN as well
        sound = sound_pixels(image)
        y, x = np.argwhere(~sound)[0]
        n = int(image.size - sound.sum())
        finite = bool(np.isfinite(image).all())
        held = f"{counted(n, 'pixel')} beyond {LARGEST:g}" if finite else counted(n, "NaN or infinite pixel")
        raise DataError(
            f"{_name(series, tilt)} holds {held}, the first at x = "
            f"{x}, y = {y}: {image[y, x]:g}; repair the image, or leave such images out (skip_bad_images=True)"
        )
    if low == high and (low == 0 or not keep_mean):
        raise DataError(
            f"{_name(series, tilt)} is blank: every pixel is {low:g}; leave such images out (skip_bad_images=True)"
        )
    return image


def _name(series: TiltSeries, tilt: int) -> str:
    where = f"{series.source}: " if series.source else ""
    file = where_from(series, tilt)
    return f"{where}image {tilt + 1} of {series.n_tilts} of tilt series {series.name}{f' ({file})' if file else ''}"


def prepare_image(
    image: Real,
    grid: ImageGrid,
    masks: tuple[Real, Real],
    level: float,
    filters: list[ImageFilter],
    binning: float,
    workspace: Workspace,
    *,
    shared: dict[object, Complex],
    share: object,
    odd: bool,
) -> Real:
    """Continue, filter, bin and mask one image.

    Parameters
    ----------
    image
        ``(height, width)``, float32.
    grid
        Grid from :func:`sampling`.
    masks
        Masks from :func:`image_masks`.
    level
        Grey level to subtract.
    filters
        2D filters; frequencies in cycles per voxel.
    binning
        Voxel over bin-1 px.
    workspace
        Memory for it, and for the result.
    shared, share
        Transforms of this image that may be used again, under a name that stands for border and first mask. The finest
        binning has to come first.
    odd
        Continue the image by odd reflection: see the module.

    Returns
    -------
    prepared
        ``grid.sampled``, float32; pixel ``(0, 0)`` is bin-1 pixel ``(-border, -border)``.
    """
    height, width = grid.padded
    rows, columns = grid.sampled
    half_columns = columns // 2 + 1
    name = share, level, grid.padded, odd
    if not grid.filters or name not in shared:
        extended = continue_image(image, np.float32(level), grid.border, workspace, odd=odd)
        extended *= masks[0]
        if not grid.filters:
            return extended
        spectrum = fft.real_forward(extended, width, workspace)[:, :half_columns]
        whole = workspace.array("full", (height, half_columns), np.complex64)
        whole[: len(spectrum)] = spectrum
        whole[len(spectrum) :] = 0
        fft.transform(whole, 0, backward=False)
        shared[name] = whole
    full = shared[name][:, :half_columns]
    kept = workspace.array("kept", (rows, half_columns), np.complex64)
    upper = grid.upper_rows
    kept[:upper] = full[:upper]
    kept[upper:] = full[height - (rows - upper) :]
    fx, fy = grid.frequencies(binning)
    for image_filter in filters:
        kept *= image_filter(fx, fy)
    kept *= np.float32(1 / (height * width))
    fft.transform(kept, 0, backward=True)
    prepared: Real = workspace.array("prepared", (rows, columns), np.float32)
    fft.real_backward(kept, 1, columns, prepared)
    prepared *= masks[1]
    return prepared


def mean_level(image: Real, taper: Real | None) -> float:
    """Mean of an image; of what a taper leaves of it, by its weights ``(height, width)``, if there is one."""
    if taper is None:
        return float(image.mean(dtype=np.float64))
    return float((image * taper).sum(dtype=np.float64) / max(taper.sum(dtype=np.float64), 1e-9))


def continue_image(image: Real, level: np.float32, border: int, workspace: Workspace, *, odd: bool) -> Real:
    """Take the grey level off an image, and continue it by even or odd reflection about its border pixels.

    Parameters
    ----------
    image
        ``(height, width)``, float32.
    level
        Grey level.
    border
        Pixels that are added on every side.
    workspace
        Memory for the result.
    odd
        See the module.
    """
    if max(border, 1) >= min(image.shape):
        return np.pad(image - level, border, mode="reflect", reflect_type="odd" if odd else "even")
    height, width = image.shape
    result: Real = workspace.array("extended", (height + 2 * border, width + 2 * border), np.float32)
    core = result[border : border + height]
    np.subtract(image, level, out=core[:, border : border + width])
    if border:
        for side, edge in ((slice(border), border), (slice(border + width, None), border + width - 1)):
            inside = core[:, 2 * edge - np.arange(result.shape[1])[side]]
            core[:, side] = 2 * core[:, edge, None] - inside if odd else inside
        for side, edge in ((slice(border), border), (slice(border + height, None), border + height - 1)):
            inside = result[2 * edge - np.arange(result.shape[0])[side]]
            result[side] = 2 * result[edge] - inside if odd else inside
    return result


def image_masks(image_shape: tuple[int, int], grid: ImageGrid, mask: Mask, counted: bool) -> tuple[Real, Real]:
    """Weights of an image with its border before, and of the prepared image after it is filtered and binned.

    The mask that voxels are counted with comes last, unless it is a taper: what a taper leaves out is not used at all.
    Where voxels are not counted, what filters spread over the border may stay: cutting it off would lose signal.
    """
    height, width = image_shape
    reach = grid.border - grid.empty
    continued = Mask(-float(reach), float(reach))
    first = (continued if mask.start < 0 and reach > np.ceil(-mask.start) else mask).weights(
        np.arange(-grid.border, height + grid.border, dtype=float),
        np.arange(-grid.border, width + grid.border, dtype=float),
        image_shape,
    )
    rows, columns = (np.arange(n) * s - grid.border for n, s in zip(grid.sampled, grid.step[::-1], strict=True))
    last = mask.weights(rows, columns, image_shape) if mask.start < 0 and counted else np.ones((1, 1), np.float32)
    return first, last


def filters_of(weighting: Weighting, views: TiltViews, tilt: int, *, transfer: bool) -> list[ImageFilter]:
    """Give the 2D filters of one image: what the weighting asks for and, if wanted, its transfer function."""
    filters: list[ImageFilter] = []
    seen = views.transfers
    if transfer and seen.applies:
        phases, envelope = seen.phases(tilt, views.voxel_size), views.envelopes[tilt]
        filters.append(lambda fx, fy: _transfer_grid(fx.ravel(), fy.ravel(), phases, seen.form, envelope, PER_CYCLE))
    if weighting.has_filter:
        filters.append(lambda fx, fy: weighting.image_filter(tilt, fx, fy, views))
    return filters


@compiled()
def _transfer_grid(fx: Any, fy: Any, c: Any, form: int, envelope: Any, per_cycle: float) -> Any:
    values = np.empty((fy.size, fx.size), np.float32)
    envelopes = np.empty(fx.size, np.float32)
    step = float(fx[1] - fx[0]) if fx.size > 1 else 0.0
    for row in range(fy.size):
        y = float(fy[row])
        for column in range(fx.size):
            values[row, column] = transfer(float(fx[column]), y, c, form)
        if envelope.shape[0] > 0:
            damp_row(float(fx[0]), step, y, 0.0, envelope, per_cycle, envelopes)
            values[row] *= envelopes
    return values


def cut_window(
    prepared: Real, start: NDArray[np.int64], stop: NDArray[np.int64], transpose: bool, margin: int = WINDOW_MARGIN
) -> Real:
    """Cut out what the region sees, fading towards cuts that are not borders of the prepared image.

    Parameters
    ----------
    prepared
        ``(height, width)``.
    start, stop
        First pixel and end of the window, ``(x, y)``.
    transpose
        Give ``(x, y)`` instead of ``(y, x)``.
    margin
        Room around what is needed; it fades over half of that.
    """
    window = prepared[start[1] : stop[1], start[0] : stop[0]]
    for axis, weight in enumerate(window_fades(start, stop, prepared.shape, margin)):
        if weight is not None:
            window = window * (weight[:, None] if axis == 0 else weight[None, :])
    return np.ascontiguousarray(window.T if transpose else window)


def window_fades(
    start: NDArray[np.int64], stop: NDArray[np.int64], shape: tuple[int, ...], margin: int = WINDOW_MARGIN
) -> list[Real | None]:
    """Weights of a window along y and x, which fade towards cuts that are no borders; None where there is no cut."""
    fade = min(margin // 2, *(stop - start).tolist())
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)
    fades: list[Real | None] = []
    for low, high, n in zip(start[::-1], stop[::-1], shape, strict=True):
        weight = np.ones(int(high - low), np.float32)
        if low > 0:
            weight[:fade] *= ramp
        if high < n:
            weight[-fade:] *= ramp[::-1]
        fades.append(weight if low > 0 or high < n else None)
    return fades
