"""The list of tomograms that a run on a set wrote into its folder: told from other people's, read again, removed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fourierrecon.errors import UsageError
from fourierrecon.io.relion.entries import Entry
from fourierrecon.io.relion.read import find_set, tilts_of
from fourierrecon.io.star.table import TITLE

#: Name of the list, and first line of all that is written with it.
LIST, OWN = "tomograms.star", f"{TITLE}: what was made of a set"


def is_own(path: Path) -> bool:
    """Tell whether a STAR file was written by a run on a set, so that it may be written anew, or go."""
    try:
        with path.open("rb") as file:
            return file.readline(200).decode("utf-8", "replace").strip() == f"# {OWN}"
    except OSError:
        return False


def check_replaceable(paths: Iterable[Path]) -> None:
    """Refuse to replace STAR files that no run on a set wrote.

    Raises
    ------
    UsageError
        If there is one.
    """
    for path in paths:
        if path.exists() and not is_own(path):
            raise UsageError(
                f"{path} was not written by a run on a set, and would be replaced; choose another folder, or move it "
                f"away"
            )


def remove_own_list(folder: Path) -> bool:
    """Remove the list of tomograms that an earlier run wrote; tell whether there was one."""
    path = folder / LIST
    own = is_own(path)
    if own:
        path.unlink(missing_ok=True)
    return own


def read_own_list(folder: Path) -> dict[str, Entry]:
    """Read the list of tomograms that an earlier run wrote, by name; nothing if there is none.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    path = folder / LIST
    if not is_own(path):
        return {}
    _, overview, tables = find_set(path)
    found = {}
    for number, name in enumerate(overview.words("rlnTomoName")):
        row = overview.row(number)
        tilts, _ = tilts_of(row, tables, name)
        both = [{label: list(words) for label, words in table.columns.items()} for table in (row, tilts)]
        found[name] = Entry(name, both[0], both[1])
    return found
