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
    import xarray


@dataclass(frozen=True, eq=False)
class Volume:
    """A reconstructed tomogram; NumPy's functions take it as its voxels.

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

    Examples
    --------
    >>> import numpy as np
    >>> volume = Volume(np.ones((2, 3, 4), np.float32), 10.0, (0.0, 0.0, 5.0))
    >>> np.asarray(volume).shape, float(np.mean(volume))
    ((2, 3, 4), 1.0)
    """

    data: NDArray[np.float32]
    voxel_size: float
    origin: tuple[float, float, float]
    label: str = ""

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Give the voxels, ``(z, y, x)``: what NumPy and napari ask for."""
        if copy is False and dtype is not None and np.dtype(dtype) != self.data.dtype:
            raise ValueError(f"voxels are {self.data.dtype}; as {np.dtype(dtype)} they must be copied")
        return np.array(self.data, dtype) if copy else np.asarray(self.data, dtype)

    def to_xarray(self) -> xarray.DataArray:
        """Give the volume with the world positions (Å) of its voxels as coordinates ``z``, ``y``, ``x``.

        Where the voxel size is not known (0), there are no coordinates.

        Raises
        ------
        UsageError
            If xarray is not installed.
        """
        try:
            import xarray
        except ImportError:
            raise UsageError("xarray is not installed: pip install xarray") from None
        places: dict[str, Any] = {}
        for axis, start, n in zip("zyx", self.origin[::-1], self.data.shape, strict=True):
            if self.voxel_size:
                places[axis] = (axis, start + self.voxel_size * np.arange(n), {"units": "angstrom"})
        attributes = {"label": self.label, "voxel_size": self.voxel_size}
        return xarray.DataArray(self.data, places, dims=("z", "y", "x"), name="density", attrs=attributes)


#: Called as ``write(z, slab)`` with a slab ``(y, x)``, float32, of any number z and from any thread; the slab is only
#: lent for the call.
SlabWriter = Callable[[int, Real], None]
