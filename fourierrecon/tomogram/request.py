"""The request for one tomogram: its source, and the arguments of its reconstruction."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from fourierrecon.geometry.region import Length, Region
from fourierrecon.io import Supplement
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.tomogram.fitting import Fit, FitRequest
from fourierrecon.weighting import Weighting


@dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """Request for one tomogram.

    Parameters
    ----------
    source
        Set that was read.
    extras
        What was given beside the source, such as a stack or a pixel size.
    series, region, weighting
        Arguments of :func:`fourierrecon.reconstruction.reconstruct`.
    kept
        0-based numbers of the images of the source that the series holds; None: all.
    origin, size
        Region as it is asked for, see :meth:`~fourierrecon.geometry.region.Region.of`.
    to_fit
        What is to be fitted to the specimen.
    """

    source: Path
    extras: Supplement
    series: TiltSeries
    region: Region
    weighting: Weighting
    kept: list[int] | None = None
    origin: tuple[float | None, float | None, float | None] = (None, None, None)
    size: tuple[Length, Length, Length] = (None, None, None)
    to_fit: FitRequest = field(default_factory=FitRequest)

    def fitted(self, fit: Fit) -> Request:
        """Give the request for the tomogram that is fitted to its specimen."""
        series = fit.apply(self.series)
        return replace(
            self, series=series, region=fitted_region(series, fit, self.region.binning, self.origin, self.size)
        )


def fitted_region(
    series: TiltSeries,
    fit: Fit,
    binning: float,
    origin: tuple[float | None, float | None, float | None],
    size: tuple[Length, Length, Length],
) -> Region:
    """Give the region of a fitted tilt series.

    Parameters
    ----------
    series
        As :meth:`Fit.apply` gives it.
    fit
        The fit: a depth that it found is that of the region.
    binning, origin, size
        As for :meth:`~fourierrecon.geometry.region.Region.of`.
    """
    asked = size if fit.size is None else (size[0], size[1], None)
    region = Region.of(series, binning=binning, origin=origin, size=asked)
    return region if fit.size is None else replace(region, note="depth of the specimen, as measured")
