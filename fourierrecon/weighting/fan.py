"""A fan of slices about one tilt axis: the angle each image stands for, and distances across the axis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import UsageError
from fourierrecon.weighting.base import TiltViews

#: Cosine of the steepest tilt for which a specimen is a slab: no beam runs along one for ever.
STEEPEST = 0.1
#: Beams may leave the plane across the tilt axis by that much (sine of the angle); two axes leave it by far more.
OFF_PLANE = 0.2
#: Slices nearer than that are the same one, rad.
SAME = 1e-4
#: Rows of a filter that are made at a time, to keep the memory for them small.
ROWS = 64


@dataclass(frozen=True, eq=False)
class Fan:
    """Slices about one tilt axis.

    Parameters
    ----------
    views
        How the images look at the specimen.
    across
        ``(n_tilts, 2)``: the distance of frequency ``q`` of an image from the tilt axis is ``|q . across|``.
    steps
        Angle that each image stands for, rad, ``(n_tilts,)``; zeros where all images have the same tilt.
    cosines
        Cosines of the tilts, not below :data:`STEEPEST`, ``(n_tilts,)``.
    """

    views: TiltViews
    across: NDArray[np.float64]
    steps: NDArray[np.float64]
    cosines: NDArray[np.float64]

    @classmethod
    def of(cls, views: TiltViews) -> Fan:
        """Find the tilt axis and the steps of a tilt series.

        Raises
        ------
        UsageError
            If the images do not share one tilt axis.
        """
        slices = views.matrices
        beams = np.cross(slices[:, 0], slices[:, 1])
        beams /= np.linalg.norm(beams, axis=1, keepdims=True)
        axis = _axis(slices, beams)
        if np.abs(beams @ axis).max() > OFF_PLANE:
            raise UsageError(
                "the filters ramp and sirtlike need one tilt axis, and the tilts of this series have more; "
                'use weighting="exact", preweight or wiener'
            )
        directions = np.cross(axis, beams)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        along_z = np.cross(directions[0], axis)
        angles = np.arctan2(directions @ along_z, directions @ directions[0])
        cosines = np.maximum(np.abs(beams[:, 2]), STEEPEST)
        return cls(views, np.einsum("fij,fj->fi", slices, directions), steps_of(angles), cosines)

    def least(self, tilt: int, thickness: float) -> float:
        """Give the factor of an image where all slices are one: with it, the mean over all images fills the slab.

        Parameters
        ----------
        tilt
            0-based number of the image.
        thickness
            Thickness of the slab, voxels.
        """
        total = float(self.steps.sum())
        share = float(self.steps[tilt]) / total if total > 0 else 1 / len(self.steps)
        return share * float(self.cosines[tilt]) / thickness

    def rows(
        self, tilt: int, frequency_x: NDArray[np.float32], frequency_y: NDArray[np.float32]
    ) -> Iterator[tuple[slice, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
        """Go through a filter some rows at a time.

        Yields
        ------
        rows, distance, radius, power
            Which rows, ``(rows, columns)`` each: distance from the tilt axis and from the origin, cycles per voxel, and
            the square of all that the image is multiplied with, as far as it is divided by, or its absolute value.
        """
        views, seen = self.views, self.views.transfers
        fx = np.asarray(frequency_x, float).reshape(1, -1)
        for first in range(0, frequency_y.size, ROWS):
            rows = slice(first, first + ROWS)
            fy = np.asarray(frequency_y, float).reshape(-1, 1)[rows]
            distance = np.abs(fx * self.across[tilt, 0] + fy * self.across[tilt, 1])
            radius = np.hypot(fx, fy)
            if seen.weighs_ctf:
                power = seen.weight(tilt, fx / views.voxel_size, fy / views.voxel_size)
            else:
                value = seen.scale[tilt] * seen.damped(tilt, radius / views.voxel_size)
                power = np.abs(value) ** seen.power
            yield rows, distance, radius, power


def _axis(slices: NDArray[np.float64], beams: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the direction that all slices share; where all are the same, one of the first image."""
    # all three directions are needed, also of fewer beams
    _, sizes, directions = np.linalg.svd(beams, full_matrices=len(beams) < 3)
    if len(beams) < 2 or sizes[1] < SAME * sizes[0]:
        return np.asarray(slices[0, 1] / np.linalg.norm(slices[0, 1]))
    return np.asarray(directions[2])


