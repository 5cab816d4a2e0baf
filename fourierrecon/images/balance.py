"""What images of a normalised stack lost: their counts of electrons, beside those of the others.

Counts weigh themselves: through a thick slab, the signal of steep images and the variance of their noise fall off
alike, so they add less to the sum. A stack whose images were set to equal means or variances has lost that. It comes
back by a factor on each image: where ``x`` is what counts do by the tilt, and ``n`` the noise in an image, images times
``sqrt(x / n)`` have noise ``x`` and signal ``x²``, as counts have.

Divided by their mean, images have a noise that rises as counts fall: ``x = 1/n``. Of equal variances, images have equal
noise, and only their signal tells: ``a²``, the power from 600 to 100 Å through windows that show the same specimen,
``x = a²/n``. It is looked for only where variances are equal as no recorded images have them. ``x`` is fitted by the
tilt as intensities are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from fourierrecon.images.intensities import expected_intensities
from fourierrecon.runtime.half_floats import to_single
from fourierrecon.runtime.threads import for_each
from fourierrecon.tilt_series import TiltSeries

#: Wavelengths that signal is measured at, Å, and pixels that are wide enough for it, Å.
BAND, COARSE = (600.0, 100.0), 30.0
#: What falls off to no less than this does not fall off: by noise, and by signal, which goes by the specimen as well.
FALLS, SIGNAL_FALLS = 0.8, 0.5
#: Thicker specimens than this part of the field have other parts in the windows of steep images.
THICK = 0.45
#: Cosine of the steepest tilt whose window is wide enough.
STEEPEST = 0.15
#: Standard deviations that are equal: of all pixels, and of the rows that were looked at.
EQUAL, ALIKE = 0.003, 0.05
#: Usual departure from the fit, as a logarithm, up to which it is believed; and standard errors that a fall takes.
BELIEVED, ERRORS = 0.3, 10.0
#: Part of an image's variance that must be noise: what is finest in images without noise is specimen.
NOISY = 0.02
#: Rows of each image whose noise is measured, at the most, and pixels of these that are needed.
ROWS, ENOUGH = 24, 2000


@dataclass(frozen=True, eq=False)
class Levels:
    """Mean, standard deviation, and variance of the noise in each image, from some of its rows; ``(n_tilts,)`` each."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    noise: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Coarse:
    """An image in coarse pixels, ``(rows, columns)``, and the standard deviation of its own."""

    pixels: NDArray[np.float32]
    spread: float

    @classmethod
    def of(cls, image: NDArray[np.generic], pixel_size: float) -> Coarse:
        """Average squares of pixels of a size in Å."""
        single, factor = to_single(image), coarsening(pixel_size)
        rows, columns = (length // factor for length in single.shape)
        # first along y: whole rows are added up fast
        small = single[: rows * factor, : columns * factor].reshape(rows, factor, -1).sum(1)
        small = sum(small[:, k::factor] for k in range(1, factor)) + small[:, ::factor]
        small /= np.float32(factor**2)
        return cls(small, float(single.std()))


def coarsening(pixel_size: float) -> int:
    """Give the pixels along the sides of a coarse one, for a pixel size in Å."""
    return max(1, int(COARSE / pixel_size))


def balance_of(
    series: TiltSeries, levels: Levels, look: Callable[[int], Coarse], n_threads: int = 1
) -> NDArray[np.float64] | None:
    """Find the factors that give images of a normalised stack back what counts are.

    Parameters
    ----------
    series
        Tilt series.
    levels
        What its images are like.
    look
        Gives an image in coarse pixels; called only where the variances of all images may be the same.
    n_threads
        Number of threads; each may look.

    Returns
    -------
    factors
        ``sqrt(x / n)`` over its median, ``(n_tilts,)``; None where images weigh themselves, as counts do, where all
        hold as much signal as the others, or where it cannot be told.
    """
    noise = levels.noise
    if not (noise > 0).all() or _are_counts(levels):  # NaN as well
        return None
    height, width = series.image_shape
    if min(height, ROWS) * width < ENOUGH or float(np.median(noise / levels.spread**2)) < NOISY:
        return None
    x = expected_intensities(series.tilt_angles, 1 / noise)
    if x is None or x.min() > FALLS * x.max() or not _is_sure(1 / noise, x):
        x = _by_signal(series, noise, look, n_threads) if _apart(levels.spread) < ALIKE else None
    if x is None:
        return None
    factors = np.sqrt(x / noise)
    return np.asarray(factors / np.median(factors))


def _are_counts(levels: Levels) -> bool:
    """Tell whether noise goes by the mean, as of counts, also where steep images were exposed for longer."""
    if not (levels.mean > levels.spread).all():
        return False
    return bool(np.log(levels.noise / levels.mean).std() < np.log(levels.noise).std() / 2)


def _by_signal(
    series: TiltSeries, noise: NDArray[np.float64], look: Callable[[int], Coarse], n_threads: int
) -> NDArray[np.float64] | None:
    """Fit what counts do by the tilt to signals over noise; None if variances differ, or signals do not fall off."""
    if series.size is not None and series.size[2] > THICK * min(series.image_shape):
        return None
    if max(series.image_shape) * series.pixel_size <= BAND[1]:
        return None  # too small to have a frequency of the band
    rows = series.projections[:, :2, :3]
    if (np.abs(np.cross(rows[:, 0], rows[:, 1])[:, 2]) < STEEPEST * np.linalg.norm(rows[:, 0], axis=1) ** 2).any():
        return None  # the window of an image on edge is empty
    signals, spreads = _signals(series, noise, look, n_threads)
    ratio = signals / noise
    x = expected_intensities(series.tilt_angles, ratio) if _apart(spreads) < EQUAL else None
    if x is None or x.min() > SIGNAL_FALLS * x.max():
        return None
    return x if _is_sure(ratio, x) else None


def _is_sure(values: NDArray[np.float64], fit: NDArray[np.float64]) -> bool:
    """Tell whether a fit is near enough to its values, and falls off by more than these scatter."""
    known = values > 0
    misfit = float(np.median(np.abs(np.log(values[known] / fit[known]))))
    fall = float(np.log(fit.max() / fit.min()))
    return misfit < BELIEVED and fall > ERRORS * misfit / np.sqrt(known.sum())


def _apart(values: NDArray[np.float64]) -> float:
    return float(values.max() / values.min()) - 1 if (values > 0).all() else np.inf


def noise_of(image: NDArray[np.generic]) -> float:
    """Give the variance of the noise in some rows of an image; NaN if they are not finite."""
    rows = to_single(image[:: -(-image.shape[0] // ROWS)])
    if not np.isfinite(rows).all():
        return float("nan")
    apart = rows[:, 1:-1] - (rows[:, :-2] + rows[:, 2:]) / 2  # what is finest is least of the specimen
    size = np.abs(apart)
    reach = 6 * 1.4826 * float(np.median(size[:, ::3]))
    # hot pixels and beads do not count; most differences of few counts may be 0
    kept = apart[size <= reach] if reach > 0 else apart.ravel()
    return float(np.dot(kept, kept)) / max(len(kept), 1) / 1.5


def _signals(
    series: TiltSeries, noise: NDArray[np.float64], look: Callable[[int], Coarse], n_threads: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the power at low frequencies of what all images show, without that of noise, and standard deviations."""
    a, t = series.projections[:, :2, :3], series.projections[:, :2, 3]
    beams = np.cross(a[:, 0], a[:, 1])
    beams /= np.linalg.norm(beams, axis=1, keepdims=True)
    axis = np.linalg.svd(beams)[2][2]  # where all beams are the same, one across them
    halfway = np.array(series.image_shape[::-1]) / 2
    point = np.linalg.lstsq(a.reshape(-1, 3), (halfway - t).reshape(-1), rcond=None)[0]
    factor = coarsening(series.pixel_size)
    pixel_size = series.pixel_size * factor
    rows, columns = (length // factor for length in series.image_shape)
    half = min(rows, columns) / 2
    n_rows, n_columns = (scipy.fft.next_fast_len(n, real=True) for n in (rows, columns))
    q = np.hypot(np.fft.fftfreq(n_rows, pixel_size)[:, None], np.fft.rfftfreq(n_columns, pixel_size))
    band = (q >= 1 / BAND[0]) & (q <= 1 / BAND[1])
    # all within the columns of a few low frequencies
    last = int(np.flatnonzero(band.any(0)).max(initial=0)) + 1
    powers, spreads = np.empty(series.n_tilts), np.empty(series.n_tilts)

    def measure(_: None, tilt: int) -> None:
        coarse = look(tilt)
        spreads[tilt] = coarse.spread
        along = (a[tilt] @ axis).astype(np.float32)
        along /= np.linalg.norm(along)
        x, y = (a[tilt] @ point + t[tilt] - (factor - 1) / 2) / factor
        v, u = (np.arange(rows) - y).astype(np.float32)[:, None], (np.arange(columns) - x).astype(np.float32)
        # the same part of the specimen in all images: narrower, the steeper they are
        down, across = u * along[0] + v * along[1], v * along[0] - u * along[1]
        window = _fade(down / np.float32(half)) * _fade(across / np.float32(half * abs(beams[tilt, 2])))
        small = (coarse.pixels - np.float32(np.vdot(coarse.pixels, window) / window.sum(dtype=float))) * window
        spectrum = scipy.fft.fft(scipy.fft.rfft(small, n_columns, axis=1)[:, :last], n_rows, axis=0)
        signal = (np.abs(spectrum[band[:, :last]]) ** 2).mean(dtype=float)
        powers[tilt] = signal - noise[tilt] / factor**2 * float(np.vdot(window, window))

    for_each(series.n_tilts, measure, state=lambda: None, n_threads=n_threads)
    return powers, spreads


def _fade(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Window over -1 to 1."""
    return np.asarray(np.maximum(1 - x * x, np.float32(0)) ** 2)
