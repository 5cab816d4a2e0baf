"""RELION's 2D deformations of tilt images, as its Bayesian polishing of tomograms fits and its sets hold them.

As facts: a projected point ``p`` (px of the unbinned image, pixel centres at integers, from 0) lies at ``p + d(p)``
in the image. ``w x h`` is the size of the image, ``rlnTomoDeformationGridSizeX/Y`` the grid ``m x n``;
``rlnTomoDeformationCoefficients`` of each image holds the model that ``rlnTomoDeformationType`` names, x before y:

* ``spline``: value, slope in x, slope in y and twist, in units of one cell, at each point of the grid, x fastest, the
  points ``w / (m - 1)`` and ``h / (n - 1)`` px apart from pixel 0 on. Between them runs the bicubic Hermite spline;
  points beyond the grid count as those on its border.
* ``Fourier``: ``sum re cos(t) + im sin(t)``, ``t = pi (i x / w + j y / h)``, over ``j`` from 0 to ``n - 1``, where
  those from ``n // 2`` on stand for ``j - n``, and ``i`` from 0 to ``m // 2``; without ``i = 0`` for ``j = 0`` and
  negative ``j``.
* ``linear``: ``a, b, c``: ``d = (a x', b x' + c y')`` with ``(x', y')`` from the middle ``(w, h) / 2``.

Motion of single particles (``rlnTomoTrajectoriesFile``) belongs to the particles, and no reconstruction of the whole
tomogram can apply it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.geometry.displacement import DisplacementField, Points, project
from fourierrecon.io.star.table import Table, read_tables

COLUMNS = ("rlnTomoDeformationGridSizeX", "rlnTomoDeformationGridSizeY", "rlnTomoDeformationType")
COEFFICIENTS = "rlnTomoDeformationCoefficients"
#: No grid is finer than this many points along an axis, and no displacement larger, px: what exceeds it is a mistake.
FINEST, LARGEST = 1000, 1e5


@dataclass(frozen=True, eq=False)
class DeformationField(DisplacementField):
    """2D deformations of the images of a tilt series.

    Parameters
    ----------
    kind
        ``spline``, ``Fourier`` or ``linear``.
    grid
        Points along x and y.
    coefficients
        ``(n_tilts, n)``.
    image_shape
        ``(height, width)``, px.
    projections
        ``(n_tilts, 4, 4)``.
    """

    kind: str
    grid: tuple[int, int]
    coefficients: NDArray[np.float64]
    image_shape: tuple[int, int]
    projections: NDArray[np.float64]

    @property
    def words(self) -> str:  # type: ignore[override]
        """What it is, for the user."""
        size = "" if self.kind == "linear" else f", {self.grid[0]} x {self.grid[1]}"
        return f"RELION deformations ({self.kind}{size})"

    def at(self, tilt: int, points: Points) -> Points:
        """Give the displacements, see :class:`DisplacementField`."""
        pixels = project(self.projections[tilt], points)
        values, size = self.coefficients[tilt], np.array(self.image_shape[::-1], float)
        if self.kind == "linear":
            x, y = (pixels - size / 2).T
            a, b, c = values
            return np.stack([a * x, b * x + c * y], 1)
        if self.kind == "Fourier":
            phases = np.pi * (pixels / size) @ fourier_modes(self.grid).T
            parts = values.reshape(2, -1, 2)
            return np.asarray(np.cos(phases) @ parts[:, :, 0].T + np.sin(phases) @ parts[:, :, 1].T)
        return np.asarray(spline_basis(pixels / size, self.grid) @ values.reshape(2, -1).T)


def fourier_modes(grid: tuple[int, int]) -> NDArray[np.float64]:
    """Give the modes ``(i, j)`` of a Fourier deformation in the order of its coefficients, ``(n, 2)``."""
    m, n = grid
    modes = []
    for j in range(n):
        signed = j if j < n // 2 else j - n
        first = 0 if 0 < j < n // 2 else 1
        modes += [(i, signed) for i in range(first, m // 2 + 1)]
    return np.array(modes, float).reshape(-1, 2)


def spline_basis(at: Points, grid: tuple[int, int]) -> NDArray[np.float64]:
    """Give what each coefficient of one component counts at some places.

    Parameters
    ----------
    at
        Parts of the image along x and y, ``(n, 2)``.
    grid
        Points along x and y.

    Returns
    -------
    ``(n, 4 grid[0] grid[1])``, in the order of the file.
    """
    m, n = grid
    steps = np.array(grid) - 1
    place = np.clip(at * steps, 0, steps * (1 - 1e-12))
    cell = np.minimum(place.astype(int), steps - 1)
    bases = [_hermite(t) for t in (place - cell).T]
    result = np.zeros((len(at), n, m, 4))
    rows = np.arange(len(at))
    for dx in (0, 1):
        for dy in (0, 1):
            (vx, sx), (vy, sy) = (basis[d] for basis, d in zip(bases, (dx, dy), strict=True))
            result[rows, cell[:, 1] + dy, cell[:, 0] + dx] = np.stack([vx * vy, sx * vy, vx * sy, sx * sy], 1)
    return result.reshape(len(at), -1)


def _hermite(t: NDArray[np.float64]) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]:
    """Basis of values and slopes at both ends of a cell."""
    t2, t3 = t**2, t**3
    return (1 - 3 * t2 + 2 * t3, t - 2 * t2 + t3), (3 * t2 - 2 * t3, t3 - t2)


def read_deformation(
    row: Table, tilts: Table, image_shape: tuple[int, int], projections: NDArray[np.float64]
) -> DisplacementField | None:
    """Read the deformations of a tilt series; None if the set has none, or all are 0.

    Parameters
    ----------
    row, tilts
        Its row in the table of tomograms, and the table of its tilts.
    image_shape
        ``(height, width)``, px.
    projections
        ``(n_tilts, 4, 4)``.

    Raises
    ------
    DataError
        If columns are incomplete, or do not hold what they should; the message names file and column.
    """
    if not row.has(*COLUMNS) or not tilts.has(COEFFICIENTS):
        if tilts.has(COEFFICIENTS):
            raise DataError(f"{tilts.where}: {COEFFICIENTS}, but {row.where} lacks {', '.join(row.lacks(*COLUMNS))}")
        return None
    m, n = (int(row.numbers(label, least=0, most=FINEST)[0]) for label in COLUMNS[:2])
    kind = row.words(COLUMNS[2])[0]
    needed = {"spline": 8 * m * n, "Fourier": 4 * len(fourier_modes((m, n))), "linear": 3}
    if kind not in needed:
        raise DataError(f"{row.cell(COLUMNS[2])}: {kind[:40]!r}; allowed: {', '.join(needed)}")
    if kind == "spline" and min(m, n) < 2:
        raise DataError(f"{row.cell(COLUMNS[0])}: a spline of {m} x {n} points; needed: at least 2 x 2")
    values = tilts.vectors(COEFFICIENTS, needed[kind])
    if not (np.abs(values) < LARGEST).all():
        bad = int(np.argmax(np.abs(values).max(1)))
        raise DataError(f"{tilts.cell(COEFFICIENTS, bad)}: {np.abs(values).max():g} px is no deformation; correct it")
    return DeformationField(kind, (m, n), values, image_shape, projections) if values.any() else None


def name_motion(path: Path) -> None:
    """Warn of the motion of particles that an optimisation set names: it is left out."""
    for table in read_tables(path).values():
        if table.has("rlnTomoTrajectoriesFile") and len(table) and table.words("rlnTomoTrajectoriesFile")[0]:
            warnings.warn(
                f"{path}: not applied: motion of single particles (rlnTomoTrajectoriesFile), which is no motion of "
                f"the whole specimen",
                stacklevel=3,
            )
            return
