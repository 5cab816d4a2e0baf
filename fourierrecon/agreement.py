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

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, maximum_filter

from fourierrecon.ctf import electron_wavelength
from fourierrecon.errors import UsageError
from fourierrecon.parallel import available_cores, for_each
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.volume import Volume

Image = NDArray[np.float32]

#: Finest period that counts, Å and voxels, and coarsest as a fraction of the shorter side of the images.
FINEST, FINEST_VOXELS, COARSEST = 100.0, 3.0, 0.25
#: Pixels of the images that are compared, per finest period.
SAMPLES = 3.0
#: Shifts are looked for up to this fraction of the shorter side of the images.
REACH = 0.15
#: An image whose grey values spread less than this part of what the others' do is blank.
BLANK = 0.1
#: Outliers lie farther from what their neighbours in tilt let expect than so many standard deviations (from the median
#: deviation) and than a least deviation: of correlation, shift (pixels of the images compared), tilt (degrees).
DEVIATIONS, LEAST_CORRELATION, LEAST_SHIFT, LEAST_ANGLE = 5.0, 0.1, 1.5, 6.0
#: So many neighbours are asked.
NEIGHBOURS = 9
#: Step of the tilts that are tried, degrees, and how many of them to both sides.
ANGLE_STEP, ANGLE_STEPS = 3.0, 5
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
        ``""``, ``blank`` (no contrast), ``unseen`` (too little overlap to say), ``misaligned`` (shift far from its
        neighbours'), ``wrong angle`` (another tilt fits better; errors of 30 degrees are found, smaller ones where
        there is little noise), ``bad`` (low correlation beside its neighbours').
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
    """
    comparison = _Comparison(series, volume, finest)
    threads = available_cores() if n_threads is None else max(1, n_threads)
    n = series.n_tilts
    images: list[Image | None] = [None] * n
    spread = np.zeros(n)
    found = np.full((n, 3), np.nan)

    def load(_: None, tilt: int) -> None:
        image, spread[tilt] = comparison.load(tilt)
        images[tilt] = image if np.isfinite(spread[tilt]) else None

    for_each(n, load, state=lambda: None, n_threads=threads)
    blank = ~(spread > BLANK * np.median(spread))

    def compare(_: None, tilt: int) -> None:
        image = images[tilt]
        if image is not None and not blank[tilt]:
            found[tilt] = comparison.match(tilt, image)

    for_each(n, compare, state=lambda: None, n_threads=threads)
    angles = series.tilt_angles
    short = _departure(angles, found[:, 0])
    aside = np.stack([_departure(angles, found[:, axis]) for axis in (1, 2)], 1)
    far = np.hypot(*aside.T)
    low = _beyond(-short, LEAST_CORRELATION)
    moved = _beyond(far, LEAST_SHIFT * comparison.pixel)
    best = np.full((n, 5), np.nan)

    def turn(_: None, tilt: int) -> None:
        image = images[tilt]
        if image is not None and np.isfinite(found[tilt, 0]):
            best[tilt] = comparison.best_angle(tilt, image, found[:, 0], bool(low[tilt] or moved[tilt]))

    for_each(n, turn, state=lambda: None, n_threads=threads)
    off = np.abs(_departure(angles, best[:, 0] - angles))
    # at its true tilt an image lies where it should
    there = np.hypot(*(best[:, 3:] - found[:, 1:] + aside).T) < 2 * LEAST_SHIFT * comparison.pixel
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


class _Comparison:
    """Images and volume on coarse grids, and what relates them."""

    def __init__(self, series: TiltSeries, volume: Volume, finest: float | None) -> None:
        if not (math.isfinite(volume.voxel_size) and volume.voxel_size > 0):
            raise UsageError(f"voxel size {volume.voxel_size:g} Å of the volume must be above 0")
        period = _finest(series, volume.voxel_size) if finest is None else finest
        side = min(series.image_shape) * series.pixel_size
        if not 2 * volume.voxel_size <= period < COARSEST * side:
            raise UsageError(
                f"finest period {period:g} Å must lie between two voxels ({2 * volume.voxel_size:g} Å) and a quarter "
                f"of the images ({COARSEST * side:g} Å)"
            )
        self.series, self.period = series, period
        factor = max(1, round(period / SAMPLES / volume.voxel_size))
        self.volume = _block_mean(volume.data, factor)
        binning = volume.voxel_size / series.pixel_size
        # pixels no finer than voxels, so that a reprojection has no holes
        self.step = max(1, math.ceil(binning * factor - 1e-6))
        self.pixel = self.step * series.pixel_size
        height, width = series.image_shape
        self.shape = height // self.step, width // self.step
        if min(*self.shape, *self.volume.shape[1:]) < 8:
            raise UsageError(f"{self.shape} pixels and {self.volume.shape} voxels of {self.pixel:g} Å are too few")
        # voxel of the coarse volume to world to pixel of the coarse image
        to_world = np.diag([binning * factor] * 3 + [1.0])
        to_world[:3, 3] = np.asarray(volume.origin) / series.pixel_size + binning * (factor - 1) / 2
        self.matrices = series.projections[:, :2] @ to_world
        self.matrices[:, :, 3] -= (self.step - 1) / 2
        self.matrices /= self.step
        self.reach = max(2, int(REACH * min(self.shape)))
        self.padded = tuple(scipy.fft.next_fast_len(n + self.reach, True) for n in self.shape)
        self.border = _fade(np.ones(self.shape, bool), 4.0)
        radius = np.hypot(np.fft.fftfreq(self.padded[0])[:, None], np.fft.rfftfreq(self.padded[1]))
        self._rings = np.round(radius * max(self.shape)).astype(np.int64)
        self.filters = [self._filter(tilt) for tilt in range(series.n_tilts)]
        self._axis = _tilt_axis(self.matrices, series.tilt_angles)

    def load(self, tilt: int) -> tuple[Image, float]:
        """Give a coarse image without its mean, and the spread of its grey values (of the middle 90 %)."""
        image = np.asarray(self.series.images[tilt], np.float32)
        coarse = _block_mean(image[None], self.step, first=1)[0]
        low, high = np.percentile(coarse, (5, 95))
        return self.border * (coarse - coarse.mean(dtype=float)).astype(np.float32), float(high - low)

    def match(self, tilt: int, image: Image, matrix: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Find the shift at which an image and a reprojection correlate best: correlation, x and y in Å."""
        from fourierrecon.reprojection import covered, reproject

        geometry = self.matrices[tilt] if matrix is None else matrix
        seen = covered(self.volume.shape, geometry, self.shape)
        window = _fade(seen, self.period / self.pixel)
        if window.sum() < 0.1 * window.size:
            return np.full(3, np.nan)
        drawn = reproject(self.volume, geometry, self.shape)
        drawn = window * (drawn - np.float32(np.average(drawn, weights=window)))
        a, b = self._filtered(image, drawn, tilt)
        b *= window
        # numerator and local norm at every shift
        fa, fa2, fb, fw = (scipy.fft.rfft2(each, self.padded) for each in (a, a * a, b, window))
        top = scipy.fft.irfft2(fa * fb.conj(), self.padded)
        norm = scipy.fft.irfft2(fa2 * fw.conj(), self.padded)
        scale = float((b * b).sum(dtype=float))
        r = np.arange(-self.reach, self.reach + 1)
        top, norm = (each[np.ix_(r, r)] for each in (top, norm))
        if not (scale > 0 and norm.max() > 0):
            return np.full(3, np.nan)
        values = top / np.sqrt(scale * np.maximum(norm, 0.05 * norm.max()))
        # a slope that rises to the border of the search is no peak
        peaks = np.where(values == maximum_filter(values, 3), values, -2)[1:-1, 1:-1]
        row, column = (at + 1 for at in np.unravel_index(int(np.argmax(peaks)), peaks.shape))
        y, x = (r[at] + _vertex(line, at) for at, line in ((int(row), values[:, column]), (int(column), values[row])))
        return np.array([values[row, column], x * self.pixel, y * self.pixel])

    def best_angle(
        self, tilt: int, image: Image, correlations: NDArray[np.float64], everywhere: bool
    ) -> NDArray[np.float64]:
        """Try other tilts about the tilt axis: the best one, degrees, how well it fits, how much better, its shift.

        How well is the correlation over that of images of that tilt: reprojections at low tilts correlate more with any
        image. Neighbouring tilts are tried, or all, also where the best lies at the end of these.
        """
        angles = self.series.tilt_angles
        axis, sign = self._axis
        centre = (np.asarray(self.volume.shape[::-1]) - 1) / 2
        known = np.isfinite(correlations) & (np.arange(len(angles)) != tilt)
        # within the range of the tilts: beyond it nothing is known
        low, high = (round((end - angles[tilt]) / ANGLE_STEP) for end in (angles.min(), angles.max()))
        if not everywhere:
            low, high = max(low, -ANGLE_STEPS), min(high, ANGLE_STEPS)
        steps = np.arange(low, high + 1)
        fit, shifts = np.empty(len(steps)), np.empty((len(steps), 2))
        for number, step in enumerate(steps):
            turned = self.matrices[tilt].copy()
            turned[:, :3] = turned[:, :3] @ _rotation(axis, sign * math.radians(ANGLE_STEP * step))
            turned[:, 3] += (self.matrices[tilt, :, :3] - turned[:, :3]) @ centre
            usual = _expected(angles[known], correlations[known], angles[tilt] + ANGLE_STEP * step)
            value, *shifts[number] = self.match(tilt, image, turned)
            fit[number] = value / max(usual, 1e-3)
        fit = np.nan_to_num(fit, nan=-1.0)
        best = int(np.argmax(fit))
        if not everywhere and best in (0, len(steps) - 1) and steps[best] != 0:
            return self.best_angle(tilt, image, correlations, True)
        angle = float(angles[tilt] + ANGLE_STEP * (steps[best] + _vertex(fit, best)))
        return np.array([angle, fit[best], fit[best] - fit[-low], *shifts[best]])

    def _filtered(self, image: Image, drawn: Image, tilt: int) -> tuple[Image, Image]:
        """Filter both; the reprojection takes on the radial amplitudes of the image, whatever its weighting was."""
        spectra = [scipy.fft.rfft2(each, self.padded) * self.filters[tilt] for each in (image, drawn)]
        ring = self._rings.ravel()
        powers = [np.bincount(ring, np.abs(each).ravel() ** 2) for each in spectra]
        gain = np.sqrt(powers[0] / np.maximum(powers[1], 1e-12 * powers[1].max() + 1e-300))
        spectra[1] *= gain[self._rings]
        first, second = (
            np.asarray(scipy.fft.irfft2(each, self.padded)[: self.shape[0], : self.shape[1]], np.float32)
            for each in spectra
        )
        return first, second

    def _filter(self, tilt: int) -> Image:
        """Band-pass, times the share that other images have in the Fourier points of this one."""
        fy, fx = np.fft.fftfreq(self.padded[0])[:, None], np.fft.rfftfreq(self.padded[1])
        radius = np.hypot(fx, fy) / self.pixel
        coarsest = COARSEST * min(self.shape) * self.pixel
        band = np.exp(-((radius * self.period) ** 2)) * -np.expm1(-((radius * coarsest) ** 2))
        slices = self.matrices[:, :, :3]
        normals = np.cross(slices[:, 0], slices[:, 1])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        distance = self.volume.shape[0] * (normals @ slices[tilt].T)
        count = np.zeros(radius.shape)
        for along_x, along_y in distance:
            count += np.maximum(0, 1 - np.abs(along_x * fx + along_y * fy))
        return np.asarray(band * (1 - 1 / np.maximum(count, 1)), np.float32)


def _finest(series: TiltSeries, voxel_size: float) -> float:
    """Give the finest period that counts by default, Å."""
    finest = max(FINEST, FINEST_VOXELS * voxel_size)
    if series.ctf is not None:
        defocus = max(float(np.abs(series.ctf.defocus_u).max()), float(np.abs(series.ctf.defocus_v).max()))
        finest = max(finest, math.sqrt(electron_wavelength(series.ctf.voltage) * defocus))
    return finest


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


def _vertex(line: NDArray[np.float64], at: int) -> float:
    """Give the place of a parabola's vertex through three values, from the middle one."""
    if not 0 < at < len(line) - 1:
        return 0.0
    before, here, after = line[at - 1 : at + 2]
    bend = before - 2 * here + after
    return float(0.5 * (before - after) / bend) if bend < 0 else 0.0


def _fade(inside: NDArray[np.bool_], width: float) -> Image:
    """Weights that rise from the border of an area inwards over a width, px; the frame of the image is a border."""
    distance = distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(distance / (width + 1), 0, 1)), np.float32)


