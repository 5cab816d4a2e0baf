"""A set with a good tilt series and two faulty ones, its products, and what the report finds in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fourierrecon import TiltSeries
from fourierrecon.cli import app
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.io.relion.import_set import write_set
from fourierrecon.report.assessment import find_out
from fourierrecon.report.findings import Findings
from fourierrecon.report.subjects import subjects_in
from fourierrecon.simulation.microscope import TILT_ANGLES, realistic_ctf
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import Simulation, simulate
from fourierrecon.tilt_series import ImageStack

SIZE = (160, 176, 56)


def cell(name: str, seed: int) -> Simulation:
    return simulate(
        cell_like_specimen(SIZE, seed, pixel_size=10.0, beyond=60),
        SIZE,
        ctf=realistic_ctf(len(TILT_ANGLES), 1),
        snr=0.3,
        seed=seed,
        name=name,
    )


def spoilt(simulation: Simulation, name: str) -> TiltSeries:
    """Shift an image by 12 px, give one another tilt, and blank one."""
    series = simulation.series
    images = np.array(series.images)
    images[12] = np.roll(images[12], 12, axis=1)
    images[30] = 0
    angles = series.tilt_angles.copy()
    angles[20] += 30
    centre = series.rotation_centre
    assert centre is not None
    matrices = projection_matrices(
        series.image_shape, centre, angles, simulation.tilt_axis_angle, simulation.x_tilt, simulation.shifts
    )
    return replace(series, name=name, images=images, projections=matrices, tilt_angles=angles)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set: a good tilt series, one with three faults, and one whose images are gone. Names that need care."""
    folder = tmp_path_factory.mktemp("source")
    simulation = cell("TS_2", 3)
    found: list[tuple[TiltSeries, dict[str, ImageStack]]] = [
        (simulation.series, {"Even": simulation.even, "Odd": simulation.odd}),
        (spoilt(simulation, "TS_10"), {}),
        (replace(simulation.series.select(range(20)), name="TS_<b>"), {}),
    ]
    for series, halves in found:
        write_set(folder / series.name[:5], [(series, halves)], "relion5", copy=True)
    path, _ = write_set(folder, found, "relion4", copy=True)
    stack = folder / "TS_<b>.mrcs"
    stack.write_bytes(stack.read_bytes()[:5000])
    return path


@pytest.fixture(scope="session")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of products with its report."""
    folder = tmp_path_factory.mktemp("made") / "out"
    line = f"reconstruct --t {source} --bin 1 --halves tilts --skip_bad_images --j 2 --report --o {folder}/"
    assert app.main(line.split()) == 1
    return folder


@pytest.fixture(scope="session")
def figures(made: Path) -> dict[str, Findings]:
    return {subject.name: find_out(subject, n_threads=2) for subject in subjects_in(made)}
