"""Which tilt hurts: what each image gives to a tomogram, and what the others say of it, by leaving it out.

Each image is a sum of few terms in the Fourier space of the specimen's slab: at each ``(kx, ky)`` its central slice
passes at one ``kz``, and counts for the two grid planes beside it, which are one over the thickness apart,

``D = sum tri T_f Y_f``, ``W = sum tri T_f²``,

with the transfer function ``T_f``. These terms are kept image by image. Leaving one out changes the sums at its own
terms only, so that all tilts are tried at about the cost of making the sums once. Halves are of every second tilt.

What an image holds of the signal that the others predict is the regression of it on them. As both halves of the others
are independent, their noise does not weaken it:

``signal = sum Re(T Y (A + B)*) / 2 / sum T² Re(A B*)``,  ``A``, ``B`` the halves without the image, D / W,

each shell divided by the image's own power. A sound image has about 1, thick ice at high tilts lowers it, and an image
that is misaligned, mirrored or blocked has about 0. The gain in the shell correlation of the halves is given as well;
it orders images less well, since it also changes with the number of voxels that both halves hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from fourierrecon.errors import UsageError
from fourierrecon.geometry.region import Region
from fourierrecon.quality.block_mean import block_mean
from fourierrecon.runtime.threads import available_cores, for_each
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.transfer import Transfer

#: Voxel that tilts are compared at, Å, and the longest side of the images then, px.
VOXEL, LONGEST = 20.0, 512
#: Shells between the coarsest frequency and Nyquist's.
SHELLS = 24
#: An image hurts if it holds less than this part of the signal of its neighbours in tilt, and how many these are.
LEAST_SIGNAL, NEIGHBOURS = 0.25, 4
#: Part of the images' mean weight below which a Fourier voxel does not count.
LEAST_WEIGHT = 0.05


@dataclass(frozen=True, kw_only=True)
class TiltGain:
    """What one image gives.

    Parameters
    ----------
    number
        Number of the image in its series, from 1.
    tilt_angle
        Degrees.
    signal
        Part of the signal that the others predict which is in the image: about 1 where it is sound, 0 where it shows
        something else.
    gain
        Mean Fourier shell correlation of the half volumes with the image, less that without it, over its own Fourier
        voxels.
    agreement
        Correlation of the image with what the others say at its Fourier voxels, -1 to 1; noise lowers it.
    hurts
        Whether the tomogram is better without it: it holds less than a quarter of the signal of its neighbours in tilt.
    """

    number: int
    tilt_angle: float
    signal: float
    gain: float
    agreement: float
    hurts: bool = False


@dataclass(frozen=True, eq=False)
class _Terms:
    """The terms of one image: places in the flattened grid, data and weights."""

    places: NDArray[np.int64]
    data: NDArray[np.complex128]
    weights: NDArray[np.float64]


def tilt_gains(
    series: TiltSeries, transfer: Transfer, *, thickness: float | None = None, n_threads: int | None = None
) -> list[TiltGain]:
    """Find what each image gives to the tomogram of its series.

    Parameters
    ----------
    series
        Images and geometry.
    transfer
        What acts on the images.
    thickness
        Of the specimen, Å. Default: the depth of the tomogram.
    n_threads
        Number of threads. Default: the cores available to the process.

    Returns
    -------
    One row for each image, the one with the least signal first.

    Raises
    ------
    UsageError
        If there are fewer than 6 images, or the thickness is none.
    """
    if thickness is not None and not 0 < thickness < np.inf:
        raise UsageError(f"thickness={thickness:g} must be above 0 Å")
    if series.n_tilts < 6:
        raise UsageError(f"{series.name} has {series.n_tilts} images; 6 at least are needed to compare them")
    grid = _Grid.of(series, thickness)
    order = np.argsort(series.tilt_angles, kind="stable")
    terms: list[_Terms | None] = [None] * series.n_tilts

    def add(_: None, tilt: int) -> None:
        terms[tilt] = grid.terms(series, transfer, tilt)

    threads = available_cores() if n_threads is None else n_threads
    for_each(series.n_tilts, add, state=lambda: None, n_threads=threads)
    known = [each for each in terms if each is not None]
    data, weights = np.zeros((2, grid.count), complex), np.zeros((2, grid.count))
    half = np.empty(series.n_tilts, int)
    half[order] = np.arange(series.n_tilts) % 2
    for which, each in zip(half, known, strict=True):
        np.add.at(data[which], each.places, each.data)
        np.add.at(weights[which], each.places, each.weights)
    floor = LEAST_WEIGHT * weights.sum() / max(np.count_nonzero(weights.sum(0)), 1)
    shells = grid.shells()
    sums = _sums(data, weights, shells, np.arange(grid.count), floor)
    rows = []
    for tilt, each in enumerate(known):
        at, inverse = np.unique(each.places, return_inverse=True)
        own_data, own_weights = np.zeros(len(at), complex), np.zeros(len(at))
        np.add.at(own_data, inverse, each.data)
        np.add.at(own_weights, inverse, each.weights)
        left_data, left_weights = data[:, at].copy(), weights[:, at].copy()
        before = _sums(left_data, left_weights, shells[at], np.arange(len(at)), floor)
        left_data[half[tilt]] -= own_data
        left_weights[half[tilt]] = np.maximum(left_weights[half[tilt]] - own_weights, 0)
        after = _sums(left_data, left_weights, shells[at], np.arange(len(at)), floor)
        others = left_data.sum(0) / (left_weights.sum(0) + floor)
        shared = left_weights.sum(0) > floor
        agreement = _agreement(own_data, own_weights * others, shells[at], shared)
        gain = _fsc(sums) - _fsc(sums - before + after)
        # shells count by what this image has in them
        share = np.bincount(shells[at], own_weights, SHELLS + 1)[:SHELLS]
        signal = _signal(own_data, own_weights, left_data, left_weights, shells[at], floor)
        rows.append((signal, float((gain * share).sum() / max(share.sum(), 1e-30)), agreement))
    signals = np.array([signal for signal, _, _ in rows])
    apart = np.abs(series.tilt_angles[:, None] - series.tilt_angles)
    np.fill_diagonal(apart, np.inf)
    usual = np.median(signals[np.argsort(apart, axis=1, kind="stable")[:, :NEIGHBOURS]], axis=1)
    found = [
        TiltGain(
            number=tilt + 1, tilt_angle=float(series.tilt_angles[tilt]), signal=signal, gain=gain, agreement=agreement,
            hurts=bool(signal < LEAST_SIGNAL * usual[tilt]),
        )
        for tilt, (signal, gain, agreement) in enumerate(rows)
    ]  # fmt: skip
    return sorted(found, key=lambda row: row.signal)


@dataclass(frozen=True, eq=False)
class _Grid:
    """Fourier grid of a slab, ``(depth, height, width // 2 + 1)``, with cycles per binned pixel."""

    binning: int
    pixel_size: float
    shape: tuple[int, int, int]
    centre: NDArray[np.float64]

    @classmethod
    def of(cls, series: TiltSeries, thickness: float | None) -> _Grid:
        longest = max(series.image_shape)
        binning = max(1, round(VOXEL / series.pixel_size), -(-longest // LONGEST))
        height, width = (2 * (n // binning // 2) for n in series.image_shape)
        region = Region.of(series)
        depth = region.shape[0] if thickness is None else thickness / series.pixel_size
        return cls(binning, series.pixel_size, (max(4, round(depth / binning)), height, width), region.centre)

    @property
    def half(self) -> int:
        """Columns of the grid."""
        return self.shape[2] // 2 + 1

    @property
    def count(self) -> int:
        """Points of the grid."""
        return self.shape[0] * self.shape[1] * self.half

    def shells(self) -> NDArray[np.int64]:
        """Give the shell of each point; the last is of points that do not count.

        These lie beyond Nyquist's frequency, or in the middle: means are taken off, and nothing is left there but what
        rounding makes.
        """
        z, y = scipy.fft.fftfreq(self.shape[0]), scipy.fft.fftfreq(self.shape[1])
        x = scipy.fft.rfftfreq(self.shape[2])
        radius = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2)
        shells = np.minimum(np.rint(radius * 2 * SHELLS), SHELLS)
        return np.asarray(np.where(shells == 0, SHELLS, shells).ravel(), np.int64)

    def terms(self, series: TiltSeries, transfer: Transfer, tilt: int) -> _Terms:
        """Give the terms of one image; none where its plane stands upright."""
        matrix = series.projections[tilt, :2]
        coarse = block_mean(np.asarray(series.images[tilt])[None], self.binning)[0]
        image = np.asarray(coarse[: self.shape[1], : self.shape[2]], float)
        spectrum, pad = self._spectrum(image, matrix @ np.append(self.centre, 1))
        rows, columns = pad
        plane = matrix[:, :3]
        normal = np.cross(*plane)
        normal /= np.linalg.norm(normal)
        if abs(normal[2]) < 0.05:
            return _Terms(np.empty(0, np.int64), np.empty(0, complex), np.empty(0))
        ky, kx = scipy.fft.fftfreq(self.shape[1])[:, None], scipy.fft.rfftfreq(self.shape[2])[None, :]
        kz = -(normal[0] * kx + normal[1] * ky) / normal[2]
        # frequencies of the image at the slice's points, cycles per binned px
        solve = np.linalg.solve(plane @ plane.T, plane)
        u, v = (row[0] * kx + row[1] * ky + row[2] * kz for row in solve)
        values = _bilinear(spectrum, u * columns, v * rows)
        angstrom = self.binning * self.pixel_size
        t = transfer.evaluate(tilt, u / angstrom, v / angstrom)
        inside = (np.hypot(u, v) < 0.5) & (np.abs(kz) < 0.5)
        depth = self.shape[0]
        below = np.floor(kz * depth).astype(int)
        places, data, weights = [], [], []
        for step in (0, 1):
            share = 1 - np.abs(kz * depth - below - step)
            flat = ((below + step) % depth * self.shape[1] + np.arange(self.shape[1])[:, None]) * self.half
            places.append((flat + np.arange(self.half))[inside])
            data.append((share * t * values)[inside])
            weights.append((share * t * t)[inside])
        return _Terms(np.concatenate(places), np.concatenate(data), np.concatenate(weights))

    def _spectrum(
        self, image: NDArray[np.float64], centre: NDArray[np.float64]
    ) -> tuple[NDArray[np.complex128], tuple[int, int]]:
        """Transform an image about the projection of the region's middle, padded to twice its size."""
        height, width = image.shape
        window = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[1:-1]
        image = (image - (image * window).sum() / window.sum()) * window
        rows, columns = 2 * height, 2 * width
        spectrum = scipy.fft.fft2(image, (rows, columns))
        # block means lie half a block from their first pixel
        x, y = (c / self.binning - (self.binning - 1) / (2 * self.binning) for c in centre)
        spectrum *= np.exp(2j * np.pi * scipy.fft.fftfreq(rows)[:, None] * y)
        spectrum *= np.exp(2j * np.pi * scipy.fft.fftfreq(columns) * x)
        return spectrum, (rows, columns)


def _bilinear(values: NDArray[np.complex128], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Interpolate periodic values at fractional indices."""
    rows, columns = values.shape
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, below = x - left, y - top
    return np.asarray(
        (1 - below)
        * ((1 - right) * values[top % rows, left % columns] + right * values[top % rows, (left + 1) % columns])
        + below
        * (
            (1 - right) * values[(top + 1) % rows, left % columns]
            + right * values[(top + 1) % rows, (left + 1) % columns]
        )
    )


def _sums(
    data: NDArray[np.complex128],
    weights: NDArray[np.float64],
    shells: NDArray[np.int64],
    at: NDArray[np.int64],
    floor: float,
) -> NDArray[np.float64]:
    """Sum up what the shell correlation of two halves consists of, ``(3, SHELLS)``, where both were measured."""
    both = (weights[:, at] > floor).all(0)
    first, second = data[:, at][:, both] / (weights[:, at][:, both] + floor)
    shell = shells[at][both]
    parts = ((first * second.conj()).real, np.abs(first) ** 2, np.abs(second) ** 2)
    return np.stack([np.bincount(shell, part, SHELLS + 1)[:SHELLS] for part in parts])


def _fsc(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the correlation in each shell; 0 where nothing was measured."""
    product, first, second = sums
    return np.asarray(product / np.sqrt(np.maximum(first * second, 1e-300)))


def _signal(
    image: NDArray[np.complex128],
    weights: NDArray[np.float64],
    data: NDArray[np.complex128],
    left: NDArray[np.float64],
    shells: NDArray[np.int64],
    floor: float,
) -> float:
    """Regress an image on the two halves of the others, ``data / left``, where both measured."""
    both = (left > floor).all(0)
    shell, own, image = shells[both], weights[both], image[both]
    first, second = data[:, both] / left[:, both]
    parts = (
        (image * (first + second).conj()).real / 2,
        own * (first * second.conj()).real,
        np.abs(image) ** 2 / np.maximum(own, 1e-30),
        np.ones(len(shell)),
    )
    product, predicted, power, count = (np.bincount(shell, part, SHELLS + 1)[:SHELLS] for part in parts)
    noise = power / np.maximum(count, 1)
    used = (count > 0) & (predicted > 0) & (noise > 0)
    expected = (predicted[used] / noise[used]).sum()
    return float((product[used] / noise[used]).sum() / expected) if expected > 0 else 0.0


def _agreement(
    image: NDArray[np.complex128], others: NDArray[np.complex128], shells: NDArray[np.int64], shared: NDArray[np.bool_]
) -> float:
    """Correlate an image with the others, the mean over shells by the number of points."""
    shell = shells[shared]
    parts = (
        (image[shared] * others[shared].conj()).real, np.abs(image[shared]) ** 2, np.abs(others[shared]) ** 2,
    )  # fmt: skip
    sums = np.stack([np.asarray(np.bincount(shell, part, SHELLS + 1)[:SHELLS], float) for part in parts])
    count = np.bincount(shell, minlength=SHELLS + 1)[:SHELLS]
    return float((_fsc(sums) * count).sum() / max(count.sum(), 1))
