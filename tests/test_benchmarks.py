"""The methods of `benchmarks/peers.py` reconstruct the same volume; the pages show the figures of the JSON files."""

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


@pytest.mark.slow
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


def test_stages_add_up(peers: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # names of functions are what stages are found by
    stages = import_module("stages")
    monkeypatch.setattr(stages.InverseFft, "ducc0", stages.InverseFft.pyfftw)
    stages.main(["--size", "64", "60", "40", "--tilts", "7", "--runs", "1", "--here"])
    found = json.loads(capsys.readouterr().out)
    assert all(any(jobs[stage] for jobs in found.values()) for stage in stages.STAGES)
    assert found["none"]["weights apart, divide"] == 0 < found["Wiener with CTF"]["weights apart, divide"]


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return import_module("quality")


def test_the_table_of_weightings(quality: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "quality.json"
    chosen = ["--side", "48", "--scenes", "crowded", "--levels", "1", "--no_halves", "--methods", "SNR 10", "multiply"]
    quality.main([*chosen, "--json", str(path)])
    record = json.loads(path.read_text(encoding="utf-8"))
    rows = {row["method"]: row for row in record["rows"]}
    assert {"wiener, SNR 10", "none, CTF multiply", "wiener, CTF multiply"} <= set(rows)
    # back-projection that nothing is divided in is blurred; all see the ribosomes, and where they are
    assert rows["wiener, SNR 10"]["correlation"] > rows["none, CTF multiply"]["correlation"] + 0.1
    assert min(row["match_white"] for row in rows.values()) > 4
    assert "| wiener, SNR 10 |" in quality.report(record)


def test_tables_on_the_pages_are_those_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    tables = import_module("tables")
    shown: set[str] = set()
    for page in tables.PAGES:
        text = page.read_text(encoding="utf-8")
        assert tables.filled(text) == text, "run: python benchmarks/tables.py"
        shown |= {found[2] for found in tables.TABLE.finditer(text)}
    assert shown == {path.stem for path in tables.RESULTS.glob("*.json")}
