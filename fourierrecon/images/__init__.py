"""Images as they are: hot pixels, gold beads and steps of intensity, repaired as images are read.

A tilt series keeps its images where they lie. What is wrong with them is found when each is read for the first time,
the few values that replace others are kept, and all who read the images of the series see the same. This room may know
``tilt_series``, runtime and errors.

>>> from fourierrecon.images import Repairs, repaired
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourierrecon.runtime.late_names import late_names

if TYPE_CHECKING:
    from fourierrecon.images.repair import RepairedImages, lines_on, record_of, repaired
    from fourierrecon.images.repairs import Repairs

__all__ = ["RepairedImages", "Repairs", "lines_on", "record_of", "repaired"]

__getattr__, __dir__ = late_names(
    __name__,
    {
        "RepairedImages": "fourierrecon.images.repair",
        "Repairs": "fourierrecon.images.repairs",
        "lines_on": "fourierrecon.images.repair",
        "record_of": "fourierrecon.images.repair",
        "repaired": "fourierrecon.images.repair",
    },
)
