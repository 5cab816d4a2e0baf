"""Compares each image of a tilt series with its reprojection from the tomogram: correlation, shift, best tilt.

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

from fourierrecon.errors import check_type
from fourierrecon.runtime.threads import available_cores, for_each
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.transfer import Correction
from fourierrecon.volume import Volume

#: An image is blank if its grey values spread less than this part of the median spread of all images.
BLANK = 0.1
#: A value is an outlier if it departs from the value expected at its tilt by more than this many standard deviations
#: (estimated from the median deviation), and by more than the least departure of its kind.
DEVIATIONS = 5.0
#: Least departure of an outlier in correlation.
LEAST_CORRELATION = 0.1
#: Least departure of an outlier in shift, pixels of the images compared.
LEAST_SHIFT = 1.5
#: Least departure of an outlier in tilt, degrees.
LEAST_ANGLE = 6.0
#: Number of neighbours in tilt that a value is expected from.
NEIGHBOURS = 9
#: Least correlation of an image at another tilt, as a part of what images of that tilt reach, to believe that tilt.
ANGLE_FIT = 0.85
#: Least gain of that part over the image's own tilt.
LEAST_GAIN = 0.03


@dataclass(frozen=True, kw_only=True)
class TiltAgreement:
    """One row of the table: an image and its reprojection.

    Parameters
    ----------
    number
        Number of the image in its series, from 1.
    tilt_angle
        Degrees.
    correlation
        Normalised cross-correlation at the best shift, -1 to 1; NaN where the image is blank or sees too little of
        the volume.
    shift
        ``(x, y)``, Å: how far the image lies from its reprojection.
    best_angle
        Tilt angle that fits best, degrees. The correlation at each tilt is divided by what its neighbours reach.
    flag
        ``""``, ``blank`` (no contrast, or values that are not finite), ``unseen`` (too little overlap to compare),
        ``misaligned`` (shift far from its neighbours'), ``wrong angle`` (another tilt fits better; errors of 30
        degrees are found, smaller ones where there is little noise), ``check`` (correlation falls smoothly towards
        high tilts, as that of thick specimens does), ``bad`` (correlation far below its neighbours').
    """

    number: int
    tilt_angle: float
    correlation: float
    shift: tuple[float, float]
    best_angle: float
    flag: str = ""


def tilt_agreement(
    series: TiltSeries,
    volume: Volume,
    *,
    finest: float | None = None,
    correction: Correction | None = None,
    n_threads: int | None = None,
) -> list[TiltAgreement]:
    """Compare every image of a tilt series with the reprojection of its tomogram.

    Reprojections have the CTF of each image, at each depth where that matters, its exposure and its scale.

    Parameters
    ----------
    series
        Images and geometry.
    volume
        The tomogram, as :func:`fourierrecon.reconstruct` gives it; any binning and region.
    finest
        Finest period that counts, Å. Default: 100, at least three voxels, and not beyond the first zero of the CTF
        where reprojections have none.
    correction
        What was done about the CTF, exposure and tilt when the tomogram was made. Default: the CTF was corrected where
        all images have one. Give ``Correction(ctf_mode="none")`` of :class:`fourierrecon.transfer.Correction` for a
        tomogram that still shows it.
    n_threads
        Number of threads. Default: the cores available to the process.

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

    check_type("series", series, (TiltSeries,), "a TiltSeries; read_tilt_series reads one from a file")
    check_type("volume", volume, (Volume,), "a Volume; read_volume reads one from a file")
    check_type("correction", correction, (Correction, type(None)), 'a Correction, as Correction(ctf_mode="none")')
    threads = available_cores() if n_threads is None else max(1, n_threads)
    matcher = Matcher(series, volume, finest, correction, threads)
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
    falls = low & _smooth(angles, found[:, 0], low)
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
    # at its true tilt an image must also lie where its neighbours let expect
    there = np.hypot(*(best[:, 3:] - found[:, 1:] + aside).T) < 2 * LEAST_SHIFT * matcher.pixel
    turned = _beyond(off, LEAST_ANGLE) & (best[:, 1] > ANGLE_FIT) & _beyond(best[:, 2], LEAST_GAIN) & there
    rows = []
    for tilt, (correlation, x, y) in enumerate(found):
        reasons = {
            "blank": blank[tilt],
            "unseen": not np.isfinite(correlation),
            "misaligned": moved[tilt],
            "wrong angle": turned[tilt],
            "check": falls[tilt],
            "bad": low[tilt],
        }
        flag = next((name for name, holds in reasons.items() if holds), "")
        rows.append(
            TiltAgreement(
                number=tilt + 1,
                tilt_angle=float(angles[tilt]),
                correlation=float(correlation),
                shift=(float(x), float(y)),
                best_angle=float(best[tilt, 0]),
                flag=flag,
            )
        )
    return rows


def outliers(rows: Sequence[TiltAgreement]) -> list[TiltAgreement]:
    """Give the rows that have a flag.

    Parameters
    ----------
    rows
        Rows from :func:`tilt_agreement`.
    """
    return [row for row in rows if row.flag]


def _expected(angles: NDArray[np.float64], values: NDArray[np.float64], at: float) -> float:
    """Estimate the value expected at a tilt angle from the nearest tilts; NaN where they are too few.

    The estimate is a line (Theil and Sen's, which a few outliers do not move), since correlation falls with the tilt.
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
    """Subtract from each value the one that the others let expect; NaN where a value is missing."""
    departure = np.full(len(values), np.nan)
    for tilt in np.flatnonzero(np.isfinite(values)):
        others = np.isfinite(values) & (np.arange(len(values)) != tilt)
        departure[tilt] = values[tilt] - _expected(angles[others], values[others], float(angles[tilt]))
    return departure


def _smooth(angles: NDArray[np.float64], values: NDArray[np.float64], low: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which values continue those of the tilts between them and 0°: a fall goes on, there is no step.

    A value that lies beyond a step is compared with those before it, so that all of several bad images stand out.
    """
    smooth = ~low
    for side in (angles >= 0, angles < 0):
        inner: list[int] = []
        for tilt in np.flatnonzero(side)[np.argsort(np.abs(angles[side]), kind="stable")]:
            if not np.isfinite(values[tilt]):
                continue
            if low[tilt] and len(inner) > 1:
                before, last = inner[-2:]
                apart = abs(angles[last] - angles[before])
                slope = (values[last] - values[before]) / apart if apart > 1e-3 else 0.0
                usual = values[last] + min(slope, 0.0) * abs(angles[tilt] - angles[last])
                smooth[tilt] = values[tilt] > usual - LEAST_CORRELATION
            if smooth[tilt]:
                inner.append(int(tilt))
    return smooth


def _beyond(departure: NDArray[np.float64], least: float) -> NDArray[np.bool_]:
    """Find the departures that are larger than chance."""
    known = departure[np.isfinite(departure)]
    if len(known) < 3:
        return np.zeros(len(departure), bool)
    return np.nan_to_num(departure, nan=-np.inf) > max(least, float(np.median(known)) + DEVIATIONS * _deviation(known))


def _deviation(values: NDArray[np.float64]) -> float:
    """Estimate the standard deviation from the median deviation, as for a normal distribution."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
