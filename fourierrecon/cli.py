"""The command line: parse, read, call, write. No numerics; heavy imports only inside the commands."""

from __future__ import annotations

import errno
import gc
import io
import os
import resource
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Annotated

import typer

from fourierrecon import converting, coordinates, examples, importing, reconstructing, reporting, viewing, watching
from fourierrecon.errors import OUT_OF_MEMORY, DataError, FourierReconError, UsageError
from fourierrecon.options import (
    FLAG,
    X0,
    Y0,
    Z0,
    Aberration,
    Binning,
    Contrast,
    Ctf,
    CtfMode,
    Depth,
    Dtype,
    Exposure,
    FlipHand,
    Float16,
    Height,
    KeepMean,
    Like,
    Memory,
    Notes,
    NoWeight,
    OptimisationSet,
    OutputToBe,
    Passport,
    Picture,
    PixelSize,
    PreWeight,
    ScratchFolder,
    SkipBadImages,
    Snr,
    Stack,
    TaperDistance,
    TaperFalloff,
    Threads,
    TiltOffset,
    TiltWeight,
    TomogramName,
    TomogramSet,
    Voltage,
    VoxelSize,
    WeightingText,
    Width,
    XTilt,
    ZShift,
)
from fourierrecon.text import in_one_line, in_options, quoted
from fourierrecon.view import view

#: The base of everything that typer says about wrong options (newer versions carry their own click).
_PARSING_ERROR: type[Exception] = typer.BadParameter.__base__ or Exception

#: Options of RELION that do not exist here, and what to do instead.
_ELSEWHERE = {
    "--Fc": "binning is always by Fourier cropping here: leave it out",
    "--fourier": "reconstruction is always in Fourier space here: leave it out",
    "--skip_wiener": "use --no_weight: the CTF is applied and nothing is divided",
    "--theme": "leave it out; NO_COLOR=1 in the environment turns colours off",
}


#: Bytes of address space below which numpy and its like end the process as they are loaded.
LIBRARIES = 900_000_000

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    # the second: an option may be written with hyphens where RELION has underscores
    context_settings={
        "help_option_names": ["--help", "-h"],
        "token_normalize_func": lambda word: word.replace("-", "_"),
    },
    help="Cryo-electron tomograms, reconstructed in Fourier space: a tilt series in, a tomogram out.",
    epilog="Begin with: fourierrecon demo",
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


app.command()(reconstructing.reconstruct)


@app.command()
def plan(
    *,
    i: OptimisationSet = None,
    t: TomogramSet = None,
    tn: TomogramName = None,
    stack: Stack = None,
    angpix: PixelSize = None,
    mdoc: Notes = None,
    voltage: Voltage = None,
    cs: Aberration = None,
    q0: Contrast = None,
    o: OutputToBe = None,
    like: Like = None,
    passport: Passport = False,
    dtype: Dtype = None,
    float16: Float16 = False,
    png: Picture = None,
    no_weight: NoWeight = False,
    pre_weight: PreWeight = False,
    weighting: WeightingText = None,
    snr: Snr = None,
    ctf: Ctf = True,
    ctf_mode: CtfMode = None,
    exposure: Exposure = None,
    tilt_weight: TiltWeight = None,
    keep_mean: KeepMean = False,
    skip_bad_images: SkipBadImages = False,
    td: TaperDistance = 0.0,
    tf: TaperFalloff = 0.0,
    tiltangle_offset: TiltOffset = 0.0,
    x_tilt: XTilt = 0.0,
    z_shift: ZShift = 0.0,
    flip_hand: FlipHand = False,
    x0: X0 = None,
    y0: Y0 = None,
    z0: Z0 = None,
    w: Width = None,
    h: Height = None,
    d: Depth = None,
    binning: Binning = None,
    binned_angpix: VoxelSize = None,
    j: Threads = None,
    memory: Memory = None,
    scratch: ScratchFolder = None,
) -> None:
    """Say what reconstruct would do with the same options: size, memory, time, and what the images see.

    No image is read. To measure the machine, small pieces of noise are reconstructed, which takes about two seconds.
    """
    from fourierrecon import arguments, checks
    from fourierrecon.bad_images import without_ctf
    from fourierrecon.console import announcing_compilation, say, screen
    from fourierrecon.forecast import forecast
    from fourierrecon.inputs import input_files, protect
    from fourierrecon.io import Extras
    from fourierrecon.offsets import Offsets
    from fourierrecon.orientation import Orientation
    from fourierrecon.outputs import folders_of
    from fourierrecon.report import describe_request, print_coverage, print_forecast, print_warnings
    from fourierrecon.transfer import Correction

    kind = arguments.choose_dtype(dtype, float16)
    correction = Correction.of(ctf, ctf_mode, exposure, tilt_weight)
    request = arguments.read_request(
        (t, i),
        tn,
        Extras(stack, angpix, mdoc, voltage, cs, q0),
        Offsets(tiltangle_offset, x_tilt, z_shift, flip_hand),
        (no_weight, pre_weight, weighting, snr),
        (binning, binned_angpix),
        (x0, y0, z0),
        (w, h, d),
    )
    series, region = request.series, request.region
    Orientation.like(like, series)  # refuses what is unknown
    for option, path in (("--o", o), ("--png", png)):
        if path is not None:
            protect([path], input_files(request.source, request.extras), option)
    console = screen()
    describe_request(console, request, correction)
    sees = checks.visibility(series, region)
    print_coverage(console, series, sees)
    print_warnings(console, checks.warnings_of(series, region, sees, ctf=ctf))
    print_warnings(console, checks.shared_warnings(request.source, series))
    if png is not None:
        from fourierrecon.picture import footprint_png

        with folders_of(png):
            footprint_png(png, series, region)
        say(console, "picture", str(png))
    if skip_bad_images and ctf:
        # what can be known without a look at the images
        series = series.select([tilt for tilt in range(series.n_tilts) if tilt not in without_ctf(series)])
    with announcing_compilation(console):
        needs = forecast(
            series, region, request.strategy, n_threads=j, taper=(td, tf), output=o, memory=memory, scratch=scratch,
            dtype=kind, correction=correction,
        )  # fmt: skip
    print_forecast(console, needs, o)


