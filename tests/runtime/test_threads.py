"""Threads over pieces of work: every piece once, errors come out, nothing hangs."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fourierrecon.runtime.memory import available_memory
from fourierrecon.runtime.threads import available_cores, for_each


@settings(deadline=None, max_examples=30)
@given(n=st.integers(0, 50), n_threads=st.integers(1, 8))
def test_every_piece_is_worked_on_once(n: int, n_threads: int) -> None:
    done: list[int] = []
    for_each(n, lambda _, i: done.append(i), state=lambda: None, n_threads=n_threads)
    assert sorted(done) == list(range(n))


def test_one_thread_keeps_the_order() -> None:
    done: list[int] = []
    for_each(20, lambda _, i: done.append(i), state=lambda: None, n_threads=1)
    assert done == list(range(20))


def test_every_thread_has_its_own_buffers() -> None:
    made: list[list[int]] = []
    users: dict[int, set[int]] = {}

    def state() -> list[int]:
        made.append([])
        return made[-1]

    def work(mine: list[int], i: int) -> None:
        users.setdefault(id(mine), set()).add(threading.get_ident())
        mine.append(i)
        time.sleep(0.001)

    for_each(30, work, state=state, n_threads=3)
    assert len(made) <= 3
    assert all(len(threads) == 1 for threads in users.values())
    assert sorted(i for mine in made for i in mine) == list(range(30))


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("error", [ValueError("seven"), MemoryError("seven"), KeyboardInterrupt("seven")])
def test_an_error_comes_out_and_stops_the_others(n_threads: int, error: BaseException) -> None:
    before = threading.active_count()
    done: list[int] = []

    def work(_: None, i: int) -> None:
        if i == 7:
            raise error
        done.append(i)
        time.sleep(0.001)

    with pytest.raises(type(error), match="seven"):
        for_each(1000, work, state=lambda: None, n_threads=n_threads)
    assert len(done) < 100
    assert threading.active_count() == before


@pytest.mark.parametrize("n_threads", [1, 3])
def test_an_error_in_making_buffers_comes_out(n_threads: int) -> None:
    def state() -> None:
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        for_each(10, lambda _, i: None, state=state, n_threads=n_threads)


def test_an_error_in_reporting_comes_out() -> None:
    def progress(stage: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        for_each(1000, lambda _, i: time.sleep(1e-4), state=lambda: None, n_threads=2, progress=progress)
    assert threading.active_count() == before


@pytest.mark.parametrize("n_threads", [1, 2])
def test_ctrl_c_waits_for_the_pieces_at_work_and_no_more(n_threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Ctrl-C reaches the main thread while it waits for the others
    def interrupted(*_: object, **__: object) -> None:
        time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr("fourierrecon.runtime.threads.wait", interrupted)
    begun: list[int] = []
    ended: list[int] = []

    def work(_: None, i: int) -> None:
        begun.append(i)
        time.sleep(0.01)
        ended.append(i)

    with pytest.raises(KeyboardInterrupt):
        for_each(10_000, work, state=lambda: None, n_threads=n_threads)
    assert sorted(begun) == sorted(ended)
    assert 0 < len(begun) < 100


def test_progress_counts_every_piece() -> None:
    calls: list[tuple[str, int, int]] = []
    for_each(9, lambda _, i: None, state=lambda: None, n_threads=3, stage="planes", progress=lambda *c: calls.append(c))
    assert calls == [("planes", i, 9) for i in range(10)]


def test_the_machine_has_cores_and_memory() -> None:
    assert available_cores() >= 1
    memory = available_memory()
    assert memory is None or memory > 1e6
