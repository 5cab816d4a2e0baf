"""Draws a comparison of two volumes: sections of both and of their difference, and the Fourier shell correlation."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import numpy as np

from fourierrecon.display.panels import scale_bar
from fourierrecon.display.sections import greys, sections
from fourierrecon.io.files import replacing
from fourierrecon.quality.comparison import Comparison
from fourierrecon.quality.fsc import HALF_MAPS, REFERENCE
from fourierrecon.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Inches: width of a column, height of the curve, room for titles, labels and gaps.
COLUMN, CURVE, HEAD, FOOT, LEFT, GAP = 3.2, 2.5, 0.35, 0.5, 0.65, 0.06


def comparison_png(
    path: str | os.PathLike[str], found: Comparison, names: tuple[str, str], thick: int = 3, *, dpi: int = 130
) -> None:
    """Draw XY and XZ sections of A, of B laid onto A, and of B - A, and below them the curve, into a PNG file.

    B is shown with the grey values of A; the difference has the same scale, with zero in the middle.

    Parameters
    ----------
    path
        PNG file to be written, all of it or nothing.
    found
        Result of :func:`fourierrecon.quality.comparison.compare_volumes`.
    names
        Names of A and B, for the titles.
    thick
        Thickness of the sections, voxels.
    dpi
        Dots per inch.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fits = math.isfinite(found.slope) and found.slope != 0
    matched = (found.b - np.float32(found.offset)) / np.float32(found.slope) if fits else found.b
    columns = (("A", found.a), ("B laid onto A", matched), ("B - A", matched - found.a))
    depth, height, width = found.a.shape
    scale = COLUMN / max(width, height)
    wide, high, deep = (max(n * scale, 0.15) for n in (width, height, depth))
    span = max(3 * wide + 2 * GAP, 6.0)
    size = (LEFT + span + 0.15, HEAD + high + GAP + deep + 0.3 + CURVE + FOOT)
    figure = Figure(size)
    FigureCanvasAgg(figure)

    def place(left: float, top: float, wide: float, high: float) -> Axes:
        return figure.add_axes((left / size[0], 1 - (top + high) / size[1], wide / size[0], high / size[1]))

    cuts = [sections(Volume(data, found.voxel_size, (0.0, 0.0, 0.0)), thick) for _, data in columns]
    limits = [greys(np.concatenate([c[row].ravel() for c in cuts[:2]])) for row in (0, 1)]
    for column, (title, _) in enumerate(columns):
        for row, (label, image, tall) in enumerate((("XY", cuts[column].xy, high), ("XZ", cuts[column].xz, deep))):
            axis = place(LEFT + column * (wide + GAP), HEAD + row * (high + GAP), wide, tall)
            black, white = limits[row]
            if column == 2:
                black, white = (black - white) / 2, (white - black) / 2
            axis.imshow(image, cmap="gray", vmin=black, vmax=white, interpolation="lanczos", aspect="auto")
            axis.set(xticks=[], yticks=[])
            for spine in axis.spines.values():
                spine.set(linewidth=0.5, color="0.25")
            if row == 0:
                name = f": {names[column]}" if column < 2 else ""
                axis.set_title(_fit(f"{title}{name}", int(wide * 12)), fontsize=8, fontweight="bold", loc="left", pad=4)
            if column == 0:
                axis.set_ylabel(label, fontsize=8, rotation=0, ha="right", va="center", labelpad=6)
            if row == column == 0 and max(found.voxel_sizes) > 0:
                scale_bar(axis, found.voxel_size, width)
    _curve(place(LEFT, HEAD + high + GAP + deep + 0.3, span, CURVE), found)
    with replacing(path) as file:
        figure.savefig(file, dpi=dpi, format="png", facecolor="white")


def _curve(axis: Axes, found: Comparison) -> None:
    """Draw the Fourier shell correlation, with both thresholds and where they are crossed."""
    curve = found.curve
    axis.plot(curve.frequency, curve.correlation, color="black", lw=1.3)
    for threshold, colour in ((REFERENCE, "tab:blue"), (HALF_MAPS, "tab:orange")):
        axis.axhline(threshold, color=colour, lw=0.7, ls="--")
        resolution = curve.resolution(threshold)
        if math.isfinite(resolution) and 1 / resolution < curve.limit:
            axis.plot(1 / resolution, threshold, "o", color=colour, ms=4)
        axis.annotate(
            f"{threshold:g}: {describe_resolution(found, threshold)}",
            (0.01, threshold),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            fontsize=7,
            color=colour,
        )
    axis.axhline(0, color="0.6", lw=0.6)
    lowest = float(np.nanmin(curve.correlation)) if np.isfinite(curve.correlation).any() else 0.0
    axis.set(xlim=(0, curve.limit), ylim=(min(-0.1, lowest - 0.05), 1.03))
    unit = "1/Å" if max(found.voxel_sizes) > 0 else "1/voxel"
    axis.set_xlabel(f"spatial frequency, {unit}", fontsize=8)
    axis.set_ylabel("Fourier shell correlation", fontsize=8)
    axis.tick_params(labelsize=7)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def describe_resolution(found: Comparison, threshold: float) -> str:
    """Describe in a few words how far two volumes agree.

    Parameters
    ----------
    found
        Result of :func:`fourierrecon.quality.comparison.compare_volumes`.
    threshold
        Threshold of the Fourier shell correlation.
    """
    resolution = found.curve.resolution(threshold)
    unit = "Å" if max(found.voxel_sizes) > 0 else "voxels"
    if math.isinf(resolution):
        return "nowhere"
    if 1 / resolution >= found.curve.limit * (1 - 1e-9):
        return f"to the limit of the voxels, {resolution:.4g} {unit}"
    return f"{resolution:.3g} {unit}"


def _fit(text: str, most: int) -> str:
    """Cut a title that is too long."""
    return text if len(text) <= max(most, 8) else f"{text[: max(most, 8) - 1]}…"
