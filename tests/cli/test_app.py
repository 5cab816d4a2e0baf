"""The command line: options and aliases, what is said and written, and errors of one or two lines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from fourierrecon.cli import console
from fourierrecon.geometry.region import default_binning
from fourierrecon.io import FileImages, MrcStack, read_mrc_volume, read_tilt_series, write_relion5_set
from tests.helpers.one_set import Run, T, check_refusal, drop_columns, make_series, two_tomograms, volume

# what it does


@pytest.mark.parametrize("line", ["--help", "-h", "", "reconstruct --help", "reconstruct -h", "info --help"])
def test_help(run: Run, line: str) -> None:
    status, out, err = run(line)
    assert status == 0
    assert "Usage: fourierrecon" in out
    assert err == ""


def test_help_lists_every_option_of_relion(run: Run) -> None:
    out = run("reconstruct --help")[1]
    options = "i t tn o no_weight pre_weight weighting SNR noctf keep_mean td tf x0 y0 z0 w h d bin"
    for option in f"{options} binned_angpix j".split():
        assert re.search(rf"--{option}\b", out), option


def test_version(run: Run) -> None:
    status, out, _ = run("--version")
    assert status == 0
    assert re.fullmatch(r"fourierrecon \d+\.\d+\.\d+\S*\n", out)


def test_reconstruct_says_what_it_does(folder: Path, run: Run) -> None:
    status, out, err = run(f"reconstruct {T} --o out/deep/x.mrc --bin 2 --j 2")
    assert status == 0, err
    assert err == ""
    for part in ("TS_01", "7 images of 40 x 36 px at 10 Å", "20 x 18 x 8 voxels", "20 Å", "SNR measured"):
        assert part in out
    assert "(snr=" not in out
    assert "by default" not in out
    assert "300 kV" in out
    assert "out/deep/x.mrc" in out
    with mrcfile.open("out/deep/x.mrc", header_only=True) as mrc:
        assert (mrc.header.nx, mrc.header.ny, mrc.header.nz) == (20, 18, 8)
        assert mrc.voxel_size.x == pytest.approx(20.0)
    assert os.listdir("out/deep") == ["x.mrc"]


def test_height_is_an_option_and_not_help(folder: Path, run: Run) -> None:
    status, _, err = run(f"reconstruct {T} --o x.mrc --bin 1 --w 10 --h 12 --d 6 --x0 -3 --y0 4.5 --z0 2")
    assert status == 0, err
    assert volume("x.mrc").shape == (6, 12, 10)
    assert read_mrc_volume("x.mrc").origin == pytest.approx((-30, 45, 20))


def test_one_coordinate_of_the_origin_leaves_the_others(folder: Path, run: Run) -> None:
    assert run(f"reconstruct {T} --o x.mrc --bin 1 --y0 5")[0] == 0
    assert read_mrc_volume("x.mrc").origin == pytest.approx((10, 50, 10))


@pytest.mark.parametrize(
    ("options", "same_as"),
    [
        ("--bin 2 --no-weight", "--bin 2 --no_weight"),
        ("--bin 2 --no-weight", "--bin 2 --weighting none"),
        ("--bin 2 --pre-weight --snr 3", "--bin 2 --pre_weight --SNR 3"),
        ("--bin 2 --pre_weight --SNR 3", "--bin 2 --weighting preweight:snr=3"),
        ("--bin 2 --SNR 3", "--bin 2 --weighting wiener:snr=3"),
        ("--bin 2 --keep-mean", "--bin 2 --keep_mean"),
        ("--binned-angpix 25", "--bin 2.5"),
        ("--binned_angpix 10", "--bin 1"),
        ("--bin 2 --ctf", "--bin 2"),
        ("--bin 2 --profile eyes", "--bin 2"),
        ("--bin 2 --profile matching --SNR 3", "--bin 2 --weighting exact:snr=3 --ctf_mode phase-flip"),
        ("--bin 2 --profile warp", "--bin 2 --SNR inf --ctf_mode absolute --exposure bfactor --tilt_weight cos"),
        (
            "--bin 2 --profile imod-sirtlike:5",
            "--bin 2 --weighting sirtlike:n_iterations=5,cutoff=0.35,sigma=0.035 --ctf_mode phase-flip",
        ),
        ("", "--bin 1"),  # 10 Å
    ],
)
def test_options_that_mean_the_same(folder: Path, run: Run, options: str, same_as: str) -> None:
    for name, given in (("a.mrc", options), ("b.mrc", same_as)):
        status, _, err = run(f"reconstruct {T} --o {name} {given}")
        assert status == 0, err
    np.testing.assert_array_equal(volume("a.mrc"), volume("b.mrc"))


@pytest.mark.parametrize(
    ("options", "other"),
    [
        ("--no_weight", "--pre_weight"),
        ("--SNR 1", "--SNR 100"),
        ("--noctf", "--ctf"),
        ("--keep_mean", ""),
        ("--no_weight --td 4 --tf 2", "--no_weight"),
    ],
)
def test_options_that_make_a_difference(folder: Path, run: Run, options: str, other: str) -> None:
    for name, given in (("a.mrc", options), ("b.mrc", other)):
        assert run(f"reconstruct {T} --o {name} --bin 2 {given}")[0] == 0
    assert not np.allclose(volume("a.mrc"), volume("b.mrc"), rtol=1e-3)


def test_the_set_wins_over_the_optimisation_set(folder: Path, run: Run) -> None:
    status, _, err = run("reconstruct --i nowhere.star --t set/tomograms.star --o x.mrc")
    assert status == 0
    assert "--i: does nothing with --t" in err


def test_optimisation_set_and_relion_5_give_the_same_volume(folder: Path, run: Run) -> None:
    assert run("reconstruct --i set/optimisation_set.star --o a.mrc --bin 1")[0] == 0
    assert run("reconstruct --t set5/tomograms.star --tn TS_01 --o b.mrc --bin 1")[0] == 0
    a, b = volume("a.mrc"), volume("b.mrc")
    assert np.linalg.norm(a - b) <= 1e-4 * np.linalg.norm(a)


def test_size_from_the_images_is_said(folder: Path, run: Run) -> None:
    star = Path("set5/tomograms.star").read_text()
    if "rlnTomoSizeX" in star:
        write_relion5_set("sizeless", make_series(size=False))
        drop_columns(Path("sizeless/tomograms.star"), "rlnTomoSizeX", "rlnTomoSizeY", "rlnTomoSizeZ")
    status, out, err = run("reconstruct --t sizeless/tomograms.star --o x.mrc --bin 4")
    assert status == 0, err
    assert "--w --h --d" in out
    assert volume("x.mrc").shape == (75, 9, 10)
    # what is given is not said to be assumed
    for options, text in (
        ("--bin 4 --d 40", "width and height from the images, the rest as asked for"),
        ("--bin 4 --d auto", "depth 300 px until that of the specimen is measured"),
        ("--bin 4 --w 40", "height from the images, depth 300 px (300 nm) assumed, the rest as asked for"),
    ):
        out = " ".join(run(f"plan --t sizeless/tomograms.star {options}")[1].split())
        assert text in out
        assert ("assumed" in out) == ("assumed" in text)


def test_windows_line_ends_and_a_mark_are_read(folder: Path, run: Run) -> None:
    path = Path("set/tomograms.star")
    path.write_bytes(b"\xef\xbb\xbf# a comment\r\n" + path.read_bytes().replace(b"\n", b"\r\n"))
    status, _, err = run(f"reconstruct {T} --o x.mrc")
    assert status == 0, err


def test_info(folder: Path, run: Run) -> None:
    status, out, err = run("info set/tomograms.star")
    assert status == 0, err
    for part in (
        "TS_01",
        "-45.0° to 45.0°",
        "40 x 36 px",
        "10 Å",
        "3.0°",
        "2.00 µm",
        "40 x 36 x 16 px",
        "(1, 1, 1)",
    ):
        assert part in out
    assert "fourierrecon reconstruct --t set/tomograms.star --o TS_01.mrc" in out


def test_voxels_are_about_10_angstrom_where_nothing_is_asked_for(folder: Path, run: Run) -> None:
    out = run(f"reconstruct {T} --o a.mrc")[1]
    assert "voxels (w x h x d) of 10 Å, binning 1" in out
    assert "voxels of about 10 Å by default (--bin, --binned_angpix)" in out
    for pixel, binning in ((0.5, 20), (1.35, 7), (2.7, 4), (3.37, 3), (6.8, 1), (10, 1), (25, 1)):
        assert default_binning(pixel) == binning
    assert all(6.6 < p * default_binning(p) < 15.01 for p in np.linspace(0.3, 15, 500))


def test_info_reads_no_images(folder: Path, run: Run) -> None:
    stack = next(Path("set").glob("*.mrcs"))
    raw = bytearray(stack.read_bytes())
    raw[1024:] = np.full((len(raw) - 1024) // 4, np.nan, np.float32).tobytes()
    stack.write_bytes(raw)
    assert run("info set/tomograms.star")[0] == 0


def test_info_of_several_tomograms(folder: Path, run: Run) -> None:
    two = two_tomograms()
    status, out, err = run(f"info {two}")
    assert status == 0, err
    assert "TS_01" in out
    assert "TS_02" in out
    out = run(f"info {two} --tn TS_02")[1]
    assert "TS_01" not in out
    assert f"--t {two} --tn TS_02 --o TS_02.mrc" in out


def test_simulate_writes_what_reconstruct_reads(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run("simulate sim --size 48 40 24 --angpix 12 --noctf --snr inf --seed 3 --j 2")
    assert status == 0, err
    status, _, err = run(re.findall("fourierrecon (reconstruct .*)", out)[0])
    assert status == 0, err
    assert volume("sim/tomogram.mrc").shape == (12, 20, 24)
    assert run("reconstruct --t sim/tomograms_relion4.star --noctf --o sim/b.mrc --bin 2")[0] == 0
    np.testing.assert_allclose(volume("sim/b.mrc"), volume("sim/tomogram.mrc"), atol=1e-3 * volume("sim/b.mrc").std())


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ("--size 48 40 3", "--size 48 40 3"),
        ("--angpix 0", "--angpix 0"),
        ("--snr 0", "--SNR 0"),
        ("--seed -1", "--seed"),
    ],
)
def test_simulate_refuses(tmp_path: Path, run: Run, options: str, part: str) -> None:
    check_refusal(run(f"simulate {options}", str(tmp_path / "sim")), 2, [part])
    assert not (tmp_path / "sim").exists()


def test_demo_says_how_well_it_did_and_what_to_try(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from fourierrecon.simulation import demo

    monkeypatch.setattr(demo, "run_demo", partial(demo.run_demo, size=(56, 48, 24)))
    monkeypatch.chdir(tmp_path)
    status, out, err = run("demo --j 2")
    assert status == 0, err
    assert Path("fourierrecon-demo/tomogram.mrc").is_file()
    assert Path("fourierrecon-demo/demo.png").is_file()
    assert re.search(r"correlation .*Wiener 0\.\d\d", out)
    commands = [line.partition("fourierrecon ")[2] for line in out.splitlines() if "fourierrecon reconstruct" in line]
    assert len(commands) == 4
    for command in commands:
        status, _, err = run(command)
        assert status == 0, err


def test_sample_says_what_to_try(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from fourierrecon.simulation import sample_data

    def fetch(folder: Path, progress: Callable[[str], object], *, archive: Path | None) -> Path:
        progress(f"from {archive}")
        return folder / "tomograms.star"

    monkeypatch.setattr(sample_data, "fetch_sample", fetch)
    status, out, _ = run("sample real --archive a.tar.gz")
    assert status == 0
    assert "from a.tar.gz" in out
    assert "fourierrecon reconstruct --t real/tomograms.star" in out


# what it refuses

# the screen


def test_warnings_of_readers_are_one_line(folder: Path, run: Run) -> None:
    series = read_tilt_series(T.split()[-1])
    assert isinstance(series.images, FileImages | MrcStack)
    stack = series.images.stacks[0].path
    raw = bytearray(stack.read_bytes())
    raw[208:212] = bytes(4)
    stack.write_bytes(bytes(raw))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        status, _, err = run(f"info {T.split()[-1]}")
    assert status == 0
    lines = [line for line in err.splitlines() if line.startswith("warning")]
    assert len(lines) == 1
    assert "no MAP mark" in lines[0]
    assert ".py" not in err


def test_a_warning_is_said_once_where_a_file_is_read_twice(folder: Path, run: Run) -> None:
    stack = Path("set/TS_01.mrcs")
    raw = bytearray(stack.read_bytes())
    raw[208:212] = bytes(4)
    stack.write_bytes(bytes(raw))
    Path("picks.csv").write_text("x,y,z\n20,18,8\n")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        status, _, err = run(f"convert-coords picks.csv out.csv --from volume --to imod {T}")
    assert status == 0
    assert err.count("no MAP mark") == 1


def test_stages_report_each_stage_once(capsys: pytest.CaptureFixture[str]) -> None:
    with console.ProgressBars(console.screen()) as stages:
        for done in (0, 2, 1, 3, 3):
            stages("images", done, 3)
        stages("planes", 1, 2)
    out = capsys.readouterr().out
    assert out.count("images (3)") == 1
    assert "planes" not in out


def test_no_colours_and_no_wrapping_off_a_terminal(folder: Path, run: Run) -> None:
    name = "[red]" + "long" * 60 + ".mrc"
    status, out, _ = run(f"reconstruct {T} --o", name)
    assert status == 0
    assert "\x1b" not in out
    assert any(name in line for line in out.splitlines())


# as a process


def fourierrecon(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fourierrecon", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_as_a_process(folder: Path) -> None:
    done = fourierrecon("reconstruct", "--t", "set/tomograms.star", "--o", "x.mrc", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "x.mrc").exists()
    failed = fourierrecon("reconstruct", "--t", "nowhere.star", "--o", "y.mrc", cwd=folder)
    check_refusal((failed.returncode, failed.stdout, failed.stderr), 1, ["nowhere.star"])
    assert not (folder / "y.mrc").exists()


def test_help_and_import_load_nothing_heavy(tmp_path: Path) -> None:
    heavy = {"numba", "numpy", "scipy", "pandas", "matplotlib", "mrcfile", "starfile", "pyfftw", "http.server"}
    for code in ("from fourierrecon.cli.app import main; main(['--help'])", "import fourierrecon"):
        script = f"import sys; {code}; print('loaded', *sorted(set(sys.modules) & {heavy!r}))"
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout.splitlines()[-1].strip() == "loaded", code
