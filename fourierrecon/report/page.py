"""The page of a report: one HTML file that holds everything it shows, and needs no network.

The templates beside this file lay the page out, and escape every text (Jinja2's autoescape). This module prepares what
they show.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from fourierrecon import __version__
from fourierrecon.io.files import replacing
from fourierrecon.io.own_files import refuse_unmarked
from fourierrecon.report.figures import Chart, charts_of, flag_class, tilt_charts
from fourierrecon.report.findings import Findings, TiltRow
from fourierrecon.report.views import Picture, SectionViews, thumbnail, views_of

#: Mark of each page that is written here.
MARK = '<meta name="generator" content="fourierrecon'
#: A slab that is tilted by less, degrees, is level.
LEVEL = 2.0
#: Status of a tomogram, for people.
STATUS = {"fine": "fine", "look": "to look at", "failed": "failed"}
#: Columns of the table of a set: heading, unit, and whether it is sorted as text or by number.
COLUMNS = (
    ("Tomogram", "", "text"), ("Status", "", "text"), ("Findings", "", "number"), ("Tilts", "", "number"),
    ("Resolution", "Å", "number"), ("Agreement", "", "number"), ("Largest shift", "Å", "number"),
    ("Thickness", "nm", "number"), ("Slab tilt", "°", "number"), ("Time", "s", "number"),
)  # fmt: skip
#: Images that the table of a set names at each flag, and how many may stand there before it is cut.
NAMED, UNCUT = 6, 7


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table of a set.

    Parameters
    ----------
    found
        Figures of the tomogram.
    text
        Text that the filter searches, in small letters.
    thumbnail
        Small section, if there is a volume.
    order, weight
        Numbers that the status and the findings are sorted by.
    error
        Reason of the failure, without the name of the set, which all rows share.
    flags
        Each flag, and the images that have it.
    numbers
        Label, value to sort by and text of the other cells.
    """

    found: Findings
    text: str
    thumbnail: Picture | None
    order: int
    weight: int
    error: str
    flags: list[tuple[str, str]]
    numbers: list[tuple[str, str, str]]


@dataclass(frozen=True, kw_only=True)
class Tomogram:
    """One tomogram on the page: its figures, its pictures and its texts."""

    found: Findings
    caption: str
    notes: list[str]
    figures: list[tuple[str, str, str]]
    sections: SectionViews | None
    tilt_charts: list[Chart]
    charts: list[Chart]
    facts: list[tuple[str, str]]


def check_page(path: Path) -> None:
    """Check before a long computation that no page of another origin would be replaced.

    Parameters
    ----------
    path
        HTML file that is to be written.

    Raises
    ------
    UsageError
        If it exists and is no report.
    """
    refuse_unmarked(path, MARK, "a report of fourierrecon")


