"""The transfer function of a sample: CTF, exposure, B-factors and scale, in data and in weights."""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import CtfParameters, Region, TiltSeries, reconstruct
from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.io import read_tilt_series
from fourierrecon.io.relion.write import write_relion4_set, write_relion5_set
from fourierrecon.tilt_series.exposures import critical_exposure
from fourierrecon.transfer import CTF_MODES, PER_CYCLE, STEPS, WEIGHED, Correction, Transfer
from fourierrecon.weighting import NoWeighting, PreWeight, TiltViews, Weighting, Wiener, available, from_text
from tests.helpers.reference import Geometry, back_projection, central_slice, relative_error, window, world_points

Array = NDArray[np.float64]
PIXEL = 5.0
TILTS = (-60.0, -20, 0, 20, 60)
EXPOSURE = np.array([12.0, 6, 0, 3, 9])


def optics(n: int = 5, **more: Any) -> CtfParameters:
    values = {"voltage": 300, "spherical_aberration": 2.7, "amplitude_contrast": 0.07, "defocus_u": 12000.0}
    return CtfParameters.of(n, **{**values, **more})


@cache
def a_series(**more: Any) -> TiltSeries:
    geometry = Geometry(TILTS, (60, 64), 0, shift=0, magnification=0, centre=(32.0, 30, 10), shape=(20, 60, 64))
    images = np.random.default_rng(0).standard_normal((5, 60, 64)) * window((60, 64), 14, 10)
    return geometry.series(images.astype(np.float32), ctf=optics(**more), exposure=EXPOSURE)


