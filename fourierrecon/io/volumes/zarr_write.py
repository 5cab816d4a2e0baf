"""Writes volumes as OME-Zarr 0.5 or 0.4: compressed chunks at several resolutions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.io.files import replacing_folder
from fourierrecon.io.volumes.base import SectionWriter
from fourierrecon.io.volumes.quantise import HeldVolume, Scale, check_densities
from fourierrecon.io.volumes.zarr import AXES, require_zarr
from fourierrecon.runtime.memory import release, resident_memory, trim
from fourierrecon.runtime.threads import Progress, available_cores, for_each

#: Side of a chunk, and of a shard (a file of chunks), voxels.
CHUNK, SHARD = 64, 128
#: Bytes of densities that a thread reads at a time; and how often zarr and we hold a shard of them besides.
BLOCK_BYTES, COPIES = 1 << 25, 7
#: Level of zstd: tomograms are noise, which higher levels compress no better.
LEVEL = 1
#: Versions of OME-Zarr, and those of Zarr that they are stored as. Version 2 has no shards: each chunk is a file.
OME_VERSIONS: dict[str, Literal[2, 3]] = {"0.5": 3, "0.4": 2}
Triple = tuple[int, int, int]
#: Gives a block of densities ``(z, y, x)``.
Read = Callable[[slice, slice, slice], NDArray[np.float32]]


class Level(NamedTuple):
    """One resolution of a pyramid.

    Parameters
    ----------
    shape
        ``(z, y, x)``.
    scale, translation
        Voxel size and place of the first voxel along z, y and x, Å.
    """

    shape: Triple
    scale: tuple[float, ...]
    translation: tuple[float, ...]


def levels_of(shape: Sequence[int], voxel_size: float, origin: Sequence[float]) -> list[Level]:
    """Give the levels of a pyramid: each the means of 2 x 2 x 2 voxels of the one before, until one chunk holds it.

    A coarse voxel lies in the middle of the fine ones, half a fine voxel further on. The last plane of an odd side
    has no partner and is left out; a side of 1 stays.

    Parameters
    ----------
    shape
        ``(z, y, x)``.
    voxel_size
        Å.
    origin
        Place of the first voxel, ``(x, y, z)``, Å.
    """
    z, y, x = shape
    levels = [Level((z, y, x), (float(voxel_size),) * 3, tuple(map(float, reversed(origin))))]
    while max(levels[-1].shape) > CHUNK:
        fine = levels[-1]
        factors = _factors(fine.shape)
        z, y, x = (n // f for n, f in zip(fine.shape, factors, strict=True))
        scale = tuple(s * f for s, f in zip(fine.scale, factors, strict=True))
        shift = ((f - 1) / 2 * s for s, f in zip(fine.scale, factors, strict=True))
        levels.append(Level((z, y, x), scale, tuple(t + d for t, d in zip(fine.translation, shift, strict=True))))
    return levels


@contextmanager
def writing_zarr(
    path: str | os.PathLike[str],
    shape: tuple[int, ...],
    voxel_size: float,
    origin: tuple[float, float, float],
    label: str,
    dtype: DTypeLike = np.float32,
    *,
    scale: Scale | None = None,
    scratch: Path | None = None,
    n_threads: int | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
    ome_version: str = "0.5",
) -> Iterator[SectionWriter]:
    """Write an OME-Zarr folder section by section: all of it or nothing.

    Sections come in any order and chunks are many sections deep, so sections go to a nameless scratch file first. At
    the end chunks are made from it, some of a row at a time, and each coarser level from the one before. Integers stand
    for densities as in :func:`fourierrecon.io.volumes.mrc.writing_mrc`; scale and offset, the same for all levels, are
    in the group's attribute ``fourierrecon``. See :func:`fourierrecon.io.files.replacing_folder` for how an old folder
    is replaced.

    Parameters
    ----------
    path
        Folder; those above it are made. A Zarr folder of that name is only replaced once the new one is complete.
    shape, voxel_size, origin, label, dtype, scale
        As for :func:`fourierrecon.io.volumes.mrc.writing_mrc`.
    scratch
        Folder of the scratch file; default: that in which ``path`` lies.
    n_threads
        Threads that make chunks; each holds about 90 MB. Default: the cores available to the process.
    memory
        Largest resident memory of the process, bytes; with little of it there are fewer threads, but one.
    progress
        Called as ``progress(stage, done, total)`` while chunks are made, from any thread.
    ome_version
        One of :data:`OME_VERSIONS`.

    Yields
    ------
    write
        ``write(z, section)`` takes a section ``(y, x)``, in any order and from any thread; ``write(z, rows, y)`` takes
        some rows.

    Raises
    ------
    DataError
        If the folder cannot be written, or its type does not hold the densities.
    UsageError
        If zarr is not installed, or there is no such version.
    """
    require_zarr()
    if ome_version not in OME_VERSIONS:
        raise UsageError(f'ome_version="{ome_version}" is unknown; available: {", ".join(OME_VERSIONS)}')
    if not (np.isfinite(voxel_size) and voxel_size > 0):
        raise DataError(f"cannot write {path}: voxel size {voxel_size:g} Å must be positive")
    kind = np.dtype(dtype)
    levels = levels_of(shape, voxel_size, origin)
    with (
        replacing_folder(path) as part,
        closing(HeldVolume(shape, part.parent if scratch is None else scratch)) as held,
    ):
        yield held.write
        import zarr

        check_densities(path, held.statistics, kind)
        if kind.kind in "iu" and scale is None:
            scale = Scale.of(held.statistics, kind)
        name = Path(path).name.removesuffix(".zarr").removesuffix(".ome")
        attributes = _attributes(name, levels, label, scale, ome_version)
        group = zarr.open_group(part, mode="w", zarr_format=OME_VERSIONS[ome_version], attributes=attributes)
        read: Read = held.read
        for number, level in enumerate(levels):
            array = _new_array(group, str(number), level.shape, kind)
            _fill(array, read, scale, n_threads or available_cores(), memory, f"level {number}", progress)
            read = partial(_halved, array, scale)


def _factors(shape: Sequence[int]) -> Triple:
    """How many voxels become one along each axis."""
    z, y, x = (2 if n > 1 else 1 for n in shape)
    return z, y, x


def _new_array(group: Any, name: str, shape: Triple, kind: np.dtype[Any]) -> Any:
    """Make the empty array of one level."""
    from zarr.codecs import ZstdCodec

    chunks, shards = _pieces(shape)
    if group.metadata.zarr_format == 2:
        from numcodecs import Blosc  # type: ignore[import-untyped]

        return group.create_array(
            name, shape=shape, dtype=kind, chunks=chunks, compressors=Blosc("zstd", LEVEL, Blosc.SHUFFLE), fill_value=0,
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )  # fmt: skip
    return group.create_array(
        name, shape=shape, dtype=kind, chunks=chunks, shards=shards,
        compressors=ZstdCodec(level=LEVEL), fill_value=0, dimension_names=AXES,
    )  # fmt: skip


def _pieces(shape: Triple) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Give the shapes of chunks, and of shards."""
    chunks = tuple(min(CHUNK, n) for n in shape)
    return chunks, tuple(c * (SHARD // CHUNK) if n > c else c for c, n in zip(chunks, shape, strict=True))


def least_memory(shape: Triple) -> int:
    """Give the bytes that it takes at the least to make chunks of a volume ``(z, y, x)``."""
    return (1 + COPIES) * 4 * prod(_pieces(shape)[1])


def _fill(
    array: Any, read: Read, scale: Scale | None, n_threads: int, memory: int | None, stage: str,
    progress: Progress | None,
) -> None:  # fmt: skip
    """Write an array; each thread some shards of a row at a time, as a shard cannot be written in parts."""
    shards = array.shards or _pieces(array.shape)[1]
    # read several shards at once: the columns of one lie far apart in the scratch file
    n_columns = max(1, BLOCK_BYTES // (4 * prod(shards)))
    if memory is not None:
        bytes_of = 4 * prod(shards)
        if memory - resident_memory() < n_threads * (n_columns + COPIES) * bytes_of:
            release()
        room = memory - resident_memory()
        if room < (n_columns + COPIES) * bytes_of:
            n_columns = 1
        n_threads = max(1, min(n_threads, room // ((n_columns + COPIES) * bytes_of)))
    steps = (*shards[:2], n_columns * shards[2])
    starts = list(product(*(range(0, n, step) for n, step in zip(array.shape, steps, strict=True))))

    def work(_: None, i: int) -> None:
        z, y, x = (slice(a, min(a + s, n)) for a, s, n in zip(starts[i], steps, array.shape, strict=True))
        densities = read(z, y, x)
        # write shards one by one: zarr holds several copies of its input
        for column in range(0, densities.shape[2], shards[2]):
            shard = densities[:, :, column : column + shards[2]]
            stored = shard.astype(array.dtype) if scale is None else scale.to_stored(shard, array.dtype)
            array[z, y, x.start + column : x.start + column + shard.shape[2]] = stored
            if memory is not None:
                # threads of zarr keep freed memory
                trim()

    for_each(len(starts), work, state=lambda: None, n_threads=n_threads, stage=stage, progress=progress)


def _halved(finer: Any, scale: Scale | None, z: slice, y: slice, x: slice) -> NDArray[np.float32]:
    """Give a block ``(z, y, x)`` of the next coarser level; reads one row of chunks at a time."""
    factors = _factors(finer.shape)
    coarse = np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), np.float32)
    half = CHUNK // 2
    for k, j in product(range(0, coarse.shape[0], half), range(0, coarse.shape[1], half)):
        part = coarse[k : k + half, j : j + half]
        wanted = zip((z.start + k, y.start + j, x.start), part.shape, factors, strict=True)
        stored = finer[tuple(slice(f * start, f * (start + n)) for start, n, f in wanted)]
        fine = stored.astype(np.float32, copy=False) if scale is None else scale.to_values(stored)
        for axis, factor in enumerate(factors):
            if factor == 2:
                pairs = np.moveaxis(fine, axis, 0)
                fine = np.moveaxis((pairs[::2] + pairs[1::2]) * np.float32(0.5), 0, axis)
        part[...] = fine
    return coarse


def _attributes(name: str, levels: list[Level], label: str, scale: Scale | None, ome_version: str) -> dict[str, Any]:
    """Give the attributes of the group: those of OME-Zarr, and our own."""
    datasets = [
        {
            "path": str(number),
            "coordinateTransformations": [
                {"type": "scale", "scale": list(level.scale)},
                {"type": "translation", "translation": list(level.translation)},
            ],
        }
        for number, level in enumerate(levels)
    ]
    axes = [{"name": axis, "type": "space", "unit": "angstrom"} for axis in AXES]
    ours: dict[str, Any] = {"label": label.splitlines()}
    if scale is not None:
        ours |= {"value": "stored * scale + offset", "scale": scale.scale, "offset": scale.offset}
    multiscale = {"name": name, "type": "mean", "axes": axes, "datasets": datasets}
    if ome_version == "0.4":
        return {"multiscales": [{"version": "0.4", **multiscale}], "fourierrecon": ours}
    return {"ome": {"version": ome_version, "multiscales": [multiscale]}, "fourierrecon": ours}
