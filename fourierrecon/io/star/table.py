"""Tables of STAR files as RELION writes them, with errors that name file, block, column and row."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.io.files import is_plain, replacing
from fourierrecon.io.star.text import read_blocks, write_word

#: First line of files that are written here.
TITLE = "written by fourierrecon"
#: Files younger than this (s) are not cached: their modification time is too coarse.
FRESH = 2.0


@dataclass(frozen=True)
class Table:
    """One block of a STAR file; its values are words, exactly as written.

    Parameters
    ----------
    path
        The file.
    name
        Name of the block, without ``data_``.
    columns
        Words of each column, by label without its underscore.
    first_row
        Number of the first row, from 1, for messages.
    """

    path: Path
    name: str
    columns: Mapping[str, Sequence[str]]
    first_row: int = 1

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    @property
    def where(self) -> str:
        """Beginning of a message: file and block."""
        return f"{self.path}, block data_{self.name}"

    def has(self, *labels: str) -> bool:
        """Tell whether all these columns are there."""
        return all(label in self.columns for label in labels)

    def lacks(self, *labels: str) -> list[str]:
        """Give those of these columns that are not there."""
        return [label for label in labels if label not in self.columns]

    def row(self, index: int) -> Table:
        """Give one row, from 0, as a table."""
        columns = {label: [words[index]] for label, words in self.columns.items()}
        return Table(self.path, self.name, columns, self.first_row + index)

    def cell(self, label: str, index: int = 0) -> str:
        """Say in a message which value is meant: file, block, column and row."""
        return f"{self.where}, column {label}, row {self.first_row + index}"

    def words(self, label: str) -> Sequence[str]:
        """Give a column as written.

        Raises
        ------
        DataError
            If there is no such column.
        """
        if label not in self.columns:
            raise DataError(f"{self.where}: column {label} is missing; it is needed. Add it, or write the set anew")
        return self.columns[label]

    def numbers(
        self, label: str, default: float | None = None, *, least: float = -np.inf, most: float = np.inf
    ) -> NDArray[np.float64]:
        """Give a column of finite numbers, ``(n_rows,)``.

        Parameters
        ----------
        label
            Column.
        default
            Used where there is no such column.
        least, most
            What is allowed.

        Raises
        ------
        DataError
            If the column is needed and missing, or a word is no finite number of that range.
        """
        if default is not None and label not in self.columns:
            return np.full(len(self), default)
        values = np.array([self._number(word, label, i) for i, word in enumerate(self.words(label))], float)
        sound = (values >= least) & (values <= most)
        if not sound.all():
            bad = int(np.argmin(sound))
            raise DataError(
                f"{self.cell(label, bad)}: {values[bad]:g} makes no sense; allowed: {least:g} to {most:g}; correct it"
            )
        return values

    def vectors(self, label: str, length: int) -> NDArray[np.float64]:
        """Give a column of vectors written as ``[a,b,c]``, ``(n_rows, length)``.

        Raises
        ------
        DataError
            If the column is missing, or a word is not such a vector of finite numbers.
        """
        rows = []
        for i, word in enumerate(self.words(label)):
            parts = word.strip().removeprefix("[").removesuffix("]").split(",")
            if len(parts) != length or not word.startswith("[") or not word.endswith("]"):
                raise DataError(
                    f"{self.cell(label, i)}: {word[:60]!r} is not a vector; needed: {length} numbers [a,b,...]"
                )
            rows.append([self._number(part, label, i) for part in parts])
        return np.array(rows, float).reshape(len(rows), length)

    def _number(self, word: str, label: str, index: int) -> float:
        try:
            value = float(word) if is_plain(word) else None
        except ValueError:
            value = None
        if value is None:
            raise DataError(f"{self.cell(label, index)}: {word[:60]!r} is not a number; correct it")
        if not np.isfinite(value):
            raise DataError(
                f"{self.cell(label, index)}: {word[:60]!r} is not a finite number; correct it or leave the row out"
            )
        return value


def read_tables(path: Path, what: str = "the tomograms.star of the set") -> dict[str, Table]:
    """Read the blocks of a STAR file, by name, in their order.

    Line ends of any system, a byte-order mark, comments and empty lines anywhere, and quoted values are fine. A file
    that is read again, as a set is for each of its tomograms, is not parsed again unless it has changed.

    Parameters
    ----------
    path
        The file.
    what
        Right file to give instead, for messages.

    Raises
    ------
    DataError
        If the file is missing, empty or no STAR file, or a row has not one value for each column.
    """
    try:
        state = path.stat()
    except (OSError, ValueError):
        return _parse(path, what)  # reading it reports what is wrong
    if time.time() - state.st_mtime < FRESH:
        return _parse(path, what)
    return dict(_remembered(path, what, state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=4)
def _remembered(path: Path, what: str, *_state: int) -> dict[str, Table]:
    """Read a file that looks as it did when it was read last."""
    return _parse(path, what)


def _parse(path: Path, what: str) -> dict[str, Table]:
    """Read a file, whatever it looks like."""
    tables = {}
    for block in read_blocks(path, what):
        if not block.labels:
            continue
        if block.loop:
            words = [list(column) for column in zip(*block.rows, strict=True)] or [[] for _ in block.labels]
        else:
            words = block.rows
        tables[block.name] = Table(path, block.name, dict(zip(block.labels, words, strict=True)))
    return tables


def write_tables(path: Path, tables: Mapping[str, Mapping[str, object]], title: str = TITLE) -> None:
    """Write a STAR file: blocks of columns (lists of words), or of labels with one word each.

    Parameters
    ----------
    path, tables
        The file, and its blocks by name.
    title
        First line of the file.

    Raises
    ------
    DataError
        If the file cannot be written, or a value cannot be held by it.
    """
    lines = [f"# {title}"]
    try:
        for name, columns in tables.items():
            lines += ["", "", f"data_{name}", "", *_block(columns)]
    except DataError as error:
        raise DataError(f"cannot write {path}: {error}") from error
    with replacing(path) as file:
        # names of files may hold bytes that are no UTF-8, and have to be found again
        file.write("\n".join([*lines, ""]).encode("utf-8", "surrogateescape"))


def _block(columns: Mapping[str, object]) -> Iterator[str]:
    """Write the lines of a block."""
    lists = [column for column in columns.values() if isinstance(column, list)]
    if len(lists) < len(columns):
        yield from (f"_{label}\t{write_word(str(word))}" for label, word in columns.items())
        return
    yield "loop_"
    yield from (f"_{label} #{number}" for number, label in enumerate(columns, 1))
    yield from ("\t".join(write_word(str(word)) for word in row) for row in zip(*lists, strict=True))
