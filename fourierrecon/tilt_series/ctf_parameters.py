"""What the contrast transfer functions of a tilt series depend on."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourierrecon.errors import DataError, as_numbers, check_type
from fourierrecon.text import counted

#: Largest voltage (kV), aberration (mm), defocus (Å), angle of defocus or phase (degrees; turns may add up) and scale.
MOST_VOLTAGE, MOST_ABERRATION, MOST_DEFOCUS, MOST_ANGLE, MOST_SCALE = 1e4, 1e3, 1e6, 1e3, 1e3
#: Largest B-factors, Å², and B-factors per exposure, Å² per e⁻/Å².
MOST_B_FACTOR, MOST_B_PER_EXPOSURE = 1e6, 1e3


@dataclass(frozen=True, eq=False)
class CtfParameters:
    """What the contrast transfer functions of a tilt series depend on; one value or one a tilt.

    Parameters
    ----------
    voltage
        Acceleration voltage, kV.
    spherical_aberration
        Cs, mm.
    amplitude_contrast
        Fraction of amplitude contrast Q0, 0 to 1.
    defocus_u, defocus_v
        Defocus along and across the astigmatism axis, Å, underfocus positive, ``(n_tilts,)``.
    defocus_angle
        Angle of ``defocus_u`` from the image's x towards its y, degrees, ``(n_tilts,)``.
    phase_shift
        Phase shift of a phase plate, degrees, ``(n_tilts,)``.
    scale
        Factor on the whole function (``rlnCtfScalefactor``), ``(n_tilts,)``.
    b_factor
        Damping ``exp(-B q²/4)`` of the images (``rlnCtfBfactor``), Å², ``(n_tilts,)``.

    Examples
    --------
    >>> from fourierrecon import CtfParameters
    >>> CtfParameters.of(2, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.07, defocus_u=[30000, 32000])
    CtfParameters(300 kV, Cs 2.7 mm, 2 tilts, defocus 3.00 to 3.20 µm)
    """

    voltage: float
    spherical_aberration: float
    amplitude_contrast: float
    defocus_u: NDArray[np.float64]
    defocus_v: NDArray[np.float64]
    defocus_angle: NDArray[np.float64]
    phase_shift: NDArray[np.float64]
    scale: NDArray[np.float64]
    b_factor: NDArray[np.float64]

    def __repr__(self) -> str:
        defocus = (self.defocus_u + self.defocus_v) / 2e4
        return (
            f"CtfParameters({self.voltage:g} kV, Cs {self.spherical_aberration:g} mm, {counted(len(defocus), 'tilt')}, "
            f"defocus {defocus.min():.2f} to {defocus.max():.2f} µm)"
        )

    @classmethod
    def of(
        cls,
        n_tilts: int,
        *,
        voltage: float,
        spherical_aberration: float,
        amplitude_contrast: float,
        defocus_u: ArrayLike,
        defocus_v: ArrayLike | None = None,
        defocus_angle: ArrayLike = 0.0,
        phase_shift: ArrayLike = 0.0,
        scale: ArrayLike = 1.0,
        b_factor: ArrayLike = 0.0,
    ) -> CtfParameters:
        """Build from single values or sequences; a single value holds for every tilt.

        Raises
        ------
        DataError
            If a value makes no sense or is not finite.
        """

        def per_tilt(value: ArrayLike, name: str, largest: float) -> NDArray[np.float64]:
            values = as_numbers(name, value)
            if values.shape not in ((), (1,), (n_tilts,)):
                raise DataError(
                    f"{name} has shape {values.shape}; needed: one value, or one for each of {n_tilts} tilts"
                )
            array = np.array(np.broadcast_to(values, n_tilts))
            sound = np.abs(array) <= largest
            if not sound.all():
                bad = int(np.argmin(sound))
                raise DataError(f"{name} of tilt {bad + 1} is {array[bad]:g}; allowed: up to {largest:g} either way")
            return array

        for argument, number in (
            ("voltage", voltage),
            ("spherical_aberration", spherical_aberration),
            ("amplitude_contrast", amplitude_contrast),
        ):
            check_type(argument, number, (Real,), "a number")
        if not 0 < voltage < MOST_VOLTAGE:
            raise DataError(f"voltage {voltage:g} kV must be positive (300 and 200 are usual), below {MOST_VOLTAGE:g}")
        if not abs(spherical_aberration) < MOST_ABERRATION:
            raise DataError(
                f"spherical aberration {spherical_aberration:g} mm must be below {MOST_ABERRATION:g} (2.7 is usual)"
            )
        if not 0 <= amplitude_contrast <= 1:
            raise DataError(f"amplitude contrast {amplitude_contrast:g} must lie in 0 to 1 (0.07 to 0.1 is usual)")
        return cls(
            float(voltage),
            float(spherical_aberration),
            float(amplitude_contrast),
            per_tilt(defocus_u, "defocus U", MOST_DEFOCUS),
            per_tilt(defocus_u if defocus_v is None else defocus_v, "defocus V", MOST_DEFOCUS),
            per_tilt(defocus_angle, "defocus angle", MOST_ANGLE),
            per_tilt(phase_shift, "phase shift", MOST_ANGLE),
            per_tilt(scale, "CTF scale factor", MOST_SCALE),
            per_tilt(b_factor, "B-factor", MOST_B_FACTOR),
        )

    def select(self, index: NDArray[np.int64]) -> CtfParameters:
        """Give those of some of the tilts, by 0-based number."""
        per_tilt = {f.name: getattr(self, f.name)[index] for f in fields(self) if np.ndim(getattr(self, f.name))}
        return replace(self, **per_tilt)
