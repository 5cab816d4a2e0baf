"""Projection matrices from angles and shifts, and the tilt angles that matrices have."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def rotation(axis: str, degrees: ArrayLike) -> NDArray[np.float64]:
    """Rotation about one axis, right-handed, for column vectors, ``(..., 3, 3)``.

    Parameters
    ----------
    axis
        ``x``, ``y`` or ``z``.
    degrees
        Angle, any shape.
    """
    # takes 0.2 s to load, and sets of RELION 4 need no rotations
    from scipy.spatial.transform import Rotation

    angles = np.asarray(degrees, float)
    matrices = Rotation.from_euler(axis, angles.reshape(-1, 1), degrees=True).as_matrix()
    return np.asarray(matrices.reshape(*angles.shape, 3, 3), np.float64)


def projection_matrices(
    image_shape: tuple[int, int],
    rotation_centre: tuple[float, float, float],
    tilt_angles: ArrayLike,
    tilt_axis_angle: ArrayLike = 0.0,
    x_tilt: ArrayLike = 0.0,
    shifts: ArrayLike = 0.0,
    magnification: ArrayLike = 1.0,
) -> NDArray[np.float64]:
    """Projection matrices from angles and shifts, in the manner of RELION 5, ``(n_tilts, 4, 4)``.

    ``P = T(shift) T(image centre) Rz(tilt axis) Ry(tilt) Rx(x tilt) T(-rotation centre)``; the image centre is
    pixel ``(int(width / 2), int(height / 2))``.

    Parameters
    ----------
    image_shape
        ``(height, width)``, px.
    rotation_centre
        ``(x, y, z)`` in the world.
    tilt_angles, tilt_axis_angle, x_tilt
        Degrees, ``(n_tilts,)`` or one value (``rlnTomoYTilt``, ``rlnTomoZRot``, ``rlnTomoXTilt``).
    shifts
        Image shifts ``(x, y)`` in px, ``(n_tilts, 2)``.
    magnification
        Magnification of each image, ``(n_tilts,)`` or one value.
    """
    tilts = np.atleast_1d(np.asarray(tilt_angles, float))
    n = len(tilts)

    def each(value: ArrayLike) -> NDArray[np.float64]:
        return np.broadcast_to(np.asarray(value, float), n)

    turn = rotation("z", each(tilt_axis_angle)) @ rotation("y", tilts) @ rotation("x", each(x_tilt))
    matrices = np.zeros((n, 4, 4))
    matrices[:, :3, :3] = each(magnification)[:, None, None] * turn
    matrices[:, :3, 3] = -matrices[:, :3, :3] @ np.asarray(rotation_centre, float)
    matrices[:, 0, 3] += image_shape[1] // 2
    matrices[:, 1, 3] += image_shape[0] // 2
    matrices[:, :2, 3] += np.broadcast_to(np.asarray(shifts, float), (n, 2))
    matrices[:, 3, 3] = 1.0
    return matrices


def tilt_angles_of(projections: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tilt angles that projection matrices have, degrees in (-180, 180], ``(n_tilts,)``.

    The beams of a tilt series lie in the plane perpendicular to the tilt axis; the angles count in it from the place
    next to z. With ``P = Rz Ry(tilt) Rx(x tilt)`` and one x tilt for all, these are the tilts, whatever the x tilt.
    Nothing tells the sign: the axis points to larger y, or to smaller x where it lies nearer to x.

    Parameters
    ----------
    projections
        ``(n_tilts, 4, 4)``.
    """
    beams = np.cross(projections[:, 0, :3], projections[:, 1, :3])
    beams /= np.linalg.norm(beams, axis=1, keepdims=True)
    # an image seen from behind has the same beam
    beams *= -1 if beams[np.argmax(np.abs(beams[:, 2])), 2] < 0 else 1
    _, spread, directions = np.linalg.svd(beams)
    axis, told = directions[2], len(beams) > 1 and spread[1] > 0.02 * np.sqrt(len(beams))
    if len(beams) > 2:
        told = told and spread[2] < spread[1] / 3
    if not told or abs(axis[2]) > 0.9:
        # beams close together, or in all directions, do not define the axis: take x or y, about which they turn most
        steep = np.abs(beams[:, :2]).sum(0)
        sines = -beams[:, 0] if steep[0] >= steep[1] else -beams[:, 1]
        return np.asarray(np.degrees(np.arcsin(np.clip(sines, -1, 1))))
    axis = axis * (np.sign(axis[1]) if abs(axis[1]) >= abs(axis[0]) else -np.sign(axis[0]))
    zero = np.array([0.0, 0.0, 1.0]) - axis[2] * axis
    return np.asarray(np.degrees(np.arctan2(beams @ np.cross(zero, axis), beams @ zero)))
