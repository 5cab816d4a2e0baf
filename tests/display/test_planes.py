"""Planes of volumes in files: those of the array, whatever the type, the byte order and the thickness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import Volume
from fourierrecon.display import planes
from fourierrecon.display.planes import AXES, Axis, BlockPlanes, VolumePlanes, open_volume, percentiles_of
from fourierrecon.errors import DataError
from fourierrecon.io import write_mrc
from fourierrecon.io.volumes.formats import writing_volume

SHAPE = (7, 12, 9)
VALUES = np.random.default_rng(4).normal(3, 2, SHAPE).astype(np.float32)


def mean(data: NDArray[np.float32], axis: Axis, first: int, last: int) -> NDArray[np.float64]:
    number = AXES.index(axis)
    picked = np.take(data, range(max(first, 0), min(last, data.shape[number])), number)
    return np.asarray(picked.astype(np.float64).mean(axis=number))


def check_all_planes(volume: VolumePlanes, data: NDArray[np.float32]) -> None:
    assert volume.shape == data.shape
    for number, axis in enumerate(AXES):
        for index in range(data.shape[number]):
            np.testing.assert_array_equal(volume.plane(axis, index), np.take(data, index, number))
            # even slabs have their longer half after the plane; at the faces they are cut off
            for thickness, before in ((2, 0), (3, 1), (6, 2), (40, 19)):
                expected = mean(data, axis, index - before, index - before + thickness)
                np.testing.assert_allclose(volume.slab(axis, index, thickness), expected, rtol=1e-5)
        for index, thickness in ((-1, 1), (data.shape[number], 1), (0, 0)):
            with pytest.raises(IndexError, match=f"no plane {index} of {data.shape[number]} along {axis}"):
                volume.slab(axis, index, thickness)


class InMemory:
    """A volume that is read in blocks, and counts how large they are."""

    path, voxel_size, origin, tile = Path("volume.zarr"), 10.0, (1.0, 2.0, 3.0), (3, 5)
    shape, largest = SHAPE, 0

    def block(self, z: slice, y: slice) -> NDArray[np.float32]:
        assert 0 <= z.start < z.stop <= SHAPE[0]
        assert 0 <= y.start < y.stop <= SHAPE[1]
        found = VALUES[z, y]
        self.largest = max(self.largest, found.size)
        return found


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.int16, np.uint16, np.int8])
@pytest.mark.parametrize("band", [0, 4 * 7 * 12 * 4, 1 << 27])
def test_planes_of_mrc_files(kind: type, band: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "BAND_BYTES", band)
    data: NDArray[Any] = np.clip(10 * VALUES, 0, 100).astype(kind)
    path = tmp_path / "volume.mrc"
    with mrcfile.new(path) as file:
        file.set_data(data)
    check_all_planes(open_volume(path), data.astype(np.float32))


def test_planes_of_the_other_byte_order(tmp_path: Path) -> None:
    path, other = tmp_path / "little.mrc", tmp_path / "big.mrc"
    write_mrc(path, Volume(VALUES, 13.7, (-10.5, 20.0, 7.25)))
    raw = path.read_bytes()
    header = np.frombuffer(raw[:1024], "<i4").astype(">i4").tobytes()
    header = header[:208] + b"MAP \x11\x11\0\0" + header[216:224] + raw[224:1024]
    other.write_bytes(header + np.frombuffer(raw[1024:], "<f4").astype(">f4").tobytes())
    volume = open_volume(other)
    check_all_planes(volume, VALUES)
    assert volume.plane("y", 3).dtype == np.float32
    assert volume.voxel_size == pytest.approx(13.7)
    assert volume.origin == (-10.5, 20.0, 7.25)


def test_planes_of_chunks() -> None:
    chunks = InMemory()
    check_all_planes(BlockPlanes(chunks), VALUES)
    assert BlockPlanes(chunks).origin == (1, 2, 3)
    chunks.largest = 0
    BlockPlanes(chunks).plane("x", 4)
    # a plane across all chunks holds one row of them at a time
    assert chunks.largest == 3 * 5 * SHAPE[2]


def test_zarr(tmp_path: Path) -> None:
    pytest.importorskip("zarr", reason="zarr is not installed: pip install 'fourierrecon[zarr]'")
    with writing_volume(tmp_path / "a.zarr", SHAPE, 10.0, (1.0, 2.0, 3.0), "") as write:
        for z, slab in enumerate(VALUES):
            write(z, slab)
    volume = open_volume(tmp_path / "a.zarr")
    check_all_planes(volume, VALUES)
    assert (volume.voxel_size, volume.origin) == (10, (1, 2, 3))


def test_percentiles_are_those_of_the_sampled_planes() -> None:
    volume = BlockPlanes(InMemory())
    sampled = VALUES[[0, 2, 3, 4, 6]]
    np.testing.assert_allclose(percentiles_of(volume), np.percentile(sampled, np.arange(1001) / 10), rtol=1e-6)
    thin, thick = (np.diff(percentiles_of(volume, n)[[50, 950]])[0] for n in (1, 7))
    assert thick < 0.7 * thin


def test_values_that_are_no_numbers_do_not_count(tmp_path: Path) -> None:
    data = VALUES.copy()
    data[:, ::2] = np.nan
    data[:, 1, 0], data[:, 1, 1] = np.inf, -np.inf
    write_mrc(tmp_path / "a.mrc", Volume(data, 10.0, (0, 0, 0)))
    found = percentiles_of(open_volume(tmp_path / "a.mrc"), 3)
    assert np.isfinite(found).all()
    assert VALUES.min() <= found[0] < found[-1] <= VALUES.max()
    write_mrc(tmp_path / "b.mrc", Volume(np.full(SHAPE, np.nan, np.float32), 10.0, (0, 0, 0)))
    assert not percentiles_of(open_volume(tmp_path / "b.mrc")).any()


def test_a_file_that_becomes_shorter(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    write_mrc(path, Volume(VALUES, 10.0, (0, 0, 0)))
    volume = open_volume(path)
    with path.open("rb+") as file:
        file.truncate(1024)
    for axis in AXES:
        with pytest.raises(DataError, match=r"a\.mrc has become shorter since it was opened"):
            volume.plane(axis, 3)


def test_a_file_that_is_replaced_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    write_mrc(path, Volume(VALUES, 10.0, (0, 0, 0)))
    volume = open_volume(path)
    write_mrc(path, Volume(np.zeros((1, 2, 3), np.float32), 10.0, (0, 0, 0)))
    check_all_planes(volume, VALUES)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as file:
        file.set_data(VALUES)
        file.header.mapc, file.header.maps = 3, 1
    with pytest.raises(DataError, match=r"axes stored in the order \(3, 2, 1\)"):
        open_volume(path)
    pytest.importorskip("zarr", reason="zarr is not installed: pip install 'fourierrecon[zarr]'")
    with pytest.raises(DataError, match="is no OME-Zarr image"):
        open_volume(tmp_path)
