"""Makes the boxes of one tilt series: subtomograms, and the data and weight terms that RELION refines with."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from fourierrecon.engine.settings import Settings
from fourierrecon.errors import UsageError
from fourierrecon.geometry.ctf_depth import DepthCtf
from fourierrecon.geometry.region import Region
from fourierrecon.images import repaired
from fourierrecon.particles.places import holds, projected
from fourierrecon.particles.slices import add_slice, transfer_window
from fourierrecon.particles.windows import BinnedImages
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.runtime.memory import Workspace
from fourierrecon.tilt_series import USUAL_HAND, TiltSeries
from fourierrecon.transfer import PER_CYCLE, Correction, Transfer

#: Depth of the box in which images are put together, over the box that is wanted: room for what the CTF spreads.
ROOM = 2


@dataclass(frozen=True, eq=False)
class BoxTerms:
    """The Fourier terms of one box, ``(window, window, window // 2 + 1)``, frequencies in the order of an FFT.

    The middle of the box is the point ``(0, 0, 0)`` of its inverse transform.

    Parameters
    ----------
    data
        Sum of images times transfer functions, complex64.
    weights
        Sum of squared transfer functions, float32.
    counts
        Multiplicity: number of slices, float32.
    seen
        ``(n_tilts,)``: which images hold the box.
    turned
        The axes of the box are not those of the world.
    """

    data: Complex
    weights: Real
    counts: Real
    seen: NDArray[np.bool_]
    turned: bool = False

    def volume(self, box: int, snr: float | None = 10.0, workspace: Workspace | None = None) -> Real:
        """Give the subtomogram, ``(box, box, box)``, float32; its middle is voxel ``box // 2``.

        Parameters
        ----------
        box
            Voxels along each side, even.
        snr
            Divide by ``weights + 1 / snr`` (Wiener filter); None: leave the data premultiplied with the CTF.
        workspace
            Memory for what is computed on the way. Default: fresh memory.
        """
        if snr is None:
            return crop(self.data, box)
        arrays = workspace or Workspace()
        factor = np.add(self.weights, np.float32(1 / snr), out=arrays.array("factor", self.weights.shape, np.float32))
        spectrum = arrays.array("spectrum", self.data.shape, np.complex64)
        return crop(np.multiply(self.data, np.reciprocal(factor, out=factor), out=spectrum), box, overwrite=True)


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over the images of a box, while they are made.

    Parameters
    ----------
    data, weights, counts
        See :func:`fourierrecon.particles.slices.add_slice`.
    """

    data: Complex
    weights: Real | Complex
    counts: Real

    @classmethod
    def empty(cls, size: int, workspace: Workspace | None = None, *, paired: bool = False) -> Sums:
        """Give sums of nothing, for a window of so many voxels along each side; paired weights are complex.

        They take the memory of a workspace, if there is one, which costs less than fresh memory.
        """
        arrays = [
            (workspace or Workspace()).array(name, (size, size, size // 2 + 1), kind)
            for name, kind in (
                ("data", np.complex64), ("weights", np.complex64 if paired else np.float32), ("counts", np.float32)
            )
        ]  # fmt: skip
        for array in arrays:
            array[...] = 0
        return cls(*arrays)


@dataclass(frozen=True, eq=False, kw_only=True)
class BoxMaker:
    """Makes boxes at places of one tilt series, on any number of threads at once.

    Parameters
    ----------
    series
        Tilt series.
    box
        Voxels along each side, even.
    binning
        Voxel over pixel, a whole number.
    window
        Voxels along each side of the box in which images are put together. Default: twice the box.
    settings
        ``ctf``, ``ctf_mode``, ``exposure``, ``tilt_weight``, ``ctf_depth``, ``defocus_hand``, ``local``, ``n_threads``
        and the repairs of images count.

    Raises
    ------
    UsageError
        If sizes make no sense.
    DataError
        If an image cannot be used, or parameters of the CTF are missing.

    Examples
    --------
    >>> import numpy as np
    >>> from fourierrecon import Settings
    >>> from fourierrecon.particles import BoxMaker
    >>> from fourierrecon.simulation.phantom import cell_like_specimen
    >>> from fourierrecon.simulation.simulate import simulate
    >>> series = simulate(cell_like_specimen((96, 96, 48)), (96, 96, 48)).series
    >>> maker = BoxMaker(series=series, box=16, binning=1, settings=Settings(ctf=False))
    >>> maker.make(np.array([48.0, 48.0, 24.0])).volume(16).shape
    (16, 16, 16)
    """

    series: TiltSeries
    box: int
    binning: int = 1
    window: int | None = None
    settings: Settings = field(default_factory=Settings)
    _transfer: Transfer = field(init=False)
    _depth: DepthCtf | None = field(init=False)
    _images: BinnedImages = field(init=False)
    _envelopes: Real = field(init=False)
    _counts: dict[bytes, Real] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        size = ROOM * self.box if self.window is None else self.window
        check_sizes(self.box, size, self.binning)
        correction: Correction = self.settings.correction
        # the CTF at each depth is that of the box's middle: nothing to choose from the size of a region
        flat = Correction(
            ctf_mode=correction.ctf_mode, exposure=correction.exposure, tilt_weight=correction.tilt_weight
        )
        transfer = Transfer.of(self.series, flat)
        put = object.__setattr__
        put(self, "window", size)
        put(self, "_transfer", transfer)
        put(self, "_depth", self._depth_of(correction))
        images = repaired(self.series, self.settings.repairs)
        put(self, "_images", BinnedImages.of(images, int(self.binning), self.settings.threads))
        put(self, "_envelopes", transfer.envelopes(self.voxel_size))

    def _depth_of(self, correction: Correction) -> DepthCtf | None:
        if self.series.ctf is None or correction.ctf_mode == "none" or correction.ctf_depth == "off":
            return None
        told = correction.defocus_hand or (None if self.series.hand_assumed else self.series.hand)
        if told is None and correction.ctf_depth != "on":
            return None
        return DepthCtf.of(self.series, Region.of(self.series), told or self.series.hand or USUAL_HAND)

    @property
    def voxel_size(self) -> float:
        """Å."""
        return self.series.pixel_size * self.binning

    def visible(self, point: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which images hold the box around a world point (unbinned px), ``(n_tilts,)``."""
        return self._held(self.pixels(point))

    def _held(self, pixels: NDArray[np.float64]) -> NDArray[np.bool_]:
        return holds(self.series, pixels, self.box * self.binning)

    def pixels(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the pixels of a world point in the images, unbinned, ``(n_tilts, 2)``."""
        return np.asarray(projected(self.series, np.asarray(point, float)[None], local=self.settings.local)[0])

    def make(
        self,
        point: NDArray[np.float64],
        rotation: NDArray[np.float64] | None = None,
        workspace: Workspace | None = None,
    ) -> BoxTerms:
        """Make the terms of the box around a place.

        Parameters
        ----------
        point
            World point, ``(x, y, z)``, unbinned px.
        rotation
            ``(3, 3)``: from the axes of the box to those of the world. Default: the same axes.
        workspace
            Memory of the terms, which hold until the next box is made in it. Default: fresh memory.

        Returns
        -------
        BoxTerms
            With the images that hold the box; all zero where none does.
        """
        assert self.window is not None
        sums = Sums.empty(self.window, workspace)
        pixels = self.pixels(point)
        seen = self._held(pixels)
        for tilt in map(int, np.flatnonzero(seen)):
            transfers = self.transfers(tilt, point)
            self.add(sums, tilt, pixels[tilt], transfers, transfers**2, rotation)
        return BoxTerms(sums.data, sums.weights.real, sums.counts, seen, rotation is not None)

    def add(
        self,
        sums: Sums,
        tilt: int,
        pixel: NDArray[np.float64],
        transfers: Real,
        powers: Real | Complex,
        rotation: NDArray[np.float64] | None = None,
    ) -> None:
        """Add one image to sums: the window around a pixel times ``transfers``, and ``powers``.

        Both are ``(window, window // 2 + 1)``; see :func:`fourierrecon.particles.slices.add_slice`.
        """
        assert self.window is not None
        to_image, normal = self._slice(tilt, rotation)
        spectrum = self._images.window(tilt, pixel, self.window)
        add_slice(transfers * spectrum, powers, to_image, normal, sums.data, sums.weights, sums.counts)

    def cropped_weights(self, terms: BoxTerms) -> Real:
        """Give weights and multiplicity on the frequencies of the box, one above the other.

        ``(2 box, box, box // 2 + 1)``: this is the file of weights that RELION refines with.
        """
        weights = crop_term(terms.weights, self.box)
        if terms.turned:
            return np.concatenate([weights, crop_term(terms.counts, self.box)])
        # all boxes in the same images have the same multiplicity
        seen = terms.seen.tobytes()
        if seen not in self._counts:
            self._counts[seen] = crop_term(terms.counts, self.box).copy()
        return np.concatenate([weights, self._counts[seen]])

    def stack(self, point: NDArray[np.float64]) -> tuple[Real, NDArray[np.bool_]]:
        """Give the images of a box times their transfer functions, ``(n_seen, box, box)``, and which were seen.

        The middle of the box is pixel ``box // 2``.
        """
        assert self.window is not None
        pixels = self.pixels(point)
        seen = self._held(pixels)
        first = (self.window - self.box) // 2
        cut = slice(first, first + self.box)
        images = np.empty((int(seen.sum()), self.box, self.box), np.float32)
        for row, tilt in enumerate(np.flatnonzero(seen)):
            spectrum = self._images.window(int(tilt), pixels[tilt], self.window) * self.transfers(int(tilt), point)
            image = scipy.fft.irfft2(spectrum, (self.window, self.window))
            images[row] = np.roll(image, self.window // 2, axis=(0, 1))[cut, cut]
        return images, seen

    def transfers(self, tilt: int, point: NDArray[np.float64], *, weighted: bool = True) -> Real:
        """Give the transfer function of an image at the depth of a place, ``(window, window // 2 + 1)``.

        Without weights it is the CTF alone: no scale factors, no exposure, no B-factors.
        """
        assert self.window is not None
        values = np.empty((self.window, self.window // 2 + 1), np.float32)
        phases = self._transfer.phases(tilt, self.voxel_size)
        if self._depth is not None:
            phases[[0, 2]] += self._depth.bend(self.voxel_size) * self._depth.depth(tilt, point) / self.voxel_size
        if not weighted:
            phases[5] = 1
        envelope = self._envelopes[tilt] if weighted else np.empty(0, np.float32)
        transfer_window(phases, self._transfer.form, envelope, PER_CYCLE, values)
        return values

    def _slice(
        self, tilt: int, rotation: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give the matrices from a frequency of the box to that of an image, and to the distance from its slice."""
        matrix = self.series.projections[tilt, :2, :3]
        if rotation is not None:
            matrix = matrix @ rotation
        normal = np.cross(matrix[0], matrix[1])
        # a frequency q of the image is the point q @ matrix of the box; the nearest point is least squares
        return np.asarray(np.linalg.solve(matrix @ matrix.T, matrix), np.float64), np.asarray(
            normal / np.linalg.norm(normal)
        )


def crop(spectrum: Complex, box: int, *, overwrite: bool = False) -> Real:
    """Give the middle of the inverse transform, ``(box, box, box)``, with the point 0 in voxel ``box // 2``.

    After each axis what is not wanted is left out: less than half of the work of a whole transform. The spectrum may be
    overwritten.
    """
    size = spectrum.shape[0]
    index = np.arange(-(box // 2), box - box // 2)
    kept = scipy.fft.ifft(spectrum, axis=0, overwrite_x=overwrite)[index]
    kept = scipy.fft.ifft(kept, axis=1, overwrite_x=True)[:, index]
    return np.ascontiguousarray(scipy.fft.irfft(kept, size, axis=2)[:, :, index], np.float32)


def crop_term(term: Real, box: int) -> Real:
    """Give a real and even term on the frequencies of a smaller box, ``(box, box, box // 2 + 1)``.

    Its inverse transform is real and even as well, so half of it is computed, and the rest is its mirror image.
    """
    size, half = len(term), box // 2
    if box == size:
        return term
    around = np.arange(-half, half + 1)
    kept = scipy.fft.rfft(term, axis=0)[: half + 1].conj()
    kept = scipy.fft.ifft(kept, axis=1)[:, around]
    upper = scipy.fft.irfft(kept, size, axis=2)[:, :, around] * np.float32(1 / size)
    # the point 0 comes first, as the transform wants it
    small = np.empty((box, box, box), np.float32)
    small[:half] = np.fft.ifftshift(upper[:-1, :-1, :-1], axes=(1, 2))
    small[half:] = np.fft.ifftshift(upper[:0:-1, :0:-1, :0:-1], axes=(1, 2))
    # the smaller box has its frequencies farther apart; a sum over them must stay the same
    return np.asarray(scipy.fft.rfftn(small).real, np.float32)


def check_sizes(box: int, window: int, binning: float) -> None:
    """See that sizes of boxes make sense.

    Raises
    ------
    UsageError
        If they do not.
    """
    if box < 4 or box % 2:
        raise UsageError(f"box={box} must be an even number of voxels, 4 or more")
    if window < box or window % 2:
        raise UsageError(f"window={window} must be an even number of voxels, at least those of the box ({box})")
    if binning < 1 or binning != int(binning):
        raise UsageError(f"binning={binning:g} of boxes must be a whole number from 1 up")
