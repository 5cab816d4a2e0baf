"""Specimens made of Gaussians: a slice of a cell with membranes, ribosomes, a microtubule and gold.

Sizes of the parts are those of nature, in Å, turned into px with a pixel size. Protein has a density of
about 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import UsageError
from fourierrecon.simulation.gaussians import Gaussians, mean_over_images

__all__ = [
    "Gaussians",
    "bilayer",
    "cell_like_specimen",
    "gold_bead",
    "mean_over_images",
    "microtubule",
    "ribosome",
]

Centre = NDArray[np.float64]


def bilayer(centre: Centre, radii: Centre, pixel_size: float) -> Gaussians:
    """Give a closed membrane: two leaflets 42 Å apart on an ellipsoid, each of density 1 in its middle.

    Parameters
    ----------
    centre, radii
        ``(3,)``: ``x, y, z`` and the half axes, px.
    pixel_size
        Å.
    """
    sigma, gap = max(11.0 / pixel_size, 0.9), max(42.0 / pixel_size, 2.6)
    spacing = 1.6 * sigma  # at which a lattice of Gaussians is smooth to 1e-3
    if min(radii) <= gap:
        raise UsageError(f"a membrane needs half axes above {gap:.3g} px at this pixel size, not {min(radii):.3g}")
    leaflets = []
    for offset in (-gap / 2, gap / 2):
        axes = np.asarray(radii, float) + offset
        sphere = 4 * np.pi * (np.prod(axes) ** (1 / 3)) ** 2
        n = max(12, int(1.15 * sphere / spacing**2))
        # Fibonacci's lattice: even on the unit sphere; stretched, each point weighs as the area around it
        index = np.arange(n) + 0.5
        z = 1 - 2 * index / n
        angle = np.pi * (1 + np.sqrt(5)) * index
        rim = np.sqrt(1 - z * z)
        unit = np.stack([rim * np.cos(angle), rim * np.sin(angle), z], 1)
        area = 4 * np.pi / n * np.prod(axes) * np.linalg.norm(unit / axes, axis=1)
        leaflets.append(Gaussians(centre + unit * axes, np.full(n, sigma), area / (2 * np.pi * sigma**2)))
    return Gaussians.join(leaflets)


def ribosome(centre: Centre, pixel_size: float, rng: np.random.Generator) -> Gaussians:
    """Give a particle like a ribosome, 250 Å across, two subunits with a cleft between, randomly turned."""
    shape = np.random.default_rng(5)  # all ribosomes are one molecule
    large = shape.normal(size=(34, 3))
    large *= (82 * shape.random((34, 1)) ** (1 / 3)) / np.linalg.norm(large, axis=1, keepdims=True)
    small = shape.normal(size=(16, 3))
    small *= (55 * shape.random((16, 1)) ** (1 / 3)) / np.linalg.norm(small, axis=1, keepdims=True)
    atoms = np.concatenate([large - [22, 0, 0], small * [0.7, 1.5, 1.0] + [88, 12, 0]]) / pixel_size
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    sigma = np.full(len(atoms), max(19.0 / pixel_size, 0.9))
    return Gaussians(centre + atoms @ turn.T, sigma, np.full(len(atoms), 0.55))


def microtubule(start: Centre, end: Centre, pixel_size: float) -> Gaussians:
    """Give a hollow tube, 250 Å wide, of 13 protofilaments with a subunit every 41 Å."""
    along = np.asarray(end, float) - start
    length = float(np.linalg.norm(along))
    along /= length
    side = np.cross(along, [0.0, 0.0, 1.0] if abs(along[2]) < 0.9 else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    rise = 41.0 / pixel_size
    turn, step = np.meshgrid(np.arange(13), np.arange(int(length / rise)), indexing="ij")
    angle = (2 * np.pi / 13 * turn).ravel()
    height = ((step + 3 * turn / 13) * rise).ravel()
    ring = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * np.cross(along, side)
    centres = start + height[:, None] * along + 105.0 / pixel_size * ring
    return Gaussians(centres, np.full(len(centres), max(15.0 / pixel_size, 0.9)), np.full(len(centres), 1.1))


def gold_bead(centre: Centre, pixel_size: float) -> Gaussians:
    """Give a gold bead 60 Å across: one sharp Gaussian, the densest thing in the specimen."""
    sigma = max(16.0 / pixel_size, 0.9)
    return Gaussians(np.asarray(centre, float)[None], np.array([sigma]), np.array([9.0]))


def cell_like_specimen(
    size: tuple[int, int, int] = (240, 256, 96),
    seed: int = 7,
    *,
    pixel_size: float = 10.0,
    beyond: float = 0.0,
    ice: float = 0.8,
    n_gold: int = 6,
) -> Gaussians:
    """Make a slice of a cell in a slab of ice; the same seed gives the same specimen.

    The wall of a cell crosses the field; ribosomes, small proteins and a microtubule lie inside,
    vesicles on both sides, gold beads on the faces of the slab.

    Parameters
    ----------
    size
        ``(width, height, depth)``, px: the tomogram whose world coordinates 0 to ``size - 1`` are filled.
    seed
        Seed of everything random.
    pixel_size
        Å.
    beyond
        Distance by which the contents go on outside of the tomogram in ``x`` and ``y``, px. In a real specimen they
        never end, and tilted images see what is beside the tomogram.
    ice
        Thickness of the slab as a fraction of the depth.
    n_gold
        Number of gold beads in the field.
    """
    rng = np.random.default_rng(seed)
    extent = np.asarray(size, float)
    low = np.array([-beyond, -beyond, extent[2] * (1 - ice) / 2])
    high = np.array([extent[0] + beyond, extent[1] + beyond, extent[2] * (1 + ice) / 2])
    crowd = float(np.prod((high - low)[:2]) / np.prod(extent[:2]))
    nm = 10.0 / pixel_size

    # the cell: its envelope is cut off by the faces of the slab
    middle = extent * [0.42, 0.52, 0.5]
    radii = np.array([0.43 * extent[0], 0.40 * extent[1], 1.15 * extent[2]])

    def inside(point: Centre, clearance: float) -> bool:
        return bool((radii > clearance).all() and np.sum(((point - middle) / (radii - clearance)) ** 2) < 1)

    def outside(point: Centre, clearance: float) -> bool:
        return bool(np.sum(((point - middle) / (radii + clearance)) ** 2) > 1)

    parts = []
    if min(radii) > max(5 * nm, 3):
        parts.append(_cut(bilayer(middle, radii, pixel_size), low, high))
    taken: list[tuple[Centre, float]] = []

    def place(radius: float, allowed: Callable[[Centre, float], bool]) -> Centre | None:
        """Find a free place for a ball; None where there is none."""
        room: Centre = np.minimum(radius, (high - low) / 2.001)
        for _ in range(60):
            point: Centre = rng.uniform(low + room, high - room)
            free = all(np.linalg.norm(point - other) > radius + r for other, r in taken)
            if free and allowed(point, radius + 3 * nm):
                taken.append((point, radius))
                return point
        return None

    # the microtubule keeps its way free
    start, end = middle + radii * [-0.62, 0.45, -0.12], middle + radii * [0.66, 0.28, 0.1]
    parts.append(microtubule(start, end, pixel_size))
    taken += [(start + f * (end - start), 15 * nm) for f in np.linspace(0, 1, 12)]

    half_slab = (high[2] - low[2]) / 2 - 4 * nm
    for allowed, count in ((inside, 3), (outside, round(6 * crowd))) if half_slab > max(6 * nm, 4) else ():
        for _ in range(count):
            radius = min(rng.uniform(13, 27) * nm, half_slab)
            point = place(radius + 5 * nm, allowed)
            if point is not None:
                stretch = rng.uniform(0.85, 1.1, 3).clip(max=half_slab / radius)
                parts.append(bilayer(point, radius * stretch, pixel_size))
    millions = float(np.prod(extent)) / nm**3 / 1e6  # of nm³ in the field
    for allowed, count in ((inside, math.ceil(9 * millions)), (outside, math.ceil(1.5 * crowd * millions))):
        for _ in range(min(count, 400)):
            point = place(13 * nm, allowed)
            if point is not None:
                parts.append(ribosome(point, pixel_size, rng))

    # small proteins: dense inside of the cell, few outside
    n = int(min(2e-3 * np.prod(high - low) / nm**3, 40000))
    points = rng.uniform(low, high, (n, 3))
    within = np.sum(((points - middle) / radii) ** 2, 1) < 0.97
    points = points[within | (rng.random(n) < 0.12)]
    sigmas = np.maximum(rng.uniform(1.2, 2.2, len(points)) * nm, 0.9)
    parts.append(Gaussians(points, sigmas, rng.uniform(0.15, 0.5, len(points))))

    for i in range(round(n_gold * crowd)):
        point = rng.uniform(low, high)
        point[2] = low[2] + 3 * nm if i % 2 else high[2] - 3 * nm
        parts.append(gold_bead(point, pixel_size))
    return Gaussians.join(parts)


def _cut(gaussians: Gaussians, low: Centre, high: Centre) -> Gaussians:
    """Keep the Gaussians whose centres lie in a box."""
    keep = ((gaussians.centres >= low) & (gaussians.centres <= high)).all(1)
    return Gaussians(gaussians.centres[keep], gaussians.sigmas[keep], gaussians.weights[keep])
