"""The three functions of the page: one story, the same voxels in memory, slab by slab and in a file."""

from __future__ import annotations

import doctest
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fourierrecon import (
    DataError,
    Region,
    Settings,
    TiltSeries,
    UsageError,
    reconstruct,
    reconstruct_to,
    reconstruct_to_file,
    reconstruction,
)
from fourierrecon.engine.settings import SettingsOptions
from fourierrecon.io import open_stack, read_volume
from fourierrecon.io.stacks.write import write_stack
from fourierrecon.weighting import NoWeighting, PreWeight, Wiener
from tests.helpers.reference import Geometry

OPTIONS: dict[str, Any] = {"ctf": False, "n_threads": 1}


def a_series() -> TiltSeries:
    geometry = Geometry(tuple(np.linspace(-57, 60, 9)), (40, 44), 4.0, 2.0, centre=(22.0, 20, 8))
    images = np.random.default_rng(5).normal(size=(9, 40, 44)).astype(np.float32)
    return geometry.series(images, size=(44, 40, 16))


def test_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(reconstruction)
    assert found.attempted > 20
    assert found.failed == 0
    assert Path("tomogram.mrc").is_file()


def test_settings_are_declared_once() -> None:
    assert set(SettingsOptions.__annotations__) == {field.name for field in fields(Settings)}


def test_a_binning_does_for_a_region() -> None:
    series = a_series()
    volume = reconstruct(series, binning=2, weighting="none", **OPTIONS)
    expected = reconstruct(series, Region.of(series, binning=2), NoWeighting(), **OPTIONS)
    np.testing.assert_array_equal(volume.data, expected.data)
    assert volume.data.shape == (8, 20, 22)
    assert (volume.voxel_size, volume.origin, volume.label) == (10, expected.origin, expected.label)


def test_binning_and_region_must_agree() -> None:
    series = a_series()
    region = Region.of(series, binning=2)
    assert reconstruct(series, region, "none", binning=2, **OPTIONS).voxel_size == 10
    with pytest.raises(UsageError, match="region has binning 2, and binning is 4; give one of them"):
        reconstruct(series, region, "none", binning=4, **OPTIONS)


@pytest.mark.parametrize(
    ("text", "weighting"),
    [("wiener:snr=100", Wiener(snr=100)), ("preweight:snr=2,thickness=40", PreWeight(2, 40)), ("none", NoWeighting())],
)
def test_text_does_for_a_weighting(text: str, weighting: Any) -> None:
    series = a_series()
    expected = reconstruct(series, None, weighting, **OPTIONS)
    np.testing.assert_array_equal(reconstruct(series, weighting=text, **OPTIONS).data, expected.data)
    slabs = np.empty_like(expected.data)
    reconstruct_to(slabs.__setitem__, series, weighting=text, **OPTIONS)
    np.testing.assert_array_equal(slabs, expected.data)


@pytest.mark.parametrize("name", ["a.mrc", "new/a.zarr"])
@pytest.mark.parametrize("weighting", [None, "none"])
def test_a_file_holds_the_volume(tmp_path: Path, name: str, weighting: str | None) -> None:
    series, path = a_series(), tmp_path / name
    reconstruct_to_file(path, series, binning=2, weighting=weighting, memory="4GB", **OPTIONS)
    expected = reconstruct(series, binning=2, weighting=weighting, **OPTIONS)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, expected.data)
    assert volume.voxel_size == pytest.approx(expected.voxel_size)
    assert volume.origin == pytest.approx(expected.origin)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_file_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    series, path = a_series(), tmp_path / "a.mrc"
    path.write_bytes(b"of the user")
    np.asarray(series.images)[4, 3, 3] = np.nan
    with pytest.raises(DataError, match="NaN"):
        reconstruct_to_file(path, series, weighting="none", **OPTIONS)
    assert path.read_bytes() == b"of the user"
    assert list(tmp_path.iterdir()) == [path]


def test_an_input_is_not_written_over(tmp_path: Path) -> None:
    series, path = a_series(), tmp_path / "stack.mrc"
    write_stack(path, np.asarray(series.images), 5.0)
    before = path.read_bytes()
    on_disk = TiltSeries(open_stack(path), series.projections, 5.0, size=(44, 40, 16))
    with pytest.raises(UsageError, match="is an input of tilt series tomogram; choose another path"):
        reconstruct_to_file(path, on_disk, weighting="none", **OPTIONS)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": "lots"}, "'lots' is no size of memory; write it as 6GB"),
        ({"n_threads": 0}, "number of threads 0 must be 1 or more"),
        ({"precision": "exact"}, "unknown precision 'exact'; available: default, high"),
        ({"weighting": "winer"}, "unknown weighting 'winer'; available: cg, exact, none, preweight"),
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        reconstruct(a_series(), **{**OPTIONS, **options})


def test_an_unknown_keyword_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no argument thread_count=.*available: ctf, n_threads"):
        reconstruct(a_series(), thread_count=3)  # type: ignore[call-arg]
