"""Volumes in every format and type: what comes back, where it lies, how much memory it takes, what failures leave."""

from __future__ import annotations

import json
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon.cli import app
from fourierrecon.cli.console import in_bytes
from fourierrecon.errors import DataError, UsageError
from fourierrecon.io import (
    map_volume,
    open_volume,
    read_mrc_volume,
    read_volume,
    read_zarr_volume,
    write_mrc,
    write_volume,
    writing_volume,
)
from fourierrecon.io.volumes.convert import convert_volume
from fourierrecon.io.volumes.formats import VOLUME_TYPES, check_volume_writable, space_for
from fourierrecon.io.volumes.quantise import REACH, Scale
from fourierrecon.volume import Volume

try:
    import zarr
except ImportError:
    zarr = None

needs_zarr = pytest.mark.skipif(zarr is None, reason="zarr is not installed: pip install 'fourierrecon[zarr]'")
FORMATS = ["mrc", pytest.param("zarr", marks=needs_zarr)]
Shape = tuple[int, int, int]
#: More than one shard along every axis, odd and even.
SHAPE = (131, 150, 142)
ORIGIN = (-30.5, 45.0, 12.25)


def noise(shape: Shape = SHAPE, seed: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0.5, 0.02, shape).astype(np.float32)


def write(path: Path, data: NDArray[np.float32], dtype: str = "float32", **more: Any) -> None:
    shape = (data.shape[0], data.shape[1], data.shape[2])
    with writing_volume(path, shape, 7.4, ORIGIN, "fourierrecon wiener\nof TS_01", dtype, **more) as take:
        for z, slab in enumerate(data):
            take(z, slab)


def check_header(volume: Any) -> None:
    assert volume.voxel_size == pytest.approx(7.4)
    assert volume.origin == pytest.approx(ORIGIN)
    assert volume.label == "fourierrecon wiener\nof TS_01"


# every format and type


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("dtype", VOLUME_TYPES)
def test_slabs_in_any_order_and_from_threads_come_back(tmp_path: Path, ending: str, dtype: str) -> None:
    data, path = noise(), tmp_path / f"x.{ending}"
    with writing_volume(path, SHAPE, 7.4, ORIGIN, "fourierrecon wiener\nof TS_01", dtype) as take:
        lent = threading.local()

        def give(z: int) -> None:
            # slabs are lent: the same memory again for the next one
            if not hasattr(lent, "slab"):
                lent.slab = np.empty(SHAPE[1:], np.float32)
            lent.slab[...] = data[z]
            if z % 2:
                take(z, lent.slab)
            else:
                take(z, lent.slab[100:], 100)
                take(z, lent.slab[:100], 0)
            lent.slab[...] = np.nan

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(give, np.random.default_rng(1).permutation(len(data)).tolist()))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    volume = read_volume(path)
    check_header(volume)
    assert volume.data.dtype == np.float32
    file = open_volume(path)
    assert file.dtype == np.dtype(dtype)
    assert file.shape == SHAPE
    step = file.scale.scale if dtype.startswith("int") else 0.0
    # half a step, and what floats round
    rounding = {"float32": 0.0, "float16": 2**-11}.get(dtype, 1e-6)
    assert (abs(volume.data - data) <= 0.5 * step + rounding * abs(data)).all()
    if step:
        # nothing wasted: all integers are used, from the least density to the largest
        info = np.iinfo(dtype)
        assert step == pytest.approx(float(np.ptp(data)) / (info.max - info.min))
    for z in (0, 77, -1):
        np.testing.assert_array_equal(file[z], volume.data[z])
    np.testing.assert_array_equal(file.block(slice(60, 70), slice(5, 9)), volume.data[60:70, 5:9])
    with pytest.raises(IndexError, match="131 sections"):
        file[131]


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 70, 65), (3, 1, 130)])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_flat_and_tiny_volumes(tmp_path: Path, ending: str, shape: Shape, dtype: str) -> None:
    data = noise(shape)
    write(tmp_path / f"x.{ending}", data, dtype)
    volume = read_volume(tmp_path / f"x.{ending}")
    check_header(volume)
    np.testing.assert_allclose(volume.data, data, atol=0.51 * float(np.ptp(data)) / 255)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("dtype", ["int16", "int8"])
