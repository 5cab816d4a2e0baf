"""How good a reconstruction is: Fourier shell correlation, and correlation within what the tilts measured.

Frequencies are true ones, in cycles per voxel, whatever the shape of the volume: shells are spheres also
in a flat box.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

from fourierrecon.errors import UsageError
from fourierrecon.parallel import available_cores

Spectrum = NDArray[np.complex64]
Mask = NDArray[np.bool_] | NDArray[np.float32]


def fourier_shell_correlation(
    a: ArrayLike,
    b: ArrayLike,
    n_shells: int | None = None,
    mask: ArrayLike | None = None,
    fourier_mask: ArrayLike | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Correlate two volumes shell by shell in Fourier space.

    Parameters
    ----------
    a, b
        ``(z, y, x)``, any sizes.
    n_shells
        Number of shells between 0 and 0.5 cycles per voxel; default: half the shortest side, at least 1.
    mask
        ``(z, y, x)``: multiplies both volumes, after their means within it are taken off.
    fourier_mask
        ``(z, y, x // 2 + 1)``: the Fourier points to count, for instance :func:`wedge_mask`.

    Returns
    -------
    Spatial frequency at the middle of each shell, cycles per voxel, and the correlation, both
    ``(n_shells,)``. A shell without any points, or of zeros, has NaN.
    """
    first, second = _pair(a, b)
    shape = first.shape
    shells = n_shells if n_shells is not None else max(1, min(shape) // 2)
    if shells < 1:
        raise UsageError(f"{shells} shells make no sense; at least 1")
    spectra = [_spectrum(volume, mask) for volume in (first, second)]
    chosen = _fourier_mask(fourier_mask, shape)
    twice = _multiplicity(shape[2])
    cross, power_a, power_b = np.zeros(shells), np.zeros(shells), np.zeros(shells)
    for z, squared in _sections(shape):
        shell = (np.sqrt(squared) * (2 * shells)).astype(np.int64)
        weight = np.where(shell < shells, twice, np.float32(0))
        if chosen is not None:
            weight = weight * chosen[z]
        if z == 0:
            weight[0, 0] = 0  # the mean does not count
        shell = np.minimum(shell, shells - 1).ravel()
        fa, fb = spectra[0][z], spectra[1][z]
        for total, value in (
            (cross, (fa * fb.conj()).real),
            (power_a, fa.real**2 + fa.imag**2),
            (power_b, fb.real**2 + fb.imag**2),
        ):
            total += np.bincount(shell, (weight * value).ravel(), shells)
    power = np.sqrt(power_a * power_b)
    correlation = np.divide(cross, power, out=np.full(shells, np.nan), where=power > 0)
    return (np.arange(shells) + 0.5) / (2 * shells), correlation


def wedge_mask(
    shape: tuple[int, int, int], projections: ArrayLike, thickness: float | None = None
) -> NDArray[np.bool_]:
    """Find the Fourier points that a tilt series measured, ``(z, y, x // 2 + 1)``, True within the wedge.

    The beam sweeps from the first tilt to the last; a Fourier point is measured if at some angle of that
    sweep its distance from the plane across the beam is at most one over the thickness of the specimen.
    Gaps between neighbouring tilts count as measured.

    Parameters
    ----------
    shape
        ``(z, y, x)`` voxels of the volume.
    projections
        ``(n_tilts, 4, 4)`` projection matrices, any affine ones, in any order.
    thickness
        Of the specimen, voxels; default: the depth of the volume.
    """
    matrices = np.asarray(projections, float)
    beams = np.cross(matrices[:, 0, :3], matrices[:, 1, :3])
    beams /= np.linalg.norm(beams, axis=1, keepdims=True)
    # all beams downwards: those of tilts below 90 degrees differ by less than half a turn
    beams *= np.where(beams @ beams[np.argmax(np.abs(beams[:, 2]))] < 0, -1.0, 1.0)[:, None]
    reach = 1.0 / (thickness if thickness is not None else shape[0])
    kz, ky, kx = (f.astype(np.float32) for f in _frequencies(shape))
    mask = np.empty((shape[0], shape[1], len(kx)), bool)
    for z in range(shape[0]):
        lowest = np.full(mask.shape[1:], np.inf, np.float32)
        highest = -lowest
        for beam in beams.astype(np.float32):
            # a plane with this point on it lies between two beams if its distances from them differ in sign
            distance = (kz[z] * beam[2] + ky * beam[1])[:, None] + kx * beam[0]
            np.minimum(lowest, distance, out=lowest)
            np.maximum(highest, distance, out=highest)
        mask[z] = (lowest <= reach) & (highest >= -reach)
    return mask


def wedge_correlation(
    a: ArrayLike,
    b: ArrayLike,
    mask: ArrayLike | None = None,
    max_frequency: float = 0.4,
    *,
    margin: int | tuple[int, int, int] = 0,
    real_mask: ArrayLike | None = None,
) -> float:
    """Correlate two volumes within the measured wedge and below a frequency: how near to the truth.


    Both volumes are masked in Fourier space, then correlated in real space. The mean does not count.

    Parameters
    ----------
    a, b
        ``(z, y, x)``.
    mask
        ``(z, y, x // 2 + 1)``: the Fourier points to count, see :func:`wedge_mask`; default: all.
    max_frequency
        Highest spatial frequency, cycles per voxel.
    margin
        Voxels left out at every face, or ``(z, y, x)`` of them.
    real_mask
        ``(z, y, x)``: weights of the voxels in the correlation.

    Returns
    -------
    Between -1 and 1; NaN if one of the volumes has nothing there.
    """
    filtered = [fourier_filter(volume, mask, max_frequency) for volume in _pair(a, b)]
    edges = (margin,) * 3 if isinstance(margin, int) else margin
    if any(m < 0 or 2 * m >= n for m, n in zip(edges, filtered[0].shape, strict=True)):
        raise UsageError(f"a margin of {edges} voxels leaves nothing of a volume of {filtered[0].shape}")
    inner = tuple(slice(m, n - m) for m, n in zip(edges, filtered[0].shape, strict=True))
    first, second = (volume[inner] for volume in filtered)
    weight = np.ones((1, 1, 1), np.float32) if real_mask is None else _volume(real_mask)[inner]
    total = float(np.broadcast_to(weight, first.shape).sum(dtype=float))

    def mean(values: NDArray[np.float32]) -> float:
        return float((weight * values).sum(dtype=float)) / total

    if total == 0:
        return float("nan")
    first, second = first - np.float32(mean(first)), second - np.float32(mean(second))
    power = mean(first * first) * mean(second * second)
    return mean(first * second) / math.sqrt(power) if power > 0 else float("nan")


def fourier_filter(
    volume: ArrayLike, mask: ArrayLike | None = None, max_frequency: float = np.inf
) -> NDArray[np.float32]:
    """Keep the Fourier points of a mask below a frequency, without the mean, ``(z, y, x)``.

    Parameters
    ----------
    volume
        ``(z, y, x)``.
    mask
        ``(z, y, x // 2 + 1)``; default: all.
    max_frequency
        Cycles per voxel.
    """
    data = _volume(volume)
    chosen = _fourier_mask(mask, data.shape)
    spectrum = _spectrum(data, None)
    for z, squared in _sections(data.shape):
        spectrum[z] *= squared <= max_frequency**2
        if chosen is not None:
            spectrum[z] *= chosen[z]
    spectrum[0, 0, 0] = 0
    result: NDArray[np.float32] = scipy.fft.irfftn(spectrum, data.shape, overwrite_x=True, workers=_workers())
    return result


def _volume(volume: ArrayLike) -> NDArray[np.float32]:
    data = np.asarray(volume, np.float32)
    if data.ndim != 3 or 0 in data.shape:
        raise UsageError(f"a volume has the shape (z, y, x), not {data.shape}")
    return data


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    first, second = _volume(a), _volume(b)
    if first.shape != second.shape:
        raise UsageError(f"volumes of {first.shape} and {second.shape} voxels cannot be compared")
    return first, second


def _fourier_mask(mask: ArrayLike | None, shape: tuple[int, ...]) -> Mask | None:
    if mask is None:
        return None
    array: Mask = np.asarray(mask)
    needed = (shape[0], shape[1], shape[2] // 2 + 1)
    if array.shape != needed:
        raise UsageError(f"the Fourier mask has shape {array.shape}; a volume of {shape} needs {needed}")
    return array if array.dtype == bool else array.astype(np.float32)


def _spectrum(volume: NDArray[np.float32], mask: ArrayLike | None) -> Spectrum:
    """Transform a volume without its mean, that within the mask, ``(z, y, x // 2 + 1)``."""
    weights = None if mask is None else np.asarray(mask, np.float32)
    total = 0.0 if weights is None else float(weights.sum(dtype=float))
    if weights is None or total == 0:
        mean = float(volume.mean(dtype=float))
    else:
        mean = float((volume * weights).sum(dtype=float)) / total
    data = volume - np.float32(mean)
    if weights is not None:
        data *= weights
    spectrum: Spectrum = scipy.fft.rfftn(data, workers=_workers(), overwrite_x=True)
    return spectrum


def _frequencies(shape: tuple[int, ...]) -> list[NDArray[np.float64]]:
    axes = np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), np.fft.rfftfreq(shape[2])
    return [np.asarray(axis, np.float64) for axis in axes]


def _sections(shape: tuple[int, ...]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Go through the sections of the half spectrum: number and squared frequency, ``(y, x // 2 + 1)``."""
    kz, ky, kx = _frequencies(shape)
    flat = ky[:, None] ** 2 + kx**2
    for z in range(shape[0]):
        yield z, kz[z] ** 2 + flat


def _multiplicity(width: int) -> NDArray[np.float32]:
    """How often each column of the half spectrum counts in the whole one."""
    twice = np.full(width // 2 + 1, 2, np.float32)
    twice[0] = 1
    if width % 2 == 0:
        twice[-1] = 1
    return twice


def _workers() -> int:
    return available_cores()
