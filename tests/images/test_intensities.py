"""Images of another exposure are scaled; dark and blocked ones are named. What falls off with the tilt is no step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fourierrecon import TiltSeries, reconstruct
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.images import Repairs, lines_on, record_of, repaired
from fourierrecon.images.intensities import expected_intensities, steps_of
from fourierrecon.images.repair import alike as alike_stacks
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


@pytest.fixture(scope="module")
def thick() -> TiltSeries:
    """Give counts through thick ice: signal and variance of the noise fall off alike."""
    rng = np.random.default_rng(0)
    size, n = (96, 96, 24), len(TILTS)
    matrices = projection_matrices((96, 96), (48.0, 48.0, 12.0), TILTS, tilt_axis_angle=86.0)
    points = rng.uniform(0, 1, (150, 3)) * size
    v, u = np.mgrid[:96, :96]
    signal = np.zeros((n, 96, 96))
    for tilt, p in enumerate(matrices):
        for x, y in points @ p[:2, :3].T + p[:2, 3]:
            signal[tilt] -= np.exp(-((u - x) ** 2 + (v - y) ** 2) / 8)
    through = np.exp(-(1 / np.cos(np.radians(TILTS)) - 1))[:, None, None]
    images = through * (100 + 10 * signal) + np.sqrt(through) * rng.normal(0, 10, signal.shape)
    return TiltSeries(images.astype(np.float32), matrices, pixel_size=20.0, size=size, name="TS_01")


def normalised(series: TiltSeries, how: str) -> TiltSeries:
    images = np.asarray(series.images)
    means, spreads = images.mean((1, 2), keepdims=True), images.std((1, 2), keepdims=True)
    made = {"means": images / means, "variances": (images - means) / spreads, "contrast": images / means - 1}
    return replace(series, images=made[how])


@pytest.mark.parametrize("how", ["means", "variances", "contrast"])
def test_normalised_stacks_weigh_as_their_counts_do(thick: TiltSeries, how: str) -> None:
    def volume(series: TiltSeries, intensities: bool = True) -> np.ndarray:
        return reconstruct(series, binning=2, weighting="wiener:snr=100", ctf=False, intensities=intensities).data

    def alike(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])

    counts, stack = volume(thick, intensities=False), normalised(thick, how)
    assert alike(volume(stack), counts) > 0.997 > alike(volume(stack, intensities=False), counts)
    whole = repaired(stack)
    even = alike_stacks(whole, {"even": np.asarray(stack.images) + 1})["even"]
    factors = [
        np.std(np.asarray(whole.images[i], float)) / np.std(np.asarray(stack.images[i], float))
        for i in range(len(TILTS))
    ]
    same = [np.std(np.asarray(even[i], float)) / np.std(np.asarray(stack.images[i], float)) for i in range(len(TILTS))]
    np.testing.assert_allclose(same, factors, rtol=1e-3)
    assert "the stack was normalised" in lines_on(whole)[-1]
    assert len(record_of(whole)["counts_restored"]) == len(TILTS)


def test_counts_and_noise_alike_in_all_images_stay(thick: TiltSeries) -> None:
    images = np.asarray(thick.images)
    rng = np.random.default_rng(1)
    for same in (
        images,
        images - images.mean((1, 2), keepdims=True),
        rng.normal(size=images.shape).astype(np.float32),
    ):
        whole = repaired(replace(thick, images=same), Repairs(hot_pixels=False))
        assert all(np.array_equal(whole.images[i], same[i]) for i in range(len(TILTS)))
