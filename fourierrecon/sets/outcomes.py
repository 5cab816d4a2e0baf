"""What became of the tomograms of a set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fourierrecon.tomogram.fitting import Fit

if TYPE_CHECKING:
    from fourierrecon.particles.one import Boxes


@dataclass(frozen=True, kw_only=True)
class Made:
    """One volume of a tomogram, as the set's list needs it.

    Parameters
    ----------
    path
        File of the volume.
    picture
        File of its 2D picture, if there is one.
    part
        Part of the tilt series, a key of :data:`fourierrecon.sets.file_names.PARTS`.
    binning
        Voxel over pixel.
    size
        ``(width, height, depth)`` of the region, bin-1 px.
    reason
        Why the volume was made; None if it was there already.
    origin
        World coordinates ``(x, y, z)`` of the first voxel, bin-1 px.
    excluded
        1-based numbers of the images that were left out.
    fit
        How the tomogram was fitted to its specimen.
    """

    path: Path
    picture: Path | None
    part: str
    binning: float
    size: tuple[float, float, float]
    reason: str | None
    origin: tuple[float, float, float]
    excluded: tuple[int, ...] = ()
    fit: Fit = field(default_factory=Fit)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one tomogram.

    Parameters
    ----------
    name
        Name of the tomogram.
    made
        Its volumes, if all of them are there now.
    error
        What went wrong; empty if nothing did.
    notes
        Warnings on the way.
    seconds
        Time that it took.
    stale
        What was left as it is, though it is not what was asked for, and what to do about it; else empty.
    snr
        Signal-to-noise ratios that were measured for it, in words; one for each binning.
    images
        What was repaired in its images, in lines.
    transient
        Whether the error may not come again: the tomogram was lost with a scheduler, for example, and nothing is wrong
        with its files.
    specimen
        How its specimen was found and the tomogram fitted to it, in words.
    usage
        Whether the error is that an option makes no sense for it, not that a file or the machine is at fault.
    boxes
        What became of its points, where boxes at picks are made, not volumes.
    """

    name: str
    made: tuple[Made, ...] = ()
    error: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    stale: str = ""
    snr: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    transient: bool = False
    specimen: str = ""
    usage: bool = False
    boxes: Boxes | None = None

    @property
    def status(self) -> str:
        """``failed``, ``stale`` (something else is there and stays), ``there`` (nothing had to be made) or ``done``."""
        if self.error or self.stale:
            return "failed" if self.error else "stale"
        if self.boxes is not None:
            return "done" if self.boxes.made else "there"
        return "done" if any(product.reason is not None for product in self.made) else "there"
