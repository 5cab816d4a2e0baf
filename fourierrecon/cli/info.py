"""The command ``info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fourierrecon.cli.groups import with_groups
from fourierrecon.cli.messages_table import in_options
from fourierrecon.cli.option_groups import SupplementOptions
from fourierrecon.cli.options import input_option
from fourierrecon.errors import DataError
from fourierrecon.text import quoted


@with_groups()
def info(
    source: Annotated[
        Path,
        typer.Argument(metavar="SET", help="Tomogram or optimisation set (STAR), a file as for --t, or a tomogram."),
    ],
    *,
    tn: Annotated[str | None, input_option("NAME", "Only this tomogram. Default: all", "--tn")] = None,
    supplement: SupplementOptions,
) -> None:
    """Show what is in a set or a tomogram: sizes, angles, CTF, coordinate frame. Images are not read."""
    from fourierrecon.cli import arguments
    from fourierrecon.cli.console import fail, program, say, screen
    from fourierrecon.cli.messages import print_facts, print_overview
    from fourierrecon.io import read_tilt_series
    from fourierrecon.io.tilt_series import check_single, list_tomograms

    console = screen()
    if source.suffix.lower() in (".mrc", ".rec", ".map", ".zarr"):
        from fourierrecon.cli.volume_info import print_volume

        print_volume(console, source)
        return
    extras = arguments.supplement_of(supplement)
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
