"""The command ``tilts``."""

from __future__ import annotations

import json as json_text
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from fourierrecon.cli.groups import with_groups
from fourierrecon.cli.option_groups import SupplementOptions
from fourierrecon.cli.options import FLAG, Threads, TomogramName, input_option, output_option, weighting_option

#: Images that are shown on the screen.
SHOWN = 5


@with_groups("t", "tn", "png", "json")
def tilts(
    *,
    t: Annotated[Path, input_option("FILE", "Tomogram set, or a tilt series, as for reconstruct", "--t")],
    tn: TomogramName = None,
    png: Annotated[Path | None, output_option("FILE", "Draw all images into a PNG file", "--png")] = None,
    json: Annotated[bool, output_option(FLAG, "Print all images as JSON instead", "--json")] = False,
    supplement: SupplementOptions,
    noctf: Annotated[bool, weighting_option(FLAG, "Do not correct the CTF", "--noctf")] = False,
    thickness: Annotated[
        float | None, input_option("Å", "Thickness of the specimen. Default: the depth of the tomogram", "--thickness")
    ] = None,
    j: Threads = None,
) -> None:
    """Tell which tilt hurts: what each image gives to the tomogram, found by leaving it out.

    \b
    fourierrecon tilts --t tomograms.star --tn TS_01 --png tilts.png

    The signal of an image is the part of what the other images predict that is in it: about 1 for a sound image, less
    at high tilts, about 0 for one that is misaligned or shows something else.
    """  # noqa: D301 (the help needs the control character itself)
    from fourierrecon.cli.arguments import supplement_of
    from fourierrecon.cli.console import say, screen
    from fourierrecon.display.tilt_gains import tilt_gains_png
    from fourierrecon.geometry.sound_images import numbers_in_source
    from fourierrecon.images import repaired
    from fourierrecon.io import read_tilt_series
    from fourierrecon.quality.leave_one_out import tilt_gains
    from fourierrecon.tomogram.inputs import input_files, protect
    from fourierrecon.transfer import Correction, Transfer

    console, extras = screen(stderr=json), supplement_of(supplement)
    if png is not None:
        protect([png], input_files(t, extras), "picture")
    series = repaired(read_tilt_series(t, tn, extras))
    correction = Correction.of(not noctf and series.ctf is not None)
    numbers = numbers_in_source(series)
    rows = [
        replace(row, number=numbers[row.number - 1])
        for row in tilt_gains(series, Transfer.of(series, correction), thickness=thickness, n_threads=j)
    ]
    if png is not None:
        tilt_gains_png(png, series.name, rows)
    if json:
        typer.echo(json_text.dumps({"tomogram": series.name, "images": [asdict(row) for row in rows]}, indent=1))
        return
    say(console, "tomogram", f"{series.name}: {len(rows)} images; those with the least signal come first")
    for row in rows[: max(SHOWN, sum(row.hurts for row in rows))]:
        say(
            console,
            "hurts" if row.hurts else "",
            f"image {row.number} at {row.tilt_angle:.1f}°: signal {row.signal:.2f}, agreement {row.agreement:.2f}, "
            f"gain in FSC {row.gain:+.4f}",
        )
    if png is not None:
        say(console, "picture", str(png))
    bad = sorted(row.number for row in rows if row.hurts)
    if bad:
        say(console, "next", f"look at these images, then leave them out: --exclude {','.join(map(str, bad))}")
    else:
        say(console, "next", "no image stands out: keep all")
