"""Filters of finished volumes: the formulas of Warp and IsoNet, and the same result in the images, on planes, in 3D."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.errors import UsageError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.weighting import NoWeighting, PreWeight, Weighting, Wiener
from fourierrecon.weighting.filtered import Deconvolution, Filtered, RadialFilter

VOXEL = 10.0


def published(defocus: float, strength: float, falloff: float, *, flipped: bool) -> NDArray[np.float64]:
    """Give the deconvolution filter as IsoNet's documentation has it, from 0 to Nyquist's frequency."""
    part = np.linspace(0, 1, 2048)
    high = 1 - np.cos(np.minimum(1, part / 0.02) * np.pi)
    snr = np.exp(-part * falloff * 100 / VOXEL) * 10 ** (3 * strength) * high + 1e-30
    wavelength = 12.2643247 / np.sqrt(3e5 * (1 + 3e5 * 0.978466e-6))
    k2 = (part / (2 * VOXEL)) ** 2
    w = np.pi / 2 * (wavelength**3 * 2.7e7 * k2**2 - 2 * wavelength * defocus * k2)
    ctf = np.cos(w) * 0.07 - np.sqrt(1 - 0.07**2) * np.sin(w)
    ctf = np.abs(ctf) if flipped else ctf
    return np.asarray(ctf / (ctf * ctf + 1 / snr))


@pytest.mark.parametrize(("mode", "flipped"), [("none", False), ("phase-flip", True)])
def test_deconvolution_is_that_of_isonet(mode: str, flipped: bool) -> None:
    by = RadialFilter(VOXEL, deconvolution=Deconvolution(0.8, 0.7), ctf_mode=mode, defocus=31000.0)
    frequency = np.linspace(0, 1 / (2 * VOXEL), 2048)
    np.testing.assert_allclose(by(frequency), published(31000.0, 0.8, 0.7, flipped=flipped), rtol=1e-6, atol=1e-9)


def test_lowpass() -> None:
    by = RadialFilter(VOXEL, lowpass=50.0)
    np.testing.assert_allclose(by([0.0, 0.017, 0.02, 0.0221, 0.05]), [1, 1, 0.5, 0, 0], atol=1e-12)
    with pytest.raises(UsageError, match="lowpass=-1"):
        RadialFilter(VOXEL, lowpass=-1.0)
    with pytest.raises(UsageError, match="deconvolve_strength=9"):
        Deconvolution(9.0)


@pytest.mark.parametrize("weighting", [Wiener(snr=5.0), PreWeight(snr=5.0), NoWeighting()])
def test_filtered_volumes(weighting: Weighting) -> None:
    n, tilts = 48, np.linspace(-60, 60, 25)
    images = np.random.default_rng(0).normal(size=(25, n, n)).astype(np.float32)
    images[:, :6] = images[:, -6:] = images[:, :, :6] = images[:, :, -6:] = 0  # nothing at the borders
    matrices = projection_matrices((n, n), (n // 2, n // 2, n // 2), tilts)
    series = TiltSeries(images, matrices, VOXEL, size=(n, n, n))
    by = RadialFilter(VOXEL, lowpass=50.0)
    plain = reconstruct(series, Region.of(series), weighting, ctf=False).data
    found = reconstruct(series, Region.of(series), Filtered(weighting, by), ctf=False).data
    k = np.fft.fftfreq(n) / VOXEL
    factors = by(np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2))
    wanted = np.fft.ifftn(np.fft.fftn(plain) * factors).real
    inside = (slice(12, -12),) * 3
    difference = found[inside] - wanted[inside]
    assert difference.std() < 0.12 * wanted[inside].std()
    assert np.corrcoef(found[inside].ravel(), wanted[inside].ravel())[0, 1] > 0.993
    assert "low-pass 50 Å" in Filtered(weighting, by).words
