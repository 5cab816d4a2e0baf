"""Tilt series that arrive in a folder: which files name them, and which of them are complete.

A tilt series is complete when it can be read, with all its images, and has not changed since the look before.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from fourierrecon.errors import FourierReconError
from fourierrecon.io import Supplement, read_tilt_series
from fourierrecon.io.relion.own_list import is_own
from fourierrecon.io.relion.read import find_set
from fourierrecon.io.shared_images import in_common
from fourierrecon.io.tilt_series import ARETOMO, IMOD, NOTHING, WARP, list_tomograms, passed_over
from fourierrecon.sets.outcomes import Outcome
from fourierrecon.sets.recipe import Recipe
from fourierrecon.tilt_series import ImagesInFiles

#: How many folders below the one that is watched are looked into.
DEPTH = 3
#: Files of IMOD that a reconstruction depends on.
IMOD_FILES = (".com", ".xf", ".tlt", ".rawtlt", ".xtilt", ".defocus")
#: Name, size and time of the last change of files.
State = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Arrival:
    """A tilt series that is complete.

    Parameters
    ----------
    source
        File that names it.
    name
        Its own name.
    state
        Of all its files.
    """

    source: Path
    name: str
    state: State


@dataclass
class Watcher:
    """What is known of a folder.

    Parameters
    ----------
    recipe
        What is to be made; its source is the folder.
    """

    recipe: Recipe
    #: What is worth a line, each once.
    news: list[str] = field(default_factory=list)
    #: Whether anything was new or other at the last look.
    changed: bool = False
    _seen: dict[tuple[str, str], State] = field(default_factory=dict)
    _tried: dict[tuple[str, str], State] = field(default_factory=dict)
    _failed: set[tuple[str, str]] = field(default_factory=set)
    _settled: dict[str, State] = field(default_factory=dict)
    _owners: dict[str, str] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _images: dict[str, list[str]] = field(default_factory=dict)

    def look(self) -> list[Arrival]:
        """Look once; give what is complete and was not tried as it is now."""
        self.changed = False
        found: list[Arrival] = []
        with warnings.catch_warnings():
            # they are told when a tomogram is made
            warnings.simplefilter("ignore")
            self._look(found)
        return found

    def _look(self, found: list[Arrival]) -> None:
        waiting: dict[str, Path] = {}
        for owner, sources in sources_in(self.recipe.source, self.recipe.folder).items():
            source = sources[0]
            if len(sources) > 1:
                self._tell(f"{source.stem} is left out: {sources[0]} and {sources[1]} both describe it; move one away")
                continue
            try:
                state = state_of(files_of(source))
                if self._settled.get(owner) == state:
                    continue
                arrivals = list(self._arrivals(owner, source, state, waiting))
            except (FourierReconError, OSError) as error:
                waiting.setdefault(source.stem, source)  # most tilt series have the name of their file
                self._tell(f"waiting for {source}: {error}")
                continue
            found += arrivals

    def _arrivals(self, owner: str, source: Path, state: State, waiting: dict[str, Path]) -> Iterator[Arrival]:
        """Give the tilt series of one file that are complete; note what is on its way, and by name in ``waiting``."""
        extras = extras_for(source, self.recipe.extras)
        settled = True
        if reason := passed_over(source):
            self._tell(f"{source} is left out: {reason}")
            self._settled[owner] = state
            return
        for name in list_tomograms(source, extras):
            if self._owners.setdefault(name, owner) != owner or _is_copy(source, waiting.get(name)):
                if self._owners[name] == owner:
                    del self._owners[name]
                self._tell(f"{name} of {source} is left out: there was one of that name before")
                continue
            try:
                found = read_tilt_series(source, name, extras).images
                images = found.sections if isinstance(found, ImagesInFiles) else ()
                now = state + state_of(path for path, _ in images)
            except (FourierReconError, OSError) as error:
                # another file may know better, but not a copy of this one
                del self._owners[name]
                waiting.setdefault(name, source)
                self._tell(f"waiting for {name}: {error}")
                settled = False
                continue
            self._images[name] = [f"{number + 1}@{path}" for path, number in images]
            key = owner, name
            if self._tried.get(key) == now:
                settled = settled and key not in self._failed
                continue
            settled = False
            if self._seen.get(key) == now:
                yield Arrival(source, name, now)
            else:
                self._seen[key], self.changed = now, True
        if settled:
            self._settled[owner] = state

    def note(self, arrival: Arrival, outcome: Outcome) -> None:
        """Note that a tilt series was tried: it is tried again when its files change."""
        key = owner_of(arrival.source), arrival.name
        self._tried[key] = arrival.state
        (self._failed.add if outcome.error else self._failed.discard)(key)

    def with_shared_images(self, outcome: Outcome) -> Outcome:
        """Add a note to what became of a tilt series whose images another one names as well."""
        line = in_common(self._images).get(outcome.name)
        return outcome if line is None else replace(outcome, notes=(*outcome.notes, line))

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self.news.append(text)


def _is_copy(source: Path, waiting: Path | None) -> bool:
    """Tell whether a file may be an old copy of one that is not complete yet: of the same kind, and deeper."""
    return waiting is not None and source.suffix == waiting.suffix and len(source.parts) > len(waiting.parts)


def sources_in(folder: Path, own: Path) -> dict[str, list[Path]]:
    """Find the files in a folder, and in those below it, that name tilt series; by :func:`owner_of`, upper ones first.

    Parameters
    ----------
    folder
        To look into.
    own
        Folder of the products, which is left out.

    Returns
    -------
    sources
        Of each the file that counts; several where nothing tells which one does.
    """
    found: list[Path] = []
    own = own.resolve()
    for place, folders, files in os.walk(folder):
        here = Path(place)
        deep = len(here.relative_to(folder).parts) >= DEPTH
        folders[:] = [
            name for name in sorted(folders) if not (deep or name.startswith(".") or (here / name).resolve() == own)
        ]
        # a Mac puts files of its own beside others, by the names ._NAME
        files = [name for name in files if not name.startswith(".")]
        imod = [name for name in files if name == "tilt.com"]
        if not imod:
            stems = {Path(name).stem for name in files if name.endswith((".tlt", ".rawtlt"))}
            imod = [name for name in files if name.endswith(".xf") and Path(name).stem in stems]
        known = [name for name in files if Path(name).suffix.lower() in (*ARETOMO, *WARP, ".star")]
        found += [path for name in (*imod, *known) if names_tilt_series(path := here / name)]
    # copies lie deeper, as in backup/, where anything is kept; of Warp's two files, the XML takes the other's place
    found.sort(key=lambda path: (path.suffix.lower() == ".tomostar", len(path.parts), path))
    sources: dict[str, list[Path]] = {}
    for path in found:
        chosen = sources.setdefault(owner_of(path), [path])
        if path not in chosen and (path.suffix, len(path.parts)) == (chosen[0].suffix, len(chosen[0].parts)):
            chosen.append(path)
    return dict(sorted(sources.items(), key=lambda item: (len(item[1][0].parts), item[1])))


def owner_of(source: Path) -> str:
    """Give what stays the same of a source: of Warp's two files for one tilt series, the name."""
    return f"warp:{source.stem}" if source.suffix.lower() in WARP else str(source)


