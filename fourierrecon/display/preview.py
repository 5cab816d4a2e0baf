"""Draws previews of volumes: three central sections as PNG, several volumes on a sheet, a walk through z as a film."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.display.panels import scale_bar
from fourierrecon.display.sections import greys, sections, thickness_in_voxels, walk
from fourierrecon.errors import DataError, UsageError
from fourierrecon.io.files import replacing
from fourierrecon.text import counted
from fourierrecon.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Kinds of files that hold a walk through a volume.
MOVIES = (".gif", ".webp", ".mp4")
#: Frames of a walk at the most, frames a second, and the longer side of a frame, px.
FRAMES, RATE, FRAME_SIDE = 60, 12, 480
#: Inches: longer side of a single preview and of one on a sheet, room for the title, gaps, border.
SINGLE, TILE, HEAD, GAP, BORDER = 8.0, 3.4, 0.5, 0.05, 0.1
#: Bytes of memory that matplotlib takes.
LIBRARY = 120_000_000
#: Widest sheet, inches.
SHEET = 16.0
#: Characters of a title in bold that fill an inch.
LETTERS = 10.5


def preview_png(
    path: str | os.PathLike[str],
    volumes: Sequence[tuple[str, Volume]],
    thickness: str | None = None,
    *,
    dpi: int = 130,
) -> None:
    """Draw the central XY, XZ and YZ sections of volumes into a PNG file, each volume with a title and a scale bar.

    Parameters
    ----------
    path
        PNG file to be written, all of it or nothing.
    volumes
        Name and volume of each; several make a sheet. A voxel size of 0 is unknown: no scale bar then.
    thickness
        Thickness of the slabs that are averaged, see :func:`fourierrecon.display.sections.thickness_in_voxels`.
    dpi
        Dots per inch.

    Raises
    ------
    UsageError
        If there is no volume, or the thickness makes no sense.
    """
    if not volumes:
        raise UsageError("a preview needs at least one volume")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    side = SINGLE if len(volumes) == 1 else TILE
    # inches per voxel, and the size of each volume's own picture
    scales = [side / max(v.data.shape[2] + v.data.shape[0], v.data.shape[1] + v.data.shape[0]) for _, v in volumes]
    sizes = [_extent(v, scale) for (_, v), scale in zip(volumes, scales, strict=True)]
    width, height = (max(s[axis] for s in sizes) for axis in (0, 1))
    columns = min(len(volumes), max(1, int(SHEET / width)), int(np.ceil(np.sqrt(len(volumes) * height / width))) or 1)
    rows = -(-len(volumes) // columns)
    figure = Figure((columns * width + BORDER, rows * height + BORDER))
    FigureCanvasAgg(figure)
    for number, ((name, volume), scale) in enumerate(zip(volumes, scales, strict=True)):
        left = BORDER + width * (number % columns)
        top = rows * height + BORDER - height * (number // columns)
        _three_sections(figure, (left, top), name, volume, scale, thickness, width - BORDER)
    with replacing(path) as file:
        figure.savefig(file, dpi=dpi, format="png", facecolor="white")


def preview_memory(shape: tuple[int, int, int]) -> int:
    """Give the bytes of memory that :func:`preview_png` takes for a volume ``(z, y, x)``, with the library it uses."""
    depth, height, width = shape
    return LIBRARY + 48 * (height * width + depth * width + height * depth)


def preview_movie(
    path: str | os.PathLike[str], name: str, volume: Volume, thickness: str | None = None
) -> tuple[int, int]:
    """Draw a walk through a volume along z into a GIF, WebP or MP4 file.

    Parameters
    ----------
    path
        File to be written, all of it or nothing; its ending chooses the format. MP4 takes the program ffmpeg.
    name
        Name for the title.
    volume
        Read slab by slab.
    thickness
        Thickness of the slabs, as for :func:`preview_png`.

    Returns
    -------
    Number of frames, and thickness of the slabs in voxels.

    Raises
    ------
    UsageError
        If the ending is none of these, or the thickness makes no sense.
    DataError
        If there is no ffmpeg, or it fails.
    """
    kind = Path(path).suffix.lower()
    if kind not in MOVIES:
        raise UsageError(f"{os.fspath(path)}: a walk through a volume is a {', '.join(MOVIES)} file")
    encoder = shutil.which("ffmpeg")
    if kind == ".mp4" and encoder is None:
        raise DataError(
            f"cannot write {os.fspath(path)}: mp4 takes the program ffmpeg; install it, or give .webp or .gif"
        )
    thick = thickness_in_voxels(thickness, volume.voxel_size)
    slabs = list(_small(walk(volume, thick, FRAMES)))
    frames = list(_frames(name, volume, slabs))
    with replacing(path) as file:
        if kind == ".mp4":
            assert encoder is not None
            _encode(encoder, Path(file.name), frames)
        else:
            from PIL import Image

            # 32 greys look the same in motion, and GIF packs them into two thirds
            first, *rest = (Image.fromarray(frame // 8 * 8 + 4 if kind == ".gif" else frame) for frame in frames)
            more = {"quality": 75} if kind == ".webp" else {}
            duration = round(1000 / RATE)
            first.save(file, kind[1:], save_all=True, append_images=rest, duration=duration, loop=0, **more)
    return len(frames), thick


def caption(volume: Volume) -> str:
    """Give one line on the size of a volume and of its voxels.

    Parameters
    ----------
    volume
        A voxel size of 0 is unknown.
    """
    depth, height, width = volume.data.shape
    size = f"{volume.voxel_size:.4g} Å" if volume.voxel_size > 0 else "unknown size"
    return f"{width} × {height} × {depth} voxels of {size}"


def _extent(volume: Volume, scale: float) -> tuple[float, float]:
    """Width and height in inches of one volume's picture with the space around it."""
    depth, height, width = volume.data.shape
    return (width + depth) * scale + GAP + BORDER, (height + depth) * scale + GAP + HEAD + BORDER


