"""IMOD's alignments: each option does to the geometry what IMOD says, and every fault is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.geometry.region import Region
from fourierrecon.io import write_stack
from fourierrecon.io.imod.alignment import read_imod
from fourierrecon.tilt_series import TiltSeries

N, HEIGHT, WIDTH = 5, 40, 48
ANGLES = [-60.0, -30.5, 0.0, 30.0, 61.25]
TILT = """# Command file to run Tilt
$tilt -StandardInput
InputProjections ts_ali.mrc
OutputFile ts_full_rec.mrc
IMAGEBINNED 1
TILTFILE ts.tlt
XTILTFILE ts.xtilt
THICKNESS 20
$if (-e ./savework) ./savework
"""
NEWST = """# THIS IS A COMMAND FILE
$newstack -StandardInput
InputFile ts.st
OutputFile ts_ali.mrc
TransformFile ts.xf
OffsetsInXandY 0.0,0.0
#DistortionField .idf
BinByFactor 1
"""
DEFOCUS = "1 0 0. 0. 0. 3\n" + "".join(
    f"{i + 1} {i + 1} {a} {a} {3000 + i} 2900 {10 * i}\n" for i, a in enumerate(ANGLES)
)
CTF = """$ctfphaseflip -StandardInput
InputStack ts_ali.mrc
DefocusFile ts.defocus
Voltage 300
SphericalAberration 2.7
AmplitudeContrast 0.07
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of eTomo."""
    rng = np.random.default_rng(3)
    folder = tmp_path / "ts"
    folder.mkdir()
    write_stack(folder / "ts.st", rng.normal(size=(N, HEIGHT, WIDTH)).astype(np.float32), 4.0)
    turn = np.radians(rng.uniform(-9, -2, N))
    rows = np.stack([np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)], 1) * rng.uniform(0.99, 1.01, (N, 1))
    np.savetxt(folder / "ts.xf", np.hstack([rows, rng.uniform(-6, 6, (N, 2))]), "%12.7f")
    np.savetxt(folder / "ts.tlt", ANGLES, "%7.2f")
    np.savetxt(folder / "ts.xtilt", rng.uniform(-2, 2, N), "%8.3f")
    (folder / "tilt.com").write_text(TILT)
    (folder / "newst.com").write_text(NEWST)
    return folder


def edit(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)


def add(folder: Path, *lines: str, name: str = "tilt.com") -> None:
    """Add options to a command file."""
    edit(folder / name, ("THICKNESS" if name == "tilt.com" else "BinByFactor", "\n".join([*lines, ""]) + "THICKNESS"))
    if name != "tilt.com":
        edit(folder / name, ("THICKNESS", "BinByFactor"))


def swing(
    folder: Path,
    voxel: NDArray[np.float64],
    *,
    aligned: tuple[float, float] = (WIDTH, HEIGHT),
    width: float | None = None,
    thickness: float = 20,
    first: float = 0,
    shift: tuple[float, float] = (0, 0),
    tilt_offset: float = 0,
    axis_offset: float = 0,
    x_tilt: float = 0,
    subset: tuple[float, float] = (0, 0),
) -> NDArray[np.float64]:
    """Raw pixels of a 0-based voxel (x, y, z), step by step as IMOD documents it, ``(N, 2)``.

    ``subset`` is by how much the middle of the whole images lies right of and above that of the aligned stack.
    """
    transforms, angles, x_tilts = (np.loadtxt(folder / f"ts.{e}") for e in ("xf", "tlt", "xtilt"))
    pixels = []
    for row, angle, tilt_x in zip(transforms, angles, x_tilts, strict=True):
        # the tilt axis cuts the aligned image's x at its middle + DELX; slices stand over it, shifted as asked
        axis_x = (aligned[0] - 1) / 2 + subset[0] + axis_offset
        axis_y = (aligned[1] - 1) / 2 + subset[1]
        # IMOD rounds middles of odd sizes down; it counts z, from which SHIFT is, from the other side
        slice_middle = (width or aligned[0]) // 2 - 0.5 + subset[0] + axis_offset
        x = voxel[0] - slice_middle - shift[0]
        y = voxel[1] + first - axis_y
        z = (thickness // 2 - 0.5 + shift[1]) - (thickness - 1 - voxel[2])
        # about x: what lies at +y of a positive tilt goes up
        a, b = np.radians(tilt_x - x_tilt), np.radians(angle + tilt_offset)
        up = y * np.sin(a) + z * np.cos(a)
        along = y * np.cos(a) - z * np.sin(a)
        # about the axis: a point above the specimen moves to +x at positive tilts
        ali_x = axis_x + x * np.cos(b) + up * np.sin(b)
        ali_y = axis_y + along
        # x' = A11 (x - xc) + A12 (y - yc) + DX + xc', solved for (x, y)
        left = np.array([[row[0], row[1]], [row[2], row[3]]])
        right = np.array([ali_x - (aligned[0] - 1) / 2 - row[4], ali_y - (aligned[1] - 1) / 2 - row[5]])
        pixels.append(np.linalg.solve(left, right) + np.array([WIDTH - 1, HEIGHT - 1]) / 2)
    return np.array(pixels)


def check(series: TiltSeries, folder: Path, **facts: object) -> None:
    """The series takes the voxels of its region where IMOD does."""
    region = Region.of(series)
    assert region.origin == (1, 1, 1)
    rng = np.random.default_rng(0)
    for voxel in rng.uniform(0, 1, (6, 3)) * region.shape[::-1]:
        found = series.projections[:, :2] @ [*(np.asarray(region.origin) + voxel), 1]
        np.testing.assert_allclose(found, swing(folder, voxel, **facts), atol=1e-6)  # type: ignore[arg-type]


def test_plain(folder: Path) -> None:
    series = read_imod(folder)
    check(series, folder)
    assert (series.size, series.world_origin, series.pixel_size, series.name) == ((WIDTH, HEIGHT, 20), 1, 4, "ts")
    assert series.image_shape == (HEIGHT, WIDTH)
    np.testing.assert_allclose(series.tilt_angles, ANGLES)
    assert series.ctf is None
    assert series.ctf_missing == (
        "Voltage (ctfcorrection.com)",
        "SphericalAberration (ctfcorrection.com)",
        "AmplitudeContrast (ctfcorrection.com)",
        "ts.defocus",
    )
    for source in (folder / "tilt.com", folder / "ts.xf"):
        np.testing.assert_array_equal(read_imod(source).projections, series.projections)


def test_round_numbers(folder: Path) -> None:
    rows = [[1, 0, 0, 1, 3, -2], [0, 1, -1, 0, 0, 0], [1, 0, 0, 1, 0, 0], [1, 0, 0, 1, 0, 0], [1, 0, 0, 1, 0, 0]]
    np.savetxt(folder / "ts.xf", rows, "%.1f")
    (folder / "ts.tlt").write_text("0\n0\n90\n-90\n0\n")
    (folder / "ts.xtilt").write_text("0\n0\n0\n0\n90\n")
    edit(folder / "tilt.com", ("THICKNESS 20", "THICKNESS 21"))
    # the axis goes through the world point (24.5, 20.5, 11.5); the middle of the images is pixel (23.5, 19.5)
    points = np.array([[24.5, 20.5, 11.5, 1], [34.5, 20.5, 11.5, 1], [24.5, 25.5, 11.5, 1], [24.5, 20.5, 18.5, 1]]).T
    moved = read_imod(folder).projections[:, :2] @ points - np.array([[23.5], [19.5]])
    # image 1: shifted by (3, -2) to be aligned; image 2: turned, so that aligned x is raw y
    np.testing.assert_allclose(moved[0], np.array([[-3, 2], [7, 2], [-3, 7], [-3, 2]]).T, atol=1e-9)
    np.testing.assert_allclose(moved[1], np.array([[0, 0], [0, 10], [-5, 0], [0, 0]]).T, atol=1e-9)
    # at 90 degrees the beam runs along x and z is seen as x; at -90 as -x
    np.testing.assert_allclose(moved[2], np.array([[0, 0], [0, 0], [0, 5], [7, 0]]).T, atol=1e-9)
    np.testing.assert_allclose(moved[3], np.array([[0, 0], [0, 0], [0, 5], [-7, 0]]).T, atol=1e-9)
    np.testing.assert_allclose(moved[4], np.array([[0, 0], [10, 0], [0, 0], [0, -7]]).T, atol=1e-9)


@pytest.mark.parametrize(
    ("lines", "facts"),
    [
        (["OFFSET 2.5"], {"tilt_offset": 2.5}),
        (["OFFSET 2.5 3.25"], {"tilt_offset": 2.5, "axis_offset": 3.25}),
        (["SHIFT 4.5"], {"shift": (4.5, 0)}),
        (["SHIFT -4.5 -7"], {"shift": (-4.5, -7)}),
        (["shift\t1,2"], {"shift": (1, 2)}),
        (["XAXISTILT -3.5"], {"x_tilt": -3.5}),
        (["WIDTH 31"], {"width": 31}),
        (["THICKNESS 33", "thickness 20"], {}),
        (["SLICE 5 34"], {"first": 5}),
        (["FULLIMAGE 48 40", "SUBSETSTART 0 0"], {}),
        (["FULLIMAGE 48 40"], {}),
        (["FULLIMAGE 60 50"], {"subset": (6, 5)}),
        (["FULLIMAGE 60 50", "SUBSETSTART 2 1"], {"subset": (4, 4)}),
        (
            ["WIDTH 36", "XAXISTILT 2", "SHIFT 3 -1", "OFFSET -2 1.5", "FULLIMAGE 60,50", "SUBSETSTART 2,1"],
            {
                "width": 36,
                "x_tilt": 2,
                "shift": (3, -1),
                "tilt_offset": -2,
                "axis_offset": 1.5,
                "subset": (4, 4),
            },
        ),
    ],
)
def test_options_of_tilt(folder: Path, lines: list[str], facts: dict[str, object]) -> None:
    add(folder, *lines)
    check(read_imod(folder), folder, **facts)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.lists(st.floats(-9, 9).map(lambda x: round(x, 3)), min_size=5, max_size=5),
    thickness=st.integers(1, 60),
    width=st.integers(1, 90),
)
def test_random_geometry(folder: Path, numbers: list[float], thickness: int, width: int) -> None:
    tilt, axis, x, z, x_tilt = numbers
    (folder / "tilt.com").write_text(TILT.replace("THICKNESS 20", f"THICKNESS {thickness}\nWIDTH {width}"))
    add(folder, f"OFFSET {tilt} {axis}", f"SHIFT {x} {z}", f"XAXISTILT {x_tilt}")
    check(
        read_imod(folder),
        folder,
        thickness=thickness,
        width=width,
        tilt_offset=tilt,
        axis_offset=axis,
        shift=(x, z),
        x_tilt=x_tilt,
    )


def test_the_slice_option_limits_the_height(folder: Path) -> None:
    add(folder, "SLICE 5 34")
    assert read_imod(folder).size == (48, 30, 20)


@pytest.mark.parametrize("unbinned", [True, False])
def test_a_binned_aligned_stack(folder: Path, unbinned: bool) -> None:
    """Lengths are unbinned px with IMAGEBINNED, px of the aligned stack without it: both give bin-1 px here."""
    edit(folder / "newst.com", ("BinByFactor 1", "BinByFactor 2"))
    lengths = ["THICKNESS 20", "SHIFT 6 -4", "OFFSET 0 2", "WIDTH 40", "FULLIMAGE 48 40"]
    if not unbinned:
        lengths = ["THICKNESS 10", "SHIFT 3 -2", "OFFSET 0 1", "WIDTH 20", "FULLIMAGE 24 20"]
    edit(folder / "tilt.com", ("THICKNESS 20\n", "\n".join([*lengths, ""])))
    edit(folder / "tilt.com", ("IMAGEBINNED 1\n", "IMAGEBINNED 2\n" if unbinned else ""))
    series = read_imod(folder)
    assert series.size == (40, 40, 20)
    check(series, folder, shift=(6, -4), axis_offset=2, width=40)


def test_sizes_that_the_binning_does_not_divide(folder: Path) -> None:
    edit(folder / "newst.com", ("BinByFactor 1", "BinByFactor 7"))
    edit(folder / "tilt.com", ("IMAGEBINNED 1", "IMAGEBINNED 7\nFULLIMAGE 48 40\nSUBSETSTART 0 0"))
    series = read_imod(folder)
    # newstack adds a binned pixel at each side, tilt rounds down
    assert series.size == (56, 42, 14)


def test_an_aligned_stack_of_another_shape(folder: Path) -> None:
    """An axis near the images' x axis: the aligned stack is as high as the raw images are wide."""
    transforms = np.loadtxt(folder / "ts.xf")
    transforms[:, :4] = [0.0871557, 0.9961947, -0.9961947, 0.0871557]
    np.savetxt(folder / "ts.xf", transforms, "%.7f")
    add(folder, "SizeToOutputInXandY 40,48", name="newst.com")
    add(folder, "FULLIMAGE 48 40", "SUBSETSTART 4 -4")
    series = read_imod(folder)
    assert series.size == (40, 48, 20)
    check(series, folder, aligned=(40, 48))
    # without newst.com the stack itself tells
    (folder / "newst.com").unlink()
    write_stack(folder / "ts_ali.mrc", np.zeros((N, 48, 40), np.float32), 4.0)
    np.testing.assert_allclose(read_imod(folder).projections, series.projections)
    write_stack(folder / "ts_ali.mrc", np.zeros((N, 24, 20), np.float32), 8.0)
    edit(folder / "tilt.com", ("IMAGEBINNED 1", "IMAGEBINNED 2"))
    np.testing.assert_allclose(read_imod(folder).projections, series.projections)
    (folder / "ts_ali.mrc").unlink()
    # without the stack, FULLIMAGE and SUBSETSTART tell
    np.testing.assert_allclose(read_imod(folder).projections, series.projections)
    edit(folder / "tilt.com", ("IMAGEBINNED 2", "IMAGEBINNED 4"))
    assert read_imod(folder).size == (40, 48, 20)


