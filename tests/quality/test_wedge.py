"""Fourier shell correlation, the wedge, and correlation within it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fourierrecon.errors import UsageError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.quality.fsc import fourier_shell_correlation
from fourierrecon.quality.spectrum import fourier_filter
from fourierrecon.quality.wedge import wedge_correlation, wedge_mask

Shape = tuple[int, int, int]
SHAPES: list[Shape] = [(16, 16, 16), (15, 22, 18), (9, 20, 31), (32, 7, 13)]
TILTS = np.arange(-60, 61, 3.0)


def noise(shape: Shape, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_shells_agree_with_the_whole_transform(shape: Shape) -> None:
    a, b = noise(shape, 0), noise(shape, 1)
    b += a
    frequency, found = fourier_shell_correlation(a, b, 6)
    fa, fb = np.fft.fftn(a - a.mean()), np.fft.fftn(b - b.mean())
    radius = np.sqrt(sum(f**2 for f in np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")))
    for k in range(6):
        shell = (radius >= k / 12) & (radius < (k + 1) / 12)
        power = np.sqrt((np.abs(fa[shell]) ** 2).sum() * (np.abs(fb[shell]) ** 2).sum())
        expected = (fa[shell] * fb[shell].conj()).sum().real / power if power > 1e-6 else np.nan
        assert found[k] == pytest.approx(expected, abs=1e-5, nan_ok=True)
    np.testing.assert_allclose(frequency, (np.arange(6) + 0.5) / 12)


@settings(deadline=None, max_examples=25)
@given(shape=st.tuples(*[st.integers(1, 14)] * 3), scale=st.floats(0.1, 100))
def test_equal_volumes_correlate_fully(shape: Shape, scale: float) -> None:
    a = noise(shape, 3)
    _, up = fourier_shell_correlation(a, scale * a + 5)
    _, down = fourier_shell_correlation(a, -a)
    if np.isfinite(up).any():
        np.testing.assert_allclose(up[np.isfinite(up)], 1, atol=2e-4)
        np.testing.assert_allclose(down[np.isfinite(down)], -1, atol=2e-4)


def test_independent_noise_does_not_correlate() -> None:
    _, found = fourier_shell_correlation(noise((40, 44, 38), 0), noise((40, 44, 38), 1))
    assert len(found) == 19
    assert np.abs(found[3:]).max() < 0.1


def test_a_shift_lowers_high_frequencies() -> None:
    a = noise((32, 32, 32), 0)
    _, found = fourier_shell_correlation(a, np.roll(a, 1, 2), 16)
    # the mean of cos(2 pi k n_x) over a shell is sinc(2 k)
    frequency = (np.arange(16) + 0.5) / 32
    np.testing.assert_allclose(found[2:], np.sinc(2 * frequency[2:]), atol=0.08)


def test_masks_in_real_and_fourier_space() -> None:
    shape = (20, 24, 18)
    a, b = noise(shape, 0), noise(shape, 1)
    ball = np.zeros(shape, np.float32)
    ball[5:15, 6:18, 4:14] = 1
    mixed = np.where(ball > 0, a, b)
    _, inside = fourier_shell_correlation(a, mixed, 5, mask=ball)
    _, outside = fourier_shell_correlation(a, mixed, 5)
    assert (inside > 0.98).all()
    assert outside[-1] < 0.6
    low = np.zeros((20, 24, 10), bool)
    low[:, :, 0] = True
    planes = fourier_filter(a, low)
    np.testing.assert_allclose(planes, np.broadcast_to(planes.mean(2, keepdims=True), shape), atol=1e-5)
    _, same = fourier_shell_correlation(a, planes, 5, fourier_mask=low)
    np.testing.assert_allclose(same, 1, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("axis", "x_tilt"), [(0.0, 0.0), (85.3, 4.0), (-130.0, -12.0)])
def test_wedge_holds_the_central_slices_and_not_the_beam(shape: Shape, axis: float, x_tilt: float) -> None:
    matrices = projection_matrices((30, 31), (1, 2, 3), TILTS, axis, x_tilt)
    mask = wedge_mask(shape, matrices)
    assert mask.shape == (shape[0], shape[1], shape[2] // 2 + 1)
    kz, ky, kx = np.meshgrid(
        np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), np.fft.rfftfreq(shape[2]), indexing="ij"
    )
    k = np.stack([kx, ky, kz], -1)
    beams = np.cross(matrices[:, 0, :3], matrices[:, 1, :3])
    distance = k @ beams.T
    assert mask[(np.abs(distance) <= 0.99 / shape[0]).any(-1)].all()
    assert mask[0, 0, 0]
    # in the frame of the tilt axis: nothing far outside of the tilts' range
    world = k @ (beams[20] / np.linalg.norm(beams[20]))
    across = np.linalg.norm(k - world[..., None] * beams[20], axis=-1)
    missing = np.abs(world) > across * np.tan(np.radians(60)) + 2.5 / shape[0]
    assert not mask[missing].any()
    if shape[0] > 10:
        assert missing.any()


def test_wedge_is_symmetric_under_the_order_and_the_side_of_the_tilts() -> None:
    matrices = projection_matrices((30, 31), (1, 2, 3), TILTS, 20.0)
    mask = wedge_mask((15, 18, 16), matrices)
    shuffled = np.random.default_rng(0).permutation(len(TILTS))
    np.testing.assert_array_equal(mask, wedge_mask((15, 18, 16), matrices[shuffled]))
    mirrored = matrices.copy()
    mirrored[::2, 1] *= -1  # images upside down: the beam's sign changes, the slices do not
    np.testing.assert_array_equal(mask, wedge_mask((15, 18, 16), mirrored))


def test_wedge_has_the_fraction_of_its_angle() -> None:
    mask = wedge_mask((64, 64, 64), projection_matrices((9, 9), (0, 0, 0), TILTS), thickness=1e6)
    kz, _, kx = np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64), np.fft.rfftfreq(64), indexing="ij")
    shell = (kx > 0) & (kz**2 + kx**2 < 0.24)
    assert mask[shell].mean() == pytest.approx(120 / 180, abs=0.02)


@pytest.mark.parametrize("shape", SHAPES)
def test_correlation_sees_only_the_wedge(shape: Shape) -> None:
    mask = wedge_mask(shape, projection_matrices((9, 9), (0, 0, 0), TILTS))
    truth = noise(shape, 0)
    measured = fourier_filter(truth, mask)
    elsewhere = fourier_filter(noise(shape, 1), ~mask)
    assert wedge_correlation(3 * measured + elsewhere + 7, truth, mask) == pytest.approx(1, abs=1e-4)
    assert wedge_correlation(-measured, truth, mask) == pytest.approx(-1, abs=1e-4)
    fast = fourier_filter(noise(shape, 2)) - fourier_filter(noise(shape, 2), max_frequency=0.31)
    assert wedge_correlation(truth + 5 * fast, truth, mask, 0.3) == pytest.approx(1, abs=1e-4)
    assert wedge_correlation(truth + 5 * fast, truth, mask, 0.6) < 0.9


def test_correlation_in_a_part_of_the_volume() -> None:
    shape = (16, 20, 18)
    a, b = noise(shape, 0), noise(shape, 1)
    mixed = b.copy()
    mixed[4:-4, 5:-5, 6:-6] = a[4:-4, 5:-5, 6:-6]
    inner = np.zeros(shape)
    inner[4:-4, 5:-5, 6:-6] = 1
    assert wedge_correlation(mixed, a, max_frequency=1, margin=(4, 5, 6)) == pytest.approx(1, abs=1e-3)
    assert wedge_correlation(mixed, a, max_frequency=1, real_mask=inner) == pytest.approx(1, abs=1e-3)
    assert abs(wedge_correlation(mixed, a, max_frequency=1)) < 0.5
    assert np.isnan(wedge_correlation(np.zeros(shape), a))
    assert np.isnan(wedge_correlation(a, a, real_mask=np.zeros(shape)))


def test_wrong_arguments_are_refused() -> None:
    a = noise((8, 9, 10), 0)
    with pytest.raises(UsageError, match="cannot be compared"):
        fourier_shell_correlation(a, a[1:])
    with pytest.raises(UsageError, match="shape \\(z, y, x\\)"):
        fourier_shell_correlation(a[0], a[0])
    with pytest.raises(UsageError, match="at least 1"):
        fourier_shell_correlation(a, a, 0)
    with pytest.raises(UsageError, match="Fourier mask"):
        wedge_correlation(a, a, np.ones((8, 9, 10), bool))
    with pytest.raises(UsageError, match="leaves nothing"):
        wedge_correlation(a, a, margin=4)
