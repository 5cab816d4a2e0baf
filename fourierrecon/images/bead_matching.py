"""Finds the points of a specimen that several images show as peaks: each must lie where geometry lets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fourierrecon.tilt_series import TiltSeries

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

#: Least height of a clear peak, standard deviations.
CLEAR = 5.0
#: Part of the images that see its place in which a bead must show a clear peak, and least number of them.
SEEN_IN, LEAST_SEEN = 0.4, 4
#: Part of its peaks that must not belong to a bead that is seen better.
OWN = 0.7
#: How far a bead may lie from where it must be: part of its diameter, and px.
TOLERANCE, MORE_TOLERANCE = 0.35, 2.0
#: Images that beads are first sought in.
REFERENCES = 9


@dataclass(frozen=True, eq=False)
class Peaks:
    """Peaks of one image.

    Parameters
    ----------
    places
        Places ``(x, y)``, px, ``(n, 2)``.
    heights
        Heights, standard deviations of the filtered image, ``(n,)``.
    """

    places: NDArray[np.float64]
    heights: NDArray[np.float64]


def match_peaks(
    series: TiltSeries, peaks: list[Peaks], pixels: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the points that several images see as clear peaks.

    Parameters
    ----------
    series
        Geometry of the images.
    peaks
        Peaks of each image.
    pixels
        Diameter of the beads, px.

    Returns
    -------
    points, places
        World coordinates, bin-1 px, ``(n, 3)``; places in all images, px ``(x, y)``, ``(n_tilts, n, 2)``: of a peak
        where there is one, else where the point must lie.
    """
    from scipy.spatial import cKDTree

    a, t = series.projections[:, :2, :3], series.projections[:, :2, 3]
    tolerance = TOLERANCE * pixels + MORE_TOLERANCE
    clear = [peak.places[peak.heights > CLEAR] for peak in peaks]
    trees: list[cKDTree | None] = [cKDTree(places) if len(places) else None for places in clear]
    order = np.argsort(np.abs(series.tilt_angles), kind="stable")
    found: list[tuple[float, NDArray[np.float64]]] = []
    for reference in order[:: max(1, len(order) // REFERENCES)]:
        tilt = int(reference)
        taken = np.zeros(len(clear[tilt]), bool)
        if found and len(taken):
            known = np.stack([point for _, point in found]) @ a[tilt].T + t[tilt]
            taken[:] = cKDTree(known).query(clear[tilt])[0] <= tolerance
        for place in clear[tilt][~taken]:
            guesses = _along_ray(series, clear, tilt, place, tolerance)
            if len(guesses):
                found += _best_of(series, clear, trees, guesses, tolerance)
    # the best first: a peak belongs to one bead, and a bead has most of its peaks for itself
    free = [np.ones(len(places), bool) for places in clear]
    points: list[NDArray[np.float64]] = []
    for _, point in sorted(found, key=lambda each: -each[0]):
        seen, nearest, _ = _seen(series, trees, point[None], tolerance)
        tilts = np.flatnonzero(seen[:, 0])
        own = [int(i) for i in tilts if free[i][nearest[i, 0]]]
        if len(own) >= max(OWN * len(tilts), 2):
            points.append(point)
            for own_tilt in own:
                free[own_tilt][nearest[own_tilt, 0]] = False
    if not points:
        return np.empty((0, 3)), np.empty((series.n_tilts, 0, 2))
    made = np.stack(points)
    places = made @ a.transpose(0, 2, 1) + t[:, None]
    for i, peak in enumerate(peaks):
        if len(peak.places):
            _move_to_peaks(places[i], peak.places, tolerance, 1.5 * pixels)
    return made, places


def _move_to_peaks(places: NDArray[np.float64], peaks: NDArray[np.float64], tolerance: float, apart: float) -> None:
    """Move places in an image to the peaks there, but not where beads lie so close that their peaks may be one."""
    from scipy.spatial import cKDTree

    distance, index = map(np.asarray, cKDTree(peaks).query(places))
    other = np.asarray(cKDTree(places).query(places, k=2)[0])[:, 1]  # infinite for a single bead
    at = (distance <= tolerance) & (other > apart)
    places[at] = peaks[index[at]]


def _best_of(
    series: TiltSeries,
    clear: list[NDArray[np.float64]],
    trees: list[cKDTree | None],
    guesses: NDArray[np.float64],
    tolerance: float,
) -> list[tuple[float, NDArray[np.float64]]]:
    """Give the guess that most images show, moved to where they show it, with the part of them; none if too few do."""
    a, t = series.projections[:, :2, :3], series.projections[:, :2, 3]
    seen, _, _ = _seen(series, trees, guesses, 2.5 * tolerance)
    point = guesses[int(np.argmax(seen.sum(0)))]
    for reach in (2.5 * tolerance, tolerance, tolerance):
        seen, nearest, view = _seen(series, trees, point[None], reach)
        tilts = np.flatnonzero(seen[:, 0])
        if len(tilts) < 2:
            return []
        there = np.stack([clear[i][nearest[i, 0]] for i in tilts])
        point = np.linalg.lstsq(a[tilts].reshape(-1, 3), (there - t[tilts]).reshape(-1), rcond=None)[0]
    visible = float(view.sum())
    enough = len(tilts) >= max(min(LEAST_SEEN, series.n_tilts), SEEN_IN * visible)
    return [(len(tilts) / visible, point)] if enough else []


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
