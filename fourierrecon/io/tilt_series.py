"""Tilt series from whatever file names them: RELION's sets, and alignments of IMOD, AreTomo, Warp and EMAN2."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fourierrecon.errors import UsageError
from fourierrecon.io.relion import read
from fourierrecon.io.stacks.mrc import holds_images
from fourierrecon.tilt_series import TiltSeries

#: Endings of files that hold the alignment of one tilt series.
WARP, ARETOMO, IMOD, EMAN = (".xml", ".tomostar"), (".aln",), (".xf", ".com"), (".json",)


@dataclass(frozen=True)
class Supplement:
    """What is given beside a file that does not hold it. It wins over what lies beside the file.

    Parameters
    ----------
    stack
        The images; for files of Warp, AreTomo, IMOD and EMAN2.
    pixel_size
        Of the images, Å; likewise.
    mdoc
        SerialEM's notes on the images: exposures.
    voltage, spherical_aberration, amplitude_contrast
        kV, mm, fraction; for AreTomo, IMOD and EMAN2.
    """

    stack: Path | None = None
    pixel_size: float | None = None
    mdoc: Path | None = None
    voltage: float | None = None
    spherical_aberration: float | None = None
    amplitude_contrast: float | None = None

    @property
    def optics(self) -> dict[str, float]:
        """What is given of the optics, by the names above."""
        names = ("voltage", "spherical_aberration", "amplitude_contrast")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


#: Nothing is given beside the file.
NOTHING = Supplement()


def names_in(path: str | os.PathLike[str], extras: Supplement = NOTHING) -> list[str]:
    """Give the names of the tilt series that a file names, in its order.

    Parameters
    ----------
    path, extras
        As for :func:`read_series`.

    Raises
    ------
    DataError, UsageError
        As :func:`read_series`.
    """
    if Path(path).is_dir() or Path(path).suffix.lower() in WARP + ARETOMO + IMOD + EMAN:
        return [read_series(path, None, extras).name]
    _refuse_images(Path(path))
    return read.list_tomograms(path)


def read_all_series(path: str | os.PathLike[str], extras: Supplement = NOTHING) -> list[TiltSeries]:
    """Read all tilt series that a file names, in its order.

    Parameters
    ----------
    path, extras
        As for :func:`read_series`.

    Raises
    ------
    DataError, UsageError
        As :func:`read_series`.
    """
    if Path(path).is_dir() or Path(path).suffix.lower() in WARP + ARETOMO + IMOD + EMAN:
        return [read_series(path, None, extras)]
    names = names_in(path, extras)
    check_single(extras, names)
    return [read_series(path, name, extras) for name in names]


def check_single(extras: Supplement, names: Sequence[str]) -> None:
    """Check that images and notes of one tilt series are not given for several.

    Raises
    ------
    UsageError
        If they are.
    """
    for option, file in (("stack", extras.stack), ("mdoc", extras.mdoc)):
        if file is not None and len(names) > 1:
            raise UsageError(
                f"{option}={file} is of one tilt series, but {len(names)} are read: {', '.join(names[:8])}"
                f"{' ...' if len(names) > 8 else ''}; give one at a time (name=...)"
            )


def passed_over(path: str | os.PathLike[str]) -> str | None:
    """Say why the program that wrote a file passes its tilt series over; None if it does not.

    A series that is named alone is read all the same, with a warning; many at once are taken without it.

    Parameters
    ----------
    path
        As for :func:`read_series`.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    if Path(path).suffix.lower() not in WARP:
        return None
    from fourierrecon.io.warp.files import is_unselected

    return "somebody took it out in Warp (UnselectManual)" if is_unselected(Path(path)) else None


def read_series(path: str | os.PathLike[str], name: str | None = None, extras: Supplement = NOTHING) -> TiltSeries:
    """Read a tilt series; its images stay on disk until they are used.

    Parameters
    ----------
    path
        Tomogram or optimisation set of RELION 4 or 5 (STAR), tilt series of Warp (``.xml``, ``.tomostar``), alignment
        of AreTomo (``.aln``), IMOD (eTomo's folder, ``tilt.com``, ``.xf``) or EMAN2 (``NAME_info.json``).
    name
        Of the tomogram; may be left out if there is just one.
    extras
        What the file does not hold.

    Raises
    ------
    DataError
        If a file is missing or cannot be used.
    UsageError
        If the name is not that of a tomogram in the file, or left out where there are several; or if something is
        given that the file holds itself.
    """
    series = _read(Path(path), name, extras)
    if extras.mdoc is not None:
        from fourierrecon.io.serialem.mdoc import join_mdoc

        series = join_mdoc(series, extras.mdoc)
    if Path(path).is_dir() or Path(path).suffix.lower() in WARP + ARETOMO + IMOD + EMAN:
        from fourierrecon.io.stacks.extended_header import with_notes

        # what is given and what lies in files of its own goes before what the stack notes
        series = with_notes(series)
    return series


def _refuse_images(path: Path) -> None:
    if holds_images(path):
        raise UsageError(
            f"{path} holds images or a volume, no alignment; give a .star, .xml, .aln, .xf or tilt.com, or EMAN2's "
            f"info/NAME_info.json, and the images as stack=... where it does not name them"
        )


def _read(path: Path, name: str | None, extras: Supplement) -> TiltSeries:
    _refuse_images(path)
    ending = path.suffix.lower()
    if ending in WARP:
        from fourierrecon.io.warp.alignment import read_warp

        if extras.optics:
            raise UsageError(
                f"{path} holds the optics itself; leave "
                f"voltage=..., spherical_aberration=... and amplitude_contrast=... out"
            )
        series = read_warp(path, stack=extras.stack, pixel_size=extras.pixel_size)
    elif ending in ARETOMO:
        from fourierrecon.io.aretomo.alignment import read_aretomo

        series = read_aretomo(path, stack=extras.stack, pixel_size=extras.pixel_size, **extras.optics)
    elif ending in IMOD or path.is_dir():
        from fourierrecon.io.imod.alignment import read_imod

        series = read_imod(path, stack=extras.stack, pixel_size=extras.pixel_size, **extras.optics)
    elif ending in EMAN:
        from fourierrecon.io.eman import read_eman

        series = read_eman(path, stack=extras.stack, pixel_size=extras.pixel_size, **extras.optics)
    elif extras.optics or extras.stack is not None or extras.pixel_size is not None:
        raise UsageError(
            f"{path} names its images, pixel size and optics itself; leave stack=..., pixel_size=..., "
            f"voltage=..., spherical_aberration=... and amplitude_contrast=... out"
        )
    else:
        return read.read_tilt_series(path, name)
    if name is not None and name != series.name:
        raise UsageError(f"--tn {name!r} is not in {path}, which holds {series.name!r}; leave --tn out")
    return series
