"""Finds the section of an mdoc that belongs to an image of a tilt series: by names of files, else by the tilt angles.

An mdoc may list its images in the order of acquisition beside a stack that is sorted by angle; it may list images that
the alignment leaves out, or that never came into the stack. The angles of an alignment may differ from those of the
microscope by a common offset (that of the specimen), and by what was refined tilt by tilt.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from fourierrecon.errors import DataError
from fourierrecon.io.serialem.mdoc import Mdoc, stem_of
from fourierrecon.text import counted
from fourierrecon.tilt_series import ImagesInFiles, TiltSeries

#: Largest difference of tilt angles from the mdoc's, beyond a common offset, degrees.
STRAY = 2.0
#: Common offset that is as likely as tilt angles of which the signs were turned, degrees.
TURNED = 20.0
#: Angles of two images that are nearer than this are those of one tilt, taken twice, degrees.
TWICE = 0.3


def match_sections(series: TiltSeries, notes: Mdoc) -> NDArray[np.intp]:
    """Give the place in the mdoc of each image of a series, ``(n_tilts,)``.

    Images that are files of their own are found by the names of their frames, without endings. Else the sections are
    those of the whole stack, or of the images that are used: in the order of ``ZValue``, or sorted by angle. Else each
    image has the section with the angle next to its own, which must be the same angle.

    Parameters
    ----------
    series
        Tilt series from any reader; ``excluded`` says which images of its source it lacks.
    notes
        The mdoc.

    Raises
    ------
    DataError
        If the images of the mdoc are not those of the series, or it does not tell which is which.
    """
    named = _by_name(series, notes)
    if named is not None:
        return named
    where = f"{notes.path} and {series.source or series.name}"
    ways = list(_whole(series, notes))
    angles = np.array([image.tilt_angle for image in notes.images])
    fits = [_fit(sign * series.tilt_angles - angles[way], sign) for way in ways for sign in (1, -1)]
    taken = min(range(len(fits)), key=lambda i: (fits[i][0] > STRAY, fits[i][1]), default=None)
    if taken is not None and fits[taken][0] <= STRAY:
        way, sign = ways[taken // 2], (1, -1)[taken % 2]
        if sign == -1:
            warnings.warn(f"{where}: the tilt angles have opposite signs", stacklevel=4)
        elif fits[1][0] <= STRAY:
            _doubt(notes, way, ways[0], where)
        return way
    nearest = _nearest(series, notes, where)
    if nearest is not None:
        return nearest
    if len(notes.images) < series.n_tilts:
        raise DataError(
            f"{where}: {counted(len(notes.images), 'section')} for {counted(series.n_tilts, 'image')}, and their file "
            "names do not tell which is which; give the .mdoc of these images"
        )
    worst = f"stray by {min(fits)[0]:.3g} degrees, {STRAY:g} allowed" if fits else "differ"
    raise DataError(
        f"{where}: {counted(len(notes.images), 'section')} for {counted(series.n_tilts, 'image')}, and the tilt angles "
        f"{worst}; is the .mdoc of another series? Give that of these images"
    )


def _whole(series: TiltSeries, notes: Mdoc) -> Iterator[NDArray[np.intp]]:
    """Give the ways in which all sections have an image, or one that is excluded: by ``ZValue``, then by angle."""
    n, out = len(notes.images), [number - 1 for number in series.excluded]
    if n == series.n_tilts:
        out = []
    elif n != series.n_tilts + len(out) or max(out, default=0) >= n:
        return
    angles = np.array([image.tilt_angle for image in notes.images])
    yield np.delete(np.argsort([image.z for image in notes.images]), out)
    steps = np.diff(series.tilt_angles)
    if out and not ((steps > -TWICE).all() or (steps < TWICE).all()):
        return  # the stack is not sorted, so its excluded images are not numbered by angle
    order = np.argsort(-angles if steps.sum() < 0 else angles, kind="stable")
    kept = np.delete(order, out)
    yield kept[np.argsort(angles[kept], kind="stable")][np.argsort(np.argsort(series.tilt_angles, kind="stable"))]


def _fit(differences: NDArray[np.float64], sign: int) -> tuple[float, float]:
    """Give by how much angles differ beyond a common offset, and what that offset is, degrees.

    Signs that were turned are less likely than a small offset.
    """
    return float(np.ptp(differences)), float(np.round(np.abs(np.median(differences)), 1)) + TURNED * (sign < 0)


def _by_name(series: TiltSeries, notes: Mdoc) -> NDArray[np.intp] | None:
    """Find images that are files of their own."""
    stacks = series.images.stacks if isinstance(series.images, ImagesInFiles) else ()
    if len(stacks) != series.n_tilts:
        return None
    places = {stem_of(image.file_name): i for i, image in enumerate(notes.images) if image.file_name}
    found = [places.get(stem_of(stack.path.name)) for stack in stacks]
    if None in found or len(set(found)) < len(found):
        return None
    return np.array(found, np.intp)


def _nearest(series: TiltSeries, notes: Mdoc, where: str) -> NDArray[np.intp] | None:
    """Find the section with the same angle for each image; of two the later one, which was taken for the other."""
    angles = np.array([image.tilt_angle for image in notes.images])
    if len(angles) < series.n_tilts:
        return None
    apart = np.abs(series.tilt_angles[:, None] - angles)
    found = linear_sum_assignment(apart)[1]
    distinct = np.unique(angles)
    steps = np.diff(distinct)[np.diff(distinct) > TWICE]
    # nearer to the angle of its own than to the next one
    allowed = min(STRAY, float(steps.min()) / 2) if len(steps) else STRAY
    if not (apart[np.arange(len(found)), found] < allowed).all():
        return None
    turn = [image.z if image.order is None else image.order for image in notes.images]
    for i, section in enumerate(found):
        twins = [j for j in np.flatnonzero(np.abs(angles - angles[section]) < TWICE) if j not in found]
        if twins:
            found[i] = max([section, *twins], key=lambda j: turn[j])
            numbers = ", ".join(str(notes.images[j].z) for j in sorted([section, *twins]))
            warnings.warn(
                f"{where}: sections {numbers} (ZValue) are of one tilt; {notes.images[found[i]].z}, the last, counts",
                stacklevel=5,
            )
    return np.asarray(found, np.intp)


def _doubt(notes: Mdoc, taken: NDArray[np.intp], by_place: NDArray[np.intp], where: str) -> None:
    """Say that the images could also be matched by place, with angles of the other sign, and other exposures."""
    exposure = notes.exposure_before
    if exposure is not None and not np.allclose(exposure[taken], exposure[by_place]):
        warnings.warn(
            f"{where}: matched by tilt angle; in the order of the sections the angles fit with the other sign. If the "
            f"alignment has turned their signs, the exposures are wrong",
            stacklevel=5,
        )
