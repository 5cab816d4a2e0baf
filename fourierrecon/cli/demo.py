"""The command ``demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fourierrecon.cli.options import FLAG, Threads, output_option


def demo(
    o: Annotated[Path, output_option("FOLDER", "Where to. Default: fourierrecon-demo", "--o")] = Path(
        "fourierrecon-demo"
    ),
    report: Annotated[
        bool, output_option(FLAG, "Half volumes, too, and a report on all in one HTML file", "--report")
    ] = False,
    j: Threads = None,
) -> None:
    """Simulate a tilt series of a cell, reconstruct it, and compare with the truth."""
    from fourierrecon.cli.console import ProgressBars, say, screen
    from fourierrecon.cli.messages import report_demo
    from fourierrecon.tomogram.output_paths import refuse_others

    refuse_others([o / "tomogram.mrc", o / "demo.png", o / "simulated"], o / "simulated/truth.mrc")
    console = screen()
    say(console, "demo", f"a simulated cell, its tilt series and tomogram, into {o}")
    from fourierrecon.simulation.demo import run_demo

    with ProgressBars(console) as stages:
        made = run_demo(o, n_threads=j, progress=stages)
    report_demo(console, made)
    if report:
        from fourierrecon.cli.report import report_set

        # as reconstruct --bin 1 --halves frames --report does it
        report_set(console, made.tomogram_set, o / "reconstructed", n_threads=j)
