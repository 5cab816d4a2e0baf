"""A whole set: every tomogram made once, whatever breaks on the way."""

from __future__ import annotations

import errno
import fcntl
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TextIO

from fourierrecon.errors import DataError, FourierReconError, UsageError
from fourierrecon.io import Extras
from fourierrecon.io.files import remove_leftovers
from fourierrecon.io.sources import names_in
from fourierrecon.many import reconstruct_many
from fourierrecon.parallel import Progress
from fourierrecon.products import Product, Recipe, orders_of, products_of

LOCK = ".fourierrecon.lock"
#: What file systems without locks say.
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@dataclass(frozen=True)
class Made:
    """One product of a tomogram, as the set's list needs it.

    Parameters
    ----------
    path, picture
        Files.
    part
        A key of :data:`fourierrecon.products.PARTS`.
    binning
        Voxel over pixel.
    size
        ``(width, height, depth)`` of the region, bin-1 px.
    reason
        Why it was made; None if it was there.
    """

    path: Path
    picture: Path | None
    part: str
    binning: float
    size: tuple[float, float, float]
    reason: str | None


@dataclass(frozen=True)
class Outcome:
    """What became of one tomogram.

    Parameters
    ----------
    name
        Its name.
    made
        Its products, if all of them are there now.
    error
        What went wrong, if something did.
    notes
        Warnings on the way.
    seconds
        How long it took.
    """

    name: str
    made: tuple[Made, ...] = ()
    error: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def status(self) -> str:
        """``failed``, ``there`` (nothing had to be made) or ``done``."""
        if self.error:
            return "failed"
        return "done" if any(product.reason is not None for product in self.made) else "there"


def choose_names(source: Path, patterns: Sequence[str], extras: Extras) -> list[str]:
    """Give the names of the tomograms in a set that fit one of the patterns (``TS_*``); all if there is none.

    Raises
    ------
    UsageError
        If a pattern fits none.
    DataError
        If the set cannot be read.
    """
    names = names_in(source, extras)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UsageError(f"no tomogram {pattern!r} in {source}; available: {', '.join(names)}")
    return [name for name in names if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)]


def shard(names: Sequence[str], text: str | None) -> list[str]:
    """Give the part of the names that ``--shard i/n`` asks for: every n-th, from the i-th on.

    Raises
    ------
    UsageError
        If it is no such pair of numbers.
    """
    if text is None:
        return list(names)
    first, _, count = text.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise UsageError(f"--shard {text!r} must be I/N with I from 1 to N, as 3/10")
    return list(names[int(first) - 1 :: int(count)])


def process(recipe: Recipe, name: str, progress: Progress | None = None) -> Outcome:
    """Make what is missing of one tomogram; what goes wrong is told, not raised.

    Parameters
    ----------
    recipe
        What is to be made.
    name
        Of the tomogram.
    progress
        Called as ``progress(stage, done, total)``.
    """
    started = time.perf_counter()
    recipe = replace(recipe, settings=replace(recipe.settings, progress=progress))
    error, products = "", []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            products = products_of(recipe, name)
            missing = [product for product in products if product.reason is not None]
            if missing:
                binnings = tuple(dict.fromkeys(product.region.binning for product in products))
                settings = replace(recipe.settings, binnings=binnings)
                reconstruct_many(orders_of(recipe, missing), settings)
        except FourierReconError as problem:
            error = str(problem)
        except MemoryError:
            error = "out of memory; use a larger --bin or a smaller region (--w --h --d)"
        except OSError as problem:
            where = f"{problem.filename}: " if problem.filename is not None else ""
            error = f"{where}{problem.strerror or problem}"
        except Exception as problem:  # a mistake in this program must not keep the others from being made
            error = f"{type(problem).__name__}: {problem}; this should not happen, please report it"
    notes = tuple(dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught))
    made = () if error else tuple(map(made_of, products))
    return Outcome(name, made, error, notes, time.perf_counter() - started)


def made_of(product: Product) -> Made:
    """Give what the set's list needs of a product."""
    region = product.region
    width, height, depth = region.size or (n * region.binning for n in region.shape[::-1])
    size = float(width), float(height), float(depth)
    return Made(product.path, product.picture, product.part, region.binning, size, product.reason)


def run(recipe: Recipe, names: Sequence[str], follow: Callable[[Outcome], Progress | None]) -> list[Outcome]:
    """Process tomograms one after the other.

    Parameters
    ----------
    recipe, names
        As for :func:`process`.
    follow
        Called with an empty outcome before each tomogram, which gives its progress, and with its outcome after it.
    """
    outcomes = []
    for name in names:
        outcome = process(recipe, name, follow(Outcome(name)))
        follow(outcome)
        outcomes.append(outcome)
    return outcomes


@contextmanager
def locked(folder: Path, part: str | None = None) -> Iterator[None]:
    """Have a folder of products for this process alone, or, of a shard, for processes with other shards as well.

    The lock goes with the process, however it ends. What processes that were killed left half written is removed, as
    soon as nobody else works there.

    Raises
    ------
    DataError
        If another process works there, or the folder cannot be written.
    """
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
        yield


@contextmanager
def taking_turns(folder: Path) -> Iterator[None]:
    """Wait until no other process is in such a block for this folder; it should be short."""
    with (folder / f"{LOCK}-turn").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield


def _open(stack: ExitStack, path: Path) -> TextIO:
    """Open a lock file until the stack closes; it stays, so that nobody locks another one of its name."""
    return stack.enter_context(path.open("a+"))


def _lock(file: TextIO, kind: int) -> bool:
    """Lock a file, or turn the lock into one of another kind; tell whether that could be done at once."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(file: TextIO) -> None:
    """Write down who holds the lock."""
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


def _clean(folder: Path) -> None:
    """Remove what is half written; only where nobody else is at work."""
    for place in ("", "tomograms", "projections", "tilt_series"):
        remove_leftovers(folder / place)
