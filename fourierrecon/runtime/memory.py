"""Memory: how much there is, arrays that are used again, and large arrays without the cost of fresh pages."""

from __future__ import annotations

import ctypes
import gc
import mmap
import resource
import sys
import threading
import weakref
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import DTypeLike, NDArray

from fourierrecon.errors import DataError, raise_shortage
from fourierrecon.runtime.control_groups import MEMBERSHIP, folders_of
from fourierrecon.runtime.threads import for_each

#: Least size, bytes, of an array whose memory is kept for the next one, and the time that it is kept, s.
LARGE, KEPT_SECONDS = 1 << 26, 10.0
#: Kept memory is used again for an array that fills at least this part of it.
FILLED = 0.8
#: Bytes of limited address space that are left to compiled loops and the stacks and heaps of threads.
ADDRESS_RESERVE = 400_000_000
#: Files of control groups, of both versions: limit, memory used, and the name of the part of it that caches files.
GROUP_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.high", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_memory() -> int | None:
    """Bytes of memory that this process can still take, limits of its control groups respected, or None where unknown.

    For limits of its address space see :func:`address_space`.
    """
    rooms = [*_group_rooms()]
    found = [line.split() for line in _text("/proc/meminfo").splitlines() if line.startswith("MemAvailable:")]
    # systems other than Linux have no such file; psutil asks them in their own way
    rooms.append(1024 * int(found[0][1]) if found else int(psutil.virtual_memory().available))
    return max(min(rooms), 0)


def address_space() -> int | None:
    """Bytes of address space and data that limits of this process (``ulimit -v``, ``-d``) leave it for its arrays.

    None where there is no limit. Some of what is left is kept for compiled loops and the stacks of threads.
    """
    if sys.platform != "linux":
        return None
    held = psutil.Process().memory_info()
    limits = ((resource.RLIMIT_AS, held.vms), (resource.RLIMIT_DATA, held.data))
    rooms = [resource.getrlimit(kind)[0] - used for kind, used in limits if resource.getrlimit(kind)[0] >= 0]
    return max(min(rooms) - ADDRESS_RESERVE, 0) if rooms else None


def _group_rooms() -> Iterator[int]:
    """Give the bytes that each of the control groups leaves to this process."""
    for folder in folders_of(_text(MEMBERSHIP), "memory"):
        for limit_file, used_file, cached in GROUP_FILES:
            limit, used = (_text(f"{folder}/{name}").strip() for name in (limit_file, used_file))
            if not limit.isdecimal():  # none, or "max"
                continue
            # copies of files go where memory is short
            facts = dict(line.split() for line in _text(f"{folder}/memory.stat").splitlines() if line.count(" ") == 1)
            cache = int(facts.get(cached, 0))
            yield int(limit) - (int(used) - cache if used.isdecimal() else resident_memory())


def _text(path: str) -> str:
    """Read a file of the system; empty where it cannot be read."""
    try:
        return Path(path).read_text()
    except (OSError, UnicodeError):
        return ""


def check_memory(path: Path, n_bytes: int, what: str) -> None:
    """Refuse to read what does not fit into the memory: a damaged file may announce anything.

    Parameters
    ----------
    path
        File, for messages.
    n_bytes
        Bytes that reading takes.
    what
        Name of the data that are read, for messages.

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
    return int(psutil.Process().memory_info().rss)


class Workspace:
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

    def clear(self) -> None:
        """Let all go."""
        with self._lock:
            self._blocks.clear()

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


def release() -> None:
    """Give the system back what is kept, and the freed pieces that the C library keeps (glibc's ``malloc_trim``)."""
    _KEPT.clear()
    gc.collect()
    trim()


def trim() -> None:
    """Give the system back the freed pieces that the C library keeps: buffers of threads that ended, for instance."""
    # objects that refer to themselves, such as tasks of asyncio, hold their arrays until this
    gc.collect(0)
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


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
        try:
            block = _Block(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise_shortage(error)
            raise
    flat = np.frombuffer(block, np.uint8, size)
    # all views of it refer to this array
    weakref.finalize(flat, _KEPT.keep, purpose, block).atexit = False
    array = flat.view(dtype).reshape(shape)
    return _touch(array, n_threads) if fresh else array


def give_back(array: NDArray[Any]) -> None:
    """Give the memory under a contiguous part of a claimed array back to the system at once; its values are lost.

    Data that are written next, a file for instance, then take over this memory instead of fresh memory.
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


def forget(array: NDArray[Any]) -> None:
    """Let go of what was read of an array that is mapped from a file, or of the array that it is a part of.

    Pages of a file that were looked at count as memory of the process until then; they are read again when needed.
    """
    whole = array
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    # what was written to a mapping, and is not in the file, must stay: also where it was made read-only afterwards
    read_only = isinstance(whole, np.memmap) and whole.mode == "r"
    if read_only and isinstance(whole.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        whole.base.madvise(mmap.MADV_DONTNEED)


def _touch(array: NDArray[Any], n_threads: int) -> NDArray[Any]:
    """Write to every page of an array."""
    pages = array.reshape(-1).view(np.uint8)[::4096]
    share = -(-len(pages) // n_threads)

    def touch(_: None, i: int) -> None:
        pages[i * share : (i + 1) * share] = 0

    for_each(n_threads, touch, state=lambda: None, n_threads=n_threads)
    return array
