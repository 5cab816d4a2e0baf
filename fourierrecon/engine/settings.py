"""Settings: how to reconstruct, whatever is reconstructed."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import TypedDict

import numpy as np

from fourierrecon.errors import UsageError, check_type
from fourierrecon.images.repairs import Repairs
from fourierrecon.runtime.sizes import parse_memory
from fourierrecon.runtime.threads import Progress, available_cores
from fourierrecon.text import short_repr
from fourierrecon.transfer import Correction

#: Taps of the gridding kernel and oversampling of plane grids and image rows, by precision.
PRECISIONS = {
    "default": (6, 1.24),  # relative error 2e-4 to 4e-4
    "high": (8, 1.5),  # 3e-6 to 2e-5; 2e-4 for noise right up to the Nyquist frequency
}


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """How to reconstruct, whatever is reconstructed.

    Parameters
    ----------
    ctf
        Multiply each image by its CTF and let the weighting see CTF²; without, the CTF is taken as 1.
    n_threads
        Number of threads. Default: the cores available to the process.
    keep_mean
        Keep the mean of each image; by default it is zeroed.
    flatten
        Take a grey ramp off each image, a plane that is fitted to all but beads and other outliers.
    taper_distance, taper_falloff
        Pixels nearer than this distance to the border of an image are not used, and those up to the falloff farther in
        only in part; pixels of the binned image.
    precision
        ``default`` (relative error below 5e-4) or ``high`` (about 2e-5, 1.5 times the cost).
    memory
        Largest resident memory of the process, bytes or text (``"4GB"``). Default: 80 % of what is available.
    scratch
        Folder for scratch files, used where memory does not suffice. Default: that of temporary files.
    progress
        Called as ``progress(stage, done, total)``, from any thread.
    binnings
        All binnings that volumes are wanted in, at once or later. A volume does not depend on which others are made
        along with it.
    ctf_mode, exposure, tilt_weight, ctf_depth
        Names, as for :class:`~fourierrecon.transfer.Correction`: what is done with the CTF, with the damage by
        exposure and with the lesser signal of steep images, and whether each point has the CTF of its own depth.

    defocus_hand
        1 or -1, in place of the hand of the defocus that the tilt series gives, for the CTF at each depth.
    local
        Apply the local alignment of the tilt series where it has one, in tiles.
    residual
        What the tiles may leave of a local alignment, px of the binned images; smaller takes more tiles.

    hot_pixels, intensities, erase_beads
        What is repaired in the images as they are read, as for :class:`~fourierrecon.images.Repairs`: hot pixels are
        replaced, images whose intensity steps out of that of their neighbours are scaled, gold beads of a diameter
        (nm) are erased.

    Raises
    ------
    UsageError
        If a number of threads, a precision or a size of memory makes no sense, or a switch is not True or False.

    Examples
    --------
    >>> from fourierrecon import Settings
    >>> settings = Settings(precision="high", n_threads=2, exposure="grant")
    >>> settings
    Settings(n_threads=2, precision='high', exposure='grant')
    """

    ctf: bool = True
    n_threads: int | None = None
    keep_mean: bool = False
    flatten: bool = False
    taper_distance: float = 0.0
    taper_falloff: float = 0.0
    precision: str = "default"
    memory: int | None = None
    scratch: Path | None = None
    progress: Progress | None = None
    binnings: tuple[float, ...] = ()
    ctf_mode: str | None = None
    exposure: str | None = None
    tilt_weight: str | None = None
    ctf_depth: str | None = None
    defocus_hand: int | None = None
    local: bool = True
    residual: float = 0.2
    hot_pixels: bool = True
    intensities: bool = True
    erase_beads: float | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_type("n_threads", self.n_threads, (Integral, type(None)), "a number of threads")
        for argument in ("taper_distance", "taper_falloff", "residual"):
            check_type(argument, getattr(self, argument), (Real,), "a number of binned pixels")
        # a text such as "off" would count as true
        for argument in ("ctf", "keep_mean", "flatten", "local", "hot_pixels", "intensities"):
            check_type(argument, getattr(self, argument), (bool, np.bool_), "True or False")
        if self.n_threads is not None and self.n_threads < 1:
            raise UsageError(f"number of threads {self.n_threads} must be 1 or more")
        if not self.residual > 0:
            raise UsageError(f"residual={self.residual:g} px must be positive (0.2 is usual)")
        if self.precision not in PRECISIONS:
            raise UsageError(f"unknown precision {self.precision!r}; available: {', '.join(PRECISIONS)}")

    @classmethod
    def of(cls, options: SettingsOptions) -> Settings:
        """Build from the keywords of :func:`fourierrecon.reconstruct`, where memory may be text and scratch too."""
        known = [each.name for each in fields(cls)]
        for name in options:
            if name not in known:
                raise UsageError(f"no argument {name}=...; available: {', '.join(known)}")
        memory, scratch = options.get("memory"), options.get("scratch")
        check_type("memory", memory, (str, Integral, type(None)), 'bytes, or text as "4GB"')
        check_type("scratch", scratch, (str, os.PathLike, type(None)), "the name of a folder")
        rest = {name: value for name, value in options.items() if name not in ("memory", "scratch")}
        return cls(
            memory=parse_memory(memory) if isinstance(memory, str) else memory,
            scratch=None if scratch is None else Path(scratch),
            **rest,  # type: ignore[arg-type]
        )

    @property
    def threads(self) -> int:
        """Number of threads to use."""
        return available_cores() if self.n_threads is None else self.n_threads

    @cached_property
    def repairs(self) -> Repairs:
        """What is repaired in the images.

        Raises
        ------
        UsageError
            If the diameter of beads makes no sense.
        """
        return Repairs(hot_pixels=self.hot_pixels, intensities=self.intensities, erase_beads=self.erase_beads)

    @cached_property
    def correction(self) -> Correction:
        """What is done about all that acts on the signal in the images.

        Raises
        ------
        UsageError
            If a name is unknown, or two contradict each other.
        """
        return Correction.of(
            self.ctf, self.ctf_mode, self.exposure, self.tilt_weight, self.ctf_depth, self.defocus_hand
        )


class SettingsOptions(TypedDict, total=False):
    """Keywords of :func:`fourierrecon.reconstruct` and its sisters: the fields of :class:`Settings`."""

    ctf: bool
    n_threads: int | None
    keep_mean: bool
    flatten: bool
    taper_distance: float
    taper_falloff: float
    precision: str
    memory: int | str | None
    scratch: Path | str | None
    progress: Progress | None
    binnings: tuple[float, ...]
    ctf_mode: str | None
    exposure: str | None
    tilt_weight: str | None
    ctf_depth: str | None
    defocus_hand: int | None
    local: bool
    residual: float
    hot_pixels: bool
    intensities: bool
    erase_beads: float | None
