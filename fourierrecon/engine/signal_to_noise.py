"""The signal-to-noise ratio of a tilt series by spatial frequency, measured from the series itself.

Two neighbouring tilts see the same Fourier coefficients of the specimen along their common axis, and nearly the same
ones as far from it as the thickness of the specimen allows. There the specimen correlates between the images, and
noise does not. That gives the power of the signal; the rest of the power is noise. No half images are needed; where
those of even and odd frames are there and agree, they are the better statistics: all frequencies count in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from fourierrecon.engine.grey_ramp import ramp_of
from fourierrecon.engine.pair_sums import add_pair
from fourierrecon.engine.preprocess import load_image
from fourierrecon.geometry.sound_images import LARGEST, sound_pixels
from fourierrecon.runtime.compiled import compiled
from fourierrecon.runtime.half_floats import to_single
from fourierrecon.runtime.threads import available_cores, for_each
from fourierrecon.tilt_series import ImageStack, TiltSeries
from fourierrecon.transfer import PER_CYCLE, Correction, Transfer
from fourierrecon.weighting import Weighting
from fourierrecon.weighting.snr import STATED, SnrCurve

#: Side of what is looked at in the middle of each image, binned px: half of the image, between these.
SIDES = 256, 320
#: Distance of two slices up to which they show the same, over one over the thickness.
NEAR = 0.35
#: Thickness of a specimen where the series does not tell the size of its tomogram, Å.
THICKNESS = 2000.0
#: Shells: the first edge and the least width, px of the transform, and how much farther out each edge is.
FIRST_EDGE, LEAST_WIDTH, GROWTH = 2.5, 1.5, 1.08
#: Standard errors that a shell must be above, and how much a window makes neighbouring coefficients alike.
ERRORS, ALIKE = 3.0, 1.5
#: Rounds to whole pixels, not one up and one down where halves come with errors of rounding.
TIE = 0.47
#: Pixels farther from the median than this many robust standard deviations are cut off.
OUTLIER = 6.0
#: Images of which even and odd frames are compared.
FRAMES = 21
#: Frames and tilts agree if their ratios do, up to this factor.
AGREE = 3.0
#: No ratio is taken as more.
MOST = 1e5
#: A curve falls at least with this power beyond what is measured.
FALL = -2.0


@dataclass(frozen=True, eq=False, kw_only=True)
class _Spectra:
    """Transforms of the middles of images.

    Parameters
    ----------
    data
        ``(n, side, side // 2 + 1)``.
    tilts
        Numbers of the images in the series, ``(n,)``.
    share
        Square root of the counts in each over those in the brightest, ``(n,)``.
    transfer, factor
        What acts on the signal, and pixels of the images that were averaged along each axis.
    middle
        Projections of one point in the middle, px of the cut-out, ``(n, 2)``: x, y.
    pixel_size
        Å.
    """

    data: NDArray[np.complex64]
    tilts: NDArray[np.int64]
    share: NDArray[np.float64]
    transfer: Transfer
    factor: int
    middle: NDArray[np.float64]
    pixel_size: float

    @property
    def grid(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Frequencies ``(1, columns)`` and ``(rows, 1)``, cycles per px."""
        rows = self.data.shape[1]
        return np.asarray(np.fft.rfftfreq(rows)[None]), np.asarray(np.fft.fftfreq(rows)[:, None])

    def gain(self, i: int, fx: NDArray[np.float64], fy: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the signal of transform ``i`` is multiplied with at some frequencies, cycles per px."""
        # a mean over pixels damps the signal; noise that is white folds back to what it was
        blur = np.sinc(fx) * np.sinc(fy) if self.factor > 1 else 1.0
        values = self.transfer.evaluate(int(self.tilts[i]), fx / self.pixel_size, fy / self.pixel_size)
        return np.asarray(values * blur * self.share[i])

    @property
    def shells(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Number of the shell of each coefficient, 0 below the first; and the frequencies of shells from 1 on, 1/Å."""
        rows = self.data.shape[1]
        edges = [FIRST_EDGE]
        while edges[-1] < rows / 2 - LEAST_WIDTH:
            edges.append(max(edges[-1] * GROWTH, edges[-1] + LEAST_WIDTH))
        fx, fy = self.grid
        radius = np.hypot(fx, fy) * rows
        middles = (np.array(edges[:-1]) + edges[1:]) / 2 / rows / self.pixel_size
        numbers = np.searchsorted(edges, radius, side="right")
        return np.where(numbers < len(edges), numbers, 0), middles


def estimate_snr(
    series: TiltSeries,
    binning: float = 1.0,
    *,
    correction: Correction | None = None,
    halves: Mapping[str, ImageStack] | None = None,
    n_threads: int | None = None,
) -> SnrCurve:
    """Measure the signal-to-noise ratio of the images of a tilt series, by spatial frequency.

    The ratio is that of the powers of signal and noise in one image where its transfer function is 1, the number that
    a Wiener filter takes. It depends on the series alone, not on a region, so that all parts of a tomogram get the
    same.

    Parameters
    ----------
    series
        Images, geometry, optics. Of raw counts, steep images count by their counts.
    binning
        Voxel over pixel: finer detail is not looked at.
    correction
        What acts on the signal; default: the CTF, if it is known.
    halves
        Images of even and odd frames, of the same tilts, under any two names.
    n_threads
        Default: the cores available to the process.

    Returns
    -------
    curve
        Its ``origin`` says whether tilts or frames were compared; where neither shows any signal,
        ``1000 exp(-200 Å q)``.

    Raises
    ------
    DataError
        If the CTF or exposures are asked for and missing, or an image cannot be used.
    """
    default = Correction("none" if series.ctf is None else None)
    transfer = Transfer.of(series, correction or default)
    if transfer.ctf is not None:
        transfer = replace(
            transfer, mode="wiener"
        )  # the transfer function acts on the images whatever is done about it
    threads = available_cores() if n_threads is None else n_threads
    order = np.argsort(series.tilt_angles, kind="stable")
    spectra = _transform(series, series.images, transfer, binning, order, threads)
    by_tilts = _curve(*_of_neighbours(series, spectra, order), "measured from neighbouring tilts")
    if halves is None or len(halves) != 2:
        return by_tilts or STATED
    some = order[np.unique(np.linspace(0, len(order) - 1, min(FRAMES, len(order))).round().astype(int))]
    even, odd = (_transform(series, images, transfer, binning, some, threads) for images in halves.values())
    by_frames = _curve(*_of_frames(even, odd), "measured from even and odd frames")
    if by_tilts is None or by_frames is None:
        return by_frames or by_tilts or STATED
    shared = np.array([q for q in by_frames.frequency[:-1] if q <= by_tilts.frequency[-2]])
    apart = np.abs(np.log(by_frames.at(shared) / by_tilts.at(shared)))
    if float(np.median(apart)) > log(AGREE):
        return replace(by_tilts, origin=f"{by_tilts.origin} (even and odd frames disagree)")
    return by_frames


def with_snr(
    weighting: Weighting,
    series: TiltSeries,
    binning: float = 1.0,
    *,
    correction: Correction | None = None,
    halves: Mapping[str, ImageStack] | None = None,
    n_threads: int | None = None,
) -> Weighting:
    """Give a weighting with the ratio measured that it leaves open (``snr=auto``); others come back as they are.

    Parameters
    ----------
    weighting
        Weighting.
    series, binning, correction, halves, n_threads
        As for :func:`estimate_snr`; of half volumes the whole series, so that all are filtered alike.
    """
    return weighting.resolved(
        lambda: estimate_snr(series, binning, correction=correction, halves=halves, n_threads=n_threads)
    )


def _transform(
    series: TiltSeries, images: ImageStack, transfer: Transfer, binning: float, tilts: NDArray[np.int64], threads: int
) -> _Spectra:
    """Cut the middles of images out, bin them by a whole number and transform them."""
    factor = max(int(binning), 1)
    height, width = (n // factor for n in series.image_shape)
    least = min(height, width)
    side = min(least, max(SIDES[0], min(least // 2, SIDES[1])))
    # the middle follows from the matrices alone, so that sets of both versions of RELION give the same
    a, t = series.projections[:, :2, :3], series.projections[:, :2, 3]
    halfway = np.array(series.image_shape[::-1]) / 2
    point = np.linalg.lstsq(a.reshape(-1, 3), (halfway - t).reshape(-1), rcond=None)[0]
    centre = a[tilts] @ point + t[tilts]
    most = np.array([series.image_shape[1], series.image_shape[0]]) - side * factor
    corner = np.clip(np.floor(centre - side * factor / 2 + TIE), 0, most).astype(int)
    cut = np.empty((len(tilts), side, side), np.float32)

    def load(_: None, i: int) -> None:
        x, y = corner[i]
        image = np.asarray(images[int(tilts[i])])
        part = image[y : y + side * factor, x : x + side * factor]
        if part.dtype == np.float16:  # slow to compare
            part = to_single(part)
        cut[i] = _binned(to_single(part), factor) if factor > 1 else part
        # one pixel is a part of a mean; what is close to the limit is looked at itself
        sound = float(np.abs(cut[i]).max()) <= LARGEST / (2 * factor**2)
        if image.shape != series.image_shape or not (sound or sound_pixels(part).all()):
            load_image(replace(series, images=images), int(tilts[i]))  # raises, and names what is wrong

    for_each(len(tilts), load, state=lambda: None, n_threads=threads, stage="SNR", progress=None)
    counts = _counts(cut)
    taper = np.hanning(side + 2)[1:-1].astype(np.float32)
    pixel_size = series.pixel_size * factor
    data = np.empty((len(tilts), side, side // 2 + 1), np.complex64)
    share = np.sqrt(counts)

    def transform(_: None, i: int) -> None:
        image = cut[i]
        along_y, along_x = ramp_of(image)
        sample = image[::5, ::5] - along_y[::5, None] - along_x[::5]
        middle = float(np.median(sample))
        # without a reach most pixels are the same: beads without noise, which are no outliers
        reach = OUTLIER * 1.4826 * float(np.median(np.abs(sample - middle))) or 1e30
        low, high = np.float32(middle - reach), np.float32(middle + reach)
        _clean(image, along_y, along_x, low, high, taper, np.float32(share[i] / counts[i]))
        data[i] = scipy.fft.rfft2(image)  # in single precision twice as fast as NumPy

    for_each(len(tilts), transform, state=lambda: None, n_threads=threads, stage="SNR", progress=None)
    middle = (centre - corner - (factor - 1) / 2) / factor
    return _Spectra(
        data=data,
        tilts=tilts,
        share=share,
        transfer=transfer,
        factor=factor,
        middle=middle,
        pixel_size=pixel_size,
    )


@compiled()
def _binned(image: Any, factor: int) -> Any:
    """Average squares of pixels; the sides of the image are multiples of ``factor``."""
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    means = np.zeros((rows, columns), np.float32)
    for row in range(rows):
        for part in range(factor):
            pixels = image[row * factor + part]
            for first in range(factor):
                for column in range(columns):
                    means[row, column] += pixels[column * factor + first]
    return means * np.float32(1 / factor**2)


@compiled()
def _clean(image: Any, along_y: Any, along_x: Any, low: Any, high: Any, taper: Any, scale: Any) -> None:
    """Take the ramp and the mean off an image, with outliers cut off; window and scale it."""
    rows, columns = image.shape
    total = 0.0
    for row in range(rows):
        values, off, part = image[row], along_y[row], np.float32(0)
        for column in range(columns):
            value = min(max(values[column] - off - along_x[column], low), high)
            values[column] = value
            part += value
        total += float(part)
    mean = np.float32(total / (rows * columns))
    for row in range(rows):
        values, factor = image[row], scale * taper[row]
        for column in range(columns):
            values[column] = (values[column] - mean) * (factor * taper[column])


def _counts(cut: NDArray[np.float32]) -> NDArray[np.float64]:
    """Give means of images over the largest, where they are counts of electrons; else 1, ``(n,)``."""
    # a part of the pixels tells how far they spread
    means, spread = cut.mean((1, 2), dtype=np.float64), cut[:, ::4].std((1, 2))
    if (means > spread).all():
        return np.asarray(means / means.max())
    return np.ones(len(cut))


def _of_neighbours(
    series: TiltSeries, spectra: _Spectra, order: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Compare images that are next to each other in tilt: frequencies, signal, its standard error, and noise."""
    numbers, frequency = spectra.shells
    fx, fy = spectra.grid
    sums = np.zeros((5, len(frequency) + 1))
    depth = (series.size[2] * series.pixel_size if series.size else THICKNESS) / spectra.pixel_size
    matrices = series.projections[order][:, :2, :3]
    normals = np.cross(matrices[:, 0], matrices[:, 1])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    blur_x, blur_y = (np.sinc(f) ** 2 if spectra.factor > 1 else np.ones_like(f) for f in (fx[0], fy[:, 0]))
    seen = spectra.transfer
    phases = np.stack([seen.phases(int(tilt), spectra.pixel_size) for tilt in order])
    phases[:, 5] *= spectra.share
    envelopes = seen.envelopes(spectra.pixel_size)[order]
    for i in range(len(order) - 1):
        pair = slice(i, i + 2)
        x, y = 2j * np.pi * (spectra.middle[i] - spectra.middle[i + 1])
        add_pair(
            spectra.data[i], spectra.data[i + 1], numbers, fx[0], fy[:, 0], matrices[i] @ normals[i + 1] * depth, NEAR,
            np.exp(x * fx[0]).astype(np.complex64), np.exp(y * fy[:, 0]).astype(np.complex64), blur_x, blur_y,
            phases[pair], seen.form, envelopes[pair], PER_CYCLE, sums,
        )  # fmt: skip
    alike, gains, squares, power, n = sums[:, 1:]
    gains, n = np.maximum(gains, 1e-30), np.maximum(n, 1)
    signal = alike / gains
    return (
        frequency,
        signal,
        ALIKE * np.sqrt(np.maximum(squares - alike**2 / n, 0)) / gains,
        (power - signal * gains) / n,
    )


def _of_frames(
    even: _Spectra, odd: _Spectra
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Compare images of even and odd frames, as :func:`_of_neighbours`; the noise is that of all frames."""
    numbers, frequency = even.shells
    alike = (even.data * odd.data.conj()).real
    gains = np.stack([even.gain(i, *even.grid) * odd.gain(i, *odd.grid) for i in range(len(even.data))])
    power = (_squared(even.data) + _squared(odd.data)) / 2
    flat = np.broadcast_to(numbers, alike.shape).ravel()

    def total(values: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(flat, values.ravel(), len(frequency) + 1)[1:], np.float64)

    n, gain = np.maximum(total(np.ones(alike.shape)), 1), np.maximum(total(np.abs(gains)), 1e-30)
    noise = (total(power) - total(alike)) / 2 / n
    spread = total(alike**2) - total(alike) ** 2 / n
    return frequency, total(alike) / gain, ALIKE * np.sqrt(np.maximum(spread, 0)) / gain, noise


def _squared(values: NDArray[np.complexfloating]) -> NDArray[np.floating]:
    # without the root that a modulus takes
    return np.asarray(values.real**2 + values.imag**2)


def _curve(
    frequency: NDArray[np.float64],
    signal: NDArray[np.float64],
    error: NDArray[np.float64],
    noise: NDArray[np.float64],
    origin: str,
) -> SnrCurve | None:
    """Make a curve of what is significant, from the lowest frequency on; None if nothing is."""
    # the rest of the power may come out as nothing, or less, for images without noise
    noise = np.maximum(noise, signal / MOST)
    sound = (signal > ERRORS * error) & (error > 0) & (noise > 0)
    if not sound.any():
        return None
    first = int(np.argmax(sound))
    last = first + int(np.argmin(np.append(sound[first:], False)))
    if last - first < 3:
        return None
    q, snr = np.log(frequency[first:last]), np.log(signal[first:last] / noise[first:last])
    snr[1:-1] = (snr[:-2] + 2 * snr[1:-1] + snr[2:]) / 4
    # its end by a straight line through the last octave: single shells there are those that noise lifted
    octave = slice(min(int(np.searchsorted(q, q[-1] - log(2))), len(q) - 3), None)
    slope, level = np.polyfit(q[octave] - q[-1], snr[octave], 1)
    beyond = 10 * frequency[last - 1]
    snr[-1] = level
    snr = np.append(snr, level + min(float(slope), FALL) * log(10))
    places = (*map(float, frequency[first:last]), float(beyond))
    return SnrCurve(places, tuple(float(v) for v in np.exp(np.clip(snr, -13, 30))), origin)
