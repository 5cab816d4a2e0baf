"""What is to be made of every tomogram of a set, and how."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from fourierrecon.engine.settings import Settings
from fourierrecon.errors import as_numbers, check_type
from fourierrecon.geometry.corrections import AlignmentCorrections
from fourierrecon.geometry.region import Length, Region
from fourierrecon.io import Supplement
from fourierrecon.sets.keys import Kind
from fourierrecon.text import short_repr
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.tomogram.finish import Finish
from fourierrecon.tomogram.fitting import FitRequest
from fourierrecon.tomogram.tilt_choice import TiltChoice
from fourierrecon.weighting import Weighting, Wiener, read_weighting

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
        """Give the line for the picture's label, by which a later run recognises the picture."""
        slices = self.slices(region.shape[0])
        return f"sum of slices {slices.start} to {slices.stop - 1}, from 0"


@dataclass(frozen=True, kw_only=True, repr=False)
class Recipe:
    """What is to be made of every tomogram of a set, and how. Other processes can be sent a recipe.

    Parameters
    ----------
    source
        Tomogram set, or alignment of one tilt series, by any program; a folder for :func:`fourierrecon.sets.watch`.
    folder
        Folder for the products.
    extras, corrections
        What the source lacks, and corrections to the alignments.
    weightings, binnings
        Weightings and voxel sizes; all pairs are made. A binning above 0 is voxel over pixel, one below 0 is a voxel
        size in Å, and 0 gives voxels of about 10 Å (:func:`~fourierrecon.geometry.region.default_binning`).
    origin, size
        Place and size of the region, as for :meth:`~fourierrecon.geometry.region.Region.of`.
    settings
        Settings of the reconstruction.
    halves
        Make half volumes too: of even and odd frames, or of even and odd tilts (by angle, so that both see all angles).
    projection
        Make a 2D picture of each volume too.
    dtype, ending, like, passport
        Type of voxels, ``.mrc`` or ``.zarr``, orientation, and whether each volume gets a passport.
    resume
        Leave a volume that is there and fits its key; else make all anew.
    redo
        Which volumes that are there and do not fit their keys are made anew; all others stay as they are.
    skip_bad_images
        Leave images out that are blank or not finite, with a warning; else they are an error.
    thumbnails
        Draw the central section of each whole volume into a small picture, ``thumbnails/NAME.png``.
    companions
        What goes with each whole volume: :data:`fourierrecon.tomogram.companions.VOLUMES`; and ``denoising``, lists of
        the half volumes.
    tilts
        Images to leave out of each tilt series.
    fit
        What is fitted to the specimen of each tomogram.
    finish
        What is done to the numbers of each volume.
    ome_version
        Version of OME-Zarr.
    incremental
        Keep what images add to a tomogram, so that a tilt series that has grown costs the images that are new.
    report_memory
        Gives the bytes of memory that a report will take, from tilt series, shape and number of threads, where a report
        is to follow: that it can be made is checked first. Other processes must be able to import the function.
    """

    source: Path
    folder: Path
    extras: Supplement = field(default_factory=Supplement)
    corrections: AlignmentCorrections = field(default_factory=AlignmentCorrections)
    weightings: tuple[Weighting, ...] = (Wiener(),)
    binnings: tuple[float, ...] = (0.0,)
    origin: tuple[float | None, float | None, float | None] = (None, None, None)
    size: tuple[Length, Length, Length] = (None, None, None)
    settings: Settings = field(default_factory=Settings)
    halves: Halves | None = None
    projection: Projection | None = None
    dtype: str = "float32"
    ending: str = ".mrc"
    like: str | None = None
    passport: bool = False
    resume: bool = True
    redo: tuple[Kind, ...] = ()
    skip_bad_images: bool = False
    thumbnails: bool = True
    companions: tuple[str, ...] = ()
    tilts: TiltChoice = field(default_factory=TiltChoice)
    fit: FitRequest = field(default_factory=FitRequest)
    finish: Finish = field(default_factory=Finish)
    ome_version: str = "0.5"
    incremental: bool = False
    report_memory: Callable[[TiltSeries, tuple[int, int, int], int], int] | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        # names of files may be given as text
        for argument in ("source", "folder"):
            value = getattr(self, argument)
            check_type(argument, value, (str, os.PathLike), "the name of a file or folder")
            object.__setattr__(self, argument, Path(value))
        # one of each may be given without a tuple around it, weightings by name
        weightings = self.weightings if isinstance(self.weightings, (tuple, list)) else (self.weightings,)
        object.__setattr__(self, "weightings", tuple(map(read_weighting, weightings)))
        binnings = np.atleast_1d(as_numbers("binnings", self.binnings))
        object.__setattr__(self, "binnings", tuple(float(binning) for binning in binnings))
