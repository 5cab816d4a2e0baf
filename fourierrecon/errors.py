"""The two kinds of error that a user can cause; the command line turns them into exit status 2 and 1."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from fourierrecon.text import shortened, visible

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Message for the end of memory, with its remedies.
OUT_OF_MEMORY = (
    "out of memory; set memory=... (scratch files take over), or use fewer threads (n_threads=...), a larger "
    "binning=... or a smaller region (size=...)"
)


class FourierReconError(Exception):
    """Base of both. Its message names what is wrong and the remedy, in one or two lines.

    Names and values in it may come from anywhere: what does not print is escaped, and what is too long is cut.

    Parameters
    ----------
    message
        What is wrong, and the remedy.
    """

    exit_status = 1

    def __init__(self, message: str) -> None:
        super().__init__(visible(shortened(message)))


class UsageError(FourierReconError, ValueError):
    """An option or argument makes no sense (exit status 2).

    Examples
    --------
    >>> from fourierrecon import Region, UsageError
    >>> try:
    ...     Region((0.0, 0.0, 0.0), (8, 8, 8), binning=0.5)
    ... except UsageError as error:
    ...     print(error)
    binning 0.5 must be 1 or more; there is nothing finer than the images
    """

    exit_status = 2


class DataError(FourierReconError, ValueError):
    """A file or array cannot be used (exit status 1).

    Examples
    --------
    >>> from fourierrecon import DataError, read_volume
    >>> try:
    ...     read_volume("missing.mrc")
    ... except DataError as error:
    ...     print(error)
    cannot read missing.mrc: No such file or directory
    """

    exit_status = 1


def check_type(argument: str, value: object, kinds: tuple[type, ...], needed: str) -> None:
    """Refuse an argument of the wrong type, so that the message comes at once and names the argument.

    Parameters
    ----------
    argument
        Its name.
    value
        What was given.
    kinds
        Types that are right. A text is none of them, whatever they are, unless ``str`` is named.
    needed
        What is needed, and where it comes from, for the message.

    Raises
    ------
    UsageError
        If the type is wrong.
    """
    if not isinstance(value, kinds) or (isinstance(value, (str, bytes)) and str not in kinds):
        shown = f" {value!r}" if isinstance(value, (str, int, float, bool)) else ""
        raise UsageError(f"{argument} is of type {type(value).__name__}{shown}; needed: {needed}")


def as_numbers(argument: str, values: object) -> NDArray[np.float64]:
    """Give an argument as an array of finite or missing numbers.

    Parameters
    ----------
    argument
        Its name, for the message.
    values
        A number, a sequence or an array.

    Raises
    ------
    UsageError
        If these are no numbers.
    """
    import numpy as np

    try:
        return np.asarray(values, float)
    except (TypeError, ValueError):
        shown = f" {values!r}" if isinstance(values, str) else ""
        raise UsageError(f"{argument} is of type {type(values).__name__}{shown}; needed: numbers") from None


def raise_shortage(error: OSError) -> None:
    """Let an error of the system count as a shortage of memory if it is one, whatever was to be done with the memory.

    Raises
    ------
    MemoryError
        If the system had no memory.
    """
    if error.errno == errno.ENOMEM:
        raise MemoryError(error.strerror) from error
