"""Picks of a set: which places of which tomogram, in the world of its tilt series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.coordinate_frames import Box, conversion, convert
from fourierrecon.geometry.region import Region
from fourierrecon.io.points import Points, read_points, usual_frame
from fourierrecon.tilt_series import TiltSeries

#: Columns that say how the axes of a subtomogram lie in the tomogram.
TURNED = ("rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi")


@dataclass(frozen=True, eq=False, kw_only=True)
class SetPicks:
    """Points of all tomograms of a set, in the frame of their file.

    Parameters
    ----------
    path
        The file.
    points
        Points as they were read.
    frame
        Frame of their coordinates; None: ``relion4`` for sets of RELION 4, otherwise it has to be given.
    binning
        Binning of the volume that was picked in, for frames that count binned voxels.
    rows
        0-based rows of the points of each tomogram, by its name, in the order of the file.
    """

    path: Path
    points: Points
    frame: str | None
    binning: float
    rows: Mapping[str, NDArray[np.int64]]

    @classmethod
    def read(cls, path: Path, names: Sequence[str], *, frame: str | None = None, binning: float = 1.0) -> SetPicks:
        """Read the points of a set.

        Parameters
        ----------
        path
            ``.star``, ``.csv``, ``.mod`` or copick's ``.json``.
        names
            Names of the tomograms that are wanted; others of the file are passed over.
        frame
            Frame of the coordinates. Default: :func:`fourierrecon.io.points.usual_frame`.
        binning
            Binning of the volume that was picked in.

        Raises
        ------
        DataError
            If the file cannot be used, or holds no points of these tomograms.
        UsageError
            If points do not name their tomogram where there are several.
        """
        frame = frame or usual_frame(path)
        points = read_points(path, centred=frame == "relion5")
        if len(points) == 0:
            raise DataError(f"{path}: there are no points in it")
        for label in TURNED:
            if any(float(value) != 0 for value in points.columns.get(label, ())):
                raise DataError(
                    f"{path}, column {label}: subtomograms that are turned in the tomogram are not made; add these "
                    f"angles to rlnAngleRot, rlnAngleTilt and rlnAnglePsi, and leave the column out"
                )
        found = points.tomograms
        if found is None:
            if len(names) > 1:
                raise UsageError(f"{path}: the points do not say which tomogram they lie in; choose one (name=...)")
            return cls(path=path, points=points, frame=frame, binning=binning, rows={names[0]: np.arange(len(points))})
        of = np.array([name.removesuffix(".tomostar") for name in found])
        rows = {name: np.flatnonzero(of == name) for name in names}
        rows = {name: chosen for name, chosen in rows.items() if len(chosen)}
        if not rows:
            held = ", ".join(dict.fromkeys(of[:1000]))[:200]
            raise DataError(f"{path}: no points of {', '.join(names[:5])}; it names {held}")
        return cls(path=path, points=points, frame=frame, binning=binning, rows=rows)

    def world(self, series: TiltSeries) -> NDArray[np.float64]:
        """Give the points of a tilt series in its world, unbinned px, ``(n_points, 3)``.

        Raises
        ------
        UsageError
            If the frame of the coordinates is not clear.
        """
        frame = self.frame or ("relion4" if is_relion4(series) else None)
        if frame is None:
            raise UsageError(
                f"{self.path}: rlnCoordinateX may count from 0 or 1, binned or not; say which: frame='relion4', "
                f"'relion5-px', 'warp' or 'volume'"
            )
        matrix = conversion(frame, "volume", Box.of(series), source_binning=self.binning)
        chosen = self.points.coordinates[self.rows[series.name]]
        return np.asarray(Region.of(series).origin) + convert(chosen, matrix)

    def columns(self, name: str) -> dict[str, list[Any]]:
        """Give other facts on the points of a tomogram, by their labels in the file."""
        rows = self.rows[name]
        return {label: [values[row] for row in rows] for label, values in self.points.columns.items()}


def is_relion4(series: TiltSeries) -> bool:
    """Tell whether a tilt series comes from a set of RELION 4, whose particles count pixels from 1."""
    return series.coordinate_frame.startswith("RELION 4")
