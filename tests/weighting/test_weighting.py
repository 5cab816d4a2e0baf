"""Weighting strategies: one battery of laws for all in the registry, then what each of them promises."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fourierrecon import CtfParameters, Region, TiltSeries, reconstruct
from fourierrecon.engine import density_correction
from fourierrecon.errors import UsageError
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
    available,
    base,
    from_text,
    register,
)
from fourierrecon.weighting.snr import END, STEP, SnrCurve
from tests.helpers.reference import (
    Array,
    Geometry,
    back_projection,
    border_distance,
    central_slice,
    relative_error,
    transfer_functions,
    window,
    world_points,
)

SNRS = (1e-3, 1.0, 10.0, 1e4, math.inf)


def parameters(name: str) -> set[str]:
    strategy = from_text(name)
    return {f.name for f in dataclasses.fields(strategy)} if dataclasses.is_dataclass(strategy) else set()


def sweep() -> list[Weighting]:
    """Every registered strategy with its defaults, and over its signal-to-noise ratios and thicknesses."""
    strategies = []
    for name in available():
        if from_text(name).iterative:  # few steps: laws hold after any number
            strategies.append(from_text(f"{name}:iterations=2"))
            continue
        strategies.append(from_text(name))
        if "snr" in parameters(name):
            strategies += [from_text(f"{name}:snr={snr}") for snr in SNRS if snr != 10]
        if "thickness" in parameters(name):
            strategies += [from_text(f"{name}:thickness={t}") for t in (1.0, 60.0, 1e5)]
    return strategies


every = pytest.mark.parametrize("strategy", sweep(), ids=repr)
by_name = pytest.mark.parametrize("name", available())
#: One of each; steps of iterations cost time.
NAMES = [f"{name}:iterations=2" if from_text(name).iterative else name for name in available()]
one_of_each = pytest.mark.parametrize("name", NAMES)

BLOCKS = st.tuples(
    st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 11), st.sampled_from([1e-6, 1e-2, 1.0, 41.0])
)


def block(spec: tuple[int, int, int, float]) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """Gridded data and weights as they occur: no data where no image passes by, weights of any size elsewhere."""
    seed, rows, columns, largest = spec
    rng = np.random.default_rng(seed)
    weights = (largest * rng.random((rows, columns)) ** 4).astype(np.float32)
    weights[rng.random((rows, columns)) < 0.3] = 0
    data = rng.standard_normal((rows, columns)) + 1j * rng.standard_normal((rows, columns))
    return (data * np.sqrt(weights)).astype(np.complex64), weights


def normalise(strategy: Weighting, data: NDArray[np.complex64], weights: NDArray[np.float32]) -> None:
    """Normalise as the engine does, at some frequencies up to 1/10 Å."""
    if strategy.uses_frequency:
        frequency = np.linspace(0, 0.1, data.size, dtype=np.float32).reshape(data.shape)
        strategy.normalise(data, weights, ((frequency + frequency[::-1, ::-1]) / 2).astype(np.float32))
    else:
        strategy.normalise(data, weights)


# -- the battery: blocks of the grid ---------------------------------------------------------------------------------


@every
@settings(deadline=None, max_examples=20)
@given(spec=BLOCKS)
def test_finite_stays_finite_and_nothing_stays_nothing(strategy: Weighting, spec: tuple[int, int, int, float]) -> None:
    data, weights = block(spec)
    kept = weights.copy()
    normalise(strategy, data, weights)
    assert np.isfinite(data).all()
    assert (data[weights == 0] == 0).all()
    np.testing.assert_array_equal(weights, kept)


@every
@settings(deadline=None, max_examples=20)
@given(spec=BLOCKS, scale=st.floats(-50, 50))
def test_normalisation_is_linear_in_the_data(
    strategy: Weighting, spec: tuple[int, int, int, float], scale: float
) -> None:
    if not strategy.linear:
        pytest.skip("does not claim to be linear")
    one, weights = block(spec)
    other = one[::-1] * (weights > 0)
    total = (one + np.float32(scale) * other).astype(np.complex64)
    largest = float(np.abs(one).max() + abs(scale) * np.abs(other).max())
    parts = [one.copy(), other.copy()]
    for part in (*parts, total):
        normalise(strategy, part, weights)
    gain = max(float(np.abs(p).max()) for p in parts) + 1e-30
    np.testing.assert_allclose(
        total, parts[0] + np.float32(scale) * parts[1], atol=2e-6 * gain * (1 + abs(scale)) + 1e-6 * largest
    )


@every
@settings(deadline=None, max_examples=20)
@given(spec=BLOCKS)
def test_hermitian_planes_stay_hermitian(strategy: Weighting, spec: tuple[int, int, int, float]) -> None:
    data, weights = block(spec)
    data, weights = data + data[::-1, ::-1].conj(), weights + weights[::-1, ::-1]
    normalise(strategy, data, weights)
    np.testing.assert_allclose(data, data[::-1, ::-1].conj(), rtol=1e-6)


@by_name
@settings(deadline=None, max_examples=30)
@given(spec=BLOCKS, snrs=st.tuples(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6)))
def test_gain_grows_with_the_signal(name: str, spec: tuple[int, int, int, float], snrs: tuple[float, float]) -> None:
    if "snr" not in parameters(name):
        pytest.skip("has no SNR")
    low, high = (from_text(f"{name}:snr={snr!r}") for snr in sorted(snrs))
    (one, weights), (two, _) = block(spec), block(spec)
    low.normalise(one, weights)
    high.normalise(two, weights)
    assert (np.abs(two) >= np.abs(one) * (1 - 1e-6)).all()
    filters = [s.image_filter(1, FX, FY, views()) for s in (low, high)]
    assert (filters[1] >= filters[0] * (1 - 1e-6)).all()


# -- the battery: small reconstructions ------------------------------------------------------------------------------

FX = np.linspace(0, 0.5, 17, dtype=np.float32)[None, :]
FY = np.linspace(-0.5, 0.5, 23, dtype=np.float32)[:, None]
SHAPE = (33, 36)


def optics(n: int, defocus: float = 12000.0, **more: Any) -> CtfParameters:
    return CtfParameters.of(
        n, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.07, defocus_u=defocus, **more
    )


def views(n: int = 7, depth: float = 24.0, ctf: bool = True) -> TiltViews:
    matrices = projection_matrices(SHAPE, (18.0, 16, 12), np.linspace(-60, 60, n), 4.0)
    return TiltViews(matrices[:, :2, :3], depth, 6.0, optics(n) if ctf else None)


SERIES: dict[str, tuple[tuple[float, ...], tuple[int, int, int]]] = {
    "as usual": (tuple(np.linspace(-60, 60, 7)), (12, 30, 33)),
    "one tilt": ((0.0,), (12, 30, 33)),
    "one steep tilt": ((70.0,), (12, 30, 33)),
    "one slice": (tuple(np.linspace(-60, 60, 7)), (1, 30, 33)),
    "thick": ((-50.0, 0, 50), (70, 30, 33)),
    "to 90 degrees": ((-90.0, -45, 0, 45, 90), (12, 30, 33)),
    "equal tilts": ((0.0, 0, 30, 30), (12, 30, 33)),
}


@cache
def small(name: str, axis: float = 4.0) -> tuple[TiltSeries, Region]:
    tilts, shape = SERIES[name]
    depth, height, width = shape
    matrices = projection_matrices(SHAPE, (width // 2, height // 2, depth // 2), tilts, axis)
    images = np.random.default_rng(2).standard_normal((len(tilts), *SHAPE)).astype(np.float32)
    return TiltSeries(images, matrices, 6.0, ctf=optics(len(tilts))), Region((0, 0, 0), shape)


@every
@pytest.mark.parametrize("ctf", [False, True])
@pytest.mark.parametrize("name", SERIES)
def test_volumes_are_finite(strategy: Weighting, name: str, ctf: bool) -> None:
    series, region = small(name)
    volume = reconstruct(series, region, strategy, ctf=ctf, n_threads=1).data
    assert np.isfinite(volume).all()
    assert volume.std() > 0


@every
@pytest.mark.parametrize("ctf", [False, True])
def test_volumes_scale_with_the_images(strategy: Weighting, ctf: bool) -> None:
    series, region = small("as usual")
    scaled = dataclasses.replace(series, images=-512 * np.stack([series.images[f] for f in range(series.n_tilts)]))
    one, two = (reconstruct(s, region, strategy, ctf=ctf, n_threads=1).data for s in (series, scaled))
    assert relative_error(two / -512, one) < 1e-5


@every
@pytest.mark.parametrize("ctf", [False, True])
def test_volumes_add_up(strategy: Weighting, ctf: bool) -> None:
    if not strategy.linear:
        pytest.skip("does not claim to be linear")
    series, region = small("as usual", 86.0)
    rng = np.random.default_rng(7)
    parts = [rng.standard_normal(series.images.shape).astype(np.float32) for _ in range(2)]
    one, two, both = (
        reconstruct(dataclasses.replace(series, images=i), region, strategy, ctf=ctf, n_threads=1).data
        for i in (parts[0], parts[1], parts[0] - 3 * parts[1])
    )
    assert relative_error(one - 3 * two, both) < 1e-5


@one_of_each
@pytest.mark.parametrize("axis", [4.0, 86.0])
def test_a_world_turned_by_180_degrees_gives_the_turned_volume(name: str, axis: float) -> None:
    # nothing prefers a side: world and region turned about z, the same images
    series, region = small("as usual", axis)
    turn = np.diag([-1.0, -1, 1, 1])
    turn[:2, 3] = [region.shape[2] - 1, region.shape[1] - 1]
    turned = dataclasses.replace(series, projections=series.projections @ turn)
    one, two = (reconstruct(s, region, from_text(name), n_threads=1).data for s in (series, turned))
    assert relative_error(two[:, ::-1, ::-1], one) < 0.02


@one_of_each
def test_the_order_of_tilts_does_not_matter(name: str) -> None:
    series, region = small("as usual")
    one, two = (
        reconstruct(s, region, from_text(name), n_threads=1).data
        for s in (series, series.select([3, 6, 0, 1, 5, 4, 2]))
    )
    assert relative_error(two, one) < 1e-5


# -- limits ----------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    "strategy", [PreWeight(), Wiener(), PreWeight(math.inf), Wiener(math.inf), Ramp(), Exact(), SirtLike(1e6)], ids=repr
)
def test_the_full_tilt_range_gives_the_specimen_back(strategy: Weighting) -> None:
    rng = np.random.default_rng(3)
    centres = np.array([40, 38, 20]) + rng.uniform(-1, 1, (200, 3)) * [20, 20, 12]
    blobs = Gaussians(centres, rng.uniform(1.2, 2.5, 200), rng.uniform(-1, 1.5, 200))
    matrices = projection_matrices((80, 84), (40.0, 38, 20), np.arange(-90, 90, 1.0), 2.0)
    region = Region((0, 0, 0), (40, 76, 80))
    truth = blobs.density(region, 1)
    series = TiltSeries(blobs.project(matrices, (80, 84), 1), matrices, 1.0)
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


@pytest.mark.parametrize("depth", [40, 60])
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
        (PreWeight(1000), False, 0.15),
        (PreWeight(1000), True, 0.15),
        (Exact(1000), False, 0.15),
        (Exact(1000), True, 0.15),
        (Ramp(1000), False, 0.15),
        (Ramp(1000), True, 0.2),
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


def test_a_narrow_region_of_a_slab_is_weighted_as_a_broad_one() -> None:
    rng = np.random.default_rng(6)
    matrices = projection_matrices((40, 200), (100.0, 20.0, 24.0), np.arange(-60.0, 61, 6))
    series = TiltSeries(rng.normal(size=(len(matrices), 40, 200)).astype(np.float32), matrices, 5.0)
    broad, narrow = (
        reconstruct(series, Region((x, 0.0, 0.0), (48, 40, n)), Wiener(10.0), ctf=False, n_threads=1).data
        for x, n in ((0.0, 200), (88.0, 24))
    )
    shared = broad[..., 88:112].ravel()
    # a slab goes on beyond a region, however narrow: before, 1.35 and 0.91, since steep images weighed too much
    assert np.polyfit(shared, narrow.ravel(), 1)[0] == pytest.approx(1, abs=0.12)
    assert np.corrcoef(shared, narrow.ravel())[0, 1] > 0.98


@cache
def long_tomogram(axis: float) -> tuple[TiltSeries, Region, NDArray[np.float32]]:
    """A tomogram that is long across the tilt axis, 36 of 48 voxels filled, and its volume with an SNR of 10."""
    rng = np.random.default_rng(1)
    centres = rng.uniform(0, 1, (800, 3)) * [150, 52, 36] + [25, 30, 6]
    size = (200, 112, 48)
    if axis > 45:
        centres, size = centres[:, [1, 0, 2]], (112, 200, 48)
    blobs = Gaussians(centres, rng.uniform(0.9, 3, 800), rng.uniform(0.5, 1.5, 800))
    series = simulate(
        blobs, size, image_shape=(112, 200), tilt_angles=list(TILTS), tilt_axis_angle=axis, pixel_size=8.0,
        ctf=optics(41, 30000.0), snr=0.3, shifts=0.0, grey=0.0, n_threads=2,
    ).series  # fmt: skip
    region = Region.of(series)
    return series, region, reconstruct(series, region, Wiener(10), n_threads=2).data


@pytest.mark.parametrize("axis", [0.0, 85.3])
@pytest.mark.parametrize(
    ("across", "along_z", "allowed"),
    [
        # without room around them 0.27, 0.27, 0.45 and 0.19
        ((60, 140), (0, 24), 0.03),
        ((60, 140), (24, 48), 0.03),
        ((84, 116), (8, 24), 0.03),
        ((84, 116), (0, 48), 0.03),
    ],
)
def test_a_part_is_that_of_the_whole(
    axis: float, across: tuple[int, int], along_z: tuple[int, int], allowed: float
) -> None:
    series, whole, volume = long_tomogram(axis)
    chosen = [slice(*along_z), slice(None), slice(*across)]
    start, shape = [float(across[0]), 0.0], [along_z[1] - along_z[0], 112, across[1] - across[0]]
    if axis > 45:
        chosen, start, shape = [chosen[0], chosen[2], chosen[1]], start[::-1], [shape[0], shape[2], shape[1]]
    origin = tuple(a + b for a, b in zip(whole.origin, (*start, float(along_z[0])), strict=True))
    region = Region(origin, tuple(shape))  # type: ignore[arg-type]
    part = reconstruct(series, region, Wiener(10), n_threads=2).data
    assert relative_error(part, volume[tuple(chosen)]) < allowed


# -- the registry ----------------------------------------------------------------------------------------------------


def test_the_built_in_strategies_are_registered() -> None:
    assert {"none", "preweight", "wiener"} <= set(available())
    assert available() == sorted(available())
    for name in available():
        strategy = from_text(name)
        assert strategy.name == name
        assert isinstance(strategy, Weighting)


def test_text_builds_strategies() -> None:
    assert from_text("wiener") == Wiener()
    assert from_text(" wiener : snr = 5 ") == Wiener(5)
    assert from_text("preweight:snr=2.5,thickness=800") == PreWeight(2.5, 800)
    assert from_text("wiener:snr=inf") == Wiener(math.inf)
    assert from_text("wiener", snr=3.0) == Wiener(3)
    assert from_text("wiener:snr=7", snr=3.0) == Wiener(7)
    assert from_text("none", snr=3.0) == NoWeighting()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wener", r"unknown weighting 'wener'; available: cg, exact, none, preweight, .*wiener"),
        ("", "unknown weighting ''; available"),
        ("wiener:sn=5", "no parameter 'sn'; its parameters: snr"),
        ("preweight:depth=5", "no parameter 'depth'; its parameters: snr, thickness"),
        ("none:snr=5", "no parameter 'snr'; its parameters: none"),
        ("wiener:snr", "no parameter 'snr'|key=value"),
        ("wiener:snr=high", "wiener:snr=high: the value is not a number"),
        ("wiener:snr=0", "SNR 0 must be above 0"),
        ("wiener:snr=-3", "SNR -3 must be above 0"),
        ("wiener:snr=nan", "SNR nan must be above 0"),
        ("preweight:thickness=0", "thickness 0"),
        ("preweight:thickness=nan", "thickness nan"),
    ],
)
def test_wrong_text_is_answered_with_the_choices(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_text(text)


@pytest.mark.parametrize("snr", [0.0, -1.0, math.nan, -math.inf])
@by_name
def test_parameters_are_checked_at_construction(name: str, snr: float) -> None:
    if "snr" not in parameters(name):
        pytest.skip("has no SNR")
    with pytest.raises(UsageError, match="SNR"):
        type(from_text(name))(snr=snr)  # type: ignore[call-arg]


@pytest.mark.parametrize("thickness", [0.0, -10.0, math.nan])
def test_thickness_is_checked_at_construction(thickness: float) -> None:
    with pytest.raises(UsageError, match="thickness"):
        PreWeight(thickness=thickness)


@every
def test_strategies_are_frozen_and_hashable(strategy: Weighting) -> None:
    assert hash(strategy) == hash(dataclasses.replace(strategy))  # type: ignore[type-var]
    assert strategy == dataclasses.replace(strategy)  # type: ignore[type-var]
    with pytest.raises(AttributeError):
        strategy.name = "other"  # type: ignore[misc]
    if "snr" in parameters(strategy.name):
        assert strategy != dataclasses.replace(strategy, snr=77.0)  # type: ignore[type-var]


@dataclass(frozen=True)
class Halved(Weighting):
    """A third party's: plain back-projection of images at half their strength, then doubled on the grid or not."""

    name: ClassVar[str] = "halved"
    uses_weights: ClassVar[bool] = False
    divides_by_count: ClassVar[bool] = True

    factor: float = 0.5
    flip: bool = False

    def image_filter(
        self, tilt: int, frequency_x: NDArray[np.float32], frequency_y: NDArray[np.float32], views: TiltViews
    ) -> NDArray[np.float32]:
        assert frequency_x.shape[0] == 1
        assert frequency_y.shape[1] == 1
        assert views.matrices.shape[1:] == (2, 3)
        return np.full((1, 1), -self.factor if self.flip else self.factor, np.float32)


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))


