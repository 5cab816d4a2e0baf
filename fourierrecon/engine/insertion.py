"""Insertion: spread the lines of all images onto one plane of the Fourier grid, normalise it, bring it to real space.

A plane is worked on in blocks of rows that stay in the cache: the samples that fall on a block are spread, the block is
normalised and transformed along z, and transposed into the plane that is then transformed along the other axis.
Names of the axes: see :mod:`fourierrecon.engine.central_slices`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from fourierrecon.engine import fft, simd
from fourierrecon.engine.central_slices import PAD, STOP, Slices
from fourierrecon.engine.fixed_point import along, taps_at
from fourierrecon.engine.grid_weights import separate
from fourierrecon.engine.transposing import transpose
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.runtime.compiled import compiled

#: Size of the data in a block of rows: with weights and samples it should fit into a core's own cache.
BLOCK_BYTES = 400_000
#: Rows that a sample's taps may reach beyond its first.
REACH = 8
#: Called with data and weights; and with spatial frequencies, 1/Å, where those are made.
Normalise = Callable[..., None]


class PlaneWork:
    """Buffers of one thread, for all planes it inserts.

    Parameters
    ----------
    slices
        Geometry.
    weighted
        Whether weights are inserted too.
    voxel_size
        Å, where the spatial frequency of each point is asked for; else None.
    """

    def __init__(self, slices: Slices, weighted: bool, voxel_size: float | None = None) -> None:
        nz, no = slices.grid
        rows, columns = no + 2 * PAD + REACH, nz + 2 * PAD
        # a cell: real and imaginary part; and weight and count
        self.block = np.empty((rows, columns * (4 if weighted else 2)), np.float32)
        self.data = np.empty((rows, columns), np.complex64) if weighted else self.block.view(np.complex64)
        self.weights = np.empty((rows, columns) if weighted else (0, 0), np.float32)
        self.voxel_size = voxel_size
        self.frequency = np.empty((0, 0) if voxel_size is None else (rows, columns), np.float32)
        self.turned = np.empty((slices.shape[0], no), np.complex64)
        # numbers of the same size: where they are only moved, and where they are scaled
        self.turned_moved, self.turned_parts = self.turned.view(np.float64), self.turned.view(np.float32)
        self.data_moved = self.data.view(np.float64)
        self.rows = max(16, BLOCK_BYTES // (8 * columns))


class Lines(Protocol):
    """The lines of all images on one plane."""

    more: int
    """Rows that they may reach beyond a central slice."""
    turns_back: bool
    """Whether samples may come in any order of rows, so that a plane must be spread in one go."""

    def begin(self, j: int, samples: Complex, weights: Real) -> None:
        """Take the samples of plane ``j`` and their weights, or ``(0, 0)``."""

    def start(self, limit: float) -> None:
        """Start over, with the samples within ``limit`` of the tilt axis only (cycles per voxel along o)."""

    def spread(self, first: int, last: int, left: int, done: int, block: Real) -> None:
        """Spread the samples whose taps begin in a block of rows; see :func:`spread_rows`."""

    def add_lost(self, first: int, left: int, grid: Complex, limit: float, fade: float, weak: float) -> None:
        """Add to the samples what the spectrum of the region lacks of them, see :mod:`.density_correction`."""


def insert_plane(
    slices: Slices,
    j: int,
    lines: Lines,
    *,
    normalise: Normalise | None,
    gains: tuple[Real, Real],
    work: PlaneWork,
    planes: Complex,
    at: int,
) -> None:
    """Insert plane ``j`` and write it, in real space along z and o, to a row of every z slab.

    Parameters
    ----------
    slices
        Geometry.
    j
        Number of the plane.
    lines
        The lines of all images on this plane.
    normalise
        Called on blocks of data and weights, in place; None: not at all.
    gains
        Deapodisation along z and o, ``(D,)`` and ``(O,)``.
    work
        Buffers of this thread.
    planes
        ``(D, any, O)``, for the result.
    at
        Row of the plane in there.
    """
    depth = slices.shape[0]
    nz, no = slices.grid
    low, high = rows_in_use(slices, j, lines.more)
    # near the middle plane lines may run over the border of the periodic grid: then all rows are one block
    wraps = low < PAD or high > no + PAD or lines.turns_back
    if wraps:
        low, high = 0, no + 2 * PAD
    step = high - low if wraps else work.rows
    work.turned_moved[:, : max(low - PAD, 0)] = 0
    work.turned_moved[:, high - PAD :] = 0
    lines.start(STOP)
    done = 0
    for first in range(low, high, step):
        last = min(first + step, high)
        lines.spread(first, last, 0, done, work.block)
        done = last - first
        used = slice(0, done)
        if wraps:
            fold_rows(work.block[:done])
            used, first = slice(PAD, PAD + no), PAD
        data = work.data[used]
        if normalise is not None:
            separate(work.block[used], data, work.weights[used])
            if work.voxel_size is None:
                normalise(data, work.weights[used])
            else:
                frequency = work.frequency[used]
                _frequencies(first - PAD - no // 2, j / slices.period, nz, no, 1 / work.voxel_size, frequency)
                normalise(data, work.weights[used], frequency)
        fft.transform_rows(data[:, PAD : PAD + nz])
        transpose(work.data_moved[used], PAD + nz // 2 - slices.middle[0], work.turned_moved, first - PAD)
    left, gain, parts = 2 * (no // 2 - slices.middle[1]), np.repeat(gains[1], 2), planes.view(np.float32)
    for z in range(0, depth, 32):
        fft.transform_rows(work.turned[z : z + 32])
        _store(work.turned_parts[z : z + 32], left, gains[0][z:], gain, parts[z : z + 32], at)


def rows_in_use(slices: Slices, j: int, more: int = 0) -> tuple[int, int]:
    """Rows ``[low, high)`` of a plane that lines within the band can reach."""
    no = slices.grid[1]
    radius = np.sqrt(max(STOP**2 - (j / slices.period) ** 2, 0.0)) * no + slices.width / 2 + 1 + more
    return int(np.floor(no / 2 + PAD - radius)), int(np.ceil(no / 2 + PAD + radius)) + 1


@compiled()
def _row_range(lines: Any, j: int, half_rows: int, stop2: float, limit: float) -> tuple[int, int]:
    """First and last row ``l`` of a line within the band (the samples beyond are zero)."""
    op, ol = lines[2, 0] * j, lines[2, 1]
    zp, zl = lines[3, 0] * j, lines[3, 1]
    kp = lines[1, 0] * j
    a = ol * ol + zl * zl
    b = op * ol + zp * zl
    c = kp * kp + op * op + zp * zp - stop2
    root = b * b - a * c
    if root <= 0 or a <= 0:
        return 1, 0
    root = np.sqrt(root)
    low = max(int(np.ceil((-b - root) / a)), -half_rows)
    high = min(int(np.floor((-b + root) / a)), half_rows)
    if abs(ol) * half_rows > limit:
        middle, reach = -op / ol, limit / abs(ol)
        low, high = max(low, int(np.ceil(middle - reach))), min(high, int(np.floor(middle + reach)))
    return low, high


@compiled(fastmath=False)
def start(lines: Any, j: int, half_rows: int, stop2: float, limit: float, cursor: Any) -> None:
    """Set the next and the last sample with ``|k_o| <= limit`` of every line, in ascending order of rows."""
    for tilt in range(lines.shape[0]):
        low, high = _row_range(lines[tilt], j, half_rows, stop2, limit)
        ascending = lines[tilt, 2, 1] >= 0
        cursor[tilt, 0] = low if ascending else high
        cursor[tilt, 1] = high if ascending else low
        if low > high:
            cursor[tilt, 0], cursor[tilt, 1] = 1, 0
            if not ascending:
                cursor[tilt, 0], cursor[tilt, 1] = 0, 1


@compiled()
def spread_rows(
    samples: Any,  # (n_tilts, n_rows) complex64
    weights: Any,  # (n_tilts, n_rows) float32, or (0, 0)
    fill: Any,  # (n_tilts,) float32: what a sample of each tilt counts for
    lines: Any,  # (n_tilts, 4, 2)
    j: int,
    first: int,  # rows [first, last) of the plane
    last: int,
    left: int,  # column of the plane where the block begins; 0: it is as wide as the plane
    done: int,  # rows of the block before, whose last taps reach into this one; 0: none
    cursor: Any,  # (n_tilts, 2): next and last sample
    block: Any,  # (rows, numbers a cell times (Nz + 2 PAD)) float32
    nz: int,
    no: int,
    data_table_o: Any,
    data_table_z: Any,
    weighted_table_o: Any,
    weighted_table_z: Any,
    width: int,
) -> None:
    """Spread the samples whose taps begin in a block of rows."""
    weigh = weights.shape[0] > 0
    rows = last - first
    _carry_over(block, done, rows)
    grid = block.reshape(-1)
    stride = block.shape[1]
    numbers = 4 if weigh else 2
    half_rows = samples.shape[1] // 2
    before = width / 2 - PAD
    for tilt in range(samples.shape[0]):
        ln = lines[tilt]
        o_zero, o_step = along(ln[2], j, no, before)
        z_zero, z_step = along(ln[3], j, nz, before)
        direction = 1 if o_step >= 0 else -1
        el, end = cursor[tilt, 0], cursor[tilt, 1]
        o_place, z_place = o_zero + o_step * el, z_zero + z_step * el
        o_step, z_step = direction * o_step, direction * z_step
        n = (end - el) * direction + 1
        for _ in range(n):
            o_cell, o_entry, o_frac = taps_at(o_place)
            if o_cell >= last:
                break
            z_cell, z_entry, z_frac = taps_at(z_place)
            o_place += o_step
            z_place += z_step
            value = samples[tilt, el + half_rows]
            re, im = simd.flipped(value.real, o_cell + z_cell), simd.flipped(value.imag, o_cell + z_cell)
            at = (o_cell - first) * stride + (z_cell - left) * numbers
            o_row, z_row = 8 * o_entry, 16 * z_entry
            if weigh:
                simd.spread_weighted4(
                    grid, at, stride, weighted_table_z, z_row, z_frac, weighted_table_o, o_row, o_frac, re, im,
                    weights[tilt, el + half_rows], fill[tilt],
                )  # fmt: skip
            elif width <= 6:
                simd.spread6(grid, at, stride, data_table_z, z_row, z_frac, data_table_o, o_row, o_frac, re, im)
            else:
                simd.spread8(grid, at, stride, data_table_z, z_row, z_frac, data_table_o, o_row, o_frac, re, im)
            el += direction
        cursor[tilt, 0] = el
    if left == 0:  # the whole width of the periodic grid
        _fold_columns(block, rows, PAD * numbers)


@compiled(fastmath=False)
def _carry_over(block: Any, done: int, rows: int) -> None:
    """Begin a block with what the block before spread beyond its end."""
    kept = REACH if done else 0
    for row in range(kept):
        block[row] = block[done + row]
    block[kept : rows + REACH] = 0


@compiled(fastmath=False)
def _fold_columns(block: Any, rows: int, pad: int) -> None:
    """Add the spare columns of a periodic grid to those they stand for."""
    columns = block.shape[1] - 2 * pad
    for row in range(rows):
        for i in range(pad):
            block[row, columns + i] += block[row, i]
            block[row, pad + i] += block[row, columns + pad + i]


def fold_rows(block: Real) -> None:
    """Add the spare rows of a whole plane to those they stand for."""
    rows = len(block) - 2 * PAD
    block[rows : rows + PAD] += block[:PAD]
    block[PAD : 2 * PAD] += block[rows + PAD :]


@compiled()
def _frequencies(first: int, k_p: float, nz: int, no: int, per_voxel: float, out: Any) -> None:
    """Give the spatial frequencies of a block of rows, the first of which is ``first`` rows from the middle."""
    step, scale = np.float32(1 / nz), np.float32(per_voxel)
    for row in range(out.shape[0]):
        k_o = (first + row) / no
        rest = np.float32(k_p * k_p + k_o * k_o)
        values = out[row]
        for column in range(values.shape[0]):
            k_z = np.float32(column - (PAD + nz // 2)) * step
            values[column] = np.sqrt(rest + k_z * k_z) * scale


@compiled()
def _store(turned: Any, left: int, gain_z: Any, gain_o: Any, planes: Any, at: int) -> None:
    """Write a transformed plane, cropped along o and deapodised, into a row of every z slab.

    Real and imaginary parts are numbers of their own here: complex numbers times real ones take twice as long.
    """
    for z in range(planes.shape[0]):
        out, row, factor = planes[z, at], turned[z, left : left + gain_o.shape[0]], gain_z[z]
        for i in range(gain_o.shape[0]):
            out[i] = row[i] * (factor * gain_o[i])
