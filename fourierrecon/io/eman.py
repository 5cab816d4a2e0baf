"""Reads tilt series that EMAN2 aligned: ``info/NAME_info.json``, as ``e2tomogram.py`` writes it.

EMAN2's geometry, as facts: a row of ``tlt_params`` holds ``tx, ty, rotation, tilt, x tilt``, in px of the unbinned
images and degrees. A point ``X`` of the volume, in px from its middle, comes to the image at

``u = (Rz(-rotation) Ry(-tilt) Rx(-x tilt) X)[:2] + (tx, ty) + middle``

with right-handed rotations of column vectors: EMAN2's own run the other way around. The middles of images and volumes
are at pixel ``n // 2``, from 0.

In IMOD's terms this is an ``.xf`` with ``A = Rz(rotation)`` and ``d = -A ((tx, ty) + h)``, where ``h`` is half a pixel
along each even side, and a ``.tlt`` of ``-tilt``: so read, world axes and images agree. (The files of the converter
emanjson2imodxf 0.0.3 do not: it leaves the x tilt out, and transposes ``A``. With that undone they describe the same
alignment for images turned by 180 degrees.)

The defocus is in µm, and falls as ``z`` along the beam grows. The phase, in degrees, holds phase plate and amplitude
contrast in one.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.io.json_text import brief, read_object
from fourierrecon.io.stacks.open import FileImages, Stack, open_stack
from fourierrecon.text import counted
from fourierrecon.tilt_series import CtfParameters, ImageStack, TiltSeries

#: No number in these files is larger: what exceeds it is a mistake.
LARGEST = 1e7
#: A loss of the alignment, nm, from which on EMAN2 leaves a tilt out.
EXCLUDED_LOSS = 500.0
STACK_ENDINGS = (".mrcs", ".mrc", ".st", ".tif", ".tiff")


def read_eman(
    source: str | os.PathLike[str],
    *,
    stack: str | os.PathLike[str] | None = None,
    pixel_size: float | None = None,
    voltage: float | None = None,
    spherical_aberration: float | None = None,
    amplitude_contrast: float | None = None,
) -> TiltSeries:
    """Read a tilt series that EMAN2 aligned; its images stay on disk until they are used.

    World points are px from the middle of the volume, as EMAN2's own picks are. Tilts whose ``ali_loss`` is 500 or
    more are left out, as EMAN2 does. Which others it left out (``--tltkeep``) the file does not tell. Refinements of
    single particles (``subtilt``, ``spt`` folders) are not in this file, and not applied.

    Parameters
    ----------
    source
        ``NAME_info.json``.
    stack
        Images of all tilts, MRC or TIFF. Default: ``tlt_file`` of the file, or one of that name in MRC or TIFF beside
        it; EMAN2's HDF5 is not read.
    pixel_size
        Pixel size of these images, Å; a whole multiple of ``apix_unbin`` for binned ones. Default: ``apix_unbin``.
    voltage, spherical_aberration
        kV, mm; default: from the file.
    amplitude_contrast
        Fraction, for files that have no ``phase``.

    Returns
    -------
    TiltSeries
        Its size is not known. ``tilt_angles`` are EMAN2's.

    Raises
    ------
    UsageError
        If a number given makes no sense.
    DataError
        If a file cannot be used; the message names file and field.
    """
    path = Path(source)
    info = read_object(path, "give EMAN2's info/NAME_info.json")
    table = _numbers(path, info, "tlt_params", 5)
    if table is None:
        raise DataError(f"{path}, tlt_params: not there; align the tilt series with e2tomogram.py first")
    n = len(table)
    # EMAN2 writes 1 where the header of the images says nothing
    unknown = info.get("apix_unbin") in (0, 1)
    unbinned = None if unknown else _number(path, info, "apix_unbin")
    if unbinned is None and pixel_size is None:
        raise DataError(f"{path}, apix_unbin: not there, 0 or 1 Å; give pixel_size=... in Å")
    binning = _binning(path, pixel_size, unbinned)
    pixel = float(pixel_size or unbinned or 0.0)

    loss = _numbers(path, info, "ali_loss", None, n)
    kept = np.arange(n) if loss is None else np.flatnonzero(loss < EXCLUDED_LOSS)
    out = np.setdiff1d(np.arange(n), kept)
    if not len(kept):
        raise DataError(f"{path}, ali_loss: {EXCLUDED_LOSS:g} or more for all {n} tilts; align the series anew")
    if len(out):
        numbers = ", ".join(str(i + 1) for i in out)
        warnings.warn(f"{path}: {len(out)} of {n} tilts left out, as ali_loss says: {numbers}", stacklevel=2)
    images = _images(path, info, None if stack is None else Path(stack), n, kept, pixel)
    table = table[kept]
    projections = projection_matrices(
        (images.shape[1], images.shape[2]),
        (0.0, 0.0, 0.0),
        -table[:, 3],
        -table[:, 2],
        -table[:, 4],
        table[:, :2] / binning,
    )
    ctf, missing = _ctf(path, info, n, kept, voltage, spherical_aberration, amplitude_contrast)
    return TiltSeries(
        images,
        projections,
        pixel,
        path.stem.removesuffix("_info"),
        ctf=ctf,
        tilt_angles=table[:, 3],
        rotation_centre=(0.0, 0.0, 0.0),
        coordinate_frame="EMAN2 (world about the rotation centre, the middle of the volume)",
        source=str(path),
        ctf_missing=missing,
        hand=-1,
        excluded=tuple(int(i) + 1 for i in out),
    )


def _numbers(
    path: Path, info: dict[str, Any], name: str, width: int | None, n: int | None = None
) -> NDArray[np.float64] | None:
    """Read a list with one number a tilt, or one row of ``width`` numbers; None if it is not there."""
    if info.get(name) is None:
        return None
    wanted = f"{n or ''} {'numbers, one' if width is None else f'rows of {width} numbers, one'} a tilt".strip()
    try:
        values = np.array(info[name], float)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path}, {name}: {brief(info[name])}; needed: {wanted}; was the file edited?") from error
    shape = (n or max(len(values) if values.ndim else 0, 1), *(() if width is None else (width,)))
    if values.shape != shape:
        raise DataError(f"{path}, {name}: an array of {values.shape}; needed: {wanted}; was the file edited?")
    if not (np.abs(values) < LARGEST).all():
        bad = int(np.argmin((np.abs(values) < LARGEST).reshape(len(values), -1).all(1)))
        raise DataError(f"{path}, {name}, tilt {bad + 1}: {values[bad]} makes no sense; align the series anew")
    return values


def _number(path: Path, info: dict[str, Any], name: str) -> float | None:
    """Read a positive number; None if it is not there."""
    value = info.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1e-3 < value < LARGEST:
        raise DataError(f"{path}, {name}: {brief(value)}; needed: a positive number; correct it")
    return float(value)


def _binning(path: Path, given: float | None, unbinned: float | None) -> float:
    """Give the binning of the images, from the pixel size that was given for them."""
    if given is not None and not 1e-3 < given < 1e6:
        raise UsageError(f"pixel size {given:g} Å must be positive and that of the images")
    if given is None or unbinned is None:
        return 1.0
    # a pixel size that was calibrated anew differs by a few per cent, and does not move the images
    binning = max(1.0, float(round(given / unbinned)))
    if abs(given / (binning * unbinned) - 1) > 0.1:
        raise UsageError(
            f"pixel size {given:g} Å is no whole multiple of apix_unbin, {unbinned:g} Å, in {path}; give "
            f"pixel_size=... of the images"
        )
    return binning


def _images(
    path: Path, info: dict[str, Any], stack: Path | None, n: int, kept: NDArray[np.intp], pixel: float
) -> ImageStack:
    """Open the images of the tilts that are kept."""
    whole: Stack = open_stack(stack or _stack(path, info))
    if whole.pixel_size and abs(whole.pixel_size - pixel) > 0.01 * pixel:
        warnings.warn(
            f"{whole.path}: its header says {whole.pixel_size:.5g} Å a pixel, {pixel:.5g} Å is used; if these images "
            f"are binned, give pixel_size=... of them",
            stacklevel=3,
        )
    if len(whole) == len(kept):
        return whole
    if len(whole) != n:
        raise DataError(
            f"{path}, tlt_params: {counted(n, 'tilt')}, but the stack {whole.path} holds "
            f"{counted(len(whole), 'image')}; give the stack that was aligned (stack=...)"
        )
    return FileImages([(whole.path, int(i)) for i in kept])


def _stack(path: Path, info: dict[str, Any]) -> Path:
    """Find the images: ``tlt_file``, which EMAN2 writes from the folder above ``info``, or a stack of its name."""
    name = info.get("tlt_file")
    if not isinstance(name, str) or not name:
        raise DataError(
            f"{path}, tlt_file: {brief(name)}; needed: the name of the images; or give the stack: stack=..."
        )
    file = Path(name.replace("\\", "/"))
    folders = [base / file.parent for base in (path.absolute().parent.parent, path.absolute().parent, Path.cwd())]
    folders.append(path.absolute().parent)
    places = [folder / file.name for folder in folders if file.suffix.lower() in STACK_ENDINGS]
    places += [folder / (file.stem + ending) for folder in folders for ending in STACK_ENDINGS]
    found = next((place for place in places if os.path.isfile(place)), None)
    if found is None:
        remedy = f"convert it (e2proc2d.py {file.name} {file.stem}.mrcs)" if file.suffix == ".hdf" else "put it there"
        raise DataError(
            f"{path}, tlt_file: {name}: no MRC or TIFF stack of that name ({places[0]} and others tried); "
            f"{remedy}, or give the stack: stack=..."
        )
    return found


def _ctf(
    path: Path,
    info: dict[str, Any],
    n: int,
    kept: NDArray[np.intp],
    voltage: float | None,
    aberration: float | None,
    contrast: float | None,
) -> tuple[CtfParameters | None, tuple[str, ...]]:
    """Build the CTF of each tilt, or list what is missing for it."""
    defocus, phase = (_numbers(path, info, name, None, n) for name in ("defocus", "phase"))
    if contrast is not None and phase is not None:
        raise UsageError(f"{path}, phase: it holds the amplitude contrast already; leave amplitude_contrast=... out")
    voltage = _number(path, info, "voltage") if voltage is None else voltage
    aberration = _number(path, info, "cs") if aberration is None else aberration
    found = {"defocus": defocus, "voltage": voltage, "cs": aberration, "phase or amplitude contrast": phase}
    if contrast is not None:
        del found["phase or amplitude contrast"]
    missing = tuple(name for name, value in found.items() if value is None)
    if defocus is None or voltage is None or aberration is None or missing:
        return None, missing
    try:
        ctf = CtfParameters.of(
            len(kept),
            voltage=voltage,
            spherical_aberration=aberration,
            amplitude_contrast=contrast or 0.0,
            defocus_u=1e4 * defocus[kept],
            phase_shift=0.0 if phase is None else phase[kept],
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return ctf, ()
