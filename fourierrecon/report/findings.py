"""The figures of a report on one tomogram: what its images, its volume and its half volumes show."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fourierrecon.display.sections import Sections
from fourierrecon.geometry.corrections import tilt_axis
from fourierrecon.quality.agreement import TiltAgreement
from fourierrecon.quality.fsc import HALF_MAPS, ShellCorrelation
from fourierrecon.quality.specimen_slab import SpecimenSlab
from fourierrecon.report.subjects import Subject
from fourierrecon.weighting.snr import SnrCurve

#: Meaning of the flags, for people.
WORDS = {
    "blank": "blank: no contrast",
    "not finite": "holds pixels that are not finite",
    "no CTF": "no CTF: its scale factor is 0 or negative",
    "misaligned": "misaligned: lies aside of its reprojection",
    "wrong angle": "wrong angle: another tilt fits better",
    "check": "correlation falls here, as it does in thick specimens at high tilts; look whether the image is sound",
    "bad": "does not fit the tomogram as its neighbours do",
    "unseen": "sees too little of the tomogram to say",
    "excluded": "excluded in the set",
}


@dataclass(frozen=True, kw_only=True)
class TiltRow:
    """One image.

    Parameters
    ----------
    number
        Number of the image in the source, from 1.
    angle
        Tilt, degrees; None where it is excluded in the source.
    defocus
        Mean defocus, µm.
    exposure
        Exposure before the image, e⁻/Å².
    coverage
        Part of the region that the image sees.
    agreement
        Comparison with the reprojection.
    flag
        A key of :data:`WORDS`; empty if nothing is wrong.
    words
        The fault, with figures.
    """

    number: int
    angle: float | None = None
    defocus: float | None = None
    exposure: float | None = None
    coverage: float | None = None
    agreement: TiltAgreement | None = None
    flag: str = ""
    words: str = ""

    @property
    def correlation(self) -> float | None:
        """Correlation with the reprojection; None where it is missing."""
        known = self.agreement is not None and math.isfinite(self.agreement.correlation)
        return self.agreement.correlation if known and self.agreement is not None else None

    @property
    def shift(self) -> float | None:
        """Distance of the image from its reprojection, Å; None where it is missing."""
        known = self.agreement is not None and all(map(math.isfinite, self.agreement.shift))
        return math.hypot(*self.agreement.shift) if known and self.agreement is not None else None


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """All figures of one tomogram.

    Parameters
    ----------
    subject
        The tomogram.
    error
        Reason why there is no tomogram, or why it could not be read.
    shape, voxel_size
        ``(z, y, x)`` voxels, in the tilt series' order; Å.
    views, thick
        Sections, and the thickness of their slabs in voxels.
    tilts
        One row for each image, including those that the source excludes.
    no_agreement
        Reason why images were not compared with the tomogram.
    curve
        Fourier shell correlation of the half volumes.
    slab, no_slab
        Slab of the specimen, or the reason why none was found.
    snr
        Signal-to-noise ratio by frequency that the volume was weighted with, where its passport holds one.
    spectrum
        Frequency, 1/Å, and amplitude within the measured wedge, the largest 1, ``(n_shells,)``.
    greys
        Least, 0.3 %, median, 99.7 %, largest value, and standard deviation.
    facts
        ``(label, value)``.
    seconds
        Time that the figures took.
    """

    subject: Subject
    error: str = ""
    shape: tuple[int, int, int] = (0, 0, 0)
    voxel_size: float = 0.0
    views: Sections | None = None
    thick: int = 1
    tilts: tuple[TiltRow, ...] = ()
    no_agreement: str = ""
    curve: ShellCorrelation | None = None
    snr: SnrCurve | None = None
    slab: SpecimenSlab | None = None
    no_slab: str = ""
    spectrum: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    greys: tuple[float, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = field(default=())
    seconds: float = 0.0

    @property
    def status(self) -> str:
        """``failed``, ``look`` (something stands out, or there were warnings) or ``fine``."""
        if self.error:
            return "failed"
        return "look" if self.flagged or self.notes else "fine"

    @property
    def flagged(self) -> list[TiltRow]:
        """Rows with a flag, except for images that the source excludes or that see too little."""
        return [row for row in self.tilts if row.flag not in ("", "excluded", "unseen")]

    @property
    def counts(self) -> Counter[str]:
        """Number of images by flag."""
        return Counter(row.flag for row in self.flagged)

    @property
    def resolution(self) -> float | None:
        """Resolution, Å: where the correlation of the half volumes falls to 0.143; None where that is missing."""
        found = math.inf if self.curve is None else self.curve.resolution(HALF_MAPS)
        return found if math.isfinite(found) else None

    @property
    def at_limit(self) -> bool:
        """Whether half volumes agree up to the finest that voxels show."""
        return self.curve is not None and self.resolution == 1 / self.curve.limit

    @property
    def levelling(self) -> tuple[float, float] | None:
        """Tilt angle offset and x tilt, degrees, that would level the specimen; None where its tilt is not known."""
        series, slab = self.subject.series, self.slab
        if series is None or self.subject.region is None or slab is None or not slab.found:
            return None
        axis = tilt_axis(series)
        turn = np.array([slab.tilt_x, slab.tilt_y, 0.0])
        # x_tilt turns by the left hand, as IMOD's XAXISTILT does
        return float(turn @ axis), -float(turn @ np.cross(axis, [0.0, 0.0, 1.0]))

    @property
    def correlation(self) -> float | None:
        """Median correlation of the images."""
        return _median([row.correlation for row in self.tilts])

    @property
    def shift(self) -> float | None:
        """Median shift of the images, Å."""
        return _median([row.shift for row in self.tilts])

    @property
    def largest_shift(self) -> float | None:
        """Largest shift of an image, Å."""
        return max((row.shift for row in self.tilts if row.shift is not None), default=None)


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
