"""The commands that look at volumes: preview and compare."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from fourierrecon.errors import UsageError
from fourierrecon.options import FLAG, images_option, output_option


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
    """Draw the central XY, XZ and YZ sections of volumes, or walk through one. Of large files only slabs are read."""
    from fourierrecon.console import say, screen, size_of
    from fourierrecon.inputs import protect
    from fourierrecon.io import map_volume
    from fourierrecon.outputs import folders_of
    from fourierrecon.preview import MOVIES, preview_movie, preview_png

    started = time.perf_counter()
    if o is None:
        ending = ".gif" if animate else ".png"
        o = volumes[0].with_suffix(ending) if len(volumes) == 1 else Path("preview.png")
    moves = animate or o.suffix.lower() in MOVIES
    if moves and len(volumes) > 1:
        raise UsageError(f"a walk shows one volume, not {len(volumes)}; give one, or a .png file for all of them")
    if not moves and o.suffix.lower() != ".png":
        raise UsageError(f"--o {o}: a preview is a .png file, or a walk through z: {', '.join(MOVIES)}")
    protect([o], volumes)
    named = [(path.name, map_volume(path)) for path in volumes]
    with folders_of(o):
        if moves:
            frames, _ = preview_movie(o, *named[0], thickness)
        else:
            preview_png(o, named, thickness)
    what = f"{frames} frames, " if moves else ""
    say(screen(), "wrote", f"{o} ({what}{size_of(o)}) after {time.perf_counter() - started:.1f} s")


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Volume (MRC): the one that stays.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Volume (MRC): the one that is laid onto A.")],
    o: Annotated[
        Path | None,
        output_option("FILE", "Picture (PNG): both volumes, their difference, and the curve", "--o", "-o"),
    ] = None,
    json: Annotated[bool, output_option(FLAG, "Print all figures as JSON, and nothing else", "--json")] = False,
    tilt_range: Annotated[
        tuple[float, float] | None,
        images_option("LOW HIGH", "Tilt angles, degrees: only what these measured counts in the curve", "--tilt_range"),
    ] = None,
) -> None:
    """Compare two volumes: voxel size, orientation, shift, grey values, and Fourier shell correlation.

    Axes may be swapped and flipped in B; origins in the headers are not used.
    """
    from json import dumps

    from fourierrecon.comparison import compare_volumes
    from fourierrecon.console import say, screen
    from fourierrecon.inputs import protect
    from fourierrecon.io import map_volume
    from fourierrecon.outputs import folders_of
    from fourierrecon.report import print_comparison

    if o is not None:
        if o.suffix.lower() != ".png":
            raise UsageError(f"--o {o}: the picture is a .png file")
        protect([o], [a, b])
    volumes = map_volume(a), map_volume(b)
    found = compare_volumes(*volumes, tilt_range=tilt_range)
    console = screen()
    if json:
        typer.echo(dumps({"a": str(a), "b": str(b), **found.facts()}, indent=2))
    else:
        print_comparison(console, (a, b), volumes, found)
    if o is not None:
        from fourierrecon.comparison_picture import comparison_png

        with folders_of(o):
            comparison_png(o, found, (a.name, b.name))
        if not json:
            say(console, "picture", str(o))
