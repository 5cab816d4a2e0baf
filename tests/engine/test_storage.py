"""Larger than memory: scratch files give the same voxels, promises on memory are kept, nothing stays behind."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import TiltSeries, reconstruct, reconstruct_to
from fourierrecon.cli.app import main
from fourierrecon.engine import task
from fourierrecon.engine.plan import Plan
from fourierrecon.engine.room import check_room
from fourierrecon.engine.settings import Settings
from fourierrecon.engine.storage import Beside, Storage, choose_storage
from fourierrecon.errors import DataError
from fourierrecon.runtime.scratch_file import ScratchFile
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.weighting import NoWeighting, PreWeight, Weighting, Wiener
from tests.helpers.reference import Geometry, relative_error

TILTS = tuple(np.linspace(-60, 55, 7))


def on_disk(planes: bool, samples: bool, block: int, slabs: int) -> Storage:
    return Storage(memory=0, scratch=0, planes_on_disk=planes, samples_on_disk=samples, block=block, slabs=slabs)


ON_DISK = {
    "planes": on_disk(True, False, 4, 2),
    "planes and samples": on_disk(True, True, 5, 3),
    "one at a time": on_disk(True, True, 1, 1),
    "one block": on_disk(True, True, 64, 64),
}


def some_series(axis: float = 4.0, seed: int = 0) -> tuple[TiltSeries, Geometry]:
    geometry = Geometry(TILTS, axis=axis, shift=2.0)
    images = np.random.default_rng(seed).standard_normal((len(TILTS), *geometry.image_shape)).astype(np.float32)
    return geometry.series(images, ctf=realistic_ctf(len(TILTS), 0)), geometry


def slab_by_slab(series: TiltSeries, geometry: Geometry, strategy: Weighting, folder: Path) -> NDArray[np.float32]:
    volume = np.full(geometry.region.shape, np.nan, np.float32)

    def write(z: int, slab: NDArray[np.float32]) -> None:
        assert np.isnan(volume[z]).all()  # each slab comes once
        volume[z] = slab

    reconstruct_to(write, series, geometry.region, strategy, n_threads=2, scratch=folder)
    return volume


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> Callable[[Storage], None]:
    def use(storage: Storage) -> None:
        monkeypatch.setattr(task, "choose_storage", lambda *_, **__: storage)

    return use


@pytest.mark.parametrize("where", ON_DISK)
@pytest.mark.parametrize("axis", [4.0, 86.0])
@pytest.mark.parametrize("strategy", [NoWeighting(), PreWeight(), Wiener()], ids=lambda s: s.name)
def test_scratch_files_give_the_same_voxels(
    where: str, axis: float, strategy: Weighting, stored: Callable[[Storage], None], tmp_path: Path
) -> None:
    series, geometry = some_series(axis)
    expected = reconstruct(series, geometry.region, strategy, n_threads=1).data
    stored(ON_DISK[where])
    found = slab_by_slab(series, geometry, strategy, tmp_path)
    assert relative_error(found, expected) <= 1e-6
    assert list(tmp_path.iterdir()) == []


def test_slabs_come_without_scratch_files_too(tmp_path: Path) -> None:
    series, geometry = some_series()
    expected = reconstruct(series, geometry.region, n_threads=1).data
    assert relative_error(slab_by_slab(series, geometry, Wiener(), tmp_path), expected) <= 1e-6


@pytest.mark.parametrize("where", ON_DISK)
def test_an_error_while_writing_ends_it_and_leaves_nothing(
    where: str, stored: Callable[[Storage], None], tmp_path: Path
) -> None:
    series, geometry = some_series()
    stored(ON_DISK[where])

    def write(z: int, _: NDArray[np.float32]) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        reconstruct_to(write, series, geometry.region, n_threads=2, scratch=tmp_path)
    assert list(tmp_path.iterdir()) == []


def plan_of(strategy: Weighting | None = None) -> Plan:
    series, geometry = some_series()
    return Plan.of(series, geometry.region, strategy or Wiener(), Settings())


def test_the_fastest_way_within_the_memory_is_chosen() -> None:
    plan = plan_of()
    whole = choose_storage(plan, 2, 1 << 40)
    assert not whole.planes_on_disk
    assert whole.scratch == 0
    planes = choose_storage(plan, 2, whole.memory - 1)
    assert planes.planes_on_disk
    assert planes.scratch > 0
    assert planes.memory <= whole.memory - 1
    # more threads take more
    assert choose_storage(plan, 4, 1 << 40).memory > whole.memory


def test_too_little_memory_is_said_with_the_remedy() -> None:
    with pytest.raises(DataError, match=r"60 x 62 x 25 voxels needs .* GB .* allowed; allow more \(memory=...\)"):
        choose_storage(plan_of(), 2, 1000)
    series, geometry = some_series()
    with pytest.raises(DataError, match=r"needs .* GB of memory, .* allowed; allow more .* or write slab by slab"):
        reconstruct(series, geometry.region, memory=1000)


def test_a_full_disk_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"scratch space of .* GB in .*left; choose another folder \(scratch=\.\.\.\)"):
        ScratchFile(tmp_path, 1 << 20, (1 << 20, 1 << 10), np.float32)
    monkeypatch.setattr("os.posix_fallocate", _full)
    with pytest.raises(DataError, match="No space left"):
        ScratchFile(tmp_path, 2, (3,), np.float32)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="scratch space"):
        ScratchFile(tmp_path / "nowhere", 2, (3,), np.float32)


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_scratch_files_hold_what_is_written(tmp_path: Path) -> None:
    file = ScratchFile(tmp_path, 3, (4, 5), np.complex64)
    values = (np.arange(60).reshape(3, 4, 5) * (1 + 2j)).astype(np.complex64)
    for block in (2, 0, 1):
        file.write(block, 0, values[block])
    file.write(1, 5, values[0, 1])
    values[1, 1] = values[0, 1]
    pieces: list[NDArray[np.complex64]] = [np.empty((1, 5), np.complex64) for _ in range(3)]
    for block in range(3):
        file.read(block, 5, list(pieces))
        np.testing.assert_array_equal(np.concatenate(pieces), values[block, 1:])
    # more pieces than the system takes at once
    many = [np.empty(1, np.complex64) for _ in range(20)]
    file.read(2, 0, list(many * 1))
    np.testing.assert_array_equal(np.concatenate(many), values[2].ravel())
    file.close()


PROMISE = """
import sys
import numpy as np
from fourierrecon import Region, TiltSeries, reconstruct_to
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.weighting import NoWeighting
n, depth, budget = int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[1])
images = np.random.default_rng(0).standard_normal((9, n, n)).astype(np.float32)
series = TiltSeries(images, projection_matrices((n, n), (n / 2, n / 2, depth / 2), np.linspace(-60, 60, 9), 3.0), 5.0)
region = Region((0, 0, 0), (depth, n, n))
reconstruct_to(lambda z, slab: None, series, region, NoWeighting(), ctf=False, n_threads=2, memory=budget)
status = open("/proc/self/status").read()
print(int(status.split("VmHWM:")[1].split()[0]) * 1024)
"""


@pytest.fixture(scope="module")
def compiled_loops() -> None:
    """Have the loops compiled and cached: the compiler takes memory that no later process takes."""
    series, geometry = some_series()
    reconstruct_to(lambda z, slab: None, series, geometry.region, NoWeighting(), ctf=False, n_threads=2)


@pytest.mark.usefixtures("compiled_loops")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc/self/status to read the peak from")
def test_the_peak_of_a_process_stays_within_its_memory() -> None:
    """The tight budget is the least that the refusal names: libraries take more in some environments than in others."""

    def run(budget: int) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-c", PROMISE, str(budget), "260", "320"]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    needed = re.search(r"needs (\S+) GB of memory", run(100_000_000).stderr)
    assert needed is not None
    for budget in (round(float(needed[1]) * 1.02e9), 1_000_000_000):
        result = run(budget)
        assert result.returncode == 0, result.stderr
        assert int(result.stdout) <= budget


SET = """
import sys
from fourierrecon.cli.app import main
status = main(sys.argv[1:])
print(status, int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024)
"""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory") / "set"
    assert main(["simulate", str(folder), "--size", "208", "216", "64", "--SNR", "1", "--seed", "1"]) == 0
    return folder / "tomograms.star"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc/self/status to read the peak from")
@pytest.mark.parametrize(
    "options",
    [
        ["--bin", "1", "--halves", "tilts", "--format", "zarr"],
        pytest.param(
            ["--bin", "1", "--bin", "1.5", "--halves", "frames", "--do_proj", "--companions", "weight"],
            marks=pytest.mark.slow,
        ),
        ["--bin", "1", "--weighting", "none", "--weighting", "wiener", "--dtype", "int8", "--like", "imod"],
    ],
    ids=["zarr", "frames", "weightings"],
)
def test_sets_stay_within_their_memory(options: list[str], simulated: Path, tmp_path: Path) -> None:
    """The budget is tight: what is asked for is refused with a little less."""

    def peak(budget: int) -> tuple[int, int, str]:
        command = ["reconstruct", "--t", str(simulated), "--o", f"{tmp_path}/out/", "--j", "2", "--quiet", *options]
        result = subprocess.run(
            [sys.executable, "-c", SET, *command, "--memory", f"{budget}"], capture_output=True, text=True, check=True
        )
        status, found = result.stdout.split()[-2:]
        return int(status), int(found), result.stdout + result.stderr

    status, _, words = peak(150_000_000)
    needed = re.search(r"needs (\S+) GB of memory", words)
    assert status == 1
    assert needed is not None, words
    budget = int(1.03e9 * float(needed[1]))
    status, found, words = peak(budget)
    assert status == 0, words
    assert found <= budget


def test_what_lies_beside_a_reconstruction_counts() -> None:
    plan = plan_of()
    alone = choose_storage(plan, 2, 1 << 40).memory
    for beside in (Beside(always=10**9), Beside(images=10**9), Beside(slabs=10**9), Beside(end=10**9)):
        assert alone < choose_storage(plan, 2, 1 << 40, beside=beside).memory <= alone + 10**9 + 10**8
    assert choose_storage(plan, 2, 1 << 40, samples_on_disk=True).samples_on_disk


def test_what_comes_after_a_reconstruction_is_checked_before() -> None:
    check_room("--preview", 10**6, 1 << 40)
    with pytest.raises(DataError, match=r"--preview needs .* GB of memory, 0.001 GB are allowed; .*, or leave"):
        check_room("--preview", 10**6, 10**6)


@pytest.mark.parametrize("option", ["--preview", "--report"])
def test_pictures_that_do_not_fit_are_refused_at_the_start(
    option: str, simulated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a.mrc"
    command = ["reconstruct", "--t", str(simulated), "--o", str(target), "--bin", "8", "--j", "1", "--quiet", option]
    assert main([*command, "--memory", "100MB"]) == 1
    assert f"{option} needs" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
