"""Tiles of a region in which a displacement field is affine enough, and the projection matrices of each tile.

Within a tile the field is replaced by an affine function of the world point, fitted at Chebyshev points: that is a
projection matrix of its own, with the shift and the change of rotation, magnification and shear there, dependence on
depth included. What an affine function cannot follow is the residual; it falls with the square of the tile's size.
Tiles overlap, and are blended with weights that add up to 1 at every voxel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import UsageError
from fourierrecon.geometry.displacement import project
from fourierrecon.geometry.region import Region
from fourierrecon.tilt_series import TiltSeries

#: Largest residual, px of the binned images, where nothing else is asked for.
TOLERANCE = 0.2
#: Voxels over which neighbouring tiles are blended.
BLEND = 12
#: Least voxels along one side of a tile, without what overlaps.
LEAST_SIDE = 8
#: Points along each axis of a tile that the affine part is fitted at, and along each axis of the region that the field
#: is looked at for the choice of tiles: some to begin with, more for the last steps.
NODES, LATTICES = 5, ((13, 13, 7), (33, 33, 7), (65, 65, 13))
#: Points for one tile at least, along each axis.
POINTS = 3
#: Voxels that a tile costs beyond its own on each side, roughly, for the choice between tilings.
MARGIN = 24
#: Points that an image does not see count that little.
UNSEEN = 1e-3
#: Tilings that were chosen already: the screen, the header and the engine ask for the same.
_CHOSEN: WeakKeyDictionary[TiltSeries, dict[tuple[Region, float], Tiling]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Tile:
    """A part of a region.

    Parameters
    ----------
    first, stop
        Voxels ``(x, y, z)`` of the region that it begins and ends with.
    ramps
        Weights along x, y and z for the blending; their product is the weight of a voxel.
    projections
        Its projection matrices, ``(n_tilts, 4, 4)``.
    """

    first: tuple[int, int, int]
    stop: tuple[int, int, int]
    ramps: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
    projections: NDArray[np.float64]

    def region(self, whole: Region) -> Region:
        """Give the tile as a region, as a part of the whole one."""
        x, y, z = (float(o + whole.binning * f) for o, f in zip(whole.origin, self.first, strict=True))
        width, height, depth = (b - a for a, b in zip(self.first, self.stop, strict=True))
        return Region((x, y, z), (depth, height, width), whole.binning)


@dataclass(frozen=True, eq=False)
class Tiling:
    """The tiles of a region.

    Parameters
    ----------
    tiles
        All of them.
    counts
        How many along x, y and z.
    residual
        Distance between the field and what the blended tiles make of it, px of the binned images: the root of its mean
        square over the images that see a point, at the point where this is largest.
    rms, largest
        Root of the mean square of the displacements there, and the largest one, px of the unbinned images.
    tolerance
        Residual that was asked for, px of the binned images.
    """

    tiles: tuple[Tile, ...]
    counts: tuple[int, int, int]
    residual: float
    rms: float
    largest: float
    tolerance: float = TOLERANCE

    @property
    def words(self) -> str:
        """One line about the field and the tiles, for the user."""
        nx, ny, nz = self.counts
        return (
            f"rms {self.rms:.2g} px, up to {self.largest:.2g} px; {nx} x {ny} x {nz} tiles leave "
            f"{self.residual:.2g} binned px"
        )

    def cost(self, region: Region) -> float:
        """Give what these tiles take, over the time that the whole region takes, roughly."""
        return _cost(region.shape[::-1], self.counts, (1, 1, 1))

    def record(self) -> dict[str, object]:
        """Give the facts for a passport."""
        return {
            "tiles": list(self.counts),
            "residual_binned_px": self.residual,
            "rms_px": self.rms,
            "largest_px": self.largest,
        }

    @classmethod
    def of(cls, series: TiltSeries, region: Region, tolerance: float = TOLERANCE) -> Tiling:
        """Choose the tiles of a region.

        Parameters
        ----------
        series
            Tilt series with a local alignment.
        region
            Voxels to reconstruct.
        tolerance
            Largest residual, px of the binned images. Where tiles cannot become small enough for it, the residual
            says so.

        Raises
        ------
        UsageError
            If the series has no local alignment, or the tolerance is not positive.
        """
        if series.local is None:
            raise UsageError(f"{series.name} has no local alignment to be applied (local=...)")
        if not tolerance > 0:
            raise UsageError(f"residual={tolerance:g} px must be positive (0.2 is usual)")
        known = _CHOSEN.setdefault(series, {})
        if (region, tolerance) not in known:
            known[region, tolerance] = cls._choose(series, region, tolerance)
        return known[region, tolerance]

    @classmethod
    def _choose(cls, series: TiltSeries, region: Region, tolerance: float) -> Tiling:
        counts, residual = (1, 1, 1), np.inf
        for points in LATTICES:
            # the last one is for fields that are rough; the second judges all
            if points is LATTICES[2] and residual <= tolerance:
                break
            seen = _Lattice.of(series, region, points)
            counts, residual = _refined(seen, region.shape[::-1], counts, tolerance)
        return cls(tuple(_tiles(series, region, counts)), counts, residual, seen.rms, seen.largest, tolerance)


def _refined(
    seen: _Lattice, sides: tuple[int, ...], counts: tuple[int, int, int], tolerance: float
) -> tuple[tuple[int, int, int], float]:
    """Cut further until the residual is as small as asked for, or tiles are as many or as small as they may be."""
    residual = seen.residual(counts)
    most = [min(n // LEAST_SIDE, len(axis) // POINTS) for n, axis in zip(sides, seen.axes, strict=True)]
    while residual > tolerance:
        # the residual falls with the square of the size: in large steps as long as it is far too large
        more = [max(1, n // 3 if residual > 2 * tolerance else 1) for n in counts]
        finer = [
            tuple(min(n + more[i], most[i]) if axis == i else n for i, n in enumerate(counts))
            for axis in range(3)
            if counts[axis] < most[axis]
        ]
        if not finer:
            break
        found = [(seen.residual(tried), tried) for tried in finer]
        costs = [_cost(sides, tried, counts) for tried in finer]
        # the step that lowers the residual most for what it costs
        best = max(range(len(found)), key=lambda i: np.log(residual / max(found[i][0], 1e-9)) / np.log(costs[i]))
        if found[best][0] > 0.999 * residual:
            # one axis alone does not help where two are as bad
            best = int(np.argmin(costs))
        residual, (x, y, z) = found[best]
        counts = x, y, z
    return counts, residual


def _cost(sides: tuple[int, ...], counts: tuple[int, ...], before: tuple[int, ...]) -> float:
    """Give what a tiling costs, over what another does."""

    def total(numbers: tuple[int, ...]) -> float:
        per_axis = (s + (2 * MARGIN + BLEND) * n if n > 1 else s for s, n in zip(sides, numbers, strict=True))
        return float(np.prod(list(per_axis)))

    return max(total(counts) / total(before), 1.01)


def _cores(length: int, count: int) -> list[tuple[int, int]]:
    """Cut a length into equal parts."""
    cuts = np.round(np.linspace(0, length, count + 1)).astype(int)
    return [(int(a), int(b)) for a, b in pairwise(cuts)]


def _spans(length: int, count: int) -> list[tuple[int, int]]:
    """Let the parts of a length overlap by :data:`BLEND`."""
    half = BLEND // 2
    return [(max(a - half, 0), min(b + half, length)) for a, b in _cores(length, count)]


def _ramps(length: int, spans: list[tuple[int, int]]) -> list[NDArray[np.float32]]:
    """Give the weights of overlapping spans along an axis, which add up to 1: squared cosines."""
    raw = []
    for first, stop in spans:
        x = np.arange(first, stop) + 0.5
        up = np.ones(stop - first) if first == 0 else np.clip((x - first) / BLEND, 0, 1)
        down = np.ones(stop - first) if stop == length else np.clip((stop - x) / BLEND, 0, 1)
        raw.append(np.sin(np.pi / 2 * up) ** 2 * np.sin(np.pi / 2 * down) ** 2)
    # parts shorter than the blend meet those next to their neighbours, too
    total = np.zeros(length)
    for (first, stop), ramp in zip(spans, raw, strict=True):
        total[first:stop] += ramp
    return [(ramp / total[a:b]).astype(np.float32) for (a, b), ramp in zip(spans, raw, strict=True)]


def _tiles(series: TiltSeries, region: Region, counts: tuple[int, int, int]) -> Iterator[Tile]:
    """Make the tiles, with their matrices."""
    assert series.local is not None
    sides = region.shape[::-1]
    spans = [_spans(n, count) for n, count in zip(sides, counts, strict=True)]
    cores = [_cores(n, count) for n, count in zip(sides, counts, strict=True)]
    ramps = [_ramps(n, span) for n, span in zip(sides, spans, strict=True)]
    nodes = (1 - np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)) / 2
    for k, j, i in np.ndindex(*(len(span) for span in spans[::-1])):
        chosen = [span[n] for span, n in zip(spans, (i, j, k), strict=True)]
        # beyond its core a tile counts less than half, and what its neighbour makes is nearer
        core = [part[n] for part, n in zip(cores, (i, j, k), strict=True)]
        axes = [o + region.binning * (a + nodes * (b - 1 - a)) for o, (a, b) in zip(region.origin, core, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        values = np.stack([series.local.at(tilt, points) for tilt in range(series.n_tilts)])
        weights = np.stack([_weights(series, tilt, points) for tilt in range(series.n_tilts)])
        linear, shift = _affine(points, values, weights)
        matrices = series.projections.copy()
        matrices[:, :2, :3] += linear
        matrices[:, :2, 3] += shift
        (x0, x1), (y0, y1), (z0, z1) = chosen
        yield Tile((x0, y0, z0), (x1, y1, z1), (ramps[0][i], ramps[1][j], ramps[2][k]), matrices)


def _weights(series: TiltSeries, tilt: int, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give points that an image sees 1, others next to nothing."""
    u, v = project(series.projections[tilt], points).T
    height, width = series.image_shape
    return np.where((u >= 0) & (u < width) & (v >= 0) & (v < height), 1.0, UNSEEN)


