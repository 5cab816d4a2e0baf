"""From planes to slabs of voxels: the last transform, and the division by the number of images that see a voxel."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine import fft
from fourierrecon.engine.contrast import Contrast
from fourierrecon.engine.coverage import divide_by_count
from fourierrecon.engine.storage import PlaneStore
from fourierrecon.engine.task import Task
from fourierrecon.runtime import threads
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.volume import SlabWriter


def _voxels_of_slab(task: Task, levels: NDArray[np.float32], z: int, slab: Real, out: Real) -> None:
    """Turn a transformed slab ``(H', O)`` into voxels ``(y, x)``: cropped, divided by the count, turned."""
    plan = task.plan
    kept = slab[: plan.slices.shape[1]]
    straight = plan.plane_axis == 1
    if task.weighting.divides_by_count:
        borders = plan.borders[:, :, :3].copy()
        borders[:, :, 0] += z * plan.borders[:, :, 3]
        divide_by_count(kept, borders, levels, out if straight else kept)
        if straight:
            return
    out[...] = kept if straight else kept.T


def contrast_of(task: Task) -> Contrast:
    """Give what looks at the volume of a task; where means of images are kept, a flat one may be right."""
    single = task.region.shape == (1, 1, 1)
    return Contrast(task.series.source or task.series.name, flat=task.settings.keep_mean or single)


def transform_slabs(
    task: Task,
    levels: NDArray[np.float32],
    planes: PlaneStore,
    write: SlabWriter,
    whole: Contrast | None = None,
) -> None:
    """Transform along p and give the slabs away.

    Parameters
    ----------
    task, levels, planes
        The reconstruction, grey levels of its images, and its planes.
    write
        Takes the slabs.
    whole
        Looks at all tiles of a region, of which this is one.
    """
    s, at_a_time = task.plan.slices, task.storage.slabs
    depth = s.shape[0]
    contrast = contrast_of(task) if whole is None else whole

    def start() -> tuple[Complex, Real, Real]:
        slab = np.empty((s.period, s.shape[2]), np.float32)
        return planes.slab_buffer(), slab, np.empty(task.region.shape[1:], np.float32)

    def finish(buffers: tuple[Complex, Real, Real], number: int) -> None:
        half_spectra, slab, voxels = buffers
        first = number * at_a_time
        for i, half in enumerate(planes.read(first, min(first + at_a_time, depth), half_spectra)):
            fft.real_backward(half, 0, s.period, slab)
            _voxels_of_slab(task, levels, first + i, slab, voxels)
            contrast.look(voxels)
            write(first + i, voxels)

    threads.for_each(
        -(-depth // at_a_time),
        finish,
        state=start,
        n_threads=task.settings.threads,
        stage="slabs",
        progress=task.settings.progress,
    )
    if whole is None:
        contrast.finish()


def transform_slabs_in_place(task: Task, levels: NDArray[np.float32], store: PlaneStore) -> NDArray[np.float32]:
    """Transform along p slab by slab, onto the memory of the planes: the volume ``(z, y, x)``."""
    s, planes = task.plan.slices, store.whole
    depth = s.shape[0]
    flat = planes.reshape(-1).view(np.float32)
    shape = task.region.shape
    volume = flat[: shape[0] * shape[1] * shape[2]].reshape(shape)
    turn = threading.Condition()
    state = {"read": 0, "failed": 0}
    contrast = contrast_of(task)

    def finish(buffers: tuple[Complex, Real], z: int) -> None:
        half, slab = buffers
        # the transform walks down columns: from memory that is far away, that takes twice as long as copy and transform
        half[...] = planes[z]
        # slab z lies over planes up to z: all of those must have been read
        with turn:
            turn.wait_for(lambda: state["read"] == z or state["failed"])
            state["read"] += 1
            turn.notify_all()
        try:
            fft.real_backward(half, 0, s.period, slab)
            _voxels_of_slab(task, levels, z, slab, volume[z])
            contrast.look(volume[z])
        except BaseException:
            with turn:
                state["failed"] = 1
                turn.notify_all()
            raise

    threads.for_each(
        depth,
        finish,
        state=lambda: (np.empty(planes.shape[1:], np.complex64), np.empty((s.period, s.shape[2]), np.float32)),
        n_threads=task.settings.threads,
        stage="slabs",
        progress=task.settings.progress,
    )
    contrast.finish()
    return volume
