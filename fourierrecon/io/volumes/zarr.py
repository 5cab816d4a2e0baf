"""Reads volumes from folders of OME-Zarr 0.4 and 0.5, one level of a pyramid at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError, FourierReconError, UsageError
from fourierrecon.io.json_text import brief, fits
from fourierrecon.io.stacks.mrc import common_spacing
from fourierrecon.io.volumes.base import VolumeFile
from fourierrecon.io.volumes.quantise import Scale
from fourierrecon.runtime.memory import check_memory
from fourierrecon.volume import Volume

#: Å in the units of length of OME-Zarr that a microscopist may meet.
UNITS = {"angstrom": 1.0, "picometer": 0.01, "nanometer": 10.0, "micrometer": 1e4, "millimeter": 1e7, "meter": 1e10}
INSTALL = "pip install 'fourierrecon[zarr]'"
AXES = ("z", "y", "x")
#: No tomogram is longer, voxels.
LONGEST_SIDE = 1 << 24
#: Kinds of the values in our own attributes.
OURS = {"label": [str], "scale": float, "offset": float}


def require_zarr() -> None:
    """Check that the library is there.

    Raises
    ------
    UsageError
        If it is not, or is too old.
    """
    try:
        import zarr
    except ImportError as error:
        raise UsageError(f"Zarr needs the package zarr, which is not installed: {INSTALL}") from error
    if int(zarr.__version__.split(".")[0]) < 3:
        raise UsageError(f"Zarr needs the package zarr from version 3 on, {zarr.__version__} is installed: {INSTALL}")


class ZarrVolume(VolumeFile):
    """One level of an OME-Zarr folder (0.4 or 0.5), read as it is needed.

    Parameters
    ----------
    path
        Folder.
    level
        0 is the finest.

    Raises
    ------
    DataError
        If it cannot be read, or is no volume.
    UsageError
        If there is no such level, or zarr is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], level: int = 0) -> None:
        require_zarr()
        import zarr

        self.path = Path(path)
        if not self.path.exists():
            raise DataError(f"cannot read {path}: No such file or directory")
        with _opening(self.path):
            group = zarr.open_group(self.path, mode="r")
            attributes = dict(group.attrs)
        multiscale = _multiscale(self.path, attributes)
        datasets, axes = multiscale["datasets"], multiscale["axes"]
        if not 0 <= level < len(datasets):
            raise UsageError(f"{path} has levels 0 to {len(datasets) - 1}; there is no level {level}")
        with _opening(self.path):
            array = group[datasets[level]["path"]]
            if not isinstance(array, zarr.Array):
                raise TypeError(f"{datasets[level]['path'][:60]} is no array")
            shape, chunks, dtype = array.shape, array.chunks, np.dtype(array.dtype)
        names = [axis["name"] for axis in axes]
        if names[-3:] != list(AXES) or len(shape) != len(axes):
            raise DataError(f"{path} is no volume: its axes are {', '.join(names)}; the last must be z, y, x")
        if any(n != 1 for n in shape[:-3]):
            raise DataError(f"{path} holds several volumes (shape {shape}); take one out first")
        if not all(0 < n <= LONGEST_SIDE for n in shape[-3:]) or dtype.kind not in "biuf":
            raise DataError(f"{path} holds {dtype} of shape {shape}, which is no volume of densities; restore it")
        check_memory(self.path, prod(chunks) * dtype.itemsize, "one chunk of it")
        units = [axis.get("unit", "angstrom") for axis in axes[-3:]]
        unknown = [unit for unit in units if not isinstance(unit, str) or unit not in UNITS]
        if unknown:
            raise DataError(f"{path}: unit {brief(unknown[0])} of its axes is unknown; known: {', '.join(UNITS)}")
        self._array = array
        depth, height, width = shape[-3:]
        self.shape, self.dtype = (depth, height, width), dtype
        sizes, places = _transforms(self.path, len(axes), datasets[level], multiscale)
        voxels = [s * UNITS[unit] for s, unit in zip(sizes[-3:], units, strict=True)]
        # along an axis of one voxel the voxel size means nothing
        counted = [s for s, n in zip(voxels, self.shape, strict=True) if n > 1] or voxels
        nothing = all("unit" not in axis for axis in axes[-3:]) and set(voxels) == {1.0}
        self.spacing = (0.0, 0.0, 0.0) if nothing else (voxels[2], voxels[1], voxels[0])
        self.voxel_size = 0.0 if nothing or min(counted) <= 0 else common_spacing(counted[::-1])
        z, y, x = (t * UNITS[unit] for t, unit in zip(places[-3:], units, strict=True))
        self.origin = (x, y, z)
        ours = {"label": list[str](), "scale": 1.0, "offset": 0.0}
        found = attributes.get("fourierrecon", {})
        if not fits(found, {}) or not fits(ours | found, OURS) or found.get("scale") == 0:
            raise DataError(f"{path}: its attribute fourierrecon is not whole; restore it, or remove the attribute")
        ours |= found
        self.label = "\n".join(cast(list[str], ours["label"]))
        self.scale = Scale(cast(float, ours["scale"]), cast(float, ours["offset"]))
        self.tile = (min(chunks[-3], depth), min(chunks[-2], height))

    def stored(self, z: slice, y: slice) -> NDArray[Any]:
        """Read a block ``(z, y, x)`` of numbers as they are stored, all columns of it."""
        try:
            return np.asarray(self._array[(*(0,) * (self._array.ndim - 3), z, y, slice(None))])
        except MemoryError:
            raise
        except Exception as error:  # the library lets those of all its codecs through
            raise DataError(f"cannot read {self.path}: {error}; copy it again") from error


