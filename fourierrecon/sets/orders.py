"""Orders for the engine: how each product of a tomogram is written, with its picture, companions and passport."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np

from fourierrecon.engine.several_volumes import VolumeOrder
from fourierrecon.engine.signal_to_noise import estimate_snr
from fourierrecon.errors import UsageError
from fourierrecon.geometry.region import Region
from fourierrecon.io.volumes.mrc import writing_mrc
from fourierrecon.runtime.arrays import Real
from fourierrecon.sets.file_names import companions_of
from fourierrecon.sets.products import Product
from fourierrecon.sets.recipe import Projection, Recipe
from fourierrecon.tomogram.companions import companion_memory, write_companion
from fourierrecon.tomogram.file import TomogramFile
from fourierrecon.volume import SlabWriter
from fourierrecon.weighting import SnrCurve

#: What the label of a half volume says.
HALF_NAMES = {"": "", "Even": "even half", "Odd": "odd half"}


def measured(recipe: Recipe, products: Sequence[Product]) -> list[Product]:
    """Measure the signal-to-noise ratios that weightings leave open, once a binning for all parts of a tomogram."""
    settings, known = recipe.settings, dict[float, SnrCurve]()

    def measure(product: Product) -> SnrCurve:
        binning = product.region.binning
        if binning not in known:
            known[binning] = estimate_snr(
                product.whole,
                binning,
                correction=settings.correction,
                halves=product.frames,
                n_threads=settings.n_threads,
            )
        return known[binning]

    return [replace(each, weighting=each.weighting.resolved(partial(measure, each))) for each in products]


def snr_lines(before: Sequence[Product], after: Sequence[Product]) -> tuple[str, ...]:
    """Say what :func:`measured` found: a line for each binning and weighting that had something to be measured."""
    several = len({product.region.binning for product in before}) > 1
    lines = []
    for asked, product in zip(before, after, strict=True):
        curve = getattr(product.weighting, "snr", None)
        if asked.weighting.measures and isinstance(curve, SnrCurve):
            lines.append(f"bin {product.region.binning:g}, " * several + curve.words)
    return tuple(dict.fromkeys(lines))


def order_of(recipe: Recipe, product: Product) -> VolumeOrder:
    """Give the order for a product, which writes the volume and what goes with it."""
    series, region, settings = product.series, product.region, recipe.settings
    file = TomogramFile(
        path=product.path,
        series=series,
        region=region,
        weighting=product.weighting,
        settings=settings,
        like=recipe.like,
        dtype=recipe.dtype,
        tilts=product.tilts,
        part=HALF_NAMES[product.part],
        key=product.key,
    )

    @contextmanager
    def open_volume() -> Iterator[SlabWriter]:
        file.check()
        picture = _Picture(recipe.projection, region) if recipe.projection else None
        with file.writing() as write:
            yield write if picture is None else picture.watching(write)
        voxel_size, origin, label = file.header
        if picture is not None and product.picture is not None and recipe.projection is not None:
            label_2d = f"{label}\n{recipe.projection.line(region)}"
            with writing_mrc(product.picture, (1, *region.shape[1:]), voxel_size, origin, label_2d) as write_picture:
                write_picture(0, picture.total)
        if product.part == "":
            for name in companions_of(recipe):
                write_companion(name, product.path, series, region, product.weighting, settings, label)
        file.finish_passport(recipe.passport, recipe.source)

    # the picture keeps slabs while the volume is written; companions are made after it
    picture = 4 * region.shape[1] * region.shape[2] * (recipe.projection.thickness + 1 if recipe.projection else 0)
    companions = [companion_memory(region, name) for name in (companions_of(recipe) if product.part == "" else ())]
    end = picture + max(file.beside.end, *companions, 0)
    return VolumeOrder(
        series=series,
        open=open_volume,
        region=region,
        weighting=product.weighting,
        tilts=product.tilts,
        beside=replace(file.beside, slabs=picture, end=end),
    )


class _Picture:
    """Keeps the slices of a picture while they are written, to add them up."""

    def __init__(self, projection: Projection, region: Region) -> None:
        self._slices = projection.slices(region.shape[0])
        if len(self._slices) == 0:
            raise UsageError(f"centre={projection.centre} lies outside of {region.shape[0]} slices; 0 is the middle")
        self._kept: dict[int, Real] = {}

    @property
    def total(self) -> Real:
        """Sum of the slices, in the order of z: the same whichever thread was first."""
        return np.asarray(np.sum([self._kept[z] for z in self._slices], axis=0), np.float32)

    def watching(self, write: SlabWriter) -> SlabWriter:
        """Give a writer that keeps the slices of the picture, and passes all slabs on."""

        def watch(z: int, slab: Real) -> None:
            if z in self._slices:
                self._kept[z] = slab.copy()
            write(z, slab)

        return watch
