"""Writes the notebooks (``.ipynb``, without outputs) from their texts (``.py``), which are what one edits.

Run with ``python docs/pair_notebooks.py``; a test compares the two. Any editor that knows jupytext pairs them too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jupytext
import nbformat

FOLDER = Path(__file__).parents[1] / "notebooks"


def notebook_of(text: Path) -> Any:
    """Give the notebook that a text in jupytext's percent format holds; the same text, the same notebook."""
    notebook = jupytext.read(text)
    notebook.metadata = nbformat.from_dict(
        {
            "jupytext": {"formats": "ipynb,py:percent"},
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        cell.metadata.pop("lines_to_next_cell", None)
    return nbformat.from_dict({**notebook, "nbformat": 4, "nbformat_minor": 5})


if __name__ == "__main__":
    for path in FOLDER.glob("*.py"):
        nbformat.write(notebook_of(path), path.with_suffix(".ipynb"))
