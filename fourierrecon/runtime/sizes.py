"""Sizes of memory as text: ``6GB``, ``512 MB``, ``2.5GiB``."""

from __future__ import annotations

import re
from math import inf

from fourierrecon.errors import UsageError

#: Prefixes of bytes, each 1000 (with an ``i`` behind it: 1024) times the one before.
PREFIXES = " kmgt"
#: No computation gets along with less memory, bytes: a smaller size lacks its unit.
LEAST_MEMORY = 1_000_000


def parse_memory(text: str) -> int:
    """Read a size in bytes: ``6GB``, ``512 MB``, ``2.5GiB``, ``500000000``; kB, MB ... are powers of 1000.

    Parameters
    ----------
    text
        The size, with or without a unit.

    Raises
    ------
    UsageError
        If the text is no such size, or less than any computation takes.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(?:([kmgt])(i?))?b?\s*", text, re.IGNORECASE)
    if match is None:
        raise UsageError(f"{text!r} is no size of memory; write it as 6GB, 512MB or 2.5GiB")
    number, prefix, binary = match.groups()
    size = float(number) * (1024 if binary else 1000) ** PREFIXES.index((prefix or " ").lower())
    if not LEAST_MEMORY <= size < inf:
        raise UsageError(
            f"{text!r} is {size:g} bytes of memory, which makes no sense; was a unit forgotten, as in 6GB?"
        )
    return int(size)
