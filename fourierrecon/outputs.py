"""Where the command line writes to: names beside a tomogram, nothing that is read written over, no folders in vain."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fourierrecon.errors import UsageError
from fourierrecon.tilt_series import TiltSeries


def is_folder(output: str) -> bool:
    """Tell whether ``--o`` names a folder for the products of a set: it ends in a slash, or is there already."""
    path = Path(output)
    return output.endswith(("/", os.sep)) or (path.is_dir() and not path.suffix)


def protect(output: Path, source: Path, series: TiltSeries, option: str = "--o") -> None:
    """Refuse to write over what is read.

    Parameters
    ----------
    output
        File to be written.
    source
        The set that was given.
    series
        What was read from it.
    option
        That names the output.

    Raises
    ------
    UsageError
        If the output is the set or one of its image files.
    """
    stacks = getattr(series.images, "stacks", ())
    read = [source, *filter(None, [series.source]), *(stack.path for stack in stacks)]
    # an output may be a folder, which is replaced with all that is in it
    if output.exists() and any(
        output.samefile(path) or Path(path).resolve().is_relative_to(output.resolve()) for path in read
    ):
        raise UsageError(f"{option} {output} is one of the files that are read; give another name")


def beside(output: Path, ending: str, option: str) -> Path:
    """Give the name of what goes with a tomogram: the same, with another ending.

    Parameters
    ----------
    output
        The tomogram's file.
    ending
        Of the other file.
    option
        That asks for it.

    Raises
    ------
    UsageError
        If that is the tomogram's own name.
    """
    other = output.with_suffix(ending)
    if other == output:
        raise UsageError(f"--o {output}: with {option}, {ending} is for another file; name the tomogram .mrc")
    return other


@contextmanager
def folders_of(path: Path) -> Iterator[None]:
    """Remove the folders that were made for a file, if it was not written after all.

    Parameters
    ----------
    path
        The file.
    """
    missing = [folder for folder in path.absolute().parents if not folder.exists()]
    try:
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise
