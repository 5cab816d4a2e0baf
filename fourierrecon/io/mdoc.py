"""Reads SerialEM's ``.mdoc``: what the microscope noted of each tilt, to complete the series of another reader."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
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
#: By how much the tilt angles of a series may stray from the mdoc's, beyond a common offset, degrees.
STRAY = 2.0
#: Fields that are read; whatever else a section holds, in whatever form, does not matter.
NUMBERS = ("TiltAngle", "ExposureDose", "PriorRecordDose", "PixelSpacing")
FIELDS = (*NUMBERS, "SubFramePath", "DateTime")
SECTION = re.compile(r"\[(ZValue|FrameSet|MontSection) *=")
TIME = re.compile(r"(\d{1,2})-([A-Za-z]{3})-(\d{2,4})\s+(\d{1,2}):(\d{2}):(\d{2})$", re.ASCII)
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
        Of this image, e⁻/Å², if noted (``ExposureDose``).
    prior_exposure
        Before this image, e⁻/Å², if noted (``PriorRecordDose``).
    pixel_size
        Å, if noted.
    file_name
        Of its frames, without folders; empty where not noted.
    order
        0-based place in the order of acquisition: by ``DateTime`` where every image has it, else as in the file.
    """

    z: int
    tilt_angle: float
    exposure: float | None
    prior_exposure: float | None
    pixel_size: float | None
    file_name: str
    order: int


@dataclass(frozen=True)
class Mdoc:
    """An mdoc file of a tilt series.

    Parameters
    ----------
    path
        The file.
    images
        In the order of the file.
    """

    path: Path
    images: tuple[MdocImage, ...]

    @property
    def exposure_before(self) -> NDArray[np.float64] | None:
        """Exposure before each image, e⁻/Å², ``(n_images,)``; None where the file does not tell.

        ``PriorRecordDose`` if all images have it (and not only zeros); else the sum of ``ExposureDose`` of those
        taken before. SerialEM writes 0 where its dose is not calibrated: such zeros count as unknown.
        """
        prior = [image.prior_exposure for image in self.images]
        if None not in prior and any(prior):
            return np.array(prior, float)
        own = [image.exposure for image in self.images]
        if None in own or not any(own):
            return None
        doses, turn = np.array(own, float), np.argsort([image.order for image in self.images])
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
    times = [_time(section.DateTime or "") for _, section in sections]
    known = [time for time in times if time is not None]
    if known and len(known) < len(times):
        lacking = spans[times.index(None)][0] + 1
        warnings.warn(
            f"{path}, line {lacking}: this section has no readable DateTime, so the images count as taken in the order "
            f"of the file; was it cut short?",
            stacklevel=2,
        )
    turn = sorted(range(len(times)), key=lambda i: known[i]) if len(known) == len(times) else list(range(len(times)))
    order = np.argsort(turn)
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
                int(order[i]),
            )
            for i, (z, section) in enumerate(sections)
        ),
    )


def join_mdoc(series: TiltSeries, mdoc: Mdoc | str | os.PathLike[str]) -> TiltSeries:
    """Complete a tilt series with the exposure of an mdoc, where the series has none.

    Images that are files of their own are found by the names of their frames, without endings. Else image ``i`` of the
    series is that with the ``i``-th ``ZValue``, if there are as many and their tilt angles fit (but for a common
    offset, and the sign).

    Parameters
    ----------
    series
        From any reader.
    mdoc
        Read, or its file.

    Returns
    -------
    TiltSeries
        The same one if it has exposures, or the mdoc has none (then with a warning).

    Raises
    ------
    DataError
        If the mdoc cannot be used, or its images are not those of the series.
    """
    if series.exposure is not None:
        return series
    notes = mdoc if isinstance(mdoc, Mdoc) else read_mdoc(mdoc)
    exposure = notes.exposure_before
    if exposure is None:
        warnings.warn(f"{notes.path}: tells no exposure (ExposureDose 0 or missing); none is used", stacklevel=2)
        return series
    return replace(series, exposure=exposure[_match(series, notes)])


def _match(series: TiltSeries, notes: Mdoc) -> NDArray[np.intp]:
    """Give the place in the mdoc of each image of a series, ``(n_tilts,)``."""
    stacks = getattr(series.images, "stacks", ())
    if len(stacks) == series.n_tilts:
        places = {_stem(image.file_name): i for i, image in enumerate(notes.images) if image.file_name}
        found = [places.get(_stem(Path(stack.path).name)) for stack in stacks]
        if None not in found and len(set(found)) == len(found):
            return np.array(found, np.intp)
    where = f"{notes.path} and {series.source or series.name}"
    if len(notes.images) != series.n_tilts:
        raise DataError(
            f"{where}: {len(notes.images)} sections for {series.n_tilts} images, and their file names do not tell "
            f"which is which; give the .mdoc of these images"
        )
    by_z = np.argsort([image.z for image in notes.images])
    angles = np.array([image.tilt_angle for image in notes.images])[by_z]
    stray = min(float(np.ptp(series.tilt_angles - sign * angles)) for sign in (1, -1))
    if not stray <= STRAY:
        raise DataError(
            f"{where}: the tilt angles stray by {stray:.3g} degrees, {STRAY:g} allowed; "
            f"is the .mdoc of another series, or in another order than the images?"
        )
    return by_z


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
    """Read a time as ``30-Nov-15  15:21:38``, whatever the locale."""
    match = TIME.match(text.strip())
    if match is None or match[2].lower() not in MONTHS:
        return None
    year, month = int(match[3]), MONTHS.index(match[2].lower()) + 1
    day, hour, minute, second = (int(match[i]) for i in (1, 4, 5, 6))
    try:
        return datetime(year + 2000 if year < 100 else year, month, day, hour, minute, second)
    except ValueError:
        return None


def _name(path: str) -> str:
    """Give the name of a file without its folders, of either system."""
    return PurePosixPath(path.replace("\\", "/")).name


def _stem(name: str) -> str:
    """Give the name of a file without its ending, to be compared."""
    return os.path.splitext(name)[0].lower()
