"""Forecasts the memory, scratch space and time of a reconstruction, without doing it.

Memory follows from the plan. Time is measured on pieces of the same problem and scaled: the piece is short along the
tilt axis (``p``) and full across it, so that its planes are as large as the real ones, in the cache as out of it.

* Preparing and sampling images: in proportion to ``F (padded pixels + H' Lb)``.
* Planes: ``H' (F Lb a + O D b)``, with the spread of samples and the transforms of planes. Where the region is so deep
  that a piece of it must be shallower, pieces of two depths tell the two parts apart.
* Slabs: ``H' O D``.
* Writing: some sections of full size, to a temporary file; but no faster than a disk, as a cache is soon full.
* Reading and scratch files: at the assumed rate of a disk.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine.plan import Plan
from fourierrecon.engine.room import memory_with
from fourierrecon.engine.settings import Settings
from fourierrecon.engine.several_volumes import VolumeOrder, share
from fourierrecon.engine.storage import Beside, Storage, choose_storage
from fourierrecon.engine.task import in_tiles
from fourierrecon.engine.tiling import storage_of_tiles
from fourierrecon.geometry.region import Region
from fourierrecon.geometry.tiles import TOLERANCE, Tiling
from fourierrecon.io.files import temporary_folder
from fourierrecon.io.volumes.formats import space_for, writing_volume
from fourierrecon.operators.least_squares import beside_projections
from fourierrecon.reconstruction import reconstruct_many
from fourierrecon.runtime.threads import available_cores, for_each
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.tomogram.written import Written
from fourierrecon.transfer import Correction
from fourierrecon.weighting import Iterative, NoWeighting, Weighting
from fourierrecon.weighting.as_filter import for_tiles
from fourierrecon.weighting.snr import STATED

Halves = Literal["frames", "tilts"]
#: Rate of an ordinary solid-state disk, bytes a second.
DISK_RATE = 1e9
#: Largest number of voxels and of image pixels of a piece; its smallest number of rows and depth, px.
VOXELS, PIXELS, LEAST_ROWS, LEAST_DEPTH = 20e6, 20e6, 32, 8
#: Number of times that each piece is measured. The fastest counts, as other programs slow the rest down.
REPEATS = 2


@dataclass(frozen=True)
class Forecast:
    """Memory, disk space and time that a reconstruction will take.

    Parameters
    ----------
    storage
        Memory and scratch space, bytes, and what lies where.
    files
        Sizes of the files that are written, by kind, bytes.
    output_folder
        Existing folder that the tomogram will be written in or below.
    scratch_folder
        Folder for scratch files.
    n_threads
        Number of threads.
    seconds
        Wall time of the whole, from the images to the file.
    held
        Size of the scratch file that volumes in Zarr or of integers go through, bytes.
    """

    storage: Storage
    files: Mapping[str, int]
    output_folder: Path
    scratch_folder: Path
    n_threads: int
    seconds: float
    held: int = 0

    @property
    def file_size(self) -> int:
        """Size of all files, bytes."""
        return sum(self.files.values())


@dataclass(frozen=True)
class _Size:
    """Extents that the time depends on.

    Parameters
    ----------
    images
        ``F (padded pixels + H' Lb)``.
    planes
        ``H'``.
    depth
        ``D``, voxels.
    """

    images: float
    planes: float
    depth: float

    @classmethod
    def of(cls, plan: Plan) -> _Size:
        s, (height, width) = plan.slices, plan.sampling.padded
        return cls(float(len(plan.used) * (height * width + s.period * s.row_length)), s.period, s.shape[0])


def forecast(
    series: TiltSeries,
    region: Region,
    weighting: Weighting,
    *,
    ctf: bool = True,
    n_threads: int | None = None,
    taper: tuple[float, float] = (0.0, 0.0),
    output: Path | None = None,
    memory: int | None = None,
    scratch: Path | None = None,
    dtype: str = "float32",
    correction: Correction | None = None,
    residual: float = TOLERANCE,
    halves: Halves | None = None,
    written: Written | None = None,
) -> Forecast:
    """Forecast what a reconstruction will take; measuring the machine takes about two seconds.

    Parameters
    ----------
    series, region, weighting, ctf, n_threads, memory, scratch
        As for :func:`fourierrecon.reconstruction.reconstruct`.
    taper
        Distance and falloff at the borders of the images, binned px.
    output
        File that is to be written, if it is known; a temporary file beside it measures the rate of writing.
    dtype
        Type of the voxels.
    correction
        Correction of the CTF, exposure and tilt, in place of ``ctf``.
    residual
        What tiles may leave of a local alignment, px of the binned images.
    halves
        Half volumes are made as well, of even and odd frames or tilts.
    written
        All that is written; default: the tomogram alone.

    Raises
    ------
    UsageError
        If no image sees the region, or if the format or type of the output is unknown.
    DataError
        If CTF parameters are missing, or if the memory is too small for any way.
    """
    correction = Correction.of(ctf) if correction is None else correction
    threads = available_cores() if n_threads is None else n_threads
    target = Path("tomogram.mrc") if output is None else output
    size, held = space_for(target, region.shape, dtype)
    written = Written(files={"tomogram": size}, held=held) if written is None else written
    weighting = weighting.resolved(lambda: STATED)  # the pieces are noise, which has no ratio to measure
    times, beside, whole = 1.0, written.beside, isinstance(weighting, Iterative)
    if isinstance(weighting, Iterative):
        # each step projects forth and back, which takes what plain back-projection does
        step = int(region.binning + 1e-6)
        pixels = series.n_tilts * int(np.prod([-(-n // step) for n in series.image_shape]))
        times, beside = 2 * weighting.iterations, beside_projections(weighting, region, pixels)
        weighting = NoWeighting()
        correction = replace(correction, ctf_mode=None) if correction.ctf_mode == "wiener" else correction
    settings = Settings(
        n_threads=n_threads, taper_distance=taper[0], taper_falloff=taper[1], memory=memory, scratch=scratch,
        ctf_mode=correction.ctf_mode, exposure=correction.exposure, tilt_weight=correction.tilt_weight,
        ctf_depth=correction.ctf_depth, defocus_hand=correction.defocus_hand,
        residual=residual,
    )  # fmt: skip
    # first, as memory that the pieces leave behind would count as memory of the reconstruction
    after, tiled = memory_with(written.after) if written.after else 0, None
    if in_tiles(series, settings):
        tiled = storage_of_tiles(series, region, weighting, settings)
        tiled = replace(tiled, memory=tiled.memory + beside.always)
        times *= Tiling.of(series, region, residual).cost(region)
        series, weighting = replace(series, local=None), for_tiles(weighting)
    plan = Plan.of(series, region, weighting, settings)
    if halves and not (tiled or whole):
        storage = _storage_with_halves(series, region, weighting, settings, halves, beside)
    else:
        storage = tiled or choose_storage(plan, threads, memory, whole=whole, slabwise=False, beside=beside)
    storage = replace(storage, memory=max(storage.memory, after))
    temporary = Path(tempfile.gettempdir())
    folder = temporary if output is None else next(path for path in output.absolute().parents if path.is_dir())
    without_taper = replace(settings, taper_distance=0.0, taper_falloff=0.0, memory=None, scratch=None)
    # pieces are treated as the whole is, though they are smaller
    without_taper = replace(without_taper, ctf_depth="off" if plan.curved is None else "on")
    again, volumes = _times(halves, weighting, apart=tiled is not None or whole)
    images, slabs = measure(series, region, weighting, plan, without_taper)
    seconds = times * (again * images + volumes * slabs)
    writing = _writing(region.shape, folder, target.suffix, dtype, threads) * written.size / size
    seconds += max(writing, (written.size + 2 * written.held) / DISK_RATE)
    pixel = getattr(series.images, "dtype", np.dtype(np.float32)).itemsize
    read = len(plan.used) * pixel * float(np.prod(series.image_shape)) * (again if halves == "frames" else 1)
    seconds += (read + 2 * volumes * storage.scratch) / DISK_RATE
    folder_of_scratch = folder if scratch is None else scratch
    return Forecast(storage, written.files, folder, folder_of_scratch, threads, seconds, written.held)


def _times(halves: Halves | None, weighting: Weighting, *, apart: bool) -> tuple[float, float]:
    """Give how often images are prepared, and volumes made of their samples, for a tomogram and its halves.

    Halves of tilts share the samples of the whole, unless a filter of each image depends on the others. Both together
    insert each sample once more, and transform twice as much: between 2 and 3 times in all.
    """
    if halves is None:
        return 1.0, 1.0
    if halves == "frames":
        return 3.0, 3.0
    return (2.0 if apart or weighting.has_filter else 1.0), 2.5


def _storage_with_halves(
    series: TiltSeries, region: Region, weighting: Weighting, settings: Settings, halves: Halves, beside: Beside
) -> Storage:
    """Give what a tomogram and its halves take together, as the engine plans them."""
    order = VolumeOrder(
        series=series, open=lambda: nullcontext(lambda *_: None), region=region, weighting=weighting, beside=beside
    )
    orders = [order, order, order]
    if halves == "frames":  # images of their own
        orders = [replace(order, series=replace(series)) for order in orders]
    else:
        orders[1:] = [replace(order, tilts=tuple(range(first, series.n_tilts, 2))) for first in (0, 1)]
    found = [group.task.storage for group in share(orders, settings)]
    largest = max(found, key=lambda storage: storage.memory)
    # samples of all groups are there at once, planes of one
    samples = sum(storage.scratch for storage in found if storage.samples_on_disk)
    return replace(largest, scratch=max(largest.scratch, samples))


def measure(
    series: TiltSeries, region: Region, weighting: Weighting, plan: Plan, settings: Settings
) -> tuple[float, float]:
    """Give the times that the images, and planes and slabs, of a reconstruction take, seconds, from pieces of it.

    Parameters
    ----------
    series, region, weighting, settings
        Arguments of the reconstruction.
    plan
        Plan of the reconstruction.
    """
    # the first run compiles the loops
    _laps(*_piece(series, region, plan, 16, 16, int(32 * region.binning)), weighting, settings)
    sizes, laps = [], []
    for part, box in _pieces(series, region, plan):
        sizes.append(_Size.of(Plan.of(part, box, weighting, settings)))
        laps.append(np.min([_laps(part, box, weighting, settings) for _ in range(REPEATS)], 0))
    whole, piece, (images, planes, slabs) = _Size.of(plan), sizes[0], laps[0]
    per_plane = planes / piece.planes
    if whole.depth > piece.depth:
        deeper = (per_plane - laps[1][1] / sizes[1].planes) / (piece.depth - sizes[1].depth)
        per_plane += np.clip(deeper, 0, per_plane / piece.depth) * (whole.depth - piece.depth)
    images *= whole.images / piece.images
    slabs *= whole.planes * whole.depth / (piece.planes * piece.depth)
    return float(images), float(per_plane * whole.planes + slabs)


def _pieces(series: TiltSeries, region: Region, plan: Plan) -> Iterator[tuple[TiltSeries, Region]]:
    """Cut pieces that take some tenths of a second: one of full depth, or two of different depths where it is large."""
    depth, n_p, n_o = plan.slices.shape
    deep = int(np.clip(VOXELS / (n_o * LEAST_ROWS), LEAST_DEPTH, depth)) if depth > LEAST_DEPTH else depth
    rows = int(np.clip(VOXELS / (n_o * deep), min(LEAST_ROWS, n_p), n_p))
    # images long enough for the rows of the piece, so that as many images see its voxels as the real ones
    axis = _short_axis(plan)
    extent = region.binning * np.ones(3)
    extent[[plan.plane_axis, 1 - plan.plane_axis, 2]] *= rows, n_o, deep
    needed = float((np.abs(series.projections[:, axis, :3]) @ extent).max())
    affordable = PIXELS / (series.n_tilts * series.image_shape[axis])
    length = int(max(min(needed, affordable), 16 * region.binning))
    yield _piece(series, region, plan, rows, deep, length)
    if deep < depth:
        yield _piece(series, region, plan, rows, max(1, deep // 2), length)


def _short_axis(plan: Plan) -> int:
    """Give the axis along which the images of a piece are short, the one near the tilt axis: 0 for x and 1 for y."""
    return int(np.bincount(plan.along).argmax())


def _piece(
    series: TiltSeries, region: Region, plan: Plan, rows: int, depth: int, length: int
) -> tuple[TiltSeries, Region]:
    """Cut a piece out of the middle of the region, of white noise: ``rows`` along p, images of ``length`` px there."""
    shape, origin = list(region.shape), list(region.origin)
    for axis, n in ((plan.plane_axis, rows), (2, depth)):
        n = min(n, shape[2 - axis])
        origin[axis] += region.binning * ((shape[2 - axis] - n) // 2)
        shape[2 - axis] = n
    x, y, z = origin
    piece = replace(region, origin=(x, y, z), shape=(shape[0], shape[1], shape[2]))
    short = _short_axis(plan)
    image = list(series.image_shape)
    image[1 - short] = min(length, image[1 - short])
    projections = series.projections.copy()
    middle = projections[:, short, :3] @ piece.centre + projections[:, short, 3]
    projections[:, short, 3] -= np.round(middle - image[1 - short] / 2)
    noise = np.random.default_rng(0).standard_normal(image, np.float32)
    images = np.broadcast_to(noise, (series.n_tilts, *image))
    return replace(series, images=images, projections=projections), piece


def _laps(series: TiltSeries, region: Region, weighting: Weighting, settings: Settings) -> tuple[float, float, float]:
    """Reconstruct, and give the seconds until the images, the planes and the slabs were done, each from the last."""
    ends: dict[str, float] = {}

    def watch(stage: str, done: int, total: int) -> None:
        if done == total:
            ends[stage] = time.perf_counter()

    started = time.perf_counter()
    order = VolumeOrder(series=series, open=lambda: nullcontext(lambda *_: None), region=region, weighting=weighting)
    reconstruct_many([order], replace(settings, progress=watch))
    images, planes, slabs = ends.values()
    return images - started, planes - images, slabs - planes


def _writing(shape: tuple[int, int, int], folder: Path, ending: str, dtype: str, n_threads: int) -> float:
    """Give the seconds that writing a volume takes, from some of its sections."""
    depth, height, width = shape
    n = int(np.clip(VOXELS / (height * width), 1, depth))
    slab = np.random.default_rng(0).standard_normal((height, width), np.float32)

    def write(path: str, n: int, slab: NDArray[np.float32]) -> None:
        piece = (n, *slab.shape)
        with writing_volume(path, piece, 1.0, (0.0, 0.0, 0.0), "", dtype, n_threads=n_threads) as take:
            for_each(n, lambda _, z: take(z, slab), state=lambda: None, n_threads=n_threads)

    with temporary_folder(folder) as place:
        # the first call loads libraries
        write(f"{place}/first{ending}", 1, slab[:1, :1])
        started = time.perf_counter()
        write(f"{place}/piece{ending}", n, slab)
        seconds = time.perf_counter() - started
    return seconds / n * depth
