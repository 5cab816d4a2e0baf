"""The engine against explicit float64 sums and closed forms: exact in any geometry, honest about what images see."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fourierrecon import CtfParameters, Region, TiltSeries, reconstruct
from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.simulation.gaussians import Gaussians, mean_over_images
from fourierrecon.weighting import NoWeighting, PreWeight, Weighting, Wiener
from tests.helpers.reference import (
    Array,
    Geometry,
    back_projection,
    border_distance,
    relative_error,
    window,
    world_points,
)

NINE = tuple(np.linspace(-60, 60, 9))
THIRTEEN = tuple(np.linspace(-60, 60, 13))

#: Shapes are even and odd, never cubic; origins are fractional; unless said otherwise every image sees the region.
GEOMETRIES = {
    "axis near y": Geometry(NINE, axis=4),
    "axis near x": Geometry(NINE, axis=85.3, shift=3),
    "axis at 45 degrees": Geometry(NINE, axis=45, origin=(0.3, -0.6, 0.5)),
    "axis turned over": Geometry(NINE, axis=-130, x_tilt=5, shift=4, magnification=0.01),
    "x-tilt, magnification, shifts": Geometry(NINE, axis=-4, x_tilt=-4, shift=3, magnification=0.01),
    "odd sizes": Geometry(NINE, image_shape=(61, 75), axis=93, shift=2, shape=(21, 51, 57), origin=(2.2, 7.7, 1.5)),
    "steep tilts": Geometry((-88.0, -70, -20, 5, 40, 80), axis=2),
    "one tilt": Geometry((21.0,), axis=2),
    "one slice": Geometry(NINE, shape=(1, 60, 62), origin=(0, 0, 12.0)),
    "region beyond the images": Geometry(NINE, image_shape=(60, 51), shape=(30, 100, 111), origin=(-20.3, -20, -5)),
    "small region off centre": Geometry(
        NINE, (190, 203), 85.3, 3, 3, 0.01, origin=(41.3, -12.6, 5.25), shape=(12, 31, 26)
    ),
}


def plain(series: TiltSeries, region: Region, **options: Any) -> NDArray[np.float32]:
    """The plain volume without CTF, means kept, on one thread."""
    options = {"ctf": False, "keep_mean": True, "n_threads": 1, **options}
    return reconstruct(series, region, NoWeighting(), **options).data


def noise(geometry: Geometry, frame: float, seed: int = 1, band: float = 1.0) -> NDArray[np.float32]:
    """White noise that fades out before the border of the images, up to a frequency (cycles per voxel)."""
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((len(geometry.tilts), *geometry.image_shape))
    height, width = geometry.image_shape
    if band < 1:
        q = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)) * geometry.binning
        t = np.clip((band - q) / 0.05, 0, 1)
        images = np.fft.irfft2(np.fft.rfft2(images) * (0.5 - 0.5 * np.cos(np.pi * t)), (height, width))
    return np.asarray(images * window(geometry.image_shape, frame, 8 * geometry.binning), np.float32)


def error_against_the_sum(geometry: Geometry, images: NDArray[np.float32], precision: str, inset: float = 0.0) -> float:
    """Relative error of the plain volume at random voxels that lie well inside all images."""
    rng = np.random.default_rng(4)
    points = world_points(geometry.region)
    inside = (border_distance(geometry.matrices, points, geometry.image_shape) >= inset).all(0)
    chosen = rng.choice(np.flatnonzero(inside), 250)
    exact = back_projection(images, geometry.matrices, points[chosen], geometry.binning) / len(images)
    volume = plain(geometry.series(images), geometry.region, precision=precision)
    return relative_error(volume.ravel()[chosen], exact)


# -- the exact Fourier sum -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize(("precision", "tolerance"), [("default", 5e-4), ("high", 1e-4)])
def test_plain_volume_is_the_fourier_sum(name: str, precision: str, tolerance: float) -> None:
    # noise below 0.35 cycles per voxel: the band limit beyond is no part of the question here
    geometry = GEOMETRIES[name]
    images = noise(geometry, 6, band=0.35)
    assert error_against_the_sum(geometry, images, precision) <= tolerance


@pytest.mark.parametrize("binning", [2.0, 3.3])
@pytest.mark.parametrize(("precision", "tolerance"), [("default", 5e-4), ("high", 5e-5)])
def test_binned_volume_is_the_fourier_sum(binning: float, precision: str, tolerance: float) -> None:
    geometry = Geometry(NINE, (187, 210), 88, 2, 3, 0.01, (60.0, 55, 20), (20.3, 11.7, 5.1), (12, 28, 25), binning)
    images = noise(geometry, 12 * binning, band=0.35)
    assert error_against_the_sum(geometry, images, precision) <= tolerance


@pytest.mark.parametrize(
    ("axis", "precision", "tolerance"),
    [
        (4.0, "default", 5e-4),
        (85.3, "high", 2e-4),
        pytest.param(4.0, "high", 2e-4, marks=pytest.mark.slow),
        pytest.param(85.3, "default", 5e-4, marks=pytest.mark.slow),
    ],
)
def test_noise_up_to_nyquist(axis: float, precision: str, tolerance: float) -> None:
    # the band limit of the volume rings over tens of voxels, and so into it from the copies of the images
    geometry = Geometry(NINE, (232, 240), axis, 2, 4, 0.01, (110.0, 120, 20), shape=(24, 232, 220))
    assert error_against_the_sum(geometry, noise(geometry, 6), precision) <= tolerance


def test_window_of_a_small_region_with_noise_up_to_nyquist() -> None:
    # what the window cuts off rings a little, for signal right up to the Nyquist frequency only
    geometry = GEOMETRIES["small region off centre"]
    assert error_against_the_sum(geometry, noise(geometry, 6), "default") <= 2e-3


def test_frequencies_beyond_the_volume_do_not_fold_back() -> None:
    # a wave that a binning of 3 cannot hold leaves nothing
    geometry = Geometry(
        NINE, (150, 141), 3, shape=(7, 20, 21), binning=3.0, origin=(20.0, 30, 2), centre=(50.0, 60, 10)
    )
    x = np.arange(geometry.image_shape[1])
    wave = (np.cos(2 * np.pi * 0.25 * x) * window(geometry.image_shape, 3, 40)).astype(np.float32)
    images = np.broadcast_to(wave, (9, *wave.shape)).copy()
    assert np.abs(plain(geometry.series(images), geometry.region)).max() < 2e-3


# -- Gaussians in closed form ----------------------------------------------------------------------------------------


def specimen(geometry: Geometry, reach: float, n: int = 60, sigma: float = 2.5) -> Gaussians:
    """Gaussians in and around (or, with a negative reach, only well inside) the region."""
    rng = np.random.default_rng(5)
    low = np.asarray(geometry.origin) - reach
    high = np.asarray(geometry.origin) + geometry.binning * np.array(geometry.shape[::-1]) + reach
    middle = (low + high) / 2
    low, high = np.minimum(low, middle), np.maximum(high, middle)
    return Gaussians(rng.uniform(low, high, (n, 3)), np.full(n, sigma), rng.uniform(-1, 1.5, n))


def error_against_the_mean(geometry: Geometry, blobs: Gaussians) -> float:
    """Relative error of the plain volume against the analytic mean, where all images see the voxel."""
    series = geometry.series(blobs.project(geometry.matrices, geometry.image_shape, 1))
    points = world_points(geometry.region)
    seen = (border_distance(geometry.matrices, points, geometry.image_shape) >= 0).all(0)
    assert seen.mean() > 0.2
    chosen = np.random.default_rng(4).choice(np.flatnonzero(seen), 3_000)
    volume = plain(series, geometry.region).ravel()
    return relative_error(volume[chosen], mean_over_images(blobs, geometry.matrices, points[chosen]))


WIDE = {
    "axis near y": Geometry(THIRTEEN, (170, 181), 4, 0, 2),
    "axis near x": Geometry(THIRTEEN, (171, 160), 86, 2, 4, 0.01),
    "axis at 45 degrees": Geometry(THIRTEEN, (170, 171), 45, -3, 2, 0.01, origin=(-3.3, 1.6, 0.5)),
    "axis turned over": Geometry(THIRTEEN, (161, 170), -94, 5, 4, 0.01, shape=(24, 55, 61)),
    "steep tilts": Geometry(tuple(np.linspace(-85, 80, 12)), (180, 180), 3, 1, 2),
    "small region off centre": Geometry(
        THIRTEEN, (190, 201), 85.3, 2, 3, 0.01, origin=(41.3, -12.2, 6.5), shape=(9, 20, 23)
    ),
    "one slice": Geometry(THIRTEEN, (170, 171), 4, shape=(1, 40, 41), origin=(5.0, 9, 12)),
}


@pytest.mark.parametrize("name", WIDE)
def test_plain_volume_is_the_analytic_mean(name: str) -> None:
    assert error_against_the_mean(WIDE[name], specimen(WIDE[name], reach=12)) <= 5e-4


@pytest.mark.parametrize("axis", [pytest.param(3.0, marks=pytest.mark.slow), 85.3, 176.0])
def test_plain_volume_is_the_analytic_mean_up_to_the_borders(axis: float) -> None:
    # blobs are cut by all four borders of the images
    geometry = Geometry(THIRTEEN, (232, 240), axis, 2, 4, 0.01, (110.0, 120, 20), shape=(40, 232, 220))
    assert error_against_the_mean(geometry, specimen(geometry, reach=12, n=600)) <= 5e-4


@pytest.mark.parametrize("axis", [4.0, 88.0])
@pytest.mark.parametrize("binning", [2.0, 3.3])
def test_binned_volume_is_the_analytic_mean(binning: float, axis: float) -> None:
    geometry = Geometry(
        THIRTEEN, (187, 210), axis, 2, 3, 0.01, (60.0, 55, 20), (20.3, 11.7, 5.1), (10, 24, 21), binning
    )
    assert error_against_the_mean(geometry, specimen(geometry, reach=8, n=30, sigma=2.5 * binning)) <= 5e-4


@pytest.mark.parametrize("axis", [3.0, 86.0, 45.0, -120.0])
@pytest.mark.parametrize("binning", [1.0, 2.0, 3.3, 4.0])
def test_blobs_are_where_they_are(binning: float, axis: float) -> None:
    # sigma is 2.5 px, but not so narrow that the voxels cannot hold its shape
    rng = np.random.default_rng(int(axis) % 97)
    sigma = max(2.5, 0.85 * binning)
    for n in ((13, 12, 14), (9, 15, 13)):
        centre = np.array([75.0, 80, 20]) + rng.uniform(-20, 20, 3)
        origin = centre - binning * (np.array(n[::-1]) // 2 + rng.uniform(-0.5, 0.5, 3))
        geometry = Geometry(THIRTEEN, (150, 161), axis, 2, 4, 0.01, (75.0, 80, 20), tuple(origin), n, binning)
        points = world_points(geometry.region)

        def mean(at: Array, g: Geometry = geometry, p: Array = points) -> Array:
            return mean_over_images(Gaussians(at[None], np.array(sigma), np.array(1.0)), g.matrices, p)

        blob = Gaussians(centre[None], np.array(sigma), np.array(1.0))
        volume = plain(geometry.series(blob.project(geometry.matrices, geometry.image_shape, 1)), geometry.region)
        # least squares for a small shift of the analytic volume
        slopes = [(mean(centre + 0.1 * e) - mean(centre - 0.1 * e)) / 0.2 for e in np.eye(3)]
        fit = np.linalg.lstsq(np.stack([mean(centre), *slopes], 1), volume.ravel(), rcond=None)[0]
        assert np.abs(fit[1:] / fit[0]).max() / binning <= 0.02
        assert fit[0] == pytest.approx(1, abs=0.02)


@settings(deadline=None, max_examples=25)
@given(
    axis=st.floats(-180, 180),
    x_tilt=st.floats(-10, 10),
    first=st.floats(-70, 10),
    odd=st.tuples(*[st.integers(0, 1)] * 5),
)
def test_an_impulse_at_the_rotation_centre_stays_there(
    axis: float, x_tilt: float, first: float, odd: tuple[int, int, int, int, int]
) -> None:
    image_shape, shape = (48 + odd[0], 50 + odd[1]), (16 + odd[2], 30 + odd[3], 32 + odd[4])
    centre = tuple(float(n // 2) for n in shape[::-1])
    tilts = first + np.array([0.0, 15, 30, 45, 60])
    matrices = projection_matrices(image_shape, (centre[0], centre[1], centre[2]), tilts, axis, x_tilt)
    images = np.zeros((5, *image_shape), np.float32)
    images[:, image_shape[0] // 2, image_shape[1] // 2] = 1
    volume = plain(TiltSeries(images, matrices, 1.0), Region((0, 0, 0), shape))
    assert np.unravel_index(volume.argmax(), shape) == tuple(n // 2 for n in shape)
    # and it lies there symmetrically: the centre of the grid is a voxel
    inner = volume[1 - odd[2] :, 1 - odd[3] :, 1 - odd[4] :]
    np.testing.assert_allclose(inner, inner[::-1, ::-1, ::-1], atol=2e-3 * volume.max())


# -- what images see -------------------------------------------------------------------------------------------------


CONSTANT = {
    "axis near y": Geometry(THIRTEEN, (70, 83), 4, 0, 2, shape=(24, 50, 60), origin=(0.0, 8, 0)),
    "axis near x": Geometry(THIRTEEN, (73, 70), 86, 2, 2, 0.01),
    "region beyond the images": Geometry(NINE, (60, 51), 30, shape=(20, 90, 101), origin=(-20.3, -20, -5)),
}


def of_ones(geometry: Geometry) -> TiltSeries:
    return geometry.series(np.ones((len(geometry.tilts), *geometry.image_shape), np.float32))


@pytest.mark.parametrize("binning", [1.0, 2.0, 3.3])
def test_a_constant_is_kept_far_from_borders(binning: float) -> None:
    geometry = Geometry(THIRTEEN, (330, 351), 85.3, 2, 3, 0.01, (60.0, 55, 20), (35.3, 31.7, 9.1), (8, 14, 15), binning)
    np.testing.assert_allclose(plain(of_ones(geometry), geometry.region), 1, atol=1e-3)


@pytest.mark.parametrize("binning", [1.0, 2.0, 3.3])
@pytest.mark.parametrize("name", CONSTANT)
def test_a_constant_is_kept_wherever_an_image_sees(name: str, binning: float) -> None:
    geometry = CONSTANT[name]
    depth, height, width = (max(1, int(n / binning)) for n in geometry.shape)
    geometry = replace(geometry, shape=(depth, height, width), binning=binning)
    seen = (border_distance(geometry.matrices, world_points(geometry.region), geometry.image_shape) >= 0).any(0)
    volume = plain(of_ones(geometry), geometry.region).ravel()
    np.testing.assert_allclose(volume[seen], 1, atol=1e-3)


@pytest.mark.parametrize("binning", [1.0, 2.0, 3.3])
@pytest.mark.parametrize("axis", [2.0, 88.0])
def test_no_border_is_dimmed_more_than_the_opposite_one(axis: float, binning: float) -> None:
    # an untilted image of ones, region and image with the same middle: mean over strips of four voxels at each side
    n = round(60 / binning)
    image = int(binning * (n - 1)) + 1
    middle = (image - 1) / 2
    angle = np.radians(axis)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:2, 3] = middle - matrix[:2, :2] @ [middle, middle]
    start = middle - binning * (n - 1) / 2
    series = TiltSeries(np.ones((1, image, image), np.float32), matrix[None], 1.0)
    inner = plain(series, Region((start, start, 0.0), (1, n, n), binning))[0]
    strips = [inner[:4, 4:-4], inner[-4:, 4:-4], inner[4:-4, :4], inner[4:-4, -4:]]
    np.testing.assert_allclose([strip.mean() for strip in strips], 1, atol=0.06)


@pytest.mark.parametrize("binning", [1.0, 2.0])
@pytest.mark.parametrize("weighting", [NoWeighting(), PreWeight(), Wiener()], ids=lambda w: w.name)
def test_a_ctf_dims_no_border_more_than_the_opposite_one(weighting: Weighting, binning: float) -> None:
    # a point-symmetric image of a point-symmetric geometry gives a point-symmetric volume, up to its borders
    rng = np.random.default_rng(3)
    image = rng.standard_normal((1, 65, 65)).astype(np.float32)
    image += image[:, ::-1, ::-1]
    ctf = CtfParameters.of(1, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.1, defocus_u=15000)
    series = TiltSeries(image, projection_matrices((65, 65), (32, 32, 4), [0.0]), 8.0, ctf=ctf)
    n = int(64 / binning) + 1
    volume = reconstruct(series, Region((0, 0, 0), (9, n, n), binning), weighting, keep_mean=True, n_threads=1).data
    # not the outermost voxels: a border that is sharp on the images' grid may fall between two of their pixels
    inner = volume[:, 1:-1, 1:-1]
    np.testing.assert_allclose(inner, inner[:, ::-1, ::-1], atol=0.1 * np.abs(volume).max())


@pytest.mark.parametrize("binning", [1.0, 2.0])
def test_nothing_within_the_taper_distance_is_used(binning: float) -> None:
    geometry = replace(CONSTANT["axis near x"], binning=binning, shape=(10, 28, 29))
    rng = np.random.default_rng(6)
    images = rng.standard_normal((len(geometry.tilts), *geometry.image_shape)).astype(np.float32)
    other = images.copy()
    distance = 4
    frame = window(geometry.image_shape, distance * binning, 1e-9) == 0
    other[:, frame] = 1000 * rng.standard_normal(int(frame.sum()))
    one, two = (
        plain(geometry.series(i), geometry.region, taper_distance=distance, taper_falloff=3) for i in (images, other)
    )
    np.testing.assert_array_equal(one, two)
    # what lies within the falloff is used
    inner = images.copy()
    inner[:, window(geometry.image_shape, (distance + 2) * binning, 1e-9) == 0] = 50
    three = plain(geometry.series(inner), geometry.region, taper_distance=distance, taper_falloff=3)
    assert relative_error(three, one) > 0.01


def test_a_constant_is_kept_under_a_taper() -> None:
    geometry = CONSTANT["axis near x"]
    distance, falloff = 4.0, 20.0
    volume = plain(of_ones(geometry), geometry.region, taper_distance=distance, taper_falloff=falloff).ravel()
    away = border_distance(geometry.matrices, world_points(geometry.region), geometry.image_shape)
    full = (away >= distance + falloff).any(0)
    np.testing.assert_allclose(volume[full], 1, atol=2e-3)
    # a voxel that no image sees inside its taper gets next to nothing
    outside = (away <= distance - 8).all(0)
    assert np.abs(volume[outside]).max(initial=0) < 0.02


def test_means_are_zeroed_unless_kept() -> None:
    geometry = GEOMETRIES["odd sizes"]
    images = noise(geometry, 6) + np.float32(50)
    images -= images.mean(axis=(1, 2), keepdims=True, dtype=float).astype(np.float32)
    lifted = images + np.arange(9, dtype=np.float32)[:, None, None]
    a, b = (
        plain(geometry.series(images), geometry.region),
        plain(geometry.series(lifted), geometry.region, keep_mean=False),
    )
    np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(a).max())


# -- algebra ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighting", [NoWeighting(), PreWeight(), Wiener()], ids=lambda w: w.name)
def test_volumes_of_half_images_add_up(weighting: Weighting) -> None:
    geometry = GEOMETRIES["x-tilt, magnification, shifts"]
    even, odd = noise(geometry, 0, 1), noise(geometry, 0, 2)
    full, *halves = (
        reconstruct(geometry.series(i), geometry.region, weighting, ctf=False, n_threads=1).data
        for i in ((even + odd) / 2, even, odd)
    )
    assert relative_error((halves[0] + halves[1]) / 2, full) < 3e-6


@pytest.mark.parametrize("weighting", [NoWeighting(), PreWeight(), Wiener()], ids=lambda w: w.name)
@pytest.mark.parametrize("axis", [4.0, 86.0])
def test_threads_change_no_bit(weighting: Weighting, axis: float) -> None:
    geometry = replace(GEOMETRIES["odd sizes"], axis=axis)
    series = geometry.series(noise(geometry, 0))
    one, *others = (reconstruct(series, geometry.region, weighting, ctf=False, n_threads=n).data for n in (1, 2, 3))
    for other in others:
        np.testing.assert_array_equal(one, other)


def test_a_volume_is_the_same_however_its_images_come() -> None:
    geometry = GEOMETRIES["odd sizes"]
    images = np.rint(20 * noise(geometry, 0)).astype(np.int16)
    volumes = [plain(geometry.series(images.astype(t)), geometry.region) for t in (np.int16, np.float64)]
    volumes.append(plain(geometry.series(np.asfortranarray(images)), geometry.region))
    for other in volumes[1:]:
        np.testing.assert_array_equal(volumes[0], other)


@pytest.mark.parametrize("ctf", [False, True])
@pytest.mark.parametrize("weighting", [NoWeighting(), PreWeight(thickness=150.0)], ids=lambda w: w.name)
@pytest.mark.parametrize("corner", [(2, 3, 5), (9, 20, 31)])
def test_a_tile_agrees_with_the_whole(weighting: Weighting, corner: tuple[int, int, int], ctf: bool) -> None:
    # blobs of a protein's size; of noise up to Nyquist a window of the images keeps a little less
    geometry = Geometry(THIRTEEN, (170, 171), 85.3, 2, 3, 0.01, (80.0, 75, 15), (0.0, 0, 0), (30, 150, 160))
    images = specimen(geometry, 10, n=400, sigma=1.5).project(geometry.matrices, geometry.image_shape, 1)
    optics = CtfParameters.of(13, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.1, defocus_u=15000)
    series = geometry.series(images, ctf=optics)
    k, j, i = corner
    whole = reconstruct(series, geometry.region, weighting, ctf=ctf, n_threads=1).data
    tile = Region((float(i), float(j), float(k)), (15, 24, 31))
    part = reconstruct(series, tile, weighting, ctf=ctf, n_threads=1).data
    assert relative_error(part, whole[k : k + 15, j : j + 24, i : i + 31]) < 1e-3


def test_another_size_keeps_the_rotation_centre() -> None:
    # RELION 5's frame hangs on the tomogram's size: whatever is asked for lies around the rotation centre
    centre = (30.0, 33.0, 12.0)
    matrices = projection_matrices((66, 71), centre, THIRTEEN, 85.0)
    blob = Gaussians(np.array([centre]), np.array(2.0), np.array(1.0))
    series = TiltSeries(blob.project(matrices, (66, 71), 1), matrices, 5.0, size=(60, 66, 24), rotation_centre=centre)
    for size in (None, (41, 50, 17), (80, 37, 30)):
        region = Region.of(series, size=size)
        volume = plain(series, region)
        assert np.unravel_index(volume.argmax(), volume.shape) == tuple(n // 2 for n in volume.shape)


def test_volume_says_where_it_lies() -> None:
    geometry = replace(GEOMETRIES["odd sizes"], binning=2.0, shape=(10, 20, 21))
    volume = reconstruct(geometry.series(noise(geometry, 0)), geometry.region, NoWeighting(), ctf=False, n_threads=1)
    assert volume.voxel_size == 10.0
    np.testing.assert_allclose(volume.origin, 5 * np.array(geometry.origin))
    assert volume.data.dtype == np.float32
    assert volume.data.shape == (10, 20, 21)
    assert volume.data.flags.c_contiguous


def test_progress_counts_to_the_end() -> None:
    geometry = GEOMETRIES["odd sizes"]
    calls: list[tuple[str, int, int]] = []
    plain(geometry.series(noise(geometry, 0)), geometry.region, progress=lambda *c: calls.append(c), n_threads=2)
    for stage in dict.fromkeys(c[0] for c in calls):
        done = [c[1] for c in calls if c[0] == stage]
        assert done == sorted(done)
        assert done[-1] == [c[2] for c in calls if c[0] == stage][-1]


# -- bad input -------------------------------------------------------------------------------------------------------


SMALL = Geometry((-30.0, 0, 30), (32, 35), shape=(9, 20, 21), centre=(16.0, 16, 4))


def small_images() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((3, *SMALL.image_shape)).astype(np.float32)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_bad_pixel_is_named(value: float) -> None:
    images = small_images()
    images[1, 7, 11] = value
    with pytest.raises(DataError, match=r"image 2 of 3 .*1 NaN or infinite pixels.* x = 11, y = 7"):
        plain(SMALL.series(images, name="TS_07"), SMALL.region)


def test_infinities_of_both_signs_are_found() -> None:
    images = small_images()
    images[2, 0, :2] = np.inf, -np.inf
    with pytest.raises(DataError, match=r"image 3 of 3 .*2 NaN or infinite"):
        plain(SMALL.series(images), SMALL.region)


def test_a_blank_image_is_named() -> None:
    images = small_images()
    images[2] = 0
    with pytest.raises(DataError, match=r"image 3 of 3 .*blank"):
        plain(SMALL.series(images), SMALL.region)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("weighting", [NoWeighting(), PreWeight(), Wiener()], ids=lambda w: w.name)
def test_a_bad_image_leaves_no_thread_behind(weighting: Weighting, n_threads: int) -> None:
    images = small_images()
    images[1] = np.nan
    before = threading.active_count()
    with pytest.raises(DataError, match="image 2"):
        reconstruct(SMALL.series(images), SMALL.region, weighting, ctf=False, n_threads=n_threads)
    assert threading.active_count() == before


@pytest.mark.parametrize("origin", [(500.0, 0, 0), (0.0, -400, 0), (-300.0, -300, 0)])
def test_a_region_that_no_image_sees_is_an_error(origin: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError, match="no image sees the region"):
        plain(SMALL.series(small_images()), Region(origin, (9, 20, 21)))


def test_images_that_do_not_see_the_region_are_left_out() -> None:
    # two of three images lie elsewhere: the volume is that of the third alone, in their planes or in its own
    images = noise(SMALL, 3, band=0.35)
    matrices = SMALL.matrices
    matrices[[0, 2], 0, 3] += 300
    lonely = plain(TiltSeries(images[1:2], matrices[1:2], 5.0), SMALL.region)
    assert relative_error(plain(TiltSeries(images, matrices, 5.0), SMALL.region), lonely) < 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "best"}, "unknown precision 'best'; available: default, high"),
        ({"n_threads": 0}, "number of threads 0"),
        ({"n_threads": -2}, "number of threads -2"),
        ({"taper_distance": -1.0}, "taper distance -1"),
        ({"taper_falloff": -0.5}, "falloff -0.5"),
        ({"taper_distance": float("nan")}, "taper distance nan"),
        ({"taper_falloff": float("inf")}, "falloff inf"),
        ({"taper_distance": 40.0}, "taper distance 40 leaves nothing"),
        ({"taper_falloff": 400.0}, r"taper falloff 400 .* images of \d+ x \d+ .*taper_falloff=\d+ or less"),
        ({"taper_distance": 5.0, "taper_falloff": 20.0}, "taper falloff 20 behind distance 5"),
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plain(SMALL.series(small_images()), SMALL.region, **options)


def test_a_ctf_that_is_asked_for_must_be_there() -> None:
    with pytest.raises(DataError, match=r"CTF.*ctf=False"):
        reconstruct(SMALL.series(small_images()), SMALL.region)


@pytest.mark.parametrize("free", [1000, 20_000])
def test_a_volume_larger_than_memory_is_refused(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr("fourierrecon.engine.room.available_memory", lambda: free)
    # what earlier tests have left in this process can be used again
    monkeypatch.setattr("fourierrecon.engine.room.kept_memory", lambda: 0)
    with pytest.raises(DataError, match="memory"):
        plain(SMALL.series(small_images()), SMALL.region)


def test_unknown_memory_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourierrecon.engine.room.available_memory", lambda: None)
    assert np.isfinite(plain(SMALL.series(small_images()), SMALL.region)).all()


def test_a_gigantic_volume_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(DataError, match="memory"):
        plain(SMALL.series(small_images()), Region((0, 0, 0), (10**5, 10**5, 10**5)))
