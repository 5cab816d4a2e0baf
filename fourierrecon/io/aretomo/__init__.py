"""Alignments of AreTomo 1 to 3.

An ``.aln`` file goes in, a tilt series comes out. ``numbers`` finds the image of each row, ``tables`` reads CTF and
exposures from files beside it, ``alignment`` puts all together. Knows ``stacks`` and ``files`` of this room, and
``geometry``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourierrecon.runtime.late_names import late_names

if TYPE_CHECKING:
    from fourierrecon.io.aretomo.alignment import read_aretomo

__all__ = ["read_aretomo"]

__getattr__, __dir__ = late_names(__name__, {"read_aretomo": "fourierrecon.io.aretomo.alignment"})
