"""Draws choosing.png: what binning and depth make of the images of one simulated cell.

Run with ``python docs/choosing_figure.py``.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.simulation.microscope import TILT_ANGLES, realistic_ctf
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import simulate

HERE = Path(__file__).parent
SIZE = (260, 240, 80)
#: Width of the slabs that are drawn, px.
SLAB = 8


def section(series: TiltSeries, *, binning: float = 2, depth: float = 80) -> NDArray[np.float32]:
    """Reconstruct, and cut the middle XZ section, a mean over 8 px."""
    data = reconstruct(series, Region.of(series, binning=binning, size=(None, None, depth))).data
    middle, half = data.shape[1] // 2, max(1, round(SLAB / binning / 2))
    return np.asarray(data[:, middle - half : middle + half].mean(1))


def main() -> None:
    """Reconstruct, and draw two rows."""
    optics = realistic_ctf(len(TILT_ANGLES), seed=7, defocus=50000.0)
    series = simulate(cell_like_specimen(SIZE, seed=7), SIZE, ctf=optics, snr=0.3, seed=7, tilt_axis_angle=5.0).series
    pictures = {f"--bin {b}": section(series, binning=b) for b in (1, 2, 4)}
    pictures |= {f"--d {d}, --bin 2": section(series, depth=d) for d in (40, 80, 160)}
    figure, axes = plt.subplots(2, 3, figsize=(10, 4.2), layout="constrained", height_ratios=[80, 160])
    for axis, (title, data) in zip(axes.flat, pictures.items(), strict=True):
        black, white = np.percentile(data, (0.3, 99.7))
        axis.imshow(data, cmap="gray", vmin=black, vmax=white, interpolation="nearest")
        axis.set(title=title, xticks=[], yticks=[])
    figure.savefig(HERE / "choosing.png", dpi=80)


if __name__ == "__main__":
    main()
