"""The filters ramp, sirtlike and exact against their definitions, in explicit float64 sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import CtfParameters, reconstruct
from fourierrecon.ctf import contrast_transfer
from fourierrecon.errors import UsageError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.transfer import Transfer
from fourierrecon.weighting import Exact, Ramp, SirtLike, TiltViews, Weighting, from_text
from fourierrecon.weighting.fan import RollOff, steps_of
from tests.helpers.reference import Geometry, band_limit, image_points, relative_error, world_points

#: Degrees, and half of the way between the neighbours of each.
UNEVEN = (-60.0, -50.0, -46.0, -10.0, 0.0, 1.0, 20.0, 60.0)
STEPS = (10.0, 7.0, 20.0, 23.0, 5.5, 10.0, 29.5, 40.0)
FX = np.linspace(0, 0.5, 17, dtype=np.float32)[None, :]
FY = np.linspace(-0.5, 0.5, 23, dtype=np.float32)[:, None]
Array = NDArray[np.float64]


def views(tilts: tuple[float, ...] = UNEVEN, *, axis: float = 0.0, depth: float = 24.0, ctf: bool = False) -> TiltViews:
    matrices = projection_matrices((80, 84), (40.0, 38, 20), tilts, axis)[:, :2, :3]
    optics = CtfParameters.of(
        len(tilts), voltage=300, spherical_aberration=2.7, amplitude_contrast=0.07,
        defocus_u=10000.0 + 700 * np.arange(len(tilts)),
    )  # fmt: skip
    return TiltViews(matrices, depth, 6.0, optics if ctf else None)


def squared_ctf(seen: TiltViews, tilt: int, fx: Array, fy: Array) -> Array:
    assert seen.ctf is not None
    return np.asarray(contrast_transfer(seen.ctf, tilt, fx / seen.voxel_size, fy / seen.voxel_size) ** 2)


# -- steps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 33.0, -89.0, 360.0])
def test_an_image_stands_for_half_of_the_way_to_its_neighbours(offset: float) -> None:
    order = np.random.default_rng(0).permutation(len(UNEVEN))
    found = steps_of(np.radians(np.array(UNEVEN)[order] + offset))
    np.testing.assert_allclose(np.degrees(found), np.array(STEPS)[order], rtol=1e-9)


@pytest.mark.parametrize(
    ("angles", "steps"),
    [
        ((0.0,), (0.0,)),
        ((7.0, 7.0, 187.0), (0.0, 0.0, 0.0)),
        ((0.0, 30.0), (30.0, 30.0)),
        ((0.0, 0.0, 30.0, 30.0), (15.0, 15.0, 15.0, 15.0)),
        ((-90.0, -45.0, 0.0, 45.0), (45.0, 45.0, 45.0, 45.0)),
        # both ends are the same slice, seen from its two sides
        ((-90.0, -45.0, 0.0, 45.0, 90.0), (22.5, 45.0, 45.0, 45.0, 22.5)),
    ],
)
def test_equal_slices_share_their_step(angles: tuple[float, ...], steps: tuple[float, ...]) -> None:
    np.testing.assert_allclose(np.degrees(steps_of(np.radians(angles))), steps, atol=1e-9)


# -- transfer curves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0.0, 30.0, 90.0])
def test_the_ramp_is_the_distance_from_the_axis_times_the_step(axis: float) -> None:
    seen = views(axis=axis)
    # with an image rotated by that, the axis runs along these frequencies, and distances are those across it
    axis_in_image = seen.matrices[4] @ np.array([0.0, 1.0, 0.0])
    across = np.abs(FX * axis_in_image[1] - FY * axis_in_image[0])
    for tilt, step in enumerate(STEPS):
        cosine = math.cos(math.radians(UNEVEN[tilt]))
        least = step / sum(STEPS) * cosine / 24
        expected = np.maximum(np.radians(step) * across, least)
        np.testing.assert_allclose(Ramp().image_filter(tilt, FX, FY, seen), expected, rtol=1e-5)


def test_the_mean_of_all_images_fills_the_slab() -> None:
    # along the axis all images are one: their factors times the voxels that each beam crosses add up to one
    for weighting in (Ramp(), SirtLike(1), SirtLike(40)):
        zero = np.zeros((1, 1), np.float32)
        total = sum(
            float(weighting.image_filter(f, zero, zero, views())[0, 0]) * 24 / math.cos(math.radians(t))
            for f, t in enumerate(UNEVEN)
        )
        assert total == pytest.approx(1, rel=1e-5)


def test_the_ramp_divides_by_ctf_squared_of_all_slices_that_share_a_point() -> None:
    seen = views(ctf=True)
    for tilt, step in enumerate(STEPS):
        cosine = math.cos(math.radians(UNEVEN[tilt]))
        ramp = np.maximum(np.radians(step) * np.abs(FX.astype(float)), step / sum(STEPS) * cosine / 24)
        power = squared_ctf(seen, tilt, FX.astype(float), FY.astype(float))
        shared = cosine / (24 * ramp)
        expected = cosine / 24 / (shared * power + 1 / 30)
        np.testing.assert_allclose(Ramp(30.0).image_filter(tilt, FX, FY, seen), expected, rtol=1e-4)


def test_exposure_and_scale_act_in_the_ramp_without_a_ctf() -> None:
    plain = views()
    damped = TiltViews(
        plain.matrices, 24.0, 6.0, None, Transfer("none", None, np.full(8, 0.5), np.tile([300.0, 0.0], (8, 1)))
    )
    x = np.linspace(0.05, 0.5, 17, dtype=np.float32)[None]
    zero = np.zeros((1, 1), np.float32)
    envelope = 0.5 * np.exp(-300 * (x.astype(float) / 6) ** 2 / 4)
    without, found = (Ramp(math.inf).image_filter(3, x, zero, v) for v in (plain, damped))
    np.testing.assert_allclose(found, without / envelope**2, rtol=1e-4)


@pytest.mark.parametrize("ctf", [False, True])
@pytest.mark.parametrize("axis", [0.0, 30.0])
def test_the_exact_filter_is_one_over_the_overlap_of_all_slices(ctf: bool, axis: float) -> None:
    seen = views(axis=axis, ctf=ctf, depth=9.0)
    normals = np.cross(seen.matrices[:, 0], seen.matrices[:, 1])
    q = np.stack(np.broadcast_arrays(FX.astype(float), FY.astype(float)), -1)
    for tilt in (0, 3, 6):
        k = q @ seen.matrices[tilt]
        total, own = np.zeros(k.shape[:2]), np.ones(k.shape[:2])
        for g, normal in enumerate(normals):
            z = 9.0 * (k @ normal) / normals[tilt, 2]
            there = k @ np.linalg.pinv(seen.matrices[g])
            power = squared_ctf(seen, g, there[..., 0], there[..., 1]) if ctf else np.ones(z.shape)
            total += np.where(np.abs(z) < 3, np.sinc(z) * np.sinc(z / 3), 0) * power
            own = power if g == tilt else own
        noise = 1 / 30 if ctf else 1e-6
        expected = normals[tilt, 2] / 9.0 / (np.maximum(total, own) + noise)
        np.testing.assert_allclose(Exact(30.0).image_filter(tilt, FX, FY, seen), expected, rtol=1e-3)


def test_the_exact_filter_of_even_dense_tilts_is_the_ramp() -> None:
    seen = views(tuple(np.arange(-90.0, 90.0, 1.0)), depth=40.0)
    x = np.linspace(0.1, 0.3, 21, dtype=np.float32)[None]
    zero = np.zeros((1, 1), np.float32)
    for tilt in (60, 90, 101):
        exact, ramp = (w.image_filter(tilt, x, zero, seen) for w in (Exact(), Ramp()))
        np.testing.assert_allclose(exact, ramp, rtol=0.04)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 30])
@pytest.mark.parametrize("ctf", [False, True])
def test_sirt_like_is_what_steps_from_an_empty_volume_give(n: int, ctf: bool) -> None:
    seen = views(ctf=ctf)
    tilt, step, cosine = 4, STEPS[4], 1.0
    least = step / sum(STEPS) * cosine / 24
    ramp = np.maximum(np.radians(step) * np.abs(FX.astype(float)), least) + 0 * FY
    power = squared_ctf(seen, tilt, FX.astype(float), FY.astype(float)) if ctf else np.ones_like(ramp)
    strength = power * least / ramp
    # the part of the volume in the direction of the data, for data T times 1: v += a / T² (T² - T² v)
    v = np.zeros_like(ramp)
    for _ in range(n):
        v += strength * (1 - v)
    expected = ramp * v / np.maximum(power, 1e-12)
    found = SirtLike(n).image_filter(tilt, FX, FY, seen)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    if n == 1:
        np.testing.assert_allclose(found, least, rtol=1e-5)


def test_many_iterations_give_the_ramp() -> None:
    seen = views()
    for tilt in (0, 4):
        found, ramp = (w.image_filter(tilt, FX, FY, seen) for w in (SirtLike(1e6), Ramp()))
        np.testing.assert_allclose(found, ramp, rtol=1e-5)


def test_roll_offs() -> None:
    d = np.array([0.0, 0.2, 0.35, 0.385, 0.42, 0.5])
    np.testing.assert_allclose(
        RollOff(0.35, 0.035).at(d), [1, 1, 1, math.exp(-0.5), math.exp(-2), math.exp(-(0.15**2) / 0.035**2 / 2)]
    )
    np.testing.assert_allclose(RollOff(hamming=0.2).at(np.array([0.1, 0.2, 0.35, 0.5])), [1, 1, 0.53, 0.06])
    np.testing.assert_array_equal(RollOff(0.3).at(d), [1, 1, 0, 0, 0, 0])
    seen = views()
    for text in ("ramp", "sirtlike"):
        plain = from_text(text).image_filter(4, FX, FY, seen)
        fallen = from_text(f"{text}:cutoff=0.3,sigma=0.05").image_filter(4, FX, FY, seen)
        np.testing.assert_allclose(fallen, plain * RollOff(0.3, 0.05).at(FX.astype(float)), rtol=1e-5)


# -- volumes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighting", [Ramp(cutoff=0.35, sigma=0.035), SirtLike(5), Exact()], ids=repr)
def test_the_profile_of_a_point_is_the_exact_sum(weighting: Weighting) -> None:
    geometry = Geometry((-50.0, -35.0, -30.0, 0.0, 12.0, 60.0), (66, 72), 5.0, centre=(30.0, 33.0, 12.0))
    region, matrices = geometry.region, geometry.matrices
    y, x = np.indices((66, 72))
    at = image_points(matrices, np.array([[30.0, 33.0, 12.0]]))[:, 0]
    images = np.exp(-((x - at[:, 0, None, None]) ** 2 + (y - at[:, 1, None, None]) ** 2) / 4).astype(np.float32)
    points = np.array([[12, 33, i] for i in range(18, 43, 2)] + [[k, 33, 30] for k in range(2, 23, 2)])
    world = world_points(region, points)
    seen = TiltViews(matrices[:, :2, :3], 25.0, 5.0)
    # sums over a fine grid: copies of an image lie four images away
    rows, columns = 4 * 66 | 1, 4 * 72 | 1
    fy, fx = np.fft.fftfreq(rows), np.fft.fftfreq(columns)
    exact = np.zeros(len(points))
    for tilt, where in enumerate(image_points(matrices, world)):
        k = np.stack(np.broadcast_arrays(fx, fy[:, None]), -1) @ matrices[tilt, :2, :3]
        order = np.argsort(fx)  # filters take frequencies in order
        factors = np.empty((rows, columns))
        factors[:, order] = weighting.image_filter(
            tilt, fx[order].astype(np.float32)[None], fy.astype(np.float32)[:, None], seen
        )
        spectrum = np.fft.fft2(images[tilt].astype(float), (rows, columns)) * band_limit((k**2).sum(-1)) * factors
        along_x = spectrum @ np.exp(2j * np.pi * np.outer(fx, where[:, 0]))
        exact += (along_x * np.exp(2j * np.pi * np.outer(fy, where[:, 1]))).sum(0).real / (rows * columns)
    volume = reconstruct(
        geometry.series(images), region, weighting, ctf=False, keep_mean=True, n_threads=1
    ).data  # fmt: skip
    assert relative_error(volume[tuple(points.T)], exact) < 0.02


# -- refusals --------------------------------------------------------------------------------------------------------


def test_two_tilt_axes_need_the_exact_filter() -> None:
    one = views((-40.0, 0.0, 40.0)).matrices
    # the second axis lies along x of the specimen
    other = one @ np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    seen = TiltViews(np.concatenate([one, other]), 24.0, 6.0)
    for weighting in (Ramp(), SirtLike()):
        with pytest.raises(UsageError, match=r"one tilt axis.*exact"):
            weighting.image_filter(0, FX, FY, seen)
    assert np.isfinite(Exact().image_filter(0, FX, FY, seen)).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ramp:cutoff=0", "cutoff=0"),
        ("ramp:cutoff=0.7", "cutoff=0.7"),
        ("ramp:sigma=-1", "sigma=-1"),
        ("sirtlike:hamming=0.5", "hamming=0.5"),
        ("ramp:hamming=0,cutoff=0.3", "exclude each other"),
        ("sirtlike:n_iterations=0", "n_iterations=0"),
        ("sirtlike:n_iterations=nan", "n_iterations=nan"),
        ("exact:thickness=0", "thickness 0"),
        ("exact:snr=-1", "SNR -1"),
    ],
)
def test_senseless_values_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_text(text)
