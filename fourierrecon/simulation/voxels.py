"""A specimen that is given by voxels, from any program: projections by the package's projector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates

from fourierrecon.geometry.region import Region
from fourierrecon.runtime.threads import available_cores


@dataclass(frozen=True, eq=False)
class Voxels:
    """A specimen of voxels; outside of them is nothing.

    Parameters
    ----------
    data
        ``(z, y, x)``, one voxel a pixel of the world; dense is positive. What is finer than 2.2 voxels is lost.

    Examples
    --------
    >>> import numpy as np
    >>> from fourierrecon.simulation.simulate import simulate
    >>> from fourierrecon.simulation.voxels import Voxels
    >>> ball = np.linalg.norm(np.indices((24, 60, 64)) - np.reshape([12, 30, 32], (3, 1, 1, 1)), axis=0) < 8
    >>> simulate(Voxels(ball.astype(np.float32)), (64, 60, 24), snr=None).series
    TiltSeries('TS_01', 41 images of 60 x 64 px, 10 Å/px, tilts -60° to 60°)
    """

    data: NDArray[np.float32]

    def density(self, region: Region, n_threads: int | None = None) -> NDArray[np.float32]:
        """Sample the density at the voxels of a region, ``(z, y, x)``: points, by cubic splines between voxels."""
        grid = np.meshgrid(
            *(c + region.binning * np.arange(n) for c, n in zip(region.origin[::-1], region.shape, strict=True)),
            indexing="ij",
        )
        return np.asarray(map_coordinates(self.data, grid, order=3, mode="grid-constant"), np.float32)

    def project(
        self, projections: ArrayLike, image_shape: tuple[int, int], n_threads: int | None = None
    ) -> NDArray[np.float32]:
        """Project into images, ``(n_tilts, height, width)``: :func:`fourierrecon.quality.reprojection.reproject`."""
        from fourierrecon.quality.reprojection import reproject

        threads = available_cores() if n_threads is None else n_threads
        return reproject(self.data, np.asarray(projections, float)[:, :2], image_shape, threads)
