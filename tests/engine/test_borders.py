"""No comb of black and white along the borders of a tomogram: images are continued without drawing their noise out."""

from __future__ import annotations

import numpy as np
import pytest

from fourierrecon import TiltSeries, reconstruct
from fourierrecon.geometry.projection import projection_matrices

TILTS = np.linspace(-60, 60, 25)
SIZE = (96, 96, 24)


def series_of(images: np.ndarray) -> TiltSeries:
    # the tilt axis lies obliquely, so that the images end inside the tomogram
    matrices = projection_matrices((96, 96), (48.0, 48.0, 12.0), TILTS, tilt_axis_angle=83.0)
    return TiltSeries(images, matrices, pixel_size=10.0, size=SIZE)


@pytest.mark.parametrize("binning", [1.0, 2.0])
@pytest.mark.parametrize("weighting", ["wiener:snr=10", "preweight:snr=10"])
def test_the_rim_has_no_more_noise_than_the_inside(weighting: str, binning: float) -> None:
    noise = np.random.default_rng(3).normal(size=(len(TILTS), 96, 96)).astype(np.float32)
    volume = reconstruct(series_of(noise), binning=binning, weighting=weighting, ctf=False).data
    inside = volume[:, 12:-12, 12:-12].std()
    for rim in (volume[:, :4], volume[:, -4:], volume[:, :, :4], volume[:, :, -4:]):
        assert 0.5 < rim.std() / inside < 1.1


def test_a_uniform_specimen_is_uniform_up_to_the_borders() -> None:
    level = np.full((len(TILTS), 96, 96), 5.0, np.float32)
    volume = reconstruct(series_of(level), weighting="none", ctf=False, keep_mean=True).data
    assert np.abs(volume[:, 8:-8] - 5.0).max() < 0.05
