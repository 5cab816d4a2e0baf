"""Damage by exposure: the exposure that each image was taken at, and what is critical for a spatial frequency.

Critical exposure: ``N_c = 0.24499 q^-1.6649 + 2.8141`` e⁻/Å² at 300 kV, less below (Grant & Grigorieff 2015).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourierrecon.errors import DataError
from fourierrecon.tilt_series.series import TiltSeries

#: More exposure than any specimen is given, e⁻/Å².
MOST_EXPOSURE = 500.0
#: Critical exposure relative to that at 300 kV; for voltages within 5 kV.
BY_VOLTAGE = {300.0: 1.0, 200.0: 0.8, 100.0: 0.64}


def critical_exposure(frequency: ArrayLike) -> NDArray[np.float64]:
    """Exposure that leaves ``1/sqrt(e)`` of the signal at 300 kV, e⁻/Å² (Grant & Grigorieff 2015); frequency in 1/Å."""
    return np.asarray(0.24499 * np.asarray(frequency, float) ** -1.6649 + 2.8141)


def problem_of(before: NDArray[np.float64]) -> str:
    """Say what no microscope gives among the exposures before all images, e⁻/Å²; empty if nothing is wrong."""
    bad = np.flatnonzero(~(np.isfinite(before) & (before >= 0)))
    if len(bad):
        return f"{before[bad[0]]:g} e⁻/Å² before image {bad[0] + 1}"
    if before.max() > MOST_EXPOSURE:
        worst = int(np.argmax(before))
        return f"{before[worst]:g} e⁻/Å² before image {worst + 1}, more than a specimen survives"
    if len(before) > 1 and np.ptp(before) == 0:
        return f"{before[0]:g} e⁻/Å² before every image, so that none adds any"
    return ""


def accumulated(series: TiltSeries) -> NDArray[np.float64]:
    """Exposure at the middle of each image, e⁻/Å², ``(n_tilts,)``: that before it, and half of its own.

    Raises
    ------
    DataError
        If it is not known, or makes no sense.
    """
    where, before = series.source or series.name, series.exposure
    remedy = 'correct rlnMicrographPreExposure (of other programs: give mdoc=...), or choose exposure="none"'
    if before is None:
        raise DataError(f"{where}: exposures are missing for exposure=...; {remedy.replace('correct', 'add')}")
    # copies of one image, turned to look for its angle, share its exposure
    copies = np.ptp(series.tilt_angles) == 0
    if problem := problem_of(np.unique(before) if copies else before):
        raise DataError(f"{where}: exposures are wrong: {problem}; allowed: 0 to {MOST_EXPOSURE:g}, growing; {remedy}")
    return np.asarray(before + series.own_exposure / 2)


def by_voltage(series: TiltSeries) -> float:
    """Critical exposure over that at 300 kV.

    Raises
    ------
    DataError
        If the voltage is not known, or the critical exposure at it is not.
    """
    if series.ctf is None:
        raise DataError(
            f'{series.source or series.name}: exposure="grant" needs the voltage, but '
            f'{", ".join(series.ctf_missing) or "rlnVoltage"} is missing; add it, or choose exposure="bfactor" or none'
        )
    for voltage, factor in BY_VOLTAGE.items():
        if abs(series.ctf.voltage - voltage) <= 5:
            return factor
    raise DataError(
        f"{series.source or series.name}: critical exposures are known for {', '.join(f'{v:g}' for v in BY_VOLTAGE)} "
        f'kV, not for {series.ctf.voltage:g} kV; choose exposure="bfactor" or none'
    )
