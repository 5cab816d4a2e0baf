"""Converts a volume to another format or another type of numbers, block by block."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from fourierrecon.errors import DataError, UsageError
from fourierrecon.io.stacks.mrc import LEAST_SPACING, MOST_SPACING
from fourierrecon.io.volumes.base import VolumeFile
from fourierrecon.io.volumes.formats import VOLUME_TYPES, is_zarr, writing_volume
from fourierrecon.runtime.threads import Progress, available_cores, for_each


def convert_volume(
    volume: VolumeFile,
    target: str | os.PathLike[str],
    dtype: str,
    *,
    voxel_size: float | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
    ome_version: str = "0.5",
) -> None:
    """Write a volume anew, a block of it at a time.

    Parameters
    ----------
    volume
        Volume from :func:`fourierrecon.io.open_volume`.
    target
        As for :func:`fourierrecon.io.writing_volume`.
    dtype
        Type of the new voxels. Integers keep their numbers and scale if the new type has room for them.
    voxel_size
        Å. Default: that of the volume; where it is unknown it stays so, which OME-Zarr does not allow.
    n_threads
        Default: the cores available to the process.
    progress
        Called as ``progress(stage, done, total)``, from any thread.
    ome_version
        As for :func:`fourierrecon.io.writing_volume`.

    Raises
    ------
    UsageError, DataError
        As :func:`fourierrecon.io.writing_volume`, and if the volume cannot be read.
    """
    threads = n_threads or available_cores()
    kept = np.dtype(dtype).kind == "i" and volume.dtype.kind in "iu" and np.can_cast(volume.dtype, np.dtype(dtype))
    header = voxel_size or volume.voxel_size or None, volume.origin, volume.label
    tiles = volume.tiles()
    with writing_volume(
        target,
        volume.shape,
        *header,
        dtype,
        scale=volume.scale if kept else None,
        n_threads=threads,
        progress=progress,
        ome_version=ome_version,
    ) as write:

        def copy(_: None, i: int) -> None:
            z, y = tiles[i]
            for k, rows in enumerate(volume.block(z, y)):
                write(z.start + k, rows, y.start)

        for_each(len(tiles), copy, state=lambda: None, n_threads=threads, stage="blocks", progress=progress)


def voxel_size_for(volume: VolumeFile, target: Path, given: float | None) -> float:
    """Give the voxel size of a converted volume, Å; 0 where it may stay unknown, as MRC files allow.

    Parameters
    ----------
    volume
        Volume that is converted.
    target
        File or Zarr folder to be written.
    given
        Voxel size that is asked for, Å; None: that of the volume.

    Raises
    ------
    UsageError
        If what is asked for is no voxel size.
    DataError
        If none is given, and the voxels of the volume are no cubes, or the target needs a known voxel size.
    """
    if given is not None:
        if not LEAST_SPACING < given < MOST_SPACING:
            raise UsageError(f"voxel_size={given:g} must lie between {LEAST_SPACING:g} and {MOST_SPACING:g} (Å)")
        return given
    if volume.uneven:
        raise DataError(f"{volume.path}: voxels of {volume.uneven} are no cubes; resample it, or give voxel_size=...")
    if not volume.voxel_size and is_zarr(target):
        raise DataError(f"{volume.path}: the voxel size is unknown, which OME-Zarr needs; give voxel_size=...")
    return volume.voxel_size


def kept_type(volume: VolumeFile) -> str:
    """Give the type that keeps the numbers of a volume, if a new one can have it; else float32."""
    kind = "int16" if volume.dtype.name == "uint8" else volume.dtype.name
    return kind if kind in VOLUME_TYPES else "float32"
