"""Finds the files that a set or a tilt series names, so that no command writes over one of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from fourierrecon.errors import FourierReconError, UsageError
from fourierrecon.io import Supplement, read_tilt_series
from fourierrecon.io.files import is_kept, keep
from fourierrecon.io.relion.read import find_set
from fourierrecon.io.star.table import Table, read_tables
from fourierrecon.io.tilt_series import list_tomograms
from fourierrecon.tilt_series import ImagesInFiles

#: Additions of STAR files to the name of a file: the number of an image before it, the format behind it.
_ADDED = re.compile(r"^\d{1,9}@|:\w{1,8}$")
#: Endings of the files that IMOD, AreTomo, Warp and EMAN2 keep beside an alignment.
_BESIDE = (
    ".com", ".adoc", ".mdoc", ".xf", ".tlt", ".rawtlt", ".xtilt", ".defocus", ".aln", ".txt", ".xml", ".tomostar",
    ".settings",
)  # fmt: skip


def protect(outputs: Iterable[Path], inputs: Iterable[Path], argument: str | None = None) -> None:
    """Refuse to write over what is read, here and wherever else files are written in this context.

    Parameters
    ----------
    outputs
        Files or Zarr folders to be written.
    inputs
        Files that are read. They are not looked for if no output exists yet.
    argument
        Argument that names the outputs, for the message; None where they follow from another one.

    Raises
    ------
    UsageError
        If an output exists and is one of the inputs, by whatever name, or a folder that holds one.
    """
    existing = [path for path in outputs if os.path.exists(path)]
    if existing:
        keep(inputs)
    for path in existing:
        if is_kept(path):
            named = str(path) if argument is None else f'{argument}="{path}"'
            raise UsageError(f"{named} is one of the files that are read, or named by them; give another name")


def input_files(source: Path, extras: Supplement, name: str | None = None) -> Iterator[Path]:
    """Give the files that a set or a tilt series names, images, half images and volumes included.

    Parameters
    ----------
    source, extras
        As for :func:`fourierrecon.io.read_tilt_series`.
    name
        Name of a tomogram, if files of the others do not matter.
    """
    yield source
    yield from filter(None, (extras.stack, extras.mdoc))
    if source.suffix.lower() == ".star":
        yield from _of_set(source, name)
    elif source.exists():
        folder = source if source.is_dir() else source.parent
        yield from (path for path in folder.iterdir() if path.suffix.lower() in _BESIDE)
    for one in list_tomograms(source, extras) if name is None else [name]:
        try:
            series = read_tilt_series(source, one, extras)
        except FourierReconError:
            continue  # a series that cannot be read is reported where it is reconstructed
        yield from filter(None, [series.source])
        if isinstance(series.images, ImagesInFiles):
            yield from (path for path, _ in series.images.sections)


def _of_set(source: Path, name: str | None) -> Iterator[Path]:
    """Give the files that a set of RELION names, those of the set itself first."""
    path, overview, tables = find_set(source)
    yield path
    bases = [source, path]
    names = overview.words("rlnTomoName")
    yield from _named(overview if name is None else overview.row(names.index(name)), bases)
    label = "rlnTomoTiltSeriesStarFile"
    for number, one in enumerate(names):
        if name not in (None, one):
            continue
        if one in tables and not tables[one].has("rlnTomoName"):
            yield from _named(tables[one], bases)
        for star in _places(overview.words(label)[number], bases) if overview.has(label) else ():
            for table in read_tables(star).values():
                yield from _named(table, [*bases, star])


def _named(table: Table, bases: list[Path]) -> Iterator[Path]:
    """Give the files that are named in a table."""
    for words in table.columns.values():
        names = dict.fromkeys(_ADDED.sub("", word) for word in words)
        for word in names:
            # a word without letters is a number, or a list of numbers
            if any(letter.isalpha() for letter in word):
                yield from _places(word, bases)


def _places(name: str, bases: list[Path]) -> list[Path]:
    """Find a file that a STAR file names: below the working directory, or below a folder above the STAR file."""
    folders = [Path.cwd(), *(folder for base in bases for folder in base.absolute().parents)]
    return [folder / name for folder in dict.fromkeys(folders) if os.path.exists(folder / name)][:1]
