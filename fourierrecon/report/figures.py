"""The charts of a report: agreement over the tilt angle, Fourier shell correlation, spectrum, profile along z."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from fourierrecon.quality.fsc import HALF_MAPS
from fourierrecon.report.findings import Findings, TiltRow
from fourierrecon.report.svg import Axis, Guide, Trace, chart
from fourierrecon.text import counted

#: Points of the curve of the signal-to-noise ratio, and the least power of ten that it is drawn down to.
SNR_POINTS, LEAST_LOG = 120, -4.0


@dataclass(frozen=True)
class Chart:
    """A chart of the page.

    Parameters
    ----------
    title
        Heading above it.
    drawing
        The ``<svg>`` element.
    caption
        Text below it.
    flags
        Flags that the legend explains.
    """

    title: str
    drawing: Markup
    caption: str = ""
    flags: tuple[str, ...] = ()


def flag_class(flag: str) -> str:
    """Give the class of a flag in the page's style sheet."""
    return flag.replace(" ", "-")


def tilt_charts(found: Findings) -> list[Chart]:
    """Draw correlation and residual shift of the images over their tilt angle.

    Parameters
    ----------
    found
        Figures of a tomogram; without an agreement of the images there is no chart.
    """
    rows = sorted((row for row in found.tilts if row.angle is not None), key=lambda row: row.angle or 0.0)
    known = [row for row in rows if row.correlation is not None]
    if len(known) < 2:
        return []
    angles = [row.angle or 0.0 for row in rows]
    room = 0.04 * (max(angles) - min(angles)) + 1
    x = Axis("tilt angle, °", min(angles) - room, max(angles) + room)
    correlations = [row.correlation or 0.0 for row in known]
    low = min(0.0, math.floor(10 * min(correlations)) / 10)
    shifts = [row.shift or 0.0 for row in known]
    high = max(1.15 * max(shifts), 10.0)
    flags = tuple(dict.fromkeys(row.flag for row in rows if row.flag not in ("", "excluded")))
    charts: list[Chart] = []
    for title, y, values, none in (
        ("Agreement with the reprojection", Axis("correlation", low, 1.0), [r.correlation for r in rows], low),
        ("Residual shift", Axis("shift, Å", 0.0, high), [r.shift for r in rows], 0.0),
    ):
        numbers = [math.nan if value is None else value for value in values]
        good = [i for i, row in enumerate(rows) if row.flag in ("", "unseen") and values[i] is not None]
        traces = [
            Trace([angles[i] for i in good], [numbers[i] for i in good], "line", "faint"),
            Trace([angles[i] for i in good], [numbers[i] for i in good], "dots", "", [_title(rows[i]) for i in good]),
        ]
        traces += [
            Trace([angles[i]], [numbers[i] if values[i] is not None else none], "crosses", flag_class(row.flag),
                  [_title(row)])
            for i, row in enumerate(rows)
            if row.flag not in ("", "unseen", "excluded") and not (values[i] is None and charts)
        ]  # fmt: skip
        drawn = chart(f"{title} over tilt angle, {counted(len(known), 'image')}", x, y, traces)
        charts.append(Chart(title, drawn, flags=() if charts else flags))
    return charts


def charts_of(found: Findings) -> list[Chart]:
    """Draw the curves of the volume and of its halves.

    Parameters
    ----------
    found
        Figures of a tomogram.
    """
    return [chart for chart in (_fsc(found), _profile(found), _spectrum(found), _snr(found)) if chart is not None]


def _title(row: TiltRow) -> str:
    parts = [f"image {row.number}, {row.angle:.1f}°"]
    if row.correlation is not None and row.shift is not None:
        parts.append(f"correlation {row.correlation:.2f}, shift {row.shift:.0f} Å")
    if row.words:
        parts.append(row.words)
    return ": ".join((parts[0], "; ".join(parts[1:])))


def _periods(limit: float) -> tuple[tuple[float, str], ...]:
    """Give ticks of a frequency axis up to a limit, 1/Å, by the periods."""
    finest = 1 / limit
    periods = [p for p in (1, 2, 3, 5, 7, 10, 14, 20, 30, 40, 60, 100, 200, 500, 1000) if p >= finest * 0.999]
    chosen: list[float] = []
    for period in periods:
        if all(abs(1 / period - 1 / other) > 0.085 * limit for other in chosen) and 1 / period > 0.05 * limit:
            chosen.append(period)
    return tuple((1 / period, f"{period:g}") for period in chosen)


