"""IMOD's local alignments (``LOCALFILE`` of the program tilt) and Z factors (``ZFACTORFILE``).

As facts (the program tilt; lengths in px of the raw stack, ``(x, y, z)`` from the point ``C`` of
:mod:`fourierrecon.io.imod.alignment`): with Z factors ``f`` the global alignment takes a point to ``q = (x cos b + y
sin a sin b + z (cos a sin b + f_x), y cos a - z (sin a - f_y))``, ``a`` the x tilt and ``b`` the tilt. A local file
has patches of the aligned image, ``nx`` by ``ny``, with centres from ``(x0, y0)`` on, ``(dx, dy)`` apart, and in
each, for each view, angles that add to ``a`` and ``b``, Z factors of its own and a linear transform ``F``, ``d``
about the middle of the aligned image: there ``q`` comes to ``F (q + (DELX, 0)) + d``. The four patches around a point
are interpolated, by the place ``(x, y)`` that it has at zero tilt; beyond the outermost centres these count. Local Z
factors count only with a ``ZFACTORFILE``.

The file begins with ``nx ny x0 y0 dx dy``, from 1, px of the aligned stack or of ``pixel`` Å, and optionally
``x_tilts pixel z_factors``: whether there are x tilts, a pixel size, whether there are Z factors. For each patch, x
fastest, follow the tilts of all views, their x tilts, their Z factors in pairs, and a line ``F11 F12 F21 F22 dx dy``
a view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.geometry.displacement import DisplacementField, Points
from fourierrecon.io.imod.project import Files
from fourierrecon.io.imod.text import Options, read_rows
from fourierrecon.text import counted

#: Most patches along an axis.
MOST_PATCHES = 1000


@dataclass(frozen=True, eq=False)
class Patches:
    """What a local file holds; views by 0-based number.

    Parameters
    ----------
    first, step
        Centre of the first patch and distance of two, ``(x, y)``, px of the aligned stack from 1.
    tilts, x_tilts
        Degrees to add, ``(ny, nx, n)``.
    z_factors
        ``(ny, nx, n, 2)``.
    matrices, shifts
        ``F`` and ``d``, ``(ny, nx, n, 2, 2)`` and ``(ny, nx, n, 2)``, px of the aligned stack.
    pixel_size
        Å of the lengths; 0: that of the aligned stack.
    """

    first: NDArray[np.float64]
    step: NDArray[np.float64]
    tilts: NDArray[np.float64]
    x_tilts: NDArray[np.float64]
    z_factors: NDArray[np.float64]
    matrices: NDArray[np.float64]
    shifts: NDArray[np.float64]
    pixel_size: float

    @classmethod
    def read(cls, path: Path, n: int) -> Patches:
        """Read a local file for ``n`` views.

        Raises
        ------
        DataError
            If it does not hold what it should; the message names the file.
        """
        rows = [values for _, values in read_rows(path, 1, 100_000, "a number")]
        head = (*rows[0], 0.0, 0.0, 0.0)[: max(len(rows[0]), 9)] if rows else ()
        if not rows or not 6 <= len(rows[0]) <= 9:
            raise DataError(f"{path}: its first line must hold 6 to 9 numbers; is it the local file of tiltalign?")
        nx, ny = int(head[0]), int(head[1])
        x_tilted, pixel, z_factored = head[6] > 0, float(head[7]), head[8] > 0
        if not (2 <= nx <= MOST_PATCHES and 2 <= ny <= MOST_PATCHES and min(head[4:6]) > 0):
            raise DataError(f"{path}, line 1: {nx} x {ny} patches; allowed: 2 to {MOST_PATCHES} along x and y")
        values = np.array([value for row in rows[1:] for value in row])
        each = n * (1 + x_tilted + 2 * z_factored + 6)
        if len(values) != nx * ny * each:
            raise DataError(
                f"{path}: {counted(len(values), 'number')} for {nx} x {ny} patches of {n} views; needed: "
                f"{nx * ny * each}; is it of another series, or cut short?"
            )
        values = values.reshape(ny, nx, each)
        ends = np.cumsum([n, n * x_tilted, 2 * n * z_factored])
        tilts, x_tilts, z_factors, lines = np.split(values, ends, axis=2)
        shape = ny, nx, n
        lines = lines.reshape(*shape, 6)
        return cls(
            np.array(head[2:4], float),
            np.array(head[4:6], float),
            tilts,
            x_tilts if x_tilted else np.zeros(shape),
            z_factors.reshape(*shape, 2) if z_factored else np.zeros((*shape, 2)),
            lines[..., :4].reshape(*shape, 2, 2),
            lines[..., 4:],
            pixel,
        )


@dataclass(frozen=True, eq=False)
class LocalField(DisplacementField):
    """Local alignments of IMOD; lengths in px of the raw stack.

    Parameters
    ----------
    origin
        World point ``C``.
    axis
        Where ``C`` lies in the aligned images, from their middle, ``(x, y)``.
    middle
        Place of ``C`` at zero tilt, in units of patches from the centre of the first, ``(x, y)``.
    step
        Distance of two patches.
    inverse
        Back from the aligned to the raw images, ``(n, 2, 2)``.
    tilts, x_tilts
        Degrees, ``(ny, nx, n)``.
    z_factors, matrices, shifts
        As in :class:`Patches`.
    whole
        Global part of ``q``: ``(n, 2, 3)``.
    """

    origin: NDArray[np.float64]
    axis: NDArray[np.float64]
    middle: NDArray[np.float64]
    step: NDArray[np.float64]
    inverse: NDArray[np.float64]
    tilts: NDArray[np.float64]
    x_tilts: NDArray[np.float64]
    z_factors: NDArray[np.float64]
    matrices: NDArray[np.float64]
    shifts: NDArray[np.float64]
    whole: NDArray[np.float64]

    @property
    def words(self) -> str:  # type: ignore[override]
        """What it is, for the user."""
        ny, nx = self.tilts.shape[:2]
        return f"IMOD's local alignments ({nx} x {ny} patches)"

    def at(self, tilt: int, points: Points) -> Points:
        """Give the displacements, see :class:`DisplacementField`."""
        ny, nx = self.tilts.shape[:2]
        away = points - self.origin
        place = np.clip(away[:, :2] / self.step + self.middle, 0, [nx - 1, ny - 1])
        cell = np.minimum(place.astype(int), [nx - 2, ny - 2])
        part = place - cell
        rows = projection_rows(self.tilts[:, :, tilt], self.x_tilts[:, :, tilt], self.z_factors[:, :, tilt])
        matrices, shifts = self.matrices[:, :, tilt], self.shifts[:, :, tilt]
        linear, constant = matrices @ rows, np.einsum("yxij,j->yxi", matrices, self.axis) + shifts
        found = np.zeros((len(points), 2))
        for dx in (0, 1):
            for dy in (0, 1):
                x, y = cell[:, 0] + dx, cell[:, 1] + dy
                share = (part[:, 0] if dx else 1 - part[:, 0]) * (part[:, 1] if dy else 1 - part[:, 1])
                found += share[:, None] * (np.einsum("nij,nj->ni", linear[y, x], away) + constant[y, x])
        moved = found - away @ self.whole[tilt].T - self.axis
        return np.asarray(moved @ self.inverse[tilt].T)


def projection_rows(
    tilts: NDArray[np.float64], x_tilts: NDArray[np.float64], z_factors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give the matrices ``(..., 2, 3)`` that take points to ``q``, from degrees ``(...)`` and factors ``(..., 2)``."""
    b, a = np.radians(tilts), np.radians(x_tilts)
    first = np.stack([np.cos(b), np.sin(a) * np.sin(b), np.cos(a) * np.sin(b) + z_factors[..., 0]], -1)
    second = np.stack([np.zeros_like(a), np.cos(a), z_factors[..., 1] - np.sin(a)], -1)
    return np.stack([first, second], -2)


