"""Reads tilt series that IMOD (eTomo) aligned: ``.xf``, ``.tlt``, ``tilt.com``, ``newst.com`` and what they name.

IMOD's geometry, as facts. All lengths in px of the raw stack; points relative to the middles of the images, pixel
``(n - 1) / 2`` (from 0). ``A``, ``d``: a line of the ``.xf`` file, ``A11 A12 A21 A22 DX DY``.

* Alignment: ``a = A (u - u_c) + d`` takes a raw pixel ``u`` to the aligned image.
* Tilt: ``a = (Ry(tilt) Rx(x tilt) (X - C))[:2] + (DELX + s_x, s_y)``, rotations right-handed, for column vectors,
  ``tilt`` = ``.tlt`` + ``OFFSET``, ``x tilt`` = ``.xtilt`` - ``XAXISTILT``; ``DELX`` is ``OFFSET``'s second value,
  ``s = (FULLIMAGE - aligned size) / 2 - SUBSETSTART``.
* ``C = ((WIDTH + 1) / 2 + DELX + s_x + SHIFT x, (height + 1) / 2 + s_y, (THICKNESS + 1) / 2 - SHIFT z)``, where
  world points count from 1, as RELION 4 has them on import of such a set. These are for even sizes; how odd and binned
  ones are rounded is said in :mod:`fourierrecon.io.imod.volume`.

So ``u = A^-1 (a - d) + u_c``. ``z`` is that of eTomo's final volume, which is rotated about x (``trimvol -rx``): the
program tilt counts the rows of its slices, and so ``SHIFT z``, the other way.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.projection import rotation
from fourierrecon.geometry.region import ASSUMED_DEPTH
from fourierrecon.io.imod.defocus import OPTICS, read_ctf
from fourierrecon.io.imod.local import LocalField, local_field, read_patches, read_z_factors
from fourierrecon.io.imod.project import Files
from fourierrecon.io.imod.text import LARGEST, Options, read_transforms
from fourierrecon.io.imod.volume import aligned_stack, place_volume, whole_size
from fourierrecon.io.stacks.extended_header import SectionNotes, pixel_size_of, read_extended_header
from fourierrecon.io.stacks.mrc import MrcStack
from fourierrecon.io.stacks.open import FileImages, Stack, open_stack
from fourierrecon.text import counted
from fourierrecon.tilt_series import MOST_TILT, TiltSeries

#: Smallest pixel, Å: a smaller one is a mistake.
FINEST = 1e-3
STACK_ENDINGS = (".st", ".mrc", ".mrcs", ".tif", ".tiff")
EXCLUDED = ("EXCLUDELIST", "EXCLUDELIST2", "EXCLUDE")
#: Options that bend images or rays as no 4 x 4 matrix can. A warning names them; they are not applied.
NOT_APPLIED = ("COMPRESS",)
LOCAL = ("LOCALFILE", "ZFACTORFILE")
NOT_APPLIED_2D = ("DistortionField", "GradientFile")


def read_imod(
    source: str | os.PathLike[str],
    *,
    stack: str | os.PathLike[str] | None = None,
    pixel_size: float | None = None,
    voltage: float | None = None,
    spherical_aberration: float | None = None,
    amplitude_contrast: float | None = None,
) -> TiltSeries:
    """Read a tilt series that IMOD aligned; the images, those of the raw stack, stay on disk until they are used.

    The world has its origin at 1, as in RELION 4's sets made from IMOD. Tilts that ``tilt.com`` excludes are left out,
    and listed in a warning. Z factors go into the matrices; a ``LOCALFILE`` is the local alignment.

    Defocus comes from the ``.defocus`` file of ctfplotter. Its astigmatism angles are taken to be those of the raw
    images, which ctfplotter analyses; if ``ctfplotter.com`` names an aligned stack (``.ali``, ``_ali``) they are
    turned back by the rotation of each alignment.

    Parameters
    ----------
    source
        Folder of eTomo, its ``tilt.com`` (with ``newst.com``, ``ctfcorrection.com`` and ``ctfplotter.com`` beside it),
        or a ``.xf`` file, with ``.tlt`` or ``.rawtlt`` beside it, or tilt angles in the stack's extended header.
        Without ``tilt.com`` the depth is unknown: the middle of the volume is then that of a depth of 3000 Å.
    stack
        Raw images, MRC or TIFF. Default: as ``newst.com`` names them, else the ``.st``, ``.mrc``, ``.mrcs`` or ``.tif``
        beside the files. FEI1 files are turned upside down, as IMOD does.
    pixel_size
        Pixel size of the raw images, Å. Default: from the stack's header, else from its extended header.
    voltage, spherical_aberration, amplitude_contrast
        kV, mm, fraction. Default: from ``ctfcorrection.com`` or ``ctfplotter.com``.

    Returns
    -------
    TiltSeries
        Its images are in the order of the stack; ``ctf`` is None where something is missing for it, which
        ``ctf_missing`` lists.

    Raises
    ------
    DataError
        If a file cannot be used; the message names file and line.
    UsageError
        If the pixel size is not positive.
    """
    files = Files(Path(source))
    tilt, newst = files.options("tilt", "tilt"), files.options("newst", "newstack")
    matrices, shifts = read_transforms(files.transforms(newst))
    n = len(matrices)
    excluded = _excluded(tilt, n)
    kept = [i for i in range(n) if i not in excluded]
    images = _images(files, newst, stack, n, kept)
    if excluded:
        numbers = ", ".join(str(i + 1) for i in sorted(excluded))
        warnings.warn(f"{tilt.path}: {len(excluded)} of {n} views excluded: {numbers} (from 1)", stacklevel=2)
    # AreTomo names the global alignment as local one, too
    is_global = tilt.text("LOCALFILE") == newst.text("TransformFile")
    absent = [
        n for n in LOCAL if tilt.text(n) and files.named(tilt, n) is None and not (n == "LOCALFILE" and is_global)
    ]
    named = [f"{name} ({tilt.text(name)})" for name in (*absent, *NOT_APPLIED) if tilt.text(name)]
    named += [f"{name} ({newst.text(name)})" for name in NOT_APPLIED_2D if newst.text(name)]
    if named:
        lost = f"; {' and '.join(absent)} not found, copy what is lost there" if absent else ""
        warnings.warn(f"{tilt.path.parent}: not applied: {', '.join(named)}{lost}", stacklevel=2)
    if files.tilt_com and not tilt.text("THICKNESS"):
        warnings.warn(f"{tilt.path}: no THICKNESS, so the depth is not known; was the file cut short?", stacklevel=2)
    elif tilt.text("THICKNESS") and tilt.numbers("THICKNESS", 1, 1)[0] < 1:
        # AreTomo writes its -VolZ, where 0 stands for no volume and -1 for a depth that it is to find
        warnings.warn(
            f"{tilt.where('THICKNESS')}: {tilt.text('THICKNESS')}, so the depth is not known; choose one",
            stacklevel=2,
        )
    notes = _notes(images)
    angles = files.angles(tilt, n, _noted_angles(images, notes, n, kept))
    optics = dict(zip(OPTICS, (voltage, spherical_aberration, amplitude_contrast), strict=True))
    given = {name: value for name, value in optics.items() if value is not None}
    ctf, missing = read_ctf(files, angles, matrices, kept, given)
    pixel_size = _pixel_size(pixel_size, images, ctf=ctf is not None)
    delta = tilt.numbers("OFFSET", 1, 2)[0] if tilt.text("OFFSET") else 0.0
    x_tilts = files.x_tilts(tilt, n) - (tilt.numbers("XAXISTILT", 1, 1) or [0.0])[0]
    for name, values in (("OFFSET", angles + delta), ("XAXISTILT", x_tilts)):
        if (np.abs(values) > MOST_TILT).any():
            raise DataError(f"{tilt.where(name)}: angles come to {np.abs(values).max():g} degrees; correct it")
    aligned = aligned_stack(files, tilt, newst, images, pixel_size)
    placed = place_volume(tilt, aligned, ASSUMED_DEPTH / pixel_size)
    z_factors = read_z_factors(files, tilt, n)
    projections = imod_matrices(
        aligned.raw_middle, matrices, shifts, angles + delta, x_tilts, placed.axes, placed.offset, z_factors
    )
    patches = None if is_global else read_patches(files, tilt, n)
    local: LocalField | None = None
    if patches is not None:
        del_x = (*tilt.numbers("OFFSET", 1, 2), 0.0)[1] if tilt.text("OFFSET") else 0.0
        full = whole_size(tilt, aligned)
        local = local_field(
            patches, placed.axes, (del_x, 0.0), full, (aligned.binning, aligned.binning * pixel_size),
            np.asarray(np.linalg.inv(matrices), np.float64), angles + delta, x_tilts, z_factors,
        )  # fmt: skip
    return TiltSeries(
        images,
        projections[kept],
        pixel_size,
        files.base,
        ctf=ctf,
        tilt_angles=(angles + delta)[kept],
        size=placed.size,
        world_origin=1.0,
        coordinate_frame="IMOD alignment (1-based world, as RELION 4)",
        source=str(files.source),
        ctf_missing=missing,
        excluded=tuple(i + 1 for i in sorted(excluded)),
        middle=placed.middle if placed.size is None else None,
        pivot=placed.axes,
        local=None if local is None else local.select(kept),
    )


def imod_matrices(
    image_middle: tuple[float, float],
    matrices: NDArray[np.float64],
    shifts: NDArray[np.float64],
    tilt_angles: NDArray[np.float64],
    x_tilts: NDArray[np.float64],
    middle: tuple[float, float, float],
    offset: tuple[float, float] = (0.0, 0.0),
    z_factors: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Projection matrices of an alignment by IMOD, ``(n_tilts, 4, 4)``; the formulas are above.

    Parameters
    ----------
    image_middle
        Pixel ``(x, y)`` of the raw images that the alignment is about, from 0.
    matrices, shifts
        Lines of the ``.xf`` file, ``(n_tilts, 2, 2)`` and ``(n_tilts, 2)`` px.
    tilt_angles, x_tilts
        Degrees, ``(n_tilts,)``.
    middle
        World point ``C`` that the axes go through, ``(x, y, z)`` px.
    offset
        Where ``C`` lies in the aligned images, ``(x, y)`` px from their middle.
    z_factors
        What is added for each px along z, see :mod:`fourierrecon.io.imod.local`, ``(n_tilts, 2)``; default: 0.
    """
    turn = rotation("y", tilt_angles) @ rotation("x", x_tilts)
    inverse = np.linalg.inv(matrices)
    made = np.zeros((len(matrices), 4, 4))
    rows = turn[:, :2].copy()
    rows[:, :, 2] += 0 if z_factors is None else z_factors
    made[:, :2, :3] = inverse @ rows
    made[:, 2, :3] = turn[:, 2]
    made[:, :3, 3] = -made[:, :3, :3] @ np.asarray(middle)
    made[:, :2, 3] += np.einsum("nij,nj->ni", inverse, np.asarray(offset) - shifts) + image_middle
    made[:, 3, 3] = 1
    return made


