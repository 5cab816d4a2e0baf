"""Extracts the boxes at all picks of a set into files, and lists them as RELION does.

The layout is that of RELION's particle sets: ``Subtomograms/TOMOGRAM/N...`` with one or two files a particle,
``particles.star`` and ``optimisation_set.star``. Names of columns are those of RELION 5.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine.settings import Settings
from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.coordinate_frames import Box, conversion, convert
from fourierrecon.geometry.region import Region
from fourierrecon.io import Supplement, list_tomograms, read_tilt_series, write_mrc, write_stack
from fourierrecon.io.files import replacing
from fourierrecon.io.json_text import read_object
from fourierrecon.io.star.table import write_tables
from fourierrecon.particles.boxes import BoxMaker
from fourierrecon.particles.picks import SetPicks, is_relion4
from fourierrecon.runtime.threads import for_each
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.volume import Volume

Kind = Literal["volumes", "relion", "relion-stacks"]
#: What may be extracted, for people.
KINDS: dict[str, str] = {
    "volumes": "subtomograms, divided by their weights",
    "relion": "RELION's pseudo-subtomograms: data and weight terms",
    "relion-stacks": "RELION 5's stacks of images, times their transfer functions",
}
#: File that says what a folder was made with.
RECORD = "extraction.json"


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What is to be extracted, and how.

    Parameters
    ----------
    source
        Set or tilt series, of any program.
    picks
        File of points.
    folder
        Folder for the boxes.
    box, binning, window
        As for :class:`~fourierrecon.particles.BoxMaker`.
    kind
        One of :data:`KINDS`.
    frame, picked_binning
        Frame of the points, and the binning of the volume that was picked in.
    names
        Tomograms that are wanted; empty: all.
    snr
        Signal-to-noise ratio that ``volumes`` are divided with.
    invert
        Turn dense matter bright, as RELION wants it. Default: for RELION's kinds.
    extras, settings
        What the source lacks, and how images are treated.
    resume
        Go on in a folder that an earlier run left: boxes that are there stay.
    """

    source: Path
    picks: Path
    folder: Path
    box: int
    binning: int = 1
    window: int | None = None
    kind: Kind = "volumes"
    frame: str | None = None
    picked_binning: float = 1.0
    names: tuple[str, ...] = ()
    snr: float = 10.0
    invert: bool | None = None
    extras: Supplement = field(default_factory=Supplement)
    settings: Settings = field(default_factory=Settings)
    resume: bool = False

    @property
    def record(self) -> dict[str, object]:
        """What boxes depend on, for the file beside them."""
        s = self.settings
        return {
            "source": str(self.source.absolute()), "picks": str(self.picks.absolute()), "box": self.box,
            "binning": self.binning, "window": self.window, "kind": self.kind, "frame": self.frame,
            "picked_binning": self.picked_binning, "snr": self.snr, "invert": self.inverts,
            "ctf": s.correction.ctf_mode, "exposure": s.exposure, "tilt_weight": s.tilt_weight,
            "ctf_depth": s.ctf_depth, "defocus_hand": s.defocus_hand, "repairs": str(s.repairs),
        }  # fmt: skip

    @property
    def inverts(self) -> bool:
        """Whether dense matter becomes bright."""
        return self.kind != "volumes" if self.invert is None else self.invert


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """What became of the picks of one tomogram.

    Parameters
    ----------
    name
        Tomogram.
    made, kept, outside
        Boxes that were made; that were there already; and picks whose box no image holds.
    """

    name: str
    made: int
    kept: int
    outside: int


