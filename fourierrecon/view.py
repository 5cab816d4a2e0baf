"""The command ``view``: look at a volume in napari, or on a page in the browser."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fourierrecon.options import FLAG, option

if TYPE_CHECKING:
    from rich.console import Console

    from fourierrecon.volume_planes import VolumePlanes

#: Percentiles that become black and white.
CONTRAST = (0.3, 99.7)


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
    from fourierrecon.console import say, screen
    from fourierrecon.volume_planes import open_volume

    console, opened = screen(), open_volume(volume)
    depth, height, width = opened.shape
    size = f"{opened.voxel_size:g} Å" if opened.voxel_size else "unknown size"
    say(console, "volume", f"{volume}: {width} x {height} x {depth} voxels of {size}")
    if port is None and not no_browser and _has_desktop() and _show_in_napari(console, opened):
        return
    _serve(console, opened, port or 0, no_browser)


def napari_layer(volume: VolumePlanes) -> dict[str, Any]:
    """Give what napari needs to show a volume in its place, nm, with sensible greys.

    Parameters
    ----------
    volume
        One that has an ``array``, which napari reads plane by plane.

    Returns
    -------
    Arguments of napari's ``add_image``.
    """
    from fourierrecon.volume_planes import STEPS, percentiles_of

    known = volume.voxel_size > 0
    percentiles = percentiles_of(volume)
    black, white = (float(percentiles[round(p * STEPS)]) for p in CONTRAST)
    return {
        "data": volume.array,
        "name": volume.path.stem,
        "scale": (volume.voxel_size / 10 if known else 1.0,) * 3,
        "translate": tuple(c / 10 for c in reversed(volume.origin)) if known else (0.0,) * 3,
        "units": ("nm" if known else "pixel",) * 3,
        "axis_labels": ("z", "y", "x"),
        "contrast_limits": (black, white if white > black else black + 1.0),
    }


def _show_in_napari(console: Console, volume: VolumePlanes) -> bool:
    """Open napari's window and wait until it is closed; tell whether there is napari."""
    from importlib.util import find_spec

    from fourierrecon.console import say

    if volume.array is None or find_spec("napari") is None:
        return False
    try:
        import napari

        viewer = napari.Viewer(title=f"{volume.path.name} - fourierrecon")
    except ImportError as error:
        reason = " ".join(str(error).split())
        say(console, "note", f"napari cannot be used ({reason}); here is the page instead")
        return False
    viewer.add_image(**napari_layer(volume))
    viewer.dims.axis_labels = ("z", "y", "x")
    viewer.scale_bar.visible = True
    say(console, "napari", "its window is open; close it to end")
    napari.run()
    return True


def _serve(console: Console, volume: VolumePlanes, port: int, no_browser: bool) -> None:
    """Serve the page until Ctrl-C."""
    import threading
    import webbrowser

    from fourierrecon.console import say
    from fourierrecon.view_server import LOOPBACK, ViewServer

    with ViewServer(volume, port) as server:
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
