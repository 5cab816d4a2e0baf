"""Scratch files: blocks of numbers on disk, in a file that vanishes with the process, however that ends."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fourierrecon.errors import DataError, raise_shortage


class ScratchFile:
    """A file without a name, of blocks of equal shape; safe to use from several threads.

    Parameters
    ----------
    folder
        Folder of the file. Default: the system's folder for temporary files.
    n_blocks, shape, dtype
        Number, shape and type of the blocks.

    Raises
    ------
    DataError
        If there is too little space, or the folder cannot be written.
    """

    def __init__(self, folder: Path | None, n_blocks: int, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.shape = shape
        self._n_blocks, self._dtype = n_blocks, np.dtype(dtype)
        self._item = self._dtype.itemsize
        self._block_bytes = int(np.prod(shape, dtype=np.int64)) * self._item
        self._folder = Path(tempfile.gettempdir()) if folder is None else folder
        needed = n_blocks * self._block_bytes
        try:
            free = shutil.disk_usage(self._folder).free
            if needed > free:
                raise OSError(errno.ENOSPC, f"{free / 1e9:.3g} GB are left")
            self._file = tempfile.TemporaryFile(dir=self._folder, prefix=".fourierrecon-", buffering=0)  # noqa: SIM115
            try:
                os.posix_fallocate(self._file.fileno(), 0, needed)
            except (AttributeError, OSError) as error:
                # a file system that cannot reserve space is no trouble; a full one is
                if getattr(error, "errno", None) == errno.ENOSPC:
                    self._file.close()
                    raise
        except OSError as error:
            raise self._trouble(error, needed) from error

    def write(self, block: int, at: int, values: NDArray[Any]) -> None:
        """Write contiguous ``values`` into a block, from its item ``at`` on."""
        view = memoryview(values.reshape(-1).view(np.uint8).data)
        offset = block * self._block_bytes + at * self._item
        try:
            while len(view):
                done = os.pwrite(self._file.fileno(), view[: 1 << 30], offset)
                view, offset = view[done:], offset + done
        except OSError as error:
            raise self._trouble(error, len(view)) from error

    def read(self, block: int, at: int, pieces: list[NDArray[Any]]) -> None:
        """Fill contiguous arrays one after the other from a block, from its item ``at`` on."""
        offset = block * self._block_bytes + at * self._item
        views = [memoryview(piece.reshape(-1).view(np.uint8).data) for piece in pieces]
        for start in range(0, len(views), 512):  # a call takes 1024 pieces at the most
            part = views[start : start + 512]
            wanted = sum(len(view) for view in part)
            done = os.preadv(self._file.fileno(), part, offset)
            while done < wanted:  # the system may give less than asked for
                skip = done
                for view in part:
                    if skip < len(view):
                        got = os.preadv(self._file.fileno(), [view[skip:]], offset + done)
                        if got == 0:
                            raise DataError(f"a scratch file in {self._folder} has become shorter; run again")
                        done += got
                        break
                    skip -= len(view)
            offset += wanted

    def mapped(self) -> NDArray[Any]:
        """Map all blocks into memory, read-only, ``(n_blocks, *shape)``: this stays when the file is closed."""
        try:
            return np.memmap(self._file, self._dtype, "r", shape=(self._n_blocks, *self.shape))
        except OSError as error:
            raise self._trouble(error, self._n_blocks * self._block_bytes) from error

    def close(self) -> None:
        """Give the space back."""
        self._file.close()

    def _trouble(self, error: OSError, needed: int) -> DataError:
        raise_shortage(error)
        return DataError(
            f"scratch space of {needed / 1e9:.3g} GB in {self._folder}: {error.strerror or error}; "
            f"choose another folder (scratch=...), allow more memory (memory=...), or use a larger binning=..."
        )
