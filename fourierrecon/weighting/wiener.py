"""3D Wiener weighting: every point of the Fourier grid is divided by its weight plus 1/SNR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fourierrecon.kernels import compiled
from fourierrecon.weighting.base import Weighting, check_snr, register


@register
@dataclass(frozen=True)
class Wiener(Weighting):
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
        Signal-to-noise ratio, relative to one image with CTF = 1; infinity divides without regularisation.
    """

    name: ClassVar[str] = "wiener"
    uses_weights: ClassVar[bool] = True

    snr: float = 10.0

    def __post_init__(self) -> None:
        check_snr(self.snr)

    def normalise(self, data: NDArray[np.complex64], weights: NDArray[np.float32]) -> None:
        """Divide ``(rows, columns)`` of data by weights plus 1/SNR, in place; where there is no weight, data stays."""
        _divide(data, weights, np.float32(1 / self.snr))


@compiled()
def _divide(data: Any, weights: Any, floor: Any) -> None:
    one = np.float32(1)
    for row in range(data.shape[0]):
        for column in range(data.shape[1]):
            # where there is no weight there is no data either: zero stays zero, also without regularisation
            data[row, column] *= one / max(weights[row, column] + floor, np.float32(1e-9))
