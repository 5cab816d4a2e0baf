"""Fourier shell correlation in 1/Å: masks, wedge, figures, and half maps against the truth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import Region, reconstruct
from fourierrecon.errors import UsageError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.quality.fsc import HALF_MAPS, REFERENCE, ShellCorrelation, shell_correlation
from fourierrecon.quality.masks import soft_box, soften
from fourierrecon.quality.spectrum import fourier_filter
from fourierrecon.quality.wedge import tilt_range_mask, wedge_mask
from fourierrecon.simulation.microscope import TILT_ANGLES, realistic_ctf
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import simulate
from fourierrecon.weighting import Wiener

Shape = tuple[int, int, int]


def noise(shape: Shape, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def test_half_maps_predict_the_correlation_with_the_truth() -> None:
    size, pixel_size = (96, 104, 48), 10.0
    optics = realistic_ctf(len(TILT_ANGLES), 1)
    simulation = simulate(
        cell_like_specimen(size, 3, pixel_size=pixel_size), size, ctf=optics, snr=0.3, seed=3, pixel_size=pixel_size
    )
    series = simulation.series
    region = Region.of(series)
    full, even, odd = (
        reconstruct(replace(series, images=images), region, Wiener(10.0), n_threads=2).data
        for images in (series.images, simulation.even, simulation.odd)
    )
    box, measured = soft_box(region.shape, (8, 16, 16)), wedge_mask(region.shape, series.projections)
    half, found = (
        shell_correlation(a, b, pixel_size, mask=box, measured=measured)
        for a, b in ((even, odd), (full, simulation.truth_volume(region).data))
    )
    predicted = half.against_truth()
    # where there is signal the curves agree to a tenth, and so do the resolutions that they give
    signal = predicted.correlation > REFERENCE
    assert signal.sum() > 15
    np.testing.assert_allclose(found.correlation[signal], predicted.correlation[signal], rtol=0.1)
    assert predicted.resolution(REFERENCE) == pytest.approx(found.resolution(REFERENCE), rel=0.1)
    assert 25 < found.resolution(REFERENCE) < 50
    assert half.resolution(HALF_MAPS) == pytest.approx(predicted.resolution(REFERENCE), rel=0.01)
    # the half maps themselves are worse than what they predict of the whole
    assert half.of_full().resolution(REFERENCE) < half.resolution(REFERENCE) * 0.99


@pytest.mark.parametrize("shape", [(20, 33, 47), (31, 64, 40), (24, 24, 24)])
@pytest.mark.parametrize("voxel_size", [1.7, 13.0])
def test_a_filter_shows_at_its_frequency_in_any_box(shape: Shape, voxel_size: float) -> None:
    a, cut = noise(shape, 0), 0.3
    b = fourier_filter(a, max_frequency=cut) + noise(shape, 1) - fourier_filter(noise(shape, 1), max_frequency=cut)
    found = shell_correlation(a, b, voxel_size)
    assert found.limit == pytest.approx(0.5 / voxel_size)
    step = 2 * found.frequency[0]
    for threshold in (HALF_MAPS, REFERENCE):
        assert abs(1 / found.resolution(threshold) - cut / voxel_size) < step


def test_the_resolution_is_interpolated_between_shells() -> None:
    frequency = np.array([0.005, 0.015, 0.025, 0.035, 0.045])
    curve = ShellCorrelation(frequency, np.array([0.1, 0.9, 0.6, 0.2, 0.9]))
    assert curve.resolution(0.5) == pytest.approx(1 / 0.0275)  # not the first shell, not the last
    assert curve.resolution(0.05) == pytest.approx(1 / 0.05)  # never below: all that the voxels hold
    assert curve.resolution(0.95) == math.inf
    holes = ShellCorrelation(frequency, np.array([np.nan, 0.9, np.nan, 0.1, np.nan]))
    assert holes.resolution(0.5) == pytest.approx(1 / 0.025)


def test_estimates_from_half_maps() -> None:
    half = ShellCorrelation(np.array([0.01, 0.03, 0.05]), np.array([1.0, HALF_MAPS, -0.1]))
    np.testing.assert_allclose(half.of_full().correlation, [1, 0.25, 0], atol=1e-3)
    np.testing.assert_allclose(half.against_truth().correlation, [1, REFERENCE, 0], atol=1e-3)


@pytest.mark.parametrize("shape", [(32, 40, 36), (21, 45, 32)])
def test_noise_outside_of_the_wedge_does_not_count(shape: Shape) -> None:
    measured = tilt_range_mask(shape, (-60, 60))
    signal = fourier_filter(noise(shape, 0), measured)
    a, b = (signal + fourier_filter(noise(shape, seed), ~measured) for seed in (1, 2))
    blind, aware = (shell_correlation(a, b, 10.0, measured=m) for m in (None, measured))
    np.testing.assert_allclose(aware.correlation, 1, atol=1e-3)
    assert (blind.correlation[6:] < 0.9).all()


@pytest.mark.parametrize("shape", [(24, 30, 27), (15, 22, 40)])
def test_the_range_gives_the_wedge_of_its_series(shape: Shape) -> None:
    tilts = np.arange(-57, 49, 3.0)
    matrices = projection_matrices((30, 31), (1, 2, 3), tilts, 85.0)
    np.testing.assert_array_equal(tilt_range_mask(shape, (-57, 48)), wedge_mask(shape, matrices))
    # a tilt axis along x: the same wedge with x and y swapped
    across = tilt_range_mask((24, 24, 24), (-57, 48), 90.0)
    upright = tilt_range_mask((24, 24, 24), (-57, 48))
    np.testing.assert_array_equal(across[:, :12, :12], upright[:, :12, :12].transpose(0, 2, 1))
    assert (across != upright).any()


def test_a_mask_leaves_out_what_is_outside() -> None:
    shape = (22, 30, 27)
    inside = np.zeros(shape, bool)
    inside[6:16, 8:22, 7:20] = True
    soft = soften(inside, 3)
    signal = 5 + noise(shape, 0)
    a, b = (np.where(soft > 0, signal, 20 * noise(shape, seed)) for seed in (1, 2))
    np.testing.assert_allclose(shell_correlation(a, b, 4.0, mask=soft).correlation, 1, atol=1e-3)
    assert shell_correlation(a, b, 4.0).correlation[3:].max() < 0.5


def test_masks_are_soft() -> None:
    box = soft_box((9, 12, 40), (0, 3, 10))
    assert box.shape == (9, 12, 40)
    np.testing.assert_array_equal(box, box[::-1, ::-1, ::-1])
    assert box[:, 6, 20].min() == 1  # no falloff along z
    assert (np.diff(box[4, 6, :11]) > 0).all()
    assert 0 < box[4, 6, 0] < 0.02
    point = np.zeros((11, 12, 13))
    point[5, 6, 6] = 1
    soft = soften(point, 3)
    np.testing.assert_allclose(soft[5, 6, 6:11], [1, 0.854, 0.5, 0.146, 0], atol=1e-3)


def test_what_makes_no_sense_is_refused() -> None:
    a = noise((8, 9, 10), 0)
    with pytest.raises(UsageError, match="voxel size"):
        shell_correlation(a, a, 0)
    with pytest.raises(UsageError, match="the mask has"):
        shell_correlation(a, a, 1, mask=a[1:])
    with pytest.raises(UsageError, match="tilt range"):
        tilt_range_mask((8, 8, 8), (60, -60))
    with pytest.raises(UsageError, match="empty"):
        soften(np.zeros((3, 3, 3)), 2)
