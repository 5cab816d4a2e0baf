"""MRC files: volumes in and out, image stacks out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.io.files import check_writable, replacing
from fourierrecon.io.stacks import HEADER_BYTES, MODES, FileImages, MrcStack, read_header, read_pixels
from fourierrecon.tilt_series import ImageStack
from fourierrecon.volume import Volume

__all__ = ["FileImages", "MrcStack", "check_writable", "read_mrc_volume", "write_mrc", "write_stack"]

#: Pixels written or averaged at a time.
BLOCK = 1 << 20


def read_mrc_volume(path: str | os.PathLike[str]) -> Volume:
    """Read a volume as float32, with the origin and voxel size (Å; 1 if there is none) of its header.

    Raises
    ------
    DataError
        If the file cannot be read, or its axes are not stored in the order x, y, z.
    """
    header = read_header(Path(path))
    if sorted(header.axes) == [1, 2, 3] and header.axes != (1, 2, 3):
        raise DataError(f"{path}: axes stored in the order {header.axes}; needed: (1, 2, 3). Reorder them first")
    data = np.empty(header.shape, np.float32)
    depth, height, width = header.shape
    for k in range(depth):
        data[k] = read_pixels(Path(path), header, k * height * width, height * width).reshape(height, width)
    return Volume(data, header.voxel_size or 1.0, header.origin)


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
    _write(path, data, data.shape, np.float32, volume.voxel_size, volume.origin, label, stack=False)


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
    every = (images[i] for i in range(shape[0]))
    _write(path, every, shape, dtype, pixel_size, (0.0, 0.0, 0.0), label, stack=True)


def _write(
    path: str | os.PathLike[str],
    slabs: Iterable[NDArray[Any]],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    voxel_size: float,
    origin: tuple[float, float, float],
    label: str,
    *,
    stack: bool,
) -> None:
    """Write a header and slabs of equal size; the statistics are gathered on the way."""
    from mrcfile.dtypes import HEADER_DTYPE

    kind = np.dtype(dtype).newbyteorder("<")
    modes = {np.dtype(name).newbyteorder("<"): mode for mode, name in MODES.items()}
    if kind not in modes:
        choices = ", ".join(str(np.dtype(name)) for name in MODES.values())
        raise UsageError(f"MRC files do not hold {np.dtype(dtype)}; available: {choices}")
    if not (np.isfinite(voxel_size) and voxel_size > 0):
        raise DataError(f"cannot write {path}: voxel size {voxel_size:g} Å must be positive")
    low, high, total, squares, reference = np.inf, -np.inf, 0.0, 0.0, None
    with np.errstate(all="ignore"), replacing(path) as file:
        file.write(bytes(HEADER_BYTES))
        for number, slab in enumerate(slabs):
            if slab.shape != shape[1:]:
                raise DataError(f"image {number + 1} has shape {slab.shape}, the stack {shape[1:]}; nothing written")
            for block in _blocks(slab, kind):
                if reference is None:
                    reference = float(block[0])
                low, high = min(low, float(block.min())), max(high, float(block.max()))
                values = block.astype(np.float64) - reference
                total += float(values.sum())
                squares += float(values @ values)
                file.write(block.data)
        size = float(np.prod(shape, dtype=float))
        header = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
        depth, height, width = shape
        header["nx"], header["ny"], header["nz"], header["mode"] = width, height, depth, modes[kind]
        header["mx"], header["my"], header["mz"] = width, height, 1 if stack else depth
        header["cella"] = tuple(np.array([width, height, 1 if stack else depth]) * voxel_size)
        header["cellb"] = (90.0, 90.0, 90.0)
        header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
        header["dmin"], header["dmax"], header["dmean"] = low, high, (reference or 0.0) + total / size
        header["rms"] = np.sqrt(max(squares / size - (total / size) ** 2, 0.0))
        header["ispg"], header["nversion"] = int(not stack), 20141
        header["origin"] = tuple(origin)
        header["map"], header["machst"] = b"MAP ", (0x44, 0x44, 0, 0)
        text = "".join(c if c.isprintable() else " " for c in label.replace("Å", "A"))
        header["nlabl"], header["label"][0] = 1, text.encode("ascii", "replace")[:80]
        file.seek(0)
        file.write(header.tobytes())


def _blocks(slab: NDArray[Any], kind: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Give the pixels of a slab in runs, converted for the file; no copy of a whole contiguous slab."""
    flat = slab.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        yield np.ascontiguousarray(flat[start : start + BLOCK], kind)
