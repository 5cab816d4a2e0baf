"""Warp's tilt series: its own positions come out, and every fault is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.region import Region
from fourierrecon.io import MrcStack, read_tilt_series, write_stack
from fourierrecon.io.warp.alignment import read_warp
from tests.helpers.real_data import real_data


def grid(name: str, values: list[float], width: int = 1, height: int = 1) -> str:
    places = [(i % width, i // width % height, i // (width * height)) for i in range(len(values))]
    nodes = "".join(
        f'<Node X="{x}" Y="{y}" Z="{z}" Value="{v}" />' for (x, y, z), v in zip(places, values, strict=True)
    )
    depth = len(values) // (width * height)
    return f'<{name} Width="{width}" Height="{height}" Depth="{depth}">{nodes}</{name}>'


XML = f"""<?xml version="1.0" encoding="utf-8"?>
<TiltSeries DataDirectory="/elsewhere" AreAnglesInverted="True" LevelAngleX="1.457031" LevelAngleY="-5.920115" \
MagnificationCorrection="1, 0, 0, 1" UnselectFilter="False">
  <Angles>40.01
14.02
-39.98</Angles>
  <Dose>6
0
3</Dose>
  <UseTilt>True
True
True</UseTilt>
  <AxisAngle>-85.60053
-85.60053
-85.60053</AxisAngle>
  <AxisOffsetX>12.05431
57.278168
49.980087</AxisOffsetX>
  <AxisOffsetY>-51.868156
25.689491
-60.133255</AxisOffsetY>
  <MoviePath>../frames/TS_01_40.0.tif
../frames/TS_01_14.0.tif
../frames/TS_01_-40.0.tif</MoviePath>
  <OptionsCTF><Param Name="PixelSize" Value="3.5" /><Param Name="Cs" Value="1" /></OptionsCTF>
  <CTF>
    <Param Name="PixelSize" Value="4" />
    <Param Name="Amplitude" Value="0.07" />
    <Param Name="Voltage" Value="300.0" />
    <Param Name="Cs" Value="2.7" />
  </CTF>
  {grid("GridCTF", [2.5, 2.4, 2.6])}
  {grid("GridCTFDefocusDelta", [0.02])}
  {grid("GridCTFDefocusAngle", [30, 31, 32])}
  {grid("GridCTFPhase", [0, 0.25, 0.5])}
  {grid("GridMovementX", [0, 0, 0])}
  {grid("GridAngleX", [0, 0, 0])}
</TiltSeries>"""
TOMOSTAR = """
data_

loop_
_wrpMovieName #1
_wrpAngleTilt #2
_wrpAxisAngle #3
_wrpDose #4
../frames/TS_01_40.0.tif 40.01 -85.6 6
../frames/TS_01_14.0.tif 14.02 -85.6 0
../frames/TS_01_-40.0.tif -39.98 -85.6 3

"""
# What Warp itself wrote for these tilts of EMPIAR-10491 (the oracle of its Python library, MIT license): points from
# the middle of the volume, and their images from the middle of the image, Å; Warp's local movements taken out.
POINTS = np.array([[-500, -500, -500], [500, 0, -500], [-500, 500, 0], [500, 500, 500]], float)
IMAGES = np.array(
    [
        [[-483.362, 37.189], [77.985, -743.083], [478.109, 406.439], [507.470, -140.925]],
        [[-460.843, 409.870], [113.329, -537.108], [517.534, 559.371], [575.400, -358.491]],
        [[-490.636, 616.423], [61.813, -48.198], [522.355, 316.037], [590.596, -736.690]],
    ]
)


@pytest.fixture
def images() -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(3, 8, 10)).astype(np.float32)


@pytest.fixture
def xml(tmp_path: Path, images: NDArray[np.float32]) -> Path:
    write_stack(tmp_path / "TS_01.st", images, 4.0)
    path = tmp_path / "TS_01.xml"
    path.write_text(XML, "utf-8-sig")
    return path


def edit(path: Path, *changes: tuple[str, str]) -> Path:
    text = path.read_text("utf-8-sig")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text, "utf-8")
    return path


def project(matrices: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Image pixels ``(n_tilts, n_points, 2)``."""
    return np.asarray(np.einsum("tij,pj->tpi", matrices[:, :2, :3], points) + matrices[:, None, :2, 3])


