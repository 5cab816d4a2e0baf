"""Parts of a weighted tomogram are those of the whole, and a narrow tomogram is weighted as a broad one."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.quality.wedge import wedge_correlation, wedge_mask
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.simulate import simulate
from fourierrecon.weighting import Exact, Wiener
from tests.helpers.reference import relative_error
from tests.helpers.weightings import optics

TILTS = np.linspace(-60, 60, 41)


def test_a_narrow_region_of_a_slab_is_weighted_as_a_broad_one() -> None:
    rng = np.random.default_rng(6)
    matrices = projection_matrices((40, 200), (100.0, 20.0, 24.0), np.arange(-60.0, 61, 6))
    series = TiltSeries(rng.normal(size=(len(matrices), 40, 200)).astype(np.float32), matrices, 5.0)
    broad, narrow = (
        reconstruct(series, Region((x, 0.0, 0.0), (48, 40, n)), Wiener(10.0), ctf=False, n_threads=1).data
        for x, n in ((0.0, 200), (88.0, 24))
    )
    shared = broad[..., 88:112].ravel()
    # a slab goes on beyond a region, however narrow: before, 1.35 and 0.91, since steep images weighed too much
    assert np.polyfit(shared, narrow.ravel(), 1)[0] == pytest.approx(1, abs=0.12)
    assert np.corrcoef(shared, narrow.ravel())[0, 1] > 0.98


@cache
def tomogram(axis: float) -> tuple[TiltSeries, Region, NDArray[np.float32]]:
    """A tomogram, 24 of 32 voxels filled, that goes on to its faces along x and y, and its volume with an SNR of 10."""
    rng = np.random.default_rng(1)
    size = (300, 280, 32)
    centres = rng.uniform(0, 1, (7000, 3)) * [size[0], size[1], 24] + [0, 0, 4]
    blobs = Gaussians(centres, rng.uniform(0.9, 3, 7000), rng.uniform(0.5, 1.5, 7000))
    series = simulate(
        blobs, size, image_shape=size[::-1][1:] if axis < 45 else size[:2], tilt_angles=list(TILTS),
        tilt_axis_angle=axis, pixel_size=8.0, ctf=optics(41, 12000.0), snr=0.3, shifts=0.0, grey=0.0, n_threads=2,
    ).series  # fmt: skip
    region = Region.of(series)
    return series, region, reconstruct(series, region, Wiener(10), n_threads=2).data


def is_that_of_the_whole(axis: float, x: tuple[int, int], y: tuple[int, int], z: tuple[int, int]) -> float:
    """Relative error of a part, from the first to before the last voxel along each axis."""
    series, whole, volume = tomogram(axis)
    first = np.array([x[0], y[0], z[0]])
    origin = tuple(float(v) for v in np.asarray(whole.origin) + first)
    region = Region(origin, (z[1] - z[0], y[1] - y[0], x[1] - x[0]))  # type: ignore[arg-type]
    part = reconstruct(series, region, Wiener(10), n_threads=2).data
    return relative_error(part, volume[slice(*z), slice(*y), slice(*x)])


@pytest.mark.parametrize("axis", [0.0, 85.3])
@pytest.mark.parametrize(
    ("x", "y", "z"),
    [
        ((134, 166), (130, 150), (4, 28)),
        ((146, 154), (20, 260), (12, 20)),
        pytest.param((10, 290), (136, 144), (0, 32), marks=pytest.mark.slow),
        pytest.param((149, 150), (140, 141), (0, 32), marks=pytest.mark.slow),
    ],
    ids=["cube", "along the tilt axis", "across it", "column"],
)
def test_a_part_is_that_of_the_whole(axis: float, x: tuple[int, int], y: tuple[int, int], z: tuple[int, int]) -> None:
    assert is_that_of_the_whole(axis, x, y, z) < 0.02


@pytest.mark.parametrize("axis", [0.0, 85.3])
@pytest.mark.parametrize(
    ("x", "y", "z"),
    [((0, 30), (0, 40), (0, 32)), ((0, 300), (0, 280), (8, 20)), ((200, 240), (220, 260), (16, 32))],
    ids=["corner", "layer", "near faces"],
)
def test_a_part_near_the_faces_is_exactly_that_of_the_whole(
    axis: float, x: tuple[int, int], y: tuple[int, int], z: tuple[int, int]
) -> None:
    assert is_that_of_the_whole(axis, x, y, z) < 1e-5


def test_a_tomogram_narrower_than_it_is_deep_is_weighted_as_a_broad_one() -> None:
    rng = np.random.default_rng(3)
    width, height, depth, n = 32, 48, 160, 3000
    centres = np.stack([rng.uniform(-48, 80, n), rng.uniform(-16, 64, n), depth / 2 + rng.uniform(-72, 72, n)], 1)
    blobs = Gaussians(centres, rng.uniform(1.2, 3.5, n), rng.uniform(0.5, 1.5, n))
    series = simulate(
        blobs, (width, height, depth), image_shape=(64, 48), tilt_angles=list(TILTS), tilt_axis_angle=0.0,
        pixel_size=8.0, ctf=optics(41, 30000.0), snr=0.03, shifts=0.0, grey=0.0, n_threads=2,
    ).series  # fmt: skip
    region = Region.of(series)
    truth, mask = -blobs.density(region, 2), wedge_mask(region.shape, series.projections, 1e9)
    found, exact = (
        wedge_correlation(reconstruct(series, region, weighting, n_threads=2).data, truth, mask, 0.4, margin=4)
        for weighting in (Wiener(), Exact())
    )
    # on a grid as narrow as the tomogram 0.475, since steep slices are mixed with many others; exact has no grid
    assert found >= exact > 0.478
