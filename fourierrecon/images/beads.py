"""Finds gold beads in a tilt series, each in all of its images, and erases them.

Candidates are the peaks of each image after a band-pass of the beads' size, far above the noise of the filtered image.
A bead is what several images see at one place of the specimen; where an image shows no peak at that place, the bead is
erased where it must be. A disc is replaced by a plane through the ring around it, with residuals drawn from that ring.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import UsageError
from fourierrecon.images.bead_matching import Peaks, match_peaks
from fourierrecon.runtime.arrays import Real
from fourierrecon.runtime.threads import for_each
from fourierrecon.tilt_series import TiltSeries

#: Images are binned so that beads are about so many pixels wide while they are looked for.
WIDTH = 8.0
#: Least height of a peak that may place a bead, standard deviations.
FAINT = 3.5
#: Peaks of one image that are looked at, the highest first.
MOST_PEAKS = 1000
#: Discs are wider than beads by so many px; rings reach out to this many radii, and at least so many px from the disc.
MARGIN, RING, LEAST_RING = 1.5, 1.6, 2.5
#: Least diameter in pixels, and largest one in parts of the image.
LEAST_PIXELS, LARGEST_PART = 2.0, 0.25


#: Where what is found has another diameter by more than the first factor a warning is due; by more than the second, it
#: is something else than beads.
OTHER_SIZE, NO_BEAD = 1.6, 2.5


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
    width
        Diameter that they show, at half their depth, px; NaN if there are none.
    """

    points: NDArray[np.float64]
    places: NDArray[np.float64]
    radius: float
    dark: bool
    width: float = float("nan")

    def __len__(self) -> int:
        return len(self.points)


NO_BEADS = Beads(np.empty((0, 3)), np.empty((0, 0, 2)), 0.0, True)


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
    both: list[tuple[Peaks, Peaks] | None] = [None] * n

    def look(_: None, tilt: int) -> None:
        both[tilt] = _peaks_of(load(tilt), pixels)

    for_each(n, look, state=lambda: None, n_threads=n_threads)
    found = [match_peaks(series, [each[sign] for each in both if each is not None], pixels) for sign in (0, 1)]
    dark = len(found[0][0]) >= len(found[1][0])
    points, places = found[0 if dark else 1]
    upright = np.argsort(np.abs(series.tilt_angles))[:3]
    width = _width_of([(load(int(tilt)), places[tilt]) for tilt in upright], pixels) if len(points) else float("nan")
    return Beads(points, places, pixels / 2, dark, width)


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


def _width_of(shown: list[tuple[Real, NDArray[np.float64]]], pixels: float) -> float:
    """Measure the diameter of beads from the mean of all around their middles; NaN where it does not show."""
    # beads nearer to the border than this do not count, and some must
    reach = min(2 * pixels, max(1.25 * pixels, 0.15 * min(shown[0][0].shape)))
    sums, counts = np.zeros(int(2 * reach) + 2), np.zeros(int(2 * reach) + 2)
    for image, places in shown:
        for x, y in places:
            if reach < x < image.shape[1] - reach - 1 and reach < y < image.shape[0] - reach - 1:
                box, distance = _disc(image.shape, x, y, reach)
                ring = np.minimum(2 * distance, len(sums) - 1).astype(int)
                sums += np.bincount(ring.ravel(), (image[box] - np.median(image[box])).ravel(), len(sums))
                counts += np.bincount(ring.ravel(), minlength=len(counts))
    profile = sums[:-1] / np.maximum(counts[:-1], 1)
    ground = float(np.median(profile[int(1.5 * reach) :]))
    inner = profile[: max(2, int(0.3 * pixels))]
    depth = float(np.average(inner, weights=counts[: len(inner)])) - ground if counts[: len(inner)].any() else 0.0
    beyond = np.flatnonzero((profile - ground) * np.sign(depth) < abs(depth) / 2)
    return float(beyond[0]) if depth != 0 and len(beyond) else float("nan")  # rings are half a pixel wide


def _disc(shape: tuple[int, ...], x: float, y: float, reach: float) -> tuple[tuple[slice, slice], NDArray[np.float64]]:
    """Give the part of an image that a disc needs, and distances from its middle there."""
    rows = slice(max(0, int(np.floor(y - reach))), max(0, min(shape[0], int(np.ceil(y + reach)) + 1)))
    columns = slice(max(0, int(np.floor(x - reach))), max(0, min(shape[1], int(np.ceil(x + reach)) + 1)))
    v, u = np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop)
    return (rows, columns), np.hypot(v[:, None] - y, u[None, :] - x)


def _peaks_of(image: Real, pixels: float) -> tuple[Peaks, Peaks]:
    """Give the dark and the bright peaks of an image that has beads of a diameter."""
    from scipy.ndimage import gaussian_filter, maximum_filter

    if not np.isfinite(image).all():  # whoever reads it refuses it
        nothing = Peaks(np.empty((0, 2)), np.empty(0))
        return nothing, nothing
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
        found.append(Peaks(places * factor + (factor - 1) / 2, middle))
    return found[0], found[1]
