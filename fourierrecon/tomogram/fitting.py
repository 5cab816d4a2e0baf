"""Fits the tomogram to its specimen: turned level, moved to the middle, and as deep as the specimen is thick."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fourierrecon.errors import UsageError
from fourierrecon.geometry.corrections import AlignmentCorrections, levelling
from fourierrecon.geometry.region import Length, Region, centre_voxel
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.tomogram.specimen import Specimen, find_specimen

Triple = tuple[float, float, float]
Size = tuple[Length, Length, Length]


@dataclass(frozen=True, kw_only=True)
class FitRequest:
    """What is to be fitted to the specimen.

    Parameters
    ----------
    level
        Turn the specimen level, and move it to the middle of the tomogram.
    depth
        Make the tomogram as deep as the specimen is thick.
    slab
        The specimen's slab is needed, for statistics within it.
    """

    level: bool = False
    depth: bool = False
    slab: bool = False

    def __bool__(self) -> bool:
        return self.level or self.depth or self.slab


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a tomogram was fitted to its specimen; all of it can be written as JSON and read back.

    Parameters
    ----------
    level
        Turns and shift of the specimen, after all corrections of the user.
    corner, size
        Part ``(x, y, z)`` of the world then that is the tomogram, px; None: as it was.
    specimen
        The slab in the world of the fitted tilt series; None: not looked for.
    """

    level: AlignmentCorrections = field(default_factory=AlignmentCorrections)
    corner: Triple | None = None
    size: Triple | None = None
    specimen: Specimen | None = None

    def apply(self, series: TiltSeries, reference: TiltSeries | None = None) -> TiltSeries:
        """Give the fitted tilt series: its default region is the tomogram.

        Parameters
        ----------
        series
            The tilt series.
        reference
            The same with only the images that the fit was made from, if these are fewer.
        """
        series = self.level.apply(series, reference)
        if self.corner is None or self.size is None:
            return series
        return _as_tomogram(series, self.corner, self.size)

    @property
    def words(self) -> str:
        """One line for people; empty if nothing was measured."""
        if self.specimen is None:
            return ""
        if str(self.level) and not self.specimen.problem:
            parts = [f"{self.specimen.thickness / 10:.0f} nm thick", f"turned level by {self.level}"]
        else:
            parts = [self.specimen.words]
        if self.size is not None:
            parts.append(f"tomogram {self.size[2]:g} px deep")
        return "; ".join(parts)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Fit:
        """Read what ``dataclasses.asdict`` made of a fit, through JSON."""
        specimen = record["specimen"]
        if specimen is not None:
            thickness = specimen["thickness"]
            specimen = Specimen(
                thickness=math.nan if thickness is None else float(thickness), normal=_triple(specimen["normal"]),
                point=_triple(specimen["point"]), problem=str(specimen["problem"]),
            )  # fmt: skip
        corner, size = (None if record[key] is None else _triple(record[key]) for key in ("corner", "size"))
        return cls(level=AlignmentCorrections(**record["level"]), corner=corner, size=size, specimen=specimen)


