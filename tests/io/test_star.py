"""STAR tables: what is read anew, and what comes back as it was written."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from fourierrecon.errors import DataError
from fourierrecon.io.star.table import read_tables, write_tables


def test_a_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    path.write_text("data_a\n\nloop_\n_x\n1\n")
    os.utime(path, (1e9, 1e9))  # not just written
    first = read_tables(path)
    assert read_tables(path)["a"] is first["a"]  # asked for again and again, for each tomogram of a set
    path.write_text("data_a\n\nloop_\n_x\n1\n2\n")
    assert read_tables(path)["a"].numbers("x").tolist() == [1, 2]
    path.unlink()
    with pytest.raises(DataError, match=r"a\.star"):
        read_tables(path)


WORDS = [
    "a",
    "",
    "a b",
    "tab\there",
    "it's",
    '"',
    "'x y'",
    "#1",
    "-",
    "nan",
    "1e5",
    "Å",
    "bad\udcff.mrc",
    "\xa0",
    "a\u2028b",
]


def test_written_values_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    tables: dict[str, dict[str, object]] = {
        "": {"k": "v", "empty": ""},
        "loop": {"first": WORDS, "second": ["1"] * len(WORDS)},
        "none": {"first": [], "second": []},
    }
    write_tables(path, tables)
    read = read_tables(path)
    assert list(read) == list(tables)
    assert dict(read[""].columns) == {"k": ["v"], "empty": [""]}
    assert {label: list(words) for label, words in read["loop"].columns.items()} == tables["loop"]
    assert dict(read["none"].columns) == tables["none"]


def test_another_program_reads_what_is_written(tmp_path: Path) -> None:
    import starfile

    path = tmp_path / "a.star"
    write_tables(path, {"global": {"rlnA": ["1", "2"], "rlnB": ["x y", "z"]}, "more": {"rlnC": "3"}})
    read = starfile.read(path)
    assert read["global"].to_dict("list") == {"rlnA": [1, 2], "rlnB": ["x y", "z"]}
    assert read["more"] == {"rlnC": 3}


@pytest.mark.parametrize("word", ["a\nb", "a\rb", "\x1b", "a \"b' c"])
def test_values_that_no_star_file_holds(tmp_path: Path, word: str) -> None:
    with pytest.raises(DataError, match=r"cannot write .*a\.star: .* which no STAR file can hold; rename it"):
        write_tables(tmp_path / "a.star", {"": {"k": word}})
    assert not (tmp_path / "a.star").exists()


@pytest.mark.parametrize("text", ["data_x\n_a 1\n" + "".join(f"\ndata_{i}\n_a 1\n" for i in range(20000)),
                                  "data_\nloop_\n" + "".join(f"_a{i}\n" for i in range(40000))])  # fmt: skip
def test_many_blocks_and_columns_take_no_more_than_their_share(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.star"
    path.write_text(text)
    started = time.process_time()
    read_tables(path)
    assert time.process_time() - started < 5
