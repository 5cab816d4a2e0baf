"""Memory: what there is, and arrays that take over the memory of one before."""

from __future__ import annotations

import errno
import mmap
import pathlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import psutil
import pytest

from fourierrecon.engine.room import within_limits
from fourierrecon.errors import DataError
from fourierrecon.io.files import replacing
from fourierrecon.runtime import memory, threads
from fourierrecon.runtime.control_groups import folders_of
from fourierrecon.runtime.memory import Workspace, available_memory, claim, kept_memory, resident_memory
from fourierrecon.runtime.scratch_file import ScratchFile
from fourierrecon.runtime.threads import available_cores

#: float32 numbers of an array that is large enough to be kept.
MANY = memory.LARGE // 4


def address(array: np.ndarray) -> int:
    return int(array.ctypes.data)


def test_a_large_array_takes_over_the_memory_of_the_last_one() -> None:
    first = claim((2 * MANY,), np.float32, 2, "test")
    first[...] = 1
    place, view = address(first), first[10:20].view(np.int32)
    del first
    assert kept_memory() == 0  # a view still needs it
    other = claim((2 * MANY,), np.float32, 2, "test")
    assert address(other) != place
    del view
    assert kept_memory() == 2 * memory.LARGE
    again = claim((3, MANY // 4), np.complex64, 1, "other purpose")
    assert address(again) != place
    fitting = claim((MANY - 5,), np.complex64, 2, "test")
    assert address(fitting) == place
    assert kept_memory() == 0
    assert fitting.flags.writeable
    assert fitting.flags.c_contiguous


def test_what_does_not_fit_is_given_back() -> None:
    first = claim((2 * MANY,), np.float32, 1, "size")
    del first
    assert kept_memory() >= 2 * memory.LARGE
    before = kept_memory()
    small = claim((MANY,), np.float32, 1, "size")
    assert kept_memory() == before - 2 * memory.LARGE
    del small
    tiny = claim((7,), np.float32, 3, "size")
    assert tiny.shape == (7,)
    assert kept_memory() == before - 2 * memory.LARGE


def test_memory_is_not_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "KEPT_SECONDS", 0.05)
    # nothing of other tests, whose memory would go meanwhile
    memory._KEPT._blocks.clear()
    monkeypatch.setattr(memory, "_KEPT", memory._Kept())
    before = resident_memory()
    array = claim((4 * MANY,), np.float32, 1, "time")
    assert resident_memory() - before > 3.9 * memory.LARGE
    del array
    deadline = time.monotonic() + 5
    # the system takes a moment to take it back
    while (kept_memory() or resident_memory() - before > memory.LARGE) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert kept_memory() == 0
    assert resident_memory() - before < memory.LARGE


def test_scratch_arrays_are_one_a_name_shape_and_type() -> None:
    scratch = Workspace()
    one = scratch.array("a", (2, 3), np.float32)
    assert scratch.array("a", (2, 3), np.float32) is one
    for other in (("b", (2, 3), np.float32), ("a", (3, 2), np.float32), ("a", (2, 3), np.complex64)):
        assert scratch.array(*other) is not one


def test_part_of_an_array_can_be_given_back_and_the_rest_stays() -> None:
    array = claim((4, MANY), np.float32, 1, "parts")
    array[...] = 3
    held = resident_memory()
    memory.give_back(array[1:3])
    assert held - resident_memory() > 1.9 * memory.LARGE
    assert not array[1:3, 1024:-1024].any()  # not only out of sight: whoever looks gets fresh memory
    assert (array[0] == 3).all()
    assert (array[3] == 3).all()
    kept = kept_memory()
    del array
    assert kept_memory() == kept  # nothing to be used again is left of it


def test_giving_back_what_was_not_claimed_does_nothing() -> None:
    array = np.ones((2, MANY // 8), np.float32)
    memory.give_back(array)
    assert (array == 1).all()


JOB = "system.slice/slurmstepd.scope/job_7"
#: A limit of 6 GB, of which 0.1 GB are used, as Linux tells it in several places.
TREES = {
    "SLURM, version 2": {
        "/proc/self/cgroup": f"0::/{JOB}/step_0/user/task_0\n",
        f"/sys/fs/cgroup/{JOB}/memory.max": "6000000000\n",
        f"/sys/fs/cgroup/{JOB}/memory.current": "100000000\n",
        f"/sys/fs/cgroup/{JOB}/step_0/user/task_0/memory.max": "max\n",
    },
    "SLURM, version 1": {
        "/proc/self/cgroup": "5:cpu,cpuacct:/\n4:memory:/slurm/uid_1/job_7/step_0\n0::/\n",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes": "300000000000\n",
        "/sys/fs/cgroup/memory/slurm/uid_1/job_7/memory.limit_in_bytes": "6000000000\n",
        "/sys/fs/cgroup/memory/slurm/uid_1/job_7/memory.usage_in_bytes": "100000000\n",
    },
    "container, version 1: the path of the host, the files at the top": {
        "/proc/self/cgroup": "4:memory:/docker/0123456789ab\n",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": "6000000000\n",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes": "100000000\n",
    },
    "container, version 2": {
        "/proc/self/cgroup": "0::/\n",
        "/sys/fs/cgroup/memory.max": "6000000000\n",
        "/sys/fs/cgroup/memory.current": "100000000\n",
    },
    "outside of its namespace, beside version 1": {
        "/proc/self/cgroup": "4:cpu:/\n0::/../../job\n",
        "/sys/fs/cgroup/unified/job/memory.max": "6000000000\n",
        "/sys/fs/cgroup/unified/job/memory.current": "100000000\n",
    },
    "MemoryHigh of systemd, and copies of files that would go": {
        "/proc/self/cgroup": "0::/user.slice/run.scope\n",
        "/sys/fs/cgroup/user.slice/memory.high": "6000000000\n",
        "/sys/fs/cgroup/user.slice/memory.max": "9000000000\n",
        "/sys/fs/cgroup/user.slice/memory.current": "3100000000\n",
        "/sys/fs/cgroup/user.slice/memory.stat": "anon 90000000\nfile 3010000000\ninactive_file 3000000000\n",
    },
}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Let the system's files have other contents."""

    def set_up(tree: dict[str, str]) -> None:
        class Fake(pathlib.PosixPath):
            def read_text(self, *_: object, **__: object) -> str:
                if str(self) not in tree:
                    raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(self))
                return tree[str(self)]

        for module in (memory, threads):
            monkeypatch.setattr(module, "Path", Fake)

    return set_up


@pytest.mark.parametrize("name", TREES)
def test_limits_of_control_groups_are_found(name: str, fake: Callable[[dict[str, str]], None]) -> None:
    fake(TREES[name] | {"/proc/meminfo": "MemTotal: 600000000 kB\nMemAvailable: 500000000 kB\n"})
    assert available_memory() == 5_900_000_000


def test_without_limits_the_machine_tells(fake: Callable[[dict[str, str]], None]) -> None:
    fake({"/proc/meminfo": "MemAvailable: 500000000 kB\n"})
    assert available_memory() == 512_000_000_000
    fake({})
    free = available_memory()
    assert free is not None
    assert free > 0


@pytest.mark.parametrize(
    "tree",
    [
        {"/proc/self/cgroup": f"0::/{JOB}/step_0\n", f"/sys/fs/cgroup/{JOB}/cpu.max": "100000 100000\n"},
        {"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "50000 100000\n"},
        {
            "/proc/self/cgroup": "3:cpu,cpuacct:/slurm/job_7/step_0\n",
            "/sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_quota_us": "100000\n",
            "/sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_period_us": "100000\n",
            "/sys/fs/cgroup/cpu/slurm/job_7/step_0/cpu.cfs_quota_us": "-1\n",
            "/sys/fs/cgroup/cpu/slurm/job_7/step_0/cpu.cfs_period_us": "100000\n",
        },
    ],
    ids=["version 2", "container", "version 1"],
)
def test_quotas_of_cores_are_found(
    tree: dict[str, str], fake: Callable[[dict[str, str]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(24)), raising=False)
    fake(tree)
    assert available_cores() == 1
    fake({name: text.replace("100000 100000", "max 100000").replace("50000 ", "max ") for name, text in tree.items()}
         | {"/sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_quota_us": "-1"})  # fmt: skip
    assert available_cores() == 24


def test_groups_are_looked_for_from_the_own_one_up() -> None:
    assert folders_of("0::/a/b\n", "cpu") == [
        "/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup",
        "/sys/fs/cgroup/unified/a/b", "/sys/fs/cgroup/unified/a", "/sys/fs/cgroup/unified",
    ]  # fmt: skip
    assert folders_of("4:memory:/a\n9:name=systemd:/b\n", "memory") == [
        "/sys/fs/cgroup/memory/a", "/sys/fs/cgroup/memory",
    ]  # fmt: skip


def _no_memory(*_: object) -> None:
    raise OSError(errno.ENOMEM, "Cannot allocate memory")


def test_a_shortage_of_memory_is_not_said_to_be_a_folder(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MemoryError), replacing(tmp_path / "a.mrc"):
        _no_memory()
    with pytest.raises(PermissionError, match="elsewhere"), replacing(tmp_path / "a.mrc"):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/images.mrcs")
    with (
        pytest.raises(DataError, match="No space left on device; free space there, or choose another folder"),
        replacing(tmp_path / "a"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("os.posix_fallocate", lambda *_: None, raising=False)
    monkeypatch.setattr("os.pwrite", _no_memory)
    scratch = ScratchFile(tmp_path, 1, (2,), np.float32)
    with pytest.raises(MemoryError):
        scratch.write(0, 0, np.zeros(2, np.float32))
    scratch.close()
    monkeypatch.setattr(memory, "_Block", _no_memory)
    with pytest.raises(MemoryError):
        claim((MANY,), np.float32, 1, "nowhere")


def test_threads_without_room_are_a_shortage_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", refuse)
    with pytest.raises(MemoryError, match="can't start new thread"):
        threads.for_each(3, lambda _, i: None, state=lambda: None, n_threads=2)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit address space")
def test_a_limit_of_address_space_is_planned_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert within_limits(1 << 40) == (1 << 40, "memory=...")
    held = psutil.Process().memory_info()
    most = {resource.RLIMIT_AS: held.vms + memory.ADDRESS_RESERVE + 10**9}
    monkeypatch.setattr("resource.getrlimit", lambda kind: (most.get(kind, resource.RLIM_INFINITY),) * 2)
    found, limit = within_limits(1 << 40)
    assert limit == "ulimit -v"
    assert found == pytest.approx(resident_memory() + 10**9, abs=2e8)
    assert within_limits(10**6) == (10**6, "memory=...")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit address space")
def test_libraries_that_do_not_fit_are_told() -> None:
    command = f"ulimit -v 400000; exec {sys.executable} -m fourierrecon info nothing"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: out of memory: ulimit -v allows 0.41 GB")


def test_what_was_read_of_a_mapped_file_is_let_go(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "numbers"
    np.ones(MANY, np.float32).tofile(path)
    mapped = np.memmap(path, np.float32, "r")
    held = resident_memory()
    assert mapped.sum() == MANY
    assert resident_memory() - held > 0.9 * memory.LARGE
    memory.forget(mapped[5:].reshape(1, -1).T)
    assert resident_memory() - held < 0.1 * memory.LARGE
    assert mapped[-1] == 1
    # what was changed in memory alone stays
    changed = np.memmap(path, np.float32, "c")
    changed[7] = 3
    memory.forget(changed)
    assert changed[7] == 3
    changed.flags.writeable = False
    memory.forget(changed[3:])
    assert changed[7] == 3
    shared = np.ndarray(4, np.float32, mmap.mmap(-1, 16, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    shared[:] = 5
    shared.flags.writeable = False
    memory.forget(shared)
    assert shared[0] == 5


def test_release_gives_back_what_is_kept() -> None:
    array = claim((MANY,), np.float32, 1, "released")
    del array
    assert kept_memory() >= memory.LARGE
    memory.release()
    assert kept_memory() == 0
