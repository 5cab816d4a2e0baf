"""Progress of a run on a set, on a terminal: a bar for the set, and under it a line for the tomogram that runs."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from fourierrecon.text import visible

#: Width of names and of bars, characters.
NAME, BAR = 16, 24


class SetBars:
    """A bar for a set, which stays until the end, and a line for a tomogram, which goes when that is done.

    A context manager; nothing of it stays on the screen. Where the screen is no terminal it shows nothing.

    Parameters
    ----------
    console
        Screen to write to.
    total
        Number of tomograms; None: not known, as where a folder is watched.
    label
        Word before the bar.
    """

    def __init__(self, console: Console, total: int | None, label: str = "progress") -> None:
        self._lock = threading.Lock()
        self._bars: Progress | None = None
        self._total, self._label, self._waiting = total, label, ""
        self._counts = {"done": 0, "there": 0, "stale": 0, "failed": 0}
        self._seconds, self._started = 0.0, time.monotonic()
        self._current: TaskID | None = None
        self._stage, self._furthest = "", -1
        if console.is_terminal:
            columns = (
                TextColumn(f"{{task.description:<{NAME}}}", style="bold", markup=False),
                BarColumn(BAR),
                TextColumn("{task.fields[text]}", markup=False),
            )
            self._bars = Progress(*columns, console=console, transient=True)
            self._set = self._bars.add_task(label, total=total, text=self._words())

    def __enter__(self) -> SetBars:
        if self._bars is not None:
            self._bars.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.__exit__(kind, error, trace)

    def begin(self, name: str) -> None:
        """Show the line of a tomogram.

        Parameters
        ----------
        name
            Its name.
        """
        with self._lock:
            self._stage, self._furthest = "", -1
            if self._bars is not None:
                self._clear()
                self._current = self._bars.add_task(_short(name), total=1, text="reading")

    def step(self, stage: str, done: int, total: int) -> None:
        """Show how far the tomogram is; called from any thread, perhaps out of order.

        Parameters
        ----------
        stage
            Name of the stage.
        done, total
            Number of parts that are done, and of all parts.
        """
        with self._lock:
            if done == 0 or stage != self._stage:
                self._stage, self._furthest = stage, -1
            if done <= self._furthest or self._bars is None or self._current is None:
                return
            self._furthest = done
            self._bars.update(self._current, completed=done, total=max(total, 1), text=f"{stage} {done}/{total}")

    def end(self, status: str, seconds: float) -> None:
        """Count a tomogram, and remove its line.

        Parameters
        ----------
        status
            Its status, as of :class:`~fourierrecon.sets.outcomes.Outcome`.
        seconds
            Time that it took.
        """
        with self._lock:
            self._counts[status] += 1
            self._seconds += seconds if status == "done" else 0.0
            if self._bars is not None:
                self._clear()
                self._bars.update(self._set, completed=sum(self._counts.values()), text=self._words())

    def recount(self, done: int, there: int, failed: int) -> None:
        """Take counts where a tomogram may be made several times, as where a folder is watched."""
        with self._lock:
            self._counts |= {"done": done, "there": there, "stale": 0, "failed": failed}
            self._waiting = ""
            if self._bars is not None:
                self._clear()
                self._bars.update(self._set, text=self._words())

    def wait(self, text: str) -> None:
        """Show in the line of the set what is waited for."""
        with self._lock:
            self._waiting = text
            if self._bars is not None:
                self._bars.update(self._set, text=self._words())

    def _clear(self) -> None:
        if self._bars is not None and self._current is not None:
            self._bars.remove_task(self._current)
            self._current = None

    def _words(self) -> str:
        """Say how many are done, how many failed, and how long the rest will take."""
        finished = sum(self._counts.values())
        parts = [f"{self._counts['done']} done" if self._total is None else f"{finished}/{self._total}"]
        there = self._counts["there"] if self._total is None else 0
        parts += [f"{there} there already"] if there else []
        wrong = self._counts["failed"]
        parts += [f"{wrong} failed"] if wrong else []
        parts += [f"{self._counts['stale']} stale"] if self._counts["stale"] else []
        made = self._counts["done"]
        if self._total is not None and made and finished < self._total:
            # on a cluster several are made at a time, so the clock counts, not the sum of their times
            each = min(self._seconds, time.monotonic() - self._started) / made
            parts.append(f"{duration(each * (self._total - finished))} left")
        return ", ".join([*parts, *filter(None, [self._waiting])])


def duration(seconds: float) -> str:
    """Give a time as people say it: ``40 s``, ``12 min``, ``3.5 h``.

    Parameters
    ----------
    seconds
        The time.
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _short(name: str) -> str:
    """Cut a long name in the middle; what does not print is escaped."""
    name = visible(name)
    return name if len(name) <= NAME else f"{name[: NAME // 2]}…{name[1 - NAME // 2 :]}"
