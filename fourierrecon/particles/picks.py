"""Points of a whole set: read once, sorted by tomogram, and given in the world of a tilt series.

Whatever a file of points tells besides coordinates and tomogram, as angles and classes, is kept for the list of boxes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.coordinate_frames import Box, conversion, convert, coordinate_frame, turns
from fourierrecon.geometry.region import Region
from fourierrecon.io.points import ORIENTATIONS, Points, read_points, usual_frame
from fourierrecon.io.star.table import FRESH
from fourierrecon.tilt_series import TiltSeries

#: Columns that say how the axes of a subtomogram lie in the tomogram.
TURNED = ("rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi")
#: Columns of what is to be taken off coordinates: in Å, and in the unit of the coordinates.
ORIGINS = (
    ("rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst"),
    ("rlnOriginX", "rlnOriginY", "rlnOriginZ"),
)


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
    others
        Number of points in each tomogram that was not wanted.
    """

    path: Path
    points: Points
    frame: str | None
    binning: float
    rows: Mapping[str, NDArray[np.int64]]
    others: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, names: Sequence[str], *, frame: str | None = None, binning: float = 1.0) -> SetPicks:
        """Read the points of a set. A file that has not changed is read once, for whatever names.

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
        points, sorted_rows = _read(path, frame == "relion5", *_state(path))
        if sorted_rows is None:
            if len(names) > 1:
                raise UsageError(f"{path}: the points do not say which tomogram they lie in; choose one (name=...)")
            sorted_rows = {names[0]: np.arange(len(points))}
        rows = {name: sorted_rows[name] for name in names if name in sorted_rows}
        if not rows:
            held = ", ".join(sorted_rows)[:200]
            raise DataError(f"{path}: no points of {', '.join(names[:5])}; it names {held}")
        others = {name: len(found) for name, found in sorted_rows.items() if name not in rows}
        return cls(path=path, points=points, frame=frame, binning=binning, rows=rows, others=others)

    def world(self, series: TiltSeries, *, settle: bool = False) -> NDArray[np.float64]:
        """Give the points of a tilt series in its world, unbinned px, ``(n_points, 3)``.

        Parameters
        ----------
        series
            The tilt series.
        settle
            Take the origins of the particles (:data:`ORIGINS`), which a refinement found, off their coordinates. It is
            done anyway where the origins would be lost (:meth:`lost`).

        Raises
        ------
        UsageError
            If the frame of the coordinates is not clear.
        """
        frame = self._frame_of(series)
        matrix = conversion(frame, "volume", Box.of(series), source_binning=self.binning)
        chosen = self.points.coordinates[self.rows[series.name]]
        if settle or self.lost(series):
            chosen = chosen - self._origins(series, frame)
        return np.asarray(Region.of(series).origin) + convert(chosen, matrix)

    def lost(self, series: TiltSeries) -> list[str]:
        """Give the columns of orientations and origins that are told in other axes than those of the boxes."""
        turned = turns(conversion(self._frame_of(series), "volume", Box.of(series), source_binning=self.binning))
        return [label for label in ORIENTATIONS if turned and label in self.points.columns]

    def columns(self, series: TiltSeries) -> dict[str, list[Any]]:
        """Give other facts on the points of a tomogram, by their labels in the file, without those that are lost."""
        rows, lost = self.rows[series.name], self.lost(series)
        return {
            label: [values[row] for row in rows] for label, values in self.points.columns.items() if label not in lost
        }

    def _frame_of(self, series: TiltSeries) -> str:
        frame = self.frame or ("relion4" if is_relion4(series) else None)
        if frame is None:
            raise UsageError(
                f"{self.path}: rlnCoordinateX may count from 0 or 1, binned or not; say which: frame='relion4', "
                f"'relion5-px', 'warp' or 'volume'"
            )
        return frame

    def _origins(self, series: TiltSeries, frame: str) -> NDArray[np.float64]:
        """Give the origins of the particles in the unit of their coordinates, ``(n_points, 3)``."""
        found = next((labels for labels in ORIGINS if set(labels) <= set(self.points.columns)), None)
        rows = self.rows[series.name]
        if found is None:
            return np.zeros((len(rows), 3))
        try:
            origins = np.array([[float(self.points.columns[label][row]) for label in found] for row in rows])
        except ValueError as error:
            raise DataError(f"{self.path}, column {found[0]} and the next: {error}") from error
        kind = coordinate_frame(frame)
        if found == ORIGINS[1] or kind.unit == "Å":
            return origins
        return np.asarray(origins / (series.pixel_size * (self.binning if kind.binned else 1)))


def is_relion4(series: TiltSeries) -> bool:
    """Tell whether a tilt series comes from a set of RELION 4, whose particles count pixels from 1."""
    return series.coordinate_frame.startswith("RELION 4")


def _state(path: Path) -> tuple[int, ...]:
    """Give what changes when a file does; where it cannot be read, reading it tells why."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    # a file that is so young may change again without another time
    young = time.time() - found.st_mtime < FRESH
    return found.st_size, found.st_mtime_ns, time.monotonic_ns() if young else 0


@lru_cache(maxsize=2)
def _read(path: Path, centred: bool, *_state: int) -> tuple[Points, dict[str, NDArray[np.int64]] | None]:
    """Read points, and sort their rows by tomogram; None where the file tells no tomograms."""
    points = read_points(path, centred=centred)
    if len(points) == 0:
        raise DataError(f"{path}: there are no points in it")
    for label in TURNED:
        if not all(_is_zero(word) for word in points.columns.get(label, ())):
            raise DataError(
                f"{path}, column {label}: subtomograms that are turned in the tomogram are not made; add these "
                f"angles to rlnAngleRot, rlnAngleTilt and rlnAnglePsi, and leave the column out"
            )
    if points.tomograms is None:
        return points, None
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(points.tomograms):
        rows.setdefault(name.removesuffix(".tomostar"), []).append(row)
    return points, {name: np.array(found) for name, found in rows.items()}


def _is_zero(word: Any) -> bool:
    try:
        return float(word) == 0
    except ValueError:
        return False
