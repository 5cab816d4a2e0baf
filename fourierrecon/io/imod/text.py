"""Parses the text files of IMOD: tables of numbers (``.xf``, ``.tlt``), command files (``.com``), lists of views."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.io.files import read_lines
from fourierrecon.text import counted
from fourierrecon.tilt_series import MOST_TILT

#: No angle, shift or size is larger: what exceeds it is a mistake.
LARGEST = 1e7
#: One comma between digits, no point: it may be a decimal comma, or stand between two whole numbers.
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+([eEdD][-+]?\d+)?$", re.ASCII)
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$", re.ASCII)
#: Short and old names of options, by program, in lower case.
ALIASES = {
    "input": "inputfile",
    "bin": "binbyfactor",
    "shrink": "shrinkbyfactor",
    "size": "sizetooutputinxandy",
    "offset": "offsetsinxandy",
    "xform": "transformfile",
    "volt": "voltage",
    "cs": "sphericalaberration",
    "ampcontrast": "amplitudecontrast",
    "deffn": "defocusfile",
    "pixelsize": "pixelsize",
    "antialias": "antialiasfilter",
    "stack": "inputstack",
}


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """Give the lines of a text file that are not blank, with their numbers from 1."""
    lines = enumerate(read_lines(path, "the file that IMOD wrote"), 1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def number(word: str, where: str, what: str = "a number") -> float:
    """Read a number; ``where`` begins the message if it is none, not finite or absurd."""
    value = float(word) if _NUMBER.match(word) else math.nan
    if not abs(value) < LARGEST:
        raise DataError(f"{where}: {word[:40]!r} is not {what}; needed: a decimal number below {LARGEST:g}; correct it")
    return value


def angle(value: float, where: str) -> float:
    """Refuse an absurd angle, degrees."""
    if not abs(value) <= MOST_TILT:
        raise DataError(f"{where}: angle {value:g}; allowed: up to {MOST_TILT:g} degrees either way; correct it")
    return value


def read_rows(path: Path, least: int, most: int, what: str) -> list[tuple[int, list[float]]]:
    """Read a table of numbers without labels: the number of each line and its values.

    Parameters
    ----------
    least, most
        Allowed numbers of values in a line.
    what
        One row of it, for messages.
    """
    rows = []
    for line, text in numbered_lines(path):
        if text.startswith("#"):
            continue
        where = f"{path}, line {line}"
        for word in text.split():
            if _DECIMAL_COMMA.match(word):
                raise DataError(
                    f"{where}: {word[:40]!r} has a decimal comma; needed: a point ({word[:40].replace(',', '.')}), or "
                    f"a space between two numbers; correct it"
                )
        words = text.replace(",", " ").split()
        if not least <= len(words) <= most:
            allowed = f"{least}" if least == most else f"{least} to {most}"
            raise DataError(
                f"{where}: {counted(len(words), 'value')}, but {what} has {allowed}; was the file cut short?"
            )
        rows.append((line, [number(word, where) for word in words]))
    if not rows:
        raise DataError(f"{path} holds no numbers; needed: {what} a line")
    return rows


def read_transforms(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read an ``.xf`` file: the matrices ``(n, 2, 2)`` and shifts ``(n, 2)`` px of ``A11 A12 A21 A22 DX DY``."""
    rows = read_rows(path, 6, 6, "a transformation (A11 A12 A21 A22 DX DY)")
    values = np.array([row for _, row in rows])
    matrices = values[:, :4].reshape(-1, 2, 2)
    scale = np.linalg.svd(matrices, compute_uv=False)
    sound = ((scale >= 0.5) & (scale <= 2)).all(1)
    if not sound.all():
        bad = int(np.argmin(sound))
        raise DataError(
            f"{path}, line {rows[bad][0]}: this transformation magnifies by {scale[bad, 0]:.3g} and "
            f"{scale[bad, 1]:.3g}; allowed: 0.5 to 2 (an alignment has about 1); align this view again"
        )
    return matrices, values[:, 4:]


def read_angles(path: Path, n: int, what: str = "tilt angle") -> NDArray[np.float64]:
    """Read a file of angles, ``(n,)`` degrees: one a line (further columns do not count), or many a line."""
    rows = read_rows(path, 1, 10_000, f"a {what}")
    values = [(line, value) for line, row in rows for value in (row[:1] if len(rows) == n else row)]
    if len(values) != n:
        raise DataError(
            f"{path}, line {rows[-1][0]} (its last): {counted(len(values), what)} for {counted(n, 'view')} of the .xf "
            "file; needed: one a view, excluded ones too; was it cut short, or is it of another series?"
        )
    return np.array([angle(value, f"{path}, line {line}") for line, value in values])


