"""The local alignment of every program: displacements that other code, or the program's formula, gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import TiltSeries
from fourierrecon.errors import DataError
from fourierrecon.geometry.corrections import AlignmentCorrections
from fourierrecon.io import read_tilt_series, write_stack
from fourierrecon.io.relion.import_set import write_set
from tests.helpers.real_data import real_data

Array = NDArray[np.float64]
N = 4


def stack(path: Path, n: int = N, shape: tuple[int, int] = (64, 60), pixel_size: float = 10.0) -> None:
    write_stack(path, np.random.default_rng(0).normal(size=(n, *shape)).astype(np.float32), pixel_size)


def positions(series: TiltSeries, points: Array, *, local: bool = True) -> Array:
    """Image pixels ``(n_tilts, n, 2)``, with the local alignment."""
    found = np.einsum("tij,pj->tpi", series.projections[:, :2, :3], points) + series.projections[:, None, :2, 3]
    if local:
        assert series.local is not None
        found += np.stack([series.local.at(tilt, points) for tilt in range(series.n_tilts)])
    return np.asarray(found)


# --- Warp ---


def grid(name: str, start: float, size: dict[str, int]) -> str:
    """A grid whose nodes are ``10 sin(start + 1.7 i)`` (of movements 8), in the order of the file."""
    height = 8 if "Movement" in name else 10
    shape = [size.get(axis, 1) for axis in ("Duration", "Depth", "Height", "Width")]
    nodes = []
    for i, (w, z, y, x) in enumerate(np.ndindex(*shape)):
        last = f' W="{w}"' if "Duration" in size else ""
        nodes.append(f'<Node X="{x}" Y="{y}" Z="{z}"{last} Value="{height * np.sin(start + 1.7 * i):.3f}" />')
    attributes = " ".join(f'{axis}="{n}"' for axis, n in size.items())
    return f"<{name} {attributes}>{''.join(nodes)}</{name}>"


MOVEMENT, WARP = {"Width": 4, "Height": 3, "Depth": N}, {"Width": 3, "Height": 3, "Depth": 2, "Duration": 3}
XML = f"""<?xml version="1.0" encoding="utf-8"?>
<TiltSeries DataDirectory="" AreAnglesInverted="False" LevelAngleX="1.5" LevelAngleY="-3.25" \
MagnificationCorrection="1, 0, 0, 1" VolumeDimensionsAngstrom="640, 560, 240" ImageDimensionsAngstrom="600, 640">
<Angles>-40\n-12\n15\n45</Angles><Dose>9\n0\n3\n6</Dose><UseTilt>True\nTrue\nTrue\nTrue</UseTilt>
<AxisAngle>84\n84.5\n85\n85.5</AxisAngle><AxisOffsetX>12\n-5\n30\n7</AxisOffsetX><AxisOffsetY>-20\n8\n3\n-14</AxisOffsetY>
{grid("GridMovementX", 1, MOVEMENT)}{grid("GridMovementY", 2, MOVEMENT)}
{grid("GridVolumeWarpX", 3, WARP)}{grid("GridVolumeWarpY", 4, WARP)}{grid("GridVolumeWarpZ", 5, WARP)}
</TiltSeries>"""
WARP_POINTS = np.array([[40, 60, 30], [320, 280, 120], [600, 500, 210], [100, 450, 60], [500, 90, 200]], float)
# TiltSeries.get_position_in_all_tilts_single of warpylib 1.1.2 (MIT license) on this XML: points (Å) by tilts
WARP_POSITIONS = np.array(
    [
        [[502.8, 14.54], [485.79, 5.17], [521.53, 56.0], [515.95, 158.06]],
        [[319.7, 304.81], [300.21, 324.21], [324.74, 315.19], [304.7, 308.05]],
        [[124.92, 595.95], [108.03, 651.45], [130.45, 587.98], [92.59, 455.54]],
        [[112.35, 125.53], [106.24, 128.16], [143.66, 135.99], [117.06, 187.68]],
        [[520.76, 459.91], [495.41, 501.23], [529.81, 475.06], [505.81, 380.69]],
    ]
)


@pytest.fixture
def xml(tmp_path: Path) -> Path:
    stack(tmp_path / "TS_01.st")
    (tmp_path / "TS_01.xml").write_text(XML)
    return tmp_path / "TS_01.xml"


def test_warp_grids_give_the_positions_of_warpylib(xml: Path) -> None:
    series = read_tilt_series(xml)
    found = 10 * positions(series, WARP_POINTS / 10).transpose(1, 0, 2)
    np.testing.assert_allclose(found, WARP_POSITIONS, atol=0.01)
    assert series.local is not None
    assert (
        series.local.words
        == "Warp's movements of 4 x 3 nodes in the images and deformation of 3 x 3 x 2 nodes in the volume"
    )


def test_warp_grids_keep_their_tilts_where_some_are_excluded(xml: Path) -> None:
    xml.write_text(XML.replace("<UseTilt>True", "<UseTilt>False"))
    with pytest.warns(UserWarning, match="1 of 4 tilts left out"):
        series = read_tilt_series(xml)
    found = 10 * positions(series, WARP_POINTS / 10).transpose(1, 0, 2)
    np.testing.assert_allclose(found, WARP_POSITIONS[:, 1:], atol=0.01)


def test_warp_volume_grids_need_the_size_of_the_volume(xml: Path) -> None:
    xml.write_text(XML.replace('VolumeDimensionsAngstrom="640, 560, 240"', ""))
    with pytest.warns(UserWarning, match="not applied: GridVolumeWarpX, Y, Z, since VolumeDimensionsAngstrom"):
        series = read_tilt_series(xml)
    assert series.local is not None
    assert series.local.words == "Warp's movements of 4 x 3 nodes in the images"


def test_warp_grids_of_zeros_are_no_local_alignment(xml: Path) -> None:
    xml.write_text(XML[: XML.index("<GridMovementX")] + "</TiltSeries>")
    assert read_tilt_series(xml).local is None


# --- RELION ---

TILTS = (-40.0, -12.0, 15.0, 45.0)
POINTS = np.array([[5, 8, 3], [32, 30, 12], [55, 58, 20], [10, 50, 4], [29, -8, 2]], float)


def relion(folder: Path, kind: str, grid_size: tuple[int, int], coefficients: Array) -> Path:
    """A RELION 5 set of one series, 60 x 64 px, with deformations."""
    (folder / "tilt_series").mkdir()
    stack(folder / "TS_01.mrcs")
    rows = "\n".join(
        f"{i + 1:06d}@TS_01.mrcs 0 {tilt} 85 {10 * i} {-5 * i} [{','.join(f'{v:.6f}' for v in values)}]"
        for i, (tilt, values) in enumerate(zip(TILTS, coefficients, strict=True))
    )
    labels = (
        "rlnMicrographName", "rlnTomoXTilt", "rlnTomoYTilt", "rlnTomoZRot", "rlnTomoXShiftAngst", "rlnTomoYShiftAngst",
        "rlnTomoDeformationCoefficients",
    )  # fmt: skip
    (folder / "tilt_series" / "TS_01.star").write_text(
        "data_TS_01\nloop_\n" + "".join(f"_{label}\n" for label in labels) + rows + "\n"
    )
    values = {
        "rlnTomoName": "TS_01", "rlnTomoTiltSeriesStarFile": "tilt_series/TS_01.star",
        "rlnTomoTiltSeriesPixelSize": 10, "rlnTomoSizeX": 64, "rlnTomoSizeY": 60, "rlnTomoSizeZ": 24,
        "rlnTomoDeformationGridSizeX": grid_size[0], "rlnTomoDeformationGridSizeY": grid_size[1],
        "rlnTomoDeformationType": kind,
    }  # fmt: skip
    text = "data_global\nloop_\n" + "".join(f"_{label}\n" for label in values)
    (folder / "tomograms.star").write_text(text + " ".join(map(str, values.values())) + "\n")
    return folder / "tomograms.star"


def spline(x: float, y: float, grid_size: tuple[int, int], values: Array) -> list[float]:
    """RELION's spline at one pixel, by loops: cells, powers and the matrix of its cells."""
    m, n = grid_size
    gx, gy = (min(max(at / (side / (k - 1)), 0), k - 1 - 1e-10) for at, side, k in ((x, 60, m), (y, 64, n)))
    cell_x, cell_y = int(gx), int(gy)
    tx, ty = gx - cell_x, gy - cell_y
    hermite = [[1 - 3 * t**2 + 2 * t**3, 3 * t**2 - 2 * t**3, t - 2 * t**2 + t**3, t**3 - t**2] for t in (tx, ty)]
    found = []
    for axis in range(2):
        d = [[values[4 * ((axis * n + cell_y + b) * m + cell_x + a) :][:4] for b in (0, 1)] for a in (0, 1)]
        # value, slope x, slope y, twist of a node
        cells = [[d[a][b][0] for b in (0, 1)] + [d[a][b][2] for b in (0, 1)] for a in (0, 1)]
        cells += [[d[a][b][1] for b in (0, 1)] + [d[a][b][3] for b in (0, 1)] for a in (0, 1)]
        found.append(float(np.array(hermite[0]) @ np.array(cells) @ np.array(hermite[1])))
    return found


