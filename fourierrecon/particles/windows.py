"""Windows around the projections of a place, cut from binned images and shifted to a fraction of a pixel.

Images are binned once, by a cut in Fourier space: pixel ``j`` of a binned image lies at pixel ``B j - border`` of the
image itself. A window is centred on the projection of its place; its transform is that of a picture whose point
``(0, 0)`` is that projection.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from fourierrecon.engine.coverage import Mask
from fourierrecon.engine.fft import fast_length
from fourierrecon.engine.fourier_crop import fourier_crop
from fourierrecon.engine.preprocess import continue_image, load_image
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.runtime.memory import Workspace
from fourierrecon.runtime.threads import for_each
from fourierrecon.tilt_series import TiltSeries

#: Pixels of a binned image beyond its border, where it is continued by odd reflection and fades: no step, no ringing.
CONTINUED = 8


@dataclass(frozen=True, eq=False)
class BinnedImages:
    """All images of a tilt series, binned, without their means.

    Parameters
    ----------
    images
        ``(n_tilts, height, width)``, float32, each with its border.
    border
        Pixels added on every side, of binned pixels.
    binning
        Binned pixel over pixel, a whole number.
    """

    images: Real
    border: int
    binning: int

    @classmethod
    def of(cls, series: TiltSeries, binning: int, n_threads: int) -> BinnedImages:
        """Read and bin all images.

        Raises
        ------
        DataError
            If an image cannot be used; the message names it.
        """
        height, width = series.image_shape
        rows, columns = (fast_length(np.ceil(n / binning) + 2 * CONTINUED) for n in (height, width))
        images, border = np.empty((series.n_tilts, rows, columns), np.float32), CONTINUED * binning
        inner = slice(height + 2 * border), slice(width + 2 * border)
        fade = Mask(-float(border), float(border)).weights(
            np.arange(-border, height + border, dtype=float),
            np.arange(-border, width + border, dtype=float),
            (height, width),
        )

        def bin_one(workspace: Workspace, tilt: int) -> None:
            image = load_image(series, tilt)
            level = image.mean(dtype=np.float64).astype(np.float32)
            whole = workspace.array("whole", (rows * binning, columns * binning), np.float32)
            np.multiply(continue_image(image, level, border, workspace, odd=True), fade, out=whole[inner])
            images[tilt] = fourier_crop(whole, (rows, columns))

        for_each(series.n_tilts, bin_one, state=Workspace, n_threads=n_threads)
        return cls(images, CONTINUED, binning)

    def place(self, pixel: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the place ``(x, y)`` in a binned image of a pixel of the image itself."""
        return np.asarray(pixel / self.binning + self.border)

    def window(self, tilt: int, pixel: NDArray[np.float64], size: int) -> Complex:
        """Give the transform of the window around a place, ``(size, size // 2 + 1)``.

        Parameters
        ----------
        tilt
            0-based number of the image.
        pixel
            ``(x, y)``, unbinned px.
        size
            Even, binned px. What lies outside of the image is 0.
        """
        place = self.place(pixel)
        corner = np.rint(place).astype(int)
        cut = np.zeros((size, size), np.float32)
        spans = []
        for middle, n in zip(corner[::-1], self.images.shape[1:], strict=True):
            first = int(middle) - size // 2
            low, high = max(first, 0), min(first + size, n)
            if low >= high:
                return np.zeros((size, size // 2 + 1), np.complex64)
            spans.append((slice(low - first, high - first), slice(low, high)))
        (into_y, from_y), (into_x, from_x) = spans
        cut[into_y, into_x] = self.images[tilt, from_y, from_x]
        spectrum = scipy.fft.rfft2(cut)
        # to the middle of the window, and by the fraction of a pixel
        shift_x, shift_y = place - corner + size // 2
        spectrum *= _phases(scipy.fft.fftfreq(size), shift_y)[:, None]
        spectrum *= _phases(scipy.fft.rfftfreq(size), shift_x)[None, :]
        return np.asarray(spectrum, np.complex64)


def _phases(frequency: NDArray[np.float64], shift: float) -> Complex:
    """Phases that move the place ``shift`` of a row to its beginning."""
    return np.asarray(np.exp(2j * np.pi * frequency * shift), np.complex64)
