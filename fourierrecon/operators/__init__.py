"""Operators: projection as a linear map with its adjoint, what iterates with them, and tomograms made where one looks.

>>> from fourierrecon.operators import TomographicProjector

The room may import ``engine`` and what stands below it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourierrecon.runtime.late_names import late_names

if TYPE_CHECKING:
    from fourierrecon.operators.projector import TomographicProjector
    from fourierrecon.operators.virtual import VirtualTomogram, open_virtual

__all__ = ["TomographicProjector", "VirtualTomogram", "open_virtual"]

__getattr__, __dir__ = late_names(
    __name__,
    {
        "TomographicProjector": "fourierrecon.operators.projector",
        "VirtualTomogram": "fourierrecon.operators.virtual",
        "open_virtual": "fourierrecon.operators.virtual",
    },
)
