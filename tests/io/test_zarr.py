"""OME-Zarr: where its levels lie, what other programs make of it, what is spoilt, and how a folder is replaced."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fourierrecon.errors import DataError, UsageError
from fourierrecon.io import (
    open_volume,
    read_volume,
    read_zarr_volume,
)
from fourierrecon.io.volumes.formats import check_volume_writable, space_for
from tests.helpers.volumes import ORIGIN, SHAPE, needs_zarr, noise, write


@needs_zarr
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_levels_lie_where_they_should(tmp_path: Path, dtype: str) -> None:
    """A spot has its centre at the same point, in Å, at every level, and a coarse voxel is the mean of eight."""
    shape, centre, voxel = (90, 140, 131), np.array((43.3, 71.8, 60.2)), 7.4
    grid = np.indices(shape, sparse=True)
    spot = np.exp(-sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) / (2 * 9.0**2)).astype(np.float32)
    write(tmp_path / "x.zarr", spot, dtype)
    world = np.array(ORIGIN) + voxel * centre[::-1]
    levels = [read_zarr_volume(tmp_path / "x.zarr", level) for level in range(3)]
    for number, volume in enumerate(levels):
        assert volume.voxel_size == pytest.approx(voxel * 2**number)
        assert volume.data.shape == tuple(n >> number for n in shape)
        weight = np.where(volume.data > 0.1, volume.data, 0).astype(float)
        if dtype == "int8":
            weight = volume.data - volume.data.min().astype(float)
        places: Any = np.indices(volume.data.shape, sparse=True)
        found = [float((place * weight).sum() / weight.sum()) for place in places]
        position = np.array(volume.origin) + volume.voxel_size * np.array(found[::-1])
        np.testing.assert_allclose(position, world, atol=0.1 * voxel)
    step = open_volume(tmp_path / "x.zarr").scale.scale if dtype == "int8" else 0.0
    for fine, coarse in pairwise(levels):
        z, y, x = coarse.data.shape
        eight = fine.data[: 2 * z, : 2 * y, : 2 * x].reshape(z, 2, y, 2, x, 2).mean((1, 3, 5))
        np.testing.assert_allclose(coarse.data, eight, atol=0.51 * step + 1e-6)
    with pytest.raises(UsageError, match="levels 0 to 2; there is no level 3"):
        open_volume(tmp_path / "x.zarr", 3)


@needs_zarr
def test_wide_volumes_are_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = noise((5, 6, 300))
    write(tmp_path / "a.zarr", data)
    monkeypatch.setattr("fourierrecon.io.volumes.zarr_write.BLOCK_BYTES", 1)
    write(tmp_path / "b.zarr", data, memory=1)
    np.testing.assert_array_equal(read_zarr_volume(tmp_path / "b.zarr").data, data)
    for level in range(4):
        a, b = (read_zarr_volume(tmp_path / name, level).data for name in ("a.zarr", "b.zarr"))
        np.testing.assert_array_equal(a, b)


@needs_zarr
def test_chunks_are_sharded_and_compressed(tmp_path: Path) -> None:
    write(tmp_path / "x.zarr", noise(), "int8")
    meta = json.loads((tmp_path / "x.zarr/0/zarr.json").read_text())
    assert meta["zarr_format"] == 3
    assert meta["dimension_names"] == ["z", "y", "x"]
    assert meta["chunk_grid"]["configuration"]["chunk_shape"] == [128, 128, 128]
    (sharding,) = meta["codecs"]
    assert sharding["name"] == "sharding_indexed"
    assert sharding["configuration"]["chunk_shape"] == [64, 64, 64]
    assert "zstd" in [codec["name"] for codec in sharding["configuration"]["codecs"]]
    size = sum(file.stat().st_size for file in (tmp_path / "x.zarr").rglob("*") if file.is_file())
    assert size < space_for(tmp_path / "x.zarr", SHAPE, "int8")[0]


@needs_zarr
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_a_validator_accepts_it(tmp_path: Path, dtype: str) -> None:
    models = pytest.importorskip("ome_zarr_models.v05", reason="ome-zarr-models is not installed")
    write(tmp_path / "x.zarr", noise((20, 150, 70)), dtype)
    image = models.Image.from_zarr(pytest.importorskip("zarr").open_group(tmp_path / "x.zarr", mode="r"))
    (multiscale,) = image.ome_attributes.multiscales
    assert [axis.name for axis in multiscale.axes] == ["z", "y", "x"]
    assert {axis.unit for axis in multiscale.axes} == {"angstrom"}
    assert len(multiscale.datasets) == 3


@needs_zarr
def test_volumes_of_other_programs(tmp_path: Path) -> None:
    """OME-Zarr 0.4, in nanometres, with axes of time and channel, and a transformation of all levels."""
    data = noise((5, 6, 7))
    group = pytest.importorskip("zarr").open_group(tmp_path / "x.zarr", mode="w", zarr_format=2)
    array = group.create_array("scale0", shape=(1, 1, 5, 6, 7), dtype="float32", chunks=(1, 1, 2, 4, 7))
    array[0, 0] = data
    names = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes = names + [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    scale = {"type": "scale", "scale": [1, 1, 0.5, 0.5, 0.5]}
    shift = {"type": "translation", "translation": [0, 0, 1, 2, 3]}
    twice = {"type": "scale", "scale": [1, 1, 2, 2, 2]}
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": axes,
            "datasets": [{"path": "scale0", "coordinateTransformations": [scale, shift]}],
            "coordinateTransformations": [twice],
        }
    ]
    volume = read_volume(tmp_path / "x.zarr")
    np.testing.assert_array_equal(volume.data, data)
    assert volume.voxel_size == pytest.approx(10.0)
    assert volume.origin == pytest.approx((60.0, 40.0, 20.0))


@needs_zarr
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ome: ome["axes"].reverse(), "last must be z, y, x"),
        (lambda ome: ome["axes"][0].update(unit="parsec"), "parsec.*known"),
        (lambda ome: ome["datasets"][0].update(path="9"), "no OME-Zarr"),
        (lambda ome: ome.pop("axes"), "no OME-Zarr"),
    ],
)
def test_folders_that_make_no_sense_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    write(tmp_path / "x.zarr", noise((3, 4, 5)))
    path = tmp_path / "x.zarr/zarr.json"
    meta = json.loads(path.read_text())
    change(meta["attributes"]["ome"]["multiscales"][0])
    path.write_text(json.dumps(meta))
    with pytest.raises(DataError, match=message) as caught:
        read_volume(tmp_path / "x.zarr")
    assert "x.zarr" in str(caught.value)
    assert "\n" not in str(caught.value)


@needs_zarr
def test_what_is_no_zarr_folder(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(DataError, match="no OME-Zarr"):
        read_volume(tmp_path / "a.zarr")
    with pytest.raises(DataError, match="No such file"):
        read_volume(tmp_path / "b.zarr")


@needs_zarr
def test_a_spoilt_chunk_is_one_line(tmp_path: Path) -> None:
    write(tmp_path / "x.zarr", noise((3, 4, 5)))
    shard = tmp_path / "x.zarr/0/c/0/0/0"
    shard.write_bytes(shard.read_bytes()[:40])
    with pytest.raises(DataError, match=r"x\.zarr.*copy it again"):
        read_volume(tmp_path / "x.zarr")


def test_without_the_library_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    for use in (
        lambda: check_volume_writable(tmp_path / "x.zarr", (3, 4, 5), "float32"),
        lambda: write(tmp_path / "x.zarr", noise((3, 4, 5))),
        lambda: read_volume(tmp_path / "x.zarr"),
    ):
        with pytest.raises(UsageError, match=r"pip install 'fourierrecon\[zarr\]'"):
            use()
    assert list(tmp_path.iterdir()) == []


@needs_zarr
def test_an_old_folder_comes_back_if_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, path = noise((3, 4, 5)), tmp_path / "x.zarr"
    write(path, old)
    rename, calls = Path.rename, []

    def second_fails(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(DataError, match="Input/output error"):
        write(path, 2 * old)
    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(read_volume(path).data, old)


@needs_zarr
def test_a_folder_with_other_things_is_not_replaced(tmp_path: Path) -> None:
    folder, file = tmp_path / "x.zarr", tmp_path / "y.zarr"
    folder.mkdir()
    write(folder, noise((3, 4, 5)))  # an empty one is
    (folder / "zarr.json").unlink()
    file.write_text("precious")
    for path, message in ((folder, "other things"), (file, "not a Zarr folder")):
        with pytest.raises(DataError, match=message):
            write(path, noise((3, 4, 5)))
        with pytest.raises(DataError, match=message):
            check_volume_writable(path, (3, 4, 5), "int8")
    assert file.read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 2