@pytest.mark.usefixtures("own_registry")
def test_a_registered_strategy_reconstructs() -> None:
    assert register(Halved) is Halved
    assert "halved" in available()
    assert from_text("halved:factor=0.25,flip=true") == Halved(0.25, True)
    with pytest.raises(UsageError, match=":flip=maybe: the value is not a truth value"):
        from_text("halved:flip=maybe")
    with pytest.raises(UsageError, match="available: cg, exact, halved, none"):
        from_text("quartered")
    geometry = Geometry((-40.0, 0, 40), (60, 64), centre=(20.0, 20, 8), shape=(16, 40, 41))
    images = np.random.default_rng(0).standard_normal((3, 60, 64)) * window((60, 64), 20, 8)
    series = geometry.series(images.astype(np.float32))
    plain, halved = (
        reconstruct(series, geometry.region, s, ctf=False, keep_mean=True, n_threads=1).data
        for s in (NoWeighting(), from_text("halved:flip=yes"))
    )
    inside = (border_distance(geometry.matrices, world_points(geometry.region), (60, 64)) > 8).all(0)
    assert relative_error(halved.ravel()[inside], -0.5 * plain.ravel()[inside]) < 1e-2


@pytest.mark.usefixtures("own_registry")
def test_entry_points_are_found_and_do_not_replace_built_in_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [SimpleNamespace(name=n, load=lambda: Halved) for n in ("halved", "wiener")]
    monkeypatch.setattr(base, "entry_points", lambda group: points if group == "fourierrecon.weighting" else [])
    assert "halved" in available()
    assert from_text("halved") == Halved()
    assert from_text("wiener") == Wiener()