def _affine(
    points: NDArray[np.float64], values: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit affine functions to values at points, by weighted least squares.

    Parameters
    ----------
    points, values, weights
        ``(n, 3)``, ``(n_tilts, n, 2)``, ``(n_tilts, n)``.

    Returns
    -------
    linear, shift
        ``(n_tilts, 2, 3)``, ``(n_tilts, 2)``.
    """
    centre, size = points.mean(0), max(float(np.ptp(points, axis=0).max()), 1.0)
    basis = np.concatenate([(points - centre) / size, np.ones((len(points), 1))], 1)
    pairs = (basis[:, :, None] * basis[:, None, :]).reshape(len(points), 16)
    normal = (weights @ pairs).reshape(-1, 4, 4)
    # a single section or row does not define a slope
    normal += 1e-9 * weights.sum(1)[:, None, None] * np.diag([1.0, 1.0, 1.0, 0.0])
    right = basis.T @ (weights[:, :, None] * values)
    found = np.linalg.solve(normal, right).transpose(0, 2, 1)
    linear = found[:, :, :3] / size
    return linear, found[:, :, 3] - linear @ centre


@dataclass(frozen=True, eq=False)
class _Lattice:
    """The field on a lattice over the region: what tilings are judged by."""

    axes: tuple[NDArray[np.float64], ...]  # voxels along x, y, z
    values: NDArray[np.float64]  # (n_tilts, nx, ny, nz, 2), px of the binned images
    weights: NDArray[np.float64]  # (n_tilts, nx, ny, nz)
    binning: float

    @classmethod
    def of(cls, series: TiltSeries, region: Region, most: tuple[int, int, int]) -> _Lattice:
        assert series.local is not None
        axes = tuple(np.linspace(0, n - 1, min(n, p)) for n, p in zip(region.shape[::-1], most, strict=True))
        world = [o + region.binning * a for o, a in zip(region.origin, axes, strict=True)]
        points = np.stack(np.meshgrid(*world, indexing="ij"), -1).reshape(-1, 3)
        shape = (series.n_tilts, *(len(a) for a in axes))
        values, weights = np.empty((*shape, 2)), np.empty(shape)
        for tilt in range(series.n_tilts):
            values[tilt] = series.local.at(tilt, points).reshape(*shape[1:], 2) / region.binning
            weights[tilt] = _weights(series, tilt, points).reshape(shape[1:])
        return cls(axes, values, weights, region.binning)

    @cached_property
    def seen(self) -> NDArray[np.bool_]:
        """Points that images see; all where no image sees any."""
        seen = self.weights == 1
        return np.asarray(seen if seen.any() else ~seen)

    @property
    def rms(self) -> float:
        """Root of the mean square of the displacements, px of the unbinned images."""
        return float(self.binning * np.sqrt((self.values[self.seen] ** 2).sum(-1).mean()))

    @property
    def largest(self) -> float:
        """Largest displacement, px of the unbinned images."""
        return float(self.binning * np.sqrt((self.values[self.seen] ** 2).sum(-1).max()))

    def residual(self, counts: tuple[int, ...]) -> float:
        """Give the residual of a tiling, see :class:`Tiling`."""
        sides = [round(float(a[-1])) + 1 for a in self.axes]
        spans = [_spans(n, count) for n, count in zip(sides, counts, strict=True)]
        cores = [_cores(n, count) for n, count in zip(sides, counts, strict=True)]
        ramps = [
            [np.interp(a, np.arange(*s), r, left=0, right=0) for s, r in zip(span, _ramps(n, span), strict=True)]
            for a, n, span in zip(self.axes, sides, spans, strict=True)
        ]
        blended = np.zeros_like(self.values)
        for index in np.ndindex(*counts):
            ramp = [r[n] for r, n in zip(ramps, index, strict=True)]
            inside = [np.flatnonzero(r) for r in ramp]
            if any(len(i) == 0 for i in inside):
                continue
            block = tuple(slice(int(i[0]), int(i[-1]) + 1) for i in inside)
            parts = [axis[s] for axis, s in zip(self.axes, block, strict=True)]
            points = np.stack(np.meshgrid(*parts, indexing="ij"), -1).reshape(-1, 3)
            share = _product([r[s] for r, s in zip(ramp, block, strict=True)])
            crowd = _product([_crowding(p, *c[n]) for p, c, n in zip(parts, cores, index, strict=True)])
            values = self.values[:, *block].reshape(len(self.values), -1, 2)
            weights = self.weights[:, *block].reshape(len(self.values), -1) * crowd
            linear, shift = _affine(points, values, weights)
            made = points @ linear.transpose(0, 2, 1) + shift[:, None]
            blended[:, *block] += (share[:, None] * made).reshape(blended[:, *block].shape)
        off = np.where(self.seen, ((self.values - blended) ** 2).sum(-1), 0.0)
        return float(np.sqrt((off.sum(0) / np.maximum(self.seen.sum(0), 1)).max()))


def _product(factors: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Multiply weights along three axes, flat."""
    return np.asarray(np.einsum("i,j,k->ijk", *factors).ravel())


def _crowding(x: NDArray[np.float64], first: int, stop: int) -> NDArray[np.float64]:
    """Weights that let evenly spaced points count as Chebyshev points of a core do; next to nothing beyond it."""
    t = 2 * (x - first) / max(stop - 1 - first, 1) - 1
    within = np.abs(t) <= 1
    return np.where(within, 1 / np.sqrt(np.maximum(1.05 - t**2, 0.05)), UNSEEN)


def tile_series(series: TiltSeries, tile: Tile) -> TiltSeries:
    """Give a tilt series as a tile has it: with its matrices, and no local alignment any more."""
    return replace(series, projections=tile.projections, local=None)
