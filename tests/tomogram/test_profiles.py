"""Profiles: settings by name, each against its definition in float64 and against other packages."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import CtfParameters, Region, TiltSeries, profile, reconstruct, reconstruct_to_file
from fourierrecon.cli.option_groups import WeightingOptions
from fourierrecon.cli.values import choose_weighting, with_profile
from fourierrecon.engine.signal_to_noise import with_snr
from fourierrecon.errors import UsageError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.io import read_volume
from fourierrecon.io.relion.write import write_relion5_set
from fourierrecon.quality.wedge import wedge_correlation, wedge_mask
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.tilt_series.exposures import critical_exposure
from fourierrecon.tomogram.profiles import PROFILES, find
from fourierrecon.transfer import Correction, Transfer
from fourierrecon.weighting import Exact, PreWeight, Ramp, SirtLike, TiltViews, Wiener
from tests.helpers.reference import central_slice, relative_error, window

Array = NDArray[np.float64]
PIXEL = 5.0
TILTS = (-60.0, -20, 0, 20, 60)
EXPOSURE = np.array([12.0, 6, 0, 3, 9])
SHAPE = (60, 64)
INFINITE = float("inf")


def chosen(**options: Any) -> tuple[Any, WeightingOptions]:
    filled = with_profile(WeightingOptions(**options))
    return choose_weighting(filled, filled.weighting[0] if filled.weighting else None), filled


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_makes_sense(name: str) -> None:
    weighting, filled = chosen(profile=name)
    assert weighting.words
    correction = Correction.of(True, filled.ctf_mode, filled.exposure, filled.tilt_weight)
    assert correction.words(weighting.divides)


def test_what_some_profiles_are() -> None:
    assert chosen(profile="matching")[0] == Exact(INFINITE)
    assert chosen(profile="relion4")[0] == Wiener(10.0)
    assert chosen(profile="eyes")[0] == Wiener()
    assert chosen(profile="imod-ramp")[0] == Ramp(float("inf"), cutoff=0.35, sigma=0.035)
    assert chosen(profile="imod-sirtlike:15")[0] == SirtLike(15.0, cutoff=0.35, sigma=0.035)
    assert chosen(profile="imod-sirtlike")[0] == SirtLike(10.0, cutoff=0.35, sigma=0.035)
    assert chosen(profile="relion5.1-premultiply")[1].ctf_mode == "multiply"


def test_other_options_win() -> None:
    assert chosen(profile="relion4", snr=3.0)[0] == Wiener(3.0)
    assert chosen(profile="relion4", pre_weight=True)[0] == PreWeight(10.0)
    assert chosen(profile="relion4", weighting=["preweight:snr=5"])[0] == PreWeight(5.0)
    assert chosen(profile="imod-ramp", ctf_mode="multiply")[1].ctf_mode == "multiply"
    assert chosen(profile="imod-ramp", ctf=False)[1].ctf_mode is None
    filled = chosen(profile="warp", exposure="none", tilt_weight="none")[1]
    assert (filled.exposure, filled.tilt_weight) == ("none", "none")


@pytest.mark.parametrize("text", ["eye", "", "eyes:3", "imod-sirtlike:0", "imod-sirtlike:x", "imod-sirtlike:1.5"])
def test_unknown_profiles_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"available: eyes, matching|no number of iterations"):
        find(text)


# -- in Python -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*PROFILES, "imod-sirtlike:7"])
def test_in_python_a_profile_is_that_of_the_command_line(name: str) -> None:
    weighting, filled = chosen(profile=name)
    options = profile(name)
    assert options["weighting"] == weighting
    assert (options["ctf_mode"], options["exposure"], options["tilt_weight"]) == (
        filled.ctf_mode, filled.exposure, filled.tilt_weight,
    )  # fmt: skip


def test_a_profile_is_recorded(tmp_path: Any) -> None:
    reconstruct_to_file(tmp_path / "a.mrc", noise(), binning=4, **profile("warp"))
    label = " ".join(read_volume(tmp_path / "a.mrc").label.split())
    for part in ("SNR inf, CTF absolute", "exposure bfactor, tilt weight cos"):
        assert part in label


@pytest.mark.parametrize("mode", ["absolute", "phase-flip"])
def test_a_mode_is_recorded_in_header_passport_and_report(
    mode: str, run: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_relion5_set(tmp_path, noise())
    line = "reconstruct --t tomograms.star --bin 2 --SNR 10 --o a.mrc --passport --report --quiet --j 1"
    assert run(f"{line} --ctf_mode {mode}")[0] == 0
    assert f"CTF {mode}" in " ".join(read_volume("a.mrc").label.split())
    record = json.loads(Path("a.passport.json").read_text(encoding="utf-8"))
    assert record["transfer"]["mode"] == mode
    assert "pytom-match-pick: --tomogram-ctf-model phase-flip" in record["transfer"]["meaning"]
    assert f"CTF {mode}" in Path("a.html").read_text(encoding="utf-8")


# -- definitions -----------------------------------------------------------------------------------------------------


@cache
def noise() -> TiltSeries:
    images = np.random.default_rng(0).standard_normal((5, *SHAPE)) * window(SHAPE, 14, 10)
    ctf = CtfParameters.of(5, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.07, defocus_u=6000.0)
    matrices = projection_matrices(SHAPE, (32.0, 30, 10), TILTS)
    return TiltSeries(images.astype(np.float32), matrices, PIXEL, ctf=ctf, exposure=EXPOSURE, size=(64.0, 60.0, 20.0))


def ctf_of(q: Array) -> Array:
    """Contrast transfer at 300 kV, 6000 Å of underfocus, Cs 2.7 mm and 7 % amplitude contrast, from the textbook."""
    wavelength = 12.2643 / np.sqrt(300e3 + 0.97845e-6 * 300e3**2)
    phase = np.pi * wavelength * 6000 * q**2 - np.pi / 2 * 2.7e7 * wavelength**3 * q**4
    return np.asarray(np.sin(phase + np.arcsin(0.07)))


def assumed(q: Array) -> Array:
    """Inverse of the ratio that is assumed where a single image leaves nothing to be measured."""
    return np.asarray(np.exp(200 * q) / 1000)


#: What becomes of an image whose slice no other comes near, by CTF and spatial frequency (1/Å). Damage and weights of
#: steep images are in the images, too, and cancel in Warp's quotient.
ALONE: dict[str, Callable[[Array, Array], Array]] = {
    "eyes": lambda c, q: c / (c * c + assumed(q)),
    "segmentation": lambda c, q: c / (c * c + assumed(q)),
    "matching": lambda c, q: np.sign(c),
    "averaging": lambda c, q: np.sign(c) / 1.01,
    "denoising": lambda c, q: np.sign(c) / 1.01,
    "relion4": lambda c, q: c / (c * c + 0.1),
    "relion5-fourier": lambda c, q: c / (c * c + assumed(q)),
    "relion5.1-premultiply": lambda c, q: c,
    "warp": lambda c, q: np.sign(c),
}


@pytest.mark.parametrize("tilt", [pytest.param(1, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize("name", ALONE)
def test_a_lonely_slice_is_filtered_as_the_profile_says(name: str, tilt: int) -> None:
    """By an exact sum over voxels, to 8 % of the norm: slices fade into each other where the region ends."""
    matrix = projection_matrices(SHAPE, (32.0, 30, 10), [TILTS[tilt]])
    one = dataclasses.replace(noise().select([tilt]), projections=matrix, size=None)
    region = Region((-16.0, -16.0, 0.0), (20, 92, 96))
    volume = reconstruct(one, region, keep_mean=True, n_threads=1, **profile(name)).data
    q = np.hypot(np.fft.fftfreq(SHAPE[0], PIXEL)[:, None], np.fft.rfftfreq(SHAPE[1], PIXEL))
    band = q * PIXEL < 0.4
    expected = np.fft.rfft2(np.asarray(one.images[0], float)) * ALONE[name](ctf_of(q), q)
    found = central_slice(volume, region, matrix[0], SHAPE)
    assert np.linalg.norm((found - expected)[band]) < 0.08 * np.linalg.norm(expected[band])


def ramp(tilt: int, q: Array) -> tuple[Array, float]:
    """Distance from the tilt axis times the step, and its least, for the tilts of this file in 20 voxels of depth."""
    steps = np.radians([40.0, 30, 20, 30, 40])
    least = steps[tilt] / steps.sum() * np.cos(np.radians(TILTS[tilt])) / 20
    return np.maximum(steps[tilt] * q, least), least


def fall(d: Array) -> Array:
    return np.exp(-(np.maximum(d - 0.35, 0) ** 2) / (2 * 0.035**2))


def sirtlike(tilt: int, d: Array) -> Array:
    """Steps from an empty volume, one after the other."""
    factor, least = ramp(tilt, d)
    reached = np.zeros_like(d)
    for _ in range(15):
        reached += least / factor * (1 - reached)
    return factor * reached * fall(d)


FILTERS: dict[str, Callable[[int, Array], Array]] = {
    "imod-ramp": lambda tilt, d: ramp(tilt, d)[0] * fall(d),
    "imod-sirtlike:15": sirtlike,
    # AreTomo: 2 f (0.55 + 0.45 cos 2 pi f), here with the step of the tilts in place of the factor
    "aretomo-wbp": lambda tilt, d: ramp(tilt, d)[0] * (0.55 + 0.45 * np.cos(2 * np.pi * d)),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters_of_weighted_back_projection(name: str) -> None:
    """To 1e-4; what becomes of the filtered images is in the tests of the weightings."""
    options, series = profile(name), noise()
    correction = Correction(options["ctf_mode"], options["exposure"], options["tilt_weight"])
    transfer = Transfer.of(series, correction)
    views = TiltViews(series.projections[:, :2, :3], 20.0, PIXEL, transfer.ctf, transfer)
    d = np.linspace(0, 0.5, 33)
    for tilt in range(5):
        found = options["weighting"].image_filter(tilt, d.astype(np.float32)[None], np.zeros((1, 1), np.float32), views)
        np.testing.assert_allclose(found[0], FILTERS[name](tilt, d), rtol=1e-4, atol=1e-7)
        data = transfer.evaluate(tilt, d / PIXEL, 0.0)
        expected = np.ones(33) if name == "aretomo-wbp" else np.sign(ctf_of(d / PIXEL))
        np.testing.assert_allclose(data, expected, atol=1e-12)


def test_every_profile_is_validated() -> None:
    assert {*ALONE, *(name.partition(":")[0] for name in FILTERS)} == set(PROFILES)


# -- halves ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROFILES)
def test_the_mean_of_halves_of_frames_is_the_full_map(name: str) -> None:
    series, options = noise(), profile(name)
    images = np.asarray(series.images)
    rest = np.asarray(np.random.default_rng(3).standard_normal(images.shape), np.float32)
    correction = Correction(options["ctf_mode"], options["exposure"], options["tilt_weight"])
    options["weighting"] = with_snr(options["weighting"], series, 1.0, correction=correction)
    region = Region((12.0, 10, 0), (20, 40, 40))
    full, even, odd = (
        reconstruct(dataclasses.replace(series, images=each), region, n_threads=1, **options).data
        for each in (images, images + rest, images - rest)
    )
    assert relative_error((even + odd) / 2, full) < 1e-5


# -- other packages --------------------------------------------------------------------------------------------------


def test_the_exposure_filter_is_that_of_torch_fourier_filter() -> None:
    """To 1e-4 with the constants of the paper; its defaults round them, which makes 2e-4 after 60 e⁻/Å²."""
    q = np.array([1 / 40, 1 / 20, 1 / 10, 1 / 5, 1 / 3])
    found = np.exp(-60 / (2 * critical_exposure(q)))
    # torch-fourier-filter 0.6.0, critical_exposure(q, a=0.24499, b=-1.6649, c=2.8141) and its defaults
    exact = [0.77329134276, 0.46085034324, 0.11982342503, 0.00911355120, 0.00099522060]
    rounded = [0.77336384051, 0.46092524749, 0.11980491269, 0.00909090946, 0.00098909933]
    np.testing.assert_allclose(found, exact, atol=1e-9)
    np.testing.assert_allclose(found, rounded, atol=1e-4)


def test_the_exposure_filter_is_that_of_torch_fourier_filter_as_installed() -> None:
    package: Any = pytest.importorskip(
        "torch_fourier_filter.dose_weight", reason="torch-fourier-filter is not installed"
    )
    torch: Any = pytest.importorskip("torch")
    q = np.linspace(0.002, 0.4, 200)
    critical = package.critical_exposure(torch.tensor(q), a=0.24499, b=-1.6649, c=2.8141).numpy()
    series = noise()
    transfer = Transfer.of(series, Correction("none", "grant"))
    for tilt, before in enumerate(EXPOSURE):
        np.testing.assert_allclose(transfer.evaluate(tilt, q, 0.0), np.exp(-(before + 1.5) / (2 * critical)), atol=1e-4)


#: A tilt series in Warp's terms: tilts, exposures at the middle of each image, defocus.
WARP_TILTS, WARP_DOSES, WARP_DEFOCUS = (-60.0, 0.0, 42.0), (118.5, 1.5, 61.5), (32000.0, 30000.0, 29000.0)
#: Transfer functions of these at i / 80 Å, i = 0, 2, ... 12: CTF, exposure and cosine, from warpylib 1.1.2
#: (``TiltSeries.get_ctfs_for_particles`` and ``CTF.get_2d``) at 300 kV, Cs 2.7 mm and 7 % amplitude contrast.
#: tomo-toolshed 0.1.0 (``warp_weighting`` and ``ctf_2d``) gives the same to 1e-5.
WARP = (
    (0.0349999964, 0.4482378364, -0.3547875583, -0.2517529726, 0.1269854903, -0.0376083702, 0.0153135899),
    (0.0700000003, 0.9414811730, -0.9962415695, -0.8709265590, -0.2501269281, -0.6360832453, -0.7033014297),
    (0.0520201363, 0.6641550064, -0.6290774941, -0.3484508097, -0.3084368110, 0.0723386332, 0.1016148776),
)


@cache
def warp_series() -> TiltSeries:
    matrices = projection_matrices((20, 20), (10, 10, 4), WARP_TILTS)
    ctf = CtfParameters.of(
        3, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.07, defocus_u=np.array(WARP_DEFOCUS)
    )
    middle = np.array(WARP_DOSES)
    return TiltSeries(
        np.zeros((3, 20, 20), np.float32), matrices, 2.0, ctf=ctf, exposure=middle - 1.5, own_exposure=np.full(3, 3.0)
    )


def warp_transfer() -> Transfer:
    options = profile("warp")
    return Transfer.of(warp_series(), Correction(options["ctf_mode"], options["exposure"], options["tilt_weight"]))


def test_weights_of_warp_are_those_of_its_packages() -> None:
    """CTF, exposure and cosine together, to 1e-3."""
    q = np.arange(0, 14, 2) / 80
    for tilt, expected in enumerate(WARP):
        np.testing.assert_allclose(warp_transfer().evaluate(tilt, q, 0.0), expected, atol=1e-3)


@pytest.fixture
def toolshed() -> Any:
    return pytest.importorskip("tomo_toolshed.xml_reconstruct", reason="tomo-toolshed is not installed")


def test_weights_of_warp_are_those_of_tomo_toolshed_as_installed(toolshed: Any) -> None:
    model = toolshed.TiltSeriesModel(
        angles=np.array(WARP_TILTS), dose=np.array(WARP_DOSES), use_tilt=np.ones(3, bool),
        volume_dims_A=np.array([400.0, 400.0, 100.0]),
    )  # fmt: skip
    weights = toolshed.warp_weighting(model, np.array([200.0, 200.0, 50.0]), np.array(WARP_DEFOCUS) / 1e4)
    q = np.linspace(0, 0.2, 150)
    for tilt, one in enumerate(weights):
        expected = toolshed.ctf.ctf_2d(one, q, 0 * q)
        np.testing.assert_allclose(warp_transfer().evaluate(tilt, q, 0.0), expected, atol=1e-3)


def test_a_volume_of_warp_is_that_of_tomo_toolshed_as_installed(toolshed: Any) -> None:
    """It is Warp's ``ts_reconstruct`` once more, with trilinear gridding: correlated by 0.95 in what was measured."""
    tilts, shape = np.arange(-60.0, 61.0, 6.0), (32, 48, 48)
    n, region = len(tilts), Region((0.0, 0.0, 0.0), shape)
    matrices = projection_matrices((80, 80), (24.0, 24.0, 16.0), tilts)
    ctf = CtfParameters.of(n, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.07, defocus_u=20000.0)
    rng = np.random.default_rng(0)
    specimen = Gaussians(rng.uniform(10, (38, 38, 22), (200, 3)), np.full(200, 0.8), rng.uniform(0.5, 1, 200))
    images = specimen.project(matrices, (80, 80))
    images -= images.mean((1, 2), keepdims=True)
    series = TiltSeries(
        images.astype(np.float32), matrices, 10.0, ctf=ctf, exposure=np.abs(tilts), own_exposure=np.zeros(n)
    )
    angles = np.degrees(np.arctan2(-matrices[:, 0, 2], matrices[:, 0, 0]))
    flat = np.zeros(n, np.float32)
    model = toolshed.TiltSeriesModel(
        angles=angles.astype(np.float32), dose=np.abs(tilts).astype(np.float32), use_tilt=np.ones(n, bool),
        axis_angles=flat, axis_offset_x=flat, axis_offset_y=flat, volume_dims_A=np.array([480.0, 480, 320], np.float32),
        image_dims_A=np.array([800.0, 800], np.float32), ctf=toolshed.ctf.CTFParams(10.0, 300.0, 2.7, 0.07),
    )  # fmt: skip

    def weigh(model: Any, point: Any, _: Any, use_global: bool) -> Any:
        return toolshed.warp_weighting(model, point, np.full(n, 2.0), use_global)

    options = toolshed.ReconOptions(angpix=10.0, raw_angpix=10.0, invert=False, normalize=False, pad_factor=1.6)
    expected = toolshed.reconstruct(model, list(images), options, weighting_fn=weigh, progress=lambda _: None)
    found = reconstruct(series, region, n_threads=1, **profile("warp")).data
    measured = wedge_mask(shape, matrices, 32.0)
    assert wedge_correlation(found, expected["reconstruction"], measured, 0.3, margin=8) > 0.9
