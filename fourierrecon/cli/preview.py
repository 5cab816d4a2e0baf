"""The command ``preview``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from fourierrecon.cli.options import FLAG, images_option, output_option
from fourierrecon.errors import UsageError


def preview(
    volumes: Annotated[list[Path], typer.Argument(metavar="VOLUME...", help="Volumes (MRC); several make a sheet.")],
    o: Annotated[
        Path | None,
        output_option(
            "FILE",
            "Picture (PNG), or a walk through z (.gif, .webp; .mp4 where ffmpeg is installed). "
            "Default: beside the volume, or preview.png for several",
            "--o",
            "-o",
        ),
    ] = None,
    animate: Annotated[
        bool, output_option(FLAG, "Walk through z instead: a .gif file by default", "--animate")
    ] = False,
    thickness: Annotated[
        str | None,
        images_option("NM", "Mean over this thickness: nm (10), or voxels (5vx). Default: 10 nm", "--thickness"),
    ] = None,
) -> None:
    """Draw the central XY, XZ and YZ sections of volumes, or walk through one. Only parts of large files are read."""
    from fourierrecon.cli.console import say, screen, size_of
    from fourierrecon.display.preview import MOVIES, preview_movie, preview_png
    from fourierrecon.io import map_volume
    from fourierrecon.tomogram.inputs import protect
    from fourierrecon.tomogram.output_paths import folders_of

    started = time.perf_counter()
    if o is None:
        ending = ".gif" if animate else ".png"
        o = volumes[0].with_suffix(ending) if len(volumes) == 1 else Path("preview.png")
    moves = animate or o.suffix.lower() in MOVIES
    if moves and len(volumes) > 1:
        raise UsageError(f"a walk shows one volume, not {len(volumes)}; give one, or a .png file for all of them")
    if not moves and o.suffix.lower() != ".png":
        raise UsageError(f"--o {o}: a preview is a .png file, or a walk through z: {', '.join(MOVIES)}")
    protect([o], volumes, "output")
    named = [(path.name, map_volume(path)) for path in volumes]
    with folders_of(o):
        if moves:
            frames, _ = preview_movie(o, *named[0], thickness)
        else:
            preview_png(o, named, thickness)
    what = f"{frames} frames, " if moves else ""
    say(screen(), "wrote", f"{o} ({what}{size_of(o)}) after {time.perf_counter() - started:.1f} s")
