"""Runs beside one another, and runs that are killed."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from fourierrecon.errors import DataError
from fourierrecon.sets import lock
from tests.helpers.small_sets import SET, Run, command, finish, names, volumes, write_small_set


def test_two_processes_on_one_folder(run: Run, here: Path) -> None:
    with lock.locked(here / "out"):
        status, out = finish(SET, cwd=here)
        assert status == 1
        assert f"another process works there (process {os.getpid()} on {os.uname().nodename})" in out
        assert len(out.splitlines()) == 1
        assert run(f"{SET} --shard 1/2")[0] == 1
    with lock.locked(here / "out", "1/2"):
        assert run(SET)[0] == 1
        assert run(f"{SET} --shard 1/2")[0] == 1
        status, out = finish(f"{SET} --shard 2/2", cwd=here)
        assert status == 0, out
        assert names(out) == ["TS_02"]
    assert run(SET)[0] == 0


def test_leftovers_go_when_nobody_else_is_there(here: Path) -> None:
    for place in ("", "tomograms", "projections", "tilt_series"):
        (here / "out" / place / ".fourierrecon-00.part").mkdir(parents=True)

    def leftovers() -> int:
        return len(list((here / "out").rglob("*.part")))

    with lock.locked(here / "out", "1/2"):
        assert leftovers() == 0
        (here / "out/.fourierrecon-01.part").touch()
        with lock.locked(here / "out", "2/2"):
            assert leftovers() == 1  # somebody may be writing it
    with lock.locked(here / "out"):
        assert leftovers() == 0
        (here / "out/.fourierrecon-01.part").touch()  # a worker elsewhere was killed
    assert leftovers() == 0


def test_a_file_system_without_locks(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    (here / "out").mkdir()
    (here / "out/.fourierrecon-01.part").touch()
    with pytest.warns(UserWarning, match="without locks"), lock.locked(here / "out"):
        pass
    assert (here / "out/.fourierrecon-01.part").exists()  # it may be somebody's


def check_kills(run: Run, here: Path, moments: int) -> None:
    shutil.rmtree("set")
    write_small_set(here / "set", 4, scale=4)
    line = SET.replace("--bin 2", "--bin 1") + " --halves tilts --do_proj"
    assert finish(line, cwd=here)[0] == 0
    clean = volumes(here / "out")
    listed = (here / "out/tomograms.star").read_bytes()
    shutil.rmtree("out")
    assert finish(line, cwd=here)[0] == 0
    generator = random.Random(moments)
    n_killed = n_begun = n_left = 0
    for _ in range(moments):
        shutil.rmtree("out")
        process = command(line, cwd=here)
        # a moment after some of the files are there, however fast the machine is
        some, pause = generator.randrange(len(clean)), generator.uniform(0, 0.03)
        while process.poll() is None and len(list((here / "out").rglob("*.mrc"))) < some:
            time.sleep(0.001)
        time.sleep(pause if some else 20 * pause)
        n_killed += process.poll() is None
        process.kill()
        process.communicate()
        found = volumes(here / "out") if Path("out").exists() else {}
        whole = {name for name in found if not name.endswith(".part")}
        n_begun += 0 < len(whole) < len(clean)
        n_left += len(whole) < len(found)
        assert {name: found[name] for name in whole} == {name: clean[name] for name in whole}
        before = {name: (here / "out" / name).stat().st_mtime_ns for name in whole if name.startswith("tomograms/")}
        status, _, err = run(line)
        assert (status, err) == (0, "")
        # all that is whole is left alone; the picture of a volume comes just after it
        kept = {name for name, when in before.items() if (here / "out" / name).stat().st_mtime_ns == when}
        assert kept == {name for name in before if name.replace("tomograms", "projections") in whole}
        assert volumes(here / "out") == clean
        assert (here / "out/tomograms.star").read_bytes() == listed
    assert n_killed >= moments // 2
    if moments > 20:
        assert min(n_begun, n_left) > 0


@pytest.mark.slow
def test_killed_at_random_moments(run: Run, here: Path) -> None:
    check_kills(run, here, 5)


@pytest.mark.slow
def test_killed_at_fifty_random_moments(run: Run, here: Path) -> None:
    check_kills(run, here, 50)


def test_a_lock_needs_a_folder(here: Path) -> None:
    (here / "file").touch()
    with pytest.raises(DataError, match="choose another folder"), lock.locked(here / "file"):
        pass
