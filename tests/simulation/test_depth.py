"""Simulated images with the CTF of its own depth at every point, against the formula of each point."""

from __future__ import annotations

import numpy as np
import pytest

from fourierrecon import CtfParameters
from fourierrecon.ctf import electron_wavelength, phase_coefficients
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.simulation.depth import project_with_ctf
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.microscope import ctf_margin
from fourierrecon.simulation.simulate import simulate

PIXEL, SIDE = 2.5, 48


@pytest.mark.parametrize("hand", [1, -1])
def test_every_point_has_the_ctf_of_its_depth(hand: int) -> None:
    ctf = CtfParameters.of(
        2, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.07, defocus_u=[3000, 4000],
        defocus_v=[3300, 4300], defocus_angle=20,
    )  # fmt: skip
    matrices = projection_matrices((SIDE, SIDE), (24, 24, 100), [20.0, 60.0], 85, 2.0)
    rng = np.random.default_rng(0)
    centres = np.column_stack([rng.uniform(16, 32, (4, 2)), rng.uniform(60, 140, 4)])
    specimen = Gaussians(centres, rng.uniform(1.2, 2, 4), rng.normal(size=4))
    margin = ctf_margin(ctf, PIXEL)
    found = project_with_ctf(specimen, matrices, (SIDE, SIDE), ctf, PIXEL, hand=hand, margin=margin)
    n = SIDE + 2 * margin + 40
    q = np.fft.fftfreq(n)
    qx, qy = np.meshgrid(q, q)
    in_pixels, wavelength = qx**2 + qy**2, electron_wavelength(300)
    squared = in_pixels / PIXEL**2
    for tilt, matrix in enumerate(matrices):
        xx, xy, yy, quartic, constant = phase_coefficients(ctf, tilt)
        chi = (xx * qx * qx + xy * qx * qy + yy * qy * qy) / PIXEL**2 + quartic * squared**2 + constant
        total = np.zeros((n, n), complex)
        for centre, sigma, weight in zip(specimen.centres, specimen.sigmas, specimen.weights, strict=True):
            u, v, depth = matrix[:3] @ np.append(centre, 1)
            size = weight * (2 * np.pi) ** 1.5 * sigma**3 * np.exp(-2 * (np.pi * sigma) ** 2 * in_pixels)
            # a Gaussian is as deep as it is wide
            blur = np.exp(-2 * (np.pi * sigma * PIXEL * wavelength * squared / 2) ** 2)
            wave = np.sin(chi + np.pi * wavelength * squared * hand * depth * PIXEL)
            total += size * blur * wave * np.exp(-2j * np.pi * (qx * u + qy * v))
        exact = np.fft.ifft2(total).real[:SIDE, :SIDE]
        assert np.linalg.norm(found[tilt] - exact) < 2e-4 * np.linalg.norm(exact)


def test_a_simulation_tells_its_hand() -> None:
    specimen = Gaussians(np.array([[16.0, 16, 8]]), np.array([2.0]), np.array([1.0]))
    ctf = CtfParameters.of(3, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.07, defocus_u=3000)
    made = [
        simulate(specimen, (32, 32, 16), tilt_angles=(-50, 0, 50), ctf=ctf, pixel_size=4, snr=None, ctf_depth=depth)
        for depth in (True, False)
    ]
    assert made[0].series.hand == -1
    assert made[1].series.hand is None
    difference = np.abs(np.asarray(made[0].series.images) - np.asarray(made[1].series.images)).max()
    assert 0 < difference < 0.2 * np.ptp(np.asarray(made[1].series.images))
