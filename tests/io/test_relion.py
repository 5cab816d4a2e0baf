"""RELION sets: both versions give the same geometry, come back as written, and every fault is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.geometry.region import Region
from fourierrecon.io import (
    list_tomograms,
    read_tilt_series,
    write_relion4_set,
    write_relion5_set,
    write_stack,
)
from fourierrecon.io.files import find_file
from fourierrecon.tilt_series import CtfParameters, TiltSeries
from tests.helpers.relion_sets import RELION_4, edit, image_points


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory is not the folder of the set."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


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
