"""The command ``convert``, and what ``reconstruct`` and ``plan`` make of the formats and types of volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest

from fourierrecon.cli.console import in_bytes
from fourierrecon.io import (
    open_volume,
    read_volume,
)
from fourierrecon.io.volumes.formats import VOLUME_TYPES
from tests.helpers.volumes import check_header, needs_zarr, noise, write


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


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
