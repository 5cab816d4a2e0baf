"""Local alignment on the command line: what is said and written, on and off, in sets, and for points."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from fourierrecon import reconstruct
from fourierrecon.geometry.displacement import FieldOf, positions_in
from fourierrecon.io import read_tilt_series
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.simulate import simulate, write_simulation

Run = Callable[..., tuple[int, str, str]]
SIZE = (48, 44, 16)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a RELION 5 set in ``set/`` whose images are bent."""
    local = FieldOf(lambda tilt, points: 3e-3 * (points[:, :2] - 22) ** 2 * (1 + 0.1 * tilt) - 0.5)
    specimen = Gaussians(np.random.default_rng(0).uniform(4, 12, (20, 3)) * [3.5, 3, 1], np.array(1.5), np.array(1.0))
    simulation = simulate(specimen, SIZE, tilt_angles=range(-48, 49, 12), snr=None, local=local, n_threads=1)
    write_simulation(tmp_path / "set", simulation)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def label(path: str) -> str:
    with mrcfile.open(path) as file:
        return b"\n".join(file.header.label).decode()


def test_reconstruct_applies_it_and_says_so(run: Run, folder: Path) -> None:
    status, out, err = run("reconstruct --t set/tomograms.star --bin 1 --noctf --SNR 10 --passport --o a.mrc --j 1")
    assert (status, err) == (0, "")
    line = next(line for line in out.splitlines() if line.startswith("local"))
    assert "RELION deformations (spline" in line
    assert "tiles leave 0." in line
    assert "(--local off leaves it out)" in line
    series = read_tilt_series("set/tomograms.star")
    with mrcfile.open("a.mrc") as file:
        want = reconstruct(series, weighting="wiener:snr=10", ctf=False).data
        np.testing.assert_allclose(file.data, want, atol=1e-5 * np.abs(want).max())
    assert "local RELION deformations" in label("a.mrc")
    assert "as a filter of the images" in label("a.mrc").replace("\n", " ")
    record = json.loads(Path("a.passport.json").read_text())["local_alignment"]
    assert record["applied"] is True
    assert 0 < record["residual_binned_px"] < 0.25
    assert record["rms_px"] > 0.5

    status, out, _ = run("reconstruct --t set/tomograms.star --bin 1 --noctf --SNR 10 --local off --o b.mrc --j 1")
    assert status == 0
    assert "local alignment left out" in out
    with mrcfile.open("b.mrc") as file:
        want = reconstruct(series, weighting="wiener:snr=10", ctf=False, local=False).data
        np.testing.assert_allclose(file.data, want, atol=1e-5 * np.abs(want).max())
    status, _, err = run("reconstruct --t set/tomograms.star --local maybe --o c.mrc")
    assert status != 0
    assert "allowed: on, off" in err


def test_sets_make_volumes_anew_where_it_changes(run: Run, folder: Path) -> None:
    command = "reconstruct --t set/tomograms.star --bin 2 --noctf --SNR 10 --halves tilts --o all/ --j 1"
    assert run(command)[0] == 0
    assert "local RELION deformations" in label("all/tomograms/rec_TS_01.mrc")
    before = Path("all/tomograms/rec_TS_01.mrc").stat().st_mtime_ns
    assert run(command)[0] == 0
    assert Path("all/tomograms/rec_TS_01.mrc").stat().st_mtime_ns == before
    run(command + " --local off --redo")
    assert "local RELION deformations" not in label("all/tomograms/rec_TS_01.mrc")


def test_plan_and_info_name_it(run: Run, folder: Path) -> None:
    assert "RELION deformations" in run("info set/tomograms.star")[1]
    status, out, _ = run("plan --t set/tomograms.star --bin 2 --noctf --j 1")
    assert status == 0
    assert "tiles leave" in out


def test_points_are_found_in_the_images(run: Run, folder: Path) -> None:
    Path("points.csv").write_text("x,y,z\n10,12,5\n30,25,8\n")
    status, out, err = run(
        "convert-coords points.csv out.csv --from volume --to relion5 --t set/tomograms.star --from_bin 1 "
        "--images where.csv"
    )
    assert (status, err) == (0, "")
    assert "RELION deformations" in out
    rows = np.genfromtxt("where.csv", delimiter=",", skip_header=1, usecols=(0, 2, 4, 5))
    series = read_tilt_series("set/tomograms.star")
    want = positions_in(series, np.array([[10.0, 12.0, 5.0], [30.0, 25.0, 8.0]]))
    assert len(rows) == 2 * series.n_tilts
    for point, image, x, y in rows:
        np.testing.assert_allclose([x, y], want[int(image) - 1, int(point) - 1], atol=1e-3)
    status, _, err = run(
        "convert-coords points.csv o.csv --from volume --to relion5 --size 4 4 4 --angpix 1 --images w.csv"
    )
    assert status != 0
    assert "--images needs the tilt series" in err
