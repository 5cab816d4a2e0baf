"""EMAN2's alignments: projections as its own transforms give them, and as IMOD's files of them; every fault named."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from typer.testing import CliRunner

from fourierrecon.cli.app import app
from fourierrecon.errors import DataError, FourierReconError, UsageError
from fourierrecon.geometry.region import Region
from fourierrecon.io import read_mrc_volume, read_tilt_series, write_stack
from fourierrecon.io.eman import read_eman
from fourierrecon.io.imod.alignment import read_imod
from fourierrecon.io.relion.import_set import write_set
from tests.helpers.real_data import real_data

N, HEIGHT, WIDTH = 5, 41, 48
TABLE = np.column_stack(
    [
        [12.5, -3.25, 0.0, 4.0, -7.75],
        [-2.0, 8.5, 0.5, -6.25, 3.0],
        [93.2, 93.1, 453.15, 93.0, -266.9],
        [-41.0, -20.5, 0.25, 20.0, 40.5],
        [-1.5, 0.75, 0.0, 1.25, 2.0],
    ]
)
CTF: dict[str, Any] = {
    "defocus": [3.0, 3.1, 3.2, 3.3, 3.4],
    "phase": [10.0, 10, 11, 10, 12],
    "voltage": 300.0,
    "cs": 2.7,
}


def save(folder: Path, **changes: Any) -> Path:
    """Write a project with one tilt series; what is changed to None is left out."""
    (folder / "info").mkdir(exist_ok=True)
    (folder / "tiltseries").mkdir(exist_ok=True)
    info = {
        "ali_loss": [2.0, 1.5, 1.0, 1.5, 2.5],
        "apix_unbin": 2.65,
        "boxes_3d": [[1.0, 2.0, 3.0, "tomo", 1.0, 0]],
        "tlt_file": "tiltseries/ts.hdf",
        "tlt_params": TABLE.tolist(),
    }
    info = {name: value for name, value in {**info, **changes}.items() if value is not None}
    (folder / "info" / "ts_info.json").write_text(json.dumps(info))
    return folder / "info" / "ts_info.json"


@pytest.fixture
def images() -> NDArray[np.float32]:
    return np.random.default_rng(4).normal(size=(N, HEIGHT, WIDTH)).astype(np.float32)


@pytest.fixture
def source(tmp_path: Path, images: NDArray[np.float32]) -> Path:
    path = save(tmp_path)
    write_stack(tmp_path / "tiltseries" / "ts.mrcs", images, 2.65)
    return path


def eman_matrix(az: float, alt: float, phi: float) -> NDArray[np.float64]:
    """Matrix of EMAN's Euler angles, which turn about z, x and z: each turns the axes, not the points."""
    a, b, c = np.radians([az, alt, phi])

    def about_z(t: float) -> NDArray[np.float64]:
        return np.array([[np.cos(t), np.sin(t), 0], [-np.sin(t), np.cos(t), 0], [0, 0, 1]])

    about_x = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    return np.asarray(about_z(c) @ about_x @ about_z(a))


