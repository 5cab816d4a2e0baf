"""What is asked for of one tomogram."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fourierrecon.geometry.region import Region
from fourierrecon.io import Supplement
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.weighting import Weighting

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, eq=False)
class Request:
    """What the options ask for.

    Parameters
    ----------
    source
        Set that was read.
    ignored
        Set that was given but not read, because the other wins.
    extras
        What was given beside it.
    series, region, weighting
        As for :func:`fourierrecon.reconstruction.reconstruct`.
    """

    source: Path
    ignored: Path | None
    extras: Supplement
    series: TiltSeries
    region: Region
    weighting: Weighting
