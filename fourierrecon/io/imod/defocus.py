"""Reads the ``.defocus`` files of IMOD's ctfplotter, versions 1 to 3.

A line holds the first and last view of a range (from 1), the tilt angles of the two, and the defocus in nm,
underfocus positive. Version 2 has a 2 at the end of its first line, version 1 has none. Version 3 begins with
``FLAGS 0 0. 0. 0. 3``; the flags add up which further columns there are, in this order:

==  =====================================================================================================
1   astigmatism: a second defocus, then the angle of the first one's axis
2   that angle is in radians, not degrees
4   phase shift
8   the phase shift is in radians, not degrees
16  tilt angles have the other sign than those of the series (of no matter here: views go by number)
32  cut-on frequency of the phase shift, 1/nm (not modelled; named in a warning)
==  =====================================================================================================

The angle runs from the image's x towards its y (y upwards, in the order of the rows), as everywhere in this library.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.io.imod.project import Files
from fourierrecon.io.imod.text import beside, read_rows
from fourierrecon.text import counted
from fourierrecon.tilt_series import MOST_DEFOCUS, MOST_TILT, CtfParameters

OPTICS = ("Voltage", "SphericalAberration", "AmplitudeContrast")
ASTIGMATISM, AXIS_RADIANS, PHASE, PHASE_RADIANS, INVERTED, CUT_ON = (1 << i for i in range(6))


@dataclass(frozen=True, eq=False)
class Defocus:
    """Defocus of each view of a tilt series, ``(n_tilts,)`` each.

    Parameters
    ----------
    u, v
        Along the astigmatism axis and across it, Å, underfocus positive.
    angle
        Angle of that axis from the image's x towards its y, degrees.
    phase_shift
        Degrees.
    """

    u: NDArray[np.float64]
    v: NDArray[np.float64]
    angle: NDArray[np.float64]
    phase_shift: NDArray[np.float64]


def read_defocus(path: Path, tilt_angles: NDArray[np.float64]) -> Defocus:
    """Read a ``.defocus`` file.

    A range of views gives the value at the angle in its middle. Views between two middles are interpolated by angle,
    those outside take the nearest. A single line holds for all views.

    Parameters
    ----------
    path
        The file.
    tilt_angles
        Tilt angles of all views of the stack, degrees, ``(n_tilts,)``.

    Raises
    ------
    DataError
        If the file cannot be used; the message names the line.
    """
    rows = read_rows(path, 5, 9, "a range of views")
    line, first = rows[0]
    version, flags = 1, 0
    if len(first) == 6:
        version = int(first[5])
        if first[5] not in (2.0, 3.0):
            raise DataError(f"{path}, line {line}: version {first[5]:g} of .defocus files; known: 1, 2 and 3")
        if version == 3:
            flags = int(first[0])
            if flags != first[0] or not 0 <= flags < 64:
                raise DataError(f"{path}, line {line}: flags {first[0]:g}; known: sums of 1, 2, 4, 8, 16 and 32")
            rows = rows[1:]
    if not rows:
        raise DataError(f"{path}, line {line} (its last): no views after the first line; was it cut short?")
    columns = 5 + 2 * bool(flags & ASTIGMATISM) + bool(flags & PHASE) + bool(flags & CUT_ON)
    for i, (line, row) in enumerate(rows):
        if len(row) != columns + (version == 2 and i == 0):
            raise DataError(
                f"{path}, line {line}: {counted(len(row), 'value')}, but version {version} with flags {flags} has "
                f"{columns}; was the file cut short?"
            )
        if not (row[0].is_integer() and row[1].is_integer() and 0 <= row[0] <= row[1]):
            raise DataError(
                f"{path}, line {line}: views {row[0]:g} to {row[1]:g}; needed: two numbers from 1, in order"
            )
    values = np.array([row[:columns] for _, row in rows])
    n = len(tilt_angles)
    views = values[:, :2].astype(int) + (_shift(values, tilt_angles) if version == 1 else 0)
    outside = (views < 1) | (views > n)
    if len(rows) > 1 and outside.any():
        bad = int(np.argmax(outside.any(1)))
        raise DataError(
            f"{path}, line {rows[bad][0]}: views {values[bad, 0]:g} to {values[bad, 1]:g}, but the stack has {n} "
            f"(from 1); is the file of another series?"
        )
    if flags & CUT_ON and (values[:, -1] != 0).any():
        warnings.warn(f"{path}: cut-on frequencies of the phase shift are not applied", stacklevel=2)
    u = 10 * values[:, 4]
    v, axis = (10 * values[:, 5], values[:, 6]) if flags & ASTIGMATISM else (u, np.zeros(len(u)))
    phase = values[:, 7 if flags & ASTIGMATISM else 5] if flags & PHASE else np.zeros(len(u))
    axis = np.degrees(axis) if flags & AXIS_RADIANS else axis
    phase = np.degrees(phase) if flags & PHASE_RADIANS else phase
    defocus, turns = np.maximum(np.abs(u), np.abs(v)), np.maximum(np.abs(axis), np.abs(phase))
    sound = (defocus <= MOST_DEFOCUS) & (turns <= MOST_TILT)
    if not sound.all():
        bad = int(np.argmin(sound))
        raise DataError(
            f"{path}, line {rows[bad][0]}: defocus up to {defocus[bad]:g} Å, angles to {turns[bad]:g} degrees; "
            f"allowed: {MOST_DEFOCUS:g} and {MOST_TILT:g}; correct it"
        )
    return _spread(np.stack([u, v, axis, phase]), np.clip(views, 1, n) - 1, tilt_angles)


def read_ctf(
    files: Files,
    angles: NDArray[np.float64],
    matrices: NDArray[np.float64],
    kept: list[int],
    given: dict[str, float],
) -> tuple[CtfParameters | None, tuple[str, ...]]:
    """Give the parameters of the CTF of the views that are kept, or else what is missing for them.

    Parameters
    ----------
    angles
        Tilt angles of all views, degrees, ``(n,)``.
    matrices
        Matrices of their alignment, ``(n, 2, 2)``.
    kept
        Their 0-based numbers.
    given
        Optics that win over those of the files, under IMOD's names.
    """
    sources = [files.options("ctfcorrection", "ctfphaseflip"), files.options("ctfplotter", "ctfplotter")]
    optics, missing, where = dict(given), [], "optics as given"
    for name in OPTICS:
        source = next((s for s in sources if s.text(name)), None)
        if name not in optics and source is not None:
            optics[name], where = source.numbers(name, 1, 1)[0], str(source.path)
        elif name not in optics:
            missing.append(f"{name} (ctfcorrection.com)")
    path = files.named(sources[0], "DefocusFile") or files.named(sources[1], "DefocusFile", ".defocus")
    if path is None:
        # so AreTomo calls the same kind of file, in its folder for IMOD
        path = beside(files.folder, f"{files.base.removesuffix('_st')}_ctf.txt")
    if path is None:
        missing.append(f"{files.base}.defocus")
    if path is None or missing:
        return None, tuple(missing)
    defocus = read_defocus(path, angles)
    angle = defocus.angle
    if re.search(r"[._]ali(?![A-Za-z])", re.split(r"[/\\]", sources[1].text("InputStack"))[-1]):
        angle = angle - np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    try:
        ctf = CtfParameters.of(
            len(kept),
            voltage=optics["Voltage"],
            spherical_aberration=optics["SphericalAberration"],
            amplitude_contrast=optics["AmplitudeContrast"],
            defocus_u=defocus.u[kept],
            defocus_v=defocus.v[kept],
            defocus_angle=angle[kept],
            phase_shift=defocus.phase_shift[kept],
        )
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    return ctf, ()


def _shift(values: NDArray[np.float64], tilt_angles: NDArray[np.float64]) -> int:
    """Say what to add to the views of a version 1 file, which may count from 0: the angles beside them tell."""
    views, n = values[:, :2].astype(int), len(tilt_angles)
    if (views == 0).any():
        return 1
    if len(views) == 1 or views.max() >= n:
        return 0
    misses = [
        min(np.abs(sign * tilt_angles[views - 1 + shift] - values[:, 2:4]).mean() for sign in (1, -1))
        for shift in (0, 1)
    ]
    return int(misses[1] < 0.5 * misses[0])


def _spread(values: NDArray[np.float64], views: NDArray[np.int64], tilt_angles: NDArray[np.float64]) -> Defocus:
    """Give every view its defocus; ``values`` are U, V, axis and phase of the ranges ``views`` (0-based), (4, m)."""
    middle = tilt_angles[views].mean(1)
    order = np.argsort(middle, kind="stable")
    u, v, axis, phase = values
    # an axis is the same after half a turn: twice its angle interpolates without a jump
    spread, turn = (u - v) / 2, np.radians(2 * axis)
    parts = [(u + v) / 2, spread * np.cos(turn), spread * np.sin(turn), phase]
    mean, along, across, shift = (np.interp(tilt_angles, middle[order], part[order]) for part in parts)
    size = np.hypot(along, across)
    result = np.stack([mean + size, mean - size, np.degrees(np.arctan2(across, along)) / 2, shift])
    # a view with a line of its own has just that, as written
    for i in np.flatnonzero(views[:, 0] == views[:, 1]) if len(views) > 1 else range(0):
        result[:, views[i, 0]] = values[:, i]
    return Defocus(*result)