def test_size_to_output_by_default(folder: Path) -> None:
    add(folder, "SizeToOutputInXandY /", name="newst.com")
    assert read_imod(folder).size == (48, 40, 20)


def test_the_subset_start_needs_to_match(folder: Path) -> None:
    add(folder, "SizeToOutputInXandY 40,48", name="newst.com")
    add(folder, "FULLIMAGE 48 40", "SUBSETSTART 0 0")
    check(read_imod(folder), folder, aligned=(40, 48), subset=(4, -4))


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        (["EXCLUDELIST 1-2,5"], [2, 3]),
        (["EXCLUDELIST2 2 4"], [0, 2, 4]),
        (["ExcludeList2 2", "EXCLUDELIST 5"], [0, 2, 3]),
        (["exclude 1 - 3"], [3, 4]),
        (["INCLUDE 2-3"], [1, 2]),
    ],
)
def test_excluded_views(folder: Path, lines: list[str], left: list[int]) -> None:
    whole = read_imod(folder)
    add(folder, *lines)
    gone = ", ".join(str(i + 1) for i in range(N) if i not in left)
    with pytest.warns(UserWarning, match=rf"tilt.com: {N - len(left)} of 5 views excluded: {gone} \(from 1\)"):
        series = read_imod(folder)
    np.testing.assert_array_equal(series.projections, whole.projections[left])
    np.testing.assert_array_equal(series.tilt_angles, whole.tilt_angles[left])
    for i, number in enumerate(left):
        np.testing.assert_array_equal(series.images[i], whole.images[number])
    # the stack may hold just these
    write_stack(folder / "ts.st", np.zeros((len(left), HEIGHT, WIDTH), np.float32), 4.0)
    with pytest.warns(UserWarning, match="excluded"):
        np.testing.assert_array_equal(read_imod(folder).projections, series.projections)


