"""What is kept of a tilt series that still grows, so that its tomogram is made anew at the cost of the new images.

Beside the samples of its images (:mod:`fourierrecon.engine.kept_samples`) these are checksums of the images, so that
those of a stack that was written anew are recognised, and what was found in each: hot pixels, mean and noise. All of it
may be deleted at any time; what is damaged counts as deleted.
"""

from __future__ import annotations

import json
import time
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fourierrecon import __version__
from fourierrecon.engine.kept_samples import ENDING, KeptSamples
from fourierrecon.engine.task import in_tiles
from fourierrecon.errors import DataError
from fourierrecon.images.balance import Coarse, coarsening
from fourierrecon.images.hot_pixels import Replacements
from fourierrecon.images.repair import Found, RepairedImages
from fourierrecon.io.files import replacing
from fourierrecon.io.json_text import fits
from fourierrecon.io.stacks.mrc import MrcStack
from fourierrecon.runtime.threads import for_each
from fourierrecon.sets.recipe import Recipe
from fourierrecon.text import counted
from fourierrecon.tilt_series import ImagesInFiles, ImageStack, TiltSeries, root_of
from fourierrecon.weighting import Iterative

#: Folder of all that is kept, below that for scratch files or that of the products; the files in it, and their format.
FOLDER, STATE, FOUND, FORMAT = "incremental", "state.json", "found.npz", f"fourierrecon incremental {__version__}"
#: What the state says (see :func:`fourierrecon.io.json_text.fits`): images as :class:`_Image`.
FIELDS: dict[str, object] = {
    "format": FORMAT,
    "images": {...: [float, float, float, float, bool, str, str]},
    "samples": {...: [{...: str}]},
}
#: What was not used for this time, s, is removed when another tomogram is made.
LASTS = 2 * 3600.0
#: Images of a stack that has grown are compared with what they were in every row of so many.
SOME = 8


@dataclass(frozen=True)
class _Image:
    """Where an image lies, and what it looked like: all of its pixels, and every :data:`SOME`-th row."""

    device: int
    inode: int
    size: int
    time: int
    turned: bool
    whole: str
    some: str


