"""Reprojections of a volume into images, and the pixels that one can be compared at. Import late: numba is slow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fourierrecon.geometry.region import Region
from fourierrecon.operators.projector import TomographicProjector
from fourierrecon.tilt_series import TiltSeries


def reproject(
    volume: NDArray[np.float32], matrices: NDArray[np.float64], shape: tuple[int, int], n_threads: int = 1
) -> NDArray[np.float32]:
    """Sum a volume along the beams of some images, ``(n, height, width)``, band-limited as a reconstruction is.

    Parameters
    ----------
    volume
        ``(z, y, x)``.
    matrices
        ``(n, 2, 4)``: voxel ``(x, y, z, 1)`` to pixel ``(u, v)``; a voxel is between half and two pixels wide. At
        least one image must see the volume.
    shape
        ``(height, width)`` of the images, px.
    n_threads
        Number of threads.
    """
    whole = np.tile(np.eye(4), (len(matrices), 1, 1))
    whole[:, :2] = matrices
    depth, height, width = volume.shape
    # geometry alone: the images are never read
    geometry = TiltSeries(np.broadcast_to(np.float32(0), (len(matrices), *shape)), whole, 1.0)
    region = Region((0.0, 0.0, 0.0), (depth, height, width))
    return TomographicProjector(geometry, region, ctf=False, n_threads=n_threads).forward(volume)


def covered(size: tuple[int, int, int], matrix: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Find the pixels whose beam crosses the middle half of a volume's depth inside of it, ``(height, width)``.

    The upper and lower quarter are often empty. If beams had to cross them too, high tilts would have few pixels left.

    Parameters
    ----------
    size
        ``(z, y, x)`` voxels.
    matrix
        ``(2, 4)``: one of those for :func:`reproject`.
    shape
        ``(height, width)``, px.
    """
    depth, height, width = size
    flat = matrix[:, :2]
    if abs(np.linalg.det(flat)) < 1e-3:  # seen along its plane: no beam crosses it
        return np.zeros(shape, bool)
    inverse = np.linalg.inv(flat)
    v, u = np.mgrid[: shape[0], : shape[1]]
    inside = np.ones(shape, bool)
    for z in (depth / 4 - 0.5, 3 * depth / 4 - 0.5):
        du, dv = (pixel - matrix[row, 2] * z - matrix[row, 3] for row, pixel in ((0, u), (1, v)))
        x, y = (inverse[row, 0] * du + inverse[row, 1] * dv for row in (0, 1))
        inside &= (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    return inside
