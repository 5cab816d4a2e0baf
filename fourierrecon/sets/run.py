"""A whole set: every tomogram made once, whatever breaks on the way."""

from __future__ import annotations

import errno
import fnmatch
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path

from fourierrecon.errors import OUT_OF_MEMORY, FourierReconError, UsageError
from fourierrecon.io import Supplement
from fourierrecon.io.files import remove_leftovers
from fourierrecon.io.tilt_series import list_tomograms
from fourierrecon.reconstruction import reconstruct_many
from fourierrecon.runtime.threads import Progress
from fourierrecon.sets.products import Product, all_files_of, orders_of, products_of
from fourierrecon.sets.recipe import Recipe
from fourierrecon.text import in_one_line
from fourierrecon.tomogram import checks
from fourierrecon.tomogram.inputs import input_files, protect


@dataclass(frozen=True)
class Made:
    """One product of a tomogram, as the set's list needs it.

    Parameters
    ----------
    path, picture
        Files.
    part
        A key of :data:`fourierrecon.sets.products.PARTS`.
    binning
        Voxel over pixel.
    size
        ``(width, height, depth)`` of the region, bin-1 px.
    reason
        Why it was made; None if it was there.
    origin
        World coordinates ``(x, y, z)`` of its first voxel, bin-1 px.
    excluded
        1-based numbers of the images that it is made without.
    """

    path: Path
    picture: Path | None
    part: str
    binning: float
    size: tuple[float, float, float]
    reason: str | None
    origin: tuple[float, float, float]
    excluded: tuple[int, ...] = ()


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
    stale
        What is there and was left as it is, though it is not what was asked for, and what to do about it.
    """

    name: str
    made: tuple[Made, ...] = ()
    error: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    stale: str = ""

    @property
    def status(self) -> str:
        """``failed``, ``stale`` (something else is there and stays), ``there`` (nothing had to be made) or ``done``."""
        if self.error or self.stale:
            return "failed" if self.error else "stale"
        return "done" if any(product.reason is not None for product in self.made) else "there"


def choose_names(source: Path, patterns: Sequence[str], extras: Supplement) -> list[str]:
    """Give the names of the tomograms in a set that are, or fit, one of the patterns (``TS_*``); all if there is none.

    Raises
    ------
    UsageError
        If a pattern fits none.
    DataError
        If the set cannot be read.
    """
    names = list_tomograms(source, extras)
    chosen: set[str] = set()
    for pattern in patterns:
        # a name may have brackets, too
        found = [pattern] if pattern in names else fnmatch.filter(names, pattern)
        if not found:
            raise UsageError(f"no tomogram {pattern!r} in {source}; available: {', '.join(names)}")
        chosen.update(found)
    return [name for name in names if not patterns or name in chosen]


def check_names(recipe: Recipe, names: Iterable[str]) -> None:
    """Refuse tomograms of which files would have one name, also where capital letters count as small ones.

    Raises
    ------
    UsageError
        If there are such, or a name cannot be that of a file.
    """
    owners: dict[str, str] = {}
    for name in names:
        for path in all_files_of(recipe, name):
            same = unicodedata.normalize("NFC", str(path)).casefold()
            other = owners.setdefault(same, name)
            if other != name:
                raise UsageError(
                    f"{other} and {name} would both be written to {path}; rename one, or give each a folder of its own "
                    f"(--tn, --o)"
                )


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
    # what is read for one tomogram is known for this one alone
    return copy_context().run(_process, replace(recipe, settings=replace(recipe.settings, progress=progress)), name)


def _process(recipe: Recipe, name: str) -> Outcome:
    started = time.perf_counter()
    error, stale, products = "", "", []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            products = products_of(recipe, name)
            for line in checks.warnings_of(products[0].series, products[0].region, ctf=recipe.settings.ctf):
                warnings.warn(line, stacklevel=1)
            stale = next((f"{product.path.name}: {product.kept}" for product in products if product.kept), "")
            missing = [] if stale else [product for product in products if product.reason is not None]
            if missing:
                protect([product.path for product in missing], input_files(recipe.source, recipe.extras, name))
                binnings = tuple(dict.fromkeys(product.region.binning for product in products))
                settings = replace(recipe.settings, binnings=binnings)
                reconstruct_many(orders_of(recipe, missing), settings)
        except FourierReconError as problem:
            error = str(problem)
        except MemoryError:
            error = OUT_OF_MEMORY
        except OSError as problem:
            where = f"{problem.filename}: " if problem.filename is not None else ""
            error = OUT_OF_MEMORY if problem.errno == errno.ENOMEM else f"{where}{problem.strerror or problem}"
        except Exception as problem:  # a mistake in this program must not keep the others from being made
            error = f"{type(problem).__name__}: {problem}; this should not happen, please report it"
    notes = tuple(dict.fromkeys(in_one_line(str(warning.message)) for warning in caught))
    made = () if error or stale else tuple(map(made_of, products))
    return Outcome(name, made, error, notes, time.perf_counter() - started, "" if error else stale)


def made_of(product: Product) -> Made:
    """Give what the set's list needs of a product."""
    region = product.region
    width, height, depth = region.size or (n * region.binning for n in region.shape[::-1])
    size = float(width), float(height), float(depth)
    return Made(
        product.path, product.picture, product.part, region.binning, size, product.reason, region.origin,
        product.series.excluded,
    )  # fmt: skip


def run(
    recipe: Recipe,
    names: Sequence[str],
    follow: Callable[[Outcome], Progress | None],
    check: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Process tomograms one after the other.

    Parameters
    ----------
    recipe, names
        As for :func:`process`.
    follow
        Called with an empty outcome before each tomogram, which gives its progress, and with its outcome after it.
    check
        Called before each, and at the end; what it raises ends the run.
    """
    outcomes = []
    for name in names:
        check()
        outcome = process(recipe, name, follow(Outcome(name)))
        follow(outcome)
        outcomes.append(outcome)
    check()
    return outcomes


def _clean(folder: Path) -> None:
    """Remove what is half written; only where nobody else is at work."""
    for place in ("", "tomograms", "projections", "tilt_series"):
        remove_leftovers(folder / place)
