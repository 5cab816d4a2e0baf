"""Profiles: settings of weighting and CTF under the name of a purpose or of a program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypedDict

from fourierrecon.errors import UsageError
from fourierrecon.weighting import Weighting, from_text
from fourierrecon.weighting.snr import AUTO, Snr


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Settings that belong together.

    Parameters
    ----------
    weighting
        As for :func:`~fourierrecon.weighting.from_text`.
    snr
        Signal-to-noise ratio, for weightings that take one.
    ctf_mode, exposure, tilt_weight, ctf_depth
        As for :class:`~fourierrecon.transfer.Correction`.
    words
        What it is for.
    """

    weighting: str
    snr: Snr
    ctf_mode: str | None = None
    exposure: str | None = None
    tilt_weight: str | None = None
    ctf_depth: str | None = None
    words: str


_INFINITE = float("inf")
#: Gaussian fall of eTomo's default command file.
_RADIAL = "cutoff=0.35,sigma=0.035"

PROFILES = {
    "eyes": Profile(weighting="wiener", snr=AUTO, words="looking at tomograms and picking by hand"),
    "matching": Profile(
        weighting="exact", snr=_INFINITE, ctf_mode="phase-flip", words="template matching: the noise is left even"
    ),
    "averaging": Profile(
        weighting="wiener", snr=100.0, ctf_mode="phase-flip", words="averaging by programs that do not correct the CTF"
    ),
    "denoising": Profile(
        weighting="wiener", snr=100.0, ctf_mode="phase-flip", words="networks that are trained on noisy tomograms"
    ),
    "segmentation": Profile(weighting="wiener", snr=AUTO, words="membranes and outlines"),
    "relion4": Profile(
        weighting="wiener", snr=10.0, exposure="none", tilt_weight="none", ctf_depth="off", words="as RELION 4"
    ),
    "relion5-fourier": Profile(
        weighting="wiener", snr=AUTO, exposure="none", tilt_weight="none", words="as RELION 5 with --fourier"
    ),
    "relion5.1-premultiply": Profile(
        weighting="wiener", snr=_INFINITE, ctf_mode="multiply", exposure="none", tilt_weight="none",
        words="as RELION 5.1 with --fourier --skip_fourier_wiener",
    ),
    "warp": Profile(
        weighting="wiener", snr=_INFINITE, ctf_mode="absolute", exposure="bfactor", tilt_weight="cos",
        words="as Warp's ts_reconstruct",
    ),
    "imod-ramp": Profile(
        weighting=f"ramp:{_RADIAL}", snr=_INFINITE, ctf_mode="phase-flip", exposure="none", tilt_weight="none",
        words="as IMOD's tilt after ctfphaseflip",
    ),
    "imod-sirtlike": Profile(
        weighting=f"sirtlike:{_RADIAL}", snr=_INFINITE, ctf_mode="phase-flip", exposure="none", tilt_weight="none",
        words="as IMOD's tilt with a SIRT-like filter",
    ),
    "aretomo-wbp": Profile(
        weighting="ramp:hamming=0,end=0.1", snr=_INFINITE, ctf_mode="none", exposure="none", tilt_weight="none",
        words="as AreTomo's weighted back-projection, CTF not corrected",
    ),
}  # fmt: skip


class ProfileOptions(TypedDict):
    """What a profile stands for, as keywords of :func:`fourierrecon.reconstruct` and its sisters."""

    weighting: Weighting
    ctf_mode: str | None
    exposure: str | None
    tilt_weight: str | None


def profile(name: str) -> ProfileOptions:
    """Give the weighting and settings of a profile, as keywords for :func:`fourierrecon.reconstruct` and its sisters.

    Parameters
    ----------
    name
        A name of :data:`PROFILES`: ``eyes``, ``matching``, ``averaging``, ``denoising``, ``segmentation``, ``relion4``,
        ``relion5-fourier``, ``relion5.1-premultiply``, ``warp``, ``imod-ramp``, ``imod-sirtlike:15`` (iterations) or
        ``aretomo-wbp``.

    Returns
    -------
    options
        ``weighting``, ``ctf_mode``, ``exposure`` and ``tilt_weight``; None leaves a default. Change what should differ.

    Raises
    ------
    UsageError
        If there is none, or its number makes no sense.

    Examples
    --------
    >>> import numpy as np
    >>> from fourierrecon import TiltSeries, profile, reconstruct
    >>> from fourierrecon.geometry.projection import projection_matrices
    >>> tilts = np.linspace(-60, 60, 13)
    >>> images = np.random.default_rng(0).normal(size=(13, 64, 64))
    >>> matrices = projection_matrices((64, 64), (32, 32, 16), tilts, tilt_axis_angle=85)
    >>> series = TiltSeries(images, matrices, pixel_size=10, size=(64, 64, 32))
    >>> volume = reconstruct(series, binning=4, **profile("aretomo-wbp"))
    >>> volume.label.split(",")[0]
    'fourierrecon ramp filter by tilt step'
    >>> options = profile("eyes") | {"ctf_mode": "none"}
    >>> volume = reconstruct(series, binning=4, **options)
    """
    chosen = find(name)
    return {
        "weighting": from_text(chosen.weighting, snr=chosen.snr),
        "ctf_mode": chosen.ctf_mode,
        "exposure": chosen.exposure,
        "tilt_weight": chosen.tilt_weight,
    }


def find(text: str) -> Profile:
    """Give the profile of a name; ``imod-sirtlike:15`` takes 15 iterations in place of 10.

    Raises
    ------
    UsageError
        If there is none, or the number makes no sense.
    """
    name, colon, number = text.strip().partition(":")
    if name not in PROFILES or (colon and name != "imod-sirtlike"):
        raise UsageError(
            f"unknown profile {text!r}; available: {', '.join(PROFILES)}; imod-sirtlike:15 takes 15 iterations"
        )
    chosen = PROFILES[name]
    if not colon:
        return chosen
    if not (number.isdecimal() and int(number) > 0):
        raise UsageError(f"profile {text!r}: {number!r} is no number of iterations; give one above 0")
    return replace(chosen, weighting=f"{chosen.weighting},n_iterations={number}")
