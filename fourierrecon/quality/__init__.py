"""How good images and volumes are: correlations, resolution, agreement with the tilt series, bad images.

Volumes and tilt series go in, figures come out; nothing is read, written or drawn here. This room may know geometry,
``volume``, ``ctf``, ``tilt_series``, runtime and errors, but not io.

>>> from fourierrecon.quality import compare_volumes, shell_correlation, tilt_agreement, wedge_mask
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourierrecon.runtime.late_names import late_names

if TYPE_CHECKING:
    from fourierrecon.quality.agreement import tilt_agreement
    from fourierrecon.quality.comparison import compare_volumes
    from fourierrecon.quality.fsc import shell_correlation
    from fourierrecon.quality.wedge import wedge_mask

__all__ = ["compare_volumes", "shell_correlation", "tilt_agreement", "wedge_mask"]

__getattr__, __dir__ = late_names(
    __name__,
    {
        "compare_volumes": "fourierrecon.quality.comparison",
        "shell_correlation": "fourierrecon.quality.fsc",
        "tilt_agreement": "fourierrecon.quality.agreement",
        "wedge_mask": "fourierrecon.quality.wedge",
    },
)
