"""Whole sets: what is made, what is left, what is said, and what survives every way to end."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fourierrecon import reconstruction
from fourierrecon.cli import set_progress
from fourierrecon.cli.console import screen
from fourierrecon.errors import DataError, UsageError
from fourierrecon.io import list_tomograms, read_tilt_series, read_volume
from fourierrecon.io.relion.import_set import write_set
from fourierrecon.io.relion.read import read_halves
from fourierrecon.io.stacks.write import write_stack
from fourierrecon.io.star.table import read_tables
from fourierrecon.sets import keys, lock, one
from fourierrecon.sets.outcomes import Outcome
from fourierrecon.sets.recipe import Recipe
from fourierrecon.sets.run import choose_part
from fourierrecon.tilt_series import TiltSeries
from tests.helpers.real_data import real_data
from tests.helpers.small_sets import command, contents, finish, small_series, volumes, write_small_set

SET = "reconstruct --t set/tomograms.star --noctf --bin 2 --o out/"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a set of three tomograms."""
    monkeypatch.chdir(tmp_path)
    write_small_set(Path("set"), 3)
    return tmp_path


def reasons(out: str) -> dict[str, str]:
    """Give what was said of each tomogram: why it was made, or that it was there already."""
    found = re.findall(r"^\d+/\d+ +(\S+): \S+(?: and \d+ more)? \((?:made in [\d.]+ s: )?(.*)\)$", out, re.MULTILINE)
    return dict(found)


def names(out: str) -> list[str]:
    """Give the tomograms that were begun, in their order."""
    return [line.split()[1].rstrip(":") for line in out.splitlines() if line[0].isdecimal()]


# what is made


def test_a_set_is_what_its_tomograms_are_alone(run: Run, here: Path) -> None:
    status, out, err = run(SET)
    assert (status, err) == (0, "")
    assert names(out) == ["TS_01", "TS_02", "TS_03"]
    assert "3 done" in out
    assert "0 failed" in out
    for name in names(out):
        assert run(f"reconstruct --t set/tomograms.star --tn {name} --noctf --bin 2 --o {name}.mrc")[0] == 0
        mine, alone = read_volume(here / f"out/tomograms/rec_{name}.mrc"), read_volume(here / f"{name}.mrc")
        np.testing.assert_allclose(mine.data, alone.data, atol=1e-6)
        assert (mine.voxel_size, mine.origin) == (alone.voxel_size, alone.origin)


def test_the_list_is_read_back(run: Run, here: Path) -> None:
    shutil.rmtree("set")
    write_small_set(here / "set", 2, halves=True)
    assert run(f"{SET} --halves frames --do_proj")[0] == 0
    path = here / "out/tomograms.star"
    assert list_tomograms(path) == ["TS_01", "TS_02"]
    table = next(iter(read_tables(path).values()))
    for half, ending in (("", ""), ("Half1", "_half1"), ("Half2", "_half2")):
        files = table.words(f"rlnTomoReconstructedTomogram{half}")
        assert list(files) == [f"out/tomograms/rec_TS_0{i}{ending}.mrc" for i in (1, 2)]
        pictures = table.words(f"rlnTomogramProjection{half}")
        assert all(Path(file).is_file() for file in (*files, *pictures))
    assert list(table.numbers("rlnTomoTomogramBinning")) == [2, 2]
    # it is a set itself, wherever it is read from
    os.chdir("/")
    for number in (1, 2):
        again, first = read_tilt_series(path, f"TS_0{number}"), small_series(number)
        np.testing.assert_allclose(again.projections, first.projections, atol=1e-6)
        assert again.size == first.size
        halves = read_halves(path, again.name)
        np.testing.assert_array_equal(halves["Even"][3], np.asarray(first.images)[3] + 1)
        np.testing.assert_array_equal(halves["Odd"][3], np.asarray(first.images)[3] - 1)


def test_halves_are_those_of_even_and_odd_images(run: Run, here: Path) -> None:
    shutil.rmtree("set")
    write_small_set(here / "set", 1, halves=True)
    assert run(f"{SET} --halves frames --no_weight --keep_mean")[0] == 0
    full, even, odd = (read_volume(here / f"out/tomograms/rec_TS_01{end}.mrc").data for end in ("", "_half1", "_half2"))
    middle = (slice(3, 5), slice(7, 11), slice(8, 12))
    np.testing.assert_allclose((even + odd)[middle] / 2, full[middle], atol=1e-4)
    np.testing.assert_allclose((even - odd)[middle], 2, atol=0.02)


