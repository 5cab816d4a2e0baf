"""Samples of images kept in a folder, so that a tilt series that grows costs the images that are new.

What an image adds to a reconstruction are its samples (:mod:`fourierrecon.engine.images`): they depend on the image
and its geometry, not on the other images, as long as the plan has the same sizes. Each image has a file, named by what
it shows and by all that its samples were made from. So nothing has to be declared out of date: samples of another
alignment, CTF, exposure or option have another name, and only those of the same name are used again. A factor on the
image alone, by which its intensity is brought to that of its neighbours, is made up for when they are read.

The sums over images cannot be kept in place of the samples: near the tilt axis, weights and corrections of one image
depend on all others (:mod:`fourierrecon.engine.density_correction`).
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon import __version__
from fourierrecon.engine.images import Sampler
from fourierrecon.engine.task import Task
from fourierrecon.images.repair import RepairedImages
from fourierrecon.runtime import memory, threads
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.tilt_series import ImageStack, root_of, source_of

#: Why samples of an image that were there are of no use, by the facts that changed; and if none of these did.
CAUSES = {
    "sizes": "other sizes of the plan",
    "geometry": "another alignment",
    "transfer": "another CTF, exposure or weight",
    "options": "other options",
}
LOST = "samples gone or damaged"
#: Ending of the files, and first line that they have.
ENDING, FORMAT = ".samples", f"fourierrecon samples {__version__}"
#: Gives a text that is the same only for the same pixels.
Fingerprint = Callable[[ImageStack, int], str]
Facts = Mapping[str, str]


@dataclass(frozen=True)
class _Part:
    """What one image gives to a reconstruction: name of its file, name of the image, facts, and factor on the image."""

    name: str
    image: str
    facts: Facts
    factor: float


class KeptSamples:
    """Samples of the images of one tomogram, in a folder.

    Parameters
    ----------
    folder
        Folder of the files; made if there is none.
    fingerprint
        Called with a stack and the number of an image.
    earlier
        What :attr:`facts` was the last time.

    Attributes
    ----------
    facts
        Facts of the samples that were needed, by image.
    read, reused
        Images that had to be read for samples, and others whose samples were there.
    causes
        Why images had to be read that had samples before.
    trouble
        Why samples could not be kept; empty if they were.
    """

    def __init__(
        self, folder: Path, fingerprint: Fingerprint, earlier: Mapping[str, list[dict[str, str]]] | None = None
    ) -> None:
        self.folder, self._fingerprint, self._earlier = folder, fingerprint, earlier or {}
        self.facts: dict[str, list[dict[str, str]]] = {}
        self.read: set[str] = set()
        self._needed: set[str] = set()
        self._names: set[str] = set()
        self.causes: set[str] = set()
        self.trouble = ""

    @property
    def reused(self) -> set[str]:
        """Images whose samples were all there."""
        return self._needed - self.read

    def part(self, images: ImageStack, tilt: int, made_from: Mapping[str, Iterable[Any]]) -> _Part:
        """Name the samples of an image that a reconstruction needs.

        Parameters
        ----------
        images, tilt
            Images of the reconstruction, and the number of one.
        made_from
            All that its samples depend on besides, by the names of :data:`CAUSES`.
        """
        shown, factor = self._image(images, tilt)
        facts = {name: _hash(values) for name, values in made_from.items()}
        name = _hash([shown, *facts.values()])
        self._needed.add(shown)
        self._names.add(name)
        self.facts.setdefault(shown, []).append(facts)
        return _Part(name, shown, facts, factor)

    def load(self, part: _Part, buffers: tuple[Complex, Real], place: int, n_lines: int) -> float | None:
        """Put samples that are kept into the buffers of a store.

        Parameters
        ----------
        part
            As :meth:`part` gives it.
        buffers
            Of the store, ``(n_planes, lines, n_rows)``.
        place, n_lines
            First of the lines of the image, and their number.

        Returns
        -------
        level
            Grey level of the image; None if there are no such samples, or they are damaged.
        """
        samples, weights = (each[:, place : place + n_lines] if each.size else each for each in buffers)
        try:
            with self._path(part).open("rb") as file:
                head = json.loads(file.readline(1 << 12))
                read = [np.empty(each.shape, each.dtype) for each in (samples, weights)]
                whole = all(file.readinto(_bytes(each)) == each.nbytes for each in read) and not file.read(1)
                if not whole or head["format"] != FORMAT or head["crc"] != _checksum(read):
                    return None
                factor, level = float(head["factor"]), float(head["level"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        ratio = part.factor / factor
        samples[...] = read[0] if ratio == 1 else read[0] * np.float32(ratio)
        if weights.size:
            weights[...] = read[1]
        return level * ratio

    def save(self, part: _Part, buffers: tuple[Complex, Real], place: int, n_lines: int, level: float) -> None:
        """Keep the samples of an image; what goes wrong is noted as :attr:`trouble`."""
        arrays = [np.ascontiguousarray(each[:, place : place + n_lines]) if each.size else each for each in buffers]
        head = {"format": FORMAT, "factor": part.factor, "level": level, "crc": _checksum(arrays)}
        path = self._path(part)
        beginning = path.with_suffix(f".{os.getpid()}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with beginning.open("wb") as file:
                file.write(json.dumps(head).encode() + b"\n")
                for each in arrays:
                    file.write(_bytes(each))
            beginning.replace(path)
        except OSError as error:
            with suppress(OSError):
                beginning.unlink()
            self.trouble = f"samples cannot be kept in {self.folder}: {error.strerror or error}"

    def misses(self, part: _Part) -> None:
        """Note that an image has to be read, and why if it had samples before."""
        self.read.add(part.image)
        before = self._earlier.get(part.image, [])
        if before:
            # that which differs least was made for the same volume
            nearest = min(([name for name in CAUSES if each.get(name) != part.facts[name]] for each in before), key=len)
            self.causes.update(CAUSES[name] for name in nearest)
            self.causes.update([] if nearest else [LOST])

    def prune(self) -> None:
        """Remove samples that were not needed."""
        for path in self.folder.glob("*"):
            if path.suffix in (ENDING, ".part") and path.stem not in self._names:
                path.unlink(missing_ok=True)

    def _path(self, part: _Part) -> Path:
        return self.folder / f"{part.name}{ENDING}"

    def _image(self, images: ImageStack, tilt: int) -> tuple[str, float]:
        """Name an image with what is repaired in it, apart from the factor that it is multiplied with."""
        stack, number = root_of(images), source_of(images, tilt)[1]
        if not isinstance(stack, RepairedImages):
            return self._fingerprint(stack, number), 1.0
        shown: list[Any] = [self._fingerprint(stack.images, number), stack.repairs.hot_pixels]
        if stack.model is not None:
            shown.append(self._fingerprint(stack.model.images, number))
        beads = stack.common.beads
        if beads is not None and len(beads):
            shown += [beads.places[number], beads.radius]
        return _hash(shown), stack.factor_of(number)


class KeptSampler(Sampler):
    """Sampler that takes samples that are kept, and keeps those that it makes.

    Parameters
    ----------
    task
        The reconstruction that needs the samples.
    kept
        Samples that are kept.
    """

    def __init__(self, task: Task, kept: KeptSamples) -> None:
        super().__init__(task)
        self._kept = kept
        self._lines = task.plan.lines_per_image
        images, used = task.series.images, task.plan.used
        self._parts = [kept.part(images, int(tilt), self._made_from(i)) for i, tilt in enumerate(used)]
        there = np.zeros(len(self._parts), bool)

        def restore(buffers: tuple[Complex, Real], i: int) -> None:
            level = kept.load(self._parts[i], buffers, self.store.place(i), self._lines)
            if level is None:
                return
            if len(self.levels):
                self.levels[i] = level
            self.store.put(i, buffers)
            there[i] = True

        threads.for_each(len(there), restore, state=self.store.buffers, n_threads=task.settings.threads)
        self._missing = used[~there]
        for i in np.flatnonzero(~there):
            kept.misses(self._parts[i])

    @property
    def tilts(self) -> NDArray[np.int64]:
        """Numbers of the images that must be read."""
        return self._missing

    def sample(
        self,
        workspace: memory.Workspace,
        buffers: tuple[Complex, Real],
        tilt: int,
        image: Real,
        shared: dict[object, Complex],
    ) -> None:
        """Sample one image, and keep the samples; see :meth:`Sampler.sample`."""
        super().sample(workspace, buffers, tilt, image, shared)
        i = self._places[tilt]
        level = float(self.levels[i]) if len(self.levels) else 0.0
        self._kept.save(self._parts[i], buffers, self.store.place(i), self._lines, level)

    def _made_from(self, i: int) -> dict[str, list[Any]]:
        """List all that the samples of the i-th image in use are made from but the image."""
        plan, settings, weighting = self.task.plan, self.task.settings, self.task.weighting
        s, views, tilt = plan.slices, plan.views, int(plan.used[i])
        transfer = views.transfers
        curved = [] if plan.curved is None else [plan.curved.leaning(i, sheet) for sheet in range(self._lines)]
        return {
            "sizes": [
                s.period, s.row_length, plan.row_grid, plan.row_kernel, plan.sampling, plan.filter_length, plan.late,
                self._lines, plan.plane_axis,
            ],
            "geometry": [
                s.matrices[i], s.offsets[i], plan.windows[i], plan.along[i], np.asarray(self._scale[i]), s.fill[i],
                *curved,
            ],
            "transfer": [
                transfer.phases(tilt, views.voxel_size), views.envelopes[tilt], transfer.form, transfer.power,
                transfer.weighs_ctf, self._transfer_last,
            ],
            "options": [
                __version__, self.task.region.binning, plan.mask, plan.window_margin, settings.keep_mean,
                settings.flatten, weighting.uses_weights, weighting.divides_by_count, plan.stores_weights,
            ],
        }  # fmt: skip


def _hash(facts: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(fact.tobytes() if isinstance(fact, np.ndarray | np.generic) else repr(fact).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:32]


def _bytes(array: NDArray[Any]) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8).data)


def _checksum(arrays: Iterable[NDArray[Any]]) -> int:
    total = 0
    for each in arrays:
        total = zlib.crc32(_bytes(each), total)
    return total
