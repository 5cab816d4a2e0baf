"""Files of IMOD as they lie on disks: other names and places, folders of other programs, and real ones."""
# ruff: noqa: F811 (fixtures are imported)

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.region import Region
from fourierrecon.io import read_tilt_series, write_stack
from fourierrecon.io.imod.alignment import read_imod
from fourierrecon.io.imod.text import read_angles
from fourierrecon.reconstruction import reconstruct
from fourierrecon.tilt_series import TiltSeries
from tests.helpers.real_data import real_data
from tests.io.test_imod import (
    ANGLES,
    CTF,
    DEFOCUS,
    HEIGHT,
    NEWST,
    WIDTH,
    N,
    check,
    edit,
    folder,  # noqa: F401  (fixtures)
    swing,
)


def test_windows_lines_comments_and_case(folder: Path) -> None:
    series = read_imod(folder)
    for path in folder.glob("*.com"):
        text = (
            path.read_text().replace("TILTFILE ", "TiltFile\t").replace("THICKNESS 20", "# THICKNESS 5\nthickness = 20")
        )
        path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    for path in (*folder.glob("*.xf"), *folder.glob("*.tlt")):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    np.testing.assert_array_equal(read_imod(folder).projections, series.projections)


def test_angles_elsewhere(folder: Path) -> None:
    series = read_imod(folder)
    edit(folder / "tilt.com", ("TILTFILE ts.tlt", "ANGLES -60 -30.5,0\nANGLES 30 61.25"))
    np.testing.assert_array_equal(read_imod(folder).projections, series.projections)
    edit(folder / "tilt.com", ("61.25", ""))
    with pytest.raises(DataError, match=r"tilt.com, line 7, ANGLES: 4 angles for 5 views"):
        read_imod(folder)


def test_many_angles_a_line_and_further_columns(folder: Path) -> None:
    series = read_imod(folder)
    for text in ("-60 -30.5 0\n30 61.25\n", "-60 10\n-30.5 5\n0 0\n30 15\n61.25 20\n"):
        (folder / "ts.tlt").write_text(text)
        np.testing.assert_array_equal(read_imod(folder).projections, series.projections)


def test_nominal_angles(folder: Path) -> None:
    (folder / "ts.tlt").rename(folder / "ts.rawtlt")
    with pytest.warns(UserWarning, match="ts.rawtlt: nominal tilt angles"):
        series = read_imod(folder)
    np.testing.assert_allclose(series.tilt_angles, ANGLES)


def test_without_command_files(folder: Path) -> None:
    for path in folder.glob("*.com"):
        path.unlink()
    for source in (folder, folder / "ts.xf"):
        series = read_imod(source)
        assert series.size is None
        # the middle of the region is that of the volume
        depth = Region.of(series).shape[0]
        assert depth == 750
        centre = np.array([(WIDTH + 1) / 2, (HEIGHT + 1) / 2, (depth + 1) / 2, 1])
        voxel = centre[:3] - 1
        found = series.projections[:, :2] @ centre
        np.testing.assert_allclose(found, swing(folder, voxel, thickness=depth), atol=1e-6)


def test_another_series_beside_it(folder: Path) -> None:
    for ending in ("xf", "tlt", "xtilt", "st"):
        shutil.copy(folder / f"ts.{ending}", folder / f"other.{ending}")
    assert read_imod(folder).name == "ts"
    series = read_imod(folder / "other.xf")
    assert (series.name, series.size) == ("other", None)


def test_double_tilt_series(folder: Path) -> None:
    for axis in "ab":
        for ending in ("xf", "tlt", "xtilt", "st"):
            shutil.copy(folder / f"ts.{ending}", folder / f"ts{axis}.{ending}")
        for name in ("tilt", "newst"):
            text = (folder / f"{name}.com").read_text().replace("ts.", f"ts{axis}.")
            (folder / f"{name}{axis}.com").write_text(text)
    (folder / "tilt.com").unlink()
    with pytest.raises(DataError, match=r"more than one alignment: tilta.com, tiltb.com; give one"):
        read_imod(folder)
    series = read_imod(folder / "tiltb.com")
    assert series.name == "tsb"
    check(series, folder)


def test_moved_folder_and_named_files(folder: Path, tmp_path: Path) -> None:
    series = read_imod(folder)
    edit(folder / "newst.com", ("ts.st", "C:\\data\\elsewhere\\ts.st"), ("ts.xf", "/gone/ts.xf"))
    edit(folder / "tilt.com", ("ts.tlt", "/gone/ts.tlt"))
    np.testing.assert_array_equal(read_imod(folder).projections, series.projections)
    (folder / "ts.st").rename(tmp_path / "raw.mrcs")
    with pytest.raises(DataError, match=r"raw stack not found \(ts.st, ts.mrc, ts.mrcs, .*\); name it with stack="):
        read_imod(folder)
    moved = read_imod(folder, stack=tmp_path / "raw.mrcs", pixel_size=2.5)
    assert moved.pixel_size == 2.5
    np.testing.assert_array_equal(moved.projections, series.projections)
    with pytest.raises(UsageError, match="pixel_size=0"):
        read_imod(folder, stack=tmp_path / "raw.mrcs", pixel_size=0)


def mycoplasma(folder: Path) -> TiltSeries:
    """The real series, with the command file that the files of its alignment lack."""
    for path in real_data("mycoplasma/imod").iterdir():
        shutil.copy(path, folder / path.name)
    (folder / "tilt.com").write_text("$tilt\nTILTFILE 00254.tlt\nFULLIMAGE 652 630\nTHICKNESS 256\n")
    return read_imod(folder, stack=real_data("mycoplasma/00254.mrcs"))


