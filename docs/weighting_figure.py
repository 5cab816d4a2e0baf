"""Draws weighting.png: what each weighting makes of the same images, in real space and in Fourier space.

Run with ``python docs/weighting_figure.py``.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from fourierrecon import Region, reconstruct
from fourierrecon.simulation.microscope import TILT_ANGLES, realistic_ctf
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import simulate
from fourierrecon.weighting import NoWeighting, PreWeight, Wiener

SIZE = (200, 208, 80)


def power_across_axis(data: NDArray[np.float32]) -> NDArray[np.float64]:
    """Give the power in the plane (kz, kx), the mean over a few planes near ky = 0, in decades below the strongest."""
    z, y, x = (np.hanning(n) for n in data.shape)
    spectrum = np.fft.fftn((data - data.mean()) * z[:, None, None] * y[:, None] * x)
    power = np.fft.fftshift((np.abs(spectrum[:, [-5, -4, -3, 3, 4, 5]]) ** 2).mean(1))
    return np.asarray(np.log10(power / power.max() + 1e-12))


def main() -> None:
    """Draw the truth, and the three weightings, each with a section, one along the beam, and its power."""
    optics = realistic_ctf(len(TILT_ANGLES), seed=7, defocus=50000.0)
    made = simulate(cell_like_specimen(SIZE, seed=7), SIZE, ctf=optics, snr=0.5, seed=7, tilt_axis_angle=0.0)
    region = Region.of(made.series)
    volumes = {"the truth": made.truth_volume(region).data}
    for strategy in (NoWeighting(), PreWeight(snr=100), Wiener(snr=100)):
        volumes[strategy.name] = reconstruct(made.series, region, strategy).data
    figure, axes = plt.subplots(3, 4, figsize=(10, 6.5), layout="constrained", height_ratios=[208, 80, 200])
    for (title, data), column in zip(volumes.items(), axes.T, strict=True):
        for axis, section in zip(column, (data[37:43].mean(0), data[:, 100:106].mean(1)), strict=False):
            black, white = np.percentile(section, (0.3, 99.7))
            axis.imshow(section, cmap="gray", vmin=black, vmax=white, interpolation="lanczos")
            axis.set(xticks=[], yticks=[])
        column[0].set_title(title)
        box = (-0.5, 0.5, 0.5, -0.5)
        column[2].imshow(power_across_axis(data), cmap="magma", vmin=-5, vmax=0, extent=box)
        column[2].set(xlabel="$k_x$ (1/nm)", xticks=[-0.5, 0, 0.5], yticks=[])
    for axis, label in zip(axes[:, 0], ("XY", "XZ", "power: $k_z$ up"), strict=True):
        axis.set_ylabel(label)
    figure.savefig(Path(__file__).with_name("weighting.png"), dpi=80)


if __name__ == "__main__":
    main()
