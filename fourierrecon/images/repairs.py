"""What is to be repaired in the images of a tilt series."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from fourierrecon.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Repairs:
    """What is to be repaired in the images of a tilt series.

    Parameters
    ----------
    hot_pixels
        Replace hot pixels and X-ray spikes.
    intensities
        Scale images whose intensity steps out of what their tilt lets expect, as those of another exposure, and those
        of a normalised stack, set to equal means or variances, back to what counts are.
    erase_beads
        Diameter of gold beads to erase, nm; None: beads stay.

    Raises
    ------
    UsageError
        If the diameter makes no sense.
    """

    hot_pixels: bool = True
    intensities: bool = True
    erase_beads: float | None = None

    def __post_init__(self) -> None:
        beads = self.erase_beads
        if beads is not None and not (isfinite(beads) and 1 <= beads <= 100):
            raise UsageError(
                f"erase_beads={beads:g} must be the diameter of gold beads, 1 to 100 nm (5, 10, 15 are usual)"
            )

    @property
    def wanted(self) -> bool:
        """Whether there is anything to do."""
        return self.hot_pixels or self.intensities or self.erase_beads is not None