def fourier(x: float, y: float, grid_size: tuple[int, int], values: Array) -> list[float]:
    """RELION's Fourier modes at one pixel, by loops."""
    m, n = grid_size
    modes = [(i, j) for j in range(n // 2) for i in range(0 if j else 1, m // 2 + 1)]
    modes += [(i, j - n) for j in range(n // 2, n) for i in range(1, m // 2 + 1)]
    found, at = [0.0, 0.0], 0
    for axis in range(2):
        for i, j in modes:
            phase = np.pi * (i * x / 60 + j * y / 64)
            found[axis] += values[at] * np.cos(phase) + values[at + 1] * np.sin(phase)
            at += 2
    assert at == len(values)
    return found


def linear(x: float, y: float, grid_size: tuple[int, int], values: Array) -> list[float]:
    x, y = x - 30, y - 32
    return [values[0] * x, values[1] * x + values[2] * y]


KINDS: dict[str, tuple[Callable[..., list[float]], tuple[int, int], int]] = {
    "spline": (spline, (3, 4), 96),
    "Fourier": (fourier, (4, 5), 4 * 11),
    "linear": (linear, (1, 1), 3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_relion_deformations_are_those_of_their_formula(tmp_path: Path, kind: str) -> None:
    formula, size, n = KINDS[kind]
    coefficients = np.round(np.random.default_rng(1).normal(size=(N, n)) * (0.02 if kind == "linear" else 3), 6)
    series = read_tilt_series(relion(tmp_path, kind, size, coefficients))
    plain = positions(series, POINTS, local=False)
    want = [[formula(x, y, size, values) for x, y in image] for image, values in zip(plain, coefficients, strict=True)]
    np.testing.assert_allclose(positions(series, POINTS) - plain, want, atol=1e-6)
    assert series.local is not None
    assert series.local.words.startswith(f"RELION deformations ({kind}")


@pytest.mark.parametrize(
    ("kind", "size", "n", "message"),
    [
        ("spline", (3, 3), 71, "rlnTomoDeformationCoefficients.*needed: 72 numbers"),
        ("spline", (1, 3), 24, "at least 2 x 2"),
        ("wavy", (3, 3), 72, "'wavy'; allowed: spline, Fourier, linear"),
    ],
)
def test_faults_of_deformations_are_named(
    tmp_path: Path, kind: str, size: tuple[int, int], n: int, message: str
) -> None:
    path = relion(tmp_path, kind, size, np.ones((N, n)))
    with pytest.raises(DataError, match=message):
        read_tilt_series(path)


def test_motion_of_particles_is_named_and_left_out(tmp_path: Path) -> None:
    relion(tmp_path, "linear", (1, 1), np.zeros((N, 3)))
    path = tmp_path / "optimisation_set.star"
    path.write_text(
        "data_optimisation_set\n_rlnTomoTomogramsFile tomograms.star\n_rlnTomoTrajectoriesFile motion.star\n"
    )
    with pytest.warns(UserWarning, match="not applied: motion of single particles"):
        series = read_tilt_series(path)
    assert series.local is None  # coefficients of 0


# --- AreTomo ---

ALN = """# AreTomo Alignment / Priims bprmMn
# RawSize = 60 64 4
# NumPatches = 3
# AlphaOffset = 0.0
# BetaOffset = 0.0
# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE     BASE     TILT
    2    85.0    1.0     3.5     -2.0     1.0     1.0     1.0     0.0    15.0
    0    85.0    1.0     1.5     -4.0     1.0     1.0     1.0     0.0   -40.0
    1    85.0    1.0    -2.0      6.0     1.0     1.0     1.0     0.0   -12.0
    3    85.0    1.0     0.5      1.0     1.0     1.0     1.0     0.0    45.0
# Local Alignment
"""
PATCHES = [
    (t, p, -15 + 14 * p + t, 12 - 9 * p, 1.5 * p - t, 2.0 - p * t, 0.0 if (t, p) == (1, 2) else 1.0)
    for t in range(N)
    for p in range(3)
]


def test_aretomo_patches_are_the_mean_that_it_takes(tmp_path: Path) -> None:
    rows = "\n".join(" ".join(f"{v:8.2f}" if i > 1 else f"{v:4d}" for i, v in enumerate(row)) for row in PATCHES)
    (tmp_path / "ts.aln").write_text(ALN + rows + "\n")
    stack(tmp_path / "ts.mrc")
    series = read_tilt_series(tmp_path / "ts.aln")
    points = POINTS - [32, 30, 12]
    # rows of the table count in its own order, images come in that of the stack
    table = {0: (1, 1.5, -4.0), 1: (2, -2.0, 6.0), 2: (0, 3.5, -2.0), 3: (3, 0.5, 1.0)}
    plain = positions(series, points, local=False)
    want = np.zeros_like(plain)
    for image, (row, tx, ty) in table.items():
        for k, (u, v) in enumerate(plain[image]):
            x, y, total = u - tx - 30, v - ty - 32, 0.0
            for t, _, cx, cy, sx, sy, good in PATCHES:
                if t == row and good > 0.9:
                    weight = np.exp(-100 * (((x - cx) / 60) ** 2 + ((y - cy) / 64) ** 2))
                    want[image, k] += weight * np.array([sx, sy])
                    total += weight
            want[image, k] /= total
    np.testing.assert_allclose(positions(series, points) - plain, want, atol=1e-6)


def test_a_real_local_alignment_of_aretomo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = real_data("metadata/teamtomo_parsers_testdata/alnfile") / "global_and_local.aln"
    (tmp_path / "ts.aln").write_bytes(source.read_bytes().replace(b"4096 4096 51", b"4096 4096 51"))

    class Blank:
        path, shape, pixel_size = Path("37.mrc"), (37, 4096, 4096), 2.0
        stacks = ()

        def __len__(self) -> int:
            return 37

    monkeypatch.setattr("fourierrecon.io.aretomo.alignment.open_stack", lambda path: Blank())
    monkeypatch.setattr("fourierrecon.io.aretomo.alignment.pixel_size_of", lambda stack, ctf: 2.0)
    with pytest.warns(UserWarning, match="14 of 51"):
        series = read_tilt_series(tmp_path / "ts.aln", stack="37.mrc")
    # at the centre of the first patch of the first image its own shift counts most: (-6.93, -36.22)
    a, t = series.projections[0, :2, :2], series.projections[0, :2, 3]
    centre = np.linalg.solve(a, np.array([-1537.16 + 13.382 + 2048, -1363.14 + 21.802 + 2048]) - t)
    assert series.local is not None
    found = series.local.at(0, np.array([[*centre, 0.0]]))[0]
    np.testing.assert_allclose(found, [-6.93, -36.22], atol=0.5)


# --- all ---


def test_corrections_and_selections_go_with_the_field(xml: Path) -> None:
    series = read_tilt_series(xml)
    corrections = AlignmentCorrections(tilt_angle=3, x_tilt=-2, z_shift=4, flip_hand=True)
    changed = corrections.apply(series).select([2, 0])
    # the world moves, and what is seen at a place of the images stays
    to_old = np.linalg.inv(series.projections[0]) @ corrections.apply(series).projections[0]
    to_old = np.linalg.lstsq(
        series.projections[:, :2].reshape(-1, 4),
        corrections.apply(series).projections[:, :2].reshape(-1, 4),
        rcond=None,
    )[0]
    old = np.concatenate([WARP_POINTS / 10, np.ones((5, 1))], 1) @ to_old.T
    np.testing.assert_allclose(positions(changed, WARP_POINTS / 10), positions(series, old[:, :3])[[2, 0]], atol=1e-6)


# --- written for RELION ---


@pytest.mark.parametrize("version", ["relion4", "relion5"])
def test_import_keeps_the_deformations_of_relion(tmp_path: Path, version: Literal["relion4", "relion5"]) -> None:
    coefficients = np.round(np.random.default_rng(1).normal(size=(N, 96)), 4)
    source = relion(tmp_path, "spline", (3, 4), coefficients)
    series = read_tilt_series(source)
    said: list[str] = []
    path, _ = write_set(tmp_path / "new", [(series.select([0, 2, 3]), {})], version, copy=True, tell_local=said.append)
    again = read_tilt_series(path)
    offset = 1.0 if version == "relion4" else 0.0  # its world begins at 1
    np.testing.assert_allclose(positions(again, POINTS + offset), positions(series, POINTS)[[0, 2, 3]], atol=1e-4)
    assert said == ["TS_01: RELION deformations (spline, 3 x 4), kept"]


def test_import_turns_other_fields_into_splines_and_says_what_is_lost(xml: Path) -> None:
    flat = XML[: XML.index("<GridVolumeWarpX")] + "</TiltSeries>"
    xml.write_text(flat)
    series = read_tilt_series(xml)
    said: list[str] = []
    path, _ = write_set(xml.parent / "new", [(series, {})], "relion4", copy=True, tell_local=said.append)
    again = read_tilt_series(path)
    middle = WARP_POINTS / 10
    away = positions(again, middle + 1) - positions(series, middle)
    assert np.abs(away).max() < 0.15
    assert said[0].startswith("TS_01: Warp's movements of 4 x 3 nodes in the images (rms 0.")
    assert "as RELION's splines of" in said[0]
    # of a deformation of the volume, what depends on the depth is lost
    xml.write_text(XML)
    write_set(xml.parent / "other", [(read_tilt_series(xml), {})], "relion4", copy=True, tell_local=said.append)
    assert "left out: rms" in said[1]


def test_sets_with_and_without_local_alignment_go_together(tmp_path: Path) -> None:
    source = relion(tmp_path, "linear", (1, 1), np.full((N, 3), 0.01))
    series = read_tilt_series(source)
    other = replace(series, local=None, name="TS_02")
    path, _ = write_set(tmp_path / "new", [(series, {}), (other, {})], "relion5", copy=True)
    assert read_tilt_series(path, "TS_01").local is not None
    assert read_tilt_series(path, "TS_02").local is None
