"""Makes soft masks: boxes that fade out towards their faces, and soft borders of binary masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourierrecon.errors import UsageError


def soft_box(shape: tuple[int, int, int], falloff: float | tuple[float, float, float]) -> NDArray[np.float32]:
    """Make a mask that fades out towards the faces of a volume by a raised cosine, ``(z, y, x)``.

    Parameters
    ----------
    shape
        ``(z, y, x)`` voxels.
    falloff
        Distance over which it fades, voxels, one or ``(z, y, x)``; the outermost voxel lies half a voxel inside.
    """
    widths = np.broadcast_to(np.asarray(falloff, float), 3)
    mask = np.ones(shape, np.float32)
    for axis, (n, width) in enumerate(zip(shape, widths, strict=True)):
        inside = np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5
        ramp = 0.5 - 0.5 * np.cos(np.pi * np.clip(inside / max(width, 1e-6), 0, 1))
        mask *= np.expand_dims(ramp, tuple({0, 1, 2} - {axis})).astype(np.float32)
    return mask


def soften(mask: ArrayLike, falloff: float) -> NDArray[np.float32]:
    """Give a binary mask a soft border: outside it falls to 0 by a raised cosine, ``(z, y, x)``.

    Parameters
    ----------
    mask
        ``(z, y, x)``; above 0.5 is inside.
    falloff
        Distance over which it falls, voxels.

    Raises
    ------
    UsageError
        If nothing is inside.
    """
    from scipy.ndimage import distance_transform_edt

    inside = np.asarray(mask) > 0.5
    if not inside.any():
        raise UsageError("the mask is empty: no voxel above 0.5")
    distance = np.asarray(distance_transform_edt(~inside))
    return (0.5 + 0.5 * np.cos(np.pi * np.clip(distance / (falloff + 1), 0, 1))).astype(np.float32)
