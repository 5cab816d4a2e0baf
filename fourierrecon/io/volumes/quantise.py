"""Numbers of a volume as a file holds them: their statistics, and integers that stand for densities."""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fourierrecon.errors import DataError
from fourierrecon.runtime.scratch_file import ScratchFile

#: Voxels that are converted at a time: so many stay in the processor's cache.
BLOCK = 1 << 15
#: How many standard deviations from the mean int8 reaches: beads of gold must not take all its 256 steps.
REACH = 10.0
#: Pattern of a label that says what integers stand for.
LABEL = re.compile(r"value = stored \* (\S+) \+ (\S+)")


class Statistics:
    """Least, largest, mean and standard deviation of a volume that comes in parts; safe to use from several threads."""

    def __init__(self) -> None:
        # of each part: number of values, minimum, maximum, first value, sums of differences to it and of their squares
        self._facts: dict[tuple[int, int], tuple[float, ...]] = {}

    def add(self, z: int, y: int, values: NDArray[Any]) -> None:
        """Count the values of one part, which begins at row ``y`` of section ``z``; contiguous, 1D."""
        low, high, total, squares, first = np.inf, -np.inf, 0.0, 0.0, float(values[0])
        with np.errstate(all="ignore"):
            for start in range(0, values.size, BLOCK):
                block = values[start : start + BLOCK]
                low, high = min(low, float(block.min())), max(high, float(block.max()))
                apart = block.astype(np.float32, copy=False) - np.float32(first)
                total += float(apart.sum())
                squares += float(apart @ apart)
        self._facts[z, y] = values.size, low, high, first, total, squares

    def summary(self) -> tuple[float, float, float, float]:
        """Give minimum, maximum, mean and standard deviation; a NaN anywhere makes the last two NaN."""
        # sum in the same order however the threads ran, so that the same volume gives the same file
        n, low, high, first, total, squares = np.array([self._facts[key] for key in sorted(self._facts)]).T
        with np.errstate(all="ignore"):
            mean = float((n * first + total).sum() / n.sum())
            # shift the sums about the first value of each part to the mean of all
            apart = first - mean
            variance = float((squares + 2 * apart * total + n * apart**2).sum() / n.sum())
            return float(low.min()), float(high.max()), mean, float(np.sqrt(np.maximum(variance, 0.0)))


