"""Images as they are: hot pixels, beads and steps of intensity, repaired as images are read.

A tilt series keeps its images where they lie. What is wrong with them is found when each is read for the first time,
the few values that replace others are kept, and all who read the images of the series see the same.
"""

from fourierrecon.images.repair import RepairedImages, Repairs, lines_on, record_of, repaired

__all__ = ["RepairedImages", "Repairs", "lines_on", "record_of", "repaired"]
