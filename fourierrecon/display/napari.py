"""A volume as a layer of napari."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fourierrecon.display.sections import greys
from fourierrecon.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fourierrecon.display.picks import Picks
    from fourierrecon.display.planes import VolumePlanes

#: Percentiles that become black and white.
CONTRAST = (0.3, 99.7)
#: Voxels that the greys of a volume in memory are taken from, at most.
SAMPLED = 1 << 20


def napari_layer(volume: VolumePlanes | Volume, name: str = "tomogram") -> dict[str, Any]:
    """Give what napari needs to show a volume in its place, nm, with sensible greys.

    Parameters
    ----------
    volume
        A volume in memory, or one in a file that has an ``array``, which napari reads plane by plane.
    name
        Name of the layer; a volume in a file has its own.

    Returns
    -------
    Arguments of napari's ``add_image``: ``viewer.add_image(**napari_layer(volume))``.
    """
    # a volume in memory can be shown without the readers of files
    if isinstance(volume, Volume):
        levels, limits = [volume.data], greys(_thinned(volume.data), CONTRAST)
    else:
        from fourierrecon.display.planes import STEPS, percentiles_of

        assert volume.array is not None
        percentiles = percentiles_of(volume)
        limits = (float(percentiles[round(CONTRAST[0] * STEPS)]), float(percentiles[round(CONTRAST[1] * STEPS)]))
        levels, name = volume.levels, volume.path.stem
    known = volume.voxel_size > 0
    black, white = limits
    return {
        "data": levels if len(levels) > 1 else levels[0],
        "multiscale": len(levels) > 1,
        "name": name,
        "scale": (volume.voxel_size / 10 if known else 1.0,) * 3,
        "translate": tuple(c / 10 for c in reversed(volume.origin)) if known else (0.0,) * 3,
        "units": ("nm" if known else "pixel",) * 3,
        "axis_labels": ("z", "y", "x"),
        "contrast_limits": (black, white if white > black else black + 1.0),
    }


def _thinned(data: NDArray[Any]) -> NDArray[Any]:
    """Take every so many voxels along each axis, at most about :data:`SAMPLED`."""
    step = max(1, math.ceil((data.size / SAMPLED) ** (1 / 3)))
    return data[::step, ::step, ::step]


def napari_points(picks: Picks, volume: VolumePlanes, diameter: float) -> dict[str, Any]:
    """Give what napari needs to mark points in a volume.

    Parameters
    ----------
    picks
        Points.
    volume
        Volume that they lie in.
    diameter
        Diameter of the circles, Å; voxels where the voxel size is unknown.

    Returns
    -------
    Arguments of napari's ``add_points``.
    """
    layer = napari_layer(volume)
    return {
        "data": picks.voxels[:, ::-1],
        "name": picks.name,
        "size": diameter / (volume.voxel_size or 1.0),
        "face_color": "transparent",
        "border_color": "yellow",
        "out_of_slice_display": True,
        **{key: layer[key] for key in ("scale", "translate", "units", "axis_labels")},
    }


def show_in_napari(
    volume: VolumePlanes,
    say: Callable[[str, str], object],
    picks: Sequence[Picks] = (),
    diameter: float = 300.0,
) -> bool:
    """Open the window of napari and wait until it is closed.

    Parameters
    ----------
    volume
        Volume to show.
    say
        Called with a label and a line on what happens.
    picks, diameter
        Points to mark, and the diameter of their circles, Å.

    Returns
    -------
    False where napari cannot be used.
    """
    from importlib.util import find_spec

    if volume.array is None or find_spec("napari") is None:
        return False
    try:
        import napari

        viewer = napari.Viewer(title=f"{volume.path.name} - fourierrecon")
    except ImportError as error:
        reason = " ".join(str(error).split())
        say("note", f"napari cannot be used ({reason}); here is the page instead")
        return False
    viewer.add_image(**napari_layer(volume))
    for each in picks:
        viewer.add_points(**napari_points(each, volume, diameter))
    viewer.dims.axis_labels = ("z", "y", "x")
    viewer.scale_bar.visible = True
    say("napari", "its window is open; close it to end")
    napari.run()
    return True
