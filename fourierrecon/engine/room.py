"""How much memory a process may take, and whether something fits into it."""

from __future__ import annotations

from fourierrecon.errors import DataError
from fourierrecon.runtime.compiled import compiler_bytes
from fourierrecon.runtime.memory import address_space, available_memory, kept_memory, resident_memory

#: What compiled kernels and libraries still load, bytes, and the part of the memory that is taken by default.
OVERHEAD, SHARE = 120_000_000, 0.8


def default_memory() -> int:
    """Give the bytes that a process may take by default: what it has, and 80 % of what is available to it."""
    free = available_memory()
    return 1 << 62 if free is None else _held() + int(SHARE * (free + kept_memory()))


def within_limits(memory: int) -> tuple[int, str]:
    """Give what limits of the process leave of a resident memory, bytes, and what limits it, for messages."""
    address = address_space()
    most = memory if address is None else _held() + kept_memory() + address
    return (memory, "memory=...") if memory <= most else (most, "ulimit -v")


def check_room(what: str, needed: int, memory: int | None = None, instead: str = "") -> None:
    """Check before a long computation that something fits into the memory afterwards.

    Parameters
    ----------
    what
        Argument that asks for it, as the message names it: ``preview=...``.
    needed
        Bytes that it takes beside what the process holds then.
    memory
        As for :func:`~fourierrecon.engine.storage.choose_storage`.

    instead
        What helps beside more memory. Default: to leave it out.

    Raises
    ------
    DataError
        If it does not.
    """
    budget, limit = within_limits(default_memory() if memory is None else memory)
    total = memory_with(needed)
    if total > budget:
        raise DataError(
            f"{what} needs {total / 1e9:.3g} GB of memory, {budget / 1e9:.3g} GB are allowed; allow more ({limit}), or "
            f"{instead or f'leave {what} out'}"
        )


def memory_with(needed: int) -> int:
    """Give the resident memory of the process with so many bytes more, once all libraries are loaded."""
    return _held() + _loaded_later() + needed


def _loaded_later() -> int:
    """Bytes that libraries, compiled loops and, on the first run, their compiler take."""
    return OVERHEAD + compiler_bytes()


def _held() -> int:
    """Bytes of this process that a reconstruction adds to; memory that is kept for it is part of what it takes."""
    return max(resident_memory() - kept_memory(), 0)
