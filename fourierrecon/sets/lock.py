"""Locks of a folder of products: one process at a time works there, or several with different parts of a set.

The locks are those of the operating system (``flock``): they go with the process, however it ends, and an exclusive one
can be turned into a shared one. Packages for locks do one of the two, not both.
"""

from __future__ import annotations

import fcntl
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from fourierrecon.errors import DataError
from fourierrecon.io.files import NO_LOCKS, remove_leftovers
from fourierrecon.runtime.lock_file import open_lock

LOCK = ".fourierrecon.lock"


@contextmanager
def locked(folder: Path, part: str | None = None) -> Iterator[Callable[[], None]]:
    """Keep other processes out of a folder of products, all of them, or those that work on the same part of the set.

    Files that killed processes left half written are removed as soon as nobody else works there.

    Parameters
    ----------
    folder
        Folder of the products; it is made.
    part
        ``i/n``, the part of the set that this process works on; None: the whole.

    Returns
    -------
    context
        It gives ``check()``, which raises a DataError if the folder has gone, or another one is in its place.

    Raises
    ------
    DataError
        If another process works there, or the folder cannot be written.
    """
    files: list[TextIO] = []

    def check() -> None:
        try:
            same = all(os.path.samestat(os.fstat(file.fileno()), (folder / LOCK).stat()) for file in files)
        except OSError:
            same = False
        if not same:
            raise DataError(f"{folder} has gone, or was replaced; nothing more is made: run the same command again")

    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if part is not None:
                own = _open(stack, folder / f"{LOCK}-{part.replace('/', '-of-')}")
                if not _lock(own, fcntl.LOCK_EX):
                    raise _busy(own, f"{folder}, part {part}")
                _sign(own)
            with taking_turns(folder):
                file = _open(stack, folder / LOCK)
                files.append(file)
                if _lock(file, fcntl.LOCK_EX):
                    _clean(folder)
                    _sign(file)
                elif part is None:
                    raise _busy(file, str(folder))
                if part is not None and not _lock(file, fcntl.LOCK_SH):
                    raise _busy(file, str(folder))
            if part is None:
                # workers may be killed meanwhile
                stack.callback(_clean, folder)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise DataError(f"{folder}: {error.strerror or error}; choose another folder (folder=...)") from error
            warnings.warn(
                f"{folder} is on a file system without locks: nothing keeps a second run from working there",
                stacklevel=3,
            )
        yield check


@contextmanager
def taking_turns(folder: Path) -> Iterator[None]:
    """Wait until no other process is in such a block for this folder; keep the block short."""
    with open_lock(folder / f"{LOCK}-turn") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield


def _open(stack: ExitStack, path: Path) -> TextIO:
    """Open a lock file until the stack closes. The file is not removed: two processes could lock two of one name."""
    return stack.enter_context(open_lock(path))


def _lock(file: TextIO, kind: int) -> bool:
    """Lock a file, or turn the lock into one of another kind; tell whether that could be done at once."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(file: TextIO) -> None:
    """Write into a lock file which process holds the lock."""
    if not file.writable():
        return
    file.truncate(0)
    file.write(f"process {os.getpid()} on {os.uname().nodename}")
    file.flush()


def _busy(file: TextIO, what: str) -> DataError:
    file.seek(0)
    holder = file.read().strip()
    return DataError(
        f"{what}: another process works there{f' ({holder})' if holder else ''}; wait for it, or choose another "
        f"folder (folder=...)"
    )


def _clean(folder: Path) -> None:
    """Remove files that are half written; only where nobody else is at work."""
    for place in ("", "tomograms", "projections", "tilt_series"):
        remove_leftovers(folder / place)
