"""Pictures of tomograms: the XY and the XZ section of several volumes side by side, as one PNG file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import UsageError
from fourierrecon.volume import Volume

#: Lengths that a scale bar may have, nm.
BARS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@dataclass(frozen=True, eq=False)
class Panel:
    """One column of a picture.

    Parameters
    ----------
    title
        Above the column; a second line is set small.
    volume
        Dense is dark in cryo-EM: give a density that is positive where there is matter with ``invert``.
    invert
        Show the volume with its sign changed.
    """

    title: str
    volume: Volume
    invert: bool = False


def slices_png(
    path: str | os.PathLike[str],
    panels: Sequence[Panel],
    *,
    slab: float = 50.0,
    section_y: float = 0.5,
    section_z: float = 0.5,
    percentiles: tuple[float, float] = (0.3, 99.7),
    dpi: int = 160,
) -> None:
    """Draw XY and XZ sections through volumes side by side into a PNG file.

    Every section is the mean over a thin slab, and its greys span the same percentiles of its own
    values, so that volumes of different scale can be compared.

    Parameters
    ----------
    path
        PNG file to be written.
    panels
        One for each column, left to right.
    slab
        Thickness of the slabs, Å; at least one voxel.
    section_y, section_z
        Where the XZ and the XY section lie, as a fraction of the height and of the depth.
    percentiles
        Of the grey values that become black and white.
    dpi
        Dots per inch; a panel is 2.6 inches wide.
    """
    if not panels:
        raise UsageError("a picture needs at least one panel")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    depth, height, width = panels[0].volume.data.shape
    column = 2.6
    rows = np.array([height, depth], float) / width * column
    figure = Figure((column * len(panels) + 0.35, float(rows.sum()) + 0.5), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.015, hspace=0.015)  # type: ignore[union-attr,call-arg]
    FigureCanvasAgg(figure)
    two_lines = any("\n" in panel.title for panel in panels)
    axes = figure.subplots(2, len(panels), squeeze=False, height_ratios=list(rows))
    for number, panel in enumerate(panels):
        flat, upright = _sections(panel.volume, slab, section_y, section_z)
        for row, image in enumerate((flat, upright)):
            axis = axes[row, number]
            shown = -image if panel.invert else image
            black, white = np.percentile(shown, percentiles)
            axis.imshow(shown, cmap="gray", vmin=black, vmax=max(white, black + 1e-12), interpolation="lanczos")
            axis.set(xticks=[], yticks=[])
            for spine in axis.spines.values():
                spine.set(linewidth=0.6, color="0.25")
        head, _, below = panel.title.partition("\n")
        top = axes[0, number]
        top.set_title(head, fontsize=11, fontweight="bold", pad=17 if two_lines else 6)
        top.text(0.5, 1.015, below, fontsize=8, color="0.3", ha="center", transform=top.transAxes)
    for row, label in enumerate(("XY", "XZ")):
        axes[row, 0].set_ylabel(label, fontsize=10, rotation=0, ha="right", va="center", labelpad=7)
    _scale_bar(axes[0, 0], panels[0].volume.voxel_size, width)
    figure.savefig(path, dpi=dpi, format="png")


def _sections(
    volume: Volume, slab: float, section_y: float, section_z: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average the slabs in XY and in XZ."""
    data = volume.data
    thick = max(1, round(slab / volume.voxel_size))

    def cut(length: int, where: float) -> slice:
        n = min(thick, length)
        start = min(max(round(where * length - n / 2), 0), length - n)
        return slice(start, start + n)

    flat = data[cut(data.shape[0], section_z)].mean(axis=0, dtype=float)
    upright = data[:, cut(data.shape[1], section_y)].mean(axis=1, dtype=float)
    return np.asarray(flat), np.asarray(upright)


def _scale_bar(axis: object, voxel_size: float, width: int) -> None:
    """Put a bar of a round length, about a fifth of the width, into the lower left corner."""
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    assert isinstance(axis, Axes)
    field = width * voxel_size / 10
    length = max((bar for bar in BARS if bar <= 0.3 * field), default=BARS[0])
    fraction = length / field
    axis.add_patch(
        Rectangle(
            (0.05, 0.045),
            fraction,
            0.018,
            transform=axis.transAxes,
            facecolor="black",
            edgecolor="white",
            lw=0.8,
        )
    )
    text = axis.text(0.05 + fraction / 2, 0.075, f"{length} nm", fontsize=8, ha="center", transform=axis.transAxes)
    text.set_path_effects([withStroke(linewidth=2, foreground="white")])
