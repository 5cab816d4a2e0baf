"""Compiled loops: users are told once, and a machine without any folder to keep them still works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numba
import pytest

from fourierrecon.runtime import compiled


def test_compilation_is_noticed_once_and_only_where_something_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))  # empty, whatever was kept by earlier runs

    @compiled.compiled()
    def twice(x: float) -> float:
        return x + x

    @compiled.compiled()
    def thrice(x: float) -> float:
        return 3 * x

    calls: list[int] = []
    with compiled.noticing_compilation(lambda: calls.append(1)):
        assert twice(2.0) == 4.0
        assert thrice(2.0) == 6.0
    assert calls == [1]
    with compiled.noticing_compilation(lambda: calls.append(2)):
        assert twice(3.0) == 6.0
    assert calls == [1]


def test_first_run_says_that_it_compiles_and_later_runs_do_not(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    script = (
        "from fourierrecon.cli.console import announcing_compilation, screen\n"
        "from fourierrecon.weighting import Wiener\n"
        "import numpy as np\n"
        "with announcing_compilation(screen()):\n"
        "    Wiener(10.0).normalise(np.ones((2, 3), np.complex64), np.ones((2, 3), np.float32))\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert "compiling" in said[0]
    assert said[1] == ""


def test_loops_work_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(cache: bool = False, **options: object) -> object:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return original(**options)

    original = numba.njit
    monkeypatch.setattr("fourierrecon.runtime.compiled.njit", nowhere)

    @compiled.compiled()
    def twice(x: float) -> float:
        return x + x

    assert twice(2.0) == 4.0


def test_the_compiler_counts_until_something_is_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kernel = SimpleNamespace(signatures=[], stats=SimpleNamespace(cache_path=str(tmp_path / "cache")))
    unkept = SimpleNamespace(signatures=[], stats=SimpleNamespace(cache_path=None))
    monkeypatch.setattr(compiled, "_KERNELS", [unkept, kernel])
    assert compiled.compiler_bytes() == compiled.COMPILER
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/loop.py311.nbi").touch()
    assert compiled.compiler_bytes() == 0  # an earlier run kept its code
    (tmp_path / "cache/loop.py311.nbi").unlink()
    unkept.signatures.append("float32(float32)")
    assert compiled.compiler_bytes() == 0  # this process has compiled
