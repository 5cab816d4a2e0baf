"""Memory: what there is, and arrays that take over the memory of one before."""

from __future__ import annotations

import time

import numpy as np
import pytest

from fourierrecon import memory
from fourierrecon.memory import Scratch, claim, kept_memory, resident_memory

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
    while kept_memory() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert kept_memory() == 0
    assert resident_memory() - before < memory.LARGE


def test_scratch_arrays_are_one_a_name_shape_and_type() -> None:
    scratch = Scratch()
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
