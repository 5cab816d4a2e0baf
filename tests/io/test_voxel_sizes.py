"""Voxel sizes in headers that are unknown, uneven or absurd."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fourierrecon.io import (
    map_volume,
    open_volume,
    read_mrc_volume,
    read_volume,
    write_mrc,
)
from fourierrecon.volume import Volume
from tests.helpers.volumes import Shape, needs_zarr, noise, write


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_spacing(path: str, spacing: tuple[float, float, float], shape: Shape = (16, 20, 24)) -> None:
    """Write a volume whose header says so, Å along x, y and z."""
    write_mrc(path, Volume(noise(shape), 5.0, (0.0, 0.0, 0.0)))
    depth, height, width = shape
    with open(path, "r+b") as file:
        file.seek(40)
        file.write(np.array([n * s for n, s in zip((width, height, depth), spacing, strict=True)], "<f4").tobytes())


UNKNOWN = {
    "nothing": ((0.0, 0.0, 0.0), "unknown size"),
    "not a number": ((np.nan, np.nan, np.nan), "unknown size"),
    "infinite": ((np.inf, np.inf, np.inf), "unknown size"),
    "negative": ((-5.0, -5.0, -5.0), "unknown size"),
    "metres": ((5e-10, 5e-10, 5e-10), "unknown size"),
    "huge": ((1e9, 1e9, 1e9), "unknown size"),
    "flat": ((5.0, 5.0, 10.0), "no cubes: 5 x 5 x 10 Å"),
    "oblong": ((5.0, 7.0, 5.0), "no cubes: 5 x 7 x 5 Å"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_voxel_sizes_that_no_volume_has_are_unknown(run: Any, name: str) -> None:
    spacing, text = UNKNOWN[name]
    write_spacing("a.mrc", spacing)
    write_spacing("b.mrc", (5.0, 5.0, 5.0))
    for read in (read_mrc_volume, read_volume, map_volume):
        assert read("a.mrc").voxel_size == 0
        assert read("b.mrc").voxel_size == pytest.approx(5)
    assert text in run("info a.mrc")[1]
    status, out, _ = run("compare a.mrc b.mrc")
    assert status == 0
    assert "of A are of unknown size" in out
    facts = json.loads(run("compare a.mrc a.mrc --json")[1])
    assert facts["voxel_size_a"] is facts["voxel_size"] is facts["shift_angstrom"][0] is None
    status, out, err = run("convert a.mrc c.mrc")
    if "cubes" in text:
        assert status == 1
        assert text.removeprefix("no cubes: ") in err
        assert "--angpix" in err
    else:
        assert status == 0
        assert "unknown size" in out
        assert open_volume("c.mrc").spacing == (0, 0, 0)
        status, _, err = run("convert a.mrc c.zarr")
        assert status == 1
        assert "--angpix" in err
    for target in ("d.mrc", "d.zarr"):
        status, _, err = run(f"convert a.mrc {target} --angpix 6.5")
        assert status == 0, err
        assert read_volume(target).voxel_size == pytest.approx(6.5)
    assert run("convert a.mrc e.mrc --angpix 0")[0] == 2


def test_headers_that_leave_something_open_are_read(run: Any) -> None:
    """A y or z that says nothing, and a volume whose header calls it a stack of images."""
    for spacing in ((5.0, 0.0, 0.0), (5.0, 5.0, np.nan), (5.0, 5.02, 5.0)):
        write_spacing("a.mrc", spacing)
        assert read_volume("a.mrc").voxel_size == pytest.approx(5)
    for depth in (1.0, 16.0):
        write_spacing("a.mrc", (5.0, 5.0, 5.0 * depth / 16))
        with open("a.mrc", "r+b") as file:
            file.seek(36)
            file.write(np.array([1], "<i4").tobytes())
        assert map_volume("a.mrc").voxel_size == pytest.approx(5)
    # along an axis of one voxel, too
    write_spacing("flat.mrc", (5.0, 5.0, 5.0), (1, 6, 7))
    assert read_volume("flat.mrc").voxel_size == pytest.approx(5)


@needs_zarr
@pytest.mark.parametrize(("scale", "unit", "text"), [
    ([1, 2, 2], "angstrom", "no cubes: 2 x 2 x 1 Å"),
    ([0, 0, 0], "angstrom", "unknown size"),
    ([1, 1, 1], None, "unknown size"),
    ([1e-9, 1e-9, 1e-9], "angstrom", "unknown size"),
])  # fmt: skip
def test_zarr_voxels_that_are_no_cubes(run: Any, scale: list[float], unit: str | None, text: str) -> None:
    write(Path("x.zarr"), noise((3, 4, 5)))
    path = Path("x.zarr/zarr.json")
    meta = json.loads(path.read_text())
    ome = meta["attributes"]["ome"]["multiscales"][0]
    ome["datasets"][0]["coordinateTransformations"][0].update(scale=scale)
    for axis in ome["axes"]:
        axis.pop("unit")
        axis |= {} if unit is None else {"unit": unit}
    path.write_text(json.dumps(meta))
    assert text in run("info x.zarr")[1]
    status, _, err = run("convert x.zarr y.mrc --angpix 2")
    assert status == 0, err
    assert read_volume("y.mrc").voxel_size == pytest.approx(2)
