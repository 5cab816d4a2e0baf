"""The page of a report: one HTML file that holds everything it shows, and needs no network."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from pathlib import Path

from fourierrecon import __version__
from fourierrecon.io.files import replacing
from fourierrecon.report.assessment import Findings, TiltRow
from fourierrecon.report.figures import charts_of, flag_class, tilt_chart
from fourierrecon.report.views import thumbnail, views_of

#: A slab that is tilted by less, degrees, is level.
LEVEL = 2.0
#: What becomes of a tomogram, in words.
STATUS = {"fine": "fine", "look": "to look at", "failed": "failed"}


def write_report(path: str | os.PathLike[str], title: str, found: Sequence[Findings], advice: str = "") -> None:
    """Write a report, all of it or nothing.

    Parameters
    ----------
    path
        HTML file.
    title
        Of the page.
    found
        From :func:`fourierrecon.report.assessment.find_out`; several make a table above.
    advice
        What to do next, one line.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    template = files("fourierrecon.report").joinpath("report.html").read_text("utf-8")
    several = len(found) > 1
    body = "".join(
        [
            f"<header><h1>{escape(title if several else 'Tomogram report')}</h1>{_summary(found)}</header>",
            "<main id=main tabindex=-1>",
            _table(found) if several else "",
            *(_tomogram(each, number, opened=not several) for number, each in enumerate(found)),
            "</main><footer>",
            f"<p>{_text(advice)}</p>" if advice else "",
            f"<p>fourierrecon {__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. Flags come from comparing each "
            "image with the reprojection of its tomogram; look at an image before you exclude it.</p></footer>",
        ]
    )
    page = template.replace("<!--title-->", escape(title)).replace("<!--class-->", "" if several else ' class="only"')
    with replacing(Path(path)) as file:
        file.write(page.replace("<!--body-->", body).encode(errors="backslashreplace"))


def finding_words(found: Findings) -> str:
    """Say in a few words what stands out of one tomogram; empty if nothing does.

    Parameters
    ----------
    found
        Its figures.
    """
    groups: dict[str, list[str]] = {}
    for row in found.flagged:
        groups.setdefault(row.flag, []).append(str(row.number))
    words = [f"{flag}: image{'s' * (len(rows) > 1)} {', '.join(rows)}" for flag, rows in groups.items()]
    return "; ".join([*filter(None, [found.error]), *words, *found.notes])


def _summary(found: Sequence[Findings]) -> str:
    """Give one line on all tomograms, with badges."""
    if len(found) == 1:
        return ""
    parts = [
        f'<span class="badge {status}">{count} {STATUS[status]}</span>'
        for status in STATUS
        if (count := sum(each.status == status for each in found))
    ]
    return f"<p>{len(found)} tomograms: {' '.join(parts)}</p>"


def _table(found: Sequence[Findings]) -> str:
    """Give the table of the set: every row leads to its tomogram."""
    # heading, unit, kind, and what else is said of the cell on a narrow screen
    heads = [
        ("Tomogram", "", "text"), ("Status", "", "text"), ("Findings", "", "number"), ("Tilts", "", "number"),
        ("Resolution", "Å", "number"), ("Agreement", "", "number"), ("Largest shift", "Å", "number"),
        ("Thickness", "nm", "number"), ("Slab tilt", "°", "number"), ("Time", "s", "number"),
    ]  # fmt: skip
    head = "".join(
        f"<th scope=col class={'text' if name == 'Findings' else kind} data-kind={kind}><button type=button>{name}"
        f"{f' <span class=unit>{unit}</span>' if unit else ''}</button></th>"
        for name, unit, kind in heads
    )
    rows = "".join(_row(each, number) for number, each in enumerate(found))
    options = "".join(f"<option value={key}>{words}</option>" for key, words in STATUS.items())
    return (
        "<section class=card aria-label='All tomograms'><div class=tools>"
        "<label>Filter <input id=words type=search placeholder='name, finding' autocomplete=off></label>"
        f"<label>Status <select id=status><option value=''>all</option>{options}</select></label>"
        "<span class='quiet small' id=shown role=status></span></div>"
        "<div class=scroll><table id=set><thead><tr><th scope=col class='text thumb'>"
        f"<span class=unit>XY</span></th>{head}</tr></thead><tbody>{rows}</tbody></table>"
        "<p class=none id=none hidden>No tomogram fits the filter.</p></div></section>"
    )


