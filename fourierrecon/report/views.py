"""The pictures of a report: sections of a tomogram as small WebP images that stand in the page itself."""

from __future__ import annotations

import io
import math
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.display.panels import BARS
from fourierrecon.display.sections import greys
from fourierrecon.report.findings import Findings
from fourierrecon.text import counted

#: Longer side of the XY section, and sides of a thumbnail, px.
SIDE, THUMB = 620, 144
#: Quality of the WebP images, of 100.
QUALITY = 80


@dataclass(frozen=True)
class Picture:
    """An image of a page: its size in px, its description for those who cannot see it, and its data as an address."""

    width: int
    height: int
    text: str
    source: str


@dataclass(frozen=True)
class Bar:
    """A scale bar: its length, nm, and its share of the picture's width, percent."""

    nm: int
    percent: str


@dataclass(frozen=True, kw_only=True)
class View:
    """One section.

    Parameters
    ----------
    label
        ``XY``, ``YZ`` or ``XZ``.
    picture
        The section.
    size
        Width and height of the section, voxels.
    surfaces
        Both surfaces of the specimen, lines ``(x1, y1, x2, y2)`` in voxels; empty where they are not known.
    named
        Whether there is room for the label.
    bar
        Scale bar.
    """

    label: str
    picture: Picture
    size: tuple[int, int]
    surfaces: tuple[tuple[str, ...], ...] = ()
    named: bool = True
    bar: Bar | None = None


@dataclass(frozen=True)
class SectionViews:
    """The three sections: width and depth of the tomogram in voxels, their thickness in words, and the views."""

    width: int
    depth: int
    caption: str
    views: tuple[View, ...]

    @property
    def marked(self) -> bool:
        """Whether the surfaces of the specimen are drawn."""
        return any(view.surfaces for view in self.views)


def views_of(found: Findings) -> SectionViews | None:
    """Give the XY, YZ and XZ sections with scale bar and the surfaces of the specimen; None where there is no volume.

    Parameters
    ----------
    found
        Figures of a tomogram.
    """
    views = found.views
    if views is None:
        return None
    depth, height, width = found.shape
    scale = min(1.0, SIDE / max(height, width))
    nm = f", {found.thick * found.voxel_size / 10:.3g} nm" if found.voxel_size > 0 else ""
    caption = f"mean over {counted(found.thick, 'voxel')}{nm}"
    made = []
    for label, image, surfaces in (
        ("XY", views.xy, ()),
        ("YZ", views.yz, _surfaces(found, "y")),
        ("XZ", views.xz, _surfaces(found, "x")),
    ):
        rows, columns = image.shape
        made.append(
            View(
                label=label,
                picture=_picture(image, scale, f"{label} section of {found.subject.name}, {caption}"),
                size=(columns, rows),
                surfaces=surfaces,
                named=label == "XY" or depth * 8 > max(height, width),
                bar=_bar(found, width) if label == "XY" else None,
            )
        )
    return SectionViews(width, depth, caption, tuple(made))


def thumbnail(found: Findings) -> Picture | None:
    """Give a small XY section; None where there is no volume.

    Parameters
    ----------
    found
        Figures of a tomogram.
    """
    if found.views is None:
        return None
    xy = found.views.xy
    return _picture(xy, min(1.0, THUMB / min(xy.shape)), f"XY section of {found.subject.name}")


def _picture(values: NDArray[Any], scale: float, text: str) -> Picture:
    """Turn a section into a WebP image whose data stand in its address."""
    from PIL import Image

    black, white = greys(values)
    shown = np.where(np.isfinite(values), values, (black + white) / 2)
    shades = np.clip((shown - black) / (white - black) * 255, 0, 255).astype(np.uint8)
    picture = Image.fromarray(shades)
    width, height = (max(1, round(scale * n)) for n in values.shape[::-1])
    if (width, height) != picture.size:
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "WEBP", quality=QUALITY, method=4)
    return Picture(width, height, text, f"data:image/webp;base64,{b64encode(buffer.getvalue()).decode()}")


def _bar(found: Findings, width: int) -> Bar | None:
    """Give a scale bar of a round length, at most 30 % of the width; None where the voxel size is unknown."""
    if not found.voxel_size > 0:
        return None
    field = width * found.voxel_size / 10
    length = max((bar for bar in BARS if bar <= 0.3 * field), default=BARS[0])
    return Bar(length, f"{100 * length / field:.2f}")


def _surfaces(found: Findings, axis: str) -> tuple[tuple[str, ...], ...]:
    """Give both surfaces of the specimen as lines over the XZ or YZ section."""
    slab = found.slab
    if slab is None or not slab.found:
        return ()
    depth, height, width = found.shape
    slope_x, slope_y = -math.tan(math.radians(slab.tilt_y)), math.tan(math.radians(slab.tilt_x))
    middle = depth / 2 + slab.centre / found.voxel_size
    half = slab.thickness / found.voxel_size / 2 * math.hypot(1, slope_x, slope_y)
    side, slope = (width, slope_x) if axis == "x" else (height, slope_y)
    lines = []
    for z in (middle - half, middle + half):
        first, last = z - slope * side / 2, z + slope * side / 2
        ends = (0, first, side, last) if axis == "x" else (first, 0, last, side)
        lines.append(tuple(f"{end:.2f}" for end in ends))
    return tuple(lines)
