"""Draws weighting.png and snr.png: what each weighting, and each signal-to-noise ratio, makes of the same images.

Run with ``python docs/weighting_figure.py``.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from fourierrecon import Region, reconstruct
from fourierrecon.simulation.microscope import TILT_ANGLES, realistic_ctf
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import simulate
from fourierrecon.weighting import NoWeighting, PreWeight, Wiener

HERE = Path(__file__).parent
SIZE = (200, 208, 80)
Data = NDArray[np.float32]


def power_across_axis(data: Data) -> NDArray[np.float64]:
    """Give the power in the plane (kz, kx), the mean over a few planes near ky = 0, in decades below the strongest."""
    z, y, x = (np.hanning(n) for n in data.shape)
    spectrum = np.fft.fftn((data - data.mean()) * z[:, None, None] * y[:, None] * x)
    power = np.fft.fftshift((np.abs(spectrum[:, [-5, -4, -3, 3, 4, 5]]) ** 2).mean(1))
    return np.asarray(np.log10(power / power.max() + 1e-12))


def draw_sections(column: NDArray[np.object_], title: str, data: Data) -> None:
    """Draw the central XY and XZ sections, means over a few voxels, below each other."""
    panels: list[Axes] = list(column[:2])
    for panel, section in zip(panels, (data[37:43].mean(0), data[:, 100:106].mean(1)), strict=True):
        black, white = np.percentile(section, (0.3, 99.7))
        panel.imshow(section, cmap="gray", vmin=black, vmax=white, interpolation="lanczos")
        panel.set(xticks=[], yticks=[])
    panels[0].set_title(title)


def draw_weightings(volumes: dict[str, Data]) -> None:
    """Draw sections and power spectra of the truth and of each weighting."""
    figure, axes = plt.subplots(3, 4, figsize=(10, 6.5), layout="constrained", height_ratios=[208, 80, 200])
    for (title, data), column in zip(volumes.items(), axes.T, strict=True):
        draw_sections(column, title, data)
        box = (-0.5, 0.5, 0.5, -0.5)
        column[2].imshow(power_across_axis(data), cmap="magma", vmin=-5, vmax=0, extent=box)
        column[2].set(xlabel="$k_x$ (1/nm)", xticks=[-0.5, 0, 0.5], yticks=[])
    for axis, label in zip(axes[:, 0], ("XY", "XZ", "power: $k_z$ up"), strict=True):
        axis.set_ylabel(label)
    figure.savefig(HERE / "weighting.png", dpi=80)


def draw_ratios(volumes: dict[str, Data]) -> None:
    """Draw sections of the truth and of each signal-to-noise ratio."""
    figure, axes = plt.subplots(2, 4, figsize=(10, 4), layout="constrained", height_ratios=[208, 80])
    for (title, data), column in zip(volumes.items(), axes.T, strict=True):
        draw_sections(column, title, data)
    figure.savefig(HERE / "snr.png", dpi=80)


def main() -> None:
    """Reconstruct a noisy series of a simulated cell with all weightings and ratios, and draw both pictures."""
    optics = realistic_ctf(len(TILT_ANGLES), seed=7, defocus=50000.0)
    made = simulate(cell_like_specimen(SIZE, seed=7), SIZE, ctf=optics, snr=0.5, seed=7, tilt_axis_angle=0.0)
    region = Region.of(made.series)
    truth = made.truth_volume(region).data
    weightings = {w.name: reconstruct(made.series, region, w).data for w in (NoWeighting(), PreWeight(), Wiener())}
    draw_weightings({"the truth": truth, **weightings})
    ratios = {f"--SNR {snr:g}": reconstruct(made.series, region, Wiener(snr)).data for snr in (1.0, 100.0)}
    draw_ratios({"the truth": truth, **ratios, "--SNR auto": weightings["wiener"]})


if __name__ == "__main__":
    main()
