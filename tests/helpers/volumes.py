"""Small volumes in every format, and what their headers should say."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon.io import writing_volume

needs_zarr = pytest.mark.skipif(
    find_spec("zarr") is None, reason="zarr is not installed: pip install 'fourierrecon[zarr]'"
)
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
