"""The command ``plan``: what a reconstruction would make, and what it would take."""

from __future__ import annotations

from pathlib import Path
from shutil import disk_usage
from typing import TYPE_CHECKING, Annotated

from fourierrecon.cli.groups import with_groups
from fourierrecon.cli.option_groups import SourceOptions, SupplementOptions, TomogramOptions
from fourierrecon.cli.option_groups_of_sets import CompanionOptions
from fourierrecon.cli.option_groups_output import BesideOptions, finish_of, ome_version_of
from fourierrecon.cli.options import output_option
from fourierrecon.text import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from fourierrecon.tilt_series import TiltSeries
    from fourierrecon.tomogram.forecast import Forecast

#: Number of tilts that are all listed; of more, only those that see less than this part of the region.
FEW_TILTS, ALL = 12, 0.95


@with_groups("t", "tn", "o", "binning", "d", "halves", "preview", "png")
def plan(
    *,
    source: SourceOptions,
    supplement: SupplementOptions,
    o: Annotated[
        str | None,
        output_option("FILE", "Tomogram, or FOLDER/, that reconstruct would write; nothing is written here", "--o"),
    ] = None,
    png: Annotated[
        Path | None, output_option("FILE", "Picture to draw (PNG): outlines of all images, and the region", "--png")
    ] = None,
    besides: BesideOptions,
    options: TomogramOptions,
    products: CompanionOptions,
) -> None:
    """Show what reconstruct would do with the same options: size, memory, time, and what the images see.

    It is about one tomogram, also of a set. No image is read. To measure the machine, small pieces of noise are
    reconstructed, which takes about two seconds.
    """
    from fourierrecon.cli import arguments
    from fourierrecon.cli.console import announcing_compilation, say, screen
    from fourierrecon.cli.messages import describe_request, print_warnings
    from fourierrecon.cli.values import choose_dtype, choose_halves, refuse_for_one
    from fourierrecon.geometry.axis_order import Orientation
    from fourierrecon.geometry.sound_images import without_ctf
    from fourierrecon.images import repaired
    from fourierrecon.io.volumes.formats import is_zarr
    from fourierrecon.report.assessment import report_memory
    from fourierrecon.tomogram import checks
    from fourierrecon.tomogram.file import TomogramFile
    from fourierrecon.tomogram.forecast import forecast
    from fourierrecon.tomogram.inputs import input_files, protect
    from fourierrecon.tomogram.output_paths import folders_of, is_folder
    from fourierrecon.tomogram.written import written_for

    halves = choose_halves(products)
    if o is not None and not is_folder(o):
        refuse_for_one(products, o, {})
    dtype, settings = choose_dtype(options.volume), arguments.settings_of(options)
    correction = settings.correction
    extras, offsets = arguments.supplement_of(supplement), arguments.corrections_of(options.alignment)
    request = arguments.read_request(source, extras, offsets, options)
    path = _path_of(o, request.series.name, products.ending)
    if path is not None:
        ome_version_of(options.finish, zarr=is_zarr(path))
    series, region = repaired(request.series, settings.repairs), request.region
    Orientation.like(options.volume.like, series)  # refuses an unknown program
    for argument, each in (("output", path), ("picture", png)):
        if each is not None:
            protect([each], input_files(request.source, request.extras), argument)
    console = screen()
    describe_request(console, request, settings)
    if request.to_fit:
        say(console, "specimen", "reconstruct will measure it; until then the size is the one above")
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
    file = TomogramFile(
        path=path or Path(f"tomogram.{products.ending}"), series=series, region=region, weighting=request.weighting,
        settings=settings, like=options.volume.like, dtype=dtype, finish=finish_of(options.finish),
    )  # fmt: skip
    written = written_for(
        file, halves=halves is not None, projection=products.thickness_proj if products.do_proj else 0,
        companions=arguments.companions_of(products.companions), aligned_stack=besides.aligned_stack,
        preview=besides.preview,
        report_memory=report_memory(series, region.shape, settings.threads) if besides.report else 0,
    )  # fmt: skip
    with announcing_compilation(console):
        needs = forecast(
            series, region, request.weighting, n_threads=settings.n_threads,
            taper=(settings.taper_distance, settings.taper_falloff), output=path, memory=settings.memory,
            scratch=settings.scratch, dtype=dtype, correction=correction, residual=settings.residual,
            halves=halves, written=written,
        )  # fmt: skip
    print_forecast(console, needs, path)


