"""The hand of the defocus, found in images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fourierrecon import CtfParameters, TiltSeries
from fourierrecon.errors import DataError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.quality.defocus_hand import check_hand
from fourierrecon.simulation.depth import project_with_ctf
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.microscope import ctf_margin
from fourierrecon.tomogram.hand import find_hand

PIXEL = 3.0


def slab(hand: int, size: tuple[int, int, int], n: int, tilts: tuple[float, ...], noise: float = 0.0) -> TiltSeries:
    """Gaussians in a slab, imaged exactly."""
    rng = np.random.default_rng(1)
    width, height, depth = size
    low, high = np.array((-0.2 * width, -0.2 * height, 0)), np.array((1.2 * width, 1.2 * height, depth))
    specimen = Gaussians(rng.uniform(low, high, (n, 3)), rng.uniform(0.5, 0.8, n), rng.normal(size=n))
    ctf = CtfParameters.of(len(tilts), voltage=300, spherical_aberration=2.7, amplitude_contrast=0.07, defocus_u=15000)
    centre = (width / 2, height / 2, depth / 2)
    matrices = projection_matrices((height, width), centre, tilts, 3.0)
    images = project_with_ctf(specimen, matrices, (height, width), ctf, PIXEL, hand=hand, margin=ctf_margin(ctf, PIXEL))
    images += rng.normal(0, noise * images.std() + 1e-9, images.shape).astype(np.float32)
    floats = (float(width), float(height), float(depth))
    return TiltSeries(images, matrices, PIXEL, ctf=ctf, hand=hand, size=floats, rotation_centre=centre)


@pytest.mark.parametrize("hand", [1, -1])
def test_rings_tell_the_hand(hand: int) -> None:
    series = slab(hand, (400, 160, 40), 3000, (-60, -50, -40, 40, 50, 60), noise=1.0)
    found = check_hand(series, n_threads=1)
    assert found.hand == hand
    assert "as the source says" in found.words(series.hand)
    assert f"but the source says {-hand:+d}" in found.words(-hand)
    # the images stay as they are whatever the source says
    assert find_hand(replace(series, hand=-hand), halves=False).hand == hand


def test_noise_and_a_constant_ctf_tell_nothing() -> None:
    series = slab(1, (400, 160, 40), 300, (-60, -50, 50, 60))
    noise = np.random.default_rng(0).normal(size=series.images.shape)
    assert check_hand(replace(series, images=noise)).hand is None
    with pytest.raises(DataError, match="no CTF"):
        check_hand(replace(series, ctf=None))
    with pytest.raises(DataError, match="too coarse"):
        check_hand(replace(series, pixel_size=12.0))


@pytest.mark.parametrize("hand", [1, -1])
def test_half_volumes_tell_the_hand_where_the_field_is_narrow(hand: int) -> None:
    """In a specimen that is deeper than it is wide the depth does not go with the place in the image."""
    series = slab(hand, (120, 64, 160), 1500, tuple(np.arange(-60.0, 61, 3)))
    found = find_hand(replace(series, hand=None), n_threads=1)
    assert found.rings is None
    assert found.hand == hand
