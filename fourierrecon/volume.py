"""Volume: a density in memory and where it lies; SlabWriter: what takes a density slab by slab."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fourierrecon.errors import UsageError
from fourierrecon.runtime.arrays import Real

if TYPE_CHECKING:
    from xarray import DataArray


@dataclass(frozen=True, eq=False)
class Volume:
    """A reconstructed tomogram, which NumPy's functions take as an array.

    Parameters
    ----------
    data
        ``(z, y, x)``, float32, C order.
    voxel_size
        Å; 0 where a file does not report it.
    origin
        World position ``(x, y, z)`` of voxel ``(0, 0, 0)``, Å (see :mod:`fourierrecon.geometry`).
    label
        Lines on how it was made, for the header of a file.

    Examples
    --------
    >>> import numpy as np
    >>> from fourierrecon import Volume
    >>> volume = Volume(np.ones((2, 3, 4), np.float32), 10.0, (0.0, 0.0, 0.0))
    >>> volume
    Volume(4 x 3 x 2 voxels of 10 Å)
    >>> float(np.mean(volume))
    1.0
    """

    data: NDArray[np.float32]
    voxel_size: float
    origin: tuple[float, float, float]
    label: str = ""

    def __repr__(self) -> str:
        depth, height, width = self.data.shape
        size = f" of {self.voxel_size:.4g} Å" if self.voxel_size > 0 else ", size unknown"
        return f"Volume({width} x {height} x {depth} voxels{size})"

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Give the voxels ``(z, y, x)`` to NumPy, without a copy where none is needed."""
        return np.array(self.data, dtype, copy=copy)

    def to_xarray(self) -> DataArray:
        """Give the volume as an ``xarray.DataArray`` with its coordinates.

        Returns
        -------
        Dimensions ``z, y, x``; coordinates are the world positions of the voxels in Å, or voxel numbers where the
        voxel size is unknown; ``attrs`` hold the unit, the voxel size and the label.

        Raises
        ------
        UsageError
            If xarray is not installed.

        Examples
        --------
        >>> volume.to_xarray().sel(z=100, method="nearest").plot()  # doctest: +SKIP
        """
        try:
            from xarray import DataArray
        except ImportError as error:
            raise UsageError(
                "to_xarray needs the package xarray, which is not installed: pip install xarray"
            ) from error
        known = self.voxel_size > 0
        step, start = (self.voxel_size, self.origin[::-1]) if known else (1.0, (0.0,) * 3)
        places = {
            axis: first + step * np.arange(n) for axis, first, n in zip("zyx", start, self.data.shape, strict=True)
        }
        attributes = {"units": "angstrom" if known else "voxel", "voxel_size": self.voxel_size, "label": self.label}
        return DataArray(self.data, places, ("z", "y", "x"), "density", attributes)


#: Called as ``write(z, slab)`` with a slab ``(y, x)``, float32, of any number z and from any thread; the slab is only
#: lent for the call.
SlabWriter = Callable[[int, Real], None]
