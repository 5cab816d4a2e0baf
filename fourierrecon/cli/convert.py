"""The command ``convert``."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from fourierrecon.cli.options import FLAG, Threads, input_option, output_option
from fourierrecon.errors import UsageError


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
            "Type of the voxels: float32, float16, or int16, int8 with a scale. Default: as in IN",
            "--dtype",
        ),
    ] = None,
    angpix: Annotated[
        float | None,
        output_option("Å", "Voxel size, if that of the file is missing or wrong. Default: as in IN", "--angpix"),
    ] = None,
    level: Annotated[
        int, input_option("N", "Level of an OME-Zarr folder, 0 is the finest. Default: 0", "--level", least=0)
    ] = 0,
    ome_version: Annotated[
        str | None,
        output_option(
            "VERSION", "OME-Zarr 0.5, or 0.4 for copick and the CryoET data portal. Default: 0.5", "--ome_version"
        ),
    ] = None,
    overwrite: Annotated[bool, output_option(FLAG, "Replace a volume that exists", "--overwrite")] = False,
    j: Threads = None,
) -> None:
    """Write a volume in another format (MRC, OME-Zarr) or with voxels of another type.

    Voxel size, origin (Å) and labels are kept. Integers keep their numbers where the new type has them.
    """
    from fourierrecon.cli.console import ProgressBars, say, screen, size_of
    from fourierrecon.cli.option_groups_output import check_ome_version
    from fourierrecon.io.volumes.convert import convert_volume, kept_type, voxel_size_for
    from fourierrecon.io.volumes.formats import VOLUME_TYPES, check_volume_writable, is_zarr, open_volume
    from fourierrecon.tomogram.output_paths import folders_of

    started = time.perf_counter()
    if dtype is not None and dtype not in VOLUME_TYPES:
        raise UsageError(f"--dtype {dtype}: unknown; available: {', '.join(VOLUME_TYPES)}")
    version = check_ome_version(ome_version, zarr=is_zarr(target))
    if os.path.lexists(target) and not overwrite:
        raise UsageError(f"{target} exists; give --overwrite to replace it, or another name")
    volume = open_volume(source, level)
    places = source.resolve(), target.resolve()
    if any(a.is_relative_to(b) for a, b in (places, places[::-1])):
        raise UsageError(f"{target} and {source} lie in each other; give another name")
    voxel_size = voxel_size_for(volume, target, angpix)
    kind = dtype or kept_type(volume)
    console = screen()
    depth, height, width = volume.shape
    facts = f"{width} x {height} x {depth} voxels (w x h x d) of {volume.size_words}, {volume.dtype}"
    say(console, "read", f"{source}: {facts}")
    if not voxel_size:
        say(console, "note", "the voxel size stays unknown; give it with --angpix")
    with folders_of(target):
        check_volume_writable(target, volume.shape, kind)
        with ProgressBars(console) as stages:
            convert_volume(
                volume, target, kind, voxel_size=voxel_size, n_threads=j, progress=stages, ome_version=version
            )
    say(console, "wrote", f"{target} ({kind}, {size_of(target)}) after {time.perf_counter() - started:.1f} s")
