"""From images to samples: each image is prepared, transformed and sampled along its lines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine import central_slices, preprocess
from fourierrecon.engine.central_slices import PASS, STOP
from fourierrecon.engine.grey_ramp import without_ramp
from fourierrecon.engine.storage import SampleStore
from fourierrecon.engine.task import Task
from fourierrecon.runtime import memory, threads
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.tilt_series import source_of
from fourierrecon.transfer import PER_CYCLE


class Sampler:
    """Samples the images of one task along their lines, with weights if they are asked for.

    A mean that is kept would ring in Fourier space, since it ends in a step at the image's border. Where voxels are
    counted it goes by the count instead: :attr:`levels` holds the means then, ``(n_used,)``, and is empty otherwise.

    Parameters
    ----------
    task
        The reconstruction that needs the samples.
    """

    def __init__(self, task: Task) -> None:
        plan, weighting, settings = task.plan, task.weighting, task.settings
        s, step = plan.slices, plan.sampling.step
        self.task = task
        self.store = self._make_store()
        self._places = {int(tilt): i for i, tilt in enumerate(plan.used)}
        self._table = np.repeat(plan.row_kernel.table(), 2, axis=1).ravel()
        self._rows = np.arange(-s.half_rows, s.half_rows + 1)
        self.levels = np.zeros(len(plan.used) if settings.keep_mean and weighting.divides_by_count else 0, np.float32)
        # without a taper, border and mask are the same for all binnings and weightings
        self._share: object = (plan.sampling.border, plan.sampling.empty) if plan.mask.start < 0 else self
        self._transfer_last = plan.curved is not None or (plan.late and plan.filter_length == 0)
        if weighting.uses_weights:
            # a grid point gets the spectra, in voxels instead of pixels, where slices are just close enough
            self._scale = np.prod(step) / task.region.binning**2 * s.fill
        else:
            # the integral over the slice as a sum over its samples
            self._scale = 1 / (np.abs(s.matrices[:, 0, 0]) * s.period * s.row_length)

    def _make_store(self) -> SampleStore:
        """Make the store of the samples."""
        plan, settings = self.task.plan, self.task.settings
        return SampleStore(
            plan.slices, plan.stores_weights, self.task.storage, settings.scratch, settings.threads,
            lines=plan.lines_per_image,
        )  # fmt: skip

    @property
    def tilts(self) -> NDArray[np.int64]:
        """Numbers of the images that are needed."""
        return self.task.plan.used

    @cached_property
    def _masks(self) -> tuple[Real, Real]:
        """Weights of the images, before and after they are filtered and binned."""
        plan = self.task.plan
        counted = self.task.weighting.divides_by_count
        return preprocess.image_masks(self.task.series.image_shape, plan.sampling, plan.mask, counted)

    def levels_of(self, chosen: NDArray[np.int64] | None) -> NDArray[np.float32]:
        """Give the grey levels of some of the tilts, by number among those in use; None: of all."""
        return self.levels if chosen is None or len(self.levels) == 0 else self.levels[chosen]

    def close(self) -> None:
        """Give the samples back."""
        self.store.close()

    def sample(
        self,
        workspace: memory.Workspace,
        buffers: tuple[Complex, Real],
        tilt: int,
        image: Real,
        shared: dict[object, Complex],
    ) -> None:
        """Sample one image, if the region is seen by it.

        Parameters
        ----------
        workspace, buffers
            Memory of this thread; the buffers come from the store.
        tilt
            Number of the image in the task's series.
        image
            As loaded, ``(height, width)``.
        shared
            Transforms of this image that were made already: see
            :func:`fourierrecon.engine.preprocess.prepare_image`.
        """
        if tilt in self._places:
            prepared, late, level = self.prepare(workspace, tilt, image, shared)
            self.sample_prepared(workspace, buffers, tilt, prepared, level, late)

    def prepare(
        self, workspace: memory.Workspace, tilt: int, image: Real, shared: dict[object, Complex]
    ) -> tuple[Real, list[preprocess.ImageFilter], float]:
        """Prepare one image.

        Parameters
        ----------
        workspace, tilt, image, shared
            As for :meth:`sample`.

        Returns
        -------
        prepared, late, level
            The image on the grid of prepared images, in the workspace; filters that are still to be applied; its grey
            level, where it goes by the count of images.
        """
        task, plan, masks = self.task, self.task.plan, self._masks
        filters = preprocess.filters_of(task.weighting, plan.views, tilt, transfer=not self._transfer_last)
        early, late = ([], filters) if plan.late else (filters, [])
        level = 0.0
        if not task.settings.keep_mean or len(self.levels):
            level = preprocess.mean_level(image, masks[0] if plan.mask.start >= 0 else None)
        prepared = preprocess.prepare_image(
            image,
            plan.sampling,
            masks,
            level,
            early,
            task.region.binning,
            workspace,
            shared=shared,
            share=self._share,
            odd=task.weighting.divides_by_count,
        )
        if len(self.levels):
            origin = np.zeros((1, 1), np.float32)
            level = float(level * np.prod([float(f(origin, origin)[0, 0]) for f in filters]))
            if plan.curved is not None:
                level *= float(plan.views.transfers.evaluate(tilt, 0.0, 0.0))
        return prepared, late, level

    def sample_prepared(
        self,
        workspace: memory.Workspace,
        buffers: tuple[Complex, Real],
        tilt: int,
        prepared: Real,
        level: float,
        late: Sequence[preprocess.ImageFilter] = (),
    ) -> None:
        """Sample one prepared image, if the region is seen by it.

        Parameters
        ----------
        workspace, buffers, tilt
            As for :meth:`sample`.
        prepared, late, level
            What :meth:`prepare` gives, of this sampler or of one with the same grid and filters.
        """
        task, plan, weighting, store = self.task, self.task.plan, self.task.weighting, self.store
        if tilt not in self._places:
            return
        i, s, (samples, weights) = self._places[tilt], plan.slices, buffers
        if len(self.levels):
            self.levels[i] = level
        start, stop = plan.windows[i]
        a_is_x = bool(plan.along[i] == 0)
        window = preprocess.cut_window(prepared, start, stop, a_is_x, plan.window_margin)
        spectrum = central_slices.spectrum(
            window,
            s,
            plan.row_kernel,
            plan.row_grid,
            workspace,
            filters=late,
            filter_length=plan.filter_length,
            a_is_x=a_is_x,
            binning=task.region.binning,
        )
        line = s.lines[i]
        turn = line[0] * s.offsets[i, 0]
        phase_j = self._scale[i] * np.exp(2j * np.pi * turn[0] * np.arange(s.n_planes))
        phase_l = np.exp(2j * np.pi * (turn[1] + s.offsets[i, 1] / s.row_length) * self._rows)
        for sheet in range(plan.lines_per_image):
            lean = (0.0, 0.0, 0.0) if plan.curved is None else plan.curved.leaning(i, sheet)
            central_slices.sample_lines(
                spectrum.view(np.float32), plan.row_grid, self._table, plan.row_kernel.width, line,
                phase_j.astype(np.complex64), phase_l.astype(np.complex64), s.half_rows, samples,
                store.place(i) + sheet, PASS**2, STOP**2, s.row_length, *lean,
            )  # fmt: skip
        if plan.curved is None and (weighting.uses_weights or self._transfer_last):
            views = plan.views
            transfer = views.transfers
            central_slices.apply_transfer(
                line, s.half_rows, s.row_length, task.region.binning / plan.sampling.step, a_is_x,
                transfer.phases(tilt, views.voxel_size), transfer.form, views.envelopes[tilt], PER_CYCLE,
                transfer.weighs_ctf, transfer.power, self._transfer_last, s.fill[i], samples, weights, store.place(i),
            )  # fmt: skip
        store.put(i, (samples, weights))


def sample_images(samplers: Sequence[Sampler]) -> None:
    """Read all images that are needed, each once, and let all samplers have it.

    Parameters
    ----------
    samplers
        Samplers of tasks whose series are of the same tilt series: all of it, a selection, or with other images.
    """
    settings = samplers[0].task.settings
    needed: dict[tuple[int, int], list[tuple[Sampler, int]]] = {}
    for sampler in sorted(samplers, key=lambda sampler: sampler.task.region.binning):
        for tilt in map(int, sampler.tilts):
            needed.setdefault(source_of(sampler.task.series.images, tilt), []).append((sampler, tilt))
    # read the images in the order of the file
    work = [needed[key] for key in sorted(needed)]

    def start() -> tuple[memory.Workspace, dict[Sampler, tuple[Complex, Real]]]:
        return memory.Workspace(), {sampler: sampler.store.buffers() for sampler in samplers}

    def sample(buffers: tuple[memory.Workspace, dict[Sampler, tuple[Complex, Real]]], i: int) -> None:
        workspace, own = buffers
        first, number = work[i][0]
        keep_mean = first.task.settings.keep_mean
        image = preprocess.load_image(first.task.series, number, keep_mean=keep_mean)
        if first.task.settings.flatten:
            image = without_ramp(image)
        shared: dict[object, Complex] = {}
        for sampler, tilt in work[i]:
            sampler.sample(workspace, own[sampler], tilt, image, shared)

    threads.for_each(
        len(work), sample, state=start, n_threads=settings.threads, stage="images", progress=settings.progress
    )
