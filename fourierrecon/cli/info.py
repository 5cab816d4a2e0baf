"""The command ``info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fourierrecon.cli.options import (
    Aberration,
    Contrast,
    Notes,
    PixelSize,
    Stack,
    Voltage,
)
from fourierrecon.errors import DataError
from fourierrecon.text import in_options, quoted


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
    from fourierrecon.cli import arguments
    from fourierrecon.cli.console import fail, program, say, screen
    from fourierrecon.cli.messages import print_facts, print_overview
    from fourierrecon.io import Supplement, read_tilt_series
    from fourierrecon.io.tilt_series import check_single, list_tomograms

    console = screen()
    if source.suffix.lower() in (".mrc", ".rec", ".map", ".zarr"):
        from fourierrecon.cli.volume_info import print_volume

        print_volume(console, source)
        return
    extras = Supplement(stack, angpix, mdoc, voltage, cs, q0)
    names = list_tomograms(source, extras) if tn is None and source.suffix.lower() == ".star" else [tn]
    check_single(extras, [name or "" for name in names])
    all_series, problems = [], []
    for name in names:
        try:
            all_series.append(read_tilt_series(source, name, extras))
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
        fail(in_options(str(each)))
    if problems:
        raise typer.Exit(problems[0].exit_status)
