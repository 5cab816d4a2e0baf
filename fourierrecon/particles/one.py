"""The boxes of one tomogram: all of them in its folder, or none.

They are made in a folder beside it, ``.NAME.begun``, which takes the name of the tomogram when the last box is there. A
run that was interrupted goes on in it. A file in the folder holds the key of what the boxes were made from.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.io.files import replacing
from fourierrecon.particles.boxes import BoxMaker
from fourierrecon.particles.extraction import Extraction
from fourierrecon.particles.files import files_of, folder_of, is_whole, write_particle
from fourierrecon.particles.places import holds, projected
from fourierrecon.runtime.memory import Workspace
from fourierrecon.runtime.threads import for_each
from fourierrecon.tilt_series import TiltSeries

#: File in the folder of a tomogram's boxes: what they were made from.
KEY = "made_from.txt"


class OtherBoxes(DataError):
    """Boxes that are there were made from something else, and stay."""


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """What became of the points of one tomogram.

    Parameters
    ----------
    made, kept, outside
        Boxes that were made; that were there already; and points whose box no image holds.
    """

    made: int
    kept: int
    outside: int


def seen_by(wanted: Extraction, series: TiltSeries, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which images hold the box of each point, ``(n_points, n_tilts)``; no image is read."""
    pixels = projected(series, points, local=wanted.settings.local)
    return holds(series, pixels, wanted.box * wanted.binning)


def extract_tomogram(wanted: Extraction, series: TiltSeries, points: NDArray[np.float64], key: str) -> Boxes:
    """Make the boxes of one tomogram that are missing.

    Parameters
    ----------
    wanted
        What is extracted.
    series
        Its tilt series.
    points
        World points, unbinned px, ``(n_points, 3)``.
    key
        Text that changes with the tilt series and the points.

    Raises
    ------
    UsageError
        If the images are too small for a box.
    OtherBoxes
        If boxes are there that were made from something else.
    DataError
        If an image cannot be used, or a file cannot be written.
    """
    if not wanted.box * wanted.binning < min(series.image_shape):
        height, width = series.image_shape
        raise UsageError(
            f"box={wanted.box} with binning={wanted.binning} takes {wanted.box * wanted.binning} pixels, but the "
            f"images have {width} x {height}; make it smaller"
        )
    inside = np.flatnonzero(seen_by(wanted, series, points).any(axis=1))
    if len(inside) == 0:
        return Boxes(made=0, kept=0, outside=len(points))
    place = folder_of(wanted, series.name)
    folder = place if place.is_dir() else _begun(place, key)
    if folder == place and _key_in(place) != key:
        raise OtherBoxes(
            f"{place} holds boxes of other images, another alignment or other points; they stay as they are: remove "
            f"that folder, or give another one (folder=...)"
        )
    size = series.pixel_size * wanted.binning
    files = {number: files_of(wanted, folder, series.name, int(number) + 1, size) for number in inside}
    missing = [number for number in inside if not is_whole(files[number])]
    if missing:
        settings = wanted.treatment
        maker = BoxMaker(series=series, box=wanted.box, binning=wanted.binning, window=wanted.window, settings=settings)
        if folder != place:
            # only now are the options known to make sense for this tilt series
            _begin(folder, key)

        def one(workspace: Workspace, i: int) -> None:
            write_particle(wanted, maker, points[missing[i]], files[missing[i]], workspace)

        for_each(
            len(missing), one, state=Workspace, n_threads=settings.threads, stage=series.name,
            progress=settings.progress,
        )  # fmt: skip
    if folder != place:
        _finish(folder, place)
    return Boxes(made=len(missing), kept=len(inside) - len(missing), outside=len(points) - len(inside))


def _key_in(folder: Path) -> str:
    try:
        return (folder / KEY).read_text().strip()
    except (OSError, UnicodeError):
        return ""


def _begun(place: Path, key: str) -> Path:
    """Give the folder in which boxes are made; one that was begun from something else is removed."""
    folder = place.with_name(f".{place.name}.begun")
    if folder.is_dir() and _key_in(folder) != key:
        shutil.rmtree(folder)
    return folder


def _begin(folder: Path, key: str) -> None:
    """Make the folder in which boxes are made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make {folder}: {error.strerror or error}; choose another folder") from error
    with replacing(folder / KEY) as file:
        file.write(f"{key}\n".encode())


def _finish(folder: Path, place: Path) -> None:
    """Give the folder its name; a process that was faster, as with one that was taken for dead, goes first."""
    try:
        folder.replace(place)
    except OSError as error:
        if not place.is_dir():
            raise DataError(f"cannot rename {folder} to {place}: {error.strerror or error}") from error
        shutil.rmtree(folder, ignore_errors=True)
