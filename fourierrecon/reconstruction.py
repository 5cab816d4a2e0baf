"""The story on one page: a tilt series, a region and a weighting go in, a volume comes out.

1. Sample the images: each is prepared (mean, border, binning, transfer function, the weighting's 2D filter),
   transformed, and sampled along the lines in which its central slice cuts the planes of the 3D Fourier grid.
2. Insert the planes: the lines of all images are spread onto an oversampled plane, the weighting normalises it, and
   two 1D transforms, a crop and the deapodisation bring it to real space in x and z.
3. Transform the slabs: a last transform along the axis across the planes gives voxels. For plain back-projection they
   are divided by the number of images that see them.

Where the tilt series has a local alignment, steps 1 to 3 are done for each of several overlapping tiles of the region,
with its own projection matrices, and the tiles are blended (:mod:`fourierrecon.engine.tiling`).

A volume in memory is written over the planes it came from; a larger one is given away slab by slab, and what does not
fit into memory lies in scratch files (:mod:`fourierrecon.engine.storage`). Several volumes share one reading of the
images (:mod:`fourierrecon.engine.several_volumes`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine.images import Sampler, sample_images
from fourierrecon.engine.kept_samples import KeptSampler, KeptSamples
from fourierrecon.engine.planes import insert_planes
from fourierrecon.engine.settings import Settings, SettingsOptions
from fourierrecon.engine.several_volumes import VolumeOrder, part_of, share, tidy
from fourierrecon.engine.signal_to_noise import with_snr
from fourierrecon.engine.slabs import transform_slabs, transform_slabs_in_place
from fourierrecon.engine.storage import Beside, PlaneStore
from fourierrecon.engine.task import Task, in_tiles, prepare
from fourierrecon.engine.tiling import volume_in_tiles, write_in_tiles
from fourierrecon.errors import UsageError, check_type
from fourierrecon.geometry.region import Region
from fourierrecon.images import repaired
from fourierrecon.images.repair import look
from fourierrecon.io.volumes.formats import check_volume_writable, end_bytes, is_zarr, writing_volume
from fourierrecon.text import counted
from fourierrecon.tilt_series import ImagesInFiles, ImageStack, TiltSeries
from fourierrecon.transfer import Correction, Transfer
from fourierrecon.volume import SlabWriter, Volume
from fourierrecon.weighting import Iterative, Weighting, Wiener, read_weighting
from fourierrecon.weighting.as_filter import for_tiles
from fourierrecon.weighting.snr import AUTO

T = TypeVar("T")


def reconstruct(
    series: TiltSeries,
    region: Region | None = None,
    weighting: Weighting | str | None = None,
    *,
    binning: float | None = None,
    **options: Unpack[SettingsOptions],
) -> Volume:
    """Reconstruct a region of a tomogram from its tilt series, as an array in memory.

    Parameters
    ----------
    series
        Images, projection matrices, optics.
    region
        Voxels to reconstruct. Default: all of the tomogram.
    weighting
        A weighting, or its name with parameters (``"wiener:snr=100"``). Default:
        :class:`~fourierrecon.weighting.Wiener`, its signal-to-noise ratio measured from the series.
    binning
        Voxel over pixel, in place of a region: all of the tomogram, binned. Default: 1.
    **options
        Fields of :class:`~fourierrecon.engine.settings.Settings`: ``ctf``, ``n_threads``, ``keep_mean``, ``flatten``,
        ``taper_distance``, ``taper_falloff``, ``precision``, ``memory``, ``scratch``, ``progress``, ``ctf_mode``,
        ``exposure``, ``tilt_weight``, ``ctf_depth``, ``defocus_hand``, ``local``, ``residual``, ``hot_pixels``,
        ``intensities``, ``erase_beads``.

    Returns
    -------
    volume
        ``.data`` is ``(z, y, x)``. With :class:`~fourierrecon.weighting.NoWeighting` the mean grey value of the images
        that see a voxel; otherwise a density whose sums along the beam are the images again (dark stays dark), to 5 %
        for Wiener at a high SNR, 15 % for pre-weight. It is per voxel: twice the binning, twice the value.

    Raises
    ------
    UsageError
        If an argument makes no sense, or no image sees the region.
    DataError
        If an image cannot be used, CTF parameters are missing, or the volume does not fit into memory.

    Examples
    --------
    >>> import numpy as np
    >>> from fourierrecon import TiltSeries, reconstruct
    >>> from fourierrecon.geometry.projection import projection_matrices
    >>> tilts = np.linspace(-60, 60, 13)
    >>> images = np.random.default_rng(0).normal(size=(13, 64, 64))
    >>> matrices = projection_matrices((64, 64), (32, 32, 16), tilts, tilt_axis_angle=85)
    >>> series = TiltSeries(images, matrices, pixel_size=10, size=(64, 64, 32))
    >>> volume = reconstruct(series, binning=4, weighting="wiener:snr=10", ctf=False)
    >>> volume.data.shape, volume.voxel_size
    ((8, 16, 16), 40.0)
    """
    settings = Settings.of(options)
    region = _region(series, region, binning)
    series = repaired(series, settings.repairs)
    look(series, settings.threads)
    weighting = with_snr(
        read_weighting(weighting), series, region.binning, correction=settings.correction, n_threads=settings.n_threads
    )
    make = _iterated if isinstance(weighting, Iterative) else _inserted_at_once
    data = make(series, region, weighting, settings)  # type: ignore[arg-type]
    return Volume(data, *describe(series, region, weighting, settings.correction))


def _inserted_at_once(
    series: TiltSeries, region: Region, weighting: Weighting, settings: Settings
) -> NDArray[np.float32]:
    """Reconstruct in memory."""
    if in_tiles(series, settings):
        return volume_in_tiles(prepare(series, region, for_tiles(weighting), settings))
    task = prepare(series, region, weighting, settings, whole=True)
    with _sampled([task]) as [sampler]:
        return _inserted(task, sampler, transform_slabs_in_place)


def _iterated(series: TiltSeries, region: Region, weighting: Iterative, settings: Settings) -> NDArray[np.float32]:
    """Reconstruct by an iteration, in memory; it may begin with the Wiener volume of the same SNR."""
    from fourierrecon.operators.iterations import iterate

    first = Wiener(getattr(weighting, "snr", AUTO))
    quiet = replace(settings, progress=None)
    return iterate(series, region, weighting, settings, lambda: _inserted_at_once(series, region, first, quiet))


def reconstruct_many(orders: Sequence[VolumeOrder], settings: Settings, kept: KeptSamples | None = None) -> None:
    """Reconstruct several volumes of one tilt series slab by slab; each is written as soon as it is done.

    Parameters
    ----------
    orders
        The volumes that are wanted.
    settings
        How to reconstruct.
    kept
        Samples that are used again, and added to. Not where a local alignment, an iteration, or a filter that depends
        on all images makes them of no use.

    Raises
    ------
    UsageError, DataError
        As :func:`reconstruct`; also if scratch files do not fit. Volumes that are written by then stay.
    """
    orders = _with_repairs(orders, settings)
    for order in orders:
        if isinstance(order.weighting, Iterative):
            _iterate_order(order, order.weighting, settings)
    orders = [order for order in orders if not isinstance(order.weighting, Iterative)]
    orders = [
        replace(order, weighting=for_tiles(order.weighting)) if in_tiles(order.series, settings) else order
        for order in orders
    ]
    if not orders:
        return
    groups = share(orders, settings)
    local = [group for group in groups if in_tiles(group.task.series, settings)]
    if local:
        write_in_tiles(local)
    groups = [group for group in groups if group not in local]
    if not groups:
        return
    with _sampled([group.task for group in groups], kept) as samplers:
        for group, sampler in zip(groups, samplers, strict=True):
            for order in group.orders:
                last = order is group.orders[-1]
                _inserted(group.task, sampler, partial(_write, order), tilts=order.tilts, last=last)


def _iterate_order(order: VolumeOrder, weighting: Iterative, settings: Settings) -> None:
    """Make one volume by an iteration, in memory, and write it."""
    series = order.series if order.tilts is None else order.series.select(order.tilts)
    region = Region.of(series) if order.region is None else order.region
    known = with_snr(
        weighting, order.series, region.binning, correction=settings.correction, n_threads=settings.n_threads
    )
    data = _iterated(series, region, known, settings)  # type: ignore[arg-type]
    with order.open() as write:
        for z, section in enumerate(data):
            write(z, section)
    tidy()


@contextmanager
def _sampled(tasks: Sequence[Task], kept: KeptSamples | None = None) -> Iterator[list[Sampler]]:
    """Sample the images: each is read once, for all tasks; not where its samples were kept."""
    with ExitStack() as stack:
        samplers = []
        for task in tasks:
            sampler = Sampler(task) if kept is None or task.weighting.has_filter else KeptSampler(task, kept)
            samplers.append(stack.enter_context(closing(sampler)))
        sample_images(samplers)
        tidy()
        yield samplers


def _inserted(
    task: Task,
    sampler: Sampler,
    transform: Callable[[Task, NDArray[np.float32], PlaneStore], T],
    *,
    tilts: tuple[int, ...] | None = None,
    last: bool = True,
) -> T:
    """Insert the planes, and transform the slabs; only of some tilts, and with samples kept unless it is the last."""
    task, chosen = part_of(task, tilts)
    levels = sampler.levels_of(chosen)
    with closing(PlaneStore(task.plan.slices, task.storage, task.settings.scratch, task.settings.threads)) as planes:
        insert_planes(task, sampler.store, planes, chosen)
        if last:
            sampler.close()
        tidy()
        return transform(task, levels, planes)


def _write(order: VolumeOrder, task: Task, levels: NDArray[np.float32], planes: PlaneStore) -> None:
    """Transform the slabs into the writer of an order, which may take as much memory to complete its file."""
    with order.open() as write:
        transform_slabs(task, levels, planes, write)
        planes.close()
        tidy()


def reconstruct_to(
    write: SlabWriter,
    series: TiltSeries,
    region: Region | None = None,
    weighting: Weighting | str | None = None,
    *,
    binning: float | None = None,
    **options: Unpack[SettingsOptions],
) -> None:
    """Reconstruct a region and give it away slab by slab: the volume may be larger than the memory.

    Parameters
    ----------
    write
        Called as ``write(z, slab)`` with each slab ``(y, x)``, float32, in any order and from any thread; the slab is
        only lent for the call.
    series, region, weighting, binning, **options
        As for :func:`reconstruct`, which gives the same voxels.

    Raises
    ------
    UsageError, DataError
        As :func:`reconstruct`; also if the scratch files do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fourierrecon import TiltSeries, reconstruct_to
    >>> from fourierrecon.geometry.projection import projection_matrices
    >>> tilts = np.linspace(-60, 60, 13)
    >>> images = np.random.default_rng(0).normal(size=(13, 64, 64))
    >>> matrices = projection_matrices((64, 64), (32, 32, 16), tilts, tilt_axis_angle=85)
    >>> series = TiltSeries(images, matrices, pixel_size=10, size=(64, 64, 32))
    >>> sums = {}
    >>> reconstruct_to(lambda z, slab: sums.update({z: slab.sum()}), series, binning=4, ctf=False)
    >>> len(sums)
    8
    """
    if not callable(write):
        check_type("write", write, (), "a function write(z, slab); reconstruct_to_file writes a file")
    order = VolumeOrder(
        series=series,
        open=lambda: nullcontext(write),
        region=_region(series, region, binning),
        weighting=read_weighting(weighting),
    )
    reconstruct_many([order], Settings.of(options))


def reconstruct_to_file(
    path: str | os.PathLike[str],
    series: TiltSeries,
    region: Region | None = None,
    weighting: Weighting | str | None = None,
    *,
    binning: float | None = None,
    dtype: str = "float32",
    **options: Unpack[SettingsOptions],
) -> None:
    """Reconstruct a region into a file, MRC or OME-Zarr by its ending: all of it, or nothing is written.

    Parameters
    ----------
    path
        File to write; one that exists is replaced once the new volume is complete.
    series, region, weighting, binning, **options
        As for :func:`reconstruct`, which gives the same voxels.
    dtype
        Type of the voxels: ``float32``, ``float16``, ``int16`` or ``int8``.

    Raises
    ------
    UsageError
        As :func:`reconstruct`; also if there is no such format or type, or the file is one that the series comes from.
    DataError
        As :func:`reconstruct`; also if the file cannot be written, or there is too little space.

    Examples
    --------
    >>> import numpy as np
    >>> from fourierrecon import TiltSeries, reconstruct_to_file
    >>> from fourierrecon.geometry.projection import projection_matrices
    >>> tilts = np.linspace(-60, 60, 13)
    >>> images = np.random.default_rng(0).normal(size=(13, 64, 64))
    >>> matrices = projection_matrices((64, 64), (32, 32, 16), tilts, tilt_axis_angle=85)
    >>> series = TiltSeries(images, matrices, pixel_size=10, size=(64, 64, 32))
    >>> reconstruct_to_file("tomogram.mrc", series, binning=2, weighting="none", ctf=False, memory="4GB")
    """
    check_type("path", path, (str, os.PathLike), "the name of a file; the tilt series comes after it")
    path, settings = Path(path), Settings.of(options)
    series = repaired(series, settings.repairs)
    region = _region(series, region, binning)
    _keep_inputs(path, series)
    check_volume_writable(path, region.shape, dtype, settings.scratch)
    correction, threads, scratch = settings.correction, settings.threads, settings.scratch or path.absolute().parent
    weighting = with_snr(
        read_weighting(weighting), series, region.binning, correction=correction, n_threads=settings.n_threads
    )
    header = describe(series, region, weighting, correction)
    end = end_bytes(path, region.shape, dtype, threads)
    # threads of zarr keep some of what they used for a volume before
    beside = Beside(always=threads * end if is_zarr(path) else 0, end=end)
    open_file = partial(
        writing_volume, path, region.shape, *header, dtype, scratch=settings.scratch, n_threads=settings.n_threads,
        memory=settings.memory, progress=settings.progress,
    )  # fmt: skip
    order = VolumeOrder(series=series, open=open_file, region=region, weighting=weighting, beside=beside)
    reconstruct_many([order], replace(settings, scratch=scratch))


def describe(
    series: TiltSeries, region: Region, weighting: Weighting, correction: Correction
) -> tuple[float, tuple[float, float, float], str]:
    """Give what goes into a volume's header: voxel size (Å), world position of voxel 0 (Å), one line on its making."""
    x, y, z = (float(c * series.pixel_size) for c in region.origin)
    transfer = Transfer.of(series, correction, divides=weighting.divides, region=region)
    label = f"fourierrecon {weighting.words}, {transfer.words}, {counted(series.n_tilts, 'tilt')} of {series.name}"
    return series.pixel_size * region.binning, (x, y, z), label