def extract(wanted: Extraction) -> Iterator[Extracted]:
    """Extract the boxes of a set, tomogram by tomogram; the lists are written at the end.

    Raises
    ------
    UsageError
        If an option makes no sense, or the folder holds something else.
    DataError
        If the set, an image or the picks cannot be used, or a file cannot be written.
    """
    if wanted.kind not in KINDS:
        raise UsageError(f'kind="{wanted.kind}": unknown; available: {", ".join(KINDS)}')
    if not wanted.snr > 0:
        raise UsageError(f"snr={wanted.snr:g} must be above 0")
    held = list_tomograms(wanted.source, wanted.extras)
    if unknown := [name for name in wanted.names if name not in held]:
        raise UsageError(f"{wanted.source} holds no tomogram {unknown[0]!r}; it holds {', '.join(held[:8])}")
    names = [name for name in held if not wanted.names or name in wanted.names]
    picks = SetPicks.read(wanted.picks, names, frame=wanted.frame, binning=wanted.picked_binning)
    _check_folder(wanted)
    rows: list[dict[str, Any]] = []
    groups: list[dict[str, Any]] = []
    for name in picks.rows:
        series = read_tilt_series(wanted.source, name, wanted.extras)
        points = picks.world(series)
        maker = BoxMaker(
            series=series, box=wanted.box, binning=wanted.binning, window=wanted.window, settings=wanted.settings
        )
        seen = [maker.visible(point) for point in points]
        inside = [number for number, which in enumerate(seen) if which.any()]
        folder = wanted.folder / "Subtomograms" / name
        if inside:
            # only now are the options known to make sense
            _keep_record(wanted)
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DataError(f"cannot make {folder}: {error.strerror or error}; choose another folder") from error
        missing = [n for n in inside if not all(path.is_file() for path in _files(wanted.kind, folder, n + 1))]

        def one(_: None, i: int, *, maker: BoxMaker = maker, points: NDArray[np.float64] = points,
                folder: Path = folder, missing: list[int] = missing) -> None:  # fmt: skip
            number = missing[i]
            _write(wanted, maker, points[number], _files(wanted.kind, folder, number + 1))

        for_each(len(missing), one, state=lambda: None, n_threads=wanted.settings.threads, stage=name,
                 progress=wanted.settings.progress)  # fmt: skip
        groups.append(_optics(wanted, series, len(groups) + 1))
        columns = picks.columns(name)
        for number in inside:
            kept = {label: values[number] for label, values in columns.items()}
            rows.append(_row(wanted, series, number + 1, points[number], seen[number], len(groups), kept, folder))
        made = len(missing)
        yield Extracted(name=name, made=made, kept=len(inside) - made, outside=len(points) - len(inside))
    if not rows:
        raise DataError(f"{wanted.picks}: no image holds the box of any point; is the frame ({picks.frame}) right?")
    _write_lists(wanted, rows, groups)


def _check_folder(wanted: Extraction) -> None:
    """See that the folder is free, or that what it holds was made with the same options."""
    path = wanted.folder / RECORD
    if path.is_file():
        if not wanted.resume:
            raise UsageError(f"{wanted.folder} holds boxes already; go on with resume=True, or give another folder")
        if read_object(path, "a record of an extraction") != json.loads(json.dumps(wanted.record)):
            raise UsageError(f"{wanted.folder} holds boxes made with other options ({path}); give another folder")
        return
    if wanted.folder.is_dir() and any(wanted.folder.iterdir()):
        raise UsageError(f"{wanted.folder} is not empty, and no extraction made it; give another folder")


def _keep_record(wanted: Extraction) -> None:
    """Write the options into the folder, unless an earlier run did."""
    path = wanted.folder / RECORD
    if not path.is_file():
        with replacing(path) as file:
            file.write(json.dumps(wanted.record, indent=1).encode())


def _files(kind: Kind, folder: Path, number: int) -> list[Path]:
    """Give the files of a particle; the last is written last."""
    endings = {"volumes": ["_weights.mrc", ".mrc"], "relion": ["_weights.mrc", "_data.mrc"]}
    return [folder / f"{number}{ending}" for ending in endings.get(kind, ["_stack2d.mrcs"])]


