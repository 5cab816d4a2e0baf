"""Fourier shell correlation: the curve of two volumes, and the resolution that it gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourierrecon.errors import UsageError, check_type
from fourierrecon.quality.spectrum import _fourier_mask, _multiplicity, _pair, _sections, _spectrum
from fourierrecon.text import counted
from fourierrecon.volume import Volume


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
        ``(z, y, x // 2 + 1)``: the Fourier points to count, for instance
        :func:`fourierrecon.quality.wedge.wedge_mask`.

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


#: Voxel sizes that differ by less than this part are the same.
SAME = 1e-3
#: Correlation down to which two half maps, and a map and its reference, count as resolved (Rosenthal & Henderson 2003).
HALF_MAPS, REFERENCE = 0.143, 0.5


@dataclass(frozen=True, eq=False)
class ShellCorrelation:
    """A curve of Fourier shell correlation.

    Parameters
    ----------
    frequency
        Middle of each shell, 1/Å, ``(n_shells,)``, evenly spaced.
    correlation
        ``(n_shells,)``; NaN where a shell has no points.
    """

    frequency: NDArray[np.float64]
    correlation: NDArray[np.float64]

    def __repr__(self) -> str:
        end, resolution = 1 / self.limit, self.resolution()
        shells = counted(len(self.frequency), "shell")
        return f"ShellCorrelation({shells} to {end:.4g} Å, {HALF_MAPS} at {resolution:.4g} Å)"

    @property
    def limit(self) -> float:
        """Outer border of the last shell, 1/Å."""
        return float(self.frequency[-1] + self.frequency[0])

    def resolution(self, threshold: float = HALF_MAPS) -> float:
        """Give the resolution in Å: where the curve first falls below a threshold, interpolated between shells.

        Shells of low frequency that lie below it (few points, little contrast) are passed over until one lies above.
        A curve that never falls gives the limit of the voxels; one that never rises gives infinity.

        Parameters
        ----------
        threshold
            0.143 for half maps, 0.5 against a reference.
        """
        known = np.isfinite(self.correlation)
        frequency, curve = self.frequency[known], self.correlation[known]
        above = np.flatnonzero(curve >= threshold)
        if above.size == 0:
            return math.inf
        below = np.flatnonzero(curve[above[0] :] < threshold)
        if below.size == 0:
            return 1 / self.limit
        last = above[0] + below[0]
        high, low = curve[last - 1], curve[last]
        part = (high - threshold) / (high - low)
        return float(1 / (frequency[last - 1] + part * (frequency[last] - frequency[last - 1])))

    def of_full(self) -> ShellCorrelation:
        """Estimate from half maps what two maps of all data would give: ``2 FSC / (1 + FSC)``."""
        return self._mapped(lambda c: 2 * c / (1 + c))

    def against_truth(self) -> ShellCorrelation:
        """Estimate from half maps the correlation of the map of all data with the truth: ``sqrt(2 FSC / (1 + FSC))``.

        It is 0 where the half maps do not correlate.
        """
        return self._mapped(lambda c: np.sqrt(2 * c / (1 + c)))

    def _mapped(self, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> ShellCorrelation:
        return ShellCorrelation(self.frequency, change(np.clip(self.correlation, 0, 1)))


def shell_correlation(
    a: Volume | ArrayLike,
    b: Volume | ArrayLike,
    voxel_size: float | None = None,
    *,
    mask: ArrayLike | None = None,
    measured: ArrayLike | None = None,
    n_shells: int | None = None,
) -> ShellCorrelation:
    """Correlate two volumes shell by shell; shells are spheres in 1/Å whatever the shape of the volumes.

    Parameters
    ----------
    a, b
        Volumes, or arrays ``(z, y, x)``, of one shape, any sizes.
    voxel_size
        Å. Default: that of the volumes; arrays need it.
    mask
        ``(z, y, x)``: soft weights in real space, as from :func:`fourierrecon.quality.masks.soft_box` or
        :func:`fourierrecon.quality.masks.soften`; default: none.
    measured
        ``(z, y, x // 2 + 1)``: the Fourier points to count, as from
        :func:`fourierrecon.quality.wedge.tilt_range_mask` or :func:`fourierrecon.quality.wedge.wedge_mask`, or weights
        of them; default: all.
    n_shells
        Number of shells between 0 and Nyquist. Default: half the geometric mean of the sides.

    Raises
    ------
    UsageError
        If shapes or voxel sizes do not fit, or the voxel size is unknown or not above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fourierrecon.quality import shell_correlation
    >>> noise = np.random.default_rng(0).normal(size=(3, 16, 16, 16))
    >>> half1, half2 = noise[0] + 0.5 * noise[1], noise[0] + 0.5 * noise[2]
    >>> curve = shell_correlation(half1, half2, voxel_size=10.0)
    >>> curve.resolution(0.143)
    20.0
    >>> curve
    ShellCorrelation(8 shells to 20 Å, 0.143 at 20 Å)
    """
    for label, volume in (("a", a), ("b", b)):
        check_type(
            label, volume, (Volume, np.ndarray, Sequence), "a Volume or an array; read_volume reads one from a file"
        )
    voxel_size = _voxel_size(a, b) if voxel_size is None else voxel_size
    check_type("voxel_size", voxel_size, (Real,), "a number, Å")
    if not (math.isfinite(voxel_size) and voxel_size > 0):
        raise UsageError(f"voxel size {voxel_size:g} Å must be above 0")
    shape = np.shape(a)
    if mask is not None and np.shape(mask) != shape:
        raise UsageError(f"the mask has {np.shape(mask)} voxels; volumes of {shape} need as many")
    shells = n_shells if n_shells is not None else max(1, round(math.prod(shape) ** (1 / max(len(shape), 1)) / 2))
    frequency, correlation = fourier_shell_correlation(a, b, shells, mask, measured)
    return ShellCorrelation(frequency / voxel_size, correlation)


def _voxel_size(a: Volume | ArrayLike, b: Volume | ArrayLike) -> float:
    """Give the voxel size that two volumes share, as far as they know it."""
    known = [volume.voxel_size for volume in (a, b) if isinstance(volume, Volume) and volume.voxel_size > 0]
    if not known:
        raise UsageError("the voxel size is unknown; give voxel_size=... (Å)")
    if max(known) - min(known) > SAME * max(known):
        raise UsageError(
            f"voxels of {known[0]:.6g} and {known[1]:.6g} Å cannot be compared; reconstruct both with one binning, or "
            f"give voxel_size=... if a header is wrong"
        )
    return known[0]
