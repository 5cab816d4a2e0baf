"""Volume: the reconstructed density and where it lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourierrecon.runtime.arrays import Real


@dataclass(frozen=True, eq=False)
class Volume:
    """A reconstructed tomogram.

    Parameters
    ----------
    data
        ``(z, y, x)``, float32, C order.
    voxel_size
        Å; 0 where a file does not tell it.
    origin
        World position ``(x, y, z)`` of voxel ``(0, 0, 0)``, Å (see :mod:`fourierrecon.geometry`).
    label
        Lines on how it was made, for the header of a file.
    """

    data: NDArray[np.float32]
    voxel_size: float
    origin: tuple[float, float, float]
    label: str = ""


#: Called as ``write(z, slab)`` with a slab ``(y, x)``, float32, of any number z and from any thread; the slab is only
#: lent for the call.
SlabWriter = Callable[[int, Real], None]
