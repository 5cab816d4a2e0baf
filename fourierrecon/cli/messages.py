"""What is said on screen about tilt series, regions and results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isnan
from pathlib import Path
from shutil import disk_usage
from typing import TYPE_CHECKING

from rich import box
from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fourierrecon.cli.console import in_bytes, program, say
from fourierrecon.text import in_options, quoted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fourierrecon.geometry.region import Region
    from fourierrecon.quality.comparison import Comparison
    from fourierrecon.simulation.demo import DemoReport
    from fourierrecon.tilt_series import TiltSeries
    from fourierrecon.tomogram.forecast import Forecast
    from fourierrecon.tomogram.request import Request
    from fourierrecon.transfer import Correction, Transfer
    from fourierrecon.volume import Volume

#: So many tilts are listed in any case; of more only those that see less than this part of the region.
FEW_TILTS, ALL = 12, 0.95
#: Tilt angles that are listed to show an order.
FIRST_ANGLES = 5


def describe_region(region: Region, pixel_size: float) -> str:
    """Give one line on the size and place of a region.

    Parameters
    ----------
    region
        The region.
    pixel_size
        Of the unbinned images, Å.
    """
    depth, height, width = region.shape
    place = ", ".join(f"{c:g}" for c in region.origin)
    line = (
        f"{width} x {height} x {depth} voxels (w x h x d) of {region.binning * pixel_size:g} Å, "
        f"binning {region.binning:g}, voxel 0 at ({place})"
    )
    return f"{line}; {in_options(region.note)}" if region.note else line


def describe_ctf(series: TiltSeries) -> str:
    """Give one line on the contrast transfer functions of a tilt series.

    Parameters
    ----------
    series
        The tilt series.
    """
    ctf = series.ctf
    if ctf is None:
        return "none in the set (reconstruct with --noctf)"
    low = min(ctf.defocus_u.min(), ctf.defocus_v.min()) / 1e4
    high = max(ctf.defocus_u.max(), ctf.defocus_v.max()) / 1e4
    plate = f", phase shift to {ctf.phase_shift.max():g}°" if ctf.phase_shift.any() else ""
    optics = f"{ctf.voltage:g} kV, Cs {ctf.spherical_aberration:g} mm"
    contrast = f"amplitude contrast {ctf.amplitude_contrast:g}"
    astigmatism = float(abs(ctf.defocus_u - ctf.defocus_v).max()) / 10
    uneven = f", astigmatism to {astigmatism:.0f} nm" if astigmatism >= 0.5 else ""
    return f"{optics}, {contrast}, defocus {low:.2f} to {high:.2f} µm{uneven}{plate}"


def exposures_of(transfer: Transfer) -> str:
    """Say which exposures a filter went by, if there is one; after a semicolon."""
    exposure, b = transfer.damping[:, 1], transfer.damping[:, 0]
    if transfer.exposure == "grant":
        return f"; exposures {exposure.min():g} to {exposure.max():g} e⁻/Å² (as at 300 kV)"
    return f"; B-factors {b.min():g} to {b.max():g} Å²" if b.any() else ""


def describe_images(series: TiltSeries) -> str:
    """Give one line on the images of a tilt series.

    Parameters
    ----------
    series
        The tilt series.
    """
    height, width = series.image_shape
    angles = series.tilt_angles
    return (
        f"{series.n_tilts} images of {width} x {height} px at {series.pixel_size:g} Å, "
        f"tilts {angles.min():.1f}° to {angles.max():.1f}°"
    )


def describe_request(console: Console, request: Request, correction: Correction) -> None:
    """Print what will be reconstructed, and how what was read is understood.

    Parameters
    ----------
    console
        Where to.
    request
        What the options ask for.
    correction
        What is done about all that acts on the signal.
    """
    from fourierrecon.transfer import CTF_MODES, Transfer

    series = request.series
    if request.ignored is not None:
        say(console, "note", f"--t {request.source} is used, not --i {request.ignored}")
    say(console, "tomogram", f"{series.name} of {request.source}: {describe_images(series)}")
    say(console, "frame", series.coordinate_frame)
    say(console, "region", describe_region(request.region, series.pixel_size))
    say(console, "weighting", f"{request.strategy.words} ({request.strategy!r})")
    if correction.ctf_mode == "none":
        say(console, "CTF", "not applied (--noctf)")
    else:
        say(console, "CTF", describe_ctf(series))
    if series.ctf is not None or correction.ctf_mode == "none":  # else an error comes, with its remedy
        transfer = Transfer.of(series, correction, divides=request.strategy.divides)
        say(console, "images", f"{transfer.words}: {CTF_MODES[transfer.mode]}{exposures_of(transfer)}")


def print_coverage(console: Console, series: TiltSeries, sees: NDArray[np.bool_]) -> None:
    """Print how much of the region each image sees.

    Parameters
    ----------
    console
        Where to.
    series
        The tilt series.
    sees
        From :func:`fourierrecon.tomogram.checks.visibility`.
    """
    import numpy as np

    parts, count = sees.mean(1), sees.sum(0)
    listed = [i for i in range(len(parts)) if len(parts) <= FEW_TILTS or parts[i] < ALL]
    n_all = int((parts >= ALL).sum())
    say(
        console,
        "coverage",
        f"{n_all} of {len(parts)} images see 95 % of the region or more, the least {100 * parts.min():.0f} %; "
        f"{100 * (count == len(sees)).mean():.0f} % of it is seen by all, {100 * (count == 0).mean():.0f} % by none",
    )
    angles = np.round(series.tilt_angles, 1) + 0.0  # no -0.0
    cells = [f"tilt {i + 1} ({angles[i]:.1f}°): {100 * parts[i]:.1f} %" for i in listed]
    if cells:
        console.print(Columns(cells, equal=True, padding=(0, 3)))


def print_warnings(console: Console, warnings: Iterable[str]) -> None:
    """Print warnings, one a line.

    Parameters
    ----------
    console
        Where to.
    warnings
        As from :func:`fourierrecon.tomogram.checks.warnings_of`.
    """
    for line in warnings:
        console.print(Text.assemble((f"{'warning':<10}", "bold yellow"), line), soft_wrap=True)


def print_forecast(console: Console, forecast: Forecast, output: Path | None) -> None:
    """Print what a reconstruction will take, and warn where there is too little of it.

    Parameters
    ----------
    console
        Where to.
    forecast
        What it takes.
    output
        File to be written, if it is known.
    """
    storage, scratch = forecast.storage, forecast.scratch_folder
    on_disk = {"samples": storage.samples_on_disk, "planes": storage.planes_on_disk, "slabs": forecast.held > 0}
    on_scratch = storage.scratch + forecast.held
    names = [name for name, there in on_disk.items() if there]
    say(console, "output", f"{in_bytes(forecast.file_size)}, {output or 'MRC'}")
    say(console, "memory", f"{in_bytes(storage.memory)} at most, {'with' if names else 'without'} scratch files")
    if names:
        say(console, "scratch", f"{in_bytes(on_scratch)} in {scratch}: {', '.join(names)}")
    threads = f"{forecast.n_threads} thread{'s' * (forecast.n_threads > 1)}"
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
    """Give a time for people."""
    if seconds < 120:
        return f"{max(seconds, 0.1):.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def facts_of(series: TiltSeries) -> list[tuple[str, str]]:
    """List what is known about a tilt series as ``(label, value)``, without reading its images.

    Parameters
    ----------
    series
        The tilt series.
    """
    from fourierrecon.geometry.projection import tilt_axis_angle
    from fourierrecon.geometry.region import Region

    height, width = series.image_shape
    angles, exposure = series.tilt_angles, series.exposure
    region = Region.of(series)
    deep, high, wide = region.shape
    return [
        ("tilts", f"{series.n_tilts}, {angles.min():.1f}° to {angles.max():.1f}°, {_order(angles)}"),
        ("images", f"{width} x {height} px (w x h)"),
        ("pixel size", f"{series.pixel_size:g} Å"),
        (
            "tilt axis",
            f"{round(tilt_axis_angle(series.projections, angles), 1) + 0.0:.1f}° from the images' y axis",
        ),
        ("CTF", describe_ctf(series)),
        ("hand", "unknown" if series.hand is None else f"{series.hand:+d}, as RELION's rlnTomoHand has it"),
        ("exposure", "unknown" if exposure is None else f"{exposure.min():g} to {exposure.max():g} e⁻/Å²"),
        ("tomogram", f"{wide} x {high} x {deep} px (w x h x d); {in_options(region.note)}"),
        ("frame", series.coordinate_frame),
        ("voxel 0", f"at ({', '.join(f'{c:g}' for c in region.origin)}) of that frame by default"),
    ]


def _order(angles: NDArray[np.float64]) -> str:
    """Say in which order the images are stored."""
    steps = angles[1:] - angles[:-1]
    if (steps >= 0).all() or (steps <= 0).all():
        return "falling" if angles[-1] < angles[0] else "rising"
    return f"stored as {', '.join(f'{angle:.0f}' for angle in angles[:FIRST_ANGLES])}, …"


def print_facts(console: Console, series: TiltSeries) -> None:
    """Print a table of what is known about one tilt series.

    Parameters
    ----------
    console
        Where to.
    series
        The tilt series.
    """
    print_table(console, series.name, facts_of(series))


def print_table(console: Console, title: str, facts: Iterable[tuple[str, str]]) -> None:
    """Print a table of labels and values.

    Parameters
    ----------
    console
        Where to.
    title
        Line above it.
    facts
        Its rows.
    """
    table = Table(box=box.SIMPLE, show_header=False, title=Text(title, style="bold"), title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in facts:
        table.add_row(label, Text(value))
    console.print(table)


def print_overview(console: Console, all_series: Sequence[TiltSeries]) -> None:
    """Print a table of several tilt series, one a row.

    Parameters
    ----------
    console
        Where to.
    all_series
        The tilt series.
    """
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    facts = [dict(facts_of(series)) for series in all_series]
    columns = ("tilts", "images", "pixel size", "tilt axis", "hand", "CTF", "exposure", "tomogram")
    for column in ("name", *columns):
        table.add_column(column, overflow="fold")
    for series, fact in zip(all_series, facts, strict=True):
        table.add_row(series.name, *(fact[column] for column in columns))
    console.print(table)
    for frame in dict.fromkeys(fact["frame"] for fact in facts):
        say(console, "frame", frame)


def print_comparison(
    console: Console, paths: tuple[Path, Path], volumes: tuple[Volume, Volume], found: Comparison
) -> None:
    """Print how two volumes lie to each other and how far they agree.

    Parameters
    ----------
    console
        Where to.
    paths, volumes
        Of A and B.
    found
        What the comparison says.
    """
    from fourierrecon.display.comparison import describe_resolution
    from fourierrecon.display.preview import caption
    from fourierrecon.quality.fsc import HALF_MAPS, REFERENCE

    for letter, path, volume in zip("AB", paths, volumes, strict=True):
        say(console, letter, f"{path}: {caption(volume)}")
    if found.magnified:
        say(console, "voxels", f"of one size: B fits as it does if its voxels are {found.voxel_size:.4g} Å too")
    elif min(found.voxel_sizes) == 0 < max(found.voxel_sizes):
        letter, other = "AB" if found.voxel_sizes[0] == 0 else "BA"
        say(
            console,
            "voxels",
            f"of {letter} are of unknown size; taken to be those of {other}, {found.voxel_size:.4g} Å",
        )
    elif max(found.voxel_sizes) == 0:
        say(console, "voxels", "are of unknown size; taken to be the same in both, lengths are in voxels")
    elif found.voxel_sizes[0] != found.voxel_sizes[1]:
        say(console, "voxels", f"differ, as the headers say; compared at {found.voxel_size:.4g} Å")
    mirrored = " (the other hand)" if found.orientation.mirrors else ""
    inverted = ", contrast inverted" if found.fit < 0 else ""
    say(
        console,
        "B lies",
        f"{found.orientation}{mirrored}{inverted}: coarse correlation {abs(found.fit):.2f}; "
        f"next best: {found.runner_up}, {abs(found.runner_up_fit):.2f}",
    )
    known = max(found.voxel_sizes) > 0
    # no -0.00
    voxels, nm = (", ".join(f"{round(s * by, 2) + 0.0:.2f}" for s in found.shift) for by in (1, found.voxel_size / 10))
    say(console, "shift", f"of B from A (x, y, z): {voxels} voxels{f' ({nm} nm)' if known else ''}")
    line = f"B = {found.slope:.4g} A {'+' if found.offset >= 0 else '-'} {abs(found.offset):.4g}"
    say(console, "greys", "not related" if isnan(found.slope) else line)
    depth, height, width = found.a.shape
    part = "" if found.whole else f", of their middle, {width} x {height} x {depth} voxels"
    say(console, "match", f"correlation {found.correlation:.3f}{part}")
    half, reference = (describe_resolution(found, threshold) for threshold in (HALF_MAPS, REFERENCE))
    say(console, "FSC", f"{HALF_MAPS:g} (half maps): {half}; {REFERENCE:g} (against a reference): {reference}")
    if abs(found.fit) < max(0.1, 1.2 * abs(found.runner_up_fit)):
        print_warnings(console, ["no orientation fits clearly better than the others; the figures may mean nothing"])


def report_demo(console: Console, report: DemoReport) -> None:
    """Print what the demo did, how well the tomogram matches the truth, and what to try next.

    Parameters
    ----------
    console
        Where to.
    report
        What the demo says.
    """
    (height, width), (deep, high, wide) = report.image_shape, report.volume_shape
    times = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in report.seconds.items())
    matches = ", ".join(f"{name} {value:.2f}" for name, value in report.correlation.items())
    say(
        console,
        "images",
        f"{report.n_tilts} of {width} x {height} px, with CTF, signal to noise {report.snr:g}",
    )
    say(console, "tomogram", f"{wide} x {high} x {deep} voxels of {report.voxel_size:g} Å: {report.tomogram}")
    say(console, "picture", str(report.picture))
    say(console, "time", times)
    say(console, "match", f"correlation with the truth, in what the tilts measured (1 is perfect): {matches}")
    folder, source = report.tomogram.parent, quoted(str(report.tomogram_set))
    say(console, "next", f"{program()} info {source}")
    for name, options in (("preweight", "--pre_weight"), ("coarse", "--SNR 100"), ("binned", "--bin 2")):
        rest = f"{options} --o {quoted(str(folder / f'{name}.mrc'))}"
        say(
            console,
            "",
            f"{program()} reconstruct --t {source} {'' if name == 'binned' else '--bin 1 '}{rest}",
        )
    halves = f"--bin 1 --halves frames --report --o {quoted(str(folder / 'reconstructed'))}/"
    say(console, "", f"{program()} reconstruct --t {source} {halves}")
    say(console, "", f"{program()} sample mycoplasma      (a real tilt series, 56 MB to download)")
