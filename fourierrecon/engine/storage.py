"""Where samples and planes lie during a reconstruction: in memory, or in scratch files; and what that takes.

In memory the planes are one array ``(D, H'/2 + 1, O)``. On disk they come in blocks of some planes, ``(D, J, O)``
each, so that they are written in one go and a z slab is read in pieces of ``J O`` values. Samples lie in the same
blocks, ``(n_tilts, J, n_rows)`` each, so that a tilt writes, and a block reads, in long pieces too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine.central_slices import Slices
from fourierrecon.engine.plan import Plan
from fourierrecon.engine.room import default_memory, memory_with, within_limits
from fourierrecon.errors import DataError
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.runtime.memory import claim, give_back
from fourierrecon.runtime.scratch_file import ScratchFile

#: Planes in a block at most: longer pieces do not make disks faster.
LARGEST_BLOCK = 32


class TooLittleMemory(DataError):
    """A reconstruction does not fit into the memory that is allowed, however it is stored."""


@dataclass(frozen=True, kw_only=True)
class Storage:
    """What a reconstruction takes, and where its intermediate results lie.

    Parameters
    ----------
    memory
        Largest resident memory of the process, bytes.
    scratch
        Scratch space, bytes.
    planes_on_disk, samples_on_disk
        Whether planes and samples lie in scratch files.
    block
        Planes in a block; 1 in memory.
    slabs
        z slabs that a thread reads at a time.
    """

    memory: int
    scratch: int
    planes_on_disk: bool
    samples_on_disk: bool
    block: int
    slabs: int


#: Of a region that is made in tiles: each tile has a storage of its own.
TILED = Storage(memory=0, scratch=0, planes_on_disk=False, samples_on_disk=False, block=1, slabs=1)


@dataclass(frozen=True)
class Beside:
    """What lies in memory beside a reconstruction, bytes.

    Parameters
    ----------
    always
        Samples of other volumes that are made from the same images.
    images
        Buffers of their threads, while images are sampled.
    slabs
        Bytes of slabs that are kept as they are written.
    end
        Bytes that it takes to complete the file when all slabs are written, and the planes are gone.
    """

    always: int = 0
    images: int = 0
    slabs: int = 0
    end: int = 0


ALONE = Beside()


def sample_bytes(plan: Plan) -> int:
    """Bytes of the samples of all images, with their weights."""
    s = plan.slices
    return plan.bytes_per_sample * s.n_planes * len(s.matrices) * (2 * s.half_rows + 1)


def choose_storage(
    plan: Plan,
    n_threads: int,
    memory: int | None = None,
    *,
    whole: bool = False,
    beside: Beside = ALONE,
    slabwise: bool = True,
    samples_on_disk: bool = False,
) -> Storage:
    """Choose the fastest way that stays within the memory.

    Parameters
    ----------
    plan
        Plan of the reconstruction.
    n_threads
        Number of threads; each has its buffers.
    memory
        Largest resident memory of the process, bytes; default: :func:`~fourierrecon.engine.room.default_memory`.
    whole
        The volume is wanted as one array, so that planes on disk would not help.
    slabwise
        The user could write the volume slab by slab instead.
    beside
        What else is in memory meanwhile.
    samples_on_disk
        Samples must not stay in memory.

    Raises
    ------
    DataError
        If no way does; the message says what is needed at the least.
    """
    budget, limit = within_limits(default_memory() if memory is None else memory)
    base = memory_with(0)
    cheapest = None
    for planes_away, samples_away in ((False, False), (True, False), (True, True)):
        if samples_on_disk and not samples_away:
            continue
        if whole and planes_away:
            break
        largest = min(LARGEST_BLOCK, plan.slices.n_planes) if planes_away else 1
        block = largest
        while block >= 1:
            needed = base + _peak(plan, n_threads, planes_away, samples_away, block, beside)
            storage = Storage(
                memory=needed,
                scratch=0,
                planes_on_disk=planes_away,
                samples_on_disk=samples_away,
                block=block,
                slabs=max(1, block // 2),
            )
            if needed <= budget:
                return _with_scratch(storage, plan)
            if cheapest is None or needed < cheapest.memory:
                cheapest = storage
            block = block // 2
    assert cheapest is not None
    shape = " x ".join(f"{n}" for n in plan.region_shape[::-1])
    remedy = (
        f"allow more ({limit}), use fewer threads (n_threads=...), a larger binning=... or a smaller region (size=...)"
    )
    if whole and slabwise:
        remedy += ", or write slab by slab (reconstruct_to_file)"
    raise TooLittleMemory(
        f"the volume of {shape} voxels needs {cheapest.memory / 1e9:.3g} GB of memory, {budget / 1e9:.3g} GB are "
        f"allowed; {remedy}"
    )


def _peak(plan: Plan, n_threads: int, planes_on_disk: bool, samples_on_disk: bool, block: int, beside: Beside) -> int:
    """Bytes at the most, over the three stages and the end."""
    s = plan.slices
    depth, _, n_o = s.shape
    no = s.grid[1]
    n_tilts, n_rows = len(s.matrices), 2 * s.half_rows + 1
    samples = sample_bytes(plan)
    plane = 8 * depth * n_o
    planes = plane * (s.period // 2 + 1)
    images = n_threads * plan.image_bytes + beside.images
    planes_work = n_threads * (8 * depth * no + plan.plane_work_bytes)
    slab = 4 * s.period * n_o * 3
    if samples_on_disk:
        images += n_threads * sample_bytes(plan) // n_tilts
        planes_work += n_threads * 2 * plan.bytes_per_sample * block * n_tilts * n_rows
        samples = 0
    if planes_on_disk:
        planes_work += n_threads * plane * block
        planes = 0
        slab += plane // depth * max(1, block // 2) * (s.period // 2 + 1 + block)
    # samples stay for other parts of the tilt series, or are kept for the next tomogram
    stages = images, planes + planes_work, planes + n_threads * slab + beside.slabs, beside.end
    return samples + beside.always + max(stages)


def _with_scratch(storage: Storage, plan: Plan) -> Storage:
    s = plan.slices
    n_blocks = -(-s.n_planes // storage.block)
    rounded = n_blocks * storage.block
    scratch = 0
    if storage.planes_on_disk:
        scratch += 8 * s.shape[0] * s.shape[2] * rounded
    if storage.samples_on_disk:
        scratch += plan.bytes_per_sample * rounded * len(s.matrices) * (2 * s.half_rows + 1)
    return replace(storage, scratch=scratch)


class SampleStore:
    """Samples of all images along their lines, with their weights.

    Parameters
    ----------
    slices
        Geometry.
    weighted
        Whether samples have weights.
    storage
        Memory or scratch files, and the size of blocks.
    folder
        Folder for scratch files.
    n_threads
        Number of threads.
    lines
        Lines of an image on a plane.
    """

    def __init__(
        self, slices: Slices, weighted: bool, storage: Storage, folder: Path | None, n_threads: int, *, lines: int = 1
    ) -> None:
        self._n_planes, self._n_rows = slices.n_planes, 2 * slices.half_rows + 1
        self._lines, self._n_lines = lines, lines * len(slices.matrices)
        self._weighted, self._block = weighted, storage.block
        self._files: list[ScratchFile] = []
        if storage.samples_on_disk:
            n_blocks = -(-self._n_planes // self._block)
            shape = self._n_lines, self._block, self._n_rows
            for dtype in (np.complex64, np.float32)[: 1 + weighted]:
                self._files.append(ScratchFile(folder, n_blocks, shape, dtype))
        else:
            self._whole = self._arrays(self._n_planes, self._n_lines, n_threads)

    def _arrays(self, n_planes: int, n_lines: int, n_threads: int) -> tuple[Complex, Real]:
        shape = n_planes, n_lines, self._n_rows
        return (
            claim(shape, np.complex64, n_threads, "samples"),
            claim(shape if self._weighted else (0, 0, 0), np.float32, n_threads, "weights"),
        )

    def buffers(self) -> tuple[Complex, Real]:
        """Give arrays ``(n_planes, lines, n_rows)`` of all tilts, or one, for one thread to write a tilt to."""
        return self._arrays(self._n_planes, self._lines, 1) if self._files else self._whole

    def place(self, tilt: int) -> int:
        """Give the index of the first line of a tilt in these arrays."""
        return 0 if self._files else tilt * self._lines

    def put(self, tilt: int, buffers: tuple[Complex, Real]) -> None:
        """Keep what was written for a tilt."""
        for file, values in zip(self._files, buffers, strict=False):
            for block, first in enumerate(range(0, self._n_planes, self._block)):
                for line in range(self._lines):
                    place = (tilt * self._lines + line) * self._block * self._n_rows
                    file.write(block, place, values[first : first + self._block, line])

    def block(self, number: int) -> tuple[Complex, Real]:
        """Give the samples and weights of a block of planes, ``(J, n_lines, n_rows)``; they may be changed."""
        first = number * self._block
        if not self._files:
            samples, weights = self._whole
            return samples[first : first + self._block], weights[first : first + self._block]
        shape = self._n_lines, self._block, self._n_rows
        read: list[NDArray[Any]] = [np.empty(shape, np.complex64), np.empty(shape if self._weighted else 0, np.float32)]
        for file, values in zip(self._files, read, strict=False):
            file.read(number, 0, [values])
        turned = [np.ascontiguousarray(values.transpose(1, 0, 2)) if values.size else values for values in read]
        return turned[0], turned[1]

    def put_block(self, number: int, samples: Complex) -> None:
        """Keep the samples of a block of planes, as :meth:`block` gave them, after they were changed."""
        if self._files:
            self._files[0].write(number, 0, np.ascontiguousarray(samples.transpose(1, 0, 2)))

    def close(self) -> None:
        """Give scratch space and memory back."""
        for file in self._files:
            file.close()
        self._whole = (np.empty((0, 0, 0), np.complex64), np.empty((0, 0, 0), np.float32))


class PlaneStore:
    """Planes in real space along z and o, half spectra along p.

    Parameters
    ----------
    slices
        Geometry.
    storage
        Memory or scratch files, and the size of blocks.
    folder
        Folder for the scratch file.
    n_threads
        Number of threads.
    """

    def __init__(self, slices: Slices, storage: Storage, folder: Path | None, n_threads: int) -> None:
        depth, _, self._n_o = slices.shape
        self._n_planes, self._n_half, self._block = slices.n_planes, slices.period // 2 + 1, storage.block
        self._slabs, self._depth = storage.slabs, depth
        self._file: ScratchFile | None = None
        if storage.planes_on_disk:
            n_blocks = -(-self._n_planes // self._block)
            self._file = ScratchFile(folder, n_blocks, (depth, self._block, self._n_o), np.complex64)
        else:
            self.whole: Complex = claim((depth, self._n_half, self._n_o), np.complex64, n_threads, "planes")
            self.whole[:, self._n_planes :] = 0

    def buffer(self) -> Complex:
        """Give an array ``(D, H'/2 + 1 or J, O)`` for one thread to write planes to."""
        if self._file is None:
            return self.whole
        return np.zeros((self._depth, self._block, self._n_o), np.complex64)

    def place(self, plane: int) -> int:
        """Give the index of a plane in this array."""
        return plane if self._file is None else plane % self._block

    def put(self, block: int, buffer: Complex) -> None:
        """Keep a block of planes."""
        if self._file is not None:
            self._file.write(block, 0, buffer)

    def slab_buffer(self) -> Complex:
        """Give an array for one thread to read z slabs to."""
        rows = self._n_half
        if self._file is not None:
            rows = max(-(-self._n_planes // self._block) * self._block, rows)
        return np.empty((self._slabs, rows, self._n_o), np.complex64)

    def read(self, first: int, stop: int, buffer: Complex) -> Complex:
        """Give the half spectra of z slabs ``[first, stop)``, ``(stop - first, H'/2 + 1, O)``; once only."""
        if self._file is None:
            # copied, although it is there: see slabs.transform_slabs_in_place
            buffer[: stop - first] = self.whole[first:stop]
            give_back(self.whole[first:stop])
            return buffer[: stop - first]
        piece = self._block * self._n_o
        for number, row in enumerate(range(0, self._n_planes, self._block)):
            pieces: list[NDArray[Any]] = [buffer[i, row : row + self._block] for i in range(stop - first)]
            self._file.read(number, first * piece, pieces)
        buffer[:, self._n_planes :] = 0
        return buffer[: stop - first, : self._n_half]

    def close(self) -> None:
        """Give scratch space and memory back."""
        if self._file is not None:
            self._file.close()
        self.whole = np.empty((0, 0, 0), np.complex64)
