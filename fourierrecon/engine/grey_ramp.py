"""A grey ramp over an image: a plane that is no specimen, from the illumination or the detector."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fourierrecon.runtime.arrays import Real

#: The image is looked at in so many blocks along its longer side.
BLOCKS = 24
#: Blocks farther from the plane than this many robust standard deviations do not count: beads, ice, the carbon's edge.
FAR = 3.0
#: Fits of the plane, each without what the one before left out.
FITS = 3


def without_ramp(image: Real) -> Real:
    """Take a plane off an image; its mean over the image stays.

    Parameters
    ----------
    image
        ``(height, width)``.
    """
    along_y, along_x = ramp_of(image)
    return np.asarray(image - along_y[:, None] - along_x)


def ramp_of(image: Real) -> tuple[Real, Real]:
    """Find the plane that an image lies on, 0 in the middle.

    The plane is fitted to means of blocks; those that lie far from it are left out, and the fit is repeated.

    Parameters
    ----------
    image
        ``(height, width)``.

    Returns
    -------
    along_y, along_x
        The plane is the sum of these, ``(height,)`` and ``(width,)``.
    """
    height, width = image.shape
    side = max(1, -(-max(height, width) // BLOCKS))
    rows, columns = height // side, width // side
    blocks = image[: rows * side, : columns * side].reshape(rows, side, columns, side)
    levels = np.einsum("ijkl->ik", blocks).ravel() / side**2  # several times as fast as a mean over two axes
    terms = _terms(height, width, side)
    near = np.ones(len(levels), bool)
    plane = np.zeros(3)
    for _ in range(FITS):
        if near.sum() < 3:
            break
        chosen = terms * near[:, None]
        plane = np.linalg.pinv(chosen.T @ terms) @ (chosen.T @ levels)
        apart = np.abs(levels - terms @ plane)
        near = apart <= FAR * 1.4826 * np.median(apart)
    along_y = (plane[1] * ((np.arange(height) + 0.5) / height - 0.5)).astype(np.float32)
    along_x = (plane[2] * ((np.arange(width) + 0.5) / width - 0.5)).astype(np.float32)
    return along_y, along_x


@lru_cache(maxsize=16)
def _terms(height: int, width: int, side: int) -> NDArray[np.float64]:
    """Give 1 and the distances from the middle of the image, in image lengths, for each block, ``(n_blocks, 3)``."""
    rows, columns = height // side, width // side
    y = ((np.arange(rows) + 0.5) * side - height / 2) / height
    x = ((np.arange(columns) + 0.5) * side - width / 2) / width
    return np.stack([np.ones(rows * columns), np.repeat(y, columns), np.tile(x, rows)], axis=1)
