"""Writes options.md, the page of all commands and options, from the command line itself.

Run with ``python docs/options_page.py``; a test compares the page with what this would write.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from fourierrecon.cli.app import app

PAGE = Path(__file__).with_name("options.md")
HEAD = """# Commands and options

<!-- written by options_page.py from the command line's own help: do not edit -->

`fourierrecon COMMAND --help` shows the same in the terminal. An option may be written with hyphens for underscores
(`--pre-weight`). An option that does not exist is an error, as are two that contradict each other.
[Coming from RELION](relion.md) lists the differences from RELION's options of the same name.
"""
ARGUMENTS = "Arguments"


def panel(parameter: Any) -> str:
    """Give the heading of the help that a parameter stands under."""
    return str(getattr(parameter, "rich_help_panel", None) or ("Options" if parameter.opts[0][0] == "-" else ARGUMENTS))


def anchor(command: str, parameter: Any) -> str:
    """Give the mark that links lead to, as ``options.md#reconstruct-bin``."""
    name = parameter.opts[0].lstrip("-").replace("_", "-").lower()
    return f'<a id="{command}-{name}"></a>'


def row(parameter: Any) -> str:
    """Give the line of a table: what to write, the kind of its value, the help."""
    # further spellings of one option, as --snr of --SNR, go without saying
    names = "`, `".join([parameter.opts[0], *parameter.secondary_opts])
    value = (parameter.metavar or "").strip()
    shown = f"`{value}`" if panel(parameter) == ARGUMENTS else f"`{names}`{f' {value}' if value else ''}"
    text = " ".join((parameter.help or "").split()).replace("|", "\\|")
    return f"| {shown} | {text.rstrip('.')}{'. Needed' if parameter.required and shown.startswith('`-') else ''} |"


def tables(parameters: Iterable[Any], command: str) -> str:
    """Give a table for each panel, in the order of the help."""
    panels: dict[str, list[str]] = {}
    for parameter in parameters:
        line = f"| {anchor(command, parameter)}{row(parameter)[2:]}"
        panels.setdefault(panel(parameter), []).append(line)
    return "\n".join(
        "\n".join([f"### {heading}", "", "| | |", "|---|---|", *rows, ""]) for heading, rows in panels.items()
    )


def text(help: str) -> str:
    """Give the text of a command; examples, which begin with a control character in the help, become code."""
    paragraphs = help.split("\n\n")
    return "\n\n".join(
        f"```sh\n{part.lstrip(chr(8)).strip()}\n```" if part.startswith("\b") else part for part in paragraphs
    )


def page() -> str:
    """Give the whole page."""
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    parts = [HEAD]
    seen: dict[str, dict[str, str]] = {}
    for name, command in commands.items():
        own = [p for p in command.params if p.name != "help" and not getattr(p, "hidden", False)]
        said = {p.opts[0]: row(p) for p in own}
        # a command that takes all of another one's options needs only its own said
        same = [other for other, rows in seen.items() if len(rows) > 9 and rows.keys() <= said.keys()]
        parts.append(f"## {name}\n\n{text(command.help)}\n")
        if same:
            parts.append(f"All options of `{same[0]}`, and:\n")
            own = [p for p in own if seen[same[0]].get(p.opts[0]) != row(p)]
        parts.append(tables(own, name))
        seen[name] = said
    return "\n".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
