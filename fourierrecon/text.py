"""Words that come from files and names, made fit for messages, terminals and spreadsheets."""

from __future__ import annotations

import re
from shlex import quote

#: The longest word and the longest message that people are shown, characters.
LONGEST_WORD, LONGEST = 400, 1500
#: What a spreadsheet takes for the beginning of a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
#: Options of the command line that stand for arguments of the library.
OPTIONS = {
    "name": "--tn",
    "stack": "--stack",
    "pixel_size": "--angpix",
    "mdoc": "--mdoc",
    "voltage": "--voltage",
    "spherical_aberration": "--Cs",
    "amplitude_contrast": "--Q0",
    "size": "--w --h --d",
    "like": "--like",
    "tilt_angle": "--tiltangle_offset",
    "x_tilt": "--x_tilt",
    "z_shift": "--z_shift",
    "voxel_size": "--angpix",
    "source": "--from",
    "version": "--as",
    "rotations_only": "--rotations_only",
}


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


def in_options(message: str) -> str:
    """Name the options of the command line where the library names its arguments: ``pixel_size=...``, ``mdoc=FILE``.

    Parameters
    ----------
    message
        Of an error or a warning.
    """
    arguments = re.compile(rf"(?<![\w/.])({'|'.join(OPTIONS)})=(\.\.\.|True\b|(?=\S))")
    return arguments.sub(lambda found: OPTIONS[found[1]] + (" " if found[2] == "" else ""), message)


def in_one_line(message: str) -> str:
    """Give what the library warns of as the command line says it.

    Parameters
    ----------
    message
        Of a warning.
    """
    return in_options(visible(shortened(" ".join(message.split()))))


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
