"""Nothing that is read is written over, and nothing half written stays."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from fourierrecon.errors import UsageError
from fourierrecon.io import Supplement
from fourierrecon.io.files import keep, remove_leftovers, replacing, replacing_folder, temporary_folder
from fourierrecon.io.volumes.mrc import write_mrc
from fourierrecon.tomogram.inputs import input_files
from fourierrecon.volume import Volume
from tests.helpers.small_sets import command, contents, write_small_set

Run = Callable[..., tuple[int, str, str]]
ONE = "reconstruct --t set/tomograms.star --tn TS_01 --noctf --bin 2"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a set of two tomograms and their half images."""
    monkeypatch.chdir(tmp_path)
    write_small_set(Path("set"), 2, halves=True)
    return tmp_path


# what is read


def test_all_that_a_set_names(here: Path) -> None:
    named = {os.path.realpath(path) for path in input_files(Path("set/optimisation_set.star"), Supplement())}
    files = {str(path) for path in (here / "set").rglob("*") if path.is_file()}
    assert files <= named
    of_one = {os.path.realpath(path) for path in input_files(Path("set/tomograms.star"), Supplement(), "TS_01")}
    assert str(here / "set/TS_01_odd.mrcs") in of_one
    assert str(here / "set/TS_02_odd.mrcs") not in of_one


@pytest.mark.parametrize("name", ["TS_01.mrcs", "TS_01_even.mrcs", "TS_02_odd.mrcs", "link.mrc", "hard.mrc"])
def test_no_image_is_written_over(run: Run, here: Path, name: str) -> None:
    (here / "set/link.mrc").symlink_to("TS_01_even.mrcs")
    (here / "set/hard.mrc").hardlink_to(here / "set/TS_01_even.mrcs")
    before = contents(here / "set")
    for line in (ONE, ONE.replace("reconstruct", "plan").replace("--noctf", "--noctf --no_weight")):
        status, _, err = run(f"{line} --o set/{name}")
        assert status == 2
        assert f"--o set/{name} is one of the files that are read, or named by them" in err
        assert contents(here / "set") == before


def test_what_lies_beside_a_tomogram(run: Run, here: Path) -> None:
    # its picture, report or passport may have the name of an input, too
    (here / "a.png").symlink_to("set/TS_01.mrcs")
    (here / "a.html").symlink_to("set/tomograms.star")
    (here / "a.passport.json").symlink_to("set/tilt_series/TS_02.star")
    before = contents(here / "set")
    for option in ("--preview", "--report", "--passport"):
        status, _, err = run(f"{ONE} --o a.mrc {option}")
        assert status == 2
        assert err.startswith(f"error: {option} a.")
    assert contents(here / "set") == before
    assert not (here / "a.mrc").exists()
    # what is no input may be replaced
    assert run(f"{ONE} --o b.mrc --passport")[0] == 0
    assert run(f"{ONE} --o b.mrc --passport")[0] == 0


def test_other_commands(run: Run, here: Path) -> None:
    write_mrc(
        here / "v.mrc",
        Volume(np.random.default_rng(1).normal(size=(8, 9, 10)).astype(np.float32), 10.0, (0.0, 0.0, 0.0)),
    )
    (here / "points.csv").write_text("x,y,z\n1,2,3\n")
    (here / "v.png").symlink_to("v.mrc")
    (here / "out.csv").symlink_to("points.csv")
    (here / "out.star").symlink_to("set/tilt_series/TS_01.star")
    (here / "set/tomograms.star").rename(here / "set/other.star")
    before = contents(here)
    points = "convert-coords points.csv {} --t set/other.star --tn TS_01 --from relion4 --to imod"
    for line in (
        "preview v.mrc",
        "compare v.mrc v.mrc --o v.png",
        points.format("out.csv"),
        points.format("out.star"),
        "import set/other.star --o set",  # its tables of tilts are of these names
        "import set/other.star --o set --overwrite",
        "import set/other.star --o set --copy",
        "simulate set --size 16 16 16",
    ):
        status, _, err = run(line)
        assert status == 2, line
        assert "error: " in err
        assert len(err.splitlines()) == 1, line
        assert contents(here) == before, line
    # whatever command it is: where files are written they are refused
    keep([here / "v.mrc"])
    with pytest.raises(UsageError, match="one of the files that are read"), replacing(here / "v.png"):
        pass
    with pytest.raises(UsageError, match="one of the files that are read"), replacing(here / "v.mrc"):
        pass


@pytest.mark.parametrize("words", [["--o", ""], ["--o="], ["--o", " "], ["--o", "a.mrc", "--tn", ""]])
def test_empty_values(run: Run, here: Path, words: list[str]) -> None:
    before = contents(here)
    status, _, err = run("reconstruct --t set/tomograms.star --noctf", *words)
    assert status == 2
    assert f"{words[-2] if len(words) > 1 else '--o'} is empty" in err
    assert contents(here) == before


# what is half written


def test_what_a_killed_process_left_goes(run: Run, here: Path) -> None:
    (here / ".fourierrecon-00.part").write_text("a")
    (here / ".fourierrecon-01.part").mkdir()
    (here / ".fourierrecon-01.part/zarr.json").touch()
    with replacing(here / "other") as file, temporary_folder(here) as folder:
        living = {Path(file.name), folder}
        assert run(f"{ONE} --o a.mrc")[0] == 0
        assert set(here.glob(".fourierrecon-*")) == living
        file.write(b"b")
    assert not list(here.glob(".fourierrecon-*"))
    assert (here / "other").read_bytes() == b"b"


def test_a_folder_that_is_written_is_not_taken_for_left_over(here: Path) -> None:
    for text in ("first", "second"):
        with replacing_folder(here / "v.zarr") as part:
            (part / "zarr.json").write_text(text)
            remove_leftovers(here)
        assert (here / "v.zarr/zarr.json").read_text() == text
    assert not list(here.glob(".fourierrecon-*"))


def is_writing(folder: Path) -> bool:
    """Tell whether a volume is being written; an empty file is there for a moment before, to see whether it can be."""
    for part in folder.glob(".fourierrecon-*.part"):
        with suppress(FileNotFoundError):
            if part.stat().st_size:
                return True
    return False


@pytest.mark.parametrize(
    ("number", "status", "stays"),
    [
        (signal.SIGTERM, 130, 0),
        pytest.param(signal.SIGHUP, 130, 0, marks=pytest.mark.slow),  # it has the way of SIGTERM
        (signal.SIGINT, 130, 0),
        (signal.SIGKILL, -signal.SIGKILL, 1),
    ],
)
def test_signals(run: Run, here: Path, number: int, status: int, stays: int) -> None:
    write_small_set(here / "large", 1, scale=8)
    line = "reconstruct --t large/tomograms.star --noctf --bin 1 --o new/folder/a.mrc"
    # a signal may be ignored by whoever started the tests
    process = command(line, cwd=here, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL) if stays == 0 else None)
    try:
        end = time.monotonic() + 120
        while not is_writing(here / "new/folder") and time.monotonic() < end:
            time.sleep(0.001)
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    if process.returncode == 0:
        pytest.skip("it was done before the signal came")
    assert process.returncode == status, out
    assert "Traceback" not in out
    assert len(list(here.glob("new/folder/.fourierrecon-*.part"))) == stays
    assert (here / "new").exists() == bool(stays)
    assert run(ONE + " --o new/folder/a.mrc")[0] == 0
    assert [path.name for path in (here / "new/folder").iterdir()] == ["a.mrc"]
