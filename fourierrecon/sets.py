"""What ``reconstruct`` does with a whole set: says what goes on, runs it, writes the list of tomograms, sums up."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from fourierrecon import batch
from fourierrecon.batch import Outcome
from fourierrecon.cluster import Cluster
from fourierrecon.console import Stages, program, say
from fourierrecon.denoising import Pair, write_lists
from fourierrecon.errors import FourierReconError, UsageError
from fourierrecon.io import read_series
from fourierrecon.io.own_list import LIST, check_replaceable, read_own_list, remove_own_list
from fourierrecon.io.relion import Entry
from fourierrecon.io.set_list import BINNING, PICTURES, SIZES, VOLUMES, write_set_list
from fourierrecon.io.shared_images import shared_images
from fourierrecon.io.sources import check_single
from fourierrecon.io.star import find_set
from fourierrecon.io.star_text import write_word
from fourierrecon.keys import has_inputs
from fourierrecon.listing import Listed
from fourierrecon.outcomes import keep_outcomes, read_outcomes
from fourierrecon.parallel import Progress
from fourierrecon.products import Recipe, products_of
from fourierrecon.text import quoted


class Speaker:
    """Says on screen how a set goes on.

    Parameters
    ----------
    console
        Where to.
    total
        Number of tomograms.
    quiet
        Say only what is wrong.
    """

    def __init__(self, console: Console, total: int, *, quiet: bool) -> None:
        self._console, self._total, self._quiet, self._number = console, total, quiet, 0
        self._stages: Stages | None = None

    def __call__(self, outcome: Outcome) -> Progress | None:
        """Say that a tomogram begins (an outcome of nothing), or what became of it."""
        if not (outcome.made or outcome.error or outcome.stale):
            self._count(outcome)
            if self._quiet or not self._console.is_terminal:
                return None
            self._stages = Stages(self._console).__enter__()
            return self._stages
        if self._stages is not None:
            self._stages.__exit__(None, None, None)
            self._stages = None
        self.tell(outcome)
        return None

    def finished(self, outcome: Outcome) -> None:
        """Say what became of a tomogram that was made elsewhere."""
        self._count(outcome)
        self.tell(outcome)

    def _count(self, outcome: Outcome) -> None:
        self._number += 1
        if not self._quiet:
            say(self._console, f"{self._number}/{self._total}", outcome.name)

    def tell(self, outcome: Outcome) -> None:
        """Say what became of a tomogram."""
        for note in outcome.notes:
            say(self._console, "warning", f"{outcome.name}: {note}")
        if outcome.error:
            say(self._console, "failed", f"{outcome.name}: {outcome.error}")
        elif outcome.stale:
            say(self._console, "stale", f"{outcome.name}: {outcome.stale}")
        elif not self._quiet:
            for product in outcome.made:
                why = "there already" if product.reason is None else f"made: {product.reason}"
                say(self._console, "", f"{product.path} ({why})")


def reconstruct_set(
    console: Console,
    recipe: Recipe,
    patterns: Sequence[str],
    *,
    part: str | None = None,
    quiet: bool = False,
    cluster: Cluster | None = None,
) -> int:
    """Reconstruct a set, and give the exit status: 0, or 1 if a tomogram failed or another one is in its place.

    Parameters
    ----------
    console
        Where to say what goes on.
    recipe
        What is to be made.
    patterns
        Of the tomograms' names; all if there are none.
    part
        ``i/n``, if other processes do the rest.
    quiet
        Say only what is wrong, and the summary.
    cluster
        Where to make them; default: here.

    Raises
    ------
    UsageError, DataError
        If nothing can be done at all.
    """
    chosen = batch.choose_names(recipe.source, patterns, recipe.extras)
    check_single(recipe.extras, chosen)
    batch.check_names(recipe, chosen)
    names = batch.shard(chosen, part)
    protect_set(recipe)
    with batch.locked(recipe.folder, part) as check:
        speaker = Speaker(console, len(names), quiet=quiet)
        shared = {name: line for name, line in shared_images(recipe.source).items() if name in names}
        for name, line in shared.items():
            say(console, "warning", f"{name}: {line}")
        if cluster is None:
            outcomes = batch.run(recipe, names, speaker, check)
        else:
            outcomes = cluster.run(recipe, names, speaker.finished, lambda text: say(console, "cluster", text), check)
        outcomes = [
            replace(outcome, notes=(*outcome.notes, shared[outcome.name])) if outcome.name in shared else outcome
            for outcome in outcomes
        ]
        path, problem = None, ""
        with batch.taking_turns(recipe.folder):
            try:
                path = write_list(recipe, outcomes)
            except UsageError as error:
                problem = str(error)
            # a list of before is right as long as what it names was not made anew
            if path is None and not (problem and _is_right(recipe.folder, outcomes)) and remove_own_list(recipe.folder):
                problem = problem or "nothing that it listed is as it was"
            if "denoising" in recipe.companions:
                write_denoising_lists(recipe, outcomes)
        if problem:
            say(console, "note", f"no {recipe.folder / LIST}: {problem}")
        keep_outcomes(recipe, outcomes, part)
    return sum_up(console, recipe, outcomes, path, part)


def _is_right(folder: Path, outcomes: Sequence[Outcome]) -> bool:
    """Tell whether the list that is there names none of the volumes that were made anew."""
    listed = {word for entry in read_own_list(folder).values() for word in entry.overview.get(VOLUMES[""], [])}
    return not any(
        product.reason is not None and str(product.path) in listed for outcome in outcomes for product in outcome.made
    )


def protect_set(recipe: Recipe) -> None:
    """Refuse to write the list of tomograms, or what became of them, over what no run on a set wrote, or what is read.

    Raises
    ------
    UsageError, DataError
        If it would be, or if a STAR file cannot hold the names of the folders.
    """
    for path in (recipe.source, recipe.folder):
        write_word(str(path.absolute()))  # the list has to name what lies there
    target = recipe.folder / LIST
    if target.exists() and recipe.source.is_file():
        read = [recipe.source]
        if recipe.source.suffix.lower() == ".star":
            read.append(find_set(recipe.source)[0])
        if any(path.exists() and target.samefile(path) for path in read):
            raise UsageError(f"--o {recipe.folder}: {target} is the set that is read; give another folder")
    check_replaceable([target])
    read_outcomes(recipe.folder)


def write_list(recipe: Recipe, outcomes: Sequence[Outcome]) -> Path | None:
    """Write ``tomograms.star`` of all tomograms that are there, those of other runs into this folder included.

    Raises
    ------
    UsageError
        If RELION could not make these volumes from a list, nor read them.
    DataError
        If a file cannot be read or written.
    """
    results = {outcome.name: outcome for outcome in outcomes if outcome.made}
    # notes are of one tilt series: of that which was made now
    others, rest = {}, replace(recipe, extras=replace(recipe.extras, mdoc=None))
    done = {outcome.name for outcome in outcomes if not outcome.stale}
    files = [path.name for path in (recipe.folder / "tomograms").glob("rec_*")]
    earlier, carried = read_own_list(recipe.folder), []
    for name in batch.choose_names(recipe.source, (), recipe.extras):
        # of many tomograms, most are not there yet: nothing to be read for these
        if name not in done and any(file.startswith(f"rec_{name}") for file in files):
            found = _found(rest, name, earlier.get(name))
            if isinstance(found, Entry):
                carried.append(found)
            elif found is not None:
                others[name] = found
    groups = [(by, made) for by, made in ((recipe, results), (rest, others)) if made]
    return list_tomograms(recipe.folder, groups or [(recipe, {})], carried) if groups or carried else None


def list_tomograms(
    folder: Path, groups: Sequence[tuple[Recipe, Mapping[str, Outcome]]], carried: Sequence[Entry] = ()
) -> Path | None:
    """Write ``tomograms.star``; None if no tomogram can be named there.

    Parameters
    ----------
    folder
        Of the products.
    groups
        Of one set of RELION, or of any number of tilt series: recipe, and what became of its tomograms by name.
    carried
        Tomograms of the list that is there, which stay in it as they are.

    Raises
    ------
    UsageError, DataError
        As :func:`write_list`.
    """
    words = {name: words_of(outcome) for _, results in groups for name, outcome in results.items()}
    listed = [Listed(recipe, {name: o.made[0] for name, o in results.items()}) for recipe, results in groups]
    recipe = groups[0][0]
    for one in listed:
        one.check()
    if recipe.source.suffix.lower() == ".star":
        placed = {name: place for one in listed for name, place in one.placed().items()}
        return write_set_list(folder, recipe.source, words, placed=placed, carried=carried)
    entries = [entry for one in listed for entry in one.entries(folder)]
    return write_set_list(folder, recipe.source, words, entries, carried=carried) if entries or carried else None


def write_denoising_lists(recipe: Recipe, outcomes: Sequence[Outcome]) -> list[Path]:
    """List the half volumes for programs that denoise; of several binnings and weightings the first."""
    pairs = []
    for outcome in outcomes:
        files: dict[str, Path] = {}
        for product in outcome.made:
            files.setdefault(product.part, product.path)
        if {"", "Even", "Odd"} <= files.keys():
            series = read_series(recipe.source, outcome.name, recipe.extras)
            least = int(np.argmin(np.abs(series.tilt_angles)))
            defocus = (
                0.0 if series.ctf is None else float(series.ctf.defocus_u[least] + series.ctf.defocus_v[least]) / 2
            )
            voxel_size = series.pixel_size * outcome.made[0].binning
            pairs.append(Pair(outcome.name, files[""], files["Even"], files["Odd"], voxel_size, defocus))
    return write_lists(recipe.folder / "denoising", pairs) if pairs else []


def _found(recipe: Recipe, name: str, earlier: Entry | None) -> Outcome | Entry | None:
    """Give the outcome of a tomogram that this run did not touch, if all its products are there.

    One that was made with other options stays in the list as it was, as long as its alignment is the same.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they were told of those that this run is about
            products = products_of(replace(recipe, resume=True, redo=()), name)
    except (FourierReconError, OSError):
        return None
    if not any(product.reason is not None or product.kept for product in products):
        return Outcome(name, tuple(map(batch.made_of, products)))
    volume = "" if earlier is None else earlier.overview.get(VOLUMES[""], [""])[0]
    return earlier if volume and has_inputs(Path(volume), products[0].key) else None


