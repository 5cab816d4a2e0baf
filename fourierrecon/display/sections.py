"""Cuts sections through a volume, means over thin slabs that are read plane by plane, and chooses their greys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import UsageError
from fourierrecon.runtime.memory import forget
from fourierrecon.volume import Volume

#: Thickness of a slab where none is asked for: nm, or voxels where the voxel size is unknown.
DEFAULT_NM, DEFAULT_VOXELS = 10.0, 5
#: Percentiles of the values that become black and white.
PERCENTILES = 0.3, 99.7


class Sections(NamedTuple):
    """Three sections that cut each other, float64."""

    #: ``(y, x)``
    xy: NDArray[np.float64]
    #: ``(z, x)``
    xz: NDArray[np.float64]
    #: ``(y, z)``: to be put beside ``xy``
    yz: NDArray[np.float64]


def thickness_in_voxels(text: str | None, voxel_size: float) -> int:
    """Read the thickness of a slab: ``10``, ``10nm``, ``5vx``, ``5 voxels``; at least one voxel.

    Parameters
    ----------
    text
        Thickness as text; a number alone is in nm. Default: 10 nm, or 5 voxels where the voxel size is unknown.
    voxel_size
        Å; 0 where unknown.

    Raises
    ------
    UsageError
        If it is no thickness, or in nm without a known voxel size.
    """
    if text is None:
        return max(1, round(10 * DEFAULT_NM / voxel_size)) if voxel_size > 0 else DEFAULT_VOXELS
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(nm|vx|voxels?)?\s*", text, re.IGNORECASE)
    if match is None or not float(match[1]) > 0:
        raise UsageError(f"thickness {text!r} makes no sense; give nm (10) or voxels (5vx)")
    value = float(match[1])
    if (match[2] or "nm").lower() == "nm":
        if not voxel_size > 0:
            raise UsageError(f"a thickness of {value:g} nm needs a voxel size, which the file lacks; give voxels (5vx)")
        value *= 10 / voxel_size
    return max(1, round(value))


def sections(volume: Volume, thick: int, at: tuple[float, float, float] = (0.5, 0.5, 0.5)) -> Sections:
    """Average three slabs of a volume; a volume that is mapped from its file is read plane by plane.

    Parameters
    ----------
    volume
        Any real type.
    thick
        Thickness of the slabs, voxels.
    at
        Places of the slabs, ``(z, y, x)`` as fractions of the sides.
    """
    data = volume.data
    depth, height, width = data.shape
    z, y, x = (_cut(n, thick, where) for n, where in zip(data.shape, at, strict=True))
    xy, xz, yz = np.zeros((height, width)), np.empty((depth, width)), np.empty((height, depth))
    for k in range(depth):
        plane = data[k]
        xz[k] = plane[y].mean(0, dtype=float)
        yz[:, k] = plane[:, x].mean(1, dtype=float)
        if z.start <= k < z.stop:
            xy += plane
        forget(data)
    return Sections(xy / (z.stop - z.start), xz, yz)


def walk(volume: Volume, thick: int, most: int) -> Iterator[tuple[float, NDArray[Any]]]:
    """Go through a volume along z: middle of each slab, voxels from 0, and its mean ``(y, x)``.

    Parameters
    ----------
    volume
        Any real type.
    thick
        Thickness of the slabs, voxels.
    most
        Number of slabs at the most.
    """
    depth = len(volume.data)
    thick = min(thick, depth)
    starts = np.arange(depth - thick + 1)
    if len(starts) > most:
        starts = np.round(np.linspace(0, depth - thick, most)).astype(int)
    for start in starts:
        mean = volume.data[start : start + thick].mean(0, dtype=float)
        forget(volume.data)
        yield start + (thick - 1) / 2, mean


def greys(values: NDArray[Any], percentiles: tuple[float, float] = PERCENTILES) -> tuple[float, float]:
    """Give the values that become black and white.

    Values that are not finite do not count, nor do zeros where they are many: no image sees those voxels.

    Parameters
    ----------
    values
        Any shape.
    percentiles
        Percentiles of the values that become black and white.
    """
    known = values[np.isfinite(values)]
    seen = known[known != 0]
    if 0 < seen.size < 0.99 * known.size:
        known = seen
    if known.size == 0:
        return 0.0, 1.0
    black, white = (float(v) for v in np.percentile(known, percentiles))
    return black, max(white, black + 1e-12 * max(abs(black), 1.0))


def _cut(length: int, thick: int, where: float) -> slice:
    n = min(thick, length)
    start = min(max(round(where * length - n / 2), 0), length - n)
    return slice(start, start + n)
