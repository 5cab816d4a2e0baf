"""Where places of a tomogram lie in its images, and which images hold the box around them. No image is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fourierrecon.geometry.displacement import positions_in
from fourierrecon.tilt_series import TiltSeries


def projected(series: TiltSeries, points: NDArray[np.float64], *, local: bool = True) -> NDArray[np.float64]:
    """Give the pixels of world points in all images, ``(n_points, n_tilts, 2)``, unbinned px.

    Parameters
    ----------
    series
        The tilt series.
    points
        ``(n_points, 3)``, unbinned px.
    local
        Apply the local alignment, where there is one.
    """
    own = series if local else replace(series, local=None)
    return positions_in(own, np.asarray(points, float)).swapaxes(0, 1)


def holds(series: TiltSeries, pixels: NDArray[np.float64], side: float) -> NDArray[np.bool_]:
    """Tell which images hold the whole box around their pixels.

    Parameters
    ----------
    series
        The tilt series.
    pixels
        As from :func:`projected`, ``(..., n_tilts, 2)``.
    side
        Side of the box, unbinned px.

    Returns
    -------
    held
        ``(..., n_tilts)``.
    """
    last = np.array(series.image_shape[::-1]) - 1
    return np.asarray(((pixels >= side / 2) & (pixels <= last - side / 2)).all(axis=-1))
