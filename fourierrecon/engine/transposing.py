"""Transposes blocks of complex numbers, which are moved as plain numbers of eight bytes."""

from __future__ import annotations

from typing import Any

from fourierrecon.runtime.compiled import compiled

#: Columns that are written to in turn: each lies in another page of memory, and processors know the places of some.
PAGES = 32


@compiled()
def transpose(rows: Any, top: int, columns: Any, left: int) -> None:
    """Write rows as columns: ``columns[z, left + o] = rows[o, top + z]`` for all rows ``o`` and columns ``z``.

    Both are views of complex64 as float64.
    """
    n = rows.shape[0]
    if n < 8:
        for z in range(columns.shape[0]):
            for o in range(n):
                columns[z, left + o] = rows[o, top + z]
        return
    for z_first in range(0, columns.shape[0], PAGES):
        part = columns[z_first : z_first + PAGES]
        for begin in range(0, n, 8):
            # the last eight may have been written in part; a loop of a known length is three times as fast
            start = min(begin, n - 8)
            eight = rows[start : start + 8, top + z_first : top + z_first + part.shape[0]]
            for z in range(part.shape[0]):
                out = part[z, left + start : left + start + 8]
                for o in range(8):
                    out[o] = eight[o, z]
