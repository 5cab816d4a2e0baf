"""A set on many machines: each tomogram is a task for a worker of a Dask cluster.

One tomogram at a time on each worker, with all of its threads. A worker that dies takes nothing along: products appear
whole or not at all, and Dask gives its task to another one.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

from fourierrecon import __version__
from fourierrecon.errors import DataError, FourierReconError, UsageError
from fourierrecon.io import read_tilt_series
from fourierrecon.io.files import marking
from fourierrecon.runtime.threads import available_cores
from fourierrecon.sets.keys import identity_of
from fourierrecon.sets.recipe import Recipe
from fourierrecon.sets.run import Outcome, process

#: Queueing systems, and the class of dask-jobqueue for each.
QUEUES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}
#: Of a worker's limit, what a reconstruction may take: Dask lets a worker pause at 80 %, and ends it at 95 %.
SHARE = 0.7
#: A tomogram that so many workers died of is given up.
DEATHS = 3
#: How often to look for new workers, and how long to wait for the scheduler, s.
LOOK, PATIENCE = 1.0, 30.0
#: How long to wait for an orderly end of a connection, s.
FAREWELL = 5.0

_alone = threading.Lock()


@dataclass(frozen=True)
class Cluster:
    """Where tomograms are made.

    Parameters
    ----------
    scheduler
        Address of a Dask scheduler that is running, ``tcp://HOST:PORT`` or ``tls://HOST:PORT``.
    kind
        Or what to start: ``local``, or a key of :data:`QUEUES`, which takes its settings from Dask's configuration.
    workers
        How many to start.
    tls
        Files of the authority, the certificate and the key for encrypted connections to ``scheduler``; what is left out
        comes from Dask's configuration.

    Raises
    ------
    UsageError
        If that does not fit together.
    """

    scheduler: str | None = None
    kind: str | None = None
    workers: int | None = None
    tls: tuple[Path | None, Path | None, Path | None] = (None, None, None)

    def __post_init__(self) -> None:
        if self.scheduler is not None and self.kind is not None:
            raise UsageError("--scheduler and --cluster exclude each other; give one of them")
        address = re.fullmatch(r"t(cp|ls)://(\[[^]\s]+\]|[^:/\s]+):(?P<port>\d{1,5})", self.scheduler or "tcp://a:1")
        if address is None or not 0 < int(address["port"]) < 65536:
            raise UsageError(
                f"--scheduler {self.scheduler}: no address; write it as tcp://HOST:PORT or tls://HOST:PORT"
            )
        if self.kind is not None and self.kind not in ("local", *QUEUES):
            raise UsageError(f"--cluster {self.kind}: unknown; available: local, {', '.join(QUEUES)}")
        if self.kind is not None and self.workers is None:
            raise UsageError(f"--cluster {self.kind} needs --workers N: how many to start")
        if self.kind is None and self.workers is not None:
            raise UsageError("--workers goes with --cluster; a scheduler has its own")
        if self.scheduler is None and any(self.tls):
            raise UsageError(
                "--tls_ca, --tls_cert and --tls_key go with --scheduler; --cluster has Dask's configuration"
            )

    def run(
        self,
        recipe: Recipe,
        names: Sequence[str],
        finished: Callable[[Outcome], None],
        say: Callable[[str], None],
        check: Callable[[], None] = lambda: None,
    ) -> list[Outcome]:
        """Process tomograms on the workers; give the outcomes in the order of the names.

        Parameters
        ----------
        recipe, names
            As for :func:`fourierrecon.sets.run.process`. Workers need the same files under the same paths; one that has
            others gets no more to do. The folder of the products must be there.
        finished
            Called with each outcome as it comes.
        say
            Called with what is worth a line.
        check
            Called again and again; what it raises ends the run.

        Raises
        ------
        UsageError
            If Dask is not installed, or not configured.
        DataError
            If there is no scheduler, or it goes away.
        """
        try:
            import distributed
        except ModuleNotFoundError as error:
            raise UsageError(
                f"--scheduler and --cluster need Dask ({error.name} is missing): pip install 'fourierrecon[cluster]'"
            ) from error
        with _quiet(), ExitStack() as stack:
            client = stack.enter_context(_connect(self, recipe, distributed))
            mark = stack.enter_context(marking(recipe.folder))
            outcomes = _share_out(client, recipe, names, mark, finished, say, check)
        return [outcomes[name] for name in names]


@dataclass(frozen=True)
class Terms:
    """What a worker must see as whoever asks does.

    Parameters
    ----------
    folder
        That paths start from.
    version
        Of this program.
    mark
        A file in the folder of the products.
    identity
        Of the tilt series, from :func:`fourierrecon.sets.keys.identity_of`.
    """

    folder: str
    version: str
    mark: Path
    identity: str


def work(recipe: Recipe, name: str, terms: Terms) -> Outcome | str:
    """Process one tomogram on the worker that this is called on, with the threads and the memory of that worker.

    Parameters
    ----------
    recipe, name
        As for :func:`fourierrecon.sets.run.process`; threads and memory that the recipe says win.
    terms
        What must be the same here.

    Returns
    -------
    outcome
        Or, where this worker cannot make any good of it, why: another one may.
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
            other = _one_line(error)
        if other:
            return f"{where}: {other}; workers need the same files as here, under the same paths"
        try:
            return process(replace(recipe, settings=settings), name)
        except Exception as error:  # Dask's clients stumble over some that they cannot unpickle
            return Outcome(name, error=f"{where}: {type(error).__name__}: {_one_line(error)}")


