"""Writes image stacks as MRC files."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import DTypeLike

from fourierrecon.errors import DataError
from fourierrecon.io.volumes.mrc import writing_mrc
from fourierrecon.tilt_series import ImageStack


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
        Type of the pixels: float32, float16, int16, uint16 or int8.
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
