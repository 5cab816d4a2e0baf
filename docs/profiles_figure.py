"""Draws profiles/NAME.png and ctf_modes.png: what each profile and mode makes of the same noisy images.

Run with ``python docs/profiles_figure.py``.
"""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fourierrecon import Region, Settings, TiltSeries, profile, reconstruct
from fourierrecon.engine.signal_to_noise import with_snr
from fourierrecon.simulation.microscope import TILT_ANGLES, dose_symmetric_exposures, realistic_ctf
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import simulate
from fourierrecon.tomogram.profiles import PROFILES
from fourierrecon.tomogram.transfer_volume import transfer_function
from fourierrecon.weighting import from_text

HERE = Path(__file__).parent
SIZE = (168, 160, 72)
SIDE = 96
#: Profiles that differ from these only in what the set gives, or in their use.
SAME = ("segmentation", "relion5-fourier", "denoising")
MODES = ("wiener", "multiply", "phase-flip", "first-peak", "absolute", "none")
Data = NDArray[np.float32]


def save(figure: Any, path: Path) -> None:
    """Write a figure as a small file: a hundred colours do."""
    with BytesIO() as file:
        figure.savefig(file, dpi=70)
        Image.open(file).convert("RGB").quantize(100).save(path, optimize=True)
    plt.close(figure)


def draw_section(panel: Any, section: NDArray[np.floating[Any]], title: str = "") -> None:
    """Draw one section in grey, from its darkest to its brightest voxels."""
    black, white = np.percentile(section, (0.3, 99.7))
    panel.imshow(section, cmap="gray", vmin=black, vmax=white, interpolation="lanczos")
    panel.set(xticks=[], yticks=[])
    panel.set_title(title, fontsize=9)


def draw_curve(panel: Any, transfer: Data, voxel_size: float) -> None:
    """Draw the transfer function along kx, where the untilted image measures it."""
    middle = SIDE // 2
    q = np.arange(middle) / SIDE / voxel_size
    panel.axhline(0, color="0.7", lw=0.8)
    panel.plot(q, transfer[middle, middle, middle:], lw=1.4)
    panel.set_xlim(0, 0.45 / voxel_size)
    panel.set_xlabel("1/Å", fontsize=8)
    panel.tick_params(labelsize=7)


def draw_profile(name: str, series: TiltSeries, region: Region) -> None:
    """Draw sections, the transfer function across the tilt axis, and its curve."""
    options: dict[str, Any] = dict(profile(name))
    settings = Settings(**{k: v for k, v in options.items() if k != "weighting"})
    weighting = with_snr(options["weighting"], series, region.binning, correction=settings.correction)
    volume = reconstruct(series, region, **{**options, "weighting": weighting}).data
    transfer = transfer_function(series, region, weighting, settings, side=SIDE)
    figure, axes = plt.subplots(
        1, 4, figsize=(9, 2.3), layout="constrained", width_ratios=[SIZE[0], SIZE[0], SIZE[1], 190]
    )
    middle = SIZE[2] // 2
    draw_section(axes[0], volume[middle - 2 : middle + 3].mean(0), "XY")
    draw_section(axes[1], volume[:, 77:83].mean(1), "XZ")
    plane, edge = transfer[:, SIDE // 2 + 3], 0.5 / (series.pixel_size * region.binning)
    most = float(np.abs(plane).max())
    axes[2].imshow(plane, cmap="RdBu", vmin=-most, vmax=most, extent=(-edge, edge, edge, -edge))
    axes[2].set_title("transfer, $k_z$ up, $k_x$", fontsize=9)
    axes[2].set(xticks=[], yticks=[])
    draw_curve(axes[3], transfer, series.pixel_size * region.binning)
    axes[3].set_title("transfer along $k_x$", fontsize=9)
    save(figure, HERE / "profiles" / f"{name.partition(':')[0]}.png")


def draw_modes(series: TiltSeries, region: Region) -> None:
    """Draw a section and the transfer curve of each mode of the CTF, with the default weighting and SNR 100."""
    figure, axes = plt.subplots(
        2, len(MODES), figsize=(11, 3.6), layout="constrained", height_ratios=[SIZE[1], 90], sharey="row"
    )
    weighting, middle = from_text("wiener:snr=100"), SIZE[2] // 2
    for mode, column in zip(MODES, axes.T, strict=True):
        volume = reconstruct(series, region, weighting, ctf_mode=mode).data
        draw_section(column[0], volume[middle - 2 : middle + 3].mean(0), mode)
        draw_curve(
            column[1], transfer_function(series, region, weighting, Settings(ctf_mode=mode), side=SIDE),
            series.pixel_size * region.binning,
        )  # fmt: skip
    save(figure, HERE / "ctf_modes.png")


def main() -> None:
    """Make a noisy series of a simulated cell, and draw what each profile and mode makes of it."""
    optics = realistic_ctf(len(TILT_ANGLES), seed=7, defocus=50000.0)
    made = simulate(cell_like_specimen(SIZE, seed=7), SIZE, ctf=optics, snr=0.5, seed=7, tilt_axis_angle=0.0)
    series = replace(made.series, exposure=dose_symmetric_exposures(np.asarray(TILT_ANGLES), 3.0))
    region = Region.of(series)
    (HERE / "profiles").mkdir(exist_ok=True)
    for name in PROFILES:
        if name in SAME:
            continue
        draw_profile("imod-sirtlike:15" if name == "imod-sirtlike" else name, series, region)
    draw_modes(series, region)


if __name__ == "__main__":
    main()
