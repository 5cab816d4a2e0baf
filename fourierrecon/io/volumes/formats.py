"""Volumes in any format: MRC files and OME-Zarr folders, told apart by the ending of their names."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, closing
from math import prod
from pathlib import Path

import numpy as np

from fourierrecon.errors import DataError, UsageError, check_type
from fourierrecon.io.files import check_writable
from fourierrecon.io.stacks.mrc import HEADER_BYTES
from fourierrecon.io.volumes.base import SectionWriter, VolumeFile
from fourierrecon.io.volumes.mrc import MrcVolume, map_mrc_volume, writing_mrc
from fourierrecon.io.volumes.quantise import Scale
from fourierrecon.io.volumes.zarr import ZarrVolume, require_zarr
from fourierrecon.io.volumes.zarr_write import least_memory, levels_of, writing_zarr
from fourierrecon.runtime.memory import trim
from fourierrecon.runtime.scratch_file import ScratchFile
from fourierrecon.runtime.threads import Progress
from fourierrecon.volume import Volume

#: Types of numbers that a volume can be written in.
VOLUME_TYPES = ("float32", "float16", "int16", "int8")
#: Endings of MRC files; a name without any is one too.
MRC_ENDINGS = (".mrc", ".mrcs", ".rec", ".map", ".st", ".ali", ".ccp4", "")
ZARR_ENDING = ".zarr"
#: A volume of so many bytes is read into memory where it cannot be mapped.
SMALL = 1 << 24


def is_zarr(path: str | os.PathLike[str]) -> bool:
    """Tell by its ending whether a volume to be written is a Zarr folder; else it is an MRC file.

    Parameters
    ----------
    path
        File or folder of the volume.

    Raises
    ------
    UsageError
        If the ending is that of another format.
    """
    ending = Path(path).suffix.lower()
    if ending == ZARR_ENDING:
        return True
    if ending not in MRC_ENDINGS:
        known = ", ".join(filter(None, MRC_ENDINGS))
        raise UsageError(f"{path}: unknown ending {ending}; available: {known} (MRC), {ZARR_ENDING} (OME-Zarr)")
    return False


def space_for(path: str | os.PathLike[str], shape: tuple[int, int, int], dtype: str) -> tuple[int, int]:
    """Give the bytes that a volume takes on disk, and those of the scratch file that it goes through.

    Zarr is compressed, tomograms by a tenth; that is not counted.

    Parameters
    ----------
    path
        File or folder of the volume.
    shape
        ``(z, y, x)``.
    dtype
        One of :data:`VOLUME_TYPES`.

    Raises
    ------
    UsageError
        If there is no such format or type.
    """
    zarr = is_zarr(path)
    voxels = sum(prod(level.shape) for level in levels_of(shape, 1.0, (0.0, 0.0, 0.0))) if zarr else prod(shape)
    size = voxels * _kind(dtype).itemsize + (0 if zarr else HEADER_BYTES)
    return size, 4 * prod(shape) if zarr or _kind(dtype).kind == "i" else 0


def end_bytes(path: str | os.PathLike[str], shape: tuple[int, int, int], dtype: str, n_threads: int) -> int:
    """Give the memory that it takes at the least to complete the file of a volume when all its sections are written.

    Parameters
    ----------
    path, shape, dtype
        As for :func:`space_for`.
    n_threads
        Threads that make integers.
    """
    if is_zarr(path):
        return least_memory(shape)
    # integers are made section by section
    return n_threads * 6 * shape[1] * shape[2] if _kind(dtype).kind == "i" else 0


def check_volume_writable(
    path: str | os.PathLike[str], shape: tuple[int, int, int], dtype: str, scratch: Path | None = None
) -> None:
    """Check before a long computation that a volume can be written afterwards; makes its folders.

    Parameters
    ----------
    path
        File or folder of the volume.
    shape
        ``(z, y, x)``.
    dtype
        One of :data:`VOLUME_TYPES`.
    scratch
        Folder of its scratch file; default: that of ``path``.

    Raises
    ------
    UsageError
        If there is no such format or type, or the library for it is not installed.
    DataError
        As :func:`fourierrecon.io.check_writable`.
    """
    size, held = space_for(path, shape, dtype)
    if is_zarr(path):
        require_zarr()
    check_writable(path, size + (held if scratch is None else 0), folder=is_zarr(path))


def writing_volume(
    path: str | os.PathLike[str],
    shape: tuple[int, int, int],
    voxel_size: float | None,
    origin: tuple[float, float, float],
    label: str,
    dtype: str = "float32",
    *,
    scale: Scale | None = None,
    scratch: Path | None = None,
    n_threads: int | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> AbstractContextManager[SectionWriter]:
    """Write a volume section by section, in the format of its ending: all of it or nothing.

    Parameters
    ----------
    path
        ``.mrc``, ``.rec``, ``.map`` ...: MRC, :func:`fourierrecon.io.volumes.mrc.writing_mrc`; ``.zarr``: OME-Zarr,
        :func:`fourierrecon.io.volumes.zarr_write.writing_zarr`.
    shape
        ``(z, y, x)``.
    voxel_size, origin
        Å, None where it is unknown, which MRC alone allows; the world position of the first voxel.
    label
        Lines on how it was made.
    dtype
        One of :data:`VOLUME_TYPES`.
    scale
        Densities that integers stand for, if known.
    scratch
        Folder of the scratch file that Zarr and integers need; default: that of ``path``.
    n_threads
        Threads that make chunks and integers at the end. Default: the cores available to the process.
    memory
        Largest resident memory of the process at the end, bytes; limits the threads that make Zarr's chunks.
    progress
        Called as ``progress(stage, done, total)`` at the end, from any thread.

    Returns
    -------
    A context that gives ``write(z, section)``; it takes a section ``(y, x)``, in any order and from any thread.

    Raises
    ------
    UsageError
        If there is no such format or type, or the library for it is not installed.
    DataError
        If it cannot be written, or the type does not hold the densities.
    """
    header = origin, label, _kind(dtype)
    if not is_zarr(path):
        return writing_mrc(
            path, shape, voxel_size, *header, scale=scale, scratch=scratch, n_threads=n_threads, progress=progress
        )
    if voxel_size is None:
        raise DataError(f"cannot write {path}: the voxel size is unknown, which OME-Zarr needs")
    return writing_zarr(
        path, shape, voxel_size, *header, scale=scale, scratch=scratch, n_threads=n_threads, memory=memory,
        progress=progress,
    )  # fmt: skip


def open_volume(path: str | os.PathLike[str], level: int = 0) -> VolumeFile:
    """Open a volume to read it part by part: a folder is OME-Zarr, a file MRC.

    Parameters
    ----------
    path
        File or folder of the volume.
    level
        Level of an OME-Zarr folder, 0 is the finest.

    Raises
    ------
    DataError
        If it cannot be read.
    UsageError
        If there is no such level, or the library for the format is not installed.
    """
    if os.path.isdir(path) or Path(path).suffix.lower() == ZARR_ENDING:
        return ZarrVolume(path, level)
    if level:
        raise UsageError(f"{path} is an MRC file, which has one level; leave the level {level} out")
    return MrcVolume(path)


def read_volume(path: str | os.PathLike[str], level: int = 0) -> Volume:
    """Read a volume as float32, in any format.

    Parameters
    ----------
    path, level
        As for :func:`open_volume`.

    Raises
    ------
    DataError, UsageError
        As :func:`open_volume`.

    Examples
    --------
    >>> import numpy as np
    >>> from fourierrecon import Volume, read_volume, write_volume
    >>> write_volume("ones.mrc", Volume(np.ones((2, 3, 4), np.float32), 10.0, (0.0, 0.0, 0.0)))
    >>> read_volume("ones.mrc")
    Volume(4 x 3 x 2 voxels of 10 Å)
    """
    check_type("path", path, (str, os.PathLike), "the name of a file or folder")
    return open_volume(path, level).read()


def write_volume(
    path: str | os.PathLike[str],
    volume: Volume,
    dtype: str = "float32",
    *,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a volume in the format of its ending, with voxel size, origin and label; all of it or nothing.

    Parameters
    ----------
    path
        File or folder; those above it are made. One of that name is only replaced once the new one is complete.
    volume
        Its data are ``(z, y, x)``; a voxel size of 0 stands for an unknown one, which MRC alone allows.
    dtype
        One of :data:`VOLUME_TYPES`.
    n_threads, progress
        As for :func:`writing_volume`.

    Raises
    ------
    DataError, UsageError
        As :func:`writing_volume`, and if the data are no volume.

    Examples
    --------
    >>> import numpy as np
    >>> from fourierrecon import Volume, write_volume
    >>> write_volume("ones.mrc", Volume(np.ones((2, 3, 4), np.float32), 10.0, (0.0, 0.0, 0.0)), "int8")
    """
    check_type("path", path, (str, os.PathLike), "the name of a file; the volume comes after it")
    check_type("volume", volume, (Volume,), "a Volume; Volume(data, voxel_size, origin) makes one from an array")
    data = np.asarray(volume.data)
    if data.ndim != 3 or 0 in data.shape:
        raise DataError(f"volume of shape {data.shape} cannot be written; needed: (z, y, x), none of them 0")
    depth, height, width = data.shape
    header = volume.voxel_size or None, volume.origin, volume.label or "fourierrecon"
    shape = depth, height, width
    with writing_volume(path, shape, *header, dtype, n_threads=n_threads, progress=progress) as write:
        for z, section in enumerate(data):
            write(z, section)


