"""What each weighting promises: its limits, a specimen found again, reprojections that are the images."""

from __future__ import annotations

import dataclasses
import math
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.quality.wedge import wedge_correlation, wedge_mask
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.simulate import simulate
from fourierrecon.weighting import (
    Exact,
    NoWeighting,
    PreWeight,
    Ramp,
    SirtLike,
    TiltViews,
    Weighting,
    Wiener,
)
from fourierrecon.weighting.snr import END, STEP, SnrCurve
from tests.helpers.reference import (
    Geometry,
    back_projection,
    central_slice,
    relative_error,
    transfer_functions,
    window,
    world_points,
)
from tests.helpers.weightings import FX, FY, block, optics, views


@pytest.mark.parametrize("snr", [0.5, 10.0, math.inf])
def test_wiener_divides_by_the_weight_and_the_noise(snr: float) -> None:
    data, weights = block((1, 8, 9, 3.0))
    expected = np.where(weights > 0, data / np.maximum(weights + 1 / snr, 1e-20), 0)
    Wiener(snr).normalise(data, weights)
    np.testing.assert_allclose(data, expected, rtol=1e-5)


def test_wiener_divides_by_the_weight_and_the_noise_at_each_frequency() -> None:
    curve = SnrCurve((0.002, 0.01, 0.1), (300.0, 40.0, 0.2))
    data, weights = block((2, 8, 37, 3.0))
    # entries of the table, so that no rounding to the next one comes in; the last lies beyond its end
    frequency = (STEP * np.random.default_rng(0).integers(0, 10_000, data.shape)).astype(np.float32)
    frequency[-1, -1] = 2 * END
    expected = data / np.maximum(weights + 1 / curve.at(np.minimum(frequency, END)), 1e-20)
    Wiener(curve).normalise(data, weights, frequency)
    np.testing.assert_allclose(data, expected, rtol=1e-4)


