"""What is to be made of each tomogram of a set: volumes, halves and projections, their names and their keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, is_dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from fourierrecon.engine.several_volumes import VolumeOrder
from fourierrecon.engine.signal_to_noise import estimate_snr
from fourierrecon.engine.storage import check_room
from fourierrecon.errors import DataError, FourierReconError, UsageError
from fourierrecon.geometry.region import Region
from fourierrecon.io import read_tilt_series
from fourierrecon.io.relion.read import halves_at_hand
from fourierrecon.io.volumes.mrc import writing_mrc
from fourierrecon.quality.bad_images import without_bad_images
from fourierrecon.runtime.arrays import Real
from fourierrecon.sets.keys import facts_of, make_key
from fourierrecon.sets.recipe import Halves, Projection, Recipe
from fourierrecon.sets.upkeep import Half, companions_of, picture_path, what_to_do
from fourierrecon.tilt_series import ImageStack, TiltSeries, chosen_images
from fourierrecon.tomogram.companions import companion_memory, companion_path, write_companion
from fourierrecon.tomogram.file import TomogramFile
from fourierrecon.tomogram.halves import half_series
from fourierrecon.tomogram.provenance import passport_path
from fourierrecon.volume import SlabWriter
from fourierrecon.weighting import SnrCurve, Weighting

HALVES: tuple[Halves, ...] = ("frames", "tilts")
#: Parts of a tilt series, and how RELION names their files.
PARTS = {"": "", "Even": "_half1", "Odd": "_half2"}


@dataclass(frozen=True, eq=False)
class Product:
    """One volume to be made.

    Parameters
    ----------
    path, picture
        Its file, and that of its 2D picture.
    part
        Of the tilt series, a key of :data:`PARTS`.
    series, region, strategy, tilts
        As for :class:`~fourierrecon.engine.several_volumes.VolumeOrder`. What a strategy leaves to be measured is
        not measured yet.
    whole, frames
        The whole tilt series, and its images of even and odd frames, if there are any: what the SNR is measured from.
    key
        See :mod:`fourierrecon.sets.keys`.
    reason
        Why it must be made; None if it is there already.
    kept
        Why it must not be made, nor what goes with it: something is there that would be lost.
    """

    path: Path
    picture: Path | None
    part: str
    series: TiltSeries
    region: Region
    strategy: Weighting
    tilts: tuple[int, ...] | None
    whole: TiltSeries
    frames: Mapping[str, ImageStack]
    key: str
    reason: str | None = None
    kept: str = ""


def products_of(recipe: Recipe, name: str | None) -> list[Product]:
    """Find out what is to be made of one tomogram.

    Raises
    ------
    UsageError, DataError
        If the tilt series cannot be used.
    """
    whole = series = recipe.offsets.apply(read_tilt_series(recipe.source, name, recipe.extras))
    halves = half_series(recipe.source, series) if recipe.halves == "frames" else {}
    kept: list[int] | None = None
    if recipe.skip_bad_images:
        corrected, n_threads = recipe.settings.correction.ctf_mode != "none", recipe.settings.n_threads
        series, kept = without_bad_images(series, halves.values(), ctf=corrected, n_threads=n_threads)
        halves = _of_kept(halves, series, kept)
    parts = _parts(recipe, series, halves)
    frames = halves_at_hand(recipe.source, series.name, kept)
    found = []
    binnings = [factor if factor > 0 else max(-factor / series.pixel_size, 1.0) for factor in recipe.binnings]
    pairs = product(recipe.strategies, binnings)
    for (strategy, binning), files in zip(pairs, files_of(recipe, series.name), strict=True):
        region = Region.of(series, binning=binning, origin=recipe.origin, size=recipe.size)
        for part, (own, tilts) in parts.items():
            path, picture = files[part], picture_path(recipe, files[part]) if recipe.projection else None
            key = make_key(own, _options(recipe, region, strategy, tilts, series, frames))
            wanted = Product(path, picture, part, own, region, strategy, tilts, series, frames, key)
            if recipe.report and part == "":
                file = TomogramFile(path, series, region, strategy, recipe.settings, dtype=recipe.dtype)
                check_room("--report", file.memory_of(False, True)["--report"], recipe.settings.memory)
            reason, held = what_to_do(recipe, wanted, partial(_halves_of, recipe, wanted, whole, kept))
            found.append(replace(wanted, reason=reason, kept=held))
    return found


def files_of(recipe: Recipe, name: str) -> list[dict[str, Path]]:
    """Give the files of a tomogram's volumes by part, for each weighting and binning.

    Raises
    ------
    UsageError
        If the name of the tomogram cannot be that of a file.
    """
    if "/" in name or "\0" in name:
        raise UsageError(f"tomogram {name!r}: its name cannot be that of a file; rename it in the set")
    parts = PARTS if recipe.halves else {"": ""}
    found = []
    for strategy, binning in product(recipe.strategies, recipe.binnings):
        tag = _tag(strategy, recipe.strategies) + f"_bin{binning:g}" * (len(recipe.binnings) > 1)
        stem = recipe.folder / "tomograms" / f"rec_{name}{tag}"
        found.append({part: stem.with_name(f"{stem.name}{end}{recipe.ending}") for part, end in parts.items()})
    return found


def all_files_of(recipe: Recipe, name: str) -> Iterator[Path]:
    """Give all files that are made of a tomogram: volumes, pictures, companions and passports.

    Raises
    ------
    UsageError
        As :func:`files_of`.
    """
    for files in files_of(recipe, name):
        for part, path in files.items():
            yield path
            if recipe.projection:
                yield picture_path(recipe, path)
            if recipe.passport:
                yield passport_path(path)
            if part == "":
                yield from (companion_path(path, companion) for companion in companions_of(recipe))


def _of_kept(halves: Mapping[str, TiltSeries], series: TiltSeries, kept: list[int]) -> dict[str, TiltSeries]:
    """Leave the images out of the halves that the tilt series leaves out."""
    return {half: replace(series, images=chosen_images(own.images, kept)) for half, own in halves.items()}


def _halves_of(recipe: Recipe, whole: Product, series: TiltSeries, kept: list[int] | None) -> list[Half]:
    """Give the halves of a volume, with their keys by whatever way they may have been made.

    ``series`` is the tilt series with all of its images, those that were ``kept`` and others.
    """
    found: dict[Path, list[str]] = {}
    for half, end in list(PARTS.items())[1:]:
        keys = found[whole.path.with_name(f"{whole.path.stem}{end}{whole.path.suffix}")] = []
        for kind in HALVES:
            with suppress(FourierReconError):  # there are none of that kind
                halves = half_series(recipe.source, series) if kind == "frames" else {}
                halves = halves if kept is None else _of_kept(halves, whole.series, kept)
                own, tilts = _parts(replace(recipe, halves=kind), whole.series, halves)[half]
                options = _options(recipe, whole.region, whole.strategy, tilts, whole.whole, whole.frames)
                keys.append(make_key(own, options))
    return list(found.items())


def _tag(strategy: Weighting, strategies: tuple[Weighting, ...]) -> str:
    """Tell weightings apart in the names of files, by their parameters where names do not."""
    if len(strategies) == 1:
        return ""
    if [other.name for other in strategies].count(strategy.name) == 1:
        return f"_{strategy.name}"
    parameters: dict[str, object] = asdict(strategy) if is_dataclass(strategy) else {}
    return f"_{strategy.name}" + "".join(f"_{key}{value}" for key, value in parameters.items())


def _parts(
    recipe: Recipe, series: TiltSeries, halves: Mapping[str, TiltSeries]
) -> dict[str, tuple[TiltSeries, tuple[int, ...] | None]]:
    """Give the whole tilt series and its halves."""
    parts: dict[str, tuple[TiltSeries, tuple[int, ...] | None]] = {"": (series, None)}
    if recipe.halves == "tilts":
        if series.n_tilts < 4:
            raise DataError(f"{series.name}: {series.n_tilts} tilts are too few for halves; leave --halves out")
        by_angle = [int(i) for i in np.argsort(series.tilt_angles, kind="stable")]
        parts["Even"] = series, tuple(sorted(by_angle[::2]))
        parts["Odd"] = series, tuple(sorted(by_angle[1::2]))
    return parts | {half: (own, None) for half, own in halves.items()}


def _options(
    recipe: Recipe,
    region: Region,
    strategy: Weighting,
    tilts: tuple[int, ...] | None,
    whole: TiltSeries,
    frames: Mapping[str, ImageStack],
) -> list[object]:
    """List everything but its own tilt series that a volume depends on; what the SNR is measured from is part of it."""
    s = recipe.settings
    # where images are prepared for several binnings, all of them leave their trace in the border
    how = recipe.binnings, s.correction, s.keep_mean, s.taper_distance, s.taper_falloff, s.precision
    measured = measured_from(whole, frames) if strategy.measures else []
    return [region.origin, region.shape, region.binning, strategy, tilts, *how, recipe.dtype, recipe.like, *measured]


def measured_from(whole: TiltSeries, frames: Mapping[str, ImageStack]) -> list[object]:
    """List all that a signal-to-noise ratio is measured from: it is known by that before it is measured."""
    found: list[object] = [fact for stack in frames.values() for fact in facts_of(replace(whole, images=stack))]
    return facts_of(whole) + found


def orders_of(recipe: Recipe, products: Sequence[Product]) -> list[VolumeOrder]:
    """Give the orders for products of one tomogram; what strategies leave open is measured once for all its parts."""
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

    ready = (replace(each, strategy=each.strategy.resolved(partial(measure, each))) for each in products)
    return [order_of(recipe, product) for product in ready]


def order_of(recipe: Recipe, made: Product) -> VolumeOrder:
    """Give the order for a product, which writes it and what goes with it."""
    series, region, settings = made.series, made.region, recipe.settings
    file = TomogramFile(
        made.path, series, region, made.strategy, settings, recipe.like, recipe.dtype, made.tilts,
        {"": "", "Even": "even half", "Odd": "odd half"}[made.part], made.key,
    )  # fmt: skip

    @contextmanager
    def open_volume() -> Iterator[SlabWriter]:
        file.check()
        picture = _Picture(recipe.projection, region) if recipe.projection else None
        with file.writing() as write:
            yield write if picture is None else picture.watching(write)
        voxel_size, origin, label = file.header
        if picture is not None and made.picture is not None and recipe.projection is not None:
            label_2d = f"{label}\n{recipe.projection.line(region)}"
            with writing_mrc(made.picture, (1, *region.shape[1:]), voxel_size, origin, label_2d) as write_picture:
                write_picture(0, picture.total)
        if made.part == "":
            for name in companions_of(recipe):
                write_companion(name, made.path, series, region, settings, label)
        file.finish_passport(recipe.passport, recipe.source)

    # slabs that are kept for the picture; companions come when the volume is there
    picture = 4 * region.shape[1] * region.shape[2] * (recipe.projection.thickness + 1 if recipe.projection else 0)
    companions = [companion_memory(region, name) for name in (companions_of(recipe) if made.part == "" else ())]
    end = picture + max(file.beside.end, *companions, 0)
    return VolumeOrder(
        series, open_volume, region, made.strategy, made.tilts, replace(file.beside, slabs=picture, end=end)
    )


class _Picture:
    """Adds slices up as they come by."""

    def __init__(self, projection: Projection, region: Region) -> None:
        self._slices = projection.slices(region.shape[0])
        if len(self._slices) == 0:
            raise UsageError(f"--centre_proj {projection.centre} lies outside of {region.shape[0]} slices")
        self._kept: dict[int, Real] = {}

    @property
    def total(self) -> Real:
        """Their sum, in their order: the same whichever thread was first."""
        return np.asarray(np.sum([self._kept[z] for z in self._slices], axis=0), np.float32)

    def watching(self, write: SlabWriter) -> SlabWriter:
        """Give a writer that passes slabs on."""

        def watch(z: int, slab: Real) -> None:
            if z in self._slices:
                self._kept[z] = slab.copy()
            write(z, slab)

        return watch
