"""Boxes at the picks of a whole set: tomogram by tomogram, by one process or many, then the lists of all of them."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError, UsageError, check_type
from fourierrecon.io import read_tilt_series
from fourierrecon.io.files import replacing
from fourierrecon.io.json_text import read_object
from fourierrecon.io.tilt_series import check_single, check_supplement
from fourierrecon.particles.extraction import Extraction
from fourierrecon.particles.files import folder_of, places_of
from fourierrecon.particles.lists import write_lists
from fourierrecon.particles.one import OtherBoxes, extract_tomogram
from fourierrecon.particles.picks import SetPicks
from fourierrecon.runtime.threads import Progress
from fourierrecon.sets.file_names import check_distinct
from fourierrecon.sets.follower import Follower
from fourierrecon.sets.keys import identity_of
from fourierrecon.sets.lock import LOCK, locked, taking_turns
from fourierrecon.sets.one import Account
from fourierrecon.sets.outcomes import Outcome
from fourierrecon.sets.run import choose_names, choose_part
from fourierrecon.tilt_series import TiltSeries

if TYPE_CHECKING:
    from fourierrecon.sets.cluster import Cluster

#: File that says what a folder was made with.
RECORD = "extraction.json"


def extract_set(
    wanted: Extraction,
    names: Sequence[str] = (),
    *,
    part: str | None = None,
    cluster: Cluster | None = None,
    follower: Follower | None = None,
) -> Iterator[Outcome]:
    """Make the boxes of a set, and give what became of each tomogram as soon as it is done.

    What goes wrong with a tomogram is in its outcome, and the others are made all the same. After the last one the
    lists are written, of all boxes that are in the folder; tomograms without points have no outcome.

    Parameters
    ----------
    wanted
        What is to be extracted.
    names
        Names of tomograms, or patterns as ``TS_*``; all if there are none.
    part, cluster, follower
        As for :func:`fourierrecon.sets.reconstruct_set`.

    Returns
    -------
    outcomes
        Iterator over one outcome for each tomogram with points.

    Raises
    ------
    UsageError, DataError
        If nothing can be done at all. What is wrong with the request is raised at once, before the first outcome.
    """
    check_type("wanted", wanted, (Extraction,), "an Extraction of fourierrecon.particles")
    check_supplement(wanted.source, wanted.extras)
    chosen = choose_names(wanted.source, names, wanted.extras)
    check_single(wanted.extras, chosen)
    picks = read_picks(wanted, chosen)
    check_distinct((name, [folder_of(wanted, name)]) for name in picks.rows)
    mine = choose_part(list(picks.rows), part)
    # a frame that is not clear is better told before anything is made
    picks.world(read_tilt_series(wanted.source, next(iter(picks.rows)), wanted.extras))
    _check_folder(wanted, part)
    return _outcomes(wanted, picks, mine, part, cluster, follower or Follower())


def read_picks(wanted: Extraction, names: Sequence[str]) -> SetPicks:
    """Read the points of tomograms.

    Raises
    ------
    UsageError, DataError
        As :meth:`fourierrecon.particles.picks.SetPicks.read`.
    """
    return SetPicks.read(wanted.picks, names, frame=wanted.frame, binning=wanted.picked_binning)


def key_of(wanted: Extraction, name: str) -> str:
    """Give a text that changes with the tilt series of a tomogram and with its points.

    Raises
    ------
    UsageError, DataError
        If one of them cannot be read.
    """
    series = read_tilt_series(wanted.source, name, wanted.extras)
    return _key(series, read_picks(wanted, [name]).world(series, settle=wanted.settles))


def _key(series: TiltSeries, points: NDArray[np.float64]) -> str:
    return f"{identity_of(series)} {hashlib.sha256(points.tobytes()).hexdigest()[:16]}"


def process(wanted: Extraction, name: str, progress: Progress | None = None) -> Outcome:
    """Make the boxes of one tomogram that are missing; the outcome holds what went wrong, nothing is raised.

    Parameters
    ----------
    wanted
        What is to be extracted.
    name
        Name of the tomogram.
    progress
        Called as ``progress(stage, done, total)``.
    """
    wanted = replace(wanted, settings=replace(wanted.settings, progress=progress))
    return copy_context().run(_process, wanted, name)


def _process(wanted: Extraction, name: str) -> Outcome:
    account, boxes, stale = Account(), None, ""
    with account:
        series = read_tilt_series(wanted.source, name, wanted.extras)
        picks = read_picks(wanted, [name])
        points = picks.world(series, settle=wanted.settles)
        if lost := picks.lost(series):
            warnings.warn(
                f"{wanted.picks}: its axes are not those of the boxes, and orientations are not converted; these "
                f"columns are left out: {', '.join(lost)}",
                stacklevel=1,
            )
        try:
            boxes = extract_tomogram(wanted, series, points, _key(series, points))
        except OtherBoxes as problem:
            stale = str(problem)
    return Outcome(
        name=name, boxes=boxes, error=account.error, notes=account.notes, seconds=account.seconds, stale=stale,
        usage=account.usage,
    )  # fmt: skip


def _outcomes(
    wanted: Extraction,
    picks: SetPicks,
    names: Sequence[str],
    part: str | None,
    cluster: Cluster | None,
    follower: Follower,
) -> Iterator[Outcome]:
    """Make the boxes, write the lists, and give the outcomes in between."""
    with locked(wanted.folder, part) as check:
        with taking_turns(wanted.folder):
            _keep_record(wanted, alone=part is None)
        follower.starts(names)
        failed = 0
        making = (
            _one_by_one(wanted, names, follower, check)
            if cluster is None
            else cluster.run(wanted, names, follower, check)
        )
        for outcome in making:
            failed += bool(outcome.error or outcome.stale)
            yield outcome
        with taking_turns(wanted.folder):
            path = write_lists(wanted, picks)
        follower.lists(path)
        if path is None and part is None and not failed:
            raise DataError(f"{wanted.picks}: no image holds the box of any point; is the frame ({picks.frame}) right?")


def _one_by_one(
    wanted: Extraction, names: Sequence[str], follower: Follower, check: Callable[[], None]
) -> Iterator[Outcome]:
    for name in names:
        check()
        yield process(wanted, name, follower.begins(name))
    check()


def _check_folder(wanted: Extraction, part: str | None) -> None:
    """See that the folder is free, or that what it holds was made with the same options."""
    path = wanted.folder / RECORD
    if path.is_file():
        if not wanted.resume and part is None:
            raise UsageError(f"{wanted.folder} holds boxes already; go on with resume=True, or give another folder")
        _compare(wanted, path, alone=part is None)
    elif wanted.folder.is_dir() and any(not each.name.startswith(LOCK) for each in wanted.folder.iterdir()):
        raise UsageError(f"{wanted.folder} is not empty, and no extraction made it; give another folder")


def _compare(wanted: Extraction, path: Path, *, alone: bool) -> bool:
    """Tell whether boxes in the folder were made with the same options; other options do where there are none yet."""
    if read_object(path, "a record of an extraction") == json.loads(json.dumps(wanted.record)):
        return True
    if not alone or any(any(place.iterdir()) for place in places_of(wanted.folder)):
        raise UsageError(f"{wanted.folder} holds boxes made with other options ({path}); give another folder")
    return False


def _keep_record(wanted: Extraction, *, alone: bool) -> None:
    """Write the options into the folder; if another part did so meanwhile, they must be the same."""
    path = wanted.folder / RECORD
    if path.is_file() and _compare(wanted, path, alone=alone):
        return
    with replacing(path) as file:
        file.write(json.dumps(wanted.record, indent=1).encode())
