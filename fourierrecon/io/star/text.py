"""Text of STAR files as blocks: read whatever its line ends, comments and quotes, checked, and written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from fourierrecon.errors import DataError
from fourierrecon.io.files import read_lines
from fourierrecon.text import counted

#: A value: quoted, or without blanks.
_VALUE = re.compile(r"""\"([^"]*)\"(?=\s|$)|'([^']*)'(?=\s|$)|(\S+)""")


@dataclass
class Block:
    """A block as found in the text."""

    name: str
    loop: bool
    #: Labels in their order; a dictionary, because files with very many are checked for twins.
    labels: dict[str, None]
    rows: list[list[str]]


def read_blocks(path: Path, what: str) -> list[Block]:
    """Split the text of a STAR file into its blocks; a list has one value a row. What it is: see ``read_lines``."""
    blocks: dict[str, Block] = {}
    block = None
    for number, line in enumerate(read_lines(path, what), 1):
        words, here = _words(line), f"{path}, line {number}"
        if not words:
            continue
        if len(words) == 1 and re.match("data_[^/]*$", words[0]):
            name = words[0].removeprefix("data_")
            if name in blocks:
                raise DataError(f"{here}: a second block data_{name[:60]}; keep one of the two")
            block = blocks[name] = Block(name, False, {}, [])
        elif block is None:
            break
        elif words == ["loop_"] and not block.loop and not block.labels:
            block.loop = True
        elif words[0].startswith("_") and not (block.loop and block.rows) and len(words) <= 2 - block.loop:
            if words[0][1:] in block.labels:
                raise DataError(
                    f"{here}: a second column {words[0][1:61]} in block data_{block.name}; keep one of the two"
                )
            block.labels[words[0][1:]] = None
            if not block.loop:
                block.rows.append(words[1:] or [""])
        elif block.loop and block.labels and len(words) == len(block.labels):
            block.rows.append(words)
        elif block.loop and block.labels:
            raise DataError(
                f"{here}: {counted(len(words), 'value')} in block data_{block.name} with its "
                f"{counted(len(block.labels), 'column')}; was the file cut short, or is a value with blanks not quoted?"
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


def write_word(word: str) -> str:
    """Write a value so that :func:`read_blocks` gives it back.

    Raises
    ------
    DataError
        If a STAR file cannot hold it: it has a line break or another control character, or blanks and both quotes.
    """
    if re.search(r"[\0-\x08\n-\x1f\x7f]", word):
        raise DataError(f"{word!r} has a line break or control character, which no STAR file can hold; rename it")
    if word and not re.search(r"\s", word) and word[0] not in "\"'#":
        return word
    mark = next((mark for mark in "\"'" if mark not in word), None)
    if mark is None:
        raise DataError(f"{word!r} has blanks and both kinds of quotes, which no STAR file can hold; rename it")
    return f"{mark}{word}{mark}"
