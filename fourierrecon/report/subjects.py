"""What a report is about: the tomograms in a folder of products, and the tilt series that each was made from."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fourierrecon.errors import DataError, FourierReconError
from fourierrecon.geometry.axis_order import Orientation
from fourierrecon.geometry.region import Region
from fourierrecon.images.repair import repaired
from fourierrecon.io import read_tilt_series
from fourierrecon.io.files import find_file
from fourierrecon.io.relion.read import find_set
from fourierrecon.io.relion.tomogram_list import VOLUMES
from fourierrecon.io.volumes.formats import open_volume
from fourierrecon.sets.records import Record, read_outcomes
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.tomogram import checks
from fourierrecon.tomogram.provenance import (
    ctf_words,
    depth_words,
    local_words,
    passport_path,
    read_passport,
    weighting_words,
)
from fourierrecon.tomogram.request import fitted_region
from fourierrecon.tomogram.specimen import Specimen
from fourierrecon.volume import Volume
from fourierrecon.weighting.snr import SnrCurve

#: Voxel sizes that differ by less than this part are the same.
SAME = 1e-3


@dataclass(frozen=True, eq=False)
class Subject:
    """One tomogram that is to be reported on.

    Parameters
    ----------
    name
        Its name.
    path
        Its volume; None where there is none.
    series
        Its tilt series with all images, those that were left out included; None where it cannot be read.
    region
        Its voxels; None where that is not known.
    like
        Orientation of the file.
    halves
        Its half volumes, if there are any.
    halves_of
        What they are halves of, ``tilts`` or ``frames``; empty where that is not known.
    error, notes
        What went wrong, and warnings.
    seconds
        That the reconstruction took, if it is known.
    facts
        What else to tell, ``(label, value)``.
    skipped
        Images that are blank or not finite were left out.
    specimen
        The specimen's slab in the world of the series, where the tomogram was fitted to it.
    """

    name: str
    path: Path | None = None
    series: TiltSeries | None = None
    region: Region | None = None
    like: str | None = None
    halves: tuple[Path, Path] | None = None
    halves_of: str = ""
    error: str = ""
    notes: tuple[str, ...] = ()
    seconds: float | None = None
    facts: tuple[tuple[str, str], ...] = ()
    skipped: bool = False
    specimen: Specimen | None = None


def subjects_in(folder: Path) -> list[Subject]:
    """Find the tomograms in a folder that a set was reconstructed into, those that failed included, by name.

    Parameters
    ----------
    folder
        With ``tomograms.star``, ``outcomes.json`` or both.

    Raises
    ------
    DataError
        If there is no tomogram, or a list is damaged.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give the one that a set was reconstructed into")
    records, listed = read_outcomes(folder), _listed(folder / "tomograms.star")
    names = sorted({*records, *listed})
    if names and not records and not any(listed.values()):
        raise DataError(
            f"{folder / 'tomograms.star'} names no tomograms ({VOLUMES['']}): give the folder that a set was "
            f"reconstructed into"
        )
    if not names:
        raise DataError(
            f"{folder} holds neither tomograms.star nor outcomes.json: give the folder that a set was "
            f"reconstructed into"
        )
    return [_subject(folder, name, records.get(name), listed.get(name, {})) for name in names]


def volume_facts(path: Path) -> list[tuple[str, str]]:
    """List what the header and the passport of a volume tell beyond its size, ``(label, value)``.

    Parameters
    ----------
    path
        Of the volume.

    Raises
    ------
    DataError
        If the volume cannot be read, or the passport is damaged.
    """
    facts = [("header", line) for line in open_volume(path).label.splitlines() if not line.startswith("key ")]
    passport = read_passport(path)
    if passport is None:
        return [*facts, ("passport", "none was written")]
    return [*facts, *_passport_facts(passport)]


def snr_of(path: Path) -> SnrCurve | None:
    """Read the signal-to-noise ratio that a volume was weighted with from its passport; None if it holds no curve.

    Parameters
    ----------
    path
        Path of the volume.

    Raises
    ------
    DataError
        If the passport is damaged.
    """
    held = (read_passport(path) or {}).get("weighting", {}).get("snr")
    # a ratio that was given is one number
    if not isinstance(held, dict):
        return None
    try:
        frequency, snr = (tuple(float(value) for value in held[key]) for key in ("frequency", "snr"))
        return SnrCurve(frequency, snr, str(held.get("origin", "")))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{passport_path(path)}: weighting.snr is no curve of frequency and ratio; remove it"
        ) from error


def oriented(volume: Volume, subject: Subject) -> Volume:
    """Give a volume with its axes as those of its region, and its place in the world.

    Parameters
    ----------
    volume
        As it is in the file.
    subject
        Its region and orientation.

    Raises
    ------
    DataError
        If it is not of the region's size.
    """
    region, series = subject.region, subject.series
    if region is None or series is None:
        return volume
    orientation = Orientation.like(subject.like, series)
    if volume.data.shape != orientation.shape(region.shape):
        raise DataError(f"{volume.data.shape} voxels do not fit the region of {region.shape} (z, y, x)")
    data = volume.data.transpose(1, 0, 2) if orientation.swap else volume.data
    x, y, z = (float(c) * series.pixel_size for c in region.origin)
    return replace(volume, data=data[::-1] if orientation.flip_z else data, origin=(x, y, z))


