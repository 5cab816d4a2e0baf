"""AreTomo's alignments: the geometry of its own ``.xf`` writer, numbering with dark frames, and every fault named."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.projection import rotation
from fourierrecon.io import write_stack
from fourierrecon.io.aretomo.alignment import read_aretomo
from fourierrecon.tilt_series import TiltSeries
from tests.helpers.real_data import real_data

pytest.importorskip("alnfile", reason="alnfile is not installed")


HEAD = """# AreTomo Alignment / Priims bprmMn
# RawSize = 10 8 4
# NumPatches = 0
"""
OFFSETS = """# AlphaOffset =    -7.00
# BetaOffset =     0.00
# Thickness = 2050
"""
TABLE = "# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE     BASE     TILT\n"
ROWS = """    1   -95.4040    1.00000      9.220    103.933     1.00     1.00     1.00     0.00    -63.20
    2   -95.4040    1.00000     18.660    -84.977     1.00     1.00     1.00     0.00    -31.20
    3   -95.4040    1.00000      5.624     80.787     1.00     1.00     1.00     0.00     -3.20
    4   -95.4000    1.00200     -3.706     62.872     1.00     1.00     1.00     0.00     47.20
"""
ALN = HEAD + OFFSETS + TABLE + ROWS
LOCAL = "# Local Alignment\n" + "".join(
    f"   {i}   0   -2.16     1.14     {i - 6.93:.2f}    -36.22   1.0\n   {i}   1   2.00  1.00  -99.0  0.0  0.0\n"
    for i in range(4)
)
CTF = """# Columns: #1 micrograph number; #2 - defocus 1 [A]; #3 - defocus 2; #4 - azimuth of astigmatism;
   1 30100.00 30000.00   -10.00    0.0000   0.1000   8.0000   1
   2 30200.00 30000.00   -20.00    1.5708   0.1000   8.0000   1
   3 30300.00 30000.00   -30.00    0.0000   0.1000   8.0000   1
   4 30400.00 30000.00   -40.00    0.0000   0.1000   8.0000   1
"""
TLT = """  -56.20     4      3.50
  -24.20     2      3.00
    3.80     1      2.00
   54.20     3      2.50
"""


@pytest.fixture
def images() -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(4, 8, 10)).astype(np.float32)


@pytest.fixture
def aln(tmp_path: Path, images: NDArray[np.float32]) -> Path:
    write_stack(tmp_path / "TS_01.mrc", images, 4.0)
    path = tmp_path / "TS_01.aln"
    path.write_text(ALN)
    return path


def edit(path: Path, *changes: tuple[str, str]) -> Path:
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    return path


def aligned(series: TiltSeries, points: NDArray[np.float64], xf: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points projected into raw images and then aligned by an ``.xf``, from the middle of the image."""
    centre = np.array([series.image_shape[1], series.image_shape[0]]) / 2
    raw = np.einsum("tij,pj->tpi", series.projections[:, :2, :3], points) + series.projections[:, None, :2, 3]
    # x_ali = A (x_raw - c) + d + c
    return np.asarray(np.einsum("tij,tpj->tpi", xf[:, :4].reshape(-1, 2, 2), raw - centre) + xf[:, None, 4:])


