"""Schedulers and workers of Dask that really run, on this machine."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Dask:
    """A scheduler, and workers as processes."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options, self.started = folder, options, list[subprocess.Popen[bytes]]()
        self._here: Any = None

    def start(self, what: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one of Dask's commands."""
        line = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--host", "127.0.0.1", *self.options, *arguments]
        with (self.folder / f"{what}{len(self.started)}.log").open("wb") as log:
            process = subprocess.Popen(line, stdout=log, stderr=log, cwd=self.folder)
        self.started.append(process)
        return process

    def scheduler(self) -> str:
        """Start a scheduler in this process, which takes less time than one of its own; give its address."""
        from distributed import LocalCluster

        self._here = LocalCluster(n_workers=0, host="127.0.0.1", scheduler_port=0, dashboard_address=None)
        return str(self._here.scheduler_address)

    def scheduler_process(self) -> str:
        """Start a scheduler as a process; give its address."""
        self.start("scheduler", "--port", "0", "--no-dashboard")
        log = self.folder / "scheduler0.log"
        pattern = re.compile(r"Scheduler at:\s+(t\w+://127\.0\.0\.1:\d+)")
        wait_for(lambda: pattern.search(log.read_text()) is not None)
        found = pattern.search(log.read_text())
        assert found is not None
        return found[1]

    def worker(self, address: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a worker that nobody starts anew."""
        where = "--local-directory", str(self.folder)
        threads = () if "--nthreads" in arguments else ("--nthreads", "1")
        return self.start("worker", address, "--no-nanny", "--no-dashboard", *threads, *where, *arguments)

    def stop(self) -> None:
        """End all."""
        for process in reversed(self.started):
            process.kill()
            process.wait()
        if self._here is not None:
            self._here.close()


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
