"""Reads and writes tables of points: CSV, STAR of RELION and Warp, IMOD models, copick's JSON."""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.io.files import is_plain, read_lines, replacing
from fourierrecon.io.imod.model import read_model
from fourierrecon.io.json_text import fits, read_object
from fourierrecon.io.star.table import read_tables, write_tables
from fourierrecon.text import cell, counted

SUFFIXES = (".csv", ".star", ".mod", ".json")
#: Columns of coordinates: plain ones, and those of RELION 5 about the middle of the tomogram.
PLAIN = ("rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ")
CENTRED = ("rlnCenteredCoordinateXAngst", "rlnCenteredCoordinateYAngst", "rlnCenteredCoordinateZAngst")
SIMPLE = ("x", "y", "z")
#: No coordinate is larger, px or Å.
LARGEST = 1e12
#: Objects of a model, or particles that share a picture; a larger number is a mistake.
MOST_OBJECTS = 1 << 24
#: Columns that name the tomogram of a point, in the order of preference.
NAMES = ("rlnTomoName", "rlnMicrographName", "tomogram")
#: Columns that turn with the axes: they are not converted.
ORIENTATIONS = (
    "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnAngleTiltPrior", "rlnAnglePsiPrior", "rlnTomoSubtomogramRot",
    "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi", "rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst",
    "transformation_",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Points:
    """Points of one or more tomograms.

    Parameters
    ----------
    coordinates
        ``(n_points, 3)``: x, y, z, in whatever frame the file has them.
    tomograms
        Name of each point's tomogram, or None where the file names none.
    columns
        Other facts about each point, by name.
    blocks
        Other blocks of a STAR file, as they are.
    """

    coordinates: NDArray[np.float64]
    tomograms: Sequence[str] | None = None
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    blocks: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.coordinates)


def check_suffix(path: Path) -> None:
    """Refuse a file of a kind that is not known.

    Raises
    ------
    UsageError
        If its ending is none of :data:`SUFFIXES`.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: points are read from and written to {', '.join(SUFFIXES)}; choose one of these")


def usual_frame(path: Path) -> str | None:
    """Give the coordinate frame that a file of points usually has; None where it may be one of several.

    A model (``.mod``) is IMOD's, ``.json`` copick's, ``.csv`` counts the voxels of a volume; a STAR file with
    coordinates about the middle of the tomogram is RELION 5's.

    Raises
    ------
    DataError
        If a STAR file cannot be read.
    UsageError
        If the ending is not known.
    """
    check_suffix(path)
    if path.suffix.lower() != ".star":
        return {".csv": "volume", ".mod": "imod", ".json": "copick"}[path.suffix.lower()]
    return "relion5" if any(set(CENTRED) <= set(table.columns) for table in read_tables(path).values()) else None


def read_points(path: Path, *, centred: bool = False) -> Points:
    """Read points.

    Parameters
    ----------
    path
        CSV with the columns ``x``, ``y``, ``z`` or RELION's; STAR; ``.mod``; or copick's ``.json``.
    centred
        RELION 5's columns about the middle of the tomogram are wanted, where a file has both kinds.

    Raises
    ------
    DataError
        If the file cannot be used; the message names file and column or row.
    UsageError
        If its ending is not known.
    """
    check_suffix(path)
    readers = {".csv": _read_csv, ".star": _read_star, ".mod": _read_model, ".json": _read_copick}
    points = readers[path.suffix.lower()](path, CENTRED if centred else PLAIN)
    bad = ~(np.abs(points.coordinates) < LARGEST).all(1)
    if bad.any():
        raise DataError(f"{path}: point {int(np.argmax(bad)) + 1} has a coordinate that is no number below {LARGEST:g}")
    return points


def write_points(path: Path, points: Points, *, centred: bool = False) -> None:
    """Write points; the ending chooses the kind of file.

    Parameters
    ----------
    path
        File; one of that name is replaced once the new one is complete.
    points
        Coordinates in the frame that the file is to have.
    centred
        Whether the coordinates are RELION 5's, in Å about the middle of the tomogram.

    Raises
    ------
    DataError
        If the file cannot be written, or this kind of file cannot hold the points.
    UsageError
        If its ending is not known.
    """
    check_suffix(path)
    writers = {".csv": _write_csv, ".star": _write_star, ".mod": _write_model, ".json": _write_copick}
    writers[path.suffix.lower()](path, points, CENTRED if centred else PLAIN)


def _pick(found: Sequence[str], wanted: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Choose the columns of coordinates."""
    for labels in (wanted, SIMPLE) if wanted == CENTRED else (wanted, SIMPLE, CENTRED):
        if all(label in found for label in labels):
            if labels == CENTRED != wanted:
                break
            return labels
    if wanted == PLAIN and all(label in found for label in CENTRED):
        raise DataError(f"{where}: coordinates are those of RELION 5 ({CENTRED[0]}); give source=relion5")
    raise DataError(
        f"{where}: no columns {', '.join(wanted)} or x, y, z; there are {', '.join(found) or 'none'}; "
        f"{'give source=relion4 or another frame, or ' if PLAIN[0] in found else ''}rename the columns"
    )


