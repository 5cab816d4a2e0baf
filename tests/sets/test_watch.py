"""Tilt series that arrive one after the other are reconstructed, each once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fourierrecon.io import list_tomograms, read_volume
from fourierrecon.io.relion.own_list import OWN
from fourierrecon.io.stacks.write import write_stack
from fourierrecon.sets.arrivals import sources_in
from tests.helpers.small_sets import command, volumes, write_small_set

WATCH = "watch in --o out --noctf --bin 2 --every 0.1"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with an empty folder that is watched."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    return tmp_path


def write_aln(folder: Path, name: str, tilt: float = 20.0) -> None:
    """Write an alignment of AreTomo for three images of 41 x 36 px."""
    rows = [f"    {i}   3.0   1.00000   0.0   0.0   1.00   1.00   1.00   0.00   {tilt * (i - 1)}\n" for i in range(3)]
    (folder / f"{name}.aln").write_text(
        "# AreTomo Alignment / Priims bprmMn\n# RawSize = 41 36 3\n# NumPatches = 0\n"
        "# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE     BASE     TILT\n"
        + "".join(rows)
    )


def write_images(path: Path) -> None:
    """Write its images."""
    write_stack(path, np.random.default_rng(1).normal(size=(3, 36, 41)).astype(np.float32), 10.0)


def in_parts(data: bytes, path: Path, pause: float, n: int = 4) -> None:
    """Write a file bit by bit."""
    with path.open("wb") as file:
        for part in range(n):
            file.write(data[len(data) * part // n : len(data) * (part + 1) // n])
            file.flush()
            time.sleep(pause)


def lines(out: str, label: str) -> list[str]:
    """Give what was said under a label."""
    return [line.removeprefix(label).strip() for line in out.splitlines() if line.startswith(f"{label} ")]


def test_series_arrive_one_after_the_other(run: Run, here: Path) -> None:
    # three times the same set, each time with one tomogram more; its images come after it, bit by bit
    sets = [write_small_set(here / f"set{n}", n) for n in (1, 2, 3)]
    stacks = {path.name: path.read_bytes() for path in here.glob("set3/*.mrcs")}
    for path in here.glob("set*/*.mrcs"):
        path.unlink()

    def collect() -> None:
        for number, path in enumerate(sets, 1):
            (here / "in/tilt_series").mkdir(exist_ok=True)
            name = f"TS_{number:02d}"
            tilts = (path.parent / f"tilt_series/{name}.star").read_text().replace(f"set{number}/", "in/")
            # as programs write them: the list before what it names
            in_parts(path.read_bytes(), here / "in/tomograms.star", 0.05)
            in_parts(tilts.encode(), here / f"in/tilt_series/{name}.star", 0.05)
            in_parts(stacks[f"{name}.mrcs"], here / f"in/{name}.mrcs", 0.15)
            time.sleep(0.3)

    collector = threading.Thread(target=collect)
    collector.start()
    status, out, err = run(f"{WATCH} --idle 0.05")
    collector.join()
    assert (status, err) == (0, "")
    assert [text.partition(" (")[0] for text in lines(out, "done")] == [
        f"TS_0{number}: out/tomograms/rec_TS_0{number}.mrc" for number in (1, 2, 3)
    ]
    assert all(text.endswith(" s: new)") for text in lines(out, "done"))
    assert "3 done; 0 failed" in out
    assert list_tomograms("out/tomograms.star") == ["TS_01", "TS_02", "TS_03"]
    # the same as from a whole set
    shutil.copytree("in", "again")
    for path in (here / "again/tilt_series").iterdir():
        path.write_text(path.read_text().replace("in/", "again/"))
    for path in here.glob("in/*.mrcs"):
        os.utime(f"again/{path.name}", ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    assert run("reconstruct --t again/tomograms.star --noctf --bin 2 --o clean/")[0] == 0
    assert volumes(here / "out") == volumes(here / "clean")

    # a new start makes nothing twice, and ends when it has seen all
    status, out, _ = run(f"{WATCH} --idle 0")
    assert status == 0
    assert lines(out, "done") == []
    assert len(lines(out, "there")) == 3


def test_what_is_waited_for_is_named(run: Run, here: Path) -> None:
    write_small_set(here / "in", 1)
    (here / "in/TS_01.mrcs").unlink()
    status, out, _ = run(f"{WATCH} --idle 0")
    assert status == 0
    (note,) = lines(out, "note")
    assert note.startswith("waiting for TS_01")
    assert "0 done; 0 failed" in out


@pytest.mark.slow
def test_what_fails_is_tried_again(run: Run, here: Path) -> None:
    # no CTF: that is said, once, until there is one
    write_aln(here / "in", "TS_01")
    write_images(here / "in/TS_01.mrc")
    line = WATCH.replace("--noctf", "--d 16 --voltage 300")

    def repair() -> None:
        time.sleep(1.2)
        rows = "".join(f"{i + 1} 30000 30000 0 0 0.9 5\n" for i in range(3))
        (here / "in/TS_01_CTF.txt").write_text(f"# Columns: #1 micrograph number; #2 - defocus 1 [A]\n{rows}")

    thread = threading.Thread(target=repair)
    thread.start()
    status, out, _ = run(f"{line} --idle 0.05")
    thread.join()
    assert status == 0, out
    (failed,) = lines(out, "failed")
    assert "the CTF needs" in failed
    assert "tried again when its files change" in failed
    assert len(lines(out, "done")) == 1
    assert list_tomograms("out/tomograms.star") == ["TS_01"]
    # what stays wrong is in the summary
    (here / "in/TS_01_CTF.txt").unlink()
    shutil.rmtree("out")
    status, out, _ = run(f"{line} --idle 0.01")
    assert status == 1
    assert "0 done; 1 failed" in out


@pytest.mark.slow
def test_another_alignment_is_another_input(run: Run, here: Path) -> None:
    write_aln(here / "in", "TS_01")
    write_images(here / "in/TS_01.mrc")

    def align() -> None:
        time.sleep(1)
        write_aln(here / "in", "TS_01", tilt=21.0)

    thread = threading.Thread(target=align)
    thread.start()
    status, out, _ = run(f"{WATCH} --d 16 --idle 0.05")
    thread.join()
    assert status == 0
    first, second = lines(out, "done")
    assert first.endswith(" s: new)")
    assert second.endswith(" s: inputs have changed)")


def test_one_name_in_two_files(run: Run, here: Path) -> None:
    for folder in ("a", "b"):
        (here / "in" / folder).mkdir()
        write_aln(here / "in" / folder, "TS_01")
        write_images(here / "in" / folder / "TS_01.mrc")
    status, out, _ = run(f"{WATCH} --d 16 --idle 0.02")
    assert status == 0
    assert len(lines(out, "done")) == 1
    assert any("TS_01 of in/b/TS_01.aln is left out" in text for text in lines(out, "note"))


@pytest.mark.slow
def test_a_copy_is_not_taken_for_the_original(run: Run, here: Path) -> None:
    # the images of the original are not there yet, those of an older copy are
    (here / "in/backup").mkdir()
    write_aln(here / "in", "TS_01")
    write_aln(here / "in/backup", "TS_01", tilt=10.0)
    write_images(here / "in/backup/TS_01.mrc")

    def arrive() -> None:
        time.sleep(1)
        write_images(here / "in/TS_01.mrc")

    thread = threading.Thread(target=arrive)
    thread.start()
    status, out, _ = run(f"{WATCH} --d 16 --idle 0.05")
    thread.join()
    assert status == 0
    assert len(lines(out, "done")) == 1
    assert any("in/backup/TS_01.aln is left out" in text for text in lines(out, "note"))
    assert run("reconstruct --t in/TS_01.aln --noctf --bin 2 --d 16 --o alone.mrc")[0] == 0
    mine, alone = read_volume("out/tomograms/rec_TS_01.mrc"), read_volume("alone.mrc")
    np.testing.assert_allclose(mine.data, alone.data, atol=1e-6)


def test_two_files_of_warp_for_one_series(run: Run, here: Path) -> None:
    for folder in ("a_backup", "warp_tiltseries"):
        (here / "in" / folder).mkdir()
        (here / "in" / folder / "TS_01.xml").write_text("<?xml version='1.0'?><TiltSeries/>")
    out = run(f"{WATCH} --idle 0.01")[1]
    assert "TS_01 is left out: in/a_backup/TS_01.xml and in/warp_tiltseries/TS_01.xml both describe it" in out


def test_other_options_and_other_sets(run: Run, here: Path) -> None:
    write_small_set(here / "in", 2)
    assert run(f"{WATCH} --idle 0.01")[0] == 0
    first, listed = volumes(here / "out"), (here / "out/tomograms.star").read_bytes()
    # what is there stays, and stays listed
    status, out, _ = run(f"{WATCH} --SNR 5 --idle 0.01")
    assert status == 1
    assert sum("options have changed; --redo makes it anew" in text for text in lines(out, "stale")) == 4
    assert (volumes(here / "out"), (here / "out/tomograms.star").read_bytes()) == (first, listed)
    assert run(f"{WATCH} --SNR 5 --redo --idle 0.01")[0] == 0
    assert volumes(here / "out") != first
    # two sets cannot be listed in one: what is no longer all is no list
    write_small_set(here / "in/more", 1, first=3)
    status, out, _ = run(f"{WATCH} --SNR 5 --idle 0.01")
    assert any("tomograms.star, the one of before is removed: tilt series come from" in t for t in lines(out, "note"))
    assert not (here / "out/tomograms.star").exists()


def test_names_that_share_a_file(run: Run, here: Path) -> None:
    for name in ("a", "a_half1"):
        write_aln(here / "in", name)
        write_images(here / "in" / f"{name}.mrc")
    row = "    3   3.0   1.00000   0.0   0.0   1.00   1.00   1.00   0.00   40.0\n"
    for path in here.glob("in/*.aln"):
        path.write_text(path.read_text().replace("41 36 3", "41 36 4") + row)
        images = np.random.default_rng(1).normal(size=(4, 36, 41)).astype(np.float32)
        write_stack(path.with_suffix(".mrc"), images, 10.0)
    status, out, _ = run(f"{WATCH} --d 16 --halves tilts --idle 0.01")
    assert status == 1
    assert "1 done; 1 failed" in out
    assert "a and a_half1 would both be written to out/tomograms/rec_a_half1.mrc" in out


def test_interrupted(here: Path) -> None:
    write_small_set(here / "in", 1)
    process = command(WATCH, cwd=here)
    try:
        end = time.monotonic() + 60
        while not Path("out/tomograms.star").exists() and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0
    assert "1 done; 0 failed" in out
    assert "Traceback" not in out


def test_the_folder_itself_is_no_output(run: Run, here: Path) -> None:
    status, _, err = run("watch in --o in/../in")
    assert status == 2
    assert "is the folder that is watched" in err
    assert run("watch nowhere --o out")[0] == 2


def test_what_names_tilt_series(here: Path) -> None:
    write_small_set(here / "in/relion", 1)
    for path, text in {
        "etomo/tilt.com": "",
        "etomo/TS_01.xf": "",
        "etomo/TS_01.tlt": "",
        "xf/TS_02.xf": "",
        "xf/TS_02.tlt": "",
        "xf/TS_02_fid.xf": "",
        "warp/TS_03.tomostar": "",
        "warp/xml/TS_03.xml": "<?xml version='1.0'?><TiltSeries/>",
        "warp/xml/backup/TS_03.xml": "<?xml version='1.0'?><TiltSeries/>",
        "warp/xml/a/TS_03.tomostar": "",
        "before/tomograms.star": f"# {OWN}\n_rlnTomoName",
        "warp/movies/a.xml": "<?xml version='1.0'?><Movie/>",
        "aretomo/TS_04.aln": "",
        "out/tomograms.star": "_rlnTomoName",
        ".hidden/TS_05.aln": "",
        "1/2/3/4/TS_06.aln": "",
        "1/2/3/TS_07.aln": "",
    }.items():
        (here / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (here / "in" / path).write_text(text)
    found = sources_in(here / "in", Path("in/out"))
    assert sorted(str(path.relative_to(here / "in")) for (path,) in found.values()) == [
        "1/2/3/TS_07.aln",
        "aretomo/TS_04.aln",
        "etomo/tilt.com",
        "relion/tomograms.star",
        "warp/xml/TS_03.xml",
        "xf/TS_02.xf",
    ]


@pytest.mark.slow
def test_what_somebody_took_out_in_warp_is_passed_over(run: Run, here: Path) -> None:
    write_aln(here / "in", "TS_01")
    write_images(here / "in/TS_01.mrc")
    (here / "in/TS_02.xml").write_text('<?xml version="1.0"?><TiltSeries UnselectManual="True" />')
    status, out, _ = run(f"{WATCH} --d 16 --idle 0.05")
    assert status == 0
    assert "1 done; 0 failed" in out
    assert [text for text in lines(out, "note") if "TS_02" in text] == [
        "in/TS_02.xml is left out: somebody took it out in Warp (UnselectManual)"
    ]
