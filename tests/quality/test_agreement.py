"""Images against reprojections of their tomogram: shifts, wrong angles, blank images; and the projector."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import Region, TiltSeries, Volume, reconstruct
from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.io import read_tilt_series
from fourierrecon.quality.agreement import _smooth, outliers, tilt_agreement
from fourierrecon.quality.reprojection import coarse_geometry, covered, project, reproject, seen_by
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.microscope import TILT_ANGLES, realistic_ctf
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import Simulation, simulate
from fourierrecon.tilt_series.exposures import critical_exposure
from fourierrecon.transfer import Correction
from fourierrecon.weighting import NoWeighting, Weighting, Wiener
from tests.helpers.real_data import real_data

SIZE = (160, 176, 56)
PIXEL = 10.0


@cache
def cell(axis: float, size: tuple[int, int, int] = (120, 136, 48), snr: float = 0.3, seed: int = 3) -> Simulation:
    return simulate(
        cell_like_specimen(size, seed, pixel_size=PIXEL, beyond=60),
        size,
        pixel_size=PIXEL,
        tilt_axis_angle=axis,
        ctf=realistic_ctf(len(TILT_ANGLES), 1),
        snr=snr,
        seed=seed,
    )


def tomogram(series: TiltSeries, binning: float, weighting: Weighting | None = None) -> Volume:
    return reconstruct(series, Region.of(series, binning=binning), weighting, n_threads=2)


@pytest.mark.parametrize(
    ("axis", "binning", "weighting"), [(85.3, 2.0, Wiener()), (-3.0, 2.5, Wiener()), (85.3, 2.0, NoWeighting())]
)
def test_the_images_that_are_wrong_are_named_and_no_others(axis: float, binning: float, weighting: Weighting) -> None:
    simulation = cell(axis, SIZE)
    series = simulation.series
    images = np.array(series.images)
    images[12] = np.roll(images[12], 12, axis=1)
    images[30] = 100 + np.random.default_rng(0).normal(0, 0.01, images[30].shape)
    angles = series.tilt_angles.copy()
    angles[20] += 30
    centre = series.rotation_centre
    assert centre is not None
    matrices = projection_matrices(
        series.image_shape, centre, angles, simulation.tilt_axis_angle, simulation.x_tilt, simulation.shifts
    )
    spoilt = replace(series, images=images, projections=matrices, tilt_angles=angles)
    rows = tilt_agreement(spoilt, tomogram(spoilt, binning, weighting), n_threads=2)
    assert {row.number: row.flag for row in outliers(rows)} == {13: "misaligned", 21: "wrong angle", 31: "blank"}
    shifted, turned, blank = rows[12], rows[20], rows[30]
    assert shifted.shift == pytest.approx((120, 0), abs=15)
    assert turned.best_angle == pytest.approx(series.tilt_angles[20], abs=5)
    assert np.isnan(blank.correlation)
    good = [row for row in rows if not row.flag]
    assert [row.number for row in rows] == list(range(1, 42))
    assert max(np.hypot(*row.shift) for row in good) < 1.5 * PIXEL
    assert min(row.correlation for row in good) > max(0.3, turned.correlation - 0.05)


def test_nothing_is_named_in_a_good_series_and_the_region_does_not_matter() -> None:
    series = cell(85.3).series
    region = Region.of(series, binning=2, origin=(20, 10, 4), size=(90, 112, 40))
    for volume in (tomogram(series, 2), reconstruct(series, region, n_threads=2)):
        rows = tilt_agreement(series, volume, n_threads=2)
        assert outliers(rows) == []
        assert max(np.hypot(*row.shift) for row in rows) < 1.5 * PIXEL
        assert np.median(np.abs([row.best_angle - row.tilt_angle for row in rows])) < 2


def test_an_image_of_noise_is_bad() -> None:
    series = cell(-3.0).series
    images = np.array(series.images)
    images[25] = np.random.default_rng(1).normal(images[25].mean(), images[25].std(), images[25].shape)
    spoilt = replace(series, images=images)
    named = outliers(tilt_agreement(spoilt, tomogram(spoilt, 2), n_threads=2))
    assert [row.number for row in named] == [26]
    assert named[0].flag in ("bad", "misaligned")


def test_a_fall_towards_high_tilts_is_smooth_and_a_step_is_not() -> None:
    angles = np.arange(-60.0, 61, 3)
    values = 0.8 - 0.6 * (np.abs(angles) / 60) ** 4
    low = np.abs(angles) > 45
    assert _smooth(angles, values, low).all()
    # two blocked images at the end, and one in the middle
    stepped = values.copy()
    stepped[[0, 1, 20]] = 0.1, 0.08, 0.2
    low[20] = True
    assert list(np.flatnonzero(~_smooth(angles, stepped, low))) == [0, 1, 20]
    stepped[[0, 1, 2, 3]] = -0.2, -0.25, -0.2, -0.22
    assert list(np.flatnonzero(~_smooth(angles, stepped, low))) == [0, 1, 2, 3, 20]


def test_images_without_any_grey_values_are_blank() -> None:
    series = cell(85.3).series
    images = np.array(series.images)
    images[3], images[7, 5, 6] = 0, np.nan
    rows = tilt_agreement(replace(series, images=images), tomogram(series, 2), n_threads=2)
    assert {row.number: row.flag for row in outliers(rows)} == {4: "blank", 8: "blank"}


@pytest.mark.slow
def test_the_order_of_the_images_does_not_matter() -> None:
    series = cell(85.3).series
    order = np.random.default_rng(0).permutation(series.n_tilts)
    volume = tomogram(series, 2)
    straight, mixed = (tilt_agreement(s, volume, n_threads=2) for s in (series, series.select(list(order))))
    for row in mixed:
        same = straight[order[row.number - 1]]
        assert row.tilt_angle == same.tilt_angle
        assert row.correlation == pytest.approx(same.correlation, abs=1e-4)
        assert row.shift == pytest.approx(same.shift, abs=0.1)


def test_the_real_cell() -> None:
    series = read_tilt_series(real_data("mycoplasma/tomograms.star"))
    images = np.stack([series.images[i] for i in range(series.n_tilts)]).astype(np.float32)
    images[15] = np.roll(images[15], -12, axis=0)
    spoilt = replace(series, images=images)
    volume = reconstruct(spoilt, Region.of(spoilt, binning=6), n_threads=2)
    rows = tilt_agreement(spoilt, volume, n_threads=2)
    named = {row.number: row for row in outliers(rows)}
    assert named[16].flag == "misaligned"
    assert named[16].shift == pytest.approx((0, -120), abs=30)
    # the last image of the highest tilt is poor; all others agree
    assert set(named) <= {1, 16, 41}
    good = [row for row in rows if abs(row.tilt_angle) < 50 and row.number != 16]
    assert max(np.hypot(*row.shift) for row in good) < 30
    assert min(row.correlation for row in good) > 0.4


@pytest.mark.parametrize("shape", [(33, 41, 36), (28, 35, 52)])
@pytest.mark.parametrize("axis", [0.0, 85.3, -130.0])
def test_reprojections_are_projections(shape: tuple[int, int, int], axis: float) -> None:
    rng = np.random.default_rng(0)
    size = np.array(shape[::-1])
    points = Gaussians(rng.uniform(0.4, 0.6, (12, 3)) * size, np.asarray(2.0), rng.uniform(0.5, 1, 12))
    centre = tuple(float(n // 2) for n in size)
    matrices = projection_matrices((70, 64), (centre[0], centre[1], centre[2]), [-55, 0, 20, 60], axis, 3.0)
    volume = points.density(Region((0, 0, 0), shape))
    exact = points.project(matrices, (70, 64))
    for found, expected in zip(reproject(volume, matrices[:, :2], (70, 64)), exact, strict=True):
        assert np.abs(found - expected).max() < 0.002 * expected.max()
        assert found.sum() == pytest.approx(expected.sum(), rel=1e-3)


def test_covered_pixels_see_the_middle_of_the_depth() -> None:
    shape = (20, 30, 40)
    (flat, steep, along) = projection_matrices((30, 40), (20, 15, 10), [0, 60, 90])[:, :2]
    assert covered(shape, flat, (30, 40)).all()
    rows, columns = covered(shape, steep, (30, 40)).nonzero()
    assert set(rows) == set(range(30))
    # width times the cosine, less the breadth of the middle half of the depth
    assert len(set(columns)) == pytest.approx(40 * 0.5 - 10 * np.sin(np.radians(60)), abs=1.5)
    assert not covered(shape, along, (30, 40)).any()


def test_what_makes_no_sense_is_refused() -> None:
    series = cell(85.3).series
    flat = Volume(np.zeros((8, 40, 40), np.float32), 0.0, (0, 0, 0))
    with pytest.raises(UsageError, match="voxel size"):
        tilt_agreement(series, flat)
    with pytest.raises(UsageError, match="finest period"):
        tilt_agreement(series, replace(flat, voxel_size=20.0), finest=30.0)
    with pytest.raises(UsageError, match="too few"):
        tilt_agreement(series, replace(flat, voxel_size=60.0, data=flat.data[:, :6]))
    rows = tilt_agreement(series, replace(flat, voxel_size=40.0), n_threads=1)
    assert {row.flag for row in rows} == {"unseen"}


@pytest.mark.slow
def test_a_local_alignment_is_part_of_the_reprojection() -> None:
    from fourierrecon.geometry.displacement import FieldOf

    size = (96, 96, 32)

    def bent(tilt: int, points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = ((points[:, :2] - 48) / 48).T
        return np.stack([6 * x * x, -6 * y * y], 1)

    local = FieldOf(bent)
    tilts = list(range(-60, 61, 8))
    simulation = simulate(cell_like_specimen(size), size, tilt_angles=tilts, snr=None, local=local, n_threads=1)
    volume = reconstruct(simulation.series, ctf=False)
    with_field = tilt_agreement(simulation.series, volume)
    without = tilt_agreement(replace(simulation.series, local=None), volume)
    better = [a.correlation - b.correlation for a, b in zip(with_field, without, strict=True)]
    assert np.median(better) > 0.02
    assert max(np.hypot(*row.shift) for row in with_field) < 0.7 * max(np.hypot(*row.shift) for row in without)


def defocused(snr: float | None) -> Simulation:
    """Simulate 6 µm of defocus: the first zero of the CTF lies at 34 Å."""
    size, tilts = (120, 136, 48), list(range(-60, 61, 6))
    ctf = realistic_ctf(len(tilts), 1)
    ctf = replace(ctf, defocus_u=2 * ctf.defocus_u, defocus_v=2 * ctf.defocus_v)
    specimen = cell_like_specimen(size, 3, pixel_size=PIXEL)
    return simulate(
        specimen, size, pixel_size=PIXEL, tilt_angles=tilts, tilt_axis_angle=85.3, ctf=ctf, snr=snr, seed=3
    )  # fmt: skip


def by_shell(image: NDArray[np.float32], other: NDArray[np.float32], n: int) -> tuple[NDArray[np.float64], ...]:
    """Give correlation and ratio of amplitudes of two images in shells up to Nyquist's frequency."""
    first, second = (np.fft.rfft2(each - each.mean()) for each in (image, other))
    radius = np.hypot(np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1]))
    shell = (2 * n * radius).astype(int).ravel()
    powers = [np.bincount(shell, np.abs(each).ravel() ** 2)[:n] for each in (first, second)]
    both = np.bincount(shell, (first * second.conj()).real.ravel())[:n]
    return both / np.sqrt(powers[0] * powers[1]), np.sqrt(powers[1] / powers[0])


