"""Screen of the commands on sets: how far the set is, what becomes of each tomogram, and a summary at the end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from fourierrecon.cli.console import announcing_compilation, program, say
from fourierrecon.cli.messages_table import in_options
from fourierrecon.cli.set_bars import SetBars
from fourierrecon.cli.set_summary import Messages, describe_recipe, remedy, sum_up
from fourierrecon.runtime.threads import Progress
from fourierrecon.sets.cluster import Cluster
from fourierrecon.sets.follower import Follower
from fourierrecon.sets.outcomes import Outcome
from fourierrecon.sets.recipe import Recipe
from fourierrecon.sets.records import outcomes_path
from fourierrecon.sets.run import reconstruct_set
from fourierrecon.sets.watching import watch
from fourierrecon.text import counted, quoted
from fourierrecon.weighting.snr import STATED


def show_set(
    console: Console,
    recipe: Recipe,
    names: Sequence[str] = (),
    *,
    part: str | None = None,
    quiet: bool = False,
    cluster: Cluster | None = None,
) -> int:
    """Reconstruct a set and show how it goes on; give the exit status of :func:`sum_up`.

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
    outcomes: list[Outcome] = []
    with SetScreen(console, recipe, quiet=quiet) as screen:
        try:
            for outcome in reconstruct_set(recipe, names, part=part, cluster=cluster, follower=screen):
                screen.ends(outcome)
                outcomes.append(outcome)
        except KeyboardInterrupt:
            screen.close()
            say(console, "next", "run the same command again: it goes on where this one ended")
            raise
    where = outcomes_path(recipe.folder, part)
    screen.messages.rest(where)
    done = [outcome for outcome in outcomes if outcome.status == "done"]
    each = f", {sum(outcome.seconds for outcome in done) / len(done):.1f} s each" if done else ""
    already = sum(outcome.status == "there" for outcome in outcomes)
    end = f" (part {part})" if part else ""
    text = f"{len(done)} done{each}; {already} there already"
    status = sum_up(console, text, outcomes, screen.path, end=end, repeat=not screen.lively, where=where)
    if recipe.thumbnails and done:
        say(console, "pictures", f"{recipe.folder / 'thumbnails'}: the central section of each")
    if any(outcome.error for outcome in outcomes):
        if text := remedy(outcomes):
            say(console, "next", text)
    elif screen.path is not None:
        say(console, "next", f"{program()} info {quoted(str(screen.path))}")
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
    interrupted = False
    with WatchScreen(console, recipe, quiet=quiet) as screen:
        try:
            for outcome in watch(recipe, every=every, idle=idle, follower=screen):
                screen.ends(outcome)
        except KeyboardInterrupt:
            interrupted = True
    where = outcomes_path(recipe.folder)
    screen.messages.rest(where)
    done, already = screen.good
    text = f"{done} done" + f"; {already} there already" * (already > 0)
    status = sum_up(console, text, screen.outcomes, screen.path, repeat=not screen.lively, where=where)
    return 0 if interrupted else status


