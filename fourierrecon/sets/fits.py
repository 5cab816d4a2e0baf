"""Fits of tomograms to their specimens, kept in the folder of a set so that a later run need not measure again."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fourierrecon.errors import FourierReconError
from fourierrecon.io.files import replacing
from fourierrecon.io.json_text import read_object
from fourierrecon.sets.keys import make_key
from fourierrecon.sets.recipe import Recipe
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.tomogram.fitting import Fit, fit

#: Folder of the fits, one JSON file a tomogram, and what they say they are.
FOLDER, FORMAT = "specimens", "fourierrecon specimen 1"


def fit_path(recipe: Recipe, name: str) -> Path:
    """Give the file that the fit of a tomogram is kept in."""
    return recipe.folder / FOLDER / f"{name}.json"


def fit_of(recipe: Recipe, series: TiltSeries) -> Fit:
    """Give the fit of a tomogram: that of an earlier run if it fits the inputs, else it is measured, and kept.

    Parameters
    ----------
    recipe
        What is asked for.
    series
        With all corrections of the user, and only the images that are used.

    Raises
    ------
    DataError
        If an image cannot be used, or the file not be written.
    """
    if not recipe.fit:
        return Fit()
    path, asked = fit_path(recipe, series.name), (recipe.fit, recipe.size[2] if recipe.fit.level else None)
    key = make_key(series, asked)
    kept = _read(path, key)
    if kept is not None:
        return kept
    settings = recipe.settings
    found = fit(series, recipe.fit, recipe.size, n_threads=settings.n_threads, memory=settings.memory)
    with replacing(path) as file:
        file.write(json.dumps({"format": FORMAT, "key": key, "fit": plain(asdict(found))}, indent=1).encode())
    return found


def _read(path: Path, key: str) -> Fit | None:
    """Read a fit that is kept; None if there is none for these inputs."""
    if not path.exists():
        return None
    try:
        record = read_object(path, "")
        return Fit.from_record(record["fit"]) if record.get("key") == key else None
    except (FourierReconError, KeyError, TypeError, ValueError):
        return None  # not whole: measured anew


def plain(record: Any) -> Any:
    """Replace numbers that JSON does not have."""
    if isinstance(record, dict):
        return {key: plain(value) for key, value in record.items()}
    return None if isinstance(record, float) and math.isnan(record) else record
