"""Projection matrices from angles and shifts, and what they say of the tilt axis and the rotation centre."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fourierrecon.tilt_series import TiltSeries
from fourierrecon.tilt_series.matrices import projection_matrices, rotation

__all__ = ["image_centre", "projection_matrices", "rotation", "rotation_centre", "tilt_axis_angle"]


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
