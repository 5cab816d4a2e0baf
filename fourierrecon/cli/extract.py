"""The command ``extract``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fourierrecon.cli.groups import with_groups
from fourierrecon.cli.option_groups import SupplementOptions
from fourierrecon.cli.option_groups_of_sets import ClusterOptions
from fourierrecon.cli.options import (
    FLAG,
    Quiet,
    Threads,
    input_option,
    one_of,
    output_option,
    running_option,
    weighting_option,
)
from fourierrecon.text import counted

if TYPE_CHECKING:
    from rich.console import Console

    from fourierrecon.particles.extraction import Extraction
    from fourierrecon.sets.outcomes import Outcome


def _layouts() -> tuple[str, ...]:
    from fourierrecon.particles.extraction import LAYOUTS

    return tuple(LAYOUTS)


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
            "RELION 5; warp, warp-stacks: the same in Warp's layout. Default: volumes",
            "--kind",
            autocompletion=one_of(_layouts),
        ),
    ] = "volumes",
    tn: Annotated[
        list[str] | None,
        input_option("NAME", "Name of a tomogram, or a pattern as TS_*; may be repeated. Default: all", "--tn"),
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
    diameter: Annotated[
        float | None,
        output_option(
            "ANGSTROM",
            "Diameter of the particle: outside of it, boxes of --kind warp are normalised. Default: that of the box",
            "--diameter",
        ),
    ] = None,
    invert: Annotated[
        bool | None,
        typer.Option(
            "--invert/--no_invert",
            help="Dense matter bright, or dark as in the images. Default: bright for RELION and Warp",
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
    resume: Annotated[
        bool,
        running_option(
            FLAG,
            "Go on in a folder that an earlier run left; --no_resume refuses such a folder. Default: --resume",
            "--resume/--no_resume",
        ),
    ] = True,
    part: Annotated[
        str | None,
        running_option(
            "I/N",
            "Only every N-th tomogram with points, starting with the I-th: for job arrays, which may run side by side",
            "--shard",
        ),
    ] = None,
    workers: ClusterOptions,
    j: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Extract boxes at picks straight from the images, each with the CTF at its own depth.

    \b
    fourierrecon extract --t tomograms.star --picks picks.star --box 96 --bin 2 --o particles/
    fourierrecon extract --t tomograms.star --picks picks.star --box 96 --bin 2 --kind relion-stacks --o particles/

    The folder gets the boxes of each tomogram, particles.star and optimisation_set.star, laid out as RELION or Warp
    does. The same command again makes what is missing.
    """  # noqa: D301 (the help needs the control character itself)
    from fourierrecon.cli.arguments import supplement_of
    from fourierrecon.cli.console import screen
    from fourierrecon.engine.settings import Settings
    from fourierrecon.particles.extraction import Extraction

    options: dict[str, Any] = {
        "exposure": exposure,
        "tilt_weight": tilt_weight,
        "ctf_depth": ctf_depth,
        "defocus_hand": defocus_hand,
    }
    wanted = Extraction(
        source=t, picks=picks, folder=o, box=box, binning=binning, window=window, layout=kind, frame=frame,
        picked_binning=from_bin, snr=snr, diameter=diameter, invert=invert, extras=supplement_of(supplement),
        resume=resume, settings=Settings(ctf=not noctf, n_threads=j, **options),
    )  # fmt: skip
    console = screen()
    console.quiet = quiet
    raise typer.Exit(_show(console, wanted, tn or [], part, workers))


def _show(console: Console, wanted: Extraction, names: list[str], part: str | None, workers: ClusterOptions) -> int:
    """Make the boxes and show how it goes on; give the exit status."""
    from fourierrecon.cli.console import ProgressBars, fail, say
    from fourierrecon.cli.messages_table import in_options, warning_in_options
    from fourierrecon.cli.set_summary import status_of
    from fourierrecon.runtime.threads import Progress
    from fourierrecon.sets.boxes import extract_set
    from fourierrecon.sets.follower import Follower

    class Screen(Follower):
        path: Path | None = None

        def begins(self, name: str) -> Progress | None:
            return stages

        def notes(self, label: str, text: str) -> None:
            say(console, label, in_options(text, "extract"))

        def lists(self, path: Path | None) -> None:
            self.path = path

    started, follower, outcomes = time.perf_counter(), Screen(), list["Outcome"]()
    said: set[str] = set()
    with ProgressBars(console) as stages:
        for outcome in extract_set(wanted, names, part=part, cluster=workers.chosen(), follower=follower):
            outcomes.append(outcome)
            for line in (warning_in_options(note, "extract") for note in outcome.notes):
                if line not in said:
                    said.add(line)
                    say(console, "warning", line)
            if (problem := outcome.error or outcome.stale) != "":
                fail(in_options(f"{outcome.name}: {problem}", "extract"))
            elif outcome.boxes is not None:
                say(console, "boxes", f"{outcome.name}: {_words(outcome)}")
    found = [outcome.boxes for outcome in outcomes if outcome.boxes is not None]
    made, outside = sum(boxes.made for boxes in found), sum(boxes.outside for boxes in found)
    if follower.path is not None:
        say(
            console,
            "wrote",
            f"{follower.path}: {counted(made, 'box', 'boxes')} after {time.perf_counter() - started:.1f} s",
        )
    if outside:
        say(console, "warning", f"{counted(outside, 'point')} left out, so far out that no image holds the box")
    return status_of(outcomes)


def _words(outcome: Outcome) -> str:
    """Say what became of the points of a tomogram."""
    assert outcome.boxes is not None
    boxes = outcome.boxes
    more = [f"{n} {word}" for n, word in ((boxes.kept, "there already"), (boxes.outside, "in no image")) if n]
    return ", ".join([f"{boxes.made} made", *more])
