"""Tells the hand of the defocus from the images: by rings in their power spectra, and by half volumes of both hands."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fourierrecon.engine.windows import View
from fourierrecon.errors import DataError
from fourierrecon.geometry.ctf_depth import FLAT, phase_error
from fourierrecon.geometry.region import Region
from fourierrecon.quality.defocus_hand import SHELLS, SURE, HandCheck, check_hand, compare_halves
from fourierrecon.reconstruction import reconstruct
from fourierrecon.tilt_series import TiltSeries

#: The strip that half volumes are made of: voxels along the tilt axis, and in all at the most.
ROWS, VOXELS = 96, 60e6
#: Rings show the depth of a slab: images that are broader than that many times the depth of the region.
SLAB = 1.5
#: Images that half volumes need at the least: slices of few do not overlap enough.
FEWEST = 12
#: Standard deviations from which half volumes tell.
AGREED = 3.0
#: Slices of both halves overlap where they are nearer than that over the depth of the region.
OVERLAP = 1.0
#: Weighting of the half volumes.
WEIGHTING = "wiener:snr=10"


@dataclass(frozen=True, eq=False)
class HandEvidence:
    """What the images of a tilt series say of the hand of the defocus.

    Parameters
    ----------
    rings
        What power spectra say; None where they cannot be looked at, and ``rings_words`` says why.
    rings_words
        One line on the rings.
    halves_sigma
        Standard deviations by which half volumes agree better with hand 1 than with -1; None: not compared.
    halves_words
        One line on the half volumes.
    """

    rings: HandCheck | None
    rings_words: str
    halves_sigma: float | None
    halves_words: str

    @property
    def hand(self) -> int | None:
        """1 or -1, that of the rings if they tell; None where nothing tells, or half volumes contradict surely."""
        sigma = self.halves_sigma or 0.0
        by_halves = 1 if sigma > 0 else -1
        if self.rings is not None and self.rings.hand is not None:
            contradicted = by_halves != self.rings.hand and abs(sigma) >= SURE
            return None if contradicted else self.rings.hand
        return by_halves if abs(sigma) >= AGREED else None


def find_hand(
    series: TiltSeries, *, n_threads: int | None = None, memory: int | None = None, halves: bool = True
) -> HandEvidence:
    """Find out the hand of the defocus from the images of a tilt series.

    Parameters
    ----------
    series
        Tilt series with a CTF.
    n_threads, memory
        As for :func:`fourierrecon.reconstruction.reconstruct`.
    halves
        Compare half volumes too.

    Raises
    ------
    DataError
        If the CTF is not known.
    """
    region = Region.of(series)
    rings, words = None, ""
    view = View.of(series, region)
    broad = min(view.shape[2], max(series.image_shape)) >= SLAB * region.shape[0]
    if not broad and series.ctf is not None:
        words = "not looked at: the images are not broader than the region is deep, so depth does not go with the place"
    else:
        try:
            rings = check_hand(series, n_threads=n_threads)
            words = rings.words(series.hand)
        except DataError as error:
            if series.ctf is None:
                raise
            words = f"not looked at: {str(error).removeprefix(f'{series.source or series.name}: ')}"
    sigma, text = _by_halves(series, region, n_threads, memory) if halves else (None, "not compared")
    return HandEvidence(rings, words, sigma, text)


def _by_halves(
    series: TiltSeries, region: Region, n_threads: int | None, memory: int | None
) -> tuple[float | None, str]:
    """Make volumes of every other image with either hand, of a strip across the tilt axis, and compare them."""
    if series.n_tilts < FEWEST:
        return None, "not compared: too few images"
    region = _strip(series, region)
    if phase_error(series, region) < FLAT / 2:
        return None, "not compared: the voxels are too coarse for the hand to matter"
    order = np.argsort(series.tilt_angles, kind="stable")
    groups = [sorted(int(i) for i in order[first::2]) for first in (0, 1)]
    settings = {"ctf_depth": "on", "n_threads": n_threads, "memory": memory}
    made = {}
    for hand in (1, -1):
        turned = replace(series, hand=hand)
        one, two = (reconstruct(turned.select(group), region, WEIGHTING, **settings).data for group in groups)  # type: ignore[arg-type]
        made[hand] = one, two
    angles = np.sort(series.tilt_angles)
    step = max(float(np.radians(np.ptp(angles) / max(len(angles) - 1, 1))), 1e-3)
    plane_axis = 1 if View.of(series, region).plane_axis == 1 else 2
    sigma, curves = compare_halves(made, plane_axis, OVERLAP / (region.shape[0] * step))
    high = slice(SHELLS // 2, None)
    better = f"hand {'+1' if sigma > 0 else '-1'} fits better by {abs(sigma):.1f} standard deviations"
    told = better if abs(sigma) >= AGREED else f"they do not tell ({abs(sigma):.1f} standard deviations)"
    means = ", ".join(f"{float(curves[hand][high].mean()):.4f} with {hand:+d}" for hand in (1, -1))
    return sigma, f"{told}; Fourier shell correlation at half of Nyquist's frequency and above {means}"


def _strip(series: TiltSeries, region: Region) -> Region:
    """Give a strip of the region, full across the tilt axis, in voxels so large that it fits."""
    plane_axis = View.of(series, region).plane_axis
    binning = 1.0
    while True:
        shape = np.maximum((np.array(region.shape[::-1]) / binning).astype(int), 1)
        shape[plane_axis] = min(shape[plane_axis], ROWS)
        if shape.prod() <= VOXELS:
            break
        binning *= 1.25
    x, y, z = region.centre - binning * (shape - 1) / 2
    return Region((float(x), float(y), float(z)), (int(shape[2]), int(shape[1]), int(shape[0])), binning)
