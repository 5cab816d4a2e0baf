"""Central slices, and their samples along the lines in which they cut the planes of the 3D Fourier grid.

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

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.ctf import damp_row, transfer
from fourierrecon.engine import fft, simd
from fourierrecon.engine.fft import fast_length
from fourierrecon.engine.fixed_point import fixed, taps_at
from fourierrecon.engine.grid_weights import sample_counts
from fourierrecon.engine.gridding_kernel import GriddingKernel
from fourierrecon.engine.preprocess import ImageFilter
from fourierrecon.engine.transposing import transpose
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.runtime.compiled import compiled
from fourierrecon.runtime.memory import Workspace

#: Band limit: everything up to the first frequency (cycles per voxel), nothing from the second on, smooth between.
PASS, STOP = 0.45, 0.5
#: Spare cells on every side of a grid, so that no tap needs a bounds check; folded back afterwards.
PAD = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class Slices:
    """Where the slices of all images cut the planes of one region.

    Parameters
    ----------
    matrices
        ``(n_tilts, 2, 3)``: image pixel of the window over voxel; rows (a, b), columns (p, o, z).
    offsets
        ``(n_tilts, 2)``: window pixel (a, b) of the voxel at 0 along p, in the middle of the box along o and z.
    shape
        ``(D, P, O)``: voxels along z, p and o.
    box
        What the planes' grid is made for, along z and o: the first voxel, counted from that of the region, and the
        number of voxels. The middle of the grid is the middle voxel of the box.
    period
        ``H'``: number of planes of the full grid, at least ``P`` plus what keeps images from wrapping into the region.
    row_length
        ``Lb``: padded length of the windows along b.
    width
        Taps of the planes' kernel.
    oversampling
        Least oversampling of the planes' grid along z and o.
    low
        The kernel along z is one for weights; see :class:`~fourierrecon.engine.gridding_kernel.GriddingKernel`.
    """

    matrices: NDArray[np.float64]
    offsets: NDArray[np.float64]
    shape: tuple[int, int, int]
    box: tuple[tuple[int, int], tuple[int, int]]
    period: int
    row_length: int
    width: int
    oversampling: tuple[float, float]
    low: bool = False

    @property
    def middle(self) -> tuple[int, int]:
        """Voxel of the region, along z and o, in the middle of the grid."""
        (first_z, n_z), (first_o, n_o) = self.box
        return first_z + n_z // 2, first_o + n_o // 2

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
            fast_length(max(self.oversampling[0] * self.box[0][1], least)),
            fast_length(max(self.oversampling[1] * self.box[1][1], least)),
        )

    @cached_property
    def kernels(self) -> tuple[GriddingKernel, GriddingKernel]:
        """Kernels along z and o."""
        nz, no = self.grid
        (_, depth), (_, breadth) = self.box
        return GriddingKernel(self.width, nz / depth, self.low), GriddingKernel(self.width, no / breadth)

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
        """Tap tables for spreading, along o and z: for data, and for data with weights.

        Along z a tap stands once for each number of a cell: real and imaginary part; and weight and count. Alternating
        signs turn the grid's origin to the middle of the region, so that the kept part is contiguous.
        """
        kz, ko = (k.table() for k in self.kernels)
        sign = np.where(np.arange(8) % 2, -1, 1).astype(np.float32)
        signed = kz * sign
        four = np.stack([signed, signed, kz, kz], axis=2)[:, :4]
        return (ko * sign).ravel(), np.repeat(signed, 2, axis=1).ravel(), ko.ravel(), np.ascontiguousarray(four).ravel()

    @cached_property
    def fill(self) -> Real:
        """Give what one sample of each tilt counts for, ``(n_tilts,)``; see :mod:`fourierrecon.engine.grid_weights`."""
        return sample_counts(self)


def spectrum(
    window: Real,
    slices: Slices,
    kernel: GriddingKernel,
    length: int,
    workspace: Workspace,
    *,
    filters: Sequence[ImageFilter] = (),
    filter_length: int = 0,
    a_is_x: bool = True,
    binning: float = 1.0,
) -> Complex:
    """Transform one image window, deapodised and zero-padded, ready to be interpolated along a.

    Parameters
    ----------
    window
        ``(n_a, n_b)``.
    slices
        Gives the padded length along b.
    kernel, length
        Kernel along a and padded length along a.
    workspace
        Memory for it, and for the result.
    filters, filter_length, a_is_x, binning
        2D filters still to be applied, the padded length along a for them, which image axis a is, and voxel over
        window px.

    Returns
    -------
    spectrum
        ``(row_length // 2 + 1, length + 2 PAD)``: rows ``q_b = l / Lb >= 0``; column ``PAD + length / 2`` is
        ``q_a = 0``, the origin along a is pixel ``n_a // 2``.
    """
    n, half = len(window), len(window) // 2
    weights = kernel.deapodisation(n, length).astype(np.float32)
    signs = np.where((np.arange(n) - half) % 2, -1, 1).astype(np.float32)
    columns = fft.real_forward(window, slices.row_length, workspace, signs if filters else weights * signs)
    padded: Complex = workspace.array("spectrum", (columns.shape[1], length + 2 * PAD), np.complex64)
    if filters:
        # the window must be deapodised after it is filtered: there and back once more along a
        filtered = workspace.array("filtered", (columns.shape[1], filter_length + 2 * PAD), np.complex64)
        _place(columns, filter_length, filtered)
        core = filtered[:, PAD : PAD + filter_length]
        fft.transform(core, 1, backward=False)
        q_a = ((np.arange(filter_length) - filter_length // 2) * (binning / filter_length)).astype(np.float32)
        q_b = (np.arange(len(core)) * (binning / slices.row_length)).astype(np.float32)
        for image_filter in filters:
            core *= image_filter(q_a[None], q_b[:, None]) if a_is_x else image_filter(q_b[None], q_a[:, None]).T
        fft.transform(core, 1, backward=True)
        weights /= np.float32(filter_length)
        padded[:, PAD + n - half : PAD + length - half] = 0
        np.multiply(core[:, : n - half], weights[half:], out=padded[:, PAD : PAD + n - half])
        np.multiply(core[:, filter_length - half :], weights[:half], out=padded[:, PAD + length - half : PAD + length])
    else:
        _place(columns, length, padded)
    fft.transform(padded[:, PAD : PAD + length], 1, backward=False)
    padded[:, :PAD] = padded[:, length : length + PAD]
    padded[:, length + PAD :] = padded[:, PAD : 2 * PAD]
    return padded


def _place(columns: Complex, length: int, padded: Complex) -> None:
    """Transpose and zero-pad; sample ``n // 2`` along a goes to the first place, those before it to the end."""
    n, half = len(columns), len(columns) // 2
    moved, target = columns.view(np.float64), padded.view(np.float64)
    target[:, PAD + n - half : PAD + length - half] = 0
    transpose(moved[half:], 0, target, PAD)
    transpose(moved[:half], 0, target, PAD + length - half)


@compiled()
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
    row_length: int,
    lean: float,  # q_a changes by this times (c_a q_a² + c_b q_b²), for curved slices; 0: not at all
    c_a: float,
    c_b: float,
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
            first_j, last_j = plane_range(lines, el, n_planes, stop2)
            out[:first_j] = 0
            out[last_j:] = 0
            row = (el if el >= 0 else -el) * stride
            # the spectrum of a real image: F(-q) is the conjugate of F(q)
            sign = 1.0 if el >= 0 else -1.0
            origin = sign * lines[0, 1] * el * length + (length // 2 + PAD - width / 2)
            step = sign * lines[0, 0] * length
            conjugate = np.float32(sign)
            turn = phase_l[r]
            if lean == 0:
                zero, more = fixed(origin), fixed(step)
                for j in range(first_j, last_j):
                    cell, entry, part = taps_at(zero + more * j)
                    out[j] = simd.gather(flat, row + 2 * cell, table, 16 * entry, part)
            else:
                start_a, square_b = lines[0, 1] * el, c_b * (el / row_length) ** 2
                for j in range(first_j, last_j):
                    q_a = start_a + lines[0, 0] * j
                    moved = q_a + lean * (c_a * q_a * q_a + square_b)
                    position = origin + step * j + sign * length * lean * (c_a * moved * moved + square_b)
                    cell, entry, part = taps_at(fixed(position))
                    out[j] = simd.gather(flat, row + 2 * cell, table, 16 * entry, part)
            for j in range(first_j, last_j):
                shift, value = turn * phase_j[j], out[j]
                real, imag = value.real, value.imag * conjugate
                out[j] = complex(real * shift.real - imag * shift.imag, real * shift.imag + imag * shift.real)
            if lean == 0:
                _band_limit(out, lines, el, first_j, last_j, pass2, stop2)
            else:
                for j in range(first_j, last_j):
                    out[j] *= leaning_band(lines, j, el, row_length, pass2, stop2, lean, c_a, c_b)
        for j in range(n_planes):
            for i in range(stop - start):
                samples[j, tilt, start + i] = block[i, j]


@compiled()
def plane_range(lines: Any, el: int, n_planes: int, stop2: float) -> tuple[int, int]:
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


@compiled()
def _band_limit(out: Any, lines: Any, el: int, first: int, last: int, pass2: float, stop2: float) -> None:
    """Fade one row of samples out towards the end of the band: a smooth step in the squared frequency."""
    for j in range(first, last):
        kp = lines[1, 0] * j
        ko = lines[2, 0] * j + lines[2, 1] * el
        kz = lines[3, 0] * j + lines[3, 1] * el
        t = np.float32(min(max((stop2 - (kp * kp + ko * ko + kz * kz)) / (stop2 - pass2), 0.0), 1.0))
        out[j] *= t * t * (3 - 2 * t)


@compiled()
def leaning_band(
    lines: Any, j: int, el: int, row_length: int, pass2: float, stop2: float, lean: float, c_a: float, c_b: float
) -> np.float32:
    """Give the same factor for a sample of a leaning line: that of the frequency in the image, not of the plane."""
    q_a, square_b = lines[0, 0] * j + lines[0, 1] * el, c_b * (el / row_length) ** 2
    moved = q_a + lean * (c_a * q_a * q_a + square_b)
    at = j + lean * (c_a * moved * moved + square_b) / lines[0, 0]
    kp = lines[1, 0] * at
    ko = lines[2, 0] * at + lines[2, 1] * el
    kz = lines[3, 0] * at + lines[3, 1] * el
    t = np.float32(min(max((stop2 - (kp * kp + ko * ko + kz * kz)) / (stop2 - pass2), 0.0), 1.0))
    return t * t * (np.float32(3) - np.float32(2) * t)


@compiled()
def apply_transfer(
    lines: Any,  # (4, 2)
    half_rows: int,
    row_length: int,
    to_voxels: Any,  # (2,): cycles per window pixel (x, y) to cycles per voxel
    a_is_x: bool,
    phases: Any,  # (6,): see Transfer.phases
    form: int,
    envelope: Any,  # (STEPS + 2,) float32, or (0,): see Transfer.envelopes
    per_cycle: float,
    weigh_ctf: bool,
    power: int,
    multiply: bool,
    scale: float,
    samples: Any,  # (n_planes, n_tilts, 2 half_rows + 1) complex64
    weights: Any,  # the same in float32, or (0, 0, 0)
    tilt: int,
) -> None:
    """Multiply the samples of one image with its transfer function, and note its square as their weights.

    Either only where asked for. Where the weights are not to hold CTF², they hold 1 in its place. With a ``power`` of 1
    they are the absolute value in place of the square.
    """
    weigh = weights.shape[0] > 0
    damps = envelope.shape[0] > 0
    square = np.float32(phases[5] * phases[5])
    envelopes, factors = np.ones(samples.shape[2], np.float32), np.empty(samples.shape[2], np.float32)
    to_a, to_b = (to_voxels[0], to_voxels[1]) if a_is_x else (to_voxels[1], to_voxels[0])
    for j in range(samples.shape[0]):
        values = samples[j, tilt]
        if damps:
            first_qa = lines[0, 0] * j - lines[0, 1] * half_rows
            damp_row(
                first_qa * to_a, lines[0, 1] * to_a, -half_rows / row_length * to_b, to_b / row_length, envelope,
                per_cycle, envelopes,
            )  # fmt: skip
        for r in range(values.shape[0]):
            el = r - half_rows
            qa = lines[0, 0] * j + lines[0, 1] * el
            qb = el / row_length
            x, y = (qa, qb) if a_is_x else (qb, qa)
            factors[r] = transfer(x * to_voxels[0], y * to_voxels[1], phases, form)
        if weigh:
            row = weights[j, tilt]
            for r in range(row.shape[0]):
                seen = factors[r] * factors[r] if weigh_ctf else square
                row[r] = np.float32(scale) * seen * envelopes[r] * envelopes[r]
        if multiply:
            # parts: complex numbers times real ones take longer
            parts = values.view(np.float32)
            for r in range(factors.shape[0]):
                factor = factors[r] * envelopes[r]
                parts[2 * r] *= factor
                parts[2 * r + 1] *= factor
        if weigh and power == 1:
            row = weights[j, tilt]
            for r in range(row.shape[0]):
                row[r] = np.sqrt(np.float32(scale) * row[r])
