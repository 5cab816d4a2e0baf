"""The command ``extract``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from fourierrecon.cli.groups import with_groups
from fourierrecon.cli.option_groups import SupplementOptions
from fourierrecon.cli.options import (
    FLAG,
    Quiet,
    Threads,
    input_option,
    output_option,
    running_option,
    weighting_option,
)
from fourierrecon.text import counted


@with_groups("t", "picks", "box", "binning", "o", "kind")
def extract(
    *,
    t: Annotated[Path, input_option("FILE", "Tomogram set, or a tilt series, as for reconstruct", "--t")],
    picks: Annotated[Path, input_option("FILE", "Points: .star, .csv, .mod, or copick's .json", "--picks")],
    box: Annotated[int, output_option("N", "Side of the boxes, voxels; even", "--box", least=4)],
    o: Annotated[Path, output_option("FOLDER", "Folder for the boxes and their lists", "--o", "-o")],
    binning: Annotated[int, output_option("B", "Voxel over pixel, a whole number. Default: 1", "--bin", least=1)] = 1,
    kind: Annotated[
        str,
        output_option(
            "KIND",
            "volumes: subtomograms; relion: pseudo-subtomograms for RELION; relion-stacks: stacks of images for "
            "RELION 5. Default: volumes",
            "--kind",
        ),
    ] = "volumes",
    tn: Annotated[
        list[str] | None, input_option("NAME", "Name of a tomogram; may be repeated. Default: all", "--tn")
    ] = None,
    frame: Annotated[
        str | None,
        input_option("FRAME", "Frame of the points, as for convert-coords. Default: as the file tells", "--from"),
    ] = None,
    from_bin: Annotated[
        float, input_option("FACTOR", "Binning of the volume that was picked in. Default: 1", "--from_bin")
    ] = 1.0,
    supplement: SupplementOptions,
    window: Annotated[
        int | None,
        output_option(
            "N",
            "Voxels of the box in which images are put together: room for what the CTF spreads. Default: twice --box",
            "--window",
            least=4,
        ),
    ] = None,
    invert: Annotated[
        bool | None,
        typer.Option(
            "--invert/--no_invert",
            help="Dense matter bright, or dark as in the images. Default: bright for RELION",
            rich_help_panel="Output",
            show_default=False,
        ),
    ] = None,
    snr: Annotated[
        float, weighting_option("RATIO", "Signal-to-noise ratio that volumes are divided with. Default: 10", "--SNR")
    ] = 10.0,
    noctf: Annotated[bool, weighting_option(FLAG, "Do not correct the CTF", "--noctf")] = False,
    ctf_depth: Annotated[
        str | None,
        weighting_option("MODE", "on, off or auto: the CTF at the depth of each box. Default: auto", "--ctf_depth"),
    ] = None,
    defocus_hand: Annotated[
        int | None,
        weighting_option("HAND", "Hand of the defocus, 1 or -1, in place of that of the set", "--defocus_hand"),
    ] = None,
    exposure: Annotated[
        str | None, weighting_option("NAME", "Exposure filter: grant, bfactor or none", "--exposure")
    ] = None,
    tilt_weight: Annotated[
        str | None, weighting_option("NAME", "Weight of steep images: cos or none", "--tilt_weight")
    ] = None,
    resume: Annotated[bool, running_option(FLAG, "Go on in a folder that an earlier run left", "--resume")] = False,
    j: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Extract boxes at picks straight from the images, each with the CTF at its own depth.

    \b
    fourierrecon extract --t tomograms.star --picks picks.star --box 96 --bin 2 --o particles/
    fourierrecon extract --t tomograms.star --picks picks.star --box 96 --bin 2 --kind relion-stacks --o particles/

    The folder gets Subtomograms/TOMOGRAM/N..., particles.star and optimisation_set.star, laid out as RELION does.
    """  # noqa: D301 (the help needs the control character itself)
    from fourierrecon.cli.arguments import supplement_of
    from fourierrecon.cli.console import ProgressBars, say, screen
    from fourierrecon.engine.settings import Settings
    from fourierrecon.particles.extract import Extraction
    from fourierrecon.particles.extract import extract as run

    started, console = time.perf_counter(), screen()
    console.quiet = quiet
    options: dict[str, Any] = {
        "exposure": exposure,
        "tilt_weight": tilt_weight,
        "ctf_depth": ctf_depth,
        "defocus_hand": defocus_hand,
    }
    made = outside = 0
    with ProgressBars(console) as stages:
        wanted = Extraction(
            source=t, picks=picks, folder=o, box=box, binning=binning, window=window, kind=kind,  # type: ignore[arg-type]
            frame=frame, picked_binning=from_bin, names=tuple(tn or ()), snr=snr, invert=invert,
            extras=supplement_of(supplement), resume=resume,
            settings=Settings(ctf=not noctf, n_threads=j, progress=stages, **options),
        )  # fmt: skip
        for each in run(wanted):
            made, outside = made + each.made, outside + each.outside
            more = [f"{n} {word}" for n, word in ((each.kept, "there already"), (each.outside, "in no image")) if n]
            say(console, "boxes", f"{each.name}: " + ", ".join([f"{each.made} made", *more]))
    seconds = time.perf_counter() - started
    say(console, "wrote", f"{o / 'particles.star'}: {counted(made, 'box', 'boxes')} after {seconds:.1f} s")
    if outside:
        say(console, "warning", f"{counted(outside, 'point')} left out, so far out that no image holds the box")
