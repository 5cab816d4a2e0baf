"""What is on the screen while a set is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from fourierrecon.cli.console import ProgressBars, program, say
from fourierrecon.cli.messages_table import in_options
from fourierrecon.errors import UsageError
from fourierrecon.io.relion.own_list import LIST, remove_own_list
from fourierrecon.io.shared_images import shared_images
from fourierrecon.io.tilt_series import check_single
from fourierrecon.runtime.threads import Progress
from fourierrecon.sets import lock, run
from fourierrecon.sets.cluster import Cluster
from fourierrecon.sets.lists import _is_right, protect_set, write_denoising_lists, write_list
from fourierrecon.sets.outcomes import keep_outcomes
from fourierrecon.sets.recipe import Recipe
from fourierrecon.sets.run import Outcome
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
        self._stages: ProgressBars | None = None

    def __call__(self, outcome: Outcome) -> Progress | None:
        """Say that a tomogram begins (an outcome of nothing), or what became of it."""
        if not (outcome.made or outcome.error or outcome.stale):
            self._count(outcome)
            if self._quiet or not self._console.is_terminal:
                return None
            self._stages = ProgressBars(self._console).__enter__()
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
            say(self._console, "warning", f"{outcome.name}: {in_options(note)}")
        if outcome.error:
            say(self._console, "failed", f"{outcome.name}: {in_options(outcome.error)}")
        elif outcome.stale:
            say(self._console, "stale", f"{outcome.name}: {in_options(outcome.stale)}")
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
    chosen = run.choose_names(recipe.source, patterns, recipe.extras)
    check_single(recipe.extras, chosen)
    run.check_names(recipe, chosen)
    names = run.shard(chosen, part)
    protect_set(recipe)
    with lock.locked(recipe.folder, part) as check:
        speaker = Speaker(console, len(names), quiet=quiet)
        shared = {name: line for name, line in shared_images(recipe.source).items() if name in names}
        for name, line in shared.items():
            say(console, "warning", f"{name}: {in_options(line)}")
        if cluster is None:
            outcomes = run.run(recipe, names, speaker, check)
        else:
            outcomes = cluster.run(recipe, names, speaker.finished, lambda text: say(console, "cluster", text), check)
        outcomes = [
            replace(outcome, notes=(*outcome.notes, shared[outcome.name])) if outcome.name in shared else outcome
            for outcome in outcomes
        ]
        path, problem = None, ""
        with lock.taking_turns(recipe.folder):
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
            say(console, "note", f"no {recipe.folder / LIST}: {in_options(problem)}")
        keep_outcomes(recipe, outcomes, part)
    return sum_up(console, recipe, outcomes, path, part)


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
        say(console, "stale", f"{outcome.name}: {in_options(outcome.stale)}")
    for outcome in by["failed"]:
        say(console, "failed", f"{outcome.name}: {in_options(outcome.error)}")
    if path is not None:
        say(console, "wrote", f"{path}: the list of tomograms, as RELION 5 reads it")
    if by["failed"]:
        say(console, "next", "run the same command again: it makes what is missing")
    elif path is not None:
        say(console, "next", f"{program()} info {quoted(str(path))}")
    return 1 if by["failed"] or by["stale"] else 0
