"""Central slices onto planes of the 3D Fourier grid: samples along lines, then spread plane by plane.

Every central slice cuts the planes ``k_p = j / H'`` of the Fourier grid in straight lines; ``p`` is the axis of the
region nearest to the tilt axis. Each image is transformed, its spectrum interpolated along those lines (one
dimension only: the other image axis keeps its FFT grid), and each plane then collects the lines of all images on an
oversampled grid with the same kind of kernel. That is exact in any geometry up to the kernel's error, planes are
independent of each other, and one plane stays in the cache.

Axes here: ``p`` plane axis, ``o`` the other horizontal axis, ``z`` depth; in an image ``a`` is the axis nearest to
``p`` and ``b`` the other one. Frequencies are in cycles per voxel (``k``) and cycles per pixel of the image (``q``),
``k = M^T q``. Arithmetic: Potts, Steidl & Tasche 2001 (non-equispaced FFT), Barnett et al. 2019 for kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fourierrecon import fourier, simd
from fourierrecon.ctf_kernel import transfer
from fourierrecon.fourier import Complex, Kernel, Real, fast_length

#: Band limit: everything up to the first frequency (cycles per voxel), nothing from the second on, smooth between.
PASS, STOP = 0.45, 0.5
#: Spare cells on every side of a grid, so that no tap needs a bounds check; folded back afterwards.
PAD = 8


@dataclass(frozen=True, eq=False)
class Slices:
    """Where the slices of all images cut the planes of one region.

    Parameters
    ----------
    matrices
        ``(n_tilts, 2, 3)``: image pixel of the window over voxel; rows (a, b), columns (p, o, z).
    offsets
        ``(n_tilts, 2)``: window pixel (a, b) of the voxel (0, O // 2, D // 2) of (p, o, z).
    shape
        ``(D, P, O)``: voxels along z, p and o.
    period
        ``H'``: number of planes of the full grid, at least ``P`` plus what keeps images from wrapping into the region.
    row_length
        ``Lb``: padded length of the windows along b.
    width
        Taps of the planes' kernel.
    oversampling
        Least oversampling of the planes' grid.
    """

    matrices: NDArray[np.float64]
    offsets: NDArray[np.float64]
    shape: tuple[int, int, int]
    period: int
    row_length: int
    width: int
    oversampling: float

    @cached_property
    def n_planes(self) -> int:
        """Planes that can hold anything: ``j / H' < 0.5``."""
        return (self.period + 1) // 2

    @cached_property
    def half_rows(self) -> int:
        """Largest row number ``|l|`` within the band."""
        return (self.row_length - 1) // 2

    @cached_property
    def grid(self) -> tuple[int, int]:
        """Cells of a plane ``(Nz, No)``."""
        least = 4 * self.width
        return (
            fast_length(max(self.oversampling * self.shape[0], least)),
            fast_length(max(self.oversampling * self.shape[2], least)),
        )

    @cached_property
    def kernels(self) -> tuple[Kernel, Kernel]:
        """Kernels along z and o."""
        nz, no = self.grid
        return Kernel(self.width, nz / self.shape[0]), Kernel(self.width, no / self.shape[2])

    @cached_property
    def lines(self) -> NDArray[np.float64]:
        """Affine maps of a sample ``(j, l)``, ``(n_tilts, 4, 2)``: rows q_a, k_p, k_o, k_z; columns per j, per l.

        ``q_b = l / Lb`` always, and ``k_p = j / H'``.
        """
        m = self.matrices
        per_j, per_l = 1 / self.period, 1 / self.row_length
        qa = np.stack([per_j / m[:, 0, 0], -m[:, 1, 0] / m[:, 0, 0] * per_l], axis=-1)
        result = np.zeros((len(m), 4, 2))
        result[:, 0] = qa
        result[:, 1, 0] = per_j
        for row, axis in ((2, 1), (3, 2)):
            result[:, row] = m[:, 0, axis, None] * qa
            result[:, row, 1] += m[:, 1, axis] * per_l
        return result

    @cached_property
    def tables(self) -> tuple[Real, Real, Real, Real]:
        """Tap tables for spreading: signed o, signed z with each tap twice (complex cells), plain o, plain z.

        Alternating signs turn the grid's origin to the middle of the region, so that the kept part is contiguous.
        """
        kz, ko = (k.table() for k in self.kernels)
        sign = np.where(np.arange(8) % 2, -1, 1).astype(np.float32)
        return (ko * sign).ravel(), np.repeat(kz * sign, 2, axis=1).ravel(), ko.ravel(), kz.ravel()

    @cached_property
    def on_slice_weight(self) -> NDArray[np.float64]:
        """Weight that one image's unit samples alone give a grid point on their own slice, ``(n_tilts,)``.

        The line's samples are closer than the kernel is wide, so the sum over them is an integral along the line.
        """
        nz, no = self.grid
        step = self.lines[:, 2:, 1] * np.array([no, nz])
        length = np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-12)
        direction = step / length[:, None]
        along = np.linspace(-self.width, self.width, 2001)
        kz, ko = self.kernels
        profile = ko.values(along[:, None] * direction[:, 0]) * kz.values(along[:, None] * direction[:, 1])
        return np.asarray(profile.sum(0) * (along[1] - along[0]) / length)


