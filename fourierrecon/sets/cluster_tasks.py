"""Shares the tomograms of a set out among the workers of a Dask cluster, one at a time for each.

Dask alone would give a worker of many threads as many tasks at once; and a task that prefers some worker stays with it
even if all workers die and come back.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

from fourierrecon import __version__
from fourierrecon.errors import DataError, FourierReconError
from fourierrecon.sets.cluster_work import Terms, Wanted, identity, one_line, work
from fourierrecon.sets.follower import Follower
from fourierrecon.sets.outcomes import Outcome

#: A tomogram is given up after so many workers died of it.
DEATHS = 3
#: Time between looks for new workers, and time to wait for the scheduler, s.
LOOK, PATIENCE = 1.0, 30.0


@dataclass(frozen=True)
class _Task:
    """One try at a tomogram."""

    name: str
    worker: str


class Sharing:
    """The state of a set that is shared out: what waits, what runs where, and which workers are unfit.

    Parameters
    ----------
    client
        Connection to the scheduler.
    recipe
        What is to be made.
    names
        Names of the tomograms.
    mark
        A file in the folder of the products.
    follower
        Hears of workers.
    """

    def __init__(self, client: Any, recipe: Wanted, names: Sequence[str], mark: Path, follower: Follower) -> None:
        self._client, self._mark, self._follower = client, mark, follower
        self._recipe = replace(recipe, settings=replace(recipe.settings, progress=None))
        self._waiting, self._done = deque(names), SimpleQueue[Any]()
        self._unfit: dict[str, str] = {}
        self._running: dict[Any, _Task] = {}
        self._deaths: Counter[str] = Counter()
        self._lonely, self._alone = False, time.monotonic()

    def outcomes(self, check: Callable[[], None]) -> Iterator[Outcome]:
        """Give each free worker a tomogram, till all are done; give outcomes as they come.

        Parameters
        ----------
        check
            Called again and again; what it raises ends the run.
        """
        try:
            while self._waiting or self._running:
                check()
                workers = _workers(self._client)
                if self._is_hopeless(workers):
                    reason = self._unfit[workers[0]]
                    yield from (Outcome(name=name, error=f"no worker can make it: {reason}") for name in self._waiting)
                    return
                self._say_if_lonely(workers)
                yield from self._bury(workers)
                yield from self._hand_out(workers)
                yield from self._collect()
        finally:
            with suppress(Exception):
                self._client.cancel([*self._running], force=True)

    def _is_hopeless(self, workers: Sequence[str]) -> bool:
        """Tell whether all workers are unfit, and no other one has come for a while."""
        if self._running or not workers or not self._unfit.keys() >= set(workers):
            self._alone = time.monotonic()
        return time.monotonic() > self._alone + PATIENCE

    def _say_if_lonely(self, workers: Sequence[str]) -> None:
        """Say once that there are no workers."""
        if not workers and not self._lonely:
            address = self._client.scheduler.address
            self._follower.notes("cluster", f"no workers at {address}; waiting for them")
        self._lonely = not workers

    def _bury(self, workers: Sequence[str]) -> Iterator[Outcome]:
        """Take the tasks back of workers that are gone."""
        for future, task in [*self._running.items()]:
            if task.worker not in workers and not future.done():
                del self._running[future]
                self._client.cancel([future], force=True)
                yield from self._close(task, None)

    def _hand_out(self, workers: Sequence[str]) -> Iterator[Outcome]:
        """Give each free worker a tomogram; give an outcome where its tilt series cannot be read here."""
        busy = {task.worker for task in self._running.values()}
        for worker in set(workers).difference(self._unfit, busy):
            if not self._waiting:
                return
            name = self._waiting.popleft()
            try:
                terms = Terms(os.getcwd(), __version__, self._mark, identity(self._recipe, name))
            except (FourierReconError, OSError) as error:
                yield Outcome(name=name, error=one_line(error))
                continue
            key = f"fourierrecon-{name}-{uuid4().hex}"  # Dask would answer a key that it knows from memory
            future = self._client.submit(work, self._recipe, name, terms, key=key, workers=[worker], pure=False)
            self._running[future] = _Task(name, worker)
            future.add_done_callback(self._done.put)

    def _collect(self) -> Iterator[Outcome]:
        """Wait a little for a task that is done."""
        try:
            future = self._done.get(timeout=LOOK)
        except Empty:
            return
        if future in self._running:
            task = self._running.pop(future)
            yield from self._close(task, _missing(_outcome(future, task.name)))

    def _close(self, task: _Task, outcome: Outcome | str | None) -> Iterator[Outcome]:
        """Give the outcome of a try; or put the tomogram back, if its worker died (None) or refused it (why)."""
        name = task.name
        if isinstance(outcome, Outcome):
            yield outcome
        elif isinstance(outcome, str):
            # other workers may do better; this one would refuse, and so fail, all tomograms
            self._unfit[task.worker] = outcome
            self._follower.notes("cluster", f"{outcome}; it gets no more tomograms")
            self._waiting.appendleft(name)
        else:
            self._deaths[name] += 1
            if self._deaths[name] < DEATHS:
                self._waiting.append(name)
                return
            error = f"{DEATHS} workers died of it; out of memory? Use larger ones, or memory=..."
            yield Outcome(name=name, error=error)


def _workers(client: Any) -> list[str]:
    """Give the addresses of the workers that are there."""
    try:
        if client.status not in ("running", "connecting"):
            raise OSError("the connection is closed")
        return list(client.nthreads())
    except (OSError, ValueError) as error:
        raise DataError(
            f"the Dask scheduler is gone ({one_line(error)}); run the same command again: what is done stays"
        ) from error


def _missing(outcome: Outcome | str | None) -> Outcome | str | None:
    """Give an outcome; an error in its place if a file that a worker made is not here."""
    if isinstance(outcome, Outcome):
        for product in outcome.made:
            if not product.path.exists():
                return replace(outcome, made=(), error=f"{product.path} was made on a worker, and is not here")
    return outcome


def _outcome(future: Any, name: str) -> Outcome | str | None:
    """Give the outcome of a task that is done, or why its worker refused it; None if its worker died."""
    from distributed.scheduler import KilledWorker

    if future.cancelled():
        return Outcome(
            name=name,
            error="the task was cancelled, or lost with the scheduler; run the same command again",
            transient=True,
        )
    try:
        outcome: Outcome | str = future.result(timeout=PATIENCE)
    except (KilledWorker, TimeoutError):
        return None  # a timeout: the worker died before its answer was fetched
    except Exception as error:  # the worker lacks this program, or a part of it
        return f"on a worker: {type(error).__name__}: {one_line(error)}"
    return outcome
