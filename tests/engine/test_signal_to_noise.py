"""The signal-to-noise ratio that is measured from a tilt series, and what the default makes of it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.ctf import contrast_transfer
from fourierrecon.engine.settings import Settings
from fourierrecon.engine.signal_to_noise import estimate_snr
from fourierrecon.errors import DataError, UsageError
from fourierrecon.io import read_volume
from fourierrecon.quality.wedge import wedge_correlation, wedge_mask
from fourierrecon.reconstruction import reconstruct_many
from fourierrecon.simulation.microscope import TILT_ANGLES, realistic_ctf
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import Simulation, simulate, write_simulation
from fourierrecon.transfer import Correction
from fourierrecon.weighting import Auto, PreWeight, SnrCurve, Weighting, Wiener, from_text
from fourierrecon.weighting.snr import STATED, read_snr
from tests.engine.test_several_volumes import Collected
from tests.helpers.reference import relative_error

SIZE = (176, 160, 64)
PIXEL = 10.0


@cache
def simulated(snr: float | None, ctf: bool = True) -> Simulation:
    specimen = cell_like_specimen(SIZE, 7, pixel_size=PIXEL, beyond=60.0, n_gold=1)
    optics = realistic_ctf(len(TILT_ANGLES), 1) if ctf else None
    return simulate(specimen, SIZE, pixel_size=PIXEL, ctf=optics, snr=snr, seed=3, n_threads=2)


@cache
def truth(snr: float, ctf: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies, and the ratio there from the images without noise: powers by shells, of windows of our own."""
    clean, noisy = (simulated(s, ctf).series for s in (None, snr))
    height, width = clean.image_shape
    window = np.hanning(height)[:, None] * np.hanning(width)
    fy, fx = np.fft.fftfreq(height, PIXEL)[:, None], np.fft.rfftfreq(width, PIXEL)
    shell = (np.hypot(fx, fy) * 1500).astype(int)  # 1/1500 Å wide
    sums = np.zeros((3, shell.max() + 1))
    for tilt in range(clean.n_tilts):
        image = np.asarray(clean.images[tilt], float)
        power, noise = (
            np.abs(np.fft.rfft2(part * window)) ** 2 for part in (image - image.mean(), noisy.images[tilt] - image)
        )
        transfer = 1.0 if clean.ctf is None else contrast_transfer(clean.ctf, tilt, fx, fy)
        for total, values in zip(sums, (power, transfer**2 + 0 * power, noise), strict=True):
            total += np.bincount(shell.ravel(), values.ravel())
    n = np.bincount(shell.ravel()) * clean.n_tilts
    return (np.arange(len(n)) + 0.5) / 1500, sums[0] / sums[1] / (sums[2] / n)


@pytest.mark.parametrize(("snr", "ctf"), [(0.1, True), (0.02, True), (0.3, False)])
@pytest.mark.parametrize("frames", [False, True])
def test_the_ratio_is_that_of_the_simulation(snr: float, ctf: bool, frames: bool) -> None:
    made = simulated(snr, ctf)
    halves = {"Even": made.even, "Odd": made.odd} if frames else None
    curve = estimate_snr(made.series, halves=halves, n_threads=1)
    assert ("frames" if frames and snr > 0.02 else "tilts") in curve.origin
    frequency, expected = truth(snr, ctf)
    measured = (frequency > 1 / 600) & (frequency < min(curve.frequency[-2], 1 / 60))
    assert measured.sum() >= 6
    ratio = np.log(curve.at(frequency[measured]) / expected[measured])
    # single shells of a specimen go up and down; the curve is smooth
    assert abs(np.median(ratio)) < 0.2
    assert np.median(np.abs(ratio)) < 0.35
    # over a power of ten and more
    assert expected[measured].max() > 7 * expected[measured].min()


def test_raw_counts_and_binned_images_give_the_same() -> None:
    series = simulated(0.1).series
    images = np.stack([np.asarray(series.images[f]) for f in range(series.n_tilts)])
    expected = estimate_snr(series)
    brightness = np.cos(np.radians(series.tilt_angles))[:, None, None].astype(np.float32)
    # less exposed: signal goes with the counts, noise with their root; here it gets worse than that by little
    counted = estimate_snr(dataclasses.replace(series, images=100 * images * brightness))
    at = np.array([1 / 400, 1 / 200, 1 / 100])
    assert np.abs(np.log(counted.at(at) / expected.at(at))).max() < 0.7
    turned = estimate_snr(dataclasses.replace(series, images=-3 * images))
    np.testing.assert_allclose(turned.at(at), expected.at(at), rtol=1e-2)
    binned = estimate_snr(series, 2.0)
    assert np.abs(np.log(binned.at(at) / expected.at(at))).max() < 0.3


