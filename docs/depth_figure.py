"""Draws depth_slices.png and depth_effect.png: the two parabolas, and what they are good for.

Run with ``python docs/depth_figure.py``; it prints the figures of the page on depth as well.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from fourierrecon import CtfParameters, Region, TiltSeries, reconstruct
from fourierrecon.ctf import electron_wavelength
from fourierrecon.geometry.ctf_depth import phase_error
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.simulation.depth import project_with_ctf
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.microscope import apply_ctf, ctf_margin

HERE = Path(__file__).parent
TILTS = np.arange(-60.0, 61, 3)
#: Thickness of the specimen, Å; width of the region over it, and voxels along the tilt axis.
THICKNESS, WIDTH, ALONG = 3000, 1.1, 40
SHELLS = 24
Curve = NDArray[np.float64]


def draw_slices() -> None:
    """Draw the slices of three tilts in the plane across the tilt axis, flat and curved, much exaggerated."""
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.3), layout="constrained")
    q = np.linspace(-1, 1, 201)
    for degrees, colour in ((-50, "C0"), (0, "C2"), (50, "C1")):
        angle = np.radians(degrees)
        along, beam = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        flat = q[:, None] * along
        axes[0].plot(*flat.T, color=colour, label=f"tilt {degrees}°")
        for side, style in ((-1, "-"), (1, "--")):
            axes[1].plot(*(flat + side * 0.16 * (q**2)[:, None] * beam).T, style, color=colour)
        axes[1].plot(*flat.T, color=colour, alpha=0.25)
        axes[1].annotate("", 0.35 * beam, (0, 0), arrowprops={"arrowstyle": "->", "color": colour})
    axes[1].text(0.1, 0.4, "beams $n$")
    axes[0].set_title("One CTF an image: samples lie on flat slices")
    axes[1].set_title("CTF at each depth: $k - \\delta n$ (solid), $k + \\delta n$ (dashed)")
    axes[0].legend(loc="upper center", ncols=3, frameon=False)
    for panel in axes:
        panel.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal", xticks=[], yticks=[])
        panel.set(xlabel="$k_x$, across the tilt axis", ylabel="$k_z$")
    figure.savefig(HERE / "depth_slices.png", dpi=80)


def phantom(pixel_size: float, *, by_depth: bool) -> tuple[TiltSeries, Region, Gaussians]:
    """Image a slab full of Gaussians, 300 nm thick, exactly; with one CTF for each image for comparison."""
    depth = round(THICKNESS / pixel_size)
    size = round(WIDTH * depth), ALONG, depth
    rng = np.random.default_rng(0)
    box = np.array(size)
    margin = np.array([0.25 * size[0], 0.5 * ALONG, 0])
    n = round(box.prod() / 2000)
    specimen = Gaussians(rng.uniform(-margin, box + margin, (n, 3)), rng.uniform(0.55, 0.9, n), rng.normal(size=n))
    n_tilts, shape = len(TILTS), (ALONG + 32, size[0] + 32)
    ctf = CtfParameters.of(
        n_tilts, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.07,
        defocus_u=30150 + rng.normal(0, 400, n_tilts), defocus_v=29850, defocus_angle=38,
    )  # fmt: skip
    centre = (size[0] / 2, ALONG / 2, depth / 2)
    matrices = projection_matrices(shape, centre, TILTS, shifts=rng.normal(0, 2, (n_tilts, 2)))
    around = ctf_margin(ctf, pixel_size)
    if by_depth:
        images = project_with_ctf(specimen, matrices, shape, ctf, pixel_size, hand=-1, margin=around)
    else:
        wide = matrices.copy()
        wide[:, :2, 3] += around
        images = apply_ctf(
            specimen.project(wide, (shape[0] + 2 * around, shape[1] + 2 * around)), ctf, pixel_size, around
        )
    series = TiltSeries(
        images, matrices, pixel_size, ctf=ctf, hand=-1, size=(float(size[0]), float(ALONG), float(depth)),
        rotation_centre=centre,
    )  # fmt: skip
    return series, Region((0.0, 0.0, 0.0), (depth, ALONG, size[0])), specimen


def correlation(volume: NDArray[np.float32], truth: NDArray[np.float32], series: TiltSeries, bend: float) -> Curve:
    """Fourier shell correlation at the points that were measured: half of one over the depth from a slice.

    ``bend`` is the distance of the slices from flat ones over the square of the frequency, voxels.
    """
    depth, along, width = volume.shape
    taper = [np.clip(np.minimum(np.arange(n), np.arange(n)[::-1]) / 12, 0, 1) for n in (along, width)]
    window = (np.sin(np.pi / 2 * taper[0]) ** 2)[:, None] * np.sin(np.pi / 2 * taper[1]) ** 2
    one, two = (scipy.fft.rfftn(data * window.astype(np.float32), workers=2) for data in (volume, truth))
    kz, kx = np.fft.fftfreq(depth)[:, None], np.fft.rfftfreq(width)
    sums = np.zeros((3, SHELLS + 1))
    for i, ky in enumerate(np.fft.fftfreq(along)):
        squared = kx**2 + ky**2 + kz**2
        near = np.zeros(squared.shape, bool)
        for row in series.projections[:, 2, :3]:
            apart = kx * row[0] + ky * row[1] + kz * row[2]
            for side in (-1, 1):
                near |= np.abs(apart + side * bend * squared) * depth < 0.5 * abs(row[2])
        shell = np.minimum((np.sqrt(squared) * 2 * SHELLS).astype(int), SHELLS)[near]
        a, b = one[:, i][near], two[:, i][near]
        for total, values in zip(sums, ((a * b.conj()).real, np.abs(a) ** 2, np.abs(b) ** 2), strict=True):
            total += np.bincount(shell, values, SHELLS + 1)
    return np.asarray((sums[0] / np.sqrt(sums[1] * sums[2]))[:SHELLS])


def reach(curve: Curve, pixel_size: float) -> float:
    """Give the resolution where a curve falls below 0.5, Å."""
    q = (np.arange(SHELLS) + 0.5) / (2 * SHELLS)
    below = np.flatnonzero(curve[2:] < 0.5) + 2
    if len(below) == 0:
        return 2 * pixel_size
    i = below[0]
    return float(pixel_size / (q[i - 1] + (q[i] - q[i - 1]) * (curve[i - 1] - 0.5) / (curve[i - 1] - curve[i])))


def draw_effect() -> None:
    """Draw the correlation with the truth, and print where it falls below 0.5."""
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 3.8), layout="constrained", sharey=True)
    for panel, pixel_size in zip(axes, (5.0, 2.5), strict=True):
        series, region, specimen = phantom(pixel_size, by_depth=True)
        truth = specimen.density(region)
        ideal, _, _ = phantom(pixel_size, by_depth=False)
        bend = electron_wavelength(300) / 2 / pixel_size
        bound = phase_error(series, region)
        print(f"{pixel_size:g} Å: phase error of one CTF for each image up to {bound:.2g} rad")
        for label, images, how, bent, style in (
            ("one CTF in images and filter", ideal, "off", 0.0, "k:"),
            ("CTF at each depth", series, "on", bend, "C2-"),
            ("one CTF for each image", series, "off", 0.0, "C1-"),
            ("the wrong hand", replace(series, hand=1), "on", bend, "C3--"),
        ):
            volume = reconstruct(images, region, "wiener:snr=100", ctf_depth=how).data
            curve = correlation(volume, truth, series, bent)
            q = (np.arange(SHELLS) + 0.5) / (2 * SHELLS * pixel_size)
            panel.plot(q, curve, style, label=label)
            print(f"   {label}: 0.5 at {reach(curve, pixel_size):.2f} Å")
        panel.axhline(0.5, color="0.8", zorder=0)
        panel.set(title=f"300 nm thick, {pixel_size:g} Å/px", xlabel="spatial frequency (1/Å)", ylim=(-0.2, 1))
    axes[0].set_ylabel("correlation with the truth")
    axes[0].legend(frameon=False, loc="lower left")
    figure.savefig(HERE / "depth_effect.png", dpi=80)


if __name__ == "__main__":
    draw_slices()
    draw_effect()
