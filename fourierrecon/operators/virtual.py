"""A tomogram that is computed where one looks.

What depends on the whole is done once, when it is opened: the signal-to-noise ratio, the samples of all images with
their weights, and the correction near the tilt axis. A part then takes the last steps of a reconstruction: its planes
are inserted on the grid of the whole and cut to the part, so that a part is that of the whole to rounding.

A part costs the insertion of all planes, and transforms of its own sections only. The first look at a place computes
what is asked for, by direct sums where that are a few sections (:mod:`fourierrecon.operators.sections`). Sections next
to each other cost little more than one: the second look computes a chunk of them. A cache of bounded size keeps them.

Viewers open coarse first: :meth:`VirtualTomogram.levels` are the same tomogram at 2, 4 and 8 times the binning, each a
tomogram of its own that reads its images when someone looks there for the first time.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from numbers import Integral
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fourierrecon.engine.settings import Settings, SettingsOptions
from fourierrecon.errors import UsageError, check_type
from fourierrecon.geometry.region import Region
from fourierrecon.images import repaired
from fourierrecon.operators.parts import FEW, Parts, open_parts
from fourierrecon.runtime.sizes import parse_memory
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.weighting import Iterative, Weighting, read_weighting

Voxels = NDArray[np.float32]
#: Sections of a chunk at the most.
CHUNK = 32
#: A part of less than this share of each section is computed for itself, not as whole sections.
NARROW = 0.25
#: Levels of resolution at the most; a coarser one has at least so many voxels along y and x.
LEVELS, LEAST_SIDE = 4, 8
#: Part of the memory, and of the bytes of the cache, that each coarser level may fill.
COARSER = 1 / 8


def open_virtual(
    series: TiltSeries,
    region: Region | None = None,
    weighting: Weighting | str | None = None,
    *,
    binning: float | None = None,
    cache: int | str = "1GB",
    **options: Unpack[SettingsOptions],
) -> VirtualTomogram:
    """Open a tomogram that is computed where one looks.

    Parameters
    ----------
    series, region, weighting, binning, **options
        As for :func:`fourierrecon.reconstruct`; not a weighting that iterates.
    cache
        Bytes of parts that are kept, or text.

    Returns
    -------
    tomogram
        ``tomogram[z0:z1, y0:y1, x0:x1]`` are the voxels of :func:`fourierrecon.reconstruct`.

    Raises
    ------
    UsageError, DataError
        As :func:`fourierrecon.reconstruct`.

    Examples
    --------
    >>> import numpy as np
    >>> from fourierrecon import TiltSeries, open_virtual
    >>> from fourierrecon.geometry.projection import projection_matrices
    >>> tilts = np.linspace(-60, 60, 13)
    >>> images = np.random.default_rng(0).normal(size=(13, 64, 64))
    >>> matrices = projection_matrices((64, 64), (32, 32, 16), tilts, tilt_axis_angle=85)
    >>> series = TiltSeries(images, matrices, pixel_size=10, size=(64, 64, 32))
    >>> tomogram = open_virtual(series, binning=2, weighting="wiener:snr=10", ctf=False)
    >>> tomogram.shape, tomogram[8].shape, tomogram[4:6, :8, -1].shape
    ((16, 32, 32), (32, 32), (2, 8))
    """
    check_type("region", region, (Region, type(None)), "a Region, as Region.of or Region.around give it")
    if region is None:
        region = Region.of(series, binning=1.0 if binning is None else binning)
    elif binning is not None and binning != region.binning:
        raise UsageError(f"region has binning {region.binning:g}, and binning is {binning:g}; give one of them")
    chosen = read_weighting(weighting)
    if isinstance(chosen, Iterative):
        raise UsageError(f"{chosen.name} makes all of a tomogram at once; choose a weighting that does not iterate")
    check_type("cache", cache, (str, Integral), 'bytes, or text as "1GB"')
    size = parse_memory(cache) if isinstance(cache, str) else cache
    if size < 0:
        raise UsageError(f"cache={size} bytes must be 0 or more; 0 keeps nothing")
    settings = Settings.of(options)
    tomogram = VirtualTomogram(repaired(series, settings.repairs), region, chosen, settings, size)
    tomogram.open()
    return tomogram


class VirtualTomogram:
    """A tomogram that is computed where one looks: an array to read parts of, from any thread.

    Parameters
    ----------
    series, region, weighting, settings
        As for a reconstruction; images are repaired.
    cache
        Bytes of parts that are kept.
    part
        Part of the memory for samples that it may take.

    Attributes
    ----------
    shape, dtype, ndim, size, nbytes
        Of the whole, ``(z, y, x)`` of float32.
    voxel_size, origin
        Å, as those of :class:`~fourierrecon.Volume`.
    chunk
        Sections that are computed together.
    """

    ndim = 3
    dtype = np.dtype(np.float32)

    def __init__(
        self,
        series: TiltSeries,
        region: Region,
        weighting: Weighting,
        settings: Settings,
        cache: int,
        part: float = 1.0,
    ) -> None:
        self._series, self._region, self._weighting, self._settings = series, region, weighting, settings
        self._part_of_memory = part
        self._parts: Parts | None = None
        self._coarser: tuple[VirtualTomogram, ...] = ()
        self.shape = region.shape
        self.voxel_size = series.pixel_size * region.binning
        x, y, z = (float(c) * series.pixel_size for c in region.origin)
        self.origin = x, y, z
        self.path = Path(series.source or series.name)
        section = 4 * region.shape[1] * region.shape[2]
        self.chunk = int(np.clip(cache // (2 * section), 1, min(CHUNK, region.shape[0])))
        self._cache: OrderedDict[object, Voxels] = OrderedDict()
        self._looked_at: set[int] = set()
        self._limit, self._turn = cache, threading.RLock()

    def open(self) -> Parts:
        """Do all that depends on the whole, unless it is done: read the images, measure the SNR, sample.

        Raises
        ------
        UsageError, DataError
            As :func:`fourierrecon.reconstruct`.
        """
        with self._turn:
            if self._parts is None:
                self._parts = open_parts(
                    self._series,
                    self._region,
                    self._weighting,
                    self._settings,
                    cache=self._limit,
                    part=self._part_of_memory,
                )
                weakref.finalize(self, self._parts.close)
            return self._parts

    def levels(self) -> tuple[VirtualTomogram, ...]:
        """Give this tomogram and the same at 2, 4 and 8 times the binning, as far as something is left of it.

        Each is that of :func:`fourierrecon.reconstruct` at its binning, and is opened when a part of it is read.
        """
        with self._turn:
            if not self._coarser:
                self._coarser = tuple(self._at(2**level) for level in range(1, LEVELS) if self._fits(2**level))
            return self, *self._coarser

    def _fits(self, factor: int) -> bool:
        depth, height, width = self.shape
        return depth >= factor and min(height, width) >= factor * LEAST_SIDE

    def _at(self, factor: int) -> VirtualTomogram:
        region, series = self._region, self._series
        binning = region.binning * factor
        depth, height, width = (n // factor for n in region.shape)
        coarse = Region(region.origin, (depth, height, width), binning)
        if region == Region.of(series, binning=region.binning):
            coarse = Region.of(series, binning=binning)
        cache = int(COARSER * self._limit)
        tomogram = VirtualTomogram(series, coarse, self._weighting, self._settings, cache, COARSER)
        tomogram._turn = self._turn  # one at a time, as each may take all threads and what is left of the memory
        return tomogram

    @property
    def size(self) -> int:
        """Voxels of the whole."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """Bytes of the whole."""
        return 4 * self.size

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        depth, height, width = self.shape
        return f"VirtualTomogram({width} x {height} x {depth} voxels of {self.voxel_size:.4g} Å)"

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Compute all of it."""
        return np.asarray(self[:, :, :], dtype)

    def __getitem__(self, key: Any) -> Any:
        """Compute a part: integers and slices, also with steps, and ``...``, as for an array of NumPy."""
        ranges, rest = _ranges(key, self.shape)
        if any(len(r) == 0 for r in ranges):
            return np.zeros([len(r) for r in ranges], np.float32)[rest]
        z, y, x = (slice(min(r), max(r) + 1) for r in ranges)
        part = self._part(z, y, x)
        index = tuple(np.array(r) - min(r) for r in ranges)
        steps = tuple(slice(None) if len(i) == n else i for i, n in zip(index, part.shape, strict=True))
        for axis, chosen in enumerate(steps):
            if not isinstance(chosen, slice):
                part = np.take(part, chosen, axis)
            elif len(ranges[axis]) > 1 and ranges[axis].step < 0:
                part = np.flip(part, axis)
        return np.array(part[rest])

    def to_dask(self) -> Any:
        """Give it as an array of Dask (extra ``dask``), in chunks of whole sections.

        Raises
        ------
        UsageError
            If Dask is not installed.
        """
        try:
            import dask.array
        except ImportError as error:
            raise UsageError(
                "to_dask() needs dask, which is not installed: pip install 'fourierrecon[dask]'"
            ) from error
        chunks = (self.chunk, *self.shape[1:])
        return dask.array.from_array(self, chunks=chunks, name=False, asarray=False)

    def to_zarr(self) -> Any:
        """Give it as a store of Zarr that is read only: an OME-Zarr image of all :meth:`levels` (extra ``zarr``).

        Raises
        ------
        UsageError
            If zarr is not installed.
        """
        try:
            from fourierrecon.operators.zarr_store import VirtualStore
        except ImportError as error:
            raise UsageError(
                "to_zarr() needs zarr, which is not installed: pip install 'fourierrecon[zarr]'"
            ) from error
        return VirtualStore(self)

    def close(self) -> None:
        """Give memory and scratch space back."""
        with self._turn:
            self._cache.clear()
            if self._parts is not None:
                self._parts.close()
            for level in self._coarser:
                level.close()

    def __enter__(self) -> VirtualTomogram:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _part(self, z: slice, y: slice, x: slice) -> Voxels:
        """Give a box of voxels; a narrow one is computed for itself."""
        height, width = self.shape[1:]
        whole = self.chunk * height * width * 4 <= self._limit
        if (y.stop - y.start) * (x.stop - x.start) < NARROW * height * width or not whole:
            with self._turn:
                return self._kept((z.start, z.stop, y.start, y.stop, x.start, x.stop), z, y, x)
        return self.box(z, y, x)

    def box(self, z: slice, y: slice, x: slice) -> Voxels:
        """Cut a box ``[start, stop)`` out of chunks of whole sections, which stay in the cache."""
        height, width = self.shape[1:]
        with self._turn:
            out = np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), np.float32)
            for begin in range(z.start - z.start % self.chunk, z.stop, self.chunk):
                first, stop = begin, min(begin + self.chunk, self.shape[0])
                low, high = max(first, z.start), min(stop, z.stop)
                name: object = begin
                # a first look: the sections beside these wait until someone looks there, too
                few = high - low <= FEW and (begin not in self._looked_at or (low, high) in self._cache)
                if few and begin not in self._cache:
                    self._looked_at.add(begin)
                    name, first, stop = (low, high), low, high
                chunk = self._kept(name, slice(first, stop), slice(0, height), slice(0, width))
                out[low - z.start : high - z.start] = chunk[low - first : high - first, y, x]
            return out

    def _kept(self, name: object, z: slice, y: slice, x: slice) -> Voxels:
        """Compute a box unless it is in the cache, and let the longest unused go where there are too many."""
        if name not in self._cache:
            found = np.empty([s.stop - s.start for s in (z, y, x)], np.float32)
            self.open().compute(z, y, x, found)
            if found.nbytes > self._limit:
                return found
            self._cache[name] = found
            while sum(part.nbytes for part in self._cache.values()) > self._limit:
                self._cache.popitem(last=False)
        self._cache.move_to_end(name)
        return self._cache[name]


def _ranges(key: Any, shape: tuple[int, int, int]) -> tuple[list[range], tuple[Any, ...]]:
    """Give the voxels that a key asks for along each axis, and the index that drops the axes of integers."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if sum(k is Ellipsis for k in keys) > 1 or len([k for k in keys if k is not Ellipsis]) > 3:
        raise IndexError(f"{key}: a tomogram has three axes")
    at = next((i for i, k in enumerate(keys) if k is Ellipsis), None)
    if at is not None:
        keys[at : at + 1] = [slice(None)] * (4 - len(keys))
    keys += [slice(None)] * (3 - len(keys))
    ranges: list[range] = []
    rest: list[slice | int] = []
    for k, n in zip(keys, shape, strict=True):
        if isinstance(k, slice):
            ranges.append(range(n)[k])
            rest.append(slice(None))
        elif isinstance(k, (int, np.integer)):
            place = range(n)[int(k)]  # raises an IndexError where there is no such section
            ranges.append(range(place, place + 1))
            rest.append(0)
        else:
            raise IndexError(f"{k!r}: a tomogram takes integers and slices")
    return ranges, tuple(rest)