def words_of(outcome: Outcome) -> dict[str, str]:
    """Give the columns of a tomogram in the list; of several binnings and weightings the first counts."""
    first = outcome.made[0]
    words = dict(zip(SIZES, (f"{n:.10g}" for n in first.size), strict=True))
    words[BINNING] = f"{first.binning:.10g}"
    for product in outcome.made:
        words.setdefault(VOLUMES[product.part], str(product.path))
        if product.picture is not None:
            words.setdefault(PICTURES[product.part], str(product.picture))
    return words


def sum_up(console: Console, recipe: Recipe, outcomes: Sequence[Outcome], path: Path | None, part: str | None) -> int:
    """Say how many tomograms are done, and which failed and why; give the exit status."""
    by: Mapping[str, list[Outcome]] = {
        status: [outcome for outcome in outcomes if outcome.status == status]
        for status in ("done", "there", "stale", "failed")
    }
    seconds = sum(outcome.seconds for outcome in by["done"])
    each = f", {seconds / len(by['done']):.1f} s each" if by["done"] else ""
    say(
        console,
        "summary",
        f"{len(by['done'])} done{each}; {len(by['there'])} there already; "
        + f"{len(by['stale'])} left as they are; " * bool(by["stale"])
        + f"{len(by['failed'])} failed"
        + (f" (part {part})" if part else ""),
    )
    for outcome in by["stale"]:
        say(console, "stale", f"{outcome.name}: {outcome.stale}")
    for outcome in by["failed"]:
        say(console, "failed", f"{outcome.name}: {outcome.error}")
    if path is not None:
        say(console, "wrote", f"{path}: the list of tomograms, as RELION 5 reads it")
    if by["failed"]:
        say(console, "next", "run the same command again: it makes what is missing")
    elif path is not None:
        say(console, "next", f"{program()} info {quoted(str(path))}")
    return 1 if by["failed"] or by["stale"] else 0
