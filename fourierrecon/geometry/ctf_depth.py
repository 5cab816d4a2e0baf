"""The contrast transfer function at the depth of each point: its geometry, its mean over the specimen, and its hand.

The defocus of a point is that of its image plus ``h d``: ``d`` is its depth along the beam (Å) from the point that the
defocus belongs to, ``h`` the hand of the defocus, 1 or -1. With the phase ``chi`` at ``d = 0``

``CTF(q; d) = sin(chi + pi lambda q² h d) = (e^{i chi} e^{2 pi i delta d} - e^{-i chi} e^{-2 pi i delta d}) / 2i``,
``delta = h lambda q² / 2``,

and a factor ``e^{2 pi i delta d}`` moves a Fourier coefficient along the beam by ``-delta``: onto the Ewald sphere. How
samples are inserted there: :mod:`fourierrecon.engine.curved_slices`. A weighting divides by the mean of CTF² over the
depths that the specimen spans; for a box of sides ``L_i`` and the beam ``n``

``1/2 - 1/2 cos(2 chi) prod_i sinc(2 delta n_i L_i)``,  ``sinc(x) = sin(pi x) / (pi x)``,  ``chi`` at its middle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourierrecon.ctf import electron_wavelength
from fourierrecon.errors import UsageError
from fourierrecon.geometry.projection import rotation_centre
from fourierrecon.geometry.region import Region
from fourierrecon.tilt_series import USUAL_HAND, TiltSeries

#: What may be asked for.
CTF_DEPTHS = ("on", "off", "auto")
#: Phase error of a constant CTF that does not matter, rad: at the farthest corner of the region and the highest
#: frequency 95 % of the signal are left.
FLAT = 0.3
#: Highest frequency that a volume holds, cycles per voxel.
HIGHEST = 0.5
#: Entries of a table of means over q², up to the corner of the image's Fourier square (0.5 cycles² per voxel²).
MEANS, PER_SQUARE = 4096, 2 * 4096.0


@dataclass(frozen=True, eq=False)
class DepthCtf:
    """What the CTF at each depth depends on.

    Parameters
    ----------
    hand
        1 or -1: the sign by which the defocus grows with the depth.
    wavelength
        Å.
    rows
        ``(n_tilts, 4)``: unit vector along the beam and offset; the depth of a world point ``X`` (bin-1 px) is
        ``rows[f, :3] @ X + rows[f, 3]``, px, from the point that the defocus belongs to.
    pixel_size
        Å.
    middle, sides
        Middle of the specimen's box (world px) and its sides (px), ``(3,)``.
    """

    hand: int
    wavelength: float
    rows: NDArray[np.float64]
    pixel_size: float
    middle: NDArray[np.float64]
    sides: NDArray[np.float64]

    @classmethod
    def of(cls, series: TiltSeries, region: Region, hand: int) -> DepthCtf:
        """Find it for a region of a tilt series with a CTF.

        Raises
        ------
        ValueError
            If the series has no CTF.
        """
        if series.ctf is None:
            raise ValueError(f"{series.name} has no CTF")
        middle, sides = _specimen(series, region)
        wavelength = electron_wavelength(series.ctf.voltage)
        return cls(hand, wavelength, depth_rows(series), series.pixel_size, middle, sides)

    def bend(self, voxel_size: float) -> float:
        """Shift along the beam over the square of the frequency, ``delta / q²``, in cycles per voxel; voxel in Å."""
        return self.hand * self.wavelength / (2 * voxel_size)

    def depth(self, tilt: int, point: NDArray[np.float64]) -> float:
        """Depth of a world point (px) in the image of a tilt, Å."""
        return float(self.rows[tilt, :3] @ point + self.rows[tilt, 3]) * self.pixel_size

    def middle_depth(self, tilt: int) -> float:
        """Depth of the middle of the specimen in the image of a tilt, Å."""
        return self.depth(tilt, self.middle)

    def likeness(self, tilt: int, squared: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give ``prod_i sinc(2 delta n_i L_i)`` for squared frequencies, 1/Å²: 1 where one CTF holds for all depths."""
        lengths = np.abs(self.rows[tilt, :3]) * self.sides * self.pixel_size * self.wavelength
        values = np.ones_like(np.asarray(squared, float))
        for length in lengths:
            values = values * np.sinc(length * squared)
        return np.asarray(values)

    def likeness_tables(self, voxel_size: float) -> NDArray[np.float32]:
        """Tabulate :meth:`likeness` at ``i / PER_SQUARE`` cycles² per voxel², ``(n_tilts, MEANS + 1)``."""
        squared = np.arange(MEANS + 1) / PER_SQUARE / voxel_size**2
        return np.stack([self.likeness(tilt, squared) for tilt in range(len(self.rows))]).astype(np.float32)

    def record(self) -> dict[str, object]:
        """Say what was used, for the passport of a volume."""
        return {
            "hand": self.hand,
            "beams_and_offsets_world_px": self.rows.tolist(),
            "mean_over_box_of_sides_angstrom": (self.sides * self.pixel_size).tolist(),
        }


