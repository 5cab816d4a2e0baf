"""Tomograms that are known in closed form: of Gaussians, impulses and constants, up to the borders of images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fourierrecon import CtfParameters, Region, TiltSeries, reconstruct
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.simulation.gaussians import Gaussians, mean_over_images
from fourierrecon.weighting import NoWeighting, PreWeight, Weighting, Wiener
from tests.engine.test_reconstruction import GEOMETRIES, NINE, THIRTEEN, noise, plain, specimen
from tests.helpers.reference import Array, Geometry, border_distance, relative_error, window, world_points

# -- Gaussians in closed form ----------------------------------------------------------------------------------------


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
