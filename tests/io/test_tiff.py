"""TIFF stacks: the images of the MRC stack, read one at a time; pixel sizes that can be trusted; every fault named."""

from __future__ import annotations

import pickle
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.io import FileImages, MrcStack, open_stack, read_tilt_series, write_stack
from fourierrecon.io.relion.import_set import write_set

tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")

SHAPE = (5, 7, 10)


@pytest.fixture
def images() -> NDArray[np.uint16]:
    return np.random.default_rng(1).integers(0, 60000, SHAPE).astype(np.uint16)


def save(path: Path, images: NDArray[Any], **options: Any) -> Path:
    """Write images whose first row is the bottom one, as MRC has it."""
    tifffile.imwrite(path, images[..., ::-1, :], **{"photometric": "minisblack", **options})
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True, "tile": (16, 16)},
        {"bigtiff": True, "byteorder": ">"},
        {"rowsperstrip": 2},
        {"imagej": True},
        {"truncate": True},
    ],
)
def test_images_are_those_of_the_mrc_stack(tmp_path: Path, images: NDArray[np.uint16], options: dict[str, Any]) -> None:
    write_stack(tmp_path / "a.mrc", images, 2.0, np.uint16)
    tiff, mrc = open_stack(save(tmp_path / "a.tif", images, **options)), open_stack(tmp_path / "a.mrc")
    tiff = pickle.loads(pickle.dumps(tiff))
    assert isinstance(mrc, MrcStack)
    assert not isinstance(tiff, MrcStack)
    assert (tiff.shape, tiff.dtype, len(tiff)) == (mrc.shape, mrc.dtype, 5)
    for i in (3, 0, 4, -1):
        np.testing.assert_array_equal(tiff[i], mrc[i])
        assert tiff[i].flags.c_contiguous
        assert tiff[i].dtype.isnative
    with pytest.raises(IndexError):
        tiff[5]


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f2", "f4"])
def test_types(tmp_path: Path, dtype: str) -> None:
    images = np.arange(24).reshape(2, 3, 4).astype(dtype) - (0 if dtype == "u1" else 5)
    images = images.astype(dtype)
    np.testing.assert_array_equal(open_stack(save(tmp_path / "a.tif", images))[1], images[1])


def test_lzw(tmp_path: Path, images: NDArray[np.uint16]) -> None:
    pytest.importorskip("imagecodecs", reason="imagecodecs is not installed")
    np.testing.assert_array_equal(open_stack(save(tmp_path / "a.tif", images, compression="lzw"))[2], images[2])


def test_one_image_a_file(tmp_path: Path, images: NDArray[np.uint16]) -> None:
    files = [save(tmp_path / f"{i}.tiff", image) for i, image in enumerate(images[:3])]
    write_stack(tmp_path / "3.mrc", images[3:], 1.0, np.uint16)
    several = FileImages([*((file, None) for file in files), (tmp_path / "3.mrc", 1)])
    np.testing.assert_array_equal(np.stack([several[i] for i in range(4)]), images[[0, 1, 2, 4]])
    # no other program is led to the TIFF files, as not all turn them over
    assert several.places is None
    assert several.sections[3] == (tmp_path / "3.mrc", 1)
    save(tmp_path / "small.tif", images[0, :-1])
    with pytest.raises(DataError, match=r"small.tif has 10 x 6 px, but .*0.tiff has 10 x 7 px"):
        FileImages([(files[0], None), (tmp_path / "small.tif", None)])


def test_one_image_at_a_time(tmp_path: Path) -> None:
    images = np.zeros((40, 200, 250), np.float32)
    path = save(tmp_path / "a.tif", images)
    tracemalloc.start()
    stack = open_stack(path)
    for i in range(40):
        stack[i]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * images[0].nbytes


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"imagej": True, "resolution": (1 / 0.27, 1 / 0.27), "metadata": {"unit": "nm"}}, 2.7),
        ({"imagej": True, "resolution": (5000.0, 5000.0), "metadata": {"unit": "um"}}, 2.0),
        ({"imagej": True, "resolution": (0.5, 0.5), "metadata": {"unit": "pixel"}}, 0),
        # a printer's
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, 0),
        ({"resolution": (118, 118), "resolutionunit": "CENTIMETER"}, 0),
        # as SerialEM and IMOD write it
        ({"resolution": (1e8 / 1.35, 1e8 / 1.35), "resolutionunit": "CENTIMETER"}, 1.35),
        ({"resolution": (1e8 / 1.35, 1e8 / 2.7), "resolutionunit": "CENTIMETER"}, 0),
        ({}, 0),
    ],
)
def test_pixel_size(tmp_path: Path, images: NDArray[np.uint16], options: dict[str, Any], size: float) -> None:
    assert open_stack(save(tmp_path / "a.tif", images, **options)).pixel_size == pytest.approx(size, rel=1e-5)


