"""Projection matrices from angles and shifts, and what they say of the tilt axis and the rotation centre."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourierrecon.tilt_series import TiltSeries


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


def tilt_axis_angle(projections: NDArray[np.float64], tilt_angles: NDArray[np.float64]) -> float:
    """Angle of the tilt axis from the images' y axis, as ``rlnTomoZRot`` gives it, degrees in (-180, 180].

    Parameters
    ----------
    projections
        ``(n_tilts, 4, 4)``.
    tilt_angles
        Degrees, ``(n_tilts,)``.
    """
    # a step along the world's z moves the image point across the axis by the sine of the tilt
    across, sine = projections[:, :2, 2], np.sin(np.radians(tilt_angles))
    if np.ptp(sine) > 0.02:
        step = (sine - sine.mean()) @ (across - across.mean(0))
    else:
        step = projections[int(np.argmin(np.abs(sine))), :2, 0]
    return float(np.degrees(np.arctan2(step[1], step[0])))


def rotation_centre(series: TiltSeries) -> NDArray[np.float64]:
    """World point that corrections of the alignment turn about: the source's, else the middle of the tomogram.

    Where the tomogram's size is unknown too, the point whose projections lie nearest to all image centres.
    """
    if series.pivot is not None:
        return np.asarray(series.pivot, float)
    if series.middle is not None:
        return np.asarray(series.middle, float)
    if series.rotation_centre is None and series.size is not None:
        return series.world_origin + (np.asarray(series.size, float) - 1) / 2
    return image_centre(series)


def image_centre(series: TiltSeries) -> NDArray[np.float64]:
    """Give the rotation centre of the source, or the world point whose projections lie nearest to all image centres."""
    if series.rotation_centre is not None:
        return np.asarray(series.rotation_centre, float)
    height, width = series.image_shape
    a, t = series.projections[:, :2, :3], series.projections[:, :2, 3]
    middle = np.array([width // 2, height // 2], float)
    return np.asarray(np.linalg.lstsq(a.reshape(-1, 3), (middle - t).reshape(-1), rcond=None)[0], np.float64)
