"""The correction near the tilt axis, the last part of density compensation (:mod:`fourierrecon.engine.grid_weights`).

It makes weighted planes consistent: their volume projects back to the images also where central slices crowd.
A pointwise division by gridded weights is right where slices lie close, and where one passes alone, but not near the
tilt axis and at the borders of the wedge, where the density of slices changes within the resolution that the depth of
the region gives (one over the depth). Nearly all of what is wrong there lies within a few times that resolution of
the tilt axis: a band of a few dozen rows of each plane. There, before a plane is inserted, it is weighted and brought
to real space once for itself, cut to the region, and brought back; what the samples lack in it is added to them: one
step of Landweber's iteration (1951) on the data. Reprojections of a phantom are its images to about 5 % then, where the
division alone leaves 10 to 15 %. Names of the axes: see :mod:`fourierrecon.engine.central_slices`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine import fft, grid_weights, insertion
from fourierrecon.engine.central_slices import PAD, STOP, Slices
from fourierrecon.engine.fft import fast_length
from fourierrecon.engine.fixed_point import along, taps_at
from fourierrecon.engine.gridding_kernel import GriddingKernel
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.runtime.compiled import compiled

#: Half height of the wedge where the band ends, in units of one over the depth of the region.
HEIGHT = 6.0
#: Over this many units of one over the breadth of the region the correction fades out.
FADE = 4.0
#: Columns along z over those that the band reaches: what is lost is 2 % of the correction (half of that with 3).
ROOM = 2
#: Squared CTF below which samples are left as they are: there, what they lack would amplify noise. It is less than that
#: of the amplitude contrast (0.07² and more), which is all that images have at the lowest frequencies.
WEAK = 0.002
#: Length of the step. The lowest frequencies weigh too much before it: a full one would leave them 5 % too weak.
STEP = 0.97
#: Added to the weights: this division is no filter and needs only to stay finite.
FLOOR = 1e-4


class AxisCorrection:
    """Correct the samples of planes near the tilt axis; one for each thread, with its buffers.

    Parameters
    ----------
    slices
        Geometry.
    more
        Rows and columns that lines may reach beyond central slices.
    """

    def __init__(self, slices: Slices, more: int = 0) -> None:
        self.slices = slices
        (_, depth), (_, n_o) = slices.box
        nz, no = slices.grid
        slope = np.abs(slices.lines[:, 3, 1] / _away(slices.lines[:, 2, 1]))
        self.limit = min(HEIGHT / (depth * max(float(slope.max()), 0.1)), STOP)
        self.fade = FADE / n_o
        needed = 2 * (int(np.ceil((self.limit + self.fade) * no + slices.width / 2 + 2)) + more)
        # a band that is most of the plane: all of it, which is periodic
        self.whole = needed > 0.75 * no
        rows = no if self.whole else fast_length(needed)
        self.first = 0 if self.whole else PAD + no // 2 - rows // 2
        self.last = self.first + rows + (2 * PAD if self.whole else 0)
        # along z only what the lines reach in that band, and room, since the cut to the region widens it
        skew = np.abs(
            slices.lines[:, 3, 0] - slices.lines[:, 3, 1] / _away(slices.lines[:, 2, 1]) * slices.lines[:, 2, 0]
        )
        reach = float((skew * slices.n_planes + slope * (self.limit + self.fade)).max())
        needed = ROOM * 2 * (int(np.ceil(reach * nz + slices.width / 2 + 2)) + more)
        self.all_columns = self.whole or needed > 0.75 * nz
        columns = nz if self.all_columns else fast_length(needed)
        self.left = 0 if self.all_columns else PAD + nz // 2 - columns // 2
        self.gain = _cut(slices.kernels[1], n_o, no, rows)[:, None] * _cut(slices.kernels[0], depth, nz, columns)
        rows, columns = self.last - self.first + insertion.REACH, columns + (2 * PAD if self.all_columns else 0)
        self.block = np.empty((rows, 4 * columns), np.float32)
        self.data = np.empty((rows, columns), np.complex64)
        self.weights = np.empty((rows, columns), np.float32)

    def correct(self, lines: insertion.Lines) -> None:
        """Add to the samples of a plane what is lost of them, in place."""
        nz, no = self.slices.grid
        lines.start(self.limit if self.whole else self.limit + self.fade)
        lines.spread(self.first, self.last, self.left, 0, self.block)
        inner, columns = slice(0, self.last - self.first), slice(None)
        if self.all_columns:
            columns = slice(PAD, PAD + nz)
        if self.whole:
            insertion.fold_rows(self.block[inner])
            inner = slice(PAD, PAD + no)
        grid, weight = self.data, self.weights[inner]
        grid_weights.separate(self.block[inner], grid[inner], weight)
        weight += np.float32(FLOOR)
        data = grid[inner, columns]
        data /= weight[:, columns]
        # go to real space, cut to the region, and go back: the alternating signs of the grid cancel
        for backward in (True, False):
            fft.transform(data, 1, backward=backward)
            fft.transform(data, 0, backward=backward)
            if backward:
                data *= self.gain
        if self.all_columns:
            grid[inner, :PAD] = grid[inner, nz : nz + PAD]
            grid[inner, nz + PAD :] = grid[inner, PAD : 2 * PAD]
        if self.whole:
            grid[:PAD] = grid[no : no + PAD]
            grid[no + PAD : no + 2 * PAD] = grid[PAD : 2 * PAD]
        lines.add_lost(self.first, self.left, grid, self.limit, 0.0 if self.whole else self.fade, WEAK)


class FlatLines:
    """The lines of central slices on one plane; one for each thread.

    Parameters
    ----------
    slices
        Geometry.
    """

    more, turns_back = 0, False

    def __init__(self, slices: Slices) -> None:
        self.slices, self.j = slices, 0
        self.cursor = np.empty((len(slices.matrices), 2), np.int64)
        self._band = self.cursor.copy()
        self.samples: Complex = np.empty((0, 0), np.complex64)
        self.weights: Real = np.empty((0, 0), np.float32)

    def begin(self, j: int, samples: Complex, weights: Real) -> None:
        """Take the samples of plane ``j``, ``(n_tilts, n_rows)``, and their weights, or ``(0, 0)``."""
        self.j, self.samples, self.weights = j, samples, weights

    def start(self, limit: float) -> None:
        """Start over; see :class:`insertion.Lines`."""
        insertion.start(self.slices.lines, self.j, self.slices.half_rows, STOP**2, limit, self.cursor)
        self._band[:] = self.cursor

    def spread(self, first: int, last: int, left: int, done: int, block: Real) -> None:
        """Spread the samples whose taps begin in a block of rows; see :func:`insertion.spread_rows`."""
        s = self.slices
        insertion.spread_rows(
            self.samples, self.weights, s.fill, s.lines, self.j, first, last, left, done, self.cursor, block, *s.grid,
            *s.tables, s.width,
        )  # fmt: skip

    def add_lost(self, first: int, left: int, grid: Complex, limit: float, fade: float, weak: float) -> None:
        """Add to the samples what the spectrum of the region lacks of them."""
        s = self.slices
        _add_lost(
            self.samples, self.weights, s.fill, s.lines, self.j, first, left, self._band, grid, *s.grid, s.tables[0],
            s.tables[1], s.width, limit, fade, np.float32(weak), np.float32(STEP),
        )  # fmt: skip


def _cut(kernel: GriddingKernel, length: int, grid_length: int, n: int) -> NDArray[np.float32]:
    """Factors of ``n`` places over the whole grid in real space: 0 outside of the region; the kernel undone twice.

    Twice, because it is used twice, to spread and to interpolate; the first time it is normalised by the weights.
    """
    step = grid_length / n
    place = (np.arange(n) - n // 2) * step
    # a coarse place counts as far as the region fills it
    inside = np.clip((np.minimum(place + length // 2, length - length // 2 - 1 - place) + 0.5) / step + 0.5, 0, 1)
    middle = float(kernel.transform(np.zeros(1))[0])
    shape = kernel.transform(np.where(inside > 0, place, 0) / grid_length) / middle
    return np.asarray(inside / (shape**2 * middle * n), np.float32)


def _away(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keep values away from zero."""
    return np.where(np.abs(values) < 1e-9, 1e-9, values)