def test_excluded_on_the_command_line(folder: Path) -> None:
    edit(folder / "tilt.com", ("$tilt -StandardInput", "$tilt -EXCLUDELIST 1-3 \\\n -OFFSET -2 -StandardInput"))
    with pytest.warns(UserWarning, match="excluded: 1, 2, 3"):
        series = read_imod(folder)
    np.testing.assert_allclose(series.tilt_angles, [28, 59.25])


def test_what_is_not_applied_is_named_once(folder: Path) -> None:
    add(folder, "LOCALFILE tslocal.xf", "ZFACTORFILE ts.zfac", "COMPRESS 1 0.98 1 1 1")
    add(folder, "GradientFile ts.maggrad", name="newst.com")
    with pytest.warns(UserWarning, match="not applied") as caught:
        read_imod(folder)
    assert len(caught) == 1
    listed = "LOCALFILE (tslocal.xf), ZFACTORFILE (ts.zfac), COMPRESS (1 0.98 1 1 1), GradientFile (ts.maggrad)"
    lost = "; LOCALFILE and ZFACTORFILE not found, copy what is lost there"
    assert str(caught[0].message).endswith(listed + lost)


# CTF


def test_ctf(folder: Path) -> None:
    (folder / "ts.defocus").write_text(DEFOCUS)
    assert read_imod(folder).ctf_missing[0] == "Voltage (ctfcorrection.com)"
    (folder / "ctfcorrection.com").write_text(CTF)
    add(folder, "EXCLUDELIST 2")
    with pytest.warns(UserWarning, match="excluded"):
        ctf = read_imod(folder).ctf
    assert ctf is not None
    assert (ctf.voltage, ctf.spherical_aberration, ctf.amplitude_contrast) == (300, 2.7, 0.07)
    np.testing.assert_allclose(ctf.defocus_u, [30000, 30020, 30030, 30040])
    np.testing.assert_allclose(ctf.defocus_v, 29000)
    np.testing.assert_allclose(ctf.defocus_angle, [0, 20, 30, 40])


