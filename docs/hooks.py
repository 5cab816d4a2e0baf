"""What mkdocs does for the site beyond its settings: pages from files that lie elsewhere, and formulas.

- ``README.md`` becomes the first page; ``benchmarks/README.md``, ``CHANGELOG.md`` and the notebooks become pages, too.
  Links to them lead there. Each notebook is run, and its pictures are shown; ``NOTEBOOKS=text`` in the environment
  saves that time.
- Formulas become MathML when the site is built, so that no page needs a script from elsewhere.
"""

from __future__ import annotations

import html
import os
import posixpath
import re
from pathlib import Path
from typing import Any

import latex2mathml.converter
import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
#: Pages of the site, by the files that they are made of.
ELSEWHERE = {"README.md": "index.md", "benchmarks/README.md": "benchmarks.md", "CHANGELOG.md": "changelog.md"}
NOTEBOOKS = {f"notebooks/{path.name}": f"notebooks/{path.stem}.md" for path in (ROOT / "notebooks").glob("*.ipynb")}
MADE = ELSEWHERE | NOTEBOOKS
LINK = re.compile(r"(?<=\]\()[\w./-]+?\.(?:md|ipynb|png)(?=[)#])")
ROLE = re.compile(r":(?:py:)?(?:class|func|meth|mod|data|attr|exc):(<code>)~?(?:fourierrecon\.(?:\w+\.)*)?")
#: How pandas would have its tables look.
OF_PANDAS = re.compile(r"<style.*?</style>| border=\S+ class=.dataframe.", re.DOTALL)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of files elsewhere."""
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for source, page in NOTEBOOKS.items():
        files.append(File.generated(config, page, content=as_markdown(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files elsewhere to their pages."""
    here = page.file.src_uri
    source = next((source for source, made in MADE.items() if made == here), f"docs/{here}")

    def lead(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[0]))
        made = MADE.get(target, target.removeprefix("docs/"))
        return posixpath.relpath(made, posixpath.dirname(here) or ".")

    return LINK.sub(lead, markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn formulas into MathML, and Sphinx's roles of docstrings into plain names."""

    def convert(found: re.Match[str]) -> str:
        display = "inline" if found[2] == "(" else "block"
        return str(latex2mathml.converter.convert(html.unescape(found[3]), display=display))

    return ROLE.sub(r"\1", FORMULA.sub(convert, content))


def as_markdown(path: Path) -> str:
    """Give a notebook as a page: its text, its code, and what it shows if it is run."""
    notebook = nbformat.read(path, as_version=4)
    if os.environ.get("NOTEBOOKS") != "text":
        from nbclient import NotebookClient

        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    parts = [cell.source if cell.cell_type == "markdown" else as_code(cell) for cell in notebook.cells]
    title, *rest = parts
    note = f"*This page is the notebook `notebooks/{path.name}` of the repository.*"
    return "\n\n".join([title, note, *rest]) + "\n"


def as_code(cell: Any) -> str:
    """Give a cell of code and its outputs; code that only draws is folded."""
    code = f"```python\n{cell.source}\n```"
    if "figure" in cell.metadata.get("tags", []):
        code = '??? note "the code of this figure"\n\n' + "\n".join(f"    {line}".rstrip() for line in code.split("\n"))
    parts = [code]
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if "image/png" in data:
            parts.append(f'<img alt="figure" src="data:image/png;base64,{"".join(data["image/png"].split())}">')
        elif "text/html" in data:
            parts.append(OF_PANDAS.sub("", data["text/html"]))
        elif text := output.get("text", data.get("text/plain")):
            parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts)
