"""The 3D transfer function of a tomogram: what a reconstruction makes of each Fourier component of the specimen.

It is measured on the engine itself, so that it holds for every weighting and mode, plug-ins included: the images of a
point are reconstructed with the very settings, in the depth and among the tilts of the tomogram. The transform of what
comes out is the transfer function, since the transform of a point is 1.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from fourierrecon.ctf import electron_wavelength
from fourierrecon.engine.settings import Settings
from fourierrecon.engine.signal_to_noise import with_snr
from fourierrecon.engine.task import in_tiles
from fourierrecon.geometry.region import Region
from fourierrecon.geometry.sound_images import without_ctf
from fourierrecon.reconstruction import reconstruct
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.transfer import Correction, Transfer
from fourierrecon.weighting import Weighting
from fourierrecon.weighting.as_filter import for_tiles

#: Pixels kept free around what the images of a point must show.
MARGIN = 16


def transfer_function(
    series: TiltSeries, region: Region, weighting: Weighting, settings: Settings, *, side: int
) -> NDArray[np.float32]:
    """Give what a tomogram holds of each Fourier component of the specimen: transform of the one over the other's.

    For a part of the tomogram far from its borders, ``FFT(tomogram) = H FFT(specimen)`` plus noise; sums of the
    specimen along the beam are the images. In it are the CTF of the microscope, as it acted and as it was corrected,
    exposure and weights of steep images as far as they were asked for, the weighting, and the missing wedge.

    Parameters
    ----------
    series, region, weighting, settings
        As for the reconstruction. A signal-to-noise ratio that is still to be measured comes from this series.
    side
        Side of the cube, voxels. Streaks that are longer are cut off: the function is smoothed over one over it.

    Returns
    -------
    transfer
        ``(side, side, side)``: z, y, x, the origin in the middle (``side // 2``), frequencies up to Nyquist's.
    """
    correction = settings.correction
    weighting = with_snr(weighting, series, region.binning, correction=correction, n_threads=settings.n_threads)
    if in_tiles(series, settings):
        weighting = for_tiles(weighting)  # at its place each tile is a reconstruction without local alignment
    depth = region.shape[0]
    part = Region((0.0, 0.0, 0.0), (depth, min(side, region.shape[1]), min(side, region.shape[2])))
    point = np.array([n // 2 for n in part.shape[::-1]], float)
    images = _images_of_point(series, region, part, point, correction)
    by_depth = Transfer.of(series, correction, divides=weighting.divides, region=region).depth is not None
    depth_mode = "on" if by_depth else "off"
    volume = reconstruct(
        images, part, weighting, keep_mean=True, n_threads=settings.n_threads, precision=settings.precision,
        memory=settings.memory, scratch=settings.scratch, ctf=settings.ctf, ctf_mode=settings.ctf_mode,
        exposure=settings.exposure, tilt_weight=settings.tilt_weight, ctf_depth=depth_mode,
        defocus_hand=settings.defocus_hand,
    ).data  # fmt: skip
    cube = np.zeros((side, side, side), np.float32)
    inner, outer = [], []
    for n, at in zip(part.shape, point[::-1].astype(int), strict=True):
        first, last = max(at - side // 2, 0), min(at - side // 2 + side, n)
        inner.append(slice(first, last))
        outer.append(slice(first - at + side // 2, last - at + side // 2))
    cube[tuple(outer)] = volume[tuple(inner)]
    spectrum = np.fft.fftn(np.fft.ifftshift(cube))
    return np.asarray(np.fft.fftshift(spectrum.real), np.float32)


def _images_of_point(
    series: TiltSeries, region: Region, part: Region, point: NDArray[np.float64], correction: Correction
) -> TiltSeries:
    """Give the images that the microscope takes of a point, in pixels as large as the voxels of the region.

    The world is that of ``part``, whose first voxel is 0; the tomogram around it is as large as the region.
    """
    voxel_size = series.pixel_size * region.binning
    matrices = series.projections.copy()
    half = np.abs(matrices[:, :2, :3]) @ np.maximum(point, np.array(part.shape[::-1]) - point)
    side = 2 * ceil(float(half.max()) + _spread(series, voxel_size) + MARGIN)
    # the point lies on a pixel in the middle of every image
    matrices[:, :2, 3] = side // 2 - matrices[:, :2, :3] @ point
    # and at depth 0
    matrices[:, 2, 3] = -matrices[:, 2, :3] @ point
    depth, height, width = region.shape
    x, y, z = (float(c) for c in point)
    seen = series if series.ctf is None or not without_ctf(series) else replace(series, ctf=None)
    acts = Transfer.of(seen, replace(correction, ctf_mode="none" if seen.ctf is None else "wiener"))
    fy, fx = np.fft.fftfreq(side, voxel_size)[:, None], np.fft.rfftfreq(side, voxel_size)
    images = np.empty((series.n_tilts, side, side), np.float32)
    for tilt in range(series.n_tilts):
        images[tilt] = np.fft.fftshift(np.fft.irfft2(acts.evaluate(tilt, fx, fy), (side, side)))
    return replace(
        series, images=images, projections=matrices, pixel_size=voxel_size, name=f"a point in {series.name}",
        size=(float(width), float(height), float(depth)), world_origin=0.0, rotation_centre=None, middle=None,
        pivot=(x, y, z), source="", local=None,
    )  # fmt: skip


def _spread(series: TiltSeries, voxel_size: float) -> float:
    """How far the CTF spreads a point at most, voxels: ``lambda |defocus| q`` at the Nyquist frequency."""
    if series.ctf is None:
        return 0.0
    defocus = float(max(np.abs(series.ctf.defocus_u).max(), np.abs(series.ctf.defocus_v).max()))
    return electron_wavelength(series.ctf.voltage) * defocus / (2 * voxel_size) / voxel_size