def _write(wanted: Extraction, maker: BoxMaker, point: NDArray[np.float64], files: Sequence[Path]) -> None:
    """Make and write the files of one particle."""
    sign = np.float32(-1 if wanted.inverts else 1)
    size, origin = maker.voxel_size, (0.0, 0.0, 0.0)
    if wanted.kind == "relion-stacks":
        images, _ = maker.stack(point)
        write_stack(files[0], sign * images, size)
        return
    terms = maker.make(point)
    write_mrc(files[0], Volume(terms.cropped_weights(wanted.box), size, origin))
    snr = None if wanted.kind == "relion" else wanted.snr
    write_mrc(files[1], Volume(sign * terms.volume(wanted.box, snr), size, origin))


def _optics(wanted: Extraction, series: TiltSeries, group: int) -> dict[str, Any]:
    """Give the row of a tomogram in the table of optics."""
    ctf = series.ctf
    return {
        "rlnOpticsGroup": group,
        "rlnOpticsGroupName": series.name,
        "rlnVoltage": 300.0 if ctf is None else ctf.voltage,
        "rlnSphericalAberration": 2.7 if ctf is None else ctf.spherical_aberration,
        "rlnAmplitudeContrast": 0.1 if ctf is None else ctf.amplitude_contrast,
        "rlnTomoTiltSeriesPixelSize": series.pixel_size,
        "rlnCtfDataAreCtfPremultiplied": int(wanted.kind != "volumes"),
        "rlnImageDimensionality": 2 if wanted.kind == "relion-stacks" else 3,
        "rlnTomoSubtomogramBinning": float(wanted.binning),
        "rlnImagePixelSize": series.pixel_size * wanted.binning,
        "rlnImageSize": wanted.box,
    }


def _row(
    wanted: Extraction,
    series: TiltSeries,
    number: int,
    point: NDArray[np.float64],
    seen: NDArray[np.bool_],
    group: int,
    kept: dict[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """Give the row of a particle; coordinates as RELION's set of that version has them."""
    frame = "relion4" if is_relion4(series) else "relion5"
    voxel = point - np.asarray(Region.of(series).origin)
    place = convert(voxel[None], conversion("volume", frame, Box.of(series)))[0]
    labels = (
        [f"rlnCoordinate{axis}" for axis in "XYZ"]
        if frame == "relion4"
        else [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
    )
    files = _files(wanted.kind, folder, number)
    row: dict[str, Any] = {
        "rlnTomoName": series.name,
        **{label: f"{v:.6f}" for label, v in zip(labels, place, strict=True)},
    }
    left_out = ("rlnImageName", "rlnCtfImage", "rlnOpticsGroup", "rlnTomoParticleName", "rlnTomoVisibleFrames")
    coordinates = ("rlnCoordinate", "rlnCenteredCoordinate")
    row |= {
        label: value
        for label, value in kept.items()
        if label.startswith("rln") and not label.startswith(coordinates) and label not in left_out
    }
    row |= {
        "rlnOpticsGroup": group,
        "rlnTomoParticleName": f"{series.name}/{number}",
        "rlnTomoVisibleFrames": f"[{','.join(str(int(each)) for each in seen)}]",
        "rlnImageName": str(files[-1]),
    }
    if wanted.kind != "relion-stacks":
        row["rlnCtfImage"] = str(files[0])
    for label in ("rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst"):
        row.setdefault(label, 0.0)
    return row


def _write_lists(wanted: Extraction, rows: Sequence[dict[str, Any]], groups: Sequence[dict[str, Any]]) -> None:
    """Write ``particles.star`` and ``optimisation_set.star``."""
    labels = [label for label in rows[0] if all(label in row for row in rows)]
    tables: dict[str, dict[str, object]] = {
        "general": {"rlnTomoSubTomosAre2DStacks": int(wanted.kind == "relion-stacks")},
        "optics": {label: [group[label] for group in groups] for label in groups[0]},
        "particles": {label: [row[label] for row in rows] for label in labels},
    }
    path = wanted.folder / "particles.star"
    write_tables(path, tables)
    entries = {"rlnTomoParticlesFile": str(path)}
    if wanted.source.suffix.lower() == ".star":
        entries["rlnTomoTomogramsFile"] = str(wanted.source)
    write_tables(wanted.folder / "optimisation_set.star", {"": entries})
