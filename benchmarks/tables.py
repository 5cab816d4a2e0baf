"""Fills the tables of measured figures in the pages, from the JSON in ``results/``.

Run with ``python benchmarks/tables.py``; a test compares the pages with what this would write. A table stands between
``<!-- table of NAME.json -->`` and ``<!-- end of table -->``, and comes from ``results/NAME.json``, which the benchmark
of that name writes (``--json``). ``<!-- table of NAME.json, PART -->`` is another table of the same
results. Figures that no benchmark writes are kept as ``columns`` and ``rows``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accuracy
import boxes
import halves
import peers
import process
import quality_tables
import speed
import stages

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
DOCS = ("large", "cluster", "weighting")
PAGES = [ROOT / "benchmarks" / "README.md", *(ROOT / "docs" / f"{name}.md" for name in DOCS)]
TABLE = re.compile(r"(<!-- table of (\w+)\.json(?:, (\w+))? -->\n).*?(<!-- end of table -->)", re.DOTALL)


def plain(record: dict[str, Any]) -> str:
    """Lay out a record that is a table already."""
    lines = [record["columns"], ["---"] * len(record["columns"]), *record["rows"]]
    table = "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
    return f"{record['how']}, {record['date']}.\n\n{table}"


#: How the record of a benchmark becomes a table; :func:`plain` for all others.
LAYOUTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "speed": lambda record: f"{speed.heading(record)}\n{speed.table(record)}",
    "scaling": lambda record: f"{speed.heading(record)}\n{speed.scaling_table(record)}",
    "process": lambda record: f"{speed.heading(record)}\n{process.table(record)}",
    "stages": stages.table,
    "accuracy": accuracy.table,
    "halves": halves.table,
    "boxes": boxes.table,
    "peers": peers.write_report,
    "quality": quality_tables.report,
    "quality, purposes": quality_tables.purposes,
}


def filled(text: str) -> str:
    """Give a page with all its tables written anew."""

    def fill(found: re.Match[str]) -> str:
        record = json.loads((RESULTS / f"{found[2]}.json").read_text(encoding="utf-8"))
        layout = LAYOUTS.get(", ".join(filter(None, found.group(2, 3))), plain)
        return f"{found[1]}{layout(record).rstrip()}\n\n{found[4]}"

    return TABLE.sub(fill, text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
