"""Angles and shifts in place of projection matrices, as RELION 5 takes them: the nearest rotations, and the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourierrecon.geometry.projection import projection_matrices

#: Largest distance that rotations may miss the matrices of a series by, px at the corners of the tomogram.
TOLERANCE = 0.1
#: Magnification that is no measurement: that of matrices which were written with three decimals, as AreTomo's ``.xf``.
ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class Rotations:
    """The rotations nearest to the matrices of a tilt series, with the shifts that keep the rotation centre in place.

    Parameters
    ----------
    tilt, axis, x_tilt
        Degrees, ``(n_tilts,)``: ``P = Rz(axis) Ry(tilt) Rx(x_tilt)``.
    shifts
        Image shifts ``(x, y)``, px, ``(n_tilts, 2)``.
    magnification
        Magnification of each image, ``(n_tilts,)``, which rotations do not have.
    stretch
        Largest difference from 1 of the scale of an image along any direction.
    magnified
        Distance that the magnification moves a corner of the tomogram in an image at the most, px.
    distorted
        The same distance for what is neither rotation nor magnification: stretch, shear.
    """

    tilt: NDArray[np.float64]
    axis: NDArray[np.float64]
    x_tilt: NDArray[np.float64]
    shifts: NDArray[np.float64]
    magnification: NDArray[np.float64]
    stretch: float
    magnified: float
    distorted: float

    @classmethod
    def nearest(
        cls, projections: NDArray[np.float64], image_shape: tuple[int, int], middle: NDArray[np.float64],
        reach: NDArray[np.float64],
    ) -> Rotations:  # fmt: skip
        """Find them: ``U V'`` of the singular value decomposition ``U S V'`` of the first two rows of each matrix.

        Parameters
        ----------
        projections
            ``(n_tilts, 4, 4)``.
        image_shape
            ``(height, width)``, px.
        middle
            World point of the rotation centre, ``(3,)``.
        reach
            Corners of the tomogram from there, ``(3, n_corners)`` px.
        """
        rows = projections[:, :2, :3]
        left, scales, right = np.linalg.svd(rows, full_matrices=False)
        nearest, magnification = left @ right, scales.mean(1)
        tilt, axis, x_tilt = euler_angles(nearest)
        shifts = rows @ middle + projections[:, :2, 3] - np.array([image_shape[1] // 2, image_shape[0] // 2])
        moved = np.linalg.norm((magnification - 1)[:, None, None] * nearest @ reach, axis=1).max()
        rest = np.linalg.norm((rows - magnification[:, None, None] * nearest) @ reach, axis=1).max()
        stretch = float(np.abs(scales - 1).max())
        return cls(tilt, axis, x_tilt, shifts, magnification, stretch, float(moved), float(rest))

    @property
    def fit(self) -> bool:
        """Whether nothing that was measured is lost."""
        return self.distorted <= TOLERANCE and (
            self.magnified <= TOLERANCE or bool((np.abs(self.magnification - 1) <= ROUNDING).all())
        )

    @property
    def rest(self) -> str:
        """What they leave out, in words; empty if that is less than 1e-3 px."""
        parts = []
        if self.magnified > 1e-3:
            low, high = (f"{100 * (m - 1):+.2g} %" for m in (self.magnification.min(), self.magnification.max()))
            range_ = low if low == high else f"{low} to {high}"
            parts.append(f"a magnification of {range_} (up to {self.magnified:.2g} px)")
        if self.distorted > 1e-3:
            parts.append(f"stretch and shear (up to {self.distorted:.2g} px)")
        return " and ".join(parts)


def euler_angles(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Give tilt, tilt axis angle and x tilt of rotations, degrees, ``(n_tilts,)`` each.

    Parameters
    ----------
    rows
        The first two rows of ``Rz(axis) Ry(tilt) Rx(x_tilt)``, ``(n_tilts, 2, 3)``. Its third is
        ``(-sin tilt, cos tilt sin x, cos tilt cos x)``.
    """
    beam = np.cross(rows[:, 0], rows[:, 1])
    tilt = np.arcsin(np.clip(-beam[:, 0], -1, 1))
    x_tilt = np.arctan2(beam[:, 1], beam[:, 2])
    axis = np.arctan2(rows[:, 1, 0], rows[:, 0, 0])
    # edge on, tilt axis and x tilt are the same turn
    edge = np.cos(tilt) < 1e-6
    x_tilt[edge] = 0
    axis[edge] = np.arctan2(-rows[edge, 0, 1], rows[edge, 1, 1])
    # tilts beyond 90 degrees: the x tilt is that of the other images, not turned by 180
    reference = np.cos(x_tilt[np.argmax(np.cos(tilt))])
    beyond = np.cos(x_tilt) * reference < 0
    tilt[beyond] = np.pi - tilt[beyond]
    x_tilt[beyond] += np.pi
    axis[beyond] += np.pi
    turns = (np.degrees(angle) for angle in (tilt, axis, x_tilt))
    tilt, axis, x_tilt = (np.where(np.abs(turn) > 180, turn - 360 * np.sign(turn), turn) for turn in turns)
    return tilt, axis, x_tilt


def miss(
    projections: NDArray[np.float64], image_shape: tuple[int, int],
    angles: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    shifts: NDArray[np.float64], middle: NDArray[np.float64], reach: NDArray[np.float64],
) -> float:  # fmt: skip
    """By how much angles ``(tilt, axis, x_tilt)`` and shifts miss matrices at the corners, px; see above."""
    x, y, z = (float(c) for c in middle)
    made = projection_matrices(image_shape, (x, y, z), *angles, shifts)
    corners = np.vstack([middle[:, None] + reach, np.ones(reach.shape[1])])
    return float(np.abs((made - projections)[:, :2] @ corners).max())
