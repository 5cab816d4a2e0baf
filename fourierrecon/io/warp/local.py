"""The local alignment of Warp and M: movements in the images, and deformations of the volume.

As facts (:mod:`fourierrecon.io.warp.alignment` has the rest): with the volume of ``v`` Å and the image of ``s`` Å, a
point ``X`` (Å from the volume's corner) moves by ``w = (GridVolumeWarpX, Y, Z)`` at ``(X / v, t)``, before it is
projected; ``t`` is the exposure before the image, 0 for the least and 1 for the largest of the tilt series, excluded
tilts among them. Its projection ``u`` (Å) then moves by minus ``(GridMovementX, GridMovementY)`` at ``(u / s, f / (n
- 1))`` for tilt ``f`` of ``n``. ``GridAngleX/Y/Z`` turn particles and move nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourierrecon.geometry.displacement import DisplacementField, Points
from fourierrecon.io.warp.grids import WarpGrid


@dataclass(frozen=True, eq=False)
class WarpField(DisplacementField):
    """Movements in the images and deformations of the volume.

    Parameters
    ----------
    movements
        Grids of x and y, Å; None: none.
    warps
        Grids of x, y and z, Å; None: none.
    projections
        ``(n_tilts, 4, 4)``.
    pixel_size
        Å.
    image_size
        ``(width, height)``, px.
    stretch
        What the images are stretched by along x and y.
    corner, volume
        World point of the volume's corner, px, and its size, px; ``(x, y, z)``.
    places
        Of each tilt its place among all, and its exposure, as parts, ``(n_tilts, 2)``.
    """

    movements: tuple[WarpGrid, WarpGrid] | None
    warps: tuple[WarpGrid, WarpGrid, WarpGrid] | None
    projections: NDArray[np.float64]
    pixel_size: float
    image_size: tuple[int, int]
    stretch: NDArray[np.float64]
    corner: NDArray[np.float64]
    volume: NDArray[np.float64]
    places: NDArray[np.float64]

    @property
    def words(self) -> str:  # type: ignore[override]
        """What it is, for the user."""
        parts = []
        if self.movements is not None:
            parts.append(f"movements of {_size(self.movements[0], 2)} nodes in the images")
        if self.warps is not None:
            parts.append(f"deformation of {_size(self.warps[0], 3)} nodes in the volume")
        return f"Warp's {' and '.join(parts)}"

    def at(self, tilt: int, points: Points) -> Points:
        """Give the displacements, see :class:`DisplacementField`."""
        matrix, (number, exposure) = self.projections[tilt], self.places[tilt]
        moved = np.zeros((len(points), 2))
        ones = np.ones((len(points), 1))
        if self.warps is not None:
            at = np.concatenate([(points - self.corner) / self.volume, exposure * ones], 1)
            warp = np.stack([grid.at(at) for grid in self.warps], 1) / self.pixel_size
            moved = warp @ matrix[:2, :3].T
        if self.movements is not None:
            pixels = points @ matrix[:2, :3].T + matrix[:2, 3] + moved
            at = np.concatenate([pixels / self.image_size, number * ones, 0 * ones], 1)
            moved = moved - np.stack([g.at(at) for g in self.movements], 1) / self.pixel_size * self.stretch
        return moved


def _size(grid: WarpGrid, axes: int) -> str:
    return " x ".join(str(n) for n in grid.values.shape[: -axes - 1 : -1])
