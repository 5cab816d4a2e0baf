"""The command ``sample``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fourierrecon.cli.options import input_option
from fourierrecon.text import quoted


def sample(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; new or empty.")],
    archive: Annotated[
        Path | None, input_option("FILE", "Source archive, if it was downloaded before", "--archive")
    ] = None,
) -> None:
    """Fetch a real tilt series: a Mycoplasma pneumoniae cell, 41 images."""
    from fourierrecon.cli.console import program, say, screen
    from fourierrecon.simulation.sample_data import fetch_sample

    console = screen()
    path = fetch_sample(folder, lambda line: say(console, "sample", line), archive=archive)
    say(
        console,
        "next",
        f"{program()} reconstruct --t {quoted(str(path))} --preview --o cell.mrc",
    )
