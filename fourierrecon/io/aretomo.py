"""Reads the alignments of AreTomo 2 and 3: ``.aln``, with ``_CTF.txt`` and ``_TLT.txt`` beside it.

AreTomo's geometry, as facts (from its own ``.xf`` writer, and as RELION 5 imports it): a point ``X`` of the volume,
in px from its middle, comes to the raw image at

``u = GMAG (Rz(ROT) Ry(TILT) X)[:2] + (TX, TY) + (width, height) / 2``

px, with right-handed rotations of column vectors. In IMOD's terms, ``x_ali = A (x_raw - c) + d + c`` with
``A = Rz(-ROT)`` and ``d = -A (TX, TY)``. ``TILT`` has ``AlphaOffset`` in it already; ``BetaOffset`` is for
information only. The angles of dark frames are without ``AlphaOffset``.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry import projection_matrices
from fourierrecon.io.files import is_plain, read_lines
from fourierrecon.io.mrc import FileImages, open_stack
from fourierrecon.tilt_series import (
    MOST_ANGLE,
    MOST_DEFOCUS,
    MOST_TILT,
    CtfParameters,
    ImageStack,
    TiltSeries,
)

#: No number in these files is larger: what exceeds it is a mistake.
LARGEST = 1e7
#: Columns of the table of global alignments that are used, as the library names them.
COLUMNS = ("rot", "gmag", "tx", "ty", "tilt")
STACK_ENDINGS = (".mrc", ".st", ".mrcs", ".tif", ".tiff")
#: What the header lines are that some versions leave out, and what they mean then.
OPTIONAL = {"AreTomo Alignment": "", "NumPatches": "= 0", "AlphaOffset": "= 0", "BetaOffset": "= 0"}


def read_aretomo(
    source: str | os.PathLike[str],
    *,
    stack: str | os.PathLike[str] | None = None,
    pixel_size: float | None = None,
    voltage: float | None = None,
    spherical_aberration: float = 2.7,
    amplitude_contrast: float = 0.07,
) -> TiltSeries:
    """Read a tilt series that AreTomo 2 or 3 aligned; its images stay on disk until they are used.

    World points are px from the middle of the volume. Images come in the order of the raw stack, without those that
    AreTomo found dark. Local alignments are not applied, and named by a warning.

    Parameters
    ----------
    source
        ``NAME.aln``. ``NAME_CTF.txt`` and ``NAME_TLT.txt`` are read if they lie beside it.
    stack
        MRC or TIFF stack of the raw images, with or without the dark ones. Default: ``NAME.mrc``, ``.st``, ``.mrcs`` or
        ``.tif`` beside the file.
    pixel_size
        Of these images, Å; default: from the stack's header.
    voltage
        kV; AreTomo's files do not tell it, and there is no ``ctf`` without.
    spherical_aberration, amplitude_contrast
        mm, and fraction; the defaults are AreTomo's.

    Returns
    -------
    TiltSeries
        Its size is not known. ``tilt_angles`` are AreTomo's, ``AlphaOffset`` included.

    Raises
    ------
    UsageError
        If the pixel size asked for makes no sense.
    DataError
        If a file cannot be used; the message names file and line or field.
    """
    path = Path(source)
    if pixel_size is not None and not 1e-3 < pixel_size < 1e6:
        raise UsageError(f"pixel size {pixel_size:g} Å must be positive and that of the images")
    alignment = _alignment(path)
    width, height, n = alignment.RawSize
    places, dark = _places(path, alignment)
    order = np.argsort(places)
    table = {c: np.array([getattr(row, c) for row in alignment.GlobalAlignments], float)[order] for c in COLUMNS}
    places = places[order]
    _name_the_rest(path, alignment, dark)

    images, header = _images(path, places, n, None if stack is None else Path(stack))
    if images.shape[1:] != (height, width):
        found = f"{images.shape[2]} x {images.shape[1]}"
        raise DataError(
            f"{path}, RawSize: {width} x {height} px, but the stack has {found}; give the stack that was aligned"
        )
    pixel = pixel_size or header
    if not 1e-3 < pixel < 1e6:
        raise DataError(f"{path}: the stack's header has no sensible pixel size; give pixel_size=... in Å")
    projections = projection_matrices(
        (height, width),
        (0.0, 0.0, 0.0),
        table["tilt"],
        table["rot"],
        shifts=np.stack([table["tx"], table["ty"]], 1) + np.array([width % 2, height % 2]) / 2,
        magnification=table["gmag"],
    )
    ctf, missing = _ctf(path, n, places, voltage, spherical_aberration, amplitude_contrast)
    return TiltSeries(
        images,
        projections,
        float(pixel),
        path.stem,
        ctf,
        _exposure(path, n, places),
        table["tilt"],
        rotation_centre=(0.0, 0.0, 0.0),
        frame="AreTomo (world about the rotation centre, the middle of the volume)",
        source=str(path),
        ctf_missing=missing,
        excluded=tuple(i + 1 for i in dark),
    )


def _alignment(path: Path) -> Any:
    """Read an ``.aln``, checked: an ``alnfile.data_model.AlnData``."""
    from alnfile.data_model import AlnData, DarkFrameInfo, PatchAlignmentParameters, TiltImageAlignmentParameters

    lines = [line.strip() for line in read_lines(path, "AreTomo's .aln")]
    if not any(line.startswith("# SEC") for line in lines):
        raise DataError(f"{path} is no .aln of AreTomo: no line begins with '# SEC'; give the .aln, not the .xf")
    # the library knows rows by what stands above them, and so does this loop, to name the line of a fault
    parse: Any = None
    for number, line in enumerate(lines, 1):
        try:
            if not line.startswith("#") and not is_plain(line):
                raise ValueError
            if line.startswith("# DarkFrame"):
                _check(DarkFrameInfo.from_string(line))
            elif line.startswith("# SEC"):
                parse = TiltImageAlignmentParameters.from_string
            elif line.startswith("# Local Alignment"):
                parse = PatchAlignmentParameters.from_string
            elif line and not line.startswith("#") and parse is not None:
                _check(parse(line))
            elif line and not line.startswith("#"):
                raise ValueError
        except (ValueError, IndexError) as error:
            raise DataError(
                f"{path}, line {number}: {line[:60]!r} has not the numbers that belong there; "
                f"was the file cut short or edited?"
            ) from error
    # version 1 and 2 leave header lines out that the library wants
    extra = [f"# {key} {value}" for key, value in OPTIONAL.items() if not any(x.startswith(f"# {key}") for x in lines)]
    try:
        alignment = AlnData.from_string("\n".join([*extra, *lines]))
    except (ValueError, IndexError) as error:
        raise DataError(
            f"{path}: its header is not AreTomo's; needed: '# RawSize = WIDTH HEIGHT TILTS' in whole numbers, and "
            f"numbers after '# NumPatches =', '# AlphaOffset =', '# BetaOffset ='"
        ) from error
    if not alignment.GlobalAlignments:
        raise DataError(f"{path}: no rows below '# SEC'; was its writing interrupted?")
    if not all(0 < side < LARGEST for side in alignment.RawSize):
        raise DataError(f"{path}, RawSize: {alignment.RawSize} must be three positive numbers; correct it")
    return alignment


def _check(row: Any) -> None:
    """Raise ``ValueError`` for numbers that make no sense."""
    values = vars(row)
    angles = (values.get("rot", 0.0), values.get("tilt", 0.0))
    if not all(abs(value) < LARGEST for value in values.values()) or not all(abs(a) <= MOST_TILT for a in angles):
        raise ValueError
    if not 0.5 <= values.get("gmag", 1.0) <= 2:
        raise ValueError


def _places(path: Path, alignment: Any) -> tuple[NDArray[np.intp], list[int]]:
    """Give the 0-based number in the raw stack of each row, and of each dark frame.

    ``SEC`` counts from 0 in AreTomo 2 and from 1 in AreTomo 3, through all images or through those that are not dark.
    Dark frames have their number in the order of tilts and in the stack, from 0; newer versions only the first.
    """
    n = int(alignment.RawSize[2])
    sections = [row.sec for row in alignment.GlobalAlignments]
    frames = alignment.DarkFrames
    if len(sections) + len(frames) != n:
        raise DataError(
            f"{path}: {len(sections)} rows and {len(frames)} dark frames, but RawSize says {n} images; "
            f"was the file cut short?"
        )
    darks = [[frame.section_idx for frame in frames], [frame.val2 for frame in frames]]
    everything = set(range(n))
    good = [dark for dark in darks if set(dark) <= everything and len(set(dark)) == len(dark)]
    for dark in good:
        for base in (0, 1):
            rows = [section - base for section in sections]
            if len(set(rows)) == len(rows) and set(rows) == everything - set(dark):
                return np.array(rows, int), sorted(dark)
    for dark in good[:1]:
        kept = sorted(everything - set(dark))
        for base in (0, 1):
            if sorted(sections) == list(range(base, base + len(kept))):
                return np.array([kept[section - base] for section in sections], int), sorted(dark)
    raise DataError(
        f"{path}, column SEC and DarkFrame: they do not number {n} images, each once; was the file edited? "
        f"Align the series anew"
    )


def _name_the_rest(path: Path, alignment: Any, dark: list[int]) -> None:
    """Warn of images left out, and of local alignments."""
    if dark:
        numbers = ", ".join(str(i + 1) for i in dark)
        warnings.warn(
            f"{path}: {len(dark)} of {alignment.RawSize[2]} images left out as dark frames: {numbers}", stacklevel=3
        )
    if alignment.LocalAlignments:
        shifts = np.array([(row.shift_x, row.shift_y) for row in alignment.LocalAlignments if row.is_reliable])
        largest = f", shifts up to {np.abs(shifts).max():.3g} px" if len(shifts) else ""
        warnings.warn(f"{path}: not applied: local alignment ({alignment.NumPatches} patches{largest})", stacklevel=3)


def _images(path: Path, places: NDArray[np.intp], n: int, stack: Path | None) -> tuple[ImageStack, float]:
    """Open the images that are aligned, and give their pixel size as the header has it, Å (0: unknown)."""
    beside = [path.with_name(path.stem + ending) for ending in STACK_ENDINGS]
    found = stack or next((place for place in beside if place.is_file()), None)
    if found is None:
        names = ", ".join(place.name for place in beside)
        raise DataError(f"{path}: none of {names} lies beside it; give the raw images, stack=...")
    whole = open_stack(found)
    if len(whole) == len(places):
        return whole, whole.pixel_size
    if len(whole) != n:
        raise DataError(
            f"{path}, RawSize: {n} images ({len(places)} not dark), but the stack {whole.path} holds {len(whole)}; "
            f"give the stack that was aligned"
        )
    return FileImages([(found, int(i)) for i in places]), whole.pixel_size


def _columns(path: Path, n: int, lengths: tuple[int, ...], most: dict[int, float]) -> NDArray[np.float64]:
    """Read a table of numbers with a row for each raw image, ``(n, columns)``; ``most`` limits some of the columns."""
    rows: list[list[float]] = []
    for number, line in enumerate(read_lines(path, "AreTomo's table, or remove it"), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            values = [float(word) if is_plain(word) else np.nan for word in words]
        except ValueError:
            values = []
        wanted = (len(rows[0]),) if rows else lengths
        if len(values) not in wanted or not all(abs(v) <= most.get(i, LARGEST) for i, v in enumerate(values)):
            raise DataError(
                f"{path}, line {number}: {line.strip()[:60]!r} must be {' or '.join(map(str, wanted))} sensible "
                f"numbers; correct it, or remove the file"
            )
        rows.append(values)
    if len(rows) != n:
        raise DataError(f"{path}: {len(rows)} rows for {n} raw images; needed: one each. Correct or remove the file")
    return np.array(rows, float)


def _ordered(path: Path, numbers: NDArray[np.float64], what: str) -> NDArray[np.intp]:
    """Check that these are ``0 ... n - 1`` or ``1 ... n`` in any order; give them from 0."""
    first = numbers.min()
    if first not in (0, 1) or not np.array_equal(np.sort(numbers - first), np.arange(len(numbers))):
        raise DataError(f"{path}: {what} must be 1 to {len(numbers)}, each once; correct it, or remove the file")
    return np.asarray(numbers - first, np.intp)


def _ctf(
    path: Path, n: int, places: NDArray[np.intp], voltage: float | None, cs: float, amplitude: float
) -> tuple[CtfParameters | None, tuple[str, ...]]:
    """Read ``NAME_CTF.txt``: number, defocus 1 and 2 (Å), azimuth (degrees), phase shift (radians), quality."""
    file = path.with_name(f"{path.stem}_CTF.txt")
    there = file.is_file()
    if not there or voltage is None:
        missing = [*([] if there else [f"{file.name} beside it"]), *(["voltage"] if voltage is None else [])]
        return None, tuple(missing)
    table = _columns(file, n, (7, 8), {1: MOST_DEFOCUS, 2: MOST_DEFOCUS, 3: MOST_ANGLE, 4: np.radians(MOST_ANGLE)})
    table = table[np.argsort(_ordered(file, table[:, 0], "the first column"))][places]
    try:
        ctf = CtfParameters.of(
            len(places),
            voltage=voltage,
            spherical_aberration=cs,
            amplitude_contrast=amplitude,
            defocus_u=table[:, 1],
            defocus_v=table[:, 2],
            defocus_angle=table[:, 3],
            phase_shift=np.degrees(table[:, 4]),
        )
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    return ctf, ()


def _exposure(path: Path, n: int, places: NDArray[np.intp]) -> NDArray[np.float64] | None:
    """Read ``NAME_TLT.txt``: angle, order of acquisition, exposure of this image; give that before each image."""
    file = path.with_name(f"{path.stem}_TLT.txt")
    if not file.is_file():
        return None
    table = _columns(file, n, (1, 2, 3), {0: MOST_TILT})
    if table.shape[1] < 3 or not table[:, 2].any():
        return None
    if table[:, 2].min() < 0:
        raise DataError(f"{file}: the exposure of image {int(np.argmin(table[:, 2])) + 1} is negative; correct it")
    order = np.argsort(_ordered(file, table[:, 1], "the order of acquisition"))
    before = np.empty(n)
    before[order] = np.cumsum(table[order, 2]) - table[order, 2]
    return before[places]
