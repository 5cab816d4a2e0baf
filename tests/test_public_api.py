"""What a user imports: the names are there and load late, and the example of each runs."""

from __future__ import annotations

import doctest
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import fourierrecon
from fourierrecon import Volume
from fourierrecon.display.napari import napari_layer
from fourierrecon.errors import UsageError

NAMES = {
    "fourierrecon": [
        "CtfParameters",
        "DataError",
        "Region",
        "Settings",
        "TiltSeries",
        "UsageError",
        "Volume",
        "open_virtual",
        "profile",
        "read_tilt_series",
        "read_volume",
        "reconstruct",
        "reconstruct_to",
        "reconstruct_to_file",
        "write_volume",
    ],
    "fourierrecon.quality": ["compare_volumes", "shell_correlation", "tilt_agreement", "wedge_mask"],
}


@pytest.mark.parametrize("package", NAMES)
def test_names_are_listed(package: str) -> None:
    module = import_module(package)
    assert dir(module) == sorted(module.__all__) == NAMES[package]
    with pytest.raises(AttributeError, match="no attribute 'reconstruckt'"):
        _ = module.reconstruckt


@pytest.mark.parametrize("name", [f"{package}.{name}" for package, names in NAMES.items() for name in names])
def test_the_example_of_each_name_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    package, _, short = name.rpartition(".")
    thing = getattr(import_module(package), short)
    tests = doctest.DocTestFinder().find(thing, short, globs={})
    assert any(test.name == short and test.examples for test in tests), "no example"
    for test in tests:
        found = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
        assert found.failed == 0


def test_importing_costs_next_to_nothing() -> None:
    code = "import sys, fourierrecon; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.perf_counter() - started < 10
    assert not {"numpy", "scipy", "numba", "typer", "rich"} & set(done.stdout.split())


VOLUME = Volume(np.arange(24, dtype=np.float32).reshape(2, 3, 4), 20.0, (-10.0, 0.0, 30.0), "made up")


def test_a_volume_is_an_array_to_numpy() -> None:
    assert np.asarray(VOLUME) is VOLUME.data
    assert np.mean(VOLUME) == 11.5
    assert np.asarray(VOLUME, np.float64).dtype == np.float64
    copy = np.array(VOLUME)
    assert not np.shares_memory(copy, VOLUME.data)
    with pytest.raises(ValueError, match="copy"):
        np.asarray(VOLUME, np.int16, copy=False)


def test_a_volume_as_xarray() -> None:
    pytest.importorskip("xarray", reason="xarray is not installed")
    array = VOLUME.to_xarray()
    assert array.dims == ("z", "y", "x")
    assert array.x.values.tolist() == [-10, 10, 30, 50]
    assert array.z.values.tolist() == [30, 50]
    assert array.sel(x=30, y=20, z=50) == VOLUME.data[1, 1, 2]
    assert array.attrs == {"units": "angstrom", "voxel_size": 20.0, "label": "made up"}


def test_without_xarray_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(UsageError, match="pip install xarray"):
        VOLUME.to_xarray()


def test_a_volume_is_a_layer_of_napari() -> None:
    layer = napari_layer(VOLUME, "cell")
    assert layer["data"] is VOLUME.data
    assert (layer["name"], layer["scale"], layer["translate"]) == ("cell", (2.0,) * 3, (3.0, 0.0, -1.0))
    assert layer["contrast_limits"] == pytest.approx((1.066, 22.934))  # zeros do not count
    unknown = napari_layer(Volume(np.zeros((2, 2, 2), np.float32), 0.0, (5.0, 5.0, 5.0)))
    assert (unknown["units"], unknown["scale"], unknown["translate"]) == (("pixel",) * 3, (1.0,) * 3, (0.0,) * 3)
    assert unknown["contrast_limits"][0] < unknown["contrast_limits"][1]


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert fourierrecon.__version__ == version("fourierrecon")
