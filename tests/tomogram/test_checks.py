"""What looks like a mistake in a set is said, wherever a tomogram is made from it; sound sets are left in peace."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fourierrecon import Region, TiltSeries
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.io import write_stack
from fourierrecon.io.relion.import_set import write_set
from fourierrecon.sets.records import read_outcomes
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.tilt_series import CtfParameters
from fourierrecon.tomogram import checks
from tests.helpers.small_sets import small_series, write_small_set

Run = Callable[..., tuple[int, str, str]]
TILTS = np.linspace(-60, 60, 13)


def series_of(angles: Any = TILTS, shifts: Any = 0.0, **optics: Any) -> TiltSeries:
    """Give a sound tilt series of 13 images, but for what is given."""
    angles = np.asarray(angles, float)
    n = len(angles)
    matrices = projection_matrices((40, 42), (21, 20, 8), angles, 3.0, 0.0, np.broadcast_to(shifts, (n, 2)))
    sound = {"voltage": 300.0, "spherical_aberration": 2.7, "amplitude_contrast": 0.07}
    ctf = CtfParameters.of(n, **{**sound, "defocus_u": np.linspace(2.8e4, 3.2e4, n), **optics})
    images = np.random.default_rng(0).normal(size=(n, 40, 42)).astype(np.float32)
    return TiltSeries(
        images, matrices, 5.0, ctf=ctf, tilt_angles=angles, size=(42, 40, 16), rotation_centre=(21, 20, 8)
    )


def said_of(series: TiltSeries, *, ctf: bool = True) -> list[str]:
    return checks.warnings_of(series, Region.of(series), ctf=ctf)


DEFOCUS = np.linspace(2.8e4, 3.2e4, 13)
SOUND: dict[str, dict[str, Any]] = {
    "as it is": {},
    "near focus with a phase plate": {"defocus_u": 3e3, "phase_shift": 90.0},
    "120 kV": {"voltage": 120.0},
    "1 um": {"defocus_u": 1e4},
    "8 um": {"defocus_u": 8e4},
    "astigmatic": {"defocus_v": DEFOCUS - 3000},
}
ODD: dict[str, tuple[dict[str, Any], str]] = {
    "beyond 90": ({"angles": TILTS - 37}, "beyond 90°"),
    "steep": ({"angles": TILTS * 1.4}, "beyond 80°"),
    "all the same": ({"angles": np.full(13, 12.0)}, "all 13 tilts are 12.00°"),
    "all zero, few": ({"angles": np.zeros(3)}, "all 3 tilts are 0.00°"),
    "0 to 360": ({"angles": TILTS % 360}, "go round"),
    "beside": ({"shifts": [[0, 0]] * 5 + [[300, 0]] + [[0, 0]] * 7}, r"beside image 6 \(-10.0°\)"),
    "two beside": ({"shifts": [[0, 0]] * 5 + [[0, 300]] * 2 + [[0, 0]] * 6}, r"beside images 6 .*, 7 .*which show "),
    "no defocus": ({"defocus_u": 0.0}, "defocus of all images is 0"),
    "some without": ({"defocus_u": np.where(np.arange(13) < 4, 0, DEFOCUS)}, r"is 0 for images 1 .* and 1 more"),
    "um": ({"defocus_u": DEFOCUS / 1e4}, "looks like µm"),
    "nm": ({"defocus_u": DEFOCUS / 10}, "looks like nm"),
    "pm": ({"defocus_u": DEFOCUS * 10}, "another unit"),
    "negative": ({"defocus_u": -DEFOCUS}, "negative for images 1 .* and 10 more"),
    "one negative": ({"defocus_u": np.where(np.arange(13) == 6, -DEFOCUS, DEFOCUS)}, r"negative for image 7 \(0.0°\)"),
    "a failed fit": ({"defocus_u": np.where(np.arange(13) == 6, 2e5, DEFOCUS)}, r"of image 7 .* far from"),
    "30 kV": ({"voltage": 30.0}, "30 kV"),
    "3000 kV": ({"voltage": 3000.0}, "3000 kV"),
    "a lens of a light microscope": ({"spherical_aberration": 27.0}, "Cs of 27 mm"),
    "mostly amplitude": ({"amplitude_contrast": 0.7}, "amplitude contrast is 0.7"),
    "scale 0": ({"scale": np.where(np.arange(13) == 6, 0, 1)}, r"0 or negative for image 7 "),
    "scale negative": ({"scale": -1.0}, "0 or negative for images"),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_series_are_left_in_peace(name: str) -> None:
    assert said_of(series_of(**SOUND[name])) == []


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_said_once(name: str) -> None:
    changes, text = ODD[name]
    series = series_of(**changes)
    (line,) = said_of(series)
    assert re.search(text, line), line
    if {"angles", "shifts"}.isdisjoint(changes):
        assert said_of(series, ctf=False) == []


def test_odd_pixel_sizes() -> None:
    for pixel_size in (0.01, 1000.0):
        (line,) = said_of(replace(series_of(), pixel_size=pixel_size), ctf=False)
        assert f"{pixel_size:g} Å a pixel" in line


def test_a_pixel_size_that_a_header_contradicts_is_named_where_it_came_from(run: Run, tmp_path: Path) -> None:
    aln = ["# AreTomo Alignment / Priims bprmMn", "# RawSize = 41 36 3", "# NumPatches = 0"]
    rows = [f"{i} 3.0 1.0 0.0 0.0 1.0 1.0 1.0 0.0 {20.0 * (i - 1)}" for i in range(3)]
    (tmp_path / "ts.aln").write_text("\n".join([*aln, "# SEC ROT GMAG TX TY SMEAN SFIT SCALE BASE TILT", *rows]) + "\n")
    write_stack(tmp_path / "ts.mrc", np.random.default_rng(1).normal(size=(3, 36, 41)).astype(np.float32), 10.0)
    status, out, _ = run("plan", "--t", str(tmp_path / "ts.aln"), "--noctf", "--angpix", "5", "--d", "16")
    said = " ".join(out.split())
    assert status == 0
    assert "5 Å a pixel taken" in said
    assert "10 Å; if the header is right, correct --angpix" in said


def test_numbers_are_those_of_the_source() -> None:
    series = replace(series_of(scale=np.where(np.arange(13) == 6, 0, 1)), excluded=(1, 3))
    (line,) = said_of(series)
    assert "image 9 (" in line


@pytest.fixture
def odd_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set of two: the first with its defocus in µm, and a folder to be in."""
    monkeypatch.chdir(tmp_path)
    first = replace(small_series(1), ctf=realistic_ctf(5, 0))
    assert first.ctf is not None
    odd = replace(first.ctf, defocus_u=first.ctf.defocus_u / 1e4, defocus_v=first.ctf.defocus_v / 1e4)
    second = replace(small_series(2), ctf=realistic_ctf(5, 1))
    path, _ = write_set(Path("set"), [(replace(first, ctf=odd), {}), (second, {})], "relion5")
    return path


