"""Compiled loops: how they are compiled and kept, and a word to the user while that goes on. Import late."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from numba import njit
from numba.core import event

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(*, fastmath: bool = True, inline: bool = False) -> Callable[[Function], Function]:
    """Compile a function when it is first called, to run without the interpreter's lock.

    What was compiled is kept beside the package, or in the user's cache folder (or ``NUMBA_CACHE_DIR``) where that
    cannot be written. Where none of these can, every process compiles anew.

    Parameters
    ----------
    fastmath
        Sums may be reordered, and nothing is said about what is not finite.
    inline
        Compiled into its callers.
    """
    options = {"nogil": True, "fastmath": fastmath, "inline": "always" if inline else "never"}

    def compile_late(function: Function) -> Function:
        try:
            kernel: Function = njit(cache=True, **options)(function)
        except RuntimeError:  # no folder to keep it in
            kernel = njit(**options)(function)
        return kernel

    return compile_late


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
    """Call back once, before anything is compiled meanwhile; what was kept from before does not count."""
    with event.install_listener("numba:compile", _First(callback)):
        yield
