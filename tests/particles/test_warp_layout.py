"""Boxes in Warp's layout: names, columns and digits of ``ts_export_particles``, and what RELION finds there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile

from fourierrecon import read_tilt_series
from fourierrecon.geometry.ctf_depth import depth_rows
from fourierrecon.geometry.region import Region
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import simulate, write_simulation

Run = Callable[..., tuple[int, str, str]]
SIZE = (96, 88, 40)
# columns of WarpTools, in its order; rlnCtfMaxResolution is not known here
VOLUMES = [
    "rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ", "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi",
    "rlnMicrographName", "rlnMagnification", "rlnDetectorPixelSize", "rlnImageName", "rlnCtfImage", "rlnPixelSize",
    "rlnVoltage", "rlnSphericalAberration",
]  # fmt: skip
STACKS = [
    "rlnTomoName", "rlnTomoParticleId", "rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ", "rlnAngleRot",
    "rlnAngleTilt", "rlnAnglePsi", "rlnTomoParticleName", "rlnOpticsGroup", "rlnImageName", "rlnOriginXAngst",
    "rlnOriginYAngst", "rlnOriginZAngst", "rlnTomoVisibleFrames",
]  # fmt: skip
TOMOGRAMS = [
    "rlnTomoName", "rlnTomoTiltSeriesName", "rlnTomoFrameCount", "rlnTomoSizeX", "rlnTomoSizeY", "rlnTomoSizeZ",
    "rlnTomoHand", "rlnOpticsGroupName", "rlnTomoTiltSeriesPixelSize", "rlnVoltage", "rlnSphericalAberration",
    "rlnAmplitudeContrast", "rlnTomoImportFractionalDose",
]  # fmt: skip
TILTS = [
    "rlnTomoProjX", "rlnTomoProjY", "rlnTomoProjZ", "rlnTomoProjW", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle",
    "rlnPhaseShift", "rlnCtfScalefactor", "rlnMicrographPreExposure",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("simulated")
    optics = realistic_ctf(11, seed=1)
    write_simulation(path, simulate(cell_like_specimen(SIZE), SIZE, ctf=optics, tilt_angles=range(-60, 61, 12)))
    labels = ["rlnTomoName", *(f"rlnCoordinate{axis}" for axis in "XYZ"), *VOLUMES[3:6]]
    labels += ["rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst", "rlnRandomSubset"]
    # the second lies at (41, 46, 22): a refinement moved it by 20 Å, 2 px, along x
    rows = ["TS_01 48 44 20 10 20 30 0 0 0 1", "TS_01 43 46 22 40 50 60 20 0 0 2"]
    head = "".join(f"_{label}\n" for label in labels)
    (path / "picks.star").write_text(f"data_\n\nloop_\n{head}" + "\n".join(rows) + "\n")
    return path


def extract(run: Run, folder: Path, out: Path, *more: str) -> None:
    line = ["--t", str(folder / "tomograms.star"), "--picks", str(folder / "picks.star"), "--from", "relion5-px"]
    code, _, error = run("extract", *line, "--box", "16", "--bin", "2", "--o", str(out), *more)
    assert (code, error) == (0, "")


def test_volumes(run: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "warp"
    extract(run, folder, out, "--kind", "warp", "--diameter", "160", "--exposure", "none")
    table = starfile.read(out / "particles.star")
    assert list(table.columns) == [*VOLUMES, "rlnRandomSubset"]
    # pixels of the boxes, from 0 at the middle of the first voxel, origins taken off
    np.testing.assert_allclose(table[VOLUMES[:3]].to_numpy(float), np.array([[24, 22, 10], [20.5, 23, 11]]))
    np.testing.assert_allclose(table[VOLUMES[3:6]].to_numpy(float), np.array([[10, 20, 30], [40, 50, 60]]))
    assert list(table["rlnMicrographName"]) == ["TS_01.tomostar"] * 2
    assert list(table["rlnPixelSize"]) == [20.0] * 2
    folder_of_boxes = out / "subtomo" / "TS_01"
    assert table["rlnImageName"][1] == str(folder_of_boxes / "TS_01_0000001_20.00A.mrc")
    assert table["rlnCtfImage"][1] == str(folder_of_boxes / "TS_01_0000001_ctf_20.00A.mrc")
    with mrcfile.open(table["rlnImageName"][0]) as file:
        volume = file.data.copy()
        assert (volume.shape, file.voxel_size.x) == ((16, 16, 16), 20)
    z, y, x = np.indices(volume.shape) - 8
    outside = volume[x * x + y * y + z * z > (160 / 20 / 2) ** 2]
    assert abs(outside.mean()) < 1e-4
    assert outside.std() == pytest.approx(1, rel=1e-4)
    with mrcfile.open(table["rlnCtfImage"][0]) as file:
        assert file.data.shape == (16, 16, 9)
        assert np.abs(file.data).max() <= 1.1


def test_stacks(run: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "warp"
    extract(run, folder, out, "--kind", "warp-stacks", "--exposure", "none")
    tables = starfile.read(out / "particles.star", always_dict=True)
    assert int(tables["general"]["rlnTomoSubTomosAre2DStacks"]) == 1
    particles = tables["particles"]
    assert list(particles.columns) == [*STACKS, "rlnRandomSubset"]
    np.testing.assert_allclose(particles[STACKS[2:5]].to_numpy(float), np.array([[24, 22, 10], [20.5, 23, 11]]))
    assert not particles[STACKS[11:14]].to_numpy(float).any()
    assert particles["rlnImageName"][0] == str(out / "particleseries" / "TS_01" / "TS_01_20.00A_000001.mrcs")
    with mrcfile.open(particles["rlnImageName"][0]) as file:
        assert file.data.shape == (particles["rlnTomoVisibleFrames"][0].count("1"), 16, 16)
    optics = tables["optics"]
    # a tomogram with the pixels of the stacks
    for label, value in (
        ("rlnTomoTiltSeriesPixelSize", 20),
        ("rlnImagePixelSize", 20),
        ("rlnTomoSubtomogramBinning", 1),
    ):
        assert float(optics[label][0]) == value
    sets = starfile.read(out / "particles_optimisation_set.star")
    tomograms = starfile.read(sets["rlnTomoTomogramsFile"], always_dict=True)
    assert list(tomograms) == ["global", "TS_01.tomostar"]
    whole = tomograms["global"]
    assert list(whole.columns) == TOMOGRAMS
    assert [int(whole[f"rlnTomoSize{axis}"][0]) for axis in "XYZ"] == [48, 44, 20]
    assert Path(whole["rlnTomoTiltSeriesName"][0]).is_file()
    tilts = tomograms["TS_01.tomostar"]
    assert list(tilts.columns) == TILTS


def test_relion_finds_the_ctf_that_stacks_were_multiplied_with(run: Run, folder: Path, tmp_path: Path) -> None:
    """By RELION's formula: the defocus grows by hand x pixel size x depth from the middle, by the third row."""
    out = tmp_path / "warp"
    extract(run, folder, out, "--kind", "warp-stacks", "--exposure", "none")
    tomograms = starfile.read(out / "particles_tomograms.star", always_dict=True)
    whole, tilts = tomograms["global"], tomograms["TS_01.tomostar"]
    series = read_tilt_series(folder / "tomograms.star", "TS_01")
    assert series.ctf is not None
    assert series.hand is not None
    voxel = np.array([20.5, 23, 11])
    middle = np.array([float(whole[f"rlnTomoSize{axis}"][0]) for axis in "XYZ"]) / 2
    pixel = float(whole["rlnTomoTiltSeriesPixelSize"][0])
    world = np.asarray(Region.of(series).origin) + 2 * voxel
    for tilt in range(series.n_tilts):
        matrix = [np.fromstring(tilts[f"rlnTomoProj{name}"][tilt].strip("[]"), sep=",") for name in "XYZ"]
        np.testing.assert_allclose(np.array(matrix)[:, :3] @ np.array(matrix)[:, :3].T, np.eye(3), atol=1e-6)
        depth = matrix[2][:3] @ (voxel - middle)
        found = float(tilts["rlnDefocusU"][tilt]) + float(whole["rlnTomoHand"][0]) * pixel * depth
        rows = depth_rows(series)[tilt]
        expected = series.ctf.defocus_u[tilt] + series.hand * series.pixel_size * (rows[:3] @ world + rows[3])
        # the middle of the tomogram is a voxel's corner for RELION: 10 Å do not matter
        assert found == pytest.approx(expected, abs=21)


def test_options_that_do_not_fit(run: Run, folder: Path, tmp_path: Path) -> None:
    line = ["--t", str(folder / "tomograms.star"), "--picks", str(folder / "picks.star"), "--from", "relion5-px"]
    code, _, error = run("extract", *line, "--box", "16", "--diameter", "100", "--o", str(tmp_path / "out"))
    assert (code, "--diameter 100: only --kind warp" in " ".join(error.split())) == (2, True)


def test_orientations_in_other_axes_are_left_out(run: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = ["--t", str(folder / "tomograms.star"), "--picks", str(folder / "picks.star"), "--from", "warp"]
    code, shown, _ = run("extract", *line, "--box", "16", "--window", "16", "--o", str(out))
    assert code == 0
    assert "orientations are not converted" in shown
    particles = starfile.read(out / "particles.star", always_dict=True)["particles"]
    assert "rlnAngleRot" not in particles
    # origins are, so the particle is where they put it: 2 px to the left
    assert float(particles["rlnOriginXAngst"][1]) == 0
    x = particles["rlnCenteredCoordinateXAngst"].to_numpy(float)
    assert x[1] - x[0] == pytest.approx(10 * (41 - 48))
    assert list(particles["rlnRandomSubset"]) == [1, 2]
