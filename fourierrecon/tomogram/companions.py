"""Volumes that go with a tomogram: images that see each voxel, and cubes in Fourier space.

These are weights of Fourier points, the missing wedge, and the transfer function.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine.coverage import divide_by_count
from fourierrecon.engine.plan import Plan
from fourierrecon.engine.settings import Settings
from fourierrecon.geometry.region import Region
from fourierrecon.io.volumes.mrc import write_mrc, writing_mrc
from fourierrecon.quality.wedge import wedge_mask
from fourierrecon.runtime.arrays import Real
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.tomogram.transfer_volume import transfer_function
from fourierrecon.transfer import Transfer
from fourierrecon.volume import Volume
from fourierrecon.weighting import NoWeighting, Weighting

#: Names of the companions, which are also the endings of their files' names.
VOLUMES = ("coverage", "weight", "wedge", "transfer")
#: Side of the cubes in Fourier space, voxels; programs for denoising cut out boxes of this size.
SIDE = 96
#: Counts that differ from a whole number by less than this part are that number: the division rounds.
ROUNDING = 1e-6


def coverage(series: TiltSeries, region: Region, settings: Settings) -> Iterator[tuple[int, Real]]:
    """Count the images that see each voxel, section by section; at its borders an image counts in part.

    Parameters
    ----------
    series, region, settings
        Tilt series, region and settings of the volume.

    Returns
    -------
    sections
        Iterator over pairs of z and the counts ``(y, x)``.

    Raises
    ------
    UsageError
        If no image sees the region.
    """
    nothing_corrected = replace(settings, ctf=False, ctf_mode=None, exposure="none", tilt_weight=None, binnings=())
    plan = Plan.of(series, region, NoWeighting(), nothing_corrected)
    depth, n_p, n_o = plan.slices.shape
    ones, nothing, levels = np.ones((n_p, n_o), np.float32), np.zeros((n_p, n_o), np.float32), np.ones(len(plan.used))
    share, least = np.empty_like(ones), np.empty_like(ones)
    for z in range(depth):
        borders = plan.borders[:, :, :3].copy()
        borders[:, :, 0] += z * plan.borders[:, :, 3]
        # the first is 1 over the count where images see the voxel at least once, the second the count where it is less
        divide_by_count(ones, borders, np.zeros(0, np.float32), share)
        divide_by_count(nothing, borders, levels.astype(np.float32), least)
        # rounding may make the second a bit less than 1 where there are more; the first is exactly 1 below one image
        count = np.where(share < 1, 1 / share, least)
        whole = np.rint(count)
        count = np.where(np.abs(count - whole) < ROUNDING * whole, whole, count).astype(np.float32)
        yield z, count if plan.plane_axis == 1 else np.ascontiguousarray(count.T)


def fourier_weight(
    series: TiltSeries,
    voxel_size: float,
    thickness: float,
    *,
    ctf: bool,
    side: int = SIDE,
    transfer: Transfer | None = None,
) -> NDArray[np.float32]:
    """Compute the weight of each Fourier point of a cube: the sum over images of T² near their central slices.

    ``W = sum_f max(0, 1 - |z_f|) T_f²`` with the transfer function ``T_f`` of image ``f`` and the distance ``z_f`` from
    its central slice in units of one over the thickness, as in :class:`~fourierrecon.weighting.PreWeight`; one slice
    alone has the weight ``T²``.

    Parameters
    ----------
    series
        Tilt series, with its geometry and CTF.
    voxel_size
        Voxel size, Å.
    thickness
        Thickness of the specimen, voxels; slices fade out over one over it.
    ctf
        Whether the CTF counts; otherwise it is 1.
    side
        Side of the cube, voxels.
    transfer
        Transfer function of the images, in place of the CTF alone.

    Returns
    -------
    weight
        ``(side, side, side)``: z, y, x, the origin in the middle (``side // 2``), frequencies up to Nyquist's.
    """
    k = ((np.arange(side) - side // 2) / side).astype(np.float32)
    rows = series.projections[:, :2, :3] / np.linalg.norm(series.projections[:, :2, :3], axis=2, keepdims=True)
    weight = np.zeros((side, side, side), np.float32)
    transfer = transfer or Transfer.plain(series.n_tilts, series.ctf if ctf else None)
    for tilt, (across, along) in enumerate(rows):
        normal = np.cross(across, along)
        normal /= np.linalg.norm(normal)

        def at(direction: NDArray[np.float64]) -> NDArray[np.float32]:
            x, y, z = direction.astype(np.float32)
            return np.asarray(z * k[:, None, None] + y * k[None, :, None] + x * k[None, None, :], np.float32)

        near = np.maximum(1 - np.abs(at(normal)) * np.float32(thickness), 0)
        if transfer.applies:
            inside = near > 0
            values = transfer.weight(tilt, at(across)[inside] / voxel_size, at(along)[inside] / voxel_size)
            near[inside] *= values.astype(np.float32)
        weight += near
    return weight


def wedge(series: TiltSeries, *, side: int = SIDE) -> NDArray[np.float32]:
    """Mark the Fourier points of a cube that the tilts measured with 1, and the missing wedge with 0.

    Parameters
    ----------
    series
        Tilt series, with its geometry.
    side
        Side of the cube, voxels; its layout is that of :func:`fourier_weight`.
    """
    half = wedge_mask((side, side, side), series.projections)
    # the other half: F(-k) is the conjugate of F(k)
    full = np.zeros((side, side, side), bool)
    full[:, :, : half.shape[2]] = half
    rest = np.arange(half.shape[2], side)
    mirrored = half[(-np.arange(side)) % side][:, (-np.arange(side)) % side]
    full[:, :, rest] = mirrored[:, :, side - rest]
    return np.asarray(np.fft.fftshift(full), np.float32)


def companion_path(volume: Path, name: str) -> Path:
    """Give the file of a companion: ``NAME_coverage.mrc`` beside ``NAME.mrc``."""
    return volume.with_name(f"{volume.stem}_{name}.mrc")


def companion_shape(region: Region, name: str) -> tuple[int, int, int]:
    """Give the shape of a companion, ``(z, y, x)``."""
    return region.shape if name == "coverage" else (SIDE, SIDE, SIDE)


def companion_memory(region: Region, name: str) -> int:
    """Give the memory that making a companion takes, bytes."""
    depth, height, width = region.shape
    if name == "transfer":
        # images of a point, samples and planes: of a part that is as deep as the tomogram, and as wide as beams reach
        reach = SIDE + 2 * depth
        return 48 * SIDE**3 + 800 * reach**2 + 8 * SIDE * depth * reach
    return 32 * height * width if name == "coverage" else 48 * SIDE**3


def write_companion(
    name: str,
    volume: Path,
    series: TiltSeries,
    region: Region,
    weighting: Weighting,
    settings: Settings,
    label: str,
) -> None:
    """Write one companion of a volume. Its axes are those of the tilt series, even if the volume's file has others.

    Parameters
    ----------
    name
        One of :data:`VOLUMES`.
    volume
        File of the volume.
    series, region, weighting, settings
        Tilt series, region, weighting and settings of the volume.
    label
        Lines for the header.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    voxel_size = series.pixel_size * region.binning
    path, label = companion_path(volume, name), f"{name} of {volume.name}\n{label}"
    if name == "coverage":
        x, y, z = (float(c) * series.pixel_size for c in region.origin)
        with writing_mrc(path, region.shape, voxel_size, (x, y, z), label) as write:
            for number, slab in coverage(series, region, settings):
                write(number, slab)
        return
    if name == "weight":
        # the CTF is in the data, whether the weighting divides by it or not
        transfer = Transfer.of(series, settings.correction, region=region)
        cube = fourier_weight(series, voxel_size, float(region.shape[0]), ctf=settings.ctf, transfer=transfer)
    elif name == "transfer":
        cube = transfer_function(series, region, weighting, settings, side=SIDE)
    else:
        cube = wedge(series)
    write_mrc(path, Volume(cube, voxel_size, (0.0, 0.0, 0.0), label))
