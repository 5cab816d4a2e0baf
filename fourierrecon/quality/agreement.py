"""How well each image of a tilt series agrees with the tomogram: correlation with its reprojection, and shift.

Each image is itself part of the tomogram, so that its reprojection holds a copy of it, noise included, where it lies
now: this raises correlations and pulls shifts towards zero. Therefore Fourier points count by the share that other
images have in them: little far from the tilt axis, where the central slice of an image passes alone and a reprojection
is nothing but the image. What is left is a band of low frequencies, between those of the whole field and the finest
that neighbouring tilts share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fourierrecon.runtime.threads import available_cores, for_each
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.volume import Volume

#: An image whose grey values spread less than this part of what the others' do is blank.
BLANK = 0.1
#: Outliers lie farther from what their neighbours in tilt let expect than so many standard deviations (from the median
#: deviation) and than a least deviation: of correlation, shift (pixels of the images compared), tilt (degrees).
DEVIATIONS, LEAST_CORRELATION, LEAST_SHIFT, LEAST_ANGLE = 5.0, 0.1, 1.5, 6.0
#: So many neighbours are asked.
NEIGHBOURS = 9
#: An image is believed to be of another tilt if it reaches this part of the correlation that images of that tilt have,
#: and so much more of it than at its own.
ANGLE_FIT, LEAST_GAIN = 0.85, 0.03


@dataclass(frozen=True)
class TiltAgreement:
    """One row of the table: an image and its reprojection.

    Parameters
    ----------
    number
        Of the image in its series, from 1.
    tilt_angle
        Degrees.
    correlation
        Normalised cross-correlation at the best shift, -1 to 1; NaN where the image is blank or sees too little of
        the volume.
    shift
        ``(x, y)``, Å: how far the image lies from its reprojection.
    best_angle
        Tilt angle that fits best, degrees: correlation is measured by what neighbours of that tilt reach.
    flag
        ``""``, ``blank`` (no contrast, or values that are not finite), ``unseen`` (too little overlap to say),
        ``misaligned`` (shift far from its neighbours'), ``wrong angle`` (another tilt fits better; errors of 30
        degrees are found, smaller ones where there is little noise), ``bad`` (correlation far below its neighbours').
    """

    number: int
    tilt_angle: float
    correlation: float
    shift: tuple[float, float]
    best_angle: float
    flag: str = ""


def tilt_agreement(
    series: TiltSeries, volume: Volume, *, finest: float | None = None, n_threads: int | None = None
) -> list[TiltAgreement]:
    """Compare every image of a tilt series with the reprojection of its tomogram.

    Parameters
    ----------
    series
        Images and geometry.
    volume
        The tomogram, as :func:`fourierrecon.reconstruct` gives it; any binning and region.
    finest
        Finest period that counts, Å; default: 100, at least three voxels, and not beyond the first zero of the CTF.
    n_threads
        Default: the cores available to the process.

    Returns
    -------
    One row for each image, in the order of the series.

    Raises
    ------
    UsageError
        If the voxel size makes no sense for these images, or the finest period for them.

    Examples
    --------
    >>> from fourierrecon import reconstruct
    >>> from fourierrecon.quality import tilt_agreement
    >>> from fourierrecon.simulation.phantom import cell_like_specimen
    >>> from fourierrecon.simulation.simulate import simulate
    >>> size = (128, 128, 48)
    >>> series = simulate(cell_like_specimen(size), size, tilt_angles=range(-60, 61, 6), snr=None).series
    >>> rows = tilt_agreement(series, reconstruct(series, ctf=False))
    >>> len(rows), rows[10].tilt_angle, rows[10].correlation > 0.8
    (21, 0.0, True)
    """
    from fourierrecon.quality.tilt_matching import Matcher

    matcher = Matcher(series, volume, finest)
    threads = available_cores() if n_threads is None else max(1, n_threads)
    n = series.n_tilts
    images: list[NDArray[np.float32] | None] = [None] * n
    spread = np.zeros(n)
    found = np.full((n, 3), np.nan)

    def load(_: None, tilt: int) -> None:
        image, spread[tilt] = matcher.load(tilt)
        images[tilt] = image if np.isfinite(spread[tilt]) else None

    for_each(n, load, state=lambda: None, n_threads=threads)
    blank = ~(spread > BLANK * np.nanmedian(spread))

    def compare(_: None, tilt: int) -> None:
        image = images[tilt]
        if image is not None and not blank[tilt]:
            found[tilt] = matcher.match(tilt, image)

    for_each(n, compare, state=lambda: None, n_threads=threads)
    angles = series.tilt_angles
    aside = np.stack([_departure(angles, found[:, axis]) for axis in (1, 2)], 1)
    far = np.hypot(*aside.T)
    low = _beyond(-_departure(angles, found[:, 0]), LEAST_CORRELATION)
    moved = _beyond(far, LEAST_SHIFT * matcher.pixel)
    best = np.full((n, 5), np.nan)

    def turn(_: None, tilt: int) -> None:
        image = images[tilt]
        if image is not None and np.isfinite(found[tilt, 0]):
            others = np.isfinite(found[:, 0]) & (np.arange(n) != tilt)
            usual = partial(_expected, angles[others], found[others, 0])
            best[tilt] = matcher.best_angle(tilt, image, usual, bool(low[tilt] or moved[tilt]))

    for_each(n, turn, state=lambda: None, n_threads=threads)
    off = np.abs(_departure(angles, best[:, 0] - angles))
    # at its true tilt an image lies where it should
    there = np.hypot(*(best[:, 3:] - found[:, 1:] + aside).T) < 2 * LEAST_SHIFT * matcher.pixel
    turned = _beyond(off, LEAST_ANGLE) & (best[:, 1] > ANGLE_FIT) & _beyond(best[:, 2], LEAST_GAIN) & there
    rows = []
    for tilt, (correlation, x, y) in enumerate(found):
        reasons = {
            "blank": blank[tilt],
            "unseen": not np.isfinite(correlation),
            "misaligned": moved[tilt],
            "wrong angle": turned[tilt],
            "bad": low[tilt],
        }
        flag = next((name for name, holds in reasons.items() if holds), "")
        rows.append(
            TiltAgreement(
                tilt + 1, float(angles[tilt]), float(correlation), (float(x), float(y)), float(best[tilt, 0]), flag
            )
        )
    return rows


def outliers(rows: Sequence[TiltAgreement]) -> list[TiltAgreement]:
    """Give the rows that have a flag.

    Parameters
    ----------
    rows
        From :func:`tilt_agreement`.
    """
    return [row for row in rows if row.flag]


def _expected(angles: NDArray[np.float64], values: NDArray[np.float64], at: float) -> float:
    """Tell what a value should be at a tilt angle from the nearest tilts; NaN where there are too few.

    A line is laid through them (Theil and Sen's, which a few outliers do not move): correlation falls with the tilt.
    """
    near = np.argsort(np.abs(angles - at), kind="stable")[:NEIGHBOURS]
    x, y = angles[near] - at, values[near]
    first, second = np.triu_indices(len(near), 1)
    apart = np.abs(x[first] - x[second]) > 1e-3
    if not apart.any():
        return math.nan
    slope = np.median((y[first] - y[second])[apart] / (x[first] - x[second])[apart])
    return float(np.median(y - slope * x))


def _departure(angles: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give each value less what the others let expect; NaN where it is not known."""
    departure = np.full(len(values), np.nan)
    for tilt in np.flatnonzero(np.isfinite(values)):
        others = np.isfinite(values) & (np.arange(len(values)) != tilt)
        departure[tilt] = values[tilt] - _expected(angles[others], values[others], float(angles[tilt]))
    return departure


def _beyond(departure: NDArray[np.float64], least: float) -> NDArray[np.bool_]:
    """Tell which departures are larger than chance."""
    known = departure[np.isfinite(departure)]
    if len(known) < 3:
        return np.zeros(len(departure), bool)
    return np.nan_to_num(departure, nan=-np.inf) > max(least, float(np.median(known)) + DEVIATIONS * _deviation(known))


def _deviation(values: NDArray[np.float64]) -> float:
    """Give the standard deviation that the median deviation stands for."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
