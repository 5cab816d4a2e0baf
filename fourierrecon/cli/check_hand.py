"""The command ``check-hand``: on which side of the tilt axis the specimen is farther from focus."""

from __future__ import annotations

import typer

from fourierrecon.cli.groups import with_groups
from fourierrecon.cli.option_groups import AlignmentOptions, SourceOptions, SupplementOptions
from fourierrecon.cli.options import Threads


@with_groups("t", "tn")
def check_hand(
    *,
    source: SourceOptions,
    supplement: SupplementOptions,
    alignment: AlignmentOptions,
    j: Threads = None,
) -> None:
    """Find out the hand of the defocus from the images, and compare it with that of the set (rlnTomoHand).

    The CTF at each depth (--ctf_depth) needs it. Two ways are tried: the rings in power spectra of patches, on both
    sides of the tilt axis; and half volumes that are made with either hand. The exit status is 1 where the set says
    otherwise.
    """
    from fourierrecon.cli import arguments
    from fourierrecon.cli.console import announcing_compilation, say, screen
    from fourierrecon.cli.messages_table import in_options
    from fourierrecon.io import read_tilt_series
    from fourierrecon.io.tilt_series import list_tomograms
    from fourierrecon.tomogram.hand import find_hand

    path, extras = arguments.choose_source(source), arguments.supplement_of(supplement)
    console, differs = screen(), False
    names: list[str | None] = [*(source.tn or [])] or (
        [*list_tomograms(path, extras)] if path.suffix.lower() == ".star" else [None]
    )
    for name in names:
        series = arguments.corrections_of(alignment).apply(read_tilt_series(path, name, extras))
        told = "unknown" if series.hand is None else f"{series.hand:+d}"
        say(console, "tomogram", f"{series.name} of {path}: hand of the defocus by the source: {told}")
        with announcing_compilation(console):
            found = find_hand(series, n_threads=j)
        say(console, "rings", in_options(found.rings_words))
        say(console, "halves", in_options(found.halves_words))
        if found.hand is None:
            advice = "the images do not tell; compare series with more signal, finer pixels or a larger field"
        elif series.hand == found.hand:
            advice = f"{found.hand:+d}, as the source says: nothing to do"
        elif series.hand is None:
            advice = f"{found.hand:+d}: reconstruct with --defocus_hand {found.hand}"
        else:
            differs = True
            advice = (
                f"{found.hand:+d}, not {series.hand:+d}: reconstruct with --defocus_hand {found.hand}; or, if the tilt "
                f"angles have the wrong sign, so that tomograms are mirror images, with --flip_hand"
            )
        say(console, "hand", advice)
    if differs:
        raise typer.Exit(1)
