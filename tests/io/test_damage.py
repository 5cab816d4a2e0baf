"""Damaged files of every format: the same series is read as before, or an error names the file; never anything else."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fourierrecon.errors import FourierReconError
from fourierrecon.io import Supplement, read_all_tilt_series, write_stack
from fourierrecon.io.relion.read import read_halves
from fourierrecon.io.tilt_series import NOTHING
from fourierrecon.tilt_series import TiltSeries
from tests.helpers.relion_sets import RELION_4, RELION_5, TILTS_5
from tests.io.test_aretomo import ALN, CTF, LOCAL, TLT
from tests.io.test_imod import ANGLES, NEWST, TILT
from tests.io.test_imod import CTF as OPTICS
from tests.io.test_warp import TOMOSTAR, XML


@dataclass(frozen=True)
class Format:
    """A source of a tilt series, and that one of its files that is damaged."""

    #: Texts, by name.
    files: dict[str, str]
    damaged: str
    source: str
    shape: tuple[int, int, int]
    stacks: tuple[str, ...]
    extras: Supplement = NOTHING
    #: Lines may be missing without a trace.
    sparse: bool = False

    def write(self, folder: Path) -> None:
        for i, name in enumerate(self.stacks):
            images = np.random.default_rng(i).normal(size=self.shape).astype(np.float32)
            write_stack(folder / name, images, 4.0)
        for name, text in self.files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)

    def read(self, folder: Path) -> TiltSeries:
        source, notes = folder / self.source, self.extras.mdoc
        extras = replace(self.extras, mdoc=notes and folder / notes)
        series = read_all_tilt_series(source, extras)[0]
        if self.files is SET_5:
            read_halves(source, series.name)
        return series


OPTIMISATION = "data_\n\nloop_\n_rlnTomoParticlesFile #1\n_rlnTomoTomogramsFile #2\nparticles.star tomograms.star\n"
SET_4 = {"tomograms.star": RELION_4, "optimisation_set.star": OPTIMISATION}
SET_5 = {"tomograms.star": RELION_5, "tilt_series/TS_01.star": TILTS_5}
DEFOCUS = {
    "1": "1 2 -60 -60 3001\n3 4 0 0 3002\n4 5 61.25 61.25 3003\n",
    "2": "1 2 -60 -60 3001 2\n3 4 0 0 3002\n4 5 61.25 61.25 3003\n",
    "3": "37 0 0. 0. 0. 3\n1 1 -60 -60 3001 2900 10 90 0\n3 3 0 0 3002 2900 30 90 0\n5 5 61.25 61.25 3003 2900 5 9 0\n",
}
ETOMO = {
    "tilt.com": TILT.replace(
        "THICKNESS",
        "OFFSET 1 2\nSHIFT 3 4\nWIDTH 30\nFULLIMAGE 48 40\nSUBSETSTART 0 0\nXAXISTILT 1\nEXCLUDELIST 1,4-5\n"
        "SLICE 0 39\nTHICKNESS",
    ),
    "newst.com": NEWST + "SizeToOutputInXandY 40,48\n",
    "ctfcorrection.com": OPTICS,
    "ts.defocus": DEFOCUS["3"],
    "ts.xf": "   0.9971855  -0.0749783   0.0749783   0.9971855     -27.094      -2.191\n" * 5,
    "ts.tlt": "".join(f"{angle}\n" for angle in ANGLES),
    "ts.xtilt": "0.1\n" * 5,
}
LONE = {name: ETOMO[name] for name in ("ts.xf", "ts.tlt")}
RAW = {"ts.xf": ETOMO["ts.xf"], "ts.rawtlt": ETOMO["ts.tlt"]}
PLOTTER = {"ctfplotter.com": OPTICS.replace("ctfphaseflip", "ctfplotter")}
NOTES = "PixelSpacing = 4\n\n[T = SerialEM: Digitized on some Krios]\n" + "".join(
    f"\n[ZValue = {i}]\nTiltAngle = {angle}\nExposureDose = {2 + i}\nPriorRecordDose = {10 * i}\nPixelSpacing = 4\n"
    f"SubFramePath = D:\\DATA\\TS_01_00{i}_{angle}.mrc\nDateTime = 30-Nov-15  15:{20 + (3 * i) % 5}:38\n"
    for i, angle in enumerate(ANGLES)
)
SUMMED = NOTES.replace("PriorRecordDose", "MagIndex")
ARETOMO = {
    "TS_01.aln": ALN.replace("NumPatches = 0", "NumPatches = 2") + LOCAL,
    "TS_01_CTF.txt": CTF,
    "TS_01_TLT.txt": TLT,
}
AVERAGES = tuple(f"frames/average/TS_01_{angle}.mrc" for angle in ("40.0", "14.0", "-40.0"))
WARP = {"TS_01.xml": XML.replace("../frames", "frames"), "TS_01.tomostar": TOMOSTAR.replace("../frames", "frames")}


def relion(files: dict[str, str], damaged: str, source: str = "tomograms.star", sparse: bool = False) -> Format:
    return Format(files, damaged, source, (3, 8, 10), ("tilts.mrcs", "even.mrcs", "odd.mrcs"), sparse=sparse)


def imod(damaged: str, source: str = ".", files: dict[str, str] = ETOMO, **rest: object) -> Format:
    return Format(files, damaged, source, (5, 40, 48), ("ts.st",), **rest)  # type: ignore[arg-type]


def aretomo(damaged: str) -> Format:
    return Format(ARETOMO, damaged, "TS_01.aln", (4, 8, 10), ("TS_01.mrc",), Supplement(voltage=300.0))


def warp(name: str, files: dict[str, str], stacks: tuple[str, ...] = ("TS_01.st",), sparse: bool = False) -> Format:
    return Format({name: files[name]}, name, name, (3 if len(stacks) == 1 else 1, 8, 10), stacks, sparse=sparse)


FORMATS = {
    "RELION 4 set": relion(SET_4, "tomograms.star"),
    "optimisation set": relion(SET_4, "optimisation_set.star", "optimisation_set.star"),
    "RELION 5 set": relion(SET_5, "tomograms.star"),
    "RELION 5 tilts": relion(SET_5, "tilt_series/TS_01.star", sparse=True),
    "tilt.com": imod("tilt.com", "tilt.com", sparse=True),
    "newst.com": imod("newst.com", sparse=True),
    "ctfcorrection.com": imod("ctfcorrection.com", sparse=True),
    "ctfplotter.com": imod("ctfplotter.com", files=ETOMO | PLOTTER, sparse=True),
    ".xf": imod("ts.xf", "ts.xf", LONE),
    ".tlt": imod("ts.tlt"),
    ".rawtlt": imod("ts.rawtlt", files=RAW),
    ".xtilt": imod("ts.xtilt"),
    **{f".defocus {v}": imod("ts.defocus", files=ETOMO | {"ts.defocus": DEFOCUS[v]}, sparse=True) for v in "123"},
    ".mdoc": imod("ts.mdoc", files=LONE | {"ts.mdoc": NOTES}, extras=Supplement(mdoc=Path("ts.mdoc")), sparse=True),
    ".mdoc, doses": imod("ts.mdoc", files=LONE | {"ts.mdoc": SUMMED}, extras=Supplement(mdoc=Path("ts.mdoc"))),
    ".aln": aretomo("TS_01.aln"),
    "_CTF.txt": aretomo("TS_01_CTF.txt"),
    "_TLT.txt": aretomo("TS_01_TLT.txt"),
    "Warp's XML": warp("TS_01.xml", WARP, sparse=True),
    "Warp's XML, averages": warp("TS_01.xml", WARP, AVERAGES, sparse=True),
    ".tomostar": warp("TS_01.tomostar", WARP),
    ".tomostar, averages": warp("TS_01.tomostar", WARP, AVERAGES, sparse=True),
}


# what is asked of a reader


@dataclass(frozen=True)
class Outcome:
    """What was read, or None, and what was said: the warnings, or the error."""

    series: TiltSeries | None
    said: str

    @property
    def facts(self) -> dict[str, object]:
        """All that a series says, to be compared."""
        series = self.series
        if series is None:
            return {}
        found = {f.name: getattr(series, f.name) for f in fields(series) if f.name not in ("images", "ctf", "local")}
        if series.local is not None:
            # a field is what it gives
            points = np.array([[2.0, 3.0, 1.0], [5.0, 6.0, 2.0], [8.0, 1.0, 4.0]])
            found["local"] = np.stack([series.local.at(tilt, points) for tilt in range(series.n_tilts)])
        found |= {f.name: getattr(series.ctf, f.name) for f in fields(series.ctf)} if series.ctf else {}
        found |= {f"image {i}": series.images[i] for i in range(series.n_tilts)}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()}


def read(form: Format, folder: Path) -> Outcome:
    """Read a source; any exception other than the library's own fails the test, as do warnings of libraries."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        warnings.simplefilter("always", UserWarning)
        try:
            series = form.read(folder)
        except FourierReconError as error:
            message = str(error)
            assert message.count("\n") <= 1, message
            assert len(message.replace(str(folder), "")) < 700, message
            return Outcome(None, message)
    check_sound(series)
    return Outcome(series, "\n".join(str(warning.message) for warning in caught))


