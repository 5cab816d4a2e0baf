"""Compiles loops with numba, keeps them, and reports when a compilation begins. Import late: numba is slow to load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from numba import njit
from numba.core import event

#: Bytes of memory that the compiler takes on the first run, measured: 85 MB, and some more for larger volumes.
COMPILER = 120_000_000
_KERNELS: list[Any] = []
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(*, fastmath: bool = True, inline: bool = False) -> Callable[[Function], Function]:
    """Compile a function when it is first called, to run without the interpreter's lock.

    Compiled code is kept beside the package, or in the user's cache folder (or ``NUMBA_CACHE_DIR``) where that
    cannot be written. Where none of these can, every process compiles anew.

    Parameters
    ----------
    fastmath
        Sums may be reordered, and results for values that are not finite are undefined.
    inline
        Whether it is compiled into its callers.
    """
    options = {"nogil": True, "fastmath": fastmath, "inline": "always" if inline else "never"}

    def compile_late(function: Function) -> Function:
        try:
            kernel: Function = njit(cache=True, **options)(function)
        except RuntimeError:  # no folder to keep it in
            kernel = njit(**options)(function)
        _KERNELS.append(kernel)
        return kernel

    return compile_late


def compiler_bytes() -> int:
    """Give the bytes of memory that the compiler will take: none where this process or an earlier one has compiled."""
    if any(kernel.signatures for kernel in _KERNELS):
        return 0
    folders = {kernel.stats.cache_path for kernel in _KERNELS} - {None}
    return 0 if any(file.suffix == ".nbi" for folder in folders for file in _files(Path(folder))) else COMPILER


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


class _First(event.Listener):  # type: ignore[misc]
    """Calls back at the first event only."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def on_start(self, event: object) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()

    def on_end(self, event: object) -> None:
        pass


@contextmanager
def noticing_compilation(callback: Callable[[], None]) -> Iterator[None]:
    """Call back once, before anything is compiled within the context; code that was kept does not count."""
    with event.install_listener("numba:compile", _First(callback)):
        yield