def test_a_strategy_without_hooks_is_plain_back_projection() -> None:
    class Bare(Weighting):
        name: ClassVar[str] = "bare"
        divides_by_count: ClassVar[bool] = True

    assert not Bare().has_filter
    series, region = small("as usual")
    one, two = (reconstruct(series, region, s, ctf=False, n_threads=1).data for s in (Bare(), NoWeighting()))
    np.testing.assert_array_equal(one, two)


def test_a_strategy_sees_weights_of_one_on_a_lonely_slice() -> None:
    # the scale of the weights: one image alone has about CTF² on its own slice, so the strategy's numbers mean what
    # they say
    largest: list[Array] = []

    @dataclass(frozen=True)
    class Spy(Weighting):
        name: ClassVar[str] = "spy"
        uses_weights: ClassVar[bool] = True

        def normalise(  # type: ignore[override]  # it has no use for the frequency
            self, data: NDArray[np.complex64], weights: NDArray[np.float32]
        ) -> None:
            largest.append(weights.max(initial=0))

    for tilt in (0.0, 25.0, 60.0):
        geometry = Geometry((tilt,), (48, 50), 0, centre=(24.0, 24, 15), shape=(30, 44, 46))
        images = np.random.default_rng(0).standard_normal((1, 48, 50)).astype(np.float32)
        largest.clear()
        reconstruct(geometry.series(images), geometry.region, Spy(), ctf=False, n_threads=1)
        assert 0.95 <= max(largest) <= 1.25


