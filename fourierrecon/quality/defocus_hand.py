"""Finds the hand of the defocus in the images: on which side of the tilt axis a tilted specimen is farther from focus.

The power spectra of patches show it (Thon rings). In an image of a tilted specimen the patch at depth ``d`` has the
defocus ``z + h d``, so its power goes with ``CTF²(z + d)`` if the hand ``h`` is 1, and with ``CTF²(z - d)`` if it is
-1. How strongly power follows CTF² at each frequency is measured first, in the mean over all patches, which favours
neither. Both hands are then judged by their difference, where nothing but the hand counts: what all patches of an image
share, and what changes smoothly with the frequency, drops out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from fourierrecon.ctf import electron_wavelength, phase_coefficients
from fourierrecon.errors import DataError
from fourierrecon.geometry.ctf_depth import depth_rows
from fourierrecon.geometry.projection import rotation_centre
from fourierrecon.geometry.sound_images import sound_pixels
from fourierrecon.quality.block_mean import block_mean
from fourierrecon.runtime.threads import available_cores, for_each
from fourierrecon.text import counted
from fourierrecon.tilt_series import CtfParameters, TiltSeries

#: Patches: their largest and smallest side, px, and how many fit across an image at the least.
LARGEST, SMALLEST, ACROSS = 256, 48, 3
#: Images are averaged over squares of pixels up to this size, Å: finer rings are hardly seen.
FINEST = 2.5
#: Frequencies that are looked at: from the first zero of the CTF to this part of Nyquist's; rings that there must be.
HIGHEST, RINGS = 0.9, 2
#: Number of shells in which the strength of the rings is measured.
SHELLS = 24
#: Images that count together, as a Gaussian over images by their tilt.
NEIGHBOURS = 1.5
#: How much a window makes neighbouring coefficients alike: fewer of them are independent.
ALIKE = 1.5
#: Standard deviations below which images do not tell.
SURE = 4.0


@dataclass(frozen=True)
class HandCheck:
    """What the images say of the hand of the defocus.

    Parameters
    ----------
    hand
        1 or -1 as :attr:`TiltSeries.hand`; None where the images do not tell.
    sigma
        How much better that hand fits than the other, standard deviations of noise; positive for 1.
    scores
        The same for each image, ``(n_tilts,)``.
    """

    hand: int | None
    sigma: float
    scores: tuple[float, ...]

    def words(self, known: int | None = None) -> str:
        """Say it in one line, beside the hand that the source gives, if it does."""
        if self.hand is None:
            return f"the images do not tell the hand of the defocus ({abs(self.sigma):.1f} standard deviations)"
        agree = sum(score * self.hand > 0 for score in self.scores)
        text = (
            f"the images show hand {self.hand:+d} ({abs(self.sigma):.1f} standard deviations, "
            f"{agree} of {counted(len(self.scores), 'image')})"
        )
        if known is None:
            return f"{text}; the source gives none"
        return f"{text}, as the source says" if known == self.hand else f"{text}, but the source says {known:+d}"


def compare_halves(
    halves: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]], plane_axis: int, reach: float = np.inf
) -> tuple[float, dict[int, NDArray[np.float64]]]:
    """Compare the Fourier shell correlations of half volumes that were made with either hand.

    With the wrong hand slices that cross near the tilt axis contradict each other, so that halves agree less. The
    noise of the difference is that among planes of Fourier space across the tilt axis, which are independent.

    Parameters
    ----------
    halves
        For the hands 1 and -1 two volumes ``(z, y, x)`` of different images.
    plane_axis
        Axis of the arrays along the tilt axis.
    reach
        Distance from the tilt axis in Fourier space up to which slices of both halves overlap, cycles per voxel.

    Returns
    -------
    sigma, curves
        Standard deviations by which hand 1 is better; the correlations in :data:`SHELLS` shells up to Nyquist's.
    """
    shape = halves[1][0].shape
    along = np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), np.fft.rfftfreq(shape[2])
    squares = [f.reshape([-1 if axis == i else 1 for i in range(3)]) ** 2 for axis, f in enumerate(along)]
    squared = squares[0] + squares[1] + squares[2]
    shell = (
        np.where(squared - squares[plane_axis] < reach**2, np.minimum(np.sqrt(squared) * 2 * SHELLS, SHELLS), SHELLS)
        .astype(np.int64)
        .ravel()
    )
    taper = np.ones((1, 1, 1), np.float32)
    for axis in (1, 2):
        window = np.hanning(shape[axis] + 2)[1:-1] ** 0.5
        taper = taper * window.reshape([-1 if axis == i else 1 for i in range(3)]).astype(np.float32)
    curves: dict[int, NDArray[np.float64]] = {}
    kept: dict[int, NDArray[np.float64]] = {}
    for hand, volumes in halves.items():
        one, two = (scipy.fft.rfftn(volume * taper) for volume in volumes)
        norm = np.sqrt(
            np.bincount(shell, np.abs(one).ravel() ** 2.0, SHELLS + 1)
            * np.bincount(shell, np.abs(two).ravel() ** 2.0, SHELLS + 1)
        )
        alike = (one * two.conj()).real.ravel() / np.maximum(norm, 1e-30)[shell]
        alike[shell == SHELLS] = 0
        curves[hand] = np.asarray(np.bincount(shell, alike, SHELLS + 1)[:SHELLS], np.float64)
        kept[hand] = alike.reshape(one.shape)
    others = tuple(axis for axis in range(3) if axis != plane_axis)
    planes = (kept[1] - kept[-1]).sum(others)
    if plane_axis < 2:  # planes j and -j hold conjugate numbers
        half = len(planes) // 2
        planes = planes[1:half] + planes[:-half:-1]
    noise = float(planes.std(ddof=1) * np.sqrt(len(planes)))
    return float(planes.sum()) / max(noise, 1e-30), curves


def check_hand(series: TiltSeries, *, n_threads: int | None = None) -> HandCheck:
    """Find out the hand of the defocus from the images of a tilt series.

    It needs images that are tilted, wide enough for the defocus to change across them, and with some signal at the
    frequencies where that shows. The specimen is taken to lie at the height of the rotation centre.

    Parameters
    ----------
    series
        Tilt series with a CTF.
    n_threads
        Default: the cores available to the process.

    Returns
    -------
    HandCheck

    Raises
    ------
    DataError
        If the CTF is not known, or images are too small or too coarse.

    Examples
    --------
    >>> import numpy as np
    >>> from fourierrecon.quality.defocus_hand import HandCheck
    >>> HandCheck(-1, -9.5, (-5.0, -4.0, 0.2)).words(1)
    'the images show hand -1 (9.5 standard deviations, 2 of 3 images), but the source says +1'
    """
    ctf = series.ctf
    if ctf is None:
        raise DataError(f"{series.source or series.name}: no CTF, without which the hand of the defocus shows nowhere")
    factor = max(int(FINEST / series.pixel_size), 1)
    side = min(LARGEST, min(series.image_shape) // factor // ACROSS // 2 * 2)
    if side < SMALLEST:
        raise DataError(
            f"{series.source or series.name}: images of {series.image_shape[1]} x {series.image_shape[0]} px are too "
            f"small to find the hand of the defocus in them"
        )
    pixel = series.pixel_size * factor
    fy, fx = np.fft.fftfreq(side, pixel)[:, None], np.fft.rfftfreq(side, pixel)[None]
    radius = np.hypot(fx, fy)
    lowest = max(first_zero(ctf), 3 / (side * pixel))
    if lowest * RINGS**0.5 > HIGHEST / 2 / pixel:
        raise DataError(
            f"{series.source or series.name}: pixels of {pixel:g} Å are too coarse to find the hand of the defocus in "
            f"the rings of power spectra; {RINGS} of them are needed"
        )
    inside = (radius > lowest) & (radius < HIGHEST / 2 / pixel) & (fx > 0)
    grid = _Grid(np.broadcast_to(fx, radius.shape)[inside], np.broadcast_to(fy, radius.shape)[inside], pixel)
    rows, height = depth_rows(series), rotation_centre(series)[2]
    strength = np.zeros((series.n_tilts, 2, SHELLS))
    gained, noise = np.zeros((2, series.n_tilts, SHELLS))

    def look(_: None, tilt: int) -> None:
        image = np.asarray(series.images[tilt])
        if image.shape != series.image_shape or not sound_pixels(image).all() or np.ptp(image) == 0:
            return  # nothing to be seen there
        corners, depths = _patches(series, tilt, side, factor, rows[tilt], height)
        power = _power(block_mean(image[None], factor)[0], corners, side)[:, inside]
        usual = power.mean(0)
        trend = grid.trend(usual)
        plus, minus = (grid.squared_ctf(ctf, tilt, sign * depths) for sign in (1, -1))
        shared = grid.without_trend((plus + minus).mean(0) / 2)
        strength[tilt] = grid.by_shell(shared * (usual / trend - 1)), grid.by_shell(shared * shared)
        apart = grid.without_trend((plus - minus) / 2)
        gained[tilt] = grid.by_shell((apart * (power / np.maximum(usual, 1e-30) - 1)).sum(0))
        noise[tilt] = grid.by_shell((apart**2).sum(0))

    for_each(
        series.n_tilts, look, state=lambda: None, n_threads=n_threads or available_cores(), stage="hand", progress=None
    )
    weights = _strength(strength, np.argsort(np.hypot(rows[:, 0], rows[:, 1])))
    spread = ALIKE * np.sqrt((noise * weights**2).sum(1))
    scores = (gained * weights).sum(1)
    sigma = float(scores.sum() / max(np.sqrt((spread**2).sum()), 1e-30))
    hand = None if abs(sigma) < SURE else int(np.sign(sigma))
    return HandCheck(hand, sigma, tuple(float(s) for s in scores / np.maximum(spread, 1e-30)))


def first_zero(ctf: CtfParameters) -> float:
    """Give the first zero of the CTF of most images, 1/Å, without the spherical aberration."""
    defocus = float(np.median(np.abs(ctf.defocus_u + ctf.defocus_v))) / 2
    return float(1 / np.sqrt(electron_wavelength(ctf.voltage) * max(defocus, 1.0)))


@dataclass(frozen=True, eq=False)
class _Grid:
    """Frequencies that are looked at, 1/Å, ``(n,)``."""

    fx: NDArray[np.float64]
    fy: NDArray[np.float64]
    pixel: float

    def squared_ctf(self, ctf: CtfParameters, tilt: int, depths: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give CTF² at depths in Å, ``(n_depths, n)``."""
        squared = self.fx**2 + self.fy**2
        xx, xy, yy, quartic, constant = phase_coefficients(ctf, tilt)
        chi = xx * self.fx**2 + xy * self.fx * self.fy + yy * self.fy**2 + quartic * squared**2 + constant
        return np.asarray(np.sin(chi + np.pi * electron_wavelength(ctf.voltage) * squared * depths[:, None]) ** 2)

    @property
    def shells(self) -> NDArray[np.int64]:
        """Number of the shell of each frequency."""
        radius = np.hypot(self.fx, self.fy)
        return np.asarray(np.minimum(radius / radius.max() * SHELLS, SHELLS - 1), np.int64)

    def by_shell(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add values up in shells."""
        return np.asarray(np.bincount(self.shells, values, SHELLS))

    def trend(self, power: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the smooth course of a power spectrum: the exponential of a cubic in ``q²``."""
        logarithm = np.log(np.maximum(power, 1e-12 * power.max()))
        # the mean of logarithms is below the logarithm of the mean, by as much everywhere
        course = np.exp(logarithm - self.without_trend(logarithm))
        return np.asarray(course * (power.sum() / course.sum()))

    def without_trend(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take off what is smooth in the frequency, so that backgrounds do not count: a cubic in ``q²``."""
        squared = self.fx**2 + self.fy**2
        basis, _ = np.linalg.qr(np.vander(squared / squared.max(), 4))
        return np.asarray(values - (values @ basis) @ basis.T)


def _strength(sums: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.float64]:
    """Give how strongly power goes with CTF² in each image and shell, ``(n_tilts, SHELLS)``.

    In a thick specimen it may go against it, where the defocus of its faces differs by more than a ring. So images
    count together with those that are as steep, but not with all.

    Parameters
    ----------
    sums
        ``(n_tilts, 2, SHELLS)``: what was found, and what would be found if power were CTF².
    order
        Images by their tilt.
    """
    sums = sums[order]
    smooth = gaussian_filter(sums, (NEIGHBOURS, 0, 1), mode="nearest")
    found = smooth[:, 0] / np.maximum(smooth[:, 1], 1e-30)
    result = np.empty_like(found)
    result[order] = np.where(smooth[:, 1] > 0, found, 0)
    return result


def _patches(
    series: TiltSeries, tilt: int, side: int, factor: int, row: NDArray[np.float64], height: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Give the corners of patches, ``(n, 2)`` (x, y) in binned px, and the depths of their middles, Å."""
    rows, columns = (n // factor for n in series.image_shape)
    x, y = (np.linspace(0, n - side, max(2 * (n // side) - 1, 1)).astype(np.int64) for n in (columns, rows))
    corners = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    middles = (corners + side / 2) * factor
    a, t = series.projections[tilt, :2, :3], series.projections[tilt, :2, 3]
    flat = np.linalg.solve(a[:, :2], (middles - t - a[:, 2] * height).T).T
    return corners, (flat @ row[:2] + row[2] * height + row[3]) * series.pixel_size


def _power(image: NDArray[np.float32], corners: NDArray[np.int64], side: int) -> NDArray[np.float64]:
    """Give the power spectra of patches, ``(n, side, side // 2 + 1)``."""
    taper = np.hanning(side + 2)[1:-1].astype(np.float32)
    patches = np.stack([image[y : y + side, x : x + side] for x, y in corners])
    patches = (patches - patches.mean((1, 2), keepdims=True)) * (taper[:, None] * taper)
    spectra = scipy.fft.rfft2(patches)
    return np.asarray(spectra.real**2 + spectra.imag**2, np.float64)
