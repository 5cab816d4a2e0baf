"""Writes the aligned images of a tilt series, the tilt axis upright, for programs that reconstruct from such a stack.

This is the one place where images are interpolated: our own volumes come from the images as they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine.fourier_crop import fourier_crop
from fourierrecon.engine.preprocess import load_image
from fourierrecon.geometry.corrections import tilt_axis
from fourierrecon.geometry.region import Region
from fourierrecon.io.files import replacing
from fourierrecon.io.volumes.mrc import writing_mrc
from fourierrecon.runtime.threads import available_cores, for_each
from fourierrecon.tilt_series import TiltSeries


def aligned_paths(volume: Path) -> tuple[Path, Path]:
    """Give the files of an aligned stack beside a volume: images and angles."""
    return volume.with_name(f"{volume.stem}_aligned.mrc"), volume.with_name(f"{volume.stem}_aligned.tlt")


def aligned_shape(series: TiltSeries, region: Region) -> tuple[int, int, int]:
    """Give the shape of the stack: as many images as the series, as wide and high as the region."""
    return (series.n_tilts, *region.shape[1:])


def image_maps(series: TiltSeries, region: Region) -> NDArray[np.float64]:
    """Give the maps ``(n_tilts, 2, 3)`` from pixels ``(u, v, 1)`` of the aligned images to those of the images, bin-1.

    With the tilt axis ``y`` and the middle ``c`` of the region an aligned image is a projection
    ``u = cos(t) (x - c_x) + s sin(t) (z - c_z)``, ``v = y - c_y``, plus its own middle ``n // 2``, in voxels. The map
    is the one nearest to the projection matrix, which holds more where images are stretched.
    """
    b, (_, height, width) = region.binning, region.shape
    middle = np.asarray(region.origin) + b * np.array([width // 2, height // 2, (region.shape[0] - 1) / 2])
    axis = tilt_axis(series)
    angle = np.radians(series.tilt_angles) * np.sign(axis[1] or 1.0)
    maps = np.empty((series.n_tilts, 2, 3))
    for tilt, matrix in enumerate(series.projections):
        # a turn about y by the angle: rows are what an aligned image has for u and v
        upright = np.array([[np.cos(angle[tilt]), 0, np.sin(angle[tilt])], [0, 1, 0]])
        turn = matrix[:2, :3] @ np.linalg.pinv(upright)
        at = matrix[:2, :3] @ middle + matrix[:2, 3]
        maps[tilt, :, :2] = turn * b
        maps[tilt, :, 2] = at - turn @ np.array([width // 2, height // 2]) * b
    return maps


def write_aligned_stack(
    volume: Path,
    series: TiltSeries,
    region: Region,
    *,
    label: str = "",
    paths: tuple[Path, Path] | None = None,
    n_threads: int | None = None,
) -> tuple[Path, Path]:
    """Write the aligned images as an MRC stack, and their tilt angles beside it (``.tlt``).

    Images are cropped in Fourier space to the binning of the region, then turned and shifted by cubic splines; what
    they do not show gets their mean. The CTF is in them.

    Parameters
    ----------
    volume
        File of the tomogram, for the names.
    series, region
        As for :func:`fourierrecon.reconstruction.reconstruct`.
    label
        More lines for the header.
    paths
        Files, in place of those beside the volume.
    n_threads
        Default: the cores available to the process.

    Raises
    ------
    DataError
        If a file cannot be written, or an image cannot be used.
    """
    from scipy.ndimage import affine_transform

    stack, angles = paths or aligned_paths(volume)
    maps, shape = image_maps(series, region), aligned_shape(series, region)
    size, (height, width) = series.pixel_size * region.binning, series.image_shape
    rows, columns = (max(2, round(n / region.binning)) for n in (height, width))
    text = f"fourierrecon: aligned images of {series.name}, tilt axis y\n{label}".rstrip()
    with writing_mrc(stack, shape, size, (0.0, 0.0, 0.0), text, stack=True) as write:

        def align(_: None, tilt: int) -> None:
            image = load_image(series, tilt, keep_mean=True)
            small = fourier_crop(image, (rows, columns))
            # ndimage counts (v, u)
            scale = np.array([columns / width, rows / height])[:, None]
            turn, shift = maps[tilt, ::-1, 1::-1] * scale[::-1], maps[tilt, ::-1, 2] * scale[::-1, 0]
            mean = float(small.mean(dtype=np.float64))
            write(tilt, affine_transform(small, turn, shift, shape[1:], order=3, mode="constant", cval=mean))

        for_each(shape[0], align, state=lambda: None, n_threads=n_threads or available_cores(), stage="aligned images")
    with replacing(angles) as file:
        file.write("".join(f"{angle:.3f}\n" for angle in series.tilt_angles).encode())
    return stack, angles