def steps_of(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the angle that each slice stands for: half of the way to the next one on both sides.

    Slices repeat after half a turn. The widest gap is the missing wedge, and nobody stands for it: slices at its
    borders reach into it no farther than they reach to the other side. Equal slices share their angle.

    Parameters
    ----------
    angles
        Angles about the tilt axis, rad, ``(n,)``.

    Returns
    -------
    steps
        rad, ``(n,)``; zeros where all angles are equal.
    """
    turned = np.mod(angles, np.pi)
    order = np.argsort(turned, kind="stable")
    ahead = np.diff(turned[order], append=turned[order[0]] + np.pi)
    # begin right after the widest gap, so that no group of equal slices is torn
    widest = int(np.argmax(ahead))
    order, ahead = np.roll(order, -widest - 1), np.roll(ahead, -widest - 1)
    group = np.concatenate([[0], np.cumsum(ahead[:-1] > SAME)])
    gaps = ahead[:-1][ahead[:-1] > SAME]
    steps = np.zeros(len(angles))
    if len(gaps):
        reach = np.concatenate([[min(ahead[-1], gaps[0])], gaps, [min(ahead[-1], gaps[-1])]])
        steps[order] = ((reach[:-1] + reach[1:]) / 2 / np.bincount(group))[group]
    return steps


class WithRollOff:
    """Part of a weighting with the fields of :class:`RollOff`."""

    cutoff: float
    sigma: float
    hamming: float | None
    end: float

    @property
    def roll_off(self) -> RollOff:
        """Fall towards high frequencies; its values are checked where it is made."""
        return RollOff(self.cutoff, self.sigma, self.hamming, self.end)


@dataclass(frozen=True)
class RollOff:
    """Fall of a filter towards high frequencies across the tilt axis, cycles per voxel.

    Parameters
    ----------
    cutoff, sigma
        The filter is kept up to ``cutoff``; beyond, a Gaussian of that standard deviation takes over
        (``exp(-(d - cutoff)² / (2 sigma²))``), or nothing is left where it is 0.
    hamming, end
        In place of both: from ``hamming`` on a raised cosine, which is ``end`` at half a cycle per voxel:
        ``(1 + end) / 2 + (1 - end) / 2 cos(pi (d - hamming) / (0.5 - hamming))``.

    Raises
    ------
    UsageError
        If a value makes no sense.
    """

    cutoff: float = 0.5
    sigma: float = 0.0
    hamming: float | None = None
    end: float = 0.06

    def __post_init__(self) -> None:
        if not (0 < self.cutoff <= 0.5 and 0 <= self.sigma < np.inf):
            raise UsageError(
                f"cutoff={self.cutoff:g}, sigma={self.sigma:g}: a roll-off begins above 0, up to 0.5 cycles per voxel, "
                "and its sigma is 0 or more"
            )
        if self.hamming is not None and not 0 <= self.hamming < 0.5:
            raise UsageError(f"hamming={self.hamming:g}: it begins at 0 or more, below 0.5 cycles per voxel")
        if not 0 <= self.end <= 1:
            raise UsageError(f"end={self.end:g}: what the Hamming window leaves at 0.5 cycles per voxel is 0 to 1")
        if self.hamming is not None and (self.cutoff, self.sigma) != (0.5, 0.0):
            raise UsageError("cutoff with sigma, and hamming, exclude each other; give one of them")

    def at(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the factors at distances from the tilt axis, cycles per voxel."""
        if self.hamming is not None:
            part = np.clip((distance - self.hamming) / (0.5 - self.hamming), 0, 1)
            return np.asarray((1 + self.end) / 2 + (1 - self.end) / 2 * np.cos(np.pi * part))
        if self.cutoff == 0.5:
            return np.ones_like(distance)
        beyond = np.maximum(distance - self.cutoff, 0)
        if self.sigma == 0:
            return np.asarray((beyond == 0).astype(float))
        return np.asarray(np.exp(-((beyond / self.sigma) ** 2) / 2))

    @property
    def words(self) -> str:
        """What it does, after the name of a filter."""
        if self.hamming is not None:
            return f", Hamming from {self.hamming:g} cycles per voxel"
        return "" if self.cutoff == 0.5 else f", Gaussian from {self.cutoff:g}, sigma {self.sigma:g} cycles per voxel"