def test_a_volume_of_one_value_comes_back(tmp_path: Path, ending: str, dtype: str) -> None:
    data = np.full((3, 4, 5), 0.1, np.float32)
    write(tmp_path / f"x.{ending}", data, dtype)
    np.testing.assert_allclose(read_volume(tmp_path / f"x.{ending}").data, data, rtol=1e-7)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_bead_does_not_cost_int8_its_steps(tmp_path: Path, ending: str) -> None:
    data = noise((20, 40, 41))
    data[7, 8, 9] = -1e4
    spread = data.std()
    for dtype in ("int8", "int16"):
        write(tmp_path / f"{dtype}.{ending}", data, dtype)
    # int16 reaches everything, int8 ten standard deviations
    assert read_volume(tmp_path / f"int16.{ending}").data.min() == pytest.approx(-1e4)
    assert read_volume(tmp_path / f"int8.{ending}").data.min() == pytest.approx(data.mean() - REACH * spread, rel=1e-3)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize(("dtype", "value"), [("int16", np.nan), ("int8", np.inf), ("float16", 7e4)])
def test_densities_that_a_type_does_not_hold(tmp_path: Path, ending: str, dtype: str, value: float) -> None:
    data = noise((3, 4, 5))
    data[1, 2, 3] = value
    with pytest.raises(DataError, match=f"x.{ending}.*float16|x.{ending}.*{dtype} does not hold"):
        write(tmp_path / f"x.{ending}", data, dtype)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", FORMATS)
def test_float16_of_tiny_densities_warns(tmp_path: Path, ending: str) -> None:
    with pytest.warns(UserWarning, match="few digits"):
        write(tmp_path / f"x.{ending}", noise((3, 4, 5)) * np.float32(1e-4), "float16")


def test_a_scale_that_is_known_is_kept(tmp_path: Path) -> None:
    scale = Scale(0.25, -3.0)
    data = (np.arange(60).reshape(3, 4, 5) * 0.25 - 3).astype(np.float32)
    write(tmp_path / "x.mrc", data, "int8", scale=scale)
    file = open_volume(tmp_path / "x.mrc")
    assert file.scale == scale
    np.testing.assert_array_equal(file.stored(slice(0, 3), slice(0, 4)).ravel(), np.arange(60))
    data[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="no finite numbers"):
        write(tmp_path / "y.mrc", data, "int8", scale=scale)


# MRC


@pytest.mark.parametrize(("dtype", "mode"), [("float32", 2), ("float16", 12), ("int16", 1), ("int8", 0)])
def test_other_programs_understand_the_mrc_file(
    tmp_path: Path, dtype: str, mode: int, capsys: pytest.CaptureFixture[str]
) -> None:
    data, path = noise((9, 10, 7)), tmp_path / "x.mrc"
    write(path, data, dtype)
    assert mrcfile.validate(path), capsys.readouterr().out
    with mrcfile.open(path) as mrc:
        assert mrc.header.mode == mode
        stored = mrc.data.astype(float)
        # of the numbers that are stored, as MRC2014 has it
        assert mrc.header.dmin == stored.min()
        assert mrc.header.dmax == stored.max()
        assert mrc.header.dmean == pytest.approx(stored.mean(), rel=1e-6, abs=1e-6)
        assert mrc.header.rms == pytest.approx(stored.std(), rel=1e-4)
        labels = mrc.get_labels()
    assert labels[:2] == ["fourierrecon wiener", "of TS_01"]
    if mode < 2:
        words = labels[-1].split()
        assert words[:5] == ["fourierrecon:", "value", "=", "stored", "*"]
        np.testing.assert_allclose(stored * float(words[5]) + float(words[7]), data, atol=0.51 * float(words[5]))
    else:
        assert len(labels) == 2