@pytest.mark.parametrize("tilt", [0.0, 25.0])
@pytest.mark.parametrize("depth", [8, 20, 60])
def test_wiener_of_one_tilt_gives_the_image_back(tilt: float, depth: int) -> None:
    geometry = Geometry((tilt,), (60, 64), 0, centre=(32.0, 30, depth // 2), shape=(depth, 60, 64))
    matrix = projection_matrices((60, 64), geometry.centre, [tilt])
    image = (np.random.default_rng(0).standard_normal((1, 60, 64)) * window((60, 64), 14, 10)).astype(np.float32)
    series = TiltSeries(image, matrix, 1.0)
    volume = reconstruct(series, geometry.region, Wiener(math.inf), ctf=False, keep_mean=True, n_threads=1).data
    band = np.hypot(np.fft.fftfreq(60)[:, None], np.fft.rfftfreq(64)) < 0.4
    again = central_slice(volume, geometry.region, matrix[0], (60, 64))
    spectrum = np.fft.rfft2(image[0].astype(float))
    assert np.linalg.norm((again - spectrum)[band]) <= 0.05 * np.linalg.norm(spectrum[band])


@pytest.mark.parametrize("snr", [0.1, 1.0, 10.0, 1e5])
@pytest.mark.parametrize("thickness", [None, 60.0])
def test_preweight_of_one_tilt_spreads_the_image_over_the_thickness(snr: float, thickness: float | None) -> None:
    n = 24 if thickness is None else 10
    expected = 1 / (n * (1 + 1 / snr))
    one = dataclasses.replace(views(ctf=False), matrices=views().matrices[3:4])
    np.testing.assert_allclose(PreWeight(snr, thickness).image_filter(0, FX, FY, one), expected, rtol=1e-5)
    # and so in a volume
    geometry = Geometry((0.0,), (60, 64), 0, centre=(32.0, 30, 12), shape=(24, 60, 64))
    image = np.random.default_rng(0).standard_normal((1, 60, 64)) * window((60, 64), 14, 10)
    volume = reconstruct(
        geometry.series(image.astype(np.float32), pixel_size=6.0), geometry.region, PreWeight(snr, thickness),
        ctf=False, keep_mean=True, n_threads=1,
    ).data  # fmt: skip
    points = np.random.default_rng(1).integers([4, 24, 24], [18, 38, 38], (60, 3))
    exact = back_projection(image, geometry.matrices, world_points(geometry.region, points))
    assert relative_error(volume[tuple(points.T)], expected * exact) < 5e-3


def test_preweight_of_equal_tilts_takes_their_mean() -> None:
    matrices = views(ctf=False).matrices[3:4]
    for n in (1, 2, 5):
        filters = PreWeight(math.inf).image_filter(0, FX, FY, TiltViews(matrices.repeat(n, 0), 24.0, 6.0))
        np.testing.assert_allclose(filters, 1 / (24 * n), rtol=1e-5)


def test_preweight_divides_by_ctf_squared() -> None:
    seen = views(1)
    assert seen.ctf is not None
    found = PreWeight(10.0).image_filter(0, FX, FY, seen)
    images = np.zeros((1, 44, 32), np.float32)
    matrices = projection_matrices((44, 32), (0.0, 0, 0), [0.0])
    ctf = transfer_functions(TiltSeries(images, matrices, 6.0, ctf=seen.ctf))[0]
    # the one tilt is at -60 degrees: a beam crosses twice the thickness
    np.testing.assert_allclose(found[11:, :], 0.5 / (24 * (ctf[:23:2, :][:12] ** 2 + 0.1)), rtol=1e-3)


@pytest.mark.parametrize("thickness", [20.0, 40.0])
def test_preweight_of_the_full_tilt_range_is_the_ramp(thickness: float) -> None:
    # slices every degree: the density of samples falls as 1/|q|, the filter grows as |q| times the step of the angle
    step = 1.0
    matrices = projection_matrices((80, 84), (40.0, 38, 20), np.arange(-90, 90, step))
    frequency = np.linspace(0.0, 0.5, 51, dtype=np.float32)
    for tilt in (30, 90, 97):
        found = PreWeight(math.inf).image_filter(
            tilt, frequency[None], np.zeros((1, 1), np.float32), TiltViews(matrices[:, :2, :3], thickness, 1.0)
        )[0]
        # where slices are closer than one over the thickness, but not all alike
        apart = frequency * np.radians(step) / np.cos(np.radians(tilt - 90))
        beyond = (frequency > 4 / thickness) & (apart < 0.4 / thickness)
        np.testing.assert_allclose(found[beyond], frequency[beyond] * np.radians(step), rtol=0.05)
    # frequencies along the tilt axis are in all images; a beam at -50 degrees crosses 40 / cos(50) voxels
    along = PreWeight(math.inf).image_filter(
        40, np.zeros((1, 1), np.float32), FY, TiltViews(matrices[:, :2, :3], 40.0, 1.0)
    )
    np.testing.assert_allclose(along, np.cos(np.radians(50)) / (180 * 40), rtol=1e-4)


@cache
def full_tilt_range() -> tuple[TiltSeries, Region, NDArray[np.float32]]:
    """A cloud of Gaussians, seen from all sides, and its density."""
    rng = np.random.default_rng(3)
    centres = np.array([40, 38, 20]) + rng.uniform(-1, 1, (200, 3)) * [20, 20, 12]
    blobs = Gaussians(centres, rng.uniform(1.2, 2.5, 200), rng.uniform(-1, 1.5, 200))
    matrices = projection_matrices((80, 84), (40.0, 38, 20), np.arange(-90, 90, 1.0), 2.0)
    region = Region((0, 0, 0), (40, 76, 80))
    return TiltSeries(blobs.project(matrices, (80, 84), 1), matrices, 1.0), region, blobs.density(region, 1)


@pytest.mark.parametrize(
    "strategy", [PreWeight(), Wiener(), PreWeight(math.inf), Wiener(math.inf), Ramp(), Exact(), SirtLike(1e6)], ids=repr
)
def test_the_full_tilt_range_gives_the_specimen_back(strategy: Weighting) -> None:
    series, region, truth = full_tilt_range()
    volume = reconstruct(series, region, strategy, ctf=False, keep_mean=True, n_threads=2).data
    assert wedge_correlation(volume, truth, None, 0.4, margin=2) > 0.98
    # a density, not only its shape
    assert np.polyfit(truth.ravel(), volume.ravel(), 1)[0] == pytest.approx(1, abs=0.1)


# -- quality on a phantom with a CTF ---------------------------------------------------------------------------------

TILTS = np.linspace(-60, 60, 41)


@cache
def crowded(axis: float, image_shape: tuple[int, int]) -> tuple[TiltSeries, Region, NDArray[np.float32]]:
    """A slab of Gaussians, 25 of 40 voxels deep, that goes on beyond the region; 300 kV, 3 µm, ±60° by 3°."""
    rng = np.random.default_rng(3)
    width, height, depth, n = 96, 96, 40, 560
    centres = np.stack(
        [rng.uniform(-24, width + 24, n), rng.uniform(-24, height + 24, n), depth / 2 + rng.uniform(-12.5, 12.5, n)], 1
    )
    blobs = Gaussians(centres, rng.uniform(0.9, 3.5, n), rng.uniform(0.5, 1.5, n))
    series = simulate(
        blobs, (width, height, depth), image_shape=image_shape, tilt_angles=list(TILTS), tilt_axis_angle=axis,
        pixel_size=6.0, ctf=optics(41, 30000.0), snr=None, shifts=0.0, grey=0.0, n_threads=2,
    ).series  # fmt: skip
    region = Region.of(series)
    return series, region, -blobs.density(region, 2)


def likeness(strategy: Weighting, axis: float, image_shape: tuple[int, int]) -> float:
    """Correlation with the truth within the wedge and below 0.4 cycles per voxel, away from the faces."""
    series, region, truth = crowded(axis, image_shape)
    volume = reconstruct(series, region, strategy, n_threads=2).data
    mask = wedge_mask(region.shape, series.projections, 1e9)
    return wedge_correlation(volume, truth, mask, 0.4, margin=(4, 16, 16))


@pytest.mark.parametrize("strategy", [PreWeight(), Wiener()], ids=repr)
@pytest.mark.parametrize(("axis", "image_shape"), [(0.0, (96, 96)), (3.0, (113, 117)), (85.3, (112, 116))])
def test_a_crowded_specimen_is_found_again(strategy: Weighting, axis: float, image_shape: tuple[int, int]) -> None:
    found = likeness(strategy, axis, image_shape)
    assert found >= 0.97
    assert likeness(NoWeighting(), axis, image_shape) < found - 0.2


# -- quantitative ----------------------------------------------------------------------------------------------------


def cloud(depth: int) -> Gaussians:
    """Gaussians well inside of 112 x 120 px."""
    rng = np.random.default_rng(2)
    direction = rng.normal(0, 1, (250, 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    centres = direction * rng.random((250, 1)) ** (1 / 3) * [24, 24, 11] + [56, 60, depth // 2]
    return Gaussians(centres, rng.uniform(0.9, 2.5, 250), rng.uniform(0.5, 1.5, 250))


@cache
def lonely(depth: int) -> tuple[TiltSeries, Region]:
    """A cloud in the middle of the region, 300 kV, 3 µm, ±60° by 3°, axis along y."""
    series = simulate(
        cloud(depth), (112, 120, depth), image_shape=(120, 112), tilt_angles=list(TILTS), tilt_axis_angle=0.0,
        pixel_size=6.0, ctf=optics(41, 30000.0), snr=None, shifts=0.0, grey=0.0, n_threads=2,
    ).series  # fmt: skip
    return series, Region.of(series)


@pytest.mark.parametrize("depth", [40, pytest.param(60, marks=pytest.mark.slow)])
def test_reprojections_are_the_images(depth: int) -> None:
    series, region = lonely(depth)
    # at a high SNR: at 10 the filter itself takes 9 % off where the CTF is 1, more where it is less
    volume = reconstruct(series, region, Wiener(100), keep_mean=True, n_threads=2).data
    transfer = transfer_functions(series)
    height, width = series.image_shape
    low = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)) < 0.4
    # streaks of the missing wedge leave the region through its faces: their ends project to the borders of images
    inner = slice(8, -8), slice(8, -8)
    wrong = total = 0.0
    for tilt in range(0, series.n_tilts, 4):
        again = central_slice(volume, region, series.projections[tilt], series.image_shape) * transfer[tilt]
        image = np.fft.rfft2(series.images[tilt].astype(float))
        band = low & (np.abs(transfer[tilt]) > 0.4)
        lost, there = (np.fft.irfft2(part * band, series.image_shape)[inner] for part in (again - image, image))
        wrong += float((lost**2).sum())
        total += float((there**2).sum())
    assert math.sqrt(wrong / total) <= 0.05


@pytest.mark.parametrize(
    ("strategy", "ctf", "allowed"),
    [
        # before the specimen was taken as a slab, 0.35; before weak CTFs counted, 0.18
        pytest.param(PreWeight(1000), False, 0.15, marks=pytest.mark.slow),
        (PreWeight(1000), True, 0.15),
        pytest.param(Exact(1000), False, 0.15, marks=pytest.mark.slow),
        (Exact(1000), True, 0.15),
        (Ramp(1000), False, 0.15),
        pytest.param(Ramp(1000), True, 0.2, marks=pytest.mark.slow),
        (Wiener(1000), False, 0.05),
        (Wiener(1000), True, 0.05),
    ],
    ids=repr,
)
def test_reprojections_over_images_at_each_frequency(strategy: Weighting, ctf: bool, allowed: float) -> None:
    series, region = lonely(40)
    transfer = transfer_functions(series) if ctf else None
    if not ctf:
        plain = cloud(40).project(series.projections, series.image_shape, 2)
        series = dataclasses.replace(series, images=-plain, ctf=None)
    volume = reconstruct(series, region, strategy, ctf=ctf, keep_mean=True, n_threads=2).data
    height, width = series.image_shape
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    edges = np.array([0.0, 0.01, 0.02, 0.03, 0.06, 0.1, 0.2, 0.3, 0.4])
    shared, there = np.zeros(len(edges) + 1), np.zeros(len(edges) + 1)
    for tilt in range(0, series.n_tilts, 4):
        again = central_slice(volume, region, series.projections[tilt], series.image_shape)
        image = np.fft.rfft2(series.images[tilt].astype(float))
        band = np.digitize(radius, edges)
        if transfer is not None:
            again = again * transfer[tilt]
            band = np.where((radius < 0.06) | (np.abs(transfer[tilt]) > 0.4), band, 0)
        shared += np.bincount(band.ravel(), (again.conj() * image).real.ravel(), len(edges) + 1)
        there += np.bincount(band.ravel(), (np.abs(image) ** 2).ravel(), len(edges) + 1)
    np.testing.assert_allclose(shared[1:-1] / there[1:-1], 1, atol=allowed)


def test_a_layer_in_a_deep_region_is_as_weak_as_slices_are_apart() -> None:
    depth, width, height = 100, 360, 64
    rng = np.random.default_rng(5)
    x, y = rng.uniform(width / 2 - 60, width / 2 + 60, 120), rng.uniform(12, 52, 120)
    layer = Gaussians(np.stack([x, y, np.full(120, depth // 2)], 1), np.ones(120), rng.uniform(0.5, 1.5, 120))
    tilts = np.arange(-60, 61, 3.0)
    matrices = projection_matrices((height, width), (width / 2, height / 2, depth // 2), tilts)
    region = Region((0, 0, 0), (depth, height, width))
    series = TiltSeries(-layer.project(matrices, (height, width), 2), matrices, 6.0)
    volume = reconstruct(series, region, Wiener(math.inf), ctf=False, keep_mean=True, n_threads=2).data
    tangents = np.tan(np.radians(tilts))
    for tilt in (14, 20, 26):
        again = central_slice(volume, region, matrices[tilt], series.image_shape)
        image = np.fft.rfft2(series.images[tilt].astype(float))
        k_x = np.fft.rfftfreq(width) * np.cos(np.radians(tilts[tilt]))
        apart = depth * k_x * (tangents[tilt + 1] - tangents[tilt - 1]) / 2
        # every slice fills the depth once: that is what each shares with this one, of a layer that all see alike
        shared = np.sinc(depth * k_x[:, None] * (tangents - tangents[tilt])).sum(1)
        for low, high in ((0.3, 0.8), (1.1, 1.3), (1.4, 1.6)):
            band = (apart > low) & (apart < high)
            rows = np.ix_([-2, -1, 0, 1, 2], band)
            power = np.abs(image[rows]) ** 2
            found = float((again[rows].conj() * image[rows]).real.sum() / power.sum())
            expected = float((power * shared[band]).sum() / power.sum()) if low > 1 else 1.0
            assert found == pytest.approx(expected, abs=0.03 if low < 1 else 0.1)
            assert low < 1 or expected < 0.95  # on its own, a slice has no more than this


def test_a_specimen_that_fills_the_depth_is_as_strong_as_its_images() -> None:
    depth, width, height = 90, 270, 64
    rng = np.random.default_rng(7)
    centres = rng.uniform(0, 1, (250, 3)) * [60, 40, depth - 8] + [width / 2 - 30, 12, 4]
    cloud_ = Gaussians(centres, rng.uniform(0.9, 2, 250), rng.uniform(0.5, 1.5, 250))
    matrices = projection_matrices((height, width), (width / 2, height / 2, depth // 2), np.arange(-60, 61, 3.0))
    region = Region((0, 0, 0), (depth, height, width))
    series = TiltSeries(-cloud_.project(matrices, (height, width), 2), matrices, 6.0)
    volume = reconstruct(series, region, Wiener(math.inf), ctf=False, keep_mean=True, n_threads=2).data
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    shared = there = 0.0
    for tilt in range(5, series.n_tilts, 10):
        image = np.fft.rfft2(series.images[tilt].astype(float)) * ((radius > 0.2) & (radius < 0.4))
        again = central_slice(volume, region, matrices[tilt], series.image_shape)
        shared += float((again.conj() * image).real.sum())
        there += float((np.abs(image) ** 2).sum())
    assert shared / there == pytest.approx(1, abs=0.05)  # slices are up to twice as far apart as one over the depth
