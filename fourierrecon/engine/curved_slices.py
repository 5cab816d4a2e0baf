"""Curved slices: each sample is inserted twice, on two parabolas, so that every point has the CTF of its own depth.

The image of a specimen whose defocus changes with the depth along the beam is (:mod:`fourierrecon.geometry.ctf_depth`)

``Y(q) = conj(p) V(k - delta n) + p V(k + delta n)``,  ``p = i/2 e^{-i chi} s E``,  ``delta = h lambda q² / 2``

with the point ``k`` of the flat central slice, the beam ``n``, and all else that acts on the image, ``s E``. That is
exact for any thickness and tilt. Its adjoint inserts each sample twice: times ``p`` at ``k - delta n``, the first
sheet, and times ``conj(p)`` at ``k + delta n``, the second. Where ``delta`` is 0 both are the flat slice, and their sum
is ``T Y``.

Lines stay lines of the image (:mod:`fourierrecon.engine.central_slices`), and only their places in a plane shift, by
``-/+ delta (n_o, n_z)``, if the beam does not lean along the planes' axis p. Where it does by more than
:data:`LEANS`, both sheets are sampled, each where it meets the plane. Weights: half of the mean of ``T²`` over the
specimen on each sheet, as each counts for half a slice; both together make one where they are near to each other.

What the kernels need of a tilt stands in a row of numbers, see :class:`CurvedSlices`; frequencies there are those of
the window, ``q_a, q_b``, and ``r = t_a q_a² + t_b q_b²`` is the square in cycles per voxel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.ctf import damp_row
from fourierrecon.engine import insertion, simd
from fourierrecon.engine.central_slices import PAD, STOP, Slices
from fourierrecon.geometry.ctf_depth import PER_SQUARE
from fourierrecon.geometry.region import Region
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.runtime.compiled import compiled
from fourierrecon.transfer import PER_CYCLE, Transfer

#: Phase error, rad at the ends of the images and the highest frequency, up to which both sheets share their samples.
LEANS = 0.02
#: The same for a projector, whose images are to be exact to some 1e-4.
EXACT_LEANS = 1e-3
#: Places of a row of numbers: phase in turns (aa, ab, bb, quartic, constant), its change to the middle of the specimen,
#: t_a, t_b, delta over r, what q_a changes by over delta, and places along o and z; scale.
AA, AB, BB, QUARTIC, CONSTANT, TO_MIDDLE, TA, TB, BEND, LEAN, BEND_O, BEND_Z, SCALE = range(13)


@dataclass(frozen=True, eq=False)
class CurvedSlices:
    """Optics of the tilts in use, as the compiled kernels need them.

    Parameters
    ----------
    optics
        ``(n_tilts, 13)``, see :data:`AA` and what follows.
    envelopes, likeness
        Tables of the tilts: :meth:`Transfer.envelopes`, :meth:`Transfer.likeness_tables`.
    to_voxels
        ``(n_tilts, 2)``: cycles per window pixel (a, b) to cycles per voxel.
    sheets
        Sets of samples of an image: 1, or 2 where beams lean along the planes' axis.
    weigh_ctf
        Whether weights hold the mean of CTF², or 1 in its place.
    """

    optics: NDArray[np.float64]
    envelopes: NDArray[np.float32]
    likeness: NDArray[np.float32]
    to_voxels: NDArray[np.float64]
    sheets: int
    weigh_ctf: bool

    @classmethod
    def of(
        cls,
        slices: Slices,
        transfer: Transfer,
        region: Region,
        *,
        pixel_size: float,
        used: NDArray[np.int64],
        along: NDArray[np.int64],
        plane_axis: int,
        step: NDArray[np.float64],
        exact: bool = False,
    ) -> CurvedSlices:
        """Find the optics of a plan.

        Parameters
        ----------
        slices
            Flat slices of the tilts in use.
        transfer
            Transfer of all tilts, with a CTF at each depth.
        region, pixel_size
            Region, and bin-1 px in Å.
        used, along, plane_axis
            As for :class:`~fourierrecon.engine.plan.Plan`.
        step
            Bin-1 px per window pixel, ``(x, y)``.
        exact
            Sample both sheets unless :data:`EXACT_LEANS` allows for less, in place of :data:`LEANS`.
        """
        depth = transfer.depth
        assert depth is not None
        voxel_size = pixel_size * region.binning
        bend = depth.bend(voxel_size)
        order = [plane_axis, 1 - plane_axis, 2]
        middle_z, middle_o = slices.middle
        origin = np.zeros(3)
        origin[order] = 0.0, middle_o, middle_z
        origin = np.asarray(region.origin) + region.binning * origin
        turned = np.stack([along, 1 - along], axis=1)
        to_voxels = (region.binning / step)[turned]
        m, n = slices.matrices, depth.rows[used][:, order]
        lean = n[:, 0] / m[:, 0, 0]
        reach = slices.period * np.abs(m[:, 0, 0]) / 2
        limit = EXACT_LEANS if exact else LEANS
        shared = bool((2 * np.pi * abs(bend) * STOP**2 * np.abs(lean) * reach <= limit).all())
        optics = np.zeros((len(used), 13))
        for row, tilt in enumerate(used):
            phases = transfer.phases(int(tilt), voxel_size)
            # the depth of the grid's origin; along p of what the middle of the window shows there
            at = depth.depth(int(tilt), origin) / voxel_size - lean[row] * slices.offsets[row, 0]
            ta, tb = to_voxels[row] ** 2
            aa, bb = phases[[0, 2]] if along[row] == 0 else phases[[2, 0]]
            optics[row, AA : CONSTANT + 1] = (
                (aa + bend * at) * ta, phases[1] * np.sqrt(ta * tb), (bb + bend * at) * tb, phases[3], phases[4],
            )  # fmt: skip
            optics[row, TO_MIDDLE] = bend * (depth.middle_depth(int(tilt)) / voxel_size - at)
            optics[row, [TA, TB, BEND, SCALE]] = ta, tb, bend, phases[5]
        leaning = 0.0 * lean if shared else lean
        optics[:, LEAN] = leaning
        optics[:, [BEND_O, BEND_Z]] = m[:, 0, 1:] * leaning[:, None] - n[:, 1:]
        return cls(
            optics,
            transfer.envelopes(voxel_size)[used],
            transfer.likeness_tables(voxel_size)[used],
            to_voxels,
            1 if shared else 2,
            transfer.weighs_ctf,
        )

    def select(self, chosen: NDArray[np.int64]) -> CurvedSlices:
        """Give those of some of the tilts, by number among those in use."""
        return replace(
            self,
            optics=self.optics[chosen],
            envelopes=self.envelopes[chosen],
            likeness=self.likeness[chosen],
            to_voxels=self.to_voxels[chosen],
        )

    def lines_of(self, tilts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the numbers of the lines of some tilts among the samples."""
        return np.asarray((tilts[:, None] * self.sheets + np.arange(self.sheets)).ravel())

    def leaning(self, row: int, sheet: int) -> tuple[float, float, float]:
        """Give what :func:`~fourierrecon.engine.central_slices.sample_lines` needs: ``q_a`` changes by the first number
        times ``c_a q_a² + c_b q_b²``, which are the others.
        """
        optics = self.optics[row]
        sign = 1 - 2 * sheet
        return sign * optics[LEAN], optics[BEND] * optics[TA], optics[BEND] * optics[TB]

    @property
    def farthest(self) -> float:
        """Largest shift of a sample in a plane, cycles per voxel."""
        return float((np.abs(self.optics[:, BEND]) * STOP**2 * np.abs(self.optics[:, [BEND_O, BEND_Z]]).max(1)).max())


