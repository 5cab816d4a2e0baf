"""Reads SerialEM's ``.mdoc``: what the microscope noted of each tilt, to complete the series of another reader."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.io.files import is_plain, read_lines
from fourierrecon.tilt_series import MOST_TILT, TiltSeries

#: No angle (degrees), exposure (e⁻/Å²) or pixel size (Å) is larger: what exceeds it is a mistake.
LARGEST = 1e7
#: Fields that are read; whatever else a section holds, in whatever form, does not matter.
NUMBERS = ("TiltAngle", "ExposureDose", "PriorRecordDose", "PixelSpacing")
FIELDS = (*NUMBERS, "SubFramePath", "DateTime")
SECTION = re.compile(r"\[(ZValue|FrameSet|MontSection) *=")
TIME = re.compile(r"(\d{1,2})-([^\W\d_]{2,9})\.?-(\d{2,4})\s+(\d{1,2}):(\d{2}):(\d{2})$")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True)
class MdocImage:
    """One tilt as the microscope noted it.

    Parameters
    ----------
    z
        ``ZValue``: 0-based number in the stack that SerialEM wrote; in a file of frame sets only, the place in it.
    tilt_angle
        Degrees.
    exposure
        Exposure of this image, e⁻/Å², if noted (``ExposureDose``).
    prior_exposure
        Before this image, e⁻/Å², if noted (``PriorRecordDose``).
    pixel_size
        Å, if noted.
    file_name
        File of its movie frames, without folders; empty where not noted.
    order
        0-based place in the order of acquisition (see :func:`acquisition_order`); None where the file does not tell.
    """

    z: int
    tilt_angle: float
    exposure: float | None
    prior_exposure: float | None
    pixel_size: float | None
    file_name: str
    order: int | None


@dataclass(frozen=True)
class Mdoc:
    """An mdoc file of a tilt series.

    Parameters
    ----------
    path
        The file.
    images
        Images in the order of the file.
    """

    path: Path
    images: tuple[MdocImage, ...]

    @property
    def exposure_before(self) -> NDArray[np.float64] | None:
        """Exposure before each image, e⁻/Å², ``(n_images,)``; None where the file does not tell.

        ``PriorRecordDose`` if all images have it (and not only zeros); else the sum of ``ExposureDose`` of those
        taken before, if their order is known. SerialEM writes 0 where its dose is not calibrated: such zeros count as
        unknown.
        """
        prior = [image.prior_exposure for image in self.images]
        if None not in prior and any(prior):
            return np.array(prior, float)
        own, order = [image.exposure for image in self.images], [image.order for image in self.images]
        if None in own or not any(own) or None in order:
            return None
        doses, turn = np.array(own, float), np.argsort(np.array(order, int))
        before = np.empty(len(doses))
        before[turn] = np.cumsum(doses[turn]) - doses[turn]
        return before


def read_mdoc(path: str | os.PathLike[str]) -> Mdoc:
    """Read the mdoc of a tilt series: sections ``[ZValue = n]``, or ``[FrameSet = n]`` where there are no others.

    Parameters
    ----------
    path
        ``.mdoc``.

    Raises
    ------
    DataError
        If it is no mdoc of a tilt series; the message names section and field.
    """
    path = Path(path)
    lines = [line.strip() for line in read_lines(path, "SerialEM's .mdoc")]
    starts = [i for i, line in enumerate(lines) if SECTION.match(line)]
    if not starts:
        raise DataError(
            f"{path} is no .mdoc of a tilt series: no line begins with [ZValue = ...]; give SerialEM's .mdoc"
        )
    montage = next((i for i in starts if lines[i].startswith("[MontSection")), None)
    if montage is not None:
        raise DataError(
            f"{path}, line {montage + 1}: {lines[montage][:40]} begins a montage; give the .mdoc of a tilt series"
        )
    spans = list(zip(starts, [*starts[1:], len(lines)], strict=True))
    # a frame set that tilts follow speaks of all of them, and is no tilt itself
    spans = [span for span in spans if lines[span[0]].startswith("[ZValue")] or spans
    sections = [_section(path, lines[start:end], start + 1, place) for place, (start, end) in enumerate(spans)]
    numbers = [z for z, _ in sections]
    twice = next((z for z, count in Counter(numbers).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{path}: section {twice} is there more than once; were two files joined? Keep one of each")
    order, missing = acquisition_order(
        [str(section.DateTime or "") for _, section in sections], [section.TiltAngle for _, section in sections]
    )
    prior = [section.PriorRecordDose for _, section in sections]
    if None not in prior and any(prior):
        missing = None
    if missing is not None and all(section.ExposureDose for _, section in sections):
        told = "the images count as taken in the order of the file"
        if order is None:
            order = numbered([_name(str(section.SubFramePath or "")) for _, section in sections])
            told = "the images count as taken in the order of the numbers in the names of their frames"
        told = "the order of the images is not known" if order is None else told
        warnings.warn(
            f"{path}, line {spans[missing][0] + 1}: this section has no readable DateTime (as 30-Nov-2015 15:21:38): "
            f"{told}",
            stacklevel=2,
        )
    return Mdoc(
        path,
        tuple(
            MdocImage(
                z,
                section.TiltAngle,
                section.ExposureDose,
                section.PriorRecordDose,
                section.PixelSpacing,
                _name(str(section.SubFramePath or "")),
                None if order is None else order[i],
            )
            for i, (z, section) in enumerate(sections)
        ),
    )


def acquisition_order(times: Sequence[str], angles: Sequence[float]) -> tuple[list[int] | None, int | None]:
    """Find out in which order images were taken.

    By their times, if all have one of their own. Else in the order of the file, if the times that can be read agree
    with it; or if there are none, and the angles go to and fro, so that nobody has sorted the file by them.

    Parameters
    ----------
    times
        Times as ``30-Nov-15  15:21:38`` or ISO 8601. A month in another language will do where all images have the
        same.
    angles
        Tilts, degrees.

    Returns
    -------
    tuple
        The place of each image in the order, or None; and the first image whose time is missing or cannot be read,
        where that matters.
    """
    known = [_time(text) for text in times]
    months = {match[2].lower() for text in times if (match := TIME.match(text.strip()))}
    if None in known and len(months) == 1 and not months & set(MONTHS):
        (month,) = months
        known = [_time(re.sub(month, "jan", text, flags=re.IGNORECASE)) for text in times]
    missing = known.index(None) if None in known else None
    told = [time for time in known if time is not None]
    if len(set(told)) == len(times):
        return [int(i) for i in np.argsort(sorted(range(len(times)), key=lambda i: told[i]))], None
    in_file = list(range(len(times)))
    if len(set(told)) > 1:
        return (in_file if told == sorted(told) else None), missing
    steps = np.diff(angles)
    to_and_fro = bool((steps > 0).any() and (steps < 0).any())
    return (in_file if to_and_fro else None), missing or 0


def numbered(names: Sequence[str]) -> list[int] | None:
    """Give the order of files by the running number in their names, as ``TS_01_007_-9.0.eer``; None if they lack it."""
    numbers = [[int(word) for word in re.findall(r"[0-9]{1,9}", stem_of(name))] for name in names]
    for column in zip(*numbers, strict=False):
        if len(column) > 1 and sorted(column) == list(range(min(column), min(column) + len(column))):
            return [number - min(column) for number in column]
    return None


def join_mdoc(series: TiltSeries, mdoc: Mdoc | str | os.PathLike[str]) -> TiltSeries:
    """Give a tilt series the exposures of an mdoc, in place of those that it may have.

    Which section is that of an image is found by :mod:`fourierrecon.io.serialem.match`.

    Parameters
    ----------
    series
        Tilt series from any reader.
    mdoc
        Read, or its file.

    Returns
    -------
    TiltSeries
        The same one if the mdoc gives no exposures (then with a warning).

    Raises
    ------
    DataError
        If the mdoc cannot be used, or its images are not those of the series.
    """
    from fourierrecon.io.serialem.match import match_sections

    notes = mdoc if isinstance(mdoc, Mdoc) else read_mdoc(mdoc)
    exposure = notes.exposure_before
    if exposure is None:
        reason = "ExposureDose 0 or missing"
        if notes.images[0].order is None:
            reason = "the order in which the images were taken is not known; add DateTime or PriorRecordDose"
        rest = "none is used" if series.exposure is None else "those of the tilt series are used"
        warnings.warn(f"{notes.path}: gives no exposure ({reason}); {rest}", stacklevel=2)
        return series
    found = exposure[match_sections(series, notes)]
    if series.exposure is not None and not np.allclose(found, series.exposure, atol=0.01):
        warnings.warn(
            f"{notes.path}: its exposures are used, which are not those of {series.source or series.name} "
            f"(up to {np.abs(found - series.exposure).max():.3g} e⁻/Å² apart)",
            stacklevel=2,
        )
    return replace(series, exposure=found)


def _section(path: Path, lines: list[str], number: int, place: int) -> tuple[int, Any]:
    """Read a section: its ``z``, and its fields as ``mdocfile.data_models.MdocSectionData``."""
    from mdocfile.data_models import MdocSectionData  # type: ignore[import-untyped]

    where = f"{path}, line {number}, section {lines[0][:40]}"
    pairs = [(line, *(part.strip() for part in line.split("=", 1))) for line in lines if "=" in line]
    fields = [line for line, name, value in pairs if name in FIELDS and value]
    for _, name, value in pairs:
        if name in (*NUMBERS, "[ZValue") and not is_plain(value):
            raise DataError(f"{where}: {name} {value[:40]!r} is not a number; correct it")
    try:
        section = MdocSectionData.from_lines([lines[0], *fields])
    except ValueError as error:
        # the library's message has a line for each fault; its first one's field is enough
        details: list[Any] = getattr(error, "errors", list)()
        field = str(details[0]["loc"][0]) if details and details[0].get("loc") else "a field"
        raise DataError(f"{where}: {field} is not of the kind that belongs there; correct it") from error
    z = place if section.ZValue is None else section.ZValue
    if not 0 <= z < LARGEST:
        raise DataError(f"{where}: its number must be 0 or more; correct it")
    if section.TiltAngle is None:
        raise DataError(f"{where}: TiltAngle is missing; was the file cut short, or is it no tilt series?")
    for name in NUMBERS:
        value = getattr(section, name)
        least, most = (-MOST_TILT, MOST_TILT) if name == "TiltAngle" else (0, LARGEST)
        if value is not None and not least <= value <= most:
            raise DataError(f"{where}: {name} {value:g} makes no sense; correct it or remove the line")
    return z, section


def _time(text: str) -> datetime | None:
    """Read a time as ``30-Nov-15  15:21:38`` or of ISO 8601, whatever the locale."""
    match = TIME.match(text.strip())
    try:
        if match is None:
            return datetime.fromisoformat(" ".join(text.split())).replace(tzinfo=None)
        if match[2].lower() not in MONTHS:
            return None
        year, month = int(match[3]), MONTHS.index(match[2].lower()) + 1
        day, hour, minute, second = (int(match[i]) for i in (1, 4, 5, 6))
        return datetime(year + 2000 if year < 100 else year, month, day, hour, minute, second)
    except ValueError:
        return None


def _name(path: str) -> str:
    """Give the name of a file without its folders, of either system."""
    return PurePosixPath(path.replace("\\", "/")).name


def stem_of(name: str) -> str:
    """Give the name of a file without its ending, to be compared."""
    return os.path.splitext(name)[0].lower()
