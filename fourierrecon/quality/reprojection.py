"""Projects a volume into images: each voxel is spread onto the four pixels around it. Import late: numba is slow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.runtime.compiled import compiled


def reproject(volume: NDArray[np.float32], matrix: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Sum a volume along the beam, ``(height, width)``.

    Voxels must be no farther apart than pixels. Periods of three pixels and more are exact; finer ones are blurred by
    the bilinear spread, and may show a pattern where the grid of voxels is turned against that of pixels.

    Parameters
    ----------
    volume
        ``(z, y, x)``, float32.
    matrix
        ``(2, 4)``: voxel ``(x, y, z, 1)`` to pixel ``(u, v)``.
    shape
        ``(height, width)`` of the image, px.
    """
    image = np.zeros((shape[0] + 2, shape[1] + 2), np.float32)
    # a border of one pixel takes up what falls off
    moved = np.array(matrix, float)
    moved[:, 3] += 1
    _spread(np.ascontiguousarray(volume, np.float32), moved, image)
    return image[1:-1, 1:-1]


def covered(size: tuple[int, int, int], matrix: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Find the pixels whose beam crosses the middle half of a volume's depth inside of it, ``(height, width)``.

    The upper and lower quarter are often empty. If beams had to cross them too, high tilts would have few pixels left.

    Parameters
    ----------
    size
        ``(z, y, x)`` voxels.
    matrix
        ``(2, 4)``, as for :func:`reproject`.
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


@compiled()
def _spread(volume: Any, matrix: Any, image: Any) -> None:
    depth, height, width = volume.shape
    rows, columns = image.shape
    du, dv = matrix[0, 0], matrix[1, 0]
    for z in range(depth):
        for y in range(height):
            u0 = matrix[0, 1] * y + matrix[0, 2] * z + matrix[0, 3]
            v0 = matrix[1, 1] * y + matrix[1, 2] * z + matrix[1, 3]
            for x in range(width):
                u, v = u0 + du * x, v0 + dv * x
                if u >= 0 and v >= 0 and u < columns - 1 and v < rows - 1:
                    column, row = int(u), int(v)
                    value = volume[z, y, x]
                    right, below = np.float32(u - column), np.float32(v - row)
                    upper = value * (np.float32(1) - below)
                    lower = value * below
                    image[row, column] += upper * (np.float32(1) - right)
                    image[row, column + 1] += upper * right
                    image[row + 1, column] += lower * (np.float32(1) - right)
                    image[row + 1, column + 1] += lower * right
