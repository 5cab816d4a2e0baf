"""Files of Warp with faults: each is named by file and element."""
# ruff: noqa: F811 (fixtures are imported)

from __future__ import annotations

from pathlib import Path

import pytest

from fourierrecon.errors import DataError
from fourierrecon.io.warp.alignment import read_warp
from tests.io.test_warp import TOMOSTAR, XML, edit, grid, images, xml  # noqa: F401  (fixtures)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ((("wrpAngleTilt", "wrpX"),), "no column wrpAngleTilt"),
        ((("40.01", "nan"),), "column wrpAngleTilt, row 1: 'nan' is not a finite number"),
        ((("-85.6", "1e9"),), "column wrpAxisAngle, row 1: 1e.09 makes no sense"),
        ((("../frames/TS_01_14.0.tif 14.02 -85.6 0\n", ""),), "2 tilts, but the stack .* holds 3"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*no TS_01.xml")
def test_faults_of_a_tomostar(xml: Path, changes: tuple[tuple[str, str], ...], message: str) -> None:
    xml.unlink()
    path = xml.with_suffix(".tomostar")
    path.write_text(TOMOSTAR)
    edit(path, *changes)
    with pytest.raises(DataError, match=message):
        read_warp(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("<Angles>", "<Other>"), ("</Angles>", "</Other>")], "<Angles> is missing"),
        ([("<AxisAngle>", "<A>"), ("</AxisAngle>", "</A>")], r"<AxisAngle> missing; was the tilt series aligned"),
        ([("40.01", "forty")], r"<Angles>, value 1: 'forty' must be a number up to 360 either way; correct it"),
        ([("<Dose>6\n0", "<Dose>6\n-1")], "<Dose>, value 2: -1 is no exposure; allowed: 0 or more"),
        ([("40.01", "NaN")], "<Angles>, value 1: 'NaN'"),
        ([("57.278168", "1e300")], "<AxisOffsetX>, value 2: '1e300'"),
        ([("40.01\n", "")], r"<AxisAngle>: 3 values, but <Angles> has 2"),
        ([("<Dose>6\n", "<Dose>")], "<Dose>: 2 values, but <Angles> has 3"),
        ([("<UseTilt>True", "<UseTilt>yes")], "<UseTilt>, value 1: 'yes' must be True or False"),
        ([('LevelAngleX="1.457031"', 'LevelAngleX="x"')], "attribute LevelAngleX: 'x' must be 1 number up to 360;"),
        ([("1, 0, 0, 1", "1, 0")], "attribute MagnificationCorrection: '1, 0' must be 3 or 4 numbers"),
        ([("UnselectFilter", 'VolumeDimensionsAngstrom="-1,1,1" U')], "VolumeDimensionsAngstrom: -1 Å is no size"),
        ([('Value="2.4"', 'Value="inf"')], "<GridCTF>, node 2: 'inf' must be a number"),
        ([('Depth="3"', 'Depth="4"')], "<GridCTF>: 3 nodes do not fill its 1 x 1 x 4"),
        ([('Z="1"', 'Z="2"')], "<GridCTF>: 3 nodes do not fill its 1 x 1 x 3"),
        ([('Width="1"', 'Width="one"')], "<GridCTF>: sizes and places of nodes must be whole numbers"),
        ([(grid("GridCTF", [2.5, 2.4, 2.6]), grid("GridCTF", [1, 2]))], "<GridCTF>: 2 nodes along Z for 3 tilts"),
        ([('Value="300.0"', 'Value="high"')], "<CTF>, Voltage: 'high' must be a number"),
        ([('Value="300.0"', 'Value="-300"')], "<CTF>: voltage -300 kV must be positive"),
        ([("</CTF>", "")], r"line \d+: no valid XML .*; was the file cut short"),
        ([("<TiltSeries", "<Movie"), ("</TiltSeries", "</Movie")], "begins with <Movie>, not <TiltSeries>"),
    ],
)
def test_faults(xml: Path, changes: list[tuple[str, str]], message: str) -> None:
    edit(xml, *changes)
    with pytest.raises(DataError, match=message) as caught:
        read_warp(xml)
    assert str(xml) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe\x00", "neither UTF-8 nor UTF-16"),
        (b"<TiltSeries>\xe9</TiltSeries>", "neither UTF-8 nor UTF-16"),
        (b"MAP binary", "line 1: no valid XML"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.xml"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_warp(path)
    for missing in (tmp_path / "gone.xml", tmp_path, tmp_path / "gone.tomostar"):
        with pytest.raises(DataError, match=r"cannot read .*(No such file|directory)"):
            read_warp(missing)
