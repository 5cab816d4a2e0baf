"""One tomogram of a set: makes what is missing of it, whatever breaks on the way."""

from __future__ import annotations

import errno
import time
import warnings
from collections.abc import Sequence
from contextvars import copy_context
from dataclasses import replace

from fourierrecon.errors import OUT_OF_MEMORY, FourierReconError, UsageError
from fourierrecon.geometry.axis_order import Orientation
from fourierrecon.images.repair import lines_on, look
from fourierrecon.reconstruction import reconstruct_many
from fourierrecon.runtime.threads import Progress
from fourierrecon.sets.file_names import thumbnail_path
from fourierrecon.sets.orders import measured, orders_of, snr_lines
from fourierrecon.sets.outcomes import Made, Outcome
from fourierrecon.sets.products import Product, products_of
from fourierrecon.sets.recipe import Recipe
from fourierrecon.sets.thumbnails import draw_thumbnail
from fourierrecon.text import shortened, visible
from fourierrecon.tomogram import checks
from fourierrecon.tomogram.inputs import input_files, protect


def process(recipe: Recipe, name: str, progress: Progress | None = None) -> Outcome:
    """Make what is missing of one tomogram; the outcome holds what went wrong, nothing is raised.

    Parameters
    ----------
    recipe
        What is to be made.
    name
        Name of the tomogram.
    progress
        Called as ``progress(stage, done, total)``.
    """
    # files read for one tomogram are protected while this one is made, not longer
    return copy_context().run(_process, replace(recipe, settings=replace(recipe.settings, progress=progress)), name)


def made_of(product: Product) -> Made:
    """Give what the set's list needs of a product."""
    region = product.region
    return Made(
        path=product.path,
        picture=product.picture,
        part=product.part,
        binning=region.binning,
        size=region.whole_size,
        reason=product.reason,
        origin=region.origin,
        excluded=product.series.excluded,
        fit=product.fit,
    )


def _make(
    recipe: Recipe, name: str, products: Sequence[Product], missing: Sequence[Product]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Make the products that are missing; say which SNRs were measured, and what was repaired in the images."""
    protect([product.path for product in missing], input_files(recipe.source, recipe.extras, name))
    look(missing[0].whole, recipe.settings.threads)
    ready = measured(recipe, missing)
    # a volume must not depend on which others are there already, so all binnings count
    binnings = tuple(dict.fromkeys(product.region.binning for product in products))
    orders = [order for product in ready for order in orders_of(recipe, product)]
    reconstruct_many(orders, replace(recipe.settings, binnings=binnings))
    return snr_lines(missing, ready), lines_on(missing[0].whole)


def _process(recipe: Recipe, name: str) -> Outcome:
    started = time.perf_counter()
    error, stale, products, usage = "", "", list[Product](), False
    snr, images = tuple[str, ...](), tuple[str, ...]()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            products = products_of(recipe, name)
            for line in checks.warnings_of(products[0].series, products[0].region, ctf=recipe.settings.ctf):
                warnings.warn(line, stacklevel=1)
            stale = next((f"{product.path.name}: {product.kept}" for product in products if product.kept), "")
            missing = [] if stale else [product for product in products if product.reason is not None]
            if missing:
                snr, images = _make(recipe, name, products, missing)
            for product in products if recipe.thumbnails and not stale else ():
                picture = thumbnail_path(recipe, product.path)
                if product.part == "" and (product in missing or not picture.exists()):
                    swapped = Orientation.like(recipe.like, product.series).swap
                    draw_thumbnail(picture, product.path, swapped=swapped)
        except FourierReconError as problem:
            error, usage = str(problem), isinstance(problem, UsageError)
        except MemoryError:
            error = OUT_OF_MEMORY
        except OSError as problem:
            where = f"{problem.filename}: " if problem.filename is not None else ""
            error = OUT_OF_MEMORY if problem.errno == errno.ENOMEM else f"{where}{problem.strerror or problem}"
        except Exception as problem:  # a mistake in this program must not keep the others from being made
            error = f"{type(problem).__name__}: {problem}; this should not happen, please report it"
    return Outcome(
        name=name,
        made=() if error or stale else tuple(map(made_of, products)),
        error=error,
        notes=tuple(dict.fromkeys(visible(shortened(" ".join(str(each.message).split()))) for each in caught)),
        seconds=time.perf_counter() - started,
        stale="" if error else stale,
        snr=snr,
        specimen=products[0].fit.words if products and not error else "",
        images=images,
        usage=usage,
    )
