"""Draws conventions.png: one chiral phantom, as the volumes of each program hold it.

Run with ``python docs/conventions_figure.py``. The phantom is a right-handed helix along z, with a ball at its lower
end and a bar along x at its upper one. It is projected, reconstructed, and written in each orientation. Each picture is
the array of the file as a viewer shows it: the fastest axis to the right, the next one up, and the depth as colour.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.geometry.axis_order import LIKE, Orientation
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.simulate import simulate

SIZE = (96, 96, 64)


def phantom() -> Gaussians:
    """Give the helix, the ball and the bar; centres are ``x, y, z`` in px."""
    turn = np.linspace(0, 1.9 * np.pi, 90)
    helix = np.stack([48 + 26 * np.cos(turn), 48 + 26 * np.sin(turn), 14 + 38 * turn / turn[-1]], axis=1)
    bar = np.stack([np.linspace(60, 84, 16), np.full(16, 84.0), np.full(16, 50.0)], axis=1)
    points = [Gaussians(helix, np.full(90, 2.0), np.ones(90)), Gaussians(bar, np.full(16, 2.0), np.ones(16))]
    return Gaussians.join([*points, Gaussians(helix[:1], np.array([4.5]), np.array([4.0]))])


def as_stored(series: TiltSeries, like: str) -> NDArray[np.float32]:
    """Reconstruct, and give the array that a file in this orientation holds, slowest axis first."""
    region = Region.of(series)
    volume = reconstruct(series, region, ctf=False).data
    orientation = Orientation.like(like, series)
    volume = volume[::-1] if orientation.flip_z else volume
    return volume.transpose(1, 0, 2) if orientation.swap else volume


def main() -> None:
    """Draw the orientations that there are into one picture."""
    series = simulate(phantom(), SIZE, tilt_axis_angle=0.0, tilt_angles=np.arange(-70.0, 71, 2), snr=None).series
    looks: dict[Orientation, list[str]] = {}
    for like in LIKE:
        looks.setdefault(Orientation.like(like, series), []).append(like)
    figure, axes = plt.subplots(1, len(looks), figsize=(3.3 * len(looks), 4.2), layout="constrained")
    colours = mpl.colormaps["turbo"]
    for panel, (orientation, names) in zip(axes, looks.items(), strict=True):
        data = -as_stored(series, names[0])  # dark is dense
        strength = np.clip((data - np.percentile(data, 90)) / np.percentile(data, 99.7) - 0.15, 0, 1)
        depth = np.argmax(strength, axis=0) / (len(data) - 1)
        picture = colours(0.08 + 0.84 * depth)[..., :3] * np.sqrt(strength.max(0))[..., None]
        panel.imshow(np.clip(picture, 0, 1), origin="lower", interpolation="bilinear")
        fast, middle, slow = orientation.axes
        panel.set(title="--like " + ", ".join(names), xlabel=f"{fast} (fastest)", ylabel=middle, xticks=[], yticks=[])
        panel.title.set_fontsize(10)
        panel.text(0.98, 0.02, f"colour: {slow}", transform=panel.transAxes, ha="right", color="w", fontsize=9)
    bar = figure.colorbar(mpl.cm.ScalarMappable(cmap=colours), ax=axes, ticks=[0, 1], shrink=0.7, label="slowest axis")
    bar.ax.set_yticklabels(["first", "last"])
    figure.savefig(Path(__file__).with_name("conventions.png"), dpi=100)


if __name__ == "__main__":
    main()
