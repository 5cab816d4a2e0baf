"""From samples to an image window: the adjoint of ``spectrum`` and ``sample_lines`` of the engine's central slices.

Half spectra stand for whole ones: of a real image those with ``q_b < 0`` are conjugates of the others, and of a real
volume those with ``k_p < 0``. The adjoint counts them by factors of 1/2 and 2, except at 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fourierrecon.engine import fft, simd
from fourierrecon.engine.central_slices import PAD, Slices, leaning_band, plane_range
from fourierrecon.engine.fixed_point import fixed, taps_at
from fourierrecon.engine.gridding_kernel import GriddingKernel
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.runtime.compiled import compiled
from fourierrecon.runtime.memory import Workspace


def window_of(
    spectrum: Complex, slices: Slices, kernel: GriddingKernel, shape: tuple[int, int], workspace: Workspace
) -> Real:
    """Transform what was spread onto the spectrum of an image back into its window.

    Parameters
    ----------
    spectrum
        ``(row_length // 2 + 1, length + 2 PAD)``, as :func:`spread_lines` leaves it; changed.
    slices
        Gives the padded length along b.
    kernel
        Kernel along a.
    shape
        ``(n_a, n_b)`` of the window.
    workspace
        Memory for it, and for the result.
    """
    length = spectrum.shape[1] - 2 * PAD
    n, half = shape[0], shape[0] // 2
    spectrum[:, length : length + PAD] += spectrum[:, :PAD]
    spectrum[:, PAD : 2 * PAD] += spectrum[:, length + PAD :]
    fft.transform(spectrum[:, PAD : PAD + length], 1, backward=True)
    signs = np.where((np.arange(n) - half) % 2, -1, 1)
    weights = (kernel.deapodisation(n, length) * signs).astype(np.float32)
    columns = workspace.array("columns", (n, len(spectrum)), np.complex64)
    _take(spectrum, weights, length, columns)
    whole: Real = workspace.array("whole rows", (n, slices.row_length), np.float32)
    fft.real_backward(columns, 1, slices.row_length, whole)
    return whole[:, : shape[1]]


@compiled()
def _take(padded: Any, weights: Any, length: int, columns: Any) -> None:
    """Transpose, weight and crop: the adjoint of how a window is placed."""
    n, n_rows = columns.shape
    half = n // 2
    for start in range(0, n_rows, 8):
        stop = min(start + 8, n_rows)
        for a in range(n):
            place, weight = PAD + (a - half if a >= half else length + a - half), weights[a]
            for row in range(start, stop):
                # a transform of half a spectrum takes all but row 0 twice
                factor = weight if row == 0 else weight * np.float32(0.5)
                columns[a, row] = padded[row, place] * factor


@compiled()
def spread_lines(
    samples: Any,  # (n_planes, n_tilts, 2 half_rows + 1) complex64
    tilt: int,
    length: int,
    table: Any,  # (257 * 16,) float32
    width: int,
    lines: Any,  # (4, 2) float64: q_a, k_p, k_o, k_z per j and l
    phase_j: Any,  # (n_planes,) complex64, with the scale of the image
    phase_l: Any,  # (2 half_rows + 1,) complex64
    half_rows: int,
    pass2: float,
    stop2: float,
    row_length: int,
    lean: float,  # as for central_slices.sample_lines
    c_a: float,
    c_b: float,
    spectrum: Any,  # (rows, 2 (length + 2 PAD)) float32: interleaved complex; added to
) -> None:
    """Spread the samples of one image onto its spectrum, band-limited and shifted back."""
    flat = spectrum.reshape(-1)
    stride = spectrum.shape[1]
    n_planes = samples.shape[0]
    n_rows = 2 * half_rows + 1
    block = np.empty((8, n_planes), np.complex64)
    for start in range(0, n_rows, 8):
        stop = min(start + 8, n_rows)
        for j in range(n_planes):
            for i in range(stop - start):
                block[i, j] = samples[j, tilt, start + i]
        for r in range(start, stop):
            el = r - half_rows
            values = block[r - start]
            first_j, last_j = plane_range(lines, el, n_planes, stop2)
            row = (el if el >= 0 else -el) * stride
            sign = 1.0 if el >= 0 else -1.0
            origin = sign * lines[0, 1] * el * length + (length // 2 + PAD - width / 2)
            step = sign * lines[0, 0] * length
            zero, more = fixed(origin), fixed(step)
            conjugate = np.float32(sign)
            turn = phase_l[r]
            start_a, square_b = lines[0, 1] * el, c_b * (el / row_length) ** 2
            for j in range(first_j, last_j):
                kp = lines[1, 0] * j
                ko = lines[2, 0] * j + lines[2, 1] * el
                kz = lines[3, 0] * j + lines[3, 1] * el
                t = np.float32(min(max((stop2 - (kp * kp + ko * ko + kz * kz)) / (stop2 - pass2), 0.0), 1.0))
                band = t * t * (np.float32(3) - np.float32(2) * t)
                if lean != 0:
                    band = leaning_band(lines, j, el, row_length, pass2, stop2, lean, c_a, c_b)
                shift = turn * phase_j[j]
                s_real, s_imag = shift.real * band, -shift.imag * band
                value = values[j]
                real = value.real * s_real - value.imag * s_imag
                imag = (value.real * s_imag + value.imag * s_real) * conjugate
                place = zero + more * j
                if lean != 0:
                    q_a = start_a + lines[0, 0] * j
                    moved = q_a + lean * (c_a * q_a * q_a + square_b)
                    place = fixed(origin + step * j + sign * length * lean * (c_a * moved * moved + square_b))
                cell, entry, part = taps_at(place)
                simd.spread(flat, row + 2 * cell, table, 16 * entry, part, real, imag)
