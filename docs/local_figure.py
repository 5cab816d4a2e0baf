"""Draws local.png: a displacement field as arrows, and beads without and with the local alignment.

Run with ``python docs/local_figure.py``. The specimen is gold beads; its images are made with a smooth field of 40 Å
rms at the corners, which depends on the depth as well.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from fourierrecon import Region, reconstruct
from fourierrecon.geometry.displacement import FieldOf
from fourierrecon.geometry.tiles import Tiling
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.simulate import simulate

SIZE, PIXEL = (256, 256, 64), 10.0
TILTS = np.arange(-60.0, 61.0, 3.0)
#: Displacement in px that the field has at the corners, rms over the tilts.
CORNER = 4.0


def field() -> FieldOf:
    """Give a field that is quadratic in x and y, linear in z, and smooth over the tilts."""
    course = np.stack([np.ones(len(TILTS)), TILTS / 60, (TILTS / 60) ** 2])
    terms = np.einsum("cmp,pn->ncm", np.random.default_rng(4).normal(size=(2, 7, 3)), course) * [
        1,
        1,
        1,
        1,
        1,
        0.3,
        0.3,
    ]
    half = np.array(SIZE) / 2

    def at(tilt: int, points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y, z = ((points - half) / half).T
        return np.asarray((terms[tilt] @ np.stack([x * x, x * y, y * y, x, y, z * x, z * y])).T)

    corners = np.array(np.meshgrid(*([0.0, n] for n in SIZE))).reshape(3, -1).T
    found = np.array([at(tilt, corners) for tilt in range(len(TILTS))])
    scale = CORNER / np.sqrt((found**2).sum(-1).mean())
    return FieldOf(lambda tilt, points: scale * at(tilt, points), "a smooth field")


def main() -> None:
    """Draw the picture."""
    rng = np.random.default_rng(0)
    centres = np.concatenate([rng.uniform(12, 244, (60, 2)), rng.uniform(26, 38, (60, 1))], 1)
    beads = Gaussians(centres, np.full(60, 2.2), np.ones(60))
    local = field()
    series = simulate(
        beads, SIZE, tilt_angles=TILTS, tilt_axis_angle=0.0, pixel_size=PIXEL, snr=0.5, local=local
    ).series
    tiling = Tiling.of(series, Region.of(series))
    print(tiling.words)
    figure, axes = plt.subplots(1, 3, figsize=(12.6, 4.6), layout="constrained")
    grid = np.stack(np.meshgrid(np.linspace(8, 248, 13), np.linspace(8, 248, 13)), -1).reshape(-1, 2)
    points = np.concatenate([grid, np.full((len(grid), 1), SIZE[2] / 2)], 1)
    for tilt, colour in ((0, "tab:orange"), (20, "0.2"), (40, "tab:blue")):
        u, v = local.at(tilt, points).T
        axes[0].quiver(*grid.T, u, v, color=colour, angles="xy", scale_units="xy", scale=0.25, width=0.004,
                       label=f"{TILTS[tilt]:+.0f}°")  # fmt: skip
    axes[0].set(title="the field in three tilts, arrows 4 times as long", aspect="equal", xlim=(0, 256), ylim=(0, 256))
    axes[0].legend(loc="upper right", framealpha=0.9)
    for panel, on, title in ((axes[1], False, "--local off"), (axes[2], True, "--local on (the default)")):
        volume = reconstruct(series, weighting="wiener:snr=30", ctf=False, local=on).data
        shown = volume[26:39].min(0)
        panel.imshow(shown, cmap="gray", origin="lower", vmin=float(volume.min()) * 0.75, vmax=float(np.median(shown)))
        panel.set(title=title)
    for number in tiling.tiles:
        axes[2].add_patch(plt.Rectangle(number.first[:2], *np.subtract(number.stop, number.first)[:2], fill=False,
                                        color="tab:blue", lw=0.7, alpha=0.7))  # fmt: skip
    for panel in axes:
        panel.set(xticks=[], yticks=[])
    figure.savefig(Path(__file__).parent / "local.png", dpi=95)


if __name__ == "__main__":
    main()
