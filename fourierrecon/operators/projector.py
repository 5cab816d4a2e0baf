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
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from fourierrecon.engine import central_slices, fft, preprocess
from fourierrecon.engine.central_slices import PAD, PASS, STOP
from fourierrecon.engine.plan import Plan
from fourierrecon.engine.planes import deapodisation, insert_planes
from fourierrecon.engine.settings import Settings, SettingsOptions
from fourierrecon.engine.slabs import transform_slabs_in_place
from fourierrecon.engine.storage import ALONE, Beside, PlaneStore, SampleStore, choose_storage
from fourierrecon.engine.task import Task, check_ctf, in_tiles
from fourierrecon.errors import UsageError
from fourierrecon.geometry.region import Region
from fourierrecon.operators.gather import GatherWork, gather_plane
from fourierrecon.operators.lines import spread_lines, window_of
from fourierrecon.operators.windows import ImageWindows
from fourierrecon.runtime.arrays import Complex, Real
from fourierrecon.runtime.memory import Workspace
from fourierrecon.runtime.threads import for_each
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.transfer import PER_CYCLE, WEIGHED
from fourierrecon.weighting import Weighting

State = TypeVar("State")


@dataclass(frozen=True)
class _Sum(Weighting):
    """Back-projection as a sum over images: no filter, no weights, no count."""

    name: ClassVar[str] = "sum"


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
        :func:`fourierrecon.reconstruct`.

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
        settings = replace(Settings.of(options), keep_mean=True)
        if settings.ctf_mode in WEIGHED:
            raise UsageError(
                f'ctf_mode="{settings.ctf_mode}" is no projection, since it says what the weights hold; leave it out, '
                f"or choose multiply, phase-flip or none"
            )
        if in_tiles(series, settings):
            raise UsageError(f"{series.name} has a local alignment, which is no projection; leave it out (local=False)")
        series = replace(series, local=None)
        check_ctf(series, settings.correction)
        plan = Plan.of(series, region, _Sum(), settings, surroundings=True)
        storage = choose_storage(plan, settings.threads, settings.memory, whole=True, beside=beside)
        self._task = Task(series=series, region=region, weighting=_Sum(), settings=settings, plan=plan, storage=storage)
        self._windows = ImageWindows(plan, series.image_shape, region.binning)
        self._table = np.repeat(plan.row_kernel.table(), 2, axis=1).ravel()
        # samples of curved slices are multiplied with it in the planes
        self._transfer_last = plan.late and plan.curved is None and plan.views.transfers.applies
        self.image_shape = (series.n_tilts, *series.image_shape)
        self.volume_shape = region.shape
        n, m = int(np.prod(self.image_shape)), int(np.prod(self.volume_shape))
        super().__init__(np.dtype(np.float32), (n, m))  # type: ignore[call-arg]

    @property
    def mask(self) -> NDArray[np.float32]:
        """Weights of the pixels of each image, ``(height, width)`` or ``(1, 1)``: a taper, or 1."""
        return self._windows.mask

    def forward(self, volume: ArrayLike) -> NDArray[np.float32]:
        """Project a volume ``(z, y, x)`` into images ``(n_tilts, height, width)``; those that see nothing are 0."""
        task, plan, settings = self._task, self._task.plan, self._task.settings
        voxels = _shaped("volume", volume, self.volume_shape)
        s = plan.slices
        images = np.zeros(self.image_shape, np.float32)
        with (
            closing(self._samples()) as samples,
            closing(PlaneStore(s, task.storage, settings.scratch, settings.threads)) as planes,
        ):
            self._transform_sections(voxels, planes.whole)
            gains = deapodisation(s, weighted=False)
            store = samples.buffers()[0]

            def sample(work: GatherWork, j: int) -> None:
                gather_plane(s, j, planes.whole, gains, work, store[j])

            self._each(s.n_planes, sample, lambda: GatherWork(s, plan.curved), "planes")
            planes.close()

            def draw(workspace: Workspace, i: int) -> None:
                self._draw(i, store, workspace, images[plan.used[i]])

            self._each(len(plan.used), draw, Workspace, "images")
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
        task, plan, settings = self._task, self._task.plan, self._task.settings
        pixels = _shaped("images", images, self.image_shape)
        if not pixels[plan.used].any():
            return np.zeros(self.volume_shape, np.float32)
        s = plan.slices
        with closing(self._samples()) as samples:
            store = samples.buffers()[0]

            def look(workspace: Workspace, i: int) -> None:
                self._look(i, pixels[plan.used[i]], workspace, store)

            self._each(len(plan.used), look, Workspace, "images")
            with closing(PlaneStore(s, task.storage, settings.scratch, settings.threads)) as planes:
                insert_planes(task, samples, planes)
                samples.close()
                return transform_slabs_in_place(task, np.zeros(0, np.float32), planes)

    def _matvec(self, x: NDArray[np.generic]) -> NDArray[np.float32]:
        return self.forward(np.reshape(x, self.volume_shape)).ravel()

    def _rmatvec(self, x: NDArray[np.generic]) -> NDArray[np.float32]:
        return self.adjoint(np.reshape(x, self.image_shape)).ravel()

    def _each(self, n: int, work: Callable[[State, int], None], state: Callable[[], State], stage: str) -> None:
        settings = self._task.settings
        for_each(n, work, state=state, n_threads=settings.threads, stage=stage, progress=settings.progress)

    def _transform_sections(self, voxels: Real, planes: Complex) -> None:
        """Transform each section along the plane axis: ``(D, H'/2 + 1, O)``."""
        s, straight = self._task.plan.slices, self._task.plan.plane_axis == 1
        _, n_p, n_o = s.shape

        def transform(buffer: Real, z: int) -> None:
            buffer[:n_p] = voxels[z] if straight else voxels[z].T
            fft.real_forward_columns(buffer, planes[z])

        self._each(len(voxels), transform, lambda: np.zeros((s.period, n_o), np.float32), "slabs")

    def _samples(self) -> SampleStore:
        task, settings = self._task, self._task.settings
        return SampleStore(
            task.plan.slices, False, task.storage, settings.scratch, settings.threads, lines=task.plan.lines_per_image
        )

    def _leaning(self, i: int, sheet: int) -> tuple[float, float, float]:
        """Say how the line of a sheet bends in the image of the i-th tilt in use."""
        curved = self._task.plan.curved
        return (0.0, 0.0, 0.0) if curved is None else curved.leaning(i, sheet)

    def _phases(self, i: int, *, both_halves: bool) -> tuple[Complex, Complex]:
        """Phases by plane and by row that put the i-th tilt in use in its place, with its scale.

        Planes but the middle one stand for two: a transform back counts both, its adjoint must be told.
        """
        s, binning = self._task.plan.slices, self._task.region.binning
        scale = binning**2 / (abs(s.matrices[i, 0, 0]) * s.period * s.row_length)
        turn = s.lines[i, 0] * s.offsets[i, 0]
        rows = np.arange(-s.half_rows, s.half_rows + 1)
        by_plane = scale * np.exp(2j * np.pi * turn[0] * np.arange(s.n_planes))
        if both_halves:
            by_plane[1:] *= 2
        by_row = np.exp(2j * np.pi * (turn[1] + s.offsets[i, 1] / s.row_length) * rows)
        return by_plane.astype(np.complex64), by_row.astype(np.complex64)

    def _filters(self, i: int) -> list[preprocess.ImageFilter]:
        """Filters that images are multiplied with on their own grid."""
        plan = self._task.plan
        if plan.late or plan.curved is not None:
            return []
        return preprocess.filters_of(self._task.weighting, plan.views, int(plan.used[i]), transfer=True)

    def _apply_transfer(self, i: int, samples: Complex) -> None:
        """Multiply the samples of a tilt with its transfer function, where its image was not."""
        if not self._transfer_last:
            return
        plan, tilt = self._task.plan, int(self._task.plan.used[i])
        s, views, transfer = plan.slices, plan.views, plan.views.transfers
        central_slices.apply_transfer(
            s.lines[i], s.half_rows, s.row_length, self._task.region.binning / plan.sampling.step,
            bool(plan.along[i] == 0), transfer.phases(tilt, views.voxel_size), transfer.form, views.envelopes[tilt],
            PER_CYCLE, False, 2, True, 1.0, samples, np.empty((0, 0, 0), np.float32), i,
        )  # fmt: skip

    def _look(self, i: int, image: Real, workspace: Workspace, samples: Complex) -> None:
        """Sample an image along its lines."""
        plan = self._task.plan
        s, kernel = plan.slices, plan.row_kernel
        window = self._windows.cut(i, image, self._filters(i), workspace)
        spectrum = central_slices.spectrum(window, s, kernel, plan.row_grid, workspace)
        phases = self._phases(i, both_halves=False)
        for sheet in range(plan.lines_per_image):
            central_slices.sample_lines(
                spectrum.view(np.float32), plan.row_grid, self._table, kernel.width, s.lines[i], *phases, s.half_rows,
                samples, i * plan.lines_per_image + sheet, PASS**2, STOP**2, s.row_length, *self._leaning(i, sheet),
            )  # fmt: skip
        self._apply_transfer(i, samples)

    def _draw(self, i: int, samples: Complex, workspace: Workspace, image: Real) -> None:
        """Draw an image from its samples: the adjoint of looking at it."""
        plan = self._task.plan
        s, kernel = plan.slices, plan.row_kernel
        self._apply_transfer(i, samples)
        spectrum = workspace.array("spread", (s.row_length // 2 + 1, plan.row_grid + 2 * PAD), np.complex64)
        spectrum[...] = 0
        phases = self._phases(i, both_halves=True)
        for sheet in range(plan.lines_per_image):
            spread_lines(
                samples, i * plan.lines_per_image + sheet, plan.row_grid, self._table, kernel.width, s.lines[i],
                *phases, s.half_rows, PASS**2, STOP**2, s.row_length, *self._leaning(i, sheet),
                spectrum.view(np.float32),
            )  # fmt: skip
        window = window_of(spectrum, s, kernel, self._windows.shape_of(i), workspace)
        self._windows.place(i, window, self._filters(i), workspace, image)


def _shaped(name: str, values: ArrayLike, shape: Sequence[int]) -> NDArray[np.float32]:
    """Give values as contiguous float32, of one shape.

    Raises
    ------
    UsageError
        If they have another.
    """
    array = np.ascontiguousarray(values, np.float32)
    if array.shape != tuple(shape):
        raise UsageError(f"{name} of shape {array.shape}; the projector takes {tuple(shape)}")
    return array
