"""Warp's grids of values over image, tilts and volume: read from XML, and interpolated.

Nodes are spread evenly over 0 to 1 along each axis, from the first to the last (with a margin, from the margin on),
and a natural cubic spline runs through them along each axis that has more than one (einspline, as in ``CubicGrid``).
Grids of the volume have a fourth axis, the exposure. Warp's own program interpolated those linearly in its first
versions; the spline is that of warpylib, the newest code of Warp's author. With two nodes along an axis both are the
same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.io.warp.xml import number
from fourierrecon.text import counted

#: Sizes of a grid, and places of its nodes, slowest first.
SIZES, PLACES = ("Duration", "Depth", "Height", "Width"), "WZYX"


@dataclass(frozen=True, eq=False)
class WarpGrid:
    """Values at the nodes of a grid.

    Parameters
    ----------
    values
        ``(duration, depth, height, width)``.
    margins
        Parts of each axis before its first node, in the same order.
    """

    values: NDArray[np.float64]
    margins: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    def at(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Interpolate.

        Parameters
        ----------
        places
            ``(n, 4)``: parts of the axes x, y, z and w, 0 to 1; beyond, the outermost pieces of the spline go on.

        Returns
        -------
        ``(n,)``.
        """
        result = self.values[None]
        for axis in range(4):
            place = places[:, 3 - axis]
            # the exposure, and the number of a tilt, are the same for all points
            place = place[:1] if len(place) and np.ptp(place) == 0 else place
            shares = _shares(place, self.values.shape[axis], self.margins[axis])
            n = max(len(shares), len(result))
            shares, result = (
                np.broadcast_to(shares, (n, shares.shape[1])),
                np.broadcast_to(result, (n, *result.shape[1:])),
            )
            result = np.einsum("na,na...->n...", shares, result)
        return np.array(np.broadcast_to(result, len(places)), np.float64)


def _shares(place: NDArray[np.float64], n: int, margin: float) -> NDArray[np.float64]:
    """Give what each node along an axis counts at some places, ``(n_places, n)``."""
    if n == 1:
        return np.ones((len(place), 1))
    # scipy is slow to import, and most grids have one node an image
    from scipy.interpolate import CubicSpline

    splines = CubicSpline(np.linspace(0, 1, n), np.eye(n), bc_type="natural")
    return np.asarray(splines(place * (1 - 2 * margin) + margin))


def read_grid(path: Path, root: ElementTree.Element, name: str) -> WarpGrid | None:
    """Read a grid; None if there is none of this name.

    Parameters
    ----------
    path
        File of the XML, for messages.
    root
        Its root.
    name
        Name of the element.

    Raises
    ------
    DataError
        If nodes are missing or no numbers.
    """
    grid = root.find(name)
    if grid is None:
        return None
    nodes = node_values(path, grid)
    try:
        shape = tuple(int(grid.get(size, "1")) for size in SIZES)
        places = [tuple(int(node.get(axis, "0")) for axis in PLACES) for node in grid.findall("Node")]
    except ValueError as error:
        raise DataError(f"{path}, <{name}>: sizes and places of nodes must be whole numbers; correct them") from error
    # as many nodes as places, each once
    inside = all(0 <= p < n for place in places for p, n in zip(place, shape, strict=True))
    if not inside or len(set(places)) != len(places) or len(places) != np.prod(shape):
        held = f"{counted(len(places), 'node')} {'does' if len(places) == 1 else 'do'}"
        size = " x ".join(str(n) for n in shape[:0:-1] + (shape[:1] if shape[0] > 1 else ()))
        raise DataError(f"{path}, <{name}>: {held} not fill its {size}; was the file cut?")
    values = np.empty(shape)
    for place, value in zip(places, nodes, strict=True):
        values[place] = value
    try:
        x, y, z, w = (number(grid.get(f"Margin{axis}", "0"), 0.499) for axis in "XYZW")
    except ValueError as error:
        raise DataError(f"{path}, <{name}>: margins must be numbers below 0.5; correct them") from error
    return WarpGrid(values, (w, z, y, x))


def node_values(path: Path, grid: ElementTree.Element) -> NDArray[np.float64]:
    """Give the values of the nodes of a grid, in the order of the file.

    Parameters
    ----------
    path
        File of the XML, for messages.
    grid
        Element of the grid.

    Raises
    ------
    DataError
        If one is no number.
    """
    values = []
    for i, node in enumerate(grid.findall("Node")):
        word = node.get("Value", "").strip()
        try:
            values.append(number(word))
        except ValueError as error:
            raise DataError(
                f"{path}, <{grid.tag}>, node {i + 1}: {word[:40]!r} must be a number; correct it"
            ) from error
    return np.array(values, float)
