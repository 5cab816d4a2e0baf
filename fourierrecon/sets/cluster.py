"""A set on many machines: connects to a Dask cluster, or starts one, and has its workers make the tomograms.

Each worker makes one tomogram at a time, with all of its threads. A worker that dies loses nothing: products appear
whole or not at all, and another worker gets its tomogram.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fourierrecon.errors import DataError, UsageError
from fourierrecon.io.files import marking
from fourierrecon.runtime.threads import available_cores
from fourierrecon.sets import cluster_tasks, cluster_work
from fourierrecon.sets.cluster_work import Wanted, one_line
from fourierrecon.sets.follower import Follower
from fourierrecon.sets.outcomes import Outcome

#: Queueing systems, and the class of dask-jobqueue for each.
QUEUES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}
#: How long to wait for an orderly end of a connection, s.
FAREWELL = 5.0


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where tomograms are made.

    Parameters
    ----------
    scheduler
        Address of a Dask scheduler that is running, ``tcp://HOST:PORT`` or ``tls://HOST:PORT``.
    kind
        In place of ``scheduler``, what to start: ``local``, or a key of :data:`QUEUES`, which takes its settings from
        Dask's configuration.
    workers
        How many workers to start.
    tls_ca, tls_cert, tls_key
        Files of the authority, the certificate and the key for encrypted connections to ``scheduler``; default: those
        of Dask's configuration.

    Raises
    ------
    UsageError
        If these do not fit together.
    """

    scheduler: str | None = None
    kind: str | None = None
    workers: int | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def __post_init__(self) -> None:
        if self.scheduler is not None and self.kind is not None:
            raise UsageError("scheduler=... and kind=... exclude each other; give one of them")
        address = re.fullmatch(r"t(cp|ls)://(\[[^]\s]+\]|[^:/\s]+):(?P<port>\d{1,5})", self.scheduler or "tcp://a:1")
        if address is None or not 0 < int(address["port"]) < 65536:
            raise UsageError(f"scheduler={self.scheduler}: no address; write it as tcp://HOST:PORT or tls://HOST:PORT")
        if self.kind is not None and self.kind not in ("local", *QUEUES):
            raise UsageError(f"kind={self.kind}: unknown; available: local, {', '.join(QUEUES)}")
        if self.kind is not None and self.workers is None:
            raise UsageError(f"kind={self.kind} needs workers=N: how many to start")
        if self.kind is None and self.workers is not None:
            raise UsageError("workers=... goes with kind=...; a scheduler has its own")
        if self.scheduler is None and (self.tls_ca or self.tls_cert or self.tls_key):
            raise UsageError(
                "tls_ca=..., tls_cert=... and tls_key=... go with scheduler=...; kind=... has Dask's configuration"
            )

    def run(
        self, recipe: Wanted, names: Sequence[str], follower: Follower, check: Callable[[], None] = lambda: None
    ) -> Iterator[Outcome]:
        """Process tomograms on the workers; give outcomes as they come.

        Parameters
        ----------
        recipe, names
            As for :func:`fourierrecon.sets.one.process`, or for :func:`fourierrecon.sets.boxes.process`. Workers need
            the same files under the same paths; a worker that has other files gets no more to do. The folder of the
            products must be there.
        follower
            Hears of workers that are missing or unfit.
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
                f"scheduler=... and kind=... need Dask ({error.name} is missing): pip install 'fourierrecon[cluster]'"
            ) from error
        with _quiet(), ExitStack() as stack:
            client = stack.enter_context(_connect(self, recipe, distributed))
            mark = stack.enter_context(marking(recipe.folder))
            yield from cluster_tasks.Sharing(client, recipe, names, mark, follower).outcomes(check)


@contextmanager
def _connect(cluster: Cluster, recipe: Wanted, distributed: Any) -> Iterator[Any]:
    """Connect to the scheduler that runs, or start one with its workers."""
    with ExitStack() as stack:
        if cluster.kind is not None:
            started = _start_local if cluster.kind == "local" else _start_queue
            address: Any = stack.enter_context(started(cluster, recipe, distributed))
            security = None
        else:
            address = cluster.scheduler
            security = _security(cluster, distributed)
        try:
            patience = cluster_tasks.PATIENCE
            client = distributed.Client(address, timeout=patience, security=security, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise DataError(
                f"scheduler={address}: {one_line(error)}; is a Dask scheduler running there, and are tls_ca=..., "
                f"tls_cert=... and tls_key=... right?"
            ) from error
        stack.callback(_close, client)
        yield client


def _close(client: Any) -> None:
    """End a connection, which may be broken."""
    with suppress(Exception):
        client.close(timeout=FAREWELL)


def _security(cluster: Cluster, distributed: Any) -> Any:
    """Give what Dask has configured for encrypted connections, and what is given; refuse to try without."""
    address = str(cluster.scheduler)
    files = {"tls_ca_file": cluster.tls_ca, "tls_client_cert": cluster.tls_cert, "tls_client_key": cluster.tls_key}
    given = {name: str(path) for name, path in files.items() if path is not None}
    security = distributed.Security(**given, **({"require_encryption": True} if given else {}))
    if address.startswith("tls://"):
        try:
            context = security.get_connection_args("client").get("ssl_context")
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(
                f"scheduler={address}: the certificates cannot be used ({one_line(error)}); check tls_ca=..., "
                f"tls_cert=... and tls_key=..."
            ) from error
        if context is None:
            raise UsageError(
                f"scheduler={address} needs certificates: give tls_ca=..., tls_cert=... and tls_key=..., or set them "
                f"in Dask's configuration (distributed.comm.tls)"
            )
    return security


@contextmanager
def _start_local(cluster: Cluster, recipe: Wanted, distributed: Any) -> Iterator[Any]:
    """Start workers on this machine, which share its cores and its memory; nobody else can reach them."""
    import dask

    n = cluster.workers or 1
    with distributed.LocalCluster(
        n_workers=n,
        threads_per_worker=recipe.settings.n_threads or max(1, available_cores() // n),
        # Dask must not end a worker that takes the memory it was given
        memory_limit="auto" if recipe.settings.memory is None else 0,
        host="127.0.0.1",
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": ":0"},  # any free port: another one of Dask may have the usual port 8787
        silence_logs=logging.CRITICAL,
        preload=[*dask.config.get("distributed.worker.preload"), cluster_work.__name__],
    ) as local:
        yield local


@contextmanager
def _start_queue(cluster: Cluster, recipe: Wanted, distributed: Any) -> Iterator[Any]:
    """Have a queueing system start workers, as Dask's configuration files say."""
    kind = str(cluster.kind)
    try:
        import dask
        import dask_jobqueue
    except ModuleNotFoundError as error:
        raise UsageError(f"kind={kind} needs dask-jobqueue: pip install 'fourierrecon[cluster]'") from error
    settings = dask.config.get(f"jobqueue.{kind}")
    if missing := [name for name in ("cores", "memory") if settings.get(name) is None]:
        raise UsageError(
            f"kind={kind}: {' and '.join(missing)} of a job are not known; set jobqueue.{kind} in Dask's "
            f"configuration, ~/.config/dask/jobqueue.yaml"
        )
    # Dask's page on its work needs a port, which may be taken: only those who configure it get it
    options = {"dashboard": False, "dashboard_address": ":0"} | (settings.get("scheduler-options") or {})
    with getattr(dask_jobqueue, QUEUES[kind])(scheduler_options=options, silence_logs=logging.CRITICAL) as queue:
        try:
            # submit the first job here: Dask hides the errors of jobs that it submits later
            queue.worker_spec.update(queue.new_worker_spec())
            queue.sync(queue._correct_state)
        except (OSError, RuntimeError, ValueError) as error:
            for job in queue.workers.values():
                job.status = distributed.Status.closed  # else Dask tries to end jobs that never were
            raise DataError(f"kind={kind}: the jobs cannot be submitted: {one_line(error)}") from error
        # start jobs anew that end before their time
        queue.adapt(minimum=cluster.workers, maximum=cluster.workers)
        yield queue


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own reports off the screen: it repairs most of what it reports, and outcomes hold the rest."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