class Scale(NamedTuple):
    """What stored numbers stand for: ``value = stored * scale + offset``.

    Parameters
    ----------
    scale, offset
        Factor and summand of the densities; by default the numbers are the densities.
    """

    scale: float = 1.0
    offset: float = 0.0

    @classmethod
    def of(cls, statistics: Statistics, dtype: DTypeLike) -> Scale:
        """Spread all integers of a type over the range of a volume.

        int16 reaches from the least to the largest density. So does int8, but no further than ten standard deviations
        from the mean; what lies beyond gets the last number.

        Parameters
        ----------
        statistics
            Of the volume; finite.
        dtype
            Integers.
        """
        low, high, mean, deviation = statistics.summary()
        info = np.iinfo(np.dtype(dtype))
        if info.bits == 8:
            low, high = max(low, mean - REACH * deviation), min(high, mean + REACH * deviation)
        # a label holds so many digits
        scale = float(f"{(high - low) / (info.max - info.min):.12g}")
        if scale == 0:
            return cls(1.0, float(f"{mean:.12g}"))
        return cls(scale, float(f"{low - info.min * scale:.12g}"))

    @classmethod
    def from_label(cls, text: str) -> Scale | None:
        """Read the line of an MRC label; None if it is another label."""
        found = LABEL.search(text)
        try:
            scale = cls(float(found[1]), float(found[2])) if found else None
        except ValueError:
            return None
        return scale if scale is not None and all(map(math.isfinite, scale)) and scale.scale != 0 else None

    @property
    def label(self) -> str:
        """The line of an MRC label."""
        return f"fourierrecon: value = stored * {self.scale:.12g} + {self.offset:.12g}"

    def to_stored(self, values: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
        """Give the nearest integers that stand for some densities.

        Raises
        ------
        DataError
            If one of them is no finite number.
        """
        kind = np.dtype(dtype)
        if values.dtype == kind and self == Scale():
            return values
        info, stored = np.iinfo(kind), np.empty(values.shape, kind)
        source, flat = np.ascontiguousarray(values).reshape(-1), stored.reshape(-1)
        for start in range(0, source.size, BLOCK):
            block = source[start : start + BLOCK].astype(np.float64)
            block -= self.offset
            block /= self.scale
            if not np.isfinite(block).all():
                raise DataError(f"some densities are no finite numbers, which {kind} does not hold; use float32")
            np.rint(block, out=block)
            flat[start : start + BLOCK] = np.clip(block, info.min, info.max, out=block)
        return stored

    def to_values(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Give the densities that some stored numbers stand for."""
        values = np.empty(stored.shape, np.float32)
        if self == Scale():
            values[...] = stored
            return values
        source, flat = np.ascontiguousarray(stored).reshape(-1), values.reshape(-1)
        for start in range(0, source.size, BLOCK):
            block = source[start : start + BLOCK].astype(np.float64)
            block *= self.scale
            block += self.offset
            flat[start : start + BLOCK] = block
        return values


class HeldVolume:
    """A volume in a nameless scratch file, of sections that come in any order and from any thread.

    Parameters
    ----------
    shape
        ``(z, y, x)``.
    folder
        Folder of the scratch file.

    Raises
    ------
    DataError
        If there is too little space.
    """

    def __init__(self, shape: tuple[int, ...], folder: Path) -> None:
        self.shape, self.statistics = shape, Statistics()
        self._file = ScratchFile(folder, shape[0], shape[1:], np.float32)

    def write(self, z: int, rows: NDArray[Any], y: int | None = None, /) -> None:
        """Take a section ``(y, x)``, or some rows of it from row ``y`` on."""
        first = check_rows(self.shape, z, rows, y)
        values = np.ascontiguousarray(rows, np.float32).reshape(-1)
        self.statistics.add(z, first, values)
        self._file.write(z, first * self.shape[2], values)

    def read(self, z: slice, y: slice, x: slice) -> NDArray[np.float32]:
        """Give a block ``(z, y, x)``; the slices have both ends."""
        width = self.shape[2]
        block = np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), np.float32)
        for k, rows in enumerate(block):
            if rows.shape[1] == width:
                self._file.read(z.start + k, y.start * width, [rows])
                continue
            for j, row in enumerate(rows):
                self._file.read(z.start + k, (y.start + j) * width + x.start, [row])
        return block

    def close(self) -> None:
        """Give the space back."""
        self._file.close()


def check_rows(shape: tuple[int, ...], z: int, rows: NDArray[Any], y: int | None) -> int:
    """Check that a section, or rows of it from ``y`` on, fit into a volume; give the number of the first row."""
    if y is None and rows.shape != shape[1:]:
        raise DataError(f"image {z + 1} has shape {rows.shape}, the others {shape[1:]}; nothing written")
    if y is not None and (rows.ndim != 2 or rows.shape[1] != shape[2] or not 0 <= y <= shape[1] - rows.shape[0]):
        raise DataError(f"rows of shape {rows.shape} from {y} on are no part of image {z + 1} of {shape[1:]}")
    return y or 0


def check_densities(path: object, statistics: Statistics, dtype: DTypeLike) -> None:
    """Check that a type of numbers can hold the densities of a volume.

    Parameters
    ----------
    path
        File to be written, for messages.
    statistics
        Statistics of the densities, or for floats of what they became.
    dtype
        Type of the numbers in the file.

    Raises
    ------
    DataError
        If there are densities that it does not hold.
    """
    kind = np.dtype(dtype)
    low, high, mean, deviation = statistics.summary()
    if kind.kind in "iu" and not np.isfinite([low, high, mean, deviation]).all():
        raise DataError(f"{path}: some densities are no finite numbers, which {kind} does not hold; use float32")
    if kind == np.float16:
        limits = np.finfo(np.float16)
        if max(abs(low), abs(high)) > float(limits.max):
            raise DataError(f"{path}: some densities exceed {limits.max:g}, the end of float16; use float32 or int16")
        if 0 < deviation < float(limits.tiny):
            warnings.warn(
                f"{path}: the densities differ by {deviation:.1g} only, where float16 has few digits; "
                f"float32 or int16 keep more",
                stacklevel=3,
            )
