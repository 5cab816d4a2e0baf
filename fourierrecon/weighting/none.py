"""No weighting: plain back-projection, per voxel the mean over the images that see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fourierrecon.weighting.base import Weighting, register


@register
@dataclass(frozen=True)
class NoWeighting(Weighting):
    """Plain back-projection: most contrast, streaks along the beam.

    With the CTF on the images are multiplied with it and nothing is divided.
    """

    name: ClassVar[str] = "none"
    divides_by_count: ClassVar[bool] = True

    @property
    def words(self) -> str:
        """One line on what the weighting does, for screens and headers."""
        return "plain back-projection"