def test_the_label_of_a_scale_belongs_to_integers(tmp_path: Path) -> None:
    label = Scale(0.5, 3.0).label
    assert Scale.from_label(label) == Scale(0.5, 3.0)
    assert len(Scale(1.23456789012345e-300, -1.23456789012345e-300).label) <= 80
    for bad in ("value = stored * x + 1", "value = stored * nan + 1", "value = stored * 0 + 1", "something else"):
        assert Scale.from_label(bad) is None
    for dtype, expected in ((np.int16, 5.0), (np.float32, 4.0)):
        # a program that makes floats of a file may copy its labels
        with mrcfile.new(tmp_path / "x.mrc", np.full((2, 2, 2), 4, dtype), overwrite=True) as mrc:
            mrc.add_label(label)
        assert (read_mrc_volume(tmp_path / "x.mrc").data == expected).all()


def test_many_labels_leave_room_for_the_scale(tmp_path: Path) -> None:
    lines = [f"line {i}" for i in range(12)]
    for dtype, n in (("float32", 10), ("int8", 9)):
        with writing_volume(tmp_path / "x.mrc", (1, 2, 2), 1.0, (0, 0, 0), "\n".join(lines), dtype) as take:
            take(0, np.arange(4, dtype=np.float32).reshape(2, 2))
        volume = read_volume(tmp_path / "x.mrc")
        assert volume.label.splitlines() == lines[:n]
        np.testing.assert_allclose(volume.data.ravel(), range(4), atol=0.01)


# OME-Zarr


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
    image = models.Image.from_zarr(zarr.open_group(tmp_path / "x.zarr", mode="r"))
    (multiscale,) = image.ome_attributes.multiscales
    assert [axis.name for axis in multiscale.axes] == ["z", "y", "x"]
    assert {axis.unit for axis in multiscale.axes} == {"angstrom"}
    assert len(multiscale.datasets) == 3


@needs_zarr
def test_volumes_of_other_programs(tmp_path: Path) -> None:
    """OME-Zarr 0.4, in nanometres, with axes of time and channel, and a transformation of all levels."""
    data = noise((5, 6, 7))
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=2)
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


# memory


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_memory_is_bounded(tmp_path: Path, ending: str, dtype: str) -> None:
    shape = (400, 385, 140)
    whole = 4 * int(np.prod(shape))
    slab = noise((1, *shape[1:]))[0]
    write(tmp_path / f"first.{ending}", noise((2, 2, 2)), dtype)  # libraries
    order = np.random.default_rng(0).permutation(shape[0]).tolist()
    tracemalloc.start()
    try:
        with writing_volume(tmp_path / f"x.{ending}", shape, 1.0, (0, 0, 0), "", dtype, n_threads=1) as take:
            for z in order:
                take(z, slab)
        written = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        source = open_volume(tmp_path / f"x.{ending}")
        convert_volume(source, tmp_path / f"y.{ending}", "int16", n_threads=1)
        converted = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # the part of a row of shards that is read at a time, and some copies of a shard; or a few slabs
    limit = 4 * 128 * 128 * (shape[2] + 3 * 128) if ending == "zarr" else 8 * slab.nbytes
    assert limit < 0.5 * whole
    assert written < limit
    assert converted < limit


# all or nothing


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_failure_leaves_what_was_there(tmp_path: Path, ending: str, dtype: str, error: BaseException) -> None:
    old, path = noise((3, 4, 5)), tmp_path / f"x.{ending}"
    write(path, old)

    def fail() -> None:
        with writing_volume(path, (3, 4, 5), 1.0, (0, 0, 0), "", dtype) as take:
            take(0, old[0])
            raise error

    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else DataError):
        fail()
    np.testing.assert_array_equal(read_volume(path).data, old)
    write(path, 2 * old)
    np.testing.assert_array_equal(read_volume(path).data, 2 * old)
    assert list(tmp_path.iterdir()) == [path]


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


