"""Finds where the specimen lies in the world of a tilt series, from small reconstructions of every other tilt each.

This is the exact measurement: what fits a tomogram to its specimen rests on it. It reads all images and takes some
seconds. :mod:`fourierrecon.quality.specimen_slab` needs only a finished volume, of any program.

The images are read once and cropped in Fourier space to pixels of about 30 Å. A deep region is reconstructed first;
then the slab that is found there is turned level and looked at again, closer, until it stays where it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine.fourier_crop import fourier_crop
from fourierrecon.engine.preprocess import load_image
from fourierrecon.engine.storage import TooLittleMemory
from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.corrections import levelling, tilt_axis
from fourierrecon.geometry.region import ASSUMED_DEPTH, Region
from fourierrecon.quality.slab_of_halves import slab_of_halves
from fourierrecon.quality.specimen_slab import SpecimenSlab
from fourierrecon.reconstruction import reconstruct
from fourierrecon.runtime.threads import available_cores, for_each
from fourierrecon.text import counted, is_or_are
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.weighting import PreWeight

#: Voxels of the small reconstructions, Å; shorter where the field is small: so many along its shorter side at least.
VOXEL, LEAST_SIDE = 30.0, 40
#: Depth of the first reconstruction, Å, and what is added for each Å of the field, so that tilts to 15° have room.
DEEP, TILTED = 1.5 * ASSUMED_DEPTH, 0.45
#: Depth of the closer ones, in thicknesses, and what is added, Å.
CLOSER, ROOM = 2.0, 1000.0
#: Most looks, and the turn below which no other look is taken, degrees.
LOOKS, STILL = 4, 0.15
#: Every so manieth row and column is looked at for the images that see a voxel.
EVERY = 4
#: The filter of the first look is that of a slab of this thickness, Å.
LIKELY = 1500.0


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """The specimen's slab in the world of a tilt series.

    Parameters
    ----------
    thickness
        Perpendicular to its surfaces, Å; NaN where they were not found.
    normal
        Direction ``(x, y, z)`` perpendicular to its surfaces, z above 0.
    point
        World coordinates ``(x, y, z)`` of a point in its middle, px.
    problem
        Why it was not found; empty if it was.
    """

    thickness: float = math.nan
    normal: tuple[float, float, float] = (0.0, 0.0, 1.0)
    point: tuple[float, float, float] = (0.0, 0.0, 0.0)
    problem: str = ""

    @property
    def words(self) -> str:
        """One line for people."""
        if self.problem:
            return f"not found: {self.problem}"
        x, y, z = self.normal
        tilts = f"{math.degrees(math.atan2(-y, z)):.1f}° about x, {math.degrees(math.atan2(x, z)):.1f}° about y"
        return f"{self.thickness / 10:.0f} nm thick, tilted by {tilts}"

    def slab_in(self, region: Region, pixel_size: float) -> SpecimenSlab | None:
        """Give the slab as it lies in a region of the same world, without a profile; None if it was not found.

        Parameters
        ----------
        region
            The region.
        pixel_size
            Of the images, Å.
        """
        if self.problem:
            return None
        nx, ny, nz = self.normal
        sides = np.array(region.shape[::-1])
        x, y, z = np.asarray(region.origin) + region.binning * (sides - 1) / 2 - self.point
        return SpecimenSlab(
            thickness=self.thickness, centre=float(-(x * nx + y * ny) / nz - z) * pixel_size,
            tilt_x=math.degrees(math.atan2(-ny, nz)), tilt_y=math.degrees(math.atan2(nx, nz)), contrast=math.nan,
            z=np.empty(0), profile=np.empty(0),
        )  # fmt: skip


def find_specimen(series: TiltSeries, *, n_threads: int | None = None, memory: int | None = None) -> Specimen:
    """Find the specimen's slab: its thickness, its tilt and its place.

    Parameters
    ----------
    series
        Tilt series; all images are read once. The CTF does not matter at this size of voxels.
    n_threads, memory
        As for :class:`~fourierrecon.engine.settings.Settings`.

    Raises
    ------
    DataError
        If an image cannot be used, or the memory does not suffice.
    """
    if series.n_tilts < 8:
        return Specimen(problem=f"{counted(series.n_tilts, 'tilt')} {is_or_are(series.n_tilts)} too few")
    small = _binned(series, n_threads)
    turn = np.eye(4)  # from the world of this look to that of the small series
    region = _deep_region(small)
    likely, found = LIKELY, Specimen()
    for _ in range(LOOKS):
        try:
            slab = _look(small, region, likely, n_threads, memory)
        except UsageError as error:
            return Specimen(problem=str(error))
        except TooLittleMemory as error:
            # larger voxels of the tomogram, as the error proposes, do not make this look smaller
            raise DataError(
                f"to measure the specimen, {str(error).partition(';')[0]}; allow more (memory=...), or leave out what "
                f'needs it: level="auto", depth="auto", normalise=True'
            ) from error
        if not slab.found:
            return replace(found, problem="" if found.thickness > 0 else slab.problem)
        slopes = -math.tan(math.radians(slab.tilt_y)), math.tan(math.radians(slab.tilt_x))
        middle = np.asarray(region.origin) + region.binning * (np.array(region.shape[::-1]) - 1) / 2
        middle[2] += slab.centre / small.pixel_size
        normal = np.array([-slopes[0], -slopes[1], 1.0])
        x, y, z = (turn @ np.append(middle, 1))[:3] * small.pixel_size / series.pixel_size
        nx, ny, nz = turn[:3, :3] @ (normal / np.linalg.norm(normal))
        likely = slab.thickness
        found = Specimen(thickness=likely, normal=(float(nx), float(ny), float(nz)), point=(x, y, z))
        if max(abs(slab.tilt_x), abs(slab.tilt_y)) < STILL:
            break
        level = levelling(small, normal)
        step = level.motion(small)
        small, turn = level.apply(small), turn @ step
        there = np.linalg.solve(step, np.append(middle, 1))[:3]
        region = _around(small, there, (CLOSER * likely + ROOM) / small.pixel_size)
    return found


def _binned(series: TiltSeries, n_threads: int | None) -> TiltSeries:
    """Give the series with images of about 30 Å a pixel in memory, cropped in Fourier space."""
    height, width = series.image_shape
    finest = min(VOXEL, min(height, width) * series.pixel_size / LEAST_SIDE)
    binning = max(1.0, finest / series.pixel_size)
    rows, columns = (max(2, round(n / binning / 2) * 2) if binning > 1 else n for n in (height, width))
    images = np.empty((series.n_tilts, rows, columns), np.float32)

    def crop(_: None, tilt: int) -> None:
        image = load_image(series, tilt)
        if binning == 1:
            images[tilt] = image
            return
        images[tilt] = fourier_crop(image - image.mean(), (rows, columns))

    for_each(series.n_tilts, crop, state=lambda: None, n_threads=n_threads or available_cores())
    scale = np.diag([columns / width, rows / height, 1 / binning, 1.0])
    projections = scale @ series.projections @ np.diag([binning, binning, binning, 1.0])

    def shorter(point: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
        return None if point is None else (point[0] / binning, point[1] / binning, point[2] / binning)

    return TiltSeries(
        images, projections, series.pixel_size * binning, series.name, tilt_angles=series.tilt_angles,
        size=shorter(series.size), rotation_centre=shorter(series.rotation_centre), middle=shorter(series.middle),
        pivot=shorter(series.pivot), world_origin=series.world_origin / binning, z_reversed=series.z_reversed,
        source=series.source,
    )  # fmt: skip


def _deep_region(small: TiltSeries) -> Region:
    """Give the region of the first look: all of the field, and deep."""
    whole = Region.of(small)
    depth, height, width = whole.shape
    middle = np.asarray(whole.origin) + (np.array([width, height, depth]) - 1) / 2
    deep = DEEP / small.pixel_size + TILTED * max(height, width)
    return _around(small, middle, max(deep, depth))


def _around(small: TiltSeries, middle: NDArray[np.float64], depth: float) -> Region:
    """Give the region of all of the field, so deep, about a middle in z."""
    whole = Region.of(small)
    _, height, width = whole.shape
    deep = round(depth)
    return Region((*whole.origin[:2], float(middle[2]) - (deep - 1) / 2), (deep, height, width))


def _look(small: TiltSeries, region: Region, likely: float, n_threads: int | None, memory: int | None) -> SpecimenSlab:
    """Reconstruct the halves of every other tilt, and find the slab in them."""
    order = np.argsort(small.tilt_angles, kind="stable")
    even, odd = (
        reconstruct(
            small.select(sorted(int(i) for i in order[part::2])), region, PreWeight(snr=10.0), ctf=False,
            exposure="none", n_threads=n_threads, memory=memory,
        ).data
        for part in (0, 1)
    )  # fmt: skip
    x, y, _ = tilt_axis(small)
    step = float(np.median(np.diff(np.sort(small.tilt_angles))))
    return slab_of_halves(
        even, odd, _seen(small, region), small.pixel_size * region.binning, axis=(float(x), float(y)),
        step=math.radians(step), thickness=likely,
    )  # fmt: skip


def _seen(small: TiltSeries, region: Region) -> NDArray[np.float32]:
    """Count the part of the images that sees voxels, in some rows and columns."""
    depth, height, width = region.shape
    z, y, x = (
        first + region.binning * np.arange(n, dtype=float)[::step]
        for first, n, step in zip(region.origin[::-1], (depth, height, width), (1, EVERY, EVERY), strict=True)
    )
    points = np.stack(np.meshgrid(z, y, x, indexing="ij")[::-1], -1)
    seen = np.zeros(points.shape[:3], np.float32)
    last = np.array(small.image_shape[::-1]) - 1
    for matrix in small.projections:
        at = points @ matrix[:2, :3].T + matrix[:2, 3]
        seen += ((at >= 0) & (at <= last)).all(-1)
    seen /= np.float32(small.n_tilts)
    return seen