def _excluded(tilt: Options, n: int) -> set[int]:
    """Give the 0-based views that ``tilt.com`` leaves out."""
    excluded = tilt.views(EXCLUDED, n)
    if "include" in tilt.entries:
        excluded |= set(range(n)) - tilt.views(("INCLUDE",), n)
    if len(excluded) == n:
        name = next(name for name in (*EXCLUDED, "INCLUDE") if name.lower() in tilt.entries)
        raise DataError(f"{tilt.where(name)}: all {n} views are excluded; leave some")
    return excluded


def _images(
    files: Files, newst: Options, stack: str | os.PathLike[str] | None, n: int, kept: list[int]
) -> FileImages | Stack:
    """Open the raw images of the views that are kept."""
    path = Path(stack) if stack is not None else files.named(newst, "InputFile", *STACK_ENDINGS)
    if path is None:
        names = ", ".join(files.base + ending for ending in STACK_ENDINGS)
        raise DataError(f"{files.folder}: raw stack not found ({names}); name it with stack=... (not the aligned one)")
    images = open_stack(path, as_imod=True)
    if len(images) == n:
        return images if len(kept) == n else FileImages([(path, i) for i in kept], as_imod=True)
    # a stack may have been cut down to the views that are used
    if len(images) == len(kept):
        return images
    raise DataError(
        f"{path} holds {counted(len(images), 'image')}, but {files.base}.xf has {counted(n, 'line')}; "
        f"needed: one line for each image of the raw stack"
    )


