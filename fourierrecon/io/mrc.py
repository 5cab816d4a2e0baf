"""MRC files: volumes in and out, image stacks out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.io.files import check_writable, replacing
from fourierrecon.io.stacks import HEADER_BYTES, MODES, FileImages, Header, MrcStack, read_header, read_pixels
from fourierrecon.tilt_series import ImageStack
from fourierrecon.volume import Volume

__all__ = [
    "FileImages",
    "MrcStack",
    "check_writable",
    "map_mrc_volume",
    "read_mrc_volume",
    "write_mrc",
    "write_stack",
    "writing_mrc",
]

#: Voxels that statistics are gathered of at a time.
BLOCK = 1 << 15
#: Bytes written at a time: small pieces go to memory that was just given up, large ones to fresh memory.
PIECE = 1 << 15


def read_mrc_volume(path: str | os.PathLike[str]) -> Volume:
    """Read a volume as float32, with the origin and voxel size (Å; 1 if there is none) of its header.

    Raises
    ------
    DataError
        If the file cannot be read, or its axes are not stored in the order x, y, z.
    """
    header = _volume_header(Path(path))
    data = np.empty(header.shape, np.float32)
    depth, height, width = header.shape
    for k in range(depth):
        data[k] = read_pixels(Path(path), header, k * height * width, height * width).reshape(height, width)
    return Volume(data, header.voxel_size or 1.0, header.origin)


def map_mrc_volume(path: str | os.PathLike[str]) -> Volume:
    """Map the volume of a file into memory: only what is looked at is read, for files of any size.

    Parameters
    ----------
    path
        MRC file.

    Returns
    -------
    volume
        ``.data`` is read-only and as stored, any of MRC's types and byte orders; ``.voxel_size`` is 0 where the header
        says nothing.

    Raises
    ------
    DataError
        If the file cannot be read, or its axes are not stored in the order x, y, z.
    """
    header = _volume_header(Path(path))
    try:
        data = np.memmap(path, header.dtype, "r", header.offset, header.shape)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return Volume(data, header.voxel_size, header.origin)


def _volume_header(path: Path) -> Header:
    """Read a header, and refuse axes in another order than x, y, z."""
    header = read_header(path)
    if sorted(header.axes) == [1, 2, 3] and header.axes != (1, 2, 3):
        raise DataError(f"{path}: axes stored in the order {header.axes}; needed: (1, 2, 3). Reorder them first")
    return header


def write_mrc(path: str | os.PathLike[str], volume: Volume) -> None:
    """Write a volume as an MRC file, mode 2, with voxel size, origin and statistics; all of it or nothing.

    Parameters
    ----------
    path
        File; its folders are made. A file of that name is only replaced once the new one is complete.
    volume
        ``(z, y, x)`` with the world position of its first voxel, Å, which becomes the header's origin.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    data = np.asarray(volume.data)
    if data.ndim != 3 or 0 in data.shape:
        raise DataError(f"volume of shape {data.shape} cannot be written; needed: (z, y, x), none of them 0")
    label = volume.label or "fourierrecon"
    with writing_mrc(path, data.shape, volume.voxel_size, volume.origin, label) as write:
        for z, slab in enumerate(data):
            write(z, slab)


def write_stack(
    path: str | os.PathLike[str],
    images: ImageStack,
    pixel_size: float,
    dtype: DTypeLike = np.float32,
    label: str = "fourierrecon",
) -> None:
    """Write an image stack as an MRC file; all of it or nothing.

    Parameters
    ----------
    path
        File, usually ``.mrcs``; its folders are made.
    images
        ``(n_images, height, width)``; taken one at a time.
    pixel_size
        Å.
    dtype
        Of the pixels: float32, float16, int16, uint16 or int8.
    label
        One line for the header.

    Raises
    ------
    DataError
        If the file cannot be written.
    UsageError
        If MRC has no such type of pixels.
    """
    shape = tuple(images.shape)
    if len(shape) != 3 or 0 in shape:
        raise DataError(f"stack of shape {shape} cannot be written; needed: (n_images, height, width), none of them 0")
    with writing_mrc(path, shape, pixel_size, (0.0, 0.0, 0.0), label, dtype, stack=True) as write:
        for i in range(shape[0]):
            write(i, np.asarray(images[i]))


