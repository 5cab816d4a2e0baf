"""Damaged files of every reader: made from sound ones by chance, the same in each run, and read with limits."""

from __future__ import annotations

import json
import re
import resource
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fourierrecon.errors import FourierReconError

#: What one file may take: seconds of the processor, bytes of memory; what a message may hold, characters.
SECONDS, MEMORY, MESSAGE = 10.0, 1_000_000_000, 2000
#: Of the address space of the process, bytes: what asks for more fails at once, and does not fill the machine.
SPACE = 6_000_000_000
WORDS = [
    b"nan",
    b"-1",
    b"1e999",
    b"1e308",
    b"9" * 5000,
    b"0",
    b"x",
    b'"',
    b"'",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b"\n",
    b"\t",
]
WORDS += [
    b"=1+1",
    b"\x1b[31m",
    b"\xff",
    b"\0",
    b"../",
    b"#",
    b"_",
    b"loop_",
    b"data_x",
    b"null",
    b"true",
    b"1_0",
    b"\r",
]
WORDS += [
    b"<",
    b">",
    b"&",
    b"%s",
    b";",
    b"@",
    b"-",
    b"2147483648",
    b"0.5",
    "٣".encode(),
    b"\xe2\x80\xa8",
    b":",
    b"1e30",
]
INTEGERS = [0, 1, 2, -1, 3, 7, 255, 256, 65535, 2**31 - 1, -(2**31), 2**24, 2**30, 0x7F800000, 0x7FC00000]
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    1e308,
    10**400,
    "",
    "x",
    "=1",
    "\ud800",
    [],
    [1],
    {},
    {"a": 1},
    [[]],
    float("nan"),
]
LONG = 100_000


@dataclass(frozen=True)
class Reader:
    """How to make a sound file, which of the files are to be damaged, and how to read them."""

    write: Callable[[Path], None]
    damaged: tuple[str, ...]
    read: Callable[[Path], object]


def limit() -> None:
    """Keep this process from filling the machine."""
    resource.setrlimit(resource.RLIMIT_AS, (SPACE, SPACE))


def mutated(raw: bytes, rng: np.random.Generator) -> bytes:
    """Damage a file in one to three places."""
    for _ in range(rng.integers(1, 4)):
        raw = _KINDS[rng.integers(len(_KINDS))](raw, rng)
    return raw


def _places(raw: bytes, rng: np.random.Generator) -> tuple[int, int]:
    first, second = sorted(rng.integers(0, len(raw) + 1, 2).tolist())
    return first, min(second, first + int(rng.integers(1, 200)))


def _cut(raw: bytes, rng: np.random.Generator) -> bytes:
    return raw[: len(raw) - int(rng.integers(1, 20))] if rng.random() < 0.5 else raw[: _places(raw, rng)[0]]


def _flip(raw: bytes, rng: np.random.Generator) -> bytes:
    at, _ = _places(raw, rng)
    return raw[:at] + bytes(byte ^ (1 << int(rng.integers(8))) for byte in raw[at : at + 1]) + raw[at + 1 :]


def _integer(raw: bytes, rng: np.random.Generator) -> bytes:
    at = _places(raw, rng)[0] // 4 * 4 if rng.random() < 0.5 else 4 * int(rng.integers(0, 60))
    order = "<" if rng.random() < 0.5 else ">"
    return raw[:at] + np.array(rng.choice(INTEGERS), f"{order}i8").astype(f"{order}u4").tobytes() + raw[at + 4 :]


def _insert(raw: bytes, rng: np.random.Generator) -> bytes:
    at, _ = _places(raw, rng)
    return raw[:at] + WORDS[rng.integers(len(WORDS))] + raw[at:]


def _many(raw: bytes, rng: np.random.Generator) -> bytes:
    """Put in one word very often: long values, deep lists, wide and long tables, many blanks."""
    at, _ = _places(raw, rng)
    word = [*WORDS, b" ", b"a", b"1 ", b"1,", b"\n1 2 3", b"_a\n", b'{"a":'][rng.integers(len(WORDS) + 7)]
    return raw[:at] + word * (LONG // len(word)) + raw[at:]


def _remove(raw: bytes, rng: np.random.Generator) -> bytes:
    first, second = _places(raw, rng)
    return raw[:first] + raw[second:]


def _double(raw: bytes, rng: np.random.Generator) -> bytes:
    first, second = _places(raw, rng)
    return raw[:second] + raw[first:second] + raw[second:]


def _word(raw: bytes, rng: np.random.Generator) -> bytes:
    """Put another word in the place of a number or name."""
    found = list(re.finditer(rb"[\w.+-]+", raw[:LONG]))
    if not found:
        return raw
    place = found[rng.integers(len(found))]
    return raw[: place.start()] + WORDS[rng.integers(len(WORDS))] + raw[place.end() :]


def _value(raw: bytes, rng: np.random.Generator) -> bytes:
    """Put a value of another type into JSON, or leave one out."""
    try:
        tree = json.loads(raw)
    except (ValueError, RecursionError):
        return _word(raw, rng)
    spots = [(tree, key) for key in (tree if isinstance(tree, dict) else ())]
    for holder, key in spots:
        inner = holder[key]
        keys = list(inner) if isinstance(inner, dict) else range(min(len(inner), 4)) if isinstance(inner, list) else ()
        spots += [(inner, each) for each in keys]
    if not spots:
        return raw
    holder, key = spots[rng.integers(len(spots))]
    if rng.random() < 0.2:
        del holder[key]
    else:
        holder[key] = VALUES[rng.integers(len(VALUES))]
    return json.dumps(tree).encode()


_KINDS = (_cut, _flip, _integer, _insert, _many, _remove, _double, _word, _value)


def fuzz(reader: Reader, folder: Path, count: int, seed: int) -> list[str]:
    """Read a file in so many damaged forms; give what went wrong.

    Parameters
    ----------
    reader
        What to read.
    folder
        Empty.
    count
        Of damaged forms.
    seed
        Of what is by chance.
    """
    reader.write(folder)
    sound = {name: (folder / name).read_bytes() for name in reader.damaged}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reader.read(folder)
    faults = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        name = reader.damaged[rng.integers(len(reader.damaged))]
        (folder / name).write_bytes(mutated(sound[name], rng))
        started = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                reader.read(folder)
            except FourierReconError as error:
                if len(str(error)) > MESSAGE or "\n" in str(error):
                    faults.append(f"{name} {number}: message of {len(str(error))} characters: {str(error)[:200]!r}")
            except BaseException as error:
                last = traceback.extract_tb(error.__traceback__)
                own = [frame for frame in last if "fourierrecon" in frame.filename] or last
                where = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
                faults.append(f"{name} {number}: {type(error).__name__} at {where}: {str(error)[:200]!r}")
        seconds, memory = time.process_time() - started, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if seconds > SECONDS:
            faults.append(f"{name} {number}: {seconds:.1f} s")
        if memory > MEMORY:
            faults.append(f"{name} {number}: {memory / 1e9:.2f} GB")
            break
        (folder / name).write_bytes(sound[name])
    return faults
