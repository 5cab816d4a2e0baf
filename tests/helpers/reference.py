"""Slow float64 arithmetic that tests compare the engine with: explicit sums, no grid in 3D, no kernel, no threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourierrecon import Region, TiltSeries
from fourierrecon.ctf import contrast_transfer, electron_wavelength, phase_coefficients
from fourierrecon.geometry.projection import projection_matrices

Array = NDArray[np.float64]
Image = NDArray[np.float32]
#: The band of a volume, cycles per voxel: everything up to the first, nothing from the second on.
PASS, STOP = 0.45, 0.5


@dataclass(frozen=True)
class Geometry:
    """A tilt series without its images, and a region of it."""

    tilts: tuple[float, ...]
    image_shape: tuple[int, int] = (66, 71)
    axis: float = 4.0
    x_tilt: float = 0.0
    shift: float = 0.0
    magnification: float = 0.0
    centre: tuple[float, float, float] = (30.0, 33.0, 12.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shape: tuple[int, int, int] = (25, 62, 60)
    binning: float = 1.0

    @property
    def matrices(self) -> Array:
        """Projection matrices: every tilt has its own shift and magnification, drawn with a fixed seed."""
        rng = np.random.default_rng(8)
        n = len(self.tilts)
        return projection_matrices(
            self.image_shape,
            self.centre,
            self.tilts,
            self.axis + rng.uniform(-0.3, 0.3, n),
            self.x_tilt,
            rng.uniform(-1, 1, (n, 2)) * self.shift,
            1 + rng.uniform(-1, 1, n) * self.magnification,
        )

    @property
    def region(self) -> Region:
        return Region(self.origin, self.shape, self.binning)

    def series(self, images: NDArray[np.floating], **more: object) -> TiltSeries:
        return TiltSeries(images, self.matrices, **{"pixel_size": 5.0, **more})  # type: ignore[arg-type]


def world_points(region: Region, indices: ArrayLike | None = None) -> Array:
    """World coordinates ``(x, y, z)`` of voxels ``(k, j, i)``; default: all of them, in the order of the volume."""
    if indices is None:
        indices = np.indices(region.shape).reshape(3, -1).T
    return np.asarray(region.origin) + region.binning * np.asarray(indices, float)[:, ::-1]


def image_points(projections: Array, points: Array) -> Array:
    """Where world points fall on the images, ``(n_tilts, n_points, 2)``: u, v."""
    at: Array = np.einsum("fij,mj->fmi", projections[:, :2, :3], points) + projections[:, None, :2, 3]
    return at


def border_distance(projections: Array, points: Array, image_shape: tuple[int, int]) -> Array:
    """Distance of points from the nearest border of every image, ``(n_tilts, n_points)``, px; negative outside."""
    at = image_points(projections, points)
    last = np.array([image_shape[1] - 1, image_shape[0] - 1])
    return np.asarray(np.minimum(at, last - at).min(-1))


def band_limit(squared: Array) -> Array:
    """The engine's band limit by the squared frequency, in cycles per voxel."""
    t = np.clip((STOP**2 - squared) / (STOP**2 - PASS**2), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def window(image_shape: tuple[int, int], zero: float, rise: float) -> Array:
    """A frame of zeros, then a raised cosine up to one."""
    height, width = image_shape
    y, x = np.arange(height)[:, None], np.arange(width)
    distance = np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x))
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip((distance - zero) / rise, 0, 1)))


def back_projection(images: NDArray[np.floating], projections: Array, points: Array, binning: float = 1.0) -> Array:
    """Sum over images of the band-limited image at world points: the exact Fourier sum, ``(n_points,)``.

    The images are zero outside. Their spectra are sampled finely enough that copies of an image lie two
    images away.
    """
    total = np.zeros(len(points))
    height, width = images.shape[1:]
    rows, columns = 3 * height | 1, 3 * width | 1
    fy, fx = np.fft.fftfreq(rows), np.fft.fftfreq(columns)
    for image, matrix, at in zip(images, projections, image_points(projections, points), strict=True):
        q = np.stack(np.broadcast_arrays(fx, fy[:, None]), -1)
        k = q @ matrix[:2, :3] * binning
        spectrum = np.fft.fft2(image.astype(float), (rows, columns)) * band_limit((k**2).sum(-1))
        along_x = spectrum @ np.exp(2j * np.pi * np.outer(fx, at[:, 0]))
        along_y = np.exp(2j * np.pi * np.outer(fy, at[:, 1]))
        total += (along_x * along_y).sum(0).real / (rows * columns)
    return total


def central_slice(
    volume: NDArray[np.floating], region: Region, projection: Array, image_shape: tuple[int, int]
) -> NDArray[np.complex128]:
    """Fourier transform of the projection of a volume, on the frequencies of ``rfft2`` of an image.

    For tilts about y (``u`` depends on x and z, ``v`` on y only) and unbinned volumes: there the sum over
    voxels splits into one over y and one over (x, z).
    """
    a, t = projection[:2, :3], projection[:2, 3] + projection[:2, :3] @ region.origin
    assert abs(a[0, 1]) + abs(a[1, 0]) + abs(a[1, 2]) < 1e-12
    assert region.binning == 1
    depth, height, width = volume.shape
    fy, fx = np.fft.fftfreq(image_shape[0]), np.fft.rfftfreq(image_shape[1])
    by_y = np.exp(-2j * np.pi * np.outer(fy, a[1, 1] * np.arange(height) + t[1])) @ volume.astype(float)
    u = (a[0, 0] * np.arange(width) + a[0, 2] * np.arange(depth)[:, None] + t[0]).ravel()
    by_xz = np.exp(-2j * np.pi * np.outer(u, fx))
    return np.asarray(by_y.transpose(1, 0, 2).reshape(image_shape[0], -1) @ by_xz)


