"""From planes to samples: the adjoint of :mod:`fourierrecon.engine.insertion`, step by step in reverse.

A plane in real space is deapodised and transformed along one axis, then, in blocks of rows that stay in the cache,
transposed and transformed along z, and interpolated along the lines of all images with the kernel that spreads them.
Names of the axes: see :mod:`fourierrecon.engine.central_slices`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fourierrecon.engine import fft, simd
from fourierrecon.engine.central_slices import PAD, STOP, Slices
from fourierrecon.engine.curved_slices import CurvedLines, CurvedSlices
from fourierrecon.engine.fixed_point import along, taps_at
from fourierrecon.engine.insertion import BLOCK_BYTES, REACH, rows_in_use, start
from fourierrecon.operators.curved_gather import gather_curved
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.runtime.compiled import compiled


class GatherWork:
    """Buffers of one thread, for all planes it samples.

    Parameters
    ----------
    slices
        Geometry.
    curved
        The CTF at each depth, or None.
    """

    def __init__(self, slices: Slices, curved: CurvedSlices | None = None) -> None:
        nz, no = slices.grid
        self.block = np.zeros((no + 2 * PAD + REACH, nz + 2 * PAD), np.complex64)
        self.turned = np.zeros((slices.shape[0], no), np.complex64)
        self.cursor = np.empty((len(slices.matrices), 2), np.int64)
        self.rows = max(16, BLOCK_BYTES // (8 * (nz + 2 * PAD)))
        self.lines = None if curved is None else CurvedLines(slices, curved, False)


def gather_plane(
    slices: Slices, j: int, planes: Complex, gains: tuple[Real, Real], work: GatherWork, samples: Complex
) -> None:
    """Sample plane ``j`` along the lines of all images.

    Parameters
    ----------
    slices
        Geometry.
    j
        Number of the plane.
    planes
        ``(D, any, O)``: half spectra along p, real space along z and o.
    gains
        Deapodisation along z and o, as for :func:`fourierrecon.engine.insertion.insert_plane`.
    work
        Buffers of this thread.
    samples
        ``(n_lines, n_rows)``, for the result.
    """
    depth, _, n_o = slices.shape
    nz, no = slices.grid
    samples[...] = 0
    left, top = no // 2 - slices.middle[1], PAD + nz // 2 - slices.middle[0]
    for z in range(0, depth, 32):
        rows = work.turned[z : z + 32]
        rows[:, :left] = 0
        rows[:, left + n_o :] = 0
        np.multiply(planes[z : z + 32, j], gains[1], out=rows[:, left : left + n_o])
        fft.transform_rows(rows, backward=False)
    lines = work.lines
    low, high = rows_in_use(slices, j, 0 if lines is None else lines.more)
    wraps = low < PAD or high > no + PAD or (lines is not None and lines.turns_back)
    if wraps:
        low, high = 0, no + 2 * PAD
    step = high - low if wraps else work.rows
    if lines is None:
        start(slices.lines, j, slices.half_rows, STOP**2, STOP, work.cursor)
    else:
        lines.begin(j, samples, np.empty((0, 0), np.float32))
        lines.start(STOP)
    made = low
    for first in range(low, high, step):
        last = min(first + step, high)
        until = min(last + REACH, high)
        kept = made - first  # rows that the block before made as well, for its last taps
        work.block[:kept] = work.block[step : step + kept]
        if wraps:
            _make_rows(work, gains[0], top, PAD, PAD + no, PAD)
            work.block[:PAD] = work.block[no : no + PAD]
            work.block[no + PAD : no + 2 * PAD] = work.block[PAD : 2 * PAD]
        else:
            _make_rows(work, gains[0], top, made, until, kept)
        if lines is not None:
            gather_curved(lines, first, last, work.block.view(np.float32), samples)
            made = until
            continue
        gather_rows(
            work.block.view(np.float32), slices.lines, j, first, last, work.cursor, nz, no, slices.tables[0],
            slices.tables[1], slices.width, samples,
        )  # fmt: skip
        made = until


def _make_rows(work: GatherWork, gain: Real, top: int, first: int, last: int, at: int) -> None:
    """Make rows ``[first, last)`` of a plane, from row ``at`` of the block on."""
    rows = work.block[at : at + last - first]
    if len(rows) == 0:
        return
    nz = rows.shape[1] - 2 * PAD
    _transpose(work.turned, first - PAD, gain, rows, top)
    fft.transform_rows(rows[:, PAD : PAD + nz], backward=False)
    rows[:, :PAD] = rows[:, nz : nz + PAD]
    rows[:, nz + PAD :] = rows[:, PAD : 2 * PAD]


@compiled()
def _transpose(turned: Any, left: int, gain: Any, block: Any, top: int) -> None:
    """Write columns ``(z, o)`` as rows ``(o, z)``, deapodised, between zeros."""
    depth = turned.shape[0]
    for start_row in range(0, block.shape[0], 8):
        stop = min(start_row + 8, block.shape[0])
        for o in range(start_row, stop):
            block[o, :top] = 0
            block[o, top + depth :] = 0
        for z in range(depth):
            row, factor = turned[z], gain[z]
            for o in range(start_row, stop):
                block[o, top + z] = row[left + o] * factor


@compiled()
def gather_rows(
    block: Any,  # (rows, 2 (Nz + 2 PAD)) float32: interleaved complex
    lines: Any,  # (n_tilts, 4, 2)
    j: int,
    first: int,  # rows [first, last) of the plane
    last: int,
    cursor: Any,  # (n_tilts, 2): next and last sample
    nz: int,
    no: int,
    table_o: Any,
    table_z: Any,
    width: int,
    samples: Any,  # (n_tilts, n_rows) complex64
) -> None:
    """Interpolate the samples whose taps begin in a block of rows: the adjoint of ``insertion.spread_rows``."""
    grid = block.reshape(-1)
    stride = block.shape[1]
    half_rows = samples.shape[1] // 2
    before = width / 2 - PAD
    for tilt in range(samples.shape[0]):
        ln = lines[tilt]
        o_zero, o_step = along(ln[2], j, no, before)
        z_zero, z_step = along(ln[3], j, nz, before)
        direction = 1 if o_step >= 0 else -1
        el, end = cursor[tilt, 0], cursor[tilt, 1]
        n = (end - el) * direction + 1
        for _ in range(n):
            o_cell, o_entry, o_frac = taps_at(o_zero + o_step * el)
            if o_cell >= last:
                break
            z_cell, z_entry, z_frac = taps_at(z_zero + z_step * el)
            sign = np.float32(1 - 2 * ((o_cell + z_cell) & 1))
            at = (o_cell - first) * stride + 2 * z_cell
            if width <= 6:
                value = simd.gather_plane6(
                    grid, at, stride, table_z, 16 * z_entry, z_frac, table_o, 8 * o_entry, o_frac
                )
            else:
                value = simd.gather_plane8(
                    grid, at, stride, table_z, 16 * z_entry, z_frac, table_o, 8 * o_entry, o_frac
                )
            samples[tilt, el + half_rows] = complex(value.real * sign, value.imag * sign)
            el += direction
        cursor[tilt, 0] = el
