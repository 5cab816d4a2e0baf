"""Profiles: settings of weighting and CTF under the name of a purpose or of a program."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fourierrecon.errors import UsageError
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
    "matching": Profile(weighting="wiener", snr=10.0, words="template matching that whitens"),
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
        weighting="wiener", snr=AUTO, ctf_mode="first-peak", tilt_weight="cos", words="as RELION 5 with --fourier"
    ),
    "warp": Profile(weighting="wiener", snr=10.0, exposure="bfactor", tilt_weight="cos", words="weights of Warp"),
    "imod-ramp": Profile(
        weighting=f"ramp:{_RADIAL}", snr=_INFINITE, ctf_mode="phase-flip", exposure="none", tilt_weight="none",
        words="as IMOD's tilt after ctfphaseflip",
    ),
    "imod-sirtlike": Profile(
        weighting=f"sirtlike:{_RADIAL}", snr=_INFINITE, ctf_mode="phase-flip", exposure="none", tilt_weight="none",
        words="as IMOD's tilt with a SIRT-like filter",
    ),
    "aretomo-wbp": Profile(
        weighting="ramp", snr=_INFINITE, ctf_mode="none", exposure="none", tilt_weight="none",
        words="weighted back-projection without correction of the CTF",
    ),
}  # fmt: skip


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
    profile = PROFILES[name]
    if not colon:
        return profile
    if not (number.isdecimal() and int(number) > 0):
        raise UsageError(f"profile {text!r}: {number!r} is no number of iterations; give one above 0")
    return replace(profile, weighting=f"{profile.weighting},n_iterations={number}")
