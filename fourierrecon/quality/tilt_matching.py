"""Matches images with reprojections of a volume on coarse grids: shifts and tilts. Import late: numba is slow."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, maximum_filter

from fourierrecon.ctf import electron_wavelength
from fourierrecon.errors import UsageError
from fourierrecon.geometry.region import Region
from fourierrecon.geometry.tiles import Tile, Tiling
from fourierrecon.quality.block_mean import block_mean
from fourierrecon.quality.reprojection import coarse_geometry, covered, project, seen_by
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.transfer import Correction
from fourierrecon.volume import Volume

Image = NDArray[np.float32]

#: Finest period that counts, Å and voxels, and coarsest as a fraction of the shorter side of the images.
FINEST, FINEST_VOXELS, COARSEST = 100.0, 3.0, 0.25
#: Pixels of the images that are compared, per finest period.
SAMPLES = 3.0
#: Largest shift that is looked for, as a fraction of the shorter side of the images.
REACH = 0.15
#: Step of the tilts that are tried, degrees, and number of steps to either side.
ANGLE_STEP, ANGLE_STEPS = 3.0, 5


class Matcher:
    """Images and volume on coarse grids, and what relates them.

    Parameters
    ----------
    series, volume, correction, n_threads
        As for :func:`fourierrecon.quality.agreement.tilt_agreement`.
    finest
        Finest period that counts, Å, or None for the default.

    Attributes
    ----------
    pixel
        Size of the pixels of the images that are compared, Å.

    Raises
    ------
    UsageError
        If the voxel size makes no sense for these images, or the finest period for them.
    """

    def __init__(
        self,
        series: TiltSeries,
        volume: Volume,
        finest: float | None,
        correction: Correction | None = None,
        n_threads: int = 1,
    ) -> None:
        if not (math.isfinite(volume.voxel_size) and volume.voxel_size > 0):
            raise UsageError(f"voxel size {volume.voxel_size:g} Å of the volume must be above 0")
        self.seen = seen_by(series, correction)
        period = _finest(series, volume.voxel_size, self.seen) if finest is None else finest
        side = min(series.image_shape) * series.pixel_size
        if not 2 * volume.voxel_size <= period < COARSEST * side:
            raise UsageError(
                f"finest period {period:g} Å must lie between two voxels ({2 * volume.voxel_size:g} Å) and a quarter "
                f"of the images ({COARSEST * side:g} Å)"
            )
        self.series, self.period = series, period
        binning = volume.voxel_size / series.pixel_size
        factor = max(1, round(period / SAMPLES / volume.voxel_size), math.ceil(1 / binning - 1e-6))
        self.volume = block_mean(volume.data, factor, sections=True)
        self.step = max(1, math.floor(binning * factor + 1e-6))
        self.pixel = self.step * series.pixel_size
        height, width = series.image_shape
        self.shape = height // self.step, width // self.step
        if min(*self.shape, *self.volume.shape[1:]) < 8:
            raise UsageError(f"{self.shape} pixels and {self.volume.shape} voxels of {self.pixel:g} Å are too few")
        # the coarse volume in its tilt series, and in one of coarse images
        x, y, z = np.asarray(volume.origin) / series.pixel_size + binning * (factor - 1) / 2
        depth, across, along = self.volume.shape
        region = Region((float(x), float(y), float(z)), (depth, across, along), max(1.0, binning * factor))
        self.geometry = coarse_geometry(series, self.step, self.shape)
        x, y, z = (c / self.step for c in region.origin)
        self.region = replace(region, origin=(x, y, z), binning=max(1.0, region.binning / self.step))
        self.matrices = _matrices(self.geometry, self.region)
        self.tiles = _tiles(series, region, self.step)
        self.reach = max(2, int(REACH * min(self.shape)))
        self.padded = tuple(scipy.fft.next_fast_len(n + self.reach, True) for n in self.shape)
        self.border = _fade(np.ones(self.shape, bool), 4.0)
        radius = np.hypot(np.fft.fftfreq(self.padded[0])[:, None], np.fft.rfftfreq(self.padded[1]))
        self._rings = np.round(radius * max(self.shape)).astype(np.int64)
        self.filters = [self._filter(tilt) for tilt in range(series.n_tilts)]
        self._axis = _tilt_axis(self.matrices, series.tilt_angles)
        self._seen = np.stack([covered(self.volume.shape, matrix, self.shape) for matrix in self.matrices])
        self._drawn = np.zeros((series.n_tilts, *self.shape), np.float32)
        if self._seen.any():
            self._drawn = self._project(self.geometry, np.arange(series.n_tilts), n_threads)

    def load(self, tilt: int) -> tuple[Image, float]:
        """Give a coarse image without its mean, and the spread of its grey values (of the middle 90 %)."""
        image = np.asarray(self.series.images[tilt], np.float32)
        coarse = block_mean(image[None], self.step)[0]
        low, high = np.percentile(coarse, (5, 95))
        return self.border * (coarse - coarse.mean(dtype=float)).astype(np.float32), float(high - low)

    def match(
        self, tilt: int, image: Image, seen: NDArray[np.bool_] | None = None, drawn: Image | None = None
    ) -> NDArray[np.float64]:
        """Find the shift at which an image and a reprojection correlate best: correlation, x and y in Å.

        The reprojection, and what it covers, are those at the tilt of the image, or are given.
        """
        if seen is None or drawn is None:
            seen, drawn = self._seen[tilt], self._drawn[tilt]
        window = _fade(seen, self.period / self.pixel)
        if window.sum() < 0.1 * window.size:
            return np.full(3, np.nan)
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
        self, tilt: int, image: Image, usual: Callable[[float], float], everywhere: bool
    ) -> NDArray[np.float64]:
        """Try other tilts about the tilt axis: the best one, degrees, how well it fits, how much better, its shift.

        The fit is the correlation divided by that of images of that tilt, because reprojections at low tilts correlate
        more with any image. Neighbouring tilts are tried first; all are tried if the best lies at the end of these.
        """
        angles = self.series.tilt_angles
        axis, sign = self._axis
        centre = self.region.centre
        # within the range of the tilts: beyond it nothing is known
        low, high = (round((end - angles[tilt]) / ANGLE_STEP) for end in (angles.min(), angles.max()))
        if not everywhere:
            low, high = max(low, -ANGLE_STEPS), min(high, ANGLE_STEPS)
        steps = np.arange(low, high + 1)
        fit, shifts = np.empty(len(steps)), np.empty((len(steps), 2))
        same = self.geometry.select([tilt] * len(steps))
        projections = same.projections.copy()
        for matrix, step in zip(projections, steps, strict=True):
            matrix[:3, :3] = matrix[:3, :3] @ _rotation(axis, sign * math.radians(ANGLE_STEP * step))
        projections[:, :3, 3] += (same.projections - projections)[:, :3, :3] @ centre
        turned = replace(same, projections=projections)
        drawn, matrices = self._project(turned, np.full(len(steps), tilt)), _matrices(turned, self.region)
        for number, step in enumerate(steps):
            seen = covered(self.volume.shape, matrices[number], self.shape)
            value, *shifts[number] = self.match(tilt, image, seen, drawn[number])
            fit[number] = value / max(usual(float(angles[tilt] + ANGLE_STEP * step)), 1e-3)
        fit = np.nan_to_num(fit, nan=-1.0)
        best = int(np.argmax(fit))
        if not everywhere and best in (0, len(steps) - 1) and steps[best] != 0:
            return self.best_angle(tilt, image, usual, True)
        angle = float(angles[tilt] + ANGLE_STEP * (steps[best] + _vertex(fit, best)))
        return np.array([angle, fit[best], fit[best] - fit[-low], *shifts[best]])

    def _project(self, geometry: TiltSeries, tilts: NDArray[np.int64], n_threads: int = 1) -> Image:
        """Reproject the volume; with a local alignment as its tiles, each with what it adds to the projections."""
        if not self.tiles:
            return project(geometry, self.region, self.volume, self.seen, n_threads)
        total = np.zeros((geometry.n_tilts, *self.shape), np.float32)
        for tile, extra in self.tiles:
            (x0, y0, z0), (x1, y1, z1) = tile.first, tile.stop
            x, y, z = tile.ramps
            own = replace(geometry, projections=geometry.projections + extra[tilts])
            part = tile.region(self.region)
            if any(_sees(matrix, part.shape[::-1], self.shape) for matrix in _matrices(own, part)):
                weighted = self.volume[z0:z1, y0:y1, x0:x1] * (z[:, None, None] * y[:, None] * x)
                total += project(own, part, weighted, replace(self.seen, ctf_depth="off"), n_threads)
        return total

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


def _matrices(geometry: TiltSeries, region: Region) -> NDArray[np.float64]:
    """Give the matrices from voxels ``(x, y, z, 1)`` to pixels ``(u, v)``, ``(n_tilts, 2, 4)``."""
    found = geometry.projections[:, :2] * np.array([region.binning] * 3 + [1.0])
    found[:, :, 3] += geometry.projections[:, :2, :3] @ np.asarray(region.origin)
    return np.asarray(found)


def _tiles(series: TiltSeries, region: Region, step: int) -> list[tuple[Tile, NDArray[np.float64]]]:
    """Give the tiles of a local alignment, and what they add to the projections into coarse pixels."""
    if series.local is None:
        return []
    found = []
    for tile in Tiling.of(series, region).tiles:
        extra = np.zeros_like(series.projections)
        extra[:, :2] = (tile.projections - series.projections)[:, :2]
        extra[:, :2, 3] /= step
        found.append((tile, extra))
    return found


def _sees(matrix: NDArray[np.float64], size: tuple[int, ...], shape: tuple[int, int]) -> bool:
    """Tell whether a box of voxels comes near an image."""
    corners = np.array(np.meshgrid(*([0, n - 1] for n in size))).reshape(3, -1)
    u, v = matrix[:, :3] @ corners + matrix[:, 3:]
    return bool(u.max() > 1 and v.max() > 1 and u.min() < shape[1] - 2 and v.min() < shape[0] - 2)


def _finest(series: TiltSeries, voxel_size: float, seen: Correction) -> float:
    """Give the finest period that counts by default, Å."""
    finest = max(FINEST, FINEST_VOXELS * voxel_size)
    if series.ctf is not None and seen.ctf_mode == "none":
        defocus = max(float(np.abs(series.ctf.defocus_u).max()), float(np.abs(series.ctf.defocus_v).max()))
        finest = max(finest, math.sqrt(electron_wavelength(series.ctf.voltage) * defocus))
    return finest


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
