"""Faults of RELION sets: each is named, with its file, field and row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fourierrecon.errors import DataError
from fourierrecon.io import (
    list_tomograms,
    read_tilt_series,
    write_stack,
)
from fourierrecon.io.relion.read import read_relion
from tests.helpers.relion_sets import edit


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory is not the folder of the set."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            [("data_global", "data_other"), ("rlnTomoName", "rlnX")],
            "not a tomogram set: no block data_global",
        ),
        ([("rlnTomoName", "rlnX")], "column rlnTomoName is missing"),
        ([(" -1 4.0", " 0 4.0")], "column rlnTomoHand, row 1: 0 is no hand; allowed: 1 and -1"),
        ([("[0,0,0,1] 20100", "[0,0,1,0] 20100")], r"column rlnTomoProjW, row 2: \[0,0,1,0\]; .* mixed up\?"),
        ([(" 31 0\n", " 31 -2\n")], r"rlnMicrographPreExposure, row 2: -2 makes no sense; allowed: 0 to 1e\+07"),
        ([("20100 21100", "2e8 21100")], r"rlnDefocusU, row 2: 2e\+08 makes no sense; allowed: -1e\+06 to 1e\+06"),
        ([("data_TS_01", "data_TS_02")], r"no block data_TS_01 .*data_global, data_TS_02"),
        (
            [("rlnTomoTiltSeriesPixelSize", "rlnX")],
            "block data_global: column rlnTomoTiltSeriesPixelSize is miss",
        ),
        (
            [(" -1 4.0", " -1 0")],
            r"column rlnTomoTiltSeriesPixelSize, row 1: pixel size 0 Å must be positive",
        ),
        ([(" -1 4.0", " -1 -4.0")], "pixel size -4 Å"),
        ([(" -1 4.0", " -1 nan")], "rlnTomoTiltSeriesPixelSize, row 1: 'nan' is not a finite number"),
        ([(" -1 4.0", " -1 4,0")], "rlnTomoTiltSeriesPixelSize, row 1: '4,0' is not a number"),
        ([("10 8 5 -1", "10 0 5 -1")], "rlnTomoSizeY, row 1: size 0 px"),
        ([("rlnTomoProjY", "rlnX")], r"block data_TS_01: missing rlnTomoProjY; .*aligned\?"),
        (
            [("[0,1,0,6.5]", "[0,1,0]")],
            r"block data_TS_01, column rlnTomoProjY, row 3: '\[0,1,0\]' is not a vector",
        ),
        ([("[0,1,0,6.5]", "(0,1,0,6)")], "is not a vector"),
        ([("[0,1,0,6.5]", "[0,1,x,6.5]")], "rlnTomoProjY, row 3: 'x' is not a number"),
        ([("[0,1,0,6.5]", "[0,1,0,inf]")], "rlnTomoProjY, row 3: 'inf' is not a finite number"),
        ([("[0,1,0,6.5]", "[0,1,0,1e300]")], "row 3: 1e.300 px is no sensible position"),
        ([("[0,1,0,6.5]", "[0,0,0,6.5]")], "projection matrix of tilt 3 magnifies"),
        ([("[0,1,0,6.5]", "[0, 1, 0, 6.5]")], "line 34: 11 values in block data_TS_01 with its 8 columns"),
        ([("20100 21100", "20100 -")], "column rlnDefocusV, row 2: '-' is not a number"),
        ([("20100 21100", "1_0 21100")], "column rlnDefocusU, row 2: '1_0' is not a number"),
        ([("20100 21100", "20100 infinity")], "rlnDefocusV, row 2: 'infinity' is not a finite"),
        ([("31 0\n", "31 <NA>\n")], "rlnMicrographPreExposure, row 2: '<NA>' is not a number"),
        ([("300 2.7 0.1", "0 2.7 0.1")], "block data_global, rlnVoltage.*voltage 0 kV must be positive"),
        ([("300 2.7 0.1", "300 2.7 7")], "amplitude contrast 7"),
        ([("31 0\n", "31 0\n[1,0\n")], "line 34: 1 value in block data_TS_01 with its 8 columns"),
        ([("\n\ndata_TS_01", "\nTS_02 x\n\ndata_TS_01")], "line 20: 2 values in block data_global"),
        ([("_rlnTomoFrameCount #3", "_rlnTomoName #3")], "second column rlnTomoName in block data_global"),
        ([("data_TS_01", "data_global")], "second block data_global"),
        ([("TS_01 tilts.mrcs 3 10 8 5 -1 4.0 300 2.7 0.1\n", "")], "lists no tomogram"),
        (
            [("tilts.mrcs", "gone.mrcs")],
            r"rlnTomoTiltSeriesName, row 1: file gone.mrcs not found; looked in .*elsewhere",
        ),
        ([("tilts.mrcs", "/gone/tilts.mrcs")], "file /gone/tilts.mrcs not found. Correct"),
        ([("tilts.mrcs", "''")], "name of a file is empty"),
        ([("tilts.mrcs", "tomograms.star")], "tomograms.star is not an MRC file"),
    ],
)
def test_faults_of_a_relion4_set(relion4: Path, changes: list[tuple[str, str]], message: str) -> None:
    edit(relion4, *changes)
    with pytest.raises(DataError, match=message) as caught:
        read_tilt_series(relion4, "TS_01")
    assert str(relion4) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("data_TS_01", "data_TS_1")], "no block data_TS_01"),
        (
            [("rlnTomoYTilt", "rlnX"), ("rlnTomoXShiftAngst", "rlnY")],
            "missing rlnTomoYTilt, rlnTomoXShiftAngst;",
        ),
        ([("rlnMicrographName #", "rlnX #")], "column rlnMicrographName is missing .*rlnTomoTiltSeriesName"),
        ([(" 0 -60 85", " 0 - 85")], "rlnTomoYTilt, row 1: '-' is not a number"),
        ([(" 1.5 2.5", " 1e200 2.5")], "rlnTomoXShiftAngst, row 3"),
        ([("000002@tilts", "000009@tilts")], "rlnMicrographName: image 9 of .* holds 3"),
        ([("000002@tilts", "0@tilts")], "image 0 of"),
        ([("000002@tilts", "1@tilts")], "rlnMicrographName, row 2: 1@tilts.mrcs is the image of row 1 too;"),
        ([(" 0 -60 85", " 0 -6000 85")], "rlnTomoYTilt, row 1: -6000 makes no sense; allowed: -360 to 360"),
        ([("000002@tilts.mrcs", "tilts.mrcs")], "3 images; say which"),
        ([("000002@tilts.mrcs", "000002@gone.mrcs")], "rlnMicrographName, row 2: file gone.mrcs not found"),
        ([("000002@tilts.mrcs", "2@")], "name of a file is empty"),
    ],
)
def test_faults_of_a_relion5_set(relion5: Path, changes: list[tuple[str, str]], message: str) -> None:
    tilts = edit(relion5.parent / "tilt_series" / "TS_01.star", *changes)
    with pytest.raises(DataError, match=message) as caught:
        read_tilt_series(relion5)
    assert str(tilts) in str(caught.value)


def test_tilts_unlike_the_stack(relion4: Path) -> None:
    write_stack(relion4.parent / "tilts.mrcs", np.ones((4, 8, 10), np.float32), 4.0)
    with pytest.raises(DataError, match=r"3 tilts, but the stack .*tilts\.mrcs holds 4 images"):
        read_tilt_series(relion4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \r\n\n", "is empty"),
        (b"hello there\n", "not a STAR file"),
        (b"\x00\x01MAP binary", "line 1: not plain text"),
        ("data_global\n".encode("utf-16"), "not plain text"),
        (b"data_\n", "not a tomogram set.*data_"),
        (b"data_\n\nloop_\n\n", "not a tomogram set"),
        (b"data_x\nloop_\n_rlnTomoName\n", "lists no tomogram"),
        (b"data_x\nloop_\na b\n", "line 3: 'a b' is out of place"),
        (b"data_x\n_rlnTomoName a b\n", "line 2: .* out of place"),
        (b"data_x\n_rlnTomoYTilt 1\n", "give the tomograms.star"),
        (
            b"data_\n_rlnTomoTomogramsFile gone.star\n",
            "rlnTomoTomogramsFile, row 1: file gone.star not found",
        ),
        (b"data_\n_rlnTomoTomogramsFile bad.star\n", "not a tomogram set"),
    ],
)
def test_files_that_are_no_sets(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.star"
    path.write_bytes(content)
    for read in (read_tilt_series, list_tomograms):
        with pytest.raises(DataError, match=message) as caught:
            read(path)
        assert "bad.star" in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.star': No such file"):
        read_tilt_series(tmp_path / "gone.star")
    with pytest.raises(DataError, match="directory"):
        read_relion(tmp_path)
    # any other reader takes a folder for eTomo's
    with pytest.raises(DataError, match=r"neither tilt.com nor a .xf file"):
        read_tilt_series(tmp_path)
