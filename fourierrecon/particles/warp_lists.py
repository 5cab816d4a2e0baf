"""Rows of Warp's lists of boxes, as ``WarpTools ts_export_particles`` writes them.

**Volumes** have one table, in the style of RELION 3.0. Coordinates count voxels of the boxes from 0, at the middle of
the first voxel of the tomogram; origins are taken off them. ``rlnCtfMaxResolution`` is left out: nothing here knows it.

**Stacks** have RELION's three tables, and a file of tomograms in the style of RELION 4. They describe a tomogram whose
pixels are those of the stacks, so that coordinates fit it: since its version 2.0.0dev40 Warp does the same, and before
it mixed pixels of the stacks with those of the tilt series (warpem/warp, issue 504, and
``WarpLib/TiltSeries/RelionParticleSeriesExport.cs``). From there, too, is that stacks hold only the images in which the
particle is visible. Matrices have rotations alone, and the tilt series is a dummy: RELION refines stacks, and cannot
make them anew. ``rlnTomoHand`` is the hand of the set, so that RELION finds the CTF at the depth that the stacks were
multiplied with; Warp writes -1, and later goes by the direction of the angles.

Sources besides: warpem/warp, ``WarpTools/Commands/Tiltseries/ExportParticlesTiltseries.cs`` and
``WarpLib/TiltSeries/TiltSeries.ReconstructParticleSeries.cs`` for the columns, their order and their digits;
``docs/reference/warptools/tomogram_particle_files.md`` for the frame of coordinates.
"""

from __future__ import annotations

import numpy as np

from fourierrecon.geometry.coordinate_frames import Box
from fourierrecon.geometry.ctf_depth import depth_rows
from fourierrecon.geometry.region import Region
from fourierrecon.particles.extraction import Extraction
from fourierrecon.particles.listing import Particle, Row, visible_frames
from fourierrecon.tilt_series import USUAL_HAND, TiltSeries
from fourierrecon.transfer import Transfer

ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
#: Columns of the picks that have no place in Warp's lists, by their beginnings: origins are taken off coordinates.
LEFT_OUT = ("rlnOrigin", "rlnTomo", "rlnPixelSize", "rlnDetectorPixelSize", "rlnMagnification")


def volume_row(wanted: Extraction, series: TiltSeries, particle: Particle) -> Row:
    """Give the row of a subtomogram."""
    size = series.pixel_size * wanted.binning
    cs, voltage, _ = _optics(series)
    return {
        **_coordinates(wanted, particle),
        **{label: particle.kept[label] for label in ANGLES if label in particle.kept},
        "rlnMicrographName": f"{series.name}.tomostar",
        "rlnMagnification": "10000.0",
        "rlnDetectorPixelSize": f"{size:.5f}",
        "rlnImageName": particle.files[-1],
        "rlnCtfImage": particle.files[0],
        "rlnPixelSize": f"{size:.5f}",
        "rlnVoltage": voltage,
        "rlnSphericalAberration": cs,
        **_others(particle),
    }


def stack_row(wanted: Extraction, series: TiltSeries, particle: Particle, group: int) -> Row:
    """Give the row of a stack."""
    return {
        "rlnTomoName": f"{series.name}.tomostar",
        "rlnTomoParticleId": particle.number,
        **_coordinates(wanted, particle),
        **{label: particle.kept.get(label, "0.000") for label in ANGLES},
        "rlnTomoParticleName": f"{series.name}/{particle.number}",
        "rlnOpticsGroup": group,
        "rlnImageName": particle.files[-1],
        **dict.fromkeys(("rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst"), "0.0"),
        "rlnTomoVisibleFrames": visible_frames(particle),
        **_others(particle),
    }


def optics_row(wanted: Extraction, series: TiltSeries, group: int) -> Row:
    """Give the row of a tomogram in the table of optics of stacks."""
    size = f"{series.pixel_size * wanted.binning:.5f}"
    cs, voltage, amplitude = _optics(series)
    return {
        "rlnOpticsGroup": group,
        "rlnOpticsGroupName": f"opticsGroup{group}",
        "rlnSphericalAberration": cs,
        "rlnVoltage": voltage,
        "rlnTomoTiltSeriesPixelSize": size,
        "rlnCtfDataAreCtfPremultiplied": int(wanted.premultiplied),
        "rlnImageDimensionality": 2,
        "rlnTomoSubtomogramBinning": "1.00000",
        "rlnImagePixelSize": size,
        "rlnImageSize": wanted.box,
        "rlnAmplitudeContrast": amplitude,
    }


