"""Pictures for notebooks: images in a row, and sections of volumes, in the greys of ``fourierrecon preview``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourierrecon.display.panels import scale_bar
from fourierrecon.display.sections import greys, sections, thickness_in_voxels
from fourierrecon.errors import UsageError
from fourierrecon.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Width of a figure, inches, and what its titles take.
WIDTH, TITLE = 10.2, 0.3
#: Colours of the lines that show where the XZ and the YZ section lie.
BLUE, ORANGE = "#0072B2", "#D55E00"


def show_images(
    images: Mapping[str, ArrayLike], *, voxel_size: float = 0.0, columns: int | None = None, width: float = WIDTH
) -> None:
    """Draw images side by side, each in greys of its own; dark is dark.

    Parameters
    ----------
    images
        Images ``(rows, columns)`` by title; all of them about equally wide.
    voxel_size
        Size of a pixel, Å, for a scale bar in the first image; 0: no bar.
    columns
        Images in a row. Default: all.
    width
        Width of the figure, inches.

    Raises
    ------
    UsageError
        If there is no image.
    """
    from matplotlib import pyplot as plt

    pictures = [np.asarray(image, np.float32) for image in images.values()]
    if not pictures:
        raise UsageError("images: there is none")
    columns = columns or len(pictures)
    rows = -(-len(pictures) // columns)
    share = max(picture.shape[0] / picture.shape[1] for picture in pictures)
    size = width, rows * (width / columns * share + TITLE)
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for axis, title, picture in zip(axes.flat, images, pictures, strict=False):
        _show(axis, picture, title)
    for axis in axes.flat[len(pictures) :]:
        axis.axis("off")
    if voxel_size > 0:
        scale_bar(axes[0, 0], voxel_size, pictures[0].shape[1])
    _close(figure)


def show_sections(
    volumes: Volume | Mapping[str, Volume | NDArray[Any]],
    *,
    thick: str | None = None,
    voxel_size: float = 0.0,
    at: tuple[float, float, float] = (0.5, 0.5, 0.5),
) -> None:
    """Draw sections: of one volume XY, YZ and XZ; of several the XY sections above the XZ sections.

    Parameters
    ----------
    volumes
        One volume, or several by title: volumes, or arrays ``(z, y, x)``.
    thick
        Thickness of the sections: ``"10nm"``, ``"5vx"``. Default: 10 nm, or 5 voxels where the voxel size is unknown.
    voxel_size
        That of arrays, Å; 0 where unknown.
    at
        Place of the sections, ``(z, y, x)`` as fractions of the sides.

    Raises
    ------
    UsageError
        If there is no volume, or the thickness makes no sense.
    """
    if isinstance(volumes, Volume):
        _three(volumes, thick, at)
        return
    from matplotlib import pyplot as plt

    if not volumes:
        raise UsageError("volumes: there is none")
    held = [v if isinstance(v, Volume) else Volume(v, voxel_size, (0.0, 0.0, 0.0)) for v in volumes.values()]
    depth, height, across = held[0].data.shape
    column = WIDTH / len(held)
    ratios = [column * height / across, column * depth / across]
    figure, axes = plt.subplots(
        2, len(held), figsize=(WIDTH, sum(ratios) + TITLE), height_ratios=ratios, layout="constrained", squeeze=False
    )
    for title, volume, (above, below) in zip(volumes, held, axes.T, strict=True):
        cut = sections(volume, thickness_in_voxels(thick, volume.voxel_size), at)
        _show(above, cut.xy, title)
        _show(below, cut.xz)
    axes[0, 0].set_ylabel("XY")
    axes[1, 0].set_ylabel("XZ")
    if held[0].voxel_size > 0:
        scale_bar(axes[0, 0], held[0].voxel_size, across)
    _close(figure)


def _three(volume: Volume, thick: str | None, at: tuple[float, float, float]) -> None:
    """Draw three sections that cut each other, and where they do."""
    from matplotlib import pyplot as plt

    depth, height, width = volume.data.shape
    cut = sections(volume, thickness_in_voxels(thick, volume.voxel_size), at)
    scale = 0.6 * WIDTH / width
    size = (width + depth) * scale + TITLE, (height + depth) * scale + 2 * TITLE
    figure, axes = plt.subplots(
        2, 2, figsize=size, layout="constrained", width_ratios=[width, depth], height_ratios=[height, depth]
    )
    _show(axes[0, 0], cut.xy, "XY")
    _show(axes[0, 1], cut.yz, "YZ")
    _show(axes[1, 0], cut.xz, "XZ")
    axes[1, 1].axis("off")
    axes[0, 0].axhline(at[1] * height - 0.5, color=BLUE, lw=0.8, alpha=0.8)
    axes[0, 0].axvline(at[2] * width - 0.5, color=ORANGE, lw=0.8, alpha=0.8)
    for axis, colour in ((axes[1, 0], BLUE), (axes[0, 1], ORANGE)):
        axis.spines[:].set(color=colour, lw=1.5)
    if volume.voxel_size > 0:
        scale_bar(axes[0, 0], volume.voxel_size, width)
    _close(figure)


def _show(axis: Axes, picture: NDArray[Any], title: str = "") -> None:
    """Draw one picture."""
    black, white = greys(picture)
    axis.imshow(picture, cmap="gray", vmin=black, vmax=white, interpolation="lanczos")
    axis.set(title=title, xticks=[], yticks=[])


def _close(figure: Any) -> None:
    """Show a figure now, so that several calls in one cell give several pictures."""
    from matplotlib import pyplot as plt

    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    plt.show()
