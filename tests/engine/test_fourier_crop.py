from __future__ import annotations

import numpy as np
import pytest

from fourierrecon.engine.fourier_crop import fourier_crop
from fourierrecon.engine.preprocess import ImageGrid, prepare_image
from fourierrecon.runtime.memory import Workspace


@pytest.mark.parametrize("shape", [(12, 10), (11, 9), (24, 13), (12, 18), (24, 18)])
def test_crop_samples_the_same_picture(shape: tuple[int, int]) -> None:
    def picture(rows: int, columns: int) -> np.ndarray:
        y, x = np.arange(rows)[:, None] / rows, np.arange(columns)[None, :] / columns
        waves = (2 * np.pi * (a * y + b * x) + a for a, b in [(0, 0), (5, 1), (-5, 2), (3, -4), (0, 4), (4, 0)])
        return np.asarray(sum(np.cos(wave) for wave in waves))

    assert fourier_crop(picture(24, 18), shape) == pytest.approx(picture(*shape), abs=1e-5)


def test_crop_leaves_out_what_is_beyond_and_keeps_the_mean() -> None:
    checks = np.indices((16, 16)).sum(0) % 2 + 3.0
    assert fourier_crop(checks, (8, 8)) == pytest.approx(np.full((8, 8), 3.5))
    stripes = np.cos(2 * np.pi * np.arange(16) * 4 / 16) * np.ones((16, 1))
    assert fourier_crop(stripes, (8, 8)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("rows", [4, 5])
def test_prepared_images_keep_all_rows_of_their_spectra(rows: int) -> None:
    def waves(height: int, width: int) -> np.ndarray:
        y, x = np.arange(height)[:, None] / height, np.arange(width)[None, :] / width
        top = (rows - 1) // 2
        return np.asarray(np.cos(2 * np.pi * (top * y + x)) + np.cos(2 * np.pi * (2 * x - top * y)), np.float32)

    grid, one = ImageGrid(0, (2 * rows, 12), (rows, 6), True), np.ones((1, 1), np.float32)
    prepared = prepare_image(
        waves(2 * rows, 12), grid, (one, one), 0.0, [], 2.0, Workspace(), shared={}, share=0, odd=False
    )
    assert prepared == pytest.approx(waves(rows, 6), abs=1e-5)