def own_xf(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The transforms that AreTomo 2 and 3 themselves write for rows ``ROT TX TY``: A = R(-ROT), d = -A (TX, TY)."""
    a = rotation("z", -rows[:, 0])[:, :2, :2]
    return np.hstack([a.reshape(-1, 4), -np.einsum("tij,tj->ti", a, rows[:, 1:])])


POINTS = np.array([[0, 0, 0], [100, -50, 30], [-70, 20, -80]], float)


@pytest.mark.parametrize("shape", [(8, 10), (9, 11), (8, 11)])
def test_aligned_images_are_those_of_a_tilt_about_y(aln: Path, shape: tuple[int, int]) -> None:
    write_stack(aln.with_suffix(".mrc"), np.zeros((4, *shape), np.float32), 4.0)
    edit(aln, ("10 8 4", f"{shape[1]} {shape[0]} 4"), ("1.00200", "1.00000"))
    series = read_aretomo(aln)
    rows = np.array([line.split() for line in ROWS.splitlines()], float)
    found = aligned(series, POINTS, own_xf(rows[:, [1, 3, 4]]))
    want = np.einsum("tij,pj->tpi", rotation("y", rows[:, 9])[:, :2], POINTS)
    np.testing.assert_allclose(found, want, atol=1e-9)


def test_everything_else_of_a_series(aln: Path, images: NDArray[np.float32]) -> None:
    series = read_aretomo(aln)
    assert (series.name, series.pixel_size, series.n_tilts) == ("TS_01", 4.0, 4)
    # AlphaOffset is in TILT already
    np.testing.assert_array_equal(series.tilt_angles, [-63.2, -31.2, -3.2, 47.2])
    np.testing.assert_array_equal(series.images[1], images[1])
    assert series.size is None
    assert (series.exposure, series.ctf) == (None, None)
    assert series.ctf_missing == ("TS_01_CTF.txt beside it", "voltage")
    scale = np.linalg.norm(series.projections[:, 1, :3], axis=1)
    np.testing.assert_allclose(scale, [1, 1, 1, 1.002])
    assert read_aretomo(aln, pixel_size=2).pixel_size == 2
    with pytest.raises(UsageError, match="pixel size"):
        read_aretomo(aln, pixel_size=-1)


def test_version_2_and_line_ends(aln: Path) -> None:
    want = read_aretomo(aln).projections
    rows = re.sub(r"^ {4}(\d)", lambda m: f"    {int(m[1]) - 1}", ROWS, flags=re.MULTILINE)
    aln.write_bytes(b"\xef\xbb\xbf" + ("# RawSize = 10 8 4\n" + TABLE + rows).replace("\n", "\r\n").encode())
    np.testing.assert_array_equal(read_aretomo(aln).projections, want)


DARK = ["# DarkFrame =     0    0   -56.00", "# DarkFrame =     2    2     3.80"]
SECTIONS = {
    "of the raw stack from 0": ("13", DARK, [1, 3]),
    "of the raw stack from 1": ("24", DARK, [1, 3]),
    "without dark ones from 0": ("01", DARK, [1, 3]),
    "without dark ones from 1": ("12", DARK, [1, 3]),
    "stack not in order of tilts": ("02", ["# DarkFrame = 0 1 -56.00", "# DarkFrame = 2 3 3.80"], [0, 2]),
    "second number not written": ("24", ["# DarkFrame = 0 0 -56.00", "# DarkFrame = 2 0 3.80"], [1, 3]),
    "rows in another order": ("42", DARK, [1, 3]),
}


@pytest.mark.parametrize("case", SECTIONS)
def test_dark_frames(aln: Path, images: NDArray[np.float32], case: str) -> None:
    sections, dark, kept = SECTIONS[case]
    rows = [f"{section} 5 1 {kept[int(i)]} 0 1 1 1 0 {i}\n" for section, i in zip(sections, sorted("01"), strict=True)]
    if case == "rows in another order":
        rows = [rows[0].replace(" 1 1 0 1 ", " 1 3 0 1 "), rows[1].replace(" 1 3 0 1 ", " 1 1 0 1 ")]
    aln.write_text(HEAD + "\n".join(dark) + "\n" + OFFSETS + TABLE + "".join(rows))
    left_out = ", ".join(str(i + 1) for i in range(4) if i not in kept)
    with pytest.warns(UserWarning, match=f"2 of 4 images left out as dark frames: {left_out}$"):
        series = read_aretomo(aln)
    # each row has the number of its image as its shift
    np.testing.assert_allclose(series.projections[:, 0, 3] - 5, kept)
    for i, number in enumerate(kept):
        np.testing.assert_array_equal(series.images[i], images[number])
    write_stack(aln.with_name("bright.mrc"), images[kept], 4.0)
    with pytest.warns(UserWarning, match="left out"):
        series = read_aretomo(aln, stack=aln.with_name("bright.mrc"))
    np.testing.assert_array_equal(series.images[1], images[kept[1]])


def test_ctf_and_exposure_beside_it(aln: Path) -> None:
    aln.with_name("TS_01_CTF.txt").write_text(CTF)
    aln.with_name("TS_01_TLT.txt").write_text(TLT)
    assert read_aretomo(aln).ctf_missing == ("voltage",)
    series = read_aretomo(aln, voltage=200, amplitude_contrast=0.1)
    ctf = series.ctf
    assert ctf is not None
    assert (ctf.voltage, ctf.spherical_aberration, ctf.amplitude_contrast) == (200, 2.7, 0.1)
    np.testing.assert_allclose(ctf.defocus_u, [30100, 30200, 30300, 30400])
    np.testing.assert_allclose(ctf.defocus_v, 30000)
    np.testing.assert_allclose(ctf.defocus_angle, [-10, -20, -30, -40])
    np.testing.assert_allclose(ctf.phase_shift, [0, 90, 0, 0], atol=1e-3)
    assert series.exposure is not None
    np.testing.assert_allclose(series.exposure, [7.5, 2, 0, 5])
    # both tables have the dark images too
    dark = "# DarkFrame = 1 1 -24.2\n"
    edit(aln, (OFFSETS, dark + OFFSETS), (ROWS.splitlines(True)[1], ""))
    with pytest.warns(UserWarning, match="dark frames: 2$"):
        series = read_aretomo(aln, voltage=200)
    assert series.ctf is not None
    assert series.exposure is not None
    np.testing.assert_allclose(series.ctf.defocus_u, [30100, 30300, 30400])
    np.testing.assert_allclose(series.exposure, [7.5, 0, 5])


@pytest.mark.parametrize(
    ("ending", "text", "message"),
    [
        ("CTF", CTF.replace("30100.00", "nan"), r"line 2: .* must be 7 or 8 sensible numbers"),
        ("CTF", CTF.replace("   1\n   2", "\n   2"), r"line 3: .* must be 7 sensible numbers"),
        ("CTF", CTF.replace("   4 30400", "   7 30400"), "the first column must be 1 to 4, each once"),
        ("CTF", CTF[: CTF.index("   4 ")], "3 rows for 4 raw images"),
        ("CTF", "", "is empty"),
        ("CTF", CTF.replace("30100.00", "3010000.00"), "line 2: .* sensible numbers"),
        ("TLT", TLT.replace("     4 ", "     9 "), "the order of acquisition must be 1 to 4, each once"),
        ("TLT", TLT.replace("2.50", "-2.50"), "the exposure of image 4 is negative"),
        ("TLT", TLT.replace("2.50", "x"), "line 4"),
        ("TLT", TLT + TLT, "8 rows for 4 raw images"),
    ],
)
def test_faults_beside_it(aln: Path, ending: str, text: str, message: str) -> None:
    file = aln.with_name(f"TS_01_{ending}.txt")
    file.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_aretomo(aln, voltage=300)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("text", ["-56.2\n-24.2\n3.8\n54.2\n", TLT.replace("3.50", "0").replace("3.00", "0")])
def test_no_exposure(aln: Path, text: str) -> None:
    aln.with_name("TS_01_TLT.txt").write_text(text.replace("2.00", "0").replace("2.50", "0"))
    assert read_aretomo(aln).exposure is None


def test_local_alignment_leaves_the_global_one_as_it_is(aln: Path) -> None:
    want = read_aretomo(aln).projections
    edit(aln, ("NumPatches = 0", "NumPatches = 2"), (ROWS, ROWS + LOCAL))
    series = read_aretomo(aln)
    np.testing.assert_array_equal(series.projections, want)
    assert series.local is not None
    assert series.local.words == "AreTomo's local alignment (2 patches)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("# SEC", "# S")], "no line begins with '# SEC'"),
        ([("   18.660", "   wide")], r"line 9: '2   -95.4040 .* has not the numbers"),
        ([("   18.660", "      nan")], "line 9"),
        ([("   18.660", "     1_8.6")], "line 9"),
        ([("   18.660", "     1e99")], "line 9"),
        ([("    1.00     0.00     47.20\n", "")], "line 11: .*cut short"),
        ([("    4 ", "  4.5 ")], "line 11"),
        ([("    4 ", "    3 ")], "column SEC and DarkFrame: they do not number 4 images, each once"),
        ([("    4 ", "    9 ")], "column SEC and DarkFrame"),
        ([(ROWS.splitlines(True)[3], "")], "3 rows and 0 dark frames, but RawSize says 4 images"),
        ([(ROWS, "")], "no rows below '# SEC'"),
        ([("RawSize = 10 8 4", "RawSize = 10 8")], "header is not AreTomo's; needed: '# RawSize"),
        ([("# RawSize = 10 8 4\n", "")], "header is not AreTomo's; needed: '# RawSize"),
        ([("RawSize = 10 8 4", "RawSize = -10 8 4")], r"RawSize: \(-10, 8, 4\) must be three positive numbers"),
        ([("RawSize = 10 8 4", "RawSize = 8 10 4")], "RawSize: 8 x 10 px, but the stack has 10 x 8"),
        ([("NumPatches = 0", "NumPatches = few")], "header is not AreTomo's"),
        ([(OFFSETS, "# DarkFrame = 1\n" + OFFSETS)], "line 4: '# DarkFrame = 1' has not"),
        ([("1.00200", "9.00000")], "line 11: .* has not the numbers"),
    ],
)
def test_faults(aln: Path, changes: list[tuple[str, str]], message: str) -> None:
    edit(aln, *changes)
    with pytest.raises(DataError, match=message) as caught:
        read_aretomo(aln)
    assert str(aln) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_none(aln: Path, tmp_path: Path) -> None:
    for content, message in (
        (b"", "is empty"),
        (ALN.encode("utf-16"), "not plain text"),
        (b"x\n", "no .aln of AreTomo"),
    ):
        aln.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_aretomo(aln)
    for missing in (tmp_path / "gone.aln", tmp_path):
        with pytest.raises(DataError, match=r"cannot read .*(No such file|directory)"):
            read_aretomo(missing)


def test_stacks_that_do_not_fit(aln: Path, images: NDArray[np.float32]) -> None:
    write_stack(aln.with_suffix(".mrc"), images[:3], 4.0)
    with pytest.raises(DataError, match=r"RawSize: 4 images \(4 not dark\), but the stack .* holds 3"):
        read_aretomo(aln)
    aln.with_suffix(".mrc").unlink()
    with pytest.raises(DataError, match=r"none of TS_01.mrc, TS_01.st, .* lies beside it; give the raw images, stack="):
        read_aretomo(aln)
    stack = aln.with_name("other.st")
    write_stack(stack, images, 4.0)
    raw = bytearray(stack.read_bytes())
    raw[40:52] = bytes(12)
    stack.write_bytes(raw)
    with pytest.raises(DataError, match=r"no sensible pixel size in its header .*pixel_size=\.\.\."):
        read_aretomo(aln, stack=stack)
    assert read_aretomo(aln, stack=stack, pixel_size=3).pixel_size == 3


# real files


class Blank:
    """Stands for images that are not there."""

    pixel_size = 1.5

    def __init__(self, path: Path) -> None:
        self.path, self.shape = path, (int(path.stem), 4096, 4096)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int, /) -> NDArray[np.float32]:
        return np.zeros(self.shape[1:], np.float32)


def test_a_real_pair_of_aln_and_xf(monkeypatch: pytest.MonkeyPatch) -> None:
    real = real_data("metadata/teamtomo_parsers_testdata/alnfile")
    monkeypatch.setattr("fourierrecon.io.aretomo.alignment.open_stack", Blank)
    series = read_aretomo(real / "global_no_local.aln", stack="61.mrc")
    np.testing.assert_array_equal(series.tilt_angles, np.loadtxt(real / "global_no_local.tlt"))
    xf = np.loadtxt(real / "global_no_local.xf")
    # this .xf was not written by AreTomo (digits, layout): it has R(ROT) where AreTomo's own writers have R(-ROT).
    # With the sign of ROT as it takes it, everything else is the same
    turned = rotation("z", 2 * 95.404)[:2, :2]
    centre = np.array([2048, 2048])
    shifts = series.projections[:, :2, 3] - centre
    rows = np.hstack([np.full((61, 1), 95.404), shifts])
    np.testing.assert_allclose(own_xf(rows), xf, atol=1e-3)
    other = TiltSeries(series.images, series.projections.copy(), 1.5)
    other.projections[:, :2, :3] = turned @ series.projections[:, :2, :3]
    want = np.einsum("tij,pj->tpi", rotation("y", series.tilt_angles)[:, :2], 20 * POINTS)
    np.testing.assert_allclose(aligned(other, 20 * POINTS, xf), want, atol=0.1)


def test_a_real_file_with_local_alignment_and_dark_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    real = real_data("metadata/teamtomo_parsers_testdata/alnfile")
    monkeypatch.setattr("fourierrecon.io.aretomo.alignment.open_stack", Blank)
    with pytest.warns(UserWarning, match=r"14 of 51 images left out") as caught:
        series = read_aretomo(real / "global_and_local.aln", stack="37.mrc")
    assert len(caught) == 1
    assert series.local is not None
    assert series.n_tilts == 37
    # the last dark frame is at -42 degrees, AlphaOffset is 12.3
    assert series.tilt_angles[0] == pytest.approx(-40.01 + 12.3)
