"""Projection of one region along straight lines, and its adjoint: between voxels and prepared images.

The whole region of a :class:`~fourierrecon.operators.projector.TomographicProjector` is one of these, or each of its
tiles where there is a local alignment.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from fourierrecon.engine import central_slices, fft
from fourierrecon.engine.central_slices import PAD, PASS, STOP
from fourierrecon.engine.plan import Plan
from fourierrecon.engine.planes import deapodisation, insert_planes
from fourierrecon.engine.settings import Settings
from fourierrecon.engine.slabs import transform_slabs_in_place
from fourierrecon.engine.storage import Beside, PlaneStore, SampleStore, choose_storage
from fourierrecon.engine.task import Task
from fourierrecon.geometry.region import Region
from fourierrecon.operators.gather import GatherWork, gather_plane
from fourierrecon.operators.lines import spread_lines, window_of
from fourierrecon.operators.windows import cut_window, place_window, window_shape
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.runtime.memory import Workspace
from fourierrecon.runtime.threads import for_each
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.transfer import PER_CYCLE
from fourierrecon.weighting import Weighting

State = TypeVar("State")
#: Gives the prepared image of a tilt.
Source = Callable[[Workspace, int], Real]
#: Takes what is added to the prepared image of a tilt: it is given a function that adds.
Sink = Callable[[Workspace, int, Callable[[Real], None]], None]


@dataclass(frozen=True)
class Sum(Weighting):
    """Back-projection as a sum over images: no filter, no weights, no count."""

    name: ClassVar[str] = "sum"


class Projection:
    """Projection of one region.

    Parameters
    ----------
    series, region, settings
        What is projected, and how; a local alignment does not count.
    tiled
        The region is a tile of another one, or made of tiles.
    beside
        What lies in memory beside it.
    """

    def __init__(self, series: TiltSeries, region: Region, settings: Settings, *, tiled: bool, beside: Beside) -> None:
        plan = Plan.of(series, region, Sum(), settings, tiled=tiled, surroundings=True)
        storage = choose_storage(plan, settings.threads, settings.memory, whole=True, slabwise=False, beside=beside)
        self.task = Task(series=series, region=region, weighting=Sum(), settings=settings, plan=plan, storage=storage)
        self._table = np.repeat(plan.row_kernel.table(), 2, axis=1).ravel()
        # samples of curved slices are multiplied with it in the planes
        self._transfer_last = plan.late and plan.curved is None and plan.views.transfers.applies

    def forward(self, voxels: Real, sink: Sink) -> None:
        """Project a volume ``(z, y, x)`` into the images that see it.

        Parameters
        ----------
        voxels
            The volume.
        sink
            Called for each of the images, from any thread.
        """
        task, plan, settings = self.task, self.task.plan, self.task.settings
        s = plan.slices
        with (
            closing(self._samples()) as samples,
            closing(PlaneStore(s, task.storage, settings.scratch, settings.threads)) as planes,
        ):
            self._transform_sections(voxels, planes.whole)
            gains = deapodisation(s, weighted=False)
            store = samples.buffers()[0]

            def sample(work: GatherWork, j: int) -> None:
                gather_plane(s, j, planes.whole, gains, work, store[j])

            self._each(s.n_planes, sample, lambda: GatherWork(s, plan.curved), "planes")
            planes.close()

            def draw(workspace: Workspace, i: int) -> None:
                sink(workspace, int(plan.used[i]), lambda prepared: self._draw(i, store, workspace, prepared))

            self._each(len(plan.used), draw, Workspace, "images")

    def adjoint(self, source: Source) -> Real:
        """Sum the back-projections of prepared images in a volume ``(z, y, x)``.

        Parameters
        ----------
        source
            Called for each of the images that see the region, from any thread.
        """
        task, plan, settings = self.task, self.task.plan, self.task.settings
        with closing(self._samples()) as samples:
            store = samples.buffers()[0]

            def look(workspace: Workspace, i: int) -> None:
                self._look(i, source(workspace, int(plan.used[i])), workspace, store)

            self._each(len(plan.used), look, Workspace, "images")
            with closing(PlaneStore(plan.slices, task.storage, settings.scratch, settings.threads)) as planes:
                insert_planes(task, samples, planes)
                samples.close()
                return transform_slabs_in_place(task, np.zeros(0, np.float32), planes)

    def _each(self, n: int, work: Callable[[State, int], None], state: Callable[[], State], stage: str) -> None:
        settings = self.task.settings
        for_each(n, work, state=state, n_threads=settings.threads, stage=stage, progress=settings.progress)

    def _transform_sections(self, voxels: Real, planes: Complex) -> None:
        """Transform each section along the plane axis: ``(D, H'/2 + 1, O)``."""
        s, straight = self.task.plan.slices, self.task.plan.plane_axis == 1
        _, n_p, n_o = s.shape

        def transform(buffer: Real, z: int) -> None:
            buffer[:n_p] = voxels[z] if straight else voxels[z].T
            fft.real_forward_columns(buffer, planes[z])

        self._each(len(voxels), transform, lambda: np.zeros((s.period, n_o), np.float32), "slabs")

    def _samples(self) -> SampleStore:
        task, settings = self.task, self.task.settings
        return SampleStore(
            task.plan.slices, False, task.storage, settings.scratch, settings.threads, lines=task.plan.lines_per_image
        )

    def _leaning(self, i: int, sheet: int) -> tuple[float, float, float]:
        """Say how the line of a sheet bends in the image of the i-th tilt in use."""
        curved = self.task.plan.curved
        return (0.0, 0.0, 0.0) if curved is None else curved.leaning(i, sheet)

    def _phases(self, i: int, *, both_halves: bool) -> tuple[Complex, Complex]:
        """Phases by plane and by row that put the i-th tilt in use in its place, with its scale.

        Planes but the middle one stand for two: a transform back counts both, its adjoint must be told.
        """
        s, binning = self.task.plan.slices, self.task.region.binning
        scale = binning**2 / (abs(s.matrices[i, 0, 0]) * s.period * s.row_length)
        turn = s.lines[i, 0] * s.offsets[i, 0]
        rows = np.arange(-s.half_rows, s.half_rows + 1)
        by_plane = scale * np.exp(2j * np.pi * turn[0] * np.arange(s.n_planes))
        if both_halves:
            by_plane[1:] *= 2
        by_row = np.exp(2j * np.pi * (turn[1] + s.offsets[i, 1] / s.row_length) * rows)
        return by_plane.astype(np.complex64), by_row.astype(np.complex64)

    def _apply_transfer(self, i: int, samples: Complex) -> None:
        """Multiply the samples of a tilt with its transfer function, where its image was not."""
        if not self._transfer_last:
            return
        plan, tilt = self.task.plan, int(self.task.plan.used[i])
        s, views, transfer = plan.slices, plan.views, plan.views.transfers
        central_slices.apply_transfer(
            s.lines[i], s.half_rows, s.row_length, self.task.region.binning / plan.sampling.step,
            bool(plan.along[i] == 0), transfer.phases(tilt, views.voxel_size), transfer.form, views.envelopes[tilt],
            PER_CYCLE, False, 2, True, 1.0, samples, np.empty((0, 0, 0), np.float32), i,
        )  # fmt: skip

    def _look(self, i: int, prepared: Real, workspace: Workspace, samples: Complex) -> None:
        """Sample the prepared image of the i-th tilt in use along its lines."""
        plan = self.task.plan
        s, kernel = plan.slices, plan.row_kernel
        window = cut_window(plan, i, prepared)
        spectrum = central_slices.spectrum(window, s, kernel, plan.row_grid, workspace)
        phases = self._phases(i, both_halves=False)
        for sheet in range(plan.lines_per_image):
            central_slices.sample_lines(
                spectrum.view(np.float32), plan.row_grid, self._table, kernel.width, s.lines[i], *phases, s.half_rows,
                samples, i * plan.lines_per_image + sheet, PASS**2, STOP**2, s.row_length, *self._leaning(i, sheet),
            )  # fmt: skip
        self._apply_transfer(i, samples)

    def _draw(self, i: int, samples: Complex, workspace: Workspace, prepared: Real) -> None:
        """Add to a prepared image from its samples: the adjoint of looking at it."""
        plan = self.task.plan
        s, kernel = plan.slices, plan.row_kernel
        self._apply_transfer(i, samples)
        spectrum = workspace.array("spread", (s.row_length // 2 + 1, plan.row_grid + 2 * PAD), np.complex64)
        spectrum[...] = 0
        phases = self._phases(i, both_halves=True)
        for sheet in range(plan.lines_per_image):
            spread_lines(
                samples, i * plan.lines_per_image + sheet, plan.row_grid, self._table, kernel.width, s.lines[i],
                *phases, s.half_rows, PASS**2, STOP**2, s.row_length, *self._leaning(i, sheet),
                spectrum.view(np.float32),
            )  # fmt: skip
        place_window(plan, i, window_of(spectrum, s, kernel, window_shape(plan, i), workspace), prepared)
