"""Sums over the Fourier coefficients that two neighbouring images share, for their signal-to-noise ratio.

Only coefficients near the common axis of both slices count, an interval of each row, so the loop is compiled. The
method: :mod:`fourierrecon.engine.signal_to_noise`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fourierrecon.ctf import damp_row, transfer
from fourierrecon.runtime.compiled import compiled


@compiled()
def add_pair(
    one: Any,  # (rows, columns) complex64
    other: Any,
    numbers: Any,  # (rows, columns) int64: number of the shell, 0 for none
    fx: Any,  # (columns,) float64, cycles per px
    fy: Any,  # (rows,)
    along: Any,  # (2,) float64: distance between the slices, over one over the thickness, is |q . along|
    near: float,
    turn_x: Any,  # (columns,) complex64: shift of the second image onto the first
    turn_y: Any,  # (rows,)
    blur_x: Any,  # (columns,) float64: what both images lose by binning
    blur_y: Any,  # (rows,)
    phases: Any,  # (2, 6) float64: see Transfer.phases
    form: int,
    envelopes: Any,  # (2, STEPS + 2) or (2, 0) float32: see Transfer.envelopes
    per_cycle: float,
    sums: Any,  # (5, shells) float64: products, absolute gains, squared products, powers, number
) -> None:
    """Add the coefficients of one pair to sums over shells."""
    columns = fx.shape[0]
    if columns < 2:
        return
    step = fx[1]
    damping = np.ones((2, columns), np.float32)
    for row in range(fy.shape[0]):
        y = fy[row]
        start = along[1] * y
        first, stop = 0, columns
        slope = along[0] * step
        if abs(slope) > 1e-12:
            low, high = (-near - start) / slope, (near - start) / slope
            first = max(int(np.ceil(min(max(min(low, high), -1.0), columns + 1.0))), 0)
            stop = min(int(np.floor(min(max(max(low, high), -1.0), columns + 1.0))) + 1, columns)
        elif abs(start) >= near:
            continue
        if envelopes.shape[1] > 0 and first < stop:
            for i in range(2):
                damp_row(fx[first], step, y, 0.0, envelopes[i], per_cycle, damping[i, first:stop])
        for column in range(first, stop):
            shell = numbers[row, column]
            if shell == 0:
                continue
            x = fx[column]
            # sinc(z) up to z = 0.4, to 1e-5
            t = np.pi * np.pi * (start + along[0] * x) ** 2
            share = 1 - t / 6 * (1 - t / 20 * (1 - t / 42))
            a, b = one[row, column], other[row, column]
            turned = b.conjugate() * turn_x[column] * turn_y[row]
            alike = (a.real * turned.real - a.imag * turned.imag) / share
            gain = transfer(x, y, phases[0], form) * transfer(x, y, phases[1], form)
            gain *= damping[0, column] * damping[1, column] * blur_x[column] * blur_y[row]
            sums[0, shell] += alike if gain > 0 else -alike if gain < 0 else 0.0
            sums[1, shell] += abs(gain)
            sums[2, shell] += alike * alike
            sums[3, shell] += (a.real * a.real + a.imag * a.imag + b.real * b.real + b.imag * b.imag) / 2
            sums[4, shell] += 1