def fit(
    series: TiltSeries,
    wanted: FitRequest,
    size: Size = (None, None, None),
    *,
    n_threads: int | None = None,
    memory: int | None = None,
) -> Fit:
    """Measure the specimen, and fit the tomogram to it; where it is not found, with a warning, nothing is changed.

    Parameters
    ----------
    series
        With all corrections of the user, and only the images that are used.
    wanted
        What to fit.
    size
        Size of the region that is asked for; for the depth of the tomogram where only the level is fitted.
    n_threads, memory
        As for :class:`~fourierrecon.engine.settings.Settings`.

    Raises
    ------
    DataError
        If an image cannot be used.
    """
    if not wanted:
        return Fit()
    found = find_specimen(series, n_threads=n_threads, memory=memory)
    if found.problem:
        lost = [
            text
            for text, asked in (
                ("it is not turned level", wanted.level),
                ("300 nm is taken for an unknown depth", wanted.depth),
                ("statistics are those of the whole tomogram", wanted.slab and not (wanted.level or wanted.depth)),
            )
            if asked
        ]
        warnings.warn(
            f"the specimen of {series.name} was not found ({found.problem}): {', '.join(lost)}"
            + "; give level and depth by hand (tilt_angle=..., x_tilt=..., depth=...)" * (wanted.level or wanted.depth),
            stacklevel=2,
        )
        return Fit(specimen=found)
    level = levelling(series, np.array(found.normal)) if wanted.level else AlignmentCorrections()
    if wanted.level:
        level = AlignmentCorrections(tilt_angle=round(level.tilt_angle, 2), x_tilt=round(level.x_tilt, 2))
        there = _moved(found, level, series)
        if not wanted.depth:
            region = Region.of(level.apply(series), size=(None, None, size[2]))
            middle = region.origin[2] + (region.shape[0] - 1) / 2
            level = replace(level, z_shift=round(there.point[2] - middle, 1))
    specimen, levelled = _moved(found, level, series), level.apply(series)
    if not wanted.depth:
        return Fit(level=level, specimen=specimen)
    whole = Region.of(levelled)
    width, height, _ = whole.size or tuple(float(n) for n in whole.shape[::-1])
    nx, ny, nz = specimen.normal
    # the box holds the slab, also where it stays tilted
    deep = specimen.thickness / series.pixel_size / nz + abs(nx / nz) * width + abs(ny / nz) * height
    if wanted.level:
        deep = specimen.thickness / series.pixel_size
    deep = float(2 * round(deep / 2))
    x, y, _ = whole.origin
    px, py, pz = specimen.point
    # the middle of the slab where x and y are those of the tomogram's middle
    across = np.array([x + width / 2 - px, y + height / 2 - py])
    middle = pz - float(across @ [nx, ny]) / nz
    corner = (x, y, round(middle - (deep - 1) / 2))
    tomogram = _as_tomogram(levelled, corner, (width, height, deep))
    first = Region.of(tomogram).origin
    placed = replace(specimen, point=(px - x + first[0], py - y + first[1], pz - corner[2] + first[2]))
    return Fit(level=level, corner=corner, size=(width, height, deep), specimen=placed)


def check_depth(size: Size, origin: tuple[float | None, float | None, float | None]) -> bool:
    """Tell whether the depth is to be that of the specimen.

    Raises
    ------
    UsageError
        If the place along z is given as well.
    """
    if size[2] == "auto" and origin[2] is not None:
        raise UsageError('depth="auto" puts the tomogram where the specimen is; leave origin=... along z out')
    return size[2] == "auto"


def _triple(values: list[float]) -> Triple:
    x, y, z = map(float, values)
    return x, y, z


def _moved(specimen: Specimen, level: AlignmentCorrections, series: TiltSeries) -> Specimen:
    """Give the specimen in the world after a turn."""
    motion = level.motion(series)
    nx, ny, nz = motion[:3, :3].T @ np.array(specimen.normal)
    x, y, z = np.linalg.solve(motion, np.append(specimen.point, 1.0))[:3]
    return replace(specimen, normal=(float(nx), float(ny), float(nz)), point=(float(x), float(y), float(z)))


def _as_tomogram(series: TiltSeries, corner: Triple, size: Triple) -> TiltSeries:
    """Make a part of the world the tomogram of a tilt series: its first voxel gets the frame's first coordinates."""
    first = (series.world_origin,) * 3
    move = np.eye(4)
    move[:3, 3] = np.asarray(corner) - first

    def moved(point: Triple | None) -> Triple | None:
        if point is None:
            return None
        x, y, z = (float(p - c + f) for p, c, f in zip(point, corner, first, strict=True))
        return x, y, z

    centre = series.rotation_centre
    if centre is not None:
        halves = centre_voxel(size, z_reversed=series.z_reversed)
        x, y, z = (h + f for h, f in zip(halves, first, strict=True))
        centre = (x, y, z)
    return replace(
        series, projections=series.projections @ move, size=size, rotation_centre=centre, middle=None,
        pivot=moved(series.pivot), coordinate_frame=f"{series.coordinate_frame}; cut to the specimen",
    )  # fmt: skip
