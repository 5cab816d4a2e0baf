"""One process at a time on a folder."""

from __future__ import annotations

import fcntl
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from fourierrecon.errors import DataError
from fourierrecon.io.files import NO_LOCKS
from fourierrecon.runtime.lock_file import open_lock
from fourierrecon.sets.run import _clean

LOCK = ".fourierrecon.lock"


@contextmanager
def locked(folder: Path, part: str | None = None) -> Iterator[Callable[[], None]]:
    """Have a folder of products for this process alone, or, of a shard, for processes with other shards as well.

    The lock goes with the process, however it ends. What processes that were killed left half written is removed, as
    soon as nobody else works there.

    Returns
    -------
    A context that gives ``check()``, which raises a DataError if the folder has gone, or another one is in its place.

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
                # of workers that were killed meanwhile
                stack.callback(_clean, folder)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise DataError(f"{folder}: {error.strerror or error}; choose another folder (--o)") from error
            warnings.warn(
                f"{folder} is on a file system without locks: nothing keeps a second run from working there",
                stacklevel=3,
            )
        yield check


@contextmanager
def taking_turns(folder: Path) -> Iterator[None]:
    """Wait until no other process is in such a block for this folder; it should be short."""
    with open_lock(folder / f"{LOCK}-turn") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield


def _open(stack: ExitStack, path: Path) -> TextIO:
    """Open a lock file until the stack closes; it stays, so that nobody locks another one of its name."""
    return stack.enter_context(open_lock(path))


def _lock(file: TextIO, kind: int) -> bool:
    """Lock a file, or turn the lock into one of another kind; tell whether that could be done at once."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(file: TextIO) -> None:
    """Write down who holds the lock."""
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
        f"folder (--o)"
    )
