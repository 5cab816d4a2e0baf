"""The command ``view``."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fourierrecon.cli.options import FLAG, option

if TYPE_CHECKING:
    from rich.console import Console

    from fourierrecon.display.planes import VolumePlanes


def view(
    volume: Annotated[
        Path, typer.Argument(metavar="VOLUME", help="Tomogram to look at (MRC); larger than the memory is fine.")
    ],
    *,
    port: Annotated[
        int | None, option("Page", "N", "Port of the page. Default: any free one", "--port", least=1, max=65535)
    ] = None,
    no_browser: Annotated[
        bool, option("Page", FLAG, "Only print the address of the page, do not open it", "--no_browser")
    ] = False,
) -> None:
    """Look at a tomogram: in napari if it is installed, else on a page in the browser.

    The page shows XY, XZ and YZ slices. Only this machine can reach it, at an address that nobody can guess. Ctrl-C
    ends it. --port and --no_browser ask for the page, also where there is napari.
    """
    from fourierrecon.cli.console import say, screen
    from fourierrecon.display.napari import show_in_napari
    from fourierrecon.display.planes import open_volume

    console, opened = screen(), open_volume(volume)
    depth, height, width = opened.shape
    size = f"{opened.voxel_size:g} Å" if opened.voxel_size else "unknown size"
    say(console, "volume", f"{volume}: {width} x {height} x {depth} voxels of {size}")
    in_window = port is None and not no_browser and _has_desktop()
    if in_window and show_in_napari(opened, partial(say, console)):
        return
    _serve(console, opened, port or 0, no_browser)


def _serve(console: Console, volume: VolumePlanes, port: int, no_browser: bool) -> None:
    """Serve the page until Ctrl-C."""
    import threading
    import webbrowser

    from fourierrecon.cli.console import fail, say
    from fourierrecon.display.server import LOOPBACK, ViewServer

    with ViewServer(volume, port, fail) as server:
        say(console, "page", f"{server.address} (Ctrl-C ends it)")
        if not no_browser and _has_desktop():
            # some browsers only return when they are closed
            threading.Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()
        else:
            bound = server.server_address[1]
            say(console, "elsewhere", f"from another machine: ssh -L {bound}:{LOOPBACK}:{bound} HOST, then the address")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say(console, "ended", "the page is gone")


def _has_desktop() -> bool:
    """Tell whether windows can be opened; without a display, programs that want one may end the process."""
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
