"""Sets on Dask clusters, with schedulers and workers that really run, on this machine."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which

import pytest

from fourierrecon.errors import UsageError
from fourierrecon.io import read_tilt_series
from fourierrecon.sets.cluster import Cluster
from fourierrecon.sets.keys import identity_of
from tests.helpers.dask_cluster import Dask, wait_for
from tests.helpers.small_sets import command, contents, volumes, write_small_set

dask = pytest.importorskip("dask", reason="needs Dask: pip install 'fourierrecon[cluster]'")
pytest.importorskip("distributed", reason="needs Dask: pip install 'fourierrecon[cluster]'")

pytestmark = pytest.mark.cluster
OPTIONS = "--noctf --bin 1"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Dask]:
    """Start nothing yet; whatever is started ends with the test."""
    (tmp_path / "dask").mkdir()
    found = Dask(tmp_path / "dask")
    yield found
    found.stop()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in the test's folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def before_process(folder: Path, what: str) -> Path:
    """Write a file that Dask's workers run first: what happens before they process TS_03."""
    path = folder / "preload.py"
    path.write_text(
        "import glob, os, signal, time\nfrom fourierrecon.sets import cluster_work as cluster\n"
        f"def first(recipe, name, progress=None):\n    if name == 'TS_03':\n        {what}\n"
        "    return process(recipe, name, progress)\n"
        # Dask runs such a file more than once
        "if cluster.process.__name__ == 'process':\n    process, cluster.process = cluster.process, first\n"
    )
    return path


