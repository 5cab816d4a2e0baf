"""Tilt series as they come: looks into a folder again and again, and reconstructs each as soon as it is complete.

Products that are there already are recognised by their keys, so that a new start makes nothing twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from fourierrecon.errors import FourierReconError, UsageError
from fourierrecon.io.relion.own_list import LIST, read_own_list, remove_own_list
from fourierrecon.io.relion.tomogram_list import VOLUMES
from fourierrecon.sets.arrivals import Arrival, Watcher, extras_for
from fourierrecon.sets.file_names import check_names
from fourierrecon.sets.follower import Follower
from fourierrecon.sets.lists import protect_set, write_tomograms
from fourierrecon.sets.lock import locked
from fourierrecon.sets.one import process
from fourierrecon.sets.outcomes import Outcome
from fourierrecon.sets.recipe import Recipe
from fourierrecon.sets.records import keep_outcomes


def watch(
    recipe: Recipe, *, every: float = 10.0, idle: float | None = None, follower: Follower | None = None
) -> Iterator[Outcome]:
    """Reconstruct what arrives in a folder, and give what became of each tilt series as soon as it was tried.

    A tilt series that fails, or whose files change later, is tried again and has several outcomes.

    Parameters
    ----------
    recipe
        What is to be made; its source is the folder that is watched.
    every
        Time between looks, s.
    idle
        End with the first look that finds nothing new after this time, s (0: all that is there is made); None: never.
    follower
        Hears of all that happens besides.

    Returns
    -------
    outcomes
        Iterator over outcomes.

    Raises
    ------
    UsageError, DataError
        If the folder of the products cannot be used. What is wrong with the recipe is raised at once.
    """
    if recipe.folder.resolve() == recipe.source.resolve():
        raise UsageError(
            f"folder={recipe.folder} is the folder that is watched; give one of its own, as {recipe.folder}/out"
        )
    protect_set(recipe)
    # a tilt series that is aligned anew is made anew
    return _outcomes(replace(recipe, redo=recipe.redo or ("inputs",)), every, idle, follower or Follower())


def _outcomes(recipe: Recipe, every: float, idle: float | None, follower: Follower) -> Iterator[Outcome]:
    """Look again and again, make what is complete, and write the list after each look that brought something."""
    watcher = Watcher(recipe)
    results: dict[str, tuple[Recipe, Outcome]] = {}
    with locked(recipe.folder):
        follower.notes("watching", f"{recipe.source}, every {every:g} s; Ctrl-C ends it")
        last = time.monotonic()
        while True:
            arrivals = watcher.look()
            for text in watcher.news:
                follower.waits(text)
            watcher.news.clear()
            for arrival in arrivals:
                mine = replace(recipe, source=arrival.source, extras=extras_for(arrival.source, recipe.extras))
                outcome = watcher.with_shared_images(_process(mine, arrival, results, follower))
                watcher.note(arrival, outcome)
                keep_outcomes(mine, [outcome])
                results[arrival.name] = mine, outcome
                yield outcome
            if arrivals:
                _renew_list(recipe.folder, results, follower)
            if arrivals or watcher.changed:
                last = time.monotonic()
            elif idle is not None and time.monotonic() >= last + idle:
                return
            time.sleep(every)


def _process(
    recipe: Recipe, arrival: Arrival, results: Mapping[str, tuple[Recipe, Outcome]], follower: Follower
) -> Outcome:
    """Make a tomogram, if its files have names of their own among those that were made."""
    name = arrival.name
    others = [other for other, (_, outcome) in results.items() if outcome.made and other != name]
    try:
        check_names(recipe, [*others, name])
    except UsageError as error:
        return Outcome(name=name, error=str(error))
    return process(recipe, name, follower.begins(name))


def _renew_list(folder: Path, results: Mapping[str, tuple[Recipe, Outcome]], follower: Follower) -> None:
    """Write the list of tomograms, or remove that of before, and say which."""
    try:
        path = _write_list(folder, results)
    except (FourierReconError, OSError) as error:
        # an older list would lack tomograms, and name volumes that were replaced
        gone = ", the one of before is removed" if remove_own_list(folder) else ""
        follower.notes("note", f"no {folder / LIST}{gone}: {error}")
        path = None
    follower.lists(path)


def _write_list(folder: Path, results: Mapping[str, tuple[Recipe, Outcome]]) -> Path | None:
    """Write the list of tomograms: from the set that they come from, or from scratch if they come from alignments.

    Raises
    ------
    UsageError, DataError
        If there can be no list of them.
    """
    made = {name: (recipe, outcome) for name, (recipe, outcome) in results.items() if outcome.made}
    earlier = read_own_list(folder)
    # stale tomograms were made with other options from the same alignment; others would have been made anew
    stale = {name: recipe for name, (recipe, outcome) in results.items() if outcome.stale and name in earlier}
    carried = [earlier[name] for name in stale if Path(earlier[name].overview.get(VOLUMES[""], [""])[0]).is_file()]
    if not made and not carried:
        if any(outcome.error and name in earlier for name, (_, outcome) in results.items()):
            raise UsageError("of what it listed, nothing is as it was")
        return None
    recipes = [*(recipe for recipe, _ in made.values()), *stale.values()]
    sources = {recipe.source for recipe in recipes}
    sets = [source for source in sources if source.suffix.lower() == ".star"]
    if sets and len(sources) > 1:
        raise UsageError("tilt series come from several sets")
    if sets:
        outcomes = {name: outcome for name, (_, outcome) in made.items()}
        return write_tomograms(folder, [(recipes[0], outcomes)], carried)
    groups = [(recipe, {name: outcome}) for name, (recipe, outcome) in made.items()]
    return write_tomograms(folder, groups or [(recipes[0], {})], carried)