def view_list(text: str, where: str, n: int) -> set[int]:
    """Read a list of views such as ``1-3,7`` (numbers from 1 to ``n``): their 0-based numbers."""
    views: set[int] = set()
    for part in filter(None, re.split(r"[,\s]+", re.sub(r" ?- ?", "-", " ".join(text.split())))):
        match = re.match(r"([0-9]{1,7})(?:-([0-9]{1,7}))?$", part)
        first = int(match[1]) if match else 0
        last = int(match[2] or match[1]) if match else 0
        if not 1 <= first <= last <= n:
            raise DataError(
                f"{where}: {part[:40]!r} in a list of views; allowed: numbers from 1 to {n} and ranges (1-3,7)"
            )
        views.update(range(first - 1, last))
    return views


@dataclass(frozen=True)
class Options:
    """Options of a program in a command file; names count without regard to case.

    Parameters
    ----------
    path
        The file.
    entries
        Per option, in lower case, the line number and text of each entry.
    """

    path: Path
    entries: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    def where(self, name: str) -> str:
        """Say where the last entry of an option stands, for messages."""
        return f"{self.path}, line {self.entries[name.lower()][-1][0]}, {name}"

    def text(self, name: str) -> str:
        """Give the last entry of an option; empty if it is not there, or ``/`` (IMOD's sign for the default)."""
        entries = self.entries.get(name.lower())
        text = entries[-1][1] if entries else ""
        return "" if text == "/" else text

    def numbers(self, name: str, least: int, most: int) -> list[float]:
        """Give the numbers of an option, as many as it has; none if it is not there."""
        words = re.split(r"[,\s]+", self.text(name))
        if words == [""]:
            return []
        if not least <= len(words) <= most:
            allowed = f"{least}" if least == most else f"{least} to {most}"
            raise DataError(f"{self.where(name)}: {counted(len(words), 'value')}, but it takes {allowed}; correct it")
        return [number(word, self.where(name)) for word in words]

    def factor(self, name: str) -> float:
        """Give a binning; 1 if it is not there."""
        value = (self.numbers(name, 1, 1) or [1.0])[0]
        if not 1 <= value <= 1000:
            raise DataError(f"{self.where(name)}: binning {value:g}; allowed: 1 to 1000; correct it")
        return value

    def views(self, names: tuple[str, ...], n: int) -> set[int]:
        """Give the 0-based views that any of these options lists."""
        chosen: set[int] = set()
        for name in names:
            for line, text in self.entries.get(name.lower(), []):
                chosen |= view_list(text, f"{self.path}, line {line}, {name}", n)
        return chosen


def read_command_file(path: Path, program: str) -> Options:
    """Read the options of a program from a command file (``tilt.com``).

    A ``$`` begins the call of a program, with options as ``-Name value``; the lines up to the next ``$`` hold one
    option each, ``Name value``; ``#`` begins a comment line, a backslash at the end of a line continues it.

    Parameters
    ----------
    program
        ``tilt``, ``newstack``...; only its calls count. A file without any ``$`` counts as one.
    """
    lines: list[tuple[int, str]] = []
    begun = ""
    for line, text in numbered_lines(path):
        if text.startswith("#") and not begun:
            continue
        start = lines.pop()[0] if begun else line
        whole = f"{begun} {text}" if begun else text
        lines.append((start, whole.removesuffix("\\").strip()))
        begun = lines[-1][1] if text.endswith("\\") else ""
    options = Options(path)
    inside = not any(text.startswith("$") for _, text in lines)
    for line, text in lines:
        if text.startswith("$"):
            words = text[1:].split() or [""]
            inside = re.split(r"[/\\]", words[0])[-1].lower() == program
            parts = re.split(r"(?:^|\s)-(?=[A-Za-z])", text[1:].strip()[len(words[0]) :]) if inside else []
        else:
            parts = ["", text.removeprefix("-")] if inside else []
        for part in parts[1:]:
            name, _, value = re.sub(r"^(\S+?)\s*=\s*", r"\1 ", part.replace("\t", " ")).partition(" ")
            name = name.lower()
            # tilt's OFFSET is no short name
            name = name if program == "tilt" else ALIASES.get(name, name)
            options.entries.setdefault(name, []).append((line, value.strip().strip("\"'")))
    return options


def beside(folder: Path, name: str) -> Path | None:
    """Find a file that a command file names, or one of the same name in its folder (the set may have moved)."""
    for candidate in (name, re.split(r"[/\\]", name)[-1]):
        if name and os.path.isfile(folder / candidate):
            return folder / candidate
    return None
