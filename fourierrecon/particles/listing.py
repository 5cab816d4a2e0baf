"""Rows of lists of boxes: of RELION's, and what all layouts share. Names of columns are those of RELION 5.0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.geometry.coordinate_frames import Box, conversion, convert
from fourierrecon.geometry.region import Region
from fourierrecon.particles.extraction import Extraction
from fourierrecon.particles.files import files_of, folder_of
from fourierrecon.particles.one import seen_by
from fourierrecon.particles.picks import SetPicks, is_relion4
from fourierrecon.tilt_series import TiltSeries

Row = dict[str, Any]
#: Columns of the picks that are said anew, by their beginnings.
SAID_ANEW = (
    "rlnCoordinate", "rlnCenteredCoordinate", "rlnImageName", "rlnCtfImage", "rlnOpticsGroup", "rlnTomoParticleName",
    "rlnTomoParticleId", "rlnTomoVisibleFrames", "rlnTomoName", "rlnMicrographName",
)  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class Particle:
    """A box that was made, as lists need it.

    Parameters
    ----------
    number
        Of the point among those of its tomogram, from 1.
    voxel
        Unbinned voxel of the tomogram, ``(x, y, z)``, from 0.
    seen
        Which images hold the box, ``(n_tilts,)``.
    files
        Its files, the one with the densities last.
    kept
        Other columns of the picks.
    """

    number: int
    voxel: NDArray[np.float64]
    seen: NDArray[np.bool_]
    files: Sequence[str]
    kept: Row


def particles_of(wanted: Extraction, picks: SetPicks, series: TiltSeries) -> list[Particle]:
    """Give the boxes of one tomogram, which are all there."""
    points = picks.world(series, settle=wanted.settles)
    seen, columns = seen_by(wanted, series, points), picks.columns(series)
    folder, size = folder_of(wanted, series.name), series.pixel_size * wanted.binning
    return [
        Particle(
            number=number + 1,
            voxel=points[number] - np.asarray(Region.of(series).origin),
            seen=seen[number],
            files=[str(path) for path in files_of(wanted, folder, series.name, number + 1, size)],
            kept={
                label: values[number]
                for label, values in columns.items()
                if label.startswith("rln") and not label.startswith(SAID_ANEW)
            },
        )
        for number in map(int, np.flatnonzero(seen.any(axis=1)))
    ]


def visible_frames(particle: Particle) -> str:
    """Give the list of images that hold a box, as RELION writes it."""
    return f"[{','.join(str(int(each)) for each in particle.seen)}]"


def shared_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Give columns of those labels that all rows have."""
    labels = [label for label in rows[0] if all(label in row for row in rows)]
    return {label: [row[label] for row in rows] for label in labels}


def optics_row(wanted: Extraction, series: TiltSeries, group: int) -> Row:
    """Give the row of a tomogram in RELION's table of optics."""
    ctf = series.ctf
    return {
        "rlnOpticsGroup": group,
        "rlnOpticsGroupName": series.name,
        "rlnVoltage": 300.0 if ctf is None else ctf.voltage,
        "rlnSphericalAberration": 2.7 if ctf is None else ctf.spherical_aberration,
        "rlnAmplitudeContrast": 0.1 if ctf is None else ctf.amplitude_contrast,
        "rlnTomoTiltSeriesPixelSize": series.pixel_size,
        "rlnCtfDataAreCtfPremultiplied": int(wanted.premultiplied),
        "rlnImageDimensionality": 2 if wanted.stacks else 3,
        "rlnTomoSubtomogramBinning": float(wanted.binning),
        "rlnImagePixelSize": series.pixel_size * wanted.binning,
        "rlnImageSize": wanted.box,
    }


def relion_row(wanted: Extraction, series: TiltSeries, particle: Particle, group: int) -> Row:
    """Give the row of a particle; coordinates as RELION's set of that version has them."""
    frame = "relion4" if is_relion4(series) else "relion5"
    place = convert(particle.voxel[None], conversion("volume", frame, Box.of(series)))[0]
    labels = (
        [f"rlnCoordinate{axis}" for axis in "XYZ"]
        if frame == "relion4"
        else [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
    )
    row: Row = {
        "rlnTomoName": series.name,
        **{label: f"{value:.6f}" for label, value in zip(labels, place, strict=True)},
        **particle.kept,
        "rlnOpticsGroup": group,
        "rlnTomoParticleName": f"{series.name}/{particle.number}",
        "rlnTomoVisibleFrames": visible_frames(particle),
        "rlnImageName": particle.files[-1],
    }
    if not wanted.stacks:
        row["rlnCtfImage"] = particle.files[0]
    for label in ("rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst"):
        row.setdefault(label, 0.0)
    return row