def test_reprojections_are_the_images_at_each_frequency() -> None:
    simulation = defocused(None)
    series = simulation.series
    truth = simulation.truth_volume(Region.of(series)).data
    geometry = coarse_geometry(series, 1, series.image_shape)
    drawn = project(geometry, Region.of(series), truth, seen_by(series, None))
    plain = project(geometry, Region.of(series), truth, seen_by(series, Correction(ctf_mode="none")))
    for tilt in (4, 10):
        image = np.asarray(series.images[tilt])
        correlation, ratio = by_shell(image, drawn[tilt], 10)
        # 0.25 cycles per px, 40 Å, and beyond it the phantom holds little
        assert correlation[:5].min() > 0.995
        np.testing.assert_allclose(ratio[:5], 1, atol=0.02)
        assert by_shell(image, plain[tilt], 10)[1][:2].min() > 3


def test_with_its_ctf_a_tomogram_agrees_better_beyond_the_first_zero() -> None:
    series = defocused(0.3).series
    volume = tomogram(series, 1.0, Wiener(10.0))
    uncorrected = reconstruct(series, weighting=Wiener(10.0), ctf=False)
    without = Correction(ctf_mode="none")

    def agreement(of: Volume, correction: Correction | None) -> float:
        rows = tilt_agreement(series, of, finest=30.0, correction=correction, n_threads=2)
        return float(np.median([row.correlation for row in rows]))

    assert agreement(volume, None) > agreement(volume, without) + 0.03
    # a tomogram that shows the CTF still is not multiplied with it once more
    assert agreement(uncorrected, without) > agreement(uncorrected, None)


