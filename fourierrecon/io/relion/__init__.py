"""Tomogram sets of RELION 4 and 5: read, written from tilt series of any program, and listed after a run.

STAR files go in and out; the images stay in their files. ``read`` gives a tilt series, ``entries`` and ``write`` make a
set, ``import_set`` makes one from other programs' alignments, and ``tomogram_list`` is the ``tomograms.star`` beside
reconstructed volumes. Knows ``star``, ``stacks`` and ``files`` of this room, and ``geometry``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourierrecon.runtime.late_names import late_names

if TYPE_CHECKING:
    from fourierrecon.io.relion.read import read_relion

__all__ = ["read_relion"]

__getattr__, __dir__ = late_names(__name__, {"read_relion": "fourierrecon.io.relion.read"})
