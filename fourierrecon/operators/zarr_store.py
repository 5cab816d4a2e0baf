"""A virtual tomogram as a store of Zarr: an OME-Zarr 0.5 image of one level, whose chunks are computed when read."""

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
#: Name of the one level.
LEVEL = "0"


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
        depth, height, width = tomogram.shape
        self._tomogram = tomogram
        self._chunk = min(tomogram.chunk, depth), min(SIDE, height), min(SIDE, width)
        described = MemoryStore()
        group = zarr.create_group(described, attributes={"ome": _ome(tomogram)})
        group.create_array(LEVEL, shape=tomogram.shape, chunks=self._chunk, dtype="float32", compressors=None)
        super().__init__(described._store_dict, read_only=True)

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Give metadata, or compute a chunk."""
        chunk = self._number(key)
        if chunk is None:
            return await super().get(key, prototype, byte_range)
        data = (await asyncio.to_thread(self._read, chunk)).tobytes()
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
        for chunk in product(*map(range, self._counts)):
            yield f"{LEVEL}/c/" + "/".join(map(str, chunk))

    @property
    def _counts(self) -> tuple[int, ...]:
        return tuple(-(-n // c) for n, c in zip(self._tomogram.shape, self._chunk, strict=True))

    def _number(self, key: str) -> tuple[int, ...] | None:
        """Give the number of the chunk that a key names, or None."""
        head, _, rest = key.partition("/c/")
        numbers = rest.split("/")
        if head != LEVEL or len(numbers) != 3 or not all(n.isdecimal() for n in numbers):
            return None
        chunk = tuple(map(int, numbers))
        return chunk if all(i < n for i, n in zip(chunk, self._counts, strict=True)) else None

    def _read(self, chunk: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.float32]]:
        places = [
            slice(i * c, min((i + 1) * c, n)) for i, c, n in zip(chunk, self._chunk, self._tomogram.shape, strict=True)
        ]
        # chunks at the far faces are as large as all others
        data = np.zeros(self._chunk, "<f4")
        part = self._tomogram.box(*places)
        data[tuple(slice(n) for n in part.shape)] = part
        return data


def _ome(tomogram: VirtualTomogram) -> dict[str, Any]:
    transforms = [
        {"type": "scale", "scale": [float(tomogram.voxel_size)] * 3},
        {"type": "translation", "translation": [float(c) for c in tomogram.origin[::-1]]},
    ]
    axes = [{"name": name, "type": "space", "unit": "angstrom"} for name in "zyx"]
    level = {"path": LEVEL, "coordinateTransformations": transforms}
    return {"version": "0.5", "multiscales": [{"name": tomogram.path.stem, "axes": axes, "datasets": [level]}]}