def test_a_relion_4_set_from_elsewhere(run: Run, here: Path) -> None:
    shutil.rmtree("set")
    write_small_set(here / "set", 2, halves=True, version="relion4")
    os.chdir("set")
    shutil.move("../set/TS_01_odd.mrcs", "../kept")
    assert (
        run("reconstruct --t tomograms.star --noctf --bin 2 --o ../out/")[0] == 0
    )  # images that were not needed may be missing
    os.chdir("..")
    assert list_tomograms("out/tomograms.star") == ["TS_01", "TS_02"]
    np.testing.assert_array_equal(read_halves("out/tomograms.star", "TS_02")["Odd"][0], small_series(2).images[0] - 1)


def test_a_single_alignment(run: Run, here: Path) -> None:
    # no set of RELION: the list is made from scratch
    (here / "TS_09.aln").write_text(
        "# AreTomo Alignment / Priims bprmMn\n# RawSize = 41 36 3\n# NumPatches = 0\n"
        "# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE     BASE     TILT\n"
        + "".join(
            f"    {i}   3.0   1.00000   0.0   0.0   1.00   1.00   1.00   0.00   {20 * i - 20}.0\n" for i in range(3)
        )
    )
    write_stack(here / "TS_09.mrc", np.random.default_rng(1).normal(size=(3, 36, 41)).astype(np.float32), 10.0)
    line = "reconstruct --t TS_09.aln --noctf --bin 2 --d 16 --o out/"
    status, _, err = run(line)
    assert (status, err) == (0, "")
    assert list_tomograms("out/tomograms.star") == ["TS_09"]
    assert reasons(run(line)[1]) == {"TS_09": "there already"}
    assert {"out/tomograms.star", "out/tilt_series/TS_09.star", "out/tomograms/rec_TS_09.mrc"} <= {
        str(path) for path in Path("out").rglob("*")
    }


@pytest.mark.parametrize("patterns", [["TS_0[13]"], ["TS_03", "TS_01"]])
def test_patterns_of_names(run: Run, here: Path, patterns: list[str]) -> None:
    status, out, _ = run(SET, *(word for pattern in patterns for word in ("--tn", pattern)))
    assert status == 0
    assert names(out) == ["TS_01", "TS_03"]
    status, _, err = run(SET, "--tn", "TS_1*")
    assert status == 2
    assert "available: TS_01, TS_02, TS_03" in err


def test_shards_make_all_between_them(run: Run, here: Path) -> None:
    found = []
    for part in ("2/2", "1/2"):
        status, out, _ = run(f"{SET} --shard {part}")
        assert status == 0
        assert f"(part {part})" in out
        found.append(names(out))
    assert found == [["TS_02"], ["TS_01", "TS_03"]]
    # the list has what others made, too
    assert list_tomograms("out/tomograms.star") == ["TS_01", "TS_02", "TS_03"]
    for wrong in ("0/2", "3/2", "1", "a/b", "-1/2"):
        status, _, err = run(f"{SET} --shard {wrong}")
        assert status == 2
        assert "I/N" in err


# what is made again, and why