def test_warnings_reach_everyone(run: Run, odd_set: Path) -> None:
    one = f"reconstruct --t {odd_set} --tn TS_01 --bin 2"
    for line in (f"plan --t {odd_set} --tn TS_01 --bin 2", f"{one} --o a.mrc", f"{one} --o a.mrc --quiet --report",
                 f"{one} --o out/ --report", f"reconstruct --t {odd_set} --bin 2 --quiet --o quiet/",
                 "watch set --o watched --bin 2 --every 0.1 --idle 0.02 --quiet"):  # fmt: skip
        status, out, err = run(line)
        assert status == 0, err
        assert out.count("looks like µm") >= 1, line
    assert "looks like µm" in Path("a.html").read_text()
    assert run("report watched")[0] == 0
    for folder in ("out", "watched"):
        assert "looks like µm" in Path(folder, "report.html").read_text()
        rows = {row["name"]: row for row in csv.DictReader(Path(folder, "metrics.csv").read_text().splitlines())}
        assert rows["TS_01"]["status"] == "look"
        assert "looks like µm" in rows["TS_01"]["warnings"]
    assert (rows["TS_02"]["status"], rows["TS_02"]["warnings"]) == ("fine", "")
    # with nothing of it asked for, nothing is said
    assert "µm" not in run(f"{one} --o b.mrc --quiet --noctf")[1]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["relion4", pytest.param("relion5", marks=pytest.mark.slow)])
def test_images_that_two_tomograms_name_are_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_small_set(Path("set"), 2, version=version)
    line = f"--t {path} --bin 2 --noctf"
    assert "names images" not in run(f"reconstruct {line} --o out/")[1]
    # tomograms 1 and 3 are of the same size
    write_small_set(Path("set"), 1, first=7, version=version)
    path = write_small_set(Path("set"), 7, version=version)
    for file in Path("set").rglob("*.star"):
        file.write_text(file.read_text().replace("TS_07.mrcs", "TS_01.mrcs"))
    out = run(f"reconstruct {line} --tn TS_0[127] --o out/ --report")[1]
    assert out.count("warning   TS_01: names images of TS_07 as well") == 1
    assert "TS_07: names images of TS_01 as well" in out
    assert "TS_02: names" not in out
    assert "names images of TS_01" in Path("out/report.html").read_text()
    assert "TS_07 names images of TS_01" in run(f"plan {line} --tn TS_07")[1]
    assert "TS_01 names images of TS_07" in run(f"reconstruct {line} --tn TS_01 --o a.mrc --quiet")[1]
    watched = run("watch set --o watched --bin 2 --noctf --every 0.1 --idle 0.02 --quiet")[1]
    assert "TS_07: names images of TS_01 as well" in watched


def test_plan_and_watch_leave_bad_images_out_as_well(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy that a message names works for every command that gives it."""
    monkeypatch.chdir(tmp_path)
    ctf = replace(realistic_ctf(5, 0), scale=np.array([1.0, 1, 0, 1, 1]))
    path, _ = write_set(Path("set"), [(replace(small_series(1), ctf=ctf), {})], "relion5")
    for line in (f"plan --t {path} --bin 2", "watch set --o out --bin 2 --every 0.1 --idle 0.02"):
        status, out, err = run(line)
        assert status == 1
        assert "--skip_bad_images" in out + err
        assert run(line, "--skip_bad_images")[0] == 0


def test_what_is_made_already_is_warned_of_too(run: Run, odd_set: Path) -> None:
    line = f"reconstruct --t {odd_set} --bin 2 --quiet --o out/"
    for _ in range(2):
        assert "looks like µm" in run(line)[1]
    (note,) = read_outcomes(Path("out"))["TS_01"].notes
    assert "looks like µm" in note
