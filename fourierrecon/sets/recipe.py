"""What is to be made of every tomogram of a set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fourierrecon.engine.settings import Settings
from fourierrecon.geometry.corrections import AlignmentCorrections
from fourierrecon.geometry.region import Length, Region
from fourierrecon.io import Supplement
from fourierrecon.sets.keys import Kind
from fourierrecon.weighting import Weighting

Halves = Literal["frames", "tilts"]


@dataclass(frozen=True)
class Projection:
    """A 2D picture of a tomogram: the sum of some of its z slices.

    Parameters
    ----------
    centre
        Middle slice, voxels from the middle of the tomogram.
    thickness
        Voxels; ``2 int(thickness / 2) + 1`` slices are added up, as in RELION.
    """

    centre: int = 0
    thickness: int = 10

    def slices(self, depth: int) -> range:
        """Give the slices of a tomogram of this depth."""
        middle, half = depth // 2 + self.centre, self.thickness // 2
        return range(max(middle - half, 0), min(middle + half + 1, depth))

    def line(self, region: Region) -> str:
        """Give the line for the label of the picture, by which it is known again."""
        slices = self.slices(region.shape[0])
        return f"sum of slices {slices.start} to {slices.stop - 1}, from 0"


@dataclass(frozen=True)
class Recipe:
    """What is to be made of every tomogram of a set, and how. It can be sent to other processes.

    Parameters
    ----------
    source, extras, offsets
        Where tilt series come from, and corrections to their alignments.
    folder
        For the products.
    strategies, binnings
        Weightings and voxel sizes; all pairs are made. A binning is given as factor, or as voxel size in Å below 0.
    origin, size
        Of the region, as for :meth:`~fourierrecon.geometry.region.Region.of`.
    settings
        How to reconstruct.
    halves
        Half volumes too: of even and odd frames, or of even and odd tilts (by angle, so that both see all angles).
    projection
        A 2D picture of each volume too.
    dtype, ending, like, passport
        Type of voxels, ``.mrc`` or ``.zarr``, orientation, and whether a passport is written.
    resume, redo
        Leave what is there and fits its key, or make all; of what is there and does not fit, what to make anew; the
        rest stays as it is.
    skip_bad_images
        Leave images out that are blank or not finite, with a warning; else they are an error.
    companions
        What goes with each whole volume: :data:`fourierrecon.tomogram.companions.VOLUMES`; and ``denoising``.
    report
        There will be a report, which takes memory too.
    """

    source: Path
    extras: Supplement
    offsets: AlignmentCorrections
    folder: Path
    strategies: tuple[Weighting, ...]
    binnings: tuple[float, ...]
    origin: tuple[float | None, float | None, float | None]
    size: tuple[Length, Length, Length]
    settings: Settings
    halves: Halves | None = None
    projection: Projection | None = None
    dtype: str = "float32"
    ending: str = ".mrc"
    like: str | None = None
    passport: bool = False
    resume: bool = True
    redo: tuple[Kind, ...] = ()
    skip_bad_images: bool = False
    companions: tuple[str, ...] = ()
    report: bool = False
