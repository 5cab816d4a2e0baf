"""RELION sets: both versions give the same geometry, come back as written, and every fault is named."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.geometry.region import Region
from fourierrecon.io import (
    MrcStack,
    list_tomograms,
    read_tilt_series,
    write_relion4_set,
    write_relion5_set,
    write_stack,
)
from fourierrecon.io.files import find_file
from fourierrecon.io.relion.read import Which, read_relion
from fourierrecon.io.star.table import read_tables, write_tables
from fourierrecon.tilt_series import CtfParameters, TiltSeries
from tests.helpers.real_data import real_data

RELION_4 = """
# version 30001

data_global

loop_
_rlnTomoName #1
_rlnTomoTiltSeriesName #2
_rlnTomoFrameCount #3
_rlnTomoSizeX #4
_rlnTomoSizeY #5
_rlnTomoSizeZ #6
_rlnTomoHand #7
_rlnTomoTiltSeriesPixelSize #8
_rlnVoltage #9
_rlnSphericalAberration #10
_rlnAmplitudeContrast #11
TS_01 tilts.mrcs 3 10 8 5 -1 4.0 300 2.7 0.1


data_TS_01

loop_
_rlnTomoProjX #1
_rlnTomoProjY #2
_rlnTomoProjZ #3
_rlnTomoProjW #4
_rlnDefocusU #5
_rlnDefocusV #6
_rlnDefocusAngle #7
_rlnMicrographPreExposure #8
[0.5,0,0.8660254,1] [0,1,0,2] [-0.8660254,0,0.5,0] [0,0,0,1] 20000 21000 30 6
[1,0,0,3] [0,1,0,4] [0,0,1,0] [0,0,0,1] 20100 21100 31 0
[0.5,0,-0.8660254,5] [0,1,0,6.5] [0.8660254,0,0.5,0] [0,0,0,1] 20200 21200 32 3

"""
RELION_5 = """data_global

loop_
_rlnTomoName #1
_rlnTomoTiltSeriesStarFile #2
_rlnTomoHand #3
_rlnTomoTiltSeriesPixelSize #4
_rlnVoltage #5
_rlnSphericalAberration #6
_rlnAmplitudeContrast #7
_rlnTomoSizeX #8
_rlnTomoSizeY #9
_rlnTomoSizeZ #10
TS_01 tilt_series/TS_01.star -1 4.0 300 2.7 0.1 10 8 5

"""
TILTS_5 = """data_TS_01

loop_
_rlnMicrographName #1
_rlnTomoXTilt #2
_rlnTomoYTilt #3
_rlnTomoZRot #4
_rlnTomoXShiftAngst #5
_rlnTomoYShiftAngst #6
_rlnDefocusU #7
_rlnDefocusV #8
_rlnDefocusAngle #9
_rlnPhaseShift #10
_rlnCtfScalefactor #11
_rlnMicrographPreExposure #12
_rlnMicrographNameEven #13
_rlnMicrographNameOdd #14
000001@tilts.mrcs 0 -60 85 4.0 -8.0 20000 21000 30 10 0.5 6 1@even.mrcs 3@odd.mrcs
000002@tilts.mrcs 0 0 85 0 0 20100 21100 31 11 1.0 0 2@even.mrcs 2@odd.mrcs
000003@tilts.mrcs 1 60 85.5 1.5 2.5 20200 21200 32 12 0.6 3 3@even.mrcs 1@odd.mrcs

"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory is not the folder of the set."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


@pytest.fixture
def images() -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(3, 8, 10)).astype(np.float32)


@pytest.fixture
def relion4(tmp_path: Path, images: NDArray[np.float32]) -> Path:
    write_stack(tmp_path / "tilts.mrcs", images, 4.0)
    path = tmp_path / "tomograms.star"
    path.write_text(RELION_4)
    return path


@pytest.fixture
def relion5(tmp_path: Path, images: NDArray[np.float32]) -> Path:
    write_stack(tmp_path / "tilts.mrcs", images, 4.0)
    write_stack(tmp_path / "even.mrcs", images + 100, 4.0)
    write_stack(tmp_path / "odd.mrcs", images + 200, 4.0)
    (tmp_path / "tilt_series").mkdir()
    (tmp_path / "tilt_series" / "TS_01.star").write_text(TILTS_5)
    path = tmp_path / "tomograms.star"
    path.write_text(RELION_5)
    return path