def grant(q: Array, exposure: float) -> Array:
    """Formula of Grant & Grigorieff (2015), equations 3 and 5, written down once more."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.exp(-0.5 * exposure / (0.24499 * q**-1.6649 + 2.8141)))


@pytest.mark.parametrize(("voltage", "factor"), [(300, 1.0), (200, 0.8)])
def test_the_exposure_filter_is_that_of_grant_and_grigorieff(voltage: float, factor: float) -> None:
    series = dataclasses.replace(a_series(), ctf=optics(voltage=voltage))
    transfer = Transfer.of(series, Correction("none", "grant"))
    q = np.linspace(0, 0.2, 50)
    # half of an image's own exposure counts: the middle step is 3
    for tilt, before in enumerate(EXPOSURE):
        np.testing.assert_allclose(transfer.evaluate(tilt, q, 0.0), grant(q, (before + 1.5) / factor), rtol=1e-12)
    # by hand, at 10 Å
    assert critical_exposure(0.1) == pytest.approx(14.1394, abs=1e-4)


def test_values_that_another_package_gives() -> None:
    # torch-fourier-filter 0.6 at its defaults, which round the constants of the paper, after 60 e⁻/Å²
    q = np.array([1 / 40, 1 / 20, 1 / 10, 1 / 5, 1 / 3])
    found = np.exp(-60 / (2 * critical_exposure(q)))
    np.testing.assert_allclose(found, [0.773364, 0.460925, 0.119805, 0.009091, 0.000989], atol=2e-4)


def test_b_factors() -> None:
    q = np.linspace(0, 0.2, 50)
    series = dataclasses.replace(a_series(), ctf=optics(b_factor=[0, 10, 20, 30, 40.0]))
    for exposure, per in (("none", 0.0), ("bfactor", 4.0)):
        transfer = Transfer.of(series, Correction(None, exposure))
        for tilt in range(5):
            b = 10 * tilt + per * (EXPOSURE[tilt] + 1.5)
            bare = Transfer.of(a_series(), Correction()).evaluate(tilt, 0.3 * q, q)
            damped = bare * np.exp(-b / 4 * 1.09 * q**2)
            np.testing.assert_allclose(transfer.evaluate(tilt, 0.3 * q, q), damped, atol=1e-12)
    # what the set gives per exposure counts without being asked for, and not where it is refused
    given = dataclasses.replace(a_series(), b_factor_per_exposure=np.full(5, 2.0))
    found = Transfer.of(given, Correction("none")).evaluate(0, q, 0.0)
    np.testing.assert_allclose(found, np.exp(-2 * 13.5 * q**2 / 4))
    assert not Transfer.of(given, Correction("none", "none")).applies


def test_tilt_weights() -> None:
    cosine = np.cos(np.radians(TILTS))
    np.testing.assert_allclose(Transfer.of(a_series(), Correction(tilt_weight="cos")).scale, cosine)
    np.testing.assert_allclose(Transfer.of(a_series(), Correction("none", None, "cos")).scale, cosine)
    # scale factors of the set go first, and are never multiplied with cosines
    scale = np.array([0.5, 0.9, 1, 0.8, 0.4])
    scaled = dataclasses.replace(a_series(), ctf=optics(scale=scale))
    for weight in (None, "none", "cos"):
        np.testing.assert_array_equal(Transfer.of(scaled, Correction(tilt_weight=weight)).scale, scale)


def test_phase_flip_and_first_peak_by_definition() -> None:
    series = dataclasses.replace(a_series(), ctf=optics(scale=0.7))
    q = np.linspace(0, 0.1, 4001)
    ctf = Transfer.of(series, Correction()).evaluate(0, q, 0.0)
    flip = Transfer.of(series, Correction("phase-flip")).evaluate(0, q, 0.0)
    first = Transfer.of(series, Correction("first-peak")).evaluate(0, q, 0.0)
    np.testing.assert_allclose(flip, 0.7 * np.sign(ctf))
    peak = int(np.argmax(ctf > 0.7 * (1 - 1e-6)))
    assert 0.04 < q[peak] < 0.05  # sin(chi) = 1 at 12000 Å
    np.testing.assert_allclose(first[: peak - 5], 0.7)
    np.testing.assert_allclose(first[peak + 5 :], ctf[peak + 5 :])


def expected_filters(transfer: Transfer) -> tuple[Array, Array]:
    """``T`` of data on the grid of ``rfft2``, and the squares that weights hold, by the definitions."""
    fy, fx = np.fft.fftfreq(60, PIXEL)[:, None], np.fft.rfftfreq(64, PIXEL)
    data = np.stack([transfer.evaluate(f, fx, fy) for f in range(5)])
    envelope = dataclasses.replace(transfer, ctf=None)
    weights = data if transfer.mode in WEIGHED else np.stack(
        [envelope.evaluate(f, fx, fy) for f in range(5)]
    )  # fmt: skip
    return data, np.abs(weights) if transfer.mode == "absolute" else weights**2


CORRECTIONS = [
    Correction(mode, exposure, weight)
    for mode in CTF_MODES
    for exposure, weight in ((None, None), ("grant", "cos"), ("bfactor", None))
]
#: Every kind of damping with the Wiener filter, and all of them together with each mode; the others only with the slow.
MAIN = [*CORRECTIONS[:3], *CORRECTIONS[4::3]]
EVERY = [each if each in MAIN else pytest.param(each, marks=pytest.mark.slow) for each in CORRECTIONS]


@pytest.mark.parametrize("correction", EVERY, ids=str)
def test_data_and_weights_of_a_lonely_slice(correction: Correction) -> None:
    # one tilt: the Wiener filter is T Y / (T² + 1/SNR) by an exact sum over voxels, whatever T is made of
    series = dataclasses.replace(a_series(), ctf=optics(scale=0.8, b_factor=20.0, defocus_u=6000.0))
    for tilt in (1, 4):
        matrix = projection_matrices((60, 64), (32.0, 30, 10), [TILTS[tilt]])
        one = dataclasses.replace(series.select([tilt]), projections=matrix)
        # room for what CTF and image move
        region = Region((-16.0, -16.0, 0.0), (20, 92, 96))
        options: dict[str, Any] = dataclasses.asdict(correction)
        volume = reconstruct(one, region, Wiener(5.0), keep_mean=True, n_threads=1, **options).data
        transfer = Transfer.of(series, correction)
        data, weights = (values[tilt] for values in expected_filters(transfer))
        spectrum = np.fft.rfft2(np.asarray(one.images[0], float))
        band = np.hypot(np.fft.fftfreq(60)[:, None], np.fft.rfftfreq(64)) < 0.4
        found = central_slice(volume, region, matrix[0], (60, 64))
        expected = spectrum * data / (weights + 0.2)
        assert np.linalg.norm((found - expected)[band]) < 0.08 * np.linalg.norm(expected[band])


@pytest.mark.parametrize("binning", [1.0, 1.5])
@pytest.mark.parametrize("correction", EVERY[3:], ids=str)
def test_plain_back_projection_has_t_in_the_data(correction: Correction, binning: float) -> None:
    if correction.ctf_mode in WEIGHED:
        pytest.skip("divides by the CTF")
    series = a_series()
    transfer = Transfer.of(series, correction, divides=False)
    rows, columns = 180, 192
    fy, fx = np.fft.fftfreq(rows, PIXEL)[:, None], np.fft.rfftfreq(columns, PIXEL)
    padded = np.zeros((5, rows, columns))
    padded[:, 60:120, 64:128] = np.stack([series.images[f] for f in range(5)])
    filtered = np.stack(
        [np.fft.irfft2(np.fft.rfft2(image) * transfer.evaluate(f, fx, fy), (rows, columns)) for f, image in
         enumerate(padded)]
    )  # fmt: skip
    shape = tuple(int(n / binning) for n in (20, 60, 64))
    region = Geometry(TILTS, (60, 64), 0, shape=(shape[0], shape[1], shape[2]), binning=binning).region
    options: dict[str, Any] = dataclasses.asdict(correction)
    volume = reconstruct(series, region, NoWeighting(), keep_mean=True, n_threads=1, **options).data
    low, high = (np.array(shape) * f for f in (0.35, 0.65))
    points = np.random.default_rng(1).integers(low.astype(int), high.astype(int), (60, 3))
    shifted = series.projections.copy()
    shifted[:, :2, 3] += [64, 60]
    exact = back_projection(filtered, shifted, world_points(region, points), binning) / 5
    # a phase flip has steps: its point-spread function has no end
    largest = 0.05 if correction.ctf_mode == "phase-flip" else 5e-3
    assert relative_error(volume[tuple(points.T)], exact) < largest


@pytest.mark.parametrize("correction", CORRECTIONS, ids=str)
def test_preweight_divides_by_the_same_squares(correction: Correction) -> None:
    series = dataclasses.replace(a_series(), ctf=optics(scale=0.8, b_factor=20.0))
    transfer = Transfer.of(series, correction)
    one = Transfer(transfer.mode, transfer.ctf and transfer.ctf.select(np.array([4])), transfer.scale[4:],
                   transfer.damping[4:])  # fmt: skip
    views = TiltViews(series.projections[4:, :2, :3], 20.0, PIXEL, one.ctf, one)
    fx = np.asarray(np.fft.rfftfreq(64), np.float32)[None]
    fy = np.asarray(np.fft.fftfreq(60), np.float32)[:, None]
    found = PreWeight(5.0).image_filter(0, fx, fy, views)
    # a beam at 60 degrees crosses twice the thickness
    np.testing.assert_allclose(found, 0.5 / (20 * (expected_filters(transfer)[1][4] + 0.2)), rtol=2e-3)


@pytest.mark.parametrize("name", [name for name in available() if from_text(name, snr=10.0).linear])
def test_halves_of_frames_add_up_with_every_linear_weighting(name: str) -> None:
    for mode in CTF_MODES if name != "none" else ("multiply", "phase-flip", "none"):
        check_halves(from_text(name, snr=10.0), Correction(mode))


@pytest.mark.parametrize("strategy", [NoWeighting(), PreWeight(10.0), Wiener(10.0)], ids=lambda s: s.name)
@pytest.mark.parametrize("correction", EVERY, ids=str)
def test_halves_of_frames_add_up(strategy: Weighting, correction: Correction) -> None:
    if strategy.name == "none" and correction.ctf_mode in WEIGHED:
        pytest.skip("divides by the CTF")
    check_halves(strategy, correction)


def check_halves(strategy: Weighting, correction: Correction) -> None:
    """Compare the mean of the volumes of even and odd frames with that of all."""
    series = a_series()
    images = np.stack([np.asarray(series.images[f], np.float32) for f in range(5)])
    noise = np.asarray(np.random.default_rng(3).standard_normal(images.shape), np.float32)
    region = Geometry(TILTS, (60, 64), 0, shape=(20, 40, 40), origin=(12.0, 10, 0)).region
    options: dict[str, Any] = dataclasses.asdict(correction)
    full, even, odd = (
        reconstruct(dataclasses.replace(series, images=each), region, strategy, n_threads=1, **options).data
        for each in (images, images + noise, images - noise)
    )
    assert relative_error((even + odd) / 2, full) < 1e-5


def test_tables_are_fine_enough() -> None:
    series = dataclasses.replace(a_series(), exposure=EXPOSURE * 10)
    for voxel_size in (1.0, 5.0, 20.0):
        transfer = Transfer.of(series, Correction("none", "grant"))
        table = transfer.envelopes(voxel_size)
        at = np.random.default_rng(0).uniform(0, math.sqrt(0.5), 2000)
        found = np.interp(at, np.arange(STEPS + 2) / PER_CYCLE, table[0])
        np.testing.assert_allclose(found, transfer.evaluate(0, at / voxel_size, 0.0), atol=1e-4)


@pytest.mark.parametrize(
    ("exposure", "message"),
    [
        (None, "exposures are missing .* add rlnMicrographPreExposure"),
        (np.array([0, 3, np.nan, 9, 12.0]), "nan e⁻/Å² before image 3"),
        (np.array([0, 3, -6, 9, 12.0]), "-6 e⁻/Å² before image 3"),
        (np.array([0, 3, 6, 9, 1200.0]), "1200 e⁻/Å² before image 5"),
        (np.full(5, 3.0), "3 e⁻/Å² before every image"),
    ],
)
@pytest.mark.parametrize("name", ["grant", "bfactor"])
def test_wrong_exposures_are_named(exposure: Array | None, message: str, name: str) -> None:
    series = dataclasses.replace(a_series(), exposure=exposure, own_exposure=np.empty(0))
    with pytest.raises(DataError, match=message):
        reconstruct(series, Geometry(TILTS).region, exposure=name)
    Transfer.of(series, Correction(exposure="none"))


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match='ctf_mode="flip": unknown; available: wiener, multiply, phase-flip'):
        Correction("flip")
    with pytest.raises(UsageError, match='exposure="yes": unknown; available: grant, bfactor, none'):
        Correction(exposure="yes")
    with pytest.raises(UsageError, match='tilt_weight="sin": unknown; available: cos, none'):
        Correction(tilt_weight="sin")
    with pytest.raises(UsageError, match='ctf=False and ctf_mode="wiener" exclude'):
        Correction.of(False, "wiener")
    with pytest.raises(UsageError, match="divides by nothing"):
        reconstruct(a_series(), Geometry(TILTS).region, NoWeighting(), ctf_mode="wiener")
    with pytest.raises(DataError, match=r"known for 300, 200, 100 kV, not for 80 kV"):
        Transfer.of(dataclasses.replace(a_series(), ctf=optics(voltage=80)), Correction(exposure="grant"))
    with pytest.raises(DataError, match="needs the voltage"):
        Transfer.of(dataclasses.replace(a_series(), ctf=None), Correction("none", "grant"))


def test_a_selection_keeps_the_exposure_of_its_images() -> None:
    series = a_series()
    np.testing.assert_array_equal(series.own_exposure, 3)
    half = series.select([0, 2])
    np.testing.assert_array_equal(half.own_exposure, 3)


@pytest.mark.parametrize("write", [write_relion4_set, write_relion5_set])
def test_columns_of_a_set(write: Any, tmp_path: Path) -> None:
    geometry = Geometry(TILTS, (20, 24), 0, shift=0, magnification=0, centre=(12.0, 10, 4))
    ctf = optics(b_factor=[0, 10, 20, 30, 40.0], scale=[0.5, 0.9, 1, 0.8, 0.4])
    series = geometry.series(
        np.random.default_rng(0).standard_normal((5, 20, 24)).astype(np.float32), ctf=ctf, exposure=EXPOSURE,
        name="TS_1", size=(24.0, 20.0, 8.0), b_factor_per_exposure=np.arange(5.0),
    )  # fmt: skip
    path = write(tmp_path, series)
    found = read_tilt_series(path)
    assert found.ctf is not None
    np.testing.assert_array_equal(found.ctf.b_factor, ctf.b_factor)
    np.testing.assert_array_equal(found.ctf.scale, ctf.scale)
    np.testing.assert_array_equal(found.b_factor_per_exposure, np.arange(5.0))
    np.testing.assert_array_equal(found.exposure, EXPOSURE)


@pytest.mark.parametrize(
    "correction",
    [Correction(), Correction("none"), Correction("phase-flip", "grant"), Correction("wiener", "bfactor", "cos")],
)
def test_words_are_read_again(correction: Correction) -> None:
    found = Correction.from_words(f"fourierrecon 3D Wiener filter, {correction.words(True)}, 41 tilts of TS_01")
    assert found is not None
    assert found.words(True) == correction.words(True)
    assert Correction.from_words("fourierrecon 3D Wiener filter, 41 tilts of TS_01") is None