class Memory:
    """What is kept of one tilt series.

    Parameters
    ----------
    folder
        Folder of the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        state = _read_state(folder / STATE)
        self._known: dict[str, _Image] = {name: _Image(*fields) for name, fields in state.get("images", {}).items()}
        self._seen: dict[str, _Image] = {}
        self.samples = KeptSamples(folder, self.fingerprint, state.get("samples"))

    def fingerprint(self, images: ImageStack, number: int) -> str:
        """Give a checksum of an image as stored.

        A file that has not changed since the last time is not read. Of one that is the same file, but longer, images
        count as the same if every :data:`SOME`-th row is.
        """
        if not isinstance(images, ImagesInFiles):
            return _checksum(images[number])
        path, section = images.sections[number]
        name, found = f"{section}@{path}", path.stat()
        place = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, images.places is None
        for known in (self._seen.get(name), self._known.get(name)):
            if known is not None and astuple(known)[: len(place)] == place:
                self._seen[name] = known
                return known.whole
        some = _rows(images, path, section)
        known = self._known.get(name)
        grown = known is not None and (known.device, known.inode) == place[:2] and known.size < found.st_size
        if known is not None and grown and some and some == known.some and known.turned == place[-1]:
            whole = known.whole
        else:
            whole = _checksum(images[number])
        self._seen[name] = _Image(*place, whole, some)
        return whole

    def _label(self, images: RepairedImages, number: int) -> str:
        """Name an image, with what changes what is found in it."""
        coarse = coarsening(images.common.series.pixel_size)
        return f"{self.fingerprint(images.images, number)} {images.repairs.hot_pixels} {coarse}"

    def recall(self, series: TiltSeries, n_threads: int) -> None:
        """Let the images of a series know what was found in them before."""
        images = root_of(series.images)
        if not isinstance(images, RepairedImages):
            return
        found = _read_found(self.folder / FOUND)

        def tell(_: None, number: int) -> None:
            known = found.get(self._label(images, number))
            if known is not None:
                images.recall(number, known)

        for_each(images.shape[0], tell, state=lambda: None, n_threads=n_threads)

    def keep(self, series: TiltSeries) -> None:
        """Write what is known now, and remove samples that are of no more use.

        Raises
        ------
        DataError
            If it cannot be written.
        """
        if self.samples.trouble:
            raise DataError(self.samples.trouble)
        found: dict[str, Found] = {}
        images = root_of(series.images)
        if isinstance(images, RepairedImages):
            found = {self._label(images, number): images.found(number) for number in range(images.shape[0])}
        state = {
            "format": FORMAT,
            "images": {name: astuple(each) for name, each in self._seen.items()},
            "samples": self.samples.facts,
        }
        with replacing(self.folder / FOUND) as file:
            _write_found(file, found)
        with replacing(self.folder / STATE) as file:
            file.write(json.dumps(state).encode())
        self.samples.prune()

    @property
    def line(self) -> str:
        """How many images were read for samples, and why those that were read before."""
        read, reused, causes = len(self.samples.read), len(self.samples.reused), sorted(self.samples.causes)
        text = f"{counted(read, 'image')} read, {reused} kept"
        if not causes:
            return text
        return f"{'' if reused else 'starts over, '}{text}: {', '.join(causes)}"


def folder_of(recipe: Recipe, name: str) -> Path:
    """Give the folder of what is kept of a tomogram."""
    return (recipe.settings.scratch or recipe.folder) / FOLDER / f"rec_{name}"


@contextmanager
def remembering(recipe: Recipe, name: str, series: TiltSeries, lines: list[str]) -> Iterator[KeptSamples | None]:
    """Make a tomogram with what is kept of it, and keep what is new, if the recipe asks for it.

    Parameters
    ----------
    recipe, name
        What is made.
    series
        The tilt series with all images that are used.
    lines
        Takes a line on what was read.
    """
    if not recipe.incremental:
        yield None
        return
    reason = _useless(recipe, series)
    if reason:
        lines.append(f"all images read: {reason}")
        yield None
        return
    memory = Memory(folder_of(recipe, name))
    memory.recall(series, recipe.settings.threads)
    yield memory.samples
    try:
        memory.keep(series)
    except DataError as error:  # the tomogram is written
        warnings.warn(f"{error}; the next time all images are read", stacklevel=2)
    _forget_others(memory.folder)
    lines.append(memory.line)


def _useless(recipe: Recipe, series: TiltSeries) -> str:
    """Say why nothing of a tomogram can be used again, or give an empty text."""
    if in_tiles(series, recipe.settings):
        return "the local alignment is applied in tiles"
    for weighting in recipe.weightings:
        if isinstance(weighting, Iterative):
            return f"{weighting.name} goes through them again and again"
        if weighting.has_filter:
            return f"{weighting.name} filters each by all others"
    return ""


def _rows(images: ImagesInFiles, path: Path, section: int) -> str:
    """Give a checksum of some rows of an image; empty where single rows cannot be read."""
    for stack in images.stacks:
        if stack.path == path and isinstance(stack, MrcStack):
            return _checksum(stack.some_rows(section, SOME))
    return ""


def _checksum(pixels: NDArray[np.generic]) -> str:
    """Give two sums over all bytes of an image, with its type and shape."""
    stored = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
    total = int(stored[: len(stored) // 8 * 8].view(np.uint64).sum())
    return f"{zlib.crc32(stored.data):08x}{total:016x} {pixels.dtype} {pixels.shape}"


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return state if fits(state, FIELDS) else {}


def _write_found(file: BinaryIO, found: Mapping[str, Found]) -> None:
    """Write what was found in images, by their names; as few long arrays, which are quicker to read."""
    levels = {name: each.levels for name, each in found.items() if each.levels is not None}
    hot = {name: each.hot for name, each in found.items() if each.hot is not None}
    coarse = {name: each.coarse for name, each in found.items() if each.coarse is not None}
    np.savez(
        file,
        leveled=np.array([*levels], str),
        levels=np.array([*levels.values()], float).reshape(-1, 3),
        looked=np.array([*hot], str),
        n_hot=np.array([len(each) for each in hot.values()], int),
        index=np.concatenate([np.empty(0, np.int64), *(each.index for each in hot.values())]),
        values=np.concatenate([np.empty(0, np.float32), *(each.values for each in hot.values())]),
        coarsened=np.array([*coarse], str),
        pixels=np.array([each.pixels for each in coarse.values()], np.float32),
        spreads=np.array([each.spread for each in coarse.values()], float),
    )


def _read_found(path: Path) -> dict[str, Found]:
    """Read what was found in images, by their names."""
    try:
        with np.load(path, allow_pickle=False) as file:
            a = {name: file[name] for name in file.files}
        levels = {str(name): tuple(map(float, row)) for name, row in zip(a["leveled"], a["levels"], strict=True)}
        ends = np.cumsum(a["n_hot"])[:-1]
        pairs = zip(a["looked"], np.split(a["index"], ends), np.split(a["values"], ends), strict=True)
        hot = {str(name): Replacements(index, values) for name, index, values in pairs}
        looks = zip(a["coarsened"], a["pixels"], a["spreads"], strict=True)
        coarse = {str(name): Coarse(pixels, float(spread)) for name, pixels, spread in looks}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return {}
    names = dict.fromkeys([*levels, *hot, *coarse])
    return {name: Found(levels.get(name), hot.get(name), coarse.get(name)) for name in names}  # type: ignore[arg-type]


def _forget_others(mine: Path) -> None:
    """Remove what is kept of other tilt series that have not grown for long."""
    for state in mine.parent.glob(f"*/{STATE}"):
        if state.parent != mine and time.time() - state.stat().st_mtime > LASTS:
            for path in (*state.parent.glob(f"*{ENDING}"), state.parent / FOUND, state):
                path.unlink(missing_ok=True)
            if not any(state.parent.iterdir()):
                state.parent.rmdir()
