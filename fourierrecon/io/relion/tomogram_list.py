"""Writes ``tomograms.star`` of what was made of a set, as RELION 5 reads it back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fourierrecon.errors import DataError
from fourierrecon.geometry.region import Region
from fourierrecon.io.files import find_file
from fourierrecon.io.relion.entries import ANGLES, Entry, common_columns, matrix_columns, relion5_entry
from fourierrecon.io.relion.own_list import LIST, OWN, check_replaceable
from fourierrecon.io.relion.read import IMAGE, MATRIX, find_set, tilts_of
from fourierrecon.io.relion.write import write_entries
from fourierrecon.io.star.table import Table, write_tables
from fourierrecon.tilt_series import USUAL_HAND, TiltSeries

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


@dataclass(frozen=True, eq=False)
class Placed:
    """A tomogram as it was made, where its set may have it otherwise.

    Parameters
    ----------
    series
        With all corrections of the alignment.
    region
        Region that was reconstructed.
    kept
        0-based numbers of the images that it was made of; others were left out for what they hold.
    turned
        The hand is not that of the set.
    exposed
        The exposures are not those of the set.
    """

    series: TiltSeries
    region: Region
    kept: tuple[int, ...]
    turned: bool = False
    exposed: bool = False


def write_set_list(
    folder: Path,
    source: Path,
    results: Mapping[str, Mapping[str, str]],
    entries: Sequence[Entry] = (),
    placed: Mapping[str, Placed] | None = None,
    carried: Sequence[Entry] = (),
    *,
    remark: str = "",
) -> Path:
    """Write the list of tomograms, with those that there are results of.

    Parameters
    ----------
    folder
        Folder for ``tomograms.star``.
    source
        Set of RELION that the tomograms are from; all its columns are carried over.
    results
        Words of columns by label (:data:`SIZES`, :data:`VOLUMES` ...), by the name of the tomogram.
    entries
        Entries in place of what the source has, where it is no set of RELION, or cannot leave images out.
    placed
        Tomograms that the source may describe otherwise than they were made. Where it does, the list has the alignment
        of the volume: in tables of its own, as RELION 5 itself copies those of which it has changed the angles.
    carried
        Tomograms of the list that is there, which stay in it as they are.
    remark
        A line for the head of the list, on what was done to the numbers of the volumes.

    Raises
    ------
    UsageError
        If a file would be replaced that was not written here.
    DataError
        If a file cannot be read or written.
    """
    path, title = folder / LIST, f"{OWN}\n# {remark}" if remark else OWN
    if entries or source.suffix.lower() != ".star":
        own = [folder / words[0] for entry in entries if (words := entry.overview.get(FILES[0]))]
        check_replaceable([path, folder / "optimisation_set.star", *own])
        for entry in entries:
            entry.overview.update({label: [word] for label, word in results[entry.name].items()})
        return write_entries(folder, [*entries, *carried], title=title)
    check_replaceable([path])
    _, overview, tables = find_set(source)
    names = overview.words("rlnTomoName")
    stacked = "rlnTomoTiltSeriesName" in overview.columns
    tilts = {name: tilts_of(overview.row(names.index(name)), tables, name) for name in placed or {} if name in results}
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
    for row, name in enumerate(names[i] for i in rows):
        if name not in tilts:
            continue
        place, (table, of_its_own) = (placed or {})[name], tilts[name]
        if place.turned:
            columns["rlnTomoHand"][row] = str(place.series.hand or USUAL_HAND)
        new = _tilt_columns(table, place, stacked=stacked)
        if new is None:
            continue
        if of_its_own:
            star = folder / "tilt_series" / f"{name}.star"
            check_replaceable([star])
            write_tables(star, {name: new}, OWN)
            columns["rlnTomoTiltSeriesStarFile"][row] = str(star)
        else:
            kept[name] = new
    for entry in carried:
        n = len(columns["rlnTomoName"])
        for label in {**columns, **entry.overview}:
            columns[label] = [*columns.get(label, [""] * n), *entry.overview.get(label, [""])]
        if FILES[0] not in entry.overview:
            kept[entry.name] = entry.tilts
    order = sorted(range(len(columns["rlnTomoName"])), key=lambda row: names.index(columns["rlnTomoName"][row]))
    columns = {label: [words[row] for row in order] for label, words in columns.items()}
    write_tables(path, {"global": columns, **kept}, title)
    return path


def _tilt_columns(table: Table, place: Placed, *, stacked: bool) -> dict[str, list[str]] | None:
    """Give the table of the tilts of a tomogram as it was made; None if that is how the set has it.

    A stack has all its images: those that were left out for what they hold stay in the list, too.
    """
    kept = range(len(table)) if stacked else place.kept
    series, origin = place.series.select(kept), place.region.origin
    if table.has(*MATRIX):
        new = matrix_columns(series, origin, series.world_origin)
        if table.has("rlnTomoYTilt"):
            new["rlnTomoYTilt"] = [f"{angle:.12g}" for angle in series.tilt_angles]
    else:
        made = relion5_entry(series, {}, region=place.region).tilts
        new = {label: made[label] for label in ANGLES if table.has(label) or any(map(float, made[label]))}
    if place.exposed and series.exposure is not None:
        new |= {label: words for label, words in common_columns(series, USUAL_HAND)[1].items() if "PreExp" in label}
    if len(kept) == len(table) and all(_same(table, label, words) for label, words in new.items()):
        return None
    # the angles beside matrices do not count, and would be wrong
    dropped = set(ANGLES) if table.has(*MATRIX) else set()
    columns = _with_files(table)
    return {label: [words[i] for i in kept] for label, words in columns.items() if label not in dropped} | new


def _same(table: Table, label: str, words: Sequence[str]) -> bool:
    """Tell whether a column has these numbers or vectors."""
    if not table.has(label):
        return False
    if label in MATRIX:
        new = np.array([[float(part) for part in word.strip("[]").split(",")] for word in words])
        return bool(np.allclose(table.vectors(label, 4), new, atol=1e-6))
    return bool(np.allclose(table.numbers(label), [float(word) for word in words], atol=1e-6))


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
