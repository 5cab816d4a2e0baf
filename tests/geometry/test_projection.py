"""Projection matrices, regions and frames: where a voxel lies, and where it falls on an image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fourierrecon import Region, TiltSeries
from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.projection import projection_matrices, rotation, tilt_axis_angle
from fourierrecon.geometry.region import footprint

ANGLE = st.floats(-180, 180)
TILTS = np.linspace(-60, 60, 13)


def series(image_shape: tuple[int, int] = (40, 50), **more: Any) -> TiltSeries:
    more = {"projections": projection_matrices(image_shape, (25.0, 20, 8), TILTS), "pixel_size": 4.0, **more}
    return TiltSeries(np.zeros((len(more["projections"]), *image_shape), np.float32), **more)


@given(axis=st.sampled_from("xyz"), angle=ANGLE)
def test_rotations_are_right_handed(axis: str, angle: float) -> None:
    matrix = rotation(axis, angle)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)
    unit = dict(zip("xyz", np.eye(3), strict=True))
    np.testing.assert_allclose(matrix @ unit[axis], unit[axis], atol=1e-12)
    # x goes to y about z, y to z about x, z to x about y
    first, second = {"x": ("y", "z"), "y": ("z", "x"), "z": ("x", "y")}[axis]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    np.testing.assert_allclose(matrix @ unit[first], c * unit[first] + s * unit[second], atol=1e-12)


@given(
    height=st.integers(2, 300), width=st.integers(2, 300), axis=ANGLE, x_tilt=st.floats(-20, 20),
    magnification=st.floats(0.9, 1.1), shift=st.tuples(st.floats(-9, 9), st.floats(-9, 9)),
)  # fmt: skip
def test_the_rotation_centre_falls_on_the_image_centre(
    height: int, width: int, axis: float, x_tilt: float, magnification: float, shift: tuple[float, float]
) -> None:
    centre = (30.5, -4.0, 11.25)
    matrices = projection_matrices((height, width), centre, TILTS, axis, x_tilt, shift, magnification)
    at = (matrices @ [*centre, 1.0])[:, :2]
    np.testing.assert_allclose(at - shift, np.broadcast_to([width // 2, height // 2], at.shape), atol=1e-9)
    np.testing.assert_allclose(matrices[:, 3], np.broadcast_to([0, 0, 0, 1], (13, 4)))
    np.testing.assert_allclose(np.linalg.det(matrices[:, :3, :3]), magnification**3)


def test_the_order_of_rotations_is_relions() -> None:
    matrix = projection_matrices((10, 10), (0.0, 0, 0), 30.0, 80.0, 5.0)[0, :3, :3]
    np.testing.assert_allclose(matrix, rotation("z", 80.0) @ rotation("y", 30.0) @ rotation("x", 5.0))


@given(axis=st.floats(-179, 179), x_tilt=st.floats(-3, 3), n=st.integers(1, 13))
def test_the_tilt_axis_is_found_again(axis: float, x_tilt: float, n: int) -> None:
    tilts = TILTS[7 - (n + 1) // 2 : 7 + n // 2]
    assume(n > 1 or tilts[0] == 0)
    matrices = projection_matrices((40, 50), (25.0, 20, 8), tilts, axis, x_tilt if n > 3 else 0.0)
    found = tilt_axis_angle(matrices, tilts)
    assert abs((found - axis + 180) % 360 - 180) < (1e-6 if x_tilt == 0 or n <= 3 else 0.5)


@given(tilt=st.floats(-75, 75), axis=ANGLE, x_tilt=st.floats(-5, 5))
def test_the_tilt_of_one_image_is_read_off_its_matrix(tilt: float, axis: float, x_tilt: float) -> None:
    assume(abs(np.sin(np.radians(tilt))) > abs(np.sin(np.radians(x_tilt))))
    found = series(projections=projection_matrices((40, 50), (25.0, 20, 8), [tilt], axis, x_tilt)).tilt_angles[0]
    assert found == pytest.approx(tilt, abs=1e-4)


@given(first=st.floats(-100, 20), steps=st.integers(1, 40), axis=ANGLE, x_tilt=st.floats(-20, 20))
def test_tilt_angles_are_read_off_the_matrices(first: float, steps: int, axis: float, x_tilt: float) -> None:
    # an x tilt that all images share is that of the specimen, and no part of the tilts
    tilts = first + 3.0 * np.arange(steps + 1)
    assume(np.abs(tilts).min() < 60)
    found = series(projections=projection_matrices((40, 50), (25.0, 20, 8), tilts, axis, x_tilt)).tilt_angles
    np.testing.assert_allclose(found, tilts, atol=1e-6)


@pytest.mark.parametrize("turned", [np.diag([1.0, -1, 1, 1]), np.diag([-1.0, -1, 1, 1])])
def test_tilt_angles_of_images_upside_down_are_the_same(turned: np.ndarray) -> None:
    matrices = projection_matrices((40, 50), (25.0, 20, 8), TILTS, 4.0, 3.0)
    np.testing.assert_allclose(series(projections=turned @ matrices).tilt_angles, TILTS, atol=1e-9)


# -- regions ---------------------------------------------------------------------------------------------------------


@given(size=st.tuples(st.floats(8, 500), st.floats(8, 500), st.floats(8, 500)), binning=st.floats(1, 8))
def test_sizes_are_those_that_relion_writes(size: tuple[float, float, float], binning: float) -> None:
    w, h, d = size
    region = Region.of(series(), size=size, binning=binning)
    assert region.shape == (int(d / binning), int(h / binning + 0.5), int(w / binning + 0.5))


@settings(max_examples=50)
@given(
    size=st.tuples(st.integers(8, 300), st.integers(8, 300), st.integers(8, 300)),
    start=st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(-50, 50)),
    binning=st.sampled_from([1.0, 2.0, 3.3]),
)
def test_relion5s_frame_keeps_the_rotation_centre(
    size: tuple[int, int, int], start: tuple[float, float, float], binning: float
) -> None:
    centre = (25.0, 20.0, 8.0)
    five = series(rotation_centre=centre, size=(50, 40, 16))
    region = Region.of(five, size=size, binning=binning)
    np.testing.assert_allclose(np.asarray(region.origin) + [n // 2 for n in size], centre)
    moved = Region.of(five, size=size, origin=start, binning=binning)
    np.testing.assert_allclose(np.subtract(moved.origin, region.origin), start, atol=1e-9)
    assert moved.shape == region.shape


def test_relion4s_frame_is_cut() -> None:
    four = series(world_origin=1.0, size=(50, 40, 16))
    assert Region.of(four).origin == (1, 1, 1)
    assert Region.of(four, size=(20, 10, 8)).origin == (1, 1, 1)
    assert Region.of(four, origin=(7.5, None, -3)).origin == (7.5, 1, -3)
    assert Region.of(four).shape == (16, 40, 50)
    assert Region.of(four, size=(None, 30, None)).shape == (16, 30, 50)


@given(binning=st.floats(1, 5), origin=st.tuples(*[st.floats(-99, 99)] * 3))
def test_the_centre_is_the_mean_of_the_voxels(binning: float, origin: tuple[float, float, float]) -> None:
    region = Region(origin, (3, 4, 5), binning)
    voxels = np.indices(region.shape).reshape(3, -1).T[:, ::-1] * binning + origin
    np.testing.assert_allclose(region.centre, voxels.mean(0), atol=1e-9)


@pytest.mark.parametrize("binning", [0.99, 0.0, -2.0, float("nan"), float("inf")])
def test_a_binning_below_one_is_refused(binning: float) -> None:
    with pytest.raises(UsageError, match="binning"):
        Region.of(series(), binning=binning)
    with pytest.raises(UsageError, match="binning"):
        Region((0, 0, 0), (4, 4, 4), binning)


@pytest.mark.parametrize("size", [(0, 10, 10), (10, -5, 10), (10, 10, 0.5), (10, 10, 3)])
def test_a_region_without_voxels_is_refused(size: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError, match=r"no voxels.*size=..."):
        Region.of(series(), size=size, binning=4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_regions_are_finite(bad: float) -> None:
    with pytest.raises(UsageError, match="finite"):
        Region.of(series(), size=(10, bad, 10))
    with pytest.raises(UsageError, match="finite"):
        Region.of(series(size=(10, 10, 10)), origin=(0, bad, 0))


# -- footprints ------------------------------------------------------------------------------------------------------


@given(axis=st.sampled_from([0.0, 4.0, 90.0, 85.3, 180.0, -94.0]), odd=st.tuples(*[st.integers(0, 1)] * 2))
def test_footprint_is_the_image_laid_into_the_specimen(axis: float, odd: tuple[int, int]) -> None:
    image_shape = 80 + odd[0], 120 + odd[1]
    centre = (3.0, -7.0, 40.0)
    matrices = projection_matrices(image_shape, centre, TILTS, axis)
    turned = abs(np.sin(np.radians(axis))) > 0.7
    for rotation_centre in (centre, None):
        corner, size = footprint(series(image_shape, projections=matrices, rotation_centre=rotation_centre))
        assert size[:2] == ((image_shape[0], image_shape[1]) if turned else (image_shape[1], image_shape[0]))
        assert size[2] == 750
        np.testing.assert_allclose(np.asarray(corner) + [int(s / 2) for s in size], centre, atol=1e-6)


def test_without_a_size_the_region_is_the_footprint_and_says_so() -> None:
    region = Region.of(series(), binning=2)
    assert "depth" in region.note
    assert region.shape == (375, 20, 25)


# -- tilt series -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"projections": np.eye(4)[None].repeat(12, 0)}, "12 images|shape"),
        ({"projections": np.full((13, 4, 4), np.nan)}, "tilt 1"),
        ({"projections": 5 * np.eye(4)[None].repeat(13, 0)}, "magnifies"),
        ({"projections": np.zeros((13, 4, 4))}, "magnifies"),
        ({"pixel_size": 0.0}, "pixel size"),
        ({"pixel_size": -1.0}, "pixel size"),
        ({"pixel_size": float("nan")}, "pixel size"),
        ({"tilt_angles": np.zeros(3)}, "3 tilt angles for 13"),
        ({"exposure": np.zeros(4)}, "4 exposures for 13"),
    ],
)
def test_a_series_that_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    images = np.zeros((13, 40, 50), np.float32)
    good: dict[str, Any] = {"projections": projection_matrices((40, 50), (25.0, 20, 8), TILTS), "pixel_size": 4.0}
    with pytest.raises(DataError, match=message):
        TiltSeries(images, **{**good, **change})


def test_some_tilts_are_chosen_in_any_order() -> None:
    whole = series(exposure=np.arange(13.0))
    some = whole.select([4, 2])
    assert some.n_tilts == 2
    np.testing.assert_array_equal(some.projections, whole.projections[[4, 2]])
    np.testing.assert_array_equal(some.exposure, [4, 2])
    np.testing.assert_array_equal(some.tilt_angles, whole.tilt_angles[[4, 2]])
    for bad in ([], [13], [-1]):
        with pytest.raises(UsageError, match="0 to 12"):
            whole.select(bad)
