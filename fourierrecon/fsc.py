"""Resolution: Fourier shell correlation in physical frequency, within a soft mask and within the measured wedge.

The correlation itself is that of :mod:`fourierrecon.quality`; here it gets its units (1/Å), its masks and its figures.
Outside of the wedge that the tilts measured, half maps hold nothing or noise: points there lower the curve, or raise it
where both volumes were filtered alike. Give the wedge wherever it is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourierrecon.errors import UsageError
from fourierrecon.geometry import rotation
from fourierrecon.quality import fourier_shell_correlation, wedge_mask

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

        Where the half maps do not correlate it is 0.
        """
        return self._mapped(lambda c: np.sqrt(2 * c / (1 + c)))

    def _mapped(self, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> ShellCorrelation:
        return ShellCorrelation(self.frequency, change(np.clip(self.correlation, 0, 1)))


def shell_correlation(
    a: ArrayLike,
    b: ArrayLike,
    voxel_size: float,
    *,
    mask: ArrayLike | None = None,
    measured: ArrayLike | None = None,
    n_shells: int | None = None,
) -> ShellCorrelation:
    """Correlate two volumes shell by shell; shells are spheres in 1/Å whatever the shape of the volumes.

    Parameters
    ----------
    a, b
        ``(z, y, x)``, of one shape, any sizes.
    voxel_size
        Å.
    mask
        ``(z, y, x)``: soft weights in real space, as from :func:`soft_box` or :func:`soften`; default: none.
    measured
        ``(z, y, x // 2 + 1)``: the Fourier points to count, as from :func:`tilt_range_mask` or
        :func:`fourierrecon.quality.wedge_mask`, or weights of them; default: all.
    n_shells
        Between 0 and Nyquist; default: half the geometric mean of the sides.

    Raises
    ------
    UsageError
        If shapes do not fit, or the voxel size is not above 0.
    """
    if not (math.isfinite(voxel_size) and voxel_size > 0):
        raise UsageError(f"voxel size {voxel_size:g} Å must be above 0")
    shape = np.shape(a)
    if mask is not None and np.shape(mask) != shape:
        raise UsageError(f"the mask has {np.shape(mask)} voxels; volumes of {shape} need as many")
    shells = n_shells if n_shells is not None else max(1, round(math.prod(shape) ** (1 / max(len(shape), 1)) / 2))
    frequency, correlation = fourier_shell_correlation(a, b, shells, mask, measured)
    return ShellCorrelation(frequency / voxel_size, correlation)


def tilt_range_mask(
    shape: tuple[int, int, int],
    tilt_range: tuple[float, float],
    axis_angle: float = 0.0,
    thickness: float | None = None,
) -> NDArray[np.bool_]:
    """Find the Fourier points within the wedge of a tilt range, ``(z, y, x // 2 + 1)``.

    For volumes whose tilt series is not at hand; :func:`fourierrecon.quality.wedge_mask` takes the true geometry.

    Parameters
    ----------
    shape
        ``(z, y, x)`` voxels of the volume.
    tilt_range
        Lowest and highest tilt angle, degrees.
    axis_angle
        Of the tilt axis in the volume, from its y axis towards -x as for a rotation about z, degrees: 0 in tomograms
        of IMOD, RELION and this package.
    thickness
        Of the specimen, voxels; default: the depth of the volume.

    Raises
    ------
    UsageError
        If the range is empty or half a turn or more.
    """
    low, high = tilt_range
    if not 0 < high - low < 180:
        raise UsageError(f"tilt range {low:g} to {high:g} degrees must span more than 0 and less than 180 degrees")
    tilts = rotation("y", [low, (low + high) / 2, high]) @ rotation("z", -axis_angle)
    matrices = np.zeros((3, 4, 4)) + np.eye(4)
    matrices[:, :3, :3] = tilts
    return wedge_mask(shape, matrices, thickness)


def soft_box(shape: tuple[int, int, int], falloff: float | tuple[float, float, float]) -> NDArray[np.float32]:
    """Make a mask that fades out towards the faces of a volume by a raised cosine, ``(z, y, x)``.

    Parameters
    ----------
    shape
        ``(z, y, x)`` voxels.
    falloff
        Over which it fades, voxels, or ``(z, y, x)`` of them; the outermost voxel lies half a voxel inside.
    """
    widths = np.broadcast_to(np.asarray(falloff, float), 3)
    mask = np.ones(shape, np.float32)
    for axis, (n, width) in enumerate(zip(shape, widths, strict=True)):
        inside = np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5
        ramp = 0.5 - 0.5 * np.cos(np.pi * np.clip(inside / max(width, 1e-6), 0, 1))
        mask *= np.expand_dims(ramp, tuple({0, 1, 2} - {axis})).astype(np.float32)
    return mask


def soften(mask: ArrayLike, falloff: float) -> NDArray[np.float32]:
    """Give a binary mask a soft border: outside it falls to 0 by a raised cosine, ``(z, y, x)``.

    Parameters
    ----------
    mask
        ``(z, y, x)``; above 0.5 is inside.
    falloff
        Over which it falls, voxels.

    Raises
    ------
    UsageError
        If nothing is inside.
    """
    from scipy.ndimage import distance_transform_edt

    inside = np.asarray(mask) > 0.5
    if not inside.any():
        raise UsageError("the mask is empty: no voxel above 0.5")
    distance = np.asarray(distance_transform_edt(~inside))
    return (0.5 + 0.5 * np.cos(np.pi * np.clip(distance / (falloff + 1), 0, 1))).astype(np.float32)
