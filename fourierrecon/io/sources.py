"""Tilt series from whatever file names them: RELION's sets, and alignments of IMOD, AreTomo and Warp."""

from __future__ import annotations

import os
from pathlib import Path

from fourierrecon.errors import UsageError
from fourierrecon.io import star
from fourierrecon.tilt_series import TiltSeries

#: Endings of files that hold the alignment of one tilt series.
WARP, ARETOMO, IMOD = (".xml", ".tomostar"), (".aln",), (".xf", ".com")


def list_series(path: str | os.PathLike[str], stack: Path | None = None, pixel_size: float | None = None) -> list[str]:
    """Give the names of the tilt series in a file.

    Parameters
    ----------
    path, stack, pixel_size
        As for :func:`read_series`.

    Raises
    ------
    DataError
        If it is no such file.
    """
    if Path(path).is_dir() or Path(path).suffix.lower() in WARP + ARETOMO + IMOD:
        return [read_series(path, None, stack, pixel_size).name]
    return star.list_tomograms(path)


def read_series(
    path: str | os.PathLike[str],
    name: str | None = None,
    stack: Path | None = None,
    pixel_size: float | None = None,
) -> TiltSeries:
    """Read a tilt series; its images stay on disk until they are used.

    Parameters
    ----------
    path
        Tomogram or optimisation set of RELION 4 or 5 (STAR), tilt series of Warp (``.xml``, ``.tomostar``), alignment
        of AreTomo (``.aln``) or IMOD (eTomo's folder, ``tilt.com``, ``.xf``).
    name
        Of the tomogram; may be left out if there is just one.
    stack, pixel_size
        Of the images (Å), where a file of Warp, AreTomo or IMOD does not lead to them.

    Raises
    ------
    DataError
        If a file is missing or cannot be used.
    UsageError
        If the name is not that of a tomogram in the file, or left out where there are several.
    """
    ending = Path(path).suffix.lower()
    if ending in WARP:
        from fourierrecon.io.warp import read_warp

        series = read_warp(Path(path), stack=stack, pixel_size=pixel_size)
    elif ending in ARETOMO:
        from fourierrecon.io.aretomo import read_aretomo

        series = read_aretomo(Path(path), stack=stack, pixel_size=pixel_size)
    elif ending in IMOD or Path(path).is_dir():
        from fourierrecon.io.imod import read_imod

        series = read_imod(Path(path), stack=stack, pixel_size=pixel_size)
    elif stack is not None or pixel_size is not None:
        raise UsageError(f"{path} names its images and their pixel size itself; leave --stack and --angpix out")
    else:
        return star.read_tilt_series(path, name)
    if name is not None and name != series.name:
        raise UsageError(f"--tn {name!r} is not in {path}, which holds {series.name!r}; leave --tn out")
    return series
