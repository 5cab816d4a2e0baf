"""Stacks of images opened by what they are, and images of several files as one series."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.io.stacks.mrc import HDF_MARK, TIFF_MARKS, MrcStack

if TYPE_CHECKING:
    from fourierrecon.io.stacks.tiff import TiffStack

#: Images of one file.
Stack: TypeAlias = "MrcStack | TiffStack"


class FileImages:
    """Images from several files: one file an image, or some images of stacks, in any order.

    Parameters
    ----------
    sources
        File of each image, MRC or TIFF, and its 0-based number there (None: the file holds just one image).
    as_imod
        As for :func:`open_stack`.

    Raises
    ------
    DataError
        If a file cannot be read, has no such image, or its images are of another size.
    """

    #: Column of a set that names them, for messages, where that is not the usual one.
    column = ""

    def __init__(self, sources: Sequence[tuple[str | os.PathLike[str], int | None]], *, as_imod: bool = False) -> None:
        if not sources:
            raise DataError("a tilt series needs at least one image")
        paths = dict.fromkeys(Path(p).absolute() for p, _ in sources)
        stacks: dict[Path, Stack] = {path: open_stack(path, as_imod=as_imod) for path in paths}
        self._images: list[tuple[Stack, int]] = []
        for path, number in sources:
            stack = stacks[Path(path).absolute()]
            if number is None and len(stack) != 1:
                raise DataError(f"{path} holds {len(stack)} images; say which as N@{Path(path).name}, N from 1")
            if number is not None and not 0 <= number < len(stack):
                raise DataError(
                    f"image {number + 1} of {path} asked for, but it holds {len(stack)}; numbers start at 1"
                )
            self._images.append((stack, number or 0))
        first = self._images[0][0]
        for stack in stacks.values():
            if stack.shape[1:] != first.shape[1:]:
                size, other = (f"{s.shape[2]} x {s.shape[1]} px" for s in (stack, first))
                raise DataError(
                    f"{stack.path} has {size}, but {first.path} has {other}; all images must be of one size"
                )

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(n_images, height, width)``."""
        return (len(self._images), *self._images[0][0].shape[1:])

    @property
    def places(self) -> list[tuple[Path, int]] | None:
        """File of each image, and its 0-based number there; None where an image is turned over in reading."""
        if any(stack.places is None for stack in self.stacks):
            return None
        return self.sections

    @property
    def sections(self) -> list[tuple[Path, int]]:
        """File of each image, and its 0-based number there, however it is read."""
        return [(stack.path, number) for stack, number in self._images]

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """The files that hold the images, each once."""
        return tuple(dict.fromkeys(stack for stack, _ in self._images))

    def __getitem__(self, index: int, /) -> NDArray[Any]:
        """Read image ``index`` (0-based) from disk, ``(height, width)``."""
        stack, number = self._images[index]
        return stack[number]


def open_stack(path: str | os.PathLike[str], *, as_imod: bool = False) -> Stack:
    """Open a file of images, MRC or TIFF; its first bytes tell which, whatever its name.

    Parameters
    ----------
    path
        MRC stack, TIFF with one or many pages.
    as_imod
        Turn the images of FEI1 files upside down, as IMOD does: its alignments hold for these.

    Raises
    ------
    DataError
        If the file is missing or cannot be used; or tifffile is not installed.
    """
    try:
        with open(path, "rb") as file:
            mark = file.read(4)
    except (OSError, ValueError):
        mark = b""  # the reader below reports what is wrong
    if mark in TIFF_MARKS:
        from fourierrecon.io.stacks.tiff import TiffStack

        return TiffStack(path)
    if mark == HDF_MARK:
        raise DataError(f"{path} is an HDF5 file; images must be MRC or TIFF (EMAN2: e2proc2d.py A.hdf A.mrcs)")
    return MrcStack(path, as_imod=as_imod)