def test_equals_the_relion_set_made_from_it(tmp_path: Path) -> None:
    ours, theirs = mycoplasma(tmp_path), read_tilt_series(real_data("mycoplasma/tomograms.star"))
    assert (ours.size, ours.world_origin, ours.pixel_size) == (theirs.size, theirs.world_origin, theirs.pixel_size)
    # the set gives ten digits
    np.testing.assert_allclose(ours.projections, theirs.projections, rtol=0, atol=1e-6)


def test_gives_the_same_tomogram_as_that_set(tmp_path: Path) -> None:
    ours, theirs = mycoplasma(tmp_path), read_tilt_series(real_data("mycoplasma/tomograms.star"))
    volumes = [reconstruct(s, Region.of(s, binning=8), ctf=False, n_threads=1).data for s in (ours, theirs)]
    np.testing.assert_allclose(volumes[0], volumes[1], atol=1e-4 * float(np.abs(volumes[1]).max()))
    # the beads, which are the darkest voxels
    assert np.argmin(volumes[0]) == np.argmin(volumes[1])


def test_a_real_folder_of_etomo() -> None:
    folder = real_data("metadata/teamtomo_parsers_testdata/etomofiles/TS_001")
    series = read_imod(folder, pixel_size=1.35)
    assert (series.n_tilts, series.name, series.tilt_angles[0]) == (40, "TS_001", -57.12)
    # the axis lies near the images' x: a step along the volume's y goes along it
    step = series.projections[20, :2, 1]
    assert abs(step[0]) > 0.99


def test_real_files_with_doses_beside_the_angles(tmp_path: Path) -> None:
    folder = real_data("metadata/cets-imod_TS_03_EMPIAR-10164")
    for ending in ("xf", "tlt"):
        shutil.copy(folder / f"TS_03.{ending}", tmp_path)
    shutil.copy(folder / "TS_03_only_astigmatism.defocus", tmp_path / "TS_03.defocus")
    write_stack(tmp_path / "TS_03.st", np.zeros((40, 4, 4), np.float32), 1.35)
    (tmp_path / "tilt.com").write_text("$tilt\nTILTFILE TS_03.tlt\nTHICKNESS 10\n")
    (tmp_path / "ctfcorrection.com").write_text(CTF.replace("ts.defocus", "TS_03.defocus"))
    series = read_imod(tmp_path)
    np.testing.assert_allclose(series.tilt_angles, np.arange(-57, 61, 3))
    assert series.ctf is not None
    assert series.ctf.defocus_u[1] == pytest.approx(15638)


def test_the_folder_that_aretomo_writes_for_imod(tmp_path: Path) -> None:
    # tilt axis near x: in tilt.com the sides of the aligned images are swapped, in newst.com nothing is said
    folder = tmp_path / "ts_Imod"
    folder.mkdir()
    write_stack(folder / "ts.mrc", np.random.default_rng(3).normal(size=(N, HEIGHT, WIDTH)).astype(np.float32), 4.0)
    turn = np.radians(-85.0)
    np.savetxt(folder / "ts_st.xf", [[np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn), 1, -2]] * N, "%12.7f")
    np.savetxt(folder / "ts_st.tlt", ANGLES, "%7.2f")
    np.savetxt(folder / "ts_st.xtilt", np.zeros(N), "%8.3f")
    (folder / "newst.com").write_text(NEWST.replace("ts.st", "ts.mrc").replace("ts.xf", "ts_st.xf"))
    (folder / "ts_ctf.txt").write_text(DEFOCUS)
    (folder / "tilt.com").write_text(
        "$tilt -StandardInput\nInputProjections ts_st.ali\nOutputFile ts_st.rec\nIMAGEBINNED 1\nTILTFILE ts_st.tlt\n"
        f"THICKNESS 20\nXAXISTILT 0.0\nPERPENDICULAR\nFULLIMAGE {HEIGHT} {WIDTH}\nSUBSETSTART 0 0\nAdjustOrigin\n"
        "LOCALFILE ts_st.xf\nXTILTFILE ts_st.xtilt\nOFFSET 0.0\nSHIFT 0.0 0.0\nEXCLUDELIST 2\n"
    )
    with pytest.warns(UserWarning, match="1 of 5 views excluded: 2") as caught:
        series = read_imod(folder, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.07)
    assert len(caught) == 1  # nothing is left out
    assert series.size == (HEIGHT, WIDTH, 20)
    assert series.excluded == (2,)
    assert series.ctf is not None
    np.testing.assert_allclose(series.ctf.defocus_u, [30000, 30020, 30030, 30040])
    # the middle of the volume is that of the images but for the shift of the alignment
    middle = np.array([(HEIGHT + 1) / 2, (WIDTH + 1) / 2, 10.5, 1])
    shift = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]).T @ [-1, 2]
    np.testing.assert_allclose(
        series.projections[1, :2] @ middle, shift + np.array([WIDTH - 1, HEIGHT - 1]) / 2, atol=1e-6
    )


def test_a_box_of_any_size_is_centred_where_the_depth_is_unknown(folder: Path) -> None:
    for path in folder.glob("*.com"):
        path.unlink()
    series = read_imod(folder)
    for size in ((WIDTH, HEIGHT, 20), (31, 22, 7)):
        region = Region.of(series, size=size)
        np.testing.assert_allclose(region.centre, [(WIDTH + 1) / 2, (HEIGHT + 1) / 2, 375.5])


def test_a_number_of_any_length_is_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tlt"
    path.write_text("9" * 10**6 + "-1\n")
    started = time.process_time()
    with pytest.raises(DataError, match=r"a\.tlt, line 1"):
        read_angles(path, 1)
    assert time.process_time() - started < 2
