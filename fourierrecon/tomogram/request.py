"""The request for one tomogram: its source, and the arguments of its reconstruction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fourierrecon.geometry.region import Region
from fourierrecon.io import Supplement
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.weighting import Weighting


@dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """Request for one tomogram.

    Parameters
    ----------
    source
        Set that was read.
    ignored
        Set that was given as well, but not read.
    extras
        What was given beside the source, such as a stack or a pixel size.
    series, region, weighting
        Arguments of :func:`fourierrecon.reconstruction.reconstruct`.
    """

    source: Path
    ignored: Path | None
    extras: Supplement
    series: TiltSeries
    region: Region
    weighting: Weighting
