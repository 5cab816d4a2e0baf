"""Reads text files and finds those that they name; writes files and folders whole or not at all, and checks early."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from fourierrecon.errors import DataError, UsageError, raise_shortage

#: Files of which a folder that is a Zarr store has at least one.
ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
#: Errors of file systems without locks, some of them for folders only.
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL)
#: Remedies for errors that no permission mends.
_REMEDIES = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free space there, or choose another folder")
_REMEDIES[errno.ENAMETOOLONG] = "choose a shorter name"
#: Bytes that no text has; UTF-16 has zeros.
_BINARY = re.compile(rb"[\0-\x08\x0e-\x1f\x7f]")
#: Folders outside of the data that a name led to, and that were reported already.
_noticed: set[Path] = set()
#: Files that must not be written, as they are read; links followed.
_kept: ContextVar[frozenset[str]] = ContextVar("_kept", default=frozenset())


def keep(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Let nothing that is written from now on, in this context, take the place of these files.

    Parameters
    ----------
    paths
        Files or Zarr folders that are read.
    """
    _kept.set(_kept.get() | {os.path.realpath(path) for path in paths})


def is_kept(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is one of the files of :func:`keep`, by whatever name, or a folder that one of them is in."""
    place = os.path.realpath(path)
    if not os.path.exists(place):
        return False
    inside = os.path.join(place, "")
    return any(kept.startswith(inside) or _is_same(kept, place) for kept in _kept.get())


def _is_same(kept: str, place: str) -> bool:
    """Tell whether two paths lead to one file, as they may where capital letters count as small ones."""
    return kept == place or (os.path.exists(kept) and os.path.samefile(kept, place))


def read_lines(path: Path, what: str) -> list[str]:
    """Read the lines of a text file in UTF-8, with or without a byte-order mark and with the line ends of any system.

    Parameters
    ----------
    path
        The file.
    what
        Right file to give instead, for messages.

    Raises
    ------
    DataError
        If the file is missing, empty or no text. Single letters of another encoding are no fault, but unreadable.
    """
    try:
        with path.open("rb") as file:
            # a stack is large, and its first bytes show already that it is no text
            raw = file.read(4096)
            raw += b"" if _BINARY.search(raw) else file.read()
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise DataError(f"cannot read {str(path)!r}: {reason}; give {what}") from error
    if not raw.strip():
        raise DataError(f"{path} is empty; was its writing interrupted?")
    if odd := _BINARY.search(raw):
        line = len(re.split(rb"\r\n|\n|\r", raw[: odd.start()]))
        raise DataError(f"{path}, line {line}: not plain text (binary, or UTF-16); give {what}, in UTF-8")
    # the names of files in a text may hold other bytes, and the files have to be found
    return re.split(r"\r\n|\n|\r", raw.decode("utf-8-sig", "surrogateescape"))


def is_plain(word: str) -> bool:
    """Tell whether a word has nothing in it that only Python takes for a part of numbers (1_000, other digits)."""
    return word.isascii() and "_" not in word


def check_writable(path: str | os.PathLike[str], n_bytes: int = 0, *, folder: bool = False) -> None:
    """Check before a long computation that a file can be written afterwards; makes its folders.

    Parameters
    ----------
    path
        File to be written.
    n_bytes
        Its size, if known, to be compared with the space left.
    folder
        Whether the target will be a Zarr folder, not a file.

    Raises
    ------
    DataError
        If the folder cannot be made or written, the target is a folder (or must be one and is a file), or there is
        too little space.
    """
    with _one_line(path):
        target = _target_folder(path) if folder else _target(path)
        remove_leftovers(target.parent)
        probe = _part(target.parent)
        try:
            probe.open("xb").close()
        finally:
            probe.unlink(missing_ok=True)
        free = shutil.disk_usage(target.parent).free
    if n_bytes > free:
        raise DataError(
            f"{path} needs {n_bytes / 1e9:.3g} GB, but {target.parent} has {free / 1e9:.3g} GB left; "
            f"free some space, choose another folder or a higher binning"
        )


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new file beside the target; it takes the target's place if all goes well, else it vanishes.

    Parameters
    ----------
    path
        File to be written; folders are made, links are followed.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    with _one_line(path):
        target = _target(path)
        remove_leftovers(target.parent)
        file, part = _new_file(target)
        # closing reports the last errors; the part stays locked until the file has its own name
        with _held(os.dup(file.fileno())):
            try:
                with file:
                    yield file
                part.replace(target)
            except BaseException:
                part.unlink(missing_ok=True)
                raise


@contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Make a new folder beside the target; it takes the target's place if all goes well, else it vanishes.

    A folder cannot take another's place in one step: an old one is moved aside first, and back if the second step
    fails. Whoever looks just between the two sees no folder; nobody ever sees half of one.

    Parameters
    ----------
    path
        Zarr folder to be written; folders above it are made, links are followed.

    Raises
    ------
    DataError
        If it cannot be written, or something else than a Zarr folder is there.
    """
    with _one_line(path):
        target = _target_folder(path)
        with temporary_folder(target.parent) as part:
            yield part
            if not target.exists():
                part.rename(target)
                return
            old = _part(target.parent)
            with _held(_lock_folder(target)):
                target.rename(old)
                try:
                    part.rename(target)
                except BaseException:
                    old.rename(target)
                    raise
                shutil.rmtree(old, ignore_errors=True)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Make a folder that vanishes at the end unless it was moved, or, if the process is killed, with the next run.

    Parameters
    ----------
    parent
        Folder to make it in.
    """
    remove_leftovers(parent)
    while True:
        folder = _part(parent)
        folder.mkdir()
        with _held(_lock_folder(folder)):
            if not folder.exists():
                continue  # another process removed it as a leftover before it was locked
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


def find_file(name: str, *bases: Path, where: str) -> Path:
    """Find a file that a STAR file names, as RELION does and a little further.

    Tried are the working directory, then the folder of each STAR file and the folders above it.

    Parameters
    ----------
    name
        Name as written in the STAR file.
    bases
        STAR files that lead to this name.
    where
        Beginning of the message: which file, block and column names it.

    Raises
    ------
    DataError
        If there is no such file; the message says where it was looked for.
    """
    if not name:
        raise DataError(f"{where}: the name of a file is empty")
    folders = [Path.cwd()]
    for base in bases:
        folder = base.absolute().parent
        folders += [folder, *folder.parents]
    folders = list(dict.fromkeys(folders))
    for folder in folders:
        if os.path.isfile(folder / name):
            _notice(folder / name, [Path.cwd(), *(base.absolute().parent for base in bases), folder], where)
            return folder / name
    tried = "" if os.path.isabs(name) else f"; looked in {', '.join(map(str, folders))}"
    raise DataError(
        f"{where}: file {name[:300]} not found{tried}. Correct the path, or run in the folder it starts from"
    )


def _notice(path: Path, folders: list[Path], where: str) -> None:
    """Warn once for each folder if a name leads outside of the folders where it is expected.

    Parameters
    ----------
    path
        File that was found.
    folders
        Working directory, those of the STAR files, and the one that the name starts from.
    where
        File, block and column that name it.
    """
    place = Path(os.path.normpath(path)).parent
    if place not in _noticed and not any(place.is_relative_to(folder) for folder in folders):
        _noticed.add(place)
        logging.getLogger("fourierrecon").warning("%s: leads outside of its data, to %s", where, place)


def _target(path: str | os.PathLike[str]) -> Path:
    """Give the file behind a path, links followed, its folders made; refuse what is no regular file."""
    text = os.fspath(path)
    target = Path(os.path.realpath(text))
    if not text or text.endswith(os.sep) or target.is_dir():
        raise DataError(f"cannot write {text!r}: it is a folder; add the name of a file")
    if target.exists() and not target.is_file():
        raise DataError(f"cannot write {text!r}: it exists and is not a regular file; choose another name")
    _refuse_kept(target, text)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _target_folder(path: str | os.PathLike[str]) -> Path:
    """Give the folder behind a path, links followed, those above it made; refuse what is no Zarr folder."""
    text = os.fspath(path)
    target = Path(os.path.realpath(text))
    if not text or (target.exists() and not target.is_dir()):
        raise DataError(f"cannot write {text!r}: it exists and is not a Zarr folder; choose another name")
    if target.is_dir() and any(target.iterdir()) and not any((target / mark).is_file() for mark in ZARR_MARKS):
        raise DataError(f"cannot write {text!r}: it is a folder with other things in it; choose another name")
    _refuse_kept(target, text)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _refuse_kept(target: Path, text: str) -> None:
    if is_kept(target):
        raise UsageError(f"cannot write {text!r}: it is one of the files that are read; give another name")


def _part(folder: Path) -> Path:
    """Give a name in a folder that nobody else uses."""
    return folder / f".fourierrecon-{secrets.token_hex(8)}.part"


@contextmanager
def marking(folder: Path) -> Iterator[Path]:
    """Put an empty file into a folder, by which it is known from elsewhere; it goes at the end.

    Parameters
    ----------
    folder
        Existing folder.
    """
    file, path = _new_file(folder / "mark")
    with file:
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def _new_file(target: Path) -> tuple[BinaryIO, Path]:
    """Open a new file beside the target, which nobody takes for left over as long as it is open; give its path too."""
    while True:
        part = _part(target.parent)
        file = part.open("xb")
        # another process that looks for leftovers may have been faster
        _lock(file.fileno(), wait=True)
        if part.exists():
            return file, part
        file.close()


def _lock_folder(folder: Path) -> int:
    """Open a folder, which nobody takes for left over as long as it is open."""
    number = os.open(folder, os.O_RDONLY)
    _lock(number, wait=True)
    return number


def _lock(number: int, *, wait: bool = False) -> bool:
    """Lock an open file or folder; tell whether that could be done. The lock goes with the process."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in (*NO_LOCKS, errno.EWOULDBLOCK):
            raise
        return False
    return True


@contextmanager
def _held(number: int) -> Iterator[None]:
    """Close an open file or folder at the end."""
    try:
        yield
    finally:
        os.close(number)


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed left half written in a folder; what a living one is writing stays.

    Nor is anything removed where the file system has no locks, or where this process may not.
    """
    for part in folder.glob(".fourierrecon-*.part") if folder.is_dir() else ():
        # other processes may clean up at the same time, and files of other people stay
        with suppress(OSError):
            is_folder = part.is_dir()
            number = os.open(part, os.O_NOFOLLOW | (os.O_RDONLY if is_folder else os.O_RDWR))
            with _held(number):
                if _lock(number):
                    shutil.rmtree(part) if is_folder else part.unlink()


@contextmanager
def _one_line(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the system's complaints about writing into one line; those about memory or other files go on as they are."""
    try:
        yield
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError):
            raise_shortage(error)
            if _is_elsewhere(error.filename, path):
                raise
        number, reason = (error.errno, error.strerror) if isinstance(error, OSError) else (None, None)
        remedy = _REMEDIES.get(number or 0, "choose another folder or make it writable")
        raise DataError(f"cannot write {os.fspath(path)}: {reason or error}; {remedy}") from error


def _is_elsewhere(filename: object, path: str | os.PathLike[str]) -> bool:
    """Tell whether an error names a file that has nothing to do with a path: neither beside it, above nor below it."""
    if not isinstance(filename, str):
        return False
    folder, other = Path(os.path.realpath(path)).parent, Path(os.path.realpath(filename))
    return not (other.is_relative_to(folder) or folder.is_relative_to(other))
