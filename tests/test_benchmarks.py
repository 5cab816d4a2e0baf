"""The methods that `benchmarks/peers.py` compares reconstruct the same volume; their times are no business of tests."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return import_module("peers")


def test_methods_agree_and_are_reported(peers: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record, page = tmp_path / "peers.json", tmp_path / "peers.md"
    size = ["--size", "48", "44", "16", "--tilts", "5", "--runs", "1", "--limit", "1e9"]
    chosen = ["fourierrecon", "numba", "numba-rows", "ducc0-nufft", "finufft"]
    peers.main([*size, "--only", *chosen, "--json", str(record), "--markdown", str(page)])
    found = json.loads(record.read_text(encoding="utf-8"))
    assert page.read_text(encoding="utf-8") == capsys.readouterr().out
    assert set(found["errors"]) | set(found["left_out"]) == set(chosen)
    for name, errors in found["errors"].items():
        assert errors["Gaussians"] < (0.05 if name.startswith("numba") else 1e-3), name
    measured = found["sizes"][0]["seconds"]
    assert set(found["errors"]) < set(measured)
    assert all(len(runs["wall"]) == 1 for runs in measured.values())


def test_what_is_missing_is_left_out(peers: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "finufft", None)
    record = tmp_path / "peers.json"
    size = ["--size", "32", "32", "16", "--tilts", "3", "--runs", "1", "--no-errors"]
    peers.main([*size, "--only", "fourierrecon", "finufft", "--json", str(record)])
    assert "pip install finufft" in json.loads(record.read_text(encoding="utf-8"))["left_out"]["finufft"]


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return import_module("quality")


def test_the_table_of_weightings(quality: ModuleType, tmp_path: Path) -> None:
    record, page = tmp_path / "quality.json", tmp_path / "README.md"
    page.write_text(f"before\n{quality.MARKS[0]}\nold\n{quality.MARKS[1]}\nafter\n", encoding="utf-8")
    chosen = ["--side", "48", "--scenes", "crowded", "--levels", "1", "--no_halves", "--methods", "SNR 10", "multiply"]
    quality.main([*chosen, "--json", str(record), "--readme", str(page)])
    rows = {row["method"]: row for row in json.loads(record.read_text(encoding="utf-8"))["rows"]}
    assert {"wiener, SNR 10", "none, CTF multiply", "wiener, CTF multiply"} <= set(rows)
    # back-projection that nothing is divided in is blurred; all see the ribosomes, and where they are
    assert rows["wiener, SNR 10"]["correlation"] > rows["none, CTF multiply"]["correlation"] + 0.1
    assert min(row["match_white"] for row in rows.values()) > 4
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before")
    assert text.endswith("after\n")
    assert "| wiener, SNR 10 |" in text
    assert "old" not in text
