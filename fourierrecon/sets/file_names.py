"""Names of the files that are made of a tomogram of a set, and the refusal of two tomograms with one name."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import asdict, is_dataclass
from itertools import product
from pathlib import Path

from fourierrecon.errors import UsageError
from fourierrecon.sets.recipe import Recipe
from fourierrecon.tomogram.companions import VOLUMES, companion_path
from fourierrecon.tomogram.finish import view_path
from fourierrecon.tomogram.provenance import passport_path
from fourierrecon.weighting import Weighting

#: Parts of a tilt series, and how RELION names their files.
PARTS = {"": "", "Even": "_half1", "Odd": "_half2"}


def files_of(recipe: Recipe, name: str) -> list[dict[str, Path]]:
    """Give the files of a tomogram's volumes by part, for each weighting and binning.

    Raises
    ------
    UsageError
        If the name of the tomogram cannot be that of a file.
    """
    _check_file_name(name)
    parts = PARTS if recipe.halves else {"": ""}
    found = []
    for weighting, binning in product(recipe.weightings, recipe.binnings):
        tag = _tag(weighting, recipe.weightings) + f"_bin{binning:g}" * (len(recipe.binnings) > 1)
        stem = recipe.folder / "tomograms" / f"rec_{name}{tag}"
        found.append({part: stem.with_name(f"{stem.name}{end}{recipe.ending}") for part, end in parts.items()})
    return found


def all_files_of(recipe: Recipe, name: str) -> Iterator[Path]:
    """Give all files that are made of a tomogram: volumes, pictures, companions and passports.

    Raises
    ------
    UsageError
        As :func:`files_of`.
    """
    for files in files_of(recipe, name):
        for part, path in files.items():
            yield path
            if recipe.projection:
                yield picture_path(recipe, path)
            if recipe.passport:
                yield passport_path(path)
            if part == "" and recipe.finish.viewing_copy:
                yield view_path(path)
            if part == "":
                yield from stack_paths(recipe, path) or ()
                if recipe.thumbnails:
                    yield thumbnail_path(recipe, path)
                yield from (companion_path(path, companion) for companion in companions_of(recipe))


def picture_path(recipe: Recipe, volume: Path) -> Path:
    """Give the file of a volume's 2D picture."""
    return recipe.folder / "projections" / f"{volume.stem}.mrc"


def stack_paths(recipe: Recipe, volume: Path) -> tuple[Path, Path] | None:
    """Give the files of a volume's aligned stack, images and angles; None if there is to be none."""
    if "aligned_stack" not in recipe.companions:
        return None
    stem = recipe.folder / "aligned" / volume.stem.removeprefix("rec_")
    return stem.with_name(f"{stem.name}.mrc"), stem.with_name(f"{stem.name}.tlt")


def thumbnail_path(recipe: Recipe, volume: Path) -> Path:
    """Give the file of a volume's thumbnail."""
    return recipe.folder / "thumbnails" / f"{volume.stem}.png"


def companions_of(recipe: Recipe) -> list[str]:
    """Give those companions that are volumes."""
    return [name for name in recipe.companions if name in VOLUMES]


def check_names(recipe: Recipe, names: Iterable[str]) -> None:
    """Refuse tomograms whose files would have one name, also where capital letters count as small ones.

    Raises
    ------
    UsageError
        If there are such tomograms, or a name cannot be that of a file.
    """
    check_distinct((name, all_files_of(recipe, name)) for name in names)


def check_distinct(named: Iterable[tuple[str, Iterable[Path]]]) -> None:
    """Refuse tomograms, of which the files are given, if two would write one file.

    Raises
    ------
    UsageError
        If there are such tomograms, or a name cannot be that of a file.
    """
    owners: dict[str, str] = {}
    for name, paths in named:
        _check_file_name(name)
        for path in paths:
            same = unicodedata.normalize("NFC", str(path)).casefold()
            other = owners.setdefault(same, name)
            if other != name:
                raise UsageError(
                    f"{other} and {name} would both be written to {path}; rename one, or choose one of them by name "
                    f"and give each a folder of its own"
                )


def _check_file_name(name: str) -> None:
    if "/" in name or "\0" in name or name in (".", ".."):
        raise UsageError(f"tomogram {name!r}: its name cannot be that of a file; rename it in the set")


def _tag(weighting: Weighting, weightings: tuple[Weighting, ...]) -> str:
    """Tell weightings apart in names of files, by their parameters where the names of weightings do not."""
    if len(weightings) == 1:
        return ""
    if [other.name for other in weightings].count(weighting.name) == 1:
        return f"_{weighting.name}"
    parameters: dict[str, object] = asdict(weighting) if is_dataclass(weighting) else {}
    return f"_{weighting.name}" + "".join(f"_{key}{value}" for key, value in parameters.items())
