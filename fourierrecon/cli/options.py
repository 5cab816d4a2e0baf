"""Declares options of the command line: their panels in the help, and single options of several commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any

import typer

#: Name of the value in the help, for an option without a value.
FLAG = " "


def option(panel: str, metavar: str, text: str, *names: str, least: float | None = None, **more: Any) -> Any:
    """Declare an option.

    Parameters
    ----------
    panel
        Panel of the help for this option.
    metavar
        Name of the value in the help; :data:`FLAG` for an option without a value.
    text
        Help, with unit and default in words.
    *names
        Spellings on the command line.
    least
        Smallest value allowed.
    **more
        Other arguments of ``typer.Option``.
    """
    return typer.Option(
        *names, metavar=metavar, help=text, rich_help_panel=panel, show_default=False, min=least, **more
    )


def one_of(find: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Let the shell complete the value of an option.

    Parameters
    ----------
    find
        Gives the values; called only when the tab key is pressed.
    """

    def complete(incomplete: str) -> list[str]:
        return [value for value in find() if value.startswith(incomplete)]

    return complete


def profiles() -> Iterable[str]:
    """Give the names of profiles."""
    from fourierrecon.tomogram.profiles import PROFILES

    return PROFILES


def weightings() -> Iterable[str]:
    """Give the names of weightings."""
    from fourierrecon.weighting import available

    return available()


def programs() -> Iterable[str]:
    """Give the programs whose axes a volume may have."""
    from fourierrecon.geometry.axis_order import LIKE

    return LIKE


def ctf_modes() -> Iterable[str]:
    """Give the names of corrections of the CTF."""
    from fourierrecon.transfer import CTF_MODES

    return CTF_MODES


def read_memory(text: str) -> int:
    """Read the value of ``--memory``."""
    from fourierrecon.errors import UsageError
    from fourierrecon.runtime.sizes import parse_memory

    try:
        return parse_memory(text)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from error


def read_snr(text: str) -> Any:
    """Read the value of ``--SNR``."""
    from fourierrecon.errors import UsageError
    from fourierrecon.weighting.snr import read_snr as read

    try:
        return read(text)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from error


def read_switch(text: str) -> bool:
    """Read the value of an option that is on or off."""
    if text.lower() not in ("on", "off"):
        raise typer.BadParameter(f"{text[:40]!r}; allowed: on, off")
    return text.lower() == "on"


input_option = partial(option, "Input")
output_option = partial(option, "Output")
weighting_option = partial(option, "Weighting and CTF")
images_option = partial(option, "Images")
alignment_option = partial(option, "Alignment")
region_option = partial(option, "Region (lengths in unbinned pixels)")
set_option = partial(option, "Sets of tomograms (--o FOLDER/)")
cluster_option = partial(option, "Clusters (Dask; with --o FOLDER/)")
running_option = partial(option, "Running")

TomogramName = Annotated[
    str | None, input_option("NAME", "Name of the tomogram; needed if the set holds several", "--tn")
]
Threads = Annotated[
    int | None,
    running_option("N", "Threads. Default: the CPU cores available to the process", "--j", least=1),
]
Memory = Annotated[
    int | None,
    running_option(
        "SIZE",
        "Most memory to use, as 6GB or 2.5GiB; scratch files take the rest. Default: 80 % of the free memory",
        "--memory",
        parser=read_memory,
    ),
]
Quiet = Annotated[bool, running_option(FLAG, "Print only warnings, errors, and the summary of a set", "--quiet")]
