"""Notes of SerialEM on the images of a tilt series (``.mdoc``).

An ``.mdoc`` completes the tilt series of another reader with exposures. ``mdoc`` reads it, ``match`` finds the section
of each image. Knows ``files`` of this room and ``tilt_series``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourierrecon.runtime.late_names import late_names

if TYPE_CHECKING:
    from fourierrecon.io.serialem.mdoc import read_mdoc

__all__ = ["read_mdoc"]

__getattr__, __dir__ = late_names(__name__, {"read_mdoc": "fourierrecon.io.serialem.mdoc"})
