"""A stack of images that repairs each image as it is read: what readers of a tilt series see instead of the files."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon.images.balance import Coarse, Levels, balance_of, noise_of
from fourierrecon.images.beads import NO_BEAD, NO_BEADS, OTHER_SIZE, Beads, check_diameter, erase_beads, find_beads
from fourierrecon.images.hot_pixels import NOTHING, Replacements, find_hot_pixels, replacements
from fourierrecon.images.intensities import intensity_of, steps_in
from fourierrecon.images.repairs import Repairs
from fourierrecon.runtime.arrays import Real
from fourierrecon.runtime.half_floats import to_single
from fourierrecon.runtime.threads import for_each
from fourierrecon.text import counted
from fourierrecon.tilt_series import ImageFile, ImagesInFiles, ImageStack, TiltSeries, root_of


@dataclass(frozen=True, eq=False)
class Found:
    """What was found in one image, whichever others there are.

    Parameters
    ----------
    levels
        Mean, standard deviation, and variance of the noise; None: not looked for.
    hot
        Hot pixels and what they become; None: not looked for.
    coarse
        The image in coarse pixels; None: not looked for.
    """

    levels: tuple[float, float, float] | None = None
    hot: Replacements | None = None
    coarse: Coarse | None = None


class Common:
    """What the images of a tilt series and those of its even and odd frames share, found once."""

    def __init__(self, series: TiltSeries, repairs: Repairs) -> None:
        self.series, self.repairs = series, repairs
        self.levels: dict[int, tuple[float, float, float]] = {}
        self.coarse: dict[int, Coarse] = {}
        self.factors: NDArray[np.float64] | None = None
        self.balance: NDArray[np.float64] | None = None
        self.beads: Beads | None = None
        self.lock = threading.RLock()


class RepairedImages:
    """Images of a tilt series, repaired as they are read: see :func:`repaired`.

    What an image holds is looked for when it is read for the first time; afterwards the few replaced values are kept.

    Parameters
    ----------
    images
        The images as they are.
    common
        What is the same for all images of these tilts.
    model
        Images of the same tilts whose hot pixels are replaced in these as well, and no others: so halves of frames stay
        halves.
    """

    def __init__(self, images: ImageStack, common: Common, model: RepairedImages | None = None) -> None:
        self.images, self.common, self.model = images, common, model
        self._hot: dict[int, Replacements] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n_tilts, height, width)``."""
        return tuple(self.images.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels as stored."""
        return np.dtype(getattr(self.images, "dtype", np.float32))

    @property
    def repairs(self) -> Repairs:
        """What is repaired."""
        return self.common.repairs

    @property
    def hot_pixels(self) -> dict[int, int]:
        """Numbers of hot pixels by 0-based number of the image, for the images that were read."""
        return {tilt: len(found) for tilt, found in sorted(self._hot.items())}

    @property
    def scaled(self) -> dict[int, float]:
        """Intensities of the images that are scaled, over those expected, by 0-based number."""
        factors = self.common.factors
        return {} if factors is None else {int(i): float(factors[i]) for i in np.flatnonzero(factors != 1)}

    def like(self, images: ImageStack) -> RepairedImages:
        """Repair other images of the same tilts, as of even and odd frames, in the same way."""
        wrapped = RepairedFiles if isinstance(images, ImagesInFiles) else RepairedImages
        return wrapped(images, self.common, self)

    def look(self, n_threads: int = 1) -> None:
        """Find what takes a look at all images, beads and steps of intensity, before the first is read.

        It happens by itself when the first image is read, but on one thread. Beads that are not found are reported in
        a warning.
        """
        common = self.common
        with common.lock:
            if common.factors is None:
                own = common.series
                common.factors = np.ones(own.n_tilts)
                # stacks of other kinds may be slow to read, and read each image just once
                if self.repairs.intensities and isinstance(own.images, ImagesInFiles | np.ndarray):
                    looked = np.empty((own.n_tilts, 3))

                    def measure(_: None, i: int) -> None:
                        looked[i] = self._levels(i)

                    for_each(own.n_tilts, measure, state=lambda: None, n_threads=n_threads)
                    means, spreads, noise = looked.T
                    factors = steps_in(own.tilt_angles, means, spreads)
                    common.factors = factors
                    common.balance = balance_of(
                        own,
                        Levels(means / factors, spreads / factors, noise / factors**2),
                        lambda i: self._coarse(i, float(factors[i])),
                        n_threads,
                    )
            if common.beads is None and self.repairs.erase_beads is not None:
                common.beads = find_beads(common.series, self.repairs.erase_beads, self._plain, n_threads)
                problem, used = self._problem_of(common.beads, self.repairs.erase_beads)
                if problem:
                    warnings.warn(problem, stacklevel=2)
                if not used:
                    common.beads = NO_BEADS

    def _levels(self, number: int) -> tuple[float, float, float]:
        """Measure an image of the whole tilt series, once."""
        known = self.common.levels
        if number not in known:
            image = np.asarray(self.common.series.images[number])
            known[number] = (*intensity_of(image), noise_of(image))
        return known[number]

    def _coarse(self, number: int, factor: float) -> Coarse:
        """Give an image over a factor in coarse pixels; they are made once."""
        known = self.common.coarse
        if number not in known:
            known[number] = Coarse.of(self._plain(number), self.common.series.pixel_size)
        return Coarse(known[number].pixels / np.float32(factor), known[number].spread / factor)

    def found(self, number: int) -> Found:
        """Give what was found in an image so far."""
        return Found(self.common.levels.get(number), self._hot.get(number), self.common.coarse.get(number))

    def recall(self, number: int, found: Found) -> None:
        """Take over what was found in the same image before, so that it need not be looked for again."""
        if found.levels is not None:
            self.common.levels[number] = found.levels
        if found.hot is not None and self.repairs.hot_pixels:
            self._hot[number] = found.hot
        if found.coarse is not None:
            self.common.coarse[number] = found.coarse

    def factor_of(self, number: int) -> float:
        """Give the factor that an image is multiplied with."""
        self.look()
        factors, balance = self.common.factors, self.common.balance
        return float((1 if factors is None else 1 / factors[number]) * (1 if balance is None else balance[number]))

    def _problem_of(self, beads: Beads, diameter: float) -> tuple[str, bool]:
        """Say what is odd about the beads that were found, and whether they are erased nevertheless."""
        name, pixel_size = self.common.series.name, self.common.series.pixel_size
        if not len(beads):
            return (
                f"no beads of {diameter:g} nm found in the images of {name}, so none is erased; is that their "
                f"diameter, and {pixel_size:g} Å the pixel size?"
            ), False
        shown = beads.width * pixel_size / 10
        factor = max(shown / diameter, diameter / shown)
        if not factor > OTHER_SIZE:
            return "", True
        erased = factor <= NO_BEAD
        return (
            f"beads of {diameter:g} nm in {name} look {shown:.2g} nm wide{'' if erased else ', so none is erased'}; is "
            f"erase_beads={diameter:g} their diameter, and {pixel_size:g} Å the pixel size?"
        ), erased

    def __getitem__(self, index: int, /) -> NDArray[np.generic]:
        number = range(self.shape[0])[index]
        factor, beads = self.factor_of(number), self.common.beads
        image = self._without_spikes(number)
        if factor != 1:
            image = to_single(image) * np.float32(factor)
        if beads is not None and len(beads) and image.shape == self.shape[1:]:
            image = np.array(image, np.float32)
            if np.isfinite(image).all():
                erase_beads(image, beads, number)
        return image

    def _plain(self, number: int) -> Real:
        """Give an image as beads are looked for in it."""
        return to_single(self._without_spikes(number))

    def places_of(self, number: int) -> NDArray[np.int64]:
        """Give the places of the hot pixels of an image, which is read if need be."""
        if number not in self._hot:
            self._without_spikes(number)
        return self._hot[number].index if number in self._hot else NOTHING.index

    def _without_spikes(self, number: int) -> NDArray[Any]:
        """Read an image, and replace its hot pixels: in values that its type can hold, so that it need not change."""
        image = np.asarray(self.images[number])
        if not self.repairs.hot_pixels or np.iscomplexobj(image) or image.shape != self.shape[1:]:
            return image  # whoever reads it refuses what it cannot use
        own = self._hot.get(number)
        if own is None:
            kind = image.dtype
            image = to_single(image)
            own = find_hot_pixels(image) if self.model is None else replacements(image, self.model.places_of(number))
            if len(own) and np.issubdtype(kind, np.integer):
                limits = np.iinfo(kind)
                own = replace(own, values=np.rint(own.values).clip(limits.min, limits.max).astype(np.float32))
            elif len(own):
                own = replace(own, values=own.values.astype(kind).astype(np.float32))
            self._hot[number] = own
        if len(own):
            fresh = isinstance(self.images, ImagesInFiles) and image.flags.owndata and image.flags.writeable
            image = image if fresh else np.array(image)
            image.reshape(-1)[own.index] = own.values
        return image


class RepairedFiles(RepairedImages):
    """The same for images in files; an :class:`~fourierrecon.tilt_series.ImagesInFiles` itself."""

    images: ImagesInFiles

    @property
    def sections(self) -> Sequence[tuple[Path, int]]:
        """File of each image, and its 0-based number there."""
        return self.images.sections

    @property
    def places(self) -> Sequence[tuple[Path, int]] | None:
        """The sections, or None where other programs would not read these images there."""
        return self.images.places

    @property
    def stacks(self) -> Sequence[ImageFile]:
        """The files that hold the images, each once."""
        return self.images.stacks

    @property
    def column(self) -> str:
        """Column of a STAR file that names the images."""
        return self.images.column


def repaired(series: TiltSeries, repairs: Repairs | None = None) -> TiltSeries:
    """Give a tilt series whose images are repaired as they are read; one that is so already comes back.

    Parameters
    ----------
    series
        Its images may lie in files, and stay there.
    repairs
        What is repaired. Default: hot pixels and steps of intensity.

    Examples
    --------
    >>> import numpy as np
    >>> from fourierrecon import TiltSeries
    >>> from fourierrecon.geometry.projection import projection_matrices
    >>> from fourierrecon.images import Repairs, lines_on, repaired
    >>> images = np.random.default_rng(0).normal(size=(3, 64, 64)).astype(np.float32)
    >>> images[1, 20, 30] = 50
    >>> series = TiltSeries(images, projection_matrices((64, 64), (32, 32, 16), [-20, 0, 20]), pixel_size=10)
    >>> whole = repaired(series, Repairs(intensities=False))
    >>> [bool(whole.images[tilt][20, 30] < 5) for tilt in range(3)]
    [True, True, True]
    >>> lines_on(whole)
    ('1 hot pixel replaced (in 1 of 3 images, 0.0244 % there at most)',)
    """
    repairs = Repairs() if repairs is None else repairs
    if repairs.erase_beads is not None:
        check_diameter(series, repairs.erase_beads)
    if not repairs.wanted or isinstance(root_of(series.images), RepairedImages):
        return series
    wrapped = RepairedFiles if isinstance(series.images, ImagesInFiles) else RepairedImages
    return replace(series, images=wrapped(series.images, Common(series, repairs)))


def alike(series: TiltSeries, stacks: Mapping[str, ImageStack]) -> dict[str, ImageStack]:
    """Repair stacks of the same tilts, as of even and odd frames, as the images of a series are; in the same places.

    Parameters
    ----------
    series
        Repaired or not.
    stacks
        Images by name.
    """
    images = series.images
    return {name: images.like(stack) if isinstance(images, RepairedImages) else stack for name, stack in stacks.items()}


def look(series: TiltSeries, n_threads: int) -> None:
    """Take the look at all images that :meth:`RepairedImages.look` is, if the images of a series are repaired."""
    images = root_of(series.images)
    if isinstance(images, RepairedImages):
        images.look(n_threads)


def lines_on(series: TiltSeries) -> tuple[str, ...]:
    """Say what was repaired in the images that were read, a line for each kind."""
    images = root_of(series.images)
    if not isinstance(images, RepairedImages):
        return ()
    lines = []
    counts = images.hot_pixels
    total, size = sum(counts.values()), int(np.prod(images.shape[1:]))
    if total:
        with_some = sum(count > 0 for count in counts.values())
        lines.append(
            f"{counted(total, 'hot pixel')} replaced (in {with_some} of {counted(len(counts), 'image')}, "
            f"{100 * max(counts.values()) / size:.3g} % there at most)"
        )
    beads = images.common.beads
    if beads is not None and len(beads):
        diameter = f"{2 * beads.radius * images.common.series.pixel_size / 10:g} nm"
        lines.append(f"{counted(len(beads), 'gold bead')} of {diameter} found, and erased from all images")
    if images.scaled:
        angles = images.common.series.tilt_angles
        named = ", ".join(f"{angles[tilt]:.1f}° by {1 / factor:.2f}" for tilt, factor in images.scaled.items())
        lines.append(f"images scaled to the intensity of their neighbours: {named}")
    balance = images.common.balance
    if balance is not None:
        lines.append(
            f"the stack was normalised: images scaled back to what counts are, 1 to {balance.min() / balance.max():.2f}"
        )
    return tuple(lines)


def record_of(series: TiltSeries) -> dict[str, Any]:
    """Collect for a passport what was repaired."""
    images = root_of(series.images)
    if not isinstance(images, RepairedImages):
        return {"hot_pixels": None}
    return {
        "hot_pixels": {"replaced": sum(images.hot_pixels.values()), "by_image": list(images.hot_pixels.values())},
        "beads_erased": None if images.common.beads is None else images.common.beads.points.tolist(),
        "counts_restored": None if images.common.balance is None else images.common.balance.tolist(),
        "scaled": {str(tilt + 1): 1 / factor for tilt, factor in images.scaled.items()},
    }
