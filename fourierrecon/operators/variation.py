"""Total variation of a volume: its gradient, smooth where differences are small. Import late: numba is slow."""

from __future__ import annotations

from typing import Any

import numpy as np

from fourierrecon.runtime.compiled import compiled


@compiled()
def add_gradient(volume: Any, z: int, smooth: Any, weight: Any, out: Any) -> None:
    """Add the gradient of ``weight sum sqrt(|grad v|² + smooth²)`` in one section to ``out``, ``(y, x)``.

    ``grad`` are differences to the next voxel along each axis; 0 at the far faces.
    """
    depth, height, width = volume.shape
    for y in range(height):
        for x in range(width):
            here = volume[z, y, x]
            total = np.float32(0)
            norm = smooth * smooth
            for axis in range(3):
                a, b, c = z + (axis == 0), y + (axis == 1), x + (axis == 2)
                if a < depth and b < height and c < width:
                    step = volume[a, b, c] - here
                    norm += step * step
                    total -= step
            total /= np.sqrt(norm)
            for axis in range(3):
                a, b, c = z - (axis == 0), y - (axis == 1), x - (axis == 2)
                if a >= 0 and b >= 0 and c >= 0:
                    total += (here - volume[a, b, c]) / _norm(volume, a, b, c, smooth)
            out[y, x] += weight * total


@compiled(inline=True)
def _norm(volume: Any, z: int, y: int, x: int, smooth: Any) -> Any:
    depth, height, width = volume.shape
    here = volume[z, y, x]
    norm = smooth * smooth
    if z + 1 < depth:
        norm += (volume[z + 1, y, x] - here) ** 2
    if y + 1 < height:
        norm += (volume[z, y + 1, x] - here) ** 2
    if x + 1 < width:
        norm += (volume[z, y, x + 1] - here) ** 2
    return np.sqrt(norm)
