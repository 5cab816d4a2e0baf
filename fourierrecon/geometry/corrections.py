"""Corrections to an alignment that turn, shift or mirror the specimen: tilt angle offset, x tilt, z shift, hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import UsageError
from fourierrecon.geometry.projection import rotation_centre
from fourierrecon.text import short_repr
from fourierrecon.tilt_series import USUAL_HAND, TiltSeries


@dataclass(frozen=True, repr=False)
class AlignmentCorrections:
    """Corrections to an alignment, about the rotation centre
    (:func:`~fourierrecon.geometry.projection.rotation_centre`).

    Parameters
    ----------
    tilt_angle
        Added to every tilt angle, degrees: as the first value of IMOD's ``OFFSET``.
    x_tilt
        Turn about the axis of the specimen plane that is perpendicular to the tilt axis, degrees, left-handed about
        world x where the tilt axis is y: as IMOD's ``XAXISTILT``. It acts on the specimen before the tilt.
    z_shift
        Shift of what is in the tomogram towards smaller z, bin-1 px: as the second value of IMOD's ``SHIFT``,
        which counts in the slices of the program tilt, upside down to the final tomogram.
    flip_hand
        Take every tilt angle with the other sign: the tomogram is mirrored, z for -z about the rotation centre. Images
        cannot tell which of the two is right. The defocus of each image stays as it is, so it grows with the depth the
        other way: the hand (``rlnTomoHand``) is turned, too.
    local
        Keep the local alignment, if the series has one.
    """

    tilt_angle: float = 0.0
    x_tilt: float = 0.0
    z_shift: float = 0.0
    flip_hand: bool = False
    local: bool = True

    __repr__ = short_repr

    def __post_init__(self) -> None:
        if not np.isfinite([self.tilt_angle, self.x_tilt, self.z_shift]).all():
            raise UsageError("tilt_angle=..., x_tilt=... and z_shift=... must be finite numbers")
        if abs(self.tilt_angle) > 180 or abs(self.x_tilt) > 60:
            raise UsageError("tilt_angle=... must be -180 to 180 degrees, x_tilt=... -60 to 60")

    def __str__(self) -> str:
        parts = [
            f"tilt angles {self.tilt_angle:+g}°" if self.tilt_angle else "",
            f"x tilt {self.x_tilt:+g}°" if self.x_tilt else "",
            f"z shift {self.z_shift:+g} px" if self.z_shift else "",
            "hand flipped (tilt angles with the other sign)" if self.flip_hand else "",
        ]
        return ", ".join(filter(None, parts))

    def apply(self, series: TiltSeries, reference: TiltSeries | None = None) -> TiltSeries:
        """Give the tilt series with these corrections; its ``coordinate_frame`` reports them.

        Parameters
        ----------
        series
            The tilt series.
        reference
            Series whose tilt axis and rotation centre count: the same with fewer images.
        """
        if not self.local and series.local is not None:
            series = replace(
                series, local=None, coordinate_frame=f"{series.coordinate_frame}; local alignment left out"
            )
        text = str(self)
        if not text:
            return series
        angles = series.tilt_angles + self.tilt_angle
        if self.flip_hand:
            # angles are corrected first, then change their signs
            angles = -angles
        x, y, z = series.pivot or (0.0, 0.0, 0.0)
        to_old = self.motion(reference or series)
        projections = series.projections @ to_old
        if self.flip_hand:
            projections[:, 2] *= -1  # the depth goes with the images' x and y again: the matrices are rotations
        return replace(
            series,
            projections=projections,
            local=None if series.local is None else series.local.moved(to_old),
            tilt_angles=angles,
            pivot=(x, y, z - self.z_shift) if series.pivot else None,
            hand=-(series.hand or USUAL_HAND) if self.flip_hand else series.hand,
            hand_assumed=series.hand_assumed or (self.flip_hand and series.hand is None),
            coordinate_frame=f"{series.coordinate_frame}; {text}",
        )

    def motion(self, series: TiltSeries) -> NDArray[np.float64]:
        """Give the matrix ``(4, 4)`` from the world after the corrections to the world of a tilt series before them."""
        centre = rotation_centre(series)
        turn = np.eye(4)
        if self.flip_hand:
            turn[2, 2] = -1
        axis = tilt_axis(series)
        across = np.cross(axis, [0.0, 0.0, 1.0])
        turn[:3, :3] = _about(axis, self.tilt_angle) @ _about(across, -self.x_tilt) @ turn[:3, :3]
        moved, back = np.eye(4), np.eye(4)
        moved[:3, 3] = centre
        back[:3, 3] = -centre
        back[2, 3] += self.z_shift
        return moved @ turn @ back


def levelling(series: TiltSeries, normal: NDArray[np.float64]) -> AlignmentCorrections:
    """Give the turns that bring the normal of a slab to z: a tilt angle offset and an x tilt.

    The x tilt ``x`` turns z to ``v = cos(x) z + sin(x) h`` with the horizontal direction ``h`` of the axis ``a``; the
    offset turns that about the axis, so ``v . a = n . a`` gives the one and the angle between both the other.

    Parameters
    ----------
    series
        Tilt series, for its axis.
    normal
        Direction in its world, any length.
    """
    axis = tilt_axis(series)
    along = np.array([axis[0], axis[1], 0.0]) / np.hypot(axis[0], axis[1])
    n = normal * np.sign(normal[2]) / np.linalg.norm(normal)
    x = np.arcsin(np.clip(n @ axis, -1, 1)) - np.arcsin(np.clip(axis[2], -1, 1))
    v = np.array([0.0, 0.0, np.cos(x)]) + np.sin(x) * along
    turn = np.arctan2(axis @ np.cross(v, n), v @ n - (v @ axis) * (n @ axis))
    return AlignmentCorrections(tilt_angle=float(np.degrees(turn)), x_tilt=float(np.degrees(x)))


def tilt_axis(series: TiltSeries) -> NDArray[np.float64]:
    """Direction of the tilt axis in the world: a right-handed turn of the specimen about it adds to the tilt angles."""
    rows = series.projections[:, :2, :3]
    beams = np.cross(rows[:, 0], rows[:, 1])
    beams /= np.linalg.norm(beams, axis=1, keepdims=True)
    # a turn of the specimen turns the beams the other way, by less than half a turn from the least to the largest angle
    order = np.argsort(series.tilt_angles)
    across = np.cross(beams[order[1:]], beams[order[:-1]])
    if len(across) == 0 or np.linalg.norm(across.sum(0)) < 1e-3:
        return np.array([0.0, 1.0, 0.0])
    # perpendicular to all beams as well as can be
    axis = np.linalg.svd(beams)[2][2]
    return np.asarray(axis * np.sign(axis @ across.sum(0)))


def _about(axis: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Rotation about an axis of any length, right-handed, for column vectors, ``(3, 3)``."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec(degrees * axis / np.linalg.norm(axis), degrees=True)
    return np.asarray(turn.as_matrix(), np.float64)
