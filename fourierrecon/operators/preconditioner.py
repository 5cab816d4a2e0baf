"""How strongly the images determine each Fourier component of a region: conjugate gradients need it to converge soon.

The normal operator ``N = A* S* S A`` is nearly a convolution; its kernel is what it makes of one voxel in the middle of
the region. The periodic convolution nearest to it (T. Chan 1988) has eigenvalues ``c(k)`` that are the density of
samples in Fourier space, each times its squared transfer function. Steps along the gradient over ``c(k) + D/SNR`` are a
Wiener filter of it, so that components of few samples come as fast as those of many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fourierrecon.operators.least_squares import LeastSquares

Voxels = NDArray[np.float32]
#: Least density that is divided by, as a part of the largest: what the images do not determine stays as it was.
LEAST = 1e-3


class Preconditioner:
    """The inverse of the periodic convolution nearest to the normal operator of a problem, penalty included.

    Parameters
    ----------
    problem
        The problem. The kernel takes one projection forth and back.
    """

    def __init__(self, problem: LeastSquares) -> None:
        self._problem = problem
        kernel = np.zeros(problem.region.shape, np.float32)
        kernel[tuple(n // 2 for n in kernel.shape)] = 1
        kernel = problem.adjoint(problem.forward(kernel))
        for axis, n in enumerate(kernel.shape):
            # lags that wrap around share their place; the square of Chan's triangle keeps the spectrum positive
            taper = (1 - np.abs(np.arange(n) - n // 2) / n) ** 2
            kernel *= np.expand_dims(taper.astype(np.float32), [i for i in range(3) if i != axis])
        density = np.abs(self._forward(kernel))
        most = float(density.max())
        # nothing is known where no image sees the middle of the region
        density += np.float32(problem.penalty + LEAST * most if most > 0 else 1)
        self._gain: Voxels = np.divide(np.float32(1), density, out=density)

    def apply(self, gradient: Voxels) -> float:
        """Apply it to a gradient ``(z, y, x)``, in place.

        Returns
        -------
        square
            Scalar product of the gradient before and after.
        """
        spectrum = self._forward(gradient)
        spectrum *= self._gain
        threads, (_, height, width) = self._problem.settings.threads, gradient.shape
        spectrum = scipy.fft.ifft(spectrum, axis=0, overwrite_x=True, workers=threads)
        products = np.zeros(len(gradient))

        def finish(z: int) -> None:
            filtered = scipy.fft.irfft2(spectrum[z], (height, width))
            products[z] = np.vdot(gradient[z], filtered)
            gradient[z] = filtered

        self._problem.sections(finish)
        return float(products.sum())

    def _forward(self, volume: Voxels) -> NDArray[np.complex64]:
        """Transform a volume; only the spectrum is held beside it."""
        depth, height, width = volume.shape
        spectrum = np.empty((depth, height, width // 2 + 1), np.complex64)

        def transform(z: int) -> None:
            spectrum[z] = scipy.fft.rfft2(volume[z])

        self._problem.sections(transform)
        return np.asarray(scipy.fft.fft(spectrum, axis=0, overwrite_x=True, workers=self._problem.settings.threads))
