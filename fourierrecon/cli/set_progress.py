"""Screen of the commands on sets: what becomes of each tomogram, and a summary at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console

from fourierrecon.cli.console import ProgressBars, program, say
from fourierrecon.cli.messages_table import in_options
from fourierrecon.runtime.threads import Progress
from fourierrecon.sets.cluster import Cluster
from fourierrecon.sets.follower import Follower
from fourierrecon.sets.outcomes import Outcome
from fourierrecon.sets.recipe import Recipe
from fourierrecon.sets.run import reconstruct_set
from fourierrecon.sets.watching import watch
from fourierrecon.text import quoted


def show_set(
    console: Console,
    recipe: Recipe,
    names: Sequence[str] = (),
    *,
    part: str | None = None,
    quiet: bool = False,
    cluster: Cluster | None = None,
) -> int:
    """Reconstruct a set and show how it goes on; give the exit status: 0, or 1 if a tomogram failed or is stale.

    Parameters
    ----------
    console
        Screen to write to.
    recipe, names, part, cluster
        As for :func:`fourierrecon.sets.reconstruct_set`.
    quiet
        Show only warnings, errors and the summary.

    Raises
    ------
    UsageError, DataError
        If nothing can be done at all.
    """
    speaker = Speaker(console, quiet=quiet)
    outcomes = []
    with closing(speaker):
        for outcome in reconstruct_set(recipe, names, part=part, cluster=cluster, follower=speaker):
            speaker.ends(outcome)
            outcomes.append(outcome)
    done = [outcome for outcome in outcomes if outcome.status == "done"]
    each = f", {sum(outcome.seconds for outcome in done) / len(done):.1f} s each" if done else ""
    there = sum(outcome.status == "there" for outcome in outcomes)
    end = f" (part {part})" if part else ""
    status = _sum_up(console, f"{len(done)} done{each}; {there} there already", outcomes, speaker.path, end)
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed:
        # the same files would fail in the same way
        first = "" if all(outcome.transient for outcome in failed) else "correct what the errors name, then "
        say(console, "next", f"{first}run the same command again: it makes what is missing")
    elif speaker.path is not None:
        say(console, "next", f"{program()} info {quoted(str(speaker.path))}")
    return status


def show_watch(console: Console, recipe: Recipe, *, every: float, idle: float | None, quiet: bool = False) -> int:
    """Reconstruct what comes into a folder and show it, until Ctrl-C or until nothing comes; give the exit status.

    Parameters
    ----------
    console
        Screen to write to.
    recipe, every, idle
        As for :func:`fourierrecon.sets.watch`.
    quiet
        Show only warnings, errors and the summary.

    Raises
    ------
    UsageError, DataError
        If the folder of the products cannot be used.
    """
    speaker = _WatchSpeaker(console, quiet=quiet)
    results: dict[str, Outcome] = {}
    interrupted = False
    try:
        for outcome in watch(recipe, every=every, idle=idle, follower=speaker):
            speaker.tells(outcome, known=outcome.name in results)
            results[outcome.name] = outcome
    except KeyboardInterrupt:
        interrupted = True
    done = sum(outcome.status in ("done", "there") for outcome in results.values())
    status = _sum_up(console, f"{done} done", [*results.values()], speaker.path)
    return 0 if interrupted else status


class Speaker(Follower):
    """Shows on screen how a set goes on.

    Parameters
    ----------
    console
        Screen to write to.
    quiet
        Show only warnings and errors.
    """

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console, self._quiet = console, quiet
        self._total, self._begun = 0, list[str]()
        self._stages: ProgressBars | None = None
        #: The list of tomograms that was written last.
        self.path: Path | None = None

    def starts(self, names: Sequence[str]) -> None:
        """Take the number of tomograms."""
        self._total = len(names)

    def begins(self, name: str) -> Progress | None:
        """Show the name of a tomogram, and on a terminal how far it is."""
        self._count(name)
        if self._quiet or not self._console.is_terminal:
            return None
        self._stages = ProgressBars(self._console).__enter__()
        return self._stages

    def ends(self, outcome: Outcome) -> None:
        """Show what became of a tomogram, its name first if it was made elsewhere."""
        self.close()
        if outcome.name not in self._begun:
            self._count(outcome.name)
        _problems(self._console, outcome)
        if outcome.status in ("done", "there") and not self._quiet:
            for product in outcome.made:
                why = "there already" if product.reason is None else f"made: {product.reason}"
                say(self._console, "", f"{product.path} ({why})")
            _snr(self._console, outcome)

    def notes(self, label: str, text: str) -> None:
        """Show a line."""
        say(self._console, label, in_options(text))

    def lists(self, path: Path | None) -> None:
        """Take the list's place, for the summary."""
        self.path = path

    def close(self) -> None:
        """Take the progress of a tomogram off the screen."""
        if self._stages is not None:
            self._stages.__exit__(None, None, None)
            self._stages = None

    def _count(self, name: str) -> None:
        self._begun.append(name)
        if not self._quiet:
            say(self._console, f"{len(self._begun)}/{self._total}", name)