def write_report(
    path: str | os.PathLike[str],
    title: str,
    found: Sequence[Findings],
    advice: str = "",
    *,
    wording: Callable[[str], str] = str,
) -> None:
    """Write a report, all of it or nothing.

    Parameters
    ----------
    path
        HTML file.
    title
        Title of the page.
    found
        Findings from :func:`fourierrecon.report.assessment.find_out`; several get a table above.
    advice
        Advice on what to do next, one line.
    wording
        Called on texts that name arguments of the library (``binning=...``), to name what its readers use instead, such
        as options of a command. Default: texts stay as they are.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    several = len(found) > 1
    page = (
        _environment()
        .get_template("report.html")
        .render(
            title=title,
            wording=wording,
            several=several,
            advice=advice,
            version=__version__,
            now=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
            statuses=STATUS,
            counts=Counter(each.status for each in found),
            columns=COLUMNS,
            rows=[_row(each) for each in found] if several else [],
            tomograms=[_tomogram(each) for each in found],
        )
    )
    with replacing(Path(path)) as file:
        file.write(page.encode(errors="backslashreplace"))


def finding_words(found: Findings) -> str:
    """Describe in a few words what stands out of one tomogram; empty if nothing does.

    Parameters
    ----------
    found
        Figures of the tomogram.
    """
    groups: dict[str, list[str]] = {}
    for row in found.flagged:
        groups.setdefault(row.flag, []).append(str(row.number))
    words = [f"{flag}: image{'s' * (len(rows) > 1)} {', '.join(rows)}" for flag, rows in groups.items()]
    return "; ".join([*filter(None, [found.error]), *words, *found.notes])


@cache
def _environment() -> Environment:
    """Give the templates, with the filters that they use."""
    environment = Environment(
        loader=PackageLoader("fourierrecon", "report"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {
        "flag_class": flag_class, "number": _number, "options": _options, "shift": _shift, "reason": _reason,
        "meter": _meter,
    }  # fmt: skip
    return environment


@pass_context
def _options(context: Context, words: str) -> Markup:
    """Word a text for its readers, escape it, and keep options in it from being broken over lines."""
    return Markup(
        re.sub(
            r"--[a-zA-Z_]+( -?[0-9.]+)?",
            lambda option: f"<span class=option>{option[0]}</span>",
            str(escape(context["wording"](words))),
        )
    )


def _number(value: float | None, digits: int) -> str:
    # no -0.0
    return "–" if value is None or math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def _shift(row: TiltRow) -> str:
    """Give the shift of an image, x and y."""
    known = row.agreement is not None and row.shift is not None
    return ", ".join(f"{round(s):+d}" for s in row.agreement.shift) if known and row.agreement is not None else "–"


def _reason(row: TiltRow) -> str:
    """Give the fault of an image without the flag, which stands beside it."""
    words = row.words.partition(": ")[2] or row.words
    return "" if words == row.flag else words


def _meter(correlation: float) -> str:
    """Give the length of the bar beside a correlation, percent."""
    return f"{100 * max(correlation, 0):.0f}"


def _row(found: Findings) -> Row:
    name, status = found.subject.name, found.status
    slab = found.slab if found.slab is not None and found.slab.found else None
    numbers = [
        ("tilts", len(_used(found)) or None, "{:.0f}"),
        ("resolution, Å", found.resolution, _up_to(found) + "{:.1f}"),
        ("agreement", found.correlation, "{:.2f}"),
        ("largest shift, Å", found.largest_shift, "{:.0f}"),
        ("thickness, nm", slab.thickness / 10 if slab else None, "{:.0f}"),
        ("slab tilt, °", max(abs(slab.tilt_x), abs(slab.tilt_y)) if slab else None, "{:.1f}"),
        ("time, s", found.subject.seconds, "{:.1f}"),
    ]
    series = found.subject.series
    return Row(
        found=found,
        text=f"{name} {STATUS[status]} {finding_words(found)}".lower(),
        thumbnail=thumbnail(found),
        order=list(STATUS).index(status),
        weight=len(found.flagged) + len(found.notes) + 1000 * bool(found.error),
        error=found.error if series is None else found.error.removeprefix(f"{series.source}: "),
        flags=[(flag, _images_with(flag, found)) for flag in found.counts],
        numbers=[
            (label, "" if value is None else f"{value:.6g}", "–" if value is None else shape.format(value))
            for label, value, shape in numbers
        ],
    )


def _up_to(found: Findings) -> str:
    """Give the sign before a resolution at which voxels end: the images may hold more."""
    return "≤ " if found.at_limit else ""


def _images_with(flag: str, found: Findings) -> str:
    """List the images that have a flag."""
    numbers = [str(row.number) for row in found.flagged if row.flag == flag]
    if len(numbers) <= UNCUT:
        return ", ".join(numbers)
    return f"{', '.join(numbers[:NAMED])} and {len(numbers) - NAMED} more"


def _tomogram(found: Findings) -> Tomogram:
    notes = [*found.notes]
    if found.no_agreement and not found.error:
        notes.append(f"images were not compared with the tomogram: {found.no_agreement}")
    return Tomogram(
        found=found,
        caption=_caption(found),
        notes=notes,
        figures=_figures(found),
        sections=views_of(found),
        tilt_charts=tilt_charts(found),
        charts=charts_of(found),
        facts=_facts(found),
    )


def _caption(found: Findings) -> str:
    if found.error or not found.shape[0]:
        return "no tomogram"
    depth, height, width = found.shape
    return f"{width} × {height} × {depth} voxels of {found.voxel_size:.4g} Å"


def _figures(found: Findings) -> list[tuple[str, str, str]]:
    """Give the figures that matter most: label, value, and explanation."""
    subject, slab = found.subject, found.slab
    items: list[tuple[str, str, str]] = []
    if not found.error:
        kind = {"tilts": "halves of even and odd tilts", "frames": "halves of even and odd frames"}
        how = kind.get(subject.halves_of, "half volumes")
        if found.resolution is not None:
            limit = "; voxels show no more, a finer binning=... may" if found.at_limit else ""
            items.append(("Resolution", f"{_up_to(found)}{found.resolution:.1f} Å", f"FSC 0.143, {how}{limit}"))
        elif found.curve is not None:
            items.append(("Resolution", "–", f"{how} do not correlate"))
        else:
            items.append(("Resolution", "–", 'no half volumes; reconstruct into a folder with halves="tilts"'))
        if slab is not None and slab.found:
            items.append(("Specimen", f"{slab.thickness / 10:.0f} nm", "thickness of its slab"))
            items.append(("Slab tilt", f"{slab.tilt_x:+.1f}°, {slab.tilt_y:+.1f}°", _level(found)))
        else:
            items.append(("Specimen", "–", found.no_slab))
    if found.tilts:
        used, known = _used(found), [row.angle for row in found.tilts if row.angle is not None]
        left = len(found.tilts) - len(used)
        span = f"{min(known):.0f}° to {max(known):.0f}°" if known else ""
        items.append(("Images", str(len(used)), f"{span}{f'; {left} left out' if left else ''}"))
    if found.correlation is not None:
        items.append(("Agreement", f"{found.correlation:.2f}", "median correlation with the reprojection"))
    if found.shift is not None and found.largest_shift is not None:
        items.append(("Residual shift", f"{found.shift:.1f} Å", f"median; largest {found.largest_shift:.0f} Å"))
    if slab is not None and not math.isnan(slab.contrast):
        items.append(("Contrast", f"{slab.contrast:.1f} ×", "variance in the specimen over that outside"))
    if subject.seconds is not None:
        items.append(("Reconstruction", f"{subject.seconds:.1f} s", f"this report {found.seconds:.1f} s"))
    return items


def _level(found: Findings) -> str:
    """Describe the two tilts of the slab, and how to level it where that is worth while."""
    by = found.levelling
    if by is None or max(map(abs, by)) < LEVEL:
        return "about x, about y"
    return f"about x, about y; level with tilt_angle={by[0]:.1f} x_tilt={by[1]:.1f}"


def _used(found: Findings) -> list[TiltRow]:
    """Give the images that the tomogram was made from, or would be."""
    return [row for row in found.tilts if row.flag not in ("excluded", "blank", "not finite", "no CTF")]


def _facts(found: Findings) -> list[tuple[str, str]]:
    """Give how the tomogram was made, by label; the statistics of its grey values with it."""
    greys = found.greys
    facts = [("file", str(found.subject.path))] if found.subject.path is not None else []
    if greys:
        facts.append(("grey values", f"{greys[0]:.4g} to {greys[4]:.4g}; 0.3 % below {greys[1]:.4g}, 0.3 % above "
                                     f"{greys[3]:.4g}; median {greys[2]:.4g}, deviation {greys[5]:.4g}"))  # fmt: skip
    return facts + [fact for fact in found.facts if fact[1]]
