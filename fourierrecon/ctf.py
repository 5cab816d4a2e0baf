"""The contrast transfer function of an image (one, spatially constant, for each tilt).

``CTF = s sin(chi)`` with ``chi = pi lambda z(q) q² - (pi/2) Cs lambda³ q⁴ + phase shift + atan(Q0 / sqrt(1 - Q0²))``:
positive at low frequency for underfocus, so that dark stays dark (Mindell & Grigorieff 2003; the form that RELION
uses, with a sign that does not invert contrast). ``z(q) q² = U p² + V r²`` with ``p, r`` the frequency along and
across the astigmatism axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourierrecon.runtime.compiled import compiled
from fourierrecon.tilt_series import CtfParameters


def electron_wavelength(voltage: float) -> float:
    """Relativistic wavelength of the electron, Å.

    Parameters
    ----------
    voltage
        kV.
    """
    volts = 1e3 * voltage
    return 12.2643247 / float(np.sqrt(volts * (1 + 0.978466e-6 * volts)))


def phase_coefficients(ctf: CtfParameters, tilt: int) -> tuple[float, float, float, float, float]:
    """Coefficients ``(xx, xy, yy, quartic, constant)`` of the phase of one tilt.

    ``chi = xx fx² + xy fx fy + yy fy² + quartic (fx² + fy²)² + constant`` with frequencies in 1/Å. A quadratic form
    holds the astigmatism, so no angle has to be taken of any frequency.
    """
    wavelength = electron_wavelength(ctf.voltage)
    u, v = ctf.defocus_u[tilt], ctf.defocus_v[tilt]
    angle = np.radians(ctf.defocus_angle[tilt])
    c, s = np.cos(angle), np.sin(angle)
    quadratic = np.pi * wavelength
    q0 = ctf.amplitude_contrast
    return (
        float(quadratic * (u * c * c + v * s * s)),
        float(quadratic * 2 * c * s * (u - v)),
        float(quadratic * (u * s * s + v * c * c)),
        float(-0.5 * np.pi * ctf.spherical_aberration * 1e7 * wavelength**3),
        float(np.radians(ctf.phase_shift[tilt]) + np.arctan2(q0, np.sqrt(1 - q0 * q0))),
    )


def contrast_transfer(
    ctf: CtfParameters, tilt: int, frequency_x: ArrayLike, frequency_y: ArrayLike
) -> NDArray[np.float64]:
    """Contrast transfer function of one tilt at given spatial frequencies.

    Parameters
    ----------
    ctf
        Optics and defocus.
    tilt
        0-based number of the tilt.
    frequency_x, frequency_y
        Spatial frequencies along the image's columns and rows, 1/Å; they broadcast.
    """
    xx, xy, yy, quartic, constant = phase_coefficients(ctf, tilt)
    fx, fy = np.asarray(frequency_x, float), np.asarray(frequency_y, float)
    squared = fx * fx + fy * fy
    chi = xx * fx * fx + xy * fx * fy + yy * fy * fy + quartic * squared * squared + constant
    return np.asarray(ctf.scale[tilt] * np.sin(chi))


def kernel_coefficients(ctf: CtfParameters | None, tilt: int, voxel_size: float) -> NDArray[np.float64]:
    """Coefficients of the phase in turns, for frequencies in cycles per voxel, and the scale, ``(6,)``.

    Parameters
    ----------
    ctf
        Optics and defocus; None gives the function that is 1 everywhere.
    tilt
        0-based number of the tilt.
    voxel_size
        Å.
    """
    if ctf is None:
        return np.array([0, 0, 0, 0, 0.25, 1])
    phase = np.array(phase_coefficients(ctf, tilt)) / (2 * np.pi)
    phase[:3] /= voxel_size**2
    phase[3] /= voxel_size**4
    return np.append(phase, ctf.scale[tilt])


@compiled(inline=True)
def transfer(x: float, y: float, c: Any, form: int) -> np.float32:
    """Evaluate ``scale sin(chi)``, or what is made of it.

    ``c`` and ``form`` are those of :class:`fourierrecon.transfer.Transfer`, frequencies in the unit of ``c``.
    """
    squared = x * x + y * y
    turns = c[0] * x * x + c[1] * x * y + c[2] * y * y + c[3] * squared * squared + c[4]
    # sin(2 pi t) as an odd polynomial on |t| <= 1/4, to 1e-7; beyond it mirrors
    t = np.float32(turns - np.floor(turns + 0.5))
    t = np.float32(0.5) - t if t > np.float32(0.25) else (np.float32(-0.5) - t if t < np.float32(-0.25) else t)
    s = t * t
    p = np.float32(39.7106711) + s * np.float32(-12.5743952)
    p = np.float32(-76.7058533) + s * p
    p = np.float32(81.6052233) + s * p
    p = np.float32(-41.3417022) + s * p
    wave = t * (np.float32(6.28318531) + s * p)
    # the sign alone: everywhere, or up to the first peak
    if form == 1 or (form == 2 and abs(turns) < 0.25):
        wave = np.float32(-1) if wave < np.float32(0) else np.float32(1)
    return np.float32(c[5]) * wave


@compiled()
def damp_row(x: float, x_step: float, y: float, y_step: float, table: Any, per_cycle: float, values: Any) -> None:
    """Look up an envelope at the frequencies ``(x, y) + i (x_step, y_step)``, linear between its entries.

    See :meth:`fourierrecon.transfer.Transfer.envelopes`. A loop of its own, in single precision, is the fastest.
    """
    last = np.float32(table.shape[0] - 2)
    x_first, x_more = np.float32(x * per_cycle), np.float32(x_step * per_cycle)
    y_first, y_more = np.float32(y * per_cycle), np.float32(y_step * per_cycle)
    for i in range(values.shape[0]):
        at = np.float32(np.int32(i))
        across, along = x_first + x_more * at, y_first + y_more * at
        place = min(np.sqrt(across * across + along * along), last)
        entry = np.uint32(place)  # unsigned: no negative places to look after
        low = table[entry]
        values[i] = low + (place - np.float32(entry)) * (table[entry + np.uint32(1)] - low)
