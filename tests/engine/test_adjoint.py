"""Insertion is the adjoint of sampling: ``<spread(s), g> = <s, interpolate(g)>`` for any samples and any plane."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon.engine import density_correction, grid_weights, insertion
from fourierrecon.engine.central_slices import PAD, STOP, Slices
from fourierrecon.engine.plan import Plan
from fourierrecon.engine.settings import Settings
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.weighting import NoWeighting, Weighting, Wiener
from tests.helpers.reference import Geometry

TILTS = tuple(np.linspace(-60, 63, 7))
GEOMETRIES = {
    "even": Geometry(TILTS, (40, 44), 4.0, 2.0, centre=(20.0, 18, 11), shape=(22, 36, 40)),
    "odd, axis near x": Geometry(TILTS, (41, 45), 87.0, 2.0, centre=(20.0, 18, 11), shape=(21, 35, 41)),
    "x-tilt": Geometry(TILTS, (40, 44), 4.0, 5.0, 2.0, centre=(20.0, 18, 11), shape=(22, 36, 41)),
}
Cursor = NDArray[np.int64]


def slices_of(name: str, weighting: Weighting) -> Slices:
    geometry = GEOMETRIES[name]
    series = geometry.series(np.zeros((len(TILTS), *geometry.image_shape), np.float32))
    return Plan.of(series, geometry.region, weighting, Settings(ctf=False)).slices


def random(rng: np.random.Generator, *shape: int) -> Complex:
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def samples_of(s: Slices, j: int, rng: np.random.Generator) -> tuple[Complex, Real, Cursor]:
    """Random samples of plane ``j`` within the band, weights of one, and the first and last sample of each line."""
    n_rows = 2 * s.half_rows + 1
    cursor = np.empty((len(s.matrices), 2), np.int64)
    insertion.start(s.lines, j, s.half_rows, STOP**2, STOP, cursor)
    numbers = np.arange(n_rows) - s.half_rows
    inside = (numbers >= cursor.min(1)[:, None]) & (numbers <= cursor.max(1)[:, None])
    inside &= ((cursor[:, 1] - cursor[:, 0]) * s.lines[:, 2, 1] >= 0)[:, None]
    return random(rng, len(s.matrices), n_rows) * inside, inside.astype(np.float32), cursor


def spread(s: Slices, j: int, samples: Complex, weights: Real, cursor: Cursor) -> Complex:
    """Spread samples, with weights or without, onto the periodic plane ``(No, Nz)``."""
    nz, no = s.grid
    rows, columns, numbers = no + 2 * PAD, nz + 2 * PAD, 4 if weights.size else 2
    block = np.empty((rows + insertion.REACH, columns * numbers), np.float32)
    insertion.spread_rows(
        samples, weights, s.fill, s.lines, j, 0, rows, 0, 0, cursor.copy(), block, nz, no, *s.tables, s.width
    )
    insertion.fold_rows(block[:rows])
    data = np.ascontiguousarray(block[:rows]).view(np.complex64)
    if weights.size:
        data = np.empty((rows, columns), np.complex64)
        grid_weights.separate(block[:rows], data, np.empty((rows, columns), np.float32))
    return data[PAD : PAD + no, PAD : PAD + nz]


def interpolate(s: Slices, j: int, plane: Complex, weights: Real, cursor: Cursor) -> Complex:
    """Sample a periodic plane along the lines, by what the correction near the axis takes off samples of zero."""
    nz, no = s.grid
    grid = np.pad(plane, ((PAD, PAD + insertion.REACH), (PAD, PAD)), mode="wrap")
    lost = np.zeros(weights.shape, np.complex64)
    density_correction._add_lost(
        lost, weights, s.fill, s.lines, j, 0, 0, cursor, grid, nz, no, s.tables[0], s.tables[1], s.width, STOP, 0.0,
        np.float32(1e-30), np.float32(1),
    )  # fmt: skip
    return -lost


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("weighting", [Wiener(10), NoWeighting()], ids=lambda w: w.name)
def test_insertion_is_the_adjoint_of_sampling(name: str, weighting: Weighting) -> None:
    s, rng = slices_of(name, weighting), np.random.default_rng(3)
    nz, no = s.grid
    for j in (0, 1, s.n_planes // 3, s.n_planes - 2):
        samples, weights, cursor = samples_of(s, j, rng)
        plane = random(rng, no, nz)
        inserted = spread(s, j, samples, weights if weighting.uses_weights else np.empty((0, 0), np.float32), cursor)
        sampled = interpolate(s, j, plane, weights, cursor)
        one = np.vdot(plane.astype(complex), inserted.astype(complex))
        other = np.vdot(sampled.astype(complex), samples.astype(complex))
        size = np.linalg.norm(plane) * np.linalg.norm(inserted)
        assert weights.any()
        assert abs(one - other) <= 2e-6 * size, j
        assert abs(one) > 1e-4 * size, j