@app.command()
def info(
    source: Annotated[
        Path,
        typer.Argument(metavar="SET", help="Tomogram or optimisation set (STAR), a file as for --t, or a tomogram."),
    ],
    tn: Annotated[str | None, typer.Option("--tn", metavar="NAME", help="Only this tomogram.")] = None,
    stack: Stack = None,
    angpix: PixelSize = None,
    mdoc: Notes = None,
    voltage: Voltage = None,
    cs: Aberration = None,
    q0: Contrast = None,
) -> None:
    """Show what is in a set or a tomogram: sizes, angles, CTF, coordinate frame. Images are not read."""
    from fourierrecon import arguments
    from fourierrecon.console import program, say, screen
    from fourierrecon.io import Extras, read_series
    from fourierrecon.io.sources import check_single, names_in
    from fourierrecon.report import print_facts, print_overview

    console = screen()
    if source.suffix.lower() in (".mrc", ".rec", ".map", ".zarr"):
        from fourierrecon.volume_info import print_volume

        print_volume(console, source)
        return
    extras = Extras(stack, angpix, mdoc, voltage, cs, q0)
    names = names_in(source, extras) if tn is None and source.suffix.lower() == ".star" else [tn]
    check_single(extras, [name or "" for name in names])
    all_series, problems = [], []
    for name in names:
        try:
            all_series.append(read_series(source, name, extras))
        except DataError as problem:
            problems.append(problem if len(names) == 1 else DataError(f"{name}: {problem}"))
    if not all_series:
        raise problems[0]
    if len(all_series) == 1:
        print_facts(console, all_series[0])
    else:
        print_overview(console, all_series)
    first = all_series[0]
    options = "" if len(names) == 1 and tn is None else f" --tn {quoted(first.name)}"
    options += arguments.repeat(extras)
    options += "" if first.ctf is not None else " --noctf"
    say(
        console,
        "next",
        f"{program()} reconstruct --t {quoted(str(source))}{options} --o {quoted(first.name)}.mrc",
    )
    for each in problems:
        _fail(str(each), each.exit_status)
    if problems:
        raise typer.Exit(problems[0].exit_status)


app.command()(watching.watch)
app.command("import")(importing.import_series)
app.command("convert-coords")(coordinates.convert_coords)
app.command()(converting.convert)
app.command()(viewing.preview)
app.command()(viewing.compare)
app.command()(view)
app.command()(reporting.report)
for _command in (examples.demo, examples.simulate, examples.sample):
    app.command()(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status: 0, 1 for data, 2 for usage, 130 when interrupted.

    Parameters
    ----------
    arguments
        Without the program's name; default: those of the process. None at all show the help.
    """
    # libraries make many objects that live on; looking among them for garbage takes a tenth of a second
    gc.set_threshold(100_000)
    # nothing here waits for linear algebra, but its idle threads spin
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Arrow, which pandas loads where it is there, takes a GB of address space for later: much where that is limited
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    for stream in (sys.stdout, sys.stderr):
        # a terminal without Å must not end a run
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
            warnings.showwarning = _show_warning
            # which files are read, and so not written over, is known within one command
            status = copy_context().run(command.main, words, prog_name="fourierrecon", standalone_mode=False)
    except FourierReconError as error:
        return _fail(str(error), error.exit_status)
    except _PARSING_ERROR as error:
        return _fail(_explain(error, words), 2)
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except MemoryError:
        return _fail(OUT_OF_MEMORY, 1)
    except ImportError as error:
        # how the loader of libraries says that there is no room for one
        if any(words in str(error) for words in ("failed to map segment", "Cannot allocate memory")):
            return _fail(OUT_OF_MEMORY, 1)
        raise
    except OSError as error:
        if error.errno == errno.ENOMEM:
            return _fail(OUT_OF_MEMORY, 1)
        where = f"{error.filename}: " if error.filename is not None else ""
        return _fail(f"{where}{error.strerror or error}", 1)
    return _fail("interrupted", 130) if status == 130 else int(status or 0)


def _refuse_empty(words: Sequence[str]) -> None:
    """Refuse words with nothing in them, as a variable of the shell that is not set leaves them.

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
    """Have the signals that ask for the end do what Ctrl-C does: what is half written goes."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    # only there can it be said; and a signal that is ignored, as by nohup, stays so
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
    option = getattr(error, "option_name", "")
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if option in _ELSEWHERE:
        return f"no option {option}; {_ELSEWHERE[option]}"
    commands = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
    command = f" {words[0]}" if words[0] in commands else ""
    return f"{' '.join(message.split())}\nsee fourierrecon{command} --help"


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as one line, without the place in the code that Python adds."""
    from fourierrecon.console import say, screen

    say(screen(stderr=True), "warning", in_one_line(str(message)))


def _fail(message: str, status: int) -> int:
    from fourierrecon.console import fail

    fail(in_options(message))
    return status
