"""Loops over samples of curved slices: their values, their way onto the grid, and what the first division loses.

The method: :mod:`fourierrecon.engine.curved_slices`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fourierrecon.ctf import damp_row
from fourierrecon.engine import insertion, simd
from fourierrecon.engine.central_slices import PAD
from fourierrecon.engine.density_correction import interpolate
from fourierrecon.engine.fixed_point import fixed, taps_at
from fourierrecon.runtime.compiled import compiled

#: Places of a row of numbers: phase in turns (aa, ab, bb, quartic, constant), its change to the middle of the specimen,
#: t_a, t_b, delta over r, what q_a changes by over delta, and places along o and z; scale.
AA, AB, BB, QUARTIC, CONSTANT, TO_MIDDLE, TA, TB, BEND, LEAN, BEND_O, BEND_Z, SCALE = range(13)


@compiled(inline=True)
def _wave(turns: float) -> tuple[np.float32, np.float32]:
    """Sine and cosine of an angle in turns, to 2e-7."""
    t = np.float32(turns - np.floor(turns + 0.5))
    size = abs(t)
    # both as an odd polynomial on |t| <= 1/4: the sine mirrors beyond it
    one = np.float32(0.5) - size if size > np.float32(0.25) else size
    one = -one if t < np.float32(0) else one
    two = np.float32(0.25) - size
    return _sine(one), _sine(two)


@compiled(inline=True)
def _sine(t: np.float32) -> np.float32:
    s = t * t
    p = np.float32(39.7106711) + s * np.float32(-12.5743952)
    p = np.float32(-76.7058533) + s * p
    p = np.float32(81.6052233) + s * p
    p = np.float32(-41.3417022) + s * p
    return t * (np.float32(6.28318531) + s * p)


@compiled()
def evaluate(
    lines: Any,  # (n_tilts, 4, 2)
    j: int,
    half_rows: int,
    row_length: int,
    stop2: float,
    optics: Any,  # (n_tilts, 13)
    to_voxels: Any,  # (n_tilts, 2)
    envelopes: Any,  # (n_tilts, STEPS + 2) or (n_tilts, 0)
    per_cycle: float,
    likeness: Any,  # (n_tilts, MEANS + 1)
    per_square: float,
    weigh_ctf: bool,
    sheets: int,
    fill: Any,  # (n_tilts,)
    row: Any,  # (n_rows,) float32: room
    factors: Any,  # (n_lines, n_rows) complex64
    shifts: Any,  # (n_lines, n_rows) float32
    weights: Any,  # (n_lines, n_rows) float32, or (0, 0)
) -> None:
    """Evaluate ``p``, ``delta`` and half of the weight of each sample; on the first sheet by the sign of ``lean``."""
    weigh = weights.shape[0] > 0
    half, one = np.float32(0.5), np.float32(1)
    for tilt in range(lines.shape[0]):
        low, high = insertion._row_range(lines[tilt], j, half_rows, stop2, 1.0)
        if low > high:
            continue
        o = optics[tilt]
        aa, ab, bb, quartic, constant = o[AA], o[AB], o[BB], o[QUARTIC], o[CONSTANT]
        to_middle, ta, tb, bend = o[TO_MIDDLE], o[TA], o[TB], o[BEND]
        scale, table = np.float32(o[SCALE]), likeness[tilt]
        counted = half * fill[tilt] * scale * scale
        start, step, row_step = lines[tilt, 0, 0] * j, lines[tilt, 0, 1], 1.0 / row_length
        first, n = low + half_rows, high - low + 1
        for sheet in range(sheets):
            at = tilt * sheets + sheet
            lean = o[LEAN] * (1 - 2 * sheet)
            factor, shift = factors[at, first : first + n], shifts[at, first : first + n]
            weight = weights[at, first : first + n] if weigh else row[:n]
            for i in range(n):
                el = low + i
                qa, qb = start + step * el, row_step * el
                near = bend * (ta * qa * qa + tb * qb * qb)
                moved = qa + lean * near
                square = ta * moved * moved + tb * qb * qb
                delta = bend * square
                qa += lean * delta
                turns = aa * qa * qa + ab * qa * qb + bb * qb * qb + quartic * square * square + constant
                sine, cosine = _wave(turns)
                size = half * scale
                if not weigh:  # samples of a curved line stand for more or less of the image; weights cancel that
                    size *= np.float32(1 + 2 * lean * bend * ta * qa)
                factor[i] = complex(size * sine, size * cosine)
                shift[i] = np.float32(delta)
                if weigh:
                    middle, _ = _wave(turns + to_middle * square)
                    weight[i] = middle * middle
            if weigh and weigh_ctf:
                per_delta = np.float32(per_square / bend)
                for i in range(n):
                    alike = table[np.uint32(shift[i] * per_delta)]
                    weight[i] = counted * (half * (one - alike) + alike * weight[i])
            elif weigh:
                weight[:] = counted
            if envelopes.shape[1] > 0:
                damping = row[:n]
                damp_row(
                    (start + step * low) * to_voxels[tilt, 0], step * to_voxels[tilt, 0],
                    row_step * low * to_voxels[tilt, 1], row_step * to_voxels[tilt, 1], envelopes[tilt], per_cycle,
                    damping,
                )  # fmt: skip
                for i in range(n):
                    factor[i] *= damping[i]
                if weigh:
                    for i in range(n):
                        weight[i] *= damping[i] * damping[i]


@compiled()
def spread_rows(
    samples: Any,  # (n_lines, n_rows) complex64
    factors: Any,
    shifts: Any,
    weights: Any,  # (n_lines, n_rows) float32, or (0, 0)
    fill: Any,  # (n_tilts,)
    lines: Any,  # (n_tilts, 4, 2)
    optics: Any,
    sheets: int,
    j: int,
    first: int,
    last: int,
    left: int,
    done: int,
    cursor: Any,  # (2 n_tilts, 2)
    block: Any,
    nz: int,
    no: int,
    data_table_o: Any,
    data_table_z: Any,
    weighted_table_o: Any,
    weighted_table_z: Any,
    width: int,
) -> None:
    """Spread the samples of both sheets whose taps begin in a block of rows, as :func:`insertion.spread_rows` does."""
    weigh = weights.shape[0] > 0
    rows = last - first
    insertion._carry_over(block, done, rows)
    grid = block.reshape(-1)
    stride = block.shape[1]
    numbers = 4 if weigh else 2
    half_rows = samples.shape[1] // 2
    half = width / 2
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
                value, factor = samples[at_line, r], factors[at_line, r]
                sign = np.float32(1 - 2 * ((o_cell + z_cell) & 1))
                # times p on the first sheet, and times its conjugate on the second
                fr, fi = factor.real * sign, factor.imag * sign * side
                re, im = value.real * fr - value.imag * fi, value.real * fi + value.imag * fr
                at = (o_cell - first) * stride + (z_cell - left) * numbers
                o_row, z_row = 8 * o_entry, 16 * z_entry
                if weigh:
                    simd.spread_weighted4(
                        grid, at, stride, weighted_table_z, z_row, z_frac, weighted_table_o, o_row, o_frac, re, im,
                        weights[at_line, r], count,
                    )  # fmt: skip
                elif width <= 6:
                    simd.spread6(grid, at, stride, data_table_z, z_row, z_frac, data_table_o, o_row, o_frac, re, im)
                else:
                    simd.spread8(grid, at, stride, data_table_z, z_row, z_frac, data_table_o, o_row, o_frac, re, im)
                el += direction
            cursor[2 * tilt + sheet, 0] = el
    if left == 0:  # the whole width of the periodic grid
        insertion._fold_columns(block, rows, PAD * numbers)


@compiled()
def add_lost(
    samples: Any,  # (n_lines, n_rows) complex64
    factors: Any,
    shifts: Any,
    weights: Any,
    fill: Any,
    lines: Any,
    optics: Any,
    sheets: int,
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
    """Interpolate the spectrum of the region on both sheets, project it, and add to the samples what they lack.

    Where both sheets are sampled, the other one is taken from the same plane: its place along p differs too little to
    matter for a correction.
    """
    half = width / 2
    half_rows = samples.shape[1] // 2
    one = np.float32(1)
    for tilt in range(lines.shape[0]):
        ln = lines[tilt]
        low, high = min(band[tilt, 0], band[tilt, 1]), max(band[tilt, 0], band[tilt, 1])
        if (band[tilt, 1] - band[tilt, 0]) * ln[2, 1] < 0:
            continue  # the line has no sample in the band
        counted = fill[tilt]
        for el in range(low, high + 1):
            k_o = ln[2, 0] * j + ln[2, 1] * el
            k_z = ln[3, 0] * j + ln[3, 1] * el
            for line in range(tilt * sheets, (tilt + 1) * sheets):
                factor, shift = factors[line, el + half_rows], shifts[line, el + half_rows]
                real, imag = np.float32(0), np.float32(0)
                for sheet in range(2):
                    side = np.float32(1 - 2 * sheet)
                    o_at = (k_o + side * optics[tilt, BEND_O] * shift) * no + no / 2 + PAD - half
                    z_at = (k_z + side * optics[tilt, BEND_Z] * shift) * nz + nz / 2 + PAD - half
                    o_cell, o_entry, o_frac = taps_at(fixed(o_at))
                    z_cell, z_entry, z_frac = taps_at(fixed(z_at))
                    re, im = interpolate(
                        grid, o_cell - first, z_cell - left, o_entry, o_frac, z_entry, z_frac, table_o, table_z, width
                    )
                    # what the first sheet gives is multiplied with conj(p), what the second gives with p
                    sign = np.float32(1 - 2 * ((o_cell + z_cell) & 1))
                    fr, fi = sign * factor.real, -side * sign * factor.imag
                    real += fr * re - fi * im
                    imag += fr * im + fi * re
                part = one
                if fade > 0:
                    part = np.float32(min(max((limit + fade - abs(k_o)) / fade, 0.0), 1.0))
                weight = 2 * weights[line, el + half_rows]
                part *= step * weight / (weight + weak * counted)
                sample = samples[line, el + half_rows]
                samples[line, el + half_rows] = sample + part * (sample - complex(counted * real, counted * imag))
