"""`reconstruct()` beside what else would run on the same machine: time and error. See README.md in this folder.

All methods run in one process, in turn, so that each meets the same machine. Libraries that are not installed are left
out, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage
from accuracy import IMAGE_SHAPE, N_TILTS, SHAPE, explicit_mean, noise_images
from numba import get_num_threads, njit, prange, set_num_threads
from numpy.typing import NDArray
from speed import DUCC, PIXEL_SIZE, PYFFTW, InverseFft, Size, clock, describe_machine, take_turns, white_noise_series

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.runtime.threads import available_cores
from fourierrecon.simulation.gaussians import Gaussians, mean_over_images
from fourierrecon.weighting import NoWeighting, Weighting, Wiener

Volume = NDArray[np.float32]
Float = NDArray[np.float64]
#: Accuracy that the non-uniform FFTs are asked for.
EPSILON = 1e-3
#: A job that does not count, for compiling.
TINY: Size = (64, 64, 32)
N_POINTS = 2000
BLOBS, NOISE = "Gaussians", "white noise"
OURS = "fourierrecon"


# ---- the methods: tilt series, region, number of threads -> volume (z, y, x) ----


def voxel_matrices(series: TiltSeries, region: Region) -> tuple[Float, Float]:
    """Image pixel over voxel: ``(n_tilts, 2, 3)`` for ``(x, y, z)``, and the pixel of voxel 0, ``(n_tilts, 2)``."""
    a, t = series.projections[:, :2, :3], series.projections[:, :2, 3]
    return a * region.binning, t + a @ np.asarray(region.origin)


def ours(weighting: Weighting, precision: str = "default") -> Callable[[TiltSeries, Region, int], Volume]:
    """Give a call of this package."""

    def run(series: TiltSeries, region: Region, n_threads: int) -> Volume:
        return reconstruct(series, region, weighting, ctf=False, n_threads=n_threads, precision=precision).data

    return run


@njit(fastmath=True, inline="always")  # type: ignore[untyped-decorator]
def _bilinear(images: Any, f: int, u: Any, v: Any) -> Any:
    """Interpolate in image ``f``; unsigned indices, for which no code is made that counts from the end."""
    i, j = np.uintp(min(np.int32(u), images.shape[2] - 2)), np.uintp(min(np.int32(v), images.shape[1] - 2))
    p, q, one = u - np.float32(i), v - np.float32(j), np.uintp(1)
    top = images[f, j, i] + p * (images[f, j, i + one] - images[f, j, i])
    bottom = images[f, j + one, i] + p * (images[f, j + one, i + one] - images[f, j + one, i])
    return top + q * (bottom - top)


@njit(parallel=True, fastmath=True)  # type: ignore[untyped-decorator]
def _voxel_by_voxel(images: Any, a: Any, t: Any, volume: Any) -> None:
    depth, height, width = volume.shape
    n_tilts, rows, columns = images.shape
    for line in prange(depth * height):
        z, y = line // height, line % height
        py, pz, right, bottom_row = np.float32(y), np.float32(z), np.float32(columns - 1), np.float32(rows - 1)
        for x in range(width):
            total, count, px = np.float32(0), 0, np.float32(x)
            for f in range(n_tilts):
                u = a[f, 0, 0] * px + a[f, 0, 1] * py + a[f, 0, 2] * pz + t[f, 0]
                v = a[f, 1, 0] * px + a[f, 1, 1] * py + a[f, 1, 2] * pz + t[f, 1]
                if u < 0 or v < 0 or u > right or v > bottom_row:
                    continue
                total += _bilinear(images, f, u, v)
                count += 1
            volume[z, y, x] = total / max(count, 1)


@njit(parallel=True, fastmath=True)  # type: ignore[untyped-decorator]
def _row_by_row(images: Any, a: Any, t: Any, volume: Any) -> None:
    depth, height, width = volume.shape
    n_tilts, rows, columns = images.shape
    for line in prange(depth * height):
        z, y = line // height, line % height
        row, steps = np.zeros(width, np.float32), np.zeros(width + 1, np.int32)
        for f in range(n_tilts):
            u0 = a[f, 0, 1] * np.float32(y) + a[f, 0, 2] * np.float32(z) + t[f, 0]
            v0 = a[f, 1, 1] * np.float32(y) + a[f, 1, 2] * np.float32(z) + t[f, 1]
            du, dv = a[f, 0, 0], a[f, 1, 0]
            # the voxels of this row that the image sees, half a millipixel less: rounding must not lead outside
            first, last = 0.0, width - 1.0
            for at, step, end in ((u0, du, columns - 1), (v0, dv, rows - 1)):
                if abs(step) < 1e-9:
                    if at < 0 or at > end:
                        last = -1.0
                    continue
                one, other = (5e-4 - at) / step, (end - 5e-4 - at) / step
                first, last = max(first, min(one, other)), min(last, max(one, other))
            start, stop = int(np.ceil(first)), int(np.floor(last)) + 1
            if start >= stop:
                continue
            steps[start] += 1
            steps[stop] -= 1
            for x in range(start, stop):
                u, v = u0 + du * np.float32(x), v0 + dv * np.float32(x)
                row[x] += _bilinear(images, f, u, v)
        count = 0
        for x in range(width):
            count += steps[x]
            volume[z, y, x] = row[x] / max(count, 1)


def real_space(loop: Any) -> Callable[[TiltSeries, Region, int], Volume]:
    """Give a back-projection in real space by one of the compiled loops."""

    def run(series: TiltSeries, region: Region, n_threads: int) -> Volume:
        a, t = voxel_matrices(series, region)
        volume = np.empty(region.shape, np.float32)
        before = get_num_threads()
        set_num_threads(min(n_threads, available_cores()))
        loop(np.asarray(series.images), a.astype(np.float32), t.astype(np.float32), volume)
        set_num_threads(before)
        return volume

    return run


def with_scipy(series: TiltSeries, region: Region, n_threads: int) -> Volume:
    """Interpolate by `map_coordinates`, a slab of every image at a time."""
    a, t = voxel_matrices(series, region)
    depth, height, width = region.shape
    rows, columns = series.image_shape
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    volume = np.empty(region.shape, np.float32)
    at = np.empty((2, height, width), np.float32)
    for z in range(depth):
        total, count = np.zeros((height, width), np.float32), np.zeros((height, width), np.int32)
        for f, image in enumerate(np.asarray(series.images)):
            for axis in (0, 1):
                at[1 - axis] = a[f, axis, 0] * x + a[f, axis, 1] * y + (a[f, axis, 2] * z + t[f, axis])
            total += scipy.ndimage.map_coordinates(image, at, order=1, mode="constant", cval=0.0, prefilter=False)
            count += (at[0] >= 0) & (at[0] <= rows - 1) & (at[1] >= 0) & (at[1] <= columns - 1)
        volume[z] = total / np.maximum(count, 1)
    return volume


def scattered_samples(
    series: TiltSeries, region: Region, n_threads: int
) -> tuple[tuple[int, ...], NDArray[np.float32], NDArray[np.complex64]]:
    """Half of the spectra of all images as points in 3D: how many, where ``(3 (z, y, x), n)`` (cycles), and values.

    The real part of the sum over the points is the mean over the images. The other half of each spectrum is the complex
    conjugate.
    """
    a, t = voxel_matrices(series, region)
    middle = t + a @ [n // 2 for n in region.shape[::-1]]
    height, width = series.image_shape
    fy, fx = np.fft.fftfreq(height), np.fft.rfftfreq(width)
    twice = np.full(len(fx), 2.0)
    twice[0] = 1
    if width % 2 == 0:
        twice[-1] = 1
    shape = series.n_tilts, height, len(fx)
    where, values = np.empty((3, *shape), np.float32), np.empty(shape, np.complex64)
    for f in range(series.n_tilts):
        spectrum = scipy.fft.rfft2(np.asarray(series.images[f], np.float32), workers=n_threads)
        along_x = twice * np.exp(2j * np.pi * middle[f, 0] * fx) / (height * width * series.n_tilts)
        along_y = np.exp(2j * np.pi * middle[f, 1] * fy)[:, None]
        values[f] = spectrum * along_x.astype(np.complex64) * along_y.astype(np.complex64)
        for axis in range(3):
            by_x, by_y = (a[f, 0, axis] * fx).astype(np.float32), (a[f, 1, axis] * fy).astype(np.float32)
            np.add(by_x, by_y[:, None], out=where[2 - axis, f])
    return shape, where.reshape(3, -1), values.reshape(-1)


def with_finufft(series: TiltSeries, region: Region, n_threads: int) -> Volume:
    finufft: Any = import_module("finufft")
    _, where, values = scattered_samples(series, region, n_threads)
    where *= np.float32(2 * np.pi)
    # the small oversampling: less memory, and here less time, than finufft's own choice
    volume = finufft.nufft3d1(
        *where, values, region.shape, eps=EPSILON, isign=1, nthreads=n_threads, upsampfac=1.25
    )  # fmt: skip
    return np.ascontiguousarray(volume.real)


def with_ducc0(series: TiltSeries, region: Region, n_threads: int) -> Volume:
    nufft: Any = import_module("ducc0.nufft")
    _, where, values = scattered_samples(series, region, n_threads)
    volume = np.empty(region.shape, np.complex64)
    nufft.nu2u(
        points=values,
        coord=np.ascontiguousarray(where.T),
        forward=False,
        epsilon=EPSILON,
        nthreads=n_threads,
        out=volume,
        periodicity=1.0,
    )
    return np.ascontiguousarray(volume.real)


def tile_side(shape: tuple[int, ...], n_tilts: int) -> int:
    """Give the side of cubic tiles for the least time: even, 32 to 160.

    A tile of side ``s`` takes a transform of ``8 s³`` points, and spreads ``2 s²`` samples of each image. The weights
    of both are measured; from a side of 80 on a voxel costs nearly the same.
    """

    def cost(side: int) -> float:
        return float(np.prod([-(-n // side) for n in shape])) * (side**3 + n_tilts * side**2)

    return min(range(32, 162, 2), key=cost)


def with_torch(plain: bool) -> Callable[[TiltSeries, Region, int], Volume]:
    """Give a reconstruction in cubic tiles by torch-tomogram; ``plain``: without division by the weights."""

    def run(series: TiltSeries, region: Region, n_threads: int) -> Volume:
        torch: Any = import_module("torch")
        torch.set_num_threads(n_threads)
        a, t = voxel_matrices(series, region)
        beam = np.cross(a[:, 0], a[:, 1])
        height, width = series.image_shape
        shifts = t + a @ [n // 2 for n in region.shape[::-1]] - [width // 2, height // 2]
        tomogram: Any = import_module("torch_tomogram").Tomogram(
            tilt_angles=torch.from_numpy(np.degrees(np.arcsin(-beam[:, 0]))),
            tilt_axis_angle=torch.from_numpy(np.degrees(np.arctan2(a[:, 1, 0], a[:, 0, 0]))),
            sample_translations=torch.from_numpy(np.ascontiguousarray(shifts[:, ::-1])),
            images=torch.from_numpy(np.asarray(series.images)),
        )
        theirs = tomogram.projection_matrices[:, 1:3].numpy()[:, ::-1, [2, 1, 0]]
        if not np.allclose(theirs, a, atol=1e-4):
            raise ValueError("only tilts about an axis in the plane of the images, without magnification")
        if plain:
            tomogram.reconstruct_subvolume = lambda point, sidelength: _plain_tile(tomogram, point, sidelength)
        volume: Volume = tomogram.reconstruct_tomogram(region.shape, tile_side(region.shape, len(a))).numpy()
        return volume

    return run


def _plain_tile(tomogram: Any, point: Any, side: int) -> Any:
    """Reconstruct a tile as torch-tomogram does, but leave out the division by the weights."""
    torch: Any = import_module("torch")
    slices: Any = import_module("torch_fourier_slice")
    padded = 2 * side
    images = tomogram.extract_particle_tilt_series(point.reshape(-1, 3), sidelength=padded)[0]
    spectra = torch.fft.fftshift(torch.fft.rfft2(torch.fft.ifftshift(images, dim=(-2, -1))), dim=-2)
    matrices = torch.linalg.pinv(tomogram.projection_matrices[:, :3, :3])
    grid, _ = slices.insert_central_slices_rfft_3d(
        spectra, (padded, padded, padded), matrices, fftfreq_max=0.5, zyx_matrices=True
    )
    tile = torch.fft.irfftn(torch.fft.ifftshift(grid, dim=(0, 1)), s=(padded, padded, padded))
    # the inverse transforms are in 3D, those of the images were in 2D
    tile = torch.fft.fftshift(tile) * (padded / len(images))
    correct = import_module("torch_fourier_slice.volume_utils").separable_sinc2_correction
    low, high = side // 2, side // 2 + side
    return (tile / correct(tile.shape))[low:high, low:high, low:high]


def with_iradon(series: TiltSeries, region: Region, n_threads: int) -> Volume:
    """Reconstruct section by section; the tilt axis must lie along y, without shifts."""
    iradon: Any = import_module("skimage.transform").iradon
    a, t = voxel_matrices(series, region)
    depth, height, width = region.shape
    middle = t + a @ [width // 2, 0, depth // 2]
    row = round(float(middle[0, 1]))
    about_y = np.abs(a[:, [0, 1, 1, 1], [1, 0, 1, 2]] - [0, 0, 1, 0]).max() < 1e-6
    if not about_y or np.abs(middle - [series.image_shape[1] // 2, row]).max() > 1e-6:
        raise ValueError("only tilts about y, without shifts")
    theta = np.degrees(np.arctan2(-a[:, 0, 2], a[:, 0, 0]))
    side = max(width, depth)
    z, x = side // 2 - depth // 2, side // 2 - width // 2
    volume = np.empty(region.shape, np.float32)
    images = np.asarray(series.images)
    for y in range(height):
        section = iradon(images[:, row + y].T, theta, output_size=side, filter_name=None, circle=False)
        volume[:, y] = section[z : z + depth, x : x + width]
    return volume * np.float32(2 / np.pi)


@dataclass(frozen=True)
class Method:
    """A way to reconstruct.

    Parameters
    ----------
    label
        In the table.
    run
        Tilt series, region and number of threads to volume ``(z, y, x)``.
    needs
        Modules beyond those of this package.
    packages
        What to install for them.
    note
        What is compared, for the list below the table.
    about_y
        Only for a tilt axis along y without shifts.
    is_mean
        Whether it gives the mean over the images, which the error is that of.
    """

    label: str
    run: Callable[[TiltSeries, Region, int], Volume]
    needs: tuple[str, ...] = ()
    packages: str = ""
    note: str = ""
    about_y: bool = False
    is_mean: bool = True

    @property
    def missing(self) -> str:
        """Say what is not installed, or nothing."""
        absent = [name for name in self.needs if find_spec(name) is None]
        return f"{', '.join(absent)} not installed (pip install {self.packages})" if absent else ""


WRAPS = (
    f"half of each image's spectrum as scattered points, accuracy {EPSILON:g}, single precision; divided by the number "
    f"of images: images are not padded, and what lies outside of one sees its periodic copy (padding would quadruple "
    f"the points)"
)
TILES = "on the CPU; cubic tiles of 32 to 160 voxels, each from twice as large crops of all images"
#: The last is imported by torch-fourier-slice, which does not ask for it.
TORCH = ("torch", "torch_tomogram", "torch_fourier_slice", "torch_ctf")
METHODS = {
    OURS: Method(OURS, ours(NoWeighting()), note="plain back-projection (`none`), no CTF"),
    "high": Method("fourierrecon, precision high", ours(NoWeighting(), "high"), note="the same"),
    "wiener": Method(
        "fourierrecon, Wiener", ours(Wiener()), note="divided by gridded weights, no CTF: not a mean", is_mean=False
    ),
    "numba": Method(
        "real space, voxel by voxel",
        real_space(_voxel_by_voxel),
        note="compiled by numba: for each voxel a loop over the images with bilinear interpolation, as in RELION's "
        "program",
    ),
    "numba-rows": Method(
        "real space, row by row",
        real_space(_row_by_row),
        note="the same values; for each row of voxels and each image a loop over what the image sees of the row",
    ),
    "finufft": Method(
        "finufft, type 1", with_finufft, ("finufft",), "finufft", note=f"{WRAPS}; oversampling 1.25 asked for"
    ),
    "ducc0-nufft": Method("ducc0, type 1", with_ducc0, ("ducc0",), "ducc0", note=WRAPS),
    "torch-tomogram": Method(
        "torch-tomogram",
        with_torch(False),
        TORCH,
        "torch torch-tomogram torch-ctf",
        note=f"`Tomogram.reconstruct_tomogram` {TILES}; divides by gridded weights (above 1): not a mean, to be "
        f"compared with Wiener",
        is_mean=False,
    ),
    "torch-fourier-slice": Method(
        "torch-fourier-slice, plain",
        with_torch(True),
        TORCH,
        "torch torch-tomogram torch-ctf",
        note=f"`insert_central_slices_rfft_3d` {TILES}; as torch-tomogram, without the division by the weights, times "
        f"the padded side over the number of images",
    ),
    "iradon": Method(
        "scikit-image, iradon",
        with_iradon,
        ("skimage",),
        "scikit-image",
        note="special case: tilt axis along y, no shifts; `iradon(filter_name=None, circle=False)` section by section, "
        "square sections cut to the depth; 1 thread; zeros outside of images count",
        about_y=True,
    ),
    "about-y": Method(
        "fourierrecon, axis along y", ours(NoWeighting()), note="as the first, in the special case", about_y=True
    ),
    "scipy": Method(
        "scipy, map_coordinates", with_scipy, note="`order=1`, image by image on planes of voxels; 1 thread"
    ),
}


# ---- time ----


def series_about_y(size: Size, n_tilts: int) -> TiltSeries:
    """Make white noise with the tilt axis along y and no shifts."""
    width, height, depth = size
    centre = (float(width // 2), float(height // 2), float(depth // 2))
    matrices = projection_matrices((height, width), centre, np.linspace(-60, 60, n_tilts))
    images = np.random.default_rng(0).standard_normal((n_tilts, height, width), np.float32)
    whole = (float(width), float(height), float(depth))
    return TiltSeries(images, matrices, PIXEL_SIZE, size=whole, rotation_centre=centre)


class Jobs:
    """The methods as jobs on white noise of one size.

    Parameters
    ----------
    names
        Of the methods.
    size
        ``(width, height, depth)``.
    n_tilts, n_threads
        Numbers of images and threads.
    """

    def __init__(self, names: Sequence[str], size: Size, n_tilts: int, n_threads: int) -> None:
        special = {METHODS[name].about_y for name in names}
        makers = {False: white_noise_series, True: series_about_y}
        self.series = {kind: makers[kind](size, n_tilts) for kind in special}
        self.n_threads = n_threads

    def job(self, name: str) -> Callable[[], None]:
        method = METHODS[name]
        series = self.series[method.about_y]
        region = Region.of(series)

        def run() -> None:
            method.run(series, region, self.n_threads)

        return run


def time_methods(
    names: Sequence[str], size: Size, n_tilts: int, n_threads: int, n_runs: int, limit: float
) -> tuple[dict[str, list[tuple[float, float]]], dict[str, tuple[float, float]], dict[str, str]]:
    """Run all methods in turn with the FFTs: times, estimates of those that take too long, and what failed."""
    small: Size = (max(16, size[0] // 4), max(16, size[1] // 4), max(16, size[2] // 4))
    growth = float(np.prod(size) / np.prod(small))
    tiny, quarter = Jobs(names, TINY, 3, n_threads), Jobs(names, small, n_tilts, n_threads)
    estimates, failed = {}, {}
    for name in names:
        try:
            tiny.job(name)()
            # the first of a size plans and claims memory
            wall, cpu = min(clock(quarter.job(name)) for _ in range(2))
        except Exception as error:  # whatever another library raises
            failed[name] = f"{type(error).__name__}: {error}"
            continue
        print(f"a quarter of the size: {name} {wall:.2f} s, so ~{wall * growth:.1f} s", file=sys.stderr)
        if wall * growth > limit:
            estimates[name] = wall * growth, cpu * growth
    del tiny, quarter
    fft = InverseFft(size, n_threads)
    chosen = [name for name in names if name not in estimates and name not in failed]
    whole = Jobs(chosen, size, n_tilts, n_threads)
    jobs = {PYFFTW: fft.pyfftw} | ({DUCC: fft.ducc0} if find_spec("ducc0") else {})
    jobs |= {name: whole.job(name) for name in chosen}

    def before(name: str) -> None:
        # threads of other libraries may spin for a while
        time.sleep(0.3)
        if name in (PYFFTW, DUCC):
            fft.fill()

    return take_turns(jobs, n_runs, before), estimates, failed


# ---- error ----


def relative_error(found: NDArray[Any], expected: Float) -> float:
    """Give the relative L2 norm of the difference."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def measure_errors(names: Sequence[str], n_threads: int) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Compare with exact means at random voxels that all images see: errors by method, and what failed.

    The images are those of accuracy.py, without their means; the tilt axis lies near x, with shifts, or for methods
    that need it along y, without.
    """
    errors: dict[str, dict[str, float]] = {}
    failed: dict[str, str] = {}
    chosen = [name for name in names if METHODS[name].is_mean]
    for about_y in sorted({METHODS[name].about_y for name in chosen}):
        rng = np.random.default_rng(0)
        centre = (float(SHAPE[2] // 2), float(SHAPE[1] // 2), float(SHAPE[0] // 2))
        axis, shifts, origin = rng.normal(85.3, 0.3, N_TILTS), rng.normal(0, 3, (N_TILTS, 2)), (-4.3, 0.6, 0.2)
        if about_y:
            axis, shifts, origin = np.zeros(N_TILTS), np.zeros((N_TILTS, 2)), (0.0, 0.0, 0.0)
        matrices = projection_matrices(IMAGE_SHAPE, centre, np.linspace(-60, 60, N_TILTS), axis, shifts=shifts)
        region = Region(origin, SHAPE)
        voxels = np.stack([rng.integers(0, n, N_POINTS) for n in SHAPE], 1)  # z, y, x
        points = voxels[:, ::-1] + np.asarray(region.origin)
        low = np.asarray(region.origin)
        blobs = Gaussians(rng.uniform(low, low + SHAPE[::-1], (300, 3)), np.asarray(2.5), rng.normal(size=300))
        projections, noise = blobs.project(matrices, IMAGE_SHAPE), noise_images(rng)
        cases = {
            BLOBS: (projections, mean_over_images(blobs, matrices, points)),
            NOISE: (noise, explicit_mean(noise, matrices, points)),
        }
        for name in chosen:
            if METHODS[name].about_y != about_y:
                continue
            for case, (images, expected) in cases.items():
                # most methods keep the mean of an image, and fourierrecon zeroes it
                levels = images.mean((1, 2), dtype=float)
                series = TiltSeries(images - levels.astype(np.float32)[:, None, None], matrices, PIXEL_SIZE)
                try:
                    found = METHODS[name].run(series, region, n_threads)[tuple(voxels.T)]
                except Exception as error:  # whatever another library raises
                    failed[name] = f"{type(error).__name__}: {error}"
                    break
                errors.setdefault(name, {})[case] = relative_error(found, expected - levels.mean())
                print(f"error: {name}, {case} {errors[name][case]:.1e}", file=sys.stderr)
    return errors, failed


# ---- tables ----


@dataclass(frozen=True)
class Timing:
    """Times at one size: measured, estimated, failed."""

    size: Size
    measured: dict[str, list[tuple[float, float]]]
    estimates: dict[str, tuple[float, float]]
    failed: dict[str, str]

    @staticmethod
    def of(record: dict[str, Any]) -> Timing:
        """Give the times that a record of :func:`record_of` holds."""
        measured = {n: list(zip(runs["wall"], runs["cpu"], strict=True)) for n, runs in record["seconds"].items()}
        estimates = {n: (cost["wall"], cost["cpu"]) for n, cost in record["estimated_seconds"].items()}
        width, height, depth = record["size"]
        return Timing((width, height, depth), measured, estimates, record["failed"])

    def seconds(self, name: str) -> tuple[float, float, str]:
        """Give wall and CPU seconds, and a mark for an estimate."""
        if name in self.measured:
            runs = self.measured[name]
            return median(w for w, _ in runs), median(c for _, c in runs), ""
        return (*self.estimates[name], "~")

    def __contains__(self, name: str) -> bool:
        return name in self.measured or name in self.estimates

    @property
    def rows(self) -> list[str]:
        """Give all names, in the order of the table."""
        order = [PYFFTW, DUCC, *METHODS]
        return [name for name in order if name in self]

    @property
    def voxels(self) -> str:
        width, height, depth = self.size
        return f"{width} x {height} x {depth}"


def label_of(name: str) -> str:
    return METHODS[name].label if name in METHODS else name


def figure(value: float, mark: str = "") -> str:
    """Write a number with three digits."""
    return f"{mark}{value:.0f}" if value >= 100 else f"{mark}{value:.3g}" if value >= 0.1 else f"{mark}{value:.2g}"


def full_table(timing: Timing, errors: dict[str, dict[str, float]], notes: dict[str, int]) -> str:
    """Lay one size out: times, ratios and errors."""
    unit = DUCC if DUCC in timing else PYFFTW
    lines = [
        f"| method | wall, s | CPU, s | wall / FFT, {unit.rpartition(' ')[2]} | wall / fourierrecon "
        f"| error, Gaussians | error, white noise | note |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in timing.rows:
        wall, cpu, mark = timing.seconds(name)
        to_ours = figure(wall / timing.seconds(OURS)[0], mark) if OURS in timing else "–"
        wrong = [f"{errors[name][case]:.1e}" if case in errors.get(name, {}) else "–" for case in (BLOBS, NOISE)]
        lines.append(
            f"| {label_of(name)} | {figure(wall, mark)} | {figure(cpu, mark)} "
            f"| {figure(wall / timing.seconds(unit)[0], mark)} | {to_ours} | {' | '.join(wrong)} "
            f"| {notes.get(name, '–')} |"
        )
    return "\n".join(lines)


def sizes_table(timings: Sequence[Timing]) -> str:
    """Lay several sizes out: seconds, and in brackets the ratio to fourierrecon."""
    lines = [f"| method | {' | '.join(t.voxels for t in timings)} |", "|---" * (len(timings) + 1) + "|"]
    names = [name for name in (PYFFTW, DUCC, *METHODS) if any(name in t for t in timings)]
    for name in names:
        cells = []
        for timing in timings:
            if name not in timing:
                cells.append("–")
                continue
            wall, _, mark = timing.seconds(name)
            ratio = f" ({wall / timing.seconds(OURS)[0]:.2g})" if OURS in timing else ""
            cells.append(f"{figure(wall, mark)}{ratio}")
        lines.append(f"| {label_of(name)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_report(record: dict[str, Any]) -> str:
    """Write the whole report in Markdown."""
    timings = [Timing.of(size) for size in record["sizes"]]
    errors: dict[str, dict[str, float]] = record["errors"]
    shown = [name for name in METHODS if any(name in t for t in timings)]
    notes = {name: i + 1 for i, name in enumerate(shown)}
    parts = [
        f"{record['tilts']} images, {record['threads']} threads, median of {record['runs']} runs in turn, "
        f"{record['date']}; `~`: above the limit of {record['limit']:g} s, extrapolated from a quarter of the size by "
        f"the number of voxels.\n{', '.join(f'{key} {value}' for key, value in record['machine'].items())}."
    ]
    if len(timings) == 1:
        width, height, _ = timings[0].size
        parts.append(f"Images of {width} x {height} px -> {timings[0].voxels} voxels.")
        parts.append(full_table(timings[0], errors, notes))
    else:
        parts.append("Wall seconds; in brackets, as a multiple of fourierrecon's.")
        parts.append(sizes_table(timings))
        if errors:
            lines = ["| method | error, Gaussians | error, white noise |", "|---|---|---|"]
            for name in shown:
                if name in errors:
                    lines.append(f"| {label_of(name)} | {errors[name][BLOBS]:.1e} | {errors[name][NOISE]:.1e} |")
            parts.append("\n".join(lines))
    if errors:
        depth, height, width = SHAPE
        parts.append(
            f"Error: relative L2 norm at {N_POINTS} random voxels of {width} x {height} x {depth}, {N_TILTS} images of "
            f"{IMAGE_SHAPE[1]} x {IMAGE_SHAPE[0]} px that all see them, against the exact mean over the images, each "
            f"method in its own scale (none is fitted); {BLOBS}: sigma 2.5 px; {NOISE}: up to 0.44 cycles per pixel."
        )
    lines = [f"{notes[name]}. {METHODS[name].label}: {METHODS[name].note}." for name in shown]
    lines += [f"- Left out: {METHODS[name].label}: {why}." for name, why in record["left_out"].items()]
    parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def record_of(timing: Timing) -> dict[str, Any]:
    """Give all that was measured at one size, for JSON."""
    return {
        "size": timing.size,
        "seconds": {
            name: {"wall": [w for w, _ in runs], "cpu": [c for _, c in runs]} for name, runs in timing.measured.items()
        },
        "estimated_seconds": {name: {"wall": w, "cpu": c} for name, (w, c) in timing.estimates.items()},
        "failed": timing.failed,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--size", nargs=3, type=int, default=(928, 960, 300), metavar=("W", "H", "D"))
    parser.add_argument("--sizes", nargs="+", type=int, help="a table of sizes instead: N x N x N/3 each", metavar="N")
    parser.add_argument("--tilts", type=int, default=41, help="number of images")
    parser.add_argument("--threads", type=int, default=min(2, available_cores()))
    parser.add_argument("--runs", type=int, default=3, help="that count, after one that does not")
    parser.add_argument("--limit", type=float, default=120.0, help="what would take longer is estimated", metavar="S")
    parser.add_argument("--only", nargs="+", choices=list(METHODS), metavar="NAME", help=f"of {', '.join(METHODS)}")
    parser.add_argument("--no-errors", action="store_true", help="measure times only")
    parser.add_argument("--json", type=Path, help="file for all single measurements", metavar="FILE")
    parser.add_argument("--markdown", type=Path, help="file for the tables", metavar="FILE")
    asked = parser.parse_args(arguments)
    sizes: list[Size] = [(n, n, n // 3) for n in asked.sizes] if asked.sizes else [tuple(asked.size)]
    if min(*(n for size in sizes for n in size), asked.tilts, asked.threads, asked.runs) < 1:
        parser.error("sizes and numbers must be 1 or more")
    wanted = [name for name in METHODS if asked.only is None or name in asked.only]
    skipped = {name: METHODS[name].missing for name in wanted if METHODS[name].missing}
    if "iradon" in skipped and asked.only is None:
        wanted.remove("about-y")
    names = [name for name in wanted if name not in skipped]
    errors: dict[str, dict[str, float]] = {}
    if not asked.no_errors:
        errors, failed = measure_errors(names, asked.threads)
        skipped |= failed
    timings = []
    for size in sizes:
        usable = [name for name in names if name not in skipped]
        found = time_methods(usable, size, asked.tilts, asked.threads, asked.runs, asked.limit)
        timings.append(Timing(size, *found))
        skipped |= timings[-1].failed
    packages = ("fourierrecon", "numpy", "scipy", "numba", "pyfftw", "ducc0", "finufft", "scikit-image", "torch")
    machine = describe_machine((*packages, "torch-tomogram", "torch-fourier-slice"))
    record = {
        "date": date.today().isoformat(),
        "tilts": asked.tilts,
        "threads": asked.threads,
        "runs": asked.runs,
        "limit": asked.limit,
        "machine": machine,
        "errors": errors,
        "left_out": skipped,
        "sizes": [record_of(timing) for timing in timings],
    }
    report = write_report(record)
    print(report, end="")
    if asked.markdown is not None:
        asked.markdown.write_text(report, encoding="utf-8")
    if asked.json is not None:
        asked.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
