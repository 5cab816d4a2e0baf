"""Finds how one volume lies in another: axis order and flips, and the shift to a fraction of a voxel."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from fourierrecon.quality.masks import soft_box
from fourierrecon.runtime.memory import forget
from fourierrecon.runtime.threads import available_cores

Array = NDArray[np.float32]

#: Longer side of the small copies that orientations are tried with, voxels.
SMALL = 48
#: Highest frequency of the phase correlation, and of small copies, cycles per voxel. Small copies may lie half a voxel
#: off each other.
BAND, COARSE_BAND = 0.25, 0.3
#: Part of the mean amplitude of a shell that is added to the amplitudes before phases are divided by them. Points that
#: are nearly zero in one of the volumes, as outside of a wedge, have no phase that counts.
FLOOR = 0.2


@dataclass(frozen=True)
class Orientation:
    """A way to lay a volume's axes.

    Parameters
    ----------
    order
        Axes of the volume that become x, y and z: ``xyz``, ``xzy`` ...
    flips
        Whether the new ``(x, y, z)`` run backwards.
    """

    order: str = "xyz"
    flips: tuple[bool, bool, bool] = (False, False, False)

    def apply(self, data: NDArray[Any]) -> NDArray[Any]:
        """Give the volume so laid, a view ``(z, y, x)``."""
        # axes of arrays count from z
        laid = data.transpose([2 - "xyz".index(self.order[2 - axis]) for axis in range(3)])
        return laid[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips[::-1])]

    @property
    def mirrors(self) -> bool:
        """Whether it changes the hand."""
        odd = self.order in ("xzy", "zyx", "yxz")
        return (sum(self.flips) + odd) % 2 == 1

    def __str__(self) -> str:
        axes = [] if self.order == "xyz" else [f"axes in the order {', '.join(self.order)}"]
        flipped = [axis for axis, flip in zip("xyz", self.flips, strict=True) if flip]
        if flipped:
            axes.append(f"{' and '.join(flipped)} flipped")
        return ", ".join(axes) if axes else "as it is"


#: All 48: six orders of the axes, eight flips.
ORIENTATIONS = tuple(
    Orientation("".join(order), (bool(x), bool(y), bool(z)))
    for order in itertools.permutations("xyz")
    for x, y, z in itertools.product((0, 1), repeat=3)
)


def small_copy(data: NDArray[Any], voxel_size: float, target: float) -> Array:
    """Sample a volume at a coarser distance, from means over cubes, ``(z, y, x)``; voxel 0 stays where it is.

    Parameters
    ----------
    data
        ``(z, y, x)``, any real type; read plane by plane.
    voxel_size, target
        Distance of its voxels and of those wanted, at least as much, in the same unit.
    """
    from scipy.ndimage import affine_transform

    factor = max(1, int(target / voxel_size + 1e-6))
    sides = tuple(-(-n // factor) for n in data.shape)
    edges = [np.arange(0, n, factor) for n in data.shape]
    coarse = np.zeros(sides, np.float32)
    for z in range(data.shape[0]):
        plane = np.asarray(data[z], np.float32)
        coarse[z // factor] += np.add.reduceat(np.add.reduceat(plane, edges[1], 0), edges[2], 1)
        forget(data)
    counts = [np.diff(np.append(e, n)).astype(np.float32) for e, n in zip(edges, data.shape, strict=True)]
    coarse /= counts[0][:, None, None] * counts[1][:, None] * counts[2]
    step = target / (voxel_size * factor)
    if factor == 1 and abs(step - 1) < 1e-6:
        return coarse
    shape = tuple(max(1, int((n - 1) * voxel_size / target) + 1) for n in data.shape)
    found = affine_transform(coarse, [step] * 3, -(factor - 1) / (2 * factor), shape, order=1, mode="nearest")
    return np.asarray(found, np.float32)


def orient(a: Array, b: Array) -> list[tuple[Orientation, float, NDArray[np.float64]]]:
    """Lay a volume into another in all orientations: correlation at the best shift, best orientation first.

    Parameters
    ----------
    a, b
        ``(z, y, x)``, small, with voxels of one size.

    Returns
    -------
    Orientation of ``b``, correlation, and shift ``(x, y, z)`` in voxels: ``a(X)`` is ``b(X + shift)``. In the
    correlation all frequencies count alike; it is negative where the contrast is inverted, and below 1 where one is
    only a part of the other, or lies between voxels.
    """
    first, whitened = _whitened(a), _whitened(b)
    results = []
    for orientation in ORIENTATIONS:
        second = orientation.apply(whitened)
        shape = tuple(scipy.fft.next_fast_len(n + m, True) for n, m in zip(first.shape, second.shape, strict=True))
        workers = available_cores()
        spectra = [scipy.fft.rfftn(each, shape, workers=workers) for each in (first, second)]
        values = scipy.fft.irfftn(spectra[0] * spectra[1].conj(), shape, workers=workers)
        peak = np.unravel_index(int(np.argmax(np.abs(values))), shape)
        shift = -np.array([p - n if p > n // 2 else p for p, n in zip(peak, shape, strict=True)], float)
        norm = math.sqrt(float((first**2).sum()) * float((second**2).sum()))
        results.append((orientation, float(values[peak]) / norm if norm > 0 else 0.0, shift[::-1]))
    return sorted(results, key=lambda result: -abs(result[1]))


def phase_shift(a: Array, b: Array, reach: float) -> NDArray[np.float64]:
    """Find the shift between two volumes by phase correlation, to a fraction of a voxel.

    Parameters
    ----------
    a, b
        ``(z, y, x)``, of one shape and contrast.
    reach
        Largest shift that is looked for, voxels.

    Returns
    -------
    ``(x, y, z)``, voxels: ``a(X)`` is ``b(X + shift)``.
    """
    shape = a.shape
    workers = available_cores()
    spectra = [scipy.fft.rfftn(_windowed(each), workers=workers) for each in (a, b)]
    cross = spectra[0] * spectra[1].conj()
    del spectra
    axes = np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), np.fft.rfftfreq(shape[2])
    kz, ky, kx = np.meshgrid(*axes, indexing="ij", sparse=True)
    squared = kz**2 + ky**2 + kx**2
    inside = (squared > 0) & (squared <= BAND**2)
    shell = (np.sqrt(squared[inside]) * max(shape)).astype(np.int64)
    phases = cross[inside]
    size = np.abs(phases)
    mean = np.bincount(shell, size) / np.maximum(np.bincount(shell), 1)
    phases /= size + FLOOR * mean[shell] + 1e-30
    cross[...] = 0
    cross[inside] = phases
    values = scipy.fft.irfftn(cross, shape, workers=workers)
    r = math.ceil(reach)
    near = [np.arange(-min(r, (n - 1) // 2), min(r, (n - 1) // 2) + 1) for n in shape]
    window = values[np.ix_(*near)]
    start = np.unravel_index(int(np.argmax(window)), window.shape)
    place = -np.array([axis[i] for axis, i in zip(near, start, strict=True)], float)
    # Newton's steps to the top of the sum of cosines; points of half spectra count twice but on their border
    k = np.stack([np.broadcast_to(axis, squared.shape)[inside] for axis in (kz, ky, kx)], 1)
    twice = np.where((k[:, 2] == 0) | (k[:, 2] == 0.5), 1.0, 2.0)
    here = place.copy()
    for _ in range(10):
        turned = phases * twice * np.exp(-2j * np.pi * (k @ here))
        slope = 2 * np.pi * (turned.imag @ k)
        bend = -4 * np.pi**2 * (k.T * turned.real) @ k
        # an axis of one voxel cannot shift
        step = np.linalg.lstsq(bend, -slope, rcond=1e-9)[0]
        here += step
        if np.abs(here - place).max() > 1.5:  # no top near the highest voxel
            return place[::-1]
        if np.abs(step).max() < 1e-4:
            break
    return here[::-1]


def shifted(data: Array, shift: NDArray[np.float64]) -> Array:
    """Move a volume by a part of a voxel, periodically: the result at ``X`` is ``data(X + shift)``.

    Parameters
    ----------
    data
        ``(z, y, x)``.
    shift
        ``(x, y, z)``, voxels.
    """
    workers = available_cores()
    spectrum = scipy.fft.rfftn(data, workers=workers)
    axes = np.fft.fftfreq(data.shape[0]), np.fft.fftfreq(data.shape[1]), np.fft.rfftfreq(data.shape[2])
    for axis, (frequency, by) in enumerate(zip(axes, shift[::-1], strict=True)):
        turn = np.exp(2j * np.pi * frequency * by).astype(np.complex64)
        spectrum *= np.expand_dims(turn, tuple({0, 1, 2} - {axis}))
    return np.asarray(scipy.fft.irfftn(spectrum, data.shape, workers=workers), np.float32)


def _whitened(data: NDArray[Any]) -> Array:
    """Give all shells of a volume the same amplitude: coarse gradients are alike in all orientations."""
    spectrum = scipy.fft.rfftn(_windowed(data), workers=available_cores())
    axes = np.fft.fftfreq(data.shape[0]), np.fft.fftfreq(data.shape[1]), np.fft.rfftfreq(data.shape[2])
    kz, ky, kx = np.meshgrid(*axes, indexing="ij", sparse=True)
    radius = np.sqrt(kz**2 + ky**2 + kx**2)
    shell = np.round(radius * max(data.shape)).astype(np.int64)
    power = np.bincount(shell.ravel(), np.abs(spectrum).ravel() ** 2) / np.maximum(np.bincount(shell.ravel()), 1)
    gain = 1 / np.sqrt(np.maximum(power, 1e-9 * power.max() + 1e-300))
    spectrum *= np.where(radius <= COARSE_BAND, gain[shell], 0)
    return np.asarray(scipy.fft.irfftn(spectrum, data.shape, workers=available_cores()), np.float32)


def _windowed(data: NDArray[Any]) -> Array:
    """Take the mean off and fade the faces out."""
    sides = data.shape
    box = soft_box((sides[0], sides[1], sides[2]), (sides[0] / 8, sides[1] / 8, sides[2] / 8))
    values = np.asarray(data, np.float32)
    return np.asarray(box * (values - np.float32(np.average(values, weights=box))), np.float32)