def _row(found: Findings, number: int) -> str:
    name, status = found.subject.name, found.status
    text = escape(f"{name} {STATUS[status]} {finding_words(found)}".lower(), quote=True)
    slab = found.slab if found.slab is not None and found.slab.found else None
    numbers = [
        ("tilts", len(_used(found)) or None, "{:.0f}"),
        ("resolution, Å", found.resolution, "{:.1f}"),
        ("agreement", found.correlation, "{:.2f}"),
        ("largest shift, Å", found.largest_shift, "{:.0f}"),
        ("thickness, nm", slab.thickness / 10 if slab else None, "{:.0f}"),
        ("slab tilt, °", max(abs(slab.tilt_x), abs(slab.tilt_y)) if slab else None, "{:.1f}"),
        ("time, s", found.subject.seconds, "{:.1f}"),
    ]
    cells = "".join(
        f'<td data-label="{label}" data-value="{"" if value is None else f"{value:.6g}"}"'
        f"{' class=empty' if value is None else ''}>{'–' if value is None else shape.format(value)}</td>"
        for label, value, shape in numbers
    )
    image = thumbnail(found)
    said = "".join(f"<div>{_finding(flag, found)}</div>" for flag in found.counts)
    if found.notes:
        said += f"<div>{len(found.notes)} warning{'s' * (len(found.notes) > 1)}</div>"
    said = said or "<span class=quiet>none</span>"
    if found.error:
        said = f"<div>{_text(_without_source(found))}</div>"
    order, count = list(STATUS).index(status), len(found.flagged) + len(found.notes) + 1000 * bool(found.error)
    return (
        f'<tr data-status={status} data-text="{text}" data-for=t{number}>'
        f"<td class='text thumb'>{image}</td>"
        f"<td class='text name'><a href=#t{number}>{escape(name)}</a></td>"
        f"<td class='text status' data-value={order}><span class='badge {status}'>{STATUS[status]}</span></td>"
        f"<td class='text findings' data-value={count}>{said}</td>{cells}</tr>"
    )


def _text(words: str) -> str:
    """Write a text so that options in it are not broken over lines."""
    return re.sub(r"--[a-zA-Z_]+( -?[0-9.]+)?", lambda option: f"<span class=option>{option[0]}</span>", escape(words))


def _without_source(found: Findings) -> str:
    """Give the error without the name of the set, which is that of all others."""
    series = found.subject.series
    return found.error if series is None else found.error.removeprefix(f"{series.source}: ")


def _finding(flag: str, found: Findings) -> str:
    """Say which images have a flag."""
    numbers = [str(row.number) for row in found.flagged if row.flag == flag]
    more = f" and {len(numbers) - 6} more" if len(numbers) > 7 else ""
    shown = numbers[:6] if more else numbers
    return f"<b class='{flag_class(flag)}'>{escape(flag)}</b> {', '.join(shown)}{more}"


def _tomogram(found: Findings, number: int, *, opened: bool) -> str:
    subject = found.subject
    parts = [
        f"<details class=tomogram id=t{number}{' open' if opened else ''}><summary><h2>{escape(subject.name)}</h2>"
        f"<span class='badge {found.status}'>{STATUS[found.status]}</span>"
        f"<span class='quiet small'>{escape(_caption(found))}</span></summary><div>",
        _messages(found),
        _figures(found),
    ]
    if found.views is not None:
        beside = tilt_chart(found)
        parts.append(f"<div class=two>{views_of(found)}<div class='charts one'>{beside}</div></div>")
    drawn = charts_of(found)
    if drawn:
        parts.append(f"<div class=charts>{drawn}</div>")
    parts += [_tilts(found), _facts(found), "</div></details>"]
    return "".join(parts)


def _caption(found: Findings) -> str:
    if found.error or not found.shape[0]:
        return "no tomogram"
    depth, height, width = found.shape
    return f"{width} × {height} × {depth} voxels of {found.voxel_size:.4g} Å"


def _messages(found: Findings) -> str:
    """Say what is wrong, and what to do about it."""
    parts = []
    if found.error:
        parts.append(f"<div class=message role=note><p><b>Failed.</b> {_text(found.error)}</p></div>")
    if found.flagged:
        items = "".join(f"<li>{_about(row)}</li>" for row in found.flagged)
        count = len(found.flagged)
        parts.append(
            f"<div class='message look'><p><b>{count} image{'s' * (count > 1)} to look at</b></p><ul>{items}</ul></div>"
        )
    notes = [*found.notes]
    if found.no_agreement and not found.error:
        notes.append(f"images were not compared with the tomogram: {found.no_agreement}")
    if notes:
        lines = "".join(f"<li>{escape(note)}</li>" for note in notes)
        parts.append(f"<div class='message note'><ul>{lines}</ul></div>")
    return "".join(parts)


def _about(row: TiltRow) -> str:
    angle = "" if row.angle is None else f" at {row.angle:.1f}°"
    return f"image {row.number}{angle} – {escape(row.words)}"