def eman_pixels(row: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where EMAN2 finds points of the volume in an image, px from its middle: its angles xyz by way of az, alt, phi."""
    tx, ty, rotation, tilt, x_tilt = row
    cx, sx, cy, sy = (f(np.radians(angle)) for angle in (x_tilt, tilt) for f in (np.cos, np.sin))
    az = np.degrees(np.arctan2(-cy * sx, sy)) + 90
    alt = np.degrees(np.arccos(cy * cx))
    phi = rotation + np.degrees(np.arctan2(sx, cx * sy)) - 90
    return np.asarray((points @ eman_matrix(az, alt, phi).T)[:, :2] + [tx, ty])


POINTS = np.array([[0.0, 0, 0], [20, 0, 0], [0, 15, 0], [0, 0, 30], [-11, 7, -22]])


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (40, 47)])
def test_projections_are_those_of_eman(tmp_path: Path, size: tuple[int, int]) -> None:
    path = save(tmp_path)
    write_stack(tmp_path / "tiltseries" / "ts.mrcs", np.ones((N, *size), np.float32), 2.65)
    series = read_eman(path)
    assert (series.name, series.pixel_size, series.rotation_centre) == ("ts", 2.65, (0, 0, 0))
    np.testing.assert_array_equal(series.tilt_angles, TABLE[:, 3])
    for row, matrix in zip(TABLE, series.projections, strict=True):
        pixels = (np.column_stack([POINTS, np.ones(len(POINTS))]) @ matrix.T)[:, :2]
        middle = np.array([size[1] // 2, size[0] // 2])
        np.testing.assert_allclose(pixels - middle, eman_pixels(row, POINTS), atol=1e-9)


@pytest.mark.parametrize("x_tilts", [False, True])
def test_projections_are_those_of_imod_files(source: Path, tmp_path: Path, x_tilts: bool) -> None:
    table = TABLE.copy()
    table[:, 4] *= x_tilts
    save(tmp_path, tlt_params=table.tolist())
    # IMOD turns first and then shifts, about (n - 1) / 2 and not n // 2
    folder = tmp_path / "imod"
    folder.mkdir()
    angle = np.radians(table[:, 2])
    turns = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    half = np.array([WIDTH // 2 - (WIDTH - 1) / 2, HEIGHT // 2 - (HEIGHT - 1) / 2])
    shifts = -np.einsum("nij,nj->ni", turns, table[:, :2] + half)
    np.savetxt(folder / "ts.xf", np.column_stack([turns.reshape(N, 4), shifts]), "%.6f")
    np.savetxt(folder / "ts.tlt", -table[:, 3], "%.2f")
    np.savetxt(folder / "ts.xtilt", -table[:, 4], "%.2f")
    imod = read_imod(folder / "ts.xf", stack=tmp_path / "tiltseries" / "ts.mrcs")
    eman = read_eman(source)
    # the world's origin is all that differs: the middle there, a corner here
    middle = np.array([(WIDTH + 1) / 2, (HEIGHT + 1) / 2, (round(3000 / 2.65) + 1) / 2])
    here = np.column_stack([POINTS, np.ones(len(POINTS))])
    there = np.column_stack([POINTS + middle, np.ones(len(POINTS))])
    np.testing.assert_allclose(eman.projections @ here.T, imod.projections @ there.T, atol=0.01)


def test_images(source: Path, images: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.testing.assert_array_equal(read_eman(source).images[3], images[3])
    stack = tmp_path / "tiltseries" / "ts.mrcs"
    # EMAN2 writes paths from its project folder; or the file lies beside the other
    save(tmp_path, tlt_file="tiltseries/ts.mrcs")
    np.testing.assert_array_equal(read_eman(source).images[3], images[3])
    stack.rename(tmp_path / "info" / "ts.mrcs")
    np.testing.assert_array_equal(read_eman(source).images[3], images[3])
    monkeypatch.chdir(tmp_path / "info")
    np.testing.assert_array_equal(read_eman("ts_info.json").images[3], images[3])
    (tmp_path / "info" / "ts.mrcs").rename(tmp_path / "other.mrcs")
    np.testing.assert_array_equal(read_eman(source, stack=tmp_path / "other.mrcs").images[3], images[3])
    with pytest.raises(DataError, match=r"tlt_file: tiltseries/ts.mrcs: no MRC or TIFF stack of that name"):
        read_eman(source)
    save(tmp_path, tlt_file="tiltseries/ts.hdf")
    with pytest.raises(DataError, match=r"convert it \(e2proc2d.py ts.hdf ts.mrcs\), or give the stack"):
        read_eman(source)
    write_stack(tmp_path / "other.mrcs", images[:3], 2.65)
    with pytest.raises(DataError, match=r"tlt_params: 5 tilts, but the stack .*other.mrcs holds 3 images"):
        read_eman(source, stack=tmp_path / "other.mrcs")


def test_binned_images(source: Path, tmp_path: Path, images: NDArray[np.float32]) -> None:
    small = tmp_path / "small.mrcs"
    write_stack(small, images[:, :20, :24], 5.3)
    with pytest.warns(UserWarning, match=r"its header says 5.3 Å a pixel, 2.65 Å is used; .*pixel_size="):
        read_eman(source, stack=small)
    series = read_eman(source, stack=small, pixel_size=5.3)
    assert series.pixel_size == 5.3
    np.testing.assert_allclose(series.projections[:, :2, 3], TABLE[:, :2] / 2 + [12, 10])
    # the microscope calibrated anew: no image moves
    with pytest.warns(UserWarning, match="its header says"):
        again = read_eman(source, pixel_size=2.72)
    np.testing.assert_array_equal(again.projections, read_eman(source).projections)
    with pytest.raises(UsageError, match=r"3.9 Å is no whole multiple of apix_unbin, 2.65 Å"):
        read_eman(source, pixel_size=3.9)
    with pytest.raises(UsageError, match="must be positive"):
        read_eman(source, pixel_size=-1)


def test_excluded_tilts(source: Path, tmp_path: Path, images: NDArray[np.float32]) -> None:
    save(tmp_path, ali_loss=[1.0, 500.0, 1.0, 1000.0, 2.0], **CTF)
    with pytest.warns(UserWarning, match="2 of 5 tilts left out, as ali_loss says: 2, 4"):
        series = read_eman(source)
    assert series.excluded == (2, 4)
    np.testing.assert_array_equal(series.tilt_angles, TABLE[[0, 2, 4], 3])
    np.testing.assert_array_equal(series.images[1], images[2])
    assert series.ctf is not None
    np.testing.assert_allclose(series.ctf.defocus_u, [3e4, 3.2e4, 3.4e4])
    # a stack without them
    write_stack(tmp_path / "cut.mrcs", images[[0, 2, 4]], 2.65)
    with pytest.warns(UserWarning, match="left out"):
        np.testing.assert_array_equal(read_eman(source, stack=tmp_path / "cut.mrcs").images[2], images[4])
    save(tmp_path, ali_loss=[999.0] * 5)
    with pytest.raises(DataError, match="ali_loss: 500 or more for all 5 tilts"):
        read_eman(source)
    save(tmp_path, ali_loss=None)
    assert read_eman(source).n_tilts == N


def test_ctf(source: Path, tmp_path: Path) -> None:
    assert read_eman(source).ctf_missing == ("defocus", "voltage", "cs", "phase or amplitude contrast")
    save(tmp_path, **CTF)
    ctf = read_eman(source).ctf
    assert ctf is not None
    assert (ctf.voltage, ctf.spherical_aberration, ctf.amplitude_contrast) == (300, 2.7, 0)
    np.testing.assert_allclose(ctf.defocus_u, np.array(CTF["defocus"]) * 1e4)
    np.testing.assert_allclose(ctf.defocus_v, ctf.defocus_u)
    np.testing.assert_allclose(ctf.phase_shift, CTF["phase"])
    given = read_eman(source, voltage=200.0, spherical_aberration=1.0).ctf
    assert given is not None
    assert (given.voltage, given.spherical_aberration) == (200, 1)
    with pytest.raises(
        UsageError, match=r"phase: it holds the amplitude contrast already; leave amplitude_contrast=\.\.\. out"
    ):
        read_eman(source, amplitude_contrast=0.1)
    save(tmp_path, **{**CTF, "phase": None})
    assert read_eman(source).ctf_missing == ("phase or amplitude contrast",)
    ctf = read_eman(source, amplitude_contrast=0.1).ctf
    assert ctf is not None
    assert ctf.amplitude_contrast == 0.1


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"tlt_params": None}, "tlt_params: not there; align the tilt series with e2tomogram.py first"),
        ({"tlt_params": [[1, 2, 3]] * 5}, r"tlt_params: an array of \(5, 3\); needed: rows of 5 numbers"),
        ({"tlt_params": "base64"}, "tlt_params: 'base64'; needed"),
        ({"tlt_params": []}, "tlt_params: an array of"),
        ({"tlt_params": 7}, "tlt_params: an array of"),
        ({"tlt_params": [[1, 2, 3, 4, float("nan")]] * 5}, "tlt_params, tilt 1: .* makes no sense"),
        ({"ali_loss": [1.0, 2.0]}, r"ali_loss: an array of \(2,\); needed: 5 numbers, one a tilt"),
        ({"ali_loss": [1.0, 2.0, None, 1.0, 1.0]}, "ali_loss, tilt 3"),
        ({"apix_unbin": None}, r"apix_unbin: not there, 0 or 1 Å; give pixel_size="),
        ({"apix_unbin": "big"}, "apix_unbin: 'big'; needed: a positive number"),
        ({"apix_unbin": 0}, "apix_unbin: not there, 0 or 1 Å"),
        ({"apix_unbin": 1.0}, "apix_unbin: not there, 0 or 1 Å"),
        ({"apix_unbin": -2}, "apix_unbin: '-2'; needed: a positive number"),
        ({"tlt_file": None}, "tlt_file: 'None'; needed: the name of the images"),
        ({**CTF, "defocus": [1.0]}, r"defocus: an array of \(1,\); needed: 5 numbers"),
        ({**CTF, "voltage": -300}, "voltage: '-300'; needed: a positive number"),
    ],
)
def test_faults_are_named(source: Path, tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    save(tmp_path, **changes)
    with pytest.raises(DataError, match=f"ts_info.json, {match}"):
        read_eman(source)


def test_files_that_are_no_json(tmp_path: Path) -> None:
    path = tmp_path / "a_info.json"
    with pytest.raises(DataError, match=r"cannot read .*a_info.json: No such file"):
        read_tilt_series(path)
    for content, match in ((b"", "not JSON"), (b"{'a': 1}", "not JSON"), (b"\xff\xfe\0", "not JSON")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=match):
            read_tilt_series(path)
    path.write_text("[1, 2]")
    with pytest.raises(DataError, match="no names with values"):
        read_tilt_series(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["tlt_params", "ali_loss", "apix_unbin", "tlt_file", *CTF]), json_values)
def test_anything_else_is_an_error_of_ours(source: Path, tmp_path: Path, name: str, value: object) -> None:
    save(tmp_path, **{**CTF, name: value})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert read_eman(source).n_tilts <= N
        except FourierReconError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017


def test_reconstruct(source: Path, tmp_path: Path) -> None:
    """A point of the volume, drawn where EMAN2 looks for it, comes out there."""
    point = np.array([[6.0, -8.0, 4.0]])
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    spots = []
    for row in TABLE:
        x, y = eman_pixels(row, point)[0] + [WIDTH // 2, HEIGHT // 2]
        spots.append(np.exp(-((u - x) ** 2 + (v - y) ** 2) / 4))
    write_stack(tmp_path / "tiltseries" / "ts.mrcs", np.array(spots, np.float32), 2.65)
    options = [
        "--o",
        f"{tmp_path}/out.mrc",
        "--noctf",
        "--bin",
        "1",
        "--w",
        "40",
        "--h",
        "40",
        "--d",
        "30",
        "--td",
        "0",
    ]
    result = CliRunner().invoke(app, ["reconstruct", "--t", str(source), *options, "--tf", "1", "--j", "1"])
    assert result.exit_code == 0, result.output
    volume = read_mrc_volume(tmp_path / "out.mrc").data
    z, y, x = np.unravel_index(np.argmax(volume), volume.shape)
    np.testing.assert_allclose([x - 20, y - 20, z - 15], point[0], atol=1)


@pytest.mark.parametrize("version", ["relion4", "relion5"])
def test_import(
    source: Path, tmp_path: Path, images: NDArray[np.float32], version: Literal["relion4", "relion5"]
) -> None:
    series = read_tilt_series(source)
    path, _ = write_set(tmp_path / "set", [(series, {})], version)
    written = read_tilt_series(path)
    # the same specimen at the same voxels
    region, again = (Region.of(s, binning=2) for s in (series, written))
    voxels = np.array([[0.0, 0, 0], [14, 0, 0], [3, 19, 9]])
    for f in range(N):
        u, v = (
            (np.column_stack([np.array(r.origin) + 2 * voxels, np.ones(3)]) @ s.projections[f].T)[:, :2]
            for r, s in ((region, series), (again, written))
        )
        np.testing.assert_allclose(u, v, atol=1e-3)
    np.testing.assert_array_equal(written.images[2], images[2])


def test_names_and_extras(source: Path) -> None:
    assert read_tilt_series(source, "ts").name == "ts"
    with pytest.raises(UsageError, match=r"leave name=... out"):
        read_tilt_series(source, "other")
    assert read_tilt_series(source, pixel_size=2.65).pixel_size == 2.65


def test_real_file_and_its_conversion(tmp_path: Path) -> None:
    """EMAN2's own file fits what emanjson2imodxf makes of it, but for x tilt, its transposed A, and half a turn."""
    real = real_data("metadata/teamtomo_parsers_testdata/emanjson2imodxf")
    info = json.loads((real / "example.json").read_text())
    table = np.array(info["tlt_params"])
    table[:, 4] = 0
    save(tmp_path, **{**info, "tlt_params": table.tolist()})
    # an odd size: IMOD's middle is EMAN2's
    write_stack(tmp_path / "info" / "stack.mrc", np.ones((55, 9, 9), np.float32), 2.65)
    eman = read_eman(tmp_path / "info" / "ts_info.json")
    assert eman.pixel_size == pytest.approx(2.65)
    rows = np.loadtxt(real / "example.xf")
    theirs = rows[:, :4].reshape(-1, 2, 2)
    ours = theirs.transpose(0, 2, 1)
    shifts = np.einsum("nij,njk,nk->ni", ours, ours, rows[:, 4:])
    np.savetxt(tmp_path / "ts.xf", np.column_stack([ours.reshape(-1, 4), shifts]))
    (tmp_path / "ts.tlt").write_text((real / "example.tlt").read_text())
    imod = read_imod(tmp_path / "ts.xf", stack=tmp_path / "info" / "stack.mrc")
    points = np.array([[0.0, 0, 0], [500, 0, 0], [0, 500, 0], [0, 0, 200], [-300, 400, -100]])
    middle = np.array([5, 5, (round(3000 / 2.65) + 1) / 2])
    here = np.column_stack([points, np.ones(len(points))])
    there = np.column_stack([points * [-1, -1, 1] + middle, np.ones(len(points))])
    pixels, turned = (eman.projections @ here.T)[:, :2], (imod.projections @ there.T)[:, :2]
    np.testing.assert_allclose(8 - turned, pixels, atol=0.1)