def _three_sections(
    figure: Figure,
    corner: tuple[float, float],
    name: str,
    volume: Volume,
    scale: float,
    thickness: str | None,
    room: float,
) -> None:
    """Draw XY, to its right YZ, below it XZ, so that neighbours share an axis; above, the title."""
    from matplotlib.patheffects import withStroke

    total_width, total_height = figure.get_size_inches()
    left, top = corner
    thick = thickness_in_voxels(thickness, volume.voxel_size)
    nm = f" ({thick * volume.voxel_size / 10:.3g} nm)" if volume.voxel_size > 0 else ""
    slabs = f"means over {counted(thick, 'voxel')}{nm}"
    cut = sections(volume, thick)
    for text, down, size, weight, colour in (
        (_shorten(name, int(room * LETTERS)), 0.2, 10, "bold", "black"),
        (f"{caption(volume)}; {slabs}", 0.38, 7, "normal", "0.35"),
    ):
        figure.text(
            left / total_width, 1 - (total_height - top + down) / total_height, text, fontsize=size, weight=weight,
            color=colour, ha="left", va="baseline",
        )  # fmt: skip
    height, width = cut.xy.shape
    across, down = width * scale + GAP, height * scale + GAP
    places = (("XY", cut.xy, 0.0, 0.0), ("YZ", cut.yz, across, 0.0), ("XZ", cut.xz, 0.0, down))
    for label, image, x, y in places:
        rows, columns = (n * scale for n in image.shape)
        bottom = top - HEAD - y - rows
        axis = figure.add_axes(
            ((left + x) / total_width, bottom / total_height, columns / total_width, rows / total_height)
        )
        _show(axis, image, greys(image))
        if min(rows, columns) > 0.25:
            mark = axis.text(
                0.05 / columns, 1 - 0.05 / rows, label, transform=axis.transAxes, fontsize=7, va="top", ha="left"
            )
            mark.set_path_effects([withStroke(linewidth=2, foreground="white")])
        if label == "XY" and volume.voxel_size > 0:
            scale_bar(axis, volume.voxel_size, width)


