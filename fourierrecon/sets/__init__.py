"""Many tomograms: a whole set, or tilt series as they arrive, each made once.

In goes a :class:`~fourierrecon.sets.recipe.Recipe`, out come volumes in a folder and a list of them for RELION 5; or
an :class:`~fourierrecon.particles.extraction.Extraction`, for boxes at picks. A generator gives one
:class:`~fourierrecon.sets.outcomes.Outcome` for each tomogram. Nothing here prints: who wants to hear more passes a
:class:`~fourierrecon.sets.follower.Follower`. Products know by a key what they were made from, so that a second run
makes only what is missing.

This room may use ``tomogram`` and all below it; it does not know ``report`` and ``cli``.

>>> from fourierrecon.sets import Recipe, reconstruct_set
>>> for outcome in reconstruct_set(Recipe(source="tomograms.star", folder="out")):  # doctest: +SKIP
...     print(outcome.name, outcome.status, outcome.error)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fourierrecon.sets.boxes import extract_set
    from fourierrecon.sets.cluster import Cluster
    from fourierrecon.sets.follower import Follower
    from fourierrecon.sets.outcomes import Made, Outcome
    from fourierrecon.sets.recipe import Projection, Recipe
    from fourierrecon.sets.run import reconstruct_set
    from fourierrecon.sets.watching import watch

__all__ = ["Cluster", "Follower", "Made", "Outcome", "Projection", "Recipe", "extract_set", "reconstruct_set", "watch"]

_HOMES = {
    "Cluster": "cluster",
    "Follower": "follower",
    "Made": "outcomes",
    "Outcome": "outcomes",
    "Projection": "recipe",
    "Recipe": "recipe",
    "extract_set": "boxes",
    "reconstruct_set": "run",
    "watch": "watching",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'fourierrecon.sets' has no attribute {name!r}")
    value = getattr(import_module(f"fourierrecon.sets.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
