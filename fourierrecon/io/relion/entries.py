"""Makes the entry of a tilt series in a set of RELION 4 or 5: its row in the table of tomograms, and its tilts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourierrecon.errors import UsageError
from fourierrecon.geometry.region import Region
from fourierrecon.io.relion.deformation_write import deformation_columns
from fourierrecon.io.relion.rotations import TOLERANCE, Rotations, miss
from fourierrecon.tilt_series import TiltSeries

#: Columns of RELION 5's geometry.
ANGLES = ("rlnTomoXTilt", "rlnTomoYTilt", "rlnTomoZRot", "rlnTomoXShiftAngst", "rlnTomoYShiftAngst")


@dataclass(frozen=True)
class Entry:
    """One tomogram of a set.

    Parameters
    ----------
    name
        Name of the tomogram.
    overview
        Its row in the table of all tomograms.
    tilts
        The table of its tilts, by column.
    rotations
        Rotations that stand for the matrices of the tilt series (RELION 5).
    local
        What was kept of its local alignment, and what was left out.
    """

    name: str
    overview: dict[str, list[str]]
    tilts: dict[str, list[str]]
    rotations: Rotations | None = None
    local: str = ""


def relion4_entry(
    series: TiltSeries,
    stack: str,
    halves: Mapping[str, Sequence[str]],
    *,
    hand: int = -1,
    size: tuple[float, float, float] | None = None,
    region: Region | None = None,
) -> Entry:
    """Make the entry of a tilt series in a RELION 4 set.

    Parameters
    ----------
    series, hand, size
        As for :func:`write_relion4_set`.
    region
        Part of the world that is the tomogram of the new set, in place of the size.
    stack
        Name of the stack of its images, as it will be written.
    halves
        Names of the half images (``N@stack``, one a tilt), under ``Even`` and ``Odd``; may be empty.
    """
    corner, extent = _corner_and_size(series, size, region)
    overview, tilts = common_columns(series, hand)
    overview |= {"rlnTomoTiltSeriesName": [stack], "rlnTomoFrameCount": [str(series.n_tilts)]}
    overview |= {f"rlnTomoSize{a}": [_number(v)] for a, v in zip("XYZ", extent, strict=True)}
    general, own, words = deformation_columns(series, corner, extent)
    columns = matrix_columns(series, corner, 1.0) | tilts | _image_columns(halves) | own
    return Entry(series.name, overview | general, columns, local=words)


def matrix_columns(series: TiltSeries, corner: tuple[float, float, float], first: float) -> dict[str, list[str]]:
    """Give the matrices of a tilt series as columns, for a world in which a corner of its own is ``(first,) * 3``."""
    shift = np.eye(4)
    shift[:3, 3] = np.asarray(corner) - first
    matrices = series.projections @ shift
    return {f"rlnTomoProj{a}": [_vector(row) for row in matrices[:, i]] for i, a in enumerate("XYZW")}


def relion5_entry(
    series: TiltSeries,
    images: Mapping[str, Sequence[str]],
    tilt_angles: ArrayLike | None = None,
    tilt_axis_angle: ArrayLike | None = None,
    x_tilt: ArrayLike | None = None,
    shifts: ArrayLike | None = None,
    *,
    hand: int = -1,
    size: tuple[float, float, float] | None = None,
    region: Region | None = None,
    rotations_only: bool = False,
    matrices: bool = False,
) -> Entry:
    """Make the entry of a tilt series in a RELION 5 set.

    It holds rotations and shifts only. Those nearest to the matrices are taken, as by RELION's own import, which leaves
    out what the matrices hold beyond that.

    Parameters
    ----------
    series, tilt_angles, tilt_axis_angle, x_tilt, shifts, hand, size
        As for :func:`write_relion5_set`.
    images
        Names of the images (``N@stack`` or a file, one a tilt), under the empty word, ``Even`` and ``Odd``.
    region
        Part of the world that is the tomogram of the new set, in place of the size.
    rotations_only
        Leave out magnification, stretch and shear, however large.
    matrices
        Where rotations miss by more than 0.1 px, name the matrices, which RELION 5 takes in place of angles: all is
        held, but its own alignment does not go on from there.

    Raises
    ------
    UsageError
        If rotations miss the matrices by more than :data:`~fourierrecon.io.relion.rotations.TOLERANCE`
        (magnification that is
        no more than rounding does not count, nor do sides that Warp has rounded), or the angles and shifts given do.
    """
    corner, extent = _corner_and_size(series, size, region)
    middle = np.asarray(corner) + [int(s / 2) for s in extent]
    reach = np.array(np.meshgrid(*([0, s] for s in extent))).reshape(3, -1) + np.asarray(corner)[:, None]
    reach -= middle[:, None]
    found = Rotations.nearest(series.projections, series.image_shape, middle, reach)
    n = series.n_tilts
    tilt, axis, x = (
        np.broadcast_to(np.asarray(own if given is None else given, float), n)
        for given, own in ((tilt_angles, found.tilt), (tilt_axis_angle, found.axis), (x_tilt, found.x_tilt))
    )
    shift = np.broadcast_to(np.asarray(found.shifts if shifts is None else shifts, float), (n, 2))
    if any(given is not None for given in (tilt_angles, tilt_axis_angle, x_tilt, shifts)):
        off = miss(series.projections, series.image_shape, (tilt, axis, x), shift, middle, reach)
        if not off <= TOLERANCE + found.magnified + found.distorted:
            raise UsageError(
                f"these angles and shifts miss the projection matrices of {series.name} by up to {off:.3g} px; correct "
                f"them, or leave them out"
            )
    # Warp rounds the sides of its stacks to even numbers, and stretches the images: half a pixel at the borders
    rounded = series.z_reversed and found.stretch * min(series.image_shape) <= 1
    if not (found.fit or rounded or rotations_only or matrices):
        raise UsageError(
            f"{series.name}: its alignment has {found.rest}, which RELION 5 sets cannot hold: write a RELION 4 set "
            f"(version=relion4), or leave it out, as RELION does (rotations_only=True)"
        )
    overview, columns = common_columns(series, hand)
    overview |= {"rlnTomoTiltSeriesStarFile": [f"tilt_series/{series.name}.star"]}
    overview |= {f"rlnTomoSize{a}": [_number(v)] for a, v in zip("XYZ", extent, strict=True)}
    angstrom = shift * series.pixel_size
    geometry = (x, tilt, axis, angstrom[:, 0], angstrom[:, 1])
    held = {"rlnTomoYTilt": [_number(v) for v in tilt]} | matrix_columns(series, corner, 0.0)
    if not matrices or found.magnified + found.distorted <= TOLERANCE:
        held = {label: [_number(v) for v in values] for label, values in zip(ANGLES, geometry, strict=True)}
    general, own, words = deformation_columns(series, corner, extent)
    return Entry(series.name, overview | general, _image_columns(images) | held | columns | own, found, words)


def _corner_and_size(
    series: TiltSeries, size: tuple[float, float, float] | None, region: Region | None = None
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Give the world point of voxel 0 of a region (or the default one) and its size ``(width, height, depth)``, px.

    RELION holds whole numbers, where Warp's tomograms, for example, are some Å wide.
    """
    region = Region.of(series, size=size) if region is None else region
    return region.origin, region.whole_size


