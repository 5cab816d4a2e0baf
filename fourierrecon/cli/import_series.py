"""The command ``import``: a RELION 4 or 5 set from tilt series of any program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fourierrecon.cli.groups import with_groups
from fourierrecon.cli.option_groups import AlignmentOptions, SupplementOptions
from fourierrecon.cli.options import FLAG, TomogramName, alignment_option, output_option
from fourierrecon.errors import DataError, UsageError
from fourierrecon.text import counted

if TYPE_CHECKING:
    from fourierrecon.tilt_series import ImageStack, TiltSeries


@with_groups()
def import_series(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE...", help="Sets or tilt series, as for reconstruct --t.")
    ],
    *,
    o: Annotated[Path, output_option("FOLDER", "Folder of the new set", "--o", "-o")],
    version: Annotated[
        str, output_option("VERSION", "relion4 (matrices) or relion5 (angles). Default: relion5", "--as")
    ] = "relion5",
    copy: Annotated[
        bool, output_option(FLAG, "Copy the images into the folder instead of only naming them", "--copy")
    ] = False,
    overwrite: Annotated[bool, output_option(FLAG, "Replace a set that exists", "--overwrite")] = False,
    tn: TomogramName = None,
    supplement: SupplementOptions,
    alignment: AlignmentOptions,
    rotations_only: Annotated[
        bool,
        alignment_option(
            FLAG,
            "For RELION 5: leave out magnification, stretch and shear, as the import of RELION does",
            "--rotations_only",
        ),
    ] = False,
) -> None:
    """Write a RELION 4 or 5 set from tilt series of RELION, IMOD, AreTomo, Warp or EMAN2.

    Voxels of the new set lie where those of its source lie, and images stay where they are. Sets of RELION 5 hold
    rotations and shifts only: an alignment that holds more than that is an error, from 0.1 px on.
    """
    from fourierrecon.cli.arguments import corrections_of, supplement_of
    from fourierrecon.cli.console import program, say, screen
    from fourierrecon.cli.messages import describe_ctf, describe_images
    from fourierrecon.io import read_all_tilt_series, read_tilt_series
    from fourierrecon.io.relion.import_set import write_set
    from fourierrecon.io.relion.read import read_halves
    from fourierrecon.io.tilt_series import check_single, passed_over
    from fourierrecon.tomogram.inputs import input_files, protect

    if version not in ("relion4", "relion5"):
        raise UsageError(f"--as {version}: unknown; available: relion4, relion5")
    target = o / "tomograms.star"
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists; give --overwrite to replace it, or another folder")
    console = screen()
    extras, offsets = supplement_of(supplement), corrections_of(alignment)
    found: list[tuple[TiltSeries, Mapping[str, ImageStack]]] = []
    for source in sources:
        if len(sources) > 1 and (reason := passed_over(source)):
            say(console, "left out", f"{source}: {reason}")
            continue
        if target.exists() and source.exists() and source.samefile(target):
            raise UsageError(f"{source} is what would be replaced; give another folder")
        for read in [read_tilt_series(source, tn, extras)] if tn is not None else read_all_tilt_series(source, extras):
            series = offsets.apply(read)
            halves = read_halves(source, series.name) if source.suffix.lower() == ".star" else {}
            found.append((series, halves))
            say(console, "read", f"{series.name} of {source}: {describe_images(series)}")
            say(console, "frame", series.coordinate_frame)
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
        tell_local=lambda text: say(console, "local", text),
    )
    if copied and not copy:
        say(console, "note", f"RELION 4 needs the images of a series in one stack: copied {', '.join(copied)}")
    say(console, "wrote", f"{path}: RELION {version[-1]} set of {counted(len(found), 'tomogram')}")
    first = found[0][0]
    rest = f" --tn {first.name}" if len(found) > 1 else ""
    rest += "" if first.ctf is not None else " --noctf"
    say(console, "next", f"{program()} reconstruct --t {path}{rest} --o {first.name}.mrc")
