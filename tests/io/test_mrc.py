"""MRC files: what is read from odd ones, what is refused, and that writing leaves all or nothing."""

from __future__ import annotations

import os
import pickle
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.io import FileImages, MrcStack, check_writable, read_mrc_volume, write_mrc, write_stack
from fourierrecon.volume import Volume

RNG = np.random.default_rng(7)


def make(path: Path, data: NDArray[Any], pixel_size: float = 2.5) -> Path:
    with mrcfile.new(path, data) as mrc:
        mrc.voxel_size = pixel_size
        if data.ndim == 3:
            mrc.set_image_stack()
    return path


def patch(path: Path, offset: int, content: bytes) -> Path:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)
    return path


def int32(value: int, order: str = "<") -> bytes:
    return np.array(value, f"{order}i4").tobytes()


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    return make(tmp_path / "stack.mrcs", RNG.normal(size=(3, 6, 5)).astype(np.float32))


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float16", "float32"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_mode_in_either_byte_order(tmp_path: Path, dtype: str, order: str) -> None:
    data = (RNG.normal(size=(4, 6, 5)) * 20 + 50).astype(dtype)
    path = make(tmp_path / "a.mrcs", data)
    if order == ">":
        with mrcfile.open(path) as mrc:
            header, pixels = mrc.header.copy(), mrc.data.copy()
        header = header.astype(header.dtype.newbyteorder(">"))
        header.machst = (0x11, 0x11, 0, 0)
        path.write_bytes(header.tobytes() + pixels.astype(pixels.dtype.newbyteorder(">")).tobytes())
    images = MrcStack(path)
    assert images.shape == (4, 6, 5)
    assert images.dtype == np.dtype(dtype)
    assert images.pixel_size == pytest.approx(2.5)
    for i in range(4):
        assert images[i].dtype == np.dtype(dtype)
        assert images[i].dtype.isnative
        np.testing.assert_array_equal(images[i], data[i])


def test_imod_bytes_are_unsigned_unless_flagged(tmp_path: Path) -> None:
    data = np.array([[[-1, 5], [100, -128]]], np.int8)
    path = make(tmp_path / "a.mrc", data)
    assert MrcStack(path)[0].dtype == np.int8
    patch(path, 152, int32(1146047817) + int32(0))
    np.testing.assert_array_equal(MrcStack(path)[0], data[0].view(np.uint8))
    assert MrcStack(path)[0].dtype == np.uint8
    patch(path, 156, int32(1))
    np.testing.assert_array_equal(MrcStack(path)[0], data[0])


def test_extended_header_is_skipped(tmp_path: Path) -> None:
    data = RNG.normal(size=(2, 4, 3)).astype(np.float32)
    with mrcfile.new(tmp_path / "a.mrc", data) as mrc:
        mrc.set_extended_header(np.zeros(100, "V1"))
        mrc.header.exttyp = b"SERI"
    np.testing.assert_array_equal(MrcStack(tmp_path / "a.mrc")[1], data[1])


def test_single_image_is_a_stack_of_one(tmp_path: Path) -> None:
    data = RNG.normal(size=(4, 3)).astype(np.float32)
    images = MrcStack(make(tmp_path / "a.mrc", data))
    assert images.shape == (1, 4, 3)
    np.testing.assert_array_equal(images[0], data)


def test_no_map_mark_warns_and_reads(stack: Path) -> None:
    expected = MrcStack(stack)[2]
    patch(stack, 208, b"\0\0\0\0\0\0\0\0")
    with pytest.warns(UserWarning, match="no MAP mark"):
        images = MrcStack(stack)
    np.testing.assert_array_equal(images[2], expected)


def test_wrong_machine_stamp_is_seen_through(stack: Path) -> None:
    expected = MrcStack(stack)[0]
    patch(stack, 212, b"\x11\x11")
    np.testing.assert_array_equal(MrcStack(stack)[0], expected)


def test_bytes_beyond_the_images_are_named(stack: Path) -> None:
    expected = MrcStack(stack)[1]
    with stack.open("ab") as file:
        file.write(b"end")
    with pytest.warns(
        UserWarning, match=r"stack.mrcs: 3 bytes more than its header tells of \(5 x 6 x 3 in MRC mode 2"
    ):
        images = MrcStack(stack)
    np.testing.assert_array_equal(images[1], expected)


def test_pixels_that_are_not_square_have_no_size(stack: Path) -> None:
    assert MrcStack(stack).pixel_size == pytest.approx(2.5)
    patch(stack, 32, int32(0) + int32(0))
    assert MrcStack(stack).pixel_size == pytest.approx(2.5)
    patch(stack, 28, int32(50))
    assert MrcStack(stack).pixel_size == 0
    patch(stack, 44, bytes(4))
    assert MrcStack(stack).pixel_size == pytest.approx(0.25)


