"""Facts for the list of tomograms: all that RELION needs to make from the list the volumes that were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fourierrecon.errors import UsageError
from fourierrecon.geometry.axis_order import Orientation
from fourierrecon.geometry.region import Region
from fourierrecon.geometry.sound_images import numbers_in_source
from fourierrecon.io import read_tilt_series
from fourierrecon.io.relion.entries import Entry
from fourierrecon.io.relion.import_set import entry_of
from fourierrecon.io.relion.tomogram_list import Placed
from fourierrecon.sets.outcomes import Made
from fourierrecon.sets.recipe import Recipe


@dataclass(frozen=True)
class Listed:
    """Tomograms of a set that are to be listed.

    Parameters
    ----------
    recipe
        Recipe that they were made by.
    made
        First volume of each, by the name of the tomogram.
    """

    recipe: Recipe
    made: Mapping[str, Made]

    def placed(self) -> dict[str, Placed]:
        """Give the tomograms that were made otherwise than the set of RELION may describe them."""
        recipe = self.recipe
        moved = (
            bool(str(recipe.corrections)) or any(x is not None for x in recipe.origin) or recipe.extras.mdoc is not None
        )
        return {
            name: place(recipe, name, made)
            for name, made in self.made.items()
            if moved or made.excluded or made.fit.words or made.origin not in ((0, 0, 0), (1, 1, 1))
        }

    def entries(self, folder: Path) -> list[Entry]:
        """Give entries of RELION 5 where the source is no set of RELION; tomograms that cannot be named stay out."""
        placed = [place(self.recipe, name, made) for name, made in self.made.items()]
        found = [entry_of(folder, place.series.select(place.kept), place.region) for place in placed]
        return [entry for entry in found if entry is not None]

    def check(self) -> None:
        """Check that RELION can read the volumes, and has their axes as they are.

        Raises
        ------
        UsageError
            If not; the message says why there is no list.
        """
        recipe = self.recipe
        if recipe.ending == ".zarr":
            raise UsageError("RELION does not read Zarr; make .mrc files (ending=...) for a list")
        if recipe.like is None or not self.made:
            return
        name = next(iter(self.made)) if recipe.source.suffix.lower() == ".star" else None
        if Orientation.like(recipe.like, read_tilt_series(recipe.source, name, recipe.extras)) != Orientation():
            raise UsageError(
                f"the axes of the volumes are those of like={recipe.like}, in which RELION would take them for a "
                f"mirrored or turned specimen; leave like=... out for a list"
            )


def place(recipe: Recipe, name: str | None, made: Made) -> Placed:
    """Give the tilt series and the region of a tomogram as it was made."""
    named = name if recipe.source.suffix.lower() == ".star" else None  # a file of one may call it otherwise
    read = read_tilt_series(recipe.source, named, recipe.extras)
    series = recipe.corrections.apply(read)
    numbers = numbers_in_source(series)
    kept = [i for i, number in enumerate(numbers) if number not in made.excluded]
    series = made.fit.apply(series, series.select(kept))
    width, height, depth = made.size
    b = made.binning
    shape = int(depth / b), int(height / b + 0.5), int(width / b + 0.5)
    return Placed(
        series, Region(made.origin, shape, b, size=made.size), tuple(kept), turned=series.hand != read.hand,
        exposed=recipe.extras.mdoc is not None,
    )  # fmt: skip