@pytest.mark.parametrize("ending", FORMATS)
def test_slabs_of_another_size_are_noticed(tmp_path: Path, ending: str) -> None:
    for rows, y in ((np.zeros((4, 6)), None), (np.zeros((4, 5)), 1), (np.zeros((1, 4)), 0), (np.zeros((1, 5)), -1)):
        with (
            pytest.raises(DataError, match="shape"),
            writing_volume(tmp_path / f"x.{ending}", (3, 4, 5), 1.0, (0, 0, 0), "") as take,
        ):
            take(0, rows, y)
    assert list(tmp_path.iterdir()) == []


def test_names_and_types_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown ending \.tif; available: \.mrc"):
        write(tmp_path / "x.tif", noise((3, 4, 5)))
    with pytest.raises(UsageError, match="'float64'; available: float32"):
        write(tmp_path / "x.mrc", noise((3, 4, 5)), "float64")
    with pytest.raises(DataError, match="voxel size"), writing_volume(tmp_path / "x.rec", (1, 1, 1), 0, (0, 0, 0), ""):
        pass
    with pytest.raises(DataError, match="GB left"):
        check_volume_writable(tmp_path / "x.mrc", (10**6, 10**6, 10**6), "int8")
    write_mrc(tmp_path / "x.map", Volume(noise((3, 4, 5)), 1.0, (0, 0, 0)))
    with pytest.raises(UsageError, match="one level"):
        read_volume(tmp_path / "x.map", 1)
    assert [p.name for p in tmp_path.iterdir()] == ["x.map"]


def test_bytes_on_disk() -> None:
    shape = (30, 40, 50)
    assert space_for("x.mrc", shape, "float32") == (1024 + 4 * 60000, 0)
    assert space_for("x.rec", shape, "float16") == (1024 + 2 * 60000, 0)
    assert space_for("x", shape, "int8") == (1024 + 60000, 4 * 60000)
    assert space_for("x.zarr", (30, 40, 70), "float16") == (2 * (84000 + 15 * 20 * 35), 4 * 84000)


# the commands


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> tuple[int, str, str]:
        status = app.main(line.split())
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@needs_zarr
@pytest.mark.parametrize("dtype", VOLUME_TYPES)
def test_there_and_back_is_the_same(run: Any, dtype: str) -> None:
    """Integers keep their numbers and scale, floats their values, and all keep size, place and labels."""
    data = noise((70, 140, 33))
    write(Path("a.mrc"), data, dtype)
    for line in ("a.mrc b.zarr", "b.zarr c.mrc", "c.mrc d.mrc", "b.zarr e.zarr"):
        status, out, err = run(f"convert {line} --j 2")
        assert status == 0, err
        assert dtype in out
    for name in ("c.mrc", "d.mrc"):
        # labels and voxels; the last digits of mean and deviation before them depend on the order of summation
        assert Path(name).read_bytes()[220:] == Path("a.mrc").read_bytes()[220:]
        check_header(read_volume(name))
    for name in ("b.zarr", "e.zarr"):
        check_header(read_volume(name))
        np.testing.assert_array_equal(read_volume(name).data, read_volume("a.mrc").data)


@needs_zarr
def test_levels_and_types_are_chosen(run: Any) -> None:
    write(Path("a.zarr"), noise((70, 140, 33)))
    status, _, err = run("convert a.zarr b.mrc --level 1 --dtype int8")
    assert status == 0, err
    coarse, found = read_volume("a.zarr", 1), read_volume("b.mrc")
    assert open_volume("b.mrc").dtype == np.int8
    assert found.voxel_size == pytest.approx(14.8)
    assert found.origin == pytest.approx(coarse.origin)
    np.testing.assert_allclose(found.data, coarse.data, atol=0.51 * float(np.ptp(coarse.data)) / 255)