def test_resume_says_why(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(reasons(run(SET)[1]).values()) == {"new"}
    first = volumes(here / "out")
    status, out, _ = run(SET)
    assert (status, set(reasons(out).values())) == (0, {"there already"})
    assert "3 there already" in out

    (here / "out/tomograms/rec_TS_01.mrc").unlink()
    os.truncate(here / "out/tomograms/rec_TS_02.mrc", 3000)
    (here / "out/tomograms/rec_TS_03.mrc").write_bytes(b"")
    whole = reasons(run(SET)[1])
    assert whole == {"TS_01": "new", "TS_02": "the file is broken", "TS_03": "the file is broken"}
    assert volumes(here / "out") == first


def test_what_is_there_and_does_not_fit_stays(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(SET)[0] == 0
    first, listed = volumes(here / "out"), (here / "out/tomograms.star").read_bytes()
    os.utime("set/TS_03.mrcs", (1, 1))
    (here / "out/tomograms/rec_TS_01.mrc").unlink()
    for option, number, why in (
        ("", 3, "inputs have changed"),
        ("--SNR 5", 2, "options have changed"),
        ("--w 30", 2, "its size has changed"),
    ):
        status, out, err = run(f"{SET} {option}")
        assert (status, err) == (1, "")
        assert f"stale     TS_0{number}: rec_TS_0{number}.mrc: {why}" in out
        assert "stale     TS_03: " in out
        assert ("TS_02: rec_TS_02.mrc: " in out) == bool(option)
        assert "--redo makes it anew" in out
        (here / "out/tomograms/rec_TS_01.mrc").unlink()  # what was missing was made
        assert {name: first[name] for name in volumes(here / "out")} == volumes(here / "out")
    run(SET)
    assert volumes(here / "out") == first
    # of TS_03 there is another alignment now, for all that is known: the list does not claim it
    assert list_tomograms("out/tomograms.star") == ["TS_01", "TS_02"]
    status, out, _ = run(f"{SET} --redo")
    assert (status, reasons(out)) == (
        0,
        {"TS_01": "there already", "TS_02": "there already", "TS_03": "inputs have changed"},
    )
    assert (here / "out/tomograms.star").read_bytes() == listed
    # what another version made is what was asked for
    monkeypatch.setattr(keys, "__version__", "99.0")
    status, out, _ = run(SET)
    assert status == 0
    assert out.count("made by version 0.1.0; it is left as it is") == 3
    assert out.count("there already") == 4
    assert set(reasons(run(f"{SET} --redo")[1]).values()) == {"made by version 0.1.0"}
    assert set(reasons(run(f"{SET} --no_resume")[1]).values()) == {"asked for"}


def test_tomograms_of_two_runs_in_one_list(run: Run, here: Path) -> None:
    assert run(f"{SET} --tn TS_01")[0] == 0
    assert run(f"{SET.replace('--bin 2', '--bin 4')} --tn TS_02")[0] == 0
    assert list_tomograms("out/tomograms.star") == ["TS_01", "TS_02"]
    table = read_tables(here / "out/tomograms.star")["global"]
    assert list(table.numbers("rlnTomoTomogramBinning")) == [2, 4]


def test_nothing_lies_beside_what_it_does_not_belong_to(run: Run, here: Path) -> None:
    line = f"{SET} --tn TS_01"
    assert run(f"{line} --halves tilts --do_proj --companions coverage")[0] == 0
    before = volumes(here / "out")
    # each of these would leave some of the others beside another volume
    for more, left in (
        ("", "projections/rec_TS_01.mrc"),
        ("--halves tilts", "projections/rec_TS_01.mrc"),
        ("--halves tilts --do_proj", "_coverage.mrc"),
        ("--do_proj --companions coverage", "_half1.mrc"),
    ):
        status, out, _ = run(f"{line} --SNR 5 --redo {more}")
        assert status == 1
        (why,) = {line for line in out.splitlines() if line.startswith("stale")}
        assert left in why
        assert "is not asked for" in why
        assert volumes(here / "out") == before
    # a run that was killed between halves and whole, and was not asked for halves again
    (here / "out/tomograms/rec_TS_01.mrc").unlink()
    assert run(f"{line} --SNR 5")[0] == 1
    assert run(line)[0] == 0
    assert volumes(here / "out") == before
    status, out, _ = run(f"{line} --SNR 5 --halves tilts --do_proj --companions coverage --redo")
    assert status == 0
    assert set(reasons(out).values()) == {"options have changed"}
    # the picture alone was of other slices
    status, out, _ = run(f"{line} --SNR 5 --do_proj --thickness_proj 2")
    assert status == 1
    assert "its projection: options have changed" in out


def test_what_no_run_made_stays(run: Run, here: Path) -> None:
    (here / "out/tomograms").mkdir(parents=True)
    shutil.copy("set/TS_02.mrcs", "out/tomograms/rec_TS_01.mrc")
    (here / "out/tomograms/rec_TS_02.mrc").write_text("notes")
    before = volumes(here / "out")
    for option in ("", "--redo", "--no_resume"):
        status, out, _ = run(f"{SET} {option}")
        assert status == 1
        assert out.count("it has no key, so no run on a set made it; move it away, or choose another folder") == 4
        assert {name: volumes(here / "out")[name] for name in before} == before


def test_another_alignment_is_another_input(run: Run, here: Path) -> None:
    assert run(SET)[0] == 0
    path = here / "set/tilt_series/TS_02.star"
    assert "\t-45\t" in path.read_text()
    path.write_text(path.read_text().replace("\t-45\t", "\t-45.5\t"))
    assert reasons(run(f"{SET} --redo")[1]) == {
        "TS_01": "there already",
        "TS_02": "inputs have changed",
        "TS_03": "there already",
    }


def test_what_goes_with_a_volume_is_looked_for(run: Run, here: Path) -> None:
    line = f"{SET} --do_proj --passport --tn TS_01"
    assert run(line)[0] == 0
    assert run(line)[1].count("there already") == 2
    (here / "out/projections/rec_TS_01.mrc").unlink()
    assert reasons(run(line)[1])["TS_01"] == "its projection: new"
    passport = here / "out/tomograms/rec_TS_01.passport.json"
    passport.unlink()
    assert reasons(run(line)[1])["TS_01"] == "its passport is missing, or that of another volume"
    # a process was killed after it wrote the volume, before it wrote its passport
    found = json.loads(passport.read_text())
    passport.write_text(json.dumps(found | {"key": "key of another"}))
    assert reasons(run(line)[1])["TS_01"].startswith("its passport")
    # and one that is not asked for does not stay with another volume
    assert run(f"{SET} --tn TS_01 --do_proj --SNR 5 --redo")[0] == 0
    assert not passport.exists()


def test_zarr_resumes(run: Run, here: Path) -> None:
    pytest.importorskip("zarr")
    line = f"{SET} --format zarr --dtype int8"
    assert set(reasons(run(line)[1]).values()) == {"new"}
    assert set(reasons(run(line)[1]).values()) == {"there already"}
    assert run(f"{SET} --format zarr")[1].count("options have changed") == 6
    assert set(reasons(run(f"{SET} --format zarr --redo")[1]).values()) == {"options have changed"}


def test_turned_tiff_images_are_not_read_for_keys(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(here / "TS_09.tif", np.asarray(small_series(9).images))
    series = small_series(9)
    from fourierrecon.io.stacks.open import FileImages

    images = FileImages([(here / "TS_09.tif", i) for i in range(5)])
    monkeypatch.setattr(FileImages, "__getitem__", lambda *_: pytest.fail("read an image"))
    found = TiltSeries(images, series.projections, 10.0, "TS_09")
    before = keys.make_key(found, [])
    os.utime(here / "TS_09.tif", (1, 1))
    assert keys.make_key(found, []) != before


def test_each_tomogram_has_a_thumbnail(run: Run, here: Path) -> None:
    assert run(f"{SET} --halves tilts")[0] == 0
    pictures = sorted(path.name for path in (here / "out/thumbnails").iterdir())
    assert pictures == [f"rec_TS_0{number}.png" for number in (1, 2, 3)]
    picture = here / "out/thumbnails/rec_TS_02.png"
    with Image.open(picture) as drawn:
        volume = read_volume(here / "out/tomograms/rec_TS_02.mrc")
        assert (drawn.mode, drawn.size) == ("L", volume.data.shape[:0:-1])
        middle = volume.data[1:6].mean(0)  # 10 nm of 20 Å, the middle of 8 sections
        assert np.corrcoef(np.asarray(drawn).ravel(), middle.ravel())[0, 1] > 0.99
    # whichever way the axes of the file run, it is the XY section
    assert run(f"{SET.replace('out/', 'turned/')} --like imod-tilt --tn TS_02")[0] == 0
    with Image.open(here / "turned/thumbnails/rec_TS_02.png") as turned:
        middle = volume.data[2:7].mean(0)  # z runs the other way
        assert np.corrcoef(np.asarray(turned).ravel(), middle.ravel())[0, 1] > 0.99
    # one that is missing is drawn, one of somebody else stays
    drawn_before = picture.read_bytes()
    picture.unlink()
    Image.new("L", (8, 8)).save(here / "out/thumbnails/rec_TS_01.png")
    status, out, _ = run(f"{SET} --halves tilts --tn TS_02")
    assert (status, picture.read_bytes()) == (0, drawn_before)
    assert run(f"{SET} --halves tilts --tn TS_01")[0] == 0
    status, out, _ = run(f"{SET} --halves tilts --tn TS_01 --SNR 3 --redo")
    assert status == 1
    assert "is no thumbnail that this program made; move it away" in out
    assert run(f"{SET.replace('out/', 'bare/')} --no_thumbnails")[0] == 0
    assert not (here / "bare/thumbnails").exists()


# what goes wrong


@pytest.mark.parametrize(
    ("outcome", "remedy"),
    [
        (Outcome(name="a", error="wrong data"), "correct what the errors name, then run the same command again"),
        (Outcome(name="a", error="lost", transient=True), "run the same command again"),
    ],
)
def test_what_to_do_about_a_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, outcome: Outcome, remedy: str
) -> None:
    monkeypatch.setattr(set_progress, "reconstruct_set", lambda *_, **__: iter([outcome]))
    recipe = Recipe(source=Path("a.star"), folder=Path("out"), binnings=(1.0,))
    assert set_progress.show_set(screen(), recipe) == 1
    assert f"next      {remedy}: it makes what is missing\n" in capsys.readouterr().out


def test_one_bad_series_does_not_stop_the_others(run: Run, here: Path) -> None:
    (here / "set/TS_02.mrcs").write_bytes(b"damaged")
    status, out, err = run(SET)
    assert (status, err) == (1, "")
    assert names(out) == ["TS_01", "TS_02", "TS_03"]
    assert out.count("TS_02 failed: ") == out.count("failed    TS_02: ") == 1  # at once, and in the summary
    assert "2 done" in out
    assert "1 failed" in out
    assert "next      correct what the errors name, then run the same command again: it makes what is missing" in out
    assert list_tomograms("out/tomograms.star") == ["TS_01", "TS_03"]
    write_stack(here / "set/TS_02.mrcs", small_series(2).images, 10.0)
    status, out, _ = run(f"{SET} --quiet")
    assert status == 0
    assert "1 done" in out
    assert "made" not in out
    assert list_tomograms("out/tomograms.star") == ["TS_01", "TS_02", "TS_03"]


def test_nothing_could_be_made(run: Run, here: Path) -> None:
    for path in here.glob("set/*.mrcs"):
        path.unlink()
    status, out, _ = run(SET)
    assert status == 1
    assert "3 failed" in out
    assert not (here / "out/tomograms.star").exists()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError(), "out of memory"),
        (OSError(28, "No space left on device", "there"), "there: No space left on device"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero; this should not happen"),
    ],
)
def test_errors_of_all_kinds_are_told(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
) -> None:
    real = reconstruction.reconstruct_many
    begun: list[int] = []

    def fail_once(*arguments: Any) -> None:
        begun.append(1)
        if len(begun) == 2:
            raise error
        real(*arguments)

    monkeypatch.setattr(one, "reconstruct_many", fail_once)
    status, out, err = run(SET)
    assert (status, err) == (1, "")
    assert f"failed    TS_02: {text}" in out
    assert "2 done" in out


