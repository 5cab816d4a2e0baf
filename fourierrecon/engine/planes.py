"""From samples to planes: lines of all images are spread, normalised and transformed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine import insertion
from fourierrecon.engine.central_slices import Slices
from fourierrecon.engine.curved_slices import CurvedLines
from fourierrecon.engine.density_correction import AxisCorrection, FlatLines
from fourierrecon.engine.storage import PlaneStore, SampleStore
from fourierrecon.engine.task import Task
from fourierrecon.runtime import threads
from fourierrecon.runtime.arrays import Complex, Real

_Buffers = tuple[insertion.PlaneWork, insertion.Lines, AxisCorrection | None, Complex]


def insert_planes(
    task: Task,
    samples: SampleStore,
    planes: PlaneStore,
    tilts: NDArray[np.int64] | None = None,
    *,
    corrected: bool = False,
) -> None:
    """Spread, normalise and transform all planes: half spectrum along p, real space else.

    Parameters
    ----------
    task
        The reconstruction from these tilts.
    samples
        Samples of all tilts. They may be changed.
    planes
        Store for the result.
    tilts
        Numbers of the tilts in store that count; None: all of them. The samples are not changed if some are chosen.
    corrected
        The samples were corrected near the tilt axis before; they are not changed.
    """
    s, weighting, block = task.plan.slices, task.weighting, task.storage.block
    gains = deapodisation(s, weighting.uses_weights)
    normalise = weighting.normalise if weighting.uses_weights else None
    voxel_size = task.plan.views.voxel_size if weighting.uses_weights and weighting.uses_frequency else None
    none = np.empty((0, 0), np.float32)
    curved = task.plan.curved
    stored = task.plan.stores_weights
    chosen = tilts if tilts is None or curved is None else curved.lines_of(tilts)

    def start() -> _Buffers:
        lines = _lines(task)
        correction = AxisCorrection(s, lines.more) if _corrects(task) and not corrected else None
        return insertion.PlaneWork(s, weighting.uses_weights, voxel_size), lines, correction, planes.buffer()

    def insert(buffers: _Buffers, number: int) -> None:
        work, lines, correction, target = buffers
        block_samples, block_weights = samples.block(number)
        if chosen is not None:
            block_samples = block_samples[:, chosen]
            block_weights = block_weights[:, chosen] if stored else block_weights
        for i, j in enumerate(range(number * block, min((number + 1) * block, s.n_planes))):
            lines.begin(j, block_samples[i], block_weights[i] if stored else none)
            if correction is not None:
                correction.correct(lines)
            insertion.insert_plane(
                s,
                j,
                lines,
                normalise=normalise,
                gains=gains,
                work=work,
                planes=target,
                at=planes.place(j),
            )
        planes.put(number, target)

    threads.for_each(
        -(-s.n_planes // block),
        insert,
        state=start,
        n_threads=task.settings.threads,
        stage="planes",
        progress=task.settings.progress,
    )


def correct_samples(task: Task, samples: SampleStore) -> None:
    """Correct all samples near the tilt axis, once for volumes that are inserted from them again and again.

    Parameters
    ----------
    task
        The reconstruction of the whole; nothing is done where its weighting does not ask for it.
    samples
        Samples of all tilts, changed.
    """
    s, block, stored = task.plan.slices, task.storage.block, task.plan.stores_weights
    none = np.empty((0, 0), np.float32)
    if not _corrects(task):
        return

    def begin() -> tuple[AxisCorrection, insertion.Lines]:
        lines = _lines(task)
        return AxisCorrection(s, lines.more), lines

    def correct(buffers: tuple[AxisCorrection, insertion.Lines], number: int) -> None:
        correction, lines = buffers
        block_samples, block_weights = samples.block(number)
        for i, j in enumerate(range(number * block, min((number + 1) * block, s.n_planes))):
            lines.begin(j, block_samples[i], block_weights[i] if stored else none)
            correction.correct(lines)
        samples.put_block(number, block_samples)

    threads.for_each(
        -(-s.n_planes // block),
        correct,
        state=begin,
        n_threads=task.settings.threads,
        stage="correction",
        progress=task.settings.progress,
    )


def _lines(task: Task) -> insertion.Lines:
    """Make the lines of all images, for one thread."""
    s, curved = task.plan.slices, task.plan.curved
    return FlatLines(s) if curved is None else CurvedLines(s, curved, task.weighting.uses_weights)


def _corrects(task: Task) -> bool:
    """Tell whether samples are corrected near the tilt axis."""
    weighting, curved = task.weighting, task.plan.curved
    return weighting.uses_weights and weighting.corrects_near_axis and (curved is None or curved.weigh_ctf)


def deapodisation(s: Slices, weighted: bool) -> tuple[Real, Real]:
    """Factors along z and o that undo the kernel, with the alternating sign of a grid whose origin is its middle."""
    nz, no = s.grid
    depth, _, n_o = s.shape
    gains = []
    for kernel, (first, n), kept, length in zip(s.kernels, s.box, (depth, n_o), (nz, no), strict=True):
        gain = kernel.deapodisation(n, length)
        if weighted:
            # normalised by weights that went through the same kernel; the sum over cells is an integral
            gain = gain * float(kernel.transform(np.zeros(1))[0]) / length
        gain = gain * np.where((np.arange(n) - n // 2) % 2, -1, 1)
        gains.append(gain[-first : kept - first])  # of the box, what was asked for
    if weighted:
        gains[0] = gains[0] / s.period
    return gains[0].astype(np.float32), gains[1].astype(np.float32)
