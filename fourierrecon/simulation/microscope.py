"""The simulated microscope: tilt scheme, exposures, CTF parameters, and their effect on images."""

from __future__ import annotations

import math

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

from fourierrecon.ctf import contrast_transfer, electron_wavelength
from fourierrecon.tilt_series import CtfParameters

#: Tilt angles of the default scheme, degrees.
TILT_ANGLES = tuple(float(angle) for angle in range(-60, 61, 3))


def dose_symmetric_exposures(tilt_angles: ArrayLike, exposure_per_tilt: float = 3.0) -> NDArray[np.float64]:
    """Give the exposure before each image of a dose-symmetric scheme (0, +3, -3, -6, +6, ...), e⁻/Å².

    Parameters
    ----------
    tilt_angles
        Degrees, in any order.
    exposure_per_tilt
        e⁻/Å².
    """
    angles = np.asarray(tilt_angles, float)
    level = np.unique(np.abs(angles).round(6), return_inverse=True)[1]
    # of the two tilts of one size the positive one comes first in every other pair
    order = np.lexsort((np.where(level % 2 == 1, -angles, angles), level))
    exposures = np.empty(len(angles))
    exposures[order] = exposure_per_tilt * np.arange(len(angles))
    return exposures


def realistic_ctf(n_tilts: int, seed: int = 0, *, defocus: float = 30000.0, voltage: float = 300.0) -> CtfParameters:
    """Make CTF parameters as they are measured: 3 µm underfocus with some variation and astigmatism.

    Parameters
    ----------
    n_tilts
        Number of tilts.
    seed
        Seed of the variation from tilt to tilt.
    defocus
        Mean underfocus, Å.
    voltage
        kV.
    """
    rng = np.random.default_rng([seed, 1])
    mean = defocus + rng.normal(0, 400, n_tilts)
    half = rng.normal(350, 60, n_tilts) / 2
    return CtfParameters.of(
        n_tilts,
        voltage=voltage,
        spherical_aberration=2.7,
        amplitude_contrast=0.07,
        defocus_u=mean + half,
        defocus_v=mean - half,
        defocus_angle=rng.normal(38, 6, n_tilts),
    )


def apply_ctf(images: NDArray[np.float32], ctf: CtfParameters, pixel_size: float, margin: int) -> NDArray[np.float32]:
    """Convolve images with the point spread function of each tilt and cut a margin off.

    Parameters
    ----------
    images
        ``(n_tilts, height + 2 margin, width + 2 margin)``.
    ctf
        Optics and defocus of each tilt.
    pixel_size
        Å.
    margin
        px, at every side; so wide that what wraps around stays in it, see :func:`ctf_margin`.

    Returns
    -------
    ``(n_tilts, height, width)``.
    """
    height, width = images.shape[1:]
    padded = scipy.fft.next_fast_len(height, True), scipy.fft.next_fast_len(width, True)
    fy = np.fft.fftfreq(padded[0], pixel_size)[:, None]
    fx = np.fft.rfftfreq(padded[1], pixel_size)
    out = np.empty((len(images), height - 2 * margin, width - 2 * margin), np.float32)
    for tilt, image in enumerate(images):
        spectrum = scipy.fft.rfft2(image.astype(np.float64), padded)
        spectrum *= contrast_transfer(ctf, tilt, fx, fy)
        filtered = scipy.fft.irfft2(spectrum, padded)
        out[tilt] = filtered[margin : height - margin, margin : width - margin]
    return out


def ctf_margin(ctf: CtfParameters | None, pixel_size: float) -> int:
    """Give the reach of the point spread function, px: from the slope of its phase at Nyquist."""
    if ctf is None:
        return 0
    wavelength, frequency = electron_wavelength(ctf.voltage), 0.5 / pixel_size
    defocus = float(max(np.abs(ctf.defocus_u).max(), np.abs(ctf.defocus_v).max()))
    aberration = ctf.spherical_aberration * 1e7 * wavelength**3 * frequency**3
    return math.ceil(1.1 * (wavelength * defocus * frequency + aberration) / pixel_size) + 24