@pytest.mark.parametrize("shape", [(8, 10), (9, 11), (8, 11)])
@pytest.mark.parametrize("size", [None, (20.0, 16.0, 6.0), (21.0, 15.0, 7.0)])
def test_positions_are_those_that_warp_wrote(xml: Path, shape: tuple[int, int], size: Any) -> None:
    write_stack(xml.with_suffix(".st"), np.zeros((3, *shape), np.float32), 4.0)
    series = read_warp(xml, size=size)
    middle = np.array(size or (0, 0, 0)) / 2
    found = project(series.projections, POINTS / 4 + middle)
    np.testing.assert_allclose(found, IMAGES / 4 + np.array([shape[1], shape[0]]) / 2, atol=1e-3)
    assert series.rotation_centre == tuple(middle)
    assert series.size == size


def test_everything_else_of_a_series(xml: Path, images: NDArray[np.float32]) -> None:
    series = read_warp(xml)
    assert (series.name, series.pixel_size, series.n_tilts, series.world_origin) == ("TS_01", 4.0, 3, 0.0)
    np.testing.assert_array_equal(series.tilt_angles, [40.01, 14.02, -39.98])
    assert series.exposure is not None
    np.testing.assert_array_equal(series.exposure, [6, 0, 3])
    np.testing.assert_array_equal(series.images[1], images[1])
    ctf = series.ctf
    assert ctf is not None
    assert (ctf.voltage, ctf.spherical_aberration, ctf.amplitude_contrast) == (300, 2.7, 0.07)
    np.testing.assert_allclose(ctf.defocus_u, [25100, 24100, 26100])
    np.testing.assert_allclose(ctf.defocus_v, [24900, 23900, 25900])
    np.testing.assert_allclose(ctf.defocus_angle, [30, 31, 32])
    np.testing.assert_allclose(ctf.phase_shift, [0, 45, 90])
    # the tilt axis lies along the images' x
    assert Region.of(series, binning=2).shape[1:] == (5, 4)


def test_inverted_angles_do_not_move_positions(xml: Path) -> None:
    first = read_warp(xml).projections
    edit(xml, ('AreAnglesInverted="True"', 'AreAnglesInverted="False"'))
    np.testing.assert_array_equal(read_warp(xml).projections, first)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_encodings(xml: Path, encoding: str, ends: str) -> None:
    want = read_warp(xml).projections
    # a declaration that lies, as .NET writes it
    xml.write_bytes(XML.replace("\n", ends).encode(encoding))
    np.testing.assert_array_equal(read_warp(xml).projections, want)


def test_sizes_and_pixel_size(xml: Path) -> None:
    edit(xml, ("UnselectFilter", 'VolumeDimensionsAngstrom="83.4, 41.7, 33.36" ImageDimensionsAngstrom="40, 32" Unsel'))
    series = read_warp(xml, pixel_size=0.834)
    assert series.size == (100, 50, 40)
    assert series.pixel_size == 0.834
    assert read_warp(xml).pixel_size == 4
    assert read_warp(xml, size=(1, 2, 3)).size == (1, 2, 3)
    edit(xml, ('"40, 32"', '"40, 25"'))
    with pytest.raises(DataError, match=r"ImageDimensionsAngstrom: 40 x 25 Å do not fit images of 10 x 8 px"):
        read_warp(xml)
    edit(xml, ('"40, 25"', '"0, 0"'), ("83.4, 41.7", "0, 0"))
    series = read_warp(xml)
    assert series.pixel_size == 4
    assert series.size is None
    for pixel_size in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="pixel size"):
            read_warp(xml, pixel_size=pixel_size)
    with pytest.raises(UsageError, match="size"):
        read_warp(xml, size=(1, 2, 0))


def test_pixel_size_of_the_ctf_where_the_header_has_none(xml: Path, images: NDArray[np.float32]) -> None:
    write_stack(xml.with_suffix(".st"), images, 1.0)
    raw = bytearray(xml.with_suffix(".st").read_bytes())
    raw[40:52] = bytes(12)
    xml.with_suffix(".st").write_bytes(raw)
    assert read_warp(xml).pixel_size == 4
    edit(xml, ('<Param Name="PixelSize" Value="4" />', ""))
    assert read_warp(xml).pixel_size == 3.5
    edit(xml, ('<Param Name="PixelSize" Value="3.5" />', ""))
    with pytest.raises(DataError, match=r"pixel size of the images is not known; give pixel_size=\.\.\. in Å"):
        read_warp(xml)


