"""Lines and tables on tilt series, regions and requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fourierrecon.cli.console import say
from fourierrecon.cli.messages_table import in_options
from fourierrecon.text import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fourierrecon.engine.settings import Settings
    from fourierrecon.geometry.region import Region
    from fourierrecon.tilt_series import TiltSeries
    from fourierrecon.tomogram.request import Request
    from fourierrecon.transfer import Transfer

#: Number of tilt angles that are listed to show an order.
FIRST_ANGLES = 5


def describe_region(region: Region, pixel_size: float) -> str:
    """Give one line on the size and place of a region.

    Parameters
    ----------
    region
        Voxels of the tomogram.
    pixel_size
        Pixel size of the unbinned images, Å.
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
    """Give the exposures or B-factors of a filter, after a semicolon; an empty text without a filter."""
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
        f"{counted(series.n_tilts, 'image')} of {width} x {height} px at {series.pixel_size:g} Å, "
        f"tilts {angles.min():.1f}° to {angles.max():.1f}°"
    )


def describe_request(console: Console, request: Request, settings: Settings) -> None:
    """Print what will be reconstructed, and how the input is understood.

    Parameters
    ----------
    console
        Screen to write to.
    request
        Tilt series, region and weighting.
    settings
        How to reconstruct.
    """
    from fourierrecon.engine.task import in_tiles
    from fourierrecon.geometry.tiles import Tiling
    from fourierrecon.transfer import CTF_MODES, Transfer

    series, correction = request.series, settings.correction
    say(console, "tomogram", f"{series.name} of {request.source}: {describe_images(series)}")
    say(console, "frame", series.coordinate_frame)
    say(console, "region", describe_region(request.region, series.pixel_size))
    if series.local is not None and in_tiles(series, settings):
        tiling = Tiling.of(series, request.region, settings.residual)
        say(console, "local", f"{series.local.words}: {tiling.words} (--local off leaves it out)")
    say(console, "weighting", request.weighting.words)
    if correction.ctf_mode == "none":
        say(console, "CTF", "not applied (--noctf)")
    else:
        say(console, "CTF", describe_ctf(series))
    if series.ctf is not None or correction.ctf_mode == "none":  # else an error comes, with its remedy
        transfer = Transfer.of(series, correction, divides=request.weighting.divides, region=request.region)
        say(console, "images", f"{transfer.words}: {CTF_MODES[transfer.mode]}{exposures_of(transfer)}")
        if transfer.depth_words:
            say(console, "by depth", in_options(transfer.depth_words))


def print_warnings(console: Console, warnings: Iterable[str]) -> None:
    """Print warnings of the library, one a line, with options where they name arguments.

    Parameters
    ----------
    console
        Screen to write to.
    warnings
        Warnings, as from :func:`fourierrecon.tomogram.checks.warnings_of`.
    """
    for line in warnings:
        console.print(Text.assemble((f"{'warning':<10}", "bold yellow"), in_options(line)), soft_wrap=True)


def facts_of(series: TiltSeries) -> list[tuple[str, str]]:
    """List facts on a tilt series as ``(label, value)``, without reading its images.

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
    local = [] if series.local is None else [("local", series.local.words)]
    return [
        *local,
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
    """Print a table of facts on one tilt series.

    Parameters
    ----------
    console
        Screen to write to.
    series
        The tilt series.
    """
    print_table(console, series.name, facts_of(series))


def print_table(console: Console, title: str, facts: Iterable[tuple[str, str]]) -> None:
    """Print a table of labels and values.

    Parameters
    ----------
    console
        Screen to write to.
    title
        Line above the table.
    facts
        Rows of the table.
    """
    if not console.is_terminal:
        rows = [*facts]
        wide = max((len(label) for label, _ in rows), default=0)
        # one line a fact, without spaces at its end, for programs that read it
        for line in (title, *(f"  {label:<{wide}}  {value}".rstrip() for label, value in rows)):
            console.print(Text(line), soft_wrap=True)
        return
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
        Screen to write to.
    all_series
        The tilt series.
    """
    facts = [dict(facts_of(series)) for series in all_series]
    columns = ("tilts", "images", "pixel size", "tilt axis", "hand", "CTF", "exposure", "tomogram")
    rows = [
        (series.name, *(fact[column] for column in columns)) for series, fact in zip(all_series, facts, strict=True)
    ]
    if console.is_terminal:
        table = Table(box=box.SIMPLE_HEAD, header_style="bold")
        for column in ("name", *columns):
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    else:
        lines = [("name", *columns), *rows]
        wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            text = "  ".join(f"{cell:<{width}}" for cell, width in zip(line, wide, strict=True))
            console.print(Text(text.rstrip()), soft_wrap=True)
    for frame in dict.fromkeys(fact["frame"] for fact in facts):
        say(console, "frame", frame)