def check_with_a_dead_worker(run: Run, cluster: Dask, here: Path, n: int) -> None:
    write_small_set(here / "set", n)
    assert run(f"reconstruct --t set/tomograms.star {OPTIONS} --o out/ --quiet")[0] == 0
    serial = contents(here / "out")
    (here / "out").rename(here / "serial")
    # the first worker that has TS_03 is busy with it until it is killed, and says which one it is
    what = "open(f'taken{os.getpid()}', 'w').close(); time.sleep(600 if len(glob.glob('taken*')) < 2 else 0)"
    preload = before_process(here, what)
    address = cluster.scheduler()
    workers = [cluster.worker(address, "--preload", str(preload)) for _ in range(2)]
    victims: list[int] = []

    def kill() -> None:
        wait_for(lambda: bool(list(here.glob("taken*"))))
        victims.append(int(next(here.glob("taken*")).name.removeprefix("taken")))
        os.kill(victims[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    status, out, _ = run(f"reconstruct --t set/tomograms.star {OPTIONS} --o out/ --scheduler {address}")
    killer.join()
    assert status == 0, out
    assert victims[0] in [worker.pid for worker in workers]
    assert f"{n} done" in out
    assert f"{n}/{n}" in out
    # the tomogram was given out twice
    assert len(list(here.glob("taken*"))) == 2
    assert [worker.poll() for worker in workers].count(None) == 1
    assert contents(here / "out") == serial


def test_a_worker_is_killed(run: Run, cluster: Dask, here: Path) -> None:
    check_with_a_dead_worker(run, cluster, here, 4)


@pytest.mark.slow
def test_a_worker_is_killed_among_thirty(run: Run, cluster: Dask, here: Path) -> None:
    check_with_a_dead_worker(run, cluster, here, 30)


@pytest.mark.slow
def test_a_tomogram_that_kills_workers(run: Run, here: Path) -> None:
    write_small_set(here / "set", 5)
    preload = before_process(here, "open(f'killed{os.getpid()}', 'w').close(); os.kill(os.getpid(), signal.SIGKILL)")
    with dask.config.set({"distributed.worker.preload": [str(preload)]}):
        status, out, err = run(
            f"reconstruct --t set/tomograms.star {OPTIONS} --o out/ --cluster local --workers 2 --j 1"
        )
    assert (status, err) == (1, "")
    assert len(list(here.glob("killed*"))) == 3
    assert "4 done" in out
    assert "1 failed" in out
    assert "TS_03: 3 workers died of it" in out
    assert sorted(volumes(here / "out")) == [f"tomograms/rec_TS_0{i}.mrc" for i in (1, 2, 4, 5)]
    assert "TS_03" not in (here / "out/tomograms.star").read_text()
    # and it is made where nothing is wrong
    status, out, _ = run(f"reconstruct --t set/tomograms.star {OPTIONS} --o out/")
    assert status == 0
    assert "1 done" in out
    assert "4 there already" in out


def test_workers_give_threads_and_memory(run: Run, cluster: Dask, here: Path) -> None:
    write_small_set(here / "set", 3)
    what = "s = recipe.settings; open('found', 'w').write(f'{s.n_threads} {s.memory}')"
    address = cluster.scheduler()
    preload = before_process(here, what)
    cluster.worker(address, "--nthreads", "3", "--memory-limit", "1GB", "--preload", str(preload))
    line = f"reconstruct --t set/tomograms.star {OPTIONS} --o out/ --scheduler {address} --tn TS_03"
    assert run(line)[0] == 0
    assert (here / "found").read_text() == "3 700000000"
    # what the options say wins
    assert run(f"{line} --j 2 --memory 600MB")[0] == 0
    assert (here / "found").read_text() == "2 600000000"


def test_one_bad_series_and_another_folder(run: Run, cluster: Dask, here: Path) -> None:
    # the worker runs elsewhere: relative paths are those of whoever asks
    write_small_set(here / "set", 3)
    (here / "set/TS_02.mrcs").write_bytes(b"damaged")
    address = cluster.scheduler()
    cluster.worker(address)
    status, out, _ = run(f"reconstruct --t set/tomograms.star {OPTIONS} --o out/ --scheduler {address} --halves tilts")
    assert status == 1
    assert "failed    TS_02: " in out
    assert "is not an MRC file" in out
    assert len(volumes(here / "out")) == 6
    assert not list((here / "dask").rglob("*.mrc"))


@pytest.mark.slow
def test_an_interrupt_cancels(cluster: Dask, here: Path) -> None:
    write_small_set(here / "set", 4)
    preload = before_process(here, "open('taken', 'w').close(); time.sleep(3)")
    address = cluster.scheduler()
    cluster.worker(address, "--preload", str(preload))
    process = command(f"reconstruct --t set/tomograms.star {OPTIONS} --o out/ --scheduler {address}", cwd=here)
    wait_for(lambda: (here / "taken").exists())
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out.endswith("error: interrupted\n")
    assert "Traceback" not in out
    # nothing goes on but what had begun
    time.sleep(4)
    assert "tomograms/rec_TS_04.mrc" not in volumes(here / "out")


@pytest.mark.slow
def test_the_scheduler_goes_away(run: Run, cluster: Dask, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_small_set(here / "set", 4)
    preload = before_process(here, "open('taken', 'w').close(); time.sleep(3)")
    address = cluster.scheduler_process()
    cluster.worker(address, "--preload", str(preload))
    monkeypatch.setattr("fourierrecon.sets.cluster_tasks.PATIENCE", 2)

    def kill() -> None:
        wait_for(lambda: (here / "taken").exists())
        cluster.started[0].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    status, out, err = run(f"reconstruct --t set/tomograms.star {OPTIONS} --o out/ --scheduler {address}")
    killer.join()
    assert status == 1
    assert "rec_TS_02.mrc (made in " in out
    assert err.startswith("error: the Dask scheduler is gone")
    assert len(err.splitlines()) == 1


def test_no_scheduler(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_small_set(here / "set", 1)
    monkeypatch.setattr("fourierrecon.sets.cluster_tasks.PATIENCE", 1)
    status, _, err = run("reconstruct --t set/tomograms.star --o out/ --scheduler tcp://127.0.0.1:1")
    assert status == 1
    assert "--scheduler tcp://127.0.0.1:1: " in err
    assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_another_version_on_the_worker(run: Run, cluster: Dask, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourierrecon.sets.cluster_tasks.PATIENCE", 2)
    write_small_set(here / "set", 1)
    preload = here / "preload.py"
    preload.write_text("import fourierrecon\nfourierrecon.__version__ = '0.0.7'\n")
    address = cluster.scheduler()
    cluster.worker(address, "--preload", str(preload))
    status, out, _ = run(f"reconstruct --t set/tomograms.star {OPTIONS} --o out/ --scheduler {address}")
    assert status == 1
    assert "failed    TS_01: no worker can make it: worker" in out
    assert "has fourierrecon 0.0.7, not" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        pytest.param(
            "cluster.read_tilt_series = lambda *_: os.stat('set elsewhere')", "set elsewhere", marks=pytest.mark.slow
        ),
        ("cluster.identity_of = lambda _: 'of other images'", "differ in name, size, time or content"),
        pytest.param("cluster._difference = lambda *_: 'no folder'", "no folder", marks=pytest.mark.slow),
    ],
)
def test_a_worker_without_the_files(
    run: Run, cluster: Dask, here: Path, monkeypatch: pytest.MonkeyPatch, fault: str, why: str
) -> None:
    # it would fail everything at once, and so get everything
    write_small_set(here / "set", 4)
    assert run(f"reconstruct --t set/tomograms.star {OPTIONS} --o serial/ --quiet")[0] == 0
    monkeypatch.setattr("fourierrecon.sets.cluster_tasks.PATIENCE", 2)
    preload = here / "preload.py"
    preload.write_text(f"import os\nfrom fourierrecon.sets import cluster_work as cluster\n{fault}\n")
    address = cluster.scheduler()
    cluster.worker(address, "--preload", str(preload))
    status, out, err = run(f"reconstruct --t set/tomograms.star {OPTIONS} --o out/ --scheduler {address}")
    assert (status, err) == (1, "")
    assert len(re.findall(r"^\d/4 +TS_0\d failed: no worker can make it", out, re.MULTILINE)) == 4
    assert why in out
    assert volumes(here / "out") == {}
    cluster.worker(address)
    monkeypatch.setattr("fourierrecon.sets.cluster_tasks.PATIENCE", 30)
    status, out, err = run(f"reconstruct --t set/tomograms.star {OPTIONS} --o out/ --scheduler {address}")
    assert (status, err) == (0, ""), out
    assert "it gets no more tomograms" in out
    assert "4 done" in out
    assert volumes(here / "out") == volumes(here / "serial")
    assert not list(here.glob("out/.fourierrecon-*"))


def test_identities(here: Path) -> None:
    write_small_set(here / "set", 1)
    path = here / "set/TS_01.mrcs"

    def identity() -> str:
        return identity_of(read_tilt_series("set/tomograms.star"))

    first, state, data = identity(), path.stat(), path.read_bytes()
    # other images of the same size and time
    path.write_bytes(data[:5000] + bytes(len(data) - 5000))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert identity() != first
    path.write_bytes(data)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert identity() == first
    os.utime(path, (1, 1))
    assert identity() != first


@pytest.mark.slow
def test_the_folder_vanishes_midway(run: Run, cluster: Dask, here: Path) -> None:
    write_small_set(here / "set", 4)
    preload = before_process(here, "open('taken', 'w').close(); time.sleep(2)")
    address = cluster.scheduler()
    cluster.worker(address, "--preload", str(preload))

    def vanish() -> None:
        wait_for(lambda: (here / "taken").exists())
        (here / "out").rename(here / "away")

    thread = threading.Thread(target=vanish)
    thread.start()
    status, _, err = run(f"reconstruct --t set/tomograms.star {OPTIONS} --o out/ --scheduler {address}")
    thread.join()
    assert status == 1
    assert err == "error: out has gone, or was replaced; nothing more is made: run the same command again\n"


def test_encrypted_without_certificates(run: Run, here: Path) -> None:
    write_small_set(here / "set", 1)
    (here / "text").write_text("no certificate")
    line = f"reconstruct --t set/tomograms.star {OPTIONS} --o out/ --scheduler tls://127.0.0.1:9"
    begun = time.monotonic()
    for options, why in (
        ("", "needs certificates: give --tls_ca"),
        ("--tls_ca text --tls_cert text --tls_key text", "the certificates cannot be used"),
        ("--tls_ca no --tls_cert no --tls_key no", "No such file"),
    ):
        status, _, err = run(f"{line} {options}")
        assert status == 2
        assert why in err
        assert len(err.splitlines()) == 1
    assert time.monotonic() - begun < 20


@pytest.mark.slow
def test_encrypted(run: Run, cluster: Dask, here: Path) -> None:
    if which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    line = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    subprocess.run(line.split(), check=True, capture_output=True)
    write_small_set(here / "set", 2)
    cert, key = str(here / "cert.pem"), str(here / "key.pem")
    cluster.options = ("--tls-ca-file", cert, "--tls-cert", cert, "--tls-key", key, "--protocol", "tls")
    address = cluster.scheduler_process()
    assert address.startswith("tls://")
    cluster.worker(address)
    line = f"reconstruct --t set/tomograms.star {OPTIONS} --o out/ --scheduler {address}"
    status, out, _ = run(f"{line} --tls_ca cert.pem --tls_cert cert.pem --tls_key key.pem")
    assert status == 0
    assert "2 done" in out
    status, _, err = run(line)
    assert status == 2
    assert "--tls" in err


@pytest.mark.slow
def test_a_queueing_system(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # commands that stand for those of SLURM: a job is a process
    pytest.importorskip("dask_jobqueue", reason="needs dask-jobqueue: pip install 'fourierrecon[cluster]'")
    (here / "bin").mkdir()
    for name, text in {
        "sbatch": 'cp "${@: -1}" job$$.sh; setsid bash job$$.sh > job$$.log 2>&1 & echo "Submitted batch job $!"',
        "scancel": 'kill -- -"$1"',
    }.items():
        path = here / "bin" / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{here / 'bin'}:{os.environ['PATH']}")
    write_small_set(here / "set", 3)
    line = f"reconstruct --t set/tomograms.star {OPTIONS} --o out/ --cluster slurm --workers 2"
    with dask.config.set({"jobqueue.slurm.cores": None, "jobqueue.slurm.memory": None}):
        status, _, err = run(line)
    assert status == 2
    assert "jobqueue.yaml" in err
    assert "cores and memory" in err
    submit = (here / "bin/sbatch").read_text()
    found = {"cores": 1, "processes": 1, "memory": "2GB", "interface": "lo", "local-directory": str(here)}
    with dask.config.set({f"jobqueue.slurm.{name}": value for name, value in found.items()}):
        (here / "bin/sbatch").write_text("#!/bin/bash\necho no such partition >&2; exit 1\n")
        status, _, err = run(line)
        assert status == 1
        assert "no such partition" in err
        assert len(err.splitlines()) == 1
        (here / "bin/sbatch").write_text(submit)
        status, out, err = run(line)
    assert (status, err) == (0, "")
    assert "3 done" in out
    assert len(list(here.glob("job*.sh"))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheduler": "tcp://a:1", "kind": "local"}, "exclude each other"),
        ({"scheduler": "a:1"}, "tcp://HOST:PORT"),
        ({"scheduler": "tcp://a"}, "tcp://HOST:PORT"),
        ({"scheduler": "tcp://a:99999"}, "tcp://HOST:PORT"),
        ({"scheduler": "http://a:1"}, "tcp://HOST:PORT"),
        ({"kind": "pigeons", "workers": 2}, "available: local, slurm, pbs, lsf"),
        ({"kind": "local"}, "needs workers=N"),
        ({"workers": 2}, "goes with kind=..."),
        ({"kind": "local", "workers": 2, "tls_ca": Path("a")}, "go with scheduler=..."),
    ],
)
def test_options_that_do_not_fit(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        Cluster(**options)  # type: ignore[arg-type]


def test_without_dask(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_small_set(here / "set", 1)
    monkeypatch.setitem(sys.modules, "distributed", None)
    status, _, err = run("reconstruct --t set/tomograms.star --o out/ --scheduler tcp://127.0.0.1:1")
    assert status == 2
    assert "pip install 'fourierrecon[cluster]'" in err
