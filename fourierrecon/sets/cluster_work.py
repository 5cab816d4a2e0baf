"""The worker's side of a cluster: processes one tomogram where the worker sees the same files as whoever asks.

What is processed is a :class:`~fourierrecon.sets.recipe.Recipe`, which gives volumes, or an
:class:`~fourierrecon.particles.extraction.Extraction`, which gives boxes.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack, chdir
from dataclasses import dataclass, replace
from pathlib import Path

from fourierrecon import __version__
from fourierrecon.errors import FourierReconError
from fourierrecon.io import read_tilt_series
from fourierrecon.particles.extraction import Extraction
from fourierrecon.sets import boxes
from fourierrecon.sets.keys import identity_of
from fourierrecon.sets.one import process
from fourierrecon.sets.outcomes import Outcome
from fourierrecon.sets.recipe import Recipe

#: Part of a worker's memory limit that a reconstruction may take: Dask pauses a worker at 80 %, and ends it at 95 %.
SHARE = 0.7

_alone = threading.Lock()
#: What may be made of a set.
Wanted = Recipe | Extraction


@dataclass(frozen=True)
class Terms:
    """What must be the same for a worker as for the process that asks.

    Parameters
    ----------
    folder
        Working directory, from which paths start.
    version
        Version of this program.
    mark
        A file in the folder of the products.
    identity
        Identity of what the tomogram is made from, from :func:`identity`.
    """

    folder: str
    version: str
    mark: Path
    identity: str


def identity(recipe: Wanted, name: str) -> str:
    """Give a text that tells whether two machines see the same inputs of a tomogram.

    Raises
    ------
    UsageError, DataError
        If they cannot be read.
    """
    if isinstance(recipe, Extraction):
        return boxes.key_of(recipe, name)
    return identity_of(read_tilt_series(recipe.source, name, recipe.extras))


def work(recipe: Wanted, name: str, terms: Terms) -> Outcome | str:
    """Process one tomogram on the worker that this is called on, with the threads and the memory of that worker.

    Parameters
    ----------
    recipe, name
        As for :func:`fourierrecon.sets.one.process`; threads and memory that the recipe gives go first.
    terms
        Facts that must be the same here.

    Returns
    -------
    outcome
        What became of the tomogram; or a text that says why this worker cannot process it: another worker may.
    """
    from distributed import get_worker

    worker = get_worker()
    where = f"worker {worker.address} on {os.uname().nodename}"
    if terms.version != __version__:
        return f"{where} has fourierrecon {__version__}, not {terms.version}; install the same there"
    settings = recipe.settings
    if settings.n_threads is None:
        settings = replace(settings, n_threads=worker.state.nthreads)
    limit = worker.memory_manager.memory_limit
    if settings.memory is None and limit:
        settings = replace(settings, memory=int(SHARE * limit))
    with _alone, ExitStack() as stack:
        try:
            stack.enter_context(chdir(terms.folder))
            other = _difference(recipe, name, terms)
        except (OSError, FourierReconError) as error:
            other = one_line(error)
        if other:
            return f"{where}: {other}; workers need the same files as here, under the same paths"
        try:
            if isinstance(recipe, Extraction):
                return boxes.process(replace(recipe, settings=settings), name)
            return process(replace(recipe, settings=settings), name)
        except Exception as error:  # Dask's clients stumble over some that they cannot unpickle
            return Outcome(name=name, error=f"{where}: {type(error).__name__}: {one_line(error)}")


def _difference(recipe: Wanted, name: str, terms: Terms) -> str:
    """Say what differs from what the asking process sees; empty if nothing does."""
    if not terms.mark.exists():
        return f"{recipe.folder} is not the folder that the products are to be in"
    if identity(recipe, name) != terms.identity:
        return f"{recipe.source}, the images of {name} or its points differ in name, size, time or content"
    return ""


def dask_setup(_: object) -> None:
    """Prepare a worker on this machine: a Ctrl-C on the terminal is for the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def one_line(error: BaseException) -> str:
    """Give the message of an error in one line."""
    return " ".join(str(error).split())
