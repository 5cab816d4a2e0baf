"""Files for other programs that go with a set: lists for those that denoise, and what pytom-match-pick takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fourierrecon.io.denoising import Pair, check_lists, write_lists
from fourierrecon.io.pytom import Matching, check_pytom, write_pytom
from fourierrecon.sets.file_names import PARTS
from fourierrecon.sets.listing import place
from fourierrecon.sets.outcomes import Made, Outcome
from fourierrecon.sets.recipe import Recipe
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.transfer import Transfer

#: Companions that are files for other programs; the aligned stack is written with its tomogram.
HAND_OVER = ("denoising", "pytom", "aligned_stack")
#: Folders of the files for programs that denoise, and for pytom-match-pick, beside the list of tomograms.
DENOISING, PYTOM = "denoising", "pytom"


def check_hand_over(recipe: Recipe, names: Sequence[str] = ()) -> None:
    """Refuse to replace files that no run on a set wrote.

    Raises
    ------
    UsageError
        If there is one.
    """
    if "denoising" in recipe.companions:
        check_lists(recipe.folder / DENOISING, names)
    for name in names if "pytom" in recipe.companions else ():
        check_pytom(recipe.folder / PYTOM, name)


def write_hand_over(recipe: Recipe, outcomes: Sequence[Outcome]) -> list[Path]:
    """Write the files for other programs; of several binnings and weightings the first counts.

    Raises
    ------
    UsageError, DataError
        If a file cannot be written, or was not written here.
    """
    written: list[Path] = []
    made = [outcome for outcome in outcomes if outcome.made]
    if "denoising" in recipe.companions:
        pairs = [pair for outcome in made if (pair := _pair(recipe, outcome)) is not None]
        if pairs:
            written += write_lists(recipe.folder / DENOISING, pairs, recipe.finish.of_tomogram.all_words)
    if "pytom" in recipe.companions:
        for outcome in made:
            first, weighting = outcome.made[0], recipe.weightings[0]
            series = series_of(recipe, outcome.name, first)
            transfer = Transfer.of(series, recipe.settings.correction, divides=weighting.divides)
            damaged = transfer.exposure == "none" or transfer.mode in ("multiply", "phase-flip", "none")
            matching = Matching(volume=first.path, series=series, ctf_mode=transfer.mode, damaged=damaged)
            written += write_pytom(recipe.folder / PYTOM, matching)
    return written


def series_of(recipe: Recipe, name: str, made: Made) -> TiltSeries:
    """Give the images that a volume was made of, with all corrections."""
    placed = place(recipe, name, made)
    return replace(placed.series.select(placed.kept), name=name)


def _pair(recipe: Recipe, outcome: Outcome) -> Pair | None:
    """Give a tomogram with its halves; None if it has none."""
    files: dict[str, Path] = {}
    for product in outcome.made:
        files.setdefault(product.part, product.path)
    if not files.keys() >= PARTS.keys():
        return None
    series, ctf = series_of(recipe, outcome.name, outcome.made[0]), None
    pair = Pair(
        name=outcome.name, full=files[""], half1=files["Even"], half2=files["Odd"],
        voxel_size=series.pixel_size * outcome.made[0].binning, defocus=0.0, angles=tuple(series.tilt_angles.tolist()),
    )  # fmt: skip
    ctf = series.ctf
    if ctf is None:
        return pair
    least = int(np.argmin(np.abs(series.tilt_angles)))
    return replace(
        pair, defocus=float(ctf.defocus_u[least] + ctf.defocus_v[least]) / 2, voltage=ctf.voltage,
        spherical_aberration=ctf.spherical_aberration, amplitude_contrast=ctf.amplitude_contrast,
    )  # fmt: skip
