"""Files of IMOD with faults: each is named by file and line."""
# ruff: noqa: F811 (fixtures are imported)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fourierrecon.errors import DataError
from fourierrecon.io.imod.alignment import read_imod
from fourierrecon.io.imod.text import read_command_file, view_list
from tests.io.test_imod import (
    ANGLES,
    NEWST,
    TILT,
    check,
    edit,
    folder,  # noqa: F401  (fixtures)
)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ts.xf", "", "ts.xf is empty"),
        ("ts.xf", "# nothing\n", "ts.xf holds no numbers"),
        ("ts.xf", "1 0 0 1 0 0\n1 0 0 1 0\n", "ts.xf, line 2: 5 values, but a transformation"),
        ("ts.xf", "1 0 0 1 0 nan\n", "ts.xf, line 1: 'nan' is not a number"),
        ("ts.xf", "1 0 0 1 0 ****\n", r"ts.xf, line 1: '\*\*\*\*' is not a number"),
        ("ts.xf", "1 0 0 1 0 1e9\n", "ts.xf, line 1: '1e9'"),
        ("ts.xf", "\n1 0 0 1 0 0\n1 1 1 1 0 0\n", "ts.xf, line 3: this transformation magnifies by 2 and"),
        ("ts.xf", "1 0 0 1 0 0\n" * 4, "ts.st holds 5 images, but ts.xf has 4 lines"),
        ("ts.xf", "\0\1", "ts.xf, line 1: not plain text"),
        ("ts.tlt", "", "ts.tlt is empty"),
        ("ts.tlt", "-60\n0\n60\n", r"ts.tlt, line 3 \(its last\): 3 tilt angles for 5 views"),
        ("ts.tlt", "-60\nx\n", "ts.tlt, line 2: 'x' is not a number"),
        ("ts.tlt", "-60,01\n-30,5\n0,0\n30,5\n60,2\n", r"ts.tlt, line 1: '-60,01' has a decimal comma; .* \(-60.01\)"),
        ("ts.tlt", "-60\n-30\n,5\n30\n60\n", "ts.tlt, line 3: ',5' has a decimal comma"),
        ("ts.xtilt", "0,5 " * 5, "ts.xtilt, line 1: '0,5' has a decimal comma"),
        ("ts.xf", "0,98 -0,17 0,17 0,98 2,5 -1,0\n", "ts.xf, line 1: '0,98' has a decimal comma"),
        ("ts.xtilt", "1\n2\n", r"ts.xtilt, line 2 \(its last\): 2 x tilts for 5 views"),
        ("ts.st", "no stack", "ts.st is not an MRC file"),
        ("tilt.com", "", "tilt.com is empty"),
        ("tilt.com", TILT.replace("THICKNESS 20", "THICKNESS big"), "line 8, THICKNESS: 'big' is not a number"),
        ("tilt.com", TILT.replace("THICKNESS 20", "THICKNESS 2 0"), "line 8, THICKNESS: 2 values, but it takes 1"),
        ("tilt.com", TILT.replace("BINNED 1", "BINNED 0"), "line 5, IMAGEBINNED: binning 0; allowed: 1 to 1000"),
        ("tilt.com", TILT + "$tilt\nSUBSETSTART 1\n", "line 11, SUBSETSTART: 1 value, but it takes 2"),
        ("tilt.com", TILT + "$tilt\nOFFSET 1 2 3\n", "line 11, OFFSET: 3 values, but it takes 1 to 2"),
        ("tilt.com", TILT + "$tilt\nEXCLUDELIST 3-2\n", "line 11, EXCLUDELIST: '3-2' in a list of views"),
        ("tilt.com", TILT + "$tilt\nEXCLUDELIST 1-9\n", "line 11, EXCLUDELIST: '1-9' .* allowed: numbers from 1 to 5"),
        ("tilt.com", TILT + "$tilt\nEXCLUDELIST 1-5\n", "line 11, EXCLUDELIST: all 5 views are excluded"),
        ("tilt.com", TILT.replace("ts.xtilt", "gone.xtilt"), "line 7, XTILTFILE: gone.xtilt not found"),
        (
            "tilt.com",
            TILT + "$tilt\nSLICE 5 40\n",
            "line 11, SLICE: 5 40; allowed: first and last of 40 slices, from 0",
        ),
        ("tilt.com", TILT + "$tilt\nSLICE 9 5\n", "line 11, SLICE: 9 5; allowed"),
        ("tilt.com", TILT + "$tilt\nXAXISTILT 900\n", "line 11, XAXISTILT: angles come to 9.* degrees"),
        ("tilt.com", TILT.replace("BINNED 1", "BINNED 2"), "IMAGEBINNED: 2, but .*newst.com, BinByFactor, makes it 1;"),
        ("ts.tlt", "-60\n-3050\n0\n30\n60\n", "ts.tlt, line 2: angle -3050; allowed: up to 360 degrees"),
        ("newst.com", NEWST.replace("ts.xf", "gone.xf"), "newst.com, line 5, TransformFile: gone.xf not found"),
        ("newst.com", NEWST + "RotateByAngle 90\n", "newst.com, line 9, RotateByAngle: not supported"),
        ("newst.com", NEWST.replace("0.0,0.0", "5,0"), "newst.com, line 6, OffsetsInXandY: not supported"),
        ("newst.com", NEWST + "SizeToOutputInXandY 0 9\n", "newst.com, line 9, SizeToOutputInXandY: 0 px"),
    ],
)
def test_faults(folder: Path, name: str, content: str, message: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read_imod(folder)
    assert name in str(caught.value)
    assert str(caught.value).count("\n") <= 1


def test_a_command_file_that_was_cut_short(folder: Path) -> None:
    edit(folder / "tilt.com", ("THICKNESS 20\n", ""))
    with pytest.warns(UserWarning, match=r"tilt.com: no THICKNESS, so the depth is not known; was the file cut short"):
        assert read_imod(folder).size is None


def test_missing_files(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.xf' not found; give an eTomo folder"):
        read_imod(folder / "gone.xf")
    with pytest.raises(DataError, match=r"holds neither tilt.com nor a .xf file"):
        read_imod(tmp_path)
    with pytest.raises(DataError, match=r"ts.tlt is neither a .com nor a .xf file"):
        read_imod(folder / "ts.tlt")
    (folder / "ts.tlt").unlink()
    with pytest.raises(DataError, match=r"ts.tlt not found, nor .rawtlt"):
        read_imod(folder)
    (folder / "ts.xf").unlink()
    with pytest.raises(DataError, match=r"ts.xf not found; was the final aligned stack not made yet"):
        read_imod(folder)
    (folder / "newst.com").unlink()
    (folder / "tilt.com").write_text("$tilt\nTHICKNESS 5\n")
    with pytest.raises(DataError, match=r"tilt.com does not name the series"):
        read_imod(folder)


def test_no_pixel_size(folder: Path) -> None:
    raw = (folder / "ts.st").read_bytes()
    (folder / "ts.st").write_bytes(raw[:40] + bytes(12) + raw[52:])
    with pytest.raises(DataError, match=r"ts.st: no sensible pixel size in its header .*pixel_size=\.\.\."):
        read_imod(folder)
    assert read_imod(folder, pixel_size=3).pixel_size == 3


def test_old_command_files(folder: Path) -> None:
    text = "$tilt\nts.ali\nts.rec\nTILTFILE ts.tlt\nXTILTFILE ts.xtilt\nTHICKNESS 20\nPERPENDICULAR\nDONE\n"
    (folder / "tilt.com").write_text(text)
    check(read_imod(folder), folder)
    (folder / "bare.com").write_text("THICKNESS 7\n")
    assert read_command_file(folder / "bare.com", "tilt").numbers("Thickness", 1, 1) == [7]


@pytest.mark.parametrize(
    "text", ["-60,-30.5,0,30,61.25\n", "-60, -30.5, 0, 30, 61.25", "-60\n-30.5, 3\n0.0,6\n30\n61.25"]
)
def test_commas_between_angles(folder: Path, text: str) -> None:
    (folder / "ts.tlt").write_text(text)
    np.testing.assert_allclose(read_imod(folder).tilt_angles, ANGLES)


def test_view_lists() -> None:
    assert view_list("1-3,7", "", 9) == {0, 1, 2, 6}
    assert view_list("1 - 3, 7 ,", "", 9) == {0, 1, 2, 6}
    assert view_list("", "", 9) == set()
