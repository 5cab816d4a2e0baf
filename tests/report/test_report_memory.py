"""A report takes fewer threads where memory is short, and is refused where one is too many."""

from __future__ import annotations

from typing import Any

import pytest

from fourierrecon import DataError, Region
from fourierrecon.cli import report
from fourierrecon.engine import room as engine_room
from fourierrecon.report import assessment
from fourierrecon.report.subjects import Subject
from tests.helpers.small_sets import small_series


@pytest.mark.parametrize(("memory", "threads"), [(10_000, 8), (450, 4), (100, 1)])
def test_threads_are_as_many_as_fit(monkeypatch: pytest.MonkeyPatch, memory: int, threads: int) -> None:
    def room(what: str, needed: int, allowed: int | None) -> None:
        if needed > (allowed or 0):
            raise DataError(f"{what} needs {needed}")

    def needed(series: Any, shape: Any, n_threads: int) -> int:
        return 100 * n_threads

    monkeypatch.setattr(engine_room, "check_room", room)
    monkeypatch.setattr(assessment, "report_memory", needed)
    subject = Subject(name="TS_01", series=small_series(1), region=Region.of(small_series(1)))
    assert report._threads(subject, 8, memory) == threads
    with pytest.raises(DataError, match="the report needs 100"):
        report._threads(subject, 8, 99)
    assert report._threads(Subject(name="TS_02"), 8, 1) == 8  # nothing is known of it, and nothing is read
