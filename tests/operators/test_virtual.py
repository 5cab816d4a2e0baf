"""Virtual tomograms: a part is that of the whole, whatever it is asked through."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest

from fourierrecon import Region, TiltSeries, open_virtual, read_tilt_series, reconstruct
from fourierrecon.cli.view import _open
from fourierrecon.display.napari import napari_layer
from fourierrecon.display.planes import VirtualPlanes
from fourierrecon.display.zarr_server import ZarrServer
from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.displacement import FieldOf
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.operators import VirtualTomogram, parts
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.simulation.simulate import simulate, write_simulation
from tests.helpers.reference import relative_error

SHAPE = (60, 64)


@cache
def series(axis: float) -> TiltSeries:
    tilts = np.linspace(-60, 60, 7)
    images = np.random.default_rng(0).standard_normal((7, *SHAPE)).astype(np.float32)
    matrices = projection_matrices(SHAPE, (32.0, 30, 12), tilts, axis)
    return TiltSeries(images, matrices, 10.0, size=(64.0, 60.0, 24.0), ctf=realistic_ctf(7))


PARTS: list[Any] = [
    5,
    5,
    slice(9, 12),
    (slice(3, 9), slice(None), slice(None)),
    (slice(3, 9), slice(4, 12), slice(5, 9)),
    (slice(None), 7),
    (..., 11),
    (-1, slice(None, None, -3), slice(2, 40, 2)),
    (slice(20, 2, -4), 5, -2),
]


@pytest.mark.parametrize("axis", [3.0, 86.0])
@pytest.mark.parametrize("weighting", ["wiener:snr=10", "none", "preweight:snr=10"])
def test_a_part_is_that_of_the_whole(weighting: str, axis: float) -> None:
    options: dict[str, Any] = {"keep_mean": weighting == "none", "n_threads": 2}
    whole = reconstruct(series(axis), weighting=weighting, **options)
    with open_virtual(series(axis), weighting=weighting, **options) as tomogram:
        assert (tomogram.shape, tomogram.voxel_size, tomogram.origin) == (
            whole.data.shape, whole.voxel_size, whole.origin
        )  # fmt: skip
        for part in PARTS:
            assert tomogram[part].shape == whole.data[part].shape
            assert relative_error(tomogram[part], whole.data[part]) < 1e-5, part
        assert tomogram[4:4].shape == (0, 60, 64)
        assert relative_error(np.asarray(tomogram), whole.data) < 1e-5


def test_samples_on_disk_and_a_region(tmp_path: Any) -> None:
    region = Region((10.0, 8.0, 4.0), (12, 30, 28))
    whole = reconstruct(series(3.0), region, "wiener:snr=10")
    tomogram = small_memory(region, tmp_path)
    assert isinstance(tomogram._parts, parts._Grid)
    assert tomogram._parts._task.storage.samples_on_disk
    assert relative_error(tomogram[3:7], whole.data[3:7]) < 1e-5


def small_memory(region: Region, folder: Any) -> VirtualTomogram:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "SHARE", 0.0)
        return open_virtual(series(3.0), region, "wiener:snr=10", scratch=folder)


def test_the_cache_is_bounded() -> None:
    section = 4 * 60 * 64
    tomogram = open_virtual(series(3.0), weighting="none", ctf=False, cache=4 * section)
    assert tomogram.chunk == 2
    first = tomogram[0]
    for z in range(tomogram.shape[0]):
        _ = tomogram[z]
        assert sum(part.nbytes for part in tomogram._cache.values()) <= 4 * section
    np.testing.assert_allclose(tomogram[0], first, atol=1e-5 * float(np.abs(first).max()))


def test_a_second_look_computes_the_neighbours() -> None:
    tomogram = open_virtual(series(3.0), weighting="none", ctf=False)
    assert tomogram.chunk == 24
    one = tomogram[7]
    assert {part.shape[0] for part in tomogram._cache.values()} == {1}
    np.testing.assert_array_equal(tomogram[7], one)
    assert len(tomogram._cache) == 1
    _ = tomogram[8]
    assert max(part.shape[0] for part in tomogram._cache.values()) == 24
    assert relative_error(tomogram[7], one) < 1e-5


def test_dask_zarr_and_the_page_see_the_same() -> None:
    dask_array = pytest.importorskip("dask.array")
    zarr = pytest.importorskip("zarr")
    tomogram = open_virtual(series(3.0), binning=2, weighting="none", ctf=False, cache=4 * 4 * 30 * 32)
    lazy = tomogram.to_dask()
    assert isinstance(lazy, dask_array.Array)
    assert lazy.shape == tomogram.shape
    np.testing.assert_array_equal(lazy[3:5].compute(scheduler="synchronous"), tomogram[3:5])
    group = zarr.open_group(tomogram.to_zarr(), mode="r")
    assert group["0"].shape == tomogram.shape
    np.testing.assert_array_equal(group["0"][2:7, 4:, ::3], tomogram[2:7, 4:, ::3])
    assert group["0"].metadata.dimension_names == ("z", "y", "x")
    levels = group.attrs["ome"]["multiscales"][0]["datasets"]
    assert [level["path"] for level in levels] == ["0", "1"]
    for level, factor in zip(levels, (2, 4), strict=True):
        whole = reconstruct(series(3.0), binning=factor, weighting="none", ctf=False)
        scale, translation = (
            each for transform in level["coordinateTransformations"] for each in list(transform.values())[1:]
        )
        assert (scale, translation) == ([whole.voxel_size] * 3, list(whole.origin[::-1]))
        assert relative_error(group[level["path"]][:], whole.data) < 1e-5
    planes = VirtualPlanes(tomogram)
    np.testing.assert_allclose(planes.slab("z", 4, 3), tomogram[3:6].mean(0), rtol=1e-5)
    np.testing.assert_allclose(planes.plane("x", 9), tomogram[:, :, 9], rtol=1e-5)


def test_programs_read_it_over_http() -> None:
    zarr = pytest.importorskip("zarr")
    tomogram = open_virtual(series(3.0), binning=2, weighting="none", ctf=False)
    with ZarrServer(tomogram.to_zarr()) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def ask(key: str, **more: Any) -> bytes:
            with urlopen(Request(key if "//" in key else server.address + key, **more), timeout=60) as answer:
                assert answer.headers["Access-Control-Allow-Origin"] == "*"
                return bytes(answer.read())

        store = zarr.storage.MemoryStore()
        names = ["zarr.json", "0/zarr.json", "1/zarr.json", "0/c/0/0/0", "1/c/0/0/0"]
        for name in names:
            store._store_dict[name] = zarr.core.buffer.default_buffer_prototype().buffer.from_bytes(ask(name))
            assert ask(name, method="HEAD") == b""
        group = zarr.open_group(store, mode="r")
        for level in range(2):
            np.testing.assert_array_equal(group[str(level)][:], np.asarray(tomogram.levels()[level]))
        for wrong in ("0/c/9/0/0", "2/zarr.json"):
            with pytest.raises(HTTPError, match="404"):
                ask(wrong)
        with pytest.raises(HTTPError, match="403"):
            ask(server.address.replace(server.token, "token") + "zarr.json")
        with pytest.raises(UsageError, match="a free one is taken"):
            ZarrServer(tomogram.to_zarr(), server.server_address[1])
        server.shutdown()


def test_view_computes_the_tomogram_of_a_set(tmp_path: Path) -> None:
    specimen = Gaussians(np.array([[20.0, 18, 9]]), np.asarray(3.0), np.asarray(1.0))
    made = simulate(specimen, (40, 36, 18), tilt_angles=(-40, 0, 40), snr=1.0, ctf=realistic_ctf(3))
    write_simulation(tmp_path, made)
    opened = _open(tmp_path / "tomograms.star", None, 2.0, "wiener:snr=10")
    expected = reconstruct(read_tilt_series(tmp_path / "tomograms.star"), binning=2, weighting="wiener:snr=10")
    assert relative_error(opened.plane("z", 4), expected.data[4]) < 1e-5
    layer = napari_layer(opened)
    assert layer["multiscale"]
    assert relative_error(layer["data"][0][5], expected.data[5]) < 1e-5
    with pytest.raises(UsageError, match="are for tilt series"):
        _open(tmp_path / "truth.mrc", None, 2.0, None)
    assert _open(tmp_path / "truth.mrc", None, None, None).shape == (18, 36, 40)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="choose a weighting that does not iterate"):
        open_virtual(series(3.0), weighting="cg")
    with pytest.raises(UsageError, match="give one of them"):
        open_virtual(series(3.0), Region.of(series(3.0)), binning=2)
    with pytest.raises(UsageError, match="region is of type tuple"):
        open_virtual(series(3.0), (1, 2, 3))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="cache=-5 bytes must be 0 or more"):
        open_virtual(series(3.0), cache=-5)
    with pytest.raises(DataError, match=r"a virtual tomogram needs .*, or use a larger binning=.* a smaller cache"):
        open_virtual(series(3.0), memory="1MB")
    tomogram = open_virtual(series(3.0), binning=4, weighting="none", ctf=False)
    with pytest.raises(IndexError, match="three axes"):
        _ = tomogram[1, 2, 3, 4]
    with pytest.raises(IndexError):
        _ = tomogram[99]
    with pytest.raises(IndexError, match="integers and slices"):
        _ = tomogram[np.array([1, 2])]


@pytest.mark.parametrize("x_tilt", [0.0, 8.0])
@pytest.mark.parametrize("weighting", ["wiener:snr=10", "none"])
def test_parts_have_the_ctf_of_their_depth(weighting: str, x_tilt: float) -> None:
    images = np.stack([series(3.0).images[i] for i in range(7)])
    images[2, 30, 20] = 200  # a hot pixel, which is repaired as in a file
    matrices = projection_matrices(SHAPE, (32.0, 30, 12), series(3.0).tilt_angles, 3.0, x_tilt)
    deep = replace(series(3.0), images=images, projections=matrices, pixel_size=2.0, hand=1, hand_assumed=False)
    whole = reconstruct(deep, weighting=weighting, ctf_depth="on")
    flat = reconstruct(deep, weighting=weighting, ctf_depth="off")
    with open_virtual(deep, weighting=weighting, ctf_depth="on") as tomogram:
        for part in (slice(9, 12), slice(2, 9), (slice(3, 9), slice(4, 12), slice(5, 9))):
            assert relative_error(tomogram[part], whole.data[part]) < 1e-5
    assert relative_error(flat.data, whole.data) > 0.01


@pytest.mark.parametrize("axis", [3.0, 86.0])
@pytest.mark.parametrize("weighting", ["wiener:snr=10", "none"])
def test_a_local_alignment_is_applied_as_in_a_file(weighting: str, axis: float, tmp_path: Path) -> None:
    field = FieldOf(lambda tilt, points: 3 * np.sin(points[:, :2] / 20 + tilt))
    bent = replace(series(axis), local=field)
    region = Region((3.0, -60.0, 1.0), (11, 116, 47))  # some tiles are seen by no image
    options: dict[str, Any] = {"residual": 0.5, "keep_mean": weighting == "none", "n_threads": 2}
    whole = reconstruct(bent, region, weighting, **options).data
    global_only = reconstruct(bent, region, weighting, **options, local=False).data
    assert relative_error(global_only, whole) > 0.1
    for share in (0.5, 0.0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parts, "SHARE", share)
            tomogram = open_virtual(bent, region, weighting, scratch=tmp_path, **options)
        with tomogram:
            for part in (4, 4, slice(2, 9), (slice(1, 9), slice(70, 112), slice(20, 29)), (slice(None), 80)):
                assert relative_error(tomogram[part], whole[part]) < 1e-5, part
