"""The command ``import``: a RELION 4 or 5 set from tilt series of any program, alignment and all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fourierrecon.errors import DataError, UsageError
from fourierrecon.options import (
    FLAG,
    Aberration,
    Contrast,
    FlipHand,
    Notes,
    PixelSize,
    Stack,
    TiltOffset,
    TomogramName,
    Voltage,
    XTilt,
    ZShift,
    alignment_option,
    output_option,
)

if TYPE_CHECKING:
    from fourierrecon.geometry import Region
    from fourierrecon.io.relion import Entry
    from fourierrecon.tilt_series import ImageStack, TiltSeries

Version = Literal["relion4", "relion5"]
#: Endings that RELION takes for stacks; others get one of them after a colon.
STACKS = (".mrcs", ".mrc")


def import_series(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE...", help="Sets or tilt series, as for reconstruct --t.")
    ],
    *,
    o: Annotated[Path, output_option("FOLDER", "Folder of the new set; it is made", "--o", "-o")],
    version: Annotated[
        str, output_option("VERSION", "relion4 (matrices) or relion5 (angles). Default: relion5", "--as")
    ] = "relion5",
    copy: Annotated[
        bool, output_option(FLAG, "Copy the images into the folder, do not only name them", "--copy")
    ] = False,
    overwrite: Annotated[bool, output_option(FLAG, "Replace a set that is there", "--overwrite")] = False,
    tn: TomogramName = None,
    stack: Stack = None,
    angpix: PixelSize = None,
    mdoc: Notes = None,
    voltage: Voltage = None,
    cs: Aberration = None,
    q0: Contrast = None,
    tiltangle_offset: TiltOffset = 0.0,
    x_tilt: XTilt = 0.0,
    z_shift: ZShift = 0.0,
    flip_hand: FlipHand = False,
    rotations_only: Annotated[
        bool,
        alignment_option(
            FLAG,
            "For RELION 5: leave out magnification, stretch and shear, as RELION's import does",
            "--rotations_only",
        ),
    ] = False,
) -> None:
    """Write a RELION 4 or 5 set from tilt series of RELION, IMOD, AreTomo, Warp or EMAN2.

    A tomogram of the new set is that of its source: same voxels at the same places. Images stay where they are. Sets of
    RELION 5 hold rotations and shifts only: what an alignment has beyond that is an error above 0.1 px.
    """
    from fourierrecon.console import program, say, screen
    from fourierrecon.inputs import input_files, protect
    from fourierrecon.io import Extras, read_all_series, read_series
    from fourierrecon.io.sources import check_single, passed_over
    from fourierrecon.io.star import read_halves
    from fourierrecon.offsets import Offsets
    from fourierrecon.report import describe_ctf, describe_images

    if version not in ("relion4", "relion5"):
        raise UsageError(f"--as {version}: unknown; available: relion4, relion5")
    target = o / "tomograms.star"
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists; give --overwrite to replace it, or another folder")
    console = screen()
    extras = Extras(stack, angpix, mdoc, voltage, cs, q0)
    offsets = Offsets(tiltangle_offset, x_tilt, z_shift, flip_hand)
    found: list[tuple[TiltSeries, Mapping[str, ImageStack]]] = []
    for source in sources:
        if len(sources) > 1 and (reason := passed_over(source)):
            say(console, "left out", f"{source}: {reason}")
            continue
        if target.exists() and source.exists() and source.samefile(target):
            raise UsageError(f"{source} is what would be replaced; give another folder")
        for read in [read_series(source, tn, extras)] if tn is not None else read_all_series(source, extras):
            series = offsets.apply(read)
            halves = read_halves(source, series.name) if source.suffix.lower() == ".star" else {}
            found.append((series, halves))
            say(console, "read", f"{series.name} of {source}: {describe_images(series)}")
            say(console, "frame", series.frame)
            say(console, "CTF", describe_ctf(series))
            if series.excluded:
                say(console, "excluded", f"images {', '.join(map(str, series.excluded))} of the source")
    if not found:
        raise DataError("nothing is left to import; a tilt series that is named alone is taken all the same")
    names = [series.name for series, _ in found]
    check_single(extras, names)
    files = [target, o / "optimisation_set.star", *(o / "tilt_series" / f"{name}.star" for name in names)]
    files += [o / f"{name}{half}.mrcs" for name in names for half in ("", "_even", "_odd")]
    protect(files, [path for source in sources for path in input_files(source, extras)])
    if not overwrite and (there := [path for path in files if path.exists()]):
        raise UsageError(f"{there[0]} exists; give --overwrite to replace it, or another folder")
    path, copied = write_set(
        o,
        found,
        "relion4" if version == "relion4" else "relion5",
        copy=copy,
        rotations_only=rotations_only,
        tell=lambda text: say(console, "rotations", text),
    )
    if copied and not copy:
        say(console, "note", f"RELION 4 needs the images of a series in one stack: copied {', '.join(copied)}")
    say(console, "wrote", f"{path}: RELION {version[-1]} set of {len(found)} tomogram{'s' * (len(found) > 1)}")
    first = found[0][0]
    rest = f" --tn {first.name}" if len(found) > 1 else ""
    rest += "" if first.ctf is not None else " --noctf"
    say(console, "next", f"{program()} reconstruct --t {path}{rest} --o {first.name}.mrc")


def write_set(
    folder: Path,
    found: Sequence[tuple[TiltSeries, Mapping[str, ImageStack]]],
    version: Version,
    *,
    copy: bool = False,
    rotations_only: bool = False,
    tell: Callable[[str], object] = str,
) -> tuple[Path, list[str]]:
    """Write a set; give its STAR file, and the names of the stacks that were copied.

    Images are named by paths from the working directory if they lie below it, as RELION's own are, and absolutely if
    not. RELION 4 needs one stack a series with just its images, in order: where there is none, one is written.

    Parameters
    ----------
    folder
        Of the set.
    found
        Tilt series, each with its half images under ``Even`` and ``Odd``, or none.
    version
        Of RELION.
    copy
        Write all images anew, one stack a series.
    rotations_only
        As for :func:`fourierrecon.io.relion.relion5_entry`.
    tell
        Called with what the rotations of a RELION 5 set leave out of an alignment, in words.

    Raises
    ------
    UsageError
        If a name cannot stand in a STAR file, or the set cannot hold all series, or not in this version.
    DataError
        If a file cannot be written.
    """
    from fourierrecon.io.mrc import write_stack
    from fourierrecon.io.relion import check_entries, write_entries
    from fourierrecon.io.warp import unstretched

    if version == "relion5":
        found = [(unstretched(series), halves) for series, halves in found]
    # everything is worked out before anything is written
    copies: list[tuple[Path, TiltSeries, ImageStack]] = []
    entries = [
        _entry(folder, series, halves, version, copies, copy=copy, rotations_only=rotations_only)
        for series, halves in found
    ]
    check_entries(entries)
    for path, series, images in copies:
        write_stack(path, images, series.pixel_size, _pixel_type(images))
    for entry in entries:
        if entry.rotations is not None and entry.rotations.rest:
            tell(f"{entry.name}: the nearest ones, without {entry.rotations.rest}")
    return write_entries(folder, entries), [str(path) for path, _, _ in copies]


def entry_of(folder: Path, series: TiltSeries, region: Region) -> Entry | None:
    """Give the entry of a tomogram in a list of RELION 5; None if its images cannot be named there.

    Parameters
    ----------
    folder
        Of the set.
    series
        With all corrections.
    region
        That is the tomogram.
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
    from fourierrecon.io.relion import relion4_entry, relion5_entry
    from fourierrecon.tilt_series import USUAL_HAND

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


def _places(series: TiltSeries, images: ImageStack) -> list[tuple[Path, int]] | None:
    """Give file and number of each image, if they come from files."""
    places = getattr(images, "places", None)
    if places is not None and len(places) != series.n_tilts:
        raise DataError(f"{series.source}: {len(places)} half images for {series.n_tilts} tilts")
    return places


def _is_whole_stack(places: Sequence[tuple[Path, int]]) -> bool:
    """Tell whether these are all images of one file, in its order."""
    from fourierrecon.io.mrc import open_stack

    path = places[0][0]
    return places == [(path, i) for i in range(len(open_stack(path)))]


def _pixel_type(images: ImageStack) -> str:
    """Give the type that keeps all values of the images: theirs, if MRC has it."""
    kinds = {str(stack.dtype) for stack in getattr(images, "stacks", ())}
    kind = kinds.pop() if len(kinds) == 1 else "float32"
    kind = "int16" if kind == "uint8" else kind
    return kind if kind in ("float32", "float16", "int16", "uint16", "int8") else "float32"


def _name(path: Path) -> str:
    """Write a path as RELION takes it."""
    text = os.fspath(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else os.fspath(path)
    return text if path.suffix.lower() in STACKS else f"{text}:mrcs"
