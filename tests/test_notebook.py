"""The notebooks run from their first to their last cell, are what their texts say, and are saved without outputs."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.helpers.real_data import real_data

ROOT = Path(__file__).parents[1]
#: Notebooks, and how many pictures each draws: on simulated data, and with the real cell.
PICTURES = {
    "first_tomogram": (4, 4),
    "slice_theorem": (5, 5),
    "weightings": (7, 9),
    "ctf": (5, 5),
    "plugin": (3, 3),
    "frames": (3, 3),
    "operators": (2, 2),
}
USES_SAMPLE = ("first_tomogram", "weightings")

# A notebook's kernel is a process of its own. What its client, in this one, warns of is not this package's: outdated
# calls among the Jupyter packages, and sockets that they leave to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def read_notebook(name: str) -> Any:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def run(notebook: Any, folder: Path, sample: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Run a notebook in a folder and give all outputs of its cells."""
    monkeypatch.setenv("FOURIERRECON_SAMPLE", str(sample))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def pictures(outputs: list[Any]) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs)


def text(outputs: list[Any], stream: str) -> str:
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == stream)


def test_every_notebook_is_known() -> None:
    assert {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} == PICTURES.keys()


@pytest.mark.parametrize("name", PICTURES)
def test_saved_without_outputs_as_its_text_says(name: str) -> None:
    notebook = read_notebook(name)
    nbformat.validate(notebook)
    notebook_of = runpy.run_path(str(ROOT / "docs" / "pair_notebooks.py"))["notebook_of"]
    assert notebook == notebook_of(ROOT / "notebooks" / f"{name}.py"), "run: python docs/pair_notebooks.py"
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


#: Those that take longest; the site, which CI builds, runs all of them as well.
LONGEST = ("weightings", "operators", "ctf", "plugin")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LONGEST else []) for name in PICTURES]
)
def test_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = run(read_notebook(name), tmp_path, tmp_path / "nowhere", monkeypatch)
    assert pictures(outputs) == PICTURES[name][0]
    assert text(outputs, "stderr") == ""
    if name == "first_tomogram":
        assert "TS_01: 41 images" in text(outputs, "stdout")


@pytest.mark.slow
@pytest.mark.parametrize("name", USES_SAMPLE)
def test_notebook_runs_on_the_real_cell(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = real_data("mycoplasma/tomograms.star").parent
    outputs = run(read_notebook(name), tmp_path, sample, monkeypatch)
    assert pictures(outputs) == PICTURES[name][1]
    assert text(outputs, "stderr") == ""


def test_without_the_real_cell_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = read_notebook("weightings")
    notebook.cells = [cell for cell in notebook.cells if "phantom" not in cell.metadata.get("tags", [])]
    outputs = run(notebook, tmp_path, tmp_path / "nowhere", monkeypatch)
    assert "fourierrecon sample" in text(outputs, "stdout")
    assert text(outputs, "stderr") == ""
    assert pictures(outputs) == 0