def test_excluded_tilts(xml: Path, images: NDArray[np.float32], tmp_path: Path) -> None:
    whole = read_warp(xml)
    edit(xml, ("<UseTilt>True\nTrue", "<UseTilt>True\nFalse"))
    with pytest.warns(UserWarning, match=r"1 of 3 tilts left out, as UseTilt says: 2$"):
        series = read_warp(xml)
    np.testing.assert_array_equal(series.projections, whole.projections[[0, 2]])
    np.testing.assert_array_equal(series.images[1], images[2])
    assert series.ctf is not None
    np.testing.assert_allclose(series.ctf.phase_shift, [0, 90])
    write_stack(tmp_path / "used.mrc", images[[0, 2]], 4.0)
    with pytest.warns(UserWarning, match="left out"):
        series = read_warp(xml, stack=tmp_path / "used.mrc")
    np.testing.assert_array_equal(series.images[1], images[2])
    write_stack(tmp_path / "four.mrc", np.ones((4, 8, 10), np.float32), 4.0)
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(DataError, match=r"3 tilts \(2 without the excluded ones\), but the stack .* holds 4 images"),
    ):
        read_warp(xml, stack=tmp_path / "four.mrc")
    edit(xml, ("<UseTilt>True\nFalse\nTrue", "<UseTilt>False\nFalse\nFalse"))
    with pytest.raises(DataError, match="all 3 tilts are excluded"):
        read_warp(xml)


def test_what_is_not_applied_is_named_once(xml: Path) -> None:
    want = read_warp(xml).projections
    edit(
        xml,
        (grid("GridMovementX", [0, 0, 0]), grid("GridMovementX", [0, -1.5, 1, 0], 2, 2)),
        (grid("GridAngleX", [0, 0, 0]), grid("GridAngleX", [0, 0.25, 0]) + grid("GridVolumeWarpZ", [3])),
        ("1, 0, 0, 1", "1.01, 0, 0, 1"),
    )
    with pytest.warns(UserWarning, match="not applied") as caught:
        series = read_warp(xml)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert text.endswith("not applied: GridAngleX (up to 0.25 °), MagnificationCorrection")
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(series.projections, want)
    # the grids that move something are the local alignment
    assert series.local is not None
    turned = series.projections[:, :2, 2] * 3 / 4
    with pytest.warns(UserWarning, match="not applied"):
        plain = read_warp(edit(xml, ("<GridMovementX", "<GridNothing"), ("</GridMovementX", "</GridNothing"))).local
    assert plain is not None
    np.testing.assert_allclose([plain.at(i, np.zeros((1, 3)))[0] for i in range(3)], turned, atol=1e-6)


def test_ctf_from_grids_over_the_image(xml: Path) -> None:
    # linear in x and y: the spline is the plane, its middle the mean
    values = [z + x + 10 * y for z in (2.0, 3.0, 4.0) for y in (0, 1, 2) for x in (0, 1)]
    edit(xml, (grid("GridCTF", [2.5, 2.4, 2.6]), grid("GridCTF", values, 2, 3)))
    ctf = read_warp(xml).ctf
    assert ctf is not None
    np.testing.assert_allclose(ctf.defocus_u, np.array([12.51, 13.51, 14.51]) * 1e4)


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ((grid("GridCTF", [2.5, 2.4, 2.6]), grid("GridCTF", [0])), "<GridCTF> (Warp's CTF fit)"),
        ((grid("GridCTF", [2.5, 2.4, 2.6]), ""), "<GridCTF> (Warp's CTF fit)"),
        (('<Param Name="Voltage" Value="300.0" />', ""), "Voltage in <CTF>"),
    ],
)
def test_no_ctf(xml: Path, change: tuple[str, str], missing: str) -> None:
    series = read_warp(edit(xml, change))
    assert series.ctf is None
    assert series.ctf_missing == (missing,)


