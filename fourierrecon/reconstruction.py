"""The story on one page: a tilt series, a region and a weighting strategy in, a volume out.

1. every image is prepared (mean, border, binning, CTF, the strategy's 2D filter), transformed, and sampled along the
   lines in which its central slice cuts the planes of the 3D Fourier grid;
2. plane by plane, the lines of all images are spread onto an oversampled grid, the strategy normalises it, and two
   1D transforms, a crop and the deapodisation bring it to real space in x and z;
3. slab by slab, a last transform along the axis across the planes gives voxels; for plain back-projection they are
   divided by the number of images that see them. In memory, a slab is written over the planes it came from.

Where samples and planes do not fit into memory they lie in scratch files: see :mod:`fourierrecon.engine.storage`.
Several
volumes from one reading of the images: see :mod:`fourierrecon.engine.several_volumes`.
"""

from __future__ import annotations

from contextlib import closing, nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine import images, slabs
from fourierrecon.engine.images import Sampler
from fourierrecon.engine.planes import insert_planes
from fourierrecon.engine.settings import Settings
from fourierrecon.engine.several_volumes import VolumeOrder, reconstruct_many
from fourierrecon.engine.storage import PlaneStore, SampleStore
from fourierrecon.engine.task import Task, prepare
from fourierrecon.geometry.region import Region
from fourierrecon.runtime.threads import Progress
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.transfer import Correction, Transfer
from fourierrecon.volume import SlabWriter, Volume
from fourierrecon.weighting import Weighting


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
    memory: int | None = None,
    scratch: Path | None = None,
    progress: Progress | None = None,
    ctf_mode: str | None = None,
    exposure: str | None = None,
    tilt_weight: str | None = None,
) -> Volume:
    """Reconstruct a region of a tomogram from its tilt series, as an array in memory.

    Parameters
    ----------
    series
        Images, projection matrices, optics.
    region
        Voxels to reconstruct; default: all, unbinned.
    weighting
        Strategy; default: :class:`~fourierrecon.weighting.Wiener`, its signal-to-noise ratio measured from the series.
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
    memory
        Largest resident memory of the process, bytes; default: 80 % of what is available.
    scratch
        Folder for scratch files, where memory does not suffice; default: that of temporary files.
    progress
        Called as ``progress(stage, done, total)``, from any thread.
    ctf_mode, exposure, tilt_weight
        By name, as for :class:`~fourierrecon.transfer.Correction`: what is done with the CTF, with the damage by
        exposure and with the lesser signal of steep images.

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
    """
    settings = Settings(
        ctf, n_threads, keep_mean, taper_distance, taper_falloff, precision, memory, scratch, progress,
        ctf_mode=ctf_mode, exposure=exposure, tilt_weight=tilt_weight,
    )  # fmt: skip
    task = prepare(series, region, weighting, settings, whole=True)
    data = _run(task)
    voxel_size, origin, label = describe(series, task.region, task.strategy, settings.correction)
    return Volume(data, voxel_size, origin, label)


def reconstruct_to(
    write: SlabWriter,
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
    memory: int | None = None,
    scratch: Path | None = None,
    progress: Progress | None = None,
    ctf_mode: str | None = None,
    exposure: str | None = None,
    tilt_weight: str | None = None,
) -> None:
    """Reconstruct a region and give it away slab by slab: the volume may be larger than the memory.

    Parameters
    ----------
    write
        Called as ``write(z, slab)`` with each slab ``(y, x)``, float32, in any order and from any thread; the slab is
        only lent for the call.
    series, region, weighting, ctf, n_threads, keep_mean, taper_distance, taper_falloff, precision, memory, scratch, \
    progress, ctf_mode, exposure, tilt_weight
        As for :func:`reconstruct`, which gives the same voxels.

    Raises
    ------
    UsageError, DataError
        As :func:`reconstruct`; also if the scratch files do not fit.
    """
    settings = Settings(
        ctf, n_threads, keep_mean, taper_distance, taper_falloff, precision, memory, scratch, progress,
        ctf_mode=ctf_mode, exposure=exposure, tilt_weight=tilt_weight,
    )  # fmt: skip
    task = prepare(series, region, weighting, settings)
    order = VolumeOrder(series, lambda: nullcontext(write), task.region, task.strategy)
    reconstruct_many([order], settings)


def describe(
    series: TiltSeries, region: Region, strategy: Weighting, correction: Correction
) -> tuple[float, tuple[float, float, float], str]:
    """Give what goes into a volume's header: voxel size (Å), world position of voxel 0 (Å), one line on its making."""
    x, y, z = (float(c * series.pixel_size) for c in region.origin)
    transfer = Transfer.of(series, correction, divides=strategy.divides)
    label = f"fourierrecon {strategy.words}, {transfer.words}, {series.n_tilts} tilts of {series.name}"
    return series.pixel_size * region.binning, (x, y, z), label


def _run(task: Task) -> NDArray[np.float32]:
    """Go through the stages in memory, and give the volume ``(z, y, x)``."""
    s, threads = task.plan.slices, task.n_threads
    with closing(SampleStore(s, task.plan.weighted, task.storage, task.scratch, threads)) as samples:
        sampler = Sampler(task, samples)
        images.sample_images([sampler], threads, task.progress)
        planes = PlaneStore(s, task.storage, task.scratch, threads)
        with closing(planes):
            insert_planes(task, samples, planes)
            samples.close()
            return slabs.finish_in_place(task, sampler.levels, planes.whole)
