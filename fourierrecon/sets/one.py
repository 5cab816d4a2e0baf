"""One tomogram of a set: makes what is missing of it, whatever breaks on the way."""

from __future__ import annotations

import errno
import time
import warnings
from collections.abc import Sequence
from contextvars import copy_context
from dataclasses import replace
from types import TracebackType

from fourierrecon.errors import OUT_OF_MEMORY, FourierReconError, UsageError
from fourierrecon.geometry.axis_order import Orientation
from fourierrecon.images.repair import lines_on, look
from fourierrecon.reconstruction import reconstruct_many
from fourierrecon.runtime.threads import Progress
from fourierrecon.sets.file_names import thumbnail_path
from fourierrecon.sets.incremental import remembering
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
    """Make the products that are missing; say which SNRs were measured, and what images were read and repaired."""
    protect([product.path for product in missing], input_files(recipe.source, recipe.extras, name))
    whole, lines = missing[0].whole, list[str]()
    # a volume must not depend on which others are there already, so all binnings count
    binnings = tuple(dict.fromkeys(product.region.binning for product in products))
    with remembering(recipe, name, whole, lines) as kept:
        look(whole, recipe.settings.threads)
        ready = measured(recipe, missing)
        orders = [order for product in ready for order in orders_of(recipe, product)]
        reconstruct_many(orders, replace(recipe.settings, binnings=binnings), kept)
    return snr_lines(missing, ready), (*lines, *lines_on(whole))


class Account:
    """Notes warnings, what goes wrong and the time that a piece of work takes; raises nothing. A context manager."""

    def __init__(self) -> None:
        self.error, self.usage, self.notes = "", False, tuple[str, ...]()
        self._started = time.perf_counter()
        self._catching = warnings.catch_warnings(record=True)
        self._caught: list[warnings.WarningMessage] | None = None

    @property
    def seconds(self) -> float:
        """Time since the beginning, s."""
        return time.perf_counter() - self._started

    def __enter__(self) -> Account:
        self._caught = self._catching.__enter__()
        warnings.simplefilter("always")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._catching.__exit__(kind, problem, trace)
        texts = (visible(shortened(" ".join(str(each.message).split()))) for each in self._caught or ())
        self.notes = tuple(dict.fromkeys(texts))
        if problem is None or not isinstance(problem, Exception):
            return False
        self.error, self.usage = _in_words(problem), isinstance(problem, UsageError)
        return True


def _in_words(problem: Exception) -> str:
    """Say what went wrong."""
    if isinstance(problem, FourierReconError):
        return str(problem)
    if isinstance(problem, MemoryError) or (isinstance(problem, OSError) and problem.errno == errno.ENOMEM):
        return OUT_OF_MEMORY
    if isinstance(problem, OSError):
        where = f"{problem.filename}: " if problem.filename is not None else ""
        return f"{where}{problem.strerror or problem}"
    # a mistake in this program must not keep the others from being made
    return f"{type(problem).__name__}: {problem}; this should not happen, please report it"


def _process(recipe: Recipe, name: str) -> Outcome:
    account, stale, products = Account(), "", list[Product]()
    snr, images = tuple[str, ...](), tuple[str, ...]()
    with account:
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
    error = account.error
    return Outcome(
        name=name,
        made=() if error or stale else tuple(map(made_of, products)),
        error=error,
        notes=account.notes,
        seconds=account.seconds,
        stale="" if error else stale,
        snr=snr,
        specimen=products[0].fit.words if products and not error else "",
        images=images,
        usage=account.usage,
    )
