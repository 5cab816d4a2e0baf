"""The command ``compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fourierrecon.cli.options import FLAG, images_option, output_option
from fourierrecon.errors import UsageError


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

    from fourierrecon.cli.console import say, screen
    from fourierrecon.cli.messages import print_comparison
    from fourierrecon.io import map_volume
    from fourierrecon.quality.comparison import compare_volumes
    from fourierrecon.tomogram.inputs import protect
    from fourierrecon.tomogram.output_paths import folders_of

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
        from fourierrecon.display.comparison import comparison_png

        with folders_of(o):
            comparison_png(o, found, (a.name, b.name))
        if not json:
            say(console, "picture", str(o))
