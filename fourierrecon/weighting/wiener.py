"""3D Wiener weighting: every point of the Fourier grid is divided by its weight plus 1/SNR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fourierrecon.errors import UsageError
from fourierrecon.runtime.compiled import compiled
from fourierrecon.weighting.base import Weighting, register
from fourierrecon.weighting.snr import STEP, WithSnr, snr_words


@register
@dataclass(frozen=True)
class Wiener(WithSnr, Weighting):
    """Divide the gridded data by the gridded weight: ``D / (W + 1/SNR)``, the default.

    ``D = sum CTF Y`` and ``W = sum CTF²`` over the images whose slices pass by a grid point. On a slice that no other
    image comes near this is ``CTF Y / (CTF² + 1/SNR)``, the Wiener filter of one image, back-projected over the depth
    of the region; near the tilt axis, where slices overlap, it is their weighted mean. The division is pointwise on the
    planes before they are transformed:
    nothing wraps around, and the strength of the filter does not depend on the size of the box, unlike a division by
    the transform of the point-spread function.

    Parameters
    ----------
    snr
        Signal-to-noise ratio, relative to one image with CTF = 1: a number, infinity (divides without regularisation),
        a curve, or ``"auto"``, ``"auto:3"``: measured from the tilt series by spatial frequency, times 3.
    """

    name: ClassVar[str] = "wiener"
    uses_weights: ClassVar[bool] = True

    @property
    def words(self) -> str:
        """One line on what the weighting does, for screens and headers."""
        return f"3D Wiener filter, {snr_words(self.snr)}"

    @property
    def uses_frequency(self) -> bool:
        """Whether the SNR depends on the spatial frequency."""
        return not isinstance(self.snr, float)

    def normalise(
        self, data: NDArray[np.complex64], weights: NDArray[np.float32], frequency: NDArray[np.float32] | None = None
    ) -> None:
        """Divide ``(rows, columns)`` of data by weights plus 1/SNR, in place; where there is no weight, data stays.

        Where the SNR is not measured yet, it is the assumed curve :data:`~fourierrecon.weighting.snr.STATED`.

        Raises
        ------
        UsageError
            If the SNR depends on the spatial frequency (1/Å) and that is not given.
        """
        snr = self.known_snr
        if isinstance(snr, float):
            _divide(data, weights, np.float32(1 / snr))
            return
        if frequency is None:
            raise UsageError(f"wiener with {snr_words(self.snr)} needs the spatial frequency of each point")
        _divide_by_curve(data, weights, frequency, snr.noise, np.float32(1 / STEP))


@compiled()
def _divide(data: Any, weights: Any, floor: Any) -> None:
    one = np.float32(1)
    for row in range(data.shape[0]):
        for column in range(data.shape[1]):
            # where there is no weight there is no data either: zero stays zero, also without regularisation
            data[row, column] *= one / max(weights[row, column] + floor, np.float32(1e-9))


@compiled()
def _divide_by_curve(data: Any, weights: Any, frequency: Any, noise: Any, per_frequency: Any) -> None:
    one, last, half = np.float32(1), np.float32(noise.shape[0] - 2), np.float32(0.5)
    columns = data.shape[1]
    entries, floor = np.empty(columns, np.int32), np.empty(columns, np.float32)
    for row in range(data.shape[0]):
        values, weight, places = data[row], weights[row], frequency[row]
        # three loops: alone the look-up keeps the others from being vectorised, and one loop takes four times as long
        for column in range(columns):
            entries[column] = np.int32(min(places[column] * per_frequency + half, last))
        for column in range(columns):
            floor[column] = noise[np.uint32(entries[column])]  # unsigned: no test for negative numbers
        for column in range(columns):
            values[column] *= one / max(weight[column] + floor[column], np.float32(1e-9))
