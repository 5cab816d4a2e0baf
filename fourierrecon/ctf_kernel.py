"""The CTF at one frequency, compiled to be inlined into loops that LLVM can vectorise."""

from __future__ import annotations

from typing import Any

import numpy as np

from fourierrecon.kernels import compiled


@compiled(inline=True)
def transfer(x: float, y: float, c: Any) -> np.float32:
    """Evaluate ``scale sin(chi)``; ``c`` from :func:`fourierrecon.ctf.kernel_coefficients`, frequencies in its unit."""
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
    return np.float32(c[5]) * t * (np.float32(6.28318531) + s * p)
