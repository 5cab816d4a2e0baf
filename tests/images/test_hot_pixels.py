"""Hot pixels are found by what is around them, in noise of any kind; beads and noise are left alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fourierrecon import TiltSeries, reconstruct
from fourierrecon.geometry.region import Region
from fourierrecon.images import RepairedImages, lines_on, repaired
from fourierrecon.images.hot_pixels import find_hot_pixels
from fourierrecon.images.repair import alike
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import simulate

SHAPE = (512, 640)
NOISES: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "normal": lambda rng: rng.normal(size=SHAPE),
    "one count a pixel": lambda rng: rng.poisson(1.0, SHAPE),
    "ten counts a pixel": lambda rng: rng.poisson(10.0, SHAPE),
    "two levels of noise": lambda rng: rng.normal(size=SHAPE) * np.where(np.arange(640) < 300, 1.0, 3.0),
    "on a ramp": lambda rng: rng.normal(size=SHAPE) + 0.05 * np.arange(640),
}


@pytest.mark.parametrize("noise", NOISES)
def test_planted_pixels_are_found_and_nothing_else(noise: str) -> None:
    rng = np.random.default_rng(1)
    image = NOISES[noise](rng).astype(np.float32)
    planted = rng.choice(image.size, image.size // 5000, replace=False)
    spread = NOISES[noise](rng)[:, 320:].std()
    image.reshape(-1)[planted] += (spread * np.resize((20, 100), len(planted))).astype(np.float32)
    found = find_hot_pixels(image)
    assert len(set(found.index) ^ set(planted.tolist())) <= 0.02 * len(planted) + 1
    assert np.abs(found.values - np.median(image)).max() < 8 * max(spread, 16 if noise == "on a ramp" else 0)


def test_spikes_of_three_pixels_and_at_the_borders_are_found() -> None:
    image = np.random.default_rng(2).normal(size=(96, 96)).astype(np.float32)
    places = [(0, 0), (0, 50), (95, 95), (40, 40), (40, 41), (41, 40)]
    for y, x in places:
        image[y, x] += 60
    assert sorted(find_hot_pixels(image).index) == sorted(96 * y + x for y, x in places)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("diameter", [3, 5, 10])
def test_no_bead_is_touched(diameter: float, sign: int) -> None:
    rng = np.random.default_rng(3)
    image = rng.normal(size=(256, 256)).astype(np.float32)
    fine = (np.arange(256 * 4) - 1.5) / 4
    discs = np.zeros((1024, 1024), np.float32)
    for y, x in rng.uniform(10, 245, (60, 2)):
        rows, columns = (slice(int(4 * (at - 6)), int(4 * (at + 7))) for at in (y, x))
        discs[rows, columns] += np.hypot(fine[rows, None] - y, fine[columns] - x) < diameter / 2
    beads = discs.reshape(256, 4, 256, 4).mean((1, 3)) > 0
    image += sign * 20 * discs.reshape(256, 4, 256, 4).mean((1, 3))
    assert not beads.reshape(-1)[find_hot_pixels(image).index].any()


def test_images_without_noise_are_left_alone() -> None:
    points = np.zeros((64, 64), np.float32)
    points[20, 20] = 1
    assert len(find_hot_pixels(points)) == 0


def test_pixels_that_are_not_finite_are_left_to_other_checks() -> None:
    image = np.random.default_rng(4).normal(size=(64, 64)).astype(np.float32)
    image[10, 10], image[30, 30], image[50, 50] = np.nan, np.inf, 1e20
    assert len(find_hot_pixels(image)) == 0


@pytest.fixture(scope="module")
def phantom() -> tuple[TiltSeries, Region, np.ndarray]:
    size = (128, 128, 40)
    simulated = simulate(cell_like_specimen(size), size, tilt_angles=range(-60, 61, 5), snr=0.2)
    region = Region.of(simulated.series, binning=2)
    return simulated.series, region, simulated.truth_volume(region).data


def test_the_volume_is_as_good_as_without_hot_pixels(phantom: tuple[TiltSeries, Region, np.ndarray]) -> None:
    series, region, truth = phantom
    images = np.array(series.images)
    rng = np.random.default_rng(5)
    planted = rng.choice(images.size, images.size // 5000, replace=False)
    images.reshape(-1)[planted] += images[12].std() * np.resize((20, 100), len(planted)).astype(np.float32)
    hot = repaired(replace(series, images=images))

    def quality(one: TiltSeries, hot_pixels: bool = True) -> float:
        volume = reconstruct(one, region, "wiener:snr=10", ctf=False, hot_pixels=hot_pixels).data
        return float(np.corrcoef(volume.ravel(), truth.ravel())[0, 1])

    clean = quality(series, hot_pixels=False)
    assert quality(hot) > 0.995 * clean
    assert quality(replace(series, images=images), hot_pixels=False) < 0.98 * clean
    assert isinstance(hot.images, RepairedImages)
    assert abs(sum(hot.images.hot_pixels.values()) - len(planted)) <= 0.02 * len(planted)
    assert "hot pixels replaced" in lines_on(hot)[0]


def test_each_image_is_looked_at_once(
    phantom: tuple[TiltSeries, Region, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    def count(image: np.ndarray) -> object:
        looked.append(len(looked))
        return find_hot_pixels(image)

    monkeypatch.setattr("fourierrecon.images.repair.find_hot_pixels", count)
    series = phantom[0].select(range(5, 15))
    reconstruct(series, binning=4, ctf=False)  # its SNR is measured from the images before
    assert sorted(looked) == list(range(10))


def test_halves_of_frames_stay_halves() -> None:
    rng = np.random.default_rng(7)
    even, odd = rng.normal(size=(2, 3, 128, 128)).astype(np.float32)
    even[1, 40, 50], odd[0, 70, 20], odd[2, 3, 3] = 80, -90, 60
    size = (128, 128, 32)
    series = replace(simulate(cell_like_specimen(size), size, tilt_angles=[-30, 0, 30]).series, images=even + odd)
    full = repaired(series)
    halves = alike(full, {"even": even, "odd": odd})
    # halves are read first: their places are those of the whole all the same
    parts = [np.asarray(halves["even"][i]) + np.asarray(halves["odd"][i]) for i in range(3)]
    for i in range(3):
        np.testing.assert_allclose(parts[i], np.asarray(full.images[i]), atol=1e-5)
        assert np.abs(parts[i]).max() < 10