def test_noise_gives_the_stated_curve() -> None:
    series = simulated(0.1).series
    noise = np.random.default_rng(0).standard_normal(series.images.shape).astype(np.float32)
    curve = estimate_snr(dataclasses.replace(series, images=noise))
    assert curve is STATED
    assert float(curve.at(1 / 100)) == pytest.approx(1000 * math.exp(-2), rel=1e-3)
    # one image has no neighbour
    assert estimate_snr(series.select([3])) is STATED


def test_frames_that_disagree_are_not_taken() -> None:
    made = simulated(0.1)
    # what is the same in both halves but of no specimen: the noise of a detector
    fixed = 300 * np.random.default_rng(5).standard_normal(made.even.shape).astype(np.float32)
    curve = estimate_snr(made.series, halves={"Even": made.even + fixed, "Odd": made.odd + fixed})
    assert "neighbouring tilts (even and odd frames disagree)" in curve.origin


def test_images_that_cannot_be_used_are_named() -> None:
    series = simulated(0.1).series
    images = np.stack([np.asarray(series.images[f]) for f in range(series.n_tilts)])
    images[4, 80, 90] = np.nan
    with pytest.raises(DataError, match=r"image 5 of .* NaN"):
        estimate_snr(dataclasses.replace(series, images=images))


def test_curves() -> None:
    curve = SnrCurve((0.01, 0.02), (100.0, 25.0))
    np.testing.assert_allclose(curve.at([0.001, 0.01, 0.02, 0.04]), [100, 100, 25, 6.25])
    assert curve.times(3).at(0.02) == pytest.approx(75)
    np.testing.assert_allclose(curve.noise[[500, 1000, 2000]], [0.01, 0.04, 0.16], rtol=1e-5)
    for q, snr in (
        ((), ()),
        ((0.1, 0.1), (1, 1)),
        ((0.0, 0.1), (1, 1)),
        ((0.1,), (0.0,)),
        ((0.1, 0.2), (1.0, math.nan)),
    ):
        with pytest.raises(UsageError, match="SNR curve needs"):
            SnrCurve(tuple(map(float, q)), tuple(map(float, snr)))


def test_text() -> None:
    assert read_snr("auto") == Auto()
    assert from_text("wiener:snr=auto:3") == Wiener(Auto(3))
    assert from_text("preweight:snr=auto,thickness=500") == PreWeight(Auto(), 500)
    assert read_snr("12") == 12
    for text, message in (("auto:0", "auto:0"), ("auto:x", "auto:x"), ("car", "car"), ("-1", "above 0")):
        with pytest.raises(UsageError, match=message):
            read_snr(text)


@pytest.mark.parametrize("binning", [1.0, 2.0])
def test_the_division_is_by_the_curve_at_each_point(binning: float) -> None:
    # a curve that is the same everywhere is a number
    series = simulated(0.1).series
    region = Region((20.0, 20, 0), (16, 40, 44), binning)
    flat = SnrCurve((1e-4, 1.0), (7.0, 7.0))
    for one, other in ((Wiener(7.0), Wiener(flat)), (PreWeight(7.0), PreWeight(flat))):
        volumes = [reconstruct(series, region, strategy, n_threads=1).data for strategy in (one, other)]
        assert relative_error(volumes[1], volumes[0]) < 1e-5


def test_frequencies_are_in_cycles_per_angstrom() -> None:
    seen: list[tuple[float, float]] = []

    class Spy(Weighting):
        name = "spy"
        uses_weights = True

        def normalise(self, data: Any, weights: Any, frequency: Any = None) -> None:
            # the grid's points are those of a box that is not cubic; only where there are data it matters
            inside = weights > 0.1
            if inside.any():
                seen.append((float(frequency[inside].min()), float(frequency[inside].max())))

    region = Region((20.0, 20, 0), (20, 60, 44), 2.0)
    reconstruct(simulated(0.1).series, region, Spy(), ctf=False, n_threads=1)
    assert min(low for low, _ in seen) < 1e-9
    # the band ends at half a cycle per voxel of 20 Å, and the kernel's width
    assert 0.5 / 20 < max(high for _, high in seen) < 0.58 / 20


