"""Keys of products: what a volume was made from, how, and by which version; whether the file that is there fits.

A key lies in the label of the file itself. So it appears with the file, in one step, and no record of what is done can
ever disagree with what is there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from fourierrecon import __version__
from fourierrecon.errors import FourierReconError
from fourierrecon.tilt_series import TiltSeries

#: The line of a label that holds a key.
LINE = re.compile(r"key (?P<inputs>[0-9a-f]{16}) (?P<options>[0-9a-f]{16}) (?P<version>\S+)")


def make_key(series: TiltSeries, options: Iterable[object]) -> str:
    """Give the line for the label of a product.

    Parameters
    ----------
    series
        What it is made from. Of image files, name, size and time of the last change count.
    options
        Everything else that the product depends on; texts, numbers and dataclasses.
    """
    return f"key {_hash(facts_of(series))} {_hash(map(repr, options))} {__version__}"


def why_to_make(path: Path, key: str, shape: tuple[int, int, int]) -> str | None:
    """Say why a product must be made; None if it is there and fits its key.

    Parameters
    ----------
    path
        File or folder of the product.
    key
        As it should be.
    shape
        Likewise.
    """
    from fourierrecon.io.volumes import open_volume

    if not path.exists():
        return "new"
    try:
        volume = open_volume(path)
        volume.stored(slice(shape[0] - 1, shape[0]), slice(shape[1] - 1, shape[1]))
    except (FourierReconError, OSError, ValueError, IndexError):
        return "the file is broken"
    found, wanted = LINE.search(volume.label), LINE.search(key)
    if found is None or wanted is None:
        return "the file has no key: it was not made by a run on a set"
    if volume.shape != shape:
        return "its size has changed"
    for part, reason in (("inputs", "inputs have changed"), ("options", "options have changed")):
        if found[part] != wanted[part]:
            return reason
    return None if found["version"] == wanted["version"] else f"made by version {found['version']}"


def _hash(facts: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(fact.tobytes() if isinstance(fact, np.ndarray) else str(fact).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def facts_of(series: TiltSeries) -> list[object]:
    """List what a tilt series is, without reading its images if they are in files.

    Parameters
    ----------
    series
        The tilt series.
    """
    ctf: tuple[object, ...] = () if series.ctf is None else astuple(series.ctf)
    exposures = series.exposure, series.own_exposure, series.b_factor_per_exposure
    facts: list[object] = [series.name, series.pixel_size, series.projections, series.image_shape, *ctf, *exposures]
    sections = getattr(series.images, "sections", None)
    if sections is None:
        return facts + [np.asarray(series.images[i]) for i in range(series.n_tilts)]
    states = {path: path.stat() for path, _ in sections}
    for path, number in sections:
        facts += [path.name, number, states[path].st_size, states[path].st_mtime_ns]
    return facts