def _split(found: Sequence[str], labels: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """Give the column that names the tomogram, and the others besides coordinates."""
    name = next((label for label in NAMES if label in found), None)
    return name, [label for label in found if label not in (*labels, name)]


def _read_csv(path: Path, wanted: tuple[str, ...]) -> Points:
    table = _csv_columns(path)
    found = list(table)
    labels = _pick(found, wanted, str(path))
    name, rest = _split(found, labels)
    return Points(
        np.stack([_numbers(table[label], path, label) for label in labels], axis=1),
        None if name is None else table[name],
        {label: table[label] for label in rest},
    )


def _csv_columns(path: Path) -> dict[str, list[str]]:
    """Read the words of each column; commas, semicolons or tabs part them, # begins a comment."""
    what = "a table with a line of column names"
    lines = [line for line in read_lines(path, what) if line.strip() and not line.lstrip().startswith("#")]
    mark = next((mark for mark in ",;\t" if lines and mark in lines[0]), ",")
    try:
        rows = [[word.strip() for word in row] for row in csv.reader(lines, delimiter=mark, skipinitialspace=True)]
    except csv.Error as error:
        raise DataError(f"{path}: not {what}: {error}") from error
    if not rows:
        raise DataError(f"{path}: not {what}: it has comments only")
    head, *rows = rows
    # spreadsheets add columns without a name; leave them out
    named = [label for label in head if label]
    columns: dict[str, list[str]] = {label: [] for label in named}
    if len(columns) < len(named):
        twin = next(label for label, count in Counter(named).items() if count > 1)
        raise DataError(f"{path}: a second column {twin[:60]!r}; keep one of the two")
    for number, row in enumerate(rows, 1):
        # some programs end each line with a separator
        words = row[:-1] if len(row) == len(head) + 1 and not row[-1] else row
        if len(words) != len(head):
            raise DataError(
                f"{path}, row {number}: {counted(len(words), 'value')}, but there are {counted(len(head), 'column')}; "
                "was the file cut short?"
            )
        for label, word in zip(head, words, strict=True):
            if label:
                columns[label].append(word)
    return columns


def _numbers(column: Sequence[str], path: Path, label: str) -> NDArray[np.float64]:
    values = np.empty(len(column))
    for row, word in enumerate(column):
        try:
            values[row] = float(word) if is_plain(word) else np.nan
        except ValueError:
            values[row] = np.nan
        if not np.isfinite(values[row]):
            raise DataError(f"{path}, column {label}, row {row + 1}: {word[:60]!r} is not a finite number")
    return values


def _extra(path: Path, points: Points, label: str) -> NDArray[np.float64]:
    """Give another column as numbers, as the file to be written needs them."""
    values = _numbers([str(value) for value in points.columns[label]], path, label)
    if label != "score" and not ((values >= 0) & (values < MOST_OBJECTS)).all():
        raise DataError(f"{path}: {label} must be from 0 to {MOST_OBJECTS - 1}; leave the column out, or correct it")
    return values


def _write_csv(path: Path, points: Points, _: tuple[str, ...]) -> None:
    columns: dict[str, list[str]] = {} if points.tomograms is None else {NAMES[0]: list(points.tomograms)}
    columns |= {label: [f"{v:.6f}" for v in values] for label, values in zip(SIMPLE, points.coordinates.T, strict=True)}
    columns |= {label: list(map(str, values)) for label, values in points.columns.items() if label not in SIMPLE}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(cell, columns))
    writer.writerows(map(cell, row) for row in zip(*columns.values(), strict=True))
    with replacing(path) as file:
        file.write(text.getvalue().encode())


