"""A RELION 4 or 5 set from tilt series of any program, alignment and all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.region import Region
from fourierrecon.io.relion.deformation_write import fill_deformations
from fourierrecon.io.relion.entries import Entry, relion4_entry, relion5_entry
from fourierrecon.io.relion.write import check_entries, write_entries
from fourierrecon.io.stacks.open import open_stack
from fourierrecon.io.stacks.write import write_stack
from fourierrecon.text import counted
from fourierrecon.tilt_series import USUAL_HAND, ImagesInFiles, ImageStack, TiltSeries

Version = Literal["relion4", "relion5"]
#: Endings that RELION takes for stacks; a file with another ending gets ``:mrcs`` after its name.
STACKS = (".mrcs", ".mrc")


def write_set(
    folder: Path,
    found: Sequence[tuple[TiltSeries, Mapping[str, ImageStack]]],
    version: Version,
    *,
    copy: bool = False,
    rotations_only: bool = False,
    tell: Callable[[str], object] = str,
    tell_local: Callable[[str], object] = str,
) -> tuple[Path, list[str]]:
    """Write a set; give its STAR file, and the names of the stacks that were copied.

    Images are named by paths from the working directory if they lie below it, as RELION's own are, and absolutely if
    not. RELION 4 needs one stack a series with just its images, in order: where there is none, one is written.

    Parameters
    ----------
    folder
        Folder of the set.
    found
        Tilt series, each with its half images under ``Even`` and ``Odd``, or none.
    version
        Version of RELION.
    copy
        Write all images anew, one stack a series.
    rotations_only
        As for :func:`fourierrecon.io.relion.entries.relion5_entry`.
    tell
        Called with what the rotations of a RELION 5 set leave out of an alignment, in words.
    tell_local
        Called with what becomes of a local alignment, in words.

    Raises
    ------
    UsageError
        If a name cannot stand in a STAR file, or the set cannot hold all series, or not in this version.
    DataError
        If a file cannot be written.
    """
    from fourierrecon.io.warp.alignment import unstretched

    if version == "relion5":
        found = [(unstretched(series), halves) for series, halves in found]
    # work everything out before anything is written
    copies: list[tuple[Path, TiltSeries, ImageStack]] = []
    entries = [
        _entry(folder, series, halves, version, copies, copy=copy, rotations_only=rotations_only)
        for series, halves in found
    ]
    entries = fill_deformations(entries)
    check_entries(entries)
    for path, series, images in copies:
        write_stack(path, images, series.pixel_size, _pixel_type(images))
    for entry in entries:
        if entry.rotations is not None and entry.rotations.rest:
            tell(f"{entry.name}: the nearest ones, without {entry.rotations.rest}")
        if entry.local:
            tell_local(f"{entry.name}: {entry.local}")
    return write_entries(folder, entries), [str(path) for path, _, _ in copies]


def entry_of(folder: Path, series: TiltSeries, region: Region) -> Entry | None:
    """Give the entry of a tomogram in a list of RELION 5; None if its images cannot be named there.

    Parameters
    ----------
    folder
        Folder of the set.
    series
        With all corrections.
    region
        Part of the world that is the tomogram.
    """
    copies: list[tuple[Path, TiltSeries, ImageStack]] = []
    entry = _entry(folder, series, {}, "relion5", copies, region=region)
    return None if copies else entry


def _entry(
    folder: Path,
    series: TiltSeries,
    halves: Mapping[str, ImageStack],
    version: Version,
    copies: list[tuple[Path, TiltSeries, ImageStack]],
    *,
    copy: bool = False,
    rotations_only: bool = False,
    region: Region | None = None,
) -> Entry:
    """Make the entry of one tilt series, of a region of it for a list, and note which stacks have to be written."""
    hand = series.hand or USUAL_HAND
    names: dict[str, list[str]] = {}
    stacks: dict[str, str] = {}
    for half, images in {"": series.images, **halves}.items():
        places = _places(series, images)
        needs_stack = version == "relion4" and not half
        if copy or places is None or (needs_stack and not _is_whole_stack(places)):
            path = folder / f"{series.name}{f'_{half.lower()}' if half else ''}.mrcs"
            if path.exists() and any(path.samefile(place) for place, _ in places or ()):
                raise UsageError(f"{path} is one of the images that are read; give another folder")
            copies.append((path, series, images))
            places = [(path.absolute(), i) for i in range(series.n_tilts)]
        names[half] = [f"{number + 1:06d}@{_name(path)}" for path, number in places]
        stacks[half] = _name(places[0][0])
    if version == "relion4":
        return relion4_entry(series, stacks[""], {half: n for half, n in names.items() if half}, hand=hand)
    return relion5_entry(
        series, names, hand=hand, region=region, rotations_only=rotations_only, matrices=region is not None
    )


def _places(series: TiltSeries, images: ImageStack) -> Sequence[tuple[Path, int]] | None:
    """Give file and number of each image, if they come from files."""
    places = images.places if isinstance(images, ImagesInFiles) else None
    if places is not None and len(places) != series.n_tilts:
        raise DataError(f"{series.source}: {counted(len(places), 'half image')} for {counted(series.n_tilts, 'tilt')}")
    return places


def _is_whole_stack(places: Sequence[tuple[Path, int]]) -> bool:
    """Tell whether these are all images of one file, in its order."""
    path = places[0][0]
    return places == [(path, i) for i in range(len(open_stack(path)))]


def _pixel_type(images: ImageStack) -> str:
    """Give the type that keeps all values of the images: theirs, if MRC has it."""
    kinds = {str(stack.dtype) for stack in images.stacks} if isinstance(images, ImagesInFiles) else set()
    kind = kinds.pop() if len(kinds) == 1 else "float32"
    kind = "int16" if kind == "uint8" else kind
    return kind if kind in ("float32", "float16", "int16", "uint16", "int8") else "float32"


def _name(path: Path) -> str:
    """Write a path as RELION takes it."""
    text = os.fspath(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else os.fspath(path)
    return text if path.suffix.lower() in STACKS else f"{text}:mrcs"
