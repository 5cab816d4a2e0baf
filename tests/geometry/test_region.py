"""Sizes of regions in whole pixels, as sets of RELION hold them."""

from __future__ import annotations

import numpy as np
import pytest

from fourierrecon import Region, TiltSeries


@pytest.mark.parametrize("binning", [1.0, 2.0, 3.0, 3.5, 7.3])
def test_a_whole_size_makes_the_same_voxels(binning: float) -> None:
    series = TiltSeries.from_angles(np.zeros((3, 90, 80)), [-20, 0, 20], pixel_size=5.0)
    rng = np.random.default_rng(3)
    for width, height, depth in rng.uniform(20, 90, (200, 3)):
        region = Region.of(series, binning=binning, size=(width, height, depth))
        whole = region.whole_size
        assert all(side.is_integer() for side in whole)
        assert np.abs(np.subtract(whole, (width, height, depth))).max() < 1
        assert Region.of(series, binning=binning, size=whole).shape == region.shape
