"""A working folder with sets of RELION 4 and 5, for tests of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from fourierrecon.io import write_relion4_set, write_relion5_set
from tests.helpers.one_set import make_series


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a RELION 4 set in ``set/`` and a RELION 5 set in ``set5/``."""
    write_relion4_set(tmp_path / "set", make_series())
    write_relion5_set(tmp_path / "set5", make_series())
    monkeypatch.chdir(tmp_path)
    return tmp_path
