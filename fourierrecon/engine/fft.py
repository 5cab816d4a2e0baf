"""FFTs of the reconstruction, and lengths that they are fast at.

Two libraries stand behind one seam. pyfftw always works; where ducc0 is installed (the extra ``fast``) it takes its
place, because it needs no planning and is as fast on strided axes as on contiguous ones.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

import numpy as np

from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.runtime.memory import Workspace

try:
    import ducc0.fft as _ducc
except ImportError:  # the extra is not installed
    _ducc = None
_PLANNING = threading.Lock()


def fast_length(n: float, primes: tuple[int, ...] = (2, 3, 5)) -> int:
    """Give the smallest even length >= ``n`` without prime factors but these."""
    length = max(2, int(np.ceil(n)))
    length += length % 2
    while True:
        rest = length
        for prime in primes:
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2


@lru_cache(maxsize=64)
def _plan(thread: int, shape: tuple[int, ...], strides: tuple[int, ...], axis: int, backward: bool) -> Any:
    """Plan a batch of in-place transforms with pyfftw, for arrays of exactly this layout, for one thread."""
    import pyfftw

    span = sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) // 8 + 1
    workspace = np.lib.stride_tricks.as_strided(pyfftw.empty_aligned(span, np.complex64), shape, strides)
    direction = "FFTW_BACKWARD" if backward else "FFTW_FORWARD"
    # measured: two thirds of the time of an estimated plan; the planning itself takes 0.1 to 0.3 s a layout
    flags = ("FFTW_MEASURE", "FFTW_UNALIGNED")
    return pyfftw.FFTW(workspace, workspace, axes=(axis,), direction=direction, flags=flags)


def transform(data: Complex, axis: int, *, backward: bool) -> None:
    """Transform complex ``data`` in place along one axis, unnormalised; any strides, one thread.

    Parameters
    ----------
    data
        Any shape, complex64.
    axis
        Axis of the transform.
    backward
        With ``exp(+2 pi i k n / N)``.
    """
    if _ducc is not None:
        _ducc.c2c(data, axes=(axis,), forward=not backward, out=data, nthreads=1)
        return
    # a plan remembers its arrays while it runs, so every thread needs its own; planning itself is not thread-safe
    with _PLANNING:
        plan = _plan(threading.get_ident(), data.shape, data.strides, axis, backward)
    # pyfftw scales one of both directions: none of them here
    plan(input_array=data, output_array=data, normalise_idft=not backward)


def forget_plans() -> None:
    """Let plans go, and the arrays that they refer to; what FFTW learnt of the machine stays, so planning is quick."""
    _plan.cache_clear()


def transform_rows(rows: Complex, *, backward: bool = True) -> None:
    """Transform every row in place, unnormalised; the number of rows may differ at every call."""
    if _ducc is not None:
        transform(rows, 1, backward=backward)
        return
    # plans are for one shape: a few rows at a time, so that there are two of them and not hundreds
    for start in range(0, len(rows), 8):
        block = rows[start : start + 8]
        if len(block) == 8:
            transform(block, 1, backward=backward)
        else:
            for i in range(len(block)):
                transform(block[i : i + 1], 1, backward=backward)


def real_forward_columns(data: Real, out: Complex) -> None:
    """Transform the columns of real ``data`` into half spectra, unnormalised (``exp(-2 pi i k n / N)``), one thread."""
    if _ducc is not None:
        _ducc.r2c(data, axes=(0,), out=out, nthreads=1)
        return
    import scipy.fft

    out[...] = scipy.fft.rfft(data, axis=0)


def real_forward(data: Real, length: int, workspace: Workspace, factors: Real | None = None) -> Complex:
    """Transform the rows of real ``data``, zero-padded at their end to ``length``: half spectra, complex64.

    Each row may be multiplied with a factor. The result lies in the workspace memory, until the next call.
    """
    if data.shape[1] != length or factors is not None:
        padded = workspace.array("rows", (len(data), length), np.float32)
        np.multiply(data, np.float32(1) if factors is None else factors[:, None], out=padded[:, : data.shape[1]])
        padded[:, data.shape[1] :] = 0
        data = padded
    if _ducc is not None:
        result: Complex = workspace.array("half spectra", (len(data), length // 2 + 1), np.complex64)
        _ducc.r2c(data, axes=(1,), out=result, nthreads=1)
        return result
    import scipy.fft

    return np.asarray(scipy.fft.rfft(data, axis=1), np.complex64)


def real_backward(spectrum: Complex, axis: int, length: int, out: Real) -> None:
    """Transform a half spectrum back into ``out``, unnormalised (``exp(+2 pi i k n / N)``), one thread."""
    if _ducc is not None:
        _ducc.c2r(spectrum, axes=(axis,), lastsize=length, forward=False, out=out, nthreads=1)
        return
    import scipy.fft

    # FFTW's strided complex-to-real transform takes two to six times as long as this one
    out[...] = scipy.fft.irfft(spectrum, length, axis=axis, norm="forward")