def test_numbers_of_other_programs_are_kept(run: Any) -> None:
    """int16 without a scale stays itself; IMOD's bytes, unsigned, become int16; uint16 becomes float32."""
    data = np.arange(60).reshape(3, 4, 5)
    for name, numbers in (("int16", (500 * data).astype(np.int16)), ("uint16", (500 * data).astype(np.uint16)),
                          ("bytes", (4 * data).astype(np.uint8).view(np.int8))):  # fmt: skip
        with mrcfile.new(f"{name}.mrc", numbers):
            pass
    with open("bytes.mrc", "r+b") as file:
        file.seek(152)
        file.write(np.array([1146047817, 0], "<i4").tobytes())
    for name, expected, factor in (("int16", "int16", 500), ("uint16", "float32", 500), ("bytes", "int16", 4)):
        status, _, err = run(f"convert {name}.mrc {name}.rec")
        assert status == 0, err
        with mrcfile.open(f"{name}.rec") as mrc:
            assert mrc.data.dtype == expected
            np.testing.assert_array_equal(mrc.data, factor * data)


def test_convert_replaces_only_if_asked(run: Any) -> None:
    write(Path("a.mrc"), noise((3, 4, 5)))
    Path("b.mrc").write_text("precious")
    status, _, err = run("convert a.mrc b.mrc")
    assert status == 2
    assert "--overwrite" in err
    assert Path("b.mrc").read_text() == "precious"
    assert run("convert a.mrc b.mrc --overwrite --dtype float16")[0] == 0
    assert open_volume("b.mrc").dtype == np.float16


@pytest.mark.parametrize(
    ("line", "status", "part"),
    [
        ("convert a.mrc a.mrc --overwrite", 2, "lie in each other"),
        ("convert a.mrc b.tif", 2, "unknown ending .tif"),
        ("convert a.mrc b.mrc --dtype float64", 2, "available: float32"),
        ("convert a.mrc b.mrc --level 1", 2, "one level"),
        ("convert a.mrc b.mrc --level -1", 2, "--level"),
        ("convert nowhere.mrc b.mrc", 1, "No such file"),
        ("convert cut.mrc new/b.mrc", 1, "cut short"),
    ],
)
def test_convert_says_what_is_wrong(run: Any, line: str, status: int, part: str) -> None:
    write(Path("a.mrc"), noise((3, 4, 5)))
    Path("cut.mrc").write_bytes(Path("a.mrc").read_bytes()[:-8])
    found, _, err = run(line)
    assert found == status
    assert part in err
    assert len(err.splitlines()) <= 2
    assert sorted(p.name for p in Path().iterdir()) == ["a.mrc", "cut.mrc"]


@needs_zarr
def test_convert_within_itself_is_refused(run: Any) -> None:
    write(Path("a.zarr"), noise((3, 4, 5)))
    for line in ("convert a.zarr a.zarr/b.mrc", "convert a.zarr ./a.zarr --overwrite"):
        assert run(line)[0] == 2
    assert read_volume("a.zarr").data.shape == (3, 4, 5)


def test_a_failed_conversion_leaves_nothing(run: Any) -> None:
    data = noise((3, 4, 5))
    data[2, 2, 2] = 1e5
    write(Path("a.mrc"), data)
    status, _, err = run("convert a.mrc new/b.mrc --dtype float16")
    assert status == 1
    assert "float16" in err
    assert [p.name for p in Path().iterdir()] == ["a.mrc"]


@pytest.fixture
def small_set(run: Any) -> str:
    status, _, err = run("simulate sim --size 48 40 24 --noctf --j 2")
    assert status == 0, err
    return "--t sim/tomograms.star --noctf --bin 1 --j 2"


@needs_zarr
def test_reconstruct_writes_every_format_and_type(run: Any, small_set: str) -> None:
    for options in (
        "--o a.mrc",
        "--o a.zarr",
        "--o b.zarr --dtype int16",
        "--o c.rec --float16",
        "--o d.mrc --dtype int8",
    ):
        status, _, err = run(f"reconstruct {small_set} {options}")
        assert status == 0, err
    a = read_volume("a.mrc")
    for name, dtype, step in (("a.zarr", "float32", 0), ("b.zarr", "int16", 2**-16), ("c.rec", "float16", 2**-11),
                              ("d.mrc", "int8", 2**-8)):  # fmt: skip
        file = open_volume(name)
        assert file.dtype == dtype
        volume = file.read()
        assert volume.voxel_size == pytest.approx(a.voxel_size)
        assert volume.origin == pytest.approx(a.origin)
        assert volume.label.replace("Å", "A") == a.label.replace("Å", "A")  # labels of MRC are ASCII
        np.testing.assert_allclose(volume.data, a.data, atol=step * float(np.ptp(a.data)))
    assert sorted(path.name for path in Path().iterdir()) == ["a.mrc", "a.zarr", "b.zarr", "c.rec", "d.mrc", "sim"]


