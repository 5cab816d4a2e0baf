"""Compiled loops that add Gaussians to volumes and to images. Import late: numba is slow to load."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fourierrecon.runtime.compiled import compiled


@compiled(fastmath=False)
def add_to_image(
    image: NDArray[np.float64],
    centres: NDArray[np.float64],
    sigmas: NDArray[np.float64],
    weights: NDArray[np.float64],
    covariance: NDArray[np.float64],
    reach: float,
) -> None:
    """Add ``weight exp(-d^T (sigma² covariance)^-1 d / 2)`` for each Gaussian, within ``reach`` sigma of it.

    Parameters
    ----------
    image
        ``(height, width)``, changed in place.
    centres
        ``(n, 2)``, pixels ``(u, v)``.
    sigmas, weights
        ``(n,)``; sigma in world px, weight in image units.
    covariance
        ``(2, 2)`` of a Gaussian of sigma 1.
    """
    height, width = image.shape
    det = covariance[0, 0] * covariance[1, 1] - covariance[0, 1] * covariance[1, 0]
    spread_u, spread_v = np.sqrt(covariance[0, 0]), np.sqrt(covariance[1, 1])
    for i in range(sigmas.size):
        u, v, s = centres[i, 0], centres[i, 1], sigmas[i]
        if not (abs(u) < 1e9 and abs(v) < 1e9):
            continue
        u0 = max(0, int(np.ceil(u - reach * s * spread_u)))
        u1 = min(width, int(np.floor(u + reach * s * spread_u)) + 1)
        v0 = max(0, int(np.ceil(v - reach * s * spread_v)))
        v1 = min(height, int(np.floor(v + reach * s * spread_v)) + 1)
        if u1 <= u0 or v1 <= v0:
            continue
        a = covariance[1, 1] / (det * s * s)
        b = -covariance[0, 1] / (det * s * s)
        c = covariance[0, 0] / (det * s * s)
        # a Gaussian on a grid obeys g(u + 1) = g(u) r(u), r(u + 1) = r(u) exp(-a): two exponentials a row
        factor = np.exp(-a)
        for row in range(v0, v1):
            dv, du = row - v, u0 - u
            value = weights[i] * np.exp(-0.5 * (a * du * du + 2 * b * du * dv + c * dv * dv))
            ratio = np.exp(-a * (du + 0.5) - b * dv)
            for column in range(u0, u1):
                image[row, column] += value
                value *= ratio
                ratio *= factor


@compiled(fastmath=False)
def add_to_volume(
    volume: NDArray[np.float32],
    first: int,
    last: int,
    centres: NDArray[np.float64],
    sigmas: NDArray[np.float64],
    weights: NDArray[np.float64],
    reach: float,
) -> None:
    """Add ``weight exp(-|d|² / (2 sigma²))`` for each Gaussian to the sections ``first`` to ``last - 1``.

    Parameters
    ----------
    volume
        ``(z, y, x)``, changed in place.
    centres
        ``(n, 3)``, voxels ``(x, y, z)``.
    sigmas, weights
        ``(n,)``; sigma in voxels.
    """
    _, height, width = volume.shape
    along_x = np.empty(width)
    for i in range(sigmas.size):
        x, y, z = centres[i]
        radius = reach * sigmas[i]
        x0, x1 = max(0, int(np.ceil(x - radius))), min(width, int(np.floor(x + radius)) + 1)
        y0, y1 = max(0, int(np.ceil(y - radius))), min(height, int(np.floor(y + radius)) + 1)
        z0, z1 = max(first, int(np.ceil(z - radius))), min(last, int(np.floor(z + radius)) + 1)
        if x1 <= x0 or y1 <= y0 or z1 <= z0:
            continue
        k = -0.5 / (sigmas[i] * sigmas[i])
        for column in range(x0, x1):
            along_x[column] = np.exp(k * (column - x) ** 2)
        for section in range(z0, z1):
            at_z = weights[i] * np.exp(k * (section - z) ** 2)
            for row in range(y0, y1):
                at_y = at_z * np.exp(k * (row - y) ** 2)
                for column in range(x0, x1):
                    volume[section, row, column] += at_y * along_x[column]


@compiled(fastmath=False)
def sum_at(
    points: NDArray[np.float64],
    centres: NDArray[np.float64],
    sigmas: NDArray[np.float64],
    weights: NDArray[np.float64],
    precision: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Sum all Gaussians at points of an image, ``(m,)``, without any cut-off.

    Parameters
    ----------
    points, centres
        ``(m, 2)`` and ``(n, 2)``, pixels ``(u, v)``.
    sigmas, weights
        ``(n,)``.
    precision
        ``(2, 2)``: inverse covariance of a Gaussian of sigma 1.
    """
    total = np.zeros(len(points))
    for j in range(len(points)):
        for i in range(sigmas.size):
            du, dv = points[j, 0] - centres[i, 0], points[j, 1] - centres[i, 1]
            form = precision[0, 0] * du * du + 2 * precision[0, 1] * du * dv + precision[1, 1] * dv * dv
            exponent = 0.5 * form / (sigmas[i] * sigmas[i])
            if exponent < 40.0:
                total[j] += weights[i] * np.exp(-exponent)
    return total
