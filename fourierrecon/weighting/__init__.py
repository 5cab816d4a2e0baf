"""Weighting strategies: what normalises the Fourier grid. Importing the package registers the built-in ones."""

from fourierrecon.weighting.base import TiltViews, Weighting, available, from_text, read_weighting, register
from fourierrecon.weighting.none import NoWeighting
from fourierrecon.weighting.preweight import PreWeight
from fourierrecon.weighting.snr import Auto, SnrCurve
from fourierrecon.weighting.wiener import Wiener

__all__ = [
    "Auto",
    "NoWeighting",
    "PreWeight",
    "SnrCurve",
    "TiltViews",
    "Weighting",
    "Wiener",
    "available",
    "from_text",
    "read_weighting",
    "register",
]
