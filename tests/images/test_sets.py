"""What is repaired reaches half volumes, records and passports of a set, and the volume's key."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fourierrecon import Settings
from fourierrecon.images import RepairedImages, Repairs, record_of
from fourierrecon.io import read_tilt_series
from fourierrecon.io.relion.import_set import write_set
from fourierrecon.sets.one import process
from fourierrecon.sets.products import products_of
from fourierrecon.sets.recipe import Recipe
from fourierrecon.sets.records import keep_outcomes, read_outcomes
from fourierrecon.tilt_series import root_of
from fourierrecon.tomogram.provenance import read_passport
from tests.helpers.small_sets import small_series


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    series = small_series(1)
    images = np.array(series.images)
    images[1, 10, 10] = images[3, 20, 15] = 50
    halves = {"Even": images + 1, "Odd": images - 1}
    path, _ = write_set(tmp_path / "set", [(replace(series, images=images), halves)], "relion5")
    return Recipe(
        source=path, folder=tmp_path / "out", binnings=(2.0,), settings=Settings(ctf=False), halves="frames",
        passport=True,
    )  # fmt: skip


def test_hot_pixels_of_halves_and_whole_are_replaced_and_reported(recipe: Recipe) -> None:
    outcome = process(recipe, "TS_01")
    assert outcome.images == ("2 hot pixels replaced (in 2 of 5 images, 0.0659 % there at most)",)
    keep_outcomes(recipe, [outcome])
    record = read_outcomes(recipe.folder)["TS_01"]
    assert record.how["images"] == outcome.images[0]
    assert record.repairs == Repairs()
    for made in outcome.made:
        passport = read_passport(made.path)
        assert passport is not None
        assert passport["images"]["hot_pixels"] == {"replaced": 2, "by_image": [0, 1, 0, 1, 0]}
    assert [product.reason for product in products_of(recipe, "TS_01")] == [None] * 3


def test_volumes_of_other_repairs_are_stale(recipe: Recipe) -> None:
    keys = {}
    for hot_pixels in (True, False):
        chosen = replace(recipe, settings=replace(recipe.settings, hot_pixels=hot_pixels))
        products = products_of(chosen, "TS_01")
        keys[hot_pixels] = [product.key for product in products]
        images = [root_of(product.series.images) for product in products]
        assert all(isinstance(each, RepairedImages) and each.repairs.hot_pixels is hot_pixels for each in images)
    assert not set(keys[True]) & set(keys[False])


def test_a_series_that_is_not_repaired_says_so(recipe: Recipe) -> None:
    assert json.dumps(record_of(read_tilt_series(recipe.source, "TS_01"))) == '{"hot_pixels": null}'