def _kind(dtype: str) -> np.dtype[np.generic]:
    if dtype not in VOLUME_TYPES:
        raise UsageError(f"unknown type of voxels {dtype!r}; available: {', '.join(VOLUME_TYPES)}")
    return np.dtype(dtype)


def map_volume(path: str | os.PathLike[str], scratch: Path | None = None) -> Volume:
    """Give a volume that is mapped into memory, so that only what is looked at takes some.

    Densities that a file does not hold as they are (Zarr, integers with a scale) go through a nameless scratch file,
    if they are many.

    Parameters
    ----------
    path
        File or folder of the volume.
    scratch
        Folder of the scratch file; default: that of temporary files.

    Returns
    -------
    volume
        ``.data`` is read-only; ``.voxel_size`` is 0 where an MRC header says nothing.

    Raises
    ------
    DataError, UsageError
        As :func:`open_volume`.
    """
    volume = open_volume(path)
    if isinstance(volume, MrcVolume) and volume.scale == Scale():
        return map_mrc_volume(path)
    depth, height, width = volume.shape
    if 4 * depth * height * width <= SMALL:
        return volume.read()
    with closing(ScratchFile(scratch, depth, (height, width), np.float32)) as file:
        for z, y in volume.tiles():
            for number, rows in enumerate(volume.block(z, y)):
                file.write(z.start + number, y.start * width, rows)
        trim()
        return Volume(file.mapped(), volume.voxel_size, volume.origin, volume.label)
