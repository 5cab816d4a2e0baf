"""OME-Zarr 0.5: volumes as compressed chunks at several resolutions, in and out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fourierrecon.errors import DataError, FourierReconError, UsageError
from fourierrecon.io.files import replacing_folder
from fourierrecon.io.json_text import brief, fits
from fourierrecon.io.stacks.mrc import common_spacing
from fourierrecon.io.volumes.base import SectionWriter, VolumeFile
from fourierrecon.io.volumes.quantise import HeldVolume, Scale, check_densities
from fourierrecon.runtime.memory import check_memory, release, resident_memory, trim
from fourierrecon.runtime.threads import Progress, available_cores, for_each
from fourierrecon.volume import Volume

#: Side of a chunk, and of a shard (a file of chunks), voxels.
CHUNK, SHARD = 64, 128
#: Of the densities that a thread reads at a time, bytes; how often zarr and we hold a shard of them besides.
BLOCK_BYTES, COPIES = 1 << 25, 7
#: Of zstd: tomograms are noise, which higher levels compress no better.
LEVEL = 1
#: Å in the units of length of OME-Zarr that a microscopist may meet.
UNITS = {"angstrom": 1.0, "picometer": 0.01, "nanometer": 10.0, "micrometer": 1e4, "millimeter": 1e7, "meter": 1e10}
INSTALL = "pip install 'fourierrecon[zarr]'"
AXES = ("z", "y", "x")
#: No tomogram is longer, voxels.
LONGEST_SIDE = 1 << 24
#: Of which kind our own attributes are.
OURS = {"label": [str], "scale": float, "offset": float}
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
        Of the first voxel, ``(x, y, z)``, Å.
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


def require_zarr() -> None:
    """Check that the library is there.

    Raises
    ------
    UsageError
        If it is not, or is too old.
    """
    try:
        import zarr
    except ImportError as error:
        raise UsageError(f"Zarr needs the package zarr, which is not installed: {INSTALL}") from error
    if int(zarr.__version__.split(".")[0]) < 3:
        raise UsageError(f"Zarr needs the package zarr from version 3 on, {zarr.__version__} is installed: {INSTALL}")


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
) -> Iterator[SectionWriter]:
    """Write an OME-Zarr folder slab by slab: all of it or nothing.

    Slabs go to a nameless scratch file, as they come in any order and chunks are many slabs deep. At the end chunks
    are made from it, some of a row at a time, and each coarser level from the one before. Integers stand for
    densities as in :func:`fourierrecon.io.volumes.mrc.writing_mrc`; scale and offset, those of all levels, are in
    the group's
    attribute ``fourierrecon``. See :func:`fourierrecon.io.files.replacing_folder` for how an old folder is replaced.

    Parameters
    ----------
    path
        Folder; those above it are made. A Zarr folder of that name is only replaced once the new one is complete.
    shape, voxel_size, origin, label, dtype, scale
        As for :func:`fourierrecon.io.volumes.mrc.writing_mrc`.
    scratch
        Folder of the scratch file; default: that in which ``path`` lies.
    n_threads
        For making chunks; each holds about 90 MB. Default: the cores available to the process.
    memory
        Largest resident memory of the process, bytes; with little of it there are fewer threads, but one.
    progress
        Called as ``progress(stage, done, total)`` while chunks are made, from any thread.

    Yields
    ------
    write
        ``write(z, slab)`` takes a slab ``(y, x)``, in any order and from any thread; ``write(z, rows, y)`` some rows.

    Raises
    ------
    DataError
        If the folder cannot be written, or its type does not hold the densities.
    UsageError
        If zarr is not installed.
    """
    require_zarr()
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
        attributes = _attributes(Path(path).name.removesuffix(".zarr").removesuffix(".ome"), levels, label, scale)
        group = zarr.open_group(part, mode="w", zarr_format=3, attributes=attributes)
        read: Read = held.read
        for number, level in enumerate(levels):
            array = _new_array(group, str(number), level.shape, kind)
            _fill(array, read, scale, n_threads or available_cores(), memory, f"level {number}", progress)
            read = partial(_halved, array, scale)


class ZarrVolume(VolumeFile):
    """One level of an OME-Zarr folder (0.4 or 0.5), read as it is needed.

    Parameters
    ----------
    path
        Folder.
    level
        0 is the finest.

    Raises
    ------
    DataError
        If it cannot be read, or is no volume.
    UsageError
        If there is no such level, or zarr is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], level: int = 0) -> None:
        require_zarr()
        import zarr

        self.path = Path(path)
        if not self.path.exists():
            raise DataError(f"cannot read {path}: No such file or directory")
        with _opening(self.path):
            group = zarr.open_group(self.path, mode="r")
            attributes = dict(group.attrs)
        multiscale = _multiscale(self.path, attributes)
        datasets, axes = multiscale["datasets"], multiscale["axes"]
        if not 0 <= level < len(datasets):
            raise UsageError(f"{path} has levels 0 to {len(datasets) - 1}; there is no level {level}")
        with _opening(self.path):
            array = group[datasets[level]["path"]]
            if not isinstance(array, zarr.Array):
                raise TypeError(f"{datasets[level]['path'][:60]} is no array")
            shape, chunks, dtype = array.shape, array.chunks, np.dtype(array.dtype)
        names = [axis["name"] for axis in axes]
        if names[-3:] != list(AXES) or len(shape) != len(axes):
            raise DataError(f"{path} is no volume: its axes are {', '.join(names)}; the last must be z, y, x")
        if any(n != 1 for n in shape[:-3]):
            raise DataError(f"{path} holds several volumes (shape {shape}); take one out first")
        if not all(0 < n <= LONGEST_SIDE for n in shape[-3:]) or dtype.kind not in "biuf":
            raise DataError(f"{path} holds {dtype} of shape {shape}, which is no volume of densities; restore it")
        check_memory(self.path, prod(chunks) * dtype.itemsize, "one chunk of it")
        units = [axis.get("unit", "angstrom") for axis in axes[-3:]]
        unknown = [unit for unit in units if not isinstance(unit, str) or unit not in UNITS]
        if unknown:
            raise DataError(f"{path}: unit {brief(unknown[0])} of its axes is unknown; known: {', '.join(UNITS)}")
        self._array = array
        depth, height, width = shape[-3:]
        self.shape, self.dtype = (depth, height, width), dtype
        sizes, places = _transforms(self.path, len(axes), datasets[level], multiscale)
        voxels = [s * UNITS[unit] for s, unit in zip(sizes[-3:], units, strict=True)]
        # along an axis of one voxel it means nothing
        counted = [s for s, n in zip(voxels, self.shape, strict=True) if n > 1] or voxels
        nothing = all("unit" not in axis for axis in axes[-3:]) and set(voxels) == {1.0}
        self.spacing = (0.0, 0.0, 0.0) if nothing else (voxels[2], voxels[1], voxels[0])
        self.voxel_size = 0.0 if nothing or min(counted) <= 0 else common_spacing(counted[::-1])
        z, y, x = (t * UNITS[unit] for t, unit in zip(places[-3:], units, strict=True))
        self.origin = (x, y, z)
        ours = {"label": list[str](), "scale": 1.0, "offset": 0.0}
        found = attributes.get("fourierrecon", {})
        if not fits(found, {}) or not fits(ours | found, OURS) or found.get("scale") == 0:
            raise DataError(f"{path}: its attribute fourierrecon is not whole; restore it, or remove the attribute")
        ours |= found
        self.label = "\n".join(cast(list[str], ours["label"]))
        self.scale = Scale(cast(float, ours["scale"]), cast(float, ours["offset"]))
        self.tile = (min(chunks[-3], depth), min(chunks[-2], height))

    def stored(self, z: slice, y: slice) -> NDArray[Any]:
        """Read a block ``(z, y, x)`` of numbers as they are stored, all columns of it."""
        try:
            return np.asarray(self._array[(*(0,) * (self._array.ndim - 3), z, y, slice(None))])
        except MemoryError:
            raise
        except Exception as error:  # the library lets those of all its codecs through
            raise DataError(f"cannot read {self.path}: {error}; copy it again") from error