@pytest.mark.parametrize("strategy", [Wiener(), PreWeight()], ids=lambda s: s.name)
def test_parts_and_halves_get_the_curve_of_the_whole(strategy: Weighting) -> None:
    series = simulated(0.1).series
    region = Region((40.0, 40, 20), (12, 40, 44))
    curve = estimate_snr(series, n_threads=1)
    found = Collected()
    tilts = tuple(range(0, series.n_tilts, 2))
    reconstruct_many(
        [found.order(name, series, region, strategy, tilts=t) for name, t in (("full", None), ("half", tilts))],
        Settings(n_threads=1),
    )
    fixed = strategy.resolved(lambda: curve)
    assert relative_error(found.volumes["full"], reconstruct(series, region, fixed, n_threads=1).data) < 1e-6
    half = reconstruct(series.select(tilts), region, fixed, n_threads=1).data
    assert relative_error(found.volumes["half"], half) < 1e-5


@pytest.mark.parametrize("snr", [0.1, 0.02])
@pytest.mark.parametrize("kind", [Wiener, PreWeight])
def test_the_default_is_better_than_a_constant(snr: float, kind: Any) -> None:
    made = simulated(snr)
    region = Region.of(made.series)
    # as in the images, dense is dark
    density = -made.truth.density(region, 2)
    seen = wedge_mask(region.shape, made.series.projections)

    def correlation(strategy: Weighting) -> float:
        volume = reconstruct(made.series, region, strategy, n_threads=2).data
        return wedge_correlation(volume, density, seen, 0.25, margin=8)

    auto = correlation(kind())
    constants = [correlation(kind(value)) for value in (1.0, 10.0, 100.0)]
    assert auto > max(constants)
    assert auto > constants[1] + 0.05


def test_a_damped_series_is_measured_with_what_damps_it() -> None:
    series = simulated(0.1).series
    curve, damped = (estimate_snr(series, correction=Correction(exposure=name)) for name in ("none", "grant"))
    # the same images, of a signal that is taken to be damped: more of it must have been there
    assert damped.at(1 / 50) > curve.at(1 / 50)


def test_series_of_any_kind() -> None:
    # small, few, without optics: a curve in any case
    images = np.random.default_rng(0).standard_normal((3, 9, 11)).astype(np.float32)
    matrices = simulated(0.1).series.projections[[10, 20, 30]]
    assert isinstance(estimate_snr(TiltSeries(images, matrices, 10.0)), SnrCurve)


def test_a_set_with_halves_of_frames(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = simulated(0.1)
    monkeypatch.chdir(tmp_path)
    write_simulation("sim", made)
    line = (
        "reconstruct --t sim/tomograms.star --o out/ --bin 2 --halves frames --hot_pixels off --passport --quiet --j 2"
    )
    assert run(line)[0] == 0
    full, one, two = (
        read_volume(f"out/tomograms/rec_TS_01{part}.mrc").data.astype(float) for part in ("", "_half1", "_half2")
    )
    # sums of frames, or their means: the parts add up
    assert min(relative_error(one + two, full), relative_error((one + two) / 2, full)) < 1e-5
    passports = [
        json.loads(Path(f"out/tomograms/rec_TS_01{part}.passport.json").read_text()) for part in ("", "_half1")
    ]
    curve = passports[0]["weighting"]["snr"]
    assert curve == passports[1]["weighting"]["snr"]
    assert curve["origin"] == "measured from even and odd frames"
    assert len(curve["snr"]) == len(curve["frequency"]) > 5
    assert passports[0]["transfer"]["mode"] == "wiener"
    label = read_volume("out/tomograms/rec_TS_01.mrc").label
    assert "SNR measured from even and odd frames" in " ".join(label.split())
    # nothing to do, and nothing is measured, until an image that it was measured from changes
    assert run(line)[0] == 0
    before = Path("out/tomograms/rec_TS_01.mrc").stat().st_mtime_ns
    even = next(Path("sim").glob("*even.mrcs"))
    os.utime(even, ns=(1, 1))
    assert run(line)[0] == 1
    assert run(f"{line} --redo")[0] == 0
    assert Path("out/tomograms/rec_TS_01.mrc").stat().st_mtime_ns > before
