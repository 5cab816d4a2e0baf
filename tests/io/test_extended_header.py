"""Extended headers of MRC stacks: what each layout tells, and where it is used."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mrcfile.dtypes import HEADER_DTYPE, get_ext_header_dtype
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.io import MrcStack, read_tilt_series, write_stack
from fourierrecon.io.imod.alignment import read_imod
from fourierrecon.io.relion.import_set import write_set
from fourierrecon.io.stacks.extended_header import SectionNotes, read_extended_header
from tests.helpers.real_data import real_data

N, HEIGHT, WIDTH = 5, 7, 10
# dose-symmetric: nobody has sorted it
ANGLES = [0.0, 3.0, -3.01, -6.02, 6.0]
DOSES = [1.5, 1.75, 2.0, 2.25, 2.5]
BEFORE = [0.0, 1.5, 3.25, 5.25, 7.5]
BITS = {"Timestamp": 0, "Dose": 6, "Alpha tilt": 7, "Pixel size X": 14, "Defocus": 22}


def stack(
    path: Path, extended: bytes, kind: bytes = b"", nint: int = 0, nreal: int = 0, pixel: float = 2.0, order: str = "<"
) -> Path:
    """Write a stack of random images with an extended header."""
    images = np.random.default_rng(2).normal(size=(N, HEIGHT, WIDTH)).astype(f"{order}f4")
    write_stack(path, images, 1.0)
    header = np.frombuffer(path.read_bytes()[:1024], HEADER_DTYPE.newbyteorder("<"))[0].copy()
    header = np.array(header).astype(HEADER_DTYPE.newbyteorder(order))
    header["nsymbt"], header["exttyp"] = len(extended), kind
    header["cella"] = tuple(np.array([WIDTH, HEIGHT, 1]) * pixel)
    header["machst"] = (0x44, 0x44, 0, 0) if order == "<" else (0x11, 0x11, 0, 0)
    raw = bytearray(header.tobytes())
    raw[128:132] = np.array([nint, nreal], f"{order}i2").tobytes()
    path.write_bytes(bytes(raw) + extended + images.tobytes())
    return path


def fei(
    kind: bytes = b"FEI1", order: str = "<", without: tuple[str, ...] = (), angles: list[float] = ANGLES, extra: int = 0
) -> bytes:
    dtype = get_ext_header_dtype(kind, order)
    records = np.zeros(N, dtype)
    records["Metadata size"] = dtype.itemsize + extra
    records["Bitmask 1"] = sum(1 << bit for name, bit in BITS.items() if name not in without)
    records["Timestamp"] = 45000 + np.array([3, 0, 1, 2, 4]) / 1440
    records["Dose"], records["Alpha tilt"] = np.array(DOSES) * 1e20, angles
    records["Pixel size X"], records["Defocus"] = 2e-10, -3e-6
    return b"".join(record.tobytes() + bytes(extra) for record in records)


def halves(value: float) -> tuple[int, int]:
    """Store a number in two shorts, as SerialEM does: 24 bits and a power of two, both with a sign."""
    power = 0
    while value and abs(value) * 2.0**power < 1 << 22:
        power += 1
    mantissa = round(abs(value) * 2.0**power)
    return (1 if value >= 0 else -1) * (mantissa // 256), -(power * 256 + mantissa % 256)


def serialem(flags: int, angles: list[float] = ANGLES, order: str = "<") -> tuple[bytes, int]:
    rows = []
    for angle, dose in zip(angles, DOSES, strict=True):
        fields = {1: [round(angle * 100)], 2: [1, 2, 3], 4: [-250, 77], 8: [420], 16: [9000], 32: list(halves(dose))}
        rows.append([short for flag, shorts in fields.items() if flags & flag for short in shorts])
    return np.array(rows, f"{order}i2").tobytes(), 2 * len(rows[0])


def close(found: object, expected: object, rtol: float = 1e-7, atol: float = 0.0) -> None:
    assert found is not None
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), rtol=rtol, atol=atol)


def notes_of(path: Path) -> SectionNotes:
    notes = read_extended_header(MrcStack(path))
    assert notes is not None
    return notes


def aligned(folder: Path, angles: bool = False) -> Path:
    """Write an alignment of IMOD beside a stack, without tilt angles unless asked for."""
    rows = np.column_stack([np.tile([1.0, 0, 0, 1], (N, 1)), np.arange(2.0 * N).reshape(N, 2)])
    np.savetxt(folder / "ts.xf", rows)
    if angles:
        np.savetxt(folder / "ts.tlt", ANGLES)
    return folder / "ts.xf"


@pytest.mark.parametrize("kind", [b"FEI1", b"FEI2"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extra", [0, 24])
def test_fei(tmp_path: Path, kind: bytes, order: str, extra: int) -> None:
    notes = notes_of(stack(tmp_path / "a.mrc", fei(kind, order, extra=extra), kind))
    assert notes.kind == kind.decode()
    close(notes.tilt_angles, ANGLES)
    close(notes.exposure, DOSES)
    close(notes.order, [3, 0, 1, 2, 4])
    close(notes.exposure_before, [6.0, 0, 1.75, 3.75, 7.5])
    close(notes.defocus, [3e4] * N)
    assert notes.pixel_size == pytest.approx(2)


def test_fields_that_the_mask_leaves_out_say_nothing(tmp_path: Path) -> None:
    notes = notes_of(stack(tmp_path / "a.mrc", fei(without=tuple(BITS)), b"FEI1"))
    assert (notes.tilt_angles, notes.exposure, notes.order, notes.defocus, notes.pixel_size) == (None,) * 5
    # without times the order of the file counts, where the angles show that it was not sorted
    notes = notes_of(stack(tmp_path / "a.mrc", fei(without=("Timestamp",)), b"FEI1"))
    close(notes.exposure_before, BEFORE)
    notes = notes_of(stack(tmp_path / "a.mrc", fei(without=("Timestamp",), angles=sorted(ANGLES)), b"FEI1"))
    assert notes.exposure is not None
    assert notes.exposure_before is None


@pytest.mark.parametrize("flags", [1, 33, 63, 1 + 4 + 32, 32])
@pytest.mark.parametrize(("kind", "order"), [(b"SERI", "<"), (b"SERI", ">"), (b"", "<")])
def test_serialem(tmp_path: Path, flags: int, kind: bytes, order: str) -> None:
    extended, size = serialem(flags, order=order)
    notes = notes_of(stack(tmp_path / "a.st", extended + bytes(100), kind, size, flags, order=order))
    assert notes.kind == "SerialEM"
    if flags & 1:
        close(notes.tilt_angles, ANGLES)
    else:
        assert notes.tilt_angles is None
    if flags & 32:
        close(notes.exposure, DOSES, rtol=1e-6)
    if flags & 33 == 33:
        close(notes.exposure_before, BEFORE, rtol=1e-6)
    else:
        assert notes.exposure_before is None


@pytest.mark.parametrize("value", [2.5, 0.0123, 137.25])
def test_numbers_in_two_shorts(tmp_path: Path, value: float) -> None:
    extended = np.array([halves(value)] * N, "<i2").tobytes()
    notes = notes_of(stack(tmp_path / "a.st", extended, b"SERI", 4, 32))
    close(notes.exposure, value, rtol=1e-6)


def agard(nint: int, nreal: int, sections: int = N) -> bytes:
    records = np.zeros((sections, nint + nreal), "<f4")
    records[:N, nint] = ANGLES
    if nreal > 11:
        records[:N, nint + 7], records[:N, nint + 11] = -4e-6, 3.36e-10
    return records.tobytes()


@pytest.mark.parametrize(("kind", "nint", "sections"), [(b"", 0, 1024), (b"AGAR", 0, N), (b"AGAR", 3, N)])
def test_agard(tmp_path: Path, kind: bytes, nint: int, sections: int) -> None:
    notes = notes_of(stack(tmp_path / "a.mrc", agard(nint, 32, sections), kind, nint, 32))
    close(notes.tilt_angles, ANGLES, rtol=1e-6)
    close(notes.defocus, [4e4] * N, rtol=1e-6)
    assert notes.pixel_size == pytest.approx(3.36)
    short = notes_of(stack(tmp_path / "a.mrc", agard(0, 2), b"AGAR", 0, 2))
    close(short.tilt_angles, ANGLES, rtol=1e-6)
    assert short.defocus is None
    assert short.pixel_size is None


def test_headers_that_say_nothing(tmp_path: Path) -> None:
    def nothing(extended: bytes, kind: bytes = b"", nint: int = 0, nreal: int = 0) -> bool:
        return read_extended_header(MrcStack(stack(tmp_path / "a.mrc", extended, kind, nint, nreal))) is None

    assert nothing(b"")
    assert nothing(b"space group x, y, z".ljust(80), b"CCP4")
    assert nothing(fei()[:-1], b"FEI1")
    assert nothing(b"", b"FEI1")
    assert nothing(serialem(33)[0][:-2], b"SERI", 6, 33)
    # flags and size that do not belong together
    assert nothing(serialem(33)[0], b"SERI", 8, 33)
    assert nothing(bytes(4000), b"HDF5", 6, 33)
    assert notes_of(stack(tmp_path / "a.mrc", serialem(1, [0.0] * N)[0], b"SERI", 2, 1)).tilt_angles is None
    assert notes_of(stack(tmp_path / "a.mrc", agard(0, 32).replace(b"\0" * 8, b"\xff" * 8), b"AGAR", 0, 32))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=6000),
    st.sampled_from([b"FEI1", b"FEI2", b"SERI", b"AGAR", b""]),
    st.integers(-5, 40),
    st.integers(-5, 70),
)
def test_any_bytes_are_survived(tmp_path: Path, extended: bytes, kind: bytes, nint: int, nreal: int) -> None:
    notes = read_extended_header(MrcStack(stack(tmp_path / "a.mrc", extended, kind, nint, nreal)))
    if notes is not None and notes.tilt_angles is not None:
        assert (np.abs(notes.tilt_angles) <= 180).all()


def test_angles_of_an_alignment(tmp_path: Path) -> None:
    extended, size = serialem(33)
    stack(tmp_path / "ts.st", extended, b"SERI", size, 33)
    with pytest.warns(UserWarning, match=r"ts.st, its extended header \(SerialEM\): nominal tilt angles taken"):
        series = read_imod(aligned(tmp_path))
    close(series.tilt_angles, ANGLES)
    # the same as from a file, which goes before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of_file = read_imod(aligned(tmp_path, angles=True))
    close(series.projections, of_file.projections, atol=1e-9)
    np.savetxt(tmp_path / "ts.tlt", np.array(ANGLES) + 1)
    close(read_imod(tmp_path / "ts.xf").tilt_angles, np.array(ANGLES) + 1)


def test_without_any_angles(tmp_path: Path) -> None:
    stack(tmp_path / "ts.st", serialem(32)[0], b"SERI", 4, 32)
    with pytest.raises(DataError, match=r"ts.tlt not found, nor .rawtlt; put the tilt angles there"):
        read_imod(aligned(tmp_path))


@pytest.mark.parametrize("cut", [False, True])
def test_excluded_views(tmp_path: Path, cut: bool) -> None:
    path = stack(tmp_path / "ts.st", fei(b"FEI2"), b"FEI2")
    folder = tmp_path
    aligned(folder)
    (folder / "tilt.com").write_text("$tilt\nInputProjections ts.ali\nTHICKNESS 20\nEXCLUDELIST 2,4\n")
    kept = [0, 2, 4]
    if cut:
        raw = path.read_bytes()
        record, image = len(fei(b"FEI2")) // N, 4 * HEIGHT * WIDTH
        parts = [raw[1024 + i * record : 1024 + (i + 1) * record] for i in kept]
        start = 1024 + N * record
        parts += [raw[start + i * image : start + (i + 1) * image] for i in kept]
        header = bytearray(raw[:1024])
        header[8:12], header[92:96] = (3).to_bytes(4, "little"), (3 * record).to_bytes(4, "little")
        path.write_bytes(bytes(header) + b"".join(parts))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        series = read_tilt_series(folder)
    close(series.tilt_angles, np.array(ANGLES)[kept])
    assert series.excluded == (2, 4)
    # the images that are left do not tell what the others have added
    if cut:
        assert series.exposure is None
    else:
        close(series.exposure, [6, 1.75, 7.5])
    said = "not used, as excluded images are gone" if cut else "gives the exposures"
    assert sum(said in str(w.message) for w in caught) == 1


def test_exposures_and_what_goes_before_them(tmp_path: Path) -> None:
    stack(tmp_path / "ts.st", fei(), b"FEI1")
    source = aligned(tmp_path, angles=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        series = read_tilt_series(source)
    texts = [str(w.message) for w in caught]
    close(series.exposure, [6.0, 0, 1.75, 3.75, 7.5])
    assert any("its extended header (FEI1) gives the exposures" in text for text in texts)
    assert any("says 3 µm of defocus; not used" in text for text in texts)
    assert series.ctf is None
    # SerialEM's notes are given, and so go before
    sections = [f"[ZValue = {i}]\nTiltAngle = {a}\nPriorRecordDose = {9 * i}\n" for i, a in enumerate(ANGLES)]
    (tmp_path / "ts.mdoc").write_text("\n".join(sections))
    with pytest.warns(UserWarning, match="of defocus"):
        series = read_tilt_series(source, mdoc=tmp_path / "ts.mdoc")
    close(series.exposure, 9 * np.arange(N))


def test_exposures_in_unknown_order_are_named(tmp_path: Path) -> None:
    extended, size = serialem(33, sorted(ANGLES))
    stack(tmp_path / "ts.st", extended, b"SERI", size, 33)
    with pytest.warns(
        UserWarning, match=r"has exposures; not used, .* order of acquisition is unknown: give SerialEM's .mdoc"
    ):
        series = read_tilt_series(aligned(tmp_path, angles=True))
    assert series.exposure is None


def test_pixel_sizes_that_differ_are_named(tmp_path: Path) -> None:
    bare = fei(without=("Dose", "Defocus"))
    source = aligned(tmp_path, angles=True)
    stack(tmp_path / "ts.st", bare, b"FEI1", pixel=1.5)
    with pytest.warns(
        UserWarning, match=r"\(FEI1\) says 2 Å a pixel, 1.5 Å is used; if that is wrong, give pixel_size="
    ):
        assert read_tilt_series(source).pixel_size == 1.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_tilt_series(source, pixel_size=2.0).pixel_size == 2
    for unknown in (0.0, 1.0):
        stack(tmp_path / "ts.st", bare, b"FEI1", pixel=unknown)
        with pytest.warns(UserWarning, match=r"pixel size from its extended header \(FEI1\)"):
            assert read_tilt_series(source).pixel_size == pytest.approx(2)


def test_fei1_is_upside_down_for_imod(tmp_path: Path) -> None:
    path = stack(tmp_path / "ts.st", fei(without=("Dose", "Defocus")), b"FEI1")
    as_stored: NDArray[np.float32] = MrcStack(path)[2]
    series = read_tilt_series(aligned(tmp_path, angles=True))
    np.testing.assert_array_equal(series.images[2], as_stored[::-1])
    # RELION does not turn it, so that it gets a copy
    written, copied = write_set(tmp_path / "set", [(series, {})], "relion5")
    assert len(copied) == 1
    np.testing.assert_array_equal(read_tilt_series(written).images[2], as_stored[::-1])
    # what IMOD has written itself it has written the right way around
    raw = bytearray(path.read_bytes())
    raw[152:156] = (1146047817).to_bytes(4, "little")
    path.write_bytes(raw)
    np.testing.assert_array_equal(read_tilt_series(tmp_path / "ts.xf").images[2], as_stored)


def test_real_stack_of_fei() -> None:
    with pytest.warns(UserWarning, match="no MAP mark"):
        notes = notes_of(real_data("needle/HAADF.mrc"))
    close(notes.tilt_angles, np.arange(-76, 77, 2))
    assert notes.pixel_size == pytest.approx(33.6, rel=1e-3)