def test_images_are_found_as_warp_lays_them(tmp_path: Path, images: NDArray[np.float32]) -> None:
    for folder in ("series", "frames/average"):
        (tmp_path / folder).mkdir(parents=True)
    path = tmp_path / "series" / "TS_01.xml"
    path.write_text(XML)
    with pytest.raises(DataError, match=r"<MoviePath>, value 1: no average of ../frames/TS_01_40.0.tif .*give stack="):
        read_warp(path)
    for name, image in zip(("40.0", "14.0", "-40.0"), images, strict=True):
        write_stack(tmp_path / "frames" / "average" / f"TS_01_{name}.mrc", image[None], 4.0)
    np.testing.assert_array_equal(read_warp(path).images[2], images[2])
    edit(path, ("../frames/TS_01_40.0.tif", r"..\frames\TS_01_40.0.tif"))
    np.testing.assert_array_equal(read_warp(path).images[0], images[0])
    stack = tmp_path / "series" / "tiltstack" / "TS_01" / "TS_01.st"
    write_stack(stack, images + 1, 4.0)
    np.testing.assert_array_equal(read_warp(path).images[2], images[2] + 1)
    stack.unlink()
    names = "..\\frames\\TS_01_40.0.tif", "../frames/TS_01_14.0.tif"
    edit(path, (names[0], names[1]))
    with pytest.raises(DataError, match=r"<MoviePath>, value 2: .*14.0.mrc is the image of tilt 1 too"):
        read_warp(path)
    edit(path, (names[1], "/"))
    with pytest.raises(DataError, match="<MoviePath>, value 1: no average of / "):
        read_warp(path)
    edit(path, ("<MoviePath>", "<Other>"), ("</MoviePath>", "</Other>"))
    with pytest.raises(DataError, match=r"no stack of its name beside it, and no <MoviePath>; give stack="):
        read_warp(path)


def test_tomostar(xml: Path, tmp_path: Path) -> None:
    path = tmp_path / "TS_01.tomostar"
    path.write_text(TOMOSTAR)
    # with the XML beside it, the same as that
    np.testing.assert_array_equal(read_warp(path).projections, read_warp(xml).projections)
    (tmp_path / "warp_tiltseries").mkdir()
    (tmp_path / "tomostar").mkdir()
    other = tmp_path / "tomostar" / "TS_01.tomostar"
    other.write_text(TOMOSTAR)
    moved = xml.rename(tmp_path / "warp_tiltseries" / "TS_01.xml")
    stack = tmp_path / "TS_01.st"
    assert read_warp(other, stack=stack).source == str(other)
    np.testing.assert_array_equal(read_warp(other, stack=stack).tilt_angles, [40.01, 14.02, -39.98])
    moved.unlink()
    with pytest.warns(UserWarning, match=r"alignment is that of the .tomostar, with 0 for wrpAxisOffsetX, wrpAxisOff"):
        series = read_warp(path)
    assert series.exposure is not None
    np.testing.assert_array_equal(series.exposure, [6, 0, 3])
    assert series.ctf is None
    np.testing.assert_allclose(series.projections[:, :2, 3], [[5, 4]] * 3)
    assert series.projections[0, 1, 1] == pytest.approx(np.cos(np.radians(85.6)))
    shifted = TOMOSTAR.replace("_wrpDose #4", "_wrpAxisOffsetX #4").replace("-85.6 6", "-85.6 8")
    path.write_text(shifted)
    with pytest.warns(UserWarning, match="with 0 for wrpAxisOffsetY$"):
        series = read_warp(path)
    assert series.exposure is None
    assert series.projections[0, 0, 3] == pytest.approx(7)


def test_the_same_series_as_relion_has_it() -> None:
    size = (652.0, 630.0, 256.0)
    stack = real_data("mycoplasma/00254.mrcs")
    warp = read_warp(real_data("mycoplasma/warp_import_00254.xml"), stack=stack, size=size)
    relion = read_tilt_series(real_data("mycoplasma/tomograms.star"))
    points = np.array(np.meshgrid([0, 300, 651], [0, 300, 629], [0, 100, 255])).reshape(3, -1).T.astype(float)
    # RELION 4's world begins at 1; Warp's z runs the other way, and IMOD's centres are half a pixel before Warp's
    turned = points * [1, 1, -1] + [0, 0, size[2] - 0.5]
    want = project(relion.projections, points + 1)
    np.testing.assert_allclose(project(warp.projections, turned), want, atol=0.22)
    halves = project(warp.projections, turned + np.array([0.5, 0.5, 0])) - 0.5
    np.testing.assert_allclose(halves, want, atol=1e-3)
    assert warp.pixel_size == relion.pixel_size == MrcStack(stack).pixel_size
    assert warp.exposure is not None
    np.testing.assert_array_equal(warp.exposure, relion.exposure)
    assert warp.ctf is None
