"""Reads what the microscope noted in the extended header of an MRC stack: tilt angles, exposures, defocus, pixel size.

Three layouts, as their makers publish them:

* FEI1, FEI2 (Thermo Fisher): a record a section, which begins with its own length; a mask says which of its fields
  hold something. Angles in degrees, exposure in e⁻/m², lengths in m.
* Agard's, as FEI wrote it before: ``nint`` integers and ``nreal`` floats of 4 bytes a section; the floats begin with
  the tilt angle, the eighth is the defocus and the twelfth the pixel size, in m.
* SerialEM's (``SERI``, or a header without a mark): ``nint`` bytes a section, and ``nreal`` holds the flags of what is
  there, in the order of :data:`SERIALEM`; the tilt angle in hundredths of a degree.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.io.stacks.mrc import HEADER_BYTES, MrcStack
from fourierrecon.io.stacks.open import Stack
from fourierrecon.tilt_series import ImagesInFiles, TiltSeries

#: Flag and bytes of SerialEM's fields: tilt angle, piece of a montage, stage, magnification, intensity, exposure.
SERIALEM = ((1, 2), (2, 6), (4, 4), (8, 2), (16, 2), (32, 4))
TILT, EXPOSURE = 1, 32
#: Bits of the first mask of FEI's records.
FEI_BITS = {"Timestamp": 0, "Dose": 6, "Alpha tilt": 7, "Pixel size X": 14, "Defocus": 22}
#: Floats of Agard's records, and how many FEI has in one.
AGARD_DEFOCUS, AGARD_PIXEL, FEI_FLOATS = 7, 11, 32
#: Largest relative difference of two pixel sizes that count as the same.
SAME = 0.01


@dataclass(frozen=True, eq=False)
class SectionNotes:
    """What an extended header says of the images of a stack; None where it says nothing.

    Parameters
    ----------
    kind
        Whose layout it is, for messages.
    tilt_angles
        Nominal, degrees, ``(n_images,)``.
    exposure
        Exposure of each image by itself, e⁻/Å², ``(n_images,)``.
    order
        0-based place of each image in the order of acquisition, ``(n_images,)``: by the time of day where it is noted;
        else as in the file, unless the angles there only rise or only fall: the stack may be a sorted one.
    defocus
        Setting of the lens, Å, underfocus positive, ``(n_images,)``.
    pixel_size
        Å.
    """

    kind: str
    tilt_angles: NDArray[np.float64] | None = None
    exposure: NDArray[np.float64] | None = None
    order: NDArray[np.intp] | None = None
    defocus: NDArray[np.float64] | None = None
    pixel_size: float | None = None

    @property
    def exposure_before(self) -> NDArray[np.float64] | None:
        """Exposure before each image, e⁻/Å², ``(n_images,)``; None where it or the order is not known."""
        if self.exposure is None or self.order is None:
            return None
        turn = np.argsort(self.order)
        before = np.empty(len(turn))
        before[turn] = np.cumsum(self.exposure[turn]) - self.exposure[turn]
        return before


def read_extended_header(stack: MrcStack) -> SectionNotes | None:
    """Read the extended header of a stack.

    Parameters
    ----------
    stack
        Stack; every section of it needs an entry.

    Returns
    -------
    SectionNotes
        None if there is no extended header, of no layout known here, or with too few entries.

    Raises
    ------
    DataError
        If the file cannot be read any more.
    """
    header, n = stack.header, len(stack)
    try:
        with stack.path.open("rb") as file:
            file.seek(HEADER_BYTES)
            raw = file.read(header.offset - HEADER_BYTES)
    except OSError as error:
        raise DataError(f"cannot read {stack.path}: {error.strerror or error}") from error
    nint, nreal = header.sizes
    flagged = sum(size for flag, size in SERIALEM if nreal & flag)
    unmarked = header.extended.strip(b"\0 ") in (b"", b"MRCO")
    if header.extended in (b"FEI1", b"FEI2"):
        return _fei(raw, n, header.extended)
    if (header.extended == b"SERI" or unmarked) and 0 < flagged == nint and 0 < nreal < 64 and n * nint <= len(raw):
        return _serialem(raw, n, nint, nreal, header.order)
    floats_only = unmarked and nint == 0 and nreal == FEI_FLOATS
    size = 4 * (nint + nreal)
    if (header.extended == b"AGAR" or floats_only) and nint >= 0 and nreal > 0 and n * size <= len(raw):
        records = np.frombuffer(raw, f"{header.order}f4", n * (nint + nreal)).reshape(n, -1)[:, nint:]
        return _agard(records.astype(float))
    return None


def pixel_size_of(stack: Stack, *, ctf: bool) -> float:
    """Give the pixel size of a stack, Å: from its header, else from its extended header, with a warning; 0: unknown.

    A header of 1 Å says as little as one of 0. It is taken, with a warning, where all lengths are in pixels; a CTF
    would be wrong with it.

    Parameters
    ----------
    stack
        MRC or TIFF.
    ctf
        The pixel size is needed for a CTF.
    """
    if not isinstance(stack, MrcStack) or stack.pixel_size:
        return stack.pixel_size
    notes = read_extended_header(stack)
    if notes is not None and notes.pixel_size is not None:
        warnings.warn(f"{stack.path}: pixel size from its extended header ({notes.kind})", stacklevel=3)
        return notes.pixel_size
    if not stack.says_one or ctf:
        return 0.0
    warnings.warn(
        f"{stack.path}: its header says 1 Å a pixel, as headers do that nobody filled in; if that is wrong, give the "
        f"pixel size of the images",
        stacklevel=3,
    )
    return 1.0


def with_notes(series: TiltSeries) -> TiltSeries:
    """Complete a tilt series with the exposures of its stack's extended header, where it has none.

    Where they came from is said by a warning; so is a pixel size there that is not that of the series, and a defocus
    where the series has none: that is the setting of a lens, which no CTF should be corrected with.

    Parameters
    ----------
    series
        With images from one MRC stack; any other comes back as it is.
    """
    images = series.images
    if not isinstance(images, ImagesInFiles):
        return series
    stack = images.stacks[0] if len(images.stacks) == 1 else None
    if not isinstance(stack, MrcStack) or len(images.sections) != series.n_tilts:
        return series
    path, notes = stack.path, read_extended_header(stack)
    if notes is None:
        return series
    where = f"{path}: its extended header ({notes.kind})"
    if notes.pixel_size is not None and abs(notes.pixel_size - series.pixel_size) > SAME * series.pixel_size:
        warnings.warn(
            f"{where} says {notes.pixel_size:.5g} Å a pixel, {series.pixel_size:.5g} Å is used; "
            f"if that is wrong, give pixel_size=...",
            stacklevel=3,
        )
    if series.ctf is None and notes.defocus is not None:
        warnings.warn(
            f"{where} says {notes.defocus.mean() / 1e4:.3g} µm of defocus; not used: the CTF needs a fitted one",
            stacklevel=3,
        )
    if series.exposure is not None or notes.exposure is None:
        return series
    before = notes.exposure_before
    lacking = series.excluded and len(stack) == series.n_tilts
    if before is None or lacking:
        reason = "excluded images are gone, which exposed it too" if lacking else "the order of acquisition is unknown"
        warnings.warn(
            f"{where} has exposures; not used, as {reason}: give SerialEM's .mdoc",
            stacklevel=3,
        )
        return series
    warnings.warn(f"{where} gives the exposures", stacklevel=3)
    return replace(series, exposure=before[[i for _, i in images.sections]])


def _fei(raw: bytes, n: int, kind: bytes) -> SectionNotes | None:
    """Read records of FEI1 and FEI2; they should be little-endian, but both orders are tried."""
    from mrcfile.dtypes import get_ext_header_dtype

    for order in ("<i4", ">i4"):
        dtype = get_ext_header_dtype(kind, order[0])
        size = int(np.frombuffer(raw, order, 1)[0]) if len(raw) >= 4 else 0
        if dtype.itemsize <= size <= 1 << 16 and n * size <= len(raw):
            break
    else:
        return None
    records = np.ndarray((n,), dtype, raw, 0, (size,))
    masks = records["Bitmask 1"].astype(np.uint32)

    def field(name: str, unit: float = 1.0) -> NDArray[np.float64] | None:
        known = bool((masks >> FEI_BITS[name] & 1).all())
        return _known(records[name].astype(float) * unit) if known else None

    angles, times, pixels = field("Alpha tilt"), field("Timestamp"), field("Pixel size X", 1e10)
    in_time = None if times is None or len(np.unique(times)) < n else np.argsort(np.argsort(times))
    defocus = field("Defocus", -1e10)
    return SectionNotes(
        kind.decode(),
        _angles(angles),
        _exposures(field("Dose", 1e-20)),
        _file_order(_angles(angles)) if in_time is None else in_time,
        defocus,
        _pixel(pixels),
    )


def _agard(records: NDArray[np.float64]) -> SectionNotes:
    """Read the floats of Agard's records."""
    wide = records.shape[1] > AGARD_PIXEL
    # larger values are in other units, which differ from program to program
    metres = [
        records[:, i] if wide and (np.abs(records[:, i]) < 1).all() else None for i in (AGARD_DEFOCUS, AGARD_PIXEL)
    ]
    defocus, pixel = (None if column is None else _known(column * 1e10) for column in metres)
    angles = _angles(_known(records[:, 0]))
    return SectionNotes(
        "Agard", angles, None, _file_order(angles), None if defocus is None else -defocus, _pixel(pixel)
    )


