"""Draws small charts as SVG for a page: lines, areas, dots and crosses. Colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup, escape

#: Size of a chart and the room around its plot for labels: left, right, top, bottom. Units of the SVG, about px.
WIDTH, HEIGHT = 380, 200
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 14, 40


@dataclass(frozen=True)
class Axis:
    """An axis.

    Parameters
    ----------
    label
        Label, with the unit.
    low, high
        Ends of the axis.
    ticks
        ``(value, text)``; default: round numbers.
    """

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...] | None = None

    def marks(self, most: int) -> Sequence[tuple[float, str]]:
        """Give its ticks, about so many at the most."""
        return self.ticks if self.ticks is not None else round_ticks(self.low, self.high, most)


@dataclass(frozen=True)
class Trace:
    """One set of values.

    Parameters
    ----------
    x, y
        Places; those that are not finite are gaps of a line.
    kind
        ``line``, ``area`` (a line, filled down to the axis), ``dots`` or ``crosses``.
    style
        A class of the page's style sheet.
    titles
        Text for each point that shows when the mouse is over it.
    """

    x: Sequence[float]
    y: Sequence[float]
    kind: Literal["line", "area", "dots", "crosses"] = "line"
    style: str = "plain"
    titles: Sequence[str] = ()


@dataclass(frozen=True)
class Guide:
    """A line across the plot, or an upright band, with a word at it.

    Parameters
    ----------
    low, high
        Place of the guide: one value for a line, two for a band.
    upright
        Whether the place is a value of x; else it is one of y.
    word
        Text beside the guide.
    style
        A class of the page's style sheet.
    """

    low: float
    high: float | None = None
    upright: bool = True
    word: str = ""
    style: str = "guide"


def chart(title: str, x: Axis, y: Axis, traces: Sequence[Trace], guides: Sequence[Guide] = ()) -> Markup:
    """Draw a chart, an ``<svg>`` element.

    Parameters
    ----------
    title
        Description of the chart, for those who cannot see it.
    x, y
        Axes; values beyond them are drawn at their ends.
    traces
        Sets of values, drawn in their order.
    guides
        Guides, drawn below the values.
    """
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place(value: float, axis: Axis, start: float, end: float) -> float:
        span = axis.high - axis.low or 1.0
        return start + min(max((value - axis.low) / span, 0.0), 1.0) * (end - start)

    def across(value: float) -> float:
        return place(value, x, LEFT, right)

    def up(value: float) -> float:
        return place(value, y, bottom, TOP)

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        *(_draw_guide(guide, across, up) for guide in guides),
    ]
    for value, text in y.marks(5):
        parts.append(f'<path class="grid" d="M{LEFT} {up(value):.1f}H{right}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 6}" y="{up(value) + 4:.1f}" text-anchor="end">{escape(text)}</text>'
        )
    for value, text in x.marks(7):
        parts.append(f'<path class="grid" d="M{across(value):.1f} {bottom}v4"/>')
        parts.append(
            f'<text class="tick" x="{across(value):.1f}" y="{bottom + 16}" text-anchor="middle">{escape(text)}</text>'
        )
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
    middle = (LEFT + right) / 2, (TOP + bottom) / 2
    parts.append(f'<text class="label" x="{middle[0]}" y="{HEIGHT - 5}" text-anchor="middle">{escape(x.label)}</text>')
    parts.append(
        f'<text class="label" transform="translate(11 {middle[1]}) rotate(-90)" text-anchor="middle">'
        f"{escape(y.label)}</text>"
    )
    for trace in traces:
        points = [
            (across(a), up(b), math.isfinite(a) and math.isfinite(b)) for a, b in zip(trace.x, trace.y, strict=True)
        ]
        parts.append(_draw(trace, points, bottom))
    parts.append("</svg>")
    # every text in it was escaped
    return Markup("".join(parts))


def round_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Choose round numbers within a range, ``(value, text)``.

    Parameters
    ----------
    low, high
        The range.
    most
        Largest number of ticks, about.
    """
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        return []
    rough = (high - low) / max(most, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    return [((first + i) * step, f"{(first + i) * step + 0.0:.6g}") for i in range(count)]


def _draw_guide(guide: Guide, across: Callable[[float], float], up: Callable[[float], float]) -> str:
    """Draw a guide."""
    right, bottom, word = WIDTH - RIGHT, HEIGHT - BOTTOM, escape(guide.word)
    if not guide.upright:
        y = up(guide.low)
        text = f'<text class="word {guide.style}" x="{right - 4}" y="{y - 5:.1f}" text-anchor="end">{word}</text>'
        return f'<path class="{guide.style}" d="M{LEFT} {y:.1f}H{right}"/>{text}'
    low, high = across(guide.low), across(guide.low if guide.high is None else guide.high)
    if guide.high is not None:
        at, anchor = (low + high) / 2, "middle"
        shape = (
            f'<rect class="{guide.style}" x="{low:.1f}" y="{TOP}" width="{high - low:.1f}" height="{bottom - TOP}"/>'
        )
    else:
        # the word stays within the plot
        at, anchor = (low - 5, "end") if low > 0.62 * right else (low + 5, "start")
        shape = f'<path class="{guide.style}" d="M{low:.1f} {TOP}V{bottom}"/>'
    return f'{shape}<text class="word {guide.style}" x="{at:.1f}" y="{TOP + 11}" text-anchor="{anchor}">{word}</text>'


def _draw(trace: Trace, points: Sequence[tuple[float, float, bool]], bottom: float) -> str:
    """Draw values that are placed already."""
    if trace.kind in ("line", "area"):
        path, pen = [], False
        for a, b, known in points:
            if known:
                path.append(f"{'L' if pen else 'M'}{a:.1f} {b:.1f}")
            pen = known
        line = f'<path class="trace {trace.style}" d="{"".join(path)}"/>'
        known_points = [p for p in points if p[2]]
        if trace.kind == "line" or not known_points:
            return line
        first, last = known_points[0][0], known_points[-1][0]
        outline = "L".join(f"{a:.1f} {b:.1f}" for a, b, _ in known_points)
        return f'<path class="area {trace.style}" d="M{first:.1f} {bottom}L{outline}L{last:.1f} {bottom}Z"/>{line}'
    drawn = []
    for i, (a, b, known) in enumerate(points):
        if not known:
            continue
        title = f"<title>{escape(trace.titles[i])}</title>" if trace.titles else ""
        if trace.kind == "dots":
            drawn.append(f'<circle class="dot {trace.style}" cx="{a:.1f}" cy="{b:.1f}" r="3">{title}</circle>')
        else:
            drawn.append(
                f'<g class="cross {trace.style}"><circle cx="{a:.1f}" cy="{b:.1f}" r="6.5"/>'
                f'<path d="M{a - 3:.1f} {b - 3:.1f}l6 6m0-6l-6 6"/>{title}</g>'
            )
    return "".join(drawn)
