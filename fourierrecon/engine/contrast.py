"""Looks at a volume as it comes: one that is blank or not finite must not be taken for a result."""

from __future__ import annotations

import threading

import numpy as np

from fourierrecon.errors import DataError
from fourierrecon.runtime.arrays import Real


class Contrast:
    """Looks at the slabs of a volume.

    Parameters
    ----------
    name
        Name of the set or tilt series, for messages.
    flat
        Whether a volume of one grey value other than 0 is right.
    """

    def __init__(self, name: str, *, flat: bool) -> None:
        self._name, self._flat = name, flat
        self._turn = threading.Lock()
        self._low, self._high = np.inf, -np.inf

    def look(self, slab: Real) -> None:
        """Look at one slab; may be called from any thread.

        Raises
        ------
        DataError
            If there are values that are not finite.
        """
        low, high = float(slab.min()), float(slab.max())
        if not np.isfinite([low, high]).all():
            raise DataError(
                f"{self._name}: the tomogram of these images holds values that are not finite; look for absurd grey "
                f"values in them, or give another weighting (weighting=...)"
            )
        with self._turn:
            self._low, self._high = min(self._low, low), max(self._high, high)

    def finish(self) -> None:
        """Say, after the last slab, whether there is anything to be seen.

        Raises
        ------
        DataError
            If all voxels have one value.
        """
        if self._low == self._high and not (self._flat and self._low != 0):
            raise DataError(
                f"{self._name}: every voxel of the tomogram is {self._low:g}; look at the images, at their CTF and at "
                f"the region (`fourierrecon plan` with the same options)"
            )