def edit(path: Path, *changes: tuple[str, str]) -> Path:
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def image_points(series: TiltSeries) -> NDArray[np.float64]:
    """Images of 27 voxels of the default region, ``(n_tilts, 2, 27)``: the same whatever the frame."""
    region = Region.of(series)
    steps = [np.linspace(0, n - 1, 3) for n in region.shape[::-1]]
    voxels = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3)
    world = np.concatenate([np.asarray(region.origin) + voxels, np.ones((27, 1))], 1)
    return np.asarray(series.projections[:, :2] @ world.T)


def random_series(seed: int, n: int = 5, x_tilt: float = 1.0) -> TiltSeries:
    rng = np.random.default_rng(seed)
    size = (float(rng.integers(8, 21)), float(rng.integers(8, 21)), float(rng.integers(3, 11)))
    height, width = (int(v) for v in rng.integers(7, 16, 2))
    centre = (size[0] // 2, size[1] // 2, size[2] // 2)
    tilts = np.linspace(-60, 60, n)
    return TiltSeries(
        rng.normal(size=(n, height, width)).astype(np.float32),
        projection_matrices(
            (height, width), centre, tilts, rng.uniform(-180, 180), x_tilt, rng.normal(size=(n, 2)) * 5
        ),
        pixel_size=float(rng.uniform(1, 10)),
        name="TS_7",
        ctf=CtfParameters.of(
            n,
            voltage=300,
            spherical_aberration=2.7,
            amplitude_contrast=0.07,
            defocus_u=rng.uniform(1e4, 5e4, n),
            defocus_v=rng.uniform(1e4, 5e4, n),
            defocus_angle=rng.uniform(-90, 90, n),
            phase_shift=rng.uniform(0, 90, n),
            scale=np.cos(np.radians(tilts)),
        ),
        exposure=rng.uniform(0, 100, n),
        tilt_angles=tilts,
        size=size,
        rotation_centre=centre,
    )


# what is read


def test_relion4(relion4: Path, images: NDArray[np.float32]) -> None:
    series = read_tilt_series(relion4)
    assert series.name == "TS_01"
    assert series.pixel_size == 4
    assert series.size == (10, 8, 5)
    assert series.world_origin == 1
    assert series.rotation_centre is None
    assert "RELION 4" in series.coordinate_frame
    assert series.source == str(relion4)
    assert series.ctf is not None
    np.testing.assert_allclose(series.projections[0, 0], [0.5, 0, 0.8660254, 1])
    np.testing.assert_allclose(series.projections[2, 1], [0, 1, 0, 6.5])
    np.testing.assert_allclose(series.ctf.defocus_v, [21000, 21100, 21200])
    np.testing.assert_allclose(series.ctf.phase_shift, 0)
    np.testing.assert_allclose(series.ctf.scale, 1)
    assert series.exposure is not None
    np.testing.assert_allclose(series.exposure, [6, 0, 3])
    np.testing.assert_array_equal(series.images[1], images[1])
    assert list_tomograms(relion4) == ["TS_01"]


def test_relion5(relion5: Path, images: NDArray[np.float32]) -> None:
    series = read_tilt_series(relion5, "TS_01")
    assert series.world_origin == 0
    assert series.rotation_centre == (5, 4, 2)
    expected = projection_matrices(
        (8, 10),
        (5, 4, 2),
        [-60, 0, 60],
        [85, 85, 85.5],
        [0, 0, 1],
        np.array([[1, -2], [0, 0], [0.375, 0.625]]),
    )
    np.testing.assert_allclose(series.projections, expected, atol=1e-12)
    np.testing.assert_allclose(series.tilt_angles, [-60, 0, 60])
    assert series.ctf is not None
    np.testing.assert_allclose(series.ctf.phase_shift, [10, 11, 12])
    np.testing.assert_allclose(series.ctf.scale, [0.5, 1, 0.6])
    np.testing.assert_array_equal(series.images[2], images[2])
    np.testing.assert_array_equal(read_tilt_series(relion5, images="even").images[0], images[0] + 100)
    np.testing.assert_array_equal(read_tilt_series(relion5, images="odd").images[0], images[2] + 200)


def test_optional_columns(relion5: Path) -> None:
    edit(
        relion5,
        (" 10 8 5\n", "\n"),
        *((f"_rlnTomoSize{a} #{n}\n", "") for a, n in zip("XYZ", (8, 9, 10), strict=True)),
    )
    edit(relion5.parent / "tilt_series" / "TS_01.star", ("rlnTomoXTilt", "rlnUnknown"), ("PreExposure", "Else"))
    series = read_tilt_series(relion5)
    assert series.size is None
    assert series.rotation_centre == (0, 0, 0)
    assert series.exposure is None
    expected = projection_matrices((8, 10), (0, 0, 0), [60], 85.5, 0, [[0.375, 0.625]])
    np.testing.assert_allclose(series.projections[2:], expected, atol=1e-12)
    assert Region.of(series).shape[1:] == (10, 8)


@pytest.mark.parametrize("column", ["rlnDefocusU", "rlnDefocusAngle", "rlnVoltage", "rlnAmplitudeContrast"])
def test_without_ctf_columns_it_reads_and_knows_what_is_missing(relion4: Path, column: str) -> None:
    series = read_tilt_series(edit(relion4, (f"_{column}", "_rlnOther")))
    assert series.ctf is None
    assert series.ctf_missing == (column,)
    assert series.select([0, 2]).ctf_missing == (column,)


def test_global_stack_comes_before_the_names_of_the_tilts(relion5: Path, images: NDArray[np.float32]) -> None:
    write_stack(relion5.parent / "other.mrcs", images + 7, 4.0)
    edit(relion5, ("_rlnTomoHand", "_rlnTomoTiltSeriesName"), (".star -1", ".star other.mrcs"))
    np.testing.assert_array_equal(read_tilt_series(relion5).images[1], images[1] + 7)


def test_one_file_per_tilt(relion5: Path, images: NDArray[np.float32]) -> None:
    tilts = relion5.parent / "tilt_series" / "TS_01.star"
    for i, image in enumerate(images):
        write_stack(relion5.parent / f"tilt {i}.mrc", image[None], 4.0)
        edit(tilts, (f"00000{i + 1}@tilts.mrcs", f'"tilt {i}.mrc:mrc"' if i else "'tilt 0.mrc'"))
    np.testing.assert_array_equal(read_tilt_series(relion5).images[2], images[2])


def test_matrices_come_before_angles_and_keep_relion5s_frame(relion5: Path) -> None:
    tilts = relion5.parent / "tilt_series" / "TS_01.star"
    matrices = "[1,0,0,3] [0,1,0,4] [0,0,1,0] [0,0,0,1]"
    edit(
        tilts,
        (
            "_rlnMicrographNameOdd #14\n",
            "_rlnMicrographNameOdd #14\n" + "".join(f"_rlnTomoProj{a}\n" for a in "XYZW"),
        ),
    )
    edit(tilts, *((f"{i}@odd.mrcs", f"{i}@odd.mrcs {matrices}") for i in (1, 2, 3)))
    series = read_tilt_series(relion5)
    np.testing.assert_allclose(series.projections[0, :2], [[1, 0, 0, 3], [0, 1, 0, 4]])
    assert (series.rotation_centre, series.world_origin) == (None, 0)
    assert "0-based" in series.coordinate_frame


def test_paths_from_working_directory_then_from_the_folders_above(
    relion4: Path, images: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = relion4.parent / "project" / "job"
    deep.mkdir(parents=True)
    (deep / "tomograms.star").write_text(RELION_4)
    optimisation = deep / "optimisation_set.star"
    optimisation.write_text("data_\n\n_rlnTomoParticlesFile none.star\n_rlnTomoTomogramsFile job/tomograms.star\n")
    assert list_tomograms(optimisation) == ["TS_01"]
    np.testing.assert_array_equal(read_tilt_series(optimisation).images[0], images[0])
    write_stack(Path("tilts.mrcs"), images + 5, 4.0)
    np.testing.assert_array_equal(read_tilt_series(deep / "tomograms.star").images[0], images[0] + 5)
    monkeypatch.chdir(deep)
    series = read_tilt_series("tomograms.star")
    monkeypatch.chdir(relion4.parent)
    np.testing.assert_array_equal(series.images[0], images[0])


def dressed(text: str) -> dict[str, bytes]:
    """The same file in other clothes."""
    lines = text.splitlines()
    rows = [i for i, line in enumerate(lines) if line.startswith(("TS_01", "[", "0000"))]
    return {
        "as it is": text.encode(),
        "Windows": text.replace("\n", "\r\n").encode(),
        "old Mac": text.replace("\n", "\r").encode(),
        "byte-order mark": b"\xef\xbb\xbf" + text.encode(),
        "no last line end": text.rstrip().encode(),
        "tabs": text.replace(" ", "\t").encode(),
        "blanks": "\n".join(f"  {line}  " for line in lines).encode(),
        "comments": "\n".join(f"# data_x\n\n{line} # note, 'unfinished\n\n" for line in lines).encode(),
        "Latin-1 comment": b"# 4 \xc5ngstr\xf6m\n" + text.encode(),
        "quotes": "\n".join(
            " ".join(f'"{w}"' if j % 2 else f"'{w}'" for j, w in enumerate(line.split())) if i in rows else line
            for i, line in enumerate(lines)
        ).encode(),
        "more columns": text.replace("PreExposure #8", "PreExposure #8\n_rlnOther #9\n_rlnMore #10")
        .replace(" 30 6\n", " 30 6 '' 'a b'\n")
        .replace(" 31 0\n", ' 31 0 "it\'s" #1\n'.replace("#1", "a#1"))
        .replace(" 32 3\n", ' 32 3 x@y.mrc ""\n')
        .encode(),
    }


@pytest.mark.parametrize("clothes", list(dressed(RELION_4)))
def test_files_in_other_clothes(relion4: Path, clothes: str) -> None:
    expected = read_tilt_series(relion4)
    relion4.write_bytes(dressed(RELION_4)[clothes])
    series = read_tilt_series(relion4, "TS_01")
    np.testing.assert_array_equal(series.projections, expected.projections)
    assert series.ctf is not None
    np.testing.assert_array_equal(series.ctf.defocus_u, [20000, 20100, 20200])


@pytest.mark.parametrize(
    "name",
    ["01", "1e5", "NA", "nan", "NaN", "<NA>", "None", "true", "-", "O'Brien#2", "a%20b", "0x1F", "Å", "_x"],
)
def test_names_stay_as_they_are_written(relion4: Path, name: str) -> None:
    edit(relion4, ("TS_01", name))
    (relion4.parent / "tilts.mrcs").rename(relion4.parent / f"{name}.mrcs")
    edit(relion4, ("tilts.mrcs", f"{name}.mrcs"))
    assert list_tomograms(relion4) == [name]
    assert read_tilt_series(relion4).name == name
    assert read_tilt_series(relion4, name).images.shape == (3, 8, 10)


def test_list_form_and_single_rows(relion4: Path) -> None:
    head, tilts = RELION_4.split("data_TS_01")
    labels = [line.split()[0] for line in head.splitlines() if line.startswith("_")]
    values = next(line for line in head.splitlines() if line.startswith("TS_01")).split()
    as_list = "\n".join(f"{a}   {b}" for a, b in zip(labels, values, strict=True))
    relion4.write_text(f"data_global\n\n{as_list}\n\ndata_TS_01{tilts}")
    series = read_tilt_series(relion4)
    assert (series.name, series.pixel_size, series.n_tilts) == ("TS_01", 4, 3)
    write_stack(relion4.parent / "tilts.mrcs", np.ones((1, 8, 10), np.float32), 4.0)
    one = "\n".join(line for line in RELION_4.splitlines() if not line.startswith(("[1", "[0.5,0,-")))
    relion4.write_text(one)
    assert read_tilt_series(relion4).n_tilts == 1


def test_several_tomograms(relion4: Path, images: NDArray[np.float32]) -> None:
    head, tilts = RELION_4.split("data_TS_01")
    row = next(line for line in head.splitlines() if line.startswith("TS_01"))
    both = head.replace(row, f"{row}\n{row.replace('TS_01', 'TS_02').replace('tilts', 'two')}")
    second = tilts.replace("20000", "33333")
    relion4.write_text(f"{both}data_TS_01{tilts}data_TS_02{second}")
    write_stack(relion4.parent / "two.mrcs", images * 2, 4.0)
    assert list_tomograms(relion4) == ["TS_01", "TS_02"]
    series = read_tilt_series(relion4, "TS_02")
    assert series.ctf is not None
    assert series.ctf.defocus_u[0] == 33333
    np.testing.assert_array_equal(series.images[0], images[0] * 2)
    with pytest.raises(UsageError, match=r"2 tomograms.*TS_01, TS_02"):
        read_tilt_series(relion4)
    with pytest.raises(UsageError, match=r"unknown tomogram 'TS_03'.*TS_01, TS_02"):
        read_tilt_series(relion4, "TS_03")
    with pytest.raises(UsageError, match="available: full, even, odd"):
        read_tilt_series(relion4, "TS_02", images="half")  # type: ignore[arg-type]
    edit(relion4, ("TS_02 ", "TS_01 "))
    with pytest.raises(UsageError, match="more than one tomogram 'TS_01'"):
        read_tilt_series(relion4, "TS_01")


# round trips, and both versions against each other


def check_same(series: TiltSeries, expected: TiltSeries) -> None:
    np.testing.assert_allclose(image_points(series), image_points(expected), atol=1e-6)
    assert series.size == expected.size
    assert series.pixel_size == pytest.approx(expected.pixel_size, rel=1e-11)
    assert series.ctf is not None
    assert expected.ctf is not None
    for key in ("voltage", "spherical_aberration", "amplitude_contrast"):
        assert getattr(series.ctf, key) == getattr(expected.ctf, key)
    for key in ("defocus_u", "defocus_v", "defocus_angle", "phase_shift", "scale"):
        np.testing.assert_allclose(getattr(series.ctf, key), getattr(expected.ctf, key), rtol=1e-11)
    assert series.exposure is not None
    assert expected.exposure is not None
    np.testing.assert_allclose(series.exposure, expected.exposure, rtol=1e-11)
    for i in range(series.n_tilts):
        np.testing.assert_array_equal(series.images[i], expected.images[i])


@pytest.mark.parametrize("seed", range(6))
def test_both_versions_describe_the_same_series(tmp_path: Path, seed: int) -> None:
    series = random_series(seed, x_tilt=seed % 3)
    half = np.asarray(series.images)
    four = write_relion4_set(tmp_path / "4", series, even=half + 1, odd=half + 2)
    five = write_relion5_set(tmp_path / "5", series, stack_name="stacks/x.st", even=half + 1, odd=half + 2)
    check_same(read_tilt_series(four), series)
    check_same(read_tilt_series(five), series)
    np.testing.assert_allclose(read_tilt_series(five).projections, series.projections, atol=1e-8)
    one = np.eye(4)
    one[:3, 3] = 1
    np.testing.assert_allclose(read_tilt_series(four).projections @ one, series.projections, atol=1e-8)
    for path in (four, five):
        np.testing.assert_array_equal(read_tilt_series(path, images="even").images[1], half[1] + 1)
        np.testing.assert_array_equal(read_tilt_series(path, images="odd").images[4], half[4] + 2)
        assert list_tomograms(path.parent / "optimisation_set.star") == ["TS_7"]
    # and from one version to the other
    check_same(read_tilt_series(write_relion5_set(tmp_path / "45", read_tilt_series(four))), series)
    check_same(read_tilt_series(write_relion4_set(tmp_path / "54", read_tilt_series(five))), series)
    again = write_relion5_set(
        tmp_path / "again",
        series,
        series.tilt_angles,
        np.degrees(np.arctan2(series.projections[:, 1, 0], series.projections[:, 0, 0])),
        seed % 3,
    )
    check_same(read_tilt_series(again), series)


def test_sets_of_a_series_that_knows_little(tmp_path: Path) -> None:
    matrices = random_series(3).projections
    series = TiltSeries(np.ones((5, 9, 12), np.float32), matrices, 2.0)
    for path in (write_relion4_set(tmp_path / "4", series), write_relion5_set(tmp_path / "5", series)):
        back = read_tilt_series(path)
        np.testing.assert_allclose(image_points(back), image_points(series), atol=1e-6)
        assert back.ctf is None
        assert "rlnVoltage" in back.ctf_missing
        assert back.exposure is None
        with pytest.raises(DataError, match=r"rlnMicrographNameEven is missing.*no half images"):
            read_tilt_series(path, images="even")


def test_same_series_gives_the_same_files_and_blanks_are_quoted(tmp_path: Path) -> None:
    series = random_series(2)
    for write in (write_relion4_set, write_relion5_set):
        first, second = (write(tmp_path / c, series, stack_name="my tilts.mrcs") for c in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()
        check_same(read_tilt_series(first), series)
    assert (tmp_path / "a" / "my tilts.mrcs").read_bytes() == (tmp_path / "b" / "my tilts.mrcs").read_bytes()


def test_what_cannot_be_written(tmp_path: Path) -> None:
    series = random_series(0)
    with pytest.raises(UsageError, match=r"miss the projection matrices of TS_7 by up to"):
        write_relion5_set(tmp_path, series, tilt_angles=series.tilt_angles + 1)
    sheared = TiltSeries(series.images, series.projections * [[1.1], [1], [1], [1]], 1.0)
    with pytest.raises(UsageError, match="write a RELION 4 set"):
        write_relion5_set(tmp_path, sheared)
    check = read_tilt_series(write_relion4_set(tmp_path, sheared))
    np.testing.assert_allclose(image_points(check), image_points(sheared), atol=1e-6)
    with pytest.raises(UsageError, match="one word"):
        write_relion4_set(tmp_path, TiltSeries(series.images, series.projections, 1.0, "two words"))
    with pytest.raises(UsageError, match="even images have shape"):
        write_relion4_set(tmp_path, series, even=np.zeros((1, 2, 3)))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write"):
        write_relion4_set(tmp_path / "file", series)


# faults


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
        ([("31 0\n", "31 0\n[1,0\n")], "line 34: 1 values in block data_TS_01 with its 8 columns"),
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


# real files


@pytest.mark.parametrize(
    ("four", "five", "tolerance"),
    [
        ("mycoplasma/optimisation_set.star", "mycoplasma/relion5_tomograms.star", 1e-3),
        ("relion_small/relion4/optimisation_set.star", "relion_small/relion5/tomograms.star", 1e-3),
    ],
)
def test_shared_sets_of_both_versions_agree(four: str, five: str, tolerance: float) -> None:
    a, b = read_tilt_series(real_data(four)), read_tilt_series(real_data(five))
    assert (a.world_origin, b.world_origin) == (1, 0)
    np.testing.assert_allclose(image_points(a), image_points(b), atol=tolerance)
    assert a.ctf is not None
    assert b.ctf is not None
    np.testing.assert_allclose(a.ctf.defocus_u, b.ctf.defocus_u)
    np.testing.assert_allclose(a.tilt_angles, b.tilt_angles, atol=1e-3)
    np.testing.assert_array_equal(a.images[3], b.images[3])


def test_shared_half_sets() -> None:
    path = real_data("relion_small/relion5/tomograms.star")
    choices: tuple[Which, ...] = ("full", "even", "odd")
    full, even, odd = (read_tilt_series(path, images=which).images[0].astype(float) for which in choices)
    assert not np.array_equal(even, odd)
    assert np.corrcoef(full.ravel(), (even + odd).ravel())[0, 1] > 0.9


class Blank:
    """Stands for images that are not there."""

    def __init__(self, sources: list[object]) -> None:
        self.shape = (len(sources), 8, 10)

    def __getitem__(self, index: int, /) -> NDArray[np.float32]:
        return np.zeros(self.shape[1:], np.float32)


def test_a_whole_relion5_project(monkeypatch: pytest.MonkeyPatch) -> None:
    project = real_data("metadata/relion5-tutorial_EMPIAR-10164_metadata")
    names = ["TS_01", "TS_03", "TS_43", "TS_45", "TS_54"]
    aligned = [
        project / "AlignTiltSeries" / "job005" / "aligned_tilt_series.star",
        project / "Tomograms" / "job006" / "tomograms.star",
        project / "CtfRefine" / "job027" / "optimisation_set.star",
        project / "Polish" / "job030" / "tomograms.star",
    ]
    for path in aligned:
        assert list_tomograms(path) == names
        for name in names:
            with pytest.raises(DataError, match=r"rlnMicrographName, row 1: file MotionCorr/.* not found; looked in"):
                read_tilt_series(path, name)
    with pytest.raises(DataError, match="rlnTomoTiltSeriesPixelSize is missing"):
        read_tilt_series(project / "Import" / "job001" / "tilt_series.star", "TS_01")
    with pytest.raises(DataError, match=r"missing rlnTomoYTilt.*aligned\?"):
        read_tilt_series(project / "CtfFind" / "job003" / "tilt_series_ctf.star", "TS_01")
    monkeypatch.setattr("fourierrecon.io.relion.read.FileImages", Blank)
    monkeypatch.setattr("fourierrecon.io.relion.read._find_image", lambda *_: Path(os.devnull))
    for path in aligned:
        for name in names:
            series = read_tilt_series(path, name)
            assert series.n_tilts == 40 or name != "TS_01"
            assert series.pixel_size == 1.35
            assert series.ctf is not None
            assert series.size in (None, (4000, 4000, 2000))


def test_odd_headers_of_real_stacks() -> None:
    for path in real_data("needle").glob("*.mrc"):
        with pytest.warns(UserWarning, match="no MAP mark"):
            images = MrcStack(path)
        assert images[0].shape == images.shape[1:]


def test_names_that_lead_elsewhere_are_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path = tmp_path / "somewhere"
    for folder in ("project/set", "elsewhere", "work"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("project/a.mrc", "project/set/a.mrc", "elsewhere/a.mrc", "elsewhere/b.mrc", "work/a.mrc"):
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path / "work")
    star = tmp_path / "project/set/tomograms.star"
    # below the working directory, the STAR file's folder, or where a path of RELION's starts from
    for name in ("a.mrc", "set/a.mrc", str(tmp_path / "project/set/a.mrc"), str(tmp_path / "work/a.mrc")):
        find_file(name, star, where="here")
    assert caplog.messages == []
    for name in (str(tmp_path / "elsewhere/a.mrc"), "../../elsewhere/b.mrc", str(tmp_path / "elsewhere/a.mrc")):
        find_file(name, star, where="here")
    assert caplog.messages == [f"here: leads outside of its data, to {tmp_path / 'elsewhere'}"]


def test_a_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    path.write_text("data_a\n\nloop_\n_x\n1\n")
    os.utime(path, (1e9, 1e9))  # not just written
    first = read_tables(path)
    assert read_tables(path)["a"] is first["a"]  # asked for again and again, for each tomogram of a set
    path.write_text("data_a\n\nloop_\n_x\n1\n2\n")
    assert read_tables(path)["a"].numbers("x").tolist() == [1, 2]
    path.unlink()
    with pytest.raises(DataError, match=r"a\.star"):
        read_tables(path)


WORDS = [
    "a",
    "",
    "a b",
    "tab\there",
    "it's",
    '"',
    "'x y'",
    "#1",
    "-",
    "nan",
    "1e5",
    "Å",
    "bad\udcff.mrc",
    "\xa0",
    "a\u2028b",
]


def test_written_values_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    tables: dict[str, dict[str, object]] = {
        "": {"k": "v", "empty": ""},
        "loop": {"first": WORDS, "second": ["1"] * len(WORDS)},
        "none": {"first": [], "second": []},
    }
    write_tables(path, tables)
    read = read_tables(path)
    assert list(read) == list(tables)
    assert dict(read[""].columns) == {"k": ["v"], "empty": [""]}
    assert {label: list(words) for label, words in read["loop"].columns.items()} == tables["loop"]
    assert dict(read["none"].columns) == tables["none"]


def test_another_program_reads_what_is_written(tmp_path: Path) -> None:
    import starfile

    path = tmp_path / "a.star"
    write_tables(path, {"global": {"rlnA": ["1", "2"], "rlnB": ["x y", "z"]}, "more": {"rlnC": "3"}})
    read = starfile.read(path)
    assert read["global"].to_dict("list") == {"rlnA": [1, 2], "rlnB": ["x y", "z"]}
    assert read["more"] == {"rlnC": 3}


@pytest.mark.parametrize("word", ["a\nb", "a\rb", "\x1b", "a \"b' c"])
def test_values_that_no_star_file_holds(tmp_path: Path, word: str) -> None:
    with pytest.raises(DataError, match=r"cannot write .*a\.star: .* which no STAR file can hold; rename it"):
        write_tables(tmp_path / "a.star", {"": {"k": word}})
    assert not (tmp_path / "a.star").exists()


@pytest.mark.parametrize("text", ["data_x\n_a 1\n" + "".join(f"\ndata_{i}\n_a 1\n" for i in range(20000)),
                                  "data_\nloop_\n" + "".join(f"_a{i}\n" for i in range(40000))])  # fmt: skip
def test_many_blocks_and_columns_take_no_more_than_their_share(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.star"
    path.write_text(text)
    started = time.process_time()
    read_tables(path)
    assert time.process_time() - started < 5
