"""Finds the part of Fourier space that the tilts of a series measured, and correlates volumes within it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourierrecon.errors import UsageError, as_numbers
from fourierrecon.geometry.projection import rotation
from fourierrecon.quality.spectrum import _frequencies, _pair, _volume, fourier_filter
from fourierrecon.tilt_series import TiltSeries


def wedge_mask(
    shape: tuple[int, int, int], projections: ArrayLike | TiltSeries, thickness: float | None = None
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
        ``(n_tilts, 4, 4)`` projection matrices, any affine ones, in any order; or a tilt series that has them.
    thickness
        Thickness of the specimen, voxels. Default: the depth of the volume.

    Examples
    --------
    >>> import numpy as np
    >>> from fourierrecon.geometry.projection import projection_matrices
    >>> from fourierrecon.quality import wedge_mask
    >>> matrices = projection_matrices((64, 64), (32.0, 32.0, 32.0), np.linspace(-60, 60, 41), tilt_axis_angle=0.0)
    >>> mask = wedge_mask((64, 64, 64), matrices)
    >>> bool(mask[0, 0, 32]), bool(mask[32, 0, 0])  # along x, along z
    (True, False)
    """
    if isinstance(projections, TiltSeries):
        projections = projections.projections
    matrices = as_numbers("projections", projections)
    if as_numbers("shape", shape).shape != (3,) or matrices.ndim != 3:
        raise UsageError(f"a wedge needs a shape (z, y, x) and matrices (n_tilts, 4, 4), not {shape}, {matrices.shape}")
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
    """Correlate two volumes within the measured wedge and below a frequency, for instance with the truth.

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
    Correlation, between -1 and 1; NaN if one of the volumes has nothing there.
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


def tilt_range_mask(
    shape: tuple[int, int, int],
    tilt_range: tuple[float, float],
    axis_angle: float = 0.0,
    thickness: float | None = None,
) -> NDArray[np.bool_]:
    """Find the Fourier points within the wedge of a tilt range, ``(z, y, x // 2 + 1)``.

    Use it where the tilt series is not at hand; :func:`wedge_mask` takes the true geometry.

    Parameters
    ----------
    shape
        ``(z, y, x)`` voxels of the volume.
    tilt_range
        Lowest and highest tilt angle, degrees.
    axis_angle
        Angle of the tilt axis in the volume, from its y axis towards -x as for a rotation about z, degrees: 0 in
        tomograms of IMOD, RELION and this package.
    thickness
        Thickness of the specimen, voxels. Default: the depth of the volume.

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
