"""Ways to reconstruct that `quality.py` compares: those of this package, and what else there is on PyPI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from fourierrecon import Region, Settings, TiltSeries, profile, reconstruct
from fourierrecon.ctf import contrast_transfer
from fourierrecon.engine.signal_to_noise import with_snr
from fourierrecon.tomogram.profiles import PROFILES
from fourierrecon.tomogram.transfer_volume import transfer_function
from fourierrecon.weighting import Weighting, from_text

Images = NDArray[np.float32]
#: Reconstructs a tilt series in a region, and gives ``(z, y, x)``.
Run = Callable[[TiltSeries, Region], Images]
#: Iterations of SIRT and of CGLS.
SIRT, CGLS = 20, 5


@dataclass(frozen=True)
class Method:
    """A way to reconstruct.

    Parameters
    ----------
    name
        In the table.
    prepare
        Gives the call for one tilt series, that also serves for its halves.
    needs
        Modules beyond those of this package.
    slow
        Not for thick specimens, and at one level of noise only.
    profiles
        Names of the profiles that stand for it.
    """

    name: str
    prepare: Callable[[TiltSeries, Region], Run]
    needs: tuple[str, ...] = ()
    slow: bool = False
    profiles: tuple[str, ...] = ()

    @property
    def missing(self) -> str:
        """Say why it cannot be run, or nothing."""
        for name in self.needs:
            if find_spec(name.partition(".")[0]) is None:
                return f"{name} is not installed"
            try:
                import_module(name)
            except (ImportError, OSError) as error:
                return f"{name} cannot be loaded ({error})"
        return ""


@dataclass(frozen=True)
class Ours:
    """This package with some options; what is measured comes from the whole series, for its halves as well."""

    weighting: Weighting
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, series: TiltSeries, region: Region) -> Run:
        """Measure what the weighting leaves open."""
        weighting, options = self._measured(series, region)
        return lambda some, where: reconstruct(some, where, weighting, **options).data

    def transfer(self, series: TiltSeries, region: Region, side: int) -> Images:
        """Give the transfer function of the volume; see :func:`transfer_function`."""
        weighting, options = self._measured(series, region)
        return transfer_function(series, region, weighting, Settings(**options), side=side)

    def _measured(self, series: TiltSeries, region: Region) -> tuple[Weighting, dict[str, Any]]:
        options = {**self.options, "ctf_mode": self.options.get("ctf_mode") if series.ctf is not None else "none"}
        return with_snr(self.weighting, series, region.binning, correction=Settings(**options).correction), options


def phase_flipped(series: TiltSeries) -> Images:
    """Multiply the images with the signs of their CTFs: what programs without a CTF are given."""
    height, width = series.image_shape
    padded = 2 * height, 2 * width
    fy, fx = np.fft.fftfreq(padded[0], series.pixel_size)[:, None], np.fft.rfftfreq(padded[1], series.pixel_size)
    out = np.empty((series.n_tilts, height, width), np.float32)
    for tilt in range(series.n_tilts):
        image = np.asarray(series.images[tilt], float)
        image = np.pad(image - image.mean(), ((0, height), (0, width)))
        sign = np.sign(contrast_transfer(series.ctf, tilt, fx, fy)) if series.ctf is not None else 1.0
        out[tilt] = np.fft.irfft2(np.fft.rfft2(image) * sign, padded)[:height, :width]
    return out


def _sections(series: TiltSeries, region: Region) -> tuple[Images, NDArray[np.float64], tuple[int, int, int]]:
    """Give sinograms ``(rows, n_tilts, columns)`` of odd width about the axis, angles in radians, and ``(row, D, W)``.

    The axis must lie along y, without shifts; region and images have the same middle.
    """
    a = series.projections[:, :2, :3]
    if np.abs(a[:, [0, 1, 1, 1], [1, 0, 1, 2]] - [0, 0, 1, 0]).max() > 1e-6:
        raise ValueError("only tilts about y, without shifts")
    images = phase_flipped(series)
    depth, height, width = region.shape
    row = (images.shape[1] - height) // 2
    sinograms = np.pad(images[:, row : row + height], ((0, 0), (0, 0), (0, 1))).transpose(1, 0, 2)
    return np.ascontiguousarray(sinograms), np.arctan2(-a[:, 0, 2], a[:, 0, 0]), (row, depth, width)


def with_iradon(series: TiltSeries, region: Region) -> Images:
    """Filtered back-projection of scikit-image, section by section."""
    iradon: Any = import_module("skimage.transform").iradon
    sinograms, angles, (_, depth, width) = _sections(series, region)
    side = max(sinograms.shape[2], depth + 1)
    z, x = side // 2 - depth // 2, side // 2 - width // 2
    volume = np.empty(region.shape, np.float32)
    for y, sinogram in enumerate(sinograms):
        section = iradon(sinogram.T, np.degrees(angles), output_size=side, filter_name="ramp", circle=False)
        volume[:, y] = section[z : z + depth, x : x + width]
    return volume


def with_astra(kind: str, iterations: int) -> Run:
    """Give one of ASTRA's algorithms on the CPU, section by section."""

    def run(series: TiltSeries, region: Region) -> Images:
        astra: Any = import_module("astra")
        sinograms, angles, (_, depth, width) = _sections(series, region)
        columns = sinograms.shape[2]
        inside = columns // 2 - width // 2
        grid = astra.create_vol_geom(depth + 1, columns)
        beams = astra.create_proj_geom("parallel", 1.0, columns, angles)
        projector = astra.create_projector("linear", beams, grid)
        volume = np.empty(region.shape, np.float32)
        for y, sinogram in enumerate(sinograms):
            data = astra.data2d.create("-sino", beams, sinogram)
            target = astra.data2d.create("-vol", grid)
            settings = {"ProjectorId": projector, "ProjectionDataId": data, "ReconstructionDataId": target}
            algorithm = astra.algorithm.create({"type": kind, **settings})
            astra.algorithm.run(algorithm, iterations)
            volume[:, y] = astra.data2d.get(target)[:depth, inside : inside + width]
            astra.algorithm.delete(algorithm)
            astra.data2d.delete([data, target])
        astra.projector.delete(projector)
        return volume

    return run