def read_zarr_volume(path: str | os.PathLike[str], level: int = 0) -> Volume:
    """Read one level of an OME-Zarr folder as float32, with its voxel size and origin in Å.

    Parameters
    ----------
    path
        Folder.
    level
        0 is the finest.

    Raises
    ------
    DataError, UsageError
        As :class:`ZarrVolume`.
    """
    return ZarrVolume(path, level).read()


def _factors(shape: Sequence[int]) -> Triple:
    """How many voxels become one along each axis."""
    z, y, x = (2 if n > 1 else 1 for n in shape)
    return z, y, x


def _new_array(group: Any, name: str, shape: Triple, kind: np.dtype[Any]) -> Any:
    """Make the empty array of one level."""
    from zarr.codecs import ZstdCodec

    chunks, shards = _pieces(shape)
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
    shards = array.shards
    # shards are read together: columns of a few are far apart in the file below
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
        # one by one: zarr holds several copies of what it is given
        for column in range(0, densities.shape[2], shards[2]):
            shard = densities[:, :, column : column + shards[2]]
            stored = shard.astype(array.dtype) if scale is None else scale.to_stored(shard, array.dtype)
            array[z, y, x.start + column : x.start + column + shard.shape[2]] = stored
            if memory is not None:
                # threads of zarr keep what they freed
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


