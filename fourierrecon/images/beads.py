"""Finds gold beads in a tilt series, each in all of its images, and erases them.

Candidates are the peaks of each image after a band-pass of the beads' size, far above the noise of the filtered image.
A bead is what several images see at one place of the specimen; where an image shows no peak at that place, the bead is
erased where it must be. A disc is replaced by a plane through the ring around it, with residuals drawn from that ring.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import UsageError
from fourierrecon.runtime.arrays import Real
from fourierrecon.runtime.threads import for_each
from fourierrecon.tilt_series import TiltSeries

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

#: Images are binned so that beads are about so many pixels wide while they are looked for.
WIDTH = 8.0
#: Least height of a peak that makes a bead, and of one that only places it, standard deviations.
CLEAR, FAINT = 6.0, 3.5
#: Peaks of one image that are looked at, the highest first.
MOST_PEAKS = 1000
#: Part of the images that see its place in which a bead must show a clear peak, and least number of them.
SEEN_IN, LEAST_SEEN = 0.4, 4
#: Part of its peaks that must not belong to a bead that is seen better.
OWN = 0.7
#: How far a bead may lie from where it must be: part of its diameter, and px.
TOLERANCE, MORE_TOLERANCE = 0.35, 2.0
#: Images that beads are first sought in.
REFERENCES = 9
#: Discs are wider than beads by so many px; rings reach out to this many radii, and at least so many px from the disc.
MARGIN, RING, LEAST_RING = 1.5, 1.6, 2.5
#: Least diameter in pixels, and largest one in parts of the image.
LEAST_PIXELS, LARGEST_PART = 2.0, 0.25


@dataclass(frozen=True, eq=False)
class Beads:
    """Beads of a tilt series.

    Parameters
    ----------
    points
        World coordinates, bin-1 px, ``(n, 3)``.
    places
        Where they lie in each image, px ``(x, y)``, ``(n_tilts, n, 2)``.
    radius
        Radius, px.
    dark
        Whether they are darker than what is around them.
    """

    points: NDArray[np.float64]
    places: NDArray[np.float64]
    radius: float
    dark: bool

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True, eq=False)
class _Peaks:
    """Peaks of one image: places (x, y) in px, and their heights."""

    places: NDArray[np.float64]
    heights: NDArray[np.float64]


def check_diameter(series: TiltSeries, diameter: float) -> float:
    """Give the diameter of beads in pixels.

    Raises
    ------
    UsageError
        If beads of that size cannot be found in these images.
    """
    pixels = 10 * diameter / series.pixel_size
    if pixels < LEAST_PIXELS:
        raise UsageError(
            f"erase_beads={diameter:g} nm is {pixels:.2g} px in images of {series.pixel_size:g} Å/px; beads narrower "
            f"than {LEAST_PIXELS:g} px cannot be told from noise: take less binned images, or leave the beads"
        )
    if pixels > LARGEST_PART * min(series.image_shape):
        height, width = series.image_shape
        raise UsageError(
            f"erase_beads={diameter:g} nm is {pixels:.0f} px in images of {width} x {height} px; allowed: up to a "
            f"quarter of them"
        )
    return pixels


def find_beads(series: TiltSeries, diameter: float, load: Callable[[int], Real], n_threads: int = 1) -> Beads:
    """Find the gold beads of a tilt series.

    Parameters
    ----------
    series
        Geometry of the images.
    diameter
        Diameter of the beads, nm.
    load
        Gives an image by 0-based number, float32, without hot pixels.
    n_threads
        Number of threads.

    Returns
    -------
    beads
        Dark ones if there are more of them than of bright ones; none where no place shows in enough images.

    Raises
    ------
    UsageError
        If beads of that size cannot be found in these images.
    """
    pixels = check_diameter(series, diameter)
    n = series.n_tilts
    both: list[tuple[_Peaks, _Peaks] | None] = [None] * n

    def look(_: None, tilt: int) -> None:
        both[tilt] = _peaks_of(load(tilt), pixels)

    for_each(n, look, state=lambda: None, n_threads=n_threads)
    found = [_match(series, [each[sign] for each in both if each is not None], pixels) for sign in (0, 1)]
    dark = len(found[0][0]) >= len(found[1][0])
    points, places = found[0 if dark else 1]
    return Beads(points, places, pixels / 2, dark)


def erase_beads(image: Real, beads: Beads, tilt: int) -> None:
    """Erase the beads of one image, in place.

    Parameters
    ----------
    image
        ``(height, width)``, float32.
    beads
        Beads from :func:`find_beads`.
    tilt
        0-based number of the image.
    """
    height, width = image.shape
    radius = beads.radius + MARGIN
    outer = max(RING * beads.radius, radius + LEAST_RING)
    rng = np.random.default_rng([tilt, len(beads)])
    inside = np.zeros(image.shape, bool)
    places = beads.places[tilt]
    near = (places > -radius).all(1) & (places[:, 0] < width + radius) & (places[:, 1] < height + radius)
    for x, y in places[near]:
        box, distance = _disc(image.shape, x, y, radius)
        inside[box] |= distance <= radius
    for x, y in places[near]:
        for reach in (outer, 1.5 * outer, 2.5 * outer):
            box, distance = _disc(image.shape, x, y, reach)
            ring = (distance > radius) & (distance <= reach) & ~inside[box]
            if ring.sum() >= 20:
                break
        else:
            continue  # nothing of it lies in the image, or there are beads all around
        rows, columns = np.indices(ring.shape)
        design = np.stack([np.ones(ring.shape), rows, columns], -1)
        part = image[box]
        chosen = ring.copy()
        for _ in range(2):
            plane = design @ np.linalg.lstsq(design[chosen], part[chosen], rcond=None)[0]
            residual = part - plane
            spread = 1.4826 * np.median(np.abs(residual[chosen]))
            chosen = ring & (np.abs(residual) <= 3 * spread) if spread > 0 else chosen
        disc = distance <= radius
        part[disc] = plane[disc] + rng.choice(residual[chosen], int(disc.sum()))


def _disc(
    shape: tuple[int, ...], x: float, y: float, reach: float
) -> tuple[tuple[slice, slice], NDArray[np.float64]]:
    """Give the part of an image that a disc needs, and distances from its middle there."""
    rows = slice(max(0, int(np.floor(y - reach))), max(0, min(shape[0], int(np.ceil(y + reach)) + 1)))
    columns = slice(max(0, int(np.floor(x - reach))), max(0, min(shape[1], int(np.ceil(x + reach)) + 1)))
    v, u = np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop)
    return (rows, columns), np.hypot(v[:, None] - y, u[None, :] - x)


def _peaks_of(image: Real, pixels: float) -> tuple[_Peaks, _Peaks]:
    """Give the dark and the bright peaks of an image that has beads of a diameter."""
    from scipy.ndimage import gaussian_filter, maximum_filter

    factor = max(1, int(pixels / WIDTH))
    height, width = (n // factor for n in image.shape)
    coarse = image[: height * factor, : width * factor].reshape(height, factor, width, factor).mean((1, 3))
    radius = pixels / factor / 2
    band = gaussian_filter(coarse, radius / 2) - gaussian_filter(coarse, 1.2 * radius)
    noise = 1.4826 * float(np.median(np.abs(band - np.median(band))))
    found = []
    for sign in (-1, 1):
        heights = sign * band / max(noise, 1e-30)
        peak = (heights == maximum_filter(heights, 2 * int(radius) + 1)) & (heights > FAINT)
        peak[[0, -1]] = peak[:, [0, -1]] = False
        y, x = np.nonzero(peak)
        highest = np.argsort(-heights[y, x], kind="stable")[:MOST_PEAKS]
        y, x = y[highest], x[highest]
        up, down, left, right = (heights[y + v, x + u] for v, u in ((-1, 0), (1, 0), (0, -1), (0, 1)))
        middle = heights[y, x]
        # the vertex of a parabola through three values
        dy, dx = ((a - b) / (2 * np.minimum(a + b - 2 * middle, -1e-9)) for a, b in ((up, down), (left, right)))
        places = np.stack([x + np.clip(dx, -0.5, 0.5), y + np.clip(dy, -0.5, 0.5)], 1)
        found.append(_Peaks(places * factor + (factor - 1) / 2, middle))
    return found[0], found[1]


def _match(
    series: TiltSeries, peaks: list[_Peaks], pixels: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the points that several images see as clear peaks, and their places in all images."""
    from scipy.spatial import cKDTree

    a, t = series.projections[:, :2, :3], series.projections[:, :2, 3]
    tolerance = TOLERANCE * pixels + MORE_TOLERANCE
    clear = [peak.places[peak.heights > CLEAR] for peak in peaks]
    trees: list[cKDTree | None] = [cKDTree(places) if len(places) else None for places in clear]
    free = [np.ones(len(places), bool) for places in clear]
    order = np.argsort(np.abs(series.tilt_angles), kind="stable")
    found: list[tuple[float, NDArray[np.float64]]] = []
    for tilt in order[:: max(1, len(order) // REFERENCES)]:
        taken = np.zeros(len(clear[tilt]), bool)
        if found and len(taken):
            places = np.stack([point for _, point in found]) @ a[tilt].T + t[tilt]
            taken = cKDTree(places).query(clear[tilt])[0] <= tolerance
        for place in clear[tilt][~taken]:
            guesses = _along_ray(series, clear, int(tilt), place, tolerance)
            if len(guesses):
                seen, _, _ = _seen(series, trees, guesses, 2.5 * tolerance)
                point = guesses[int(np.argmax(seen.sum(0)))]
                for reach in (2.5 * tolerance, tolerance, tolerance):
                    seen, nearest, view = _seen(series, trees, point[None], reach)
                    tilts = np.flatnonzero(seen[:, 0])
                    if len(tilts) < 2:
                        break
                    there = np.stack([clear[i][nearest[i, 0]] for i in tilts])
                    point = np.linalg.lstsq(a[tilts].reshape(-1, 3), (there - t[tilts]).reshape(-1), rcond=None)[0]
                if len(tilts) >= max(min(LEAST_SEEN, series.n_tilts), SEEN_IN * float(view.sum())):
                    found.append((len(tilts) / float(view.sum()), point))
    # the best first: a peak belongs to one bead, and a bead has most of its peaks for itself
    free = [np.ones(len(places), bool) for places in clear]
    points: list[NDArray[np.float64]] = []
    for _, point in sorted(found, key=lambda each: -each[0]):
        seen, nearest, _ = _seen(series, trees, point[None], tolerance)
        tilts = np.flatnonzero(seen[:, 0])
        own = [i for i in tilts if free[i][nearest[i, 0]]]
        if len(own) >= max(OWN * len(tilts), 2):
            points.append(point)
            for i in own:
                free[i][nearest[i, 0]] = False
    if not points:
        return np.empty((0, 3)), np.empty((series.n_tilts, 0, 2))
    known = np.stack(points)
    places = known @ a.transpose(0, 2, 1) + t[:, None]
    for i, peak in enumerate(peaks):
        if len(peak.places):
            distance, index = cKDTree(peak.places).query(places[i])
            at = distance <= tolerance
            places[i, at] = peak.places[index[at]]
    return known, places


def _along_ray(
    series: TiltSeries, clear: list[NDArray[np.float64]], tilt: int, place: NDArray[np.float64], tolerance: float
) -> NDArray[np.float64]:
    """Give the points on the beam through a peak at which peaks of other images lie, ``(n, 3)``."""
    a, t = series.projections[:, :2, :3], series.projections[:, :2, 3]
    start = np.linalg.pinv(a[tilt]) @ (place - t[tilt])
    beam = np.cross(a[tilt, 0], a[tilt, 1])
    beam /= np.linalg.norm(beam)
    height, width = series.image_shape
    middle = np.linalg.lstsq(a.reshape(-1, 3), (np.array([width, height]) / 2 - t).reshape(-1), rcond=None)[0]
    reach = max(0.25 * min(width, height), 0.75 * (series.size[2] if series.size is not None else 0.0))
    upright = int(np.argmin(np.abs(series.tilt_angles)))
    normal = np.cross(a[upright, 0], a[upright, 1])
    steps: list[NDArray[np.float64]] = []
    angles = np.abs(series.tilt_angles - series.tilt_angles[tilt])
    for other in np.flatnonzero((angles > 8) & (angles < 50))[::2]:
        along, at = a[other] @ beam, a[other] @ start + t[other]
        length = float(along @ along)
        if length < 1e-4 or not len(clear[other]):
            continue
        away = clear[other] - at
        depth = away @ along / length
        beside = np.hypot(*(away - depth[:, None] * along).T)
        height_above = (start - middle) @ normal + depth * (beam @ normal)
        steps.append(depth[(beside <= tolerance) & (np.abs(height_above) <= reach)])
    if not steps:
        return np.empty((0, 3))
    depths = np.unique(np.round(np.concatenate(steps) / tolerance)) * tolerance
    return np.asarray(start + depths[:, None] * beam)


def _seen(
    series: TiltSeries, trees: list[cKDTree | None], points: NDArray[np.float64], tolerance: float
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.bool_]]:
    """Tell which images show a clear peak where a point must lie, which peak, and which images see the place."""
    height, width = series.image_shape
    places = points @ series.projections[:, :2, :3].transpose(0, 2, 1) + series.projections[:, None, :2, 3]
    view = (places >= 0).all(2) & (places[..., 0] < width) & (places[..., 1] < height)
    seen, nearest = np.zeros(view.shape, bool), np.zeros(view.shape, np.int64)
    for tilt, tree in enumerate(trees):
        if tree is not None:
            distance, nearest[tilt] = tree.query(places[tilt])
            seen[tilt] = (distance <= tolerance) & view[tilt]
    return seen, nearest, view
