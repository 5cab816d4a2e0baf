"""What to do about a product of a set: make it, leave it, or refuse to make it because a file would be lost."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fourierrecon.errors import DataError
from fourierrecon.geometry.axis_order import Orientation
from fourierrecon.sets.asked import asked_of, changes
from fourierrecon.sets.file_names import companions_of, picture_path, stack_paths
from fourierrecon.sets.keys import Fault, fault_of
from fourierrecon.sets.records import read_outcomes
from fourierrecon.tomogram.aligned_stack import aligned_shape
from fourierrecon.tomogram.companions import VOLUMES, companion_path, companion_shape
from fourierrecon.tomogram.finish import view_path
from fourierrecon.tomogram.provenance import read_passport

if TYPE_CHECKING:
    from fourierrecon.sets.products import Product
    from fourierrecon.sets.recipe import Recipe

#: A file, and the keys that it may have.
Half = tuple[Path, list[str]]


def what_to_do(recipe: Recipe, product: Product, halves: Callable[[], list[Half]]) -> tuple[str | None, str]:
    """Say why a product must be made, and why it must not be.

    A file that no run on a set made is never replaced. A file of other inputs or options is replaced only as ``redo``
    says, and then with all that goes with it: a volume never lies beside halves, pictures or companions of another one.

    Parameters
    ----------
    recipe
        What is asked for.
    product
        One volume of it, with what goes with it.
    halves
        Gives the half volumes of a whole one, which may be there without being asked for.

    Returns
    -------
    reason, kept
        Why the product must be made, None if it is there; why nothing may be made, empty if nothing would be lost.
    """
    faults = list(_faults(recipe, product))
    for fault in faults:
        if fault.kind == "foreign":
            return None, f"{fault.reason}; move it away, or choose another folder (folder=...)"
    left = [fault for fault in faults if fault.kind not in ("missing", *recipe.redo)] if recipe.resume else []
    for fault in left:
        if fault.kind != "version":
            which = f"; changed: {fault.changes}" if fault.changes else ""
            return None, f"{fault.reason}; redo=... makes it anew, or choose another folder (folder=...){which}"
        warnings.warn(f"{fault.reason}; it is left as it is, redo=... makes it anew", stacklevel=2)
    faults = [fault for fault in faults if fault not in left]
    if recipe.resume and not faults:
        return None, ""
    if older := _older(recipe, product, halves):
        return None, (
            f"{older}, which is not asked for, is of other inputs or options; ask for it as well (halves=..., "
            f"projection=..., companions=...; redo=...), move it away, or choose another folder (folder=...)"
        )
    return faults[0].reason if recipe.resume else "asked for", ""


def _faults(recipe: Recipe, product: Product) -> Iterator[Fault]:
    """Say what is not as it should be of a volume, and of what goes with it."""
    path, region, key = product.path, product.region, product.key
    files = [("", path, Orientation.like(recipe.like, product.series).shape(region.shape), "")]
    if product.picture is not None and recipe.projection is not None:
        files.append(("its projection: ", product.picture, (1, *region.shape[1:]), recipe.projection.line(region)))
    for name in companions_of(recipe) if product.part == "" else ():
        files.append((f"its {name}: ", companion_path(path, name), companion_shape(region, name), ""))
    if product.part == "" and recipe.finish.viewing_copy:
        files.append(("its viewing copy: ", view_path(path), files[0][2], ""))
    stack = stack_paths(recipe, path) if product.part == "" else None
    if stack is not None:
        files.append(("its aligned stack: ", stack[0], aligned_shape(product.series, region), ""))
    for what, file, shape, line in files:
        fault = fault_of(file, key, shape, line, product.series)
        if fault is not None:
            yield _named(recipe, product, Fault(fault.kind, what + fault.reason))
    if recipe.passport and not _has_passport(path, key):
        yield Fault("missing", "its passport is missing, or that of another volume")


def _named(recipe: Recipe, product: Product, fault: Fault) -> Fault:
    """Name the options that differ from those of the run that made the files: then these count, not the inputs."""
    if fault.kind not in ("inputs", "options"):
        return fault
    try:
        record = read_outcomes(recipe.folder).get(product.whole.name)
    except DataError:
        record = None
    if record is None or not record.options or record.status == "failed":
        return fault
    before, now = dict(record.options), asked_of(recipe)
    if len(recipe.binnings) == 1:
        before["binning"], now["binning"] = f"{record.binning:g}", f"{product.region.binning:g}"
    if product.part and record.halves:
        before["halves"], now["halves"] = record.halves, recipe.halves or ""
    if words := changes(before, now):
        reason = fault.reason.replace("inputs have changed", "options have changed")
        return Fault("options", reason, words)
    return fault


def _has_passport(path: Path, key: str) -> bool:
    """Tell whether the passport of just this volume lies beside it."""
    try:
        return (read_passport(path) or {}).get("key") == key
    except DataError:
        return False


def _older(recipe: Recipe, product: Product, halves: Callable[[], list[Half]]) -> Path | None:
    """Give a file that goes with a volume, is not asked for, and was made of other inputs or with other options."""
    others = [] if product.picture is not None else [(picture_path(recipe, product.path), [product.key])]
    if product.part == "":
        names = [name for name in VOLUMES if name not in recipe.companions]
        others += [(companion_path(product.path, name), [product.key]) for name in names]
        if not recipe.finish.viewing_copy:
            others.append((view_path(product.path), [product.key]))
    if product.part == "" and recipe.halves is None:
        others += halves()
    for path, keys in others:
        if path.exists() and all(_is_stale(path, key) for key in keys):
            return path
    return None


def _is_stale(path: Path, key: str) -> bool:
    fault = fault_of(path, key, None)
    return fault is not None and fault.kind in ("inputs", "options")
