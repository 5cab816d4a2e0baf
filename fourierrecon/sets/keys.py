"""Keys of products: what a volume was made from, how, and by which version; whether the file that is there fits.

A key lies in the label of the file itself. So it appears with the file, in one step, and no record of what is done can
ever disagree with what is there.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass, is_dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fourierrecon import __version__
from fourierrecon.errors import FourierReconError
from fourierrecon.geometry.projection import rotation_centre
from fourierrecon.tilt_series import ImagesInFiles, TiltSeries
from fourierrecon.transfer import EXPOSURES, Correction

#: How many pieces of an image file are compared, evenly over it, and their size, bytes.
SAMPLES, SAMPLE = 8, 4096
#: The line of a label that holds a key.
LINE = re.compile(r"key (?P<inputs>[0-9a-f]{16}) (?P<options>[0-9a-f]{16}) (?P<version>\S+)")


def make_key(series: TiltSeries, options: Iterable[object], correction: Correction | None = None) -> str:
    """Give the line for the label of a product.

    Parameters
    ----------
    series
        The product is made from this. Of image files, name, size and time of the last change count.
    options
        Everything else that the product depends on; texts, numbers and dataclasses.
    correction
        As for :func:`facts_of`.
    """
    return f"key {_hash(facts_of(series, correction))} {_hash(map(_in_full, options))} {__version__}"


def _in_full(option: object) -> str:
    """Give an option as text with all of its fields, also those that its representation leaves out."""
    if is_dataclass(option) and not isinstance(option, type):
        return f"{type(option).__name__}{astuple(option)}"
    return repr(option)


Kind = Literal["missing", "inputs", "options", "version", "foreign"]


@dataclass(frozen=True)
class Fault:
    """Why a file is not what is asked for.

    Parameters
    ----------
    kind
        ``missing``: nothing would be lost with it; ``inputs``, ``options``: it was made from others; ``version``: by
        another version of this program, else it is right; ``foreign``: no run on a set made it.
    reason
        In words.
    changes
        Options that differ, in words, as far as they are known.
    """

    kind: Kind
    reason: str
    changes: str = ""


#: Of a file that was there before.
NO_KEY = Fault("foreign", "it has no key, so no run on a set made it")


def fault_of(
    path: Path, key: str, shape: tuple[int, int, int] | None, line: str = "", series: TiltSeries | None = None
) -> Fault | None:
    """Say why a product is not what is asked for; None if it is there and fits its key.

    Parameters
    ----------
    path
        File or folder of the product.
    key
        As it should be.
    shape
        Likewise; None: any.
    line
        Another line that its label should have.
    series
        What the key is of: then another correction counts as another option, though other facts on the series count.
    """
    from fourierrecon.io.volumes.formats import open_volume

    if not path.exists():
        return Fault("missing", "new")
    try:
        volume = open_volume(path)
        depth, height, _ = volume.shape
        # the end of the file tells whether all of it is there
        volume.stored(slice(depth - 1, depth), slice(height - 1, height))
    except (FourierReconError, OSError, ValueError, IndexError):
        return _broken(path)
    found, wanted = LINE.search(volume.label), LINE.search(key)
    if found is None or wanted is None:
        return NO_KEY
    same = found["inputs"] == wanted["inputs"] or (series is not None and found["inputs"] in _hashes_of(series))
    if shape is not None and volume.shape != shape:
        return Fault("options" if same else "inputs", "its size has changed")
    if not same:
        return Fault("inputs", "inputs have changed")
    if found["options"] != wanted["options"] or found["inputs"] != wanted["inputs"] or line not in volume.label:
        return Fault("options", "options have changed")
    return None if found["version"] == wanted["version"] else Fault("version", f"made by version {found['version']}")


def _broken(path: Path) -> Fault:
    """Say of a file that is no whole volume whether it is one of ours, or empty: nothing would be lost with it."""
    try:
        inner = path / ("zarr.json" if (path / "zarr.json").exists() else ".zattrs")
        with (inner if path.is_dir() else path).open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        return Fault("foreign", f"it cannot be read: {error.strerror or error}")
    return Fault("missing", "the file is broken") if not start or LINE.search(start.decode("latin-1")) else NO_KEY


def _hashes_of(series: TiltSeries) -> set[str]:
    """Give what stands for the inputs in the keys of a tilt series, whichever correction was asked for."""
    ways = product(("none", None), ("off", None), EXPOSURES)
    found = set()
    for mode, depth, exposure in ways:
        found.add(_hash(facts_of(series, Correction(ctf_mode=mode, ctf_depth=depth, exposure=exposure))))
    return found


def has_inputs(path: Path, key: str, series: TiltSeries) -> bool:
    """Tell whether a product was made from the inputs of a key, whatever the options were; arguments as above."""
    fault = fault_of(path, key, None, series=series)
    return fault is None or fault.kind in ("options", "version")


def identity_of(series: TiltSeries) -> str:
    """Give a text that tells whether two machines see the same inputs.

    It is made from what makes a key, and from a sample of what the image files hold: names, sizes and times may be the
    same by chance.

    Parameters
    ----------
    series
        What is to be reconstructed.
    """
    digest = hashlib.sha256(_hash(facts_of(series)).encode())
    sections = series.images.sections if isinstance(series.images, ImagesInFiles) else ()
    for path in dict.fromkeys(path for path, _ in sections):
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            for number in range(SAMPLES):
                file.seek(number * max(size - SAMPLE, 0) // max(SAMPLES - 1, 1))
                digest.update(file.read(SAMPLE))
    return digest.hexdigest()[:16]


def _hash(facts: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(fact.tobytes() if isinstance(fact, np.ndarray) else str(fact).encode(errors="backslashreplace"))
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def facts_of(series: TiltSeries, correction: Correction | None = None) -> list[object]:
    """List what a tilt series is, without reading its images if they are in files.

    Parameters
    ----------
    series
        The tilt series.
    correction
        What is done about the signal: optics and exposures count only where it uses them, so that a column which
        nothing uses can be corrected without making volumes anew. Default: all of them count.
    """
    facts: list[object] = [series.name, series.pixel_size, series.projections, series.image_shape]
    facts += _optics(series, correction)
    facts += _local(series)
    if not isinstance(series.images, ImagesInFiles):
        return facts + [np.asarray(series.images[i]) for i in range(series.n_tilts)]
    sections = series.images.sections
    states = {path: path.stat() for path, _ in sections}
    for path, number in sections:
        facts += [path.name, number, states[path].st_size, states[path].st_mtime_ns]
    return facts


def _local(series: TiltSeries) -> list[object]:
    """List what a local alignment does, at some points that the images see."""
    if series.local is None:
        return []
    width, height, depth = series.size or (*series.image_shape[::-1], min(series.image_shape) / 4)
    away = np.stack(np.meshgrid(*(np.linspace(-n / 2, n / 2, 4) for n in (width, height, depth))), -1).reshape(-1, 3)
    points = rotation_centre(series) + away
    values = np.stack([series.local.at(tilt, points) for tilt in range(series.n_tilts)])
    return [series.local.words, np.round(values, 4)]


def _optics(series: TiltSeries, correction: Correction | None) -> list[object]:
    """List what a correction uses of the CTF, of exposures, and of the B-factor that grows with them."""
    ctf, growth = series.ctf, series.b_factor_per_exposure
    if correction is None:
        return [*(() if ctf is None else astuple(ctf)), series.exposure, series.own_exposure, growth]
    facts: list[object] = []
    if ctf is not None and correction.ctf_mode != "none":
        facts += astuple(ctf)
        if correction.ctf_depth != "off":
            facts.append(series.hand)
    exposure = correction.exposure_of(series)
    if exposure != "none":
        facts += [series.exposure, series.own_exposure]
    if exposure == "bfactor":
        facts.append(growth)
    if exposure == "grant" and ctf is not None:
        facts.append(ctf.voltage)
    return facts