def test_exposure_and_scale_are_those_of_the_images() -> None:
    series = defocused(None).series
    ctf = series.ctf
    assert ctf is not None
    scale = np.linspace(0.5, 1, series.n_tilts)
    series = replace(series, ctf=replace(ctf, scale=scale), exposure=3.0 * np.arange(21.0))
    region, volume = Region.of(series), np.random.default_rng(0).normal(size=(48, 136, 120)).astype(np.float32)
    geometry = coarse_geometry(series, 1, series.image_shape)
    corrections = None, Correction(exposure="grant")
    plain, damped = (project(geometry, region, volume, seen_by(series, each)) for each in corrections)
    q = (np.arange(10) + 0.5) / 20 / PIXEL
    for tilt in (2, 18):
        expected = np.exp(-(3 * tilt + 1.5) / 2 / critical_exposure(q))
        np.testing.assert_allclose(by_shell(plain[tilt], damped[tilt], 10)[1][1:9], expected[1:9], rtol=0.03)
    unscaled = replace(geometry, ctf=ctf)
    one = project(unscaled, region, volume, seen_by(series, None))
    np.testing.assert_allclose(plain[0], 0.5 * one[0], atol=1e-4 * np.abs(one[0]).max())


@pytest.mark.parametrize("exposure", ["grant", "bfactor"])
def test_a_tomogram_corrected_for_exposure_can_be_compared(exposure: str) -> None:
    series = cell(85.3).series
    series = replace(series, exposure=3.0 * np.arange(series.n_tilts, dtype=float))
    volume = reconstruct(series, binning=2, exposure=exposure, n_threads=2)
    rows = tilt_agreement(series, volume, correction=Correction(exposure=exposure), n_threads=2)
    assert np.median([row.correlation for row in rows]) > 0.5
    assert not [row for row in rows if row.flag in ("misaligned", "wrong angle", "bad")]
    same = replace(series, exposure=np.full(series.n_tilts, 30.0))
    with pytest.raises(DataError, match="none adds any"):
        tilt_agreement(same, volume, correction=Correction(exposure=exposure))


def test_a_correction_is_no_text() -> None:
    series = cell(85.3).series
    with pytest.raises(UsageError, match=r'correction is of type str .*Correction\(ctf_mode="none"\)'):
        tilt_agreement(series, tomogram(series, 4.0), correction="none")  # type: ignore[arg-type]
