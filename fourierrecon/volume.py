"""Volume: a density in memory and where it lies; SlabWriter: what takes a density slab by slab."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from io import BytesIO
from numbers import Real as Number
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fourierrecon.errors import UsageError, check_type
from fourierrecon.runtime.arrays import Real

if TYPE_CHECKING:
    from PIL.Image import Image
    from xarray import DataArray


#: Thickness of a section in a picture: Å, or voxels where the voxel size is unknown.
SECTION, UNKNOWN_SECTION = 100.0, 5
#: Longer side of a picture at the most, px; percentiles of the values that become black and white.
PICTURE_SIDE, PERCENTILES = 400, (0.3, 99.7)


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

    def __post_init__(self) -> None:
        check_type("data", self.data, (np.ndarray,), "an array (z, y, x); read_volume reads one from a file")
        check_type("voxel_size", self.voxel_size, (Number,), "a number, Å")

    def __repr__(self) -> str:
        depth, height, width = self.data.shape
        size = f" of {self.voxel_size:.4g} Å" if self.voxel_size > 0 else ", size unknown"
        return f"Volume({width} x {height} x {depth} voxels{size})"

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Give the voxels ``(z, y, x)`` to NumPy, without a copy where none is needed."""
        return np.array(self.data, dtype, copy=copy)

    def position(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """Give the world position ``(x, y, z)`` of a voxel ``data[z, y, x]`` in Å; fractions of voxels are allowed.

        Parameters
        ----------
        x, y, z
            Numbers of the voxel, from 0.
        """
        first, step = self.origin, self.voxel_size
        return first[0] + step * x, first[1] + step * y, first[2] + step * z

    def _repr_html_(self) -> str:
        """Give the central XY section, a mean over 10 nm, for notebooks."""
        file = BytesIO()
        middle = self.data[middle_sections(len(self.data), self.voxel_size)]
        grey_picture(middle.mean(0, dtype=np.float32)).save(file, "png")
        picture = b64encode(file.getvalue()).decode()
        return f"<p>{escape(repr(self))}</p><img alt='central XY section' src='data:image/png;base64,{picture}'>"

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


def middle_sections(depth: int, voxel_size: float) -> slice:
    """Give the sections whose mean is shown as the central one: those of 10 nm, or 5 where the voxel size is unknown.

    Parameters
    ----------
    depth
        Number of sections.
    voxel_size
        Å; 0 where unknown.
    """
    thick = min(depth, max(1, round(SECTION / voxel_size)) if voxel_size > 0 else UNKNOWN_SECTION)
    first = (depth - thick) // 2
    return slice(first, first + thick)


def grey_picture(section: Real, side: int = PICTURE_SIDE) -> Image:
    """Draw a section in greys, dense dark.

    Parameters
    ----------
    section
        ``(y, x)``.
    side
        Longer side of the picture at the most, px.
    """
    from PIL import Image

    section = np.nan_to_num(section, posinf=0.0, neginf=0.0)
    factor = side / max(section.shape)
    if factor < 1:
        size = max(1, round(section.shape[1] * factor)), max(1, round(section.shape[0] * factor))
        # the mean of the voxels that a pixel covers
        section = np.asarray(Image.fromarray(section).resize(size, Image.Resampling.BOX))
    # zeros are voxels that no image sees
    seen = section[section != 0]
    black, white = np.percentile(seen if seen.size else section, PERCENTILES)
    grey = np.clip((section - black) / max(white - black, 1e-30), 0, 1)
    return Image.fromarray(np.round(255 * grey).astype(np.uint8))


#: Called as ``write(z, slab)`` with a slab ``(y, x)``, float32, of any number z and from any thread; the slab is only
#: lent for the call.
SlabWriter = Callable[[int, Real], None]
