"""The command line: parse, read, call, write. No numerics; heavy imports only inside the commands."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from fourierrecon import examples
from fourierrecon.errors import FourierReconError, UsageError
from fourierrecon.options import (
    FLAG,
    Threads,
    images_option,
    input_option,
    output_option,
    region_option,
    weighting_option,
)

#: The base of everything that typer says about wrong options (newer versions carry their own click).
_PARSING_ERROR: type[Exception] = typer.BadParameter.__base__ or Exception

#: Options of RELION that do not exist here, and what to do instead.
_ELSEWHERE = {
    "--Fc": "binning is always by Fourier cropping here: leave it out",
    "--fourier": "reconstruction is always in Fourier space here: leave it out",
    "--skip_wiener": "use --no_weight: the CTF is applied and nothing is divided",
    "--generate_split_tomograms": "run it for a set of the even and for one of the odd images",
    "--do_proj": "sum slices of the tomogram instead",
    "--theme": "leave it out; NO_COLOR=1 in the environment turns colours off",
}


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


@app.command()
def reconstruct(
    *,
    i: Annotated[Path | None, input_option("STAR", "Optimisation set, which names the tomogram set", "--i")] = None,
    t: Annotated[Path | None, input_option("STAR", "Tomogram set of RELION 4 or 5; wins over --i", "--t")] = None,
    tn: Annotated[
        str | None,
        input_option("NAME", "Name of the tomogram; needed where the set holds more than one", "--tn"),
    ] = None,
    o: Annotated[
        Path,
        output_option(
            "FILE",
            "Tomogram to write (MRC). Its folders are made; an old file is replaced at the very end",
            "--o",
        ),
    ],
    no_weight: Annotated[
        bool,
        weighting_option(FLAG, "Plain back-projection, in place of the 3D Wiener filter (the default)", "--no_weight"),
    ] = False,
    pre_weight: Annotated[
        bool,
        weighting_option(FLAG, "Weight the images in 2D, in place of the 3D Wiener filter", "--pre_weight"),
    ] = False,
    weighting: Annotated[
        str | None,
        weighting_option(
            "NAME",
            "Any weighting by name, with parameters: none, preweight:snr=5, or a plug-in's",
            "--weighting",
        ),
    ] = None,
    snr: Annotated[
        float | None,
        weighting_option("RATIO", "Signal to noise that Wiener and pre-weight assume. Default: 10", "--SNR", "--snr"),
    ] = None,
    ctf: Annotated[
        bool,
        weighting_option(FLAG, "Correct for the contrast transfer function, or not. Default: --ctf", "--ctf/--noctf"),
    ] = True,
    keep_mean: Annotated[
        bool, images_option(FLAG, "Keep the mean of each image, do not zero it", "--keep_mean")
    ] = False,
    td: Annotated[
        float,
        images_option("PX", "Use nothing this near to an image's border, binned pixels. Default: 0", "--td", least=0),
    ] = 0.0,
    tf: Annotated[
        float,
        images_option("PX", "Fade in over this many binned pixels after --td. Default: 0", "--tf", least=0),
    ] = 0.0,
    x0: Annotated[
        float | None,
        region_option("PX", "x of the first voxel. Default: 1 (RELION 4 sets) or 0 (RELION 5 sets)", "--x0"),
    ] = None,
    y0: Annotated[float | None, region_option("PX", "y of the first voxel, likewise", "--y0")] = None,
    z0: Annotated[float | None, region_option("PX", "z of the first voxel, likewise", "--z0")] = None,
    w: Annotated[
        float | None,
        region_option("PX", "Width (x). Default: from the set, else the width of the images", "--w"),
    ] = None,
    h: Annotated[
        float | None,
        region_option("PX", "Height (y). Default: from the set, else the height of the images", "--h"),
    ] = None,
    d: Annotated[float | None, region_option("PX", "Depth (z). Default: from the set, else 300 nm", "--d")] = None,
    binning: Annotated[
        float | None,
        region_option("B", "Voxel size over pixel size, any number from 1 on. Default: 8", "--bin"),
    ] = None,
    binned_angpix: Annotated[
        float | None, region_option("Å", "Voxel size in Å, in place of --bin", "--binned_angpix")
    ] = None,
    j: Threads = None,
) -> None:
    """Reconstruct one tomogram of a RELION 4 or 5 set.

    Options as in relion_tomo_reconstruct_tomogram; hyphens do for underscores.
    """
    if (source := t or i) is None:
        raise UsageError("no set given; use --t TOMOGRAMS.star or --i OPTIMISATION_SET.star")
    if binning is not None and binned_angpix is not None:
        raise UsageError("--bin and --binned_angpix exclude each other; give one of them")

    from fourierrecon import arguments
    from fourierrecon.console import Stages, say, screen, size_of
    from fourierrecon.geometry import Region
    from fourierrecon.io import check_writable, read_tilt_series, write_mrc
    from fourierrecon.report import describe_request

    strategy = arguments.choose_weighting(no_weight, pre_weight, weighting, snr)
    started = time.perf_counter()
    series = read_tilt_series(source, tn)
    factor = arguments.choose_binning(binning, binned_angpix, series)
    region = Region.of(series, binning=factor, origin=(x0, y0, z0), size=(w, h, d))
    arguments.protect(o, source, series)
    console = screen()
    if t is not None and i is not None:
        say(console, "note", f"--t {t} is used, not --i {i}")
    describe_request(console, source, series, region, strategy, ctf)

    with arguments.folders_of(o):
        check_writable(o, arguments.bytes_to_write(region))
        from fourierrecon.reconstruction import reconstruct as run

        with Stages(console) as stages:
            volume = run(
                series,
                region,
                strategy,
                ctf=ctf,
                n_threads=j,
                keep_mean=keep_mean,
                taper_distance=td,
                taper_falloff=tf,
                progress=stages,
            )
        write_mrc(o, volume)
    say(console, "wrote", f"{o} ({size_of(o)}) after {time.perf_counter() - started:.1f} s")
    finer = max(1.0, region.binning / 2)
    hint = f"; finer: --bin {finer:g}" if finer < region.binning else ""
    say(console, "next", f"look at it: 3dmod {quote(str(o))}{hint}")


@app.command()
def info(
    source: Annotated[Path, typer.Argument(metavar="SET", help="Tomogram or optimisation set (STAR).")],
    tn: Annotated[str | None, typer.Option("--tn", metavar="NAME", help="Only this tomogram.")] = None,
) -> None:
    """Show what is in a set: tilt series, sizes, angles, CTF, coordinate frame. Images are not read."""
    from fourierrecon.console import program, say, screen
    from fourierrecon.io import list_tomograms, read_tilt_series
    from fourierrecon.report import print_facts, print_overview

    names = [tn] if tn is not None else list_tomograms(source)
    all_series = [read_tilt_series(source, name) for name in names]
    console = screen()
    if len(all_series) == 1:
        print_facts(console, all_series[0])
    else:
        print_overview(console, all_series)
    first = all_series[0]
    options = "" if len(names) == 1 and tn is None else f" --tn {quote(first.name)}"
    options += "" if first.ctf is not None else " --noctf"
    say(
        console,
        "next",
        f"{program()} reconstruct --t {quote(str(source))}{options} --o {quote(first.name)}.mrc",
    )


for _command in (examples.demo, examples.simulate, examples.sample):
    app.command()(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status: 0, 1 for data, 2 for usage, 130 when interrupted.

    Parameters
    ----------
    arguments
        Without the program's name; default: those of the process. None at all show the help.
    """
    for stream in (sys.stdout, sys.stderr):
        # a terminal without Å must not end a run
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    command = typer.main.get_command(app)
    try:
        status = command.main(words, prog_name="fourierrecon", standalone_mode=False)
    except FourierReconError as error:
        return _fail(str(error), error.exit_status)
    except _PARSING_ERROR as error:
        return _fail(_explain(error, words), 2)
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except MemoryError:
        return _fail("out of memory; use a larger --bin or a smaller region (--w --h --d)", 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        return _fail(f"{where}{error.strerror or error}", 1)
    return _fail("interrupted", 130) if status == 130 else int(status or 0)


def _explain(error: Exception, words: Sequence[str]) -> str:
    """Say what was wrong with the options, and where to look."""
    option = getattr(error, "option_name", "")
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if option in _ELSEWHERE:
        return f"no option {option}; {_ELSEWHERE[option]}"
    command = f" {words[0]}" if words[0] in {"reconstruct", "info", "simulate", "demo", "sample"} else ""
    return f"{' '.join(message.split())}\nsee fourierrecon{command} --help"


def _fail(message: str, status: int) -> int:
    from fourierrecon.console import fail

    fail(message)
    return status
