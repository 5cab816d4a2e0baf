"""The command ``watch``: tomograms of tilt series as they arrive."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from fourierrecon.cli.groups import with_groups
from fourierrecon.cli.option_groups import MicroscopeOptions, TomogramOptions
from fourierrecon.cli.option_groups_of_sets import ProductOptions
from fourierrecon.cli.options import FLAG, Quiet, output_option, running_option


@with_groups("o", "binning", "d", "snr", "halves", "every", "idle", "incremental")
def watch(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", exists=True, file_okay=False, help="Where tilt series arrive, three folders deep at most."
        ),
    ],
    *,
    o: Annotated[Path, output_option("FOLDER", "Folder for the products, as of reconstruct --o FOLDER/", "--o")],
    every: Annotated[
        float, running_option("SECONDS", "Time between looks at the folder. Default: 10", "--every", least=0)
    ] = 10.0,
    idle: Annotated[
        float | None,
        running_option(
            "MINUTES",
            "End when nothing new has come for this time; 0: as soon as all that is there is made. Default: never",
            "--idle",
            least=0,
        ),
    ] = None,
    incremental: Annotated[
        bool,
        running_option(
            FLAG,
            "Keep what each image adds, in incremental/ below --scratch or FOLDER: a tilt series that grows costs the "
            "images that are new",
            "--incremental",
        ),
    ] = False,
    microscope: MicroscopeOptions,
    options: TomogramOptions,
    products: ProductOptions,
    quiet: Quiet = False,
) -> None:
    """Reconstruct tilt series as they arrive in a folder, each once, until Ctrl-C.

    It looks for tomogram sets of RELION, new tomograms in them included, and for alignments of AreTomo (.aln), IMOD
    (tilt.com; .xf with .tlt) and Warp (.xml, .tomostar). It takes a series when its files have stopped changing and all
    of its images are there, and tries one that failed again when its files change. Started again, it continues where it
    ended.
    """
    from fourierrecon.cli import arguments
    from fourierrecon.cli.console import screen
    from fourierrecon.cli.set_progress import show_watch

    extras, offsets = arguments.supplement_of(microscope), arguments.corrections_of(options.alignment)
    recipe = arguments.read_recipe(folder, o, extras, offsets, options, products)
    recipe = replace(recipe, incremental=incremental)
    seconds = None if idle is None else 60 * idle
    raise typer.Exit(show_watch(screen(), recipe, every=every, idle=seconds, quiet=quiet))
