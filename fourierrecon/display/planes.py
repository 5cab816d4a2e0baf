"""Reads planes of a volume in a file as they are asked for: the volume may be larger than the memory."""

from __future__ import annotations

import mmap
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError, raise_shortage
from fourierrecon.io.stacks.mrc import read_header
from fourierrecon.io.volumes import formats
from fourierrecon.io.volumes.mrc import MrcVolume
from fourierrecon.io.volumes.quantise import Scale

if TYPE_CHECKING:
    from fourierrecon.operators.virtual import VirtualTomogram

#: Axis that a plane is perpendicular to.
Axis: TypeAlias = Literal["z", "y", "x"]
AXES: tuple[Axis, ...] = ("z", "y", "x")
#: Columns that are kept in memory around the last YZ plane of an MRC file: to read it takes all of the file.
BAND_BYTES = 1 << 27
#: Sections that are asked for in advance when all of the file is read, and rows before and after a wanted one.
SLABS_AHEAD, ROWS_AROUND = 4, 8
#: XY planes that grey values are sampled of, and values of each.
SAMPLED_PLANES, SAMPLED_VALUES = 5, 1 << 18
#: Steps between two percentiles.
STEPS = 10


class VolumePlanes(ABC):
    """A volume in a file. Planes may be read from several threads.

    Parameters
    ----------
    path
        Path of the file or folder.
    shape
        ``(z, y, x)``.
    voxel_size
        Å; 0 where the file does not report it.
    origin
        World position ``(x, y, z)`` of the first voxel, Å.
    array
        ``(z, y, x)``, reads what is cut out of it; None where there is no such thing.
    """

    path: Path
    shape: tuple[int, int, int]
    voxel_size: float
    origin: tuple[float, float, float]
    array: NDArray[Any] | None = None

    @property
    def levels(self) -> list[Any]:
        """The array, and the same at coarser resolutions where there are any."""
        return [] if self.array is None else [self.array]

    @abstractmethod
    def mean(self, axis: Axis, first: int, last: int) -> NDArray[np.float32]:
        """Read the mean of the planes from ``first`` to before ``last``: ``(y, x)``, ``(z, x)`` or ``(z, y)``.

        Raises
        ------
        DataError
            If the file cannot be read any more.
        """

    def plane(self, axis: Axis, index: int) -> NDArray[np.float32]:
        """Read one plane (0-based), ``(y, x)``, ``(z, x)`` or ``(z, y)``."""
        return self.slab(axis, index, 1)

    def slab(self, axis: Axis, index: int, thickness: int) -> NDArray[np.float32]:
        """Read the mean over some planes around one; at the faces of the volume over those that there are.

        Raises
        ------
        IndexError
            If there is no such plane, or the slab has no thickness.
        DataError
            If the file cannot be read any more.
        """
        count = self.shape[AXES.index(axis)]
        if not 0 <= index < count or thickness < 1:
            raise IndexError(f"no plane {index} of {count} along {axis}, {thickness} thick")
        first = index - (thickness - 1) // 2
        # infinities are shown, not warned of
        with np.errstate(all="ignore"):
            return self.mean(axis, max(first, 0), min(first + thickness, count))


