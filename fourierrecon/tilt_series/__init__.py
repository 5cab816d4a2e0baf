"""What goes into a reconstruction: one tilt series with its alignment, optics and exposure. Every reader returns it.

This room knows nothing but errors; coordinates are explained in :mod:`fourierrecon.geometry`.

>>> from fourierrecon.tilt_series import CtfParameters, TiltSeries
"""

from fourierrecon.tilt_series.ctf_parameters import (
    MOST_ABERRATION,
    MOST_ANGLE,
    MOST_B_FACTOR,
    MOST_B_PER_EXPOSURE,
    MOST_DEFOCUS,
    MOST_SCALE,
    MOST_VOLTAGE,
    CtfParameters,
)
from fourierrecon.tilt_series.images import ImageFile, ImagesInFiles, ImageStack, chosen_images, root_of, source_of
from fourierrecon.tilt_series.series import MOST_TILT, USUAL_HAND, TiltSeries

__all__ = [
    "MOST_ABERRATION",
    "MOST_ANGLE",
    "MOST_B_FACTOR",
    "MOST_B_PER_EXPOSURE",
    "MOST_DEFOCUS",
    "MOST_SCALE",
    "MOST_TILT",
    "MOST_VOLTAGE",
    "USUAL_HAND",
    "CtfParameters",
    "ImageFile",
    "ImageStack",
    "ImagesInFiles",
    "TiltSeries",
    "chosen_images",
    "root_of",
    "source_of",
]
