"""Draws PNG files: sections of several volumes side by side, and the footprint of a tilt series."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fourierrecon.display.sections import PERCENTILES, greys, sections
from fourierrecon.errors import UsageError
from fourierrecon.geometry.region import Region
from fourierrecon.io.files import replacing
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    percentiles: tuple[float, float] = PERCENTILES,
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
        Place of the XZ and of the XY section, as a fraction of the height and of the depth.
    percentiles
        Percentiles of the grey values that become black and white.
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
        thick = max(1, round(slab / panel.volume.voxel_size))
        cut = sections(panel.volume, thick, (section_z, section_y, 0.5))
        for row, image in enumerate((cut.xy, cut.xz)):
            axis = axes[row, number]
            shown = -image if panel.invert else image
            black, white = greys(shown, percentiles)
            axis.imshow(shown, cmap="gray", vmin=black, vmax=white, interpolation="lanczos")
            axis.set(xticks=[], yticks=[])
            for spine in axis.spines.values():
                spine.set(linewidth=0.6, color="0.25")
        head, _, below = panel.title.partition("\n")
        top = axes[0, number]
        top.set_title(head, fontsize=11, fontweight="bold", pad=17 if two_lines else 6)
        top.text(0.5, 1.015, below, fontsize=8, color="0.3", ha="center", transform=top.transAxes)
    for row, label in enumerate(("XY", "XZ")):
        axes[row, 0].set_ylabel(label, fontsize=10, rotation=0, ha="right", va="center", labelpad=7)
    scale_bar(axes[0, 0], panels[0].volume.voxel_size, width)
    with replacing(path) as file:
        figure.savefig(file, dpi=dpi, format="png")


def footprint_png(path: str | os.PathLike[str], series: TiltSeries, region: Region, *, dpi: int = 110) -> None:
    """Draw what the images cover, and the region over it, into a PNG file.

    In XY, the plane through the middle of the region: the outline of each image laid into it along its beam. In XZ:
    the beams through the two ends of each image. Axes are unbinned pixels of the world.

    Parameters
    ----------
    path
        PNG file to be written, all of it or nothing.
    series, region
        The tilt series, and what is to be reconstructed of it.
    dpi
        Dots per inch; the picture is 6 inches wide.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    outlines, beams = _outlines(series, region.centre), _beams(series, region.centre)
    extent = region.binning * np.array(region.shape[::-1], float)
    least = outlines[int(np.argmin(np.ptp(outlines, axis=1).prod(1)))]
    # room for the region and the least tilted image; the others may leave the picture
    low = np.minimum(least.min(0), region.centre[:2] - extent[:2] / 2)
    high = np.maximum(least.max(0), region.centre[:2] + extent[:2] / 2)
    low, high = low - 0.12 * (high - low), high + 0.12 * (high - low)
    half = max(0.75 * extent[2], 0.15 * (high - low)[0])
    limits = (low[1], high[1]), (region.centre[2] - half, region.centre[2] + half)
    heights = [6 * (top - bottom) / (high - low)[0] for bottom, top in limits]
    figure = Figure((6.9, float(sum(heights)) + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 1, height_ratios=heights)
    angles = series.tilt_angles
    colours = ScalarMappable(Normalize(angles.min(), max(angles.max(), angles.min() + 1)), "viridis")
    for axis, lines, down, (bottom, top) in zip(axes, (outlines, beams), (1, 2), limits, strict=True):
        shades = colours.to_rgba(np.repeat(angles, len(lines) // len(angles)))
        axis.add_collection(LineCollection(list(lines), colors=shades, lw=0.7))
        x, y = region.centre[[0, down]] - extent[[0, down]] / 2
        axis.add_patch(Rectangle((x, y), extent[0], extent[down], fc=(0, 0, 0, 0.06), ec="black", lw=1.8))
        # y and z point down, as in the sections of a tomogram
        axis.set(xlim=(low[0], high[0]), ylim=(top, bottom), aspect="equal")
        axis.set(xlabel="x, px", ylabel=f"{'xyz'[down]}, px")
    depth, height, width = region.shape
    axes[0].set_title(f"{series.name}: {width} x {height} x {depth} voxels, binning {region.binning:g}", fontsize=10)
    figure.colorbar(colours, ax=list(axes), label="tilt, degrees", fraction=0.03)
    with replacing(path) as file:
        figure.savefig(file, dpi=dpi, format="png")


def _outlines(series: TiltSeries, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lay the images into the XY plane through a world point: ``(n_tilts, 5, 2)``, closed."""
    height, width = series.image_shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height], [0, 0]]) - 0.5
    into = series.projections[:, :2, :2].copy()
    # an image seen along the plane itself has no outline in it: its lines run out of the picture
    into[np.abs(np.linalg.det(into)) < 1e-3] += 1e-3 * np.eye(2)
    offset = series.projections[:, :2, 2] * centre[2] + series.projections[:, :2, 3]
    return np.linalg.solve(into[:, None], (corners - offset[:, None])[..., None])[..., 0]


def _beams(series: TiltSeries, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the lines in the XZ plane through a world point that end each image across: ``(2 n_tilts, 2, 2)``.

    The lines run along the beam as it looks in this plane, and far out of any picture.
    """
    rows = series.projections[:, :2]
    # the image axis that a step in this plane changes most
    across = np.argmax(np.hypot(rows[:, :, 0], rows[:, :, 2]), axis=1)
    row = np.take_along_axis(rows, across[:, None, None], axis=1)[:, 0]
    normal = row[:, [0, 2]]
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    last = np.array(series.image_shape[::-1])[across] - 0.5
    lines = np.empty((len(rows), 2, 2, 2))
    along = np.stack([-normal[:, 1], normal[:, 0]], 1) / length * 1e2 * max(series.image_shape)
    at_centre = row[:, :3] @ centre + row[:, 3]
    for end, pixel in enumerate((np.full(len(rows), -0.5), last)):
        foot = centre[[0, 2]] + normal / length**2 * (pixel - at_centre)[:, None]
        lines[:, end, 0], lines[:, end, 1] = foot - along, foot + along
    return lines.reshape(-1, 2, 2)


def scale_bar(axis: Axes, voxel_size: float, width: int) -> None:
    """Put a bar of a round length, about a fifth of the width, into the lower left corner of a section.

    Parameters
    ----------
    axis
        Axes that show the section.
    voxel_size
        Å.
    width
        Width of the section, voxels.
    """
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

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
