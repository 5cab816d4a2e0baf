"""Sets with faults: what is said, what is spared, and what the others get."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fourierrecon import reconstruction
from fourierrecon.cli import set_progress
from fourierrecon.cli.console import screen
from fourierrecon.io import list_tomograms
from fourierrecon.io.relion.import_set import write_set
from fourierrecon.io.stacks.write import write_stack
from fourierrecon.sets import one
from fourierrecon.sets.outcomes import Outcome
from fourierrecon.sets.recipe import Recipe
from fourierrecon.tilt_series import TiltSeries
from tests.helpers.small_sets import SET, Run, contents, finish, names, small_series, volumes, write_small_set


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


def test_the_disk_is_full(run: Run, here: Path) -> None:
    shutil.rmtree("set")
    write_small_set(here / "set", 2, scale=3)
    # the loops are compiled before: they could not be kept on the full disk
    assert run(SET.replace("out/", "before/"))[0] == 0
    size = 60_000  # less than a tomogram

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    status, out = finish(SET, cwd=here, preexec_fn=limit)
    assert status == 1
    assert "2 failed" in out
    assert "File too large" in out
    assert "Traceback" not in out
    assert contents(here / "out") == {}
    status, out, _ = run(SET)
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


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--exclude 99", 2), ("--max_tilt 1", 2), ("--tf 400", 2), ("--lowpass 3", 2), ("--x0 1e6", 2),
        ("--exposure grant", 1), ("--halves frames", 1), ("--memory 1MB", 1),
    ],
)  # fmt: skip
def test_the_exit_status_of_a_set_is_that_of_its_tomograms(run: Run, here: Path, options: str, expected: int) -> None:
    status, out, err = run(f"{SET} {options}")
    assert (status, err) == (expected, "")
    assert "0 done; 0 there already; 3 failed" in out
    if "--halves" not in options:
        alone = run(f"{SET.replace('--o out/', '--o x.mrc')} --tn TS_01 {options}")
        assert (alone[0], len(alone[2].splitlines())) == (expected, 1)


def test_one_tomogram_that_an_option_does_not_fit_tells(run: Run, here: Path) -> None:
    shutil.rmtree("set")
    found = [small_series(1), replace(small_series(2).select([0, 1, 3]), excluded=())]
    write_set(here / "set", [(series, {}) for series in found], "relion5")
    status, out, _ = run(f"{SET} --exclude 5")
    assert status == 2
    assert "1 done" in out
    assert "TS_02: --exclude 5 is beyond the images of TS_02" in out
