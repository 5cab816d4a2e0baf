"""Density compensation: the whole path, from the weight of a sample to the correction near the tilt axis.

Central slices crowd near the tilt axis and thin out away from it. A weighting with ``uses_weights`` gets, for every
grid point, data ``D`` and a weight ``W`` that undo this. For the samples ``y_i`` of all images, with their transfer
functions ``T_i`` and the gridding kernel ``K_i`` at that point:

1. Each sample counts ``c_i`` (:func:`sample_counts`), which is 1 per grid point where slices are as close to each
   other as the depth of the region asks for (Crowther et al. 1970).
2. Its data are ``c_i T_i y_i``, its weight ``c_i T_i²``, noted as the image is sampled
   (:func:`fourierrecon.engine.central_slices.apply_transfer`).
3. All three are spread with one kernel, so that the kernel drops out of their quotients (Jackson et al. 1991):
   ``D = sum K_i c_i T_i y_i``, ``W' = sum K_i c_i T_i²``, ``S = sum K_i c_i``.
4. ``W = W' max(1, 1/S)`` (:func:`separate`). Where slices are closer than the Crowther criterion asks for (``S > 1``),
   data over weights are their mean. Where they are not, ``W`` is the mean ``T²`` and nothing is divided by the density.
   The kernel along z is somewhat broader than that of least error: the peak of a slice alone, 1.15, is cut off, which
   takes 4 % of it, and 6 % with a peak of 1.22.
5. The weighting divides ``D`` by ``W`` and its own regularisation (``normalise`` of
   :class:`~fourierrecon.weighting.Weighting`).
6. Within a few units of one over the depth of the tilt axis a pointwise quotient is wrong, since the density changes
   within the resolution of the grid. There what the region's own projections lack is added to the samples before step 3
   (:mod:`fourierrecon.engine.density_correction`: one step of Landweber's iteration, 1951; Pipe & Menon 1999 iterate
   weights instead). A weighting refuses it by ``corrects_near_axis = False``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.runtime.arrays import Real
from fourierrecon.runtime.compiled import compiled

if TYPE_CHECKING:
    from fourierrecon.engine.central_slices import Slices

#: Cosine of the steepest tilt that a slab is seen at: 75 degrees.
STEEPEST_OF_SLAB = 0.26


def sample_counts(slices: Slices) -> Real:
    """What one sample of each tilt counts for where grid points are weighted, ``(n_tilts,)``.

    Slices that are as close to each other as the depth of the region asks for (one over it along z: the Crowther
    criterion) give every grid point 1, however they are tilted. Then the back-projection of a slice that none comes
    near fills the depth once. The specimen is a slab that goes on beyond the region, however narrow that is: a beam
    crosses all of the depth. Only images steeper than :data:`STEEPEST_OF_SLAB` are of a rod, whose breadth is that of
    the region: a slab cannot be seen from there.

    Parameters
    ----------
    slices
        Geometry.
    """
    nz, no = slices.grid
    kz, ko = slices.kernels
    cells = float(kz.transform(np.zeros(1))[0] * ko.transform(np.zeros(1))[0])
    beams = np.cross(slices.matrices[:, 0], slices.matrices[:, 1])
    counts = np.abs(slices.lines[:, 2, 1]) / slices.box[0][1]
    if steeper_than_slab(beams).any():
        counts = np.maximum(counts, np.abs(slices.lines[:, 3, 1]) / slices.box[1][1])
    return (counts * (nz * no / cells)).astype(np.float32)


def steeper_than_slab(beams: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which beams, ``(n_tilts, 3)``, are steeper than any that a slab is seen with."""
    return np.asarray(np.abs(beams[:, 2]) < STEEPEST_OF_SLAB * np.linalg.norm(beams, axis=1))


@compiled()
def separate(
    block: Any,  # (rows, 4 columns) float32
    data: Any,  # (rows, columns) complex64
    weights: Any,  # (rows, columns) float32
) -> None:
    """Take data and weights of grid points apart: step 4 of the path, ``W = W' max(1, 1/S)``."""
    one, least = np.float32(1), np.float32(1e-6)
    for row in range(data.shape[0]):
        numbers, values, out = block[row], data[row], weights[row]
        for column in range(data.shape[1]):
            values[column] = complex(numbers[4 * column], numbers[4 * column + 1])
            ones = numbers[4 * column + 3]
            ones = ones if ones > least else least
            out[column] = numbers[4 * column + 2] / (ones if ones < one else one)
