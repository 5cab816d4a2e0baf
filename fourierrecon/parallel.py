"""Threads over independent pieces of work, and what the machine gives: cores and memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

State = TypeVar("State")
#: Called as ``progress(stage, done, total)``, from any thread.
Progress = Callable[[str, int, int], None]


def available_cores() -> int:
    """Cores that this process may use: its affinity, and the quota of its control group."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return cores


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


def touched(shape: tuple[int, ...], dtype: DTypeLike, n_threads: int) -> NDArray[Any]:
    """Give an array of any content whose memory is there already, claimed by all threads from front to end.

    The system hands memory out page by page where it is first written to: in order that takes a fifth of the time that
    scattered writes take.
    """
    array = np.empty(shape, dtype)
    pages = array.reshape(-1).view(np.uint8)[::4096]
    share = -(-len(pages) // n_threads)

    def touch(_: None, i: int) -> None:
        pages[i * share : (i + 1) * share] = 0

    for_each(n_threads, touch, state=lambda: None, n_threads=n_threads)
    return array


def for_each(
    n: int,
    work: Callable[[State, int], None],
    *,
    state: Callable[[], State],
    n_threads: int,
    stage: str = "",
    progress: Progress | None = None,
) -> None:
    """Call ``work(state, i)`` for i in 0 to n - 1, in order of i, on ``n_threads`` threads.

    Parameters
    ----------
    n
        Number of calls.
    work
        One piece of work; releases the interpreter's lock where it counts.
    state
        Makes the buffers of one thread.
    n_threads
        Number of threads.
    stage, progress
        What to report.

    Raises
    ------
    Exception
        The first that a call raises; the others stop after the piece they are at.
    """
    lock = threading.Lock()
    taken = done = 0
    stopped = False

    def worker() -> None:
        nonlocal taken, done, stopped
        try:
            mine = state()
            while True:
                with lock:
                    if stopped or taken >= n:
                        return
                    i, taken = taken, taken + 1
                work(mine, i)
                with lock:
                    done += 1
                    if progress is not None:
                        progress(stage, done, n)
        except BaseException:
            stopped = True
            raise

    if progress is not None:
        progress(stage, 0, n)
    with ThreadPoolExecutor(max(1, min(n_threads, n))) as pool:
        futures = [pool.submit(worker) for _ in range(max(1, min(n_threads, n)))]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:  # Ctrl-C: let the threads end before the memory they work on goes
            stopped = True
            raise
        for future in futures:
            future.result()
