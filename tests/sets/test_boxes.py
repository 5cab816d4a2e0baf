"""Boxes of whole sets: those of a tomogram are there whole or not at all, and lists name them, whoever made them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import starfile

from fourierrecon import Settings
from fourierrecon.errors import DataError
from fourierrecon.particles import Extraction, one
from fourierrecon.particles.files import write_particle
from fourierrecon.sets import extract_set
from tests.helpers.small_sets import Run, command, contents

LINE = "extract --t set/tomograms.star --picks picks.csv --box 8 --window 8 --noctf"


@pytest.fixture
def picked(here: Path) -> Path:
    """A set of three tomograms, with two points in each."""
    places = [f"TS_{number:02d},{x},18,8" for number in (1, 2, 3) for x in (18, 22)]
    (here / "picks.csv").write_text("\n".join(["tomogram,x,y,z", *places, ""]))
    return here


def listed(folder: Path) -> list[str]:
    return list(starfile.read(folder / "particles.star", always_dict=True)["particles"]["rlnTomoParticleName"])


def same(folder: Path) -> dict[str, bytes]:
    """Give what a run leaves, with the name of its folder taken out."""
    return {name: text.replace(os.fsencode(f"{folder.name}/"), b"OUT/") for name, text in contents(folder).items()}


def test_shards_make_what_one_process_makes(run: Run, picked: Path) -> None:
    assert run(*f"{LINE} --o serial/".split())[0] == 0
    processes = [command(f"{LINE} --o shards/ --shard {i}/2", cwd=picked) for i in (1, 2)]
    for process in processes:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0, out
    assert listed(picked / "shards") == [f"TS_{n:02d}/{i}" for n in (1, 2, 3) for i in (1, 2)]
    assert same(picked / "shards") == same(picked / "serial")


def test_a_shard_after_the_other(run: Run, picked: Path) -> None:
    code, shown, _ = run(*f"{LINE} --o out/ --shard 2/2".split())
    assert (code, "TS_02: 2 made" in shown, "TS_01" in shown) == (0, True, False)
    assert listed(picked / "out") == ["TS_02/1", "TS_02/2"]
    # without a shard, the rest is made
    code, shown, _ = run(*f"{LINE} --o out/".split())
    assert (code, "TS_01: 2 made" in shown, "TS_02: 0 made, 2 there already" in shown) == (0, True, True)
    assert len(listed(picked / "out")) == 6
    code, _, error = run(*f"{LINE} --o out/ --shard 3/2".split())
    assert (code, "--shard" in error) == (2, True)


def test_a_tomogram_is_there_whole_or_not_at_all(picked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(ctf=False, n_threads=1)
    wanted = Extraction(
        source=Path("set/tomograms.star"), picks=Path("picks.csv"), folder=Path("out"), box=8, window=8,
        settings=settings,
    )  # fmt: skip
    written: list[Path] = []

    def break_off(asked: Extraction, *rest: Any) -> None:
        if len(written) == 3:
            raise DataError("no more")
        write_particle(asked, *rest)
        written.append(rest[2][-1])

    monkeypatch.setattr(one, "write_particle", break_off)
    outcomes = list(extract_set(wanted))
    assert [(each.name, each.status) for each in outcomes] == [
        ("TS_01", "done"),
        ("TS_02", "failed"),
        ("TS_03", "failed"),
    ]
    boxes = picked / "out/Subtomograms"
    assert sorted(path.name for path in boxes.iterdir()) == [".TS_02.begun", ".TS_03.begun", "TS_01"]
    assert listed(picked / "out") == ["TS_01/1", "TS_01/2"]
    monkeypatch.setattr(one, "write_particle", write_particle)
    stamp = (boxes / ".TS_02.begun" / written[-1].name).stat().st_mtime_ns
    outcomes = list(extract_set(wanted))
    assert [each.boxes for each in outcomes] == [one.Boxes(made=made, kept=2 - made, outside=0) for made in (0, 1, 2)]
    assert (boxes / "TS_02" / written[-1].name).stat().st_mtime_ns == stamp
    assert sorted(path.name for path in boxes.iterdir()) == ["TS_01", "TS_02", "TS_03"]
    assert len(listed(picked / "out")) == 6


def test_boxes_of_other_points_stay(run: Run, picked: Path) -> None:
    assert run(*f"{LINE} --o out/".split())[0] == 0
    before = contents(picked / "out/Subtomograms")
    text = (picked / "picks.csv").read_text()
    (picked / "picks.csv").write_text(text.replace("TS_02,22", "TS_02,21"))
    code, shown, error = run(*f"{LINE} --o out/".split())
    assert (code, "TS_01: 0 made, 2 there already" in shown) == (1, True)
    assert "out/Subtomograms/TS_02 holds boxes of other images, another alignment or other points" in error
    assert contents(picked / "out/Subtomograms") == before


def test_a_tomogram_that_fails_does_not_stop_the_others(run: Run, picked: Path) -> None:
    star = picked / "set/tilt_series/TS_02.star"
    star.write_text(star.read_text().replace("TS_02.mrcs", "gone.mrcs"))
    code, shown, error = run(*f"{LINE} --o out/".split())
    assert (code, "TS_03: 2 made" in shown) == (1, True)
    assert "TS_02:" in error
    assert listed(picked / "out") == ["TS_01/1", "TS_01/2", "TS_03/1", "TS_03/2"]


def test_other_options_do_where_no_box_is_there_yet(run: Run, picked: Path) -> None:
    line = LINE.replace(" --noctf", "")  # the set has no CTF
    code, shown, error = run(*f"{line} --o out/".split())
    assert (code, "wrote" in shown, "--noctf" in error) == (1, False, True)
    assert run(*f"{LINE} --o out/".split())[0] == 0
    code, _, error = run(*f"{line} --o out/".split())
    assert (code, "other options" in error) == (2, True)


@pytest.mark.cluster
def test_workers_of_dask_make_what_one_process_makes(run: Run, picked: Path) -> None:
    pytest.importorskip("distributed", reason="needs Dask: pip install 'fourierrecon[cluster]'")
    assert run(*f"{LINE} --o serial/".split())[0] == 0
    status, out, _ = run(*f"{LINE} --o dask/ --cluster local --workers 2".split())
    assert status == 0, out
    assert same(picked / "dask") == same(picked / "serial")
    # and one process knows them as its own
    code, shown, _ = run(*f"{LINE} --o dask/".split())
    assert (code, shown.count("0 made, 2 there already")) == (0, 3)
