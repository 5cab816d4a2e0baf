"""The story on one page: a tilt series, a region and a weighting strategy in, a volume out.

1. every image is prepared (mean, border, binning, CTF, the strategy's 2D filter), transformed, and sampled along the
   lines in which its central slice cuts the planes of the 3D Fourier grid;
2. plane by plane, the lines of all images are spread onto an oversampled grid, the strategy normalises it, and two
   1D transforms, a crop and the deapodisation bring it to real space in x and z;
3. slab by slab, a last transform along the axis across the planes gives voxels; for plain back-projection they are
   divided by the number of images that see them. The slab is written over the planes it came from.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from fourierrecon import fourier, insertion, parallel, preprocess, slices
from fourierrecon.consistency import Consistency
from fourierrecon.coverage import Mask, divide_by_count
from fourierrecon.ctf import kernel_coefficients
from fourierrecon.errors import DataError, UsageError
from fourierrecon.fourier import Real
from fourierrecon.geometry import Region
from fourierrecon.parallel import Progress
from fourierrecon.plan import PRECISIONS, Plan, mask_of
from fourierrecon.slices import PASS, STOP, Slices
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.volume import Volume
from fourierrecon.weighting import Weighting, Wiener


def reconstruct(
    series: TiltSeries,
    region: Region | None = None,
    weighting: Weighting | None = None,
    *,
    ctf: bool = True,
    n_threads: int | None = None,
    keep_mean: bool = False,
    taper_distance: float = 0.0,
    taper_falloff: float = 0.0,
    precision: str = "default",
    progress: Progress | None = None,
) -> Volume:
    """Reconstruct a region of a tomogram from its tilt series.

    Parameters
    ----------
    series
        Images, projection matrices, optics.
    region
        Voxels to reconstruct; default: all, unbinned.
    weighting
        Strategy; default: :class:`~fourierrecon.weighting.Wiener` with SNR 10.
    ctf
        Multiply each image by its CTF and let the strategy see CTF²; without, the CTF is taken as 1.
    n_threads
        Default: the cores available to the process.
    keep_mean
        Do not zero the mean of each image.
    taper_distance, taper_falloff
        Nothing within this distance of an image's border is used; faded in over the falloff more. Pixels of the binned
        image.
    precision
        ``default`` (relative error below 5e-4) or ``high`` (about 2e-5, 1.5 times the cost).
    progress
        Called as ``progress(stage, done, total)``, from any thread.

    Returns
    -------
    volume
        ``.data`` is ``(z, y, x)``. With :class:`~fourierrecon.weighting.NoWeighting` the mean grey value of the images
        that see a voxel; otherwise a density whose sums along the beam are the images again (dark stays dark), to 5 %
        for Wiener at a high SNR, 10 to 20 % for pre-weight. It is per voxel: twice the binning, twice the value.

    Raises
    ------
    UsageError
        If an argument makes no sense, or no image sees the region.
    DataError
        If an image cannot be used, CTF parameters are missing, or the volume does not fit into memory.
    """
    region = Region.of(series) if region is None else region
    strategy: Weighting = Wiener() if weighting is None else weighting
    threads = parallel.available_cores() if n_threads is None else n_threads
    if threads < 1:
        raise UsageError(f"number of threads {threads} must be 1 or more")
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}; available: {', '.join(PRECISIONS)}")
    if ctf and series.ctf is None:
        raise DataError(
            f"{series.source or series.name}: the CTF needs {', '.join(series.ctf_missing) or 'defocus and optics'}; "
            f"add what is missing, or switch the CTF off (--noctf, ctf=False)"
        )
    mask = mask_of(series.image_shape, region.binning, taper_distance, taper_falloff)
    plan = Plan.of(series, region, strategy, mask, ctf, precision)
    plan.check_memory(threads)
    samples, weights, levels = _sample_images(series, region, strategy, plan, mask, keep_mean, threads, progress)
    planes = _insert(plan, strategy, samples, weights, threads, progress)
    del samples, weights
    data = _finish(plan, strategy, levels, planes, threads, progress)
    voxel_size = series.pixel_size * region.binning
    x, y, z = (float(c * series.pixel_size) for c in region.origin)
    label = f"fourierrecon {strategy.name}, {'CTF' if ctf else 'no CTF'}, {series.n_tilts} tilts of {series.name}"
    return Volume(data, voxel_size, (x, y, z), label)


def _sample_images(
    series: TiltSeries,
    region: Region,
    strategy: Weighting,
    plan: Plan,
    mask: Mask,
    keep_mean: bool,
    n_threads: int,
    progress: Progress | None,
) -> tuple[NDArray[np.complex64], NDArray[np.float32], NDArray[np.float32]]:
    """Sample all images along their lines: ``(n_planes, n_tilts, n_rows)`` and, if asked for, their weights.

    Where voxels are counted, a mean that is kept goes by the count and not through Fourier space, where its step at the
    images' borders would ring: the third array holds the means, ``(n_tilts,)``, or nothing.
    """
    s = plan.slices
    shape = s.n_planes, len(plan.used), 2 * s.half_rows + 1
    samples = parallel.touched(shape, np.complex64, n_threads)
    weights = parallel.touched(shape if strategy.uses_weights else (0, 0, 0), np.float32, n_threads)
    masks = preprocess.image_masks(series.image_shape, plan.sampling, mask, strategy.divides_by_count)
    table = np.repeat(plan.row_kernel.table(), 2, axis=1).ravel()
    rows = np.arange(-s.half_rows, s.half_rows + 1)
    levels = np.zeros(len(plan.used) if keep_mean and strategy.divides_by_count else 0, np.float32)
    step = plan.sampling.step
    if strategy.uses_weights:
        # where slices are just close enough a grid point gets their spectra, in voxels instead of pixels
        scale = np.prod(step) / region.binning**2 * s.fill
    else:
        # the integral over the slice as a sum over its samples
        scale = 1 / (np.abs(s.matrices[:, 0, 0]) * s.period * s.row_length)

    def sample(scratch: parallel.Scratch, i: int) -> None:
        tilt = int(plan.used[i])
        image = preprocess.load_image(series, tilt)
        filters = preprocess.filters_of(strategy, plan.views, tilt)
        early, late = ([], filters) if plan.filter_length else (filters, [])
        level = 0.0
        if not keep_mean or len(levels):
            level = preprocess.mean_level(image, masks[0] if mask.start >= 0 else None)
        if len(levels):
            origin = np.zeros((1, 1), np.float32)
            levels[i] = level * np.prod([float(f(origin, origin)[0, 0]) for f in filters])
        prepared = preprocess.prepare_image(image, plan.sampling, masks, level, early, region.binning, scratch)
        start, stop = plan.windows[i]
        a_is_x = bool(plan.along[i] == 0)
        window = preprocess.cut_window(prepared, start, stop, a_is_x)
        spectrum = slices.spectrum(
            window, s, plan.row_kernel, plan.row_grid, scratch, late, plan.filter_length, a_is_x, region.binning
        )
        line = s.lines[i]
        turn = line[0] * s.offsets[i, 0]
        phase_j = scale[i] * np.exp(2j * np.pi * turn[0] * np.arange(s.n_planes))
        phase_l = np.exp(2j * np.pi * (turn[1] + s.offsets[i, 1] / s.row_length) * rows)
        slices.sample_lines(
            spectrum.view(np.float32), plan.row_grid, table, plan.row_kernel.width, line, phase_j.astype(np.complex64),
            phase_l.astype(np.complex64), s.half_rows, samples, i, PASS**2, STOP**2,
        )  # fmt: skip
        if strategy.uses_weights:
            slices.sample_weights(
                line, s.half_rows, s.row_length, region.binning / step, a_is_x,
                kernel_coefficients(plan.views.ctf, tilt, plan.views.voxel_size), s.fill[i], weights, i,
            )  # fmt: skip

    parallel.for_each(
        len(plan.used), sample, state=parallel.Scratch, n_threads=n_threads, stage="images", progress=progress
    )
    return samples, weights, levels


def _insert(
    plan: Plan,
    strategy: Weighting,
    samples: NDArray[np.complex64],
    weights: NDArray[np.float32],
    n_threads: int,
    progress: Progress | None,
) -> NDArray[np.complex64]:
    """Spread, normalise and transform all planes: ``(D, H'/2 + 1, O)``, half spectrum along p, real space else."""
    s = plan.slices
    depth, _, n_o = s.shape
    gains = _deapodisation(s, strategy.uses_weights)
    normalise = strategy.normalise if strategy.uses_weights else None
    planes = parallel.touched((depth, s.period // 2 + 1, n_o), np.complex64, n_threads)
    planes[:, s.n_planes :] = 0
    none = np.empty((0, 0), np.float32)

    def start() -> tuple[insertion.PlaneWork, Consistency | None]:
        return insertion.PlaneWork(s, strategy.uses_weights), Consistency(s) if strategy.uses_weights else None

    def insert(buffers: tuple[insertion.PlaneWork, Consistency | None], j: int) -> None:
        work, consistency = buffers
        line_weights = weights[j] if strategy.uses_weights else none
        if consistency is not None:
            consistency.correct(j, samples[j], line_weights)
        insertion.insert_plane(s, j, samples[j], line_weights, normalise, gains, work, planes)

    parallel.for_each(
        s.n_planes,
        insert,
        state=start,
        n_threads=n_threads,
        stage="planes",
        progress=progress,
    )
    return planes


def _deapodisation(s: Slices, weighted: bool) -> tuple[Real, Real]:
    """Factors along z and o that undo the kernel, with the alternating sign of a grid whose origin is its middle."""
    nz, no = s.grid
    depth, _, n_o = s.shape
    gains = []
    for kernel, n, length in zip(s.kernels, (depth, n_o), (nz, no), strict=True):
        gain = kernel.deapodisation(n, length)
        if weighted:
            # normalised by weights that went through the same kernel; the sum over cells is an integral
            gain = gain * float(kernel.transform(np.zeros(1))[0]) / length
        gains.append(gain * np.where((np.arange(n) - n // 2) % 2, -1, 1))
    if weighted:
        gains[0] = gains[0] / s.period
    return gains[0].astype(np.float32), gains[1].astype(np.float32)


def _finish(
    plan: Plan,
    strategy: Weighting,
    levels: NDArray[np.float32],
    planes: NDArray[np.complex64],
    n_threads: int,
    progress: Progress | None,
) -> NDArray[np.float32]:
    """Transform along p slab by slab, onto the memory of the planes: the volume ``(z, y, x)``."""
    s = plan.slices
    depth, n_p, n_o = s.shape
    flat = planes.reshape(-1).view(np.float32)
    shape = (n_p, n_o) if plan.plane_axis == 1 else (n_o, n_p)
    volume = flat[: depth * n_p * n_o].reshape(depth, *shape)
    turn = threading.Condition()
    state = {"read": 0, "failed": 0}

    def finish(slab: NDArray[np.float32], z: int) -> None:
        try:
            fourier.real_backward(planes[z], 0, s.period, slab)
        except BaseException:
            with turn:
                state["failed"] = 1
                turn.notify_all()
            raise
        # slab z lies over planes up to z: all of those must have been read
        with turn:
            turn.wait_for(lambda: state["read"] == z or state["failed"])
            state["read"] += 1
            turn.notify_all()
        kept = slab[:n_p]
        if strategy.divides_by_count:
            borders = plan.borders[:, :, :3].copy()
            borders[:, :, 0] += z * plan.borders[:, :, 3]
            divide_by_count(kept, borders, levels, volume[z] if plan.plane_axis == 1 else kept)
            if plan.plane_axis == 1:
                return
        volume[z] = kept if plan.plane_axis == 1 else kept.T

    parallel.for_each(
        depth,
        finish,
        state=lambda: np.empty((s.period, n_o), np.float32),
        n_threads=n_threads,
        stage="slabs",
        progress=progress,
    )
    return volume
