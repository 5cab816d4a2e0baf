"""Writes ``tomograms.star`` of what was made of a set, as RELION 5 reads it back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from fourierrecon.errors import DataError
from fourierrecon.io.files import find_file
from fourierrecon.io.relion import Entry, write_entries
from fourierrecon.io.star import IMAGE, find_set
from fourierrecon.io.star_table import Table, write_tables

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
    DataError
        If a file cannot be read or written.
    """
    path = folder / "tomograms.star"
    if entries:
        for entry in entries:
            entry.overview.update({label: [word] for label, word in results[entry.name].items()})
        return write_entries(folder, entries)
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
    write_tables(path, {"global": columns, **kept})
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
