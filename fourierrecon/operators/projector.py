"""Projection of a volume into the images of a tilt series, and its adjoint, as a linear operator.

The adjoint is the engine's back-projection without its count: images are sampled along lines, the samples inserted into
planes, and the planes transformed. The forward map goes the same way back with the same kernels, tables and phases:

1. Each section of the volume is transformed along the plane axis: half spectra, plane by plane.
2. Each plane is transformed and sampled along the lines of all images (:mod:`fourierrecon.operators.gather`).
3. The samples of each image are multiplied with its transfer function, spread onto its spectrum, and transformed
   (:mod:`fourierrecon.operators.lines`, :mod:`fourierrecon.operators.windows`).

In exact terms, the image of a volume ``v`` is ``Y(q) = b² T(q) B(k) sum_X v(X) exp(-2 pi i q (M X + t))`` with
``k = M^T q``, the transfer function ``T``, the band limit ``B`` and voxels ``b`` pixels wide, at the pixels of the
image and times its mask. So an image holds sums over voxels along the beam.

With the CTF at each depth, ``T`` is that of each voxel's own depth: planes are sampled on two curved sheets and put
together (:mod:`fourierrecon.operators.curved_gather`), which takes the place of a transfer function in step 3.

With a local alignment, the volume is the sum of its tiles, each times the weights that tiles are blended with and
projected with its own matrices (:mod:`fourierrecon.geometry.tiles`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from fourierrecon.engine import preprocess
from fourierrecon.engine.plan import Plan
from fourierrecon.engine.settings import Settings, SettingsOptions
from fourierrecon.engine.storage import ALONE, Beside
from fourierrecon.engine.task import check_ctf, in_tiles
from fourierrecon.engine.windows import NothingSeen
from fourierrecon.errors import UsageError, check_type
from fourierrecon.geometry.region import Region
from fourierrecon.geometry.tiles import Tile, Tiling, tile_series
from fourierrecon.operators.projection import Projection, Sum
from fourierrecon.operators.windows import PreparedImages
from fourierrecon.runtime.arrays import Real
from fourierrecon.runtime.memory import Workspace
from fourierrecon.runtime.threads import for_each
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.transfer import WEIGHED, Transfer


class TomographicProjector(LinearOperator):
    """Projection of volumes into the images of a tilt series: ``images = A @ volume``, ``volume = A.H @ images``.

    Voxels that project outside of an image do not count for it, and outside of an image nothing is assumed. Levels and
    means of images are left alone. Only the geometry, optics and exposures of the series are used, not its images.

    Parameters
    ----------
    series
        Tilt series.
    region
        Voxels of the volume, of any binning. Default: all of the tomogram, unbinned.
    beside
        Memory that is taken beside the operator meanwhile, for the check against ``memory``.
    **options
        Fields of :class:`~fourierrecon.engine.settings.Settings`. ``ctf``, ``ctf_mode``, ``exposure``, ``tilt_weight``,
        ``ctf_depth`` and ``defocus_hand`` make up the transfer function, ``taper_distance`` and ``taper_falloff`` the
        mask of the images; ``precision``, ``n_threads``, ``memory`` and ``progress`` are as for
        :func:`fourierrecon.reconstruct`. A local alignment is applied in tiles, unless ``local`` is False.

    Attributes
    ----------
    shape
        ``(n_tilts height width, z y x)``: both sides are flattened in C order.
    dtype
        float32; vectors of other types are converted.
    image_shape
        ``(n_tilts, height, width)``: unbinned pixels.
    volume_shape
        ``(z, y, x)``.

    Raises
    ------
    UsageError
        If an option makes no sense, or no image sees the region.
    DataError
        If CTF parameters or exposures are missing, or the volume does not fit into memory.

    Examples
    --------
    >>> import numpy as np
    >>> from fourierrecon import Region, TiltSeries
    >>> from fourierrecon.geometry.projection import projection_matrices
    >>> from fourierrecon.operators import TomographicProjector
    >>> tilts = np.linspace(-60, 60, 13)
    >>> matrices = projection_matrices((64, 64), (32, 32, 16), tilts, tilt_axis_angle=85)
    >>> series = TiltSeries(np.zeros((13, 64, 64)), matrices, pixel_size=10, size=(64, 64, 32))
    >>> A = TomographicProjector(series, Region.of(series, binning=2), ctf=False)
    >>> A.volume_shape, A.image_shape
    ((16, 32, 32), (13, 64, 64))
    >>> volume = np.random.default_rng(0).normal(size=A.volume_shape)
    >>> images = A.forward(volume)
    >>> again = A.adjoint(images)
    >>> bool(np.isclose(np.vdot(images, images), np.vdot(again, volume), rtol=1e-5))
    True
    """

    def __init__(
        self,
        series: TiltSeries,
        region: Region | None = None,
        *,
        beside: Beside = ALONE,
        **options: Unpack[SettingsOptions],
    ) -> None:
        region = Region.of(series) if region is None else region
        # a volume may be flat here, and images keep their means
        self._settings = settings = replace(Settings.of(options), keep_mean=True)
        if settings.ctf_mode in WEIGHED:
            raise UsageError(
                f'ctf_mode="{settings.ctf_mode}" is no projection, since it says what the weights hold; leave it out, '
                f"or choose multiply, phase-flip or none"
            )
        check_type("region", region, (Region,), "a Region, as Region.of or Region.around give it")
        check_ctf(series, settings.correction)
        self._whole: Projection | None = None
        self._tiles: list[tuple[Tile, Projection]] = []
        if in_tiles(series, settings):
            # refuses what tiles cannot do, as a reconstruction does: each tile is a series without a local alignment
            Transfer.of(series, settings.correction, divides=False, region=region)
            self._plan = Plan.of(series, region, Sum(), settings, tiled=True, surroundings=True)
            self._tiles = _tiles(series, region, settings, self._plan, beside)
        else:
            self._whole = Projection(replace(series, local=None), region, settings, tiled=False, beside=beside)
            self._plan = self._whole.task.plan
        self._images = PreparedImages(self._plan, series.image_shape, region.binning)
        self.image_shape = (series.n_tilts, *series.image_shape)
        self.volume_shape = region.shape
        n, m = int(np.prod(self.image_shape)), int(np.prod(self.volume_shape))
        super().__init__(np.dtype(np.float32), (n, m))  # type: ignore[call-arg]

    @property
    def mask(self) -> NDArray[np.float32]:
        """Weights of the pixels of each image, ``(height, width)`` or ``(1, 1)``: a taper, or 1."""
        return self._images.mask

    def forward(self, volume: ArrayLike) -> NDArray[np.float32]:
        """Project a volume ``(z, y, x)`` into images ``(n_tilts, height, width)``; those that see nothing are 0."""
        voxels = _shaped("volume", volume, self.volume_shape)
        images = np.zeros(self.image_shape, np.float32)
        if self._whole is not None:

            def draw(workspace: Workspace, tilt: int, add: Callable[[Real], None]) -> None:
                prepared = workspace.array("placed", self._images.shape, np.float32)
                prepared[...] = 0
                add(prepared)
                self._images.finish(prepared, self._filters(tilt), workspace, images[tilt])

            self._whole.forward(voxels, draw)
            return images
        placed = np.zeros((len(images), *self._images.shape), np.float32)
        for tile, projection in self._tiles:
            part = voxels[_box(tile)] * _blend(tile)
            if part.any():
                projection.forward(part, lambda _, tilt, add: add(placed[tilt]))
        self._each_image(lambda w, tilt: self._images.finish(placed[tilt], self._filters(tilt), w, images[tilt]))
        return images

    @overload  # type: ignore[misc]
    def adjoint(self) -> LinearOperator: ...
    @overload
    def adjoint(self, images: ArrayLike) -> NDArray[np.float32]: ...
    def adjoint(self, images: ArrayLike | None = None) -> NDArray[np.float32] | LinearOperator:
        """Sum back-projections of images ``(n_tilts, height, width)`` in a volume ``(z, y, x)``.

        Without images this is the adjoint as an operator, ``A.H``, as SciPy has it.
        """
        if images is None:
            return LinearOperator.adjoint(self)
        pixels = _shaped("images", images, self.image_shape)

        def prepare(workspace: Workspace, tilt: int) -> Real:
            return self._images.prepare(pixels[tilt], self._filters(tilt), workspace)

        if self._whole is not None:
            if not pixels[self._plan.used].any():
                return np.zeros(self.volume_shape, np.float32)
            return self._whole.adjoint(prepare)
        prepared = np.zeros((len(pixels), *self._images.shape), np.float32)

        def keep(workspace: Workspace, tilt: int) -> None:
            prepared[tilt] = prepare(workspace, tilt)

        self._each_image(keep)
        volume = np.zeros(self.volume_shape, np.float32)
        for tile, projection in self._tiles:
            if prepared[projection.task.plan.used].any():
                volume[_box(tile)] += projection.adjoint(lambda _, tilt: prepared[tilt]) * _blend(tile)
        return volume

    def _matvec(self, x: NDArray[np.generic]) -> NDArray[np.float32]:
        return self.forward(np.reshape(x, self.volume_shape)).ravel()

    def _rmatvec(self, x: NDArray[np.generic]) -> NDArray[np.float32]:
        return self.adjoint(np.reshape(x, self.image_shape)).ravel()

    def _each_image(self, work: Callable[[Workspace, int], None]) -> None:
        for_each(self.image_shape[0], work, state=Workspace, n_threads=self._settings.threads)

    def _filters(self, tilt: int) -> list[preprocess.ImageFilter]:
        """Filters that images are multiplied with on their own grid."""
        if self._plan.late or self._plan.curved is not None:
            return []
        return preprocess.filters_of(Sum(), self._plan.views, tilt, transfer=True)


def _tiles(
    series: TiltSeries, region: Region, settings: Settings, plan: Plan, beside: Beside
) -> list[tuple[Tile, Projection]]:
    """Plan the projection of each tile of a region that an image sees, beside the volume and the prepared images."""
    prepared = series.n_tilts * int(np.prod(plan.sampling.sampled))
    beside = replace(beside, always=beside.always + 4 * (prepared + int(np.prod(region.shape))))
    pieces: list[tuple[Tile, Projection]] = []
    for tile in Tiling.of(series, region, settings.residual).tiles:
        own, part = tile_series(series, tile), tile.region(region)
        try:
            pieces.append((tile, Projection(own, part, settings, tiled=True, beside=beside)))
        except NothingSeen:
            continue
    return pieces


def _box(tile: Tile) -> tuple[slice, slice, slice]:
    x, y, z = (slice(a, b) for a, b in zip(tile.first, tile.stop, strict=True))
    return z, y, x


def _blend(tile: Tile) -> Real:
    """Weights of the voxels of a tile."""
    x, y, z = tile.ramps
    return np.asarray(z[:, None, None] * y[:, None] * x)


def _shaped(name: str, values: ArrayLike, shape: Sequence[int]) -> NDArray[np.float32]:
    """Give values as contiguous float32, of one shape.

    Raises
    ------
    UsageError
        If they have another.
    """
    if np.iscomplexobj(values):
        raise UsageError(f"{name}: complex numbers; the projector is real, so give real and imaginary part in turn")
    array = np.ascontiguousarray(values, np.float32)
    if array.shape != tuple(shape):
        raise UsageError(f"{name} of shape {array.shape}; the projector takes {tuple(shape)}")
    return array
