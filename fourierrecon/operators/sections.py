"""A few z sections of planes by direct sums along z, in place of transforms of whole planes.

A transform along z gives all sections of a plane. For a few of them, sums over the cells that samples fall on are less.
Without weights nothing is done to the cells, so that each sample goes straight into the rows of the sections: its taps
along z and their phases are one factor, from a table. With weights, cells are filled as always, and those that are not
empty, a small part of the plane, are taken out, normalised, and summed. Both are what
:func:`fourierrecon.engine.insertion.insert_plane` gives, to rounding. Names of the axes: see
:mod:`fourierrecon.engine.central_slices`.

With the CTF at each depth, samples go the same ways on both sheets (:mod:`fourierrecon.operators.curved_sections`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fourierrecon.engine import fft, simd
from fourierrecon.engine.central_slices import PAD, STOP, Slices
from fourierrecon.engine.curved_slices import CurvedLines
from fourierrecon.engine.density_correction import FlatLines
from fourierrecon.engine.fixed_point import along, taps_at
from fourierrecon.engine.grid_weights import separate
from fourierrecon.engine.insertion import REACH, Lines, Normalise, PlaneWork, insert_plane, rows_in_use, start
from fourierrecon.engine.planes import deapodisation
from fourierrecon.engine.storage import PlaneStore, SampleStore
from fourierrecon.engine.task import Task
from fourierrecon.operators.curved_sections import spread_curved, take_curved_cells
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.runtime.compiled import compiled
from fourierrecon.runtime.threads import for_each

#: Rows of a block with weights.
ROWS = 32


class SectionWork:
    """Buffers and tables of one thread.

    Parameters
    ----------
    slices
        Geometry; its depth is that of the sections.
    weighted
        Whether weights are inserted too.
    voxel_size
        Å, where the spatial frequency of each cell is asked for; else None.
    """

    def __init__(self, slices: Slices, weighted: bool, voxel_size: float | None = None) -> None:
        nz, no = slices.grid
        depth = slices.shape[0]
        self.weighted, self.voxel_size = weighted, voxel_size
        self.rows = np.zeros((depth, no + 2 * PAD + REACH), np.complex64)
        self.cursor = np.empty((len(slices.matrices), 2), np.int64)
        section = nz // 2 - slices.middle[0] + np.arange(depth)
        turn = np.outer(section, np.arange(-PAD, nz + PAD)) % nz
        #: (depth, columns): phases of the columns of a plane, spare ones included
        self.phases = np.exp(2j * np.pi / nz * turn).astype(np.complex64)
        along_o, along_z = slices.tables[0].reshape(-1, 8), slices.tables[1].reshape(-1, 16)[:, ::2]
        taps = along_z @ np.exp(2j * np.pi / nz * np.outer(np.arange(8), section))
        #: (depth, 258): taps along z and their phases, by the fraction of a cell
        self.taps = np.ascontiguousarray(taps.T.astype(np.complex64))
        self.table_o = np.repeat(along_o, 2, axis=1).ravel()
        size = (ROWS + REACH) * (nz + 2 * PAD)
        self.block = np.zeros((ROWS + REACH, 4 * (nz + 2 * PAD)) if weighted else (0, 0), np.float32)
        #: columns that both sheets of each tilt use, for the CTF at each depth
        self.spans = np.empty((len(slices.matrices), ROWS + REACH, 2), np.int32)
        self.places = np.empty((size if weighted else 0, 2), np.int32)
        self.cells = np.empty((size if weighted else 0, 4), np.float32)


def insert_sections(
    slices: Slices,
    j: int,
    samples: Complex,
    weights: Real,
    *,
    lines: CurvedLines | None = None,
    normalise: Normalise | None,
    gains: tuple[Real, Real],
    work: SectionWork,
    planes: Complex,
    at: int,
) -> bool:
    """Insert plane ``j`` into a few sections; arguments as for :func:`~fourierrecon.engine.insertion.insert_plane`.

    With the CTF at each depth, ``lines`` have begun the plane.

    Returns
    -------
    done
        False, and nothing is done, where lines run over the border of the periodic plane, or turn back.
    """
    _, no = slices.grid
    low, high = rows_in_use(slices, j, 0 if lines is None else lines.more)
    if low < PAD or high > no + PAD or (lines is not None and lines.turns_back):
        return False
    work.rows[...] = 0
    if lines is not None:
        lines.start(STOP)
    else:
        start(slices.lines, j, slices.half_rows, STOP**2, STOP, work.cursor)
    if work.weighted:
        _sum_cells(slices, j, samples, weights, lines, normalise, work, low, high)
    elif lines is not None:
        spread_curved(lines, work.table_o, work.taps, work.phases, work.rows.view(np.float32))
    else:
        spread_sections(
            samples, slices.lines, j, work.cursor, *slices.grid, slices.width, work.table_o, work.taps, work.phases,
            work.rows.view(np.float32),
        )  # fmt: skip
    core = work.rows[:, PAD : PAD + no]
    fft.transform_rows(core)
    left = no // 2 - slices.middle[1]
    planes[:, at] = core[:, left : left + planes.shape[2]] * gains[1] * gains[0][:, None]
    return True


def _sum_cells(
    slices: Slices, j: int, samples: Complex, weights: Real, lines: CurvedLines | None, normalise: Normalise | None,
    work: SectionWork, low: int, high: int,
) -> None:  # fmt: skip
    """Fill cells in blocks of rows; take those that are not empty, normalise and sum them."""
    nz, no = slices.grid
    work.spans[..., 0], work.spans[..., 1] = work.block.shape[1] // 4, 0
    for first in range(low, high, ROWS):
        last = min(first + ROWS, high)
        if lines is not None:
            n = take_curved_cells(lines, first, last, work.block, work.spans, work.cells, work.places)
        else:
            n = take_cells(
                samples, weights, slices.fill, slices.lines, j, first, last, work.cursor, nz, no, slices.tables[2],
                slices.tables[3], slices.width, work.block, work.cells, work.places,
            )  # fmt: skip
        if n == 0:
            continue
        data, weight = np.empty((1, n), np.complex64), np.empty((1, n), np.float32)
        separate(work.cells[:n].reshape(1, -1), data, weight)
        if normalise is not None and work.voxel_size is None:
            normalise(data, weight)
        elif normalise is not None:
            frequency = np.empty((1, n), np.float32)
            _frequencies(work.places[:n], j / slices.period, first, nz, no, 1 / work.voxel_size, frequency[0])  # type: ignore[operator]
            normalise(data, weight, frequency)
        _sum(data[0], work.places[:n], first, work.phases, work.rows)


@compiled()
def spread_sections(
    samples: Any,  # (n_tilts, n_rows) complex64
    lines: Any,  # (n_tilts, 4, 2)
    j: int,
    cursor: Any,  # (n_tilts, 2): first and last sample
    nz: int,
    no: int,
    width: int,
    table_o: Any,  # (258 * 16,): signed taps along o, each twice
    taps: Any,  # (depth, 258) complex64
    phases: Any,  # (depth, Nz + 2 PAD) complex64
    rows: Any,  # (depth, 2 (No + 2 PAD + REACH)) float32: interleaved complex
) -> None:
    """Spread the samples of all images into rows of sections."""
    half_rows = samples.shape[1] // 2
    before = width / 2 - PAD
    flat = rows.reshape(-1)
    stride = rows.shape[1]
    for tilt in range(samples.shape[0]):
        ln = lines[tilt]
        o_zero, o_step = along(ln[2], j, no, before)
        z_zero, z_step = along(ln[3], j, nz, before)
        direction = 1 if o_step >= 0 else -1
        el, end = cursor[tilt, 0], cursor[tilt, 1]
        for _ in range((end - el) * direction + 1):
            o_cell, o_entry, o_frac = taps_at(o_zero + o_step * el)
            z_cell, z_entry, z_frac = taps_at(z_zero + z_step * el)
            sign = np.float32(1 - 2 * ((o_cell + z_cell) & 1))
            value = samples[tilt, el + half_rows]
            for z in range(taps.shape[0]):
                low, high = taps[z, z_entry], taps[z, z_entry + 1]
                t_re = sign * (low.real + z_frac * (high.real - low.real))
                t_im = sign * (low.imag + z_frac * (high.imag - low.imag))
                phase = phases[z, z_cell]
                f_re = t_re * phase.real - t_im * phase.imag
                f_im = t_re * phase.imag + t_im * phase.real
                simd.spread(
                    flat, z * stride + 2 * o_cell, table_o, 16 * o_entry, o_frac,
                    value.real * f_re - value.imag * f_im, value.real * f_im + value.imag * f_re,
                )  # fmt: skip
            el += direction


@compiled()
def take_cells(
    samples: Any,  # (n_tilts, n_rows) complex64
    weights: Any,  # (n_tilts, n_rows) float32
    fill: Any,  # (n_tilts,) float32
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
    block: Any,  # (ROWS + REACH, 4 (Nz + 2 PAD)) float32, empty but for what the block before left for this one
    cells: Any,  # (any, 4) float32, for the result
    places: Any,  # (any, 2) int32: row of the block and column
) -> int:
    """Spread the samples whose taps begin in a block of rows, and take what is in these rows out of it."""
    half_rows = samples.shape[1] // 2
    before = width / 2 - PAD
    grid = block.reshape(-1)
    stride = block.shape[1]
    rows = last - first
    columns = stride // 4
    found = 0
    spans = np.empty((samples.shape[0], rows, 2), np.int32)
    for tilt in range(samples.shape[0]):
        ln = lines[tilt]
        o_zero, o_step = along(ln[2], j, no, before)
        z_zero, z_step = along(ln[3], j, nz, before)
        direction = 1 if o_step >= 0 else -1
        span = spans[tilt]
        span[:, 0], span[:, 1] = columns, 0
        el, end = cursor[tilt, 0], cursor[tilt, 1]
        # samples of the block before reach into this one
        back = min(int(width / max(abs(ln[2, 1]) * no, 1e-3)) + 2, 2 * half_rows)
        begin = el - direction * back
        for step in range((end - el) * direction + 1 + back):
            at_el = begin + direction * step
            if abs(at_el) > half_rows:
                continue
            o_cell, o_entry, o_frac = taps_at(o_zero + o_step * at_el)
            z_cell, z_entry, z_frac = taps_at(z_zero + z_step * at_el)
            if o_cell >= last:
                break
            for row in range(max(o_cell - first, 0), min(o_cell - first + width, rows)):
                span[row, 0] = min(span[row, 0], max(z_cell, 0))
                span[row, 1] = max(span[row, 1], min(z_cell + width, columns))
            if step < back:
                continue
            sign = np.float32(1 - 2 * ((o_cell + z_cell) & 1))
            value = samples[tilt, at_el + half_rows]
            simd.spread_weighted4(
                grid, (o_cell - first) * stride + 4 * z_cell, stride, table_z, 16 * z_entry, z_frac, table_o,
                8 * o_entry, o_frac, value.real * sign, value.imag * sign, weights[tilt, at_el + half_rows], fill[tilt],
            )  # fmt: skip
            cursor[tilt, 0] = at_el + direction
    for row in range(rows):
        line = block[row]
        for tilt in range(samples.shape[0]):
            for column in range(spans[tilt, row, 0], spans[tilt, row, 1]):
                if line[4 * column + 3] != 0:
                    for i in range(4):
                        cells[found, i] = line[4 * column + i]
                        line[4 * column + i] = 0
                    places[found, 0], places[found, 1] = row, column
                    found += 1
    # what was spread beyond the block begins the next one
    for row in range(width):
        block[row] = block[rows + row]
        block[rows + row] = 0
    return found


@compiled()
def _frequencies(places: Any, k_p: float, first: int, nz: int, no: int, per_voxel: float, out: Any) -> None:
    for i in range(out.shape[0]):
        k_o = (first + places[i, 0] - PAD - no // 2) / no
        k_z = np.float32(places[i, 1] - (PAD + nz // 2)) * np.float32(1 / nz)
        out[i] = np.sqrt(np.float32(k_p * k_p + k_o * k_o) + k_z * k_z) * np.float32(per_voxel)


@compiled()
def _sum(data: Any, places: Any, first: int, phases: Any, rows: Any) -> None:
    """Add cells to the rows of sections."""
    for z in range(rows.shape[0]):
        phase, row = phases[z], rows[z]
        for i in range(data.shape[0]):
            row[first + places[i, 0]] += data[i] * phase[places[i, 1]]


def insert_few(task: Task, samples: SampleStore, planes: PlaneStore) -> None:
    """Insert all planes into a few sections; see :func:`fourierrecon.engine.planes.insert_planes`.

    Parameters
    ----------
    task
        The reconstruction of the sections.
    samples
        Samples of all tilts, corrected near the tilt axis; not changed.
    planes
        Store for the result, in memory.
    """
    s, weighting, block, curved = task.plan.slices, task.weighting, task.storage.block, task.plan.curved
    weighted = weighting.uses_weights
    gains = deapodisation(s, weighted)
    normalise = weighting.normalise if weighted else None
    voxel_size = task.plan.views.voxel_size if weighted and weighting.uses_frequency else None
    none = np.empty((0, 0), np.float32)

    def begin() -> tuple[SectionWork, Lines, list[PlaneWork]]:
        lines = FlatLines(s) if curved is None else CurvedLines(s, curved, weighted)
        return SectionWork(s, weighted, voxel_size), lines, []

    def insert(state: tuple[SectionWork, Lines, list[PlaneWork]], number: int) -> None:
        work, lines, whole = state
        block_samples, block_weights = samples.block(number)
        for i, j in enumerate(range(number * block, min((number + 1) * block, s.n_planes))):
            arguments: Any = (block_samples[i], block_weights[i] if task.plan.stores_weights else none)
            rest: Any = {"normalise": normalise, "gains": gains, "planes": planes.whole, "at": j}
            lines.begin(j, *arguments)
            bent = lines if isinstance(lines, CurvedLines) else None
            if insert_sections(s, j, *arguments, lines=bent, work=work, **rest):
                continue
            if not whole:
                whole.append(PlaneWork(s, weighted, voxel_size))
            insert_plane(s, j, lines, work=whole[0], **rest)

    for_each(
        -(-s.n_planes // block),
        insert,
        state=begin,
        n_threads=task.settings.threads,
        stage="planes",
        progress=task.settings.progress,
    )
