"""Whole commands on odd names, stacks given as sets, sets with one broken tomogram, and volumes with odd metadata."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fourierrecon.errors import DataError
from fourierrecon.io import write_stack
from fourierrecon.io.stacks.mrc import read_header
from fourierrecon.io.volumes.formats import open_volume, writing_volume
from fourierrecon.sets.arrivals import sources_in

Run = Callable[..., tuple[int, str, str]]
OPTIONS = "--bin 2 --d 8 --noctf --j 1"


def alignment(folder: Path, name: str) -> Path:
    """Write an alignment of IMOD."""
    folder.mkdir(exist_ok=True, parents=True)
    images = np.random.default_rng(1).normal(size=(3, 20, 24)).astype(np.float32)
    write_stack(folder / f"{name}.st", images, 4.0)
    (folder / f"{name}.xf").write_text("1 0 0 1 0 0\n" * 3)
    (folder / f"{name}.tlt").write_text("-30\n0\n30\n")
    return folder / f"{name}.xf"


@pytest.mark.parametrize(
    "name",
    ["bad\udcff", "a\tb", "=1+1", pytest.param("@SUM(1)", marks=pytest.mark.slow), "[bold]x", "a'b", "Å", "\u202eabc"],
)
def test_tomograms_of_any_name(name: str, tmp_path: Path, run: Run) -> None:
    path, out = alignment(tmp_path / "in", name), tmp_path / "out"
    status, said, err = run(f"reconstruct {OPTIONS} --report --t", str(path), "--o", f"{out}/")
    assert (status, err) == (0, "")
    assert "nothing stands out" in said
    # RELION takes no names with blanks or quotes
    listed = "must be one word without quotes" not in said
    assert listed == (out / "tomograms.star").exists() == (not set(name) & set("\t'"))
    if listed:
        assert run(f"info {out}/tomograms.star")[0] == 0
        assert run(f"reconstruct {OPTIONS} --o {tmp_path}/again.mrc --t {out}/tomograms.star")[0] == 0
    row = next(csv.DictReader((out / "metrics.csv").read_text("utf-8").splitlines()))
    assert row["name"][0] not in "=+-@"
    assert row["status"] == "fine"
    assert (out / "report.html").read_text("utf-8")


def test_folders_with_a_tab_and_with_a_line_break(tmp_path: Path, run: Run) -> None:
    path = alignment(tmp_path / "in\tput", "TS")
    assert run(f"reconstruct {OPTIONS} --t", str(path), "--o", f"{tmp_path}/out\tput/")[0] == 0
    status, _, err = run(f"reconstruct {OPTIONS} --t", str(path), "--o", f"{tmp_path}/out\nput/")
    assert (status, err.count("\n")) == (1, 1)
    assert "has a line break or control character, which no STAR file can hold; rename it" in err
    assert not (tmp_path / "out\nput").exists()


def test_files_of_a_mac_are_no_alignments(tmp_path: Path, run: Run) -> None:
    path = alignment(tmp_path / "in", "TS_01")
    for beside in list(path.parent.iterdir()):
        beside.with_name(f"._{beside.name}").write_bytes(bytes([0, 5, 22, 7]) + bytes(4092))
    assert run(f"plan --t {path.parent} --noctf --bin 2")[0] == 0
    assert list(sources_in(tmp_path, tmp_path / "out").values()) == [[path]]


@pytest.mark.parametrize("command", ["reconstruct --bin 2 --o x.mrc --t", "plan --bin 2 --t", "info"])
def test_a_stack_given_as_a_set_is_told_what_to_give(command: str, tmp_path: Path, run: Run) -> None:
    stack = alignment(tmp_path, "TS").with_suffix(".st")
    status, _, err = run(command, str(stack))
    assert status == 2
    assert "TS.st holds images or a volume, no alignment; give a .star, .xml, .aln, .xf" in err
    assert "the images as --stack" in err


def test_an_extended_header_that_is_not_there(tmp_path: Path) -> None:
    path = alignment(tmp_path, "TS").with_suffix(".st")
    raw = bytearray(path.read_bytes())
    raw[92:96] = (49920).to_bytes(4, "little")
    path.write_bytes(raw)
    with pytest.raises(DataError, match="tells of 49920 bytes of extended header that are not there, while its images"):
        read_header(path)


def test_info_shows_sound_tomograms_beside_a_broken_one(two_sets: Path, run: Run) -> None:
    star = two_sets / "tilt_series" / "TS_02.star"
    star.write_text(star.read_text().replace("-45", "nan", 1))
    status, out, err = run(f"info {two_sets}/tomograms.star")
    assert status == 1
    assert "TS_01" in out
    assert "rising" in out
    assert "hand" in out
    assert err.startswith("error: TS_02: ")
    assert err.count("\n") == 1


CHANGES: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "axes": lambda group, _: group["ome"]["multiscales"][0].update(axes=["z", "y", "x"]),
    "unit": lambda group, _: group["ome"]["multiscales"][0]["axes"][0].update(unit=["nm"]),
    "ours": lambda group, _: group.update(fourierrecon="x"),
    "scale": lambda group, _: group.update(fourierrecon={"scale": "2"}),
    "zero": lambda group, _: group.update(fourierrecon={"scale": 0}),
    "label": lambda group, _: group.update(fourierrecon={"label": 3}),
    "transform": lambda group, _: group["ome"]["multiscales"][0]["datasets"][0].update(coordinateTransformations=3),
    "number": lambda group, _: group["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0].update(
        scale=[10**400, 1, 1]
    ),
    "ome": lambda group, _: group.update(ome=[]),
    "shape": lambda _, array: array.update(shape=[10**9] * 3),
    "nest": lambda group, _: group.update(ome=json.loads("[" * 900 + "]" * 900)),
    "chunks": lambda _, array: array["chunk_grid"]["configuration"].update(chunk_shape=[10**6] * 3),
}


@pytest.mark.parametrize("change", CHANGES)
def test_metadata_of_any_kind_are_told_in_one_line(change: str, tmp_path: Path) -> None:
    pytest.importorskip("zarr", reason="zarr is not installed")
    path = tmp_path / "v.zarr"
    with writing_volume(path, (4, 5, 6), 10.0, (0.0, 0.0, 0.0), "label") as write:
        for z in range(4):
            write(z, np.ones((5, 6), np.float32))
    files = path / "zarr.json", path / "0" / "zarr.json"
    group, array = (json.loads(file.read_text()) for file in files)
    CHANGES[change](group["attributes"], array)
    for file, content in zip(files, (group, array), strict=True):
        file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"v\.zarr") as caught:
        open_volume(path).read()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