def _fsc(found: Findings) -> Chart | None:
    if found.curve is None:
        return None
    curve = found.curve
    shown = [float(c) if math.isfinite(c) else math.nan for c in curve.correlation]
    x = Axis("period, Å", 0.0, curve.limit, _periods(curve.limit))
    guides = [Guide(HALF_MAPS, upright=False, word=f"{HALF_MAPS:g}")]
    if found.resolution is not None:
        guides.append(Guide(1 / found.resolution, word=f"{found.resolution:.1f} Å", style="found"))
    lowest = min([c for c in shown if c == c], default=0.0)
    y = Axis("correlation", min(0.0, math.floor(10 * lowest) / 10), 1.0)
    drawn = chart("Fourier shell correlation of the half volumes", x, y, [Trace(list(curve.frequency), shown)], guides)
    how = {
        "tilts": "Halves of even and odd tilts, within the wedge that the tilts measured. Each half lacks every other "
        "central slice: fine detail of a thick specimen looks worse than it is.",
        "frames": "Halves of even and odd frames, within the wedge that the tilts measured.",
    }.get(found.subject.halves_of, "Half volumes, within the wedge that the tilts measured.")
    return Chart("Fourier shell correlation", drawn, how)


def _profile(found: Findings) -> Chart | None:
    slab = found.slab
    if slab is None or len(slab.profile) < 3 or not np.nanmax(slab.profile) > 0:
        return None
    nm = slab.z / 10
    step = float(nm[1] - nm[0])
    x = Axis("z from the middle, nm", float(nm[0]) - step / 2, float(nm[-1]) + step / 2)
    guides = []
    if slab.found:
        half = slab.thickness / 20 * math.hypot(
            1, math.tan(math.radians(slab.tilt_x)), math.tan(math.radians(slab.tilt_y))
        )  # fmt: skip
        middle = slab.centre / 10
        guides.append(Guide(middle - half, middle + half, word=f"specimen, {slab.thickness / 10:.0f} nm", style="slab"))
    y = Axis("local variance", 0.0, 1.2 * float(np.nanmax(slab.profile)))
    drawn = chart("Local variance along z", x, y, [Trace(list(nm), list(slab.profile), "area")], guides)
    said = "Contrast at each depth, the slab's tilt taken out; the plateau is 1."
    if slab.problem:
        said += f" No thickness: {slab.problem}."
    return Chart("Specimen along z", drawn, said)


def _spectrum(found: Findings) -> Chart | None:
    if found.spectrum is None:
        return None
    frequency, amplitude = found.spectrum
    limit = float(frequency[-1] + frequency[0])
    known = amplitude > 0
    logs = np.log10(np.where(known, amplitude, 1.0))
    low = math.floor(2 * float(np.quantile(logs[known], 0.02))) / 2
    ticks = tuple((float(t), f"{10**t:g}" if t > -3 else f"1e{t}") for t in range(math.ceil(low), 1))
    values = [float(v) if k else math.nan for v, k in zip(logs, known, strict=True)]
    drawn = chart(
        "Amplitude spectrum of the tomogram",
        Axis("period, Å", 0.0, limit, _periods(limit)),
        Axis("amplitude", min(low, -0.5), 0.1, ticks),
        [Trace(list(frequency), values, "area")],
    )
    power = np.cumsum(amplitude**2 * frequency**2)
    half = frequency[int(np.searchsorted(power, power[-1] / 2))]
    said = f"Mean amplitude within the measured wedge. Half of the power lies beyond {1 / half:.0f} Å (finer)."
    return Chart("Spectrum", drawn, said)


def _snr(found: Findings) -> Chart | None:
    """Draw the signal-to-noise ratio of the images over frequency, in powers of ten."""
    if found.snr is None:
        return None
    frequency = np.asarray(found.snr.frequency)
    # what the voxels hold; the curve goes on to the pixels of the images
    limit = 0.5 / found.voxel_size if found.voxel_size > 0 else float(frequency[-1])
    places = np.linspace(float(min(frequency[0], limit / 2)), limit, SNR_POINTS)
    logs = np.log10(found.snr.at(places))
    low, high = math.floor(max(float(logs.min()), LEAST_LOG)), math.ceil(float(logs.max()) + 0.1)
    # at most six marks, one of them at 1
    step = max(1, math.ceil((high - low) / 5))
    ticks = tuple(
        (float(t), f"{10.0**t:g}" if -3 < t < 5 else f"1e{t}") for t in range(-(-low // step) * step, high + 1, step)
    )
    guides = [Guide(0.0, upright=False, word="signal = noise")] if low < 0 < high else []
    drawn = chart(
        "Signal-to-noise ratio of the images",
        Axis("period, Å", 0.0, limit, _periods(limit)),
        Axis("SNR", float(low), float(high), ticks),
        [Trace(list(places), list(logs))],
        guides,
    )
    how = found.snr.origin.capitalize() if found.snr.origin else "Curve of the passport"
    return Chart("Signal to noise", drawn, f"{how}. Power of signal over noise in one image, where its CTF is 1.")
