"""Options on what is repaired in images as they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fourierrecon.cli.options import images_option


@dataclass(frozen=True, kw_only=True)
class RepairOptions:
    """Hot pixels, steps of intensity and gold beads."""

    hot_pixels: Annotated[
        str,
        images_option(
            "on|off", "Replace hot pixels and X-ray spikes by what is around them. Default: on", "--hot_pixels"
        ),
    ] = "on"
    intensities: Annotated[
        str,
        images_option(
            "on|off",
            "Scale images whose intensity steps out of what their tilt lets expect, as of another exposure time, "
            "and images set to equal means or variances back to what counts are. Default: on",
            "--intensities",
        ),
    ] = "on"
    erase_beads: Annotated[
        float | None,
        images_option("NM", "Find gold beads of this diameter and erase them from the images", "--erase_beads"),
    ] = None