class _WatchSpeaker(Speaker):
    """Shows what arrives in a folder, a line for each tilt series when it is made."""

    def begins(self, name: str) -> Progress | None:
        """Show nothing: the line comes when the tilt series is made."""
        return None

    def waits(self, text: str) -> None:
        """Show which tilt series is waited for."""
        if not self._quiet:
            self.notes("note", text)

    def tells(self, outcome: Outcome, *, known: bool) -> None:
        """Show in a line what became of a tilt series; nothing if it is known and was left as it is."""
        _problems(self._console, outcome, "; tried again when its files change")
        if outcome.error or outcome.stale or self._quiet or (known and outcome.status == "there"):
            return
        first = outcome.made[0]
        more = f" and {len(outcome.made) - 1} more" if len(outcome.made) > 1 else ""
        why = next((made.reason for made in outcome.made if made.reason), "")
        took = f" in {outcome.seconds:.1f} s ({why})" if why else ""
        say(self._console, outcome.status, f"{first.path}{more}{took}")
        _snr(self._console, outcome)


def _problems(console: Console, outcome: Outcome, then: str = "") -> None:
    """Show warnings, the error of a tomogram that failed, and why one was left as it is."""
    for note in outcome.notes:
        say(console, "warning", f"{outcome.name}: {in_options(note)}")
    if outcome.error:
        say(console, "failed", f"{outcome.name}: {in_options(outcome.error)}{then}")
    elif outcome.stale:
        say(console, "stale", f"{outcome.name}: {in_options(outcome.stale)}")


def _snr(console: Console, outcome: Outcome) -> None:
    """Show the signal-to-noise ratios that were measured."""
    if outcome.specimen and outcome.status == "done":
        say(console, "specimen", outcome.specimen)
    for line in outcome.snr:
        say(console, "SNR", line)


def _sum_up(console: Console, done: str, outcomes: Sequence[Outcome], path: Path | None, end: str = "") -> int:
    """Show how many tomograms are done, which are stale or failed and why, and the list; give the exit status."""
    by: Mapping[str, list[Outcome]] = {
        status: [outcome for outcome in outcomes if outcome.status == status] for status in ("stale", "failed")
    }
    left = f"{len(by['stale'])} left as they are; " if by["stale"] else ""
    say(console, "summary", f"{done}; {left}{len(by['failed'])} failed{end}")
    for status, text in (("stale", "stale"), ("failed", "error")):
        for outcome in by[status]:
            say(console, status, f"{outcome.name}: {in_options(getattr(outcome, text))}")
    if path is not None:
        say(console, "wrote", f"{path}: the list of tomograms, as RELION 5 reads it")
    return 1 if by["failed"] or by["stale"] else 0
