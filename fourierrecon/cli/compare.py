"""The command ``compare``."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fourierrecon.cli.options import FLAG, images_option, output_option
from fourierrecon.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from fourierrecon.quality.comparison import Comparison
    from fourierrecon.volume import Volume


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="First volume (MRC); it stays as it is.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Second volume (MRC); it is laid onto A.")],
    o: Annotated[
        Path | None,
        output_option("FILE", "Picture (PNG): both volumes, their difference, and the curve", "--o", "-o"),
    ] = None,
    json: Annotated[bool, output_option(FLAG, "Print all figures as JSON, and nothing else", "--json")] = False,
    tilt_range: Annotated[
        tuple[float, float] | None,
        images_option(
            "LOW HIGH",
            "Range of tilt angles, degrees; only what these tilts measured counts in the curve",
            "--tilt_range",
        ),
    ] = None,
) -> None:
    """Compare two volumes: voxel size, orientation, shift, grey values, and Fourier shell correlation.

    Axes may be swapped and flipped in B; origins in the headers are not used.
    """
    from json import dumps

    from fourierrecon.cli.console import say, screen
    from fourierrecon.io import map_volume
    from fourierrecon.quality.comparison import compare_volumes
    from fourierrecon.tomogram.inputs import protect
    from fourierrecon.tomogram.output_paths import folders_of

    if o is not None:
        if o.suffix.lower() != ".png":
            raise UsageError(f"--o {o}: the picture is a .png file")
        protect([o], [a, b], "output")
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


def print_comparison(
    console: Console, paths: tuple[Path, Path], volumes: tuple[Volume, Volume], found: Comparison
) -> None:
    """Print how two volumes lie to each other and how far they agree.

    Parameters
    ----------
    console
        Screen to write to.
    paths, volumes
        Files and volumes A and B.
    found
        Result of the comparison.
    """
    from fourierrecon.cli.console import say
    from fourierrecon.cli.messages import print_warnings
    from fourierrecon.display.comparison import describe_resolution
    from fourierrecon.display.preview import caption
    from fourierrecon.quality.fsc import HALF_MAPS, REFERENCE

    for letter, path, volume in zip("AB", paths, volumes, strict=True):
        say(console, letter, f"{path}: {caption(volume)}")
    if found.magnified:
        say(console, "voxels", f"of one size: B fits as it does if its voxels are {found.voxel_size:.4g} Å too")
    elif min(found.voxel_sizes) == 0 < max(found.voxel_sizes):
        letter, other = "AB" if found.voxel_sizes[0] == 0 else "BA"
        say(
            console,
            "voxels",
            f"of {letter} are of unknown size; taken to be those of {other}, {found.voxel_size:.4g} Å",
        )
    elif max(found.voxel_sizes) == 0:
        say(console, "voxels", "are of unknown size; taken to be the same in both, lengths are in voxels")
    elif found.voxel_sizes[0] != found.voxel_sizes[1]:
        say(console, "voxels", f"differ, as the headers say; compared at {found.voxel_size:.4g} Å")
    mirrored = " (the other hand)" if found.orientation.mirrors else ""
    inverted = ", contrast inverted" if found.fit < 0 else ""
    say(
        console,
        "B lies",
        f"{found.orientation}{mirrored}{inverted}: correlation at low resolution {abs(found.fit):.2f}; "
        f"next best: {found.runner_up}, {abs(found.runner_up_fit):.2f}",
    )
    known = max(found.voxel_sizes) > 0
    # The sum turns -0.00 into 0.00.
    voxels, nm = (", ".join(f"{round(s * by, 2) + 0.0:.2f}" for s in found.shift) for by in (1, found.voxel_size / 10))
    say(console, "shift", f"of B from A (x, y, z): {voxels} voxels{f' ({nm} nm)' if known else ''}")
    line = f"B = {found.slope:.4g} A {'+' if found.offset >= 0 else '-'} {abs(found.offset):.4g}"
    say(console, "greys", "not related" if isnan(found.slope) else line)
    depth, height, width = found.a.shape
    part = "" if found.whole else f", of their middle, {width} x {height} x {depth} voxels"
    say(console, "match", f"correlation {found.correlation:.3f}{part}")
    half, reference = (describe_resolution(found, threshold) for threshold in (HALF_MAPS, REFERENCE))
    say(console, "FSC", f"{HALF_MAPS:g} (half maps): {half}; {REFERENCE:g} (against a reference): {reference}")
    if abs(found.fit) < max(0.1, 1.2 * abs(found.runner_up_fit)):
        print_warnings(console, ["no orientation fits clearly better than the others; the figures may mean nothing"])
