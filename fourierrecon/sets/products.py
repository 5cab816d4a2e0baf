"""What is to be made of each tomogram of a set: volumes, halves and projections, their names and their keys."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from fourierrecon.engine.room import check_room
from fourierrecon.engine.task import in_tiles
from fourierrecon.errors import DataError, FourierReconError
from fourierrecon.geometry.region import Region, default_binning
from fourierrecon.images.repair import alike, repaired
from fourierrecon.io import read_tilt_series
from fourierrecon.quality.bad_images import without_bad_images
from fourierrecon.runtime.threads import available_cores
from fourierrecon.sets.file_names import PARTS, files_of, picture_path
from fourierrecon.sets.fits import fit_of
from fourierrecon.sets.keys import facts_of, make_key
from fourierrecon.sets.recipe import Halves, Recipe
from fourierrecon.sets.upkeep import Half, what_to_do
from fourierrecon.text import counted, is_or_are
from fourierrecon.tilt_series import ImageStack, TiltSeries, chosen_images
from fourierrecon.tomogram.file import TomogramFile
from fourierrecon.tomogram.finish import Finish
from fourierrecon.tomogram.fitting import Fit
from fourierrecon.tomogram.halves import half_series, halves_for_snr
from fourierrecon.tomogram.request import fitted_region
from fourierrecon.transfer import Correction
from fourierrecon.weighting import Weighting

HALVES: tuple[Halves, ...] = ("frames", "tilts")


@dataclass(frozen=True, eq=False, kw_only=True)
class Product:
    """One volume of a tomogram, and what it is made from.

    Parameters
    ----------
    path, picture
        File of the volume, and of its 2D picture if there is to be one.
    part
        Part of the tilt series, a key of :data:`fourierrecon.sets.file_names.PARTS`.
    series, region, weighting, tilts
        As for :class:`~fourierrecon.engine.several_volumes.VolumeOrder`. The SNR may still have
        to be measured.
    whole, frames
        The SNR is measured from these: the whole tilt series, and its images of even and odd frames if there are any.
    key
        See :mod:`fourierrecon.sets.keys`.
    reason
        Why the volume must be made; None if it is there already.
    kept
        Why neither the volume nor what goes with it may be made: something that is there would be lost.
    fit
        How the tomogram was fitted to its specimen.
    """

    path: Path
    picture: Path | None
    part: str
    series: TiltSeries
    region: Region
    weighting: Weighting
    tilts: tuple[int, ...] | None
    whole: TiltSeries
    frames: Mapping[str, ImageStack]
    key: str
    reason: str | None = None
    kept: str = ""
    fit: Fit = field(default_factory=Fit)


def products_of(recipe: Recipe, name: str | None) -> list[Product]:
    """Find out what is to be made of one tomogram.

    Raises
    ------
    UsageError, DataError
        If the tilt series cannot be used.
    """
    whole = series = recipe.corrections.apply(read_tilt_series(recipe.source, name, recipe.extras))
    halves = half_series(recipe.source, series) if recipe.halves == "frames" else {}
    kept: list[int] | None = None
    if recipe.tilts:
        series, kept = recipe.tilts.apply(series)
        halves = _of_kept(halves, series, kept)
    if recipe.skip_bad_images:
        corrected, n_threads = recipe.settings.correction.ctf_mode != "none", recipe.settings.n_threads
        before = kept or list(range(series.n_tilts))
        series, rest = without_bad_images(series, halves.values(), ctf=corrected, n_threads=n_threads)
        kept = [before[i] for i in rest]
        halves = _of_kept(halves, series, rest)
    series = repaired(series, recipe.settings.repairs)
    fitted = fit_of(recipe, series)
    series = fitted.apply(series)
    stacks = alike(series, {half: own.images for half, own in halves.items()})
    halves = {half: replace(series, images=stack) for half, stack in stacks.items()}
    parts = _parts(recipe.halves, series, halves)
    measures = any(weighting.measures for weighting in recipe.weightings)
    frames = alike(series, halves_for_snr(recipe.source, series.name, kept)) if measures else {}
    # keys hold what was made, whichever way it was asked for
    recipe = replace(recipe, binnings=tuple(_factor(binning, series.pixel_size) for binning in recipe.binnings))
    pairs = product(recipe.weightings, recipe.binnings)
    found = []
    for (weighting, binning), files in zip(pairs, files_of(recipe, series.name), strict=True):
        region = fitted_region(series, fitted, binning, recipe.origin, recipe.size)
        for part, (own, tilts) in parts.items():
            wanted = Product(
                path=files[part],
                picture=picture_path(recipe, files[part]) if recipe.projection else None,
                part=part,
                series=own,
                region=region,
                weighting=weighting,
                tilts=tilts,
                whole=series,
                frames=frames,
                key="",
                fit=fitted,
            )
            wanted = replace(wanted, key=_key(recipe, wanted))
            if part == "":
                _check_report(recipe, wanted)
            reason, held = what_to_do(recipe, wanted, partial(_halves_of, recipe, wanted, whole, kept))
            found.append(replace(wanted, reason=reason, kept=held))
    return found


def _factor(binning: float, pixel_size: float) -> float:
    """Give voxel over pixel for a binning of a recipe."""
    if binning > 0:
        return binning
    return max(-binning / pixel_size, 1.0) if binning < 0 else default_binning(pixel_size)


def _check_report(recipe: Recipe, product: Product) -> None:
    """Check that a report will have the memory that it takes, before a long computation."""
    if recipe.report_memory is None:
        return
    threads = recipe.settings.n_threads or available_cores()
    needed = recipe.report_memory(product.whole, product.region.shape, threads)
    file = TomogramFile(
        path=product.path, series=product.whole, region=product.region, weighting=product.weighting,
        settings=recipe.settings, dtype=recipe.dtype,
    )  # fmt: skip
    check_room("the report", file.memory_after(needed), recipe.settings.memory)


def _of_kept(halves: Mapping[str, TiltSeries], series: TiltSeries, kept: list[int]) -> dict[str, TiltSeries]:
    """Leave the images out of the halves that the tilt series leaves out."""
    return {half: replace(series, images=chosen_images(own.images, kept)) for half, own in halves.items()}


def _halves_of(recipe: Recipe, whole: Product, series: TiltSeries, kept: list[int] | None) -> list[Half]:
    """Give the halves of a volume, each with the keys that it may have, whichever way it was made.

    ``series`` is the tilt series with all of its images, ``kept`` are the images that the volume is made of.
    """
    found: dict[Path, list[str]] = {}
    for half, end in list(PARTS.items())[1:]:
        keys = found[whole.path.with_name(f"{whole.path.stem}{end}{whole.path.suffix}")] = []
        for kind in HALVES:
            with suppress(FourierReconError):  # the set has no halves of this kind
                halves = half_series(recipe.source, series) if kind == "frames" else {}
                kept = list(range(series.n_tilts)) if kept is None else kept
                halves = _of_kept(halves, whole.series, kept)
                own, tilts = _parts(kind, whole.series, halves)[half]
                keys.append(_key(recipe, replace(whole, series=own, tilts=tilts)))
    return list(found.items())


def _parts(
    kind: Halves | None, series: TiltSeries, halves: Mapping[str, TiltSeries]
) -> dict[str, tuple[TiltSeries, tuple[int, ...] | None]]:
    """Give the whole tilt series and its halves, by part: the series, and the tilts of it that are used."""
    parts: dict[str, tuple[TiltSeries, tuple[int, ...] | None]] = {"": (series, None)}
    if kind == "tilts":
        if series.n_tilts < 4:
            few = f"{counted(series.n_tilts, 'tilt')} {is_or_are(series.n_tilts)}"
            raise DataError(f"{series.name}: {few} too few for halves; leave the halves out")
        by_angle = [int(i) for i in np.argsort(series.tilt_angles, kind="stable")]
        parts["Even"] = series, tuple(sorted(by_angle[::2]))
        parts["Odd"] = series, tuple(sorted(by_angle[1::2]))
    return parts | {half: (own, None) for half, own in halves.items()}


def _key(recipe: Recipe, product: Product) -> str:
    """Make the key of a product: of its tilt series, and of everything else that the volume depends on."""
    s, region, weighting = recipe.settings, product.region, product.weighting
    # images that are prepared for several binnings depend on all of them near their borders
    how = (
        recipe.binnings, s.correction, s.keep_mean, s.flatten, s.taper_distance, s.taper_falloff, s.precision, s.repairs
    )  # fmt: skip
    measured = measured_from(product.whole, product.frames, s.correction) if weighting.measures else []
    options = [
        region.origin, region.shape, region.binning, weighting, product.tilts, *how, recipe.dtype, recipe.like,
        *measured, *_finish_facts(recipe, product), *([s.residual] if in_tiles(product.series, s) else []),
    ]  # fmt: skip
    return make_key(product.series, options, s.correction)


def _finish_facts(recipe: Recipe, product: Product) -> list[object]:
    """List what a volume depends on of the finish; nothing where there is none, as keys of before had it."""
    finish = recipe.finish.of_tomogram
    facts: list[object] = [] if finish == Finish() else [finish]
    if recipe.finish.of_copy is not None and product.part == "":
        facts.append(recipe.finish)
    if recipe.finish.needs_slab:
        facts.append(product.fit.specimen)
    return facts + ([recipe.ome_version] if recipe.ome_version != "0.5" else [])


def measured_from(whole: TiltSeries, frames: Mapping[str, ImageStack], correction: Correction) -> list[object]:
    """List all that a signal-to-noise ratio depends on, so that its key is there before it is measured."""
    found: list[object] = [
        fact for stack in frames.values() for fact in facts_of(replace(whole, images=stack), correction)
    ]
    return facts_of(whole, correction) + found