def _attributes(name: str, levels: list[Level], label: str, scale: Scale | None) -> dict[str, Any]:
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
    return {"ome": {"version": "0.5", "multiscales": [multiscale]}, "fourierrecon": ours}


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    """Say in one line what the library says of a folder; it lets errors of all kinds through."""
    try:
        yield
    except (FourierReconError, MemoryError):
        raise
    except Exception as error:
        raise DataError(f"{path} is no OME-Zarr image: {error!r}; is it the folder of one?") from error


def _multiscale(path: Path, attributes: dict[str, Any]) -> dict[str, Any]:
    """Give what OME-Zarr says of the first image of a group."""
    ome = attributes.get("ome", attributes)
    found = ome.get("multiscales") if isinstance(ome, dict) else None
    kind = {"axes": [{"name": str}], "datasets": [{"path": str}]}
    if not isinstance(found, list) or not found or not fits(found[0], kind):
        raise DataError(f"{path} is no OME-Zarr image: no multiscales with axes and datasets; is it the folder of one?")
    return cast(dict[str, Any], found[0])


def _transforms(path: Path, n_axes: int, *places: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Give scale and translation along each axis, of what a level says and what is said of all levels after that."""
    scale, translation = [1.0] * n_axes, [0.0] * n_axes
    for place in places:
        transforms = place.get("coordinateTransformations", [])
        if not fits(transforms, [{"type": str}]):
            raise DataError(f"{path}: coordinateTransformations {brief(transforms)}; each needs a type; restore it")
        for transform in transforms:
            kind = transform["type"]
            values = transform.get(kind)
            if kind not in ("scale", "translation"):
                continue
            if not fits(values, [float] * n_axes):
                raise DataError(f"{path}: {kind} {brief(values)}; needed: {n_axes} numbers, one an axis; restore it")
            if kind == "scale":
                scale = [s * f for s, f in zip(scale, values, strict=True)]
                translation = [t * f for t, f in zip(translation, values, strict=True)]
            else:
                translation = [t + d for t, d in zip(translation, values, strict=True)]
    return scale, translation
