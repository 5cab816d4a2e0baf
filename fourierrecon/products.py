"""What is to be made of each tomogram of a set: volumes, halves and projections, their names and their keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from fourierrecon.bad_images import without_bad_images
from fourierrecon.companions import VOLUMES, companion_path, companion_shape, write_companion
from fourierrecon.errors import DataError, UsageError
from fourierrecon.fourier import Real
from fourierrecon.geometry import Length, Region
from fourierrecon.io import Extras, read_series
from fourierrecon.io.mrc import writing_mrc
from fourierrecon.io.star import halves_at_hand, read_halves
from fourierrecon.keys import facts_of, make_key, why_to_make
from fourierrecon.many import Order, Settings
from fourierrecon.offsets import Offsets
from fourierrecon.orientation import Orientation
from fourierrecon.outputs import protect
from fourierrecon.passport import read_passport
from fourierrecon.signal_to_noise import estimate_snr
from fourierrecon.stages import Write
from fourierrecon.tilt_series import ImageStack, TiltSeries, chosen_images
from fourierrecon.tomogram_file import TomogramFile
from fourierrecon.weighting import SnrCurve, Weighting

Halves = Literal["frames", "tilts"]
#: Parts of a tilt series, and how RELION names their files.
PARTS = {"": "", "Even": "_half1", "Odd": "_half2"}


@dataclass(frozen=True)
class Projection:
    """A 2D picture of a tomogram: the sum of some of its z slices.

    Parameters
    ----------
    centre
        Middle slice, voxels from the middle of the tomogram.
    thickness
        Voxels; ``2 int(thickness / 2) + 1`` slices are added up, as in RELION.
    """

    centre: int = 0
    thickness: int = 10

    def slices(self, depth: int) -> range:
        """Give the slices of a tomogram of this depth."""
        middle, half = depth // 2 + self.centre, self.thickness // 2
        return range(max(middle - half, 0), min(middle + half + 1, depth))


@dataclass(frozen=True)
class Recipe:
    """What is to be made of every tomogram of a set, and how. It can be sent to other processes.

    Parameters
    ----------
    source, extras, offsets
        Where tilt series come from, and corrections to their alignments.
    folder
        For the products.
    strategies, binnings
        Weightings and voxel sizes; all pairs are made. A binning is given as factor, or as voxel size in Å below 0.
    origin, size
        Of the region, as for :meth:`~fourierrecon.geometry.Region.of`.
    settings
        How to reconstruct.
    halves
        Half volumes too: of even and odd frames, or of even and odd tilts (by angle, so that both see all angles).
    projection
        A 2D picture of each volume too.
    dtype, ending, like, passport
        Type of voxels, ``.mrc`` or ``.zarr``, orientation, and whether a passport is written.
    resume
        Leave what is there and fits its key.
    skip_bad_images
        Leave images out that are blank or not finite, with a warning; else they are an error.
    companions
        What goes with each whole volume: :data:`fourierrecon.companions.VOLUMES`; and ``denoising``.
    """

    source: Path
    extras: Extras
    offsets: Offsets
    folder: Path
    strategies: tuple[Weighting, ...]
    binnings: tuple[float, ...]
    origin: tuple[float | None, float | None, float | None]
    size: tuple[Length, Length, Length]
    settings: Settings
    halves: Halves | None = None
    projection: Projection | None = None
    dtype: str = "float32"
    ending: str = ".mrc"
    like: str | None = None
    passport: bool = False
    resume: bool = True
    skip_bad_images: bool = False
    companions: tuple[str, ...] = ()


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
        As for :class:`~fourierrecon.many.Order`. What a strategy leaves to be measured is not measured yet.
    whole, frames
        The whole tilt series, and its images of even and odd frames, if there are any: what the SNR is measured from.
    key
        See :mod:`fourierrecon.keys`.
    reason
        Why it must be made; None if it is there already.
    """

    path: Path
    picture: Path | None
    part: str
    series: TiltSeries
    region: Region
    strategy: Weighting
    tilts: tuple[int, ...] | None
    key: str
    reason: str | None
    whole: TiltSeries
    frames: Mapping[str, ImageStack]


def products_of(recipe: Recipe, name: str | None) -> list[Product]:
    """Find out what is to be made of one tomogram.

    Raises
    ------
    UsageError, DataError
        If the tilt series cannot be used.
    """
    series = recipe.offsets.apply(read_series(recipe.source, name, recipe.extras))
    kept: list[int] | None = None
    if recipe.skip_bad_images:
        series, kept = without_bad_images(series, n_threads=recipe.settings.n_threads)
    parts = _parts(recipe, series, kept)
    frames = halves_at_hand(recipe.source, series.name, kept)
    found = []
    binnings = [wanted if wanted > 0 else max(-wanted / series.pixel_size, 1.0) for wanted in recipe.binnings]
    for strategy in recipe.strategies:
        for binning in binnings:
            region = Region.of(series, binning=binning, origin=recipe.origin, size=recipe.size)
            tag = _tag(strategy, recipe.strategies) + f"_bin{binning:g}" * (len(recipe.binnings) > 1)
            for part, (own, tilts) in parts.items():
                stem = f"rec_{series.name}{tag}{PARTS[part]}"
                path = recipe.folder / "tomograms" / f"{stem}{recipe.ending}"
                protect(path, recipe.source, own)
                picture = recipe.folder / "projections" / f"{stem}.mrc" if recipe.projection else None
                options = _options(recipe, region, strategy, tilts)
                if strategy.measures:
                    options += measured_from(series, frames)
                key = make_key(own, options)
                shape = Orientation.like(recipe.like, own).shape(region.shape)
                reason = why_to_make(path, key, shape) if recipe.resume else "asked for"
                if reason is None and picture is not None:
                    reason = _of(why_to_make(picture, key, (1, *region.shape[1:])), "its projection")
                for name in _companions(recipe) if part == "" and reason is None else ():
                    companion = companion_path(path, name), key, companion_shape(region, name)
                    reason = reason or _of(why_to_make(*companion), f"its {name}")
                if reason is None and recipe.passport and not _has_passport(path, key):
                    reason = "its passport is missing, or that of another volume"
                found.append(Product(path, picture, part, own, region, strategy, tilts, key, reason, series, frames))
    return found


