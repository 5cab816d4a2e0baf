"""Gaussians: a specimen as a sum of 3D Gaussians, with its exact density and projections.

A Gaussian is ``weight exp(-|X - centre|² / (2 sigma²))``: its weight is the density at its centre. The
projection is the integral along the beam **per world length**: a world density of 1 over a path of L px
gives L, whatever the magnification of the image. All lengths are world px (bin-1), see
:mod:`fourierrecon.geometry`. Density is positive where there is matter; :mod:`fourierrecon.simulation.simulate`
turns it into dark images.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourierrecon.errors import UsageError
from fourierrecon.geometry.displacement import DisplacementField
from fourierrecon.geometry.region import Region
from fourierrecon.runtime.threads import available_cores

#: Gaussians are cut off at this many sigma: at 1.5e-8 of their peak.
REACH = 6.0


@dataclass(frozen=True, eq=False)
class Gaussians:
    """A specimen: the sum of isotropic 3D Gaussians.

    Parameters
    ----------
    centres
        ``(n, 3)``: ``x, y, z``, world px.
    sigmas
        ``(n,)``, world px; one value holds for all.
    weights
        ``(n,)``: density at the centre of each; one value holds for all.
    """

    centres: NDArray[np.float64]
    sigmas: NDArray[np.float64]
    weights: NDArray[np.float64]

    def __post_init__(self) -> None:
        centres = np.ascontiguousarray(self.centres, float)
        if centres.ndim != 2 or centres.shape[1] != 3:
            raise UsageError(f"centres of Gaussians have shape {centres.shape}; needed: (n, 3), x, y, z")
        object.__setattr__(self, "centres", centres)
        for name in ("sigmas", "weights"):
            values = np.asarray(getattr(self, name), float)
            if values.shape not in ((), (len(centres),)):
                raise UsageError(f"{name} have shape {values.shape} for {len(centres)} Gaussians; needed: one each")
            object.__setattr__(self, name, np.array(np.broadcast_to(values, len(centres))))
        if not ((self.sigmas > 0).all() and np.isfinite(self.sigmas).all()):
            raise UsageError("every sigma of the Gaussians must be a positive number")

    def __len__(self) -> int:
        return len(self.centres)

    @classmethod
    def join(cls, parts: Iterable[Gaussians]) -> Gaussians:
        """Put several specimens into one."""
        parts = tuple(parts)
        return cls(
            np.concatenate([np.empty((0, 3)), *(p.centres for p in parts)]),
            np.concatenate([np.empty(0), *(p.sigmas for p in parts)]),
            np.concatenate([np.empty(0), *(p.weights for p in parts)]),
        )

    @property
    def mass(self) -> float:
        """Integral of the density over all space, density x px³."""
        return float(np.sum(self.weights * (2 * np.pi) ** 1.5 * self.sigmas**3))

    def density(self, region: Region, n_threads: int | None = None) -> NDArray[np.float32]:
        """Sample the density at the voxels of a region, ``(z, y, x)``.

        These are point samples: the details that a coarse region cannot hold are not filtered away.
        """
        from fourierrecon.simulation.gaussian_kernels import add_to_volume

        volume = np.zeros(region.shape, np.float32)
        centres = (self.centres - np.asarray(region.origin)) / region.binning
        sigmas = self.sigmas / region.binning
        n_slabs = min(4 * _threads(n_threads), len(volume))
        edges = np.linspace(0, len(volume), n_slabs + 1).astype(int)

        def fill(slab: int) -> None:
            add_to_volume(volume, edges[slab], edges[slab + 1], centres, sigmas, self.weights, REACH)

        with ThreadPoolExecutor(_threads(n_threads)) as pool:
            list(pool.map(fill, range(n_slabs)))
        return volume

    def project(
        self,
        projections: ArrayLike,
        image_shape: tuple[int, int],
        n_threads: int | None = None,
        local: DisplacementField | None = None,
    ) -> NDArray[np.float32]:
        """Project exactly into images, ``(n_tilts, height, width)``, density x px.

        A projected Gaussian is a 2D Gaussian with the covariance ``sigma² A A^T``, where ``A`` is the 2
        x 3 part of the matrix, and the value ``weight sigma sqrt(2 pi)`` at its centre. Any affine
        matrix will do.

        Parameters
        ----------
        projections
            ``(n_tilts, 4, 4)``: world px to image px.
        image_shape
            ``(height, width)``, px.
        n_threads
            Default: all cores.
        local
            Displacements of the projected centres, beside the matrices; each Gaussian keeps its shape.
        """
        from fourierrecon.simulation.gaussian_kernels import add_to_image

        matrices = np.asarray(projections, float)
        images = np.empty((len(matrices), *image_shape), np.float32)
        peaks = self.weights * self.sigmas * np.sqrt(2 * np.pi)

        def one(tilt: int) -> None:
            image = np.zeros(image_shape)
            a, t = matrices[tilt, :2, :3], matrices[tilt, :2, 3]
            places = self.centres @ a.T + t
            if local is not None:
                places = places + local.at(tilt, self.centres)
            add_to_image(image, places, self.sigmas, peaks, a @ a.T, REACH)
            images[tilt] = image

        with ThreadPoolExecutor(_threads(n_threads)) as pool:
            list(pool.map(one, range(len(matrices))))
        return images


def _threads(n_threads: int | None) -> int:
    """Give the number of threads to use."""
    return max(1, n_threads if n_threads is not None else available_cores())


def mean_over_images(
    gaussians: Gaussians,
    projections: ArrayLike,
    points: ArrayLike,
    image_shape: tuple[int, int] | None = None,
) -> NDArray[np.float64]:
    """Evaluate the plain back-projection in closed form: the mean of the projections that a point falls on.

    Parameters
    ----------
    gaussians
        The specimen.
    projections
        ``(n_tilts, 4, 4)``.
    points
        ``(m, 3)``: ``x, y, z``, world px.
    image_shape
        ``(height, width)``, px: only the images that see the point count, pixel 0 to the last. A point
        that none sees gives 0. Default: images without end.

    Returns
    -------
    ``(m,)``, density x px.
    """
    from fourierrecon.simulation.gaussian_kernels import sum_at

    where = np.asarray(points, float)
    total, count = np.zeros(len(where)), np.zeros(len(where))
    peaks = gaussians.weights * gaussians.sigmas * np.sqrt(2 * np.pi)
    for matrix in np.asarray(projections, float):
        a, t = matrix[:2, :3], matrix[:2, 3]
        at = where @ a.T + t
        seen = np.ones(len(where), bool)
        if image_shape is not None:
            limits = np.array([image_shape[1] - 1, image_shape[0] - 1])
            seen = ((at >= 0) & (at <= limits)).all(1)
        values = sum_at(at[seen], gaussians.centres @ a.T + t, gaussians.sigmas, peaks, np.linalg.inv(a @ a.T))
        total[seen] += values
        count += seen
    return np.asarray(total / np.maximum(count, 1))