def tomogram_row(wanted: Extraction, series: TiltSeries, group: int, dummy: str) -> Row:
    """Give the row of a tomogram in the global table of tomograms; ``dummy`` is the file of its tilt series."""
    width, height, depth = (max(1, round(side / wanted.binning)) for side in Box.of(series).size)
    cs, voltage, amplitude = _optics(series)
    hand = wanted.settings.defocus_hand or series.hand or USUAL_HAND
    return {
        "rlnTomoName": f"{series.name}.tomostar",
        "rlnTomoTiltSeriesName": dummy,
        "rlnTomoFrameCount": series.n_tilts,
        "rlnTomoSizeX": width,
        "rlnTomoSizeY": height,
        "rlnTomoSizeZ": depth,
        "rlnTomoHand": f"{hand:.1f}",
        "rlnOpticsGroupName": f"opticsGroup{group}",
        "rlnTomoTiltSeriesPixelSize": f"{series.pixel_size * wanted.binning:.5f}",
        "rlnVoltage": voltage,
        "rlnSphericalAberration": cs,
        "rlnAmplitudeContrast": amplitude,
        "rlnTomoImportFractionalDose": f"{float(np.median(series.own_exposure)):.3f}",
    }


def tilt_rows(wanted: Extraction, series: TiltSeries) -> list[Row]:
    """Give the rows of the images of a tomogram: rotations, and the CTF at its middle."""
    transfer = Transfer.of(series, wanted.treatment.correction)
    beams = depth_rows(series)
    middle = beams[:, :3] @ Region.of(series).centre + beams[:, 3]
    hand = wanted.settings.defocus_hand or series.hand or USUAL_HAND
    before = np.zeros(series.n_tilts) if series.exposure is None else series.exposure
    rows: list[Row] = []
    for tilt, matrix in enumerate(series.projections):
        across = [row / np.linalg.norm(row) for row in matrix[:2, :3]]
        row: Row = {
            f"rlnTomoProj{name}": "[" + ",".join(f"{value:.8g}" for value in values) + ",0]"
            for name, values in zip("XYZ", [*across, beams[tilt, :3]], strict=True)
        }
        row["rlnTomoProjW"] = "[0,0,0,1]"
        if series.ctf is not None:
            offset = hand * middle[tilt] * series.pixel_size
            row["rlnDefocusU"] = f"{series.ctf.defocus_u[tilt] + offset:.1f}"
            row["rlnDefocusV"] = f"{series.ctf.defocus_v[tilt] + offset:.1f}"
            row["rlnDefocusAngle"] = f"{series.ctf.defocus_angle[tilt]:.3f}"
            row["rlnPhaseShift"] = f"{series.ctf.phase_shift[tilt]:.3f}"
        row["rlnCtfScalefactor"] = f"{transfer.scale[tilt]:.3f}"
        row["rlnMicrographPreExposure"] = f"{before[tilt]:.3f}"
        rows.append(row)
    return rows


def _coordinates(wanted: Extraction, particle: Particle) -> Row:
    places = zip("XYZ", particle.voxel / wanted.binning, strict=True)
    return {f"rlnCoordinate{axis}": f"{place:.3f}" for axis, place in places}


def _others(particle: Particle) -> Row:
    """Give columns of the picks that the list does not have from elsewhere, as classes and halves."""
    return {
        label: value for label, value in particle.kept.items() if label not in ANGLES and not label.startswith(LEFT_OUT)
    }


def _optics(series: TiltSeries) -> tuple[str, str, str]:
    """Give spherical aberration, voltage and amplitude contrast, with Warp's digits."""
    if series.ctf is None:
        return "2.700", "300.000", "0.070"
    ctf = series.ctf
    return f"{ctf.spherical_aberration:.3f}", f"{ctf.voltage:.3f}", f"{ctf.amplitude_contrast:.3f}"
