"""What a recipe asks for, as text by argument, so that a later run can say which options have changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields

from fourierrecon.sets.recipe import Recipe
from fourierrecon.tomogram.tilt_choice import list_of

#: Settings that no voxel depends on, or that stand elsewhere.
ASIDE = ("n_threads", "memory", "scratch", "progress", "binnings")


def asked_of(recipe: Recipe) -> dict[str, str]:
    """Give what the voxels of all volumes of a recipe depend on, besides binning and halves.

    Parameters
    ----------
    recipe
        What is asked for.

    Returns
    -------
    asked
        Text by argument; empty where an argument does nothing, or has its default.
    """
    s, finish = recipe.settings, asdict(recipe.finish)
    values: dict[str, object] = {
        **{each.name: getattr(s, each.name) for each in fields(s) if each.name not in ASIDE},
        **asdict(recipe.corrections),
        **asdict(recipe.extras),
        "deconvolve": finish.pop("deconvolution"),
        **finish,
        **dict(zip(("width", "height", "depth"), recipe.size, strict=True)),
        "weighting": ", ".join(weighting.words for weighting in recipe.weightings),
        "origin": ", ".join("default" if x is None else f"{x:g}" for x in recipe.origin),
        "exclude": list_of(recipe.tilts.exclude),
        "max_tilt": recipe.tilts.max_tilt,
        "level": "auto" if recipe.fit.level else None,
        "like": recipe.like,
        "dtype": recipe.dtype,
        "ome_version": recipe.ome_version,
        "skip_bad_images": recipe.skip_bad_images,
        # these are on where nothing is asked for
        "ctf": None if s.ctf else "False",
        "local": None if recipe.corrections.local and s.local else "off",
        "hot_pixels": None if s.hot_pixels else "off",
        "intensities": None if s.intensities else "off",
    }
    return {name: _text(value) for name, value in values.items()}


def _text(value: object) -> str:
    if value is None or value is False or (isinstance(value, float) and value == 0):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Say what differs between two runs, with the names of arguments; empty if nothing does.

    Parameters
    ----------
    before, now
        From :func:`asked_of`, and more of the kind.
    """
    found = []
    for name, value in now.items():
        old = before.get(name, "")
        if value == old:
            continue
        if name == "weighting":
            found.append(f"weighting {value}, not {old}")
        elif value:
            found.append(f"{name}={value}" if value in ("True", "False") else f'{name}="{value}"')
        else:
            found.append(f"{name}={old if old in ('True', 'False') else '...'} no longer")
    return "; ".join(found)
