"""Memory: how much there is, arrays that are used again, and large arrays without the cost of fresh pages."""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fourierrecon.errors import DataError
from fourierrecon.parallel import for_each

#: Memory of arrays of at least so many bytes is kept for the next one, for so many seconds.
LARGE, KEPT_SECONDS = 1 << 26, 10.0
#: What is kept is used again for an array that fills at least this part of it.
FILLED = 0.8


def available_memory() -> int | None:
    """Bytes that this process can still take (limits of its control group respected), or None where unknown."""
    candidates = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                candidates.append(int(line.split()[1]) * 1024)
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            used = int(Path("/sys/fs/cgroup/memory.current").read_text())
            candidates.append(int(limit) - used)
    except (OSError, ValueError):
        pass
    return min(candidates, default=None)


def check_memory(path: Path, n_bytes: int, what: str) -> None:
    """Refuse to read what does not fit into the memory: a damaged file may announce anything.

    Parameters
    ----------
    path
        File, for messages.
    n_bytes
        That reading it takes.
    what
        Is read, for messages.

    Raises
    ------
    DataError
        If it does not.
    """
    free = available_memory()
    if free is not None and n_bytes > free:
        raise DataError(
            f"{path}: {what} needs {n_bytes / 1e9:.3g} GB of memory, {free / 1e9:.3g} GB are free; if that is no "
            f"mistake of the file, use a machine with more, or a coarser tomogram"
        )


def resident_memory() -> int:
    """Bytes of memory that this process holds."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 200_000_000  # an interpreter with its libraries


class Scratch:
    """Arrays of one thread that are used again and again: claiming memory for each image takes as long as an FFT."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, tuple[int, ...], str], NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Give the array of this name, shape and type; it holds what was last written to it."""
        key = name, shape, np.dtype(dtype).str
        if key not in self._arrays:
            self._arrays[key] = np.zeros(shape, dtype)
        return self._arrays[key]


class _Block(mmap.mmap):
    """Memory from the system; torn when parts of it were given back."""

    torn = False


class _Kept:
    """Memory of large arrays that were given up, one a purpose, for the next of that purpose.

    Fresh memory comes page by page: on a virtual machine, a volume of 1 GB can cost a second, as much as its FFT. In a
    row of reconstructions each takes over the memory of the one before.
    """

    def __init__(self) -> None:
        # may be entered again: arrays can be given up while the lock is held
        self._lock = threading.RLock()
        self._blocks: dict[str, _Block] = {}
        self._timer: threading.Timer | None = None

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        with self._lock:
            return sum(len(block) for block in self._blocks.values())

    def take(self, purpose: str, size: int) -> _Block | None:
        """Give what is kept if it fits; else let it go."""
        with self._lock:
            block = self._blocks.pop(purpose, None)
            return block if block is not None and FILLED * len(block) <= size <= len(block) else None

    def keep(self, purpose: str, block: _Block) -> None:
        """Keep memory for a while, if it is whole."""
        if block.torn:
            return
        with self._lock:
            self._blocks[purpose] = block
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(KEPT_SECONDS, self._blocks.clear)
            self._timer.daemon = True
            self._timer.start()


_KEPT = _Kept()


def kept_memory() -> int:
    """Bytes that this process holds for its next large arrays, for some seconds, or until they do not fit."""
    return _KEPT.size


def claim(shape: tuple[int, ...], dtype: DTypeLike, n_threads: int, purpose: str) -> NDArray[Any]:
    """Give an array of any content whose memory is there already, claimed by all threads from front to end.

    The system hands memory out page by page where it is first written to: in order that takes a fifth of the time that
    scattered writes take. A large array takes over the memory of one with the same purpose that was given up before.
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    block = _KEPT.take(purpose, size)
    if size < LARGE:
        return _touch(np.empty(shape, dtype), n_threads)
    fresh = block is None
    if block is None:
        # not shared memory, which mmap gives otherwise: that could not be given back in parts
        block = _Block(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    flat = np.frombuffer(block, np.uint8, size)
    # all views of it refer to this array
    weakref.finalize(flat, _KEPT.keep, purpose, block).atexit = False
    array = flat.view(dtype).reshape(shape)
    return _touch(array, n_threads) if fresh else array


def give_back(array: NDArray[Any]) -> None:
    """Give the memory under a contiguous part of a claimed array back to the system at once; its values are lost.

    What is written next, a file for instance, then takes over memory that is there instead of fresh memory.
    """
    whole = array
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    block = getattr(whole.base, "obj", None)
    if not isinstance(block, _Block) or not hasattr(mmap, "MADV_DONTNEED"):
        return
    first = int(array.ctypes.data) - int(whole.ctypes.data)
    start = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
    stop = (first + array.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if start < stop:
        block.torn = True
        block.madvise(mmap.MADV_DONTNEED, start, stop - start)


def _touch(array: NDArray[Any], n_threads: int) -> NDArray[Any]:
    """Write to every page of an array."""
    pages = array.reshape(-1).view(np.uint8)[::4096]
    share = -(-len(pages) // n_threads)

    def touch(_: None, i: int) -> None:
        pages[i * share : (i + 1) * share] = 0

    for_each(n_threads, touch, state=lambda: None, n_threads=n_threads)
    return array