def _difference(recipe: Recipe, name: str, terms: Terms) -> str:
    """Say what is not as where the task comes from; nothing if all is."""
    if not terms.mark.exists():
        return f"{recipe.folder} is not the folder that the products are to be in"
    if identity_of(read_tilt_series(recipe.source, name, recipe.extras)) != terms.identity:
        return f"{recipe.source} or the images of {name} differ in name, size, time or content"
    return ""


@contextmanager
def _connect(cluster: Cluster, recipe: Recipe, distributed: Any) -> Iterator[Any]:
    """Connect to the scheduler that runs, or start one with its workers."""
    with ExitStack() as stack:
        if cluster.kind is not None:
            started = _start_local if cluster.kind == "local" else _start_queue
            address: Any = stack.enter_context(started(cluster, recipe, distributed))
            security = None
        else:
            address = cluster.scheduler
            security = _security(address, cluster.tls, distributed)
        try:
            client = distributed.Client(address, timeout=PATIENCE, security=security, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise DataError(
                f"--scheduler {address}: {_one_line(error)}; is a Dask scheduler running there, and are the --tls "
                f"options right?"
            ) from error
        stack.callback(_close, client)
        yield client


def _close(client: Any) -> None:
    """End a connection, which may be broken."""
    with suppress(Exception):
        client.close(timeout=FAREWELL)


def _security(address: str, tls: tuple[Path | None, Path | None, Path | None], distributed: Any) -> Any:
    """Give what Dask has configured for encrypted connections, and what is given; refuse to try without."""
    names = ("tls_ca_file", "tls_client_cert", "tls_client_key")
    given = {name: str(path) for name, path in zip(names, tls, strict=True) if path is not None}
    security = distributed.Security(**given, **({"require_encryption": True} if given else {}))
    if address.startswith("tls://"):
        try:
            context = security.get_connection_args("client").get("ssl_context")
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(
                f"--scheduler {address}: the certificates cannot be used ({_one_line(error)}); check --tls_ca, "
                f"--tls_cert and --tls_key"
            ) from error
        if context is None:
            raise UsageError(
                f"--scheduler {address} needs certificates: give --tls_ca, --tls_cert and --tls_key, or set them in "
                f"Dask's configuration (distributed.comm.tls)"
            )
    return security


@contextmanager
def _start_local(cluster: Cluster, recipe: Recipe, distributed: Any) -> Iterator[Any]:
    """Start workers on this machine, which share its cores and its memory; nobody else can reach them."""
    import dask

    n = cluster.workers or 1
    with distributed.LocalCluster(
        n_workers=n,
        threads_per_worker=recipe.settings.n_threads or max(1, available_cores() // n),
        # who says how much memory to take is not to be ended for it
        memory_limit="auto" if recipe.settings.memory is None else 0,
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
        preload=[*dask.config.get("distributed.worker.preload"), __name__],
    ) as local:
        yield local


@contextmanager
def _start_queue(cluster: Cluster, recipe: Recipe, distributed: Any) -> Iterator[Any]:
    """Have a queueing system start workers, as Dask's configuration files say."""
    kind = str(cluster.kind)
    try:
        import dask
        import dask_jobqueue
    except ModuleNotFoundError as error:
        raise UsageError(f"--cluster {kind} needs dask-jobqueue: pip install 'fourierrecon[cluster]'") from error
    settings = dask.config.get(f"jobqueue.{kind}")
    if missing := [name for name in ("cores", "memory") if settings.get(name) is None]:
        raise UsageError(
            f"--cluster {kind}: {' and '.join(missing)} of a job are not known; set jobqueue.{kind} in Dask's "
            f"configuration, ~/.config/dask/jobqueue.yaml"
        )
    # a page on what goes on, at a port that may be taken, is for those who ask for it
    options = {"dashboard": False, "dashboard_address": ":0"} | (settings.get("scheduler-options") or {})
    with getattr(dask_jobqueue, QUEUES[kind])(scheduler_options=options, silence_logs=logging.CRITICAL) as queue:
        try:
            # the first job by hand: in the background, where Dask submits the others, nobody hears of what fails
            queue.worker_spec.update(queue.new_worker_spec())
            queue.sync(queue._correct_state)
        except (OSError, RuntimeError, ValueError) as error:
            for job in queue.workers.values():
                job.status = distributed.Status.closed  # nothing is left to be closed
            raise DataError(f"--cluster {kind}: the jobs cannot be submitted: {_one_line(error)}") from error
        # jobs that end before their time are started anew
        queue.adapt(minimum=cluster.workers, maximum=cluster.workers)
        yield queue


@dataclass(frozen=True)
class _Task:
    """One try at a tomogram."""

    name: str
    worker: str


def _share_out(
    client: Any,
    recipe: Recipe,
    names: Sequence[str],
    mark: Path,
    finished: Callable[[Outcome], None],
    say: Callable[[str], None],
    check: Callable[[], None],
) -> dict[str, Outcome]:
    """Give each free worker a tomogram, till all are done; one whose worker dies goes to another.

    Dask alone would give a worker of many threads as many tasks at once; and tasks that are to go to some worker rather
    than to others stay where they are if all workers die and come back.
    """
    recipe = replace(recipe, settings=replace(recipe.settings, progress=None))
    waiting, done = deque(names), SimpleQueue[Any]()
    unfit: dict[str, str] = {}
    running: dict[Any, _Task] = {}
    outcomes: dict[str, Outcome] = {}
    deaths: Counter[str] = Counter()
    lonely, alone = False, time.monotonic()

    def close(task: _Task, outcome: Outcome | str | None) -> None:
        """Note what became of a try."""
        name = task.name
        if isinstance(outcome, str):
            # others may do better; this one would fail all that it can get hold of
            unfit[task.worker] = outcome
            say(f"{outcome}; it gets no more tomograms")
            waiting.appendleft(name)
            return
        if outcome is None:
            deaths[name] += 1
            if deaths[name] < DEATHS:
                waiting.append(name)
                return
            outcome = Outcome(name, error=f"{DEATHS} workers died of it; out of memory? Use larger ones, or --memory")
        outcomes[name] = outcome
        finished(outcome)

    try:
        while waiting or running:
            check()
            workers = _workers(client)
            if running or not unfit.keys() >= set(workers) or not workers:
                alone = time.monotonic()
            elif time.monotonic() > alone + PATIENCE:  # no other worker has come
                while waiting:
                    name = waiting.popleft()
                    outcomes[name] = Outcome(name, error=f"no worker can make it: {unfit[workers[0]]}")
                    finished(outcomes[name])
                break
            if not workers and not lonely:
                say(f"no workers at {client.scheduler.address}; waiting for them")
            lonely = not workers
            for future, task in [*running.items()]:
                if task.worker not in workers and not future.done():
                    del running[future]
                    client.cancel([future], force=True)
                    close(task, None)
            for worker in set(workers).difference(unfit, (task.worker for task in running.values())):
                if waiting:
                    name = waiting.popleft()
                    try:
                        series = read_tilt_series(recipe.source, name, recipe.extras)
                        terms = Terms(os.getcwd(), __version__, mark, identity_of(series))
                    except (FourierReconError, OSError) as error:
                        close(_Task(name, worker), Outcome(name, error=_one_line(error)))
                        continue
                    key = f"fourierrecon-{name}-{uuid4().hex}"  # what was tried before is not asked again
                    future = client.submit(work, recipe, name, terms, key=key, workers=[worker], pure=False)
                    running[future] = _Task(name, worker)
                    future.add_done_callback(done.put)
            with suppress(Empty):
                future = done.get(timeout=LOOK)
                if future in running:
                    task = running.pop(future)
                    close(task, _missing(recipe, _outcome(future, task.name)))
    except BaseException:
        with suppress(Exception):
            client.cancel([*running], force=True)
        raise
    return outcomes


def _workers(client: Any) -> list[str]:
    """Give the addresses of the workers that are there."""
    try:
        if client.status not in ("running", "connecting"):
            raise OSError("the connection is closed")
        return list(client.nthreads())
    except (OSError, ValueError) as error:
        raise DataError(
            f"the Dask scheduler is gone ({_one_line(error)}); run the same command again: what is done stays"
        ) from error


def _missing(recipe: Recipe, outcome: Outcome | str | None) -> Outcome | str | None:
    """Give an outcome, if what it tells of is here; else say so."""
    if isinstance(outcome, Outcome):
        for product in outcome.made:
            if not product.path.exists():
                return replace(outcome, made=(), error=f"{product.path} was made on a worker, and is not here")
    return outcome


def _outcome(future: Any, name: str) -> Outcome | str | None:
    """Give what a task that is done came to, or why its worker refused it; None if its worker died."""
    from distributed.scheduler import KilledWorker

    if future.cancelled():
        return Outcome(name, error="the task was cancelled, or lost with the scheduler; run the same command again")
    try:
        outcome: Outcome | str = future.result(timeout=PATIENCE)
    except (KilledWorker, TimeoutError):
        return None  # in the second case, before its answer was fetched
    except Exception as error:  # what a worker says that lacks this program, or a part of it
        return f"on a worker: {type(error).__name__}: {_one_line(error)}"
    return outcome


def dask_setup(_: object) -> None:
    """Prepare a worker on this machine: a Ctrl-C on the terminal is for the one who started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own reports off the screen: what it repairs, and what goes wrong in the end is said here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
