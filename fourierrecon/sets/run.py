"""A whole set: every tomogram made once, then the lists that go with them."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fourierrecon.errors import UsageError, check_type
from fourierrecon.io import Supplement
from fourierrecon.io.relion.own_list import LIST, read_own_list, remove_own_list
from fourierrecon.io.relion.tomogram_list import VOLUMES
from fourierrecon.io.shared_images import shared_images
from fourierrecon.io.tilt_series import check_single, check_supplement, list_tomograms
from fourierrecon.sets.file_names import check_names
from fourierrecon.sets.follower import Follower
from fourierrecon.sets.lists import protect_set, write_denoising_lists, write_list
from fourierrecon.sets.lock import locked, taking_turns
from fourierrecon.sets.one import process
from fourierrecon.sets.outcomes import Outcome
from fourierrecon.sets.recipe import Recipe
from fourierrecon.sets.records import keep_outcomes

if TYPE_CHECKING:
    from fourierrecon.sets.cluster import Cluster


def reconstruct_set(
    recipe: Recipe,
    names: Sequence[str] = (),
    *,
    part: str | None = None,
    cluster: Cluster | None = None,
    follower: Follower | None = None,
) -> Iterator[Outcome]:
    """Reconstruct the tomograms of a set one after the other, and give what became of each as soon as it is done.

    What goes wrong with a tomogram is in its outcome, and the others are made all the same. After the last one the list
    of tomograms is written; where a loop over the outcomes is left early, the next run writes it.

    Parameters
    ----------
    recipe
        What is to be made.
    names
        Names of tomograms, or patterns as ``TS_*``; all if there are none.
    part
        ``i/n``: only every n-th tomogram, from the i-th on, as other processes make the rest.
    cluster
        Machines to make them on; default: this one. There, outcomes come in the order in which they are done.
    follower
        Hears of all that happens besides.

    Returns
    -------
    outcomes
        Iterator over one outcome for each tomogram.

    Raises
    ------
    UsageError, DataError
        If nothing can be done at all. What is wrong with the recipe is raised at once, before the first outcome.
    """
    check_type("recipe", recipe, (Recipe,), "a Recipe, as Recipe(source=..., folder=...)")
    check_supplement(recipe.source, recipe.extras)
    chosen = choose_names(recipe.source, names, recipe.extras)
    check_single(recipe.extras, chosen)
    check_names(recipe, chosen)
    mine = choose_part(chosen, part)
    protect_set(recipe)
    return _outcomes(recipe, mine, part, cluster, follower or Follower())


def choose_names(source: Path, patterns: Sequence[str], extras: Supplement) -> list[str]:
    """Give the names of the tomograms in a set that are, or fit, one of the patterns (``TS_*``); all if there is none.

    Raises
    ------
    UsageError
        If a pattern fits none.
    DataError
        If the set cannot be read.
    """
    names = list_tomograms(source, extras)
    chosen: set[str] = set()
    for pattern in patterns:
        # a name may contain the brackets of a pattern
        found = [pattern] if pattern in names else fnmatch.filter(names, pattern)
        if not found:
            raise UsageError(f"no tomogram {pattern!r} in {source}; available: {', '.join(names)}")
        chosen.update(found)
    return [name for name in names if not patterns or name in chosen]


def choose_part(names: Sequence[str], part: str | None) -> list[str]:
    """Give the names of a part ``i/n`` of a set: every n-th, from the i-th on; None: all.

    Raises
    ------
    UsageError
        If the part is no such pair of numbers.
    """
    if part is None:
        return list(names)
    first, _, count = part.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise UsageError(f"part={part!r} must be I/N with I from 1 to N, as 3/10")
    return list(names[int(first) - 1 :: int(count)])


def _outcomes(
    recipe: Recipe, names: Sequence[str], part: str | None, cluster: Cluster | None, follower: Follower
) -> Iterator[Outcome]:
    """Make the tomograms, write the lists, and give the outcomes in between."""
    with locked(recipe.folder, part) as check:
        follower.starts(names)
        shared = shared_images(recipe.source)
        outcomes: dict[str, Outcome] = {}
        making = (
            _one_by_one(recipe, names, follower, check)
            if cluster is None
            else cluster.run(recipe, names, follower, check)
        )
        for outcome in making:
            if outcome.name in shared:
                outcome = replace(outcome, notes=(*outcome.notes, shared[outcome.name]))
            outcomes[outcome.name] = outcome
            yield outcome
        in_order = [outcomes[name] for name in names]
        _write_lists(recipe, in_order, follower)
        keep_outcomes(recipe, in_order, part)


def _one_by_one(
    recipe: Recipe, names: Sequence[str], follower: Follower, check: Callable[[], None]
) -> Iterator[Outcome]:
    """Make tomograms on this machine; the folder is checked before each, and at the end."""
    for name in names:
        check()
        yield process(recipe, name, follower.begins(name))
    check()


def _write_lists(recipe: Recipe, outcomes: Sequence[Outcome], follower: Follower) -> None:
    """Write the list of tomograms and those for denoising; remove a list of before that is no longer right."""
    path, problem = None, ""
    with taking_turns(recipe.folder):
        try:
            path = write_list(recipe, outcomes)
        except UsageError as error:
            problem = str(error)
        # a list of before is right as long as none of its volumes was made anew
        if path is None and not (problem and _is_right(recipe.folder, outcomes)) and remove_own_list(recipe.folder):
            problem = problem or "nothing that it listed is as it was"
        if "denoising" in recipe.companions:
            write_denoising_lists(recipe, outcomes)
    if problem:
        follower.notes("note", f"no {recipe.folder / LIST}: {problem}")
    if path is not None and any(side is not None for side in recipe.size):
        follower.notes(
            "note",
            f"{path} describes a part of a tomogram as a tomogram of its own: made again from this list, its borders "
            f"are weighted as if nothing lay beyond them",
        )
    follower.lists(path)


def _is_right(folder: Path, outcomes: Sequence[Outcome]) -> bool:
    """Tell whether the list that is there names none of the volumes that were made anew."""
    listed = {word for entry in read_own_list(folder).values() for word in entry.overview.get(VOLUMES[""], [])}
    return not any(
        product.reason is not None and str(product.path) in listed for outcome in outcomes for product in outcome.made
    )
