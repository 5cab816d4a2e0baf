"""The transfer function of a tomogram against the reconstruction of a specimen that is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fourierrecon import Region, Settings, TiltSeries, read_tilt_series, reconstruct
from fourierrecon.io import read_mrc_volume
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.tomogram.transfer_volume import transfer_function
from fourierrecon.transfer import Correction, Transfer
from fourierrecon.weighting import from_text
from tests.helpers.reference import Geometry

Run = Callable[..., tuple[int, str, str]]
TILTS = tuple(np.linspace(-60.0, 60.0, 13))
SIDE, DEPTH = 48, 32
IMAGE = (112, 108)


def specimen() -> Gaussians:
    rng = np.random.default_rng(0)
    middle = np.array([SIDE / 2, SIDE / 2, DEPTH / 2])
    return Gaussians(middle + rng.uniform(-4, 4, (12, 3)), np.full(12, 0.8), rng.uniform(0.5, 1, 12))


def imaged(correction: Correction, axis: float = 3.0) -> TiltSeries:
    """The specimen as a microscope shows it: with CTF, and with the damage and the weights that are corrected for."""
    geometry = Geometry(TILTS, IMAGE, axis, centre=(SIDE / 2, SIDE / 2, DEPTH / 2))
    series = geometry.series(
        specimen().project(geometry.matrices, IMAGE), pixel_size=10.0,
        ctf=realistic_ctf(13, 0, defocus=15000.0), exposure=np.abs(TILTS),
        size=(float(SIDE), float(SIDE), float(DEPTH)),
    )  # fmt: skip
    acts = Transfer.of(series, dataclasses.replace(correction, ctf_mode="wiener"))
    fy, fx = np.fft.fftfreq(IMAGE[0], 10.0)[:, None], np.fft.rfftfreq(IMAGE[1], 10.0)
    images = [
        np.fft.irfft2(np.fft.rfft2(series.images[tilt]) * acts.evaluate(tilt, fx, fy), IMAGE) for tilt in range(13)
    ]
    return dataclasses.replace(series, images=np.array(images, np.float32))


@pytest.mark.parametrize(
    ("weighting", "options"),
    [
        ("wiener:snr=10", {}),
        ("wiener:snr=100", {"exposure": "grant", "tilt_weight": "cos"}),
        ("wiener:snr=inf", {"ctf_mode": "absolute", "exposure": "bfactor", "tilt_weight": "cos"}),
        ("wiener:snr=10", {"ctf_mode": "multiply"}),
        ("preweight:snr=10", {}),
        ("exact:snr=30", {}),
        ("ramp", {"ctf_mode": "phase-flip"}),
        ("sirtlike", {"ctf_mode": "none"}),
        ("none", {"ctf_mode": "multiply"}),
    ],
    ids=str,
)
def test_the_specimen_times_its_transfer_function_is_the_tomogram(weighting: str, options: dict[str, Any]) -> None:
    settings = Settings(**options, n_threads=1)
    series, region = imaged(settings.correction), Region((0.0, 0.0, 0.0), (DEPTH, SIDE, SIDE))
    volume = reconstruct(series, region, weighting, keep_mean=True, n_threads=1, **options).data
    found = transfer_function(series, region, from_text(weighting), settings, side=SIDE)
    truth = np.zeros((SIDE, SIDE, SIDE))
    first = (SIDE - DEPTH) // 2
    truth[first : first + DEPTH] = specimen().density(region)
    expected = np.fft.ifftn(np.fft.fftn(truth) * np.fft.ifftshift(found)).real[first : first + DEPTH]
    # streaks that leave the slab are cut off: compared is what lies nearer to the middle than those that begin there
    inner = (slice(DEPTH // 2 - 7, DEPTH // 2 + 8), slice(9, 40), slice(9, 40))
    error = np.linalg.norm((volume - expected)[inner]) / np.linalg.norm(volume[inner])
    assert error < (0.08 if weighting == "none" else 0.05)


@pytest.mark.parametrize("binning", [1.0, 2.0])
def test_of_one_image_it_is_that_of_the_image(binning: float) -> None:
    """Untilted, the plane across the beam is ``T T / (T² + 1/SNR)``, whatever the binning."""
    whole = imaged(Correction(), axis=0.0)
    series = whole.select([6])
    region = Region((0.0, 0.0, 0.0), (DEPTH, SIDE, SIDE), binning)
    settings = Settings(n_threads=1, exposure="grant")
    found = transfer_function(series, region, from_text("wiener:snr=20"), settings, side=SIDE)
    q = (np.arange(SIDE) - SIDE // 2) / SIDE / (10 * binning)
    squared = Transfer.of(series, settings.correction).evaluate(0, q[None, :], q[:, None]) ** 2
    inside = np.hypot(q[None, :], q[:, None]) < 0.4 / (10 * binning)
    np.testing.assert_allclose(found[SIDE // 2][inside], (squared / (squared + 0.05))[inside], atol=0.03)


def test_the_missing_wedge_is_empty() -> None:
    settings = Settings(n_threads=1)
    series, region = imaged(settings.correction), Region((0.0, 0.0, 0.0), (DEPTH, SIDE, SIDE))
    found = transfer_function(series, region, from_text("wiener:snr=100"), settings, side=SIDE)
    z, x = np.indices((SIDE, SIDE)) - SIDE // 2
    in_wedge = (np.degrees(np.arctan2(np.abs(z), np.abs(x))) > 72) & (np.hypot(z, x) > 8)
    outside = (np.degrees(np.arctan2(np.abs(z), np.abs(x))) < 50) & (np.hypot(z, x) > 8) & (np.hypot(z, x) < 20)
    plane = np.abs(found[:, SIDE // 2 + 4])
    assert plane[in_wedge].mean() < 0.1 * plane[outside].mean()


def test_a_single_tomogram_with_companions(run: Run, two_sets: Path) -> None:
    out = two_sets / "a.mrc"
    line = f"reconstruct --t {two_sets}/tomograms.star --tn TS_01 --noctf --bin 2 --j 1 --o {out}"
    status, text, err = run(f"{line} --companions transfer --companions wedge")
    assert (status, err) == (0, "")
    assert str(two_sets / "a_transfer.mrc") in text.replace("\n", "")
    transfer = read_mrc_volume(two_sets / "a_transfer.mrc")
    series = read_tilt_series(two_sets / "tomograms.star", "TS_01")
    assert transfer.data.shape == (96, 96, 96)
    assert transfer.voxel_size == 2 * series.pixel_size
    assert "transfer of a.mrc" in transfer.label
    assert read_mrc_volume(two_sets / "a_wedge.mrc").data.max() == 1
    status, _, err = run(f"{line} --companions denoising")
    assert status == 2
    assert "--companions denoising: for sets" in err
