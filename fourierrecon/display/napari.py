"""A volume as a layer of napari."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from fourierrecon.display.planes import VolumePlanes

#: Percentiles that become black and white.
CONTRAST = (0.3, 99.7)


def napari_layer(volume: VolumePlanes) -> dict[str, Any]:
    """Give what napari needs to show a volume in its place, nm, with sensible greys.

    Parameters
    ----------
    volume
        One that has an ``array``, which napari reads plane by plane.

    Returns
    -------
    Arguments of napari's ``add_image``.
    """
    from fourierrecon.display.planes import STEPS, percentiles_of

    known = volume.voxel_size > 0
    percentiles = percentiles_of(volume)
    black, white = (float(percentiles[round(p * STEPS)]) for p in CONTRAST)
    return {
        "data": volume.array,
        "name": volume.path.stem,
        "scale": (volume.voxel_size / 10 if known else 1.0,) * 3,
        "translate": tuple(c / 10 for c in reversed(volume.origin)) if known else (0.0,) * 3,
        "units": ("nm" if known else "pixel",) * 3,
        "axis_labels": ("z", "y", "x"),
        "contrast_limits": (black, white if white > black else black + 1.0),
    }


def show_in_napari(volume: VolumePlanes, say: Callable[[str, str], object]) -> bool:
    """Open the window of napari and wait until it is closed.

    Parameters
    ----------
    volume
        Volume to show.
    say
        Called with a label and a line on what happens.

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
    viewer.dims.axis_labels = ("z", "y", "x")
    viewer.scale_bar.visible = True
    say("napari", "its window is open; close it to end")
    napari.run()
    return True