def check_sound(series: TiltSeries) -> None:
    """Everything in a series is finite and of a sensible size, fits together and can be used."""
    n = series.n_tilts
    assert series.projections.shape == (n, 4, 4)
    assert np.abs(series.projections).max() < 1e9
    assert 1e-3 < series.pixel_size < 1e7
    assert series.tilt_angles.shape == (n,)
    assert np.abs(series.tilt_angles).max() <= 360
    assert series.size is None or all(0 < side < 1e9 for side in series.size)
    if series.exposure is not None:
        assert series.exposure.shape == (n,)
        assert ((series.exposure >= 0) & (series.exposure < 1e9)).all()
    if series.ctf is not None:
        assert 0 < series.ctf.voltage < 1e4
        assert abs(series.ctf.spherical_aberration) < 1e3
        assert 0 <= series.ctf.amplitude_contrast <= 1
        for name in ("defocus_u", "defocus_v", "defocus_angle", "phase_shift", "scale"):
            values = getattr(series.ctf, name)
            assert values.shape == (n,)
            assert np.abs(values).max() < 1e7
    places = series.images.places  # type: ignore[attr-defined]
    assert len(set(places)) == len(places) == n
    for i in range(n):
        assert series.images[i].shape == series.image_shape


# damages that are the same in every run


