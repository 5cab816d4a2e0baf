"""The local alignment of AreTomo 2 and 3: shifts of patches, tilt by tilt.

As facts (AreTomo2 and 3, the correction of images by patches): with the global alignment ``u = p + (TX, TY) + size /
2`` of a raw image, the point ``p`` (px from the middle) lies ``s(p)`` further on, the mean of the shifts of all good
patches of that image with the weights ``exp(-100 ((p_x - c_x)² / width² + (p_y - c_y)² / height²))``, ``c`` the
centre of a patch. Nothing depends on the depth. Rows count the aligned images from 0, in the order of the table above
them. AreTomo 1 writes the same table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.geometry.displacement import DisplacementField, Points, project
from fourierrecon.text import counted

#: Patches with a lower mark are left out.
GOOD = 0.9
#: How fast the weights fall, over squares of parts of the image.
FALL = 100.0


@dataclass(frozen=True, eq=False)
class PatchField(DisplacementField):
    """Shifts of patches.

    Parameters
    ----------
    centres, shifts
        Of each image those of its good patches, ``(n, 2)``, px; centres from ``origins``.
    origins
        Pixel that the centres count from, ``(n_tilts, 2)``.
    size
        ``(width, height)`` of the images, px.
    projections
        ``(n_tilts, 4, 4)``.
    words
        What it is, for the user.
    """

    centres: tuple[Points, ...]
    shifts: tuple[Points, ...]
    origins: Points
    size: tuple[int, int]
    projections: NDArray[np.float64]
    words: str

    def at(self, tilt: int, points: Points) -> Points:
        """Give the displacements, see :class:`DisplacementField`."""
        centres, shifts = self.centres[tilt], self.shifts[tilt]
        if len(centres) == 0:
            return np.zeros((len(points), 2))
        pixels = project(self.projections[tilt], points) - self.origins[tilt]
        away = (pixels[:, None] - centres) / np.array(self.size, float)
        squared = FALL * (away**2).sum(-1)
        # far from all patches every weight would be 0
        weights = np.exp(squared.min(1, keepdims=True) - squared)
        return np.asarray(weights @ shifts / weights.sum(1, keepdims=True))


def read_patches(
    path: object,
    alignment: Any,
    order: NDArray[np.intp],
    size: tuple[int, int],
    shifts: Points,
    projections: NDArray[np.float64],
) -> DisplacementField | None:
    """Give the shifts of the patches of an ``.aln``; None if there are none, or all are 0.

    Parameters
    ----------
    path
        File, for messages.
    alignment
        What it holds.
    order
        Rows of the global alignments, in the order of the images.
    size
        ``(width, height)`` of the images, px.
    shifts
        ``(TX, TY)`` of the images, px.
    projections
        ``(n_tilts, 4, 4)``.

    Raises
    ------
    DataError
        If a row names an image that there is not, or an image has not a row for each patch.
    """
    n = len(order)
    rows: list[list[Any]] = [[] for _ in range(n)]
    counts = np.zeros(n, int)
    for row in alignment.LocalAlignments:
        if not 0 <= row.sec_idx < n:
            raise DataError(
                f"{path}, Local Alignment: image {row.sec_idx}, but {n} images are aligned (from 0); "
                f"was the file edited?"
            )
        counts[row.sec_idx] += 1
        if row.is_reliable >= GOOD:
            rows[row.sec_idx].append(row)
    patches = int(alignment.NumPatches)
    if counts.any() and (counts != patches).any():
        image = int(np.argmax(counts != patches))
        raise DataError(
            f"{path}, Local Alignment: {counted(counts[image], 'row')} for image {image}, but NumPatches is {patches}; "
            "was the file cut short or edited?"
        )
    chosen = [rows[i] for i in order]
    centres = tuple(np.array([(r.center_x, r.center_y) for r in part], float).reshape(-1, 2) for part in chosen)
    moved = tuple(np.array([(r.shift_x, r.shift_y) for r in part], float).reshape(-1, 2) for part in chosen)
    if not any(s.any() for s in moved):
        return None
    words = f"AreTomo's local alignment ({counted(alignment.NumPatches, 'patch', 'patches')})"
    return PatchField(centres, moved, shifts + np.array(size) / 2, size, projections, words)
