"""Images of another exposure are scaled; dark and blocked ones are named. What falls off with the tilt is no step."""

from __future__ import annotations

import numpy as np
import pytest

from fourierrecon import TiltSeries
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.images import Repairs, lines_on, repaired
from fourierrecon.images.intensities import expected_intensities, steps_of
from fourierrecon.quality.bad_images import find_bad_images, without_bad_images

TILTS = np.arange(-60.0, 61.0, 4.0)


def series_of(factors: dict[int, float], *, pretilt: float = 0.0, counts: float = 20.0) -> TiltSeries:
    rng = np.random.default_rng(0)
    means = counts * np.exp(-0.6 / np.cos(np.radians(TILTS - pretilt)))
    for tilt, factor in factors.items():
        means[tilt] *= factor
    images = rng.poisson(np.broadcast_to(means[:, None, None], (len(TILTS), 96, 96))).astype(np.float32)
    matrices = projection_matrices((96, 96), (48.0, 48.0, 16.0), TILTS, tilt_axis_angle=86.0)
    return TiltSeries(images, matrices, pixel_size=10.0, size=(96, 96, 32), name="TS_01")


@pytest.mark.parametrize("pretilt", [0.0, 12.0])
def test_images_that_step_out_are_scaled(pretilt: float) -> None:
    series = series_of({5: 2.0, 15: 0.6}, pretilt=pretilt)
    factors = steps_of(series.tilt_angles, series.images)
    assert sorted(np.flatnonzero(factors != 1)) == [5, 15]
    np.testing.assert_allclose(factors[[5, 15]], [2, 0.6], rtol=0.08)
    whole = repaired(series)
    scaled, usual = (np.asarray(one.images[15], float).mean() for one in (whole, series_of({}, pretilt=pretilt)))
    assert abs(scaled / usual - 1) < 0.1
    assert "scaled to the intensity of their neighbours" in lines_on(whole)[-1]


def test_smooth_series_and_normalised_stacks_are_left_alone() -> None:
    series = series_of({}, pretilt=10.0)
    assert (steps_of(series.tilt_angles, series.images) == 1).all()
    normalised = np.array(series.images)
    normalised = (normalised - normalised.mean((1, 2), keepdims=True)) * np.linspace(1, 4, len(TILTS))[:, None, None]
    assert (steps_of(series.tilt_angles, normalised) == 1).all()
    assert expected_intensities(TILTS[:4], np.ones(4)) is None


def test_repairs_may_be_switched_off() -> None:
    series = series_of({5: 2.0})
    assert np.array_equal(repaired(series, Repairs(intensities=False)).images[5], series.images[5])
    assert repaired(series, Repairs(intensities=False, hot_pixels=False)) is series


def test_dark_and_blocked_images_are_found() -> None:
    series = series_of({0: 0.2, 1: 0.15, 2: 0.2})
    np.asarray(series.images)[20, :, 50:] *= 0.05
    bad = find_bad_images(series)
    assert {tilt: reason.partition(":")[0] for tilt, reason in bad.items()} == {
        0: "dark", 1: "dark", 2: "dark", 20: "blocked"
    }  # fmt: skip
    with pytest.warns(UserWarning, match=r"image \d+ of TS_01, tilt .*(dark|blocked): "):
        rest, kept = without_bad_images(series)
    assert rest.excluded == (1, 2, 3, 21)
    assert len(kept) == len(TILTS) - 4


def test_a_bar_that_stays_is_no_fault() -> None:
    series = series_of({})
    np.asarray(series.images)[:, :, 60:] *= 0.05
    assert find_bad_images(series) == {}