def _listed(path: Path) -> dict[str, dict[str, Path]]:
    """Give the volumes in a list of tomograms, by name and part."""
    if not path.exists():
        return {}
    found, overview, _ = find_set(path)
    volumes: dict[str, dict[str, Path]] = {}
    for row, name in enumerate(overview.words("rlnTomoName")):
        volumes[name] = {}
        for part, label in VOLUMES.items():
            if overview.has(label) and overview.words(label)[row]:
                volumes[name][part] = _locate(overview.words(label)[row], found, overview.cell(label, row))
    return volumes


def _locate(word: str, star: Path, where: str) -> Path:
    """Find a volume, also one that is a folder; a name that leads nowhere stays as it is."""
    beside = star.absolute().parent / "tomograms" / os.path.basename(word)
    if beside.exists():
        return beside
    try:
        return find_file(word, star, where=where)
    except DataError:
        return Path(word)


def _subject(folder: Path, name: str, record: Record | None, listed: dict[str, Path]) -> Subject:
    subject, volumes = Subject(name), listed
    if record is not None:
        volumes = dict(record.volumes) or listed
        facts = [*record.how.items(), ("source", str(record.source))]
        facts.append(("finished", record.finished.replace("T", " ").replace("+00:00", " UTC")))
        # what was left out is told image by image
        notes = tuple(note for note in record.notes if not (record.skipped and note.endswith("; left out")))
        subject = Subject(
            name, like=record.like, halves_of=record.halves, error=record.error, notes=notes,
            seconds=record.seconds or None, facts=tuple(facts), skipped=record.skipped,
            specimen=record.fit.specimen,
        )  # fmt: skip
    try:
        subject = replace(subject, series=_series(folder, name, record))
    except (FourierReconError, OSError) as problem:
        if not subject.error:
            subject = replace(subject, notes=(*subject.notes, f"its tilt series cannot be read: {problem}"))
    path, even, odd = (volumes.get(part) for part in ("", "Even", "Odd"))
    if subject.error:
        return subject
    if path is None or not path.exists():
        return replace(subject, error=f"the volume {path or ''} is gone; reconstruct again")
    halves = (even, odd) if even and odd and even.exists() and odd.exists() else None
    try:
        subject = replace(subject, path=path, halves=halves, region=_region(subject, path, record))
    except FourierReconError as problem:
        return replace(subject, error=str(problem))
    if record is None and subject.series is not None and subject.region is not None:
        # what was said when it was made is not known
        return replace(subject, notes=(*subject.notes, *checks.warnings_of(subject.series, subject.region)))
    return subject


def _series(folder: Path, name: str, record: Record | None) -> TiltSeries:
    """Read the tilt series from where it was read before; else as the list of tomograms names it."""
    star = folder / "tomograms.star"
    if record is not None and (record.source.exists() or not star.exists()):
        # a file of one tilt series may call it otherwise
        named = name if record.source.suffix.lower() == ".star" else None
        series = record.corrections.apply(read_tilt_series(record.source, named, record.extras))
        series = record.fit.apply(record.tilts.apply(series)[0])
        return series if record.repairs is None else repaired(series, record.repairs)
    return read_tilt_series(star, name)


def _region(subject: Subject, path: Path, record: Record | None) -> Region | None:
    """Work out which region a volume shows; None where it does not fit the tilt series."""
    series = subject.series
    if series is None:
        return None
    header = open_volume(path)
    binning = max(header.voxel_size / series.pixel_size, 1.0)
    if record is None:
        region = Region.of(series, binning=binning)
    else:
        binning = record.binning or binning
        region = fitted_region(series, record.fit, binning, record.origin, record.size)
    fits = Orientation.like(subject.like, series).shape(region.shape) == header.shape
    return region if fits and abs(header.voxel_size / (binning * series.pixel_size) - 1) < SAME else None


def _passport_facts(passport: dict[str, Any]) -> list[tuple[str, str]]:
    """List what a passport says; what is missing in it is left out."""
    frame, hand = passport.get("frame", {}), passport.get("handedness", {})
    found = [
        ("program", passport.get("program")),
        ("frame", frame.get("name")),
        ("z", frame.get("z")),
        ("hand", hand.get("evidence")),
        ("weighting", weighting_words(passport)),
        ("CTF", ctf_words(passport)),
        ("CTF by depth", depth_words(passport)),
        ("local alignment", local_words(passport)),
        *(("made from", f"{each.get('file')}, sha256 {str(each.get('sha256'))[:16]}…")
          for each in passport.get("sources", [])),
    ]  # fmt: skip
    return [(label, str(value)) for label, value in found if value]
