"""The problem that iterative reconstructions solve: ``|S (A v - y)|²``, with all that it takes in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from fourierrecon.engine.settings import Settings
from fourierrecon.engine.storage import Beside
from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.region import Region
from fourierrecon.operators.beams import beam_lengths, seen_parts
from fourierrecon.operators.binned import in_memory
from fourierrecon.operators.projector import TomographicProjector
from fourierrecon.runtime.threads import for_each
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.transfer import Transfer
from fourierrecon.weighting import Iterative, SnrCurve
from fourierrecon.weighting.snr import Snr

Images = NDArray[np.float32]


def beside_projections(weighting: Iterative, region: Region, n_pixels: int) -> Beside:
    """Give what an iteration holds beside a projection: its volumes, and four sets of images (data, weights, residual,
    one on its way).

    Parameters
    ----------
    weighting, region
        The iteration, and the region.
    n_pixels
        Pixels of all images, binned by the whole part of the binning.
    """
    return Beside(always=4 * (weighting.volumes * int(np.prod(region.shape)) + 4 * n_pixels))


class LeastSquares:
    """Images of a tilt series, the projector into them, and how residuals count.

    ``S = F (1 - f f*) W``: ``W`` is the part of each pixel's beam in the region, ``f`` along ``W`` of one image takes
    its level out, and ``F`` filters by the square root of the SNR over its largest value, where there is a curve.

    Parameters
    ----------
    series, region
        What is reconstructed.
    weighting
        The iteration, for its demands and memory.
    settings
        How to reconstruct.

    Attributes
    ----------
    operator
        The projector ``A``.
    data
        ``S y``, ``(n_tilts, height, width)``.
    penalty
        ``D/SNR`` in the units of ``|S A v|²``.
    noise
        Expected ``|S noise|²`` for the SNR; 0 where there is none.
    lengths
        Voxels that a beam of each image crosses.

    Raises
    ------
    UsageError
        If the correction of the CTF has no projection.
    DataError
        If it does not fit into the memory.
    """

    def __init__(self, series: TiltSeries, region: Region, weighting: Iterative, settings: Settings) -> None:
        correction = settings.correction
        if correction.ctf_mode in ("multiply", "first-peak", "absolute"):
            raise UsageError(
                f'{weighting.name} fits projections that hold the CTF, which ctf_mode="{correction.ctf_mode}" does '
                f"not do; leave it out, or choose phase-flip or none"
            )
        if correction.ctf_mode == "wiener":
            settings = replace(settings, ctf_mode=None)
        self.settings, self.n_tilts = settings, series.n_tilts
        small, self.region, images = in_memory(
            series,
            region,
            keep_mean=settings.keep_mean,
            flatten=settings.flatten,
            n_threads=settings.threads,
        )
        beside = beside_projections(weighting, region, images.size)
        options = {"memory": settings.memory, "n_threads": settings.n_threads, "precision": settings.precision}
        try:
            self.operator = TomographicProjector(
                small, self.region, beside=beside, ctf=settings.ctf, ctf_mode=settings.ctf_mode,
                exposure=settings.exposure, tilt_weight=settings.tilt_weight, scratch=settings.scratch,
                ctf_depth=settings.ctf_depth, defocus_hand=settings.defocus_hand, local=settings.local,
                residual=settings.residual,
                taper_distance=settings.taper_distance, taper_falloff=settings.taper_falloff,
                **options,  # type: ignore[arg-type]
            )  # fmt: skip
        except DataError as error:
            if "GB of memory" not in str(error):
                raise
            raise DataError(
                f"{weighting.name} keeps {weighting.volumes + 1} volumes and the images in memory: "
                f"{str(error).partition(';')[0]}; allow more (memory=...), use a larger binning=..., a smaller region "
                f"(size=...), or a weighting that does not iterate (wiener)"
            ) from error
        seen = np.stack([seen_parts(self.region, small, tilt) for tilt in range(series.n_tilts)])
        seen *= self.operator.mask
        self._weights = seen
        self.lengths = beam_lengths(self.region, small)
        snr: Snr = getattr(weighting, "snr", np.inf)
        self._filter = None
        most = snr
        if isinstance(snr, SnrCurve) and hasattr(weighting, "stop"):
            curve = snr.at(self._frequencies(small))
            most = float(curve.max())
            self._filter = np.sqrt(curve / most).astype(np.float32)
        self.data = self.weigh(images)
        self.penalty = 0.0
        self.noise = 0.0
        if isinstance(most, float):
            self.penalty = region.shape[0] * self.region.binning**2 / most
            self.noise = self._noise(small, snr) if np.isfinite(most) else 0.0

    def weigh(self, images: Images) -> Images:
        """Apply ``S``."""
        return self._per_image(images, lambda image, weights: self._filtered(self._levelled(weights * image, weights)))

    def weigh_back(self, images: Images) -> Images:
        """Apply the adjoint of ``S``."""
        return self._per_image(images, lambda image, weights: weights * self._levelled(self._filtered(image), weights))

    def forward(self, volume: NDArray[np.float32]) -> Images:
        """Apply ``S A``."""
        return self.weigh(self.operator.forward(volume))

    def adjoint(self, images: Images) -> NDArray[np.float32]:
        """Apply the adjoint of ``S A``."""
        return self.operator.adjoint(self.weigh_back(images))

    def sections(self, work: Callable[[int], None]) -> None:
        """Do something with each section of volumes, on all threads."""
        settings = self.settings
        for_each(self.region.shape[0], lambda _, z: work(z), state=lambda: None, n_threads=settings.threads)

    def _per_image(self, images: Images, work: Callable[[Images, Images], Images]) -> Images:
        out = np.empty_like(images)

        def do(_: None, tilt: int) -> None:
            out[tilt] = work(images[tilt], self._weights[tilt])

        for_each(len(images), do, state=lambda: None, n_threads=self.settings.threads)
        return out

    def _levelled(self, image: Images, weights: Images) -> Images:
        if self.settings.keep_mean:
            return image
        square = float(np.vdot(weights, weights))
        return image - weights * np.float32(float(np.vdot(weights, image)) / max(square, 1e-12))

    def _filtered(self, image: Images) -> Images:
        if self._filter is None:
            return image
        return np.asarray(scipy.fft.irfft2(scipy.fft.rfft2(image) * self._filter, image.shape), np.float32)

    def _frequencies(self, small: TiltSeries) -> NDArray[np.float64]:
        height, width = small.image_shape
        fy, fx = np.fft.fftfreq(height, small.pixel_size), np.fft.rfftfreq(width, small.pixel_size)
        return np.asarray(np.hypot(fy[:, None], fx))

    def _noise(self, small: TiltSeries, snr: Snr) -> float:
        """Give the power of noise in the data that the SNR leaves: ``sum |S y|² / (1 + SNR T²)``."""
        transfer = Transfer.of(small, self.settings.correction, divides=False, region=self.region)
        height, width = small.image_shape
        fy, fx = np.fft.fftfreq(height, small.pixel_size)[:, None], np.fft.rfftfreq(width, small.pixel_size)
        constant = snr if isinstance(snr, float) else 0.0
        ratio = snr.at(self._frequencies(small)) if isinstance(snr, SnrCurve) else np.full((1, 1), constant)
        twice = np.full(len(fx), 2.0)
        twice[0] = 1
        twice[-1] -= width % 2 == 0
        total = np.zeros(small.n_tilts)

        def add(_: None, tilt: int) -> None:
            power = np.abs(scipy.fft.rfft2(self.data[tilt])) ** 2 * twice
            total[tilt] = (power / (1 + ratio * transfer.weight(tilt, fx, fy))).sum() / (height * width)

        for_each(small.n_tilts, add, state=lambda: None, n_threads=self.settings.threads)
        return float(total.sum())