class MrcPlanes(VolumePlanes):
    """Planes of an MRC file, which is mapped into memory.

    Parameters
    ----------
    path
        Any MRC file.

    Raises
    ------
    DataError
        If it cannot be read, or its axes are not stored in the order x, y, z.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        header = read_header(self.path)
        if sorted(header.axes) == [1, 2, 3] and header.axes != (1, 2, 3):
            raise DataError(f"{path}: axes stored in the order {header.axes}; needed: (1, 2, 3). Reorder them first")
        self.shape, self.voxel_size, self.origin = header.shape, header.cube, header.origin
        self._end = header.end
        try:
            with self.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise_shortage(error)
            raise DataError(f"cannot read {path}: {error.strerror or error}") from error
        self._data = np.ndarray(header.shape, header.dtype, self._map, header.offset)
        self.array = self._data
        self._turn, self._band, self._band_start = threading.Lock(), self._data[:, :, :0], 0

    def mean(self, axis: Axis, first: int, last: int) -> NDArray[np.float32]:
        """Read the mean of some planes, see :meth:`VolumePlanes.mean`."""
        # to touch what is missing of a mapped file would end the process
        if self._map.size() < self._end:
            raise DataError(f"{self.path} has become shorter since it was opened; is another program writing it?")
        if axis == "x":
            return self._mean_of_columns(first, last)
        depth, height, width = self.shape
        if axis == "y":
            for z in range(depth):
                self._fetch(z, max(first - ROWS_AROUND, 0), min(last + ROWS_AROUND, height))
        total = np.zeros((height if axis == "z" else depth, width), np.float32)
        for index in range(first, last):
            total += self._data[index] if axis == "z" else self._data[:, index]
        total /= last - first
        return total

    def _mean_of_columns(self, first: int, last: int) -> NDArray[np.float32]:
        depth, height, width = self.shape
        kept = min(width, BAND_BYTES // (depth * height * self._data.itemsize))
        # requests come from several threads: the second one for the same columns waits for the first
        with self._turn:
            if kept <= last - first:
                return _mean_along_rows(self._slabs(), (depth, height), first, last)
            start = self._band_start
            if not start <= first <= last <= start + self._band.shape[2]:
                start = min(max((first + last - kept) // 2, 0), width - kept)
                self._band = np.empty((depth, height, kept), self._data.dtype)
                for z, slab in enumerate(self._slabs()):
                    self._band[z] = slab[:, start : start + kept]
                self._band_start = start
            return _mean_along_rows(self._band, (depth, height), first - start, last - start)

    def _slabs(self) -> Iterator[NDArray[Any]]:
        for z, slab in enumerate(self._data):
            self._fetch(z, 0, SLABS_AHEAD * self.shape[1])
            yield slab

    def _fetch(self, z: int, first: int, last: int) -> None:
        """Have rows of a slab (and after it) read soon; when they are touched, the system reads page after page."""
        if hasattr(mmap, "MADV_WILLNEED"):
            slab, row = self._data.strides[:2]
            start = self._end - self._data.nbytes + z * slab + first * row
            start -= start % mmap.PAGESIZE
            length = min((last - first) * row + mmap.PAGESIZE, self._end - start)
            # it is advice, nothing more
            with suppress(OSError):
                self._map.madvise(mmap.MADV_WILLNEED, start, length)


class Blocks(Protocol):
    """A volume that gives blocks ``(z, y, x)`` with all columns; ``tile``: slabs and rows best read at a time."""

    path: Path
    shape: tuple[int, int, int]
    voxel_size: float
    origin: tuple[float, float, float]
    tile: tuple[int, int]

    def block(self, z: slice, y: slice) -> NDArray[np.float32]:
        """Read a block."""
        ...


class BlockPlanes(VolumePlanes):
    """Planes of a volume that is stored in chunks, as OME-Zarr.

    Parameters
    ----------
    volume
        Gives its blocks.
    """

    def __init__(self, volume: Blocks) -> None:
        self.path, self.shape = volume.path, volume.shape
        self.voxel_size, self.origin = volume.voxel_size, volume.origin
        self._volume = volume

    def mean(self, axis: Axis, first: int, last: int) -> NDArray[np.float32]:
        """Read the mean of some planes, see :meth:`VolumePlanes.mean`; chunk by chunk."""
        number = AXES.index(axis)
        plane = np.empty([n for i, n in enumerate(self.shape) if i != number], np.float32)
        wanted = slice(first, last)
        rows = [wanted] if axis == "y" else _pieces(self.shape[1], self._volume.tile[1])
        for z in [wanted] if axis == "z" else _pieces(self.shape[0], self._volume.tile[0]):
            for y in rows:
                block = self._volume.block(z, y)
                if axis == "x":
                    block = block[:, :, wanted]
                place = [place for i, place in enumerate((z, y, slice(None))) if i != number]
                plane[tuple(place)] = block.mean(axis=number, dtype=np.float32)
        return plane


class VirtualPlanes(VolumePlanes):
    """Planes of a tomogram that is computed where one looks.

    Parameters
    ----------
    tomogram
        From :func:`fourierrecon.open_virtual`.
    """

    def __init__(self, tomogram: VirtualTomogram) -> None:
        self.path, self.shape = tomogram.path, tomogram.shape
        self.voxel_size, self.origin = tomogram.voxel_size, tomogram.origin
        self._tomogram = tomogram
        self.array = cast(Any, tomogram)  # it reads as an array does

    @property
    def levels(self) -> list[Any]:
        """The tomogram, and the same at 2, 4 and 8 times the binning, which are computed where one looks, too."""
        return list(self._tomogram.levels())

    def mean(self, axis: Axis, first: int, last: int) -> NDArray[np.float32]:
        """Compute the mean of some planes, see :meth:`VolumePlanes.mean`."""
        number = AXES.index(axis)
        wanted = tuple(slice(first, last) if i == number else slice(None) for i in range(3))
        return np.asarray(self._tomogram[wanted].mean(axis=number, dtype=np.float32))


def open_volume(path: str | os.PathLike[str]) -> VolumePlanes:
    """Open a volume to look at planes of it: a folder is OME-Zarr, a file MRC.

    Parameters
    ----------
    path
        Path of the volume.

    Raises
    ------
    DataError
        If it cannot be read.
    UsageError
        If the library for its format is not installed.
    """
    volume = formats.open_volume(path)
    # stored numbers are densities, so the file can be mapped into memory
    return MrcPlanes(path) if isinstance(volume, MrcVolume) and volume.scale == Scale() else BlockPlanes(volume)


def percentiles_of(volume: VolumePlanes, thickness: int = 1) -> NDArray[np.float64]:
    """Give the percentiles 0, 0.1, 0.2 ... 100 of the grey values in XY slabs; of a sample, and of finite values.

    Parameters
    ----------
    volume
        The volume.
    thickness
        Thickness of the slabs, voxels: thick ones have less noise.

    Raises
    ------
    DataError
        If the file cannot be read any more.
    """
    depth = volume.shape[0]
    numbers = {depth * (2 * i + 1) // (2 * SAMPLED_PLANES) for i in range(SAMPLED_PLANES)}
    found = []
    for number in sorted(numbers):
        slab = volume.slab("z", number, thickness)
        step = max(1, int(np.sqrt(slab.size / SAMPLED_VALUES)))
        sample = slab[::step, ::step]
        found.append(sample[np.isfinite(sample)])
    values = np.concatenate(found)
    if not values.size:
        return np.zeros(100 * STEPS + 1)
    return np.percentile(values.astype(np.float64), np.linspace(0, 100, 100 * STEPS + 1))


def _mean_along_rows(
    slabs: Iterable[NDArray[Any]], shape: tuple[int, int], first: int, last: int
) -> NDArray[np.float32]:
    """Average some columns of slabs ``(y, x)``: ``(z, y)``."""
    mean = np.empty(shape, np.float32)
    for z, slab in enumerate(slabs):
        slab[:, first:last].mean(axis=1, dtype=np.float32, out=mean[z])
    return mean


def _pieces(length: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]