def test_images_are_read_one_by_one(stack: Path) -> None:
    images = MrcStack(stack)
    before = images[0]
    patch(stack, 1024, np.full(30, 9, np.float32).tobytes())
    assert not (before == 9).any()
    assert (images[0] == 9).all()
    assert len(pickle.dumps(images)) < 2000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(images))[1], images[1])
    with ThreadPoolExecutor(4) as pool:
        for i, image in enumerate(pool.map(lambda i: images[i % 3], range(30))):
            np.testing.assert_array_equal(image, images[i % 3])
    np.testing.assert_array_equal(images[-1], images[2])
    with pytest.raises(IndexError, match="3 images"):
        images[3]


def cut(path: Path) -> None:
    os.truncate(path, 1024 + 100)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut, "cut short: 1384 bytes expected .* 1124 found"),
        (lambda p: p.write_text("data_\n" * 300), "not an MRC file"),
        (lambda p: p.write_bytes(b""), "not an MRC file: it has 0 bytes"),
        (lambda p: p.unlink(), "No such file"),
        (lambda p: patch(p, 0, int32(0)), "holds no images"),
        (lambda p: patch(p, 0, int32(-4)), "damaged"),
        (lambda p: patch(p, 92, int32(-4)), "damaged"),
        (lambda p: patch(p, 12, int32(77)), "damaged.*mode 77"),
        (lambda p: patch(p, 12, int32(4)), "complex"),
        (lambda p: patch(p, 12, int32(3)), "complex"),
        (lambda p: patch(p, 12, int32(101)), "4-bit"),
        (lambda p: (p.unlink(), p.mkdir()), "directory"),
    ],
)
def test_spoilt_files_are_refused(stack: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(stack)
    with pytest.raises(DataError, match=message) as caught:
        MrcStack(stack)
    assert str(stack) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_that_shrinks_later(stack: Path) -> None:
    images = MrcStack(stack)
    cut(stack)
    with pytest.raises(DataError, match="shorter"):
        images[2]
    stack.unlink()
    with pytest.raises(DataError, match="No such file"):
        images[0]


def test_images_of_several_files(tmp_path: Path, stack: Path) -> None:
    single = make(tmp_path / "single.mrc", np.full((6, 5), 3, np.float32))
    images = FileImages([(stack, 2), (single, None), (single, 0), (stack, 0)])
    assert images.shape == (4, 6, 5)
    np.testing.assert_array_equal(images[0], MrcStack(stack)[2])
    assert (images[1] == 3).all()
    assert (images[2] == 3).all()
    np.testing.assert_array_equal(images[3], MrcStack(stack)[0])
    with pytest.raises(DataError, match=r"image 4 of .*stack.mrcs asked for, but it holds 3"):
        FileImages([(stack, 3)])
    with pytest.raises(DataError, match="image 0 of"):
        FileImages([(stack, -1)])
    with pytest.raises(DataError, match="3 images; say which"):
        FileImages([(stack, None)])
    other = make(tmp_path / "other.mrc", np.zeros((6, 4), np.float32))
    with pytest.raises(DataError, match=r"other.mrc has 4 x 6 px.*5 x 6"):
        FileImages([(stack, 0), (other, None)])
    with pytest.raises(DataError, match="at least one"):
        FileImages([])


def test_volume_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = (RNG.normal(size=(5, 7, 6)) + 1000).astype(np.float32)
    path = tmp_path / "deep" / "er" / "out.mrc"
    write_mrc(path, Volume(data, 7.4, (1.5, -20.0, 300.25), "fourierrecon, 7.4 Å, wiener"))
    back = read_mrc_volume(path)
    np.testing.assert_array_equal(back.data, data)
    assert back.data.dtype == np.float32
    assert back.voxel_size == pytest.approx(7.4)
    assert back.origin == (1.5, -20.0, 300.25)
    assert mrcfile.validate(path), capsys.readouterr().out
    with mrcfile.open(path) as mrc:
        assert mrc.is_volume()
        assert mrc.header.ispg == 1
        assert mrc.header.mz == 5
        assert mrc.get_labels() == ["fourierrecon, 7.4 A, wiener"]
        assert mrc.header.rms == pytest.approx(data.std(), rel=1e-4)
        assert mrc.header.dmean == pytest.approx(data.mean(dtype=float))
        assert mrc.header.dmax == data.max()


def test_layout_of_the_array_does_not_matter(tmp_path: Path) -> None:
    data = RNG.normal(size=(6, 7, 5)).astype(np.float32).transpose(2, 0, 1)[:, ::-1]
    write_mrc(tmp_path / "a.mrc", Volume(data, 1.0, (0, 0, 0)))
    np.testing.assert_array_equal(read_mrc_volume(tmp_path / "a.mrc").data, data)


def test_volume_with_permuted_axes_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mrc", np.zeros((2, 3, 4), np.float32))
    patch(path, 64, int32(3) + int32(2) + int32(1))
    with pytest.raises(DataError, match=r"order \(3, 2, 1\)"):
        read_mrc_volume(path)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float16", "float32"])
def test_stack_comes_back(tmp_path: Path, dtype: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = (RNG.normal(size=(3, 4, 6)) * 10 + 40).astype(dtype)
    write_stack(tmp_path / "a.mrcs", data, 3.0, dtype)
    images = MrcStack(tmp_path / "a.mrcs")
    assert images.dtype == np.dtype(dtype)
    assert images.pixel_size == pytest.approx(3)
    for i in range(3):
        np.testing.assert_array_equal(images[i], data[i])
    assert mrcfile.validate(tmp_path / "a.mrcs"), capsys.readouterr().out
    with mrcfile.open(tmp_path / "a.mrcs") as mrc:
        assert mrc.is_image_stack()


def test_types_and_shapes_that_mrc_has_not(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="float64; available: int8, int16, float32"):
        write_stack(tmp_path / "a.mrcs", np.zeros((1, 2, 2)), 1.0, np.float64)
    with pytest.raises(DataError, match="shape"):
        write_stack(tmp_path / "a.mrcs", np.zeros((2, 2)), 1.0)
    with pytest.raises(DataError, match="shape"):
        write_mrc(tmp_path / "a.mrc", Volume(np.zeros((0, 2, 2), np.float32), 1.0, (0, 0, 0)))
    with pytest.raises(DataError, match="voxel size"):
        write_mrc(tmp_path / "a.mrc", Volume(np.zeros((1, 2, 2), np.float32), 0.0, (0, 0, 0)))
    assert list(tmp_path.iterdir()) == []


class Breaking:
    """Images of which the second cannot be had."""

    shape = (3, 4, 4)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __getitem__(self, index: int, /) -> NDArray[Any]:
        if index == 1:
            raise self.error
        return np.zeros((4, 4), np.float32)


@pytest.mark.parametrize(
    ("error", "seen"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "No space left on device"), DataError)],
)
def test_failure_midway_leaves_the_old_file(tmp_path: Path, error: BaseException, seen: type[BaseException]) -> None:
    target = tmp_path / "a.mrcs"
    target.write_bytes(b"precious")
    with pytest.raises(seen) as caught:
        write_stack(target, Breaking(error), 1.0)
    if seen is DataError:
        assert "No space left on device; free space there, or choose another folder" in str(caught.value)
        assert str(target) in str(caught.value)
    assert target.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [target]


