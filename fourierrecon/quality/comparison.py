"""Compares two volumes: voxel size, orientation, shift, grey values, and the frequency up to which they agree."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError, check_type
from fourierrecon.quality.fsc import HALF_MAPS, REFERENCE, ShellCorrelation, shell_correlation
from fourierrecon.quality.masks import soft_box
from fourierrecon.quality.registration import SMALL, Orientation, orient, phase_shift, shifted, small_copy
from fourierrecon.quality.spectrum import fourier_filter
from fourierrecon.quality.wedge import tilt_range_mask
from fourierrecon.volume import Volume

Array = NDArray[np.float32]

#: Most voxels that are compared at full resolution; of larger volumes the middle is taken.
MOST = 1 << 24
#: Voxel sizes that differ by less than this part are the same.
SAME = 1e-3
#: Correlation above which grey values are related.
CLEAN = 0.95
#: Steps below which the shift is found, voxels.
CONVERGED = 2e-3
#: Part of each side over which the faces fade out.
FALLOFF = 0.1


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """The comparison of two volumes A and B; B is laid onto A.

    Parameters
    ----------
    voxel_sizes
        Voxel sizes of A and B as in their headers, Å; 0 where unknown.
    voxel_size
        Voxel size at which they were compared, Å; 1 where unknown.
    magnified
        Whether B fits only if its voxels are taken to be as large as A's, against its header.
    orientation, fit
        Orientation of B, and its correlation with A at a coarse scale, negative where the contrast is inverted.
    runner_up, runner_up_fit
        The next best orientation, and its correlation.
    shift
        ``(x, y, z)`` in voxels of ``voxel_size``: how far B lies from A, voxel 0 on voxel 0, after it was oriented.
    slope, offset
        Grey values: ``B = slope A + offset``, from what agrees; NaN where nothing does.
    correlation
        Correlation of the grey values in the part compared, after B was laid onto A.
    curve
        Fourier shell correlation.
    a, b
        ``(z, y, x)``: the part that was compared; B laid onto A, its grey values still its own.
    whole
        Whether that part is all that they share.
    """

    voxel_sizes: tuple[float, float]
    voxel_size: float
    magnified: bool
    orientation: Orientation
    fit: float
    runner_up: Orientation
    runner_up_fit: float
    shift: tuple[float, float, float]
    slope: float
    offset: float
    correlation: float
    curve: ShellCorrelation
    a: Array
    b: Array
    whole: bool

    def facts(self) -> dict[str, Any]:
        """Give the figures as they go into a JSON file: no infinities; lengths in Å, or where unknown in voxels."""

        def finite(value: float) -> float | None:
            return float(f"{value:.6g}") + 0.0 if math.isfinite(value) else None

        known = max(self.voxel_sizes) > 0
        return {
            "voxel_size_a": self.voxel_sizes[0] or None,
            "voxel_size_b": self.voxel_sizes[1] or None,
            "voxel_size": self.voxel_size if known else None,
            "voxel_size_of_b_is_wrong": self.magnified,
            "orientation": {
                "axes": self.orientation.order,
                "flipped": [axis for axis, flip in zip("xyz", self.orientation.flips, strict=True) if flip],
                "mirrored": self.orientation.mirrors,
                "correlation": finite(self.fit),
                "next_best": str(self.runner_up),
                "next_correlation": finite(self.runner_up_fit),
            },
            "shift_voxels": [finite(s) for s in self.shift],
            "shift_angstrom": [finite(s * self.voxel_size) if known else None for s in self.shift],
            "grey_slope": finite(self.slope),
            "grey_offset": finite(self.offset),
            "correlation": finite(self.correlation),
            "resolution_0.143": finite(self.curve.resolution(HALF_MAPS)),
            "resolution_0.5": finite(self.curve.resolution(REFERENCE)),
            "fsc": {
                "frequency": [finite(f) for f in self.curve.frequency],
                "correlation": [finite(c) for c in self.curve.correlation],
            },
            "compared_voxels": list(self.a.shape[::-1]),
            "whole": self.whole,
        }


def compare_volumes(a: Volume, b: Volume, *, tilt_range: tuple[float, float] | None = None) -> Comparison:
    """Lay volume B onto A and compare them.

    Parameters
    ----------
    a, b
        Any real type, any sizes; mapped from a file, only what is needed is read. Voxel sizes of 0 are unknown: then
        voxels are taken to be equal. Origins are not used: voxel 0 is compared with voxel 0.
    tilt_range
        Lowest and highest tilt angle of A, degrees: Fourier points outside of this wedge do not count in the Fourier
        shell correlation.

    Raises
    ------
    DataError
        If a volume is too small, constant, or not finite, or both share too little.

    Examples
    --------
    >>> import numpy as np
    >>> from fourierrecon import Volume
    >>> from fourierrecon.quality import compare_volumes
    >>> data = np.random.default_rng(0).normal(size=(24, 40, 40)).astype(np.float32)
    >>> a, b = (Volume(each, 10.0, (0.0, 0.0, 0.0)) for each in (data, 2 * data[::-1]))
    >>> found = compare_volumes(a, b)
    >>> print(found.orientation)
    z flipped
    >>> round(found.slope, 2)
    2.0
    """
    for argument, volume in (("a", a), ("b", b)):
        check_type(argument, volume, (Volume,), "a Volume; read_volume reads one from a file")
    for name, volume in (("A", a), ("B", b)):
        if min(volume.data.shape) < 4:
            depth, height, width = volume.data.shape
            raise DataError(f"volume {name} of {width} x {height} x {depth} voxels is too small to be compared")
    known = a.voxel_size > 0 and b.voxel_size > 0
    sizes = (a.voxel_size, b.voxel_size) if known else (a.voxel_size or b.voxel_size or 1.0,) * 2
    differ = abs(sizes[1] / sizes[0] - 1) > SAME
    # volumes of one shape that differ in their headers alone: a header may be wrong
    tried = [sizes, (sizes[0], sizes[0])] if differ and a.data.shape == b.data.shape else [sizes]
    found = [_coarse(a, b, pair) for pair in tried]
    number = int(np.argmax([abs(results[0][1]) for results, _ in found]))
    pair, (results, coarse) = tried[number], found[number]
    orientation, fit, shift = results[0]
    if fit == 0:
        raise DataError("the volumes have nothing to compare: one of them is constant")
    laid = Volume(orientation.apply(b.data), pair[1], (0.0, 0.0, 0.0))
    voxel = max(pair)
    sign = math.copysign(1.0, fit)

    # Repeat, each time from the shift found so far: the fading at the faces makes every step too short.
    total = np.round(shift * coarse / voxel)
    for reach in (3 * coarse / voxel + 1, *[2.0] * 5):
        base = np.round(total)
        first, second, whole = _shared(a, laid, pair, voxel, base)
        second = shifted(second, total - base)
        step = phase_shift(first, np.float32(sign) * second, reach)
        if np.abs(step).max() < CONVERGED:
            break
        total = total + step

    sides = first.shape
    box = soft_box((sides[0], sides[1], sides[2]), (FALLOFF * sides[0], FALLOFF * sides[1], FALLOFF * sides[2]))
    measured = None if tilt_range is None else tilt_range_mask((sides[0], sides[1], sides[2]), tilt_range)
    curve = shell_correlation(first, np.float32(sign) * second, voxel, mask=box, measured=measured)
    slope, offset, correlation = _greys(first, second, box, curve, voxel)
    return Comparison(
        voxel_sizes=(a.voxel_size, b.voxel_size),
        voxel_size=voxel,
        magnified=pair is not tried[0],
        orientation=orientation,
        fit=fit,
        runner_up=results[1][0],
        runner_up_fit=results[1][1],
        shift=(float(total[0]), float(total[1]), float(total[2])),
        slope=slope,
        offset=offset,
        correlation=correlation,
        curve=curve,
        a=first,
        b=second,
        whole=whole,
    )


def _coarse(
    a: Volume, b: Volume, sizes: tuple[float, float]
) -> tuple[list[tuple[Orientation, float, NDArray[np.float64]]], float]:
    """Try all orientations with small copies; also the size of their voxels."""
    extent = max(size * max(v.data.shape) for v, size in zip((a, b), sizes, strict=True))
    coarse = max(*sizes, extent / SMALL)
    copies = [small_copy(v.data, size, coarse) for v, size in zip((a, b), sizes, strict=True)]
    for name, copy in zip("AB", copies, strict=True):
        if not np.isfinite(copy).all():
            raise DataError(f"volume {name} holds values that are not finite; repair it first")
    return orient(*copies), coarse


def _shared(
    a: Volume, b: Volume, sizes: tuple[float, float], voxel: float, shift: NDArray[np.float64]
) -> tuple[Array, Array, bool]:
    """Cut out what both share at a shift in whole voxels, its middle if it is much; whether that is all."""
    starts, sides = [], []
    for axis in range(3):
        n, m = (int((v.data.shape[axis] - 1) * size / voxel + 1e-6) + 1 for v, size in zip((a, b), sizes, strict=True))
        s = int(shift[2 - axis])
        starts.append(max(0, -s))
        sides.append(min(n, m - s) - starts[-1])
    if min(sides) < 4:
        raise DataError("the volumes share too little: no orientation and shift lays one onto the other")
    whole = math.prod(sides) <= MOST
    room, left = float(MOST), 3
    longest = 0.0
    for n in sorted(sides):  # short sides stay whole
        longest = room ** (1 / left)
        if n > longest:
            break
        room, left = room / n, max(1, left - 1)
    if not whole:
        starts = [start + (n - min(n, int(longest))) // 2 for start, n in zip(starts, sides, strict=True)]
        sides = [min(n, int(longest)) for n in sides]
    parts = [
        _part(v.data, size, voxel, [s + o for s, o in zip(starts, move, strict=True)], sides)
        for v, size, move in zip((a, b), sizes, ([0, 0, 0], [int(s) for s in shift[::-1]]), strict=True)
    ]
    return parts[0], parts[1], whole


def _part(data: NDArray[Any], size: float, voxel: float, start: list[int], sides: list[int]) -> Array:
    """Read a part of a volume, sampled at another distance where its own is finer."""
    if abs(voxel / size - 1) <= SAME:
        cut = tuple(slice(s, s + n) for s, n in zip(start, sides, strict=True))
        return np.ascontiguousarray(data[cut], np.float32)
    from scipy.ndimage import affine_transform

    step = voxel / size
    first = [max(0, int(s * step) - 8) for s in start]
    last = [min(n, int((s + k) * step) + 9) for s, k, n in zip(start, sides, data.shape, strict=True)]
    fine = np.ascontiguousarray(data[tuple(slice(f, e) for f, e in zip(first, last, strict=True))], np.float32)
    mean = fine.mean(dtype=float)
    fine = fourier_filter(fine, max_frequency=0.5 / step) + np.float32(mean)
    offset = [s * step - f for s, f in zip(start, first, strict=True)]
    return np.asarray(affine_transform(fine, [step] * 3, offset, tuple(sides), order=3, mode="nearest"), np.float32)


def _greys(a: Array, b: Array, box: Array, curve: ShellCorrelation, voxel: float) -> tuple[float, float, float]:
    """Give slope, offset and correlation of grey values.

    The slope is the ratio of the spreads of what agrees, of both below the frequency down to which hardly anything is
    noise: noise in one of them would flatten a line that is fitted to the other.
    """
    periods = [curve.resolution(threshold) for threshold in (CLEAN, REFERENCE)]
    frequency = next((voxel / period for period in periods if math.isfinite(period)), 0.5)
    whole = _moments(a, b, box)
    fa, fb = (fourier_filter(each, max_frequency=frequency) for each in (a, b))
    _, _, va, vb, cross = _moments(fa, fb, box)
    correlation = whole[4] / math.sqrt(whole[2] * whole[3]) if whole[2] > 0 and whole[3] > 0 else math.nan
    if not (va > 0 and vb > 0):
        return math.nan, math.nan, correlation
    slope = math.copysign(math.sqrt(vb / va), cross)
    return slope, whole[1] - slope * whole[0], correlation


def _moments(a: Array, b: Array, weights: Array) -> tuple[float, float, float, float, float]:
    """Weighted means, variances and covariance."""
    total = float(weights.sum(dtype=float))
    ma, mb = (float((weights * each).sum(dtype=float)) / total for each in (a, b))
    da, db = a - np.float32(ma), b - np.float32(mb)
    va, vb, cross = (float((weights * p * q).sum(dtype=float)) / total for p, q in ((da, da), (db, db), (da, db)))
    return ma, mb, va, vb, cross