def _path_of(output: str | None, name: str, ending: str) -> Path | None:
    """Give the file of the tomogram; None if it is not known."""
    from fourierrecon.tomogram.output_paths import is_folder

    if output is None:
        return None
    return Path(output) / "tomograms" / f"rec_{name}.{ending}" if is_folder(output) else Path(output)


def print_coverage(console: Console, series: TiltSeries, sees: NDArray[np.bool_]) -> None:
    """Print how much of the region each image sees.

    Parameters
    ----------
    console
        Screen to write to.
    series
        The tilt series.
    sees
        Visibility of voxels, from :func:`fourierrecon.tomogram.checks.visibility`.
    """
    import numpy as np
    from rich.columns import Columns

    from fourierrecon.cli.console import say

    parts, count = sees.mean(1), sees.sum(0)
    listed = [i for i in range(len(parts)) if len(parts) <= FEW_TILTS or parts[i] < ALL]
    n_all = int((parts >= ALL).sum())
    say(
        console,
        "coverage",
        f"{n_all} of {counted(len(parts), 'image')} see{'s' * (n_all == 1)} 95 % of the region or more, the least "
        f"{100 * parts.min():.0f} %; {100 * (count == len(sees)).mean():.0f} % of it is seen by all, "
        f"{100 * (count == 0).mean():.0f} % by none",
    )
    angles = np.round(series.tilt_angles, 1) + 0.0  # turns -0.0 into 0.0
    cells = [f"tilt {i + 1} ({angles[i]:.1f}°): {100 * parts[i]:.1f} %" for i in listed]
    if cells:
        console.print(Columns(cells, equal=True, padding=(0, 3)))


def print_forecast(console: Console, forecast: Forecast, output: Path | None) -> None:
    """Print what a reconstruction will take, and warn where there is too little of it.

    Parameters
    ----------
    console
        Screen to write to.
    forecast
        Memory, space and time of the reconstruction.
    output
        File to be written; None: not known.
    """
    from fourierrecon.cli.console import in_bytes, say
    from fourierrecon.cli.messages import print_warnings

    storage, scratch = forecast.storage, forecast.scratch_folder
    on_disk = {"samples": storage.samples_on_disk, "planes": storage.planes_on_disk, "slabs": forecast.held > 0}
    on_scratch = storage.scratch + forecast.held
    names = [name for name, there in on_disk.items() if there]
    say(console, "output", f"{in_bytes(forecast.file_size)}, {output or 'MRC'}")
    if len(forecast.files) > 1:
        say(console, "files", ", ".join(f"{kind} {in_bytes(size)}" for kind, size in forecast.files.items()))
    say(console, "memory", f"{in_bytes(storage.memory)} at most, {'with' if names else 'without'} scratch files")
    if names:
        say(console, "scratch", f"{in_bytes(on_scratch)} in {scratch}: {', '.join(names)}")
    threads = f"{counted(forecast.n_threads, 'thread')}"
    estimate = "estimated from small pieces; starting takes a second more"
    say(console, "time", f"about {_time(forecast.seconds)} on {threads}, {estimate}")
    needs = [
        (forecast.output_folder, forecast.file_size, "the tomogram needs", "--o"),
        (scratch, on_scratch, "scratch files need", "--scratch"),
    ]
    if on_scratch and forecast.output_folder.stat().st_dev == scratch.stat().st_dev:
        both = forecast.file_size + on_scratch
        needs = [(forecast.output_folder, both, "tomogram and scratch files on one disk need", "--o, --scratch")]
    print_warnings(
        console,
        (
            f"{what} {in_bytes(size)}, {folder} has {in_bytes(free)} left; free some, choose another folder "
            f"({option}) or a larger --bin"
            for folder, size, what, option in needs
            if size > (free := disk_usage(folder).free)
        ),
    )


def _time(seconds: float) -> str:
    """Give a time as text."""
    if seconds < 120:
        return f"{max(seconds, 0.1):.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
