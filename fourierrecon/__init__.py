"""fourierrecon: cryo-electron tomograms, reconstructed in Fourier space.

``from fourierrecon import TiltSeries, Region, reconstruct``; names load when first used, so that importing the
package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fourierrecon.engine.settings import Settings
    from fourierrecon.errors import DataError, UsageError
    from fourierrecon.geometry.region import Region
    from fourierrecon.reconstruction import reconstruct, reconstruct_to, reconstruct_to_file
    from fourierrecon.tilt_series import CtfParameters, TiltSeries
    from fourierrecon.volume import Volume

__version__ = "0.1.0"
__all__ = [
    "CtfParameters",
    "DataError",
    "Region",
    "Settings",
    "TiltSeries",
    "UsageError",
    "Volume",
    "__version__",
    "reconstruct",
    "reconstruct_to",
    "reconstruct_to_file",
]

_HOMES = {
    "CtfParameters": "tilt_series",
    "DataError": "errors",
    "Region": "geometry.region",
    "Settings": "engine.settings",
    "TiltSeries": "tilt_series",
    "UsageError": "errors",
    "Volume": "volume",
    "reconstruct": "reconstruction",
    "reconstruct_to": "reconstruction",
    "reconstruct_to_file": "reconstruction",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'fourierrecon' has no attribute {name!r}")
    value = getattr(import_module(f"fourierrecon.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
