"""Weightings: what is done about the uneven sampling of Fourier space, one weighting a file.

A weighting filters each image before it is inserted, or normalises the gridded planes afterwards, or does neither;
:mod:`fourierrecon.weighting.base` says what it is given. A new one takes one file here, and one line below that
registers it. The signal-to-noise ratio that some of them need is a number, a curve or measured
(:mod:`fourierrecon.weighting.snr`).

The room may import ``geometry``, ``ctf``, ``transfer``, ``tilt_series``, ``runtime`` and ``errors``; not the engine.
"""

from fourierrecon.weighting.base import TiltViews, Weighting, available, from_text, read_weighting, register
from fourierrecon.weighting.exact import Exact
from fourierrecon.weighting.iterative import Cg, Iterative, Sirt, Tv
from fourierrecon.weighting.none import NoWeighting
from fourierrecon.weighting.preweight import PreWeight
from fourierrecon.weighting.ramp import Ramp
from fourierrecon.weighting.sirtlike import SirtLike
from fourierrecon.weighting.snr import Auto, SnrCurve
from fourierrecon.weighting.wiener import Wiener

__all__ = [
    "Auto",
    "Cg",
    "Exact",
    "Iterative",
    "NoWeighting",
    "PreWeight",
    "Ramp",
    "Sirt",
    "SirtLike",
    "SnrCurve",
    "TiltViews",
    "Tv",
    "Weighting",
    "Wiener",
    "available",
    "from_text",
    "read_weighting",
    "register",
]
