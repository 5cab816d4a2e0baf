"""One over what the slices of all images share with that of one image, for a specimen that is a slab."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.ctf import damp_row, transfer
from fourierrecon.geometry.ctf_depth import PER_SQUARE
from fourierrecon.runtime.compiled import compiled
from fourierrecon.transfer import PER_CYCLE
from fourierrecon.weighting.base import TiltViews
from fourierrecon.weighting.fan import STEEPEST
from fourierrecon.weighting.snr import STEP, SnrCurve

#: The sinc ends there, tapered by the main lobe of a wider one (Lanczos): tails of far slices would not cancel.
REACH = 3.0
#: Entries of the table of overlaps for one unit of distance.
PER_UNIT = 512


def overlap_filter(
    tilt: int,
    frequency_x: NDArray[np.float32],
    frequency_y: NDArray[np.float32],
    views: TiltViews,
    *,
    thickness: float,
    snr: float | SnrCurve,
    sinc: bool,
) -> NDArray[np.float32]:
    """Give ``cos(tilt) / (N (sum_g o(z_g) T_g² + 1/SNR))`` for one image.

    ``z_g`` is the distance of a point ``k`` of the image from the slice of image ``g``, whose beam is ``n_g``, in units
    of one over the thickness ``N``: along kz, ``N |n_g . k| / |n_g,z|``, or straight, ``N |n_g . k| / cos(tilt)``.

    Parameters
    ----------
    tilt, frequency_x, frequency_y, views
        As for :meth:`Weighting.image_filter`.
    thickness
        Thickness of the slab, voxels.
    snr
        Signal-to-noise ratio.
    sinc
        The overlap ``o`` is ``sinc(z) sinc(z / 3)`` of the straight distance up to 3, and the sum is at least what the
        image itself gives; else the triangle ``max(0, 1 - z)`` of that along kz.
    """
    slices = views.matrices
    normals = np.cross(slices[:, 0], slices[:, 1])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    cosines = np.maximum(np.abs(normals[:, 2]), STEEPEST)
    # z_g and the frequency in image g are linear in the frequency of this image
    # along kz, the lobes of a sinc would not cancel at steep tilts
    crossed = np.full(len(cosines), cosines[tilt]) if sinc else cosines
    distance = thickness / crossed[:, None] * (normals @ slices[tilt].T)
    into = np.linalg.solve(slices @ slices.transpose(0, 2, 1), slices @ slices[tilt].T)
    seen = views.transfers
    phases = np.stack([seen.phases_in_middle(g, views.voxel_size) for g in range(len(slices))])
    # starts as what is added to the weights
    factors = np.empty((frequency_y.size, frequency_x.size), np.float32)
    if isinstance(snr, float):
        factors[:] = max(1 / snr, 1e-6)
    else:
        scale = np.float32(1 / (STEP * views.voxel_size))
        squared = (frequency_x.reshape(1, -1) * scale) ** 2 + (frequency_y.reshape(-1, 1) * scale) ** 2
        places = np.minimum(np.sqrt(squared) + np.float32(0.5), len(snr.noise) - 1).astype(np.int32)
        np.maximum(snr.noise[places], np.float32(1e-6), out=factors)
    _filter(
        frequency_x.ravel(), frequency_y.ravel(), distance, into, phases, seen.form, seen.weighs_ctf, seen.power,
        views.likeness, PER_SQUARE, views.envelopes, PER_CYCLE, cosines[tilt] / thickness, tilt, sinc, _table(sinc),
        factors,
    )  # fmt: skip
    return factors


def overlap_weights(
    tilt: int, frequency_x: NDArray[np.float32], frequency_y: NDArray[np.float32], views: TiltViews
) -> tuple[NDArray[np.float32], float]:
    """Give ``sum_g o(z_g) T_g²`` at the points of one image, with the sinc, and the gain ``cos(tilt) / N``.

    Parameters
    ----------
    tilt, frequency_x, frequency_y, views
        As for :meth:`Weighting.image_filter`.
    """
    normal = np.cross(*views.matrices[tilt])
    gain = max(abs(float(normal[2])) / float(np.linalg.norm(normal)), STEEPEST) / views.depth
    factors = overlap_filter(tilt, frequency_x, frequency_y, views, thickness=views.depth, snr=float("inf"), sinc=True)
    return np.float32(gain) / factors, gain


@lru_cache
def _table(sinc: bool) -> NDArray[np.float32]:
    """Tabulate the overlap by the distance, from 0 to its reach and a bit beyond."""
    z = np.arange(int(REACH if sinc else 1) * PER_UNIT + 4) / PER_UNIT
    values = np.sinc(z) * np.sinc(z / REACH) * (z < REACH) if sinc else np.maximum(1 - z, 0)
    return values.astype(np.float32)


@compiled()
def _filter(
    fx: Any, fy: Any, distance: Any, into: Any, phases: Any, form: int, use_ctf: bool, power: int,
    likeness: Any, per_square: float, envelopes: Any, per_cycle: float, gain: float, tilt: int, sinc: bool,
    overlaps: Any, factors: Any,
) -> None:  # fmt: skip
    n = fx.shape[0]
    envelopes_here, least = np.empty(n, np.float32), np.zeros(n, np.float32)
    near, weights_here = np.empty(n, np.float32), np.empty(n, np.float32)
    reach = REACH if sinc else 1.0
    spacing = fx[1] - fx[0] if n > 1 else np.float32(1)
    for row in range(fy.shape[0]):
        y = fy[row]
        noise = factors[row].copy()
        for g in range(distance.shape[0]):
            # the columns where |z_g| is small are an interval
            slope, start = distance[g, 0] * spacing, distance[g, 1] * y + distance[g, 0] * fx[0]
            first, last = 0, n - 1
            if abs(slope) > 1e-12:
                one, other = (-reach - start) / slope, (reach - start) / slope
                first = max(first, int(np.ceil(min(max(min(one, other), -1.0), n + 1.0))))
                last = min(last, int(np.floor(min(max(max(one, other), -1.0), n + 1.0))))
            elif abs(start) >= reach:
                continue
            xx, xy, yx, yy = into[g, 0, 0], into[g, 0, 1], into[g, 1, 0], into[g, 1, 1]
            coefficients, envelope, alike = phases[g], envelopes[g], likeness[g]
            square = np.float32(coefficients[5] * coefficients[5])
            if envelope.shape[0] > 0 and first <= last:
                x = fx[first]
                damp_row(
                    xx * x + xy * y, xx * spacing, yx * x + yy * y, yx * spacing, envelope, per_cycle,
                    envelopes_here[first : last + 1],
                )  # fmt: skip
            # short loops of single precision, one for each factor: so they are vectorised
            here, row_factors = near[: max(last + 1 - first, 0)], factors[row, first : last + 1]
            z_first, z_step = np.float32(start + slope * first), np.float32(slope)
            for i in range(here.shape[0]):
                place = abs(z_first + z_step * np.float32(i)) * np.float32(PER_UNIT)
                entry = np.uint32(np.int32(place))  # unsigned: no test for negative numbers
                here[i] = overlaps[entry] + (place - np.float32(entry)) * (
                    overlaps[entry + np.uint32(1)] - overlaps[entry]
                )
            weights = weights_here[: here.shape[0]]
            weights[:] = square
            if use_ctf:
                for i in range(here.shape[0]):
                    x = fx[first + i]
                    value = transfer(xx * x + xy * y, yx * x + yy * y, coefficients, form)
                    weights[i] = value * value
                if alike.shape[0] > 0:  # the mean over the depths of the specimen
                    for i in range(here.shape[0]):
                        x = fx[first + i]
                        along_x, along_y = xx * x + xy * y, yx * x + yy * y
                        part = alike[np.uint32((along_x * along_x + along_y * along_y) * per_square)]
                        weights[i] = np.float32(0.5) * square * (np.float32(1) - part) + part * weights[i]
            if envelope.shape[0] > 0:
                for i in range(here.shape[0]):
                    weights[i] *= envelopes_here[first + i] * envelopes_here[first + i]
            if power == 1:
                for i in range(here.shape[0]):
                    weights[i] = np.sqrt(weights[i])
            for i in range(here.shape[0]):
                here[i] *= weights[i]
                row_factors[i] += here[i]
            if sinc and g == tilt:
                for i in range(here.shape[0]):
                    least[first + i] = noise[first + i] + here[i]
        for column in range(n):
            if sinc:
                factors[row, column] = max(factors[row, column], least[column])
            factors[row, column] = np.float32(gain) / factors[row, column]
