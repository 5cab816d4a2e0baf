"""Volumes in every format and type: what comes back, where it lies, how much memory it takes, what failures leave."""

from __future__ import annotations

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from fourierrecon.errors import DataError, UsageError
from fourierrecon.io import (
    open_volume,
    read_mrc_volume,
    read_volume,
    write_mrc,
    write_volume,
    writing_volume,
)
from fourierrecon.io.volumes.convert import convert_volume
from fourierrecon.io.volumes.formats import VOLUME_TYPES, check_volume_writable, space_for
from fourierrecon.io.volumes.quantise import REACH, Scale
from fourierrecon.volume import Volume
from tests.helpers.volumes import FORMATS, ORIGIN, SHAPE, Shape, check_header, noise, write

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
