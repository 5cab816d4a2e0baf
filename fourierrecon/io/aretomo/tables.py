"""Reads the tables beside AreTomo's ``.aln``: ``NAME_CTF.txt`` and ``NAME_TLT.txt``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.io.files import is_plain, read_lines
from fourierrecon.text import counted
from fourierrecon.tilt_series import MOST_ANGLE, MOST_DEFOCUS, MOST_TILT, CtfParameters

#: No number in these files is larger: what exceeds it is a mistake.
LARGEST = 1e7
#: Tilt angles of ``_TLT.txt`` and ``.aln`` that differ by no more than this, but for an offset, are the same, degrees.
SAME_ANGLE = 0.5


def _columns(
    path: Path, counts: tuple[int, ...], lengths: tuple[int, ...], most: dict[int, float]
) -> NDArray[np.float64]:
    """Read a table of numbers with a row for each image, ``(n, columns)``; ``most`` limits some of the columns."""
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
    if len(rows) not in counts:
        raise DataError(
            f"{path}: {counted(len(rows), 'row')} for {counted(counts[0], 'raw image')}; needed: one each. Correct or "
            "remove the file"
        )
    return np.array(rows, float)


def _ordered(path: Path, numbers: NDArray[np.float64], what: str) -> NDArray[np.intp]:
    """Check that these are ``0 ... n - 1`` or ``1 ... n`` in any order; give them from 0."""
    first = numbers.min()
    if first not in (0, 1) or not np.array_equal(np.sort(numbers - first), np.arange(len(numbers))):
        raise DataError(f"{path}: {what} must be 1 to {len(numbers)}, each once; correct it, or remove the file")
    return np.asarray(numbers - first, np.intp)


def read_ctf(
    path: Path, n: int, in_order: NDArray[np.intp], voltage: float | None, cs: float, amplitude: float
) -> tuple[CtfParameters | None, tuple[str, ...], int | None]:
    """Read ``NAME_CTF.txt``: number, defocus 1 and 2 (Å), azimuth (degrees), phase shift (radians), quality, hand.

    Parameters
    ----------
    path
        File ``.aln``; the table lies beside it.
    n
        Number of all images.
    in_order
        Places in the order that AreTomo worked in, from 0, of the images that are wanted, ``(m,)``.
    voltage, cs, amplitude
        kV, mm and fraction, which the file lacks.

    Returns
    -------
    ctf
        CTF in the order of ``in_order``; None where something is missing.
    missing
        Names of what is missing, for messages.
    hand
        1 or -1; None where the file does not say it.

    Raises
    ------
    DataError
        If the file cannot be used.
    """
    file = path.with_name(f"{path.stem}_CTF.txt")
    if not file.is_file():
        return None, (f"{file.name} beside it", *(["voltage"] if voltage is None else [])), None
    most = {1: MOST_DEFOCUS, 2: MOST_DEFOCUS, 3: MOST_ANGLE, 4: np.radians(MOST_ANGLE)}
    table = _columns(file, (n, len(in_order)), (7, 8), most)
    table = table[np.argsort(_ordered(file, table[:, 0], "the first column"))]
    # a table without the dark images has the others in that order
    table = table[in_order if len(table) == n else np.argsort(np.argsort(in_order))]
    hands = set(table[:, 7]) if table.shape[1] == 8 else set()
    hand = int(hands.pop()) if hands in ({1.0}, {-1.0}) else None
    if voltage is None:
        return None, ("voltage",), hand
    try:
        ctf = CtfParameters.of(
            len(table),
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
    return ctf, (), hand


def read_exposure(
    path: Path, n: int, tilts: NDArray[np.float64], places: NDArray[np.intp], in_order: NDArray[np.intp]
) -> NDArray[np.float64] | None:
    """Read ``NAME_TLT.txt``: angle, order of acquisition, exposure of this image; give that before each image.

    Parameters
    ----------
    path, n, in_order
        As for :func:`read_ctf`.
    tilts
        Angles of the images that are wanted, degrees, ``(m,)``.
    places
        Their places in the stack, from 0, ``(m,)``.

    Raises
    ------
    DataError
        If the file cannot be used, or is of another series.
    """
    file = path.with_name(f"{path.stem}_TLT.txt")
    if not file.is_file():
        return None
    table = _columns(file, (n,), (1, 2, 3), {0: MOST_TILT})
    if table.shape[1] < 3 or not table[:, 2].any():
        return None
    if table[:, 2].min() < 0:
        raise DataError(f"{file}: the exposure of image {int(np.argmin(table[:, 2])) + 1} is negative; correct it")
    # angles differ by AlphaOffset; they tell if somebody sorted the table
    rows = min((places, in_order), key=lambda rows: np.ptp(tilts - table[rows, 0]))
    if np.ptp(tilts - table[rows, 0]) > SAME_ANGLE:
        raise DataError(f"{file}: its tilt angles are not those of {path.name}; give that of this series or remove it")
    order = np.argsort(_ordered(file, table[:, 1], "the order of acquisition"))
    before = np.empty(n)
    before[order] = np.cumsum(table[order, 2]) - table[order, 2]
    return np.asarray(before[rows], np.float64)
