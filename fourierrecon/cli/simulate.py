"""The command ``simulate``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from fourierrecon.cli.options import FLAG, Threads, images_option, running_option
from fourierrecon.errors import UsageError
from fourierrecon.text import quoted


def simulate(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.")],
    size: Annotated[
        tuple[int, int, int],
        images_option("W H D", "Size of the tomogram, pixels. Default: 240 256 96", "--size"),
    ] = (240, 256, 96),
    angpix: Annotated[float, images_option("Å", "Pixel size. Default: 10", "--angpix")] = 10.0,
    snr: Annotated[
        float,
        images_option(
            "RATIO", "Signal-to-noise ratio of each image; inf adds no noise. Default: 0.1", "--SNR", "--snr"
        ),
    ] = 0.1,
    ctf: Annotated[
        bool, images_option(FLAG, "Apply the CTF of a microscope, or not. Default: --ctf", "--ctf/--noctf")
    ] = True,
    ctf_depth: Annotated[
        bool,
        images_option(
            FLAG,
            "Every point has the CTF of its own depth, as in a microscope, or there is one CTF for each image. "
            "Default: --ctf_depth",
            "--ctf_depth/--no_ctf_depth",
        ),
    ] = True,
    seed: Annotated[
        int, running_option("N", "Seed of the random specimen, shifts and noise. Default: 7", "--seed", least=0)
    ] = 7,
    j: Threads = None,
) -> None:
    """Simulate the tilt series of a cell with known truth: image stacks, RELION 4 and 5 sets."""
    if min(size) < 16:
        raise UsageError(f"--size {' '.join(map(str, size))}: each side must be 16 pixels or more")
    if not 0 < angpix < float("inf"):
        raise UsageError(f"--angpix {angpix:g} must be above 0 (Å)")
    if not snr > 0:
        raise UsageError(f"--SNR {snr:g} must be above 0; inf for no noise")
    from fourierrecon.cli.console import program, say, screen
    from fourierrecon.simulation.microscope import TILT_ANGLES, realistic_ctf
    from fourierrecon.simulation.phantom import cell_like_specimen
    from fourierrecon.simulation.simulate import simulate as run
    from fourierrecon.simulation.simulate import write_simulation
    from fourierrecon.tomogram.output_paths import refuse_others

    names = ("tomograms.star", "tomograms_relion4.star", "optimisation_set.star", "tilt_series", "TS_01.mrcs")
    refuse_others([folder / name for name in names], folder / "truth.mrc")
    console, started = screen(), time.perf_counter()
    say(console, "simulate", f"{len(TILT_ANGLES)} images of {size[0]} x {size[1]} px at {angpix:g} Å")
    simulation = run(
        cell_like_specimen(size, seed, pixel_size=angpix),
        size,
        pixel_size=angpix,
        ctf=realistic_ctf(len(TILT_ANGLES), seed) if ctf else None,
        snr=snr,
        seed=seed,
        n_threads=j,
        ctf_depth=ctf_depth,
    )
    files = write_simulation(folder, simulation)
    say(console, "wrote", f"{folder} after {time.perf_counter() - started:.1f} s")
    for label, path in (("RELION 5", files.relion5), ("RELION 4", files.relion4), ("truth", files.truth)):
        say(console, label, str(path))
    options = "--bin 2" if ctf else "--bin 2 --noctf"
    source, tomogram = quoted(str(files.relion5)), quoted(str(folder / "tomogram.mrc"))
    say(console, "next", f"{program()} reconstruct --t {source} {options} --o {tomogram}")
