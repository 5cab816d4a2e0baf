"""A virtual tomogram as a store of Zarr: an OME-Zarr 0.5 image of some levels, whose chunks are computed when read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.storage import MemoryStore

if TYPE_CHECKING:
    from fourierrecon.operators.virtual import VirtualTomogram

#: Side of a chunk along y and x, voxels.
SIDE = 256


class VirtualStore(MemoryStore):  # type: ignore[misc]
    """Metadata in memory, chunks from a virtual tomogram; read only.

    Parameters
    ----------
    tomogram
        The tomogram.

    Examples
    --------
    >>> import zarr  # doctest: +SKIP
    >>> zarr.open_group(tomogram.to_zarr(), mode="r")["0"][10]  # doctest: +SKIP
    """

    def __init__(self, tomogram: VirtualTomogram) -> None:
        self._levels = {str(number): level for number, level in enumerate(tomogram.levels())}
        described = MemoryStore()
        group = zarr.create_group(described, attributes={"ome": _ome(tomogram)})
        for name, level in self._levels.items():
            group.create_array(
                name, shape=level.shape, chunks=_chunk(level), dtype="float32", compressors=None,
                dimension_names=tuple("zyx"),
            )  # fmt: skip
        super().__init__(described._store_dict, read_only=True)

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Give metadata, or compute a chunk."""
        named = self._number(key)
        if named is None:
            return await super().get(key, prototype, byte_range)
        data = (await asyncio.to_thread(_read, *named)).tobytes()
        if isinstance(byte_range, RangeByteRequest):
            data = data[byte_range.start : byte_range.end]
        elif isinstance(byte_range, OffsetByteRequest):
            data = data[byte_range.offset :]
        elif isinstance(byte_range, SuffixByteRequest):
            data = data[-byte_range.suffix :]
        prototype = zarr.core.buffer.default_buffer_prototype() if prototype is None else prototype
        return prototype.buffer.from_bytes(data)

    async def exists(self, key: str) -> bool:
        """Say whether there is such metadata, or such a chunk."""
        return self._number(key) is not None or await super().exists(key)

    async def list(self) -> AsyncIterator[str]:
        """Give all keys."""
        async for key in super().list():
            yield key
        for name, level in self._levels.items():
            for chunk in product(*map(range, _counts(level))):
                yield f"{name}/c/" + "/".join(map(str, chunk))

    def _number(self, key: str) -> tuple[VirtualTomogram, tuple[int, ...]] | None:
        """Give the level and the number of the chunk that a key names, or None."""
        head, _, rest = key.partition("/c/")
        numbers = rest.split("/")
        if head not in self._levels or len(numbers) != 3 or not all(n.isdecimal() for n in numbers):
            return None
        level, chunk = self._levels[head], tuple(map(int, numbers))
        return (level, chunk) if all(i < n for i, n in zip(chunk, _counts(level), strict=True)) else None


def _chunk(level: VirtualTomogram) -> tuple[int, int, int]:
    """Give the shape of the chunks of a level."""
    depth, height, width = level.shape
    return min(level.chunk, depth), min(SIDE, height), min(SIDE, width)


def _counts(level: VirtualTomogram) -> tuple[int, ...]:
    """Give the number of chunks along each axis."""
    return tuple(-(-n // c) for n, c in zip(level.shape, _chunk(level), strict=True))


def _read(level: VirtualTomogram, chunk: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Compute a chunk; those at the far faces are as large as all others."""
    shape = _chunk(level)
    places = [slice(i * c, min((i + 1) * c, n)) for i, c, n in zip(chunk, shape, level.shape, strict=True)]
    data = np.zeros(shape, "<f4")
    part = level.box(*places)
    data[tuple(slice(n) for n in part.shape)] = part
    return data


def _ome(tomogram: VirtualTomogram) -> dict[str, Any]:
    axes = [{"name": name, "type": "space", "unit": "angstrom"} for name in "zyx"]
    levels = [
        {
            "path": str(number),
            "coordinateTransformations": [
                {"type": "scale", "scale": [float(level.voxel_size)] * 3},
                {"type": "translation", "translation": [float(c) for c in level.origin[::-1]]},
            ],
        }
        for number, level in enumerate(tomogram.levels())
    ]
    return {"version": "0.5", "multiscales": [{"name": tomogram.path.stem, "axes": axes, "datasets": levels}]}
