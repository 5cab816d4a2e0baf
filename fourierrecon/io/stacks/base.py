"""What image stacks in one file have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from fourierrecon.text import counted


class FileStack:
    """What stacks in one file have in common.

    Parameters
    ----------
    path
        The file.
    shape
        ``(n_images, height, width)``.
    """

    path: Path
    shape: tuple[int, int, int]
    #: As in :class:`fourierrecon.tilt_series.ImagesInFiles`.
    column = ""

    @property
    def sections(self) -> list[tuple[Path, int]]:
        """File of each image, and its 0-based number there, however it is read."""
        return [(self.path, i) for i in range(len(self))]

    @property
    def stacks(self) -> tuple[Self, ...]:
        """The files that hold the images: this one."""
        return (self,)

    def __len__(self) -> int:
        return self.shape[0]

    def _number(self, index: int) -> int:
        """Give the 0-based number of an image; negative ones count from the end."""
        n = len(self)
        number = index + n if index < 0 else index
        if not 0 <= number < n:
            raise IndexError(f"{self.path} holds {counted(n, 'image')}; there is no image {index}")
        return number