def transfer_functions(series: TiltSeries) -> Array:
    """CTFs of all images on the frequencies of ``rfft2``, ``(n_tilts, height, width // 2 + 1)``."""
    assert series.ctf is not None
    height, width = series.image_shape
    fy, fx = np.fft.fftfreq(height, series.pixel_size)[:, None], np.fft.rfftfreq(width, series.pixel_size)
    return np.stack([contrast_transfer(series.ctf, f, fx, fy) for f in range(series.n_tilts)])


def relative_error(found: ArrayLike, expected: ArrayLike) -> float:
    """Relative L2 norm of the difference."""
    a, b = np.asarray(found, float), np.asarray(expected, float)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def _apart(n: int) -> int:
    """Length that keeps copies of a row of ``n`` pixels, and the tails that the band limit gives them, apart."""
    return max(3 * n, n + 64) | 1


def projection(
    volume: NDArray[np.floating], region: Region, series: TiltSeries, transfer: Callable[..., Array] | None = None
) -> Array:
    """Images of a volume by its exact Fourier sum, at the pixels of a tilt series, ``(n_tilts, height, width)``.

    ``transfer(tilt, fx, fy)`` gives transfer functions at frequencies in 1/Å. Spectra are sampled so finely that
    copies of an image lie two images away, and 64 pixels at least.
    """
    height, width = series.image_shape
    rows, columns = map(_apart, (height, width))
    fy, fx = np.fft.fftfreq(rows), np.fft.fftfreq(columns)
    images = np.empty((series.n_tilts, height, width))
    points = image_points(series.projections, world_points(region))
    for tilt, (matrix, at) in enumerate(zip(series.projections, points, strict=True)):
        k = np.stack(np.broadcast_arrays(fx, fy[:, None]), -1) @ matrix[:2, :3] * region.binning
        along_y = np.exp(-2j * np.pi * np.outer(fy, at[:, 1])) * volume.ravel()
        spectrum = along_y @ np.exp(-2j * np.pi * np.outer(at[:, 0], fx))
        spectrum *= band_limit((k**2).sum(-1)) * region.binning**2
        if transfer is not None:
            spectrum *= transfer(tilt, fx / series.pixel_size, fy[:, None] / series.pixel_size)
        images[tilt] = np.fft.ifft2(spectrum).real[:height, :width]
    return images


def projection_matrix(region: Region, series: TiltSeries, transfer: Callable[..., Array] | None = None) -> Array:
    """The matrix of :func:`projection`, ``(n_tilts, pixels, voxels)``: for small volumes."""
    height, width = series.image_shape
    rows, columns = map(_apart, (height, width))
    fy, fx = np.fft.fftfreq(rows), np.fft.fftfreq(columns)
    points = image_points(series.projections, world_points(region))
    found = np.empty((series.n_tilts, height * width, points.shape[1]))
    for tilt, (matrix, at) in enumerate(zip(series.projections, points, strict=True)):
        k = np.stack(np.broadcast_arrays(fx, fy[:, None]), -1) @ matrix[:2, :3] * region.binning
        factor = (band_limit((k**2).sum(-1)) * region.binning**2).astype(complex)
        if transfer is not None:
            factor *= transfer(tilt, fx / series.pixel_size, fy[:, None] / series.pixel_size)
        along_y = np.exp(-2j * np.pi * np.outer(at[:, 1], fy))
        spectra = factor * along_y[:, :, None] * np.exp(-2j * np.pi * np.outer(at[:, 0], fx))[:, None]
        found[tilt] = np.fft.ifft2(spectra).real[:, :height, :width].reshape(-1, height * width).T
    return found


def projection_by_depth(
    volume: NDArray[np.floating], region: Region, series: TiltSeries, hand: int, others: Callable[..., Array]
) -> Array:
    """Images as :func:`projection` gives them, each voxel with the CTF of its own depth.

    Depths are those of the third rows of the matrices; ``others(tilt, frequency)`` is what else acts on an image.
    """
    assert series.ctf is not None
    height, width = series.image_shape
    (rows, columns), px = map(_apart, (height, width)), series.pixel_size
    x, y = np.fft.fftfreq(columns), np.fft.fftfreq(rows)
    squared = (x**2 + y[:, None] ** 2) / px**2
    points = world_points(region)
    images = np.empty((series.n_tilts, height, width))
    for tilt, (matrix, at) in enumerate(zip(series.projections, image_points(series.projections, points), strict=True)):
        beam = matrix[2] / np.linalg.norm(matrix[2, :3])  # depths are lengths in the world
        depth = (points @ beam[:3] + beam[3]) * px
        k = np.stack(np.broadcast_arrays(x, y[:, None]), -1) @ matrix[:2, :3] * region.binning
        xx, xy, yy, quartic, constant = phase_coefficients(series.ctf, tilt)
        chi = (xx * x**2 + xy * x * y[:, None] + yy * y[:, None] ** 2) / px**2 + quartic * squared**2 + constant
        waves = []
        for sign in (1, -1):
            bend = 1j * sign * np.pi * electron_wavelength(series.ctf.voltage) * hand / px**2
            along_x = np.exp(-2j * np.pi * np.outer(at[:, 0], x) + bend * np.outer(depth, x**2))
            along_y = np.exp(-2j * np.pi * np.outer(y, at[:, 1]) + bend * np.outer(y**2, depth)) * volume.ravel()
            waves.append(np.exp(1j * sign * chi) * (along_y @ along_x))
        spectrum = (waves[0] - waves[1]) / 2j * band_limit((k**2).sum(-1)) * region.binning**2
        images[tilt] = np.fft.ifft2(spectrum * others(tilt, np.sqrt(squared))).real[:height, :width]
    return images
