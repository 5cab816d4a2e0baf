"""Which pixels hold grey values, in every type of the image."""

from __future__ import annotations

import numpy as np
import pytest

from fourierrecon.geometry.sound_images import sound_pixels


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_infinite_pixels_and_nan_are_not_sound(kind: type[np.floating]) -> None:
    image = np.array([[-60000, 0, 1], [np.inf, -np.inf, np.nan]], kind)
    np.testing.assert_array_equal(sound_pixels(image), [[True] * 3, [False] * 3])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_absurdly_large_pixels_are_not_sound(kind: type[np.floating]) -> None:
    np.testing.assert_array_equal(
        sound_pixels(np.array([[9e11, -9e11, 1.1e12, -1e30]], kind)), [[True, True, False, False]]
    )


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.uint16])
def test_whole_numbers_are_sound(kind: type[np.integer]) -> None:
    limits = np.iinfo(kind)
    assert sound_pixels(np.array([[limits.min + 1, 0, limits.max]], kind)).all()