def with_torch(series: TiltSeries, region: Region) -> Images:
    """Reconstruct with torch-reconstruct-tomogram, from phase-flipped images: it knows no CTF."""
    torch: Any = import_module("torch")
    package: Any = import_module("torch_reconstruct_tomogram.reconstruct")
    _, angles, _ = _sections(series, region)
    n = len(angles)
    tilts = import_module("torch_tilt_series").TiltSeries(
        tilt_angles=torch.tensor(-np.degrees(angles)).float(), tilt_axis_angle=torch.zeros(n),
        sample_translations=torch.zeros(n, 2), pixel_spacing=series.pixel_size, image_path="",
    )  # fmt: skip
    images = torch.tensor(phase_flipped(series))
    package.load_tilt_series_images = lambda _: images  # in place of a file
    return np.asarray(package.reconstruct_tomogram(tilts, region.shape, 32, batch_size=4, preprocess=False))


def with_toolshed(series: TiltSeries, region: Region) -> Images:
    """Reconstruct with tomo-toolshed, which follows Warp: CTF, exposure by B-factor and cosine."""
    package: Any = import_module("tomo_toolshed.xml_reconstruct")
    optics = series.ctf
    if optics is None:
        raise ValueError("it needs a CTF")
    _, angles, _ = _sections(series, region)
    n, px = len(angles), series.pixel_size
    exposure = np.zeros(n) if series.exposure is None else series.exposure + series.own_exposure / 2
    flat = np.zeros(n, np.float32)
    model = package.TiltSeriesModel(
        angles=np.degrees(angles).astype(np.float32), dose=exposure.astype(np.float32), use_tilt=np.ones(n, bool),
        axis_angles=flat, axis_offset_x=flat, axis_offset_y=flat,
        volume_dims_A=np.array(region.shape[::-1], np.float32) * np.float32(px),
        image_dims_A=np.array(series.image_shape[::-1], np.float32) * np.float32(px),
        ctf=package.ctf.CTFParams(
            px, optics.voltage, optics.spherical_aberration, optics.amplitude_contrast
        ),
    )  # fmt: skip
    defocus = (optics.defocus_u + optics.defocus_v) / 2e4

    def weigh(model: Any, point: Any, _: Any, use_global: bool) -> Any:
        return package.warp_weighting(model, point, defocus, use_global)

    images = [np.asarray(series.images[tilt], np.float32) for tilt in range(n)]
    images = [image - image.mean() for image in images]
    options = package.ReconOptions(angpix=px, raw_angpix=px, invert=False, normalize=False)
    found = package.reconstruct(model, images, options, weighting_fn=weigh, progress=lambda _: None)
    return np.asarray(found["reconstruction"])