@compiled()
def interpolate(
    grid: Any, row: int, column: int, o_entry: int, o_frac: Any, z_entry: int, z_frac: Any, table_o: Any, table_z: Any,
    width: int,
) -> tuple[Any, Any]:  # fmt: skip
    """Interpolate a grid that has no spare columns: taps as for spreading, from a row and a column on."""
    real, imag = np.float32(0), np.float32(0)
    for o in range(width):
        at = 8 * o_entry + o
        along_o = table_o[at] + o_frac * (table_o[at + 8] - table_o[at])
        for z in range(width):
            at = 16 * z_entry + 2 * z
            tap = along_o * (table_z[at] + z_frac * (table_z[at + 16] - table_z[at]))
            value = grid[row + o, column + z]
            real += tap * value.real
            imag += tap * value.imag
    return real, imag


@compiled()
def _add_lost(
    samples: Any,  # (n_tilts, n_rows) complex64
    weights: Any,  # (n_tilts, n_rows) float32
    fill: Any,  # (n_tilts,) float32
    lines: Any,  # (n_tilts, 4, 2)
    j: int,
    first: int,  # row of the plane where the grid begins
    left: int,  # and column
    band: Any,  # (n_tilts, 2): first and last sample
    grid: Any,  # (rows, Nz + 2 PAD) complex64: the spectrum of the region
    nz: int,
    no: int,
    table_o: Any,  # signed taps
    table_z: Any,  # signed taps, each twice
    width: int,
    limit: float,
    fade: float,
    weak: Any,  # float32
    step: Any,  # float32
) -> None:
    """Interpolate the spectrum of the region at the samples, and add the differences to them."""
    before = width / 2 - PAD
    half_rows = samples.shape[1] // 2
    one = np.float32(1)
    for tilt in range(samples.shape[0]):
        ln = lines[tilt]
        low, high = min(band[tilt, 0], band[tilt, 1]), max(band[tilt, 0], band[tilt, 1])
        if (band[tilt, 1] - band[tilt, 0]) * ln[2, 1] < 0:
            continue  # the line has no sample in the band
        o_zero, o_step = along(ln[2], j, no, before)
        z_zero, z_step = along(ln[3], j, nz, before)
        for el in range(low, high + 1):
            o_cell, o_entry, o_frac = taps_at(o_zero + o_step * el)
            z_cell, z_entry, z_frac = taps_at(z_zero + z_step * el)
            real, imag = interpolate(
                grid, o_cell - first, z_cell - left, o_entry, o_frac, z_entry, z_frac, table_o, table_z, width
            )
            part = one
            if fade > 0:
                part = np.float32(min(max((limit + fade - abs(ln[2, 0] * j + ln[2, 1] * el)) / fade, 0.0), 1.0))
            weight = weights[tilt, el + half_rows]
            gain = weight * np.float32(1 - 2 * ((o_cell + z_cell) & 1))
            part *= step * weight / (weight + weak * fill[tilt])
            sample = samples[tilt, el + half_rows]
            samples[tilt, el + half_rows] = sample + part * (sample - complex(gain * real, gain * imag))
