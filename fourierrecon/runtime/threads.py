"""Threads over independent pieces of work, and the cores there are for them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

from fourierrecon.runtime.control_groups import MEMBERSHIP, folders_of

State = TypeVar("State")
#: Called as ``progress(stage, done, total)``, from any thread.
Progress = Callable[[str, int, int], None]


def available_cores() -> int:
    """Cores that this process may use: its affinity, and the quotas of its control groups."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in folders_of(_text(MEMBERSHIP), "cpu"):
        # version 2: both in one file; version 1: -1 is no quota
        words = _text(f"{folder}/cpu.max").split()
        words = words or [_text(f"{folder}/cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
        if len(words) == 2 and all(map(str.isdecimal, words)) and int(words[1]) > 0:
            cores = min(cores, max(1, round(int(words[0]) / int(words[1]))))
    return cores


def _text(path: str) -> str:
    """Read a file of the system; empty where it cannot be read."""
    try:
        return Path(path).read_text()
    except (OSError, UnicodeError):
        return ""


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
        Name of the stage, and the callback that progress is reported to.

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
        try:
            futures = [pool.submit(worker) for _ in range(max(1, min(n_threads, n)))]
        except RuntimeError as error:  # raised where a thread has no room for its stack
            stopped = True
            raise MemoryError(f"{error}; fewer threads take less") from error
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:  # Ctrl-C: let the threads end before the memory they work on goes
            stopped = True
            raise
        for future in futures:
            future.result()