class SetScreen(Follower):
    """Shows how a set goes on: on a terminal bars that go at the end, elsewhere a line a tomogram.

    Parameters
    ----------
    console
        Screen to write to.
    recipe
        What is made.
    quiet
        Show only warnings and errors.
    """

    def __init__(self, console: Console, recipe: Recipe, *, quiet: bool) -> None:
        self._console, self._recipe, self._quiet = console, recipe, quiet
        self._total, self._ended = 0, 0
        self._bars: SetBars | None = None
        self._open = ExitStack()
        self.messages = Messages(console)
        #: Whether there are bars, and what is done leaves no line.
        self.lively = console.is_terminal and not quiet
        #: The list of tomograms that was written last.
        self.path: Path | None = None

    def __enter__(self) -> SetScreen:
        self._open.enter_context(announcing_compilation(self._console))
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the bars off the screen."""
        self._open.close()
        self._bars = None

    def starts(self, names: Sequence[str]) -> None:
        """Show how the tomograms are made, and the bar of the set."""
        self._total = len(names)
        if not self._quiet:
            many = counted(len(names), "tomogram")
            say(self._console, "set", f"{many} of {self._recipe.source} into {self._recipe.folder}")
            describe_recipe(self._console, self._recipe, names[0] if names else None)
        if self.lively:
            self._bars = self._open.enter_context(SetBars(self._console, self._total))

    def begins(self, name: str) -> Progress | None:
        """Show the line of a tomogram on a terminal."""
        if self._bars is None:
            return None
        self._bars.begin(name)
        return self._bars.step

    def ends(self, outcome: Outcome) -> None:
        """Show what became of a tomogram: on a terminal only what is wrong, elsewhere a line."""
        self._ended += 1
        self.warnings(outcome)
        if self._bars is not None:
            self._bars.end(outcome.status, outcome.seconds)
        if self.lively:
            self.problem(outcome)
        elif not self._quiet or outcome.error or outcome.stale:
            say(self._console, f"{self._ended}/{self._total}", line_of(outcome))

    def warnings(self, outcome: Outcome) -> None:
        """Show what was noticed about a tomogram."""
        assumed = [f"SNR {line.rpartition(': ')[0]}" for line in outcome.snr if STATED.origin in line]
        for note in (*outcome.notes, *assumed):
            self.messages.show("warning", outcome.name, note)
        for line in outcome.images if self.lively else ():
            self.messages.show("images", outcome.name, line)

    def problem(self, outcome: Outcome) -> None:
        """Show why a tomogram failed, or was left as it is."""
        if outcome.error or outcome.stale:
            self.messages.show(outcome.status, outcome.name, outcome.error or outcome.stale)

    def notes(self, label: str, text: str) -> None:
        """Show a line."""
        say(self._console, label, in_options(text))

    def lists(self, path: Path | None) -> None:
        """Take the list's place, for the summary."""
        self.path = path


class WatchScreen(SetScreen):
    """Shows what arrives in a folder: on a terminal one line that changes, elsewhere a line when something is made."""

    def __enter__(self) -> WatchScreen:
        super().__enter__()
        self._results: dict[str, Outcome] = {}
        self._made: set[str] = set()
        if not self._quiet:
            describe_recipe(self._console, self._recipe, None)
        if self.lively:
            self._bars = self._open.enter_context(SetBars(self._console, None, "watching"))
        return self

    @property
    def outcomes(self) -> list[Outcome]:
        """What became of each tilt series the last time."""
        return [*self._results.values()]

    @property
    def good(self) -> tuple[int, int]:
        """Numbers of tomograms that were made since the start, and that were there before."""
        names = [name for name, outcome in self._results.items() if outcome.status in ("done", "there")]
        done = sum(name in self._made for name in names)
        return done, len(names) - done

    def waits(self, text: str) -> None:
        """Show which tilt series is waited for."""
        if self._bars is not None and text.startswith("waiting"):
            self._bars.wait(in_options(text))
        elif not self._quiet:
            self.notes("note", text)

    def ends(self, outcome: Outcome) -> None:
        """Show what became of a tilt series; nothing if it is known and was left as it is."""
        known = outcome.name in self._results
        self._results[outcome.name] = outcome
        if outcome.status == "done":
            self._made.add(outcome.name)
        self.warnings(outcome)
        if self._bars is not None:
            done, there = self.good
            self._bars.recount(done, there, len(self._results) - done - there)
        if outcome.error or outcome.stale:
            text = f"{outcome.error}; tried again when its files change" if outcome.error else outcome.stale
            if self.lively:
                self.messages.show(outcome.status, outcome.name, text)
            else:
                say(self._console, outcome.status, f"{outcome.name}: {in_options(text)}")
        elif not (self._quiet or self.lively or (known and outcome.status == "there")):
            say(self._console, outcome.status, line_of(outcome))


def line_of(outcome: Outcome) -> str:
    """Say in one line what became of a tomogram.

    Parameters
    ----------
    outcome
        What became of it.
    """
    if outcome.error or outcome.stale:
        return f"{outcome.name} {outcome.status}: {in_options(outcome.error or outcome.stale)}"
    first, *others = outcome.made
    files = f"{first.path}{f' and {len(others)} more' * bool(others)}"
    reasons = ", ".join(dict.fromkeys(made.reason for made in outcome.made if made.reason is not None))
    how = f"made in {outcome.seconds:.1f} s: {reasons}" if reasons else "there already"
    specimen = f"; specimen {outcome.specimen}" if outcome.specimen else ""
    return f"{outcome.name}: {files} ({'; '.join([how, *outcome.images])}){specimen}"
