"""Writes a local alignment as RELION's 2D deformations: as it is where it comes from RELION, else as splines.

RELION's deformations depend on the place in the image alone. Those of other programs are sampled on the middle plane of
the tomogram, and splines are fitted to them; what depends on the depth is left out, and how much that is comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fourierrecon.geometry.displacement import DisplacementField, project
from fourierrecon.io.relion.deformation import COEFFICIENTS, COLUMNS, DeformationField, spline_basis
from fourierrecon.tilt_series import TiltSeries

if TYPE_CHECKING:
    from fourierrecon.io.relion.entries import Entry

#: Points of the splines along an axis, and what their fit may leave, rms px.
GRIDS, FINE_ENOUGH = (3, 4, 5, 7, 9, 12), 0.05
#: Samples along an axis of the image for each cell of a spline.
SAMPLES = 4
#: Less than this is not worth a word, rms px.
NOTICED = 0.05


def deformation_columns(
    series: TiltSeries, corner: Sequence[float], extent: Sequence[float]
) -> tuple[dict[str, list[str]], dict[str, list[str]], str]:
    """Give the columns of a local alignment.

    Parameters
    ----------
    series
        Tilt series; without a local alignment there are no columns.
    corner, extent
        World point of voxel 0 of the tomogram, and its size, px.

    Returns
    -------
    overview, tilts
        Columns of the table of tomograms, and of the tilts.
    words
        What was kept and what was left out.
    """
    if series.local is None:
        return {}, {}, ""
    own, numbers = series.local.beneath()
    if isinstance(own, DeformationField) and own.image_shape == series.image_shape:
        kept = own.coefficients if numbers is None else own.coefficients[numbers]
        return *_columns(own.kind, own.grid, kept), f"{series.local.words}, kept"
    points = np.stack(
        np.meshgrid(*(c + np.linspace(0.05, 0.95, 5) * n for c, n in zip(corner, extent, strict=True))), -1
    )
    points = points.reshape(-1, 3)
    grid, coefficients = _fitted(series, series.local, float(corner[2] + extent[2] / 2))
    fitted = DeformationField("spline", (grid, grid), coefficients, series.image_shape, series.projections)
    lost, whole = _rms(series, series.local, fitted, points), _rms(series, series.local, None, points)
    words = f"{series.local.words} (rms {whole:.2g} px) as RELION's splines of {grid} x {grid} points"
    if lost > NOTICED:
        words += f"; left out: rms {lost:.2g} px, which depends on the depth or is finer"
    return *_columns("spline", (grid, grid), coefficients), words


def fill_deformations(entries: Sequence[Entry]) -> list[Entry]:
    """Give deformations of 0 to tomograms without them where others have some: a set has the same columns for all."""
    if not any(COLUMNS[0] in entry.overview for entry in entries):
        return list(entries)
    filled = []
    for entry in entries:
        if COLUMNS[0] not in entry.overview:
            n = len(next(iter(entry.tilts.values())))
            overview, tilts = _columns("spline", (2, 2), np.zeros((n, 32)))
            entry = replace(entry, overview=entry.overview | overview, tilts=entry.tilts | tilts)
        filled.append(entry)
    return filled


def _columns(
    kind: str, grid: tuple[int, int], coefficients: NDArray[np.float64]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    overview = {label: [str(value)] for label, value in zip(COLUMNS, (*grid, kind), strict=True)}
    return overview, {COEFFICIENTS: [f"[{','.join(f'{v:.6g}' for v in values)}]" for values in coefficients]}


def _fitted(series: TiltSeries, field: DisplacementField, z: float) -> tuple[int, NDArray[np.float64]]:
    """Fit splines to a field on a plane of the world: points along an axis, and coefficients ``(n_tilts, n)``."""
    size = np.array(series.image_shape[::-1], float)
    best: tuple[int, NDArray[np.float64]] | None = None
    for grid in GRIDS:
        n = SAMPLES * (grid - 1) + 1
        place = np.stack(np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n)), -1).reshape(-1, 2)
        basis = spline_basis(place, (grid, grid))
        samples = []
        for tilt, matrix in enumerate(series.projections):
            away = place * size - matrix[:2, 3] - matrix[:2, 2] * z
            flat = np.linalg.solve(matrix[:2, :2], away.T).T
            samples.append(field.at(tilt, np.concatenate([flat, np.full((len(flat), 1), z)], 1)))
        values = np.concatenate(samples, 1)  # (n, 2 n_tilts)
        found = np.linalg.solve(basis.T @ basis + 1e-6 * np.eye(basis.shape[1]), basis.T @ values)
        left = float(np.sqrt(2 * ((values - basis @ found) ** 2).mean()))
        coefficients = found.T.reshape(series.n_tilts, -1)
        best = grid, np.asarray(coefficients, np.float64)
        if left < FINE_ENOUGH:
            break
    assert best is not None
    return best


def _rms(
    series: TiltSeries, field: DisplacementField, fitted: DisplacementField | None, points: NDArray[np.float64]
) -> float:
    """Root of the mean square of the difference of two fields where images see the points, px."""
    height, width = series.image_shape
    squares = []
    for tilt in range(series.n_tilts):
        u, v = project(series.projections[tilt], points).T
        seen = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        away = field.at(tilt, points[seen]) - (0 if fitted is None else fitted.at(tilt, points[seen]))
        squares.append((away**2).sum(1))
    together = np.concatenate(squares)
    return float(np.sqrt(together.mean())) if len(together) else 0.0
