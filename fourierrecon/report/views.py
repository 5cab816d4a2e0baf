"""The pictures of a report: sections of a tomogram as small WebP images that stand in the page itself."""

from __future__ import annotations

import io
import math
from base64 import b64encode
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.display.panels import BARS
from fourierrecon.display.sections import greys
from fourierrecon.report.assessment import Findings

#: Longer side of the XY section, and sides of a thumbnail, px.
SIDE, THUMB = 620, 144
QUALITY = 80


def views_of(found: Findings) -> str:
    """Give the XY, YZ and XZ sections with scale bar and the surfaces of the specimen.

    Parameters
    ----------
    found
        Figures of a tomogram that has sections.
    """
    views = found.views
    assert views is not None
    depth, height, width = found.shape
    scale = min(1.0, SIDE / max(height, width))
    nm = f", {found.thick * found.voxel_size / 10:.3g} nm" if found.voxel_size > 0 else ""
    slabs = f"mean over {found.thick} voxel{'s' * (found.thick > 1)}{nm}"
    figures = []
    for label, image, lines in (
        ("XY", views.xy, ""),
        ("YZ", views.yz, _surfaces(found, "y")),
        ("XZ", views.xz, _surfaces(found, "x")),
    ):
        text = escape(f"{label} section of {found.subject.name}, {slabs}", quote=True)
        bar = _bar(found, width) if label == "XY" else ""
        caption = f"<figcaption>{label}</figcaption>" if label == "XY" or depth * 8 > max(height, width) else ""
        figures.append(f"<figure>{_image(image, scale, text)}{lines}{caption}{bar}</figure>")
    marked = " Dashed: the surfaces of the specimen." if found.slab is not None and found.slab.found else ""
    return (
        f"<div><h3>Sections</h3><div class=views style='grid-template-columns:minmax(0,{width}fr) minmax(0,{depth}fr)'>"
        f"{''.join(figures)}</div><p class='quiet small'>Central sections, {slabs}.{marked}</p></div>"
    )


def thumbnail(found: Findings) -> str:
    """Give a small XY section; nothing where there is none.

    Parameters
    ----------
    found
        Figures of a tomogram.
    """
    if found.views is None:
        return ""
    xy = found.views.xy
    text = escape(f"XY section of {found.subject.name}", quote=True)
    return _image(xy, min(1.0, THUMB / min(xy.shape)), text)


def _image(values: NDArray[Any], scale: float, text: str) -> str:
    """Give an image as an element that holds its data."""
    from PIL import Image

    black, white = greys(values)
    shown = np.where(np.isfinite(values), values, (black + white) / 2)
    shades = np.clip((shown - black) / (white - black) * 255, 0, 255).astype(np.uint8)
    picture = Image.fromarray(shades)
    size = tuple(max(1, round(scale * n)) for n in values.shape[::-1])
    if size != picture.size:
        picture = picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "WEBP", quality=QUALITY, method=4)
    data = b64encode(buffer.getvalue()).decode()
    return f'<img width={size[0]} height={size[1]} alt="{text}" src="data:image/webp;base64,{data}">'


def _bar(found: Findings, width: int) -> str:
    """Give a scale bar of a round length, about a fifth of the width."""
    if not found.voxel_size > 0:
        return ""
    field = width * found.voxel_size / 10
    length = max((bar for bar in BARS if bar <= 0.3 * field), default=BARS[0])
    return f"<span class=bar style='width:{100 * length / field:.2f}%'>{length} nm</span>"


def _surfaces(found: Findings, axis: str) -> str:
    """Draw both surfaces of the specimen over the XZ or YZ section."""
    slab = found.slab
    if slab is None or not slab.found:
        return ""
    depth, height, width = found.shape
    slope_x, slope_y = -math.tan(math.radians(slab.tilt_y)), math.tan(math.radians(slab.tilt_x))
    middle = depth / 2 + slab.centre / found.voxel_size
    half = slab.thickness / found.voxel_size / 2 * math.hypot(1, slope_x, slope_y)
    side, slope = (width, slope_x) if axis == "x" else (height, slope_y)
    lines = []
    for z in (middle - half, middle + half):
        first, last = z - slope * side / 2, z + slope * side / 2
        ends = (0, first, side, last) if axis == "x" else (first, 0, last, side)
        lines.append("<line x1='{:.2f}' y1='{:.2f}' x2='{:.2f}' y2='{:.2f}'/>".format(*ends))
    box = f"0 0 {side} {depth}" if axis == "x" else f"0 0 {depth} {side}"
    return f"<svg viewBox='{box}' preserveAspectRatio=none aria-hidden=true>{''.join(lines)}</svg>"
