"""Checks before a reconstruction: how much of the region each image sees, and values that look like mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.geometry.region import Region, footprint
from fourierrecon.geometry.sound_images import list_images
from fourierrecon.io.shared_images import shared_images
from fourierrecon.tilt_series import ImagesInFiles, TiltSeries
from fourierrecon.tilt_series.exposures import problem_of
from fourierrecon.tomogram.checks_ctf import ctf_warnings

#: Largest number of points along x, y and z of the region that are projected into the images.
POINTS = (40, 40, 24)
#: Lengths that differ by less than this part count as equal.
SAME = 0.03
#: Images whose sides differ by less than this part count as square: width and height cannot be told apart.
SQUARE = 0.06
#: Parts of the region that may lie outside all images, and that fewer than half of the images may see, without a
#: warning. Where the tilt axis lies some degrees off an image axis, no image sees the corners of the region.
UNSEEN, POORLY_SEEN = 0.06, 0.25
#: An image lies beside the region if it sees less than this part of what the best image sees.
BESIDE = 0.1
#: Largest tilt in radians, and the number of tilts from which on their range can be judged.
RADIANS, MANY = 2.1, 10
#: Tilts that no stage reaches with a flat specimen, degrees; and beyond which angles are written from 0 to 360.
STEEP, HALF_TURN = 80.0, 180.0
#: Range of pixel sizes of micrographs, Å.
PIXELS = (0.1, 200.0)


def visibility(series: TiltSeries, region: Region) -> NDArray[np.bool_]:
    """Find out which images see which parts of a region.

    Parameters
    ----------
    series, region
        Tilt series, and the voxels that are to be reconstructed.

    Returns
    -------
    sees
        ``(n_tilts, n_points)``: whether each point projects into the image. The points are spread evenly over the
        region; of a small region they are all voxels.
    """

    def along(axis: int) -> NDArray[np.float64]:
        n = float(region.shape[2 - axis])
        k = int(min(n, POINTS[axis]))
        index = (np.arange(k, dtype=np.float64) + 0.5) * (n / k) - 0.5
        return np.asarray(region.origin[axis] + region.binning * index)

    points = np.stack(np.meshgrid(along(0), along(1), along(2)), -1).reshape(-1, 3)
    last = np.array(series.image_shape[::-1]) - 0.5
    sees = np.empty((series.n_tilts, len(points)), np.bool_)
    for tilt, matrix in enumerate(series.projections):
        at = points @ matrix[:2, :3].T + matrix[:2, 3]
        sees[tilt] = ((at >= -0.5) & (at <= last)).all(1)
    return sees


def warnings_of(
    series: TiltSeries, region: Region, sees: NDArray[np.bool_] | None = None, *, ctf: bool = True
) -> list[str]:
    """List what looks like a mistake in a set or in the size and place of a region.

    Parameters
    ----------
    series, region
        As for :func:`fourierrecon.reconstruction.reconstruct`.
    sees
        Result of :func:`visibility`, if it was computed before.
    ctf
        Whether the CTF is corrected; otherwise it is not checked.

    Returns
    -------
    list of str
        One line for each finding, with its remedy.
    """
    sees = visibility(series, region) if sees is None else sees
    found = _size(series, region), _place(series, sees), _angles(series), _pixel_sizes(series), _exposure(series)
    return [line for lines in found for line in lines] + (ctf_warnings(series) if ctf else [])


def shared_warnings(source: Path, series: TiltSeries) -> list[str]:
    """Warn if another tomogram of the set names images of this one.

    Parameters
    ----------
    source
        Set that names the tilt series.
    series
        Tilt series.

    Returns
    -------
    list of str
        One line, or none.

    Raises
    ------
    DataError, UsageError
        If the set cannot be read.
    """
    found = shared_images(source)
    return [f"{series.name} {found[series.name]}"] if series.name in found else []


def _size(series: TiltSeries, region: Region) -> Iterator[str]:
    """Find a width and height that fit the images once they are swapped, or taken in another unit."""
    pixel, binning = series.pixel_size, region.binning
    size = binning * np.array([float(region.shape[2]), float(region.shape[1])])
    images = np.array(footprint(series)[1][:2])
    given, right = f"{size[0]:g} x {size[1]:g}", f"{images[0]:g} x {images[1]:g}"
    remedy = f'give width={images[0]:g} and height={images[1]:g}, or width="auto" and height="auto"'

    def fits(found: NDArray[np.float64], unit: float = 1.0) -> bool:
        # half a voxel on each side: the size was rounded to whole voxels
        return bool((np.abs(found * unit - images) <= SAME * images + binning * unit / 2).all())

    if fits(size):
        return
    if fits(size[::-1]) and np.ptp(images) > SQUARE * images.max():
        yield f"the region is {given} px (w x h), the images cover {right}: width and height look swapped; {remedy}"
    elif abs(pixel - 1) > SAME and fits(size, 1 / pixel):
        yield (
            f"the region is {given} px (w x h), which are the {right} px of the images in Å (at {pixel:g} Å); "
            f"sizes are in unbinned pixels: {remedy}"
        )
    elif binning > 1 + SAME and fits(size, binning):
        yield (
            f"the region is {given} px (w x h), which are the {right} px of the images over the binning {binning:g}; "
            f"sizes are in unbinned pixels: {remedy}"
        )


def _place(series: TiltSeries, sees: NDArray[np.bool_]) -> Iterator[str]:
    """Find a region that all images, or some of them, do not show."""
    count = sees.sum(0)
    unseen, poorly = float((count == 0).mean()), float((2 * count < len(sees)).mean())
    if unseen == 1:
        yield "the region lies outside of all images; check origin=... and size=... against `fourierrecon info`"
    elif unseen > UNSEEN or poorly > POORLY_SEEN:
        # parts that round to nothing are not worth a word
        found = [
            f"{who} {100 * part:.0f} % of the region"
            for who, part in (("no image sees", unseen), ("fewer than half of the images see", poorly))
            if part >= 0.005
        ]
        yield f"{' and '.join(found)}; check origin=... and size=..."
    parts = sees.mean(1)
    beside = np.flatnonzero(parts <= BESIDE * parts.max())
    if 0 < len(beside) < len(parts):
        yield (
            f"the region lies beside {list_images(series, beside)}, which show{'s' * (len(beside) == 1)} almost "
            f"nothing of it: are their shifts right? Correct them, or take such images out of the set"
        )


def _angles(series: TiltSeries) -> Iterator[str]:
    """Find tilt angles that are all the same, too steep, in radians, or of one sign."""
    angles = series.tilt_angles
    low, high = float(angles.min()), float(angles.max())
    if len(angles) > 1 and high - low < 0.01:
        yield (
            f"all {len(angles)} tilts are {low:.2f}°: a tomogram needs different ones; correct rlnTomoYTilt, or the "
            f"alignment's tilt angles"
        )
        return
    if high > HALF_TURN or low < -HALF_TURN:
        yield (
            f"tilts from {low:.1f}° to {high:.1f}° go round: write those above 180° as negative angles (350° as -10°)"
        )
        return
    # where the sign of z changes, the beam of some images comes from the other side of the specimen
    beams = np.cross(series.projections[:, 0, :3], series.projections[:, 1, :3])
    over = max(-low, high) > 90 or bool(np.ptp(np.sign(beams[:, 2])) > 1)
    if over or max(-low, high) > STEEP:
        yield (
            f"tilts from {low:.1f}° to {high:.1f}°, some beyond {90 if over else STEEP:g}°: stages end at 60° to 70°; "
            f"is an offset wrong (tilt_angle=...), or another column taken for the angles?"
        )
        return
    if len(angles) < MANY:
        return
    if 0.2 < max(-low, high) < RADIANS:
        yield (
            f"{len(angles)} tilts from {low:.2f}° to {high:.2f}° look like radians; "
            f"correct rlnTomoYTilt, or the projection matrices, to degrees"
        )
    elif high - low > 20 and (low >= 0 or high <= 0):
        yield (
            f"all {len(angles)} tilts lie on one side, {low:.1f}° to {high:.1f}°: is half of the series missing, or a "
            f"sign lost? Compare them with the microscope's list"
        )


def _pixel_sizes(series: TiltSeries) -> Iterator[str]:
    """Find an impossible pixel size, or one that the headers of the images contradict (0 and 1 Å: unknown)."""
    if not PIXELS[0] <= series.pixel_size <= PIXELS[1]:
        yield (
            f"no micrograph has {series.pixel_size:g} Å a pixel: is it in another unit? Correct "
            f"rlnTomoTiltSeriesPixelSize, or pixel_size=..."
        )
        return
    for stack in series.images.stacks if isinstance(series.images, ImagesInFiles) else ():
        if stack.pixel_size not in (0.0, 1.0) and abs(stack.pixel_size / series.pixel_size - 1) > 0.01:
            star = series.source.endswith(".star")
            said = f"the set says {series.pixel_size:g} Å a pixel" if star else f"{series.pixel_size:g} Å a pixel taken"
            remedy = "correct rlnTomoTiltSeriesPixelSize" if star else "correct pixel_size=..."
            yield f"{said}, the header of {stack.path} {stack.pixel_size:.4g} Å; if the header is right, {remedy}"
            return


def _exposure(series: TiltSeries) -> Iterator[str]:
    """Find exposures that no microscope gives."""
    problem = "" if series.exposure is None else problem_of(series.exposure)
    if problem:
        yield f"exposures look wrong: {problem}; correct rlnMicrographPreExposure, the exposure before each image"
