"""Fourier transforms, frequencies and filters of volumes, which the other modules of this room share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

from fourierrecon.errors import UsageError
from fourierrecon.runtime.threads import available_cores

Spectrum = NDArray[np.complex64]
Mask = NDArray[np.bool_] | NDArray[np.float32]


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
    """Count how often each column of the half spectrum stands in the whole one."""
    twice = np.full(width // 2 + 1, 2, np.float32)
    twice[0] = 1
    if width % 2 == 0:
        twice[-1] = 1
    return twice


def _workers() -> int:
    return available_cores()
