"""Checks of the contrast transfer function: values that no tilt series of cryo-electron microscopy has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fourierrecon.geometry.sound_images import list_images, without_ctf
from fourierrecon.tilt_series import CtfParameters, TiltSeries

#: Limits of the defocus, Å. Below the first there is no contrast without a phase plate, so the unit may be nm; below
#: the second, µm; the third is more than anyone uses.
NEAR, MICROMETRES, FAR = 6.5e3, 100.0, 2.5e5
#: The fit of an image is doubtful where its defocus differs from the median by more than this factor.
OUTLIER = 3.0
#: Phase shift that only a phase plate causes, degrees.
PLATE = 20.0
#: Range of voltages of electron microscopes, kV; largest Cs, mm; largest amplitude contrast.
VOLTAGES, MOST_CS, MOST_CONTRAST = (60.0, 1500.0), 10.0, 0.5
#: Columns of the defocus, which messages name.
COLUMNS = "rlnDefocusU and rlnDefocusV"


def ctf_warnings(series: TiltSeries) -> list[str]:
    """List what looks like a mistake in the contrast transfer functions of a tilt series.

    Parameters
    ----------
    series
        Tilt series; without a CTF the list is empty.

    Returns
    -------
    list of str
        One line for each finding, with its remedy.
    """
    if series.ctf is None:
        return []
    return [*_defocus(series, series.ctf), *_optics(series.ctf), *_scale(series)]


def _defocus(series: TiltSeries, ctf: CtfParameters) -> Iterator[str]:
    """Find a defocus of the wrong sign or unit, and images whose fit failed."""
    defocus: NDArray[np.float64] = (ctf.defocus_u + ctf.defocus_v) / 2
    size = np.abs(defocus)
    usual = float(np.median(size))
    zero, negative = np.flatnonzero(size < 1), np.flatnonzero(defocus <= -1)
    if len(zero) == len(size):
        yield f"the defocus of all images is 0; enter that of a fit in {COLUMNS}, or give ctf=False"
        return
    if len(zero):
        yield f"the defocus is 0 for {list_images(series, zero)}: did the fit fail there? Correct {COLUMNS}"
    if len(negative):
        yield (
            f"the defocus is negative for {list_images(series, negative)}, the first {defocus[negative[0]]:g} Å: "
            f"underfocus counts positive, else the contrast is inverted; correct {COLUMNS}"
        )
    plate = bool((np.abs(ctf.phase_shift) > PLATE).any())
    unit = ""
    if usual < MICROMETRES:
        unit = "µm"
    elif usual < NEAR and not plate:
        unit = "nm"
    if unit and usual >= 1:
        yield f"the defocus is {usual:g} Å (median): it looks like {unit}; {COLUMNS} are in Å"
    elif unit:
        yield f"the defocus is {usual:g} Å (median), almost none: is it in another unit? {COLUMNS} are in Å"
    elif usual > FAR:
        yield f"the defocus is {usual:g} Å (median), {usual / 1e4:.0f} µm: is it in another unit? {COLUMNS} are in Å"
    odd = np.flatnonzero((size >= 1) & ((size > OUTLIER * usual) | (size < usual / OUTLIER)))
    if len(odd) > 0 and series.n_tilts > 2:
        yield (
            f"the defocus of {list_images(series, odd)} is far from that of the others, {usual:.0f} Å (median): "
            f"did the fit fail there? Correct {COLUMNS}"
        )


def _optics(ctf: CtfParameters) -> Iterator[str]:
    """Find optics that no electron microscope has."""
    low, high = VOLTAGES
    if not low <= ctf.voltage <= high:
        yield (
            f"no electron microscope has {ctf.voltage:g} kV (300 and 200 are usual); correct rlnVoltage, or voltage=..."
        )
    if not 0 <= ctf.spherical_aberration <= MOST_CS:
        yield (
            f"no electron microscope has a Cs of {ctf.spherical_aberration:g} mm (2.7 is usual); "
            f"correct rlnSphericalAberration, or spherical_aberration=..."
        )
    if ctf.amplitude_contrast > MOST_CONTRAST:
        yield (
            f"the amplitude contrast is {ctf.amplitude_contrast:g} (0.07 to 0.1 is usual); "
            f"correct rlnAmplitudeContrast, or amplitude_contrast=..."
        )


def _scale(series: TiltSeries) -> Iterator[str]:
    """Find images that a reconstruction refuses."""
    bad = sorted(without_ctf(series))
    if bad:
        yield (
            f"the CTF scale factor is 0 or negative for {list_images(series, bad)}; correct rlnCtfScalefactor, leave "
            f"such images out (skip_bad_images=True), or give ctf=False"
        )