def _block_mean(data: NDArray[np.generic], factor: int, first: int = 0) -> Image:
    """Average cubes of voxels from axis ``first`` on; what is left over at the ends is cut off."""
    sides = [n // factor if axis >= first else n for axis, n in enumerate(data.shape)]
    out = np.zeros(sides, np.float32)
    steps = [range(factor) if axis >= first else range(1) for axis in range(3)]
    pitch = [factor if axis >= first else 1 for axis in range(3)]
    for offset in np.ndindex(*(len(s) for s in steps)):
        cut = tuple(slice(o, o + n * p, p) for o, n, p in zip(offset, sides, pitch, strict=True))
        out += np.asarray(data[cut], np.float32)
    out /= np.float32(factor ** (3 - first))
    return out


def _tilt_axis(matrices: NDArray[np.float64], angles: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Give the tilt axis in the volume, and the sign by which a turn about it changes the tilt angle."""
    beams = np.cross(matrices[:, 0, :3], matrices[:, 1, :3])
    beams /= np.linalg.norm(beams, axis=1, keepdims=True)
    middle = beams[int(np.argmin(np.abs(angles - np.median(angles))))]
    beams *= np.where(beams @ middle < 0, -1, 1)[:, None]
    # the direction that all beams are across
    axis = np.linalg.svd(beams)[2][2]
    turned = np.arctan2(beams @ np.cross(axis, middle), beams @ middle)
    # turning the specimen takes the beam the other way in it
    return axis, -1.0 if (turned - turned.mean()) @ (angles - angles.mean()) > 0 else 1.0


def _rotation(axis: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """Give the rotation about an axis by an angle in radians, ``(3, 3)`` (Rodrigues)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross)
