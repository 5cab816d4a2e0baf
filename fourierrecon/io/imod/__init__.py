"""Alignments, defocus and models of IMOD.

The files of eTomo's folder go in, a tilt series comes out. ``project`` finds the files, ``text`` reads their lines,
``volume`` places the tomogram as the program tilt does, ``defocus`` reads ctfplotter's files, ``alignment`` puts all
together; ``model`` reads points. Knows ``stacks`` and ``files`` of this room, and ``geometry``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourierrecon.runtime.late_names import late_names

if TYPE_CHECKING:
    from fourierrecon.io.imod.alignment import read_imod

__all__ = ["read_imod"]

__getattr__, __dir__ = late_names(__name__, {"read_imod": "fourierrecon.io.imod.alignment"})
