"""The command ``view``."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fourierrecon.cli.options import FLAG, TomogramName, input_option, option

if TYPE_CHECKING:
    from rich.console import Console

    from fourierrecon.display.picks import Picks
    from fourierrecon.display.planes import VolumePlanes
    from fourierrecon.display.server import ViewServer


#: Endings of sets and tilt series; other names are volumes.
TILT_SERIES = (".star", ".tomostar", ".xml", ".aln", ".xf", ".com", ".json")


def view(
    volume: Annotated[
        Path,
        typer.Argument(
            metavar="VOLUME",
            help="Tomogram to look at, larger than the memory is fine; or a tomogram set or tilt series, whose "
            "tomogram is computed where you look.",
        ),
    ],
    *,
    points: Annotated[
        list[Path] | None,
        input_option("FILE", "Points to mark: .star, .csv, .mod or copick's .json; may be repeated", "--points"),
    ] = None,
    frame: Annotated[
        str | None,
        input_option(
            "FRAME",
            "Frame of the points, as for convert-coords. Default: .csv and .mod count voxels of VOLUME, copick and "
            "RELION 5's centred coordinates are known",
            "--from",
        ),
    ] = None,
    tn: TomogramName = None,
    diameter: Annotated[
        float | None,
        input_option("Å", "Diameter of the circles around points. Default: 300", "--diameter", least=0),
    ] = None,
    binning: Annotated[
        float | None,
        input_option("N", "Binning of a tomogram that is computed. Default: about 10 Å voxels", "--bin", least=1),
    ] = None,
    weighting: Annotated[
        str | None, input_option("NAME", "Its weighting, as for reconstruct. Default: wiener", "--weighting")
    ] = None,
    port: Annotated[
        int | None, option("Page", "N", "Port of the page. Default: any free one", "--port", least=1, max=65535)
    ] = None,
    no_browser: Annotated[
        bool, option("Page", FLAG, "Only print the address of the page, do not open it", "--no_browser")
    ] = False,
) -> None:
    """Look at a tomogram: in napari if it is installed, else on a page in the browser.

    The page shows XY, XZ and YZ slices, 10 nm thick at first, and zooms into them. Only this machine can reach it, at
    an address that nobody can guess. Ctrl-C ends it. --port and --no_browser choose the page even where napari is
    installed.
    """
    from fourierrecon.cli.console import fail, say, screen
    from fourierrecon.display.napari import show_in_napari
    from fourierrecon.display.picks import DIAMETER
    from fourierrecon.display.server import ViewServer

    console, opened = screen(), _open(volume, tn, binning, weighting)
    depth, height, width = opened.shape
    size = f"{opened.voxel_size:g} Å" if opened.voxel_size else "unknown size"
    say(console, "volume", f"{volume}: {width} x {height} x {depth} voxels of {size}")
    picks = [_read(path, opened, frame, tn) for path in points or ()]
    for each in picks:
        say(console, "points", f"{each.name}: {len(each)}")
    in_window = port is None and not no_browser and _has_desktop()
    if in_window and show_in_napari(opened, partial(say, console), picks, diameter or DIAMETER):
        return
    _serve(console, ViewServer(opened, port or 0, fail, picks=picks, diameter=diameter or DIAMETER), no_browser)


def _open(path: Path, name: str | None, binning: float | None, weighting: str | None) -> VolumePlanes:
    """Open a volume, or the tomogram of a tilt series as a virtual one."""
    from fourierrecon.cli.values import choose_binning
    from fourierrecon.display.planes import VirtualPlanes, open_volume
    from fourierrecon.errors import UsageError

    if path.suffix.lower() in TILT_SERIES:
        from fourierrecon.io import read_tilt_series
        from fourierrecon.operators.virtual import open_virtual

        series = read_tilt_series(path, name)
        return VirtualPlanes(open_virtual(series, weighting=weighting, binning=choose_binning(binning, None, series)))
    if binning is not None or weighting is not None:
        raise UsageError(f"--bin and --weighting are for tilt series, and {path} is a volume; leave them out")
    return open_volume(path)


def _read(path: Path, volume: VolumePlanes, frame: str | None, tomogram: str | None) -> Picks:
    """Read points into the voxels of the volume; frames of whole tomograms need its passport."""
    from fourierrecon.display.picks import read_picks
    from fourierrecon.errors import UsageError
    from fourierrecon.tomogram.provenance import box_of_volume, read_passport

    passport = read_passport(volume.path)
    if passport is not None and passport["volume"].get("like") is not None and frame not in (None, "volume"):
        raise UsageError(
            f"{volume.path} has the axes of {passport['volume']['like']}; only points that count its own voxels can be "
            f"shown (frame='volume')"
        )
    box = None if passport is None else box_of_volume(volume.path)
    return read_picks(path, volume.shape, volume.voxel_size, frame=frame, box=box, tomogram=tomogram)


def _serve(console: Console, server: ViewServer, no_browser: bool) -> None:
    """Serve the page until Ctrl-C."""
    import threading
    import webbrowser

    from fourierrecon.cli.console import say
    from fourierrecon.display.loopback import LOOPBACK

    with server:
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
