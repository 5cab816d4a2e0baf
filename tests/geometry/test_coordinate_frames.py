"""Frames of points, each against the geometry of its program, and volumes written in the programs' orientations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourierrecon import Region, TiltSeries
from fourierrecon.errors import UsageError
from fourierrecon.geometry.axis_order import LIKE, Orientation
from fourierrecon.geometry.coordinate_frames import COORDINATE_FRAMES, Box, conversion, convert, mirrors
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.io.volumes.reorder import reordering

BOX = Box((41, 36, 21), 10.0)
POINTS = np.array([[0, 0, 0], [40, 35, 20], [7.25, 30.5, 3]])


def at(source: str, target: str, point: tuple[float, float, float], **binnings: float) -> list[float]:
    return [float(c) for c in convert(np.array([point]), conversion(source, target, BOX, **binnings))[0]]


def test_frames_count_as_their_programs_do() -> None:
    first, last = (0.0, 0.0, 0.0), (40.0, 35.0, 20.0)
    assert at("volume", "relion4", first) == [1, 1, 1]
    assert at("volume", "relion5", (20, 18, 10)) == [0, 0, 0]
    assert at("volume", "relion5", first) == [-200, -180, -100]
    assert at("volume", "relion5-px", last) == [40, 35, 20]
    # what eTomo has in the end lies as ours; a model has the middle of the first voxel at (1/2, 1/2, 0)
    assert at("volume", "imod", first) == [0.5, 0.5, 0]
    assert at("volume", "imod-voxel", first) == [1, 1, 1]
    # rows of the slices that tilt writes count from the other side
    assert at("volume", "imod-tilt", (3, 5, 7)) == [3.5, 13.5, 5]
    np.testing.assert_allclose(at("volume", "warp", first), [-0.09, 0, 20.5])
    assert at("volume", "copick", (1, 2, 3)) == [10, 20, 30]
    assert at("volume", "aretomo-middle", (20, 18, 10)) == [0, 0, 0]
    assert at("aretomo-middle", "aretomo", (0, 0, 0)) == [20.5, 18, 21 - 1 - 10.5]


def test_binned_voxels() -> None:
    # ours sit on every second voxel, IMOD's are the means of two
    assert at("volume", "relion5-px", (3, 4, 5), source_binning=2) == [6, 8, 10]
    x, y, z = at("imod-voxel", "relion5-px", (1, 1, 1), source_binning=2)
    assert (x, y, z) == (0.5, 0.5, 0.5)
    assert at("imod-tilt", "relion5-px", (0.5, 0.5, 0), source_binning=2) == [0.5, 0.5, 20 - 0.5]
    assert at("volume", "volume", (6, 8, 10), source_binning=1, target_binning=2) == [3, 4, 5]
    assert at("volume", "copick", (3, 4, 5), source_binning=2) == [60, 80, 100]


@pytest.mark.parametrize("box", [BOX, Box((40, 37, 20), 3.5, True, (4, 2, 1))])
@given(names=st.tuples(*[st.sampled_from(sorted(COORDINATE_FRAMES))] * 3))
def test_conversions_are_a_groupoid(box: Box, names: tuple[str, str, str]) -> None:
    a, b, c = names
    there = conversion(a, b, box)
    np.testing.assert_allclose(convert(convert(POINTS, there), conversion(b, a, box)), POINTS, atol=1e-9)
    np.testing.assert_allclose(conversion(b, c, box) @ there, conversion(a, c, box), atol=1e-9)


def test_mirrors() -> None:
    mirrored = {name for name in COORDINATE_FRAMES if mirrors(conversion("relion4", name, BOX))}
    assert mirrored == {"aretomo", "warp"}


def test_relion_coordinates_project_through_relions_matrices() -> None:
    # RELION 4 feeds rlnCoordinate to its matrices; ours map the world, of which that is the coordinate
    series = a_series(world_origin=1.0, size=BOX.size)
    world = np.asarray(Region.of(series).origin) + POINTS
    matrix = conversion("volume", "relion4", Box.of(series))
    np.testing.assert_allclose(convert(POINTS, matrix), world)
    # RELION 5 has its rotation centre where centred coordinates are 0
    series = a_series(rotation_centre=(20.0, 18.0, 10.0), size=BOX.size)
    centre = convert(np.zeros((1, 3)), conversion("relion5", "volume", Box.of(series)))
    np.testing.assert_allclose(centre + Region.of(series).origin, [[20, 18, 10]])


def test_the_volume_of_a_warp_series_counts_as_warp() -> None:
    series = a_series(rotation_centre=(20.5, 18, 10.5), size=BOX.size, z_reversed=True)
    np.testing.assert_array_equal(conversion("volume", "warp", Box.of(series)), np.eye(4))


def test_part_of_a_tomogram() -> None:
    series = a_series(rotation_centre=(20.0, 18.0, 10.0), size=BOX.size)
    part = Region.of(series, binning=2, origin=(4, 6, 2))
    box = Box.of(series, part)
    assert box.corner == (4, 6, 2)
    assert convert(np.zeros((1, 3)), conversion("volume", "relion5-px", box, source_binning=2)).tolist() == [[4, 6, 2]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("volume", "rellion", BOX), "unknown frame 'rellion'; available: volume,"),
        (("volume", "relion", BOX), "unknown frame 'relion'"),
    ],
)
def test_wrong_frames(arguments: tuple[str, str, Box], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        conversion(*arguments)


def test_wrong_binnings_and_boxes() -> None:
    with pytest.raises(UsageError, match=r"binning 0\.5 of the volume must be 1 or more"):
        conversion("volume", "imod", BOX, source_binning=0.5)
    with pytest.raises(UsageError, match="relion4 coordinates do not depend on the binning"):
        conversion("volume", "relion4", BOX, target_binning=2)
    with pytest.raises(UsageError, match=r"size .* must be three positive numbers"):
        Box((0, 3, 4), 1.0)
    with pytest.raises(UsageError, match="pixel size nan Å must be positive"):
        Box((3, 3, 4), np.nan)


def a_series(**more: object) -> TiltSeries:
    angles = np.linspace(-60, 60, 7)
    images = np.random.default_rng(1).normal(size=(7, 36, 41)).astype(np.float32)
    centre = more.get("rotation_centre") or (20.0, 18.0, 10.0)
    matrices = projection_matrices((36, 41), centre, angles, 3.0)  # type: ignore[arg-type]
    return TiltSeries(images, matrices, 10.0, tilt_angles=angles, **more)  # type: ignore[arg-type]


# orientations


@pytest.mark.parametrize("program", sorted(LIKE))
@pytest.mark.parametrize("z_reversed", [False, True])
def test_a_volume_in_another_orientation_holds_the_same_voxels(program: str, z_reversed: bool, tmp_path: Path) -> None:
    series = a_series(size=BOX.size, z_reversed=z_reversed)
    orientation = Orientation.like(program, series)
    shape = 5, 6, 7
    data = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    out = np.full(orientation.shape(shape), np.nan, np.float32)

    def write(number: int, slab: np.ndarray) -> None:
        out[number] = slab

    with reordering(write, orientation, shape, tmp_path) as write_slab:
        for z in (3, 0, 4, 1, 2):
            write_slab(z, data[z])
    matrix = orientation.matrix(shape)
    for k, j, i in np.ndindex(out.shape):
        x, y, z, _ = (matrix @ [i, j, k, 1]).astype(int)
        assert out[k, j, i] == data[z, y, x]
    # what is written looks like the program's volume whichever way the series has its z
    frame = {"relion": "relion5-px", "aretomo": "relion5-px", "aretomo-flipvol": "aretomo"}.get(program, program)
    order = [0, 2, 1] if program == "aretomo" else [0, 1, 2]
    along = conversion("volume", frame, Box.of(series))[order, :3] @ matrix[:3, :3]
    np.testing.assert_allclose(along, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    ("program", "frame", "first"),
    [("relion", "relion5-px", 0), ("imod", "imod-voxel", 1), ("imod-tilt", "imod-tilt", (0.5, 0.5, 0))],
)
@pytest.mark.parametrize("binning", [1, 2])
def test_voxels_of_the_file_are_those_of_its_frame(
    program: str, frame: str, first: float | tuple[float, ...], binning: int
) -> None:
    series = a_series(size=(40, 36, 20))
    region = Region.of(series, binning=binning)
    index = np.array([[0, 0, 0], [3, 5, 7], [19, 9, 1]])
    matrix = conversion("volume", frame, Box.of(series, region), source_binning=binning)
    turned = convert(convert(index, Orientation.like(program, series).matrix(region.shape)), matrix) - first
    # unbinned ones: those binned in Fourier space lie at the first of each two, from whichever side it is counted
    expected = index * binning + (binning - 1) * (np.array(Orientation.like(program, series).axes) == "-z")
    np.testing.assert_allclose(turned, expected)


def test_without_a_program_nothing_changes() -> None:
    series = a_series(size=BOX.size)
    assert Orientation.like(None, series) == Orientation()
    assert Orientation.like("warp", a_series(size=BOX.size, z_reversed=True)) == Orientation()
    with pytest.raises(UsageError, match="like=eman: unknown; available: relion, imod"):
        Orientation.like("eman", series)


@pytest.mark.parametrize("program", [None, *LIKE])
def test_the_origin_of_a_file_is_the_place_of_its_first_voxel(program: str | None) -> None:
    series = a_series(size=BOX.size, world_origin=1.0)
    region = Region.of(series, binning=2, origin=(5, 7, 3), size=(20, 18, 10))
    box, orientation = Box.of(series, region), Orientation.like(program, series)
    origin = np.array(orientation.origin(region, box)) / series.pixel_size
    if orientation == Orientation():
        np.testing.assert_allclose(origin, [5, 7, 3])  # in the world
        return
    voxel = orientation.matrix(region.shape)[None, :3, 3]
    ((x, y, z),) = convert(voxel, conversion("volume", "relion5-px", box, source_binning=2))
    up = BOX.size[2] - 1 - z  # from the other side
    wanted = {"imod-tilt": (x, up, y), "aretomo": (x, z, y), "aretomo-flipvol": (x, y, up), "warp": (x, y, up)}
    np.testing.assert_allclose(origin, wanted[str(program)])
