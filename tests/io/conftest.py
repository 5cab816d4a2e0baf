"""Small sets of both versions of RELION."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon.io import (
    write_stack,
)
from tests.helpers.relion_sets import RELION_4, RELION_5, TILTS_5


@pytest.fixture
def images() -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(3, 8, 10)).astype(np.float32)


@pytest.fixture
def relion4(tmp_path: Path, images: NDArray[np.float32]) -> Path:
    write_stack(tmp_path / "tilts.mrcs", images, 4.0)
    path = tmp_path / "tomograms.star"
    path.write_text(RELION_4)
    return path


@pytest.fixture
def relion5(tmp_path: Path, images: NDArray[np.float32]) -> Path:
    write_stack(tmp_path / "tilts.mrcs", images, 4.0)
    write_stack(tmp_path / "even.mrcs", images + 100, 4.0)
    write_stack(tmp_path / "odd.mrcs", images + 200, 4.0)
    (tmp_path / "tilt_series").mkdir()
    (tmp_path / "tilt_series" / "TS_01.star").write_text(TILTS_5)
    path = tmp_path / "tomograms.star"
    path.write_text(RELION_5)
    return path