class CurvedLines:
    """The lines of all images on one plane, on both sheets; one for each thread, with its buffers.

    Parameters
    ----------
    slices, curved
        Geometry.
    weighted
        Whether weights are inserted too.
    """

    def __init__(self, slices: Slices, curved: CurvedSlices, weighted: bool) -> None:
        self.slices, self.curved, self.weighted = slices, curved, weighted
        n_tilts, n_rows = len(slices.matrices), 2 * slices.half_rows + 1
        shape = n_tilts * curved.sheets, n_rows
        self.factors = np.zeros(shape, np.complex64)
        self.shifts = np.zeros(shape, np.float32)
        self.weights = np.zeros(shape if weighted else (0, 0), np.float32)
        self.cursor = np.empty((2 * n_tilts, 2), np.int64)
        self._flat_cursor = np.empty((n_tilts, 2), np.int64)
        self._row = np.empty(n_rows, np.float32)
        self.j = 0
        #: Rows and columns that lines reach beyond flat ones.
        self.more = int(np.ceil(curved.farthest * max(slices.grid))) + 1
        #: Whether some line turns back along o, so that a plane must be spread in one go.
        self.turns_back = bool((np.abs(slices.lines[:, 2, 1]) <= self._steepest()).any())
        self.samples: Complex = np.empty((0, 0), np.complex64)

    def _steepest(self) -> NDArray[np.float64]:
        """Bound on what the bend changes ``k_o`` by from one sample to the next, ``(n_tilts,)``."""
        optics, lines = self.curved.optics, self.slices.lines
        per_row = np.hypot(np.sqrt(optics[:, TA]) * lines[:, 0, 1], np.sqrt(optics[:, TB]) / self.slices.row_length)
        return np.asarray(2.2 * np.abs(optics[:, BEND] * optics[:, BEND_O]) * STOP * per_row)

    def begin(self, j: int, samples: Complex, weights: Real) -> None:
        """Take the samples of plane ``j``, ``(n_lines, n_rows)``, and evaluate what they are inserted with."""
        s, c = self.slices, self.curved
        self.j, self.samples = j, samples
        _evaluate(
            s.lines, j, s.half_rows, s.row_length, STOP**2, c.optics, c.to_voxels, c.envelopes, PER_CYCLE, c.likeness,
            PER_SQUARE, c.weigh_ctf, c.sheets, s.fill, self._row, self.factors, self.shifts, self.weights,
        )  # fmt: skip

    def start(self, limit: float) -> None:
        """Start over, with the samples within ``limit`` of the tilt axis only (cycles per voxel along o)."""
        s = self.slices
        insertion.start(s.lines, self.j, s.half_rows, STOP**2, limit, self._flat_cursor)
        self.cursor[0::2] = self._flat_cursor
        self.cursor[1::2] = self._flat_cursor

    def spread(self, first: int, last: int, left: int, done: int, block: Real) -> None:
        """Spread the samples whose taps begin in a block of rows; see :func:`insertion.spread_rows`."""
        s = self.slices
        _spread_rows(
            self.samples, self.factors, self.shifts, self.weights, s.fill, s.lines, self.curved.optics,
            self.curved.sheets, self.j, first, last, left, done, self.cursor, block, *s.grid, *s.tables, s.width,
        )  # fmt: skip

    def add_lost(self, first: int, left: int, grid: Complex, limit: float, fade: float, weak: float) -> None:
        """Add to the samples what the spectrum of the region lacks of them; see :mod:`.density_correction`."""
        s = self.slices
        band = self._flat_cursor
        _add_lost(
            self.samples, self.factors, self.shifts, self.weights, s.fill, s.lines, self.curved.optics,
            self.curved.sheets, self.j, first, left, band, grid, *s.grid, s.tables[0], s.tables[1], s.width, limit,
            fade, np.float32(weak),
        )  # fmt: skip


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
def _evaluate(
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
def _spread_rows(
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
                o_cell, z_cell = int(o_at) + 1, int(z_at) + 1  # positive: truncation is the floor
                if o_cell >= last:
                    break
                o_part, z_part = (o_cell - o_at) * 256, (z_cell - z_at) * 256
                o_entry, z_entry = int(o_part), int(z_part)
                o_frac, z_frac = np.float32(o_part - o_entry), np.float32(z_part - z_entry)
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
def _add_lost(
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
                    o_cell, z_cell = int(o_at) + 1, int(z_at) + 1
                    o_part, z_part = (o_cell - o_at) * 256, (z_cell - z_at) * 256
                    o_entry, z_entry = int(o_part), int(z_part)
                    o_frac, z_frac = np.float32(o_part - o_entry), np.float32(z_part - z_entry)
                    re, im = np.float32(0), np.float32(0)
                    for o in range(width):
                        at = 8 * o_entry + o
                        along_o = table_o[at] + o_frac * (table_o[at + 8] - table_o[at])
                        for z in range(width):
                            at = 16 * z_entry + 2 * z
                            tap = along_o * (table_z[at] + z_frac * (table_z[at + 16] - table_z[at]))
                            value = grid[o_cell - first + o, z_cell - left + z]
                            re += tap * value.real
                            im += tap * value.imag
                    # what the first sheet gives is multiplied with conj(p), what the second gives with p
                    sign = np.float32(1 - 2 * ((o_cell + z_cell) & 1))
                    fr, fi = sign * factor.real, -side * sign * factor.imag
                    real += fr * re - fi * im
                    imag += fr * im + fi * re
                part = one
                if fade > 0:
                    part = np.float32(min(max((limit + fade - abs(k_o)) / fade, 0.0), 1.0))
                weight = 2 * weights[line, el + half_rows]
                part *= weight / (weight + weak * counted)
                sample = samples[line, el + half_rows]
                samples[line, el + half_rows] = sample + part * (sample - complex(counted * real, counted * imag))