NUMBER = re.compile(r"(?<![\w.@/-])[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?(?![\w.@/-])")
WRONG = ("nan", "-99999999", "x", "9" * 400, "1_0", "-inf", "٣", "1e30", "1e999")


def dressed(text: str) -> Iterator[tuple[str, bytes]]:
    """The same in other clothes."""
    yield "Windows", text.replace("\n", "\r\n").encode()
    yield "old Mac", text.replace("\n", "\r").encode()
    yield "byte-order mark", text.encode("utf-8-sig")
    yield "no last line end", text.rstrip().encode()
    yield "more last line ends", text.encode() + b"\n\n"


def broken(text: str, sparse: bool) -> Iterator[tuple[str, bytes]]:
    """Something else than the file that was written."""
    raw, lines = text.encode(), text.splitlines(True)
    rubbish = np.random.default_rng(2).integers(0, 256, 3000).astype(np.uint8).tobytes()
    yield "empty", b""
    yield "blank", b" \r\n\t\n"
    yield "rubbish", rubbish
    yield "rubbish without zeros", rubbish.replace(b"\0", b"")
    yield "rubbish at the end", raw + rubbish
    yield "zeros at the end", raw + bytes(5000)
    yield "zeros from the middle on", raw[: len(raw) // 2] + bytes(len(raw) - len(raw) // 2)
    for codec in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        yield codec, text.encode(codec)
    yield "twice", raw + raw
    for i, line in enumerate(lines):
        yield f"line {i + 1} twice", "".join([*lines[:i], line, *lines[i:]]).encode()
        latin = [*lines[:i], f"{line.rstrip()} Å\n", *lines[i + 1 :]]
        yield f"line {i + 1} with Latin-1", "".join(latin).encode("latin-1")
        if not sparse:
            yield f"line {i + 1} left out", "".join([*lines[:i], *lines[i + 1 :]]).encode()
    if not sparse:
        for part in (0.25, 0.5, 0.75):
            yield f"cut at {part}", raw[: int(part * len(raw))]
        yield "last value cut", text.rstrip().rpartition(" ")[0].encode()
    for i, match in enumerate(NUMBER.finditer(text)):
        word = WRONG[i % len(WRONG)]
        changed = text[: match.start()] + word + text[match.end() :]
        yield f"{match[0]} at {match.start()} made {word[:20]}", changed.encode()


@pytest.mark.parametrize("name", FORMATS)
def test_known_damage(tmp_path: Path, name: str) -> None:
    """The same as before, or an error or warning that names the file."""
    form = FORMATS[name]
    form.write(tmp_path)
    file = tmp_path / form.damaged
    text, whole = file.read_text(), read(form, tmp_path)
    assert whole.series is not None, whole.said
    for what, content in dressed(text):
        file.write_bytes(content)
        found = read(form, tmp_path)
        assert found.facts == whole.facts, f"{what}: {found.said}"
    silent = []
    for what, content in broken(text, form.sparse):
        file.write_bytes(content)
        found = read(form, tmp_path)
        if file.name not in found.said.replace(whole.said, "") and found.facts != whole.facts:
            silent.append(f"{what}: {found.said}")
    assert not silent


HEADER = {"nx": 0, "ny": 4, "nz": 8, "mode": 12, "mx": 28, "cell x": 40, "nsymbt": 92, "map": 208, "stamp": 212}


@pytest.mark.parametrize("field", HEADER)
def test_damaged_header_of_a_stack(tmp_path: Path, field: str) -> None:
    form = FORMATS[".xf"]
    form.write(tmp_path)
    file, whole = tmp_path / "ts.st", read(form, tmp_path)
    raw, place = file.read_bytes(), HEADER[field]
    values = [0, -1, 1, 2, 3, 4, 6, 7, 39, 41, 77, 101, 2**31 - 1, -(2**31), 0x7F800000, 0x7FC00000]
    for value in values:
        file.write_bytes(raw[:place] + np.array(value, "<i4").tobytes() + raw[place + 4 :])
        found = read(form, tmp_path)
        assert "ts.st" in found.said.replace(whole.said, "") or found.facts == whole.facts, value
    for end in (0, 1, 100, 1023, 1024, 1025, len(raw) // 2, len(raw) - 1):
        file.write_bytes(raw[:end])
        found = read(form, tmp_path)
        assert found.series is None
        assert "ts.st" in found.said


# damages by chance


EDITS = ("cut", "flip", "insert", "leave out", "double", "swap", "replace", "move")
TOKENS = ["\n", " ", "#", "=", "$", "\\", '"', "'", "-", "nan", "-1", "1e999", "0", "9" * 30, "1e6", "/", ",", "<"]
TOKENS += ["/>", "[", "]", "\x0b", "\u2028", "٣", "\r", "\x1b[31m", "1_0", "loop_", "data_x", "0.5", "2", "TS_01", "@"]
TOKENS += ["_", "../", "&lt;", "[bold]", "%s", "{}", "ts.xf", "1-", "\x85", "\xa0"]


def mutate(raw: bytes, edits: list[tuple[str, int, int, str]]) -> bytes:
    """Apply edits; their numbers are places, modulo what there is."""
    for kind, first, second, token in edits:
        lines = raw.splitlines(True) or [b""]
        i, j, at = first % len(lines), second % len(lines), first % (len(raw) + 1)
        if kind == "cut":
            raw = raw[:at]
        elif kind == "flip":
            raw = raw[:at] + bytes(byte ^ (1 << second % 8) for byte in raw[at : at + 1]) + raw[at + 1 :]
        elif kind == "insert":
            raw = raw[:at] + token.encode() + raw[at:]
        elif kind == "replace":
            words = re.split(rb'([\s,=\[\]"<>]+)', raw)
            words[first % len(words)] = token.encode()
            raw = b"".join(words)
        else:
            if kind == "swap":
                lines[i], lines[j] = lines[j], lines[i]
            elif kind == "double":
                lines.insert(j, lines[i])
            else:
                line = lines.pop(i)
                lines[j:j] = [line] if kind == "move" else []
            raw = b"".join(lines)
    return raw


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=70, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(
        st.tuples(
            st.sampled_from(EDITS), st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(TOKENS) | st.text()
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_damage(tmp_path: Path, name: str, edits: list[tuple[str, int, int, str]]) -> None:
    """A sound series, or an error that names the file, or another of the series that it contradicts."""
    form = FORMATS[name]
    file = tmp_path / form.damaged
    if not file.exists():
        form.write(tmp_path)
    file.write_bytes(mutate(form.files[form.damaged].encode(), edits))
    found = read(form, tmp_path)
    assert found.series is not None or any(Path(known).name in found.said for known in (*form.files, *form.stacks))
