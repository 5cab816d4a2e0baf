"""Names and values from files in messages, on screens and in spreadsheets."""

from __future__ import annotations

import io
import re
import subprocess

import pytest
from rich.table import Table
from rich.text import Text

from fourierrecon import text
from fourierrecon.cli import console
from fourierrecon.errors import DataError

HOSTILE = "a\x1b[31mb\x07\x9b\r\u202e\udcffc é Å"
SHOWN = r"a\x1b[31mb\x07\x9b\r\u202e\xffc é Å"


def test_what_does_not_print_is_shown_and_not_sent() -> None:
    assert text.visible(HOSTILE) == SHOWN
    assert text.visible("a\tb\nc") == r"a\tb\nc"
    assert text.visible("a\tb\nc", lines=True) == "a\\tb\nc"
    assert str(DataError(f"{HOSTILE}\nof it")) == rf"{SHOWN}\nof it"


def test_no_name_steers_a_terminal() -> None:
    for terminal in (False, True):
        screen = console.screen()
        screen.file, screen._force_terminal = io.StringIO(), terminal
        table = Table("label")
        table.add_row(HOSTILE)
        for thing in (HOSTILE, Text(HOSTILE), table):
            screen.print(thing, soft_wrap=True)
        console.say(screen, "label", HOSTILE)
        with console.ProgressBars(screen) as stages:
            stages(HOSTILE, 1, 1)
        written = screen.file.getvalue()
        assert not re.search(r"[\x07\x9b\u202e\udcff]|\x1b\[31m", written)
        # the library leaves some out
        assert written.replace(r"\x07", "").replace(r"\r", "").count(r"a\x1b[31mb\x9b\u202e\xffc é Å") >= 4


@pytest.mark.parametrize("value", ["x" * 10**6, "x " * 10**6, " " * 10**6])
def test_values_of_any_length_are_cut(value: str) -> None:
    message = str(DataError(f"a.star, column b: {value} makes no sense; correct it"))
    assert len(message) <= text.LONGEST
    assert message.startswith("a.star, column b: ")
    assert message.endswith("makes no sense; correct it")


def test_sensible_messages_stay() -> None:
    path = "/".join(["a folder"] * 40)
    assert str(DataError(f"{path}: é Å €")) == f"{path}: é Å €"


@pytest.mark.parametrize("word", ["=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"])
def test_spreadsheets_take_no_text_for_a_formula(word: str) -> None:
    assert not text.cell(word).startswith(text.FORMULA)


@pytest.mark.parametrize("word", ["TS_01", "-1.5", "+3e5", "", "a=b", "/data/x.mrc"])
def test_other_cells_stay(word: str) -> None:
    assert text.cell(word) == word


@pytest.mark.parametrize("name", ["a b", "plain", "it's", "tab\there", "bad\udcff", "a\nb'c\\d", "$x"])
def test_names_can_be_copied_into_a_shell(name: str) -> None:
    said = subprocess.run(["bash", "-c", f"printf %s {text.quoted(name)}"], capture_output=True, check=True).stdout
    assert said == name.encode("utf-8", "surrogateescape")


def test_counted_nouns() -> None:
    found = [
        text.counted(1, "image"),
        text.counted(0, "image"),
        text.counted(2, "box", "boxes"),
        text.counted(1.0, "step"),
    ]
    assert found == ["1 image", "0 images", "2 boxes", "1 step"]
    assert [text.is_or_are(n) for n in (0, 1, 2)] == ["are", "is", "are"]