def _read_star(path: Path, wanted: tuple[str, ...]) -> Points:
    tables = read_tables(path)
    kinds = (*PLAIN, *CENTRED, *SIMPLE)
    held = [name for name, table in tables.items() if set(kinds) & set(table.columns)]
    name = "particles" if "particles" in held else next(iter(held), None)
    if name is None:
        raise DataError(f"{path}: no block has columns of coordinates ({PLAIN[0]}, {CENTRED[0]})")
    table = tables[name]
    found = list(table.columns)
    labels = _pick(found, wanted, table.where)
    tomogram, rest = _split(found, labels)
    return Points(
        np.stack([table.numbers(label) for label in labels], axis=1),
        None if tomogram is None else list(table.words(tomogram)),
        {label: table.words(label) for label in rest},
        {other: dict(t.columns) for other, t in tables.items() if other != name},
    )


def _write_star(path: Path, points: Points, labels: tuple[str, ...]) -> None:
    columns: dict[str, list[str]] = {}
    if points.tomograms is not None:
        columns[NAMES[0]] = list(points.tomograms)
    columns |= {
        label: [f"{value:.6f}" for value in values] for label, values in zip(labels, points.coordinates.T, strict=True)
    }
    old = (*PLAIN, *CENTRED, *SIMPLE)
    columns |= {label: [str(v) for v in values] for label, values in points.columns.items() if label not in old}
    others: dict[str, Mapping[str, object]] = {
        name: {label: list(words) for label, words in block.items()} for name, block in points.blocks.items()
    }
    write_tables(path, {**others, "particles": columns})


@contextmanager
def _quietly() -> Iterator[None]:
    """Hide the deprecation warnings that the library for models causes itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _read_model(path: Path, _: tuple[str, ...]) -> Points:
    values, objects, contours = read_model(path)
    return Points(values, None, {"object_id": objects, "contour_id": contours})


def _write_model(path: Path, points: Points, _: tuple[str, ...]) -> None:
    import pandas as pd

    if len(points) == 0:
        raise DataError(f"{path}: there are no points, and a model needs one at least; nothing written")
    table = pd.DataFrame(points.coordinates, columns=list(SIMPLE))
    for label in ("object_id", "contour_id"):
        table[label] = _extra(path, points, label).astype(int) if label in points.columns else 0
    with replacing(path) as file, _quietly():
        import imodmodel

        imodmodel.write(table, Path(file.name))


def _read_copick(path: Path, _: tuple[str, ...]) -> Points:
    needed = "needed are copick's picks: points, each with a location of x, y and z"
    picks = read_object(path, needed)
    found: Any = picks.get("points")
    location = {"location": dict.fromkeys(SIMPLE, float)}
    if not fits(found, [location]):
        raise DataError(f"{path}: not copick's picks; {needed}")
    values = np.array([[p["location"][axis] for axis in SIMPLE] for p in found], np.float64).reshape(-1, 3)
    names = None if picks.get("run_name") is None else [str(picks["run_name"])[:300]] * len(values)
    kept = ("transformation_", "instance_id", "score")
    rest = {key: [p.get(key) for p in found] for key in kept if all(key in p for p in found)}
    return Points(values, names, rest)


def _write_copick(path: Path, points: Points, _: tuple[str, ...]) -> None:
    names = sorted(set(points.tomograms or ()))
    if len(names) > 1:
        raise DataError(f"{path}: copick keeps one tomogram a file, there are {len(names)}; choose one (name=...)")
    found: list[dict[str, Any]] = []
    extras = {key: _extra(path, points, key) for key in ("instance_id", "score") if key in points.columns}
    for i, xyz in enumerate(points.coordinates):
        point: dict[str, Any] = {"location": dict(zip(SIMPLE, map(float, xyz), strict=True))}
        turned = points.columns.get("transformation_")
        point["transformation_"] = np.eye(4).tolist() if turned is None else turned[i]
        point |= {key: int(values[i]) if key == "instance_id" else float(values[i]) for key, values in extras.items()}
        found.append(point)
    picks = {
        "pickable_object_name": path.stem, "user_id": "fourierrecon", "session_id": "0", "unit": "angstrom",
        "run_name": names[0] if names else None, "points": found,
    }  # fmt: skip
    with replacing(path) as file:
        file.write(json.dumps(picks, indent=1).encode())
