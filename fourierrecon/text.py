"""Words that come from files and names, made fit for messages, terminals and spreadsheets."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields, is_dataclass
from shlex import quote

#: The longest word and the longest message that people are shown, characters.
LONGEST_WORD, LONGEST = 400, 1500
#: What a spreadsheet takes for the beginning of a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def visible(text: str, *, lines: bool = False) -> str:
    r"""Write what does not print as Python would: ``\x1b``; bytes of a name that is no UTF-8 as ``\xff``.

    So no name and no value of a file can colour a terminal, move its cursor, turn the direction of writing around or
    begin a line of its own.

    Parameters
    ----------
    text
        Any text.
    lines
        Ends of lines stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or (lines and c == "\n") else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as Python keeps it in names of files
        return f"\\x{code - 0xDC00:02x}"
    return repr(character)[1:-1]


def quoted(text: str) -> str:
    r"""Write a word of a command that people copy into a shell, also where it does not print: ``$'bad\xff'``.

    Parameters
    ----------
    text
        A name or path.
    """
    if text.isprintable():
        return quote(text)
    # escapes of more than a byte are those of Python, which shells share
    return "$'" + visible(text.replace("\\", "\\\\").replace("'", "\\'")) + "'"


def shortened(text: str, longest: int = LONGEST) -> str:
    """Cut the middle out of a text that is too long, and of words in it that no path is as long as.

    Parameters
    ----------
    text
        Any text; its end stays, as remedies stand there.
    longest
        Characters.
    """
    text = re.sub(rf"\S{{{LONGEST_WORD + 1},}}", lambda word: _middle_out(word[0], LONGEST_WORD), text)
    return _middle_out(re.sub(r" {100,}", " … ", text), longest)


def _middle_out(text: str, longest: int) -> str:
    kept = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[:kept]}…{text[-kept:]}"


def in_one_line(message: str) -> str:
    """Give a message as one line that every terminal can show.

    Parameters
    ----------
    message
        Text of a warning.
    """
    return visible(shortened(" ".join(message.split())))


def short_repr(record: object) -> str:
    """Give the representation of a dataclass with only those fields that differ from their defaults.

    Parameters
    ----------
    record
        Instance of a dataclass.
    """
    assert is_dataclass(record)
    shown = []
    for each in fields(record):
        value = getattr(record, each.name)
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        if each.repr and (default is MISSING or value != default):
            shown.append(f"{each.name}={value!r}")
    return f"{type(record).__name__}({', '.join(shown)})"


def cell(text: str) -> str:
    """Make a text a cell that no spreadsheet takes for a formula; numbers stay as they are.

    Parameters
    ----------
    text
        What is to be shown.
    """
    text = visible(text)
    if not text.startswith(FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def is_or_are(number: int) -> str:
    """Give the verb that goes with so many things."""
    return "is" if number == 1 else "are"


def counted(number: float, noun: str, several: str = "") -> str:
    """Write a number with its noun: ``1 image``, ``2 images``, ``0 images``.

    Parameters
    ----------
    number
        How many there are.
    noun
        What they are, one of them.
    several
        Several of them, where that is more than an ``s`` at the end.
    """
    shown = f"{number:g}" if isinstance(number, float) else f"{number}"
    return f"{shown} {noun if number == 1 else several or f'{noun}s'}"