def _companions(recipe: Recipe) -> list[str]:
    """Give those companions that are volumes."""
    return [name for name in recipe.companions if name in VOLUMES]


def _of(reason: str | None, what: str) -> str | None:
    """Say what it is that a reason is about."""
    return None if reason is None else f"{what}: {reason}"


def _has_passport(path: Path, key: str) -> bool:
    """Tell whether the passport of just this volume lies beside it."""
    try:
        return (read_passport(path) or {}).get("key") == key
    except DataError:
        return False


def _tag(strategy: Weighting, strategies: tuple[Weighting, ...]) -> str:
    """Tell weightings apart in the names of files, by their parameters where names do not."""
    if len(strategies) == 1:
        return ""
    if [other.name for other in strategies].count(strategy.name) == 1:
        return f"_{strategy.name}"
    parameters: dict[str, object] = asdict(strategy) if is_dataclass(strategy) else {}
    return f"_{strategy.name}" + "".join(f"_{key}{value}" for key, value in parameters.items())


def _parts(
    recipe: Recipe, series: TiltSeries, kept: list[int] | None
) -> dict[str, tuple[TiltSeries, tuple[int, ...] | None]]:
    """Give the whole tilt series and its halves."""
    parts: dict[str, tuple[TiltSeries, tuple[int, ...] | None]] = {"": (series, None)}
    if recipe.halves == "tilts":
        if series.n_tilts < 4:
            raise DataError(f"{series.name}: {series.n_tilts} tilts are too few for halves; leave --halves out")
        by_angle = [int(i) for i in np.argsort(series.tilt_angles, kind="stable")]
        parts["Even"] = series, tuple(sorted(by_angle[::2]))
        parts["Odd"] = series, tuple(sorted(by_angle[1::2]))
    elif recipe.halves == "frames":
        images: Mapping[str, ImageStack] = {}
        if recipe.source.suffix.lower() == ".star":
            images = read_halves(recipe.source, series.name)
        if not images:
            raise DataError(
                f"{recipe.source}: {series.name} has no images of even and odd frames (rlnMicrographNameEven, "
                f"rlnMicrographNameOdd); add them, or use --halves tilts"
            )
        if kept is not None:
            images = {half: chosen_images(stack, kept) for half, stack in images.items()}
        parts |= {half: (replace(series, images=stack), None) for half, stack in images.items()}
    return parts


def _options(recipe: Recipe, region: Region, strategy: Weighting, tilts: tuple[int, ...] | None) -> list[object]:
    """List everything but the tilt series that a volume depends on."""
    s = recipe.settings
    # where images are prepared for several binnings, all of them leave their trace in the border
    how = recipe.binnings, s.correction, s.keep_mean, s.taper_distance, s.taper_falloff, s.precision
    return [region.origin, region.shape, region.binning, strategy, tilts, *how, recipe.dtype, recipe.like,
            recipe.projection]  # fmt: skip


def measured_from(whole: TiltSeries, frames: Mapping[str, ImageStack]) -> list[object]:
    """List all that a signal-to-noise ratio is measured from: it is known by that before it is measured."""
    found: list[object] = [fact for stack in frames.values() for fact in facts_of(replace(whole, images=stack))]
    return facts_of(whole) + found


def orders_of(recipe: Recipe, products: Sequence[Product]) -> list[Order]:
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


def order_of(recipe: Recipe, product: Product) -> Order:
    """Give the order for a product, which writes it and what goes with it."""
    series, region, settings = product.series, product.region, recipe.settings
    file = TomogramFile(
        product.path, series, region, product.strategy, settings, recipe.like, recipe.dtype, product.tilts,
        {"": "", "Even": "even half", "Odd": "odd half"}[product.part], product.key,
    )  # fmt: skip

    @contextmanager
    def open_volume() -> Iterator[Write]:
        file.check()
        picture = _Picture(recipe.projection, region) if recipe.projection else None
        with file.writing() as write:
            yield write if picture is None else picture.watching(write)
        voxel_size, origin, label = file.header
        if picture is not None and product.picture is not None:
            with writing_mrc(product.picture, (1, *region.shape[1:]), voxel_size, origin, label) as write_picture:
                write_picture(0, picture.total)
        if product.part == "":
            for name in _companions(recipe):
                write_companion(name, product.path, series, region, settings, label)
        file.finish_passport(recipe.passport, recipe.source)

    return Order(series, open_volume, region, product.strategy, product.tilts)


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

    def watching(self, write: Write) -> Write:
        """Give a writer that passes slabs on."""

        def watch(z: int, slab: Real) -> None:
            if z in self._slices:
                self._kept[z] = slab.copy()
            write(z, slab)

        return watch