def common_columns(series: TiltSeries, hand: int) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Give the columns that both versions have: of the tomogram, and of its tilts."""
    if not series.name or any(c.isspace() or c in "\"'#/" for c in series.name):
        raise UsageError(f"tomogram name {series.name!r} must be one word without quotes, # and /")
    overview = {
        "rlnTomoName": [series.name],
        "rlnTomoHand": [str(hand)],
        "rlnOpticsGroupName": ["opticsGroup1"],
        "rlnTomoTiltSeriesPixelSize": [_number(series.pixel_size)],
    }
    tilts: dict[str, list[str]] = {}
    if series.ctf is not None:
        overview["rlnVoltage"] = [_number(series.ctf.voltage)]
        overview["rlnSphericalAberration"] = [_number(series.ctf.spherical_aberration)]
        overview["rlnAmplitudeContrast"] = [_number(series.ctf.amplitude_contrast)]
        for label, values in (
            ("rlnDefocusU", series.ctf.defocus_u),
            ("rlnDefocusV", series.ctf.defocus_v),
            ("rlnDefocusAngle", series.ctf.defocus_angle),
            ("rlnPhaseShift", series.ctf.phase_shift),
            ("rlnCtfScalefactor", series.ctf.scale),
        ):
            tilts[label] = [_number(v) for v in values]
        if series.ctf.b_factor.any():
            tilts["rlnCtfBfactor"] = [_number(v) for v in series.ctf.b_factor]
    if series.b_factor_per_exposure is not None:
        tilts["rlnCtfBfactorPerElectronDose"] = [_number(v) for v in series.b_factor_per_exposure]
    if series.exposure is not None:
        tilts["rlnMicrographPreExposure"] = [_number(v) for v in series.exposure]
    return overview, tilts


def _image_columns(images: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {f"rlnMicrographName{half}": list(names) for half, names in images.items()}


def _number(value: float) -> str:
    return f"{value:.12g}"


def _vector(values: NDArray[np.float64]) -> str:
    return f"[{','.join(map(_number, values))}]"
