"""The command ``convert``: a volume in another format or type of numbers, part by part."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fourierrecon.errors import DataError, UsageError
from fourierrecon.options import FLAG, Threads, input_option, output_option

if TYPE_CHECKING:
    from fourierrecon.io.volume_file import VolumeFile
    from fourierrecon.parallel import Progress


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Volume: MRC file or OME-Zarr folder.")],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="Volume to write: MRC, or OME-Zarr if its name ends in .zarr.")
    ],
    *,
    dtype: Annotated[
        str | None,
        output_option(
            "TYPE",
            "Of its voxels: float32, float16, int16, int8; integers with a scale. Default: as they are",
            "--dtype",
        ),
    ] = None,
    angpix: Annotated[
        float | None,
        output_option("Å", "Voxel size, where the file tells none or a wrong one. Default: as it is", "--angpix"),
    ] = None,
    level: Annotated[
        int, input_option("N", "Level of an OME-Zarr folder, 0 is the finest. Default: 0", "--level", least=0)
    ] = 0,
    overwrite: Annotated[bool, output_option(FLAG, "Replace a volume that is there", "--overwrite")] = False,
    j: Threads = None,
) -> None:
    """Write a volume in another format (MRC, OME-Zarr) or with voxels of another type.

    Voxel size, origin (Å) and labels are kept. Integers keep their numbers where the new type has them.
    """
    from fourierrecon.console import Stages, say, screen, size_of
    from fourierrecon.io.volumes import VOLUME_TYPES, check_volume_writable, open_volume
    from fourierrecon.outputs import folders_of

    started = time.perf_counter()
    if dtype is not None and dtype not in VOLUME_TYPES:
        raise UsageError(f"--dtype {dtype}: unknown; available: {', '.join(VOLUME_TYPES)}")
    if os.path.lexists(target) and not overwrite:
        raise UsageError(f"{target} exists; give --overwrite to replace it, or another name")
    volume = open_volume(source, level)
    places = source.resolve(), target.resolve()
    if any(a.is_relative_to(b) for a, b in (places, places[::-1])):
        raise UsageError(f"{target} and {source} lie in each other; give another name")
    voxel_size = _voxel_size(volume, target, angpix)
    kind = dtype or _kind_of(volume)
    console = screen()
    depth, height, width = volume.shape
    facts = f"{width} x {height} x {depth} voxels (w x h x d) of {volume.size_words}, {volume.dtype}"
    say(console, "read", f"{source}: {facts}")
    if not voxel_size:
        say(console, "note", "the voxel size stays unknown; give it with --angpix")
    with folders_of(target):
        check_volume_writable(target, volume.shape, kind)
        with Stages(console) as stages:
            convert_volume(volume, target, kind, voxel_size=voxel_size, n_threads=j, progress=stages)
    say(console, "wrote", f"{target} ({kind}, {size_of(target)}) after {time.perf_counter() - started:.1f} s")


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
    from fourierrecon.parallel import available_cores, for_each

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
    from fourierrecon.io.stacks import LEAST_SPACING, MOST_SPACING
    from fourierrecon.io.volumes import is_zarr

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
    from fourierrecon.io.volumes import VOLUME_TYPES

    kind = "int16" if volume.dtype.name == "uint8" else volume.dtype.name
    return kind if kind in VOLUME_TYPES else "float32"