def names_tilt_series(path: Path) -> bool:
    """Tell by what it says whether a file names tilt series; others have the same endings, lists of products too."""
    mark = {".star": b"_rlnTomoName", ".xml": b"<TiltSeries"}.get(path.suffix.lower())
    try:
        return mark is None or (mark in path.read_bytes() and not is_own(path))
    except OSError:
        return False  # it has just gone


def files_of(source: Path) -> list[Path]:
    """List the files that describe the tilt series of a source, without their images."""
    ending = source.suffix.lower()
    if ending in IMOD:
        return [path for path in sorted(source.parent.glob("[!.]*")) if path.suffix.lower() in IMOD_FILES]
    if ending != ".star":
        # AreTomo's NAME_CTF.txt and NAME_TLT.txt; both files of Warp
        beside = {*source.parent.glob(f"{source.stem}_*.txt"), *source.parent.glob(f"{source.stem}.*o*star")}
        return [source, *sorted(beside - {source})]
    _, overview, _ = find_set(source)
    label = "rlnTomoTiltSeriesStarFile"
    tilts = [Path(word) for word in overview.words(label)] if overview.has(label) else []
    folders = [Path(), *source.absolute().parents]
    return [source, *(place / tilt for tilt in tilts for place in folders if (place / tilt).is_file())]


def state_of(files: Iterable[Path]) -> State:
    """Say how files are now."""
    states = [(path, path.stat()) for path in dict.fromkeys(files)]
    return tuple((str(path), state.st_size, state.st_mtime_ns) for path, state in states)


def extras_for(source: Path, extras: Supplement) -> Supplement:
    """Give what a source may lack of what was given for all."""
    if source.suffix.lower() == ".star":
        return NOTHING
    return Supplement(pixel_size=extras.pixel_size) if source.suffix.lower() in WARP else extras
