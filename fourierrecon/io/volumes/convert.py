"""Volumes in other formats and types."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fourierrecon.errors import DataError, UsageError

if TYPE_CHECKING:
    from fourierrecon.io.volumes.base import VolumeFile
    from fourierrecon.runtime.threads import Progress


def convert_volume(
    volume: VolumeFile,
    target: str | os.PathLike[str],
    dtype: str,
    *,
    voxel_size: float | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a volume anew, a block of it at a time.

    Parameters
    ----------
    volume
        From :func:`fourierrecon.io.open_volume`.
    target
        As for :func:`fourierrecon.io.writing_volume`.
    dtype
        Of the new voxels. If it is of integers and has room for the old ones, they keep numbers and scale.
    voxel_size
        Å. Default: that of the volume; where it is unknown it stays so, which OME-Zarr does not allow.
    n_threads
        Default: the cores available to the process.
    progress
        Called as ``progress(stage, done, total)``, from any thread.

    Raises
    ------
    UsageError, DataError
        As :func:`fourierrecon.io.writing_volume`, and if the volume cannot be read.
    """
    import numpy as np

    from fourierrecon.io import writing_volume
    from fourierrecon.runtime.threads import available_cores, for_each

    threads = n_threads or available_cores()
    kept = np.dtype(dtype).kind == "i" and volume.dtype.kind in "iu" and np.can_cast(volume.dtype, np.dtype(dtype))
    header = voxel_size or volume.voxel_size or None, volume.origin, volume.label
    tiles = volume.tiles()
    with writing_volume(
        target, volume.shape, *header, dtype, scale=volume.scale if kept else None, n_threads=threads, progress=progress
    ) as write:

        def copy(_: None, i: int) -> None:
            z, y = tiles[i]
            for k, rows in enumerate(volume.block(z, y)):
                write(z.start + k, rows, y.start)

        for_each(len(tiles), copy, state=lambda: None, n_threads=threads, stage="blocks", progress=progress)


def _voxel_size(volume: VolumeFile, target: Path, given: float | None) -> float:
    """Give the voxel size to be written, Å: MRC files may leave it open, but not by dropping what is known."""
    from fourierrecon.io.stacks.mrc import LEAST_SPACING, MOST_SPACING
    from fourierrecon.io.volumes.formats import is_zarr

    if given is not None:
        if not LEAST_SPACING < given < MOST_SPACING:
            raise UsageError(f"--angpix {given:g} must lie between {LEAST_SPACING:g} and {MOST_SPACING:g} (Å)")
        return given
    if volume.uneven:
        raise DataError(f"{volume.path}: voxels of {volume.uneven} are no cubes; resample it, or give --angpix")
    if not volume.voxel_size and is_zarr(target):
        raise DataError(f"{volume.path}: the voxel size is unknown, which OME-Zarr needs; give it with --angpix")
    return volume.voxel_size


def _kind_of(volume: VolumeFile) -> str:
    """Give the type that keeps the numbers of a volume, if a new one can have it; else float32."""
    from fourierrecon.io.volumes.formats import VOLUME_TYPES

    kind = "int16" if volume.dtype.name == "uint8" else volume.dtype.name
    return kind if kind in VOLUME_TYPES else "float32"
