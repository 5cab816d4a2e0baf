"""Lists that go with a set: its tomograms for RELION 5, and its half volumes for programs that denoise."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fourierrecon.errors import FourierReconError, UsageError
from fourierrecon.io.relion.entries import Entry
from fourierrecon.io.relion.own_list import LIST, check_replaceable, read_own_list
from fourierrecon.io.relion.read import find_set
from fourierrecon.io.relion.tomogram_list import BINNING, PICTURES, SIZES, VOLUMES, write_set_list
from fourierrecon.io.star.text import write_word
from fourierrecon.io.tilt_series import list_tomograms
from fourierrecon.sets.hand_over import check_hand_over
from fourierrecon.sets.keys import has_inputs
from fourierrecon.sets.listing import Listed
from fourierrecon.sets.one import made_of
from fourierrecon.sets.outcomes import Outcome
from fourierrecon.sets.products import products_of
from fourierrecon.sets.recipe import Recipe
from fourierrecon.sets.records import read_outcomes


def protect_set(recipe: Recipe, names: Sequence[str] = ()) -> None:
    """Refuse a folder where a list would replace a file that no run on a set wrote, or a file that is read.

    Raises
    ------
    UsageError, DataError
        If there is such a file, or if a STAR file cannot hold the names of the folders.
    """
    for path in (recipe.source, recipe.folder):
        write_word(str(path.absolute()))  # the list has to name what lies there
    target = recipe.folder / LIST
    if target.exists() and recipe.source.is_file():
        read = [recipe.source]
        if recipe.source.suffix.lower() == ".star":
            read.append(find_set(recipe.source)[0])
        if any(path.exists() and target.samefile(path) for path in read):
            raise UsageError(f"folder={recipe.folder}: {target} is the set that is read; give another folder")
    check_replaceable([target])
    check_hand_over(recipe, names)
    read_outcomes(recipe.folder)


def write_list(recipe: Recipe, outcomes: Sequence[Outcome]) -> Path | None:
    """Write ``tomograms.star``: all tomograms that are there, also those that other runs made in this folder.

    Raises
    ------
    UsageError
        If RELION could not make these volumes from a list, nor read them.
    DataError
        If a file cannot be read or written.
    """
    results = {outcome.name: outcome for outcome in outcomes if outcome.made}
    # an mdoc describes one tilt series, the one that was made now
    others, rest = {}, replace(recipe, extras=replace(recipe.extras, mdoc=None))
    done = {outcome.name for outcome in outcomes if not outcome.stale}
    files = [path.name for path in (recipe.folder / "tomograms").glob("rec_*")]
    earlier, carried = read_own_list(recipe.folder), []
    for name in list_tomograms(recipe.source, recipe.extras):
        # many tomograms may not be there yet, and reading their tilt series would take long
        if name not in done and any(file.startswith(f"rec_{name}") for file in files):
            found = _found(rest, name, earlier.get(name))
            if isinstance(found, Entry):
                carried.append(found)
            elif found is not None:
                others[name] = found
    groups = [(by, made) for by, made in ((recipe, results), (rest, others)) if made]
    return write_tomograms(recipe.folder, groups or [(recipe, {})], carried) if groups or carried else None


def write_tomograms(
    folder: Path, groups: Sequence[tuple[Recipe, Mapping[str, Outcome]]], carried: Sequence[Entry] = ()
) -> Path | None:
    """Write ``tomograms.star``; None if no tomogram can be named there.

    Parameters
    ----------
    folder
        Folder of the products.
    groups
        Recipes, each with what became of its tomograms by name; all of one set of RELION, or of any other tilt series.
    carried
        Tomograms of the list that is there, which stay in it as they are.

    Raises
    ------
    UsageError, DataError
        As :func:`write_list`.
    """
    words = {name: words_of(outcome) for _, results in groups for name, outcome in results.items()}
    listed = [Listed(recipe, {name: o.made[0] for name, o in results.items()}) for recipe, results in groups]
    recipe = groups[0][0]
    done = recipe.finish.of_tomogram.all_words
    remark = f"volumes: {done}" if done else ""
    for one in listed:
        one.check()
    if recipe.source.suffix.lower() == ".star" and not _leaves_out_of_stacks(groups):
        placed = {name: place for one in listed for name, place in one.placed().items()}
        return write_set_list(folder, recipe.source, words, placed=placed, carried=carried, remark=remark)
    entries = [entry for one in listed for entry in one.entries(folder)]
    if not (entries or carried):
        return None
    return write_set_list(folder, recipe.source, words, entries, carried=carried, remark=remark)


def _leaves_out_of_stacks(groups: Sequence[tuple[Recipe, Mapping[str, Outcome]]]) -> bool:
    """Tell whether images were left out on request of a set that names a stack: RELION 5 alone can name the others."""
    recipe = groups[0][0]
    if not any(made.excluded for _, results in groups for outcome in results.values() for made in outcome.made):
        return False
    return bool(recipe.tilts) and find_set(recipe.source)[1].has("rlnTomoTiltSeriesName")


def _found(recipe: Recipe, name: str, earlier: Entry | None) -> Outcome | Entry | None:
    """Give the outcome of a tomogram that this run did not touch, if all its products are there.

    A tomogram that was made with other options stays in the list as it was, as long as its alignment is the same: then
    its entry is given.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # this run is about other tomograms
            products = products_of(replace(recipe, resume=True, redo=()), name)
    except (FourierReconError, OSError):
        return None
    if not any(product.reason is not None or product.kept for product in products):
        return Outcome(name=name, made=tuple(map(made_of, products)))
    volume = "" if earlier is None else earlier.overview.get(VOLUMES[""], [""])[0]
    return earlier if volume and has_inputs(Path(volume), products[0].key, products[0].series) else None


def words_of(outcome: Outcome) -> dict[str, str]:
    """Give the columns of a tomogram in the list; of several binnings and weightings the first counts."""
    first = outcome.made[0]
    words = dict(zip(SIZES, (f"{n:.10g}" for n in first.size), strict=True))
    words[BINNING] = f"{first.binning:.10g}"
    for product in outcome.made:
        words.setdefault(VOLUMES[product.part], str(product.path))
        if product.picture is not None:
            words.setdefault(PICTURES[product.part], str(product.picture))
    return words
