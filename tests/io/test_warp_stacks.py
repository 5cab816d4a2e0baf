"""Warp's stretched stacks, its own voxels, its hand, and what it passes over."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fourierrecon.cli import app
from fourierrecon.errors import DataError
from fourierrecon.geometry.region import Region
from fourierrecon.io import read_tilt_series, write_stack
from fourierrecon.io.star.table import read_tables
from fourierrecon.io.tilt_series import passed_over
from fourierrecon.io.warp.alignment import read_warp
from tests.io.test_warp import IMAGES, POINTS, edit, images, project, xml  # noqa: F401  (fixtures)

#: What Warp wrote for the same points and tilts, without AreAnglesInverted: defocus less that of the image, Å.
DEFOCUS = np.array(
    [[-704.72, -133.70, -269.72, 704.72], [-577.89, -424.40, -57.86, 577.89], [2.37, -706.91, 367.91, -2.37]]
)
#: Sizes in Å of the image and the volume; the image is 37.7 x 31.3 px of 10 Å, so Warp makes it 38 x 32.
SIZES = 'ImageDimensionsAngstrom="377, 313" VolumeDimensionsAngstrom="333.6, 475.38, 83.4" Unselect'


def stretched(xml: Path, header: float = 10.0, shape: tuple[int, int] = (32, 38)) -> Path:  # noqa: F811
    write_stack(xml.with_suffix(".st"), np.zeros((3, *shape), np.float32), header)
    return edit(xml, ("UnselectF", f"{SIZES}F")) if "VolumeD" not in xml.read_text("utf-8-sig") else xml


def blank_header(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[40:52] = struct.pack("<3f", 0, 0, 0)
    path.write_bytes(raw)


@pytest.mark.parametrize("header", [10.0, 0.0, 1.0])
def test_stacks_have_pixel_sizes_of_their_own_along_x_and_y(xml: Path, header: float) -> None:  # noqa: F811
    edit(xml, ('<Param Name="PixelSize" Value="4" />', '<Param Name="PixelSize" Value="10" />'))
    stretched(xml, header or 10.0)
    if not header:
        blank_header(xml.with_suffix(".st"))
    series = read_warp(xml)
    assert series.pixel_size == 10
    found = project(series.projections, (POINTS + np.array([333.6, 475.38, 83.4]) / 2) / 10)
    lengths, pixels = np.array([377, 313]), np.array([38, 32])
    np.testing.assert_allclose(found, (IMAGES + lengths / 2) * pixels / lengths, atol=1e-3)


def test_other_stacks_are_not_stretched(xml: Path) -> None:  # noqa: F811
    # Warp makes no odd sides
    series = read_warp(stretched(xml, shape=(31, 37)))
    assert series.pixel_size == 10
    found = project(series.projections, (POINTS + np.array([333.6, 475.38, 83.4]) / 2) / 10)
    np.testing.assert_allclose(found, IMAGES / 10 + np.array([37, 31]) / 2, atol=1e-3)
    # a header that does not fit goes after what the sizes make it, and what is given goes before all
    series = read_warp(stretched(xml, 7.0))
    assert series.pixel_size == pytest.approx((377 / 38 + 313 / 32) / 2)
    assert read_warp(xml, pixel_size=12).pixel_size == 12
    assert np.linalg.norm(read_warp(xml, pixel_size=12).projections[:, 0, :3], axis=1) == pytest.approx(1)


@pytest.mark.parametrize("binning", [1, 2, 3.5])
def test_voxels_are_those_of_warps_tomogram(xml: Path, binning: float) -> None:  # noqa: F811
    series = read_warp(stretched(xml))
    assert series.size == pytest.approx((33.36, 47.538, 8.34))
    # its voxel i lies at i voxel sizes from the corner, whatever the sides
    assert Region.of(series, binning=binning).origin == pytest.approx((0, 0, 0))
    # a tomogram of another size has its middle, half of the size, on the rotation centre
    region = Region.of(series, size=(41, 20, 7))
    centre = np.asarray(series.rotation_centre)
    np.testing.assert_allclose(centre - region.origin, [20.5, 10, 3.5])


@pytest.mark.parametrize(("inverted", "hand"), [("False", 1), ("True", -1)])
def test_the_hand_is_the_sign_of_warps_own_defocus(
    xml: Path,  # noqa: F811
    inverted: str,
    hand: int,
    tmp_path: Path,
) -> None:
    edit(xml, ('AreAnglesInverted="True"', f'AreAnglesInverted="{inverted}"'))
    series = read_warp(xml)
    assert series.hand == hand
    depth = np.einsum("tj,pj->tp", series.projections[:, 2, :3], POINTS)
    # with inverted angles Warp takes the other sign, as its formula says; these numbers are without
    np.testing.assert_allclose(depth * hand, DEFOCUS * hand, atol=0.02)
    assert app.main(["import", str(xml), "-o", str(tmp_path / "set")]) == 0
    assert read_tilt_series(tmp_path / "set" / "tomograms.star").hand == hand


def test_no_hand_where_nothing_tells(xml: Path) -> None:  # noqa: F811
    assert read_warp(edit(xml, ('AreAnglesInverted="True" ', ""))).hand == 1
    edit(xml, ("<TiltSeries ", '<TiltSeries AreAnglesInverted="maybe" '))
    with pytest.raises(DataError, match="attribute AreAnglesInverted: 'maybe' must be True or False"):
        read_warp(xml)


@pytest.mark.filterwarnings("default:.*Warp stretched")
def test_import_of_a_stretched_stack(xml: Path, tmp_path: Path, capsys: Any) -> None:  # noqa: F811
    stretched(xml)
    series = read_warp(xml)
    middle = np.array([[333.6, 475.38, 83.4]]) / 20
    for version, off in (("relion5", 0.36), ("relion4", 1e-6)):
        assert app.main(["import", str(xml), "-o", str(tmp_path / version), "--as", version]) == 0
        said = capsys.readouterr().err
        assert ("Warp stretched these images to even sides" in said) == (version == "relion5")
        found = read_tilt_series(tmp_path / version / "tomograms.star")
        origin = np.asarray(Region.of(found).origin)
        for offset in (np.zeros(3), np.array([10.0, 10.0, 2.0])):
            at = [project(series.projections, middle + offset), project(found.projections, middle + offset + origin)]
            np.testing.assert_allclose(at[0], at[1], atol=off)


@pytest.mark.filterwarnings("default:.*Warp stretched")
@pytest.mark.parametrize("version", ["relion4", "relion5"])
def test_a_set_has_whole_sizes_and_the_voxels_of_warps(xml: Path, tmp_path: Path, version: str) -> None:  # noqa: F811
    # Warp's sizes are those of the volume in Å, which are no whole pixels of a binned stack
    series = read_warp(stretched(xml))
    assert app.main(["import", str(xml), "-o", str(tmp_path / "set"), "--as", version]) == 0
    table = read_tables(tmp_path / "set" / "tomograms.star")["global"]
    assert [table.words(f"rlnTomoSize{axis}")[0] for axis in "XYZ"] == ["33", "48", "8"]
    found = read_tilt_series(tmp_path / "set" / "tomograms.star")
    mine, warps = Region.of(found), Region.of(series)
    assert mine.shape == warps.shape == (8, 48, 33)
    corner = [project(s.projections, np.array([r.origin])) for s, r in ((found, mine), (series, warps))]
    np.testing.assert_allclose(corner[0], corner[1], atol=1e-6 if version == "relion4" else 0.4)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("1, 1, 0", False),
        ("1, 1, 31.5", False),
        ("1, 0, 0, 1", False),
        ("1.002, 0.998, 31.5", True),
        ("1.01, 0, 0, 1", True),
    ],
)
def test_magnifications_of_warp_1_and_2(xml: Path, text: str, named: bool) -> None:  # noqa: F811
    edit(xml, ('"1, 0, 0, 1"', f'"{text}"'))
    if not named:
        assert read_warp(xml).n_tilts == 3
        return
    with pytest.warns(UserWarning, match="not applied: MagnificationCorrection$"):
        read_warp(xml)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ZernikeCoeffsOdd", "3.42;-11.7;0", r"ZernikeCoeffsOdd \(up to 11.7\)"),
        ("ZernikeCoeffsEven", "0.86;0", r"ZernikeCoeffsEven \(up to 0.86\)"),
        ("BeamTilt", "0.1,-0.3", r"BeamTilt \(up to 0.3 mrad\)"),
    ],
)
def test_aberrations_that_are_not_applied_are_named(xml: Path, name: str, value: str, says: str) -> None:  # noqa: F811
    parameter = f'<Param Name="{name}" Value="{value}" />'
    edit(xml, ("<CTF>", f"<CTF>{parameter}"))
    with pytest.warns(UserWarning, match=f"not applied: {says}$"):
        read_warp(xml)
    edit(xml, (parameter, f'<Param Name="{name}" Value="" />'))
    assert read_warp(xml).n_tilts == 3
    edit(xml, (f'<Param Name="{name}" Value="" />', f'<Param Name="{name}" Value="1;x" />'))
    with pytest.raises(DataError, match=rf"<CTF>, {name}: '1;x' must be numbers"):
        read_warp(xml)


@pytest.mark.filterwarnings("default:.*somebody took")
def test_a_series_that_was_taken_out_in_warp(xml: Path, tmp_path: Path, capsys: Any) -> None:  # noqa: F811
    assert passed_over(xml) is None
    other = tmp_path / "TS_02.xml"
    other.write_text(xml.read_text("utf-8-sig"))
    other.with_suffix(".st").write_bytes(xml.with_suffix(".st").read_bytes())
    for word in ("", "null", "False"):
        edit(xml, ("UnselectFilter", f'UnselectManual="{word}" UnselectFilter'))
        assert passed_over(xml) is None
        edit(xml, (f'UnselectManual="{word}" ', ""))
    edit(xml, ("UnselectFilter", 'UnselectManual="True" UnselectFilter'))
    assert passed_over(xml) is not None
    assert passed_over(xml.with_suffix(".tomostar")) is not None
    with pytest.warns(UserWarning, match=r"somebody took this tilt series out in Warp \(UnselectManual\)"):
        read_warp(xml)
    # alone it is taken, among others it is not
    assert app.main(["import", str(xml), "-o", str(tmp_path / "one")]) == 0
    assert "somebody took" in capsys.readouterr().err
    assert app.main(["import", str(xml), str(other), "-o", str(tmp_path / "two")]) == 0
    out = capsys.readouterr().out
    assert "left out" in out
    assert "RELION 5 set of 1 tomogram" in out
    assert read_tilt_series(tmp_path / "two" / "tomograms.star").name == "TS_02"
    edit(other, ("UnselectFilter", 'UnselectManual="True" UnselectFilter'))
    assert app.main(["import", str(xml), str(other), "-o", str(tmp_path / "none")]) == 1
    assert "nothing is left to import" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    edit(other, ('UnselectManual="True"', 'UnselectManual="perhaps"'))
    with pytest.raises(DataError, match="attribute UnselectManual: 'perhaps' must be True or False"):
        passed_over(other)