def test_ctf_measured_on_the_aligned_stack(folder: Path) -> None:
    (folder / "ts.defocus").write_text(DEFOCUS)
    text = CTF.replace("ctfphaseflip", "ctfplotter")
    angles = []
    for name in ("ts.st", "ts_ali.mrc"):
        (folder / "ctfplotter.com").write_text(text.replace("ts_ali.mrc", name))
        ctf = read_imod(folder).ctf
        assert ctf is not None
        angles.append(ctf.defocus_angle)
    rows = np.loadtxt(folder / "ts.xf")
    for raw, aligned, row in zip(np.radians(angles[1]), np.radians(angles[0]), rows, strict=True):
        # the alignment takes the axis in the raw image to that in the aligned one
        axis = row[:4].reshape(2, 2) @ [np.cos(raw), np.sin(raw)]
        np.testing.assert_allclose(axis / np.linalg.norm(axis), [np.cos(aligned), np.sin(aligned)], atol=1e-6)


def test_optics_that_make_no_sense(folder: Path) -> None:
    (folder / "ts.defocus").write_text(DEFOCUS)
    (folder / "ctfcorrection.com").write_text(CTF.replace("Contrast 0.07", "Contrast 7"))
    with pytest.raises(DataError, match=r"ctfcorrection.com: amplitude contrast 7"):
        read_imod(folder)
    (folder / "ctfcorrection.com").write_text(CTF.replace("Voltage 300", "Voltage 300kV"))
    with pytest.raises(DataError, match=r"ctfcorrection.com, line 4, Voltage: '300kV' is not a number"):
        read_imod(folder)
