"""A grey ramp over the images: taken off on request, whatever else lies in them."""

from dataclasses import replace

import numpy as np

from fourierrecon import Settings, reconstruct
from fourierrecon.engine.grey_ramp import without_ramp
from tests.helpers.reference import Geometry


def ramp(shape: tuple[int, int], along_y: float, along_x: float) -> np.ndarray:
    y, x = ((np.arange(n) + 0.5) / n - 0.5 for n in shape)
    return (along_y * y[:, None] + along_x * x).astype(np.float32)


def test_the_plane_is_found_beside_beads_and_hot_pixels() -> None:
    rng = np.random.default_rng(5)
    flat = rng.normal(20, 1, (120, 150)).astype(np.float32)
    marked = flat.copy()
    marked[20:32, 100:112] -= 60  # a bead
    marked[rng.integers(0, 120, 4), rng.integers(0, 150, 4)] += 500
    found = without_ramp(marked + ramp(flat.shape, 4.0, -6.0))
    assert np.abs(found - marked).max() < 0.25
    assert abs(found.mean() - marked.mean()) < 1e-3


def test_what_has_no_ramp_stays() -> None:
    constant = np.full((40, 31), 3, np.float32)
    np.testing.assert_allclose(without_ramp(constant), constant, atol=1e-5)
    assert without_ramp(np.ones((1, 1), np.float32)).shape == (1, 1)


def test_a_volume_without_the_ramp() -> None:
    geometry = Geometry((-40.0, -10.0, 20.0, 50.0))
    images = np.random.default_rng(4).normal(size=(4, *geometry.image_shape)).astype(np.float32)
    series = geometry.series(images)
    size = float(images.std())
    tilted = replace(series, images=images + ramp(images.shape[1:], 4 * size, 2 * size))
    true, flattened, spoilt = (
        reconstruct(s, geometry.region, "wiener:snr=10", flatten=f, ctf=False, n_threads=1).data
        for s, f in ((series, True), (tilted, True), (tilted, False))
    )
    apart = [float(np.abs(v - true).std() / true.std()) for v in (flattened, spoilt)]
    assert apart[0] < 0.02 < 0.2 < apart[1]
    assert not Settings().flatten
