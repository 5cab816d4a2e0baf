"""Reads the alignments of AreTomo 1 to 3: ``.aln``, with ``_CTF.txt`` and ``_TLT.txt`` beside it.

AreTomo's geometry, as facts (from its own ``.xf`` writer, and as RELION 5 imports it): a point ``X`` of the volume,
in px from its middle, comes to the raw image at

``u = GMAG (Rz(ROT) Ry(TILT) X)[:2] + (TX, TY) + (width, height) / 2``

px, with right-handed rotations of column vectors. In IMOD's terms, ``x_ali = A (x_raw - c) + d + c`` with
``A = Rz(-ROT)`` and ``d = -A (TX, TY)``. ``TILT`` has ``AlphaOffset`` in it already; ``BetaOffset`` is for
information only. The angles of dark frames are without ``AlphaOffset``.

How it numbers images is said in :mod:`fourierrecon.io.aretomo.numbers`.
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.io.aretomo.local import read_patches
from fourierrecon.io.aretomo.numbers import places_in_order, places_in_stack, version_1_places
from fourierrecon.io.aretomo.tables import LARGEST, read_ctf, read_exposure
from fourierrecon.io.files import is_plain, read_lines
from fourierrecon.io.stacks.extended_header import pixel_size_of
from fourierrecon.io.stacks.open import FileImages, Stack, open_stack
from fourierrecon.text import counted
from fourierrecon.tilt_series import MOST_TILT, ImageStack, TiltSeries

#: Columns of the table of global alignments that are used, as the library names them.
COLUMNS = ("rot", "gmag", "tx", "ty", "tilt")
STACK_ENDINGS = (".mrc", ".st", ".mrcs", ".tif", ".tiff")
#: What the header lines are that some versions leave out, and what they mean then.
OPTIONAL = {"AreTomo Alignment": "", "NumPatches": "= 0", "AlphaOffset": "= 0", "BetaOffset": "= 0"}
#: AreTomo 1: numbers of tilts and patches. The size of the stack is not known.
VERSION_1 = re.compile(r"# *([0-9]{1,6}) +([0-9]{1,6})$")


def read_aretomo(
    source: str | os.PathLike[str],
    *,
    stack: str | os.PathLike[str] | None = None,
    pixel_size: float | None = None,
    voltage: float | None = None,
    spherical_aberration: float = 2.7,
    amplitude_contrast: float = 0.07,
) -> TiltSeries:
    """Read a tilt series that AreTomo 1, 2 or 3 aligned; its images stay on disk until they are used.

    World points are px from the middle of the volume. Images come in the order of the raw stack, without those that
    AreTomo found dark. Shifts of patches are its local alignment.

    Parameters
    ----------
    source
        ``NAME.aln``. ``NAME_CTF.txt`` and ``NAME_TLT.txt`` are read if they lie beside it.
    stack
        MRC or TIFF stack of the raw images, with or without the dark ones. Default: ``NAME.mrc``, ``.st``, ``.mrcs`` or
        ``.tif`` beside the file.
    pixel_size
        Pixel size of these images, Å; default: from the stack's header, where that is not 1 Å.
    voltage
        kV; AreTomo's files do not tell it, and there is no ``ctf`` without.
    spherical_aberration, amplitude_contrast
        mm, and fraction; the defaults are AreTomo's.

    Returns
    -------
    TiltSeries
        Its size is not known. ``tilt_angles`` are AreTomo's, ``AlphaOffset`` included; ``hand`` is that of
        ``_CTF.txt``.

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
    alignment, version_1 = _alignment(path)
    whole = _stack(path, stack)
    if version_1:
        width, height, n = whole.shape[2], whole.shape[1], len(whole)
        places, dark = version_1_places(path, alignment, n)
    else:
        width, height, n = alignment.RawSize
        places, dark = places_in_stack(path, alignment)
    order = np.argsort(places)
    table = {c: np.array([getattr(row, c) for row in alignment.GlobalAlignments], float)[order] for c in COLUMNS}
    in_order = places_in_order(alignment, n)[order]
    places = places[order]
    if dark:
        numbers = ", ".join(str(i + 1) for i in dark)
        warnings.warn(f"{path}: {len(dark)} of {n} images left out as dark frames: {numbers}", stacklevel=2)
    images = _images(path, whole, places, n)
    if images.shape[1:] != (height, width):
        found = f"{images.shape[2]} x {images.shape[1]}"
        raise DataError(
            f"{path}, RawSize: {width} x {height} px, but the stack has {found}; give the stack that was aligned"
        )
    ctf, missing, hand = read_ctf(path, n, in_order, voltage, spherical_aberration, amplitude_contrast)
    pixel = pixel_size or pixel_size_of(whole, ctf=ctf is not None)
    if not 1e-3 < pixel < 1e6:
        raise DataError(f"{whole.path}: no sensible pixel size in its header (0 or 1 Å); give pixel_size=... in Å")
    projections = projection_matrices(
        (height, width),
        (0.0, 0.0, 0.0),
        table["tilt"],
        table["rot"],
        shifts=np.stack([table["tx"], table["ty"]], 1) + np.array([width % 2, height % 2]) / 2,
        magnification=table["gmag"],
    )
    return TiltSeries(
        images,
        projections,
        float(pixel),
        path.stem,
        ctf=ctf,
        exposure=read_exposure(path, n, table["tilt"], places, in_order),
        tilt_angles=table["tilt"],
        rotation_centre=(0.0, 0.0, 0.0),
        coordinate_frame="AreTomo (world about the rotation centre, the middle of the volume)",
        source=str(path),
        ctf_missing=missing,
        hand=hand,
        excluded=tuple(i + 1 for i in dark),
        local=read_patches(
            path, alignment, order, (width, height), np.stack([table["tx"], table["ty"]], 1), projections
        ),
    )


