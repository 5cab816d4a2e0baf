"""The transfer function at one frequency, compiled to be inlined into loops that LLVM can vectorise."""

from __future__ import annotations

from typing import Any

import numpy as np

from fourierrecon.kernels import compiled


@compiled(inline=True)
def transfer(x: float, y: float, c: Any, form: int) -> np.float32:
    """Evaluate ``scale sin(chi)``, or what is made of it.

    ``c`` and ``form`` are those of :class:`fourierrecon.transfer.Transfer`, frequencies in the unit of ``c``.
    """
    squared = x * x + y * y
    turns = c[0] * x * x + c[1] * x * y + c[2] * y * y + c[3] * squared * squared + c[4]
    # sin(2 pi t) as an odd polynomial on |t| <= 1/4, to 1e-7; beyond it mirrors
    t = np.float32(turns - np.floor(turns + 0.5))
    t = np.float32(0.5) - t if t > np.float32(0.25) else (np.float32(-0.5) - t if t < np.float32(-0.25) else t)
    s = t * t
    p = np.float32(39.7106711) + s * np.float32(-12.5743952)
    p = np.float32(-76.7058533) + s * p
    p = np.float32(81.6052233) + s * p
    p = np.float32(-41.3417022) + s * p
    wave = t * (np.float32(6.28318531) + s * p)
    # the sign alone: everywhere, or up to the first peak
    if form == 1 or (form == 2 and abs(turns) < 0.25):
        wave = np.float32(-1) if wave < np.float32(0) else np.float32(1)
    return np.float32(c[5]) * wave


@compiled()
def damp_row(x: float, x_step: float, y: float, y_step: float, table: Any, per_cycle: float, values: Any) -> None:
    """Look up an envelope at the frequencies ``(x, y) + i (x_step, y_step)``, linear between its entries.

    See :meth:`fourierrecon.transfer.Transfer.envelopes`. A loop of its own, in single precision, is the fastest.
    """
    last = np.float32(table.shape[0] - 2)
    x_first, x_more = np.float32(x * per_cycle), np.float32(x_step * per_cycle)
    y_first, y_more = np.float32(y * per_cycle), np.float32(y_step * per_cycle)
    for i in range(values.shape[0]):
        at = np.float32(np.int32(i))
        across, along = x_first + x_more * at, y_first + y_more * at
        place = min(np.sqrt(across * across + along * along), last)
        entry = np.uint32(place)  # unsigned: no negative places to look after
        low = table[entry]
        values[i] = low + (place - np.float32(entry)) * (table[entry + np.uint32(1)] - low)