@pytest.mark.parametrize(("unit", "size"), [("nm", 27.0), ("Å", 2.7), ("µm", 0), ("furlong", 0)])
def test_pixel_size_of_ome(tmp_path: Path, images: NDArray[np.uint16], unit: str, size: float) -> None:
    notes = {"axes": "ZYX", "PhysicalSizeX": 2.7, "PhysicalSizeY": 2.7}
    notes |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    path = save(tmp_path / "a.ome.tif", images, ome=True, metadata=notes)
    assert open_stack(path).pixel_size == pytest.approx(size)


def test_faults_are_named(tmp_path: Path, images: NDArray[np.uint16]) -> None:
    def fault(match: str, data: NDArray[Any] = images, **options: Any) -> None:
        with pytest.raises(DataError, match=match):
            open_stack(save(tmp_path / "a.tif", data, **options))

    fault(r"a.tif, page 1: shape \(5, 7, 3\); only grey", np.zeros((5, 7, 3), np.uint8), photometric="rgb")
    fault("page 1: 1 bit pixels", images[0] > 9)
    fault("page 1: complex64 pixels", images.astype(np.complex64))
    fault("page 1: orientation 4; needed: 1", extratags=[(274, "H", 1, 4, True)])
    fault("photometric 0; needed: MINISBLACK", photometric="miniswhite")
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        file.write(images[0])
        file.write(images[0, :4])
    with pytest.raises(DataError, match=r"b.tif, page 2: \(4, 10\) uint16, but page 1 is \(7, 10\) uint16"):
        open_stack(tmp_path / "b.tif")


def test_eer_is_no_stack_of_images(tmp_path: Path, images: NDArray[np.uint16]) -> None:
    path = save(tmp_path / "a.eer", images[0], bigtiff=True)
    raw = bytearray(path.read_bytes())
    entry = raw.index((259).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    raw[entry + 12 : entry + 14] = (65001).to_bytes(2, "little")
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"a.eer is an EER movie .* make images of it first"):
        open_stack(path)


@pytest.mark.parametrize("fraction", [0.002, 0.02, 0.3, 0.6, 0.9, 0.98])
def test_files_cut_short(tmp_path: Path, images: NDArray[np.uint16], fraction: float) -> None:
    path = save(tmp_path / "a.tif", np.repeat(images, 20, axis=1), contiguous=False, metadata=None)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * fraction)])
    with pytest.raises(DataError, match=r"a.tif"):  # noqa: PT012
        stack = open_stack(path)
        assert len(stack) == 5
        for i in range(5):
            stack[i]


def test_without_the_library(tmp_path: Path, images: NDArray[np.uint16], monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.tif", images)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(DataError, match=r"a.tif is a TIFF file; .* pip install 'fourierrecon\[tiff\]'"):
        open_stack(path)


def test_without_the_codec(tmp_path: Path, images: NDArray[np.uint16], monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.tif", images)
    stack = open_stack(path)

    def missing(*_: object, **__: object) -> None:
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr("tifffile.TiffPage.segments", missing)
    with pytest.raises(DataError, match=r"page 1: .*imagecodecs.*: pip install 'fourierrecon\[tiff\]'"):
        open_stack(path)
    monkeypatch.setattr("tifffile.TiffPage.asarray", missing)
    with pytest.raises(DataError, match=r"page 3: .*imagecodecs"):
        stack[2]


def test_hdf5_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.hdf").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000))
    with pytest.raises(DataError, match=r"a.hdf is an HDF5 file; images must be MRC or TIFF"):
        open_stack(tmp_path / "a.hdf")


def test_stack_of_an_alignment(tmp_path: Path, images: NDArray[np.uint16]) -> None:
    write_stack(tmp_path / "ts.st", images, 4.0, np.uint16)
    np.savetxt(tmp_path / "ts.xf", np.tile([0.0, -1.0, 1.0, 0.0, 0.5, -1.5], (5, 1)))
    np.savetxt(tmp_path / "ts.tlt", [-40.0, -20, 0, 20, 40])
    of_mrc = read_tilt_series(tmp_path / "ts.xf")
    tiff = save(tmp_path / "other.tif", images)
    with pytest.raises(DataError, match=r"other.tif: no sensible pixel size in its header"):
        read_tilt_series(tmp_path / "ts.xf", stack=tiff)
    given = read_tilt_series(tmp_path / "ts.xf", stack=tiff, pixel_size=4.0)
    (tmp_path / "ts.st").unlink()
    resolution = {"resolution": (1e8 / 4, 1e8 / 4), "resolutionunit": "CENTIMETER"}
    save(tmp_path / "ts.tif", images, **resolution)
    for series in (given, read_tilt_series(tmp_path / "ts.xf")):
        assert series.pixel_size == pytest.approx(4)
        np.testing.assert_allclose(series.projections, of_mrc.projections)
        np.testing.assert_array_equal(series.images[1], images[1])
    # what is written for RELION gets MRC copies: not every program turns TIFF over
    path, copied = write_set(tmp_path / "set", [(given, {})], "relion5")
    assert len(copied) == 1
    np.testing.assert_array_equal(read_tilt_series(path).images[3], images[3])
