"""Reads JSON files, which may hold anything, as objects with names and values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeGuard

from fourierrecon.errors import DataError

#: No number of such a file is larger: what exceeds it is a mistake.
LARGEST = 1e30


def read_object(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Parameters
    ----------
    path
        The file, in UTF-8, UTF-16 or UTF-32.
    what
        Needed contents and the remedy, for messages, as ``needed: a passport; make it anew``.

    Raises
    ------
    DataError
        If the file cannot be read, or holds something else.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; {what}") from error
    except RecursionError as error:
        raise DataError(f"{path}: lists in lists, too deep to be read; {what}") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); {what}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: no names with values, but {brief(found)}; {what}")
    return found


def brief(value: object) -> str:
    """Show a value of any size and depth in a message."""
    return f"a list of {len(value)}" if isinstance(value, list) else f"{str(value)[:60]!r}"


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell whether a value is a number that can be computed with: finite, and not one of a thousand digits."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


def fits(value: object, wanted: object) -> bool:
    """Tell whether a value is of a kind.

    Parameters
    ----------
    value
        Value from the file.
    wanted
        ``str``, ``bool``, ``float`` (any sensible number), ``dict``, None, or just this text; a tuple of kinds, one of
        which it is; a list of one kind (any number of them) or several (just so many); a dictionary of names that have
        to be there, and their kinds, where the name ``...`` stands for all of them.
    """
    if isinstance(wanted, tuple):
        return any(fits(value, kind) for kind in wanted)
    if isinstance(wanted, dict):
        if not isinstance(value, dict):
            return False
        if ... in wanted:
            return all(fits(each, wanted[...]) for each in value.values())
        return all(name in value and fits(value[name], kind) for name, kind in wanted.items())
    if isinstance(wanted, list):
        if not isinstance(value, list):
            return False
        kinds = wanted * len(value) if len(wanted) == 1 else wanted
        return len(value) == len(kinds) and all(fits(v, w) for v, w in zip(value, kinds, strict=True))
    if wanted is None or isinstance(wanted, str):
        return value == wanted
    return is_number(value) if wanted is float else isinstance(value, wanted)  # type: ignore[arg-type]
