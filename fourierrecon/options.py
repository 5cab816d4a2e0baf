"""How options of the command line are declared, and those that several commands share."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

#: In place of the name of a value, where an option takes none.
FLAG = " "


def option(panel: str, metavar: str, text: str, *names: str, least: float | None = None) -> Any:
    """Declare an option.

    Parameters
    ----------
    panel
        Of the help that it stands in.
    metavar
        What to give; :data:`FLAG` where nothing.
    text
        Help, with unit and default in words.
    *names
        As written on the command line.
    least
        Smallest value allowed.
    """
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=panel, show_default=False, min=least)


input_option, output_option = partial(option, "Input"), partial(option, "Output")
weighting_option, images_option = partial(option, "Weighting and CTF"), partial(option, "Images")
region_option, running_option = (
    partial(option, "Region (lengths in unbinned pixels)"),
    partial(option, "Running"),
)

Threads = Annotated[
    int | None,
    running_option("N", "Threads. Default: the CPU cores available to the process", "--j", least=1),
]