def with_relion_preweight(series: TiltSeries, region: Region) -> Images:
    """Give what RELION 4.0 documents of `--noctf --pre_weight`: the contrast of its own volume of a real cell, to 1 %.

    Images are low-pass filtered and subsampled, divided by the overlap of slices that counts in indices (as if the
    specimen were as thick as the image is wide), and back-projected with bilinear interpolation.
    """
    step = max(round(region.binning), 1)
    height, width = (n // step // 2 * 2 for n in series.image_shape)
    axes = series.projections[:, :3, :3]
    beams = axes[:, 2] / np.linalg.norm(axes[:, 2], axis=1, keepdims=True)
    x, y = np.fft.fftfreq(width, 1 / width), np.fft.fftfreq(height, 1 / height)[:, None]
    border = round(2 * step)
    z, rows, columns = np.meshgrid(*map(np.arange, region.shape), indexing="ij", sparse=True)
    world = [o + region.binning * i for o, i in zip(region.origin, (columns, rows, z), strict=True)]
    total, count = np.zeros(region.shape, np.float32), np.zeros(region.shape, np.float32)
    for tilt, matrix in enumerate(series.projections):
        raw = np.asarray(series.images[tilt], np.float32)
        image: NDArray[Any] = np.pad(raw - raw.mean(dtype=float), border, mode="edge")
        if step > 1:
            radius = np.hypot(np.fft.fftfreq(image.shape[0])[:, None], np.fft.fftfreq(image.shape[1]))
            part = np.clip(image.shape[1] / 10 * (radius - 0.5 / step) + 0.5, 0, 1)
            image = np.fft.ifft2(np.fft.fft2(image) * (1 + np.cos(np.pi * part)) / 2).real
        image = image[border:-border:step, border:-border:step][:height, :width]
        along = beams @ axes[tilt, :2].T
        overlap = sum(np.maximum(0, 1 - np.abs(one * x + other * y)) for one, other in along)
        image = np.fft.ifft2(np.fft.fft2(image) / overlap).real
        at_x, at_y = (sum(row[i] * world[i] for i in range(3)) + row[3] for row in matrix[:2])
        at_x, at_y = at_x / step, at_y / step
        seen = (at_x >= 0) & (at_x < width) & (at_y >= 0) & (at_y < height)
        total += np.where(seen, map_coordinates(image, [at_y, at_x], order=1, mode="nearest"), 0)
        count += seen
    return np.asarray(total / np.maximum(count, 1), np.float32)


def _ours(name: str, text: str, **options: Any) -> Method:
    return Method(name, Ours(from_text(text), options))


def _peer(name: str, run: Run, *needs: str, slow: bool = False) -> Method:
    return Method(name, lambda series, region: run, needs, slow=slow)


def _named(methods: list[Method], names: list[str]) -> list[Method]:
    """Note which profiles stand for which methods, and add those that no method is."""
    methods = list(methods)
    for name in names:
        options: dict[str, Any] = dict(profile(name))
        weighting = options.pop("weighting")
        # here: nothing is corrected for exposure and tilt unless it is asked for
        asked = {k: v for k, v in options.items() if v is not None and (k == "ctf_mode" or v != "none")}
        ours = Ours(weighting, asked)
        at = next((i for i, method in enumerate(methods) if method.prepare == ours), None)
        if at is None:
            methods.append(Method(f"profile {name}", ours))
        else:
            methods[at] = replace(methods[at], profiles=(*methods[at].profiles, name))
    return methods


#: The default first.
OURS = [
    _ours("wiener (default)", "wiener"),
    _ours("wiener, exposure grant", "wiener", exposure="grant"),
    _ours("wiener, exposure bfactor", "wiener", exposure="bfactor"),
    _ours("wiener, tilt weight cos", "wiener", tilt_weight="cos"),
    _ours("wiener, SNR 10", "wiener:snr=10"),
    _ours("wiener, SNR 100", "wiener:snr=100"),
    _ours("wiener, SNR 1000", "wiener:snr=1000"),
    _ours("wiener, CTF multiply", "wiener", ctf_mode="multiply"),
    _ours("wiener, CTF phase-flip", "wiener", ctf_mode="phase-flip"),
    _ours("wiener, CTF first-peak", "wiener", ctf_mode="first-peak"),
    _ours("wiener, CTF none", "wiener", ctf_mode="none"),
    _ours("wiener, CTF absolute", "wiener", ctf_mode="absolute"),
    _ours("pre-weight", "preweight"),
    _ours("pre-weight, SNR 10", "preweight:snr=10"),
    _ours("pre-weight, CTF phase-flip", "preweight", ctf_mode="phase-flip"),
    _ours("exact", "exact"),
    _ours("exact, CTF phase-flip", "exact:snr=inf", ctf_mode="phase-flip"),
    _ours("ramp", "ramp"),
    _ours("ramp, CTF phase-flip", "ramp:snr=inf", ctf_mode="phase-flip"),
    _ours("sirtlike 10", "sirtlike:n_iterations=10"),
    _ours("sirtlike 10, CTF phase-flip", "sirtlike:n_iterations=10", ctf_mode="phase-flip"),
    _ours("sirtlike 30, CTF phase-flip", "sirtlike:n_iterations=30", ctf_mode="phase-flip"),
    _ours("cg 20", "cg:20"),
    _ours("sirt 30", "sirt:30"),
    _ours("tv 0.03", "tv:0.03"),
    _ours("none, CTF multiply", "none"),
    _ours("none, CTF phase-flip", "none", ctf_mode="phase-flip"),
]
METHODS = [
    *_named(OURS, [name if name != "imod-sirtlike" else f"{name}:15" for name in PROFILES]),
    _peer("torch-reconstruct-tomogram", with_torch, "torch_reconstruct_tomogram", slow=True),
    _peer("tomo-toolshed (Warp)", with_toolshed, "tomo_toolshed.xml_reconstruct", slow=True),
    _peer("RELION 4 pre-weight, as documented", with_relion_preweight, slow=True),
    _peer("scikit-image iradon (WBP)", with_iradon, "skimage"),
    _peer("ASTRA FBP", with_astra("FBP", 1), "astra"),
    _peer(f"ASTRA SIRT, {SIRT}", with_astra("SIRT", SIRT), "astra", slow=True),
    _peer(f"ASTRA CGLS, {CGLS}", with_astra("CGLS", CGLS), "astra", slow=True),
]
#: What users have as well and is not run: it says why.
LEFT_OUT = {
    "warpylib": "its reconstruction needs torch-projectors, whose library for the CPU fits none of the builds of torch "
    "that could be installed; its weights are compared in `tests/tomogram/test_profiles.py`",
    "torch-tomogram": "the same method as torch-reconstruct-tomogram, by the same group; see `peers.py`",
}
