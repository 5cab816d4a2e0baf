"""Reads the tilt series of RELION's tomogram sets: RELION 4 (matrices) and RELION 5 (angles and shifts)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.io.files import find_file
from fourierrecon.io.relion.deformation import name_motion, read_deformation
from fourierrecon.io.stacks.open import FileImages, open_stack
from fourierrecon.io.star.table import Table, read_tables
from fourierrecon.text import counted
from fourierrecon.tilt_series import (
    MOST_ANGLE,
    MOST_B_FACTOR,
    MOST_B_PER_EXPOSURE,
    MOST_DEFOCUS,
    MOST_SCALE,
    MOST_TILT,
    CtfParameters,
    ImageStack,
    TiltSeries,
)

Which = Literal["full", "even", "odd"]

MATRIX = ("rlnTomoProjX", "rlnTomoProjY", "rlnTomoProjZ", "rlnTomoProjW")
ANGLES = ("rlnTomoYTilt", "rlnTomoZRot", "rlnTomoXShiftAngst", "rlnTomoYShiftAngst")
OPTICS = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
DEFOCUS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
SIZE = ("rlnTomoSizeX", "rlnTomoSizeY", "rlnTomoSizeZ")
IMAGE = {"full": "rlnMicrographName", "even": "rlnMicrographNameEven", "odd": "rlnMicrographNameOdd"}
#: No tomogram is larger, px, and no matrix or shift either: what exceeds it is a mistake.
LARGEST = 1e7
#: Names that a message lists at the most.
MANY = 50


def names_of(path: str | os.PathLike[str]) -> list[str]:
    """Give the names of the tomograms of a set, in its order.

    Parameters
    ----------
    path
        STAR file: tomogram set or optimisation set, of RELION 4 or 5.

    Raises
    ------
    DataError
        If it is no such file.
    """
    _, overview, _ = find_set(Path(path))
    return list(overview.words("rlnTomoName"))


def read_relion(path: str | os.PathLike[str], name: str | None = None, *, images: Which = "full") -> TiltSeries:
    """Read a tilt series of a RELION 4 or RELION 5 set; its images stay on disk until they are used.

    Paths in STAR files start from the working directory, from the STAR file's folder or from one above it.

    Parameters
    ----------
    path
        STAR file: tomogram set (``tomograms.star``) or optimisation set.
    name
        Name of the tomogram, exactly as in the set; may be left out if there is just one.
    images
        ``full``, or the ``even`` or ``odd`` half of each tilt's frames (``rlnMicrographNameEven``, ``Odd``).

    Returns
    -------
    TiltSeries
        With its tilts in the order of the file. ``ctf`` is None where columns for it are missing;
        ``ctf_missing`` lists them.

    Raises
    ------
    UsageError
        If the name is unknown, or needed and not given.
    DataError
        If a file cannot be used; the message names file, block and column.
    """
    if images not in IMAGE:
        raise UsageError(f"unknown images {images!r}; available: {', '.join(IMAGE)}")
    source = Path(path)
    path, name, row, tilts, is_relion_5 = _find(source, name)
    name_motion(source)
    pixel_size = float(row.numbers("rlnTomoTiltSeriesPixelSize")[0])
    if not 1e-3 < pixel_size < 1e6:
        where = row.cell("rlnTomoTiltSeriesPixelSize")
        raise DataError(f"{where}: pixel size {pixel_size:g} Å must be positive; enter that of the images on disk")
    size = _size(row)
    geometry = _geometry(tilts, pixel_size)
    ctf, ctf_missing = _ctf(row, tilts)
    label = "rlnMicrographPreExposure"
    exposure = tilts.numbers(label, least=0, most=LARGEST) if tilts.has(label) else None
    own, per_exposure = _exposures(row, tilts)
    angles = _within(MOST_TILT, tilts, "rlnTomoYTilt") if tilts.has("rlnTomoYTilt") else np.empty(0)
    stack = _images(images, row, tilts)

    centre: tuple[float, float, float] | None = None
    if isinstance(geometry, dict):
        w, h, d = size or (0.0, 0.0, 0.0)
        centre = (float(int(w / 2)), float(int(h / 2)), float(int(d / 2)))
        projections = projection_matrices((stack.shape[1], stack.shape[2]), centre, **geometry)
        frame = "RELION 5 angles and shifts (0-based world about the rotation centre, int(size / 2))"
    else:
        projections = geometry
        frame = "RELION 4 projection matrices (1-based world, as IMOD)"
        if is_relion_5:
            frame = (
                "projection matrices of a RELION 5 set (0-based world, as RELION 5 takes them; "
                "if RELION 4 made them, x0 = y0 = z0 = 1 is right)"
            )
    return TiltSeries(
        stack,
        projections,
        pixel_size,
        name,
        ctf=ctf,
        exposure=exposure,
        tilt_angles=angles,
        size=size,
        world_origin=0.0 if is_relion_5 or centre is not None else 1.0,
        rotation_centre=centre,
        coordinate_frame=frame,
        source=str(path),
        ctf_missing=ctf_missing,
        hand=_hand(row),
        own_exposure=own,
        b_factor_per_exposure=per_exposure,
        local=read_deformation(row, tilts, (stack.shape[1], stack.shape[2]), projections),
    )


def read_halves(path: str | os.PathLike[str], name: str | None = None) -> dict[str, ImageStack]:
    """Open the half images of a tilt series under ``Even`` and ``Odd``; nothing if the set does not name them.

    Parameters
    ----------
    path, name
        As for :func:`read_relion`.

    Raises
    ------
    UsageError, DataError
        As :func:`read_relion`.
    """
    _, _, row, tilts, _ = _find(Path(path), name)
    halves: tuple[Which, ...] = ("even", "odd")
    if not all(tilts.has(IMAGE[half]) for half in halves):
        return {}
    return {half.capitalize(): _images(half, row, tilts) for half in halves}


def _hand(row: Table) -> int | None:
    """Give ``rlnTomoHand``, 1 or -1, if it is there."""
    if not row.has("rlnTomoHand"):
        return None
    hand = float(row.numbers("rlnTomoHand")[0])
    if hand not in (1, -1):
        raise DataError(f"{row.cell('rlnTomoHand')}: {hand:g} is no hand; allowed: 1 and -1; correct it")
    return int(hand)


def _find(path: Path, name: str | None) -> tuple[Path, str, Table, Table, bool]:
    """Find a tomogram: its set, name and row there, and :func:`tilts_of`."""
    path, overview, tables = find_set(path)
    names = overview.words("rlnTomoName")
    if name is None and len(names) > 1:
        raise UsageError(f"{path} holds {len(names)} tomograms; choose one of them by name: {_some(names)}")
    name = names[0] if name is None else name
    if names.count(name) != 1:
        problem = "unknown tomogram" if name not in names else "more than one tomogram"
        raise UsageError(f"{problem} {name!r} in {path}; available: {_some(names)}")
    row = overview.row(names.index(name))
    return path, name, row, *tilts_of(row, tables, name)


def _some(names: Sequence[str]) -> str:
    """List names in a message; not all of very many."""
    return ", ".join(names[:MANY]) + (f" and {len(names) - MANY} more" if len(names) > MANY else "")


def find_set(path: Path) -> tuple[Path, Table, dict[str, Table]]:
    """Find the tomogram set behind a file: its path, its table of tomograms and all its tables."""
    tables = read_tables(path)
    for table in tables.values():
        if table.has("rlnTomoTomogramsFile") and len(table) and not table.has("rlnTomoName"):
            label = "rlnTomoTomogramsFile"
            path = find_file(table.words(label)[0], path, where=table.cell(label))
            tables = read_tables(path)
            break
    overview = tables.get("global") or next((t for t in tables.values() if t.has("rlnTomoName")), None)
    if overview is None:
        blocks = _some([f"data_{name}" for name in tables]) or "none"
        raise DataError(
            f"{path} is not a tomogram set: no block data_global with column rlnTomoName (blocks: {blocks}); "
            f"give the tomograms.star of the set"
        )
    if not len(overview.words("rlnTomoName")):
        raise DataError(f"{overview.where}: lists no tomogram")
    return path, overview, tables


def tilts_of(row: Table, tables: dict[str, Table], name: str) -> tuple[Table, bool]:
    """Give the table of the tilts of a tomogram, and whether it has a file of its own, as in RELION 5."""
    label = "rlnTomoTiltSeriesStarFile"
    path, is_relion_5 = row.path, row.has(label)
    if is_relion_5:
        path = find_file(row.words(label)[0], row.path, where=row.cell(label))
        tables = read_tables(path)
    tilts = tables.get(name)
    if tilts is None or tilts.has("rlnTomoName"):
        blocks = _some([f"data_{block}" for block in tables]) or "none"
        raise DataError(
            f"{path}: no block data_{name} with the tilts of tomogram {name} in {row.path} (blocks: {blocks})"
        )
    if not len(tilts):
        raise DataError(f"{tilts.where}: lists no tilts")
    return tilts, is_relion_5


def _size(row: Table) -> tuple[float, float, float] | None:
    """Give the size ``(width, height, depth)`` of the tomogram, bin-1 px, if the set has one."""
    if not row.has(*SIZE):
        return None
    x, y, z = (float(row.numbers(label)[0]) for label in SIZE)
    for label, value in zip(SIZE, (x, y, z), strict=True):
        if not 0 < value < LARGEST:
            raise DataError(
                f"{row.cell(label)}: size {value:g} px makes no sense; correct it or remove {', '.join(SIZE)}"
            )
    return x, y, z


def _geometry(tilts: Table, pixel_size: float) -> NDArray[np.float64] | dict[str, Any]:
    """Give the projection matrices, ``(n, 4, 4)``, or else the angles and shifts to make them from."""
    if tilts.has(*MATRIX):
        matrices = np.stack([tilts.vectors(label, 4) for label in MATRIX], 1)
        _check_range(tilts, MATRIX[0], np.abs(matrices).max((1, 2)))
        affine = np.isclose(matrices[:, 3], [0, 0, 0, 1]).all(1)
        if not affine.all():
            bad = int(np.argmin(affine))
            raise DataError(
                f"{tilts.cell(MATRIX[3], bad)}: {tilts.words(MATRIX[3])[bad]}; a projection has [0,0,0,1] there; "
                f"are columns mixed up?"
            )
        return matrices
    if not tilts.has(*ANGLES):
        begun = any(tilts.has(label) for label in MATRIX)
        raise DataError(
            f"{tilts.where}: missing {', '.join(tilts.lacks(*(MATRIX if begun else ANGLES)))}; a set needs "
            f"rlnTomoProjX/Y/Z/W (RELION 4) or rlnTomoYTilt, ZRot, XShiftAngst and YShiftAngst (RELION 5). "
            f"Was the tilt series aligned?"
        )
    y_tilt, z_rot = (_within(MOST_TILT, tilts, label) for label in ANGLES[:2])
    x_shift, y_shift = (tilts.numbers(label) for label in ANGLES[2:])
    with np.errstate(over="ignore"):
        shifts = np.stack([x_shift, y_shift], 1) / pixel_size
    _check_range(tilts, ANGLES[2], np.abs(shifts).max(1))
    x_tilt = _within(MOST_TILT, tilts, "rlnTomoXTilt", 0.0)
    return {"tilt_angles": y_tilt, "tilt_axis_angle": z_rot, "x_tilt": x_tilt, "shifts": shifts}


def _within(most: float, tilts: Table, label: str, default: float | None = None) -> NDArray[np.float64]:
    """Give a column of numbers up to ``most`` either way, ``(n,)``."""
    return tilts.numbers(label, default, least=-most, most=most)


def _check_range(tilts: Table, label: str, largest: NDArray[np.float64]) -> None:
    """Refuse absurd shifts and matrices, ``(n,)`` px."""
    bad = int(np.argmax(largest))
    if not largest[bad] < LARGEST:
        raise DataError(
            f"{tilts.cell(label, bad)}: {largest[bad]:g} px is no sensible position in an image; correct it"
        )


def _ctf(row: Table, tilts: Table) -> tuple[CtfParameters | None, tuple[str, ...]]:
    """Give the parameters of the CTF, or the names of the columns that they lack."""
    missing = (*row.lacks(*OPTICS), *tilts.lacks(*DEFOCUS))
    if missing:
        return None, missing
    voltage, cs, q0 = (float(row.numbers(label)[0]) for label in OPTICS)
    defocus_u, defocus_v = (_within(MOST_DEFOCUS, tilts, label) for label in DEFOCUS[:2])
    angle, phase = _within(MOST_ANGLE, tilts, DEFOCUS[2]), _within(MOST_ANGLE, tilts, "rlnPhaseShift", 0.0)
    scale = _within(MOST_SCALE, tilts, "rlnCtfScalefactor", 1.0)
    b_factor = tilts.numbers("rlnCtfBfactor", 0.0, least=0, most=MOST_B_FACTOR)
    try:
        ctf = CtfParameters.of(
            len(tilts),
            voltage=voltage,
            spherical_aberration=cs,
            amplitude_contrast=q0,
            defocus_u=defocus_u,
            defocus_v=defocus_v,
            defocus_angle=angle,
            phase_shift=phase,
            scale=scale,
            b_factor=b_factor,
        )
    except DataError as error:
        raise DataError(f"{row.where}, {'/'.join(OPTICS)}: {error}") from error
    return ctf, ()


def _exposures(row: Table, tilts: Table) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Give the exposure of each image itself, where the set has it, and B-factors per exposure, likewise."""
    own, label = np.empty(0), "rlnTomoImportFractionalDose"
    if row.has(label):
        dose = float(row.numbers(label, least=0, most=LARGEST)[0])
        own = np.full(len(tilts), dose) if dose > 0 else own
    label = "rlnCtfBfactorPerElectronDose"
    for table in (tilts, row):
        if table.has(label):
            values = table.numbers(label, least=0, most=MOST_B_PER_EXPOSURE)
            return own, np.array(np.broadcast_to(values, len(tilts)))
    return own, None


