"""How the numbers of a finished tomogram are changed for eyes and other programs: filtered, inverted, normalised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import UsageError
from fourierrecon.geometry.region import Region
from fourierrecon.io.volumes.quantise import HeldVolume
from fourierrecon.runtime.arrays import Real
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.tomogram.specimen import Specimen
from fourierrecon.transfer import Correction, Transfer
from fourierrecon.volume import SlabWriter
from fourierrecon.weighting import Weighting
from fourierrecon.weighting.filtered import Deconvolution, Filtered, RadialFilter

#: Type of the voxels of a viewing copy.
VIEW_DTYPE = "int8"


@dataclass(frozen=True, kw_only=True)
class Finish:
    """What is done to the numbers of a tomogram. Full and half volumes go through the same steps.

    Parameters
    ----------
    invert
        Change the sign: dense is bright.
    normalise
        Mean 0 and standard deviation 1 over the specimen's slab, or over all where it was not found.
    lowpass, deconvolution
        As for :class:`~fourierrecon.weighting.filtered.RadialFilter`.
    viewing_copy
        All of this is for a second file, ``NAME_view``; the tomogram itself stays as it is.
    """

    invert: bool = False
    normalise: bool = False
    lowpass: float | None = None
    deconvolution: Deconvolution | None = None
    viewing_copy: bool = False

    def __post_init__(self) -> None:
        if self.lowpass is not None and not (np.isfinite(self.lowpass) and self.lowpass > 0):
            raise UsageError(f"lowpass={self.lowpass:g} must be above 0 (Å)")

    @property
    def of_tomogram(self) -> Finish:
        """What is done to the tomogram itself."""
        return Finish() if self.viewing_copy else self

    @property
    def of_copy(self) -> Finish | None:
        """What is done to the viewing copy; None if there is none. If nothing is asked for, it is normalised."""
        if not self.viewing_copy:
            return None
        own = replace(self, viewing_copy=False)
        return own if own != Finish() else Finish(normalise=True)

    @property
    def needs_slab(self) -> bool:
        """Whether the specimen's slab counts."""
        return any(each is not None and each.normalise for each in (self.of_tomogram, self.of_copy))

    @property
    def words(self) -> str:
        """What is done besides the filters, which are part of the weighting; empty if nothing is."""
        parts = ["inverted"] * self.invert + ["mean 0 and standard deviation 1 in the specimen"] * self.normalise
        return ", ".join(parts)

    @property
    def all_words(self) -> str:
        """What is done, in one line; empty if nothing is."""
        by = RadialFilter(1.0, self.lowpass, self.deconvolution)
        return ", ".join(filter(None, [by.words, self.words]))

    def check(self, voxel_size: float) -> None:
        """Refuse a filter that would do nothing to voxels of this size, Å.

        Raises
        ------
        UsageError
            If the low-pass filter passes all that such voxels hold.
        """
        if self.lowpass is not None and self.lowpass < 2 * voxel_size:
            raise UsageError(
                f"lowpass={self.lowpass:g} does nothing: voxels of {voxel_size:.4g} Å hold nothing finer than "
                f"{2 * voxel_size:.4g} Å; give more than that, or leave it out"
            )

    def weighting(self, weighting: Weighting, series: TiltSeries, region: Region, correction: Correction) -> Weighting:
        """Give the weighting with the filters in it.

        Parameters
        ----------
        weighting, series, region
            As for :func:`fourierrecon.reconstruction.reconstruct`.
        correction
            What is done about the CTF.

        Raises
        ------
        UsageError, DataError
            As :meth:`check` and :meth:`fourierrecon.transfer.Transfer.of`.
        """
        size = series.pixel_size * region.binning
        self.check(size)
        by = RadialFilter(size, self.lowpass, self.deconvolution)
        if self.deconvolution is not None:
            mode, ctf = Transfer.of(series, correction, divides=weighting.divides).mode, series.ctf
            by = replace(by, ctf_mode="wiener")  # nothing is known of the CTF: take it as corrected
            if ctf is not None:
                least = int(np.argmin(np.abs(series.tilt_angles)))
                by = replace(
                    by, ctf_mode=mode, defocus=float(ctf.defocus_u[least] + ctf.defocus_v[least]) / 2,
                    phase_shift=float(ctf.phase_shift[least]),
                    optics=(ctf.voltage, ctf.spherical_aberration, ctf.amplitude_contrast),
                )  # fmt: skip
        return Filtered(weighting, by) if by else weighting


