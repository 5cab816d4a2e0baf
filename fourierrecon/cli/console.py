"""The screen of all commands: labelled lines, errors and progress; plain lines where there is no terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import which
from types import TracebackType
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.text import Text

from fourierrecon.text import quoted, visible

#: Width of tables that go to a file or a pipe, characters.
PLAIN_WIDTH = 160


class _Screen(Console):
    """A console on which names and values from files show what they are, and cannot steer the terminal."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Turn a string into text, before its place in a table is measured."""
        return super().render_str(visible(text, lines=True), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Turn anything into pieces of text; only those that are the console's own control the terminal."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text, lines=True), style, control)


def screen(*, stderr: bool = False) -> Console:
    """Give a console that takes every string as it is: no markup in file names, no numbers in colour.

    Parameters
    ----------
    stderr
        Write to the error stream, not to the output.
    """
    console = _Screen(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = _Screen(stderr=stderr, markup=False, highlight=False, emoji=False, width=PLAIN_WIDTH)
    return console


def say(console: Console, label: str, text: str) -> None:
    """Print one labelled line; it is not wrapped, so that a path stays in one piece.

    Parameters
    ----------
    console
        Screen to write to.
    label
        One word for the subject of the line.
    text
        Rest of the line.
    """
    console.print(Text.assemble((f"{label:<10}", "bold"), visible(text)), soft_wrap=True)


def program() -> str:
    """Give the name that this program can be called by, for commands that people copy."""
    if which("fourierrecon") is not None or Path(sys.argv[0]).stem != "fourierrecon":
        return "fourierrecon"
    return quoted(sys.argv[0])


def fail(message: str) -> None:
    """Print an error, one or two lines, on the error stream.

    Parameters
    ----------
    message
        Fault and remedy.
    """
    screen(stderr=True).print(Text.assemble(("error: ", "bold red"), message.strip()), soft_wrap=True)


@contextmanager
def announcing_compilation(console: Console) -> Iterator[None]:
    """Say so if loops are compiled meanwhile; the first run on a machine compiles them.

    Parameters
    ----------
    console
        Screen to write to.
    """
    from fourierrecon.runtime.compiled import noticing_compilation

    with noticing_compilation(lambda: say(console, "note", "compiling loops, once on this machine: about ten seconds")):
        yield


class ProgressBars:
    """Progress of a computation: on a terminal a bar a stage, gone at the end; elsewhere a line a stage when done.

    A context manager; call it as ``stages(stage, done, total)``, from any thread.

    Parameters
    ----------
    console
        Screen to write to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._started: dict[str, float] = {}
        self._furthest: dict[str, int] = {}
        self._tasks: dict[str, TaskID] = {}
        self._bars: Progress | None = None
        self._open = ExitStack()
        if console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description:<24}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console,
                transient=True,
            )

    def __enter__(self) -> ProgressBars:
        self._open.enter_context(announcing_compilation(self._console))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Say how far a stage is.

        Parameters
        ----------
        stage
            Name of the stage.
        done, total
            Number of parts that are done, and of all parts. Threads may report out of order.
        """
        with self._lock:
            if done == 0:
                # A stage may run more than once.
                self._furthest.pop(stage, None)
                self._started.pop(stage, None)
                self._tasks.pop(stage, None)
            if done <= self._furthest.get(stage, -1):
                return
            self._furthest[stage] = done
            started = self._started.setdefault(stage, time.perf_counter())
            if self._bars is None:
                if done >= total:
                    say(self._console, "done", f"{stage} ({total}) in {time.perf_counter() - started:.1f} s")
                return
            if not self._tasks and not self._bars.live.is_started:
                # an empty display would leave an empty line before the first stage
                self._open.enter_context(self._bars)
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=total)
            self._bars.update(self._tasks[stage], completed=done, total=total)


def size_of(path: Path) -> str:
    """Give the size of a file, or of all files in a folder, as text: ``1.2 MB``.

    Parameters
    ----------
    path
        File or folder.
    """
    return in_bytes(sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path])))


def in_bytes(size: float) -> str:
    """Give a number of bytes as text: ``1.2 MB``.

    Parameters
    ----------
    size
        Number of bytes.
    """
    scale, unit = next((pair for pair in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if size >= pair[0]), (1, "bytes"))
    return f"{size / scale:.3g} {unit}"
