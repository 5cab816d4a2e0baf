"""Draws what each image of a tilt series gives to the tomogram."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise

from fourierrecon.io.files import replacing
from fourierrecon.quality.leave_one_out import TiltGain


def tilt_gains_png(path: str | os.PathLike[str], name: str, rows: Sequence[TiltGain], *, dpi: int = 110) -> None:
    """Draw signal and gain of the images over their tilt angles into a PNG file.

    Parameters
    ----------
    path
        PNG file to be written, all of it or nothing.
    name
        Name of the tilt series.
    rows
        From :func:`fourierrecon.quality.leave_one_out.tilt_gains`.
    dpi
        Dots per inch; the picture is 7 inches wide.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = sorted(rows, key=lambda row: row.tilt_angle)
    angles = [row.tilt_angle for row in rows]
    width = 0.8 * min((b - a for a, b in pairwise(angles) if b > a), default=1.0)
    colours = ["#c02634" if row.hurts else "#1f5fbf" for row in rows]
    figure = Figure((7, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 1, sharex=True)
    for axis, label, values in zip(
        axes, ("signal", "gain in FSC"), ([row.signal for row in rows], [row.gain for row in rows]), strict=True
    ):
        axis.bar(angles, values, width, color=colours)
        axis.axhline(0, color="0.4", lw=0.8)
        axis.set_ylabel(label)
        axis.spines[["top", "right"]].set_visible(False)
    for row in rows:
        if row.hurts:
            axes[0].annotate(str(row.number), (row.tilt_angle, max(row.signal, 0)), ha="center", va="bottom")
    axes[0].set_title(f"{name}: signal of each image, of what the others predict", fontsize=10)
    axes[1].set_xlabel("tilt, degrees")
    with replacing(path) as file:
        figure.savefig(file, dpi=dpi, format="png")