def spectrum(window: Real, slices: Slices, kernel: Kernel, length: int) -> Complex:
    """Transform one image window, deapodised and zero-padded, ready to be interpolated along a.

    Parameters
    ----------
    window
        ``(n_b, n_a)``.
    slices
        Gives the padded length along b.
    kernel, length
        Kernel along a and padded length along a.

    Returns
    -------
    spectrum
        ``(row_length // 2 + 1, length + 2 PAD)``: rows ``q_b = l / Lb >= 0``; column ``PAD + length / 2`` is ``q_a = 0``,
        the origin along a is pixel ``n_a // 2``.
    """
    n = window.shape[1]
    rows = fourier.real_forward(window, 0, slices.row_length)
    weights = kernel.deapodisation(n, length) * np.where((np.arange(n) - n // 2) % 2, -1, 1)
    padded = np.empty((rows.shape[0], length + 2 * PAD), np.complex64)
    half = n // 2
    middle = padded[:, PAD : PAD + length]
    np.multiply(rows[:, half:], weights[half:].astype(np.float32), out=middle[:, : n - half])
    middle[:, n - half : length - half] = 0
    np.multiply(rows[:, :half], weights[:half].astype(np.float32), out=middle[:, length - half :])
    fourier.transform(middle, 1, backward=False)
    padded[:, :PAD] = padded[:, length : length + PAD]
    padded[:, length + PAD :] = padded[:, PAD : 2 * PAD]
    return padded


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def sample_lines(
    spectrum: Any,  # (rows, 2 (length + 2 PAD)) float32: interleaved complex
    length: int,
    table: Any,  # (257 * 16,) float32
    width: int,
    lines: Any,  # (4, 2) float64: q_a, k_p, k_o, k_z per j and l
    phase_j: Any,  # (n_planes,) complex64, with the scale of the image
    phase_l: Any,  # (2 half_rows + 1,) complex64
    half_rows: int,
    samples: Any,  # (n_planes, n_tilts, 2 half_rows + 1) complex64
    tilt: int,
    pass2: float,
    stop2: float,
) -> None:
    """Interpolate the spectrum of one image along its lines in all planes, band-limited and shifted."""
    flat = spectrum.reshape(-1)
    stride = spectrum.shape[1]
    n_planes = samples.shape[0]
    n_rows = 2 * half_rows + 1
    block = np.empty((8, n_planes), np.complex64)
    for start in range(0, n_rows, 8):
        stop = min(start + 8, n_rows)
        for r in range(start, stop):
            el = r - half_rows
            out = block[r - start]
            first_j, last_j = _plane_range(lines, el, n_planes, stop2)
            out[:first_j] = 0
            out[last_j:] = 0
            row = (el if el >= 0 else -el) * stride
            # the spectrum of a real image: F(-q) is the conjugate of F(q)
            sign = 1.0 if el >= 0 else -1.0
            origin = sign * lines[0, 1] * el * length + (length // 2 + PAD - width / 2)
            step = sign * lines[0, 0] * length
            conjugate = np.float32(sign)
            turn = phase_l[r]
            for j in range(first_j, last_j):
                position = origin + step * j
                cell = int(position) + 1  # positive: truncation is the floor
                part = (cell - position) * 256
                entry = int(part)
                value = simd.gather(flat, row + 2 * cell, table, entry * 16, np.float32(part - entry))
                shift = turn * phase_j[j]
                real, imag = value.real, value.imag * conjugate
                out[j] = complex(real * shift.real - imag * shift.imag, real * shift.imag + imag * shift.real)
            _band_limit(out, lines, el, first_j, last_j, pass2, stop2)
        for j in range(n_planes):
            for i in range(stop - start):
                samples[j, tilt, start + i] = block[i, j]


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _plane_range(lines: Any, el: int, n_planes: int, stop2: float) -> tuple[int, int]:
    """Planes ``[first, last)`` in which sample ``l`` of a line lies within the band and the image's own."""
    a = b = 0.0
    c = -stop2
    for axis in range(1, 4):
        per_j, at = lines[axis, 0], lines[axis, 1] * el
        a += per_j * per_j
        b += per_j * at
        c += at * at
    root = b * b - a * c
    if root <= 0:
        return 0, 0
    root = np.sqrt(root)
    low, high = (-b - root) / a, (-b + root) / a
    # |q_a| < 0.5 as well
    one, other = (-0.5 - lines[0, 1] * el) / lines[0, 0], (0.5 - lines[0, 1] * el) / lines[0, 0]
    low, high = max(low, min(one, other)), min(high, max(one, other))
    first = max(int(np.ceil(low)), 0)
    last = min(int(np.floor(high)) + 1, n_planes)
    return (first, last) if first < last else (0, 0)


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _band_limit(out: Any, lines: Any, el: int, first: int, last: int, pass2: float, stop2: float) -> None:
    """Fade one row of samples out towards the end of the band: a smooth step in the squared frequency."""
    for j in range(first, last):
        kp = lines[1, 0] * j
        ko = lines[2, 0] * j + lines[2, 1] * el
        kz = lines[3, 0] * j + lines[3, 1] * el
        t = np.float32(min(max((stop2 - (kp * kp + ko * ko + kz * kz)) / (stop2 - pass2), 0.0), 1.0))
        out[j] *= t * t * (3 - 2 * t)


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def sample_weights(
    lines: Any,  # (4, 2)
    half_rows: int,
    row_length: int,
    to_voxels: Any,  # (2,): cycles per window pixel (x, y) to cycles per voxel
    a_is_x: bool,
    ctf: Any,  # (6,): see preprocess.ctf_coefficients
    scale: float,
    weights: Any,  # (n_planes, n_tilts, 2 half_rows + 1) float32
    tilt: int,
) -> None:
    """Evaluate the squared CTF of one image along its lines in all planes."""
    for j in range(weights.shape[0]):
        out = weights[j, tilt]
        for r in range(out.shape[0]):
            el = r - half_rows
            qa = lines[0, 0] * j + lines[0, 1] * el
            qb = el / row_length
            x, y = (qa, qb) if a_is_x else (qb, qa)
            value = transfer(x * to_voxels[0], y * to_voxels[1], ctf)
            out[r] = np.float32(scale) * value * value


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _row_range(lines: Any, j: int, half_rows: int, stop2: float) -> tuple[int, int]:
    """First and last row ``l`` of a line within the band (the samples beyond are zero)."""
    op, ol = lines[2, 0] * j, lines[2, 1]
    zp, zl = lines[3, 0] * j, lines[3, 1]
    kp = lines[1, 0] * j
    a = ol * ol + zl * zl
    b = op * ol + zp * zl
    c = kp * kp + op * op + zp * zp - stop2
    root = b * b - a * c
    if root <= 0 or a <= 0:
        return 1, 0
    root = np.sqrt(root)
    low = max(int(np.ceil((-b - root) / a)), -half_rows)
    high = min(int(np.floor((-b + root) / a)), half_rows)
    return low, high


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def spread_plane(
    samples: Any,  # (n_tilts, n_rows) complex64: the lines of this plane
    weights: Any,  # (n_tilts, n_rows) float32, or (0, 0)
    lines: Any,  # (n_tilts, 4, 2)
    j: int,
    plane: Any,  # (No + 2 PAD, Nz + 2 PAD) complex64
    weight_plane: Any,  # the same in float32, or (0, 0)
    table_o: Any,  # signed taps
    table_z: Any,  # signed taps, each twice
    plain_o: Any,
    plain_z: Any,
    width: int,
    stop2: float,
) -> tuple[int, int]:
    """Spread the lines of all images onto one plane; gives the rows ``[first, last)`` that hold anything."""
    no, nz = plane.shape[0] - 2 * PAD, plane.shape[1] - 2 * PAD
    half = width / 2
    radius = np.sqrt(max(stop2 - (lines[0, 1, 0] * j) ** 2, 0.0)) * no + half + 1
    low_row = max(int(np.floor(no / 2 + PAD - radius)), 0)
    high_row = min(int(np.ceil(no / 2 + PAD + radius)) + 1, no + 2 * PAD)
    plane[low_row:high_row] = 0
    weigh = weights.shape[0] > 0
    if weigh:
        weight_plane[low_row:high_row] = 0
    grid = plane.view(np.float32).reshape(-1)
    weight_grid = weight_plane.reshape(-1)
    stride = plane.shape[1]
    half_rows = samples.shape[1] // 2
    for tilt in range(samples.shape[0]):
        ln = lines[tilt]
        low, high = _row_range(ln, j, half_rows, stop2)
        o_start = ln[2, 0] * j * no + no / 2 + PAD - half
        z_start = ln[3, 0] * j * nz + nz / 2 + PAD - half
        o_step, z_step = ln[2, 1] * no, ln[3, 1] * nz
        for el in range(low, high + 1):
            o_at = o_start + o_step * el
            z_at = z_start + z_step * el
            o_cell, z_cell = int(o_at) + 1, int(z_at) + 1  # positive: truncation is the floor
            o_part, z_part = (o_cell - o_at) * 256, (z_cell - z_at) * 256
            o_entry, z_entry = int(o_part), int(z_part)
            o_frac, z_frac = np.float32(o_part - o_entry), np.float32(z_part - z_entry)
            value = samples[tilt, el + half_rows]
            sign = np.float32(1 - 2 * ((o_cell + z_cell) & 1))
            re, im = value.real * sign, value.imag * sign
            at = o_cell * stride + z_cell
            o_row, z_row = 8 * o_entry, 16 * z_entry
            if width <= 4:
                simd.spread4(grid, 2 * at, 2 * stride, table_z, z_row, z_frac, table_o, o_row, o_frac, re, im)
            elif width <= 6:
                simd.spread6(grid, 2 * at, 2 * stride, table_z, z_row, z_frac, table_o, o_row, o_frac, re, im)
            else:
                simd.spread8(grid, 2 * at, 2 * stride, table_z, z_row, z_frac, table_o, o_row, o_frac, re, im)
            if weigh:
                w = weights[tilt, el + half_rows]
                z_row = 8 * z_entry
                if width <= 4:
                    simd.spread_weight4(weight_grid, at, stride, plain_z, z_row, z_frac, plain_o, o_row, o_frac, w)
                elif width <= 6:
                    simd.spread_weight6(weight_grid, at, stride, plain_z, z_row, z_frac, plain_o, o_row, o_frac, w)
                else:
                    simd.spread_weight8(weight_grid, at, stride, plain_z, z_row, z_frac, plain_o, o_row, o_frac, w)
    if weigh:
        _fold(weight_plane, low_row, high_row)
    rows: tuple[int, int] = _fold(plane, low_row, high_row)
    return rows


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fold(plane: Any, low: int, high: int) -> tuple[int, int]:
    """Add the spare cells of a periodic grid to those they stand for; gives the rows of the core that hold anything."""
    rows, columns = plane.shape[0] - 2 * PAD, plane.shape[1] - 2 * PAD
    for row in range(low, high):
        for i in range(PAD):
            plane[row, columns + i] += plane[row, i]
            plane[row, PAD + i] += plane[row, columns + PAD + i]
    if low >= PAD and high <= rows + PAD:
        return low, high
    # rows beyond the border: the grid is that full only near the middle plane, so all of its rows are in use
    for i in range(PAD):
        if i >= low:
            plane[rows + i] += plane[i]
        if rows + PAD + i < high:
            plane[PAD + i] += plane[rows + PAD + i]
    return max(low, PAD), min(high, rows + PAD)


def turn_plane(plane: Complex, first: int, last: int, top: int, gain: Real, turned: Complex) -> None:
    """Transform rows ``[first, last)`` of a plane along z and transpose them, cropped and deapodised along z.

    Parameters
    ----------
    plane
        ``(No + 2 PAD, Nz + 2 PAD)``.
    first, last
        Rows that hold anything.
    top
        First column to keep.
    gain
        ``(D,)``.
    turned
        ``(D, No)``, all of it is written.
    """
    core = plane[:, PAD : plane.shape[1] - PAD]
    turned[:, : first - PAD] = 0
    turned[:, last - PAD :] = 0
    # a few rows at a time: they are still in the cache when they are transposed
    for start in range(first, last, 64):
        stop = min(start + 64, last)
        fourier.transform_rows(core[start:stop])
        _transpose(plane, start, stop, top, gain, turned)


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _transpose(plane: Any, start: int, stop: int, top: int, gain: Any, turned: Any) -> None:
    for block in range(start, stop, 8):
        block_stop = min(block + 8, stop)
        for z in range(turned.shape[0]):
            out, factor = turned[z], gain[z]
            for o in range(block, block_stop):
                out[o - PAD] = plane[o, top + z] * factor


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def store_plane(turned: Any, left: int, gain: Any, planes: Any, j: int) -> None:
    """Write a transformed plane, cropped and deapodised along o, into row ``j`` of every z slab."""
    for z in range(planes.shape[0]):
        out, row = planes[z, j], turned[z]
        for o in range(out.shape[0]):
            out[o] = row[left + o] * gain[o]