@dataclass(eq=False)
class Change:
    """Numbers that became of a finish: ``new = factor * old + offset``.

    Parameters
    ----------
    factor, offset
        Known when the volume is written.
    """

    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, eq=False)
class Slab:
    """The specimen's slab in the voxels of a region.

    Parameters
    ----------
    region
        The region.
    specimen
        In the world of the region; None, or one that was not found: all voxels count.
    pixel_size
        Å.
    """

    region: Region
    specimen: Specimen | None
    pixel_size: float

    def inside(self, z: int) -> NDArray[np.bool_] | None:
        """Tell which voxels ``(y, x)`` of section z lie in the slab; None: all."""
        if self.specimen is None or self.specimen.problem:
            return None
        (x0, y0, z0), b, (_, height, width) = self.region.origin, self.region.binning, self.region.shape
        (nx, ny, nz), (px, py, pz) = self.specimen.normal, self.specimen.point
        rows, columns = (y0 + b * np.arange(height) - py) * ny, (x0 + b * np.arange(width) - px) * nx
        height_of = rows[:, None] + columns + (z0 + b * z - pz) * nz
        return np.asarray(np.abs(height_of) <= self.specimen.thickness / self.pixel_size / 2)


@contextmanager
def finishing(write: SlabWriter, finish: Finish, slab: Slab, folder: Path, change: Change) -> Iterator[SlabWriter]:
    """Change the numbers of a volume on their way to a writer.

    Statistics are known at the end only: till then a nameless scratch file holds the volume.

    Parameters
    ----------
    write
        Takes the changed sections.
    finish
        What is done.
    slab
        Voxels that statistics are of.
    folder
        Folder of the scratch file.
    change
        Told what was done in numbers.

    Raises
    ------
    DataError
        If the scratch file does not fit.
    """
    sign = -1.0 if finish.invert else 1.0
    change.factor = sign
    if not finish.normalise:
        yield (lambda z, section: write(z, -section)) if finish.invert else write
        return
    sums: dict[int, tuple[int, float, float]] = {}
    with closing(HeldVolume(slab.region.shape, folder)) as held:

        def hold(z: int, section: Real) -> None:
            held.write(z, section)
            inside = slab.inside(z)
            values = np.asarray(section if inside is None else section[inside], np.float64)
            sums[z] = values.size, float(values.sum()), float((values * values).sum())

        yield hold
        if not any(n for n, _, _ in sums.values()):  # the slab lies beside the region
            raise UsageError("the region lies beside the specimen: nothing to normalise by; leave normalise=True out")
        n, total, squares = (float(np.sum([sums[z][i] for z in sorted(sums)])) for i in range(3))
        mean = total / n
        deviation = float(np.sqrt(max(squares / n - mean * mean, 0.0))) or 1.0
        change.factor, change.offset = sign / deviation, -sign * mean / deviation
        factor, offset = np.float32(change.factor), np.float32(change.offset)
        depth, height, width = slab.region.shape
        for z in range(depth):
            section = held.read(slice(z, z + 1), slice(0, height), slice(0, width))[0]
            write(z, section * factor + offset)


def view_path(volume: Path) -> Path:
    """Give the file of a viewing copy: ``NAME_view.mrc`` beside ``NAME.mrc``."""
    return volume.with_name(f"{volume.stem}_view{volume.suffix}")
