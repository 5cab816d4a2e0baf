"""Reads tilt series from the files of any program: one table leads from the ending of a file to its reader."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from fourierrecon.errors import UsageError, check_type
from fourierrecon.io.relion import read
from fourierrecon.io.stacks.mrc import holds_images
from fourierrecon.text import short_repr
from fourierrecon.tilt_series import TiltSeries

#: Endings of files that hold the alignment of one tilt series. Any other file is a STAR file of RELION.
WARP, ARETOMO, IMOD, EMAN = (".xml", ".tomostar"), (".aln",), (".xf", ".com"), (".json",)
#: Module and function that read the files with these endings; a folder is read as one of IMOD.
READERS = {
    WARP: ("fourierrecon.io.warp.alignment", "read_warp"),
    ARETOMO: ("fourierrecon.io.aretomo.alignment", "read_aretomo"),
    IMOD: ("fourierrecon.io.imod.alignment", "read_imod"),
    EMAN: ("fourierrecon.io.eman", "read_eman"),
}


@dataclass(frozen=True, repr=False)
class Supplement:
    """What is given beside a file that does not hold it. It wins over files that lie beside that file.

    Parameters
    ----------
    stack
        The images (MRC or TIFF); for files of Warp, AreTomo, IMOD and EMAN2.
    pixel_size
        Pixel size of the images, Å; for the same files.
    mdoc
        SerialEM's notes on the images, which hold their exposures; for files of any program.
    voltage, spherical_aberration, amplitude_contrast
        kV, mm, fraction; for files of AreTomo, IMOD and EMAN2.
    """

    stack: Path | None = None
    pixel_size: float | None = None
    mdoc: Path | None = None
    voltage: float | None = None
    spherical_aberration: float | None = None
    amplitude_contrast: float | None = None

    __repr__ = short_repr

    @property
    def optics(self) -> dict[str, float]:
        """Voltage, spherical aberration and amplitude contrast as far as they are given, by their names above."""
        names = ("voltage", "spherical_aberration", "amplitude_contrast")
        return {name: value for name, value in asdict(self).items() if name in names and value is not None}


#: Nothing is given beside the file.
NOTHING = Supplement()


def read_tilt_series(
    path: str | os.PathLike[str],
    name: str | None = None,
    supplement: Supplement = NOTHING,
    *,
    stack: str | os.PathLike[str] | None = None,
    pixel_size: float | None = None,
    mdoc: str | os.PathLike[str] | None = None,
    voltage: float | None = None,
    spherical_aberration: float | None = None,
    amplitude_contrast: float | None = None,
    images: read.Which = "full",
) -> TiltSeries:
    """Read a tilt series from a file of any program; its images stay on disk until they are used.

    Parameters
    ----------
    path
        Tomogram set or optimisation set of RELION 4 or 5 (STAR), tilt series of Warp (``.xml``, ``.tomostar``),
        alignment of AreTomo (``.aln``), IMOD (eTomo's folder, ``tilt.com``, ``.xf``) or EMAN2 (``NAME_info.json``).
    name
        Name of the tomogram, exactly as in the file; may be left out if there is just one.
    supplement
        The arguments ``stack`` to ``amplitude_contrast`` as one record; what is given by itself wins.
    stack
        The images, MRC or TIFF, of files of Warp, AreTomo, IMOD and EMAN2. Default: the stack that the file names, or
        that lies beside it.
    pixel_size
        Pixel size of these images, Å. Default: as the file or the header of the images has it.
    mdoc
        SerialEM's notes on the images (``.mdoc``); the exposures come from them.
    voltage, spherical_aberration, amplitude_contrast
        kV, mm, fraction, for AreTomo, IMOD and EMAN2. Default: as files of the program have them.
    images
        ``full``, or the ``even`` or ``odd`` half of each tilt's movie frames, which only sets of RELION name.

    Returns
    -------
    TiltSeries
        With its tilts in the order of the file. ``ctf`` is None where something is missing for it, which
        ``ctf_missing`` lists.

    Raises
    ------
    DataError
        If a file is missing or cannot be used; the message names file and field.
    UsageError
        If the name is not that of a tomogram in the file, or left out where there are several; or if something is
        given that the file holds itself.

    Examples
    --------
    >>> from fourierrecon import read_tilt_series
    >>> from fourierrecon.simulation.phantom import cell_like_specimen
    >>> from fourierrecon.simulation.simulate import simulate, write_simulation
    >>> files = write_simulation("simulated", simulate(cell_like_specimen((64, 60, 24)), (64, 60, 24)))
    >>> read_tilt_series("simulated/tomograms.star", "TS_01")
    TiltSeries('TS_01', 41 images of 60 x 64 px, 10 Å/px, tilts -60° to 60°)
    >>> series = read_tilt_series("TS_01.aln", stack="TS_01.mrc", pixel_size=1.35)  # doctest: +SKIP
    """
    check_type("path", path, (str, os.PathLike), "the name of a file or folder")
    check_type("name", name, (str, type(None)), "the name of a tomogram")
    given: dict[str, Any] = {
        "stack": None if stack is None else Path(stack),
        "pixel_size": pixel_size,
        "mdoc": None if mdoc is None else Path(mdoc),
        "voltage": voltage,
        "spherical_aberration": spherical_aberration,
        "amplitude_contrast": amplitude_contrast,
    }
    extras = replace(supplement, **{label: value for label, value in given.items() if value is not None})
    series = _read(Path(path), name, extras, images)
    if extras.mdoc is not None:
        from fourierrecon.io.serialem.mdoc import join_mdoc

        series = join_mdoc(series, extras.mdoc)
    if _holds_one(path):
        from fourierrecon.io.stacks.extended_header import with_notes

        # the stack's own notes come last: files and arguments win over them
        series = with_notes(series)
    return series


def read_all_tilt_series(path: str | os.PathLike[str], supplement: Supplement = NOTHING) -> list[TiltSeries]:
    """Read all tilt series that a file names, in its order.

    Parameters
    ----------
    path, supplement
        As for :func:`read_tilt_series`.

    Raises
    ------
    DataError, UsageError
        As :func:`read_tilt_series`.
    """
    if _holds_one(path):
        return [read_tilt_series(path, None, supplement)]
    names = list_tomograms(path, supplement)
    check_single(supplement, names)
    return [read_tilt_series(path, name, supplement) for name in names]


def list_tomograms(path: str | os.PathLike[str], supplement: Supplement = NOTHING) -> list[str]:
    """Give the names of the tomograms that a file names, in its order.

    Parameters
    ----------
    path, supplement
        As for :func:`read_tilt_series`.

    Raises
    ------
    DataError, UsageError
        As :func:`read_tilt_series`.
    """
    if _holds_one(path):
        return [read_tilt_series(path, None, supplement).name]
    _refuse_images(Path(path))
    return read.names_of(path)


def check_single(supplement: Supplement, names: Sequence[str]) -> None:
    """Check that images and notes of one tilt series are not given for several.

    Raises
    ------
    UsageError
        If they are.
    """
    for argument, file in (("stack", supplement.stack), ("mdoc", supplement.mdoc)):
        if file is not None and len(names) > 1:
            raise UsageError(
                f'{argument}="{file}" is of one tilt series, but'
                f" {len(names)} are read: {', '.join(names[:8])}"
                f"{' ...' if len(names) > 8 else ''}; give one at a time (name=...)"
            )


def check_supplement(path: str | os.PathLike[str], supplement: Supplement) -> None:
    """Refuse what is given beside a file that holds it itself.

    Parameters
    ----------
    path, supplement
        As for :func:`read_tilt_series`.

    Raises
    ------
    UsageError
        If the file holds it.
    """
    found = _reader(Path(path))
    if found is None and (supplement.optics or supplement.stack is not None or supplement.pixel_size is not None):
        raise UsageError(
            f"{path} names its images, pixel size and optics itself; leave stack=..., pixel_size=..., "
            f"voltage=..., spherical_aberration=... and amplitude_contrast=... out"
        )
    if found == READERS[WARP] and supplement.optics:
        raise UsageError(
            f"{path} holds the optics itself; leave voltage=..., spherical_aberration=... and amplitude_contrast=... "
            f"out"
        )


def passed_over(path: str | os.PathLike[str]) -> str | None:
    """Give the reason why the program that wrote a file passes its tilt series over; None if it does not.

    A series that is named alone is read all the same, with a warning; when many are read at once it is left out.

    Parameters
    ----------
    path
        As for :func:`read_tilt_series`.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    if Path(path).suffix.lower() not in WARP:
        return None
    from fourierrecon.io.warp.files import is_unselected

    return "somebody took it out in Warp (UnselectManual)" if is_unselected(Path(path)) else None


def _reader(path: Path) -> tuple[str, str] | None:
    """Give module and function that read a file of one tilt series; None for sets of RELION."""
    ending = path.suffix.lower()
    named = next((reader for endings, reader in READERS.items() if ending in endings), None)
    return READERS[IMOD] if named is None and path.is_dir() else named


def _holds_one(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file holds the alignment of one tilt series, as those of all programs but RELION do."""
    return _reader(Path(path)) is not None


def _refuse_images(path: Path) -> None:
    if holds_images(path):
        raise UsageError(
            f"{path} holds images or a volume, no alignment; give a .star, .xml, .aln, .xf or tilt.com, or EMAN2's "
            f"info/NAME_info.json, and the images as stack=... where it does not name them"
        )


def _read(path: Path, name: str | None, extras: Supplement, images: read.Which) -> TiltSeries:
    """Read the alignment with the reader of its program, and check that what is given beside it has a use."""
    _refuse_images(path)
    found = _reader(path)
    check_supplement(path, extras)
    if found is None:
        return read.read_relion(path, name, images=images)
    if images != "full":
        raise UsageError(f"{path} names no half images, only sets of RELION do; leave images=... out")
    module, function = found
    reader: Callable[..., TiltSeries] = getattr(import_module(module), function)
    series = reader(path, stack=extras.stack, pixel_size=extras.pixel_size, **extras.optics)
    if name is not None and name != series.name:
        raise UsageError(f"{path} holds no tomogram {name!r}, only {series.name!r}; leave name=... out")
    return series
