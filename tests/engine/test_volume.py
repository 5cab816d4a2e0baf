"""A volume is an array for NumPy, and for xarray an array with coordinates."""

from __future__ import annotations

import doctest
import sys

import numpy as np
import pytest

from fourierrecon import UsageError, Volume, volume

DATA = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def test_examples() -> None:
    found = doctest.testmod(volume)
    assert found.attempted >= 3
    assert found.failed == 0


def test_numpy_takes_a_volume_as_its_voxels() -> None:
    made = Volume(DATA, 10.0, (1.0, 2.0, 3.0))
    assert np.asarray(made) is DATA
    assert np.asarray(made, np.float64).dtype == np.float64
    copied = np.array(made, copy=True)
    np.testing.assert_array_equal(copied, DATA)
    assert not np.shares_memory(copied, DATA)
    assert np.max(made) == 23
    with pytest.raises(ValueError, match="avoid copy"):
        made.__array__(np.float64, copy=False)


def test_xarray_knows_where_voxels_lie() -> None:
    pytest.importorskip("xarray", reason="xarray is not installed")
    array = Volume(DATA, 10.0, (1.0, 2.0, 3.0), "made by hand").to_xarray()
    assert array.dims == ("z", "y", "x")
    np.testing.assert_array_equal(array.coords["x"], [1, 11, 21, 31])
    np.testing.assert_array_equal(array.coords["z"], [3, 13])
    assert float(array.sel(x=11, y=22, z=3)) == DATA[0, 2, 1]
    assert array.attrs["label"] == "made by hand"
    unknown = Volume(DATA, 0.0, (0.0, 0.0, 0.0)).to_xarray()
    np.testing.assert_array_equal(unknown.coords["y"], [0, 1, 2])
    assert unknown.attrs["units"] == "voxel"


def test_xarray_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(UsageError, match="pip install xarray"):
        Volume(DATA, 10.0, (0.0, 0.0, 0.0)).to_xarray()
