"""Images of a tilt series by number: what every stack offers, those in files, and selections of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


class ImageStack(Protocol):
    """Images by number: an array, or a reader that loads one image at a time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n_tilts, height, width)``."""
        ...

    def __getitem__(self, index: int, /) -> NDArray[np.generic]:
        """Give image ``index``, ``(height, width)``."""
        ...


class ImageFile(Protocol):
    """One file of images."""

    @property
    def path(self) -> Path:
        """Where it lies."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels as stored, in the byte order of this machine."""
        ...

    @property
    def pixel_size(self) -> float:
        """Pixel size by the file's header, Å; 0 where the header does not know it."""
        ...


@runtime_checkable
class ImagesInFiles(ImageStack, Protocol):
    """Images that lie in files; ``isinstance`` tells them from arrays."""

    @property
    def sections(self) -> Sequence[tuple[Path, int]]:
        """File of each image, and its 0-based number there."""
        ...

    @property
    def places(self) -> Sequence[tuple[Path, int]] | None:
        """The sections, or None where other programs would not read these images there (turned rows, TIFF)."""
        ...

    @property
    def stacks(self) -> Sequence[ImageFile]:
        """The files that hold the images, each once."""
        ...

    @property
    def column(self) -> str:
        """Column of a STAR file that names the images; empty where that is the usual one."""
        ...


def chosen_images(images: ImageStack, tilts: Sequence[int]) -> ImageStack:
    """Give some images of a stack, by 0-based number; images in files stay there until they are used."""
    index = np.asarray(tilts, int)
    return _FileSelection(images, index) if isinstance(images, ImagesInFiles) else _Selection(images, index)


def root_of(images: ImageStack) -> ImageStack:
    """Give the stack that a selection, or a selection of one, is taken from; others come back."""
    return root_of(images.images) if isinstance(images, _Selection) else images


def source_of(images: ImageStack, i: int) -> tuple[int, int]:
    """Tell images apart: the same for image ``i`` of two stacks if one is a selection of the other."""
    if isinstance(images, _Selection):
        return source_of(images.images, int(images.index[i]))
    return id(images), i


@dataclass(frozen=True, eq=False)
class _Selection:
    """Some images of a stack, in a given order."""

    images: ImageStack
    index: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.index), *self.images.shape[1:])

    def __getitem__(self, i: int, /) -> NDArray[np.generic]:
        return self.images[int(self.index[i])]


@dataclass(frozen=True, eq=False)
class _FileSelection(_Selection):
    """Some images of a stack in files; an :class:`ImagesInFiles` itself."""

    images: ImagesInFiles

    @property
    def sections(self) -> list[tuple[Path, int]]:
        return [self.images.sections[int(i)] for i in self.index]

    @property
    def places(self) -> list[tuple[Path, int]] | None:
        places = self.images.places
        return None if places is None else [places[int(i)] for i in self.index]

    @property
    def stacks(self) -> Sequence[ImageFile]:
        return self.images.stacks

    @property
    def column(self) -> str:
        return self.images.column