def _serialem(raw: bytes, n: int, size: int, flags: int, order: str) -> SectionNotes:
    """Read the short integers of SerialEM."""
    shorts = np.frombuffer(raw, f"{order}i2", n * size // 2).reshape(n, size // 2).astype(int)
    angles = _angles(_known(shorts[:, 0] / 100)) if flags & TILT else None
    exposure = None
    if flags & EXPOSURE:
        start = sum(length for flag, length in SERIALEM if flags & flag and flag < EXPOSURE) // 2
        exposure = _exposures(_known(_real(shorts[:, start], shorts[:, start + 1])))
    return SectionNotes("SerialEM", angles, exposure, _file_order(angles))


def _real(first: NDArray[np.int_], second: NDArray[np.int_]) -> NDArray[np.float64]:
    """Give the numbers that SerialEM stores in two shorts each: 24 bits and a power of two, both with a sign."""
    mantissa = np.abs(first) * 256 + np.abs(second) % 256
    return np.asarray(np.sign(first + 0.5) * mantissa * 2.0 ** (np.sign(second) * (np.abs(second) // 256)), np.float64)


def _known(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Give values that say something: finite, and not all zero."""
    return values if np.isfinite(values).all() and values.any() else None


def _angles(values: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Give tilt angles that can be such."""
    return values if values is not None and (np.abs(values) <= 180).all() else None


def _exposures(values: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Give exposures that can be such: each image has some, and none the damage of thousands."""
    return values if values is not None and ((values > 0) & (values < 1e4)).all() else None


def _pixel(values: NDArray[np.float64] | None) -> float | None:
    """Give the pixel size that all images share."""
    if values is None or values.min() <= 0 or np.ptp(values) > SAME * values.min():
        return None
    return float(values[0])


def _file_order(angles: NDArray[np.float64] | None) -> NDArray[np.intp] | None:
    """Give the order of the file as that of acquisition, if the angles show that nobody has sorted it."""
    if angles is None:
        return None
    steps = np.diff(angles)
    return None if (steps >= 0).all() or (steps <= 0).all() else np.arange(len(angles))
