"""Corrections to an alignment: those of IMOD's own options, undone by their opposites, mirrored as they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.errors import UsageError
from fourierrecon.geometry.corrections import AlignmentCorrections, tilt_axis
from fourierrecon.geometry.projection import rotation_centre
from fourierrecon.io.imod.alignment import read_imod
from fourierrecon.weighting import NoWeighting
from tests.helpers.reference import Geometry
from tests.io.test_imod import add, folder  # noqa: F401  (a fixture)

TILTS = tuple(np.linspace(-57, 60, 9))
angles = st.floats(-45, 45)


def series_of(axis: float = 4.0, *, sign: int = 1, centre: tuple[float, float, float] | None = None) -> TiltSeries:
    geometry = Geometry(TILTS, axis=axis, shift=2.0)
    images = np.random.default_rng(0).normal(size=(len(TILTS), *geometry.image_shape)).astype(np.float32)
    return replace(geometry.series(images), tilt_angles=sign * np.array(TILTS), rotation_centre=centre)


@pytest.mark.parametrize(
    ("lines", "offsets"),
    [
        (["OFFSET 3.5"], AlignmentCorrections(tilt_angle=3.5)),
        (["XAXISTILT -4.25"], AlignmentCorrections(x_tilt=-4.25)),
        (["SHIFT 0 7.5"], AlignmentCorrections(z_shift=7.5)),
        (["OFFSET 3.5", "XAXISTILT -4.25", "SHIFT 0 7.5"], AlignmentCorrections(3.5, -4.25, 7.5)),
    ],
)
def test_offsets_are_those_of_imod(folder: Path, lines: list[str], offsets: AlignmentCorrections) -> None:  # noqa: F811
    np.savetxt(folder / "ts.xtilt", np.zeros(5))  # one for all tilts: else a common turn is not IMOD's
    plain = read_imod(folder)
    add(folder, *lines)
    imod = read_imod(folder)
    moved = offsets.apply(plain)
    np.testing.assert_allclose(moved.projections[:, :2], imod.projections[:, :2], atol=1e-9)
    np.testing.assert_allclose(moved.tilt_angles, imod.tilt_angles, atol=1e-12)


@given(st.floats(-180, 180), angles, st.sampled_from([1, -1]))
def test_the_tilt_axis_is_found(axis: float, offset: float, sign: int) -> None:
    series = series_of(axis, sign=sign)
    np.testing.assert_allclose(tilt_axis(series), [0, sign, 0], atol=1e-9)
    # what the angles of the metadata mean stays the same
    moved = AlignmentCorrections(tilt_angle=offset / 5).apply(series)
    beams = np.cross(moved.projections[:, 0, :3], moved.projections[:, 1, :3])
    np.testing.assert_allclose(np.degrees(np.arcsin(-beams[:, 0])), sign * moved.tilt_angles, atol=1e-6)


@given(angles, angles, st.floats(-50, 50), st.booleans())
def test_offsets_turn_about_the_rotation_centre_and_can_be_undone(
    tilt: float, x_tilt: float, z_shift: float, flip: bool
) -> None:
    series = series_of(centre=(31.0, 28.0, 11.5))
    centre = np.append(rotation_centre(series), 1)
    turned = AlignmentCorrections(tilt, x_tilt, 0.0, flip).apply(series)
    np.testing.assert_allclose(turned.projections[:, :2] @ centre, series.projections[:, :2] @ centre, atol=1e-9)
    one_by_one = (
        AlignmentCorrections(tilt),
        AlignmentCorrections(-tilt),
        AlignmentCorrections(x_tilt=x_tilt),
        AlignmentCorrections(x_tilt=-x_tilt),
    )
    shifts = (
        AlignmentCorrections(z_shift=z_shift),
        AlignmentCorrections(z_shift=-z_shift),
        AlignmentCorrections(flip_hand=flip),
        AlignmentCorrections(flip_hand=flip),
    )
    back = series
    for offsets in (*one_by_one, *shifts):
        back = offsets.apply(back)
    np.testing.assert_allclose(back.projections, series.projections, atol=1e-8)
    np.testing.assert_allclose(back.tilt_angles, series.tilt_angles, atol=1e-9)


def test_a_flipped_hand_mirrors_the_tomogram_and_a_shift_moves_it() -> None:
    series = series_of(centre=(30.0, 33.0, 12.0))
    region = Region((10.0, 13.0, 0.0), (25, 41, 40))

    def volume(offsets: AlignmentCorrections) -> np.ndarray:
        return reconstruct(offsets.apply(series), region, NoWeighting(), ctf=False).data

    plain = volume(AlignmentCorrections())
    scale = np.abs(plain).max()
    np.testing.assert_allclose(volume(AlignmentCorrections(flip_hand=True)), plain[::-1], atol=2e-3 * scale)
    # the deviation is that of gridding, which sees the voxels at other places
    np.testing.assert_allclose(volume(AlignmentCorrections(z_shift=3.0))[:-3], plain[3:], atol=2e-3 * scale)


def test_offsets_that_make_no_sense_are_refused() -> None:
    for wrong in ((181.0, 0.0, 0.0), (0.0, 61.0, 0.0), (0.0, float("nan"), 0.0), (0.0, 0.0, float("inf"))):
        with pytest.raises(UsageError):
            AlignmentCorrections(*wrong)


def test_offsets_are_named_with_the_frame() -> None:
    series = series_of()
    assert AlignmentCorrections().apply(series) is series
    corrected = AlignmentCorrections(2.0, -1.5, 0.0, True).apply(series)
    assert "tilt angles +2°, x tilt -1.5°, hand flipped" in corrected.coordinate_frame
