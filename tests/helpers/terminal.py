"""A terminal as far as progress bars need one: what stays on the screen after cursor moves and erased lines."""

from __future__ import annotations

import re
from io import StringIO

from rich.console import Console

#: Pieces that a program sends: commands, ends of lines, text.
PIECE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


class Terminal:
    """A console that writes into memory, and what a person would see.

    Parameters
    ----------
    width
        Columns.
    """

    def __init__(self, width: int = 80) -> None:
        self._file = StringIO()
        self.console = Console(
            file=self._file, force_terminal=True, width=width, height=50, color_system=None, highlight=False,
            legacy_windows=False, _environ={},
        )  # fmt: skip
        self.width = width

    def lines(self) -> list[str]:
        """Give the lines on the screen now, those that are empty left out; long ones are broken as a terminal does."""
        lines, row, column = [""], 0, 0
        for number, command, start, end, text in PIECE.findall(self._file.getvalue()):
            n = int(number) if number.isdecimal() else 1
            if text:
                lines[row] = lines[row].ljust(column)[:column] + text + lines[row][column + len(text) :]
                column += len(text)
            elif start:
                column = 0
            elif end:
                row, column = row + 1, 0
                lines += [""] * (row == len(lines))
            elif command == "A":
                row = max(row - n, 0)
            elif command == "K":
                lines[row] = "" if number == "2" else lines[row][:column]
        return [
            line[first : first + self.width]
            for line in map(str.rstrip, lines)
            for first in range(0, len(line), self.width)
        ]
