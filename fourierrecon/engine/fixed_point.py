"""Places along a line on a grid, in fixed point: whole cells and 2^-32 of one, so that no conversion is in the way.

Conversions from double precision would take half of the time that spreading a sample does. A step is right to 1e-10
cells, so a place 1000 steps away to 1e-7; and it is the same place whichever way a loop comes to it, so that spreading
and interpolating stay each other's adjoint.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fourierrecon.runtime.compiled import compiled

#: Of a cell.
BITS = 32
ONE = float(1 << BITS)
#: Tables of taps have 256 rows a cell; what is left between two of them has these bits.
_LEFT = BITS - 8
_MASK = (1 << _LEFT) - 1
_PART = np.float32(1 / (1 << _LEFT))


@compiled(inline=True, fastmath=False)
def fixed(cells: float) -> Any:
    """Turn a place, or a step, into fixed point."""
    return np.int64(np.rint(cells * ONE))


@compiled(inline=True, fastmath=False)
def taps_at(place: Any) -> Any:
    """Give the cell of the first tap, the row of the table, and the part of the way to the next one.

    The cell is the first beyond the place, so that the kernel is met at ``row / 256`` of a cell and on.
    """
    cell = (place >> BITS) + 1
    ahead = (cell << BITS) - place
    return cell, ahead >> _LEFT, np.float32(np.int32(ahead & _MASK)) * _PART


@compiled(inline=True, fastmath=False)
def along(per: Any, j: int, cells: int, before: float) -> tuple[Any, Any]:
    """Give where a line begins on a periodic axis (sample 0 of plane ``j``), and its step from sample to sample.

    ``per`` holds the frequency per ``j`` and per sample, as in :attr:`.Slices.lines`; the axis has so many cells, with
    frequency 0 in their middle, and taps begin so many ``before`` a place.
    """
    return fixed(per[0] * j * cells + cells / 2 - before), fixed(per[1] * cells)