def _notes(images: FileImages | Stack) -> SectionNotes | None:
    """Read the extended header of the raw stack."""
    stack = images.stacks[0]
    return read_extended_header(stack) if isinstance(stack, MrcStack) else None


def _noted_angles(
    images: FileImages | Stack, notes: SectionNotes | None, n: int, kept: list[int]
) -> tuple[str, NDArray[np.float64]] | None:
    """Give the tilt angles of the extended header for all views, and where they stand; 0 for views not in the stack."""
    if notes is None or notes.tilt_angles is None:
        return None
    angles = np.zeros(n)
    angles[range(n) if len(notes.tilt_angles) == n else kept] = notes.tilt_angles
    return f"{images.stacks[0].path}, its extended header ({notes.kind})", angles


def _pixel_size(given: float | None, images: FileImages | Stack, *, ctf: bool) -> float:
    """Give the pixel size of the raw images, Å."""
    if given is not None:
        if not FINEST < given < LARGEST:
            raise UsageError(f"pixel_size={given:g} Å of the raw images must be positive")
        return float(given)
    stack = images.stacks[0]
    if FINEST < (size := pixel_size_of(stack, ctf=ctf)) < LARGEST:
        return size
    raise DataError(
        f"{stack.path}: no sensible pixel size in its header (0 or 1 Å); give pixel_size=... (Å) of the raw images"
    )
