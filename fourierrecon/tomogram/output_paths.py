"""Where a command writes: the names of files beside a tomogram, and no empty folders after a failure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fourierrecon.errors import UsageError


def is_folder(output: str) -> bool:
    """Tell whether an output is a folder for the products of a set: it ends in a slash, or exists already."""
    path = Path(output)
    return output.endswith(("/", os.sep)) or (path.is_dir() and not path.suffix)


def beside(output: Path, ending: str, argument: str) -> Path:
    """Give the name of a file that goes with a tomogram: the tomogram's own, with another ending.

    Parameters
    ----------
    output
        The tomogram's file.
    ending
        Ending of the other file.
    argument
        Argument that asks for it, as messages name it.

    Raises
    ------
    UsageError
        If this is the tomogram's own name.
    """
    other = output.with_suffix(ending)
    if other == output:
        raise UsageError(
            f'output="{output}": with {argument}=True, {ending} is for another file; name the tomogram .mrc'
        )
    return other


def refuse_others(files: Iterable[Path], sign: Path) -> None:
    """Refuse to replace files, unless an earlier run of the same kind wrote them.

    Parameters
    ----------
    files
        Files that are to be written.
    sign
        Another file that such a run writes; where it exists, the files are its own.

    Raises
    ------
    UsageError
        If one of the files exists without the sign.
    """
    for path in files:
        if path.exists() and not sign.exists():
            raise UsageError(f"{path} exists, and would be replaced; give another folder")


@contextmanager
def folders_of(path: Path) -> Iterator[None]:
    """Remove the folders that were made for a file, if the file was not written in the end.

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