def read_zarr_volume(path: str | os.PathLike[str], level: int = 0) -> Volume:
    """Read one level of an OME-Zarr folder as float32, with its voxel size and origin in Å.

    Parameters
    ----------
    path
        Folder.
    level
        0 is the finest.

    Raises
    ------
    DataError, UsageError
        As :class:`ZarrVolume`.
    """
    return ZarrVolume(path, level).read()


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    """Say in one line what the library says of a folder; it lets errors of all kinds through."""
    try:
        yield
    except (FourierReconError, MemoryError):
        raise
    except Exception as error:
        raise DataError(f"{path} is no OME-Zarr image: {error!r}; is it the folder of one?") from error


def _multiscale(path: Path, attributes: dict[str, Any]) -> dict[str, Any]:
    """Give what OME-Zarr says of the first image of a group."""
    ome = attributes.get("ome", attributes)
    found = ome.get("multiscales") if isinstance(ome, dict) else None
    kind = {"axes": [{"name": str}], "datasets": [{"path": str}]}
    if not isinstance(found, list) or not found or not fits(found[0], kind):
        raise DataError(f"{path} is no OME-Zarr image: no multiscales with axes and datasets; is it the folder of one?")
    return cast(dict[str, Any], found[0])


def _transforms(path: Path, n_axes: int, *places: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Give scale and translation along each axis, of what a level says and what is said of all levels after that."""
    scale, translation = [1.0] * n_axes, [0.0] * n_axes
    for place in places:
        transforms = place.get("coordinateTransformations", [])
        if not fits(transforms, [{"type": str}]):
            raise DataError(f"{path}: coordinateTransformations {brief(transforms)}; each needs a type; restore it")
        for transform in transforms:
            kind = transform["type"]
            values = transform.get(kind)
            if kind not in ("scale", "translation"):
                continue
            if not fits(values, [float] * n_axes):
                raise DataError(f"{path}: {kind} {brief(values)}; needed: {n_axes} numbers, one an axis; restore it")
            if kind == "scale":
                scale = [s * f for s, f in zip(scale, values, strict=True)]
                translation = [t * f for t, f in zip(translation, values, strict=True)]
            else:
                translation = [t + d for t, d in zip(translation, values, strict=True)]
    return scale, translation
