"""Reconstruction in overlapping tiles, where a local alignment is applied (:mod:`fourierrecon.geometry.tiles`).

1. Prepare the images: each is read, filtered and binned once, for all tiles.
2. Reconstruct the tiles, one after the other, each with its own projection matrices from windows of those images.
3. Blend: each tile is added to the volume with weights that add up to 1.

Filters of the images are those of the whole region, the same in all tiles, and a plain back-projection adds nothing
from elsewhere: voxels are the same in any tiling, but for the local alignment. A weighting that divides by gridded
weights would see other weights in every tile; here it is the filter of the images that it comes to
(:mod:`fourierrecon.weighting.as_filter`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine.contrast import Contrast
from fourierrecon.engine.images import Sampler, sample_images
from fourierrecon.engine.planes import insert_planes
from fourierrecon.engine.settings import Settings
from fourierrecon.engine.several_volumes import Group, VolumeOrder, part_of, tidy
from fourierrecon.engine.slabs import contrast_of, transform_slabs
from fourierrecon.engine.storage import TILED, Beside, PlaneStore, SampleStore, Storage
from fourierrecon.engine.task import Task, prepare
from fourierrecon.engine.windows import NothingSeen
from fourierrecon.errors import DataError
from fourierrecon.geometry.region import Region
from fourierrecon.geometry.tiles import Tile, Tiling, tile_series
from fourierrecon.runtime import memory
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.runtime.memory import claim
from fourierrecon.runtime.scratch_file import ScratchFile
from fourierrecon.runtime.threads import Progress, for_each
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.weighting import Weighting
from fourierrecon.weighting.as_filter import for_tiles


class _Rows:
    """Arrays of one shape, by number: in memory, or in a scratch file."""

    def __init__(self, n: int, shape: tuple[int, ...], task: Task, on_disk: bool, what: str) -> None:
        self.shape = shape
        self._file: ScratchFile | None = None
        if on_disk:
            self._file = ScratchFile(task.settings.scratch, n, shape, np.float32)
        else:
            self.whole: Real = claim((n, *shape), np.float32, task.settings.threads, what)

    def put(self, number: int, values: Real) -> None:
        if self._file is None:
            self.whole[number] = values
        else:
            self._file.write(number, 0, np.ascontiguousarray(values))

    def get(self, number: int) -> Real:
        if self._file is None:
            return np.asarray(self.whole[number])
        values = np.empty(self.shape, np.float32)
        self._file.read(number, 0, [values])
        return values

    def add(self, number: int, first: int, stop: int, columns: slice, values: Real) -> None:
        """Add to some columns of rows ``[first, stop)`` of one array."""
        if self._file is None:
            self.whole[number, first:stop, columns] += values
            return
        rows = np.empty((stop - first, self.shape[1]), np.float32)
        self._file.read(number, first * self.shape[1], [rows])
        rows[:, columns] += values
        self._file.write(number, first * self.shape[1], rows)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self.whole = np.empty((0,), np.float32)


class Preparer(Sampler):
    """Prepares the images of a task and keeps them: what its tiles sample.

    Parameters
    ----------
    task
        Task of a series with a local alignment.
    on_disk
        Keep the images in a scratch file.
    """

    def __init__(self, task: Task, on_disk: bool) -> None:
        self._on_disk = on_disk
        n = task.series.n_tilts
        self.images = _Rows(n, task.plan.sampling.sampled, task, on_disk, "images")
        self.grey = np.zeros(n)
        super().__init__(task)

    def _make_store(self) -> SampleStore:
        return _NoStore()

    @property
    def tilts(self) -> NDArray[np.int64]:
        """All images."""
        return np.arange(self.task.series.n_tilts)

    def sample(
        self,
        workspace: memory.Workspace,
        buffers: tuple[Complex, Real],
        tilt: int,
        image: Real,
        shared: dict[object, Complex],
    ) -> None:
        """Prepare one image, and keep it."""
        prepared, _, self.grey[tilt] = self.prepare(workspace, tilt, image, shared)
        self.images.put(tilt, prepared)

    def close(self) -> None:
        """Give the images back."""
        self.images.close()


class _NoStore(SampleStore):
    """Of images that are not sampled yet."""

    def __init__(self) -> None:
        pass

    def buffers(self) -> tuple[Complex, Real]:
        return np.empty((0, 0, 0), np.complex64), np.empty((0, 0, 0), np.float32)


@dataclass(frozen=True, eq=False)
class _Job:
    """A group of orders, its tiles, and where its images and volumes lie."""

    group: Group
    tiling: Tiling
    images_on_disk: bool
    volumes_on_disk: bool
    beside: int
    storage: Storage


def write_in_tiles(groups: Sequence[Group]) -> None:
    """Reconstruct the volumes of groups in tiles, and write them one after the other.

    Parameters
    ----------
    groups
        Orders whose series have a local alignment.

    Raises
    ------
    UsageError, DataError
        As :func:`fourierrecon.reconstruction.reconstruct`.
    """

    def write(task: Task, order: VolumeOrder, volume: _Rows) -> None:
        with order.open() as give:
            for_each(
                task.region.shape[0], lambda _, z: give(z, volume.get(z)), state=lambda: None, n_threads=1,
                stage="blend", progress=task.settings.progress,
            )  # fmt: skip
            volume.close()
            tidy()

    _reconstruct(groups, write, whole=False)


def volume_in_tiles(task: Task) -> NDArray[np.float32]:
    """Reconstruct the volume of a task in tiles, in memory, ``(z, y, x)``.

    Parameters
    ----------
    task
        Task of a series with a local alignment.

    Raises
    ------
    UsageError, DataError
        As :func:`fourierrecon.reconstruction.reconstruct`.
    """
    found: list[NDArray[np.float32]] = []
    order = VolumeOrder(series=task.series, open=_never, region=task.region, weighting=task.weighting)
    _reconstruct([Group(task, [order])], lambda _task, _order, volume: found.append(volume.whole), whole=True)
    return found[0]


def storage_of_tiles(series: TiltSeries, region: Region, weighting: Weighting, settings: Settings) -> Storage:
    """Give the memory and scratch space that a reconstruction in tiles takes.

    Parameters
    ----------
    series, region, weighting, settings
        The reconstruction of a series with a local alignment.

    Raises
    ------
    UsageError, DataError
        As :func:`fourierrecon.reconstruction.reconstruct`.
    """
    task = prepare(series, region, for_tiles(weighting), settings)
    return _plan(
        Group(task, [VolumeOrder(series=series, open=_never, region=region, weighting=weighting)]), whole=False
    ).storage


def _never() -> NoReturn:
    raise AssertionError("a volume in memory opens no file")


def _reconstruct(groups: Sequence[Group], finish: Callable[[Task, VolumeOrder, _Rows], None], *, whole: bool) -> None:
    jobs = [_plan(group, whole) for group in groups]
    with ExitStack() as stack:
        preparers = [stack.enter_context(closing(Preparer(job.group.task, job.images_on_disk))) for job in jobs]
        sample_images(preparers)
        tidy()
        for job, preparer in zip(jobs, preparers, strict=True):
            task, orders = job.group.task, job.group.orders
            depth, height, width = task.region.shape
            volumes = [_Rows(depth, (height, width), task, job.volumes_on_disk, "volume") for _ in orders]
            for volume in volumes:
                if not job.volumes_on_disk:
                    volume.whole[:] = 0
            contrasts = [contrast_of(task) for _ in orders]
            for number, tile in enumerate(job.tiling.tiles):
                progress = _part(task.settings.progress, number, len(job.tiling.tiles))
                _add_tile(job, preparer, tile, list(zip(orders, volumes, contrasts, strict=True)), progress)
            preparer.close()
            tidy()
            for order, volume, contrast in zip(orders, volumes, contrasts, strict=True):
                contrast.finish()
                finish(task, order, volume)


def _part(progress: Progress | None, number: int, total: int) -> Progress | None:
    """Report the progress of one of several tiles as a part of that of all."""
    if progress is None:
        return None

    def report(stage: str, done: int, n: int) -> None:
        progress(stage, number * n + done, total * n)

    return report


def _add_tile(
    job: _Job,
    preparer: Preparer,
    tile: Tile,
    volumes: Sequence[tuple[VolumeOrder, _Rows, Contrast]],
    progress: Progress | None,
) -> None:
    """Reconstruct one tile, and add it to each of the volumes."""
    try:
        settings = replace(job.group.task.settings, progress=progress)
        # a storage that does for the largest tile in memory does for all
        storage = None if job.storage.planes_on_disk or job.storage.samples_on_disk else job.storage
        task = tile_task(job.group.task, tile, settings, storage, beside=job.beside)
    except NothingSeen:
        return
    x_ramp, y_ramp, z_ramp = tile.ramps
    blend = y_ramp[:, None] * x_ramp
    (x0, y0, z0), (x1, y1, _) = tile.first, tile.stop
    with closing(Sampler(task)) as sampler:
        sample_tile(sampler, preparer)
        for order, volume, contrast in volumes:
            try:
                part, chosen = part_of(task, order.tilts)
            except NothingSeen:
                continue
            levels = sampler.levels_of(chosen)

            def add(z: int, slab: Real, volume: _Rows = volume) -> None:
                volume.add(z0 + z, y0, y1, slice(x0, x1), slab * (blend * z_ramp[z]))

            with closing(PlaneStore(part.plan.slices, part.storage, part.settings.scratch, part.settings.threads)) as p:
                insert_planes(part, sampler.store, p, chosen)
                if order is volumes[-1][0]:
                    sampler.close()
                transform_slabs(part, levels, p, add, contrast)


def tile_task(task: Task, tile: Tile, settings: Settings, storage: Storage | None = None, *, beside: int = 0) -> Task:
    """Plan one tile of the region of a task.

    Parameters
    ----------
    task, tile, settings
        Task of a series with a local alignment, one of its tiles, and how to reconstruct that.
    storage
        Where samples and planes of the tile lie; default: where the memory allows.
    beside
        Bytes that lie in memory meanwhile.

    Raises
    ------
    UsageError, DataError
        As :func:`fourierrecon.engine.task.prepare`; :class:`~fourierrecon.engine.windows.NothingSeen` if no image sees
        the tile.
    """
    return prepare(
        tile_series(task.series, tile), tile.region(task.region), task.weighting, settings,
        beside=Beside(always=beside), tile=True, storage=storage,
    )  # fmt: skip


def sample_tile(sampler: Sampler, preparer: Preparer) -> None:
    """Sample the prepared images for one tile.

    Parameters
    ----------
    sampler
        Of a task that :func:`tile_task` gives.
    preparer
        Of the task of the whole; it has prepared the images.
    """
    settings = sampler.task.settings

    def start() -> tuple[memory.Workspace, tuple[Complex, Real]]:
        return memory.Workspace(), sampler.store.buffers()

    def sample(buffers: tuple[memory.Workspace, tuple[Complex, Real]], i: int) -> None:
        tilt = int(sampler.tilts[i])
        sampler.sample_prepared(*buffers, tilt, preparer.images.get(tilt), float(preparer.grey[tilt]))

    for_each(
        len(sampler.tilts), sample, state=start, n_threads=settings.threads, stage="samples", progress=settings.progress
    )


def _plan(group: Group, whole: bool) -> _Job:
    """Choose the tiles of a group, and where its images and volumes lie."""
    task = group.task
    tiling = Tiling.of(task.series, task.region, task.settings.residual)
    images = 4 * task.series.n_tilts * int(np.prod(task.plan.sampling.sampled))
    volumes = 4 * len(group.orders) * int(np.prod(task.region.shape))
    writers = max(max(order.beside.slabs, order.beside.end) + order.beside.always for order in group.orders)
    largest = max(tiling.tiles, key=lambda tile: np.prod(np.subtract(tile.stop, tile.first)))
    trouble: DataError | None = None
    for images_away, volumes_away in ((False, False), (True, False), (True, True)):
        if whole and volumes_away:
            break
        beside = (0 if images_away else images) + (0 if volumes_away else volumes) + writers
        try:
            storage = tile_task(task, largest, task.settings, beside=beside).storage
        except NothingSeen:
            storage = TILED
        except DataError as error:
            trouble = error
            continue
        scratch = storage.scratch + images_away * images + volumes_away * volumes
        return _Job(group, tiling, images_away, volumes_away, beside, replace(storage, scratch=scratch))
    assert trouble is not None
    raise trouble