def _with_repairs(orders: Sequence[VolumeOrder], settings: Settings) -> list[VolumeOrder]:
    """Let all orders have repaired images; the images of one stack are repaired once."""
    stacks: dict[int, ImageStack] = {}
    made: dict[int, TiltSeries] = {}
    for order in orders:
        series = order.series
        whole = repaired(series, settings.repairs)
        if whole is not series:
            whole = replace(series, images=stacks.setdefault(id(series.images), whole.images))
        made.setdefault(id(series), whole)
    for whole in made.values():
        look(whole, settings.threads)
    return [replace(order, series=made[id(order.series)]) for order in orders]


def _region(series: TiltSeries, region: Region | None, binning: float | None) -> Region:
    """Give the region that is asked for."""
    check_type("series", series, (TiltSeries,), "a TiltSeries; read_tilt_series reads one from a file")
    check_type("region", region, (Region, type(None)), "a Region, as Region.of or Region.around give it")
    if region is None:
        return Region.of(series, binning=1.0 if binning is None else binning)
    if binning is not None and binning != region.binning:
        raise UsageError(f"region has binning {region.binning:g}, and binning is {binning:g}; give one of them")
    return region


def _keep_inputs(path: Path, series: TiltSeries) -> None:
    """Refuse to write over a file that the tilt series comes from."""
    sections = series.images.sections if isinstance(series.images, ImagesInFiles) else ()
    for source in {str(file) for file, _ in sections} | ({series.source} if series.source else set()):
        if path.exists() and Path(source).exists() and path.samefile(source):
            raise UsageError(f"{path} is an input of tilt series {series.name}; choose another path for the volume")
