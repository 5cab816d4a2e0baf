"""Bins images by a cut in Fourier space, where nothing else is done to them."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from fourierrecon.runtime.arrays import Real


def fourier_crop(image: NDArray[np.floating], shape: tuple[int, int]) -> Real:
    """Give an image on a coarser grid of the same extent; its first pixel stays where it is.

    The Nyquist frequency of a grid with an even side has no partner, and is left out where the side gets shorter.

    Parameters
    ----------
    image
        ``(height, width)``.
    shape
        ``(rows, columns)``, at most those of the image.

    Returns
    -------
    Float32, with the mean of the image.
    """
    (height, width), (rows, columns) = image.shape, shape
    if (height, width) == (rows, columns):
        return np.asarray(image, np.float32)
    spectrum = scipy.fft.rfft2(image)[:, : columns // 2 + 1]
    upper = (rows + 1) // 2
    kept = np.concatenate([spectrum[:upper], spectrum[height - (rows - upper) :]])
    if rows < height and rows % 2 == 0:
        kept[upper] = 0
    if columns < width and columns % 2 == 0:
        kept[:, -1] = 0
    kept *= np.float32(rows * columns / (height * width))
    return np.asarray(scipy.fft.irfft2(kept, shape), np.float32)
