"""Where places of a tomogram lie in its images, and which images hold the box around them. No image is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fourierrecon.geometry.displacement import positions_in
from fourierrecon.tilt_series import TiltSeries


def projected(series: TiltSeries, point: NDArray[np.float64], *, local: bool = True) -> NDArray[np.float64]:
    """Give the pixels of a world point in all images, ``(n_tilts, 2)``, unbinned px.

    Parameters
    ----------
    series
        The tilt series.
    point
        ``(x, y, z)``, unbinned px.
    local
        Apply the local alignment, where there is one.
    """
    own = series if local else replace(series, local=None)
    return positions_in(own, np.asarray(point, float)[None])[:, 0]


def visible(series: TiltSeries, point: NDArray[np.float64], side: float, *, local: bool = True) -> NDArray[np.bool_]:
    """Tell which images hold the whole box around a world point, ``(n_tilts,)``.

    Parameters
    ----------
    series, point, local
        As for :func:`projected`.
    side
        Side of the box, unbinned px.
    """
    pixels = projected(series, point, local=local)
    last = np.array(series.image_shape[::-1]) - 1
    return np.asarray(((pixels >= side / 2) & (pixels <= last - side / 2)).all(axis=-1))
