"""The command ``demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fourierrecon.cli.options import FLAG, Threads, output_option
from fourierrecon.text import quoted

if TYPE_CHECKING:
    from rich.console import Console

    from fourierrecon.simulation.demo import DemoReport


def demo(
    o: Annotated[Path, output_option("FOLDER", "Folder to write. Default: fourierrecon-demo", "--o")] = Path(
        "fourierrecon-demo"
    ),
    report: Annotated[
        bool, output_option(FLAG, "Make half volumes as well, and a report in one HTML file", "--report")
    ] = False,
    j: Threads = None,
) -> None:
    """Simulate a tilt series of a cell, reconstruct it, and compare with the truth."""
    from fourierrecon.cli.console import ProgressBars, say, screen
    from fourierrecon.tomogram.output_paths import refuse_others

    refuse_others([o / "tomogram.mrc", o / "demo.png", o / "simulated"], o / "simulated/truth.mrc")
    if report:
        from fourierrecon.cli.report import PAGE, check_replaceable

        check_replaceable(o / "reconstructed" / PAGE)
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


def report_demo(console: Console, report: DemoReport) -> None:
    """Print the steps of the demo, how well the tomogram matches the truth, and what to try next.

    Parameters
    ----------
    console
        Screen to write to.
    report
        Result of the demo.
    """
    from fourierrecon.cli.console import program, say

    (height, width), (deep, high, wide) = report.image_shape, report.volume_shape
    times = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in report.seconds.items())
    matches = ", ".join(f"{name} {value:.2f}" for name, value in report.correlation.items())
    say(
        console,
        "images",
        f"{report.n_tilts} of {width} x {height} px, with CTF, signal to noise {report.snr:g}",
    )
    say(console, "tomogram", f"{wide} x {high} x {deep} voxels of {report.voxel_size:g} Å: {report.tomogram}")
    say(console, "picture", str(report.picture))
    say(console, "time", times)
    say(console, "match", f"correlation with the truth, in what the tilts measured (1 is perfect): {matches}")
    folder, source = report.tomogram.parent, quoted(str(report.tomogram_set))
    say(console, "next", f"{program()} info {source}")
    for name, options in (("preweight", "--pre_weight"), ("matching", "--profile matching"), ("binned", "--bin 2")):
        rest = f"{options} --o {quoted(str(folder / f'{name}.mrc'))}"
        say(
            console,
            "",
            f"{program()} reconstruct --t {source} {'' if name == 'binned' else '--bin 1 '}{rest}",
        )
    halves = f"--bin 1 --halves frames --report --o {quoted(str(folder / 'reconstructed'))}/"
    say(console, "", f"{program()} reconstruct --t {source} {halves}")
    say(console, "", f"{program()} sample mycoplasma      (a real tilt series, 56 MB to download)")
