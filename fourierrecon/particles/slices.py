"""Puts the transforms of windows into the Fourier space of a box, each as a central slice one frequency step thick.

For each Fourier voxel ``k`` of the box and each image, ``q`` is the point of the image's transform nearest to it, and
``w`` its distance from the slice, in steps of the box. Up to one step away the image counts with ``1 - |w|``:

``D = sum (1 - |w|) T Y(q)``, ``W = sum (1 - |w|) T²(q)``, ``M = sum (1 - |w|)``,

with ``T Y`` and ``T²`` interpolated linearly between the image's frequencies. ``D`` and ``W`` are the data and weight
terms of RELION's pseudo-subtomograms, ``M`` is their multiplicity (RELION's documentation of relion_tomo_subtomo).
Other layouts weigh by other powers of ``T``, so signals and powers come in ready.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fourierrecon.ctf import damp_row, transfer
from fourierrecon.runtime.compiled import compiled


@compiled()
def transfer_window(phases: Any, form: int, envelope: Any, per_cycle: float, values: Any) -> None:
    """Evaluate the transfer function on the frequencies of a window, ``(size, size // 2 + 1)``.

    ``phases``, ``form``, ``envelope`` and ``per_cycle`` are those of :class:`fourierrecon.transfer.Transfer`, for
    frequencies in cycles per voxel.
    """
    size, half = values.shape
    step = 1.0 / size
    damping = np.empty(half, np.float32)
    for row in range(size):
        y = (row if row < (size + 1) // 2 else row - size) * step
        for column in range(half):
            values[row, column] = transfer(column * step, y, phases, form)
        if envelope.shape[0] > 0:
            damp_row(0.0, step, y, 0.0, envelope, per_cycle, damping)
            for column in range(half):
                values[row, column] *= damping[column]


@compiled()
def add_slice(signal: Any, powers: Any, to_image: Any, normal: Any, data: Any, weights: Any, counts: Any) -> None:
    """Add one image to the terms of a box.

    Parameters
    ----------
    signal
        Transform of its window times what it counts by, ``(size, size // 2 + 1)``, complex64.
    powers
        What the weights are to sum up, at the same frequencies: float32, or complex64 for two sums at once.
    to_image
        ``(2, 3)``: from a frequency of the box ``(x, y, z)`` to that of the image ``(x, y)``.
    normal
        ``(3,)``: from a frequency of the box to its distance from the slice.
    data, weights, counts
        Terms, ``(size, size, size // 2 + 1)`` with the frequency of z slowest, weights of the type of powers; added to.
    """
    size, half = powers.shape
    middle = size // 2
    for j in range(size):
        y = float(j if j < middle else j - size)
        for x in range(half):
            beside = normal[0] * x + normal[1] * y
            # the stretch of z that is less than a step away; a slice along z is near everywhere or nowhere
            if abs(normal[2]) * middle < 1e-6:
                if abs(beside) >= 1:
                    continue
                low, high = float(-middle), float(middle - 1)
            else:
                one, other = (-1 - beside) / normal[2], (1 - beside) / normal[2]
                low, high = min(one, other), max(one, other)
            for z in range(max(-middle, int(np.ceil(low))), min(middle - 1, int(np.floor(high))) + 1):
                if x * x + y * y + z * z >= middle * middle:
                    continue
                share = 1 - abs(beside + normal[2] * z)
                u = to_image[0, 0] * x + to_image[0, 1] * y + to_image[0, 2] * z
                v = to_image[1, 0] * x + to_image[1, 1] * y + to_image[1, 2] * z
                mirrored = u < 0
                if mirrored:
                    u, v = -u, -v
                if share <= 0 or u >= half - 1 or abs(v) >= middle - 1:
                    continue
                column, row = int(u), int(np.floor(v))
                right, below = np.float32(u - column), np.float32(v - row)
                left, above = np.float32(1) - right, np.float32(1) - below
                upper = row if row >= 0 else row + size
                lower = row + 1 if row + 1 >= 0 else row + 1 + size
                wa, wb, wc, wd = left * above, right * above, left * below, right * below
                value = (
                    wa * signal[upper, column]
                    + wb * signal[upper, column + 1]
                    + wc * signal[lower, column]
                    + wd * signal[lower, column + 1]
                )
                if mirrored:
                    value = np.conj(value)
                near = np.float32(share)
                place = z if z >= 0 else z + size
                data[place, j, x] += near * value
                weights[place, j, x] += near * (
                    wa * powers[upper, column]
                    + wb * powers[upper, column + 1]
                    + wc * powers[lower, column]
                    + wd * powers[lower, column + 1]
                )
                counts[place, j, x] += near


@compiled()
def divide_by_magnitude(data: Any, weights: Any, shares: Any, least: float) -> None:
    """Divide sums over slices by those of ``|t|``, in place: see :mod:`fourierrecon.particles.warp_boxes`.

    Parameters
    ----------
    data
        Sum of ``T Y``; becomes ``m`` times that over the sum of ``|t|``.
    weights
        Sums of ``T t`` and of ``|t|``, as the parts of complex numbers.
    shares
        Multiplicity; becomes ``m`` times the sum of ``T t`` over that of ``|t|``.
    least
        Smaller sums of ``|t|`` count as this.
    """
    depth, height, width = data.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                weight = weights[z, y, x]
                share = min(shares[z, y, x], np.float32(1)) / max(weight.imag, np.float32(least))
                data[z, y, x] *= share
                shares[z, y, x] = weight.real * share
