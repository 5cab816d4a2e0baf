"""Weights of the grid, from those of the samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from fourierrecon.runtime.compiled import compiled


@compiled()
def separate(
    block: Any,  # (rows, 4 columns) float32
    data: Any,  # (rows, columns) complex64
    weights: Any,  # (rows, columns) float32
) -> None:
    """Take data and weights of grid points apart: sums of squared CTFs ``W`` and of ones ``S`` give ``W max(1, 1/S)``.

    ``W/S`` is the mean squared CTF. ``S`` is 1 where slices are as close as the depth of the region asks for. Where
    they are closer, data are divided by it, that is, averaged. Where they are not, nothing is divided: the profile that
    the kernel gives a slice stays as it is, so that its back-projection fills the depth.
    """
    one, least = np.float32(1), np.float32(1e-6)
    for row in range(data.shape[0]):
        numbers, values, out = block[row], data[row], weights[row]
        for column in range(data.shape[1]):
            values[column] = complex(numbers[4 * column], numbers[4 * column + 1])
            ones = numbers[4 * column + 3]
            ones = ones if ones > least else least
            out[column] = numbers[4 * column + 2] / (ones if ones < one else one)