class MrcWriter:
    """Writes slabs of an MRC file in any order and from any thread, and its header at the end.

    Parameters
    ----------
    file
        Open for writing, empty.
    shape
        ``(z, y, x)``.
    dtype
        Of the voxels.
    """

    def __init__(self, file: BinaryIO, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._kind = np.dtype(dtype).newbyteorder("<")
        if self._kind not in _modes():
            choices = ", ".join(str(np.dtype(name)) for name in MODES.values())
            raise UsageError(f"MRC files do not hold {np.dtype(dtype)}; available: {choices}")
        self._file, self._shape, self._turn = file, shape, threading.Lock()
        # of each slab: minimum, maximum, first value, sums of differences to it and of their squares
        self._facts = np.full((shape[0], 5), np.nan)

    def write(self, number: int, slab: NDArray[Any]) -> None:
        """Write one slab ``(y, x)``."""
        if slab.shape != self._shape[1:]:
            raise DataError(f"image {number + 1} has shape {slab.shape}, the others {self._shape[1:]}; nothing written")
        values = np.ascontiguousarray(slab, self._kind).reshape(-1)
        self._facts[number] = _facts(values)
        view, offset = memoryview(values.view(np.uint8).data), HEADER_BYTES + number * values.nbytes
        # threads that write to one file at once burn their time waiting for each other in the system
        with self._turn:
            while len(view):
                done = os.pwrite(self._file.fileno(), view[:PIECE], offset)
                view, offset = view[done:], offset + done

    def finish(self, voxel_size: float, origin: tuple[float, float, float], label: str, *, stack: bool = False) -> None:
        """Write the header; every slab must have been written."""
        from mrcfile.dtypes import HEADER_DTYPE

        depth, height, width = self._shape
        low, high, first, total, squares = self._facts.T
        with np.errstate(all="ignore"):
            n, size = height * width, float(depth * height * width)
            mean = float((first + total / n).mean())
            # about the mean of all, from sums about the first value of each slab
            apart = first - mean
            variance = float((squares + 2 * apart * total + n * apart**2).sum()) / size
            header = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
            header["nx"], header["ny"], header["nz"], header["mode"] = width, height, depth, _modes()[self._kind]
            header["mx"], header["my"], header["mz"] = width, height, 1 if stack else depth
            header["cella"] = tuple(np.array([width, height, 1 if stack else depth]) * voxel_size)
            header["cellb"] = (90.0, 90.0, 90.0)
            header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
            header["dmin"], header["dmax"], header["dmean"] = low.min(), high.max(), mean
            header["rms"] = np.sqrt(max(variance, 0.0))
        header["ispg"], header["nversion"] = int(not stack), 20141
        header["origin"] = tuple(origin)
        header["map"], header["machst"] = b"MAP ", (0x44, 0x44, 0, 0)
        text = "".join(c if c.isprintable() else " " for c in label.replace("Å", "A"))
        header["nlabl"], header["label"][0] = 1, text.encode("ascii", "replace")[:80]
        os.pwrite(self._file.fileno(), header.tobytes(), 0)


@contextmanager
def writing_mrc(
    path: str | os.PathLike[str],
    shape: tuple[int, ...],
    voxel_size: float,
    origin: tuple[float, float, float],
    label: str,
    dtype: DTypeLike = np.float32,
    *,
    stack: bool = False,
) -> Iterator[Callable[[int, NDArray[Any]], None]]:
    """Write an MRC file slab by slab: all of it or nothing.

    Parameters
    ----------
    path
        File; its folders are made. A file of that name is only replaced once the new one is complete.
    shape
        ``(z, y, x)``.
    voxel_size, origin
        Å; the world position of the first voxel.
    label
        One line for the header.
    dtype
        Of the voxels.
    stack
        A stack of images, not a volume.

    Yields
    ------
    write
        ``write(z, slab)`` takes a slab ``(y, x)``, in any order and from any thread.

    Raises
    ------
    DataError
        If the file cannot be written.
    UsageError
        If MRC has no such type of voxels.
    """
    if not (np.isfinite(voxel_size) and voxel_size > 0):
        raise DataError(f"cannot write {path}: voxel size {voxel_size:g} Å must be positive")
    with replacing(path) as file:
        writer = MrcWriter(file, shape, dtype)
        yield writer.write
        writer.finish(voxel_size, origin, label, stack=stack)


def _modes() -> dict[np.dtype[Any], int]:
    return {np.dtype(name).newbyteorder("<"): mode for mode, name in MODES.items()}


def _facts(values: NDArray[Any]) -> tuple[float, float, float, float, float]:
    """Minimum, maximum, first value, sums of the differences to it and of their squares."""
    low, high, total, squares, first = np.inf, -np.inf, 0.0, 0.0, float(values[0])
    with np.errstate(all="ignore"):
        for start in range(0, values.size, BLOCK):
            block = values[start : start + BLOCK]
            low, high = min(low, float(block.min())), max(high, float(block.max()))
            apart = block.astype(np.float32, copy=False) - np.float32(first)
            total += float(apart.sum())
            squares += float(apart @ apart)
    return low, high, first, total, squares