@pytest.mark.parametrize("x_tilt", [0.0, 3.0])
def test_the_correction_near_the_axis_needs_few_columns(x_tilt: float, monkeypatch: pytest.MonkeyPatch) -> None:
    tilts = tuple(np.linspace(-60, 60, 21))
    geometry = Geometry(tilts, (40, 400), 2.0, x_tilt, centre=(200, 20, 100), shape=(200, 30, 400))
    images = np.random.default_rng(4).standard_normal((21, 40, 400)).astype(np.float32)
    series = geometry.series(images)

    def volume() -> NDArray[np.float32]:
        return reconstruct(series, geometry.region, Wiener(10), ctf=False, n_threads=1).data

    few = volume()
    monkeypatch.setattr(density_correction, "ROOM", 100)  # all columns
    every = volume()
    monkeypatch.setattr(density_correction.AxisCorrection, "correct", lambda *_: None)
    none = volume()
    error, correction = np.linalg.norm(few - every), np.linalg.norm(none - every)
    assert error > 0  # there is a difference, so few columns were used
    assert error < 0.1 * correction


@dataclass(frozen=True)
class Quotient(Weighting):
    """A third party's: data over weights, and nothing else."""

    name: ClassVar[str] = "quotient"
    uses_weights: ClassVar[bool] = True

    def normalise(  # type: ignore[override]  # it has no use for the frequency
        self, data: NDArray[np.complex64], weights: NDArray[np.float32]
    ) -> None:
        data /= np.maximum(weights, np.float32(0.1))


class Uncorrected(Quotient):
    """The same, without the correction near the tilt axis."""

    corrects_near_axis: ClassVar[bool] = False


def test_a_plug_in_can_refuse_the_correction_near_the_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = Geometry(tuple(np.linspace(-60, 60, 21)), (40, 90), 2.0, centre=(45, 20, 30), shape=(60, 30, 90))
    images = np.random.default_rng(4).standard_normal((21, 40, 90)).astype(np.float32)
    series = geometry.series(images)

    def volume(weighting: Weighting) -> NDArray[np.float32]:
        return reconstruct(series, geometry.region, weighting, ctf=False, n_threads=1).data

    corrected, refused = volume(Quotient()), volume(Uncorrected())
    assert relative_error(refused, corrected) > 0.05
    monkeypatch.setattr(density_correction.AxisCorrection, "correct", lambda *_: None)
    np.testing.assert_array_equal(volume(Quotient()), refused)
