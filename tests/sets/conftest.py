"""A folder with a small set, for runs of many tomograms."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.small_sets import write_small_set


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a set of three tomograms."""
    monkeypatch.chdir(tmp_path)
    write_small_set(Path("set"), 3)
    return tmp_path
