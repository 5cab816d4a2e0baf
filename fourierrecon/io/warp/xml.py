"""XML of Warp's tilt series: lists of one value a line, and attributes; every fault named by file and element."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.io.files import is_plain
from fourierrecon.text import counted

#: No angle (degrees), exposure or shift (Å) is larger, no size (px) either: what exceeds it is a mistake.
LARGEST = 1e7
TRUTH = {"true": True, "false": False}

_Value = TypeVar("_Value")


def truth(path: Path, root: ElementTree.Element, name: str) -> bool:
    """Give an attribute of the root that is True or False; False where there is none, as in Warp.

    Parameters
    ----------
    path
        File of the XML, for messages.
    root
        Its root.
    name
        Name of the attribute.

    Raises
    ------
    DataError
        If it is something else; the message names file and field.
    """
    word = root.get(name, "").strip()
    # Warp writes nothing, or null, for an attribute that nobody has set
    word = "" if word.lower() == "null" else word
    if word and word.lower() not in TRUTH:
        raise DataError(f"{path}, attribute {name}: {word[:40]!r} must be True or False; correct it")
    return TRUTH.get(word.lower(), False)


def read_root(path: Path) -> ElementTree.Element:
    """Parse the XML of a tilt series in UTF-8 or UTF-16, with or without a byte-order mark; give its root.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    DataError
        If it cannot be read, or is the XML of something else.
    """
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise DataError(f"cannot read {str(path)!r}: {reason}; give the XML of a Warp tilt series") from error
    if not raw.strip():
        raise DataError(f"{path} is empty; was its writing interrupted?")
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in raw[:4]
    codec = "utf-8-sig" if not wide else "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-16-le"
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is neither UTF-8 nor UTF-16 text; save it as UTF-8, or copy it again") from error
    # the declaration may name another encoding than the file has
    text = re.sub(r"^\s*<\?xml[^>]*>", lambda match: "\n" * match[0].count("\n"), text)
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        line = getattr(error, "position", (1, 0))[0]
        raise DataError(f"{path}, line {line}: no valid XML ({error}); was the file cut short?") from error
    if root.tag != "TiltSeries":
        raise DataError(f"{path}: begins with <{root.tag[:40]}>, not <TiltSeries>; give the XML of a Warp tilt series")
    return root


def number(word: str, largest: float = LARGEST) -> float:
    """Give a sensible number, or raise ``ValueError``."""
    value = float(word) if is_plain(word) else float("nan")
    if not abs(value) <= largest:
        raise ValueError(word)
    return value


def values_of(
    path: Path,
    root: ElementTree.Element,
    name: str,
    convert: Callable[[str], _Value],
    allowed: str,
    n: int | None = None,
) -> list[_Value] | None:
    """Give a list of one value a line, or None if there is no such element.

    Parameters
    ----------
    path
        File of the XML, for messages.
    root
        Its root.
    name
        Name of the element.
    convert
        Function that makes a value of a word, or raises ``ValueError`` or ``KeyError``.
    allowed
        Rule for a word, for messages: ``must be True or False``.
    n
        Number of values; None: any number.

    Raises
    ------
    DataError
        If it is something else; the message names file and field.
    """
    element = root.find(name)
    if element is None:
        return None
    words = [word.strip() for word in (element.text or "").splitlines()]
    words = [word for word in words if word]
    if n is not None and len(words) != n:
        raise DataError(f"{path}, <{name}>: {counted(len(words), 'value')}, but <Angles> has {n}; needed: one a tilt")
    values = []
    for i, word in enumerate(words):
        try:
            values.append(convert(word))
        except (ValueError, KeyError) as error:
            raise DataError(f"{path}, <{name}>, value {i + 1}: {word[:40]!r} {allowed}; correct it") from error
    return values


def numbers_of(
    path: Path, root: ElementTree.Element, name: str, n: int | None = None, largest: float = LARGEST
) -> NDArray[np.float64] | None:
    """Give a list of finite numbers, ``(n,)``, or None if there is no such element.

    Parameters
    ----------
    path
        File of the XML, for messages.
    root
        Its root.
    name, n
        As for :func:`values_of`.
    largest
        Limit of their size.

    Raises
    ------
    DataError
        If it is something else; the message names file and field.
    """
    values = values_of(
        path, root, name, lambda word: number(word, largest), f"must be a number up to {largest:g} either way", n
    )
    if values is not None and not values:
        raise DataError(f"{path}, <{name}>: holds no values; needed: one a tilt")
    return None if values is None else np.array(values, float)


def attribute(
    path: Path,
    root: ElementTree.Element,
    name: str,
    n: int | tuple[int, ...],
    default: tuple[float, ...] | None = None,
    largest: float = LARGEST,
) -> tuple[float, ...] | None:
    """Give an attribute of the root that holds numbers with commas between.

    Parameters
    ----------
    path
        File of the XML, for messages.
    root
        Its root.
    name
        Name of the attribute.
    n
        Number of values: one count, or several.
    default
        Where there is no such attribute.
    largest
        Limit of their size.

    Raises
    ------
    DataError
        If it is something else; the message names file and field.
    """
    counts = (n,) if isinstance(n, int) else n
    text = root.get(name, "").strip()
    if not text:
        return default
    try:
        values = tuple(number(word.strip(), largest) for word in text.strip("()").split(","))
    except ValueError:
        values = ()
    if len(values) not in counts:
        allowed = " or ".join(map(str, counts))
        raise DataError(
            f"{path}, attribute {name}: {text[:40]!r} must be {allowed} number{'s' * (allowed != '1')} up to "
            f"{largest:g}; correct it"
        )
    return values
