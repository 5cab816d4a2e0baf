"""Reads the text of STAR files as blocks, whatever its line ends, comments and quotes, and checks it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from fourierrecon.errors import DataError
from fourierrecon.io.files import read_lines

#: A value: quoted, or without blanks.
_VALUE = re.compile(r"""\"([^"]*)\"(?=\s|$)|'([^']*)'(?=\s|$)|(\S+)""")


@dataclass
class Block:
    """A block as found in the text."""

    name: str
    loop: bool
    labels: list[str]
    rows: list[list[str]]


def read_blocks(path: Path) -> list[Block]:
    """Split the text of a STAR file into its blocks; a list has one value a row."""
    blocks: dict[str, Block] = {}
    block = None
    for number, line in enumerate(read_lines(path, "the tomograms.star of the set"), 1):
        words, here = _words(line), f"{path}, line {number}"
        if not words:
            continue
        if len(words) == 1 and re.match("data_[^/]*$", words[0]):
            name = words[0].removeprefix("data_")
            if name in blocks:
                raise DataError(f"{here}: a second block data_{name}; keep one of the two")
            block = blocks[name] = Block(name, False, [], [])
        elif block is None:
            break
        elif words == ["loop_"] and not block.loop and not block.labels:
            block.loop = True
        elif words[0].startswith("_") and not (block.loop and block.rows) and len(words) <= 2 - block.loop:
            if words[0][1:] in block.labels:
                raise DataError(
                    f"{here}: a second column {words[0][1:]} in block data_{block.name}; keep one of the two"
                )
            block.labels.append(words[0][1:])
            if not block.loop:
                block.rows.append(words[1:] or [""])
        elif block.loop and block.labels and len(words) == len(block.labels):
            block.rows.append(words)
        elif block.loop and block.labels:
            raise DataError(
                f"{here}: {len(words)} values in block data_{block.name} with its {len(block.labels)} "
                f"columns; was the file cut short, or is a value with blanks not quoted?"
            )
        else:
            raise DataError(f"{here}: {line.strip()[:60]!r} is out of place in a STAR file; correct or remove it")
    if not blocks:
        raise DataError(f"{path} is not a STAR file: it does not begin with data_...; give the set's tomograms.star")
    return list(blocks.values())


def _words(line: str) -> list[str]:
    """Split a line into its values, without quotes and comments."""
    words = []
    for match in _VALUE.finditer(line):
        double, single, plain = match.groups()
        if plain is not None and plain.startswith("#"):
            break
        words.append(next(word for word in (double, single, plain) if word is not None))
    return words


def encode(word: str) -> str:
    """Make a word that is no number, no missing value, and has no blank, quote or comment sign in it."""
    return "=" + quote(word, safe="/@[],:+")


def decode(word: str) -> str:
    """Give the word behind one that :func:`encode` made."""
    return unquote(word[1:])