def _alignment(path: Path) -> tuple[Any, bool]:
    """Read an ``.aln``, checked: an ``alnfile.data_model.AlnData``, and whether it is AreTomo 1's, without RawSize."""
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
    old = next(filter(None, map(VERSION_1.match, lines)), None)
    version_1 = old is not None and not any(x.startswith("# RawSize") for x in lines)
    if old is not None and version_1:
        extra = [f"# RawSize = 1 1 {old[1]}", f"# NumPatches = {old[2]}", *(x for x in extra if "NumPatches" not in x)]
    try:
        alignment = AlnData.from_string("\n".join([*extra, *lines]))
    except (ValueError, IndexError) as error:
        raise DataError(
            f"{path}: its header is not AreTomo's; needed: '# RawSize = WIDTH HEIGHT TILTS' in whole numbers (AreTomo "
            f"1: '# TILTS PATCHES'), and numbers after '# NumPatches =', '# AlphaOffset =', '# BetaOffset ='"
        ) from error
    if not alignment.GlobalAlignments:
        raise DataError(f"{path}: no rows below '# SEC'; was its writing interrupted?")
    if not all(0 < side < LARGEST for side in alignment.RawSize):
        raise DataError(f"{path}, RawSize: {alignment.RawSize} must be three positive numbers; correct it")
    if version_1 and len(alignment.GlobalAlignments) != alignment.RawSize[2]:
        raise DataError(
            f"{path}: {counted(len(alignment.GlobalAlignments), 'row')}, but its header says "
            f"{counted(alignment.RawSize[2], 'tilt')}; was the file cut short?"
        )
    return alignment, version_1


def _check(row: Any) -> None:
    """Raise ``ValueError`` for numbers that make no sense."""
    values = vars(row)
    angles = (values.get("rot", 0.0), values.get("tilt", 0.0))
    if not all(abs(value) < LARGEST for value in values.values()) or not all(abs(a) <= MOST_TILT for a in angles):
        raise ValueError
    if not 0.5 <= values.get("gmag", 1.0) <= 2:
        raise ValueError


def _stack(path: Path, stack: str | os.PathLike[str] | None) -> Stack:
    """Open the stack of the raw images: the one given, else one of the same name."""
    beside = [path.with_name(path.stem + ending) for ending in STACK_ENDINGS]
    found = stack or next((place for place in beside if place.is_file()), None)
    if found is None:
        names = ", ".join(place.name for place in beside)
        raise DataError(f"{path}: none of {names} lies beside it; give the raw images, stack=...")
    return open_stack(Path(found))


def _images(path: Path, whole: Stack, places: NDArray[np.intp], n: int) -> ImageStack:
    """Give the images that are aligned."""
    if len(whole) == len(places):
        return whole
    if len(whole) != n:
        raise DataError(
            f"{path}, RawSize: {counted(n, 'image')} ({len(places)} not dark), but the stack {whole.path} holds "
            f"{len(whole)}; give the stack that was aligned"
        )
    return FileImages([(whole.path, int(i)) for i in places])
