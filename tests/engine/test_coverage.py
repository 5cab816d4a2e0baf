"""Masks of the images and the count of those that see a voxel, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fourierrecon.engine.coverage import Mask, border_distances, divide_by_count
from tests.helpers.reference import Geometry, border_distance, world_points

MASKS = [Mask(-1.75, 1.75), Mask(-1.5, 1.5), Mask(3.0, 8.0), Mask(5.0, 0.0), Mask(-8.0, 8.0)]


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_a_mask_rises_from_nothing_to_one(mask: Mask) -> None:
    distance = np.linspace(-20, 20, 4001)
    profile = mask.profile(distance)
    assert (np.diff(profile) >= 0).all()
    assert (profile[distance < mask.start] == 0).all()
    assert (profile[distance > mask.start + mask.width + 1e-3] == 1).all()
    if mask.width:
        assert mask.profile(np.array([mask.start + mask.width / 2]))[0] == pytest.approx(0.5)


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_weights_depend_on_the_nearest_border_alone(mask: Mask) -> None:
    rows, columns = np.arange(-4.0, 34), np.arange(-4.0, 29.5, 0.5)
    found = mask.weights(rows, columns, (30, 25))
    v, u = rows[:, None], columns
    nearest = np.minimum(np.minimum(v, 29 - v), np.minimum(u, 24 - u))
    np.testing.assert_allclose(found, mask.profile(nearest), atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(
    axis=st.floats(-180, 180),
    x_tilt=st.floats(-10, 10),
    shift=st.floats(0, 15),
    mask=st.sampled_from(MASKS),
    z=st.integers(0, 17),
    n=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_voxels_are_divided_by_the_weights_of_the_images_that_see_them(
    axis: float, x_tilt: float, shift: float, mask: Mask, z: int, n: tuple[int, int]
) -> None:
    geometry = Geometry(
        (-70.0, -33, 0, 20, 64), (31, 28), axis, x_tilt, shift, 0.01, (20.0, 20, 8), (-3.5, 1.25, 0.5), (18, *n), 1.3
    )
    projections, region = geometry.matrices, geometry.region
    voxels = np.stack(np.broadcast_arrays(z, *np.indices(n).astype(float)), -1).reshape(-1, 3)
    weights = mask.profile(border_distance(projections, world_points(region, voxels), geometry.image_shape))
    expected = 1 / np.maximum(weights.sum(0), 1).reshape(n)

    matrices = projections[:, :2, :3] * region.binning
    zero = (projections @ [*region.origin, 1.0])[:, :2]
    borders = border_distances(matrices[:, :, [1, 0, 2]], zero, geometry.image_shape, mask)
    affine = borders[:, :, :3].copy()
    affine[:, :, 0] += z * borders[:, :, 3]
    slab = np.ones(n, np.float32)
    divide_by_count(slab, affine, np.zeros(0, np.float32), slab)
    if mask.width == 0:
        # a step: rounding may put a voxel that lies right on it on either side
        assert (np.abs(slab - expected) < 1e-4).mean() > 0.97
    else:
        np.testing.assert_allclose(slab, expected, atol=1e-4)


def test_a_row_of_many_voxels_does_not_drift() -> None:
    # thousands of partial weights added up: integers, so the far end is as exact as the near one
    mask = Mask(10.0, 4000.0)
    matrices, zero = np.array([[[0.0, 1, 0], [1, 0, 0]]] * 60), np.array([[0.0, 5000]] * 60)
    borders = border_distances(matrices, zero, (10_000, 9000), mask)
    slab = np.ones((1, 9000), np.float32)
    divide_by_count(slab, borders[:, :, :3].copy(), np.zeros(0, np.float32), slab)
    distance = np.minimum(np.arange(9000.0), 8999 - np.arange(9000.0))
    expected = 1 / np.maximum(60 * mask.profile(np.minimum(distance, 4999)), 1)
    np.testing.assert_allclose(slab[0], expected, rtol=2e-3)
    np.testing.assert_allclose(slab[0], slab[0, ::-1], rtol=1e-3)