@needs_zarr
def test_plan_counts_the_bytes(run: Any, small_set: str) -> None:
    voxels = 48 * 40 * 24
    for options, size, scratch in (
        ("--o a.mrc", 1024 + 4 * voxels, 0),
        ("--o a.mrc --float16", 1024 + 2 * voxels, 0),
        ("--o a.mrc --dtype int8", 1024 + voxels, 4 * voxels),
        ("--o a.zarr --dtype int16", 2 * voxels, 4 * voxels),
    ):
        status, out, err = run(f"plan {small_set} {options}")
        assert status == 0, err
        lines = {line.split()[0]: line for line in out.splitlines()}
        assert in_bytes(size) in lines["output"]
        assert ("scratch" in lines) == (scratch > 0)
        if scratch:
            assert in_bytes(scratch) in lines["scratch"]
    assert [path.name for path in Path().iterdir()] == ["sim"]


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ("--o a.mrc --float16 --dtype int8", "--float16 and --dtype int8"),
        ("--o a.mrc --dtype double", "--dtype double: unknown; available: float32, float16, int16, int8"),
        ("--o a.tif", "unknown ending .tif"),
    ],
)
def test_types_and_names_that_make_no_sense(run: Any, small_set: str, options: str, part: str) -> None:
    for command in ("reconstruct", "plan"):
        status, _, err = run(f"{command} {small_set} {options}")
        assert status == 2
        assert part in err
    assert [path.name for path in Path().iterdir()] == ["sim"]


@needs_zarr
def test_a_folder_with_the_images_in_it_is_spared(run: Any, small_set: str) -> None:
    Path("sim").rename("sim.zarr")
    Path("sim.zarr/zarr.json").touch()
    status, _, err = run("reconstruct --t sim.zarr/tomograms.star --noctf --bin 1 --o sim.zarr")
    assert status == 2
    assert "files that are read" in err


# voxel sizes that are unknown, uneven or absurd


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


@pytest.mark.parametrize(("name", "dtype"), [("a.mrc", "float32"), ("a.rec", "float16"), ("a.zarr", "float32")])
def test_write_volume_takes_the_format_from_the_name(tmp_path: Path, name: str, dtype: str) -> None:
    data = np.random.default_rng(3).normal(size=(3, 5, 4)).astype(np.float16).astype(np.float32)
    write_volume(tmp_path / name, Volume(data, 4.0, (1.0, 2.0, 3.0), "made by a test"), dtype)
    found = read_volume(tmp_path / name)
    np.testing.assert_array_equal(found.data, data)
    assert (found.voxel_size, found.origin, found.label) == (4.0, (1.0, 2.0, 3.0), "made by a test")


def test_write_volume_refuses_what_no_file_can_hold(tmp_path: Path) -> None:
    unknown = Volume(np.zeros((2, 3, 4), np.float32), 0.0, (0.0, 0.0, 0.0))
    write_volume(tmp_path / "a.mrc", unknown)
    assert read_volume(tmp_path / "a.mrc").voxel_size == 0
    with pytest.raises(DataError, match="voxel size is unknown, which OME-Zarr needs"):
        write_volume(tmp_path / "a.zarr", unknown)
    with pytest.raises(DataError, match=r"needed: \(z, y, x\)"):
        write_volume(tmp_path / "b.mrc", Volume(np.zeros((3, 4), np.float32), 1.0, (0.0, 0.0, 0.0)))
