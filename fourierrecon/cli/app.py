"""The command line: its commands, and how errors end it. Commands import heavy modules only when they run."""

from __future__ import annotations

import errno
import gc
import inspect
import io
import os
import resource
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from fourierrecon.cli import (
    check_hand,
    compare,
    convert,
    convert_coords,
    demo,
    extract,
    import_series,
    info,
    plan,
    preview,
    reconstruct,
    report,
    sample,
    simulate,
    tilts,
    watch,
)
from fourierrecon.cli.messages_table import in_options, warning_in_options
from fourierrecon.cli.needs import check_needs, check_repeated
from fourierrecon.cli.options import FLAG
from fourierrecon.cli.other_programs import instead_of
from fourierrecon.cli.view import view
from fourierrecon.errors import OUT_OF_MEMORY, FourierReconError, UsageError

#: Base class of the errors about wrong options: of click itself, or of the copy of click inside newer typer.
_PARSING_ERROR: type[Exception] = typer.BadParameter.__base__ or Exception
#: Address space that numpy and other libraries need, bytes; with less, the process ends while they load.
LIBRARIES = 900_000_000


class _Program(TyperGroup):
    """The program, whose help shows commands by task and no box for the few options that it has itself."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Give the options, hidden: the end of the help names them."""
        found = super().get_params(ctx)
        for option in found:
            option.hidden = True  # type: ignore[attr-defined]
        return found