def depth_rows(series: TiltSeries) -> NDArray[np.float64]:
    """Depth along the beam as a function of the world point, ``(n_tilts, 4)``; see :class:`DepthCtf`.

    It grows as the third row of the projection matrices does. Readers make that row so that it is 0 at the rotation
    centre, also if the alignment is corrected afterwards: there the defocus is taken to be that of the image. Matrices
    of RELION 4, with rows of any offset, count from the middle of the tomogram, as RELION does.

    Parameters
    ----------
    series
        The tilt series.
    """
    third = series.projections[:, 2]
    beams = np.cross(series.projections[:, 0, :3], series.projections[:, 1, :3])
    beams /= np.linalg.norm(beams, axis=1, keepdims=True)
    along = np.einsum("fi,fi->f", third[:, :3], beams)
    beams = np.where(along[:, None] < 0, -beams, beams)
    offsets = -beams @ rotation_centre(series)
    told = np.abs(along) > 0.5
    if told.all() and not _from_middle(series):
        offsets = third[:, 3] / np.abs(along)
    return np.column_stack([beams, offsets])


def _from_middle(series: TiltSeries) -> bool:
    """Tell whether matrices came with a depth that counts from anywhere."""
    return series.rotation_centre is None and series.pivot is None and series.middle is None


def defocus_point(series: TiltSeries) -> str:
    """Say for which point of the specimen the defocus is taken to hold."""
    return "the middle of the tomogram" if _from_middle(series) else "the rotation centre"


def phase_error(series: TiltSeries, region: Region) -> float:
    """Bound on the error of the phase, rad, that one CTF for each image makes in a region.

    It is ``pi lambda q² d`` at the corner of the region that is farthest along a beam, and at the highest frequency of
    the volume. Without a CTF it is 0.

    Parameters
    ----------
    series, region
        Tilt series and region.
    """
    if series.ctf is None:
        return 0.0
    highest = HIGHEST / (region.binning * series.pixel_size)
    wavelength = electron_wavelength(series.ctf.voltage)
    return float(np.pi * wavelength * highest**2 * farthest_depth(series, region))


def farthest_depth(series: TiltSeries, region: Region) -> float:
    """Largest depth of a corner of the region along a beam, from the point that the defocus belongs to, Å."""
    rows, half = depth_rows(series), region.binning * (np.array(region.shape[::-1]) - 1) / 2
    depths = np.abs(rows[:, :3] @ region.centre + rows[:, 3]) + np.abs(rows[:, :3]) @ half
    return float(depths.max() * series.pixel_size)


def choose_depth(
    series: TiltSeries, region: Region, asked: str | None, *, possible: bool, hand: int | None = None
) -> tuple[DepthCtf | None, str]:
    """Choose between the CTF at each depth and one CTF for each image.

    Parameters
    ----------
    series, region
        Tilt series with a CTF, and the region.
    asked
        One of :data:`CTF_DEPTHS`; None: ``auto``, on where :func:`phase_error` is above :data:`FLAT` and the hand of
        the defocus is known.
    possible
        Whether what is done with the CTF has a form at each depth; a phase flip has none.
    hand
        1 or -1, in place of the hand that the series gives.

    Returns
    -------
    depth, words
        None for one CTF for each image; and one line that says what was chosen, and why.

    Raises
    ------
    UsageError
        If it is asked for, and not possible.
    """
    bound = phase_error(series, region)
    finest = 2 * region.binning * series.pixel_size
    error = f"one CTF for each image makes a phase error of up to {bound:.2g} rad at {finest:.3g} Å"
    if not possible:
        if asked == "on":
            raise UsageError(
                'ctf_depth="on" needs ctf_mode="wiener" or ctf_mode="multiply": a phase flip, or a CTF that is '
                "untouched up to its first peak, is no function of the depth"
            )
        return None, f"off: this mode cannot follow the depth ({error})"
    if series.local is not None:
        if asked == "on":
            raise UsageError(
                f"{series.name} has a local alignment, which is applied in tiles with one CTF for each image; leave "
                f'ctf_depth="on" out, or the local alignment (local=False)'
            )
        return None, f"off: the local alignment is applied in tiles ({error})"
    if asked == "off":
        return None, f"off, as asked for ({error})"
    if asked != "on" and bound <= FLAT:
        return None, f"off: {error}, and {FLAT:g} rad do not matter"
    told = hand if hand is not None else None if series.hand_assumed else series.hand
    if asked != "on" and told is None:
        return None, (
            f"off: the source does not give the hand of the defocus, which the CTF at each depth needs "
            f'({error}); find it (fourierrecon check-hand) and give defocus_hand=..., or ctf_depth="on"'
        )
    used = told or series.hand or USUAL_HAND
    origin = "as given" if hand is not None else "as the source gives it"
    origin = "assumed, since the source does not give it" if told is None else origin
    words = f"at each depth: hand {used:+d}, {origin}; defocus that of {defocus_point(series)} ({error})"
    return DepthCtf.of(series, region, used), words


def _specimen(series: TiltSeries, region: Region) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give middle and sides of the box that weights are made for: that of the tomogram, if the region is a part.

    Along an axis where the region is as long as the tomogram it is that of the region, which is a tomogram in another
    place. So a part is weighted as in the whole.
    """
    middle, sides = region.centre, region.binning * np.array(region.shape[::-1], float)
    if series.size is not None:
        whole = Region.of(series, binning=region.binning)
        part = np.array(region.shape[::-1]) < np.array(whole.shape[::-1])
        middle = np.where(part, whole.centre, middle)
        sides = np.where(part, whole.binning * np.array(whole.shape[::-1], float), sides)
    return middle, sides
