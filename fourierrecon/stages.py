"""The three stages of a reconstruction: images to samples, samples to planes, planes to slabs of voxels."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon import fourier, insertion, memory, parallel, preprocess, slices
from fourierrecon.consistency import Consistency
from fourierrecon.contrast import Contrast
from fourierrecon.coverage import Mask, divide_by_count
from fourierrecon.fourier import Complex, Real
from fourierrecon.geometry import Region
from fourierrecon.parallel import Progress
from fourierrecon.plan import Plan
from fourierrecon.slices import PASS, STOP, Slices
from fourierrecon.storage import PlaneStore, SampleStore, Storage
from fourierrecon.tilt_series import TiltSeries, source_of
from fourierrecon.transfer import PER_CYCLE
from fourierrecon.weighting import Weighting

#: Called as ``write(z, slab)`` with a slab ``(y, x)``, float32, of any number z and from any thread; the slab is only
#: lent for the call.
Write = Callable[[int, Real], None]


@dataclass(frozen=True, eq=False)
class Task:
    """What all stages need to know."""

    series: TiltSeries
    region: Region
    strategy: Weighting
    plan: Plan
    mask: Mask
    keep_mean: bool
    storage: Storage
    scratch: Path | None
    n_threads: int
    progress: Progress | None


class Sampler:
    """Samples the images of one task along their lines, with weights if they are asked for.

    Where voxels are counted, a mean that is kept goes by the count and not through Fourier space, where its step at the
    images' borders would ring: :attr:`levels` holds the means then, ``(n_used,)``, and is empty else.

    Parameters
    ----------
    task
        What is to be done.
    store
        For the samples.
    """

    def __init__(self, task: Task, store: SampleStore) -> None:
        plan, strategy = task.plan, task.strategy
        s, step = plan.slices, plan.sampling.step
        self.task, self.store = task, store
        self._places = {int(tilt): i for i, tilt in enumerate(plan.used)}
        self._masks = preprocess.image_masks(
            task.series.image_shape, plan.sampling, task.mask, strategy.divides_by_count
        )
        self._table = np.repeat(plan.row_kernel.table(), 2, axis=1).ravel()
        self._rows = np.arange(-s.half_rows, s.half_rows + 1)
        self.levels = np.zeros(len(plan.used) if task.keep_mean and strategy.divides_by_count else 0, np.float32)
        # where there is no taper, border and mask are the same for all binnings and weightings
        self._share = plan.sampling.border if task.mask.start < 0 else self
        self._transfer_last = plan.late and plan.filter_length == 0
        if strategy.uses_weights:
            # where slices are just close enough a grid point gets their spectra, in voxels instead of pixels
            self._scale = np.prod(step) / task.region.binning**2 * s.fill
        else:
            # the integral over the slice as a sum over its samples
            self._scale = 1 / (np.abs(s.matrices[:, 0, 0]) * s.period * s.row_length)

    def sample(
        self,
        scratch: memory.Scratch,
        buffers: tuple[Complex, Real],
        tilt: int,
        image: Real,
        shared: dict[object, Complex],
    ) -> None:
        """Sample one image, if the region is seen by it.

        Parameters
        ----------
        scratch, buffers
            Of this thread; the latter from the store.
        tilt
            Number of the image in the task's series.
        image
            As loaded, ``(height, width)``.
        shared
            What is known of this image already: see :func:`fourierrecon.preprocess.prepare_image`.
        """
        task, plan, strategy, store = self.task, self.task.plan, self.task.strategy, self.store
        if tilt not in self._places:
            return
        i, s, masks, (samples, weights) = self._places[tilt], plan.slices, self._masks, buffers
        filters = preprocess.filters_of(strategy, plan.views, tilt, transfer=not self._transfer_last)
        early, late = ([], filters) if plan.late else (filters, [])
        level = 0.0
        if not task.keep_mean or len(self.levels):
            level = preprocess.mean_level(image, masks[0] if task.mask.start >= 0 else None)
        if len(self.levels):
            origin = np.zeros((1, 1), np.float32)
            self.levels[i] = level * np.prod([float(f(origin, origin)[0, 0]) for f in filters])
        prepared = preprocess.prepare_image(
            image, plan.sampling, masks, level, early, task.region.binning, scratch, shared, self._share
        )
        start, stop = plan.windows[i]
        a_is_x = bool(plan.along[i] == 0)
        window = preprocess.cut_window(prepared, start, stop, a_is_x)
        spectrum = slices.spectrum(
            window, s, plan.row_kernel, plan.row_grid, scratch, late, plan.filter_length, a_is_x, task.region.binning
        )
        line = s.lines[i]
        turn = line[0] * s.offsets[i, 0]
        phase_j = self._scale[i] * np.exp(2j * np.pi * turn[0] * np.arange(s.n_planes))
        phase_l = np.exp(2j * np.pi * (turn[1] + s.offsets[i, 1] / s.row_length) * self._rows)
        slices.sample_lines(
            spectrum.view(np.float32), plan.row_grid, self._table, plan.row_kernel.width, line,
            phase_j.astype(np.complex64), phase_l.astype(np.complex64), s.half_rows, samples, store.place(i), PASS**2,
            STOP**2,
        )  # fmt: skip
        if strategy.uses_weights or self._transfer_last:
            views = plan.views
            transfer = views.transfers
            slices.apply_transfer(
                line, s.half_rows, s.row_length, task.region.binning / plan.sampling.step, a_is_x,
                transfer.phases(tilt, views.voxel_size), transfer.form, views.envelopes[tilt], PER_CYCLE,
                transfer.weighs_ctf, self._transfer_last, s.fill[i], samples, weights, store.place(i),
            )  # fmt: skip
        store.put(i, (samples, weights))


def sample_images(samplers: Sequence[Sampler], n_threads: int, progress: Progress | None) -> None:
    """Read all images that are needed, each once, and let all samplers have it.

    Parameters
    ----------
    samplers
        Of tasks whose series are of the same tilt series: all of it, a selection, or with other images.
    n_threads
        Number of threads.
    progress
        Called as ``progress("images", done, total)``.
    """
    needed: dict[tuple[int, int], list[tuple[Sampler, int]]] = {}
    for sampler in sorted(samplers, key=lambda sampler: sampler.task.region.binning):
        for tilt in map(int, sampler.task.plan.used):
            needed.setdefault(source_of(sampler.task.series.images, tilt), []).append((sampler, tilt))
    # as they lie in the file
    work = [needed[key] for key in sorted(needed)]

    def start() -> tuple[memory.Scratch, dict[Sampler, tuple[Complex, Real]]]:
        return memory.Scratch(), {sampler: sampler.store.buffers() for sampler in samplers}

    def sample(buffers: tuple[memory.Scratch, dict[Sampler, tuple[Complex, Real]]], i: int) -> None:
        scratch, own = buffers
        first, number = work[i][0]
        keep_mean = first.task.keep_mean
        image = preprocess.load_image(first.task.series, number, keep_mean=keep_mean)
        shared: dict[object, Complex] = {}
        for sampler, tilt in work[i]:
            sampler.sample(scratch, own[sampler], tilt, image, shared)

    parallel.for_each(len(work), sample, state=start, n_threads=n_threads, stage="images", progress=progress)


def insert_planes(task: Task, samples: SampleStore, planes: PlaneStore, tilts: NDArray[np.int64] | None = None) -> None:
    """Spread, normalise and transform all planes: half spectrum along p, real space else.

    Parameters
    ----------
    task
        What is to be done, for these tilts.
    samples
        Of all tilts in store. They may be changed.
    planes
        For the result.
    tilts
        Numbers of the tilts in store that count; None: all of them. The samples are not changed if some are chosen.
    """
    s, strategy, block = task.plan.slices, task.strategy, task.storage.block
    gains = _deapodisation(s, strategy.uses_weights)
    normalise = strategy.normalise if strategy.uses_weights else None
    voxel_size = task.plan.views.voxel_size if strategy.uses_weights and strategy.uses_frequency else None
    none = np.empty((0, 0), np.float32)

    def start() -> tuple[insertion.PlaneWork, Consistency | None, Complex]:
        consistency = Consistency(s) if strategy.uses_weights else None
        return insertion.PlaneWork(s, strategy.uses_weights, voxel_size), consistency, planes.buffer()

    def insert(buffers: tuple[insertion.PlaneWork, Consistency | None, Complex], number: int) -> None:
        work, consistency, target = buffers
        block_samples, block_weights = samples.block(number)
        if tilts is not None:
            block_samples = block_samples[:, tilts]
            block_weights = block_weights[:, tilts] if strategy.uses_weights else block_weights
        for i, j in enumerate(range(number * block, min((number + 1) * block, s.n_planes))):
            weights = block_weights[i] if strategy.uses_weights else none
            if consistency is not None:
                consistency.correct(j, block_samples[i], weights)
            insertion.insert_plane(s, j, block_samples[i], weights, normalise, gains, work, target, planes.place(j))
        planes.put(number, target)

    parallel.for_each(
        -(-s.n_planes // block),
        insert,
        state=start,
        n_threads=task.n_threads,
        stage="planes",
        progress=task.progress,
    )


def _deapodisation(s: Slices, weighted: bool) -> tuple[Real, Real]:
    """Factors along z and o that undo the kernel, with the alternating sign of a grid whose origin is its middle."""
    nz, no = s.grid
    depth, _, n_o = s.shape
    gains = []
    for kernel, n, length in zip(s.kernels, (depth, n_o), (nz, no), strict=True):
        gain = kernel.deapodisation(n, length)
        if weighted:
            # normalised by weights that went through the same kernel; the sum over cells is an integral
            gain = gain * float(kernel.transform(np.zeros(1))[0]) / length
        gains.append(gain * np.where((np.arange(n) - n // 2) % 2, -1, 1))
    if weighted:
        gains[0] = gains[0] / s.period
    return gains[0].astype(np.float32), gains[1].astype(np.float32)


def _voxels_of_slab(task: Task, levels: NDArray[np.float32], z: int, slab: Real, out: Real) -> None:
    """Turn a transformed slab ``(H', O)`` into voxels ``(y, x)``: cropped, divided by the count, turned."""
    plan = task.plan
    kept = slab[: plan.slices.shape[1]]
    straight = plan.plane_axis == 1
    if task.strategy.divides_by_count:
        borders = plan.borders[:, :, :3].copy()
        borders[:, :, 0] += z * plan.borders[:, :, 3]
        divide_by_count(kept, borders, levels, out if straight else kept)
        if straight:
            return
    out[...] = kept if straight else kept.T


def _contrast(task: Task) -> Contrast:
    """Give what looks at the volume of a task; where means of images are kept, a flat one may be right."""
    single = task.region.shape == (1, 1, 1)
    return Contrast(task.series.source or task.series.name, flat=task.keep_mean or single)


def finish_slabs(task: Task, levels: NDArray[np.float32], planes: PlaneStore, write: Write) -> None:
    """Transform along p and give the slabs away."""
    s, at_a_time = task.plan.slices, task.storage.slabs
    depth = s.shape[0]
    contrast = _contrast(task)

    def start() -> tuple[Complex, Real, Real]:
        slab = np.empty((s.period, s.shape[2]), np.float32)
        return planes.slab_buffer(), slab, np.empty(task.region.shape[1:], np.float32)

    def finish(buffers: tuple[Complex, Real, Real], number: int) -> None:
        half_spectra, slab, voxels = buffers
        first = number * at_a_time
        for i, half in enumerate(planes.read(first, min(first + at_a_time, depth), half_spectra)):
            fourier.real_backward(half, 0, s.period, slab)
            _voxels_of_slab(task, levels, first + i, slab, voxels)
            contrast.look(voxels)
            write(first + i, voxels)

    parallel.for_each(
        -(-depth // at_a_time),
        finish,
        state=start,
        n_threads=task.n_threads,
        stage="slabs",
        progress=task.progress,
    )
    contrast.finish()


def finish_in_place(task: Task, levels: NDArray[np.float32], planes: Complex) -> NDArray[np.float32]:
    """Transform along p slab by slab, onto the memory of the planes: the volume ``(z, y, x)``."""
    s = task.plan.slices
    depth = s.shape[0]
    flat = planes.reshape(-1).view(np.float32)
    shape = task.region.shape
    volume = flat[: shape[0] * shape[1] * shape[2]].reshape(shape)
    turn = threading.Condition()
    state = {"read": 0, "failed": 0}
    contrast = _contrast(task)

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
            fourier.real_backward(half, 0, s.period, slab)
            _voxels_of_slab(task, levels, z, slab, volume[z])
            contrast.look(volume[z])
        except BaseException:
            with turn:
                state["failed"] = 1
                turn.notify_all()
            raise

    parallel.for_each(
        depth,
        finish,
        state=lambda: (np.empty(planes.shape[1:], np.complex64), np.empty((s.period, s.shape[2]), np.float32)),
        n_threads=task.n_threads,
        stage="slabs",
        progress=task.progress,
    )
    contrast.finish()
    return volume
