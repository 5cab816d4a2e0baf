"""IMOD's local alignments and z factors, as its program tilt applies them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fourierrecon.errors import DataError
from fourierrecon.io import read_tilt_series
from tests.io.test_local_alignment import POINTS, TILTS, Array, N, positions, stack


def tilt_program(point: Array, view: int, setup: dict[str, Array]) -> Array:
    """Where the program tilt looks for a point in the aligned image, px from 1: its own frame, slices upside down."""
    width, height, thickness = 64.0, 60.0, 24.0
    del_x = 1.5
    x, y, z = point
    # a slice is a row, and its rows count against z; the point is a world point from 1
    xx, yy, zz = x - (width // 2 + 0.5 + del_x), y - (height / 2 + 0.5), (thickness + 1 - z) - (thickness // 2 + 0.5)
    x_center, slice_center = width / 2 + 0.5, height / 2 + 0.5
    ix, iy = xx + x_center + del_x, y
    fx, fy = (ix - 8) / 24, (iy - 6) / 22
    fx, fy = min(max(fx, 0), 2), min(max(fy, 0), 1)
    i, j = min(int(fx), 1), min(int(fy), 0)
    result = np.zeros(2)
    for a in (0, 1):
        for b in (0, 1):
            share = (fx - i if a else 1 - fx + i) * (fy - j if b else 1 - fy + j)
            patch = 3 * (j + b) + i + a
            beta = np.radians(TILTS[view] + setup["tilts"][patch, view])
            alpha = np.radians(setup["x_tilt"][view] + setup["x_tilts"][patch, view])
            zx, zy = -setup["z_factors"][patch, view]
            sin_b, sin_a = -np.sin(beta), -np.sin(alpha)
            xp = xx * np.cos(beta) + yy * sin_a * sin_b + zz * (np.cos(alpha) * sin_b + zx) + x_center + del_x
            yp = yy * np.cos(alpha) - zz * (sin_a - zy) + slice_center
            f11, f12, f21, f22, dx, dy = setup["lines"][patch, view]
            xr, yr = xp - x_center, yp - slice_center
            place = [f11 * xr + f12 * yr + dx + x_center, f21 * xr + f22 * yr + dy + slice_center]
            result += share * np.array(place)
    return result


def imod(folder: Path) -> dict[str, Array]:
    """An eTomo folder with local alignments, x tilts and Z factors; aligned images are 64 x 60, raw ones 60 x 64."""
    rng = np.random.default_rng(4)
    setup = {
        "tilts": rng.normal(size=(6, N)),
        "x_tilts": rng.normal(size=(6, N)) / 2,
        "z_factors": rng.normal(size=(6, N, 2)) / 50,
        "lines": np.concatenate([np.eye(2).ravel() + rng.normal(size=(6, N, 4)) / 100, rng.normal(size=(6, N, 2))], -1),
        "x_tilt": np.array([0.5, -0.25, 1.0, 0.75]),
        "global_z": rng.normal(size=(N, 2)) / 50,
    }
    setup = {name: np.round(values, 5) for name, values in setup.items()}
    stack(folder / "ts.st")
    angle = np.radians(85)
    turn = [np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)]
    np.savetxt(folder / "ts.xf", [[*turn, 1.5 * i, -2.0 * i] for i in range(N)], "%.9f")
    np.savetxt(folder / "ts.tlt", TILTS, "%.2f")
    np.savetxt(folder / "ts.xtilt", setup["x_tilt"], "%.3f")
    np.savetxt(folder / "ts.zfac", setup["global_z"], "%.5f")
    text = " 3 2 8 6 24 22 1 10.0 1\n"
    for patch in range(6):
        for name in ("tilts", "x_tilts", "z_factors"):
            text += " ".join(f"{v:.5f}" for v in setup[name][patch].ravel()) + "\n"
        text += "".join(" ".join(f"{v:.5f}" for v in line) + "\n" for line in setup["lines"][patch])
    (folder / "tslocal.xf").write_text(text)
    (folder / "newst.com").write_text(
        "$newstack -StandardInput\nInputFile ts.st\nTransformFile ts.xf\nSizeToOutputInXandY 64,60\n"
    )
    (folder / "tilt.com").write_text(
        "$tilt -StandardInput\nInputProjections ts_ali.mrc\nTILTFILE ts.tlt\nXTILTFILE ts.xtilt\nTHICKNESS 24\n"
        "OFFSET 0 1.5\nLOCALFILE tslocal.xf\nZFACTORFILE ts.zfac\n"
    )
    return setup


def test_imod_local_alignments_are_those_of_tilt(tmp_path: Path) -> None:
    setup = imod(tmp_path)
    series = read_tilt_series(tmp_path)
    transforms = np.loadtxt(tmp_path / "ts.xf")
    found = positions(series, POINTS + 1)
    for view, (line, image) in enumerate(zip(transforms, found, strict=True)):
        aligned = (image - [29.5, 31.5]) @ line[:4].reshape(2, 2).T + line[4:]
        want = [tilt_program(point, view, setup) - [32.5, 30.5] for point in POINTS + 1]
        np.testing.assert_allclose(aligned, want, atol=1e-6)
    assert series.local is not None
    assert series.local.words == "IMOD's local alignments (3 x 2 patches)"


def test_imod_z_factors_go_into_the_matrices(tmp_path: Path) -> None:
    setup = imod(tmp_path)
    text = (tmp_path / "tilt.com").read_text().replace("LOCALFILE tslocal.xf\n", "")
    (tmp_path / "tilt.com").write_text(text)
    with_factors = read_tilt_series(tmp_path)
    (tmp_path / "tilt.com").write_text(text.replace("ZFACTORFILE ts.zfac\n", ""))
    without = read_tilt_series(tmp_path)
    assert with_factors.local is None
    moved = (with_factors.projections - without.projections)[:, :2, 2]
    transforms = np.loadtxt(tmp_path / "ts.xf")[:, :4].reshape(-1, 2, 2)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", transforms, moved), setup["global_z"], atol=1e-6)


def test_faults_of_a_local_file_are_named(tmp_path: Path) -> None:
    imod(tmp_path)
    path = tmp_path / "tslocal.xf"
    text = path.read_text()
    path.write_text("\n".join(text.splitlines()[:-2]))
    with pytest.raises(DataError, match=r"tslocal.xf: 228 numbers for 3 x 2 patches of 4 views; needed: 240"):
        read_tilt_series(tmp_path)
    path.write_text("3 2 8 6\n")
    with pytest.raises(DataError, match="first line must hold 6 to 9 numbers"):
        read_tilt_series(tmp_path)