def test_image_of_another_size_is_noticed(tmp_path: Path) -> None:
    class Uneven(Breaking):
        def __getitem__(self, index: int, /) -> NDArray[Any]:
            return np.zeros((4, 4 + index), np.float32)

    with pytest.raises(DataError, match=r"image 2 has shape \(4, 5\)"):
        write_stack(tmp_path / "a.mrcs", Uneven(OSError()), 1.0)
    assert list(tmp_path.iterdir()) == []


def test_new_files_have_the_usual_permissions_and_links_are_followed(tmp_path: Path) -> None:
    volume = Volume(np.zeros((1, 2, 2), np.float32), 1.0, (0, 0, 0))
    plain = tmp_path / "plain"
    plain.touch()
    (tmp_path / "real").mkdir()
    (tmp_path / "link.mrc").symlink_to(tmp_path / "real" / "a.mrc")
    write_mrc(tmp_path / "link.mrc", volume)
    assert (tmp_path / "link.mrc").is_symlink()
    mode = stat.S_IMODE((tmp_path / "real" / "a.mrc").stat().st_mode)
    assert mode == stat.S_IMODE(plain.stat().st_mode)


def test_check_writable_says_it_early(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folder" / "out.mrc")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    file = tmp_path / "file"
    file.write_text("here")
    check_writable(file)
    assert file.read_text() == "here"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for target, message in (
        (tmp_path, "is a folder"),
        (f"{tmp_path}/out/", "is a folder"),
        ("", "is a folder"),
        (file / "out.mrc", "Not a directory|File exists"),
        ("/proc/nowhere/out.mrc", "No such file|not permitted|denied"),
        (tmp_path / ("x" * 300), "too long; choose a shorter name"),
        (fifo, "not a regular file"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            check_writable(target)
        assert "\n" not in str(caught.value)
        assert str(target) in str(caught.value)
    with pytest.raises(DataError, match="GB left"):
        check_writable(tmp_path / "huge.mrc", 10**18)
    with pytest.raises(DataError, match="is a folder"):
        write_mrc(tmp_path, Volume(np.zeros((1, 2, 2), np.float32), 1.0, (0, 0, 0)))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fifo", "file", "new"]
