"""The kernel that spreads samples onto a grid, and its transform."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fourierrecon.runtime.arrays import Real

#: Broader kernels: the middle over the mean in one over the length kept, 1.22 where the error is least. With 1, long
#: waves of the background grow, and ribosomes of a real cell stand out 2 % less.
PEAK = 1.15
#: Least shape parameter: below, copies of the region show up with 1 % and more.
LEAST_BETA = 5.5


@dataclass(frozen=True)
class GriddingKernel:
    """Kaiser-Bessel gridding kernel ``I0(beta sqrt(1 - (2x/w)²)) / I0(beta)``, with ``beta`` of least rms error.

    Parameters
    ----------
    width
        Number of taps ``w``, at most 8.
    oversampling
        Length of the grid over the length kept, above 1.
    low
        Broader than for the least error, so that its middle is at most :data:`PEAK` times its mean over one over the
        length kept: what a slice weighs where it lies, if others are no nearer than that. What is above 1 is cut off,
        see :mod:`fourierrecon.engine.grid_weights`.
    """

    width: int
    oversampling: float
    low: bool = False

    @property
    def beta(self) -> float:
        """Shape parameter with the least root mean square error over the part of the grid that is kept."""
        oversampling = round(self.oversampling, 4)
        best = _best_beta(self.width, oversampling)
        return min(best, _low_beta(self.width, oversampling)) if self.low else best

    def values(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate at distances in grid cells."""
        inside = 1 - (2 * distance / self.width) ** 2
        return np.where(inside >= 0, np.i0(self.beta * np.sqrt(np.maximum(inside, 0))), 0) / np.i0(self.beta)

    def transform(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fourier transform at ``position``, a fraction of the grid's length (0.5 is its border)."""
        return _kernel_transform(position, self.width, self.beta)

    def table(self) -> Real:
        """Taps at fractions of a cell, ``(258, 8)``: row r holds the kernel at ``i + r/256 - w/2``."""
        distance = np.arange(8) + np.arange(258)[:, None] / 256 - self.width / 2
        return np.where(np.arange(8) < self.width, self.values(distance), 0).astype(np.float32)

    def deapodisation(self, length: int, grid_length: int) -> NDArray[np.float64]:
        """Reciprocal of the kernel's transform at ``length`` samples about the centre ``length // 2`` of a grid."""
        return _deapodisation(self.width, self.beta, length, grid_length)


@lru_cache(maxsize=256)
def _deapodisation(width: int, beta: float, length: int, grid_length: int) -> NDArray[np.float64]:
    # windows of many images, and tiles, have the same lengths
    result = 1 / _kernel_transform((np.arange(length) - length // 2) / grid_length, width, beta)
    result.flags.writeable = False
    return result


def _kernel_transform(position: NDArray[np.float64], width: int, beta: float) -> NDArray[np.float64]:
    argument = beta**2 - (np.pi * width * np.asarray(position, float)) ** 2
    root = np.sqrt(np.abs(argument))
    safe = np.where(root < 1e-6, 1.0, root)
    value = np.where(argument >= 0, np.sinh(np.where(argument >= 0, safe, 0)) / safe, np.sin(safe) / safe)
    return width * np.where(root < 1e-6, 1.0, value) / np.i0(beta)


@lru_cache(maxsize=256)
def _low_beta(width: int, oversampling: float) -> float:
    """Shape parameter with which the middle, 1, is PEAK times the mean over ``oversampling`` cells."""
    candidates = np.linspace(LEAST_BETA, 20.0, 1601)
    integral = width * np.sinh(candidates) / candidates / np.i0(candidates)  # falls with beta
    return float(candidates[max(int(np.searchsorted(-integral, -oversampling / PEAK)) - 1, 0)])


@lru_cache(maxsize=256)
def _best_beta(width: int, oversampling: float) -> float:
    kept = np.linspace(-0.5, 0.5, 101) / oversampling
    textbook = np.pi * np.sqrt(max((width / oversampling) ** 2 * (oversampling - 0.5) ** 2 - 0.8, 1.0))
    candidates = textbook * np.linspace(0.8, 1.1, 61)
    aliases = np.array([p for p in range(-6, 7) if p])

    def error(beta: float) -> float:
        alias = _kernel_transform(kept[:, None] + aliases, width, beta)
        return float(np.mean((alias**2).sum(1) / _kernel_transform(kept, width, beta) ** 2))

    return float(min(candidates, key=error))
