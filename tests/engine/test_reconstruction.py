"""The engine against explicit float64 sums and closed forms: exact in any geometry, honest about what images see."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import CtfParameters, Region, TiltSeries, reconstruct
from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.weighting import NoWeighting, PreWeight, Weighting, Wiener
from tests.helpers.reference import Geometry, back_projection, border_distance, relative_error, window, world_points

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


def specimen(geometry: Geometry, reach: float, n: int = 60, sigma: float = 2.5) -> Gaussians:
    """Gaussians in and around (or, with a negative reach, only well inside) the region."""
    rng = np.random.default_rng(5)
    low = np.asarray(geometry.origin) - reach
    high = np.asarray(geometry.origin) + geometry.binning * np.array(geometry.shape[::-1]) + reach
    middle = (low + high) / 2
    low, high = np.minimum(low, middle), np.maximum(high, middle)
    return Gaussians(rng.uniform(low, high, (n, 3)), np.full(n, sigma), rng.uniform(-1, 1.5, n))


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
    with pytest.raises(DataError, match=r"image 2 of 3 .*1 NaN or infinite pixel,.* x = 11, y = 7"):
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
