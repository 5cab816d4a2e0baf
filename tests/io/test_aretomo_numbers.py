"""Which image a row of AreTomo's files is of: files written as each version documents it, with every image known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fourierrecon.errors import DataError
from fourierrecon.io import write_stack
from fourierrecon.io.aretomo.alignment import read_aretomo
from fourierrecon.io.imod.alignment import read_imod

pytest.importorskip("alnfile", reason="alnfile is not installed")

#: First numbers of SEC and DarkFrame in the stack, and whether dark images count in SEC.
VERSIONS = {"2.0.10": (1, 1, True), "2.0.7": (1, 0, True), "AreTomo2": (0, 0, True), "1.0": (0, 0, False)}
TABLE = "# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE     BASE     TILT\n"


@dataclass
class Series:
    """Images of tilts in the order of a stack; image i holds the number i, and has the shift i, defocus 20000 + i."""

    path: Path
    tilts: list[float]
    dark: set[int]
    #: Whether AreTomo sorted the tilts before it worked on them: up to some version it left that to the user.
    sorts: bool = True

    @property
    def order(self) -> list[int]:
        """Numbers in the stack, in the order that AreTomo worked in."""
        return [int(i) for i in np.argsort(self.tilts)] if self.sorts else list(range(len(self.tilts)))

    @property
    def kept(self) -> list[int]:
        return [i for i in range(len(self.tilts)) if i not in self.dark]

    def write(self, version: str, alpha: float = 0.0) -> None:
        first, first_dark, counted = VERSIONS[version]
        images = np.zeros((len(self.tilts), 6, 8), np.float32) + np.arange(len(self.tilts))[:, None, None]
        write_stack(self.path.with_suffix(".mrc"), images, 4.0)
        along = [i for i in self.order if i not in self.dark]
        text = f"# AreTomo Alignment / Priims bprmMn\n# RawSize = 8 6 {len(self.tilts)}\n# NumPatches = 0\n"
        text += "".join(
            f"# DarkFrame = {self.order.index(i):4d} {i + first_dark:4d} {self.tilts[i]:8.2f}\n"
            for i in self.order
            if i in self.dark
        )
        text += f"# AlphaOffset = {alpha:.2f}\n# BetaOffset = 0.00\n{TABLE}"
        text += "".join(
            f"{(i if counted else along.index(i)) + first} 85 1 {i} 0 1 1 1 0 {self.tilts[i] + alpha:.2f}\n"
            for i in along
        )
        self.path.write_text(text)

    def write_ctf(self, *, dark: bool = True, hand: str = "1") -> None:
        rows = [i for i in self.order if dark or i not in self.dark]
        self.path.with_name("ts_CTF.txt").write_text(
            "# Columns: #1 micrograph number; ... #8 - dfHand\n"
            + "".join(f"{k + 1:4d} {20000 + i} {20000 + i} 0.0 0.0000 0.1 8.0 {hand}\n" for k, i in enumerate(rows))
        )


def acquired(n: int) -> list[float]:
    """Tilts of a dose-symmetric series: 0, 3, -3, -6, 6, 9 ..."""
    tilts = [0.0]
    for k in range(1, n):
        size = 3.0 * ((k + 1) // 2)
        tilts.append(size if (k + 1) // 2 % 2 == k % 2 else -size)
    return tilts


# where SEC does not count dark images, it does not tell of a stack in another order, see below
@pytest.mark.parametrize(
    ("version", "is_sorted", "sorts"),
    [
        *((version, True, True) for version in VERSIONS),
        *((version, False, True) for version in VERSIONS if version != "1.0"),
        *((version, False, False) for version in VERSIONS),
    ],
)
@pytest.mark.parametrize("dark", [(), (0,), (6,), (2, 5), (0, 1, 6)])
@pytest.mark.filterwarnings("ignore:.*left out as dark")
def test_every_row_has_its_image(
    version: str, dark: tuple[int, ...], is_sorted: bool, sorts: bool, tmp_path: Path
) -> None:
    tilts = sorted(acquired(7)) if is_sorted else acquired(7)
    series = Series(tmp_path / "ts.aln", tilts, set(dark), sorts)
    series.write(version, alpha=5.0)
    series.write_ctf()
    found = read_aretomo(series.path, voltage=300)
    assert [int(found.images[i][0, 0]) for i in range(found.n_tilts)] == series.kept
    np.testing.assert_allclose(found.projections[:, 0, 3] - 4, series.kept)
    np.testing.assert_allclose(found.tilt_angles, [tilts[i] + 5 for i in series.kept])
    assert found.ctf is not None
    np.testing.assert_allclose(found.ctf.defocus_u, [20000 + i for i in series.kept])
    assert found.excluded == tuple(i + 1 for i in sorted(dark))


def test_what_cannot_be_told_is_refused(tmp_path: Path) -> None:
    series = Series(tmp_path / "ts.aln", acquired(7), {2, 5})
    series.write("1.0")
    with pytest.raises(DataError, match="column SEC and DarkFrame: they do not number 7 images, each once, in one way"):
        read_aretomo(series.path)
    # the number in the stack may be that of the first image, or not written
    series = Series(tmp_path / "ts.aln", [-6.0, -3.0, 0.0, 3.0], {2})
    series.write("1.0")
    text = series.path.read_text().replace("   2    2 ", "   2    0 ").replace("\n2 85", "\n3 85")
    text = text.replace("\n1 85", "\n2 85").replace("\n0 85", "\n1 85")
    series.path.write_text(text)
    with pytest.raises(DataError, match="in one way"):
        read_aretomo(series.path)
    series.path.write_text(text.replace("   2    0 ", "   9    0 "))
    with pytest.raises(DataError, match=r"DarkFrame: first numbers \[9\] must lie in 0 to 3"):
        read_aretomo(series.path)


@pytest.mark.filterwarnings("ignore:.*left out as dark")
def test_defocus_without_dark_images_and_the_hand(tmp_path: Path) -> None:
    series = Series(tmp_path / "ts.aln", acquired(7), {0, 4})
    series.write("2.0.10")
    series.write_ctf(dark=False, hand="-1")
    found = read_aretomo(series.path, voltage=300)
    assert found.ctf is not None
    np.testing.assert_allclose(found.ctf.defocus_u, [20000 + i for i in series.kept])
    assert found.hand == -1
    for hand, wanted in (("1", 1), ("0", None), ("", None)):
        series.write_ctf(hand=hand)
        # the hand is known without the voltage, too
        assert read_aretomo(series.path).hand == wanted


@pytest.mark.filterwarnings("ignore:.*left out as dark")
def test_exposures_of_a_table_in_either_order(tmp_path: Path) -> None:
    series = Series(tmp_path / "ts.aln", acquired(7), {6})
    series.write("2.0.10", alpha=-8.0)
    table = series.path.with_name("ts_TLT.txt")
    for rows in (range(7), series.order):
        table.write_text("".join(f"{series.tilts[i]:8.2f} {i + 1:4d} 2.50\n" for i in rows))
        found = read_aretomo(series.path).exposure
        assert found is not None
        np.testing.assert_allclose(found, 2.5 * np.arange(6))
    table.write_text("".join(f"{10.0 * i:8.2f} {i + 1:4d} 2.50\n" for i in range(7)))
    with pytest.raises(DataError, match=r"ts_TLT.txt: its tilt angles are not those of ts.aln"):
        read_aretomo(series.path)


def test_header_of_version_1(tmp_path: Path) -> None:
    series = Series(tmp_path / "ts.aln", [-20.0, -10.0, 0.0, 10.0, 20.0], set())
    series.write("AreTomo2")
    old = series.path.read_text().split(TABLE)[1]
    head = "# AreTomo Alignment / Priims bprmMn \n# 5  0\n" + TABLE
    want = read_aretomo(series.path).projections
    series.path.write_text(head + old)
    np.testing.assert_array_equal(read_aretomo(series.path).projections, want)
    series.path.write_text(head + "".join(old.splitlines(True)[:-1]))
    with pytest.raises(DataError, match="4 rows, but its header says 5 tilts; was the file cut short"):
        read_aretomo(series.path)
    # an image of the stack that it found dark
    lines = old.splitlines(True)
    series.path.write_text(head.replace("5", "4") + "".join(lines[:2] + lines[3:]))
    with pytest.warns(UserWarning, match="1 of 5 images left out as dark frames: 3$"):
        found = read_aretomo(series.path)
    np.testing.assert_array_equal(found.projections, want[[0, 1, 3, 4]])
    write_stack(tmp_path / "bright.mrc", np.zeros((4, 6, 8), np.float32), 4.0)
    assert read_aretomo(series.path, stack=tmp_path / "bright.mrc").excluded == ()
    write_stack(tmp_path / "other.mrc", np.zeros((3, 6, 8), np.float32), 4.0)
    with pytest.raises(DataError, match=r"column SEC: it does not number images of the stack, which holds 3"):
        read_aretomo(series.path, stack=tmp_path / "other.mrc")


def test_a_header_of_one_angstrom_is_not_believed(tmp_path: Path) -> None:
    series = Series(tmp_path / "ts.aln", [-20.0, 0.0, 20.0], set())
    series.write("2.0.10")
    write_stack(series.path.with_suffix(".mrc"), np.ones((3, 6, 8), np.float32), 1.0)
    with pytest.warns(UserWarning, match="ts.mrc: its header says 1 Å a pixel, as headers do that nobody filled in"):
        assert read_aretomo(series.path).pixel_size == 1
    series.write_ctf()
    with pytest.raises(DataError, match=r"ts.mrc: no sensible pixel size in its header \(0 or 1 Å\).*pixel_size="):
        read_aretomo(series.path, voltage=300.0)
    assert read_aretomo(series.path, pixel_size=1.0).pixel_size == 1


# the folder that AreTomo 3 makes for IMOD


def write_folder(series: Series, out_imod: int, thickness: int = 20) -> Path:
    """Write ``ts_Imod`` as ``-OutImod 1`` (beside the raw stack) or 2 (with a stack without dark images) does."""
    series.write("2.0.10")
    folder = series.path.with_name("ts_Imod")
    folder.mkdir()
    rows = range(len(series.tilts)) if out_imod == 1 else series.kept
    name = "ts.mrc" if out_imod == 1 else "ts_st.mrc"
    if out_imod == 2:
        write_stack(folder / name, np.zeros((len(rows), 6, 8), np.float32), 4.0)
    (folder / "ts_st.xf").write_text(
        "".join("1.000 0.000 0.000 1.000 " + ("0.00 0.00\n" if i in series.dark else f"{-i}.00 0.00\n") for i in rows)
        + "\n"
    )
    (folder / "ts_st.tlt").write_text("".join(f"{series.tilts[i]:8.2f}\n" for i in rows))
    # their number is that of the other kind
    (folder / "ts_st.xtilt").write_text("\n".join(["0"] * len(series.kept if out_imod == 1 else series.tilts)))
    (folder / "newst.com").write_text(
        f"$newstack -StandardInput\nInputFile\t{name}\nOutputFile\tts_st.ali\nTransformFile\tts_st.xf\nBinByFactor 1\n"
    )
    excluded = ",".join(str(i + 1) for i in sorted(series.dark)) if out_imod == 1 else ""
    (folder / "tilt.com").write_text(
        "$tilt -StandardInput\nInputProjections ts_st.ali\nIMAGEBINNED 1\nTILTFILE ts_st.tlt\n"
        f"THICKNESS {thickness}\nXAXISTILT 0.0\nPERPENDICULAR\nFULLIMAGE 8 6\nSUBSETSTART 0 0\n"
        f"LOCALFILE ts_st.xf\nXTILTFILE ts_st.xtilt\nOFFSET 0.0\nSHIFT 0.0 0.0\n"
        + (f"EXCLUDELIST {excluded}\n" if excluded else "")
    )
    return folder


@pytest.mark.parametrize("out_imod", [1, 2])
@pytest.mark.parametrize("dark", [set(), {0, 4}])
@pytest.mark.filterwarnings("ignore:.*views excluded")
def test_folders_for_imod(out_imod: int, dark: set[int], tmp_path: Path) -> None:
    series = Series(tmp_path / "ts.aln", [-20.0, -10.0, 0.0, 10.0, 20.0], dark)
    found = read_imod(write_folder(series, out_imod))
    np.testing.assert_allclose(found.tilt_angles, [series.tilts[i] for i in series.kept])
    middle = found.projections @ [(8 + 1) / 2, (6 + 1) / 2, (20 + 1) / 2, 1]
    # the raw image of the middle lies at the shift, from IMOD's centre (n - 1) / 2
    np.testing.assert_allclose(middle[:, 0] - 3.5, series.kept)
    assert found.size == (8, 6, 20)


@pytest.mark.parametrize("thickness", [0, -1])
def test_a_depth_that_aretomo_did_not_know(thickness: int, tmp_path: Path) -> None:
    folder = write_folder(Series(tmp_path / "ts.aln", [-20.0, 0.0, 20.0], set()), 1, thickness)
    with pytest.warns(UserWarning, match=rf"THICKNESS: {thickness}, so the depth is not known; choose one"):
        series = read_imod(folder)
    assert series.size is None


def test_x_tilts_that_differ_need_one_a_view(tmp_path: Path) -> None:
    folder = write_folder(Series(tmp_path / "ts.aln", [-20.0, 0.0, 20.0], set()), 1)
    (folder / "ts_st.xtilt").write_text("0\n0.5\n")
    with pytest.raises(DataError, match="2 x tilts for 3 views"):
        read_imod(folder)
