"""A volume as a layer of napari."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

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


def _show_in_napari(console: Console, volume: VolumePlanes) -> bool:
    """Open napari's window and wait until it is closed; tell whether there is napari."""
    from importlib.util import find_spec

    from fourierrecon.cli.console import say

    if volume.array is None or find_spec("napari") is None:
        return False
    try:
        import napari

        viewer = napari.Viewer(title=f"{volume.path.name} - fourierrecon")
    except ImportError as error:
        reason = " ".join(str(error).split())
        say(console, "note", f"napari cannot be used ({reason}); here is the page instead")
        return False
    viewer.add_image(**napari_layer(volume))
    viewer.dims.axis_labels = ("z", "y", "x")
    viewer.scale_bar.visible = True
    say(console, "napari", "its window is open; close it to end")
    napari.run()
    return True
