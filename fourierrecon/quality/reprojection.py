"""Reprojections of a volume into images, and the pixels that one can be compared at. Import late: numba is slow.

With what acts on the signal of each image, its CTF, exposure and scale, a reprojection is comparable to the image
at each frequency: the signs of both agree beyond the first zero of the CTF, too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fourierrecon.geometry.ctf_depth import depth_rows
from fourierrecon.geometry.projection import rotation_centre
from fourierrecon.geometry.region import Region
from fourierrecon.geometry.sound_images import without_ctf
from fourierrecon.operators.projector import TomographicProjector
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.transfer import Correction


def reproject(
    volume: NDArray[np.float32], matrices: NDArray[np.float64], shape: tuple[int, int], n_threads: int = 1
) -> NDArray[np.float32]:
    """Sum a volume along the beams of some images, ``(n, height, width)``, band-limited as a reconstruction is.

    Parameters
    ----------
    volume
        ``(z, y, x)``.
    matrices
        ``(n, 2, 4)``: voxel ``(x, y, z, 1)`` to pixel ``(u, v)``; a voxel is between half and two pixels wide. At
        least one image must see the volume.
    shape
        ``(height, width)`` of the images, px.
    n_threads
        Number of threads.
    """
    whole = np.tile(np.eye(4), (len(matrices), 1, 1))
    whole[:, :2] = matrices
    depth, height, width = volume.shape
    # geometry alone: the images are never read
    geometry = TiltSeries(np.broadcast_to(np.float32(0), (len(matrices), *shape)), whole, 1.0)
    region = Region((0.0, 0.0, 0.0), (depth, height, width))
    return TomographicProjector(geometry, region, ctf=False, n_threads=n_threads).forward(volume)


def seen_by(series: TiltSeries, correction: Correction | None) -> Correction:
    """Say what acts on the signal in reprojections of a tomogram.

    Parameters
    ----------
    series
        Tilt series.
    correction
        What was done about the signal when the tomogram was made: what was undone there is done again. None: the CTF
        where all images have one that makes sense, and what the set says of exposures.
    """
    correction = Correction() if correction is None else correction
    known = series.ctf is not None and not without_ctf(series)
    # however a tomogram was corrected, images hold the CTF with its signs and zeros
    mode = "multiply" if known and correction.ctf_mode != "none" else "none"
    by_depth = correction.ctf_depth if mode != "none" else "off"
    return replace(correction, ctf_mode=mode, ctf_depth=by_depth)


def coarse_geometry(series: TiltSeries, step: int, shape: tuple[int, int]) -> TiltSeries:
    """Give a tilt series in units of coarse pixels, of which pixel 0 is the mean of the first; it has no images.

    Parameters
    ----------
    series
        Tilt series.
    step
        Pixels along each side of a coarse one.
    shape
        ``(height, width)`` of the coarse images.
    """
    projections = series.projections.copy()
    projections[:, 2] = depth_rows(series)
    projections[:, :2, 3] -= (step - 1) / 2
    projections[:, :3, 3] /= step
    x, y, z = (float(c) / step for c in rotation_centre(series))
    return replace(
        series, images=np.broadcast_to(np.float32(0), (series.n_tilts, *shape)), projections=projections,
        pixel_size=series.pixel_size * step, size=None, pivot=None, middle=None, rotation_centre=(x, y, z), local=None,
    )  # fmt: skip


def project(
    series: TiltSeries, region: Region, volume: NDArray[np.float32], seen: Correction, n_threads: int = 1
) -> NDArray[np.float32]:
    """Project a volume into the images of a tilt series, ``(n_tilts, height, width)``, as they show it.

    Parameters
    ----------
    series, region
        Geometry and optics, and the place of the volume. At least one image must see it.
    volume
        ``(z, y, x)``.
    seen
        What acts on the signal, see :func:`seen_by`.
    n_threads
        Number of threads.
    """
    projector = TomographicProjector(
        series, region, ctf=seen.ctf_mode != "none", ctf_mode=seen.ctf_mode, exposure=seen.exposure,
        tilt_weight=seen.tilt_weight, ctf_depth=seen.ctf_depth, defocus_hand=seen.defocus_hand, n_threads=n_threads,
    )  # fmt: skip
    return projector.forward(volume)


def covered(size: tuple[int, int, int], matrix: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Find the pixels whose beam crosses the middle half of a volume's depth inside of it, ``(height, width)``.

    The upper and lower quarter are often empty. If beams had to cross them too, high tilts would have few pixels left.

    Parameters
    ----------
    size
        ``(z, y, x)`` voxels.
    matrix
        ``(2, 4)``: voxel ``(x, y, z, 1)`` to pixel.
    shape
        ``(height, width)``, px.
    """
    depth, height, width = size
    flat = matrix[:, :2]
    if abs(np.linalg.det(flat)) < 1e-3:  # seen along its plane: no beam crosses it
        return np.zeros(shape, bool)
    inverse = np.linalg.inv(flat)
    v, u = np.mgrid[: shape[0], : shape[1]]
    inside = np.ones(shape, bool)
    for z in (depth / 4 - 0.5, 3 * depth / 4 - 0.5):
        du, dv = (pixel - matrix[row, 2] * z - matrix[row, 3] for row, pixel in ((0, u), (1, v)))
        x, y = (inverse[row, 0] * du + inverse[row, 1] * dv for row in (0, 1))
        inside &= (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    return inside
