"""Tables of points: read, converted, written, and refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fourierrecon.errors import DataError, UsageError
from fourierrecon.io.points import Points, read_points, write_points

Run = Callable[..., tuple[int, str, str]]
POINTS = np.array([[0, 0, 0], [40, 35, 20], [7.25, 30.5, 3]])
BOX = "--size 40 36 20 --angpix 10"


@pytest.mark.parametrize("suffix", [".csv", ".star", ".json", ".mod"])
@pytest.mark.parametrize("centred", [False, True])
def test_points_come_back(suffix: str, centred: bool, tmp_path: Path) -> None:
    path = tmp_path / f"points{suffix}"
    written = Points(POINTS, ["TS_1"] * 3, {"rlnClassNumber": [1, 2, 3], "object_id": [0, 0, 1]})
    write_points(path, written, centred=centred)
    read = read_points(path, centred=centred)
    np.testing.assert_allclose(read.coordinates, POINTS, atol=1e-5)
    if suffix != ".mod":
        assert read.tomograms == ["TS_1"] * 3
    if suffix in (".csv", ".star"):
        assert [int(v) for v in read.columns["rlnClassNumber"]] == [1, 2, 3]
    if suffix == ".mod":
        assert read.columns["object_id"] == [0, 0, 1]


def test_other_blocks_of_a_star_file_stay(run: Run, tmp_path: Path) -> None:
    path, other = tmp_path / "a.star", tmp_path / "b.star"
    path.write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnVoltage\n1 300\n\n"
        "data_particles\n\nloop_\n_rlnTomoName\n_rlnCenteredCoordinateXAngst\n_rlnCenteredCoordinateYAngst\n"
        "_rlnCenteredCoordinateZAngst\n_rlnAngleRot\nTS_1 0 10 -20 5\n"
    )
    status, _, err = run(f"convert-coords {path} {other} --from relion5 --to relion5-px {BOX}")
    assert (status, err) == (0, "")
    read = read_points(other)
    assert read.coordinates.tolist() == [[20, 19, 8]]
    assert read.columns["rlnAngleRot"] == ["5"]
    assert read.blocks == {"optics": {"rlnOpticsGroup": ["1"], "rlnVoltage": ["300"]}}


def test_orientations_are_left_out_where_axes_turn(run: Run, tmp_path: Path) -> None:
    path, other = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_text("x,y,z,rlnAngleRot,score\n1,2,3,40,0.5\n")
    _, out, _ = run(f"convert-coords {path} {other} --from volume --to warp {BOX}")
    assert "which mirrors" in out
    assert "left out: rlnAngleRot" in out
    assert other.read_text().splitlines() == ["x,y,z,score", "0.910000,2.000000,16.500000,0.5"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "u,v,w\n1,2,3\n", r"a\.csv: no columns rlnCoordinateX, .* or x, y, z; there are u, v, w"),
        ("a.csv", "x,y,z\n1,2,3\n1,b,3\n", r"a\.csv, column y, row 2: 'b' is not a finite number"),
        ("a.csv", "", r"a\.csv is empty"),
        ("a.csv", "#\n", r"a\.csv: not a table with a line of column names"),
        ("a.csv", "x,y,z\n1,2\n", r"a\.csv, row 1: 2 values, but there are 3 columns"),
        ("a.csv", "x,y,z,x\n1,2,3,4\n", r"a\.csv: a second column 'x'"),
        ("a.csv", f"x,y,z\n{' ' * 10**6}3,1,b\n", r"a\.csv, column z, row 1: 'b'"),
        ("a.csv", f"x,y,z\n1,2,'{'3' * 10**5}\n", r"a\.csv, column z, row 1: .{,300} is not a finite number"),
        ("a.star", "data_\n\nloop_\n_a\n_b\n1 2\n", r"a\.star: no block has columns of coordinates"),
        ("a.star", "data_\n\nloop_\n_rlnCoordinateX\n1\n", r"a\.star, block data_: no columns rlnCoordinateX"),
        ("a.json", "{}", r"a\.json: not copick's picks"),
        ("a.json", "[1", r"a\.json: not JSON .*; needed are copick's picks"),
        ("a.json", "[" * 10**6, r"a\.json: lists in lists, too deep to be read"),
        ("a.json", '{"points": [{"location": {"x": 1e999, "y": 0, "z": 0}}]}', r"a\.json: not copick's picks"),
        ("a.json", '{"points": [{"location": {"x": "1", "y": 0, "z": 0}}]}', r"a\.json: not copick's picks"),
        ("a.mod", "IMODV1.2", r"a\.mod: cannot be read as a model of IMOD"),
    ],
)
def test_damaged_files_of_points(name: str, text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_points(path)


def test_points_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.tbl: points are read from and written to \.csv, \.star"):
        read_points(tmp_path / "a.tbl")
    path = tmp_path / "a.star"
    labels = "".join(f"_rlnCenteredCoordinate{axis}Angst\n" for axis in "XYZ")
    path.write_text(f"data_\n\nloop_\n{labels}1 2 3\n")
    with pytest.raises(DataError, match=r"coordinates are those of RELION 5 .*; give source=relion5"):
        read_points(path)


def test_points_of_a_set_with_several_tomograms(run: Run, two_sets: Path) -> None:
    path, other = two_sets / "a.csv", two_sets / "b.csv"
    path.write_text("rlnTomoName,x,y,z\nTS_02,0,0,0\nTS_01.tomostar,0,0,0\n")
    status, _, err = run(f"convert-coords {path} {other} --from volume --to relion5 --t {two_sets}/tomograms.star")
    assert (status, err) == (0, "")
    # sizes 50 x 46 x 20 and 40 x 36 x 16 px of 10 Å
    assert read_points(other).coordinates.tolist() == [[-250, -230, -100], [-200, -180, -80]]
    run(f"convert-coords {path} {other} --from volume --to relion5 --t {two_sets}/tomograms.star --tn TS_02")
    assert read_points(other).coordinates.tolist() == [[-250, -230, -100]]
    path.write_text("x,y,z\n0,0,0\n")
    _, _, err = run(f"convert-coords {path} {other} --from volume --to relion5 --t {two_sets}/tomograms.star")
    assert "choose one with --tn: TS_01, TS_02" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--from volume --to imod", "give one of --t, --volume or --size, to say which tomogram; 0 are given"),
        ("--from volume --to imod --size 4 5 6", "--size and --angpix belong together"),
        (f"--from volume --to imods {BOX}", "unknown frame 'imods'; available: volume, relion4"),
        (f"--from relion4 --to imod {BOX} --from_bin 2", "relion4 coordinates do not depend on the binning"),
        ("--from volume --to imod --volume no.mrc", "no.mrc: no passport no.passport.json beside it"),
    ],
)
def test_wrong_options(options: str, message: str, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,y,z\n0,0,0\n")
    status, _, err = run(f"convert-coords {path} {tmp_path}/b.csv {options}")
    assert status
    assert message in err
    assert not (tmp_path / "b.csv").exists()


def test_damaged_models_end(tmp_path: Path) -> None:
    """Cut at any byte, or with a count of points that no file has: one error at once, and little memory."""
    path = tmp_path / "a.mod"
    write_points(path, Points(POINTS))
    raw = path.read_bytes()
    for end in range(len(raw)):
        path.write_bytes(raw[:end])
        with pytest.raises(DataError, match=r"a\.mod: cannot be read as a model of IMOD"):
            read_points(path)
    place = raw.index(b"CONT") + 4
    for count in (-1, 4, 1 << 28, (1 << 31) - 1):
        path.write_bytes(raw[:place] + count.to_bytes(4, "big", signed=True) + raw[place + 4 :])
        with pytest.raises(DataError, match="it is cut off, or damaged, at byte"):
            read_points(path)


def test_models_are_read_as_their_library_reads_them(tmp_path: Path) -> None:
    import imodmodel

    path = tmp_path / "a.mod"
    write_points(path, Points(np.arange(21.0).reshape(7, 3), None, {"object_id": [0, 0, 0, 1, 1, 2, 2],
                                                                   "contour_id": [0, 1, 1, 0, 0, 0, 1]}))  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        expected = imodmodel.read(path)
    read = read_points(path)
    np.testing.assert_array_equal(read.coordinates, expected[["x", "y", "z"]].to_numpy())
    for label, values in read.columns.items():
        assert values == expected[label].tolist()


@pytest.mark.parametrize("suffix", [".mod", ".json"])
@pytest.mark.parametrize("word", ["abc", "nan", "-1", "1e30"])
def test_columns_that_a_file_cannot_hold(suffix: str, word: str, tmp_path: Path) -> None:
    label = "object_id" if suffix == ".mod" else "instance_id"
    with pytest.raises(DataError, match=f"a{suffix}.*{label}"):
        write_points(tmp_path / f"a{suffix}", Points(POINTS, None, {label: [word] * 3}))


def test_points_in_other_clothes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for text in (
        "x,y,z\n1,2,3\n",
        "\ufeffx; y ;z\r\n1;2; 3\r\n",
        "# note\n\nx\ty\tz\n1\t2\t3",
        "x,y,z,,\n1,2,3,,\n",
        'x,"y",z\n1,2,"3",\n',
    ):
        path.write_text(text)
        assert read_points(path).coordinates.tolist() == [[1, 2, 3]], text


def test_no_formula_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_points(path, Points(POINTS, ["=1+1"] * 3, {"score": ["-1.5", "@x", "+2"]}))
    assert [line.split(",")[0::4] for line in path.read_text().splitlines()[1:]] == [
        ["'=1+1", "-1.5"], ["'=1+1", "'@x"], ["'=1+1", "+2"]
    ]  # fmt: skip
