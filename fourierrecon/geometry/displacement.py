"""What a global alignment leaves over: the displacement of each projected point, of every program in one form.

A tilt series with a local alignment shows the world point ``X`` at ``(P_f X)[:2] + r_f(X)``: ``r`` is the displacement
field, in px of the unbinned images. Readers fill it from the files of their programs, in their own world and with the
projection matrices of their series; corrections of an alignment and selections of tilts go with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.tilt_series import TiltSeries

Points = NDArray[np.float64]


class DisplacementField(ABC):
    """The local part of an alignment.

    Attributes
    ----------
    words
        What it is, for the user: ``RELION deformations (spline, 4 x 4)``.
    """

    words: str

    @abstractmethod
    def at(self, tilt: int, points: Points) -> Points:
        """Give the displacements of the projections of world points in one image.

        Parameters
        ----------
        tilt
            0-based number of the image in the series.
        points
            World points ``(x, y, z)``, ``(n, 3)``.

        Returns
        -------
        displacements
            ``(n, 2)``: ``(u, v)``, px of the unbinned image.
        """

    def select(self, tilts: Sequence[int] | NDArray[np.int64]) -> DisplacementField:
        """Give the field of some of the tilts, by 0-based number."""
        return _Seen(self, np.asarray(tilts, int), np.eye(4))

    def moved(self, matrix: NDArray[np.float64]) -> DisplacementField:
        """Give the field for another world.

        Parameters
        ----------
        matrix
            ``(4, 4)``: points of the new world to points of the old one; the one that projection matrices are
            multiplied with from the right.
        """
        return _Seen(self, None, np.asarray(matrix, float))

    def beneath(self) -> tuple[DisplacementField, NDArray[np.int64] | None]:
        """Give the field of the source that this one is a part of, and the numbers of its tilts there; None: all."""
        return self, None


@dataclass(frozen=True, eq=False)
class _Seen(DisplacementField):
    """A field of some tilts, or seen from another world."""

    field: DisplacementField
    tilts: NDArray[np.int64] | None
    matrix: NDArray[np.float64]

    @property
    def words(self) -> str:  # type: ignore[override]
        return self.field.words

    def beneath(self) -> tuple[DisplacementField, NDArray[np.int64] | None]:
        field, numbers = self.field.beneath()
        if self.tilts is not None:
            numbers = self.tilts if numbers is None else numbers[self.tilts]
        return field, numbers

    def at(self, tilt: int, points: Points) -> Points:
        number = tilt if self.tilts is None else int(self.tilts[tilt])
        return self.field.at(number, points @ self.matrix[:3, :3].T + self.matrix[:3, 3])


@dataclass(frozen=True, eq=False)
class FieldOf(DisplacementField):
    """A field that a function gives, for alignments of one's own.

    Parameters
    ----------
    function
        Called as ``function(tilt, points)``, as :meth:`DisplacementField.at`.
    words
        What it is, for the user.

    Raises
    ------
    DataError
        By :meth:`at`, if the function gives anything else than ``(n, 2)`` finite numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from fourierrecon.geometry.displacement import FieldOf
    >>> field = FieldOf(lambda tilt, points: 1e-5 * points[:, :2] ** 2)
    >>> field.at(0, np.array([[100.0, 200.0, 0.0]]))
    array([[0.1, 0.4]])
    """

    function: Callable[[int, Points], Points]
    words: str = "a displacement field"

    def at(self, tilt: int, points: Points) -> Points:
        """Give the displacements, see :meth:`DisplacementField.at`."""
        found = np.asarray(self.function(tilt, points), float)
        if found.shape != (len(points), 2):
            raise DataError(
                f"{self.words}, image {tilt + 1}: shape {found.shape} for {len(points)} points; needed: (n, 2), u and v"
            )
        if not np.isfinite(found).all():
            raise DataError(f"{self.words}, image {tilt + 1}: a displacement is not finite; needed: px of the image")
        return found


@dataclass(frozen=True, eq=False)
class SampledField(DisplacementField):
    """Displacements at the points of a lattice, linear between them and constant beyond.

    Parameters
    ----------
    axes
        Coordinates of the lattice along x, y and z, each ascending.
    values
        ``(n_tilts, nx, ny, nz, 2)``, px.
    words
        What it is, for the user.

    Raises
    ------
    DataError
        If an axis does not ascend, or the values are not finite or of another shape.
    """

    axes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    values: NDArray[np.float64]
    words: str = "displacements on a lattice"

    def __post_init__(self) -> None:
        lattice = tuple(len(axis) for axis in self.axes)
        if self.values.shape[1:] != (*lattice, 2):
            raise DataError(f"{self.words}: values of shape {self.values.shape}; needed: (n_tilts, *{lattice}, 2)")
        if not all(np.all(np.diff(axis) > 0) for axis in self.axes):
            raise DataError(f"{self.words}: the coordinates along each axis must ascend")
        if not np.isfinite(self.values).all():
            raise DataError(f"{self.words}: a displacement is not finite; needed: px of the image")

    def at(self, tilt: int, points: Points) -> Points:
        """Give the displacements, see :meth:`DisplacementField.at`."""
        result = np.zeros((len(points), 2))
        places = [_place(axis, points[:, i]) for i, axis in enumerate(self.axes)]
        for corner in np.ndindex(2, 2, 2):
            index = tuple(
                np.minimum(first + c, len(a) - 1) for (first, _), c, a in zip(places, corner, self.axes, strict=True)
            )
            share = np.prod([part if c else 1 - part for (_, part), c in zip(places, corner, strict=True)], axis=0)
            result += share[:, None] * self.values[tilt][index]
        return result


def _place(axis: NDArray[np.float64], x: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Give the cell of an axis that values lie in, and how far along it they are, 0 to 1."""
    if len(axis) == 1:
        return np.zeros(len(x), int), np.zeros(len(x))
    first = np.clip(np.searchsorted(axis, x, side="right") - 1, 0, len(axis) - 2)
    return first, np.clip((x - axis[first]) / (axis[first + 1] - axis[first]), 0, 1)


def scaled(field: DisplacementField, step: float) -> DisplacementField:
    """Give a field for images and a world whose pixels are ``step`` times as wide."""
    return FieldOf(lambda tilt, points: field.at(tilt, points * step) / step, field.words)


def positions_in(series: TiltSeries, points: Points) -> Points:
    """Give the pixels of world points ``(n, 3)`` in all images, local alignment included, ``(n_tilts, n, 2)``."""
    found = np.stack([project(matrix, points) for matrix in series.projections])
    if series.local is not None:
        found += np.stack([series.local.at(tilt, points) for tilt in range(series.n_tilts)])
    return found


def project(projections: NDArray[np.float64], points: Points) -> Points:
    """Give the pixels ``(n, 2)`` of world points ``(n, 3)`` by one projection matrix ``(4, 4)``."""
    return np.asarray(points @ projections[:2, :3].T + projections[:2, 3], np.float64)
