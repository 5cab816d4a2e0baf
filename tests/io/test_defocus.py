"""Defocus files of ctfplotter: all versions and flags, ranges of views, and every fault named."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fourierrecon.errors import DataError
from fourierrecon.io.imod.defocus import Defocus, read_defocus
from fourierrecon.io.imod.text import read_angles
from fourierrecon.io.star.table import read_tables
from tests.helpers.real_data import real_data

ANGLES = np.array([-60.0, -30.0, 0.0, 30.0, 60.0])


def read(tmp_path: Path, text: str) -> Defocus:
    path = tmp_path / "ts.defocus"
    path.write_text(text)
    return read_defocus(path, ANGLES)


def values(defocus: Defocus, i: int) -> list[float]:
    return [round(float(v[i]), 6) for v in (defocus.u, defocus.v, defocus.angle, defocus.phase_shift)]


@pytest.mark.parametrize("first", [1, 0])
@pytest.mark.parametrize("version", [" 2", ""])
def test_plain_versions(tmp_path: Path, first: int, version: str) -> None:
    text = "\n".join(f"{i + first} {i + first} {a} {a} {2000 + 10 * i}" for i, a in enumerate(ANGLES))
    text = text.replace("2000", f"2000{version}", 1) + "\n"
    if version and not first:
        with pytest.raises(DataError, match=r"line 1: views 0 to 0, but the stack has 5 \(from 1\)"):
            read(tmp_path, text)
        return
    defocus = read(tmp_path, text)
    assert [values(defocus, i) for i in range(5)] == [[20000 + 100 * i] * 2 + [0, 0] for i in range(5)]


def test_an_old_file_that_counts_one_too_low(tmp_path: Path) -> None:
    """It has no view 0, but the angles tell, whatever their sign."""
    for sign in (1, -1):
        text = "".join(f"{i} {i} {sign * ANGLES[i]} {sign * ANGLES[i]} {2000 + i}\n" for i in range(1, 5))
        assert list(read(tmp_path, text).u) == [20010, 20010, 20020, 20030, 20040]
        text = "".join(f"{i} {i} {sign * ANGLES[i - 1]} {sign * ANGLES[i - 1]} {2000 + i}\n" for i in range(1, 5))
        assert list(read(tmp_path, text).u) == [20010, 20020, 20030, 20040, 20040]


def test_one_line_is_for_all(tmp_path: Path) -> None:
    assert list(read(tmp_path, "20 20 0. 0. 3000\n").u) == [30000] * 5
    assert list(read(tmp_path, "1 0 0. 0. 0. 3\n1 1 0 0 3000 2500 12\n").angle) == pytest.approx([12] * 5)


def test_ranges_are_interpolated_by_angle(tmp_path: Path) -> None:
    """Middles of the ranges: -45 (views 1, 2) and 45 (views 4, 5) degrees."""
    defocus = read(tmp_path, "1 2 -60 -30 3000 2\n4 5 30 60 2400\n")
    np.testing.assert_allclose(defocus.u, [30000, 30000 - 6000 / 6, 27000, 24000 + 6000 / 6, 24000])


def test_axes_do_not_jump_at_half_a_turn(tmp_path: Path) -> None:
    defocus = read(tmp_path, "1 0 0. 0. 0. 3\n2 2 -30 -30 3000 2800 85\n4 4 30 30 3000 2800 -85\n")
    assert abs(defocus.angle[2]) == pytest.approx(90)
    assert defocus.u[2] - defocus.v[2] == pytest.approx(2000 * np.cos(np.radians(10)))
    assert values(defocus, 1) == [30000, 28000, 85, 0]
    assert values(defocus, 3) == [30000, 28000, -85, 0]


@pytest.mark.parametrize(
    ("flags", "row", "expected"),
    [
        (0, "3000", [30000, 30000, 0, 0]),
        (1, "3000 2900 45", [30000, 29000, 45, 0]),
        (3, "3000 2900 0.5", [30000, 29000, 28.64789, 0]),
        (4, "3000 90", [30000, 30000, 0, 90]),
        (12, "3000 1.5", [30000, 30000, 0, 85.943669]),
        (5, "3000 2900 45 90", [30000, 29000, 45, 90]),
        (15, "3000 2900 0.5 1.5", [30000, 29000, 28.64789, 85.943669]),
        (21, "3000 2900 45 90", [30000, 29000, 45, 90]),
        (36, "3000 90 0", [30000, 30000, 0, 90]),
        (37, "3000 2900 45 90 0", [30000, 29000, 45, 90]),
    ],
)
def test_flags(tmp_path: Path, flags: int, row: str, expected: list[float]) -> None:
    text = f"{flags}\t0\t0.0\t0.0\t0.0\t3\r\n" + "".join(f"{i}\t{i}\t0.\t0.\t{row}\r\n" for i in range(1, 6))
    assert values(read(tmp_path, text), 2) == expected


def test_cut_on_frequencies_are_named(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"ts.defocus: cut-on frequencies .* not applied"):
        read(tmp_path, "36 0 0. 0. 0. 3\n1 1 0 0 3000 90 0.02\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("1 1 0 0\n", "line 1: 4 values, but a range of views has 5 to 9"),
        ("1 1 0 0 3000 2\n2 2 0 0\n", "line 2: 4 values"),
        ("1 1 0 0 3000 2\n2 2 0 0 nan\n", "line 2: 'nan' is not a number"),
        ("1 1 0 0 3000 4\n", "line 1: version 4 of .defocus files; known: 1, 2 and 3"),
        ("99 0 0 0 0 3\n1 1 0 0 3000\n", "line 1: flags 99"),
        ("1 0 0 0 0 3\n", r"line 1 \(its last\): no views"),
        ("1 0 0 0 0 3\n1 1 0 0 3000\n", "line 2: 5 values, but version 3 with flags 1 has 7"),
        ("1 1 0 0 3000 2\n\n2 2.5 0 0 3000\n", "line 3: views 2 to 2.5"),
        ("1 1 0 0 3000 2\n2 2 0 0 300000\n", r"line 2: defocus up to 3e\+06 Å, .* allowed: 1e\+06 and 360"),
        ("1 1 0 0 3000 2\n3 2 0 0 3000\n", "line 2: views 3 to 2"),
        ("1 1 0 0 3000 2\n6 6 0 0 3000\n", "line 2: views 6 to 6, but the stack has 5"),
    ],
)
def test_faults(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, text)
    assert "ts.defocus" in str(caught.value)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.lists(st.sampled_from(["0", "1", "2", "3", "5", "9999999", "-4", "1e6", "x", "0.5"]), max_size=10),
        max_size=4,
    )
)
def test_any_table_is_read_or_refused(tmp_path: Path, rows: list[list[str]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            defocus = read(tmp_path, "\n".join(map(" ".join, rows)))
        except DataError as error:
            message = str(error)
        else:
            message = "ts.defocus read"
            assert all(np.isfinite(values(defocus, i)).all() for i in range(5))
    assert "ts.defocus" in message


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("plain_estimation", [13600, 13600, 0, 0], [14390, 14390, 0, 0]),
        ("only_astigmatism", [16516, 12067, 31.76, 0], [14609, 14171, 48.4, 0]),
        ("only_phase_shift", [13236, 13236, 0, 10.19], [14630, 14630, 0, -5.05]),
        ("astigmatism_and_phase_shift", [14839, 10687, 32.44, 26.49], [14853, 14448, 51.87, -5.69]),
    ],
)
def test_real_files(name: str, first: list[float], last: list[float]) -> None:
    folder = real_data("metadata/cets-imod_TS_03_EMPIAR-10164")
    angles = read_angles(folder / "TS_03.tlt", 40)
    defocus = read_defocus(folder / f"TS_03_{name}.defocus", angles)
    assert (values(defocus, 0), values(defocus, 39)) == (first, last)


def test_a_real_file_with_cut_on_frequencies() -> None:
    folder = real_data("metadata/cets-imod_TS_03_EMPIAR-10164")
    angles = read_angles(folder / "TS_03.tlt", 40)
    with pytest.warns(UserWarning, match="cut-on"):
        defocus = read_defocus(folder / "TS_03_astigmatism_phase_shift_and_cutoff_freq.defocus", angles)
    assert values(defocus, 0) == [13314, 9175, 32.43, 29.08]


def test_angles_are_those_of_the_raw_images() -> None:
    """Another program measured the raw images of the same series: the same axes, though the tilt axis is at 85°."""
    folder = real_data("metadata/cets-imod_TS_03_EMPIAR-10164")
    ours = read_defocus(folder / "TS_03_only_astigmatism.defocus", read_angles(folder / "TS_03.tlt", 40))
    path = real_data("metadata/relion5-tutorial_EMPIAR-10164_metadata/CtfFind/job003/tilt_series")
    theirs = next(iter(read_tables(path / "TS_03.star").values()))
    tilt, angle = theirs.numbers("rlnTomoNominalStageTiltAngle"), theirs.numbers("rlnDefocusAngle")
    matching = [int(np.argmin(np.abs(tilt - a))) for a in np.arange(-57, 61, 3)]
    # low tilts, where both are sure
    low = slice(10, 30)
    apart = (ours.angle - angle[matching] + 90)[low] % 180 - 90
    assert abs(np.median(apart)) < 10
