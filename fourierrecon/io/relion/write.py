"""Writes RELION 4 and RELION 5 tomogram sets, with or without the image stacks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fourierrecon.errors import UsageError
from fourierrecon.io.relion.deformation_write import fill_deformations
from fourierrecon.io.relion.entries import Entry, relion4_entry, relion5_entry
from fourierrecon.io.stacks.write import write_stack
from fourierrecon.io.star.table import TITLE, write_tables
from fourierrecon.tilt_series import ImageStack, TiltSeries


def write_relion4_set(
    folder: str | os.PathLike[str],
    series: TiltSeries,
    *,
    stack_name: str | None = None,
    hand: int = -1,
    size: tuple[float, float, float] | None = None,
    even: ImageStack | None = None,
    odd: ImageStack | None = None,
    file_name: str = "tomograms.star",
    write_images: bool = True,
    dtype: DTypeLike = np.float32,
) -> Path:
    """Write a tilt series as a RELION 4 set: projection matrices of a 1-based world, as IMOD's.

    Parameters
    ----------
    folder
        Made if need be; the paths in the files are relative to it.
    series
        Tilt series in any coordinate frame; voxel 0 of its default region comes to world point (1, 1, 1).
    stack_name
        Name of the image stack; default: ``NAME.mrcs``. The halves go to ``..._even`` and ``..._odd``.
    hand
        ``rlnTomoHand``, for RELION; not used here.
    size
        ``(width, height, depth)`` of the tomogram, bin-1 px; default: that of the series, else its footprint.
    even, odd
        Half images, ``(n_tilts, height, width)`` each.
    file_name
        Name of the set; ``optimisation_set.star`` goes with it if it is ``tomograms.star``.
    write_images
        Whether to write the stacks too, or only name them.
    dtype
        Type of the pixels (see :func:`fourierrecon.io.write_stack`).

    Returns
    -------
    Path
        The set's STAR file.

    Raises
    ------
    DataError
        If a file cannot be written.
    UsageError
        If the name of the tomogram cannot stand in a STAR file.
    """
    stacks = _stacks(folder, series, stack_name, {"Even": even, "Odd": odd}, write_images, dtype)
    names = {half: _in_stack(name, series.n_tilts) for half, name in stacks.items() if half}
    return write_entries(folder, [relion4_entry(series, stacks[""], names, hand=hand, size=size)], file_name)


def write_relion5_set(
    folder: str | os.PathLike[str],
    series: TiltSeries,
    tilt_angles: ArrayLike | None = None,
    tilt_axis_angle: ArrayLike | None = None,
    x_tilt: ArrayLike | None = None,
    shifts: ArrayLike | None = None,
    *,
    stack_name: str | None = None,
    hand: int = -1,
    size: tuple[float, float, float] | None = None,
    even: ImageStack | None = None,
    odd: ImageStack | None = None,
    file_name: str = "tomograms.star",
    write_images: bool = True,
    dtype: DTypeLike = np.float32,
) -> Path:
    """Write a tilt series as a RELION 5 set: angles and shifts, in ``tilt_series/NAME.star``.

    Parameters
    ----------
    tilt_angles, tilt_axis_angle, x_tilt
        Degrees, ``(n_tilts,)`` or one value (see :func:`~fourierrecon.geometry.projection.projection_matrices`). Those
        left out are worked out from the matrices of the series.
    shifts
        Image shifts ``(x, y)``, px, ``(n_tilts, 2)``; default: from the matrices.
    folder, series, stack_name, hand, size, even, odd, file_name, write_images, dtype
        As for :func:`write_relion4_set`.

    Returns
    -------
    Path
        The set's STAR file.

    Raises
    ------
    DataError
        If a file cannot be written.
    UsageError
        If the matrices are no rotations, or the angles and shifts given do not make them.
    """
    stacks = _stacks(folder, series, stack_name, {"Even": even, "Odd": odd}, write_images, dtype)
    names = {half: _in_stack(name, series.n_tilts) for half, name in stacks.items()}
    entry = relion5_entry(series, names, tilt_angles, tilt_axis_angle, x_tilt, shifts, hand=hand, size=size)
    return write_entries(folder, [entry], file_name)


def check_entries(entries: Sequence[Entry]) -> None:
    """Check that tomograms can stand in one set.

    Parameters
    ----------
    entries
        One or more.

    Raises
    ------
    UsageError
        If two of them have one name, or not the same facts are known of all.
    """
    first = entries[0]
    for i, entry in enumerate(entries[1:], 1):
        if entry.name in [other.name for other in entries[:i]]:
            raise UsageError(f"two tomograms have the name {entry.name!r}; a set needs a name of its own for each")
        if differing := sorted(set(first.overview) ^ set(entry.overview)):
            raise UsageError(
                f"{', '.join(differing)} is known of only one of {first.name} and {entry.name}; a set needs the same "
                f"facts of all: give what is missing, or make two sets"
            )


def write_entries(
    folder: str | os.PathLike[str], entries: Sequence[Entry], file_name: str = "tomograms.star", title: str = TITLE
) -> Path:
    """Write a set of one or more tomograms, all of RELION 4 or all of RELION 5; give its STAR file.

    Parameters
    ----------
    folder
        Made if need be.
    entries
        The tomograms.
    file_name
        Name of the set; ``optimisation_set.star`` goes with it if it is ``tomograms.star``.
    title
        First line of each file.

    Raises
    ------
    DataError
        If a file cannot be written.
    UsageError
        As :func:`check_entries`.
    """
    entries = fill_deformations(entries)
    check_entries(entries)
    first = entries[0]
    overview = {label: [entry.overview[label][0] for entry in entries] for label in first.overview}
    path = Path(folder) / file_name
    if "rlnTomoTiltSeriesStarFile" in overview:
        for entry in entries:
            tilts = Path(folder) / entry.overview["rlnTomoTiltSeriesStarFile"][0]
            write_tables(tilts, {entry.name: entry.tilts}, title)
        write_tables(path, {"global": overview}, title)
    else:
        write_tables(path, {"global": overview, **{entry.name: entry.tilts for entry in entries}}, title)
    if path.name == "tomograms.star":
        write_tables(path.with_name("optimisation_set.star"), {"": {"rlnTomoTomogramsFile": path.name}}, title)
    return path


def _stacks(
    folder: str | os.PathLike[str],
    series: TiltSeries,
    stack_name: str | None,
    halves: dict[str, ImageStack | None],
    write_images: bool,
    dtype: DTypeLike,
) -> dict[str, str]:
    """Write the image stacks; give their names, by the ending of the column that names them."""
    full = stack_name or f"{series.name}.mrcs"
    stem, ending = os.path.splitext(full)
    names = {"": full}
    for half, images in halves.items():
        if images is not None:
            if tuple(images.shape) != tuple(series.images.shape):
                raise UsageError(f"{half.lower()} images have shape {images.shape}, the full {series.images.shape}")
            names[half] = f"{stem}_{half.lower()}{ending}"
    if write_images:
        for half, name in names.items():
            images = halves.get(half)
            write_stack(Path(folder) / name, series.images if images is None else images, series.pixel_size, dtype)
    return names


def _in_stack(name: str, n_tilts: int) -> list[str]:
    """Name each image of a stack, ``000001@stack``."""
    return [f"{i + 1:06d}@{name}" for i in range(n_tilts)]
