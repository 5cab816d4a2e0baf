"""Errors of the command line: one or two lines that name what is wrong and the remedy, and nothing half-written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from fourierrecon.errors import DataError
from fourierrecon.io import write_stack
from tests.helpers.one_set import Run, T, change, check_refusal, drop_columns, make_series, two_tomograms


def cut_short() -> None:
    stack = next(Path("set").glob("*.mrcs"))
    stack.write_bytes(stack.read_bytes()[:-100])


def new_images(images: object) -> None:
    stack = next(Path("set").glob("*.mrcs"))
    write_stack(stack, np.asarray(images, np.float32), 10.0)


def spoiled(value: float) -> None:
    images = np.array(make_series().images)
    images[3, 5, 6] = value
    new_images(images)


def blank() -> None:
    images = np.array(make_series().images)
    images[3] = 0
    new_images(images)


STAR = Path("set/tomograms.star")
DEFOCUS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
PIXEL = "rlnTomoTiltSeriesPixelSize"

# name: (what is done to the set, options, what the message must name)
BAD_DATA: dict[str, tuple[Callable[[], object], str, list[str]]] = {
    "no set": (lambda: shutil.rmtree("set"), "", ["set/tomograms.star"]),
    "no stack": (lambda: next(Path("set").glob("*.mrcs")).unlink(), "", ["TS_01.mrcs", "not found"]),
    "cut stack": (cut_short, "", ["TS_01.mrcs", "bytes"]),
    "no column": (lambda: drop_columns(STAR, "rlnTomoProjX"), "", ["rlnTomoProjX"]),
    "no pixel size": (lambda: drop_columns(STAR, PIXEL), "", [PIXEL]),
    "tilts": (lambda: new_images([make_series().images[i] for i in range(5)]), "", ["7 ", "5 images"]),
    "nan": (lambda: spoiled(np.nan), "", ["image 4"]),
    "infinite": (lambda: spoiled(np.inf), "", ["image 4"]),
    "blank": (blank, "", ["image 4"]),
    "pixel size 0": (lambda: change(STAR, PIXEL, "0"), "", ["pixel size 0"]),
    "pixel size below 0": (lambda: change(STAR, PIXEL, "-1.5"), "", ["pixel size -1.5"]),
    "no CTF": (lambda: drop_columns(STAR, *DEFOCUS), "", ["CTF", "--noctf"]),
    "no STAR file": (lambda: STAR.write_bytes(b"\x89PNG\0\0"), "", ["set/tomograms.star"]),
    "empty STAR file": (lambda: STAR.write_bytes(b""), "", ["set/tomograms.star", "empty"]),
    "folder as output": (lambda: Path("out.mrc").mkdir(exist_ok=True), "--o out.mrc", ["out.mrc", "folder"]),
    "file as folder": (lambda: Path("file").write_text(""), "--o file/x.mrc", ["file/x.mrc"]),
    "larger than the disk": (lambda: None, "--w 180000 --h 180000 --d 180000", ["GB left", "binning"]),
    "larger than the memory": (lambda: None, "--memory 50MB", ["memory", "allowed", "--memory", "--bin"]),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(folder: Path, run: Run, case: str) -> None:
    spoil, options, parts = BAD_DATA[case]
    Path("out").mkdir()
    Path("out/old.mrc").write_bytes(b"precious")
    spoil()
    line = f"reconstruct {T} --bin 2 {options if '--o' in options else f'--o out/old.mrc {options}'}"
    check_refusal(run(line), 1, parts)
    assert sorted(os.listdir("out")) == ["old.mrc"]
    assert Path("out/old.mrc").read_bytes() == b"precious"


USAGE = [
    (f"{T} --bin 1 --tn TS_99", ["TS_99", "TS_01"]),
    (f"{T} --bin 0.5", ["binning 0.5", "1 or more"]),
    (f"{T} --bin 0", ["binning 0"]),
    (f"{T} --bin nan", ["binning nan"]),
    (f"{T} --bin x", ["--bin"]),
    (f"{T} --bin", ["--bin"]),
    (f"{T} --bin inf", ["binning inf"]),
    (f"{T} --SNR 0", ["SNR 0", "above 0"]),
    (f"{T} --snr -3", ["SNR -3"]),
    (f"{T} --SNR nan --no_weight", ["SNR nan"]),
    (f"{T} --weighting wiener:snr=0", ["SNR 0"]),
    (f"{T} --weighting wiener:snr=high", ["snr", "high"]),
    (f"{T} --weighting wiener:sharpness=1", ["sharpness", "snr"]),
    (
        f"{T} --weighting wener",
        ["unknown weighting 'wener'", "cg, exact, none, preweight, ramp, sirt, sirtlike, tv, wiener"],
    ),
    (f"{T} --weighting cg:5,6", ["cg:5,6", "iterations is given twice"]),
    (f"{T} --profile eye", ["unknown profile 'eye'", "eyes, matching"]),
    (f"{T} --no_weight --pre_weight", ["--no_weight and --pre_weight"]),
    (f"{T} --no-weight --weighting none", ["--no_weight and --weighting"]),
    (f"{T} --bin 2 --binned_angpix 20", ["--bin and --binned_angpix"]),
    (f"{T} --binned_angpix 5", ["--binned_angpix 5", "10"]),
    (f"{T} --binned_angpix -1", ["--binned_angpix -1"]),
    (f"{T} --bin 8 --w 3", ["no voxels", "--w --h --d"]),
    (f"{T} --d -1", ["no voxels"]),
    (f"{T} --w 1e300 --h 1e300", ["larger than any tomogram", "unbinned"]),
    (f"{T} --memory lots", ["lots", "6GB"]),
    (f"{T} --memory 6", ["unit"]),
    (f"{T} --w inf", ["finite"]),
    (f"{T} --x0 nan", ["finite"]),
    (f"{T} --x0 100000", ["no image sees", "--x0"]),
    (f"{T} --td -1", ["--td"]),
    (f"{T} --tf -1", ["--tf"]),
    (f"{T} --td nan", ["--td"]),
    (f"{T} --j 0", ["--j"]),
    (f"{T} --j two", ["--j"]),
    (f"{T} --Fc", ["--Fc", "leave it out"]),
    (f"{T} --bi 4", ["--bi"]),
    (f"{T} --format zarr", ["--format", "name of a file", "--o NAME.zarr"]),
    (f"{T} surplus", ["surplus"]),
    ("", ["--t", "--i"]),
]


@pytest.mark.parametrize(("options", "parts"), USAGE)
def test_bad_usage(folder: Path, run: Run, options: str, parts: list[str]) -> None:
    check_refusal(run(f"reconstruct --o out/new/x.mrc {options}"), 2, parts)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (f"reconstruct {T}", ["--o"]),
        (f"reconstruct {T} --o", ["--o"]),
        (f"reconstruct {T} --o set/tomograms.star", ["set/tomograms.star", "unknown ending .star"]),
        (f"reconstruct {T} --o set/TS_01.mrcs", ["set/TS_01.mrcs", "another name"]),
        ("recon", ["recon", "reconstruct"]),
        ("info", ["SET"]),
        ("info set/tomograms.star --tn X", ["X", "TS_01"]),
    ],
)
def test_bad_command(folder: Path, run: Run, line: str, parts: list[str]) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    check_refusal(run(line), 2, parts)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("options", "text"),
    [("--erase_beads 0", "--erase_beads 0 must be"), ("--noctf --ctf_depth on", "--noctf and --ctf_depth on exclude")],
)
def test_a_set_is_not_begun_with_options_that_make_no_sense(folder: Path, run: Run, options: str, text: str) -> None:
    check_refusal(run(f"reconstruct {T} {options} --o out/"), 2, [text])
    check_refusal(run(f"watch set {options} --o out/ --idle 0"), 2, [text])
    assert not Path("out").exists()


def test_a_name_is_needed_among_several(folder: Path, run: Run) -> None:
    check_refusal(run(f"reconstruct --t {two_tomograms()} --o x.mrc"), 2, ["2 tomograms", "--o x/", "--tn TS_01"])


@pytest.mark.parametrize(
    ("trouble", "status", "text"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 1, "out of memory"),
        (OSError(28, "No space left on device", "x.mrc"), 1, "x.mrc: No space left on device"),
        (DataError("bad [b]data[/b]"), 1, "error: bad [b]data[/b]"),
    ],
)
def test_trouble_in_the_engine(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch, trouble: BaseException, status: int, text: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise trouble

    monkeypatch.setattr(import_module("fourierrecon.reconstruction"), "reconstruct_many", fails)
    check_refusal(run(f"reconstruct {T} --o out/new/x.mrc"), status, [text])
    assert not Path("out").exists()
