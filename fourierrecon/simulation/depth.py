"""Images in which every point has the CTF of its own depth, exact, and independent of the engine.

The specimen of an image is laid onto sections across the beam, and each section is transformed, multiplied with the
CTF of its defocus and added up. A point between sections is shared out to four of them by Lagrange's polynomials: the
phase of the CTF is linear in the depth, and sections are so close that the error stays below 1e-4. A Gaussian is as
deep as it is wide; the third-order rule of Gauss and Hermite takes it as three points along the beam.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from fourierrecon.ctf import electron_wavelength, phase_coefficients
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.tilt_series import CtfParameters

#: Change of the phase at Nyquist's frequency from one section to the next, rad.
STEP = 0.2
#: Points that stand for a Gaussian, sigma, and their weights.
POINTS, WEIGHTS = (-(3**0.5), 0.0, 3**0.5), (1 / 6, 2 / 3, 1 / 6)


def project_with_ctf(
    specimen: Gaussians,
    projections: NDArray[np.float64],
    image_shape: tuple[int, int],
    ctf: CtfParameters,
    pixel_size: float,
    *,
    hand: int,
    margin: int,
    n_threads: int | None = None,
) -> NDArray[np.float32]:
    """Project a specimen into images, with the CTF of its own depth at every point, ``(n_tilts, height, width)``.

    Parameters
    ----------
    specimen
        World px.
    projections
        ``(n_tilts, 4, 4)``; the third row is the depth along the beam, px, from the point that the defocus belongs to.
    image_shape
        ``(height, width)``, px.
    ctf, pixel_size
        Optics and defocus; Å.
    hand
        1 or -1: the sign by which the defocus grows with the depth.
    margin
        px around the images, so wide that what wraps around stays in it:
        :func:`fourierrecon.simulation.microscope.ctf_margin`.
    n_threads
        Default: all cores.
    """
    wide = projections.copy()
    wide[:, :2, 3] += margin
    shape = image_shape[0] + 2 * margin, image_shape[1] + 2 * margin
    padded = scipy.fft.next_fast_len(shape[0], True), scipy.fft.next_fast_len(shape[1], True)
    fy = np.fft.fftfreq(padded[0], pixel_size)[:, None]
    fx = np.fft.rfftfreq(padded[1], pixel_size)
    squared = fx * fx + fy * fy
    wavelength = electron_wavelength(ctf.voltage)
    step = STEP / (np.pi * wavelength * (0.5 / pixel_size) ** 2) / pixel_size
    out = np.empty((len(projections), *image_shape), np.float32)
    for tilt, matrix in enumerate(wide):
        depths = specimen.centres @ matrix[2, :3] + matrix[2, 3]
        shares = _shares(depths, specimen.sigmas, step)
        xx, xy, yy, quartic, constant = phase_coefficients(ctf, tilt)
        chi = xx * fx * fx + xy * fx * fy + yy * fy * fy + quartic * squared * squared + constant
        total = np.zeros(chi.shape, complex)
        for number, (which, weights) in shares.items():
            part = Gaussians(specimen.centres[which], specimen.sigmas[which], specimen.weights[which] * weights)
            spectrum = scipy.fft.rfft2(part.project(matrix[None], shape, n_threads)[0].astype(np.float64), padded)
            depth = number * step * pixel_size
            spectrum *= np.sin(chi + np.pi * wavelength * squared * hand * depth)
            total += spectrum
        image = scipy.fft.irfft2(ctf.scale[tilt] * total, padded)
        out[tilt] = image[margin : margin + image_shape[0], margin : margin + image_shape[1]]
    return out


def _shares(
    depths: NDArray[np.float64], sigmas: NDArray[np.float64], step: float
) -> dict[int, tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Share Gaussians out to sections at multiples of ``step``: for each section which ones, and how much of them."""
    entries = []
    for point, weight in zip(POINTS, WEIGHTS, strict=True):
        place = (depths + point * sigmas) / step
        first = np.floor(place).astype(int) - 1
        x = place - first  # 1 to 2, among the sections 0 to 3
        for i in range(4):
            share = np.prod([(x - k) / (i - k) for k in range(4) if k != i], axis=0)
            entries.append((first + i, weight * share))
    numbers = np.concatenate([number for number, _ in entries])
    shares: NDArray[np.float64] = np.concatenate([share for _, share in entries])
    which = np.tile(np.arange(len(depths)), len(entries))
    result: dict[int, tuple[NDArray[np.intp], NDArray[np.float64]]] = {}
    for number in np.unique(numbers):
        here = numbers == number
        total = np.asarray(np.bincount(which[here], shares[here], len(depths)), np.float64)
        chosen = np.flatnonzero(total)
        result[int(number)] = chosen, total[chosen]
    return result
