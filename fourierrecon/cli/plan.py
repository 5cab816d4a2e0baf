"""The command ``plan``: what a reconstruction would make, and what it would take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fourierrecon.cli.groups import with_groups
from fourierrecon.cli.option_groups import SourceOptions, SupplementOptions, TomogramOptions
from fourierrecon.cli.options import output_option


@with_groups("t", "tn", "o", "binning", "d", "png")
def plan(
    *,
    source: SourceOptions,
    supplement: SupplementOptions,
    o: Annotated[
        Path | None, output_option("FILE", "Tomogram that reconstruct would write; nothing is written here", "--o")
    ] = None,
    png: Annotated[
        Path | None, output_option("FILE", "Picture to draw (PNG): outlines of all images, and the region", "--png")
    ] = None,
    options: TomogramOptions,
) -> None:
    """Say what reconstruct would do with the same options: size, memory, time, and what the images see.

    No image is read. To measure the machine, small pieces of noise are reconstructed, which takes about two seconds.
    """
    from fourierrecon.cli import arguments
    from fourierrecon.cli.console import announcing_compilation, say, screen
    from fourierrecon.cli.messages import describe_request, print_coverage, print_forecast, print_warnings
    from fourierrecon.cli.values import choose_dtype
    from fourierrecon.geometry.axis_order import Orientation
    from fourierrecon.quality.bad_images import without_ctf
    from fourierrecon.tomogram import checks
    from fourierrecon.tomogram.forecast import forecast
    from fourierrecon.tomogram.inputs import input_files, protect
    from fourierrecon.tomogram.output_paths import folders_of

    dtype, settings = choose_dtype(options.volume), arguments.settings_of(options)
    correction = settings.correction
    extras, offsets = arguments.supplement_of(supplement), arguments.corrections_of(options.alignment)
    request = arguments.read_request(source, extras, offsets, options)
    series, region = request.series, request.region
    Orientation.like(options.volume.like, series)  # refuses an unknown program
    for option, path in (("--o", o), ("--png", png)):
        if path is not None:
            protect([path], input_files(request.source, request.extras), option)
    console = screen()
    describe_request(console, request, correction)
    sees = checks.visibility(series, region)
    print_coverage(console, series, sees)
    print_warnings(console, checks.warnings_of(series, region, sees, ctf=options.weighting_and_ctf.ctf))
    print_warnings(console, checks.shared_warnings(request.source, series))
    if png is not None:
        from fourierrecon.display.panels import footprint_png

        with folders_of(png):
            footprint_png(png, series, region)
        say(console, "picture", str(png))
    if options.images.skip_bad_images and options.weighting_and_ctf.ctf:
        # the images that can be left out without a look at their pixels
        series = series.select([tilt for tilt in range(series.n_tilts) if tilt not in without_ctf(series)])
    with announcing_compilation(console):
        needs = forecast(
            series, region, request.strategy, n_threads=settings.n_threads,
            taper=(settings.taper_distance, settings.taper_falloff), output=o, memory=settings.memory,
            scratch=settings.scratch, dtype=dtype, correction=correction,
        )  # fmt: skip
    print_forecast(console, needs, o)
