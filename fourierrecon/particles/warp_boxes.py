"""Subtomograms as Warp makes them: flipped in phase, weighted, with a volume of the CTF that they still have.

With the CTF ``t`` of an image alone, and ``T``, that with the weights of its exposure and tilt, a Fourier voxel of the
subtomogram, and of the volume that tells its CTF, is

``V = m sum T Y / sum |t|``,  ``C = m sum T t / sum |t|``,  ``m = min(1, M)``,

summed over the slices near it (:mod:`fourierrecon.particles.slices`); ``m`` keeps voxels that hardly any slice touches
from being raised to full strength. So a specimen without noise gives ``V = C x specimen``, which is what RELION takes
an image with ``rlnCtfImage`` for. ``C`` comes on half of Fourier space, zero frequency first.

Sources: warpem/warp, ``WarpLib/TiltSeries/TiltSeries.ReconstructSubtomos.cs``, for these sums and the order of steps;
warpem/warpylib, ``reconstruct_subvolumes.py``, for the same in words. Warp spreads each pixel over the eight voxels
around it; here each voxel takes from the nearest point of a slice, so single voxels differ between the slices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fourierrecon.particles.boxes import BoxMaker, Sums, crop, crop_term
from fourierrecon.particles.slices import divide_by_magnitude
from fourierrecon.runtime.arrays import Real
from fourierrecon.runtime.memory import Workspace

#: Sum of ``|t|`` below which there is nothing to divide.
NOTHING = 1e-6


def warp_box(maker: BoxMaker, point: NDArray[np.float64], workspace: Workspace | None = None) -> tuple[Real, Real]:
    """Give a subtomogram and the volume of its CTF.

    Parameters
    ----------
    maker
        Makes the boxes; its settings tell the weights of exposure and tilt.
    point
        World point, ``(x, y, z)``, unbinned px.
    workspace
        Memory that may be used again for the next box. Default: fresh memory.

    Returns
    -------
    volume, ctf
        ``(box, box, box)``, the middle in voxel ``box // 2``; and ``(box, box, box // 2 + 1)``.
    """
    assert maker.window is not None
    sums, pixels = Sums.empty(maker.window, workspace, paired=True), maker.pixels(point)
    for tilt in map(int, np.flatnonzero(maker.visible(point))):
        weighted, alone = maker.transfers(tilt, point), maker.transfers(tilt, point, weighted=False)
        # two sums at once, as the parts of a complex number
        maker.add(sums, tilt, pixels[tilt], weighted, np.asarray(weighted * alone + 1j * np.abs(alone), np.complex64))
    divide_by_magnitude(sums.data, sums.weights, sums.counts, NOTHING)
    return crop(sums.data, maker.box, overwrite=True), crop_term(sums.counts, maker.box)


def normalised(volume: Real, radius: float) -> Real:
    """Give a volume with mean 0 and standard deviation 1 outside of a sphere around voxel ``box // 2``.

    Parameters
    ----------
    volume
        ``(box, box, box)``.
    radius
        Voxels.
    """
    place = np.arange(len(volume)) - len(volume) // 2
    squared = place[:, None, None] ** 2 + place[:, None] ** 2 + place**2
    outside = volume[squared > radius**2].astype(np.float64)
    spread = outside.std() or 1.0
    return np.asarray((volume - outside.mean()) / spread, np.float32)