def read_z_factors(files: Files, tilt: Options, n: int) -> NDArray[np.float64]:
    """Read the Z factors of all views, ``(n, 2)``; 0 without a file.

    Raises
    ------
    DataError
        If the file that ``tilt.com`` names does not hold one pair a view.
    """
    path = files.named(tilt, "ZFACTORFILE")
    if path is None:
        return np.zeros((n, 2))
    values = [value for _, row in read_rows(path, 1, 10_000, "a Z factor") for value in row]
    if len(values) != 2 * n:
        raise DataError(f"{path}: {len(values)} Z factors for {counted(n, 'view')}; needed: two a view")
    return np.array(values).reshape(n, 2)


def read_patches(files: Files, tilt: Options, n: int) -> Patches | None:
    """Read the local file that ``tilt.com`` names; None if it names none, or it is not there.

    Raises
    ------
    DataError
        If it does not hold what it should.
    """
    path = files.named(tilt, "LOCALFILE")
    return None if path is None else Patches.read(path, n)


def local_field(
    patches: Patches,
    origin: Sequence[float],
    axis: Sequence[float],
    full: Sequence[float],
    aligned: tuple[float, float],
    inverse: NDArray[np.float64],
    tilts: NDArray[np.float64],
    x_tilts: NDArray[np.float64],
    z_factors: NDArray[np.float64],
) -> LocalField:
    """Make the field of local alignments.

    Parameters
    ----------
    patches
        What the local file holds.
    origin
        World point ``C``.
    axis
        ``(DELX, 0)``, px of the raw stack.
    full
        ``(width, height)`` of the whole aligned image, px of the aligned stack.
    aligned
        Raw px to one of the aligned stack, and its pixel size, Å.
    inverse
        Back from the aligned to the raw images, ``(n, 2, 2)``.
    tilts, x_tilts, z_factors
        Of the global alignment, all views.
    """
    binning, pixel_size = aligned
    scale = patches.pixel_size / pixel_size if patches.pixel_size else 1.0
    # px of the aligned stack from 1; the point C lies at the middle of the image and DELX at zero tilt
    first, step = np.rint(patches.first * scale), np.rint(patches.step * scale)
    middle = (np.array(full) / 2 + 0.5 + np.array(axis) / binning - first) / step
    local_z = patches.z_factors if z_factors.any() else np.zeros_like(patches.z_factors)
    return LocalField(
        np.array(origin, float),
        np.array(axis, float),
        middle,
        binning * step,
        inverse,
        patches.tilts + tilts,
        patches.x_tilts + x_tilts,
        local_z,
        patches.matrices,
        patches.shifts * scale * binning,
        projection_rows(tilts, x_tilts, z_factors),
    )
