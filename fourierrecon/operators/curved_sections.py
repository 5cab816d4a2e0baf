"""A few z sections of planes by direct sums, with the CTF at each depth: :mod:`fourierrecon.operators.sections`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine import simd
from fourierrecon.engine.central_slices import PAD
from fourierrecon.engine.curved_kernels import BEND_O, BEND_Z
from fourierrecon.engine.curved_slices import CurvedLines
from fourierrecon.engine.fixed_point import fixed, taps_at
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.runtime.compiled import compiled


def spread_curved(lines: CurvedLines, table_o: Real, taps: Complex, phases: Complex, rows: Real) -> None:
    """Spread the samples of both sheets into rows of sections.

    Parameters
    ----------
    lines
        After their ``begin`` and ``start``; without weights.
    table_o, taps, phases, rows
        As for :func:`fourierrecon.operators.sections.spread_sections`.
    """
    s, c = lines.slices, lines.curved
    _spread(
        lines.samples, lines.factors, lines.shifts, s.lines, c.optics, c.sheets, lines.j, lines.cursor, *s.grid,
        s.width, table_o, taps, phases, rows,
    )  # fmt: skip


def take_curved_cells(
    lines: CurvedLines, first: int, last: int, block: Real, spans: NDArray[np.int32], cells: Real,
    places: NDArray[np.int32],
) -> int:  # fmt: skip
    """Spread the samples of both sheets whose taps begin in a block of rows, and take what is in these rows out of it.

    Parameters
    ----------
    lines
        After their ``begin`` and ``start``; with weights.
    first, last
        Rows of the plane.
    block, cells, places
        As for :func:`fourierrecon.operators.sections.take_cells`.
    spans
        ``(n_tilts, rows of the block, 2)``: columns in use, empty but for what the block before left for this one.
    """
    s, c = lines.slices, lines.curved
    return int(
        _take(
            lines.samples, lines.factors, lines.shifts, lines.weights, s.fill, s.lines, c.optics, c.sheets, lines.j,
            first, last, lines.cursor, *s.grid, s.tables[2], s.tables[3], s.width, block, spans, cells, places,
        )
    )  # fmt: skip


@compiled()
def _spread(
    samples: Any,  # (n_lines, n_rows) complex64
    factors: Any,  # (n_lines, n_rows) complex64
    shifts: Any,  # (n_lines, n_rows) float32
    lines: Any,  # (n_tilts, 4, 2)
    optics: Any,
    sheets: int,
    j: int,
    cursor: Any,  # (2 n_tilts, 2): first and last sample
    nz: int,
    no: int,
    width: int,
    table_o: Any,
    taps: Any,  # (depth, 258) complex64
    phases: Any,  # (depth, Nz + 2 PAD) complex64
    rows: Any,  # (depth, 2 (No + 2 PAD + REACH)) float32: interleaved complex
) -> None:
    half_rows = samples.shape[1] // 2
    half = width / 2
    flat = rows.reshape(-1)
    stride = rows.shape[1]
    for tilt in range(lines.shape[0]):
        ln = lines[tilt]
        o_start = ln[2, 0] * j * no + no / 2 + PAD - half
        z_start = ln[3, 0] * j * nz + nz / 2 + PAD - half
        o_step, z_step = ln[2, 1] * no, ln[3, 1] * nz
        direction = 1 if o_step >= 0 else -1
        for sheet in range(2):
            at_line = tilt * sheets + (sheet if sheets == 2 else 0)
            side = np.float32(1 - 2 * sheet)
            bend_o, bend_z = side * optics[tilt, BEND_O] * no, side * optics[tilt, BEND_Z] * nz
            el, end = cursor[2 * tilt + sheet, 0], cursor[2 * tilt + sheet, 1]
            for _ in range((end - el) * direction + 1):
                r = el + half_rows
                shift = shifts[at_line, r]
                o_at = o_start + o_step * el + bend_o * shift
                z_at = z_start + z_step * el + bend_z * shift
                o_cell, o_entry, o_frac = taps_at(fixed(o_at))
                z_cell, z_entry, z_frac = taps_at(fixed(z_at))
                sign = np.float32(1 - 2 * ((o_cell + z_cell) & 1))
                sample, factor = samples[at_line, r], factors[at_line, r]
                # times p on the first sheet, and times its conjugate on the second
                p_re, p_im = factor.real * sign, factor.imag * sign * side
                re, im = sample.real * p_re - sample.imag * p_im, sample.real * p_im + sample.imag * p_re
                for z in range(taps.shape[0]):
                    low, high = taps[z, z_entry], taps[z, z_entry + 1]
                    t_re = low.real + z_frac * (high.real - low.real)
                    t_im = low.imag + z_frac * (high.imag - low.imag)
                    phase = phases[z, z_cell]
                    f_re = t_re * phase.real - t_im * phase.imag
                    f_im = t_re * phase.imag + t_im * phase.real
                    simd.spread(
                        flat, z * stride + 2 * o_cell, table_o, 16 * o_entry, o_frac, re * f_re - im * f_im,
                        re * f_im + im * f_re,
                    )  # fmt: skip
                el += direction


@compiled()
def _take(
    samples: Any,  # (n_lines, n_rows) complex64
    factors: Any,  # (n_lines, n_rows) complex64
    shifts: Any,  # (n_lines, n_rows) float32
    weights: Any,  # (n_lines, n_rows) float32
    fill: Any,  # (n_tilts,) float32
    lines: Any,  # (n_tilts, 4, 2)
    optics: Any,
    sheets: int,
    j: int,
    first: int,
    last: int,
    cursor: Any,  # (2 n_tilts, 2): next and last sample
    nz: int,
    no: int,
    table_o: Any,
    table_z: Any,
    width: int,
    block: Any,
    spans: Any,
    cells: Any,  # (any, 4) float32, for the result
    places: Any,  # (any, 2) int32: row of the block and column
) -> int:
    half_rows = samples.shape[1] // 2
    half = width / 2
    grid = block.reshape(-1)
    stride = block.shape[1]
    rows, columns = last - first, stride // 4
    for tilt in range(lines.shape[0]):
        ln = lines[tilt]
        o_start = ln[2, 0] * j * no + no / 2 + PAD - half
        z_start = ln[3, 0] * j * nz + nz / 2 + PAD - half
        o_step, z_step = ln[2, 1] * no, ln[3, 1] * nz
        direction = 1 if o_step >= 0 else -1
        count = np.float32(0.5) * fill[tilt]
        for sheet in range(2):
            at_line = tilt * sheets + (sheet if sheets == 2 else 0)
            side = np.float32(1 - 2 * sheet)
            bend_o, bend_z = side * optics[tilt, BEND_O] * no, side * optics[tilt, BEND_Z] * nz
            span = spans[tilt]
            el, end = cursor[2 * tilt + sheet, 0], cursor[2 * tilt + sheet, 1]
            for _ in range((end - el) * direction + 1):
                r = el + half_rows
                shift = shifts[at_line, r]
                o_at = o_start + o_step * el + bend_o * shift
                z_at = z_start + z_step * el + bend_z * shift
                o_cell, z_cell = int(o_at) + 1, int(z_at) + 1  # positive: truncation is the floor
                if o_cell >= last:
                    break
                for row in range(o_cell - first, o_cell - first + width):
                    span[row, 0] = min(span[row, 0], z_cell)
                    span[row, 1] = max(span[row, 1], min(z_cell + width, columns))
                o_part, z_part = (o_cell - o_at) * 256, (z_cell - z_at) * 256
                o_entry, z_entry = int(o_part), int(z_part)
                o_frac, z_frac = np.float32(o_part - o_entry), np.float32(z_part - z_entry)
                sign = np.float32(1 - 2 * ((o_cell + z_cell) & 1))
                value, factor = samples[at_line, r], factors[at_line, r]
                fr, fi = factor.real * sign, factor.imag * sign * side
                simd.spread_weighted4(
                    grid, (o_cell - first) * stride + 4 * z_cell, stride, table_z, 16 * z_entry, z_frac, table_o,
                    8 * o_entry, o_frac, value.real * fr - value.imag * fi, value.real * fi + value.imag * fr,
                    weights[at_line, r], count,
                )  # fmt: skip
                el += direction
            cursor[2 * tilt + sheet, 0] = el
    found = 0
    for row in range(rows):
        line = block[row]
        for at_span in range(spans.shape[0]):
            for column in range(spans[at_span, row, 0], spans[at_span, row, 1]):
                if line[4 * column + 3] != 0:
                    for i in range(4):
                        cells[found, i] = line[4 * column + i]
                        line[4 * column + i] = 0
                    places[found, 0], places[found, 1] = row, column
                    found += 1
    # what was spread beyond the block begins the next one
    kept = block.shape[0] - rows
    for row in range(width):
        block[row] = block[rows + row]
        block[rows + row] = 0
    spans[:, :kept] = spans[:, rows:]
    spans[:, kept:, 0], spans[:, kept:, 1] = columns, 0
    return found
