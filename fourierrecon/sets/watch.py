"""Tilt series as they come: looks into a folder again and again, and reconstructs each as soon as it is complete.

Complete is what can be read, with all its images, and has not changed since the look before. What is made already is
known by the keys of the products, so that a new start makes nothing twice.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from fourierrecon.cli.console import say
from fourierrecon.errors import FourierReconError, UsageError
from fourierrecon.io import Supplement, read_tilt_series
from fourierrecon.io.relion.own_list import LIST, is_own, read_own_list, remove_own_list
from fourierrecon.io.relion.read import find_set
from fourierrecon.io.relion.tomogram_list import VOLUMES
from fourierrecon.io.shared_images import in_common
from fourierrecon.io.tilt_series import ARETOMO, IMOD, NOTHING, WARP, passed_over
from fourierrecon.io.tilt_series import list_tomograms as names_in
from fourierrecon.sets import lock, run
from fourierrecon.sets.lists import list_tomograms, protect_set
from fourierrecon.sets.outcomes import keep_outcomes
from fourierrecon.sets.recipe import Recipe
from fourierrecon.sets.run import Outcome
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
        for name in names_in(source, extras):
            if self._owners.setdefault(name, owner) != owner or _is_copy(source, waiting.get(name)):
                if self._owners[name] == owner:
                    del self._owners[name]
                self._tell(f"{name} of {source} is left out: there was one of that name before")
                continue
            try:
                read = read_tilt_series(source, name, extras).images
                images = read.sections if isinstance(read, ImagesInFiles) else ()
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


def watch_folder(console: Console, recipe: Recipe, *, every: float, idle: float | None, quiet: bool = False) -> int:
    """Reconstruct what comes into a folder, until Ctrl-C or until nothing comes any more; give the exit status.

    Parameters
    ----------
    console
        Where to say what goes on.
    recipe
        What is to be made; its source is the folder.
    every
        Time between looks, s.
    idle
        End after so many seconds without anything new; None: never.
    quiet
        Say only what is wrong, and the summary.

    Raises
    ------
    UsageError, DataError
        If the folder of the products cannot be used.
    """
    if recipe.folder.resolve() == recipe.source.resolve():
        raise UsageError(
            f"--o {recipe.folder} is the folder that is watched; give one of its own, as {recipe.folder}/out"
        )
    protect_set(recipe)
    # what is aligned anew is made anew
    recipe = replace(recipe, redo=recipe.redo or ("inputs",))
    watcher = Watcher(recipe)
    results: dict[str, tuple[Recipe, Outcome]] = {}
    path: Path | None = None
    interrupted = False
    with lock.locked(recipe.folder):
        say(console, "watching", f"{recipe.source}, every {every:g} s; Ctrl-C ends it")
        last = time.monotonic()
        try:
            while idle is None or time.monotonic() < last + idle:
                arrivals = watcher.look()
                for text in watcher.news if not quiet else ():
                    say(console, "note", text)
                watcher.news.clear()
                for arrival in arrivals:
                    mine = replace(recipe, source=arrival.source, extras=extras_for(arrival.source, recipe.extras))
                    outcome = watcher.with_shared_images(_process(mine, arrival.name, results))
                    watcher.note(arrival, outcome)
                    keep_outcomes(mine, [outcome])
                    tell(console, outcome, known=arrival.name in results, quiet=quiet)
                    results[arrival.name] = mine, outcome
                if arrivals:
                    path = _write_list(console, recipe.folder, results)
                if arrivals or watcher.changed:
                    last = time.monotonic()
                time.sleep(every)
        except KeyboardInterrupt:
            interrupted = True
    failed = [outcome for _, outcome in results.values() if outcome.error]
    stale = [outcome for _, outcome in results.values() if outcome.stale]
    left = f"{len(stale)} left as they are; " if stale else ""
    say(console, "summary", f"{len(results) - len(failed) - len(stale)} done; {left}{len(failed)} failed")
    for outcome in stale:
        say(console, "stale", f"{outcome.name}: {outcome.stale}")
    for outcome in failed:
        say(console, "failed", f"{outcome.name}: {outcome.error}")
    if path is not None:
        say(console, "wrote", f"{path}: the list of tomograms, as RELION 5 reads it")
    return 1 if (failed or stale) and not interrupted else 0


def _process(recipe: Recipe, name: str, results: Mapping[str, tuple[Recipe, Outcome]]) -> Outcome:
    """Make a tomogram, if its files have names of their own among those that were made."""
    others = [other for other, (_, outcome) in results.items() if outcome.made and other != name]
    try:
        run.check_names(recipe, [*others, name])
    except UsageError as error:
        return Outcome(name, error=str(error))
    return run.process(recipe, name)


def tell(console: Console, outcome: Outcome, *, known: bool, quiet: bool) -> None:
    """Say in a line what became of a tilt series; nothing if it is known and was left as it is."""
    for note in outcome.notes:
        say(console, "warning", f"{outcome.name}: {note}")
    if outcome.error:
        say(console, "failed", f"{outcome.name}: {outcome.error}; tried again when its files change")
    elif outcome.stale:
        say(console, "stale", f"{outcome.name}: {outcome.stale}")
    elif not quiet and not (known and outcome.status == "there"):
        first = outcome.made[0]
        more = f" and {len(outcome.made) - 1} more" if len(outcome.made) > 1 else ""
        why = next((made.reason for made in outcome.made if made.reason), "")
        say(console, outcome.status, f"{first.path}{more}" + (f" in {outcome.seconds:.1f} s ({why})" if why else ""))


def _write_list(console: Console, folder: Path, results: dict[str, tuple[Recipe, Outcome]]) -> Path | None:
    """Write the list of tomograms: from the set that they come from, or from scratch if they come from alignments."""
    made = {name: (recipe, outcome) for name, (recipe, outcome) in results.items() if outcome.made}
    try:
        earlier = read_own_list(folder)
        # of other options, and of the same alignment: what has another one is made anew
        stale = {name: recipe for name, (recipe, outcome) in results.items() if outcome.stale and name in earlier}
        carried = [earlier[name] for name in stale if Path(earlier[name].overview.get(VOLUMES[""], [""])[0]).is_file()]
        if not made and not carried:
            if any(outcome.error and name in earlier for name, (_, outcome) in results.items()):
                raise UsageError("of what it listed, nothing is as it was")
            return None
        recipes = [*(recipe for recipe, _ in made.values()), *stale.values()]
        sources = {recipe.source for recipe in recipes}
        sets = [source for source in sources if source.suffix.lower() == ".star"]
        if sets and len(sources) > 1:
            raise UsageError("tilt series come from several sets")
        if sets:
            outcomes = {name: outcome for name, (_, outcome) in made.items()}
            return list_tomograms(folder, [(recipes[0], outcomes)], carried)
        groups = [(recipe, {name: outcome}) for name, (recipe, outcome) in made.items()]
        return list_tomograms(folder, groups or [(recipes[0], {})], carried)
    except (FourierReconError, OSError) as error:
        # an older one would not have all, and perhaps what is no longer so
        gone = ", the one of before is removed" if remove_own_list(folder) else ""
        say(console, "note", f"no {folder / LIST}{gone}: {error}")
        return None
