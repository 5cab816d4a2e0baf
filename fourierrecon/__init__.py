"""fourierrecon: cryo-electron tomograms, reconstructed in Fourier space.

>>> from fourierrecon import read_tilt_series, reconstruct, write_volume

Names load when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourierrecon.runtime.late_names import late_names

if TYPE_CHECKING:
    from fourierrecon.engine.settings import Settings
    from fourierrecon.errors import DataError, UsageError
    from fourierrecon.geometry.region import Region
    from fourierrecon.io import read_tilt_series, read_volume, write_volume
    from fourierrecon.operators.virtual import open_virtual
    from fourierrecon.reconstruction import reconstruct, reconstruct_to, reconstruct_to_file
    from fourierrecon.tilt_series import CtfParameters, TiltSeries
    from fourierrecon.tomogram.profiles import profile
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
    "open_virtual",
    "profile",
    "read_tilt_series",
    "read_volume",
    "reconstruct",
    "reconstruct_to",
    "reconstruct_to_file",
    "write_volume",
]

__getattr__, __dir__ = late_names(
    __name__,
    {
        "CtfParameters": "fourierrecon.tilt_series",
        "DataError": "fourierrecon.errors",
        "Region": "fourierrecon.geometry.region",
        "Settings": "fourierrecon.engine.settings",
        "TiltSeries": "fourierrecon.tilt_series",
        "UsageError": "fourierrecon.errors",
        "Volume": "fourierrecon.volume",
        "open_virtual": "fourierrecon.operators.virtual",
        "profile": "fourierrecon.tomogram.profiles",
        "read_tilt_series": "fourierrecon.io",
        "read_volume": "fourierrecon.io",
        "reconstruct": "fourierrecon.reconstruction",
        "reconstruct_to": "fourierrecon.reconstruction",
        "reconstruct_to_file": "fourierrecon.reconstruction",
        "write_volume": "fourierrecon.io",
    },
)