app = typer.Typer(
    cls=_Program,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    # The second entry takes hyphens where the options of RELION have underscores.
    context_settings={
        "help_option_names": ["--help", "-h"],
        "token_normalize_func": lambda word: word.replace("-", "_"),
    },
    help="Cryo-electron tomograms, reconstructed in Fourier space: a tilt series in, a tomogram out.",
    epilog="Begin with: fourierrecon demo\n\nOptions of a command: fourierrecon COMMAND --help. Version: --version. "
    "The tab key completes commands and options after fourierrecon --install-completion.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"fourierrecon {version('fourierrecon')}")
        raise typer.Exit


@app.callback()
def _everything(
    version: Annotated[
        bool,
        typer.Option("--version", metavar=FLAG, callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


class _Command(TyperCommand):
    """A command that answers for all of its options, and whose help does not open with a box for --help alone."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line; what is given twice is refused."""
        options: dict[str, tuple[str, int]] = {}
        for option in self.params:
            if option.param_type_name == "option":
                name = "" if option.multiple else option.opts[0]
                n_values = 0 if option.is_flag else option.nargs  # type: ignore[attr-defined]
                options |= dict.fromkeys([*option.opts, *option.secondary_opts], (name, n_values))
        check_repeated(args, options)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command, unless an option would do nothing."""
        values, given = {}, []
        for option in self.params:
            name = option.opts[0] if option.param_type_name == "option" else str(option.name)
            values[name] = ctx.params[option.name]
            if ctx.get_parameter_source(option.name).name == "COMMANDLINE":
                given.append(name)
        for line in check_needs(given, values):
            _warn(line)
        return super().invoke(ctx)

    def get_help_option(self, ctx: Any) -> Any:
        """Give the option that shows the help, hidden in the help itself."""
        found = super().get_help_option(ctx)
        if found is not None:
            found.hidden = True
        return found


def _paragraphs(command: Callable[..., object]) -> str:
    """Give the docstring of a command, one line a paragraph, so that the help breaks lines where the terminal ends."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    # lines of examples stay
    return "\n\n".join(text if text.startswith("\b") else " ".join(text.split()) for text in paragraphs)


#: Commands by task, in the order of the help.
_COMMANDS: dict[str, dict[str, Callable[..., object]]] = {
    "Reconstruct": {
        "reconstruct": reconstruct.reconstruct,
        "plan": plan.plan,
        "watch": watch.watch,
        "extract": extract.extract,
    },
    "Look at input and results": {
        "info": info.info,
        "view": view,
        "preview": preview.preview,
        "report": report.report,
        "tilts": tilts.tilts,
        "compare": compare.compare,
        "check-hand": check_hand.check_hand,
    },
    "Exchange files with other programs": {
        "import": import_series.import_series,
        "convert": convert.convert,
        "convert-coords": convert_coords.convert_coords,
    },
    "Try it out": {"demo": demo.demo, "sample": sample.sample, "simulate": simulate.simulate},
}
for _task, _commands in _COMMANDS.items():
    for _name, _command in _commands.items():
        app.command(_name, cls=_Command, help=_paragraphs(_command), rich_help_panel=_task)(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status: 0, 1 for data, 2 for usage, 130 when interrupted.

    Parameters
    ----------
    arguments
        Words after the program's name; default: those of the process. Without any, the help is shown.
    """
    # Libraries make many objects that stay; a search for garbage among them takes a tenth of a second.
    gc.set_threshold(100_000)
    # No step waits for linear algebra, but idle threads of OpenBLAS spin.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # pandas loads Arrow if it is installed, and Arrow reserves a GB of address space, which may be limited.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    for stream in (sys.stdout, sys.stderr):
        # A terminal without Å must not end a run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if 0 <= (limit := resource.getrlimit(resource.RLIMIT_AS)[0]) < LIBRARIES:
        allowed, needed = f"{limit / 1e9:.3g} GB", f"{LIBRARIES / 1e9:g} GB"
        return _fail(f"out of memory: ulimit -v allows {allowed}, the libraries alone take {needed}; raise it", 1)
    command = typer.main.get_command(app)
    try:
        _refuse_empty(words)
        with warnings.catch_warnings(), _ended_like_ctrl_c():
            warnings.showwarning = partial(_show_warning, words[0], set())
            # The list of files that are read, and must not be written over, belongs to one command.
            status = copy_context().run(command.main, words, prog_name="fourierrecon", standalone_mode=False)
    except FourierReconError as error:
        return _fail(in_options(str(error), words[0]), error.exit_status)
    except _PARSING_ERROR as error:
        return _fail(_explain(error, words), 2)
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except MemoryError:
        return _fail(in_options(OUT_OF_MEMORY), 1)
    except ImportError as error:
        # The loader of libraries reports a lack of memory in these words.
        if any(words in str(error) for words in ("failed to map segment", "Cannot allocate memory")):
            return _fail(in_options(OUT_OF_MEMORY), 1)
        raise
    except OSError as error:
        if error.errno == errno.ENOMEM:
            return _fail(in_options(OUT_OF_MEMORY), 1)
        where = f"{error.filename}: " if error.filename is not None else ""
        return _fail(f"{where}{error.strerror or error}", 1)
    return _fail("interrupted", 130) if status == 130 else int(status or 0)


def _refuse_empty(words: Sequence[str]) -> None:
    """Refuse empty words: a variable of the shell that is not set leaves one.

    Raises
    ------
    UsageError
        If there is one.
    """
    for number, word in enumerate(words):
        option, equals, value = word.partition("=")
        before = words[number - 1] if number and words[number - 1].startswith("-") else ""
        what = option if equals and option.startswith("--") else before or "an argument"
        if not (value if what == option else word).strip():
            raise UsageError(f"{what} is empty; give a value (was a variable of the shell not set?)")


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Let signals that ask for the end do the same as Ctrl-C, so that files that are not complete are removed."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    # Python sets signals in its main thread only; signals that are ignored, as by nohup, stay ignored.
    mine = threading.current_thread() is threading.main_thread()
    asked = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in asked if mine else ():
            signal.signal(number, end)
        yield
    finally:
        for number in asked if mine else ():
            signal.signal(number, signal.SIG_DFL)


def _explain(error: Exception, words: Sequence[str]) -> str:
    """Say what was wrong with the options, and where to look."""
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if getattr(error, "option_name", "") and (answer := instead_of(words) or _with_two_hyphens(words)):
        return answer
    known = any(words[0] in commands for commands in _COMMANDS.values())
    command = f" {words[0]}" if known else ""
    return f"{' '.join(message.split())}\nsee fourierrecon{command} --help"


def _with_two_hyphens(words: Sequence[str]) -> str:
    """Answer the first option that was written with one hyphen instead of two; an empty text if there is none."""
    command: Any = typer.main.get_command(app).commands.get(words[0])  # type: ignore[attr-defined]
    ours = {name for option in (command.params if command else ()) for name in option.opts}
    one_hyphen = (word.partition("=")[0] for word in words[1:] if word.startswith("-") and not word.startswith("--"))
    return next(
        (f"no option {word}; write it with two hyphens: -{word}" for word in one_hyphen if f"-{word}" in ours), ""
    )


def _show_warning(command: str, said: set[str], message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as one line, without the place in the code that Python adds; once where a file is read twice."""
    line = warning_in_options(str(message), command)
    if line not in said:
        said.add(line)
        _warn(line)


def _warn(line: str) -> None:
    from fourierrecon.cli.console import say, screen

    say(screen(stderr=True), "warning", line)


def _fail(message: str, status: int) -> int:
    from fourierrecon.cli.console import fail

    fail(message)
    return status