def _figures(found: Findings) -> str:
    """Give the figures that matter most."""
    subject, slab = found.subject, found.slab
    items: list[tuple[str, str, str]] = []
    if not found.error:
        kind = {"tilts": "halves of even and odd tilts", "frames": "halves of even and odd frames"}
        how = kind.get(subject.halves_of, "half volumes")
        if found.resolution is not None:
            limit = "; the limit of the voxels, a finer --bin may tell more" if found.at_limit else ""
            items.append(("Resolution", f"{found.resolution:.1f} Å", f"FSC 0.143, {how}{limit}"))
        elif found.curve is not None:
            items.append(("Resolution", "–", f"{how} do not correlate"))
        else:
            items.append(("Resolution", "–", "no half volumes; make them: --o FOLDER/ --halves tilts"))
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
    if slab is not None and slab.contrast == slab.contrast:
        items.append(("Contrast", f"{slab.contrast:.1f} ×", "variance in the specimen over that outside"))
    if subject.seconds is not None:
        items.append(("Reconstruction", f"{subject.seconds:.1f} s", f"this report {found.seconds:.1f} s"))
    cells = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(value)}<small>{_text(more)}</small></dd></div>"
        for label, value, more in items
    )
    return f"<dl class=figures>{cells}</dl>" if items else ""


def _level(found: Findings) -> str:
    """Say what the two tilts of the slab are, and how to level it where that is worth while."""
    by = found.levelling
    if by is None or max(map(abs, by)) < LEVEL:
        return "about x, about y"
    return f"about x, about y; level with --tiltangle_offset {by[0]:.1f} --x_tilt {by[1]:.1f}"


def _used(found: Findings) -> list[TiltRow]:
    """Give the images that the tomogram was made from, or would be."""
    return [row for row in found.tilts if row.flag not in ("excluded", "blank", "not finite", "no CTF")]


def _tilts(found: Findings) -> str:
    """Give the table of the images."""
    if not found.tilts:
        return ""
    head = (
        "<th scope=col>Image</th><th scope=col>Tilt <span class=unit>°</span></th><th scope=col class=text>Finding</th>"
        "<th scope=col>Defocus <span class=unit>µm</span></th><th scope=col>Exposure <span class=unit>e⁻/Å²</span></th>"
        "<th scope=col>Sees <span class=unit>%</span></th><th scope=col>Correlation</th>"
        "<th scope=col>Shift <span class=unit>Å (x, y)</span></th>"
        "<th scope=col>Best tilt <span class=unit>°</span></th><th scope=col class=text>In words</th>"
    )
    rows = "".join(_tilt(row) for row in found.tilts)
    return (
        "<section class=tilts><h3>Tilt by tilt</h3><div class=scroll tabindex=0 role=region "
        f"aria-label='Table of the images of {escape(found.subject.name, quote=True)}'>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _tilt(row: TiltRow) -> str:
    agreement, correlation = row.agreement, row.correlation
    meter = ""
    if correlation is not None:
        meter = f"<span class=meter><i style='width:{100 * max(correlation, 0):.0f}%'></i></span>"
    shift = "–" if agreement is None or row.shift is None else ", ".join(f"{round(s):+d}" for s in agreement.shift)
    best = agreement.best_angle if agreement is not None else None
    cells = [
        _number(row.defocus, 2), _number(row.exposure, 1),
        _number(None if row.coverage is None else 100 * row.coverage, 0), f"{_number(correlation, 2)}{meter}", shift,
        _number(best, 1),
    ]  # fmt: skip
    badge = f"<span class='badge {flag_class(row.flag)}'>{escape(row.flag)}</span>" if row.flag else ""
    words = row.words.partition(": ")[2] or row.words
    said = "" if words == row.flag else escape(words)
    return (
        f"<tr class='flag-{flag_class(row.flag)}'><td>{row.number}</td><td>{_number(row.angle, 1)}</td>"
        f"<td class=text>{badge}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}"
        f"<td class='text words'>{said}</td></tr>"
    )


def _number(value: float | None, digits: int) -> str:
    # no -0.0
    return "–" if value is None or value != value else f"{round(value, digits) + 0.0:.{digits}f}"


def _facts(found: Findings) -> str:
    greys = found.greys
    facts = [("file", str(found.subject.path))] if found.subject.path is not None else []
    if greys:
        facts.append(("grey values", f"{greys[0]:.4g} to {greys[4]:.4g}; 0.3 % below {greys[1]:.4g}, 0.3 % above "
                                     f"{greys[3]:.4g}; median {greys[2]:.4g}, deviation {greys[5]:.4g}"))  # fmt: skip
    facts += [fact for fact in found.facts if fact[1]]
    if not facts:
        return ""
    items = "".join(f"<dt>{escape(label)}</dt><dd>{escape(value)}</dd>" for label, value in facts)
    return f"<section><h3>How it was made</h3><dl class=facts>{items}</dl></section>"
