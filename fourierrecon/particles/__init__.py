"""Boxes at picks: small volumes at thousands of places, straight from the images of a tilt series.

Picks and a tilt series go in; subtomograms come out, or the terms that RELION refines with: sums of the images times
their transfer functions and of these squared, each with the CTF at the depth of its own place. The room may know the
engine's transfer functions and what lies below; it knows nothing of sets and commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourierrecon.runtime.late_names import late_names

if TYPE_CHECKING:
    from fourierrecon.particles.boxes import BoxMaker, BoxTerms
    from fourierrecon.particles.extraction import Extraction

__all__ = ["BoxMaker", "BoxTerms", "Extraction"]

__getattr__, __dir__ = late_names(
    __name__,
    {
        "BoxMaker": "fourierrecon.particles.boxes",
        "BoxTerms": "fourierrecon.particles.boxes",
        "Extraction": "fourierrecon.particles.extraction",
    },
)
