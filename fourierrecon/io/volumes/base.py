"""What volumes in files have in common, whatever the format: facts, and blocks that are read as they are needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fourierrecon.io.stacks.mrc import LEAST_SPACING, MOST_SPACING
from fourierrecon.io.volumes.quantise import Scale
from fourierrecon.runtime.memory import check_memory
from fourierrecon.text import counted
from fourierrecon.volume import Volume


class SectionWriter(Protocol):
    """Takes section ``z``, ``(y, x)``, or only its rows from ``y`` on; in any order and from any thread.

    It is a :data:`fourierrecon.volume.SlabWriter` that takes parts of sections too.
    """

    def __call__(self, z: int, rows: NDArray[Any], y: int | None = None, /) -> None:
        """Write the rows; the array is only lent for the call."""


class VolumeFile(ABC):
    """A volume in a file.

    Parameters
    ----------
    path
        File or folder.
    shape
        ``(z, y, x)``.
    dtype
        Type of the stored numbers.
    voxel_size, origin
        Å, 0 where it is unknown; the world position ``(x, y, z)`` of the first voxel.
    spacing
        Å along x, y and z, as the file has it: not finite, absurd or of several sizes where the voxel size is unknown.
    label
        Lines on how it was made.
    scale
        Densities that the stored numbers stand for.
    tile
        Sections and rows that are best read at a time.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    voxel_size: float
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    label: str
    scale: Scale
    tile: tuple[int, int]

    @abstractmethod
    def stored(self, z: slice, y: slice) -> NDArray[Any]:
        """Read a block ``(z, y, x)`` of numbers as they are stored, all columns of it; the slices have both ends."""

    def block(self, z: slice, y: slice) -> NDArray[np.float32]:
        """Read a block ``(z, y, x)`` of densities, all columns of it; the slices have both ends."""
        return self.scale.to_values(self.stored(z, y))

    def __getitem__(self, z: int, /) -> NDArray[np.float32]:
        """Read section ``z`` (0-based), ``(y, x)``."""
        number = z + self.shape[0] if z < 0 else z
        if not 0 <= number < self.shape[0]:
            raise IndexError(f"{self.path} has {counted(self.shape[0], 'section')}; there is no section {z}")
        section: NDArray[np.float32] = self.block(slice(number, number + 1), slice(0, self.shape[1]))[0]
        return section

    def tiles(self) -> list[tuple[slice, slice]]:
        """Give the blocks, as slices of sections and rows, that together are the volume."""
        (depth, height, _), (deep, high) = self.shape, self.tile
        return [
            (slice(z, min(z + deep, depth)), slice(y, min(y + high, height)))
            for z in range(0, depth, deep)
            for y in range(0, height, high)
        ]

    @property
    def uneven(self) -> str:
        """The distances of voxels where they are known but no cubes, ``1 x 1 x 2 Å``; else empty."""
        sound = all(LEAST_SPACING < side < MOST_SPACING for side in self.spacing)
        return " x ".join(f"{side:g}" for side in self.spacing) + " Å" if sound and not self.voxel_size else ""

    @property
    def size_words(self) -> str:
        """The voxel size for people: ``10 Å``, or that it is unknown, and what the file has instead."""
        if self.voxel_size:
            return f"{self.voxel_size:g} Å"
        if self.uneven:
            return f"unknown size (no cubes: {self.uneven})"
        said = " x ".join(f"{side:g}" for side in self.spacing)
        return f"unknown size (the file says {said} Å)" if any(self.spacing) else "unknown size"

    def read(self) -> Volume:
        """Read all of it.

        Raises
        ------
        DataError
            If it cannot be read, or there is too little memory.
        """
        check_memory(self.path, 4 * prod(self.shape), "all of it")
        data = np.empty(self.shape, np.float32)
        for z, y in self.tiles():
            data[z, y] = self.block(z, y)
        return Volume(data, self.voxel_size, self.origin, self.label)
