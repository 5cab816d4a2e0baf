"""From planes to samples with the CTF at each depth: the adjoint of spreading on two curved sheets.

What a plane holds at ``k - delta n`` counts times ``conj(p)``, and what it holds at ``k + delta n`` times ``p``; names
as in :mod:`fourierrecon.engine.curved_slices`. Where both sheets share a sample, it is the sum of the two.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fourierrecon.engine import simd
from fourierrecon.engine.central_slices import PAD
from fourierrecon.engine.curved_kernels import BEND_O, BEND_Z
from fourierrecon.engine.curved_slices import CurvedLines
from fourierrecon.engine.fixed_point import fixed, taps_at
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.runtime.compiled import compiled


def gather_curved(lines: CurvedLines, first: int, last: int, block: Real, samples: Complex) -> None:
    """Add to the samples of both sheets whose taps begin in a block of rows: the adjoint of :meth:`CurvedLines.spread`.

    Parameters
    ----------
    lines
        After its ``begin`` and ``start``.
    first, last
        Rows of the plane.
    block
        ``(rows, 2 (Nz + 2 PAD))``: interleaved complex.
    samples
        ``(n_lines, n_rows)``, added to.
    """
    s = lines.slices
    _gather_rows(
        block, lines.factors, lines.shifts, s.lines, lines.curved.optics, lines.curved.sheets, lines.j, first, last,
        lines.cursor, *s.grid, s.tables[0], s.tables[1], s.width, samples,
    )  # fmt: skip


@compiled()
def _gather_rows(
    block: Any,
    factors: Any,  # (n_lines, n_rows) complex64
    shifts: Any,  # (n_lines, n_rows) float32
    lines: Any,  # (n_tilts, 4, 2)
    optics: Any,
    sheets: int,
    j: int,
    first: int,
    last: int,
    cursor: Any,  # (2 n_tilts, 2)
    nz: int,
    no: int,
    table_o: Any,
    table_z: Any,
    width: int,
    samples: Any,
) -> None:
    grid = block.reshape(-1)
    stride = block.shape[1]
    half_rows = samples.shape[1] // 2
    half = width / 2
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
            n = (end - el) * direction + 1
            for _ in range(n):
                r = el + half_rows
                shift = shifts[at_line, r]
                o_at = o_start + o_step * el + bend_o * shift
                z_at = z_start + z_step * el + bend_z * shift
                o_cell, o_entry, o_frac = taps_at(fixed(o_at))
                if o_cell >= last:
                    break
                z_cell, z_entry, z_frac = taps_at(fixed(z_at))
                at = (o_cell - first) * stride + 2 * z_cell
                if width <= 6:
                    value = simd.gather_plane6(
                        grid, at, stride, table_z, 16 * z_entry, z_frac, table_o, 8 * o_entry, o_frac
                    )
                else:
                    value = simd.gather_plane8(
                        grid, at, stride, table_z, 16 * z_entry, z_frac, table_o, 8 * o_entry, o_frac
                    )
                factor = factors[at_line, r]
                sign = np.float32(1 - 2 * ((o_cell + z_cell) & 1))
                fr, fi = factor.real * sign, -factor.imag * sign * side
                samples[at_line, r] += complex(value.real * fr - value.imag * fi, value.real * fi + value.imag * fr)
                el += direction
            cursor[2 * tilt + sheet, 0] = el
