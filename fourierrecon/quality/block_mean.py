"""Means over blocks of pixels or voxels: coarse images and volumes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fourierrecon.runtime.memory import forget


def block_mean(data: NDArray[np.generic], factor: int, *, sections: bool = False) -> NDArray[np.float32]:
    """Average blocks of pixels, section by section; what is left over at the far ends is cut off.

    Parameters
    ----------
    data
        Images ``(n, height, width)``, or a volume ``(z, y, x)``; of any real type, also mapped from a file.
    factor
        Pixels along a side of a block.
    sections
        Average as many sections as well: cubes of voxels.
    """
    height, width = (n // factor for n in data.shape[1:])
    thick = factor if sections else 1
    out = np.zeros((data.shape[0] // thick, height, width), np.float32)
    for number, mean in enumerate(out):
        for section in data[number * thick : (number + 1) * thick]:
            for y, x in np.ndindex(factor, factor):
                part = section[y : y + height * factor : factor, x : x + width * factor : factor]
                mean += np.asarray(part, np.float32)
        forget(data)
    out /= np.float32(thick * factor**2)
    return out
