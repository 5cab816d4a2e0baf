"""The notebook runs from its first to its last cell, and is saved without outputs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "weightings.ipynb"

# The notebook's kernel is a process of its own. What its client, in this one, warns of is not this package's: outdated
# calls among the Jupyter packages, and sockets that they leave to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def read_notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def sample_folder() -> Path | None:
    """Give the folder of the real tilt series, if it is here."""
    chosen = os.environ.get("FOURIERRECON_SAMPLE")
    folder = Path(chosen) if chosen else ROOT.parent / "shared/data/mycoplasma"
    return folder.resolve() if (folder / "tomograms.star").is_file() else None


def run(notebook: Any, folder: Path, sample: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Run a notebook in a folder and give all outputs of its cells."""
    monkeypatch.setenv("FOURIERRECON_SAMPLE", str(sample))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    nbformat.write(notebook, folder / NOTEBOOK.name)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def pictures(outputs: list[Any]) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs)


def text(outputs: list[Any], stream: str) -> str:
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == stream)


def test_saved_without_outputs() -> None:
    notebook = read_notebook()
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert NOTEBOOK.stat().st_size < 50_000


def test_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = sample_folder()
    outputs = run(read_notebook(), tmp_path, sample or tmp_path / "nowhere", monkeypatch)
    assert pictures(outputs) == (9 if sample else 7)
    assert text(outputs, "stderr") == ""
    if sample is None:
        pytest.skip("the notebook ran, but the real cell is not here: get it with `fourierrecon sample`")


def test_without_the_real_cell_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = read_notebook()
    notebook.cells = [cell for cell in notebook.cells if "phantom" not in cell.metadata.get("tags", [])]
    outputs = run(notebook, tmp_path, tmp_path / "nowhere", monkeypatch)
    assert "fourierrecon sample" in text(outputs, "stdout")
    assert text(outputs, "stderr") == ""
    assert pictures(outputs) == 0