def test_the_disk_is_full(here: Path) -> None:
    shutil.rmtree("set")
    write_small_set(here / "set", 2, scale=3)
    size = 60_000  # less than a tomogram

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    status, out = finish(SET, cwd=here, preexec_fn=limit, env=os.environ | {"NUMBA_CACHE_DIR": str(here / "numba")})
    assert status == 1
    assert "2 failed" in out
    assert "File too large" in out
    assert "Traceback" not in out
    assert contents(here / "out") == {}
    status, out = finish(SET, cwd=here)
    assert (status, "2 done" in out) == (0, True)


def test_a_folder_that_cannot_be_written(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: Any, *arguments: Any, **more: Any) -> int:
        if Path(os.fsdecode(path)).is_relative_to("out"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **more)

    monkeypatch.setattr(os, "open", refuse)
    status, _, err = run(SET)
    assert status == 1
    assert "Permission denied" in err
    assert "--o" in err
    assert len(err.splitlines()) == 1


def test_a_stack_vanishes_midway(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fourierrecon.io.stacks.mrc import MrcStack

    real = MrcStack.__getitem__

    def vanish(stack: MrcStack, index: int, /) -> Any:
        if stack.path.name == "TS_02.mrcs" and index == 3:
            stack.path.unlink(missing_ok=True)
        return real(stack, index)

    monkeypatch.setattr(MrcStack, "__getitem__", vanish)
    status, out, err = run(SET)
    assert (status, err) == (1, "")
    assert "failed    TS_02: " in out
    assert "TS_02.mrcs: No such file" in out
    assert sorted(volumes(here / "out")) == ["tomograms/rec_TS_01.mrc", "tomograms/rec_TS_03.mrc"]


def test_what_is_read_is_not_written_over(run: Run, here: Path) -> None:
    before = contents(here / "set")
    status, _, err = run("reconstruct --t set/tomograms.star --noctf --bin 2 --o set/")
    assert status == 2
    assert "is the set that is read" in err
    status, _, err = run("reconstruct --t set/optimisation_set.star --noctf --bin 2 --o set/")
    assert status == 2
    assert contents(here / "set") == before
    # images that have the name of a product
    series = small_series(1)
    write_stack(here / "out/tomograms/rec_TS_01.mrc", series.images, 10.0)
    from fourierrecon.io.stacks.open import FileImages

    images = FileImages([(here / "out/tomograms/rec_TS_01.mrc", i) for i in range(5)])
    found = TiltSeries(
        images, series.projections, 10.0, "TS_01", size=series.size, rotation_centre=series.rotation_centre
    )
    write_set(here / "odd", [(found, {})], "relion5")
    stack = (here / "out/tomograms/rec_TS_01.mrc").read_bytes()
    for option in ("", "--redo"):
        assert run(f"reconstruct --t odd/tomograms.star --noctf --bin 2 --o out/ {option}")[0] == 1
    assert (here / "out/tomograms/rec_TS_01.mrc").read_bytes() == stack


def test_a_list_of_somebody_else_stays(run: Run, here: Path) -> None:
    # sets, of this program or not, and what RELION keeps in a job's folder
    write_small_set(here / "set4", 3, version="relion4")
    (here / "set4/tomograms.star").rename(here / "set/other.star")
    for path in here.glob("set4/*.mrcs"):
        path.rename(here / "set" / path.name)
    text = "data_global\n\nloop_\n_rlnTomoName #1\n_rlnTomoReconstructedTomogram #2\nTS_01 a.mrc\n"
    (here / "job").mkdir()
    (here / "job/tomograms.star").write_text(text)
    for folder in ("set", "job"):
        before = contents(here / folder)
        for command_line in (
            f"reconstruct --t set/other.star --noctf --bin 2 --o {folder}/",
            f"watch set4 --o {folder}",
        ):
            status, _, err = run(command_line)
            assert status == 2
            assert f"{folder}/tomograms.star was not written by a run on a set" in err
            assert contents(here / folder) == before


def test_outcomes_that_are_none(run: Run, here: Path) -> None:
    (here / "out").mkdir()
    (here / "out/outcomes.json").write_text("[]")
    status, _, err = run(SET)
    assert status == 1
    assert "not a list of outcomes" in err
    assert not (here / "out/tomograms").exists()


def test_two_tomograms_of_one_file(run: Run, here: Path) -> None:
    def named(*names: str) -> str:
        found: list[tuple[TiltSeries, dict[str, Any]]] = []
        for number, name in enumerate(names, 1):
            found.append((replace(small_series(number), name=name), {}))
        write_set(here / "named", found, "relion5")
        return "reconstruct --t named/tomograms.star --noctf --bin 2 --o out/"

    for names_of_set, options in {
        ("a", "a_half1"): "--halves tilts",
        ("a", "a_wedge"): "--companions wedge",
        ("b", "B"): "",
        ("a", "a_wiener"): "--weighting wiener --weighting none --tn a* --bin 4",
    }.items():
        line = named(*names_of_set)
        if "wiener" in options:
            assert run(f"{line} {options}")[0] == 0  # a_wiener and a_wiener_wiener
            continue
        status, _, err = run(f"{line} {options} --shard 1/2")
        assert status == 2
        assert f"{names_of_set[0]} and {names_of_set[1]} would both be written to out/" in err
        assert not (here / "out").exists()
    # without halves there is a file for each; then the one of the other stays
    line = named("a", "a_half1")
    shutil.rmtree("out")
    assert run(line)[0] == 0
    before = volumes(here / "out")
    status, out, _ = run(f"{line} --tn a --halves tilts")
    assert status == 1
    assert "stale     a: rec_a_half1.mrc: its size has changed" in out
    assert volumes(here / "out") == before
    # a name that leads out of the folder
    line = named("a")
    for path in (here / "named/tomograms.star", here / "named/tilt_series/a.star"):
        path.write_text(path.read_text().replace("\na\t", "\n/../../a\t").replace("data_a", "data_/../../a"))
    status, _, err = run(line)
    assert status == 2
    assert "its name cannot be that of a file" in err


def test_a_name_before_a_pattern(run: Run, here: Path) -> None:
    write_set(
        here / "named", [(replace(small_series(i), name=n), {}) for i, n in ((1, "TS1"), (2, "TS[1]"))], "relion5"
    )
    line = "reconstruct --t named/tomograms.star --noctf --bin 2 --o out/"
    assert names(run(line, "--tn", "TS[1]")[1]) == ["TS[1]"]
    assert names(run(line, "--tn", "TS[12]")[1]) == ["TS1"]
    assert names(run(line, "--tn", "TS*")[1]) == ["TS1", "TS[1]"]


# several processes, and their ends


def test_two_processes_on_one_folder(run: Run, here: Path) -> None:
    with lock.locked(here / "out"):
        status, out = finish(SET, cwd=here)
        assert status == 1
        assert f"another process works there (process {os.getpid()} on {os.uname().nodename})" in out
        assert len(out.splitlines()) == 1
        status, out = finish(f"{SET} --shard 1/2", cwd=here)
        assert status == 1
    with lock.locked(here / "out", "1/2"):
        assert finish(SET, cwd=here)[0] == 1
        assert finish(f"{SET} --shard 1/2", cwd=here)[0] == 1
        status, out = finish(f"{SET} --shard 2/2", cwd=here)
        assert status == 0, out
        assert names(out) == ["TS_02"]
    assert finish(SET, cwd=here)[0] == 0


def test_leftovers_go_when_nobody_else_is_there(here: Path) -> None:
    for place in ("", "tomograms", "projections", "tilt_series"):
        (here / "out" / place / ".fourierrecon-00.part").mkdir(parents=True)

    def leftovers() -> int:
        return len(list((here / "out").rglob("*.part")))

    with lock.locked(here / "out", "1/2"):
        assert leftovers() == 0
        (here / "out/.fourierrecon-01.part").touch()
        with lock.locked(here / "out", "2/2"):
            assert leftovers() == 1  # somebody may be writing it
    with lock.locked(here / "out"):
        assert leftovers() == 0
        (here / "out/.fourierrecon-01.part").touch()  # a worker elsewhere was killed
    assert leftovers() == 0


def test_a_file_system_without_locks(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    (here / "out").mkdir()
    (here / "out/.fourierrecon-01.part").touch()
    with pytest.warns(UserWarning, match="without locks"), lock.locked(here / "out"):
        pass
    assert (here / "out/.fourierrecon-01.part").exists()  # it may be somebody's


def check_kills(run: Run, here: Path, moments: int) -> None:
    shutil.rmtree("set")
    write_small_set(here / "set", 4, scale=4)
    line = SET.replace("--bin 2", "--bin 1") + " --halves tilts --do_proj"
    assert finish(line, cwd=here)[0] == 0
    clean = volumes(here / "out")
    listed = (here / "out/tomograms.star").read_bytes()
    shutil.rmtree("out")
    assert finish(line, cwd=here)[0] == 0
    generator = random.Random(moments)
    n_killed = n_begun = n_left = 0
    for _ in range(moments):
        shutil.rmtree("out")
        process = command(line, cwd=here)
        # a moment after some of the files are there, however fast the machine is
        some, pause = generator.randrange(len(clean)), generator.uniform(0, 0.03)
        while process.poll() is None and len(list((here / "out").rglob("*.mrc"))) < some:
            time.sleep(0.001)
        time.sleep(pause if some else 20 * pause)
        n_killed += process.poll() is None
        process.kill()
        process.communicate()
        found = volumes(here / "out") if Path("out").exists() else {}
        whole = {name for name in found if not name.endswith(".part")}
        n_begun += 0 < len(whole) < len(clean)
        n_left += len(whole) < len(found)
        assert {name: found[name] for name in whole} == {name: clean[name] for name in whole}
        before = {name: (here / "out" / name).stat().st_mtime_ns for name in whole if name.startswith("tomograms/")}
        status, _, err = run(line)
        assert (status, err) == (0, "")
        # all that is whole is left alone; the picture of a volume comes just after it
        kept = {name for name, when in before.items() if (here / "out" / name).stat().st_mtime_ns == when}
        assert kept == {name for name in before if name.replace("tomograms", "projections") in whole}
        assert volumes(here / "out") == clean
        assert (here / "out/tomograms.star").read_bytes() == listed
    assert n_killed >= moments // 2
    if moments > 20:
        assert min(n_begun, n_left) > 0


def test_killed_at_random_moments(run: Run, here: Path) -> None:
    check_kills(run, here, 5)


@pytest.mark.slow
def test_killed_at_fifty_random_moments(run: Run, here: Path) -> None:
    check_kills(run, here, 50)


# a real project


def test_a_project_of_relion_5(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(real_data("metadata/relion5-tutorial_EMPIAR-10164_metadata"), tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    table = "Tomograms/job006/tomograms.star"
    wanted = list_tomograms(table)
    for name in wanted:
        (tilts,) = read_tables(Path(f"Tomograms/job006/tilt_series/{name}.star")).values()
        for seed, half in enumerate(("", "Even", "Odd")):
            for i, file in enumerate(tilts.words(f"rlnMicrographName{half}")):
                image = np.random.default_rng((seed, i)).normal(size=(1, 29, 30)).astype(np.float32)
                write_stack(Path(file), image, 1.35)
    before = {name: (tmp_path / "project" / name).read_bytes() for name in (table,)}
    # without weights, which would be made for the depth of the tomogram, 2000 px
    line = f"reconstruct --t {table} --no_weight --w 30 --h 29 --d 20 --bin 2 --generate_split_tomograms "
    line += "--do_proj --o here/"
    status, out, err = run(f"{line} --ctf")
    assert (status, err) == (0, ""), out
    assert f"{len(wanted)} done" in out
    assert Path(table).read_bytes() == before[table]
    assert len(list(Path("here/tomograms").glob("*.mrc"))) == 3 * len(wanted)
    listed = read_tables(Path("here/tomograms.star"))["global"]
    assert list(listed.words("rlnTomoName")) == wanted
    # what RELION had of its own is carried over, but for what is new
    theirs = read_tables(Path(table))["global"]
    assert list(listed.words("rlnEtomoDirectiveFile")) == list(theirs.words("rlnEtomoDirectiveFile"))
    assert list(listed.words("rlnTomoReconstructedTomogramHalf2")) == [
        f"here/tomograms/rec_{name}_half2.mrc" for name in wanted
    ]
    assert list(listed.numbers("rlnTomoSizeZ")) == [20] * len(wanted)
    assert read_tilt_series("here/tomograms.star", wanted[0]).n_tilts == 40
    assert "there already" in run(line)[1]


def test_names_and_shards_directly() -> None:
    assert choose_part(["a", "b", "c"], None) == ["a", "b", "c"]
    parts = [choose_part([str(i) for i in range(10)], f"{i}/3") for i in (1, 2, 3)]
    assert sorted(number for part in parts for number in part) == [str(i) for i in range(10)]
    with pytest.raises(UsageError, match="1 to N"):
        choose_part(["a"], "2/1")


def test_a_lock_needs_a_folder(here: Path) -> None:
    (here / "file").touch()
    with pytest.raises(DataError, match="choose another folder"), lock.locked(here / "file"):
        pass


def test_the_folder_vanishes_midway(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = reconstruction.reconstruct_many

    def vanish(*arguments: Any) -> None:
        real(*arguments)
        if not (here / "away").exists():
            (here / "out").rename(here / "away")

    monkeypatch.setattr(one, "reconstruct_many", vanish)
    status, _, err = run(SET)
    assert status == 1
    assert err == "error: out has gone, or was replaced; nothing more is made: run the same command again\n"
    assert not (here / "out").exists()
    assert run(SET)[0] == 0
