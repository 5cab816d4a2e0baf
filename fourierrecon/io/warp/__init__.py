"""Tilt series of Warp and WarpTools.

XML or ``.tomostar`` files go in, a tilt series comes out. ``xml`` reads values, ``files`` reads all that a file holds,
``alignment`` makes projection matrices of it. Knows ``star``, ``stacks`` and ``files`` of this room, and ``geometry``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourierrecon.runtime.late_names import late_names

if TYPE_CHECKING:
    from fourierrecon.io.warp.alignment import read_warp

__all__ = ["read_warp"]

__getattr__, __dir__ = late_names(__name__, {"read_warp": "fourierrecon.io.warp.alignment"})