def _images(which: Which, row: Table, tilts: Table) -> ImageStack:
    """Open the images of a tilt series: a stack for all, or a file or ``N@stack`` for each tilt."""
    label = "rlnTomoTiltSeriesName"
    if which == "full" and row.has(label):
        stack = open_stack(_find_image(row, label, 0, row.words(label)[0], tilts.path))
        if len(stack) != len(tilts):
            raise DataError(
                f"{tilts.where}: {counted(len(tilts), 'tilt')}, but the stack {stack.path} holds "
                f"{counted(len(stack), 'image')}; there must be one row for each image, in the same order"
            )
        return stack
    label = IMAGE[which]
    if not tilts.has(label):
        wanted = "rlnTomoTiltSeriesName in data_global or " if which == "full" else ""
        remedy = "name the images there" if which == "full" else "the set has no half images; use the full ones"
        raise DataError(f"{tilts.where}: column {label} is missing ({wanted}{label} names the images); {remedy}")
    sources: list[tuple[str, int | None]] = []
    found: dict[str, Path] = {}
    for i, word in enumerate(tilts.words(label)):
        match = re.match(r"([0-9]{1,9})@(.*)$", word)
        number, file = (int(match[1]) - 1, match[2]) if match else (None, word)
        if file not in found:
            found[file] = _find_image(tilts, label, i, file, row.path)
        if (file, number) in sources:
            raise DataError(
                f"{tilts.cell(label, i)}: {word} is the image of row {sources.index((file, number)) + 1} too; "
                f"each image must be there once; correct the name or remove the row"
            )
        sources.append((file, number))
    try:
        images = FileImages([(found[file], number) for file, number in sources])
    except DataError as error:
        raise DataError(f"{tilts.where}, column {label}: {error}") from error
    if which != "full":
        images.column = label
    return images


def _find_image(table: Table, label: str, index: int, file: str, *bases: Path) -> Path:
    """Find an image file; RELION lets ``:mrc`` or ``:mrcs`` after a name say how to read it."""
    return find_file(re.sub(r":(mrcs?|st)$", "", file), table.path, *bases, where=table.cell(label, index))
