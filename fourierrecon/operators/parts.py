"""Boxes of voxels from samples that lie ready: the last steps of a reconstruction, on the grid of the whole.

The planes of all images are inserted on the grid of the whole and cut to the box, so that a box is that of the whole to
rounding. A few sections are direct sums along z (:mod:`fourierrecon.operators.sections`). With a local alignment, the
whole is made of tiles; each has samples and a grid of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import closing
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine import fft
from fourierrecon.engine.coverage import divide_by_count
from fourierrecon.engine.images import Sampler, sample_images
from fourierrecon.engine.planes import correct_samples, insert_planes
from fourierrecon.engine.room import check_room, default_memory
from fourierrecon.engine.settings import Settings
from fourierrecon.engine.storage import PlaneStore, Storage, sample_bytes
from fourierrecon.engine.task import Task, in_tiles, prepare
from fourierrecon.engine.tiling import Preparer, sample_tile, tile_task
from fourierrecon.engine.windows import NothingSeen
from fourierrecon.geometry.region import Region
from fourierrecon.geometry.tiles import Tile, Tiling
from fourierrecon.operators.sections import insert_few
from fourierrecon.runtime.threads import for_each
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.weighting import Weighting
from fourierrecon.weighting.as_filter import for_tiles

Voxels = NDArray[np.float32]
#: So few sections are summed directly along z.
FEW = 3
#: Part of the memory that samples, or images for tiles, may fill; more lie in scratch files, in blocks of so many
#: planes.
SHARE, BLOCK = 0.5, 16
#: What an error calls it.
NAME = "a virtual tomogram"
INSTEAD = "use a larger binning=..., a smaller region (size=...) or, in Python, a smaller cache"


class Parts(Protocol):
    """What gives boxes of voxels of a tomogram."""

    def compute(self, z: slice, y: slice, x: slice, out: Voxels) -> None:
        """Compute the voxels ``[start, stop)`` along each axis into ``out``."""

    def close(self) -> None:
        """Give memory and scratch space back."""


def open_parts(
    series: TiltSeries, region: Region, weighting: Weighting, settings: Settings, *, cache: int, part: float = 1.0
) -> Parts:
    """Do all that depends on the whole tomogram: read its images, measure the SNR, sample, correct the samples.

    Parameters
    ----------
    series, region, weighting, settings
        As for a reconstruction; images are repaired.
    cache
        Bytes that are kept beside it.
    part
        Part of :data:`SHARE` that samples may fill.

    Raises
    ------
    UsageError, DataError
        As :func:`fourierrecon.reconstruct`.
    """
    memory = default_memory() if settings.memory is None else settings.memory
    share = SHARE * part
    unlimited = replace(settings, memory=1 << 62)
    if in_tiles(series, settings):
        return _Tiles(prepare(series, region, for_tiles(weighting), unlimited), memory, cache, share)
    # planned without a limit: only the samples of the whole are ever there, not its planes
    task = prepare(replace(series, local=None), region, weighting, unlimited)
    held = sample_bytes(task.plan)
    on_disk = held > share * memory
    kept = 0 if on_disk else held
    work = settings.threads * (task.plan.image_bytes + task.plan.plane_work_bytes)
    check_room(NAME, cache + kept + work, memory, INSTEAD)
    task = replace(task, storage=_storage(memory, held if on_disk else 0), settings=replace(settings, memory=memory))
    sampler = Sampler(task)
    sample_images([sampler])
    correct_samples(task, sampler.store)
    return _Grid(sampler, _room(memory, kept + cache))


def _storage(memory: int, scratch: int) -> Storage:
    """Let samples lie in a scratch file of so many bytes, or in memory."""
    block = BLOCK if scratch else 1
    return Storage(
        memory=memory, scratch=scratch, planes_on_disk=False, samples_on_disk=scratch > 0, block=block, slabs=1
    )


def _room(memory: int, kept: int) -> int:
    """Bytes that planes may take."""
    return max(memory - kept, memory // 8) // 2


class _Grid:
    """Boxes of one task.

    Parameters
    ----------
    sampler
        Of the task, its samples made and corrected.
    room
        Bytes that planes may take.
    """

    def __init__(self, sampler: Sampler, room: int) -> None:
        self._task, self._sampler, self._room = sampler.task, sampler, room

    def close(self) -> None:
        """Give the samples back."""
        self._sampler.close()

    def compute(self, z: slice, y: slice, x: slice, out: Voxels) -> None:
        """Compute a box, in pieces along z whose planes fit into the memory."""
        p, o = (y, x) if self._task.plan.plane_axis == 1 else (x, y)
        s = self._task.plan.slices
        section = 8 * (o.stop - o.start) * (s.period // 2 + 1)
        step = int(max(1, self._room // section))
        for first in range(z.start, z.stop, step):
            stop = min(first + step, z.stop)
            self._insert(slice(first, stop), p, o, out[first - z.start : stop - z.start])

    def _insert(self, z: slice, p: slice, o: slice, out: Voxels) -> None:
        """Insert all planes on the grid of the whole, cut to a box, and transform its sections."""
        task, s = self._task, self._task.plan.slices
        (first_z, n_z), (first_o, n_o) = s.box
        box = (first_z - z.start, n_z), (first_o - o.start, n_o)
        part = replace(s, shape=(z.stop - z.start, s.shape[1], o.stop - o.start), box=box)
        cut = replace(task, plan=replace(task.plan, slices=part))
        settings, straight = task.settings, task.plan.plane_axis == 1
        borders = task.plan.borders
        corner = borders @ np.array([1.0, p.start, o.start, z.start])
        counts = task.weighting.divides_by_count
        levels = self._sampler.levels

        with closing(PlaneStore(part, task.storage, settings.scratch, settings.threads)) as planes:
            if len(out) <= FEW:
                insert_few(cut, self._sampler.store, planes)
            else:
                insert_planes(cut, self._sampler.store, planes, corrected=True)

            def finish(slab: Voxels, number: int) -> None:
                fft.real_backward(planes.whole[number].copy(), 0, s.period, slab)
                kept = slab[p]
                if counts:
                    affine = borders[:, :, :3].copy()
                    affine[:, :, 0] = corner + number * borders[:, :, 3]
                    divide_by_count(kept, affine, levels, kept)
                out[number] = kept if straight else kept.T

            for_each(
                len(out), finish, state=lambda: np.empty((s.period, o.stop - o.start), np.float32),
                n_threads=settings.threads, stage="slabs", progress=settings.progress,
            )  # fmt: skip


class _Tiles:
    """Boxes of a tomogram with a local alignment: of the tiles that they touch, blended.

    Images are prepared once. A tile is sampled when someone looks there; samples of the tiles that were used last stay.

    Parameters
    ----------
    task
        Of the whole.
    memory, cache
        Bytes that may be taken, and that are kept beside it.
    share
        Part of the memory that images and samples may fill.
    """

    def __init__(self, task: Task, memory: int, cache: int, share: float) -> None:
        self._task, self._threads = task, task.settings.threads
        self._tiles = Tiling.of(task.series, task.region, task.settings.residual).tiles
        images = 4 * task.series.n_tilts * int(np.prod(task.plan.sampling.sampled))
        on_disk = images > share / 2 * memory
        kept = 0 if on_disk else images
        largest = max(self._tiles, key=lambda tile: np.prod(np.subtract(tile.stop, tile.first)))
        work = self._threads * task.plan.image_bytes
        if (part := self._plan(largest, memory)) is not None:
            work += sample_bytes(part.plan) + self._threads * part.plan.plane_work_bytes
        check_room(NAME, cache + kept + work, memory, INSTEAD)
        self._memory, self._limit = memory, int(share / 2 * memory)
        self._room = _room(memory, kept + self._limit + cache)
        self._grids: OrderedDict[int, tuple[_Grid, int]] = OrderedDict()
        self._preparer = Preparer(replace(task, settings=replace(task.settings, memory=memory)), on_disk)
        sample_images([self._preparer])

    def close(self) -> None:
        """Give images and samples back."""
        while self._grids:
            self._grids.popitem()[1][0].close()
        self._preparer.close()

    def compute(self, z: slice, y: slice, x: slice, out: Voxels) -> None:
        """Compute a box from the tiles that it touches."""
        out[...] = 0
        wanted = x, y, z
        for number, tile in enumerate(self._tiles):
            low = [max(w.start, a) for w, a in zip(wanted, tile.first, strict=True)]
            high = [min(w.stop, b) for w, b in zip(wanted, tile.stop, strict=True)]
            if any(a >= b for a, b in zip(low, high, strict=True)):
                continue
            grid = self._grid(number)
            if grid is None:
                continue
            own = [slice(a - f, b - f) for a, b, f in zip(low, high, tile.first, strict=True)]
            part = np.empty([s.stop - s.start for s in own[::-1]], np.float32)
            grid.compute(own[2], own[1], own[0], part)
            ramp_x, ramp_y, ramp_z = (ramp[s] for ramp, s in zip(tile.ramps, own, strict=True))
            part *= ramp_z[:, None, None] * ramp_y[:, None] * ramp_x
            place = [slice(a - w.start, b - w.start) for a, b, w in zip(low, high, wanted, strict=True)]
            out[place[2], place[1], place[0]] += part

    def _plan(self, tile: Tile, memory: int) -> Task | None:
        """Plan a tile; None where no image sees it."""
        try:
            return tile_task(self._task, tile, self._task.settings, _storage(memory, 0))
        except NothingSeen:
            return None

    def _grid(self, number: int) -> _Grid | None:
        """Give a tile with its samples, and let those go that were not used for longest."""
        if number not in self._grids:
            task = self._plan(self._tiles[number], self._memory)
            if task is None:
                return None
            size = sample_bytes(task.plan)
            while self._grids and sum(held for _, held in self._grids.values()) + size > self._limit:
                self._grids.popitem(last=False)[1][0].close()
            sampler = Sampler(task)
            sample_tile(sampler, self._preparer)
            self._grids[number] = _Grid(sampler, self._room), size
        self._grids.move_to_end(number)
        return self._grids[number][0]
