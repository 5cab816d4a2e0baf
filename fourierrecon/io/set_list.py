"""Writes ``tomograms.star`` of what was made of a set, as RELION 5 reads it back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fourierrecon.errors import DataError, UsageError
from fourierrecon.io.files import find_file
from fourierrecon.io.relion import Entry, write_entries
from fourierrecon.io.star import IMAGE, find_set
from fourierrecon.io.star_table import TITLE, Table, write_tables

#: Name of the list, and its first line.
LIST, OWN = "tomograms.star", f"{TITLE}: what was made of a set"
#: Columns that name files.
FILES = ("rlnTomoTiltSeriesStarFile", "rlnTomoTiltSeriesName")
#: Columns that are made anew.
SIZES = ("rlnTomoSizeX", "rlnTomoSizeY", "rlnTomoSizeZ")
BINNING = "rlnTomoTomogramBinning"
VOLUMES = {
    "": "rlnTomoReconstructedTomogram",
    "Even": "rlnTomoReconstructedTomogramHalf1",
    "Odd": "rlnTomoReconstructedTomogramHalf2",
}
PICTURES = {
    "": "rlnTomogramProjection",
    "Even": "rlnTomogramProjectionHalf1",
    "Odd": "rlnTomogramProjectionHalf2",
}


def is_own_list(path: Path) -> bool:
    """Tell whether a STAR file was written by :func:`write_set_list`, so that it may be written anew, or go."""
    try:
        with path.open("rb") as file:
            return file.readline(200).decode("utf-8", "replace").strip() == f"# {OWN}"
    except OSError:
        return False


def check_replaceable(paths: Iterable[Path]) -> None:
    """Refuse to replace STAR files that :func:`write_set_list` has not written.

    Raises
    ------
    UsageError
        If there is one.
    """
    for path in paths:
        if path.exists() and not is_own_list(path):
            raise UsageError(
                f"{path} was not written by a run on a set, and would be replaced; choose another folder (--o), or "
                f"move it away"
            )


def remove_own_list(folder: Path) -> bool:
    """Remove the list of tomograms that an earlier run wrote; tell whether there was one."""
    path = folder / LIST
    own = is_own_list(path)
    if own:
        path.unlink(missing_ok=True)
    return own


def read_own_list(folder: Path) -> dict[str, dict[str, str]]:
    """Read what :func:`write_set_list` was given of each tomogram, but for files that are gone; nothing without one.

    Raises
    ------
    DataError
        If the list cannot be read.
    """
    path = folder / LIST
    if not is_own_list(path):
        return {}
    _, overview, _ = find_set(path)
    files = {*VOLUMES.values(), *PICTURES.values()}
    found: dict[str, dict[str, str]] = {}
    for row, name in enumerate(overview.words("rlnTomoName")):
        words = {label: overview.columns[label][row] for label in (*SIZES, BINNING, *files) if overview.has(label)}
        found[name] = {label: word for label, word in words.items() if label not in files or Path(word).exists()}
    return found


def write_set_list(
    folder: Path, source: Path, results: Mapping[str, Mapping[str, str]], entries: Sequence[Entry] = ()
) -> Path:
    """Write the list of tomograms, with those that there are results of.

    Parameters
    ----------
    folder
        For ``tomograms.star``.
    source
        Set of RELION that the tomograms are from; all its columns are carried over.
    results
        By the name of the tomogram: words of columns, by label (:data:`SIZES`, :data:`VOLUMES` ...).
    entries
        In place of what the source has, where it is no set of RELION.

    Raises
    ------
    UsageError
        If a file would be replaced that was not written here.
    DataError
        If a file cannot be read or written.
    """
    path = folder / LIST
    if entries:
        tilts = [folder / words[0] for entry in entries if (words := entry.overview.get(FILES[0]))]
        check_replaceable([path, folder / "optimisation_set.star", *tilts])
        for entry in entries:
            entry.overview.update({label: [word] for label, word in results[entry.name].items()})
        return write_entries(folder, entries, title=OWN)
    check_replaceable([path])
    _, overview, tables = find_set(source)
    names = overview.words("rlnTomoName")
    rows = [i for i, name in enumerate(names) if name in results]
    added = list(dict.fromkeys(label for words in results.values() for label in words))
    columns = {
        label: [words[i] for i in rows]
        for label, words in overview.columns.items()
        if label not in (*SIZES, BINNING, *VOLUMES.values(), *PICTURES.values())
    }
    for label in FILES:
        if label in columns:
            columns[label] = [_reachable(overview, label, i) for i in rows]
    columns |= {label: [results[names[i]].get(label, "") for i in rows] for label in added}
    kept = {name: _with_files(table) for name, table in tables.items() if name in results}
    write_tables(path, {"global": columns, **kept}, OWN)
    return path


def _with_files(table: Table) -> dict[str, list[str]]:
    """Give the columns of a table, its images named so that they are found from another folder, too."""
    columns = {label: list(words) for label, words in table.columns.items()}
    for label in IMAGE.values():
        if label in columns:
            columns[label] = [_reachable(table, label, i) for i in range(len(table))]
    return columns


def _reachable(table: Table, label: str, index: int) -> str:
    """Name a file so that it is found from another folder, too; as it is, if it is found from the working directory."""
    word = table.columns[label][index]
    name = re.sub(r"^\d{1,9}@|:(mrcs?|st)$", "", word)
    if Path(name).exists():
        return word
    try:
        return word.replace(name, str(find_file(name, table.path, where=table.cell(label, index))))
    except DataError:
        return word  # nothing was made from it: half images that are named, and not there