def _show(axis: Axes, image: NDArray[Any], limits: tuple[float, float]) -> None:
    """Show a section, dense dark, in greys between two values."""
    # what is not finite is shown as the middle grey
    shown = np.where(np.isfinite(image), image, sum(limits) / 2)
    axis.imshow(shown, cmap="gray", vmin=limits[0], vmax=limits[1], interpolation="lanczos", aspect="auto")
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(linewidth=0.5, color="0.25")


def _shorten(name: str, most: int) -> str:
    """Leave out the middle of a name that is too long."""
    if len(name) <= max(most, 8):
        return name
    half = (max(most, 8) - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def _small(slabs: Iterable[tuple[float, NDArray[Any]]]) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Average squares of voxels where a slab has more of them than a frame can show twice."""
    for z, slab in slabs:
        factor = max(1, max(slab.shape) // (2 * FRAME_SIDE))
        height, width = (n // factor * factor for n in slab.shape)
        parts = slab[:height, :width].reshape(height // factor, factor, width // factor, factor)
        yield z, parts.mean((1, 3)).astype(np.float32)


def _frames(
    name: str, volume: Volume, slabs: Sequence[tuple[float, NDArray[np.float32]]]
) -> Iterator[NDArray[np.uint8]]:
    """Draw the frames of a walk, ``(height, width)`` each: the section, above it name and depth. Sides are even."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    depth, height, width = volume.data.shape
    dpi = 100
    scale = FRAME_SIDE / max(height, width)
    columns, rows = (max(2, round(n * scale / 2) * 2) for n in (width, height))
    columns, head = max(columns, 160), 40
    figure = Figure((columns / dpi, (rows + head) / dpi), dpi=dpi)
    canvas: Any = FigureCanvasAgg(figure)
    share = width * scale / columns
    axis = figure.add_axes(((1 - share) / 2, 0, share, rows / (rows + head)))
    # one scale of greys for all, or the walk would flicker
    limits = greys(np.stack([slab for _, slab in slabs[:: max(1, len(slabs) // 12)]]))
    _show(axis, slabs[0][1], limits)
    if volume.voxel_size > 0:
        scale_bar(axis, volume.voxel_size, width)
    letters = int(columns / dpi * LETTERS * 10 / 8)
    figure.text(4 / columns, 1 - 15 / (rows + head), _shorten(name, letters), fontsize=8, weight="bold")
    line = figure.text(4 / columns, 1 - 32 / (rows + head), "", fontsize=7, color="0.3")
    shown = axis.images[0]
    for z, slab in slabs:
        shown.set_data(np.where(np.isfinite(slab), slab, sum(limits) / 2))
        nm = f"{z * volume.voxel_size / 10:.0f} of {depth * volume.voxel_size / 10:.0f} nm, " * (volume.voxel_size > 0)
        line.set_text(f"z = {nm}section {z + 1:g} of {depth}")
        canvas.draw()
        yield np.asarray(canvas.buffer_rgba())[:, :, :3].mean(-1).round().astype(np.uint8)


def _encode(encoder: str, path: Path, frames: Sequence[NDArray[np.uint8]]) -> None:
    """Let ffmpeg make an MP4 file of frames."""
    height, width = frames[0].shape
    command = [
        encoder, "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{width}x{height}",
        "-r", str(RATE), "-i", "-", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4", str(path),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, input=b"".join(f.tobytes() for f in frames), capture_output=True, check=False)
    except OSError as error:
        raise DataError(f"cannot run {encoder}: {error.strerror or error}; give .webp or .gif instead") from error
    if done.returncode:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        raise DataError(f"{encoder} could not make the film: {reason}; give .webp or .gif instead")
