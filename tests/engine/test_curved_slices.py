"""The CTF at each depth: exact against sums over single points, with every way through the engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from fourierrecon import CtfParameters, Region, TiltSeries, reconstruct
from fourierrecon.ctf import electron_wavelength, phase_coefficients
from fourierrecon.engine import task
from fourierrecon.engine.central_slices import PASS, STOP
from fourierrecon.engine.plan import Plan
from fourierrecon.engine.settings import Settings
from fourierrecon.engine.several_volumes import VolumeOrder, share
from fourierrecon.engine.storage import Storage
from fourierrecon.errors import UsageError
from fourierrecon.geometry.corrections import AlignmentCorrections
from fourierrecon.geometry.ctf_depth import FLAT, phase_error
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.reconstruction import reconstruct_many
from fourierrecon.simulation.depth import project_with_ctf
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.microscope import ctf_margin
from fourierrecon.transfer import Correction, Transfer
from fourierrecon.volume import SlabWriter
from fourierrecon.weighting import Weighting, Wiener, read_weighting

PIXEL, DEFOCUS = 2.0, 5000.0
CENTRE, SHAPE = (20.0, 18.0, 12.0), (24, 36, 40)
TILTS = np.array([-60.0, -25, 5, 35, 60])


@dataclass(frozen=True)
class Sum(Weighting):
    """The bare adjoint, for tests."""

    name: ClassVar[str] = "sum"


def ctf_of(n: int, defocus: float = DEFOCUS) -> CtfParameters:
    return CtfParameters.of(
        n, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.07, defocus_u=defocus + 100 * np.arange(n),
        defocus_v=defocus, defocus_angle=30,
    )  # fmt: skip


def series_of(hand: int | None = 1, axis: float = 85.0, x_tilt: float = 0.0, seed: int = 1) -> TiltSeries:
    rng = np.random.default_rng(seed)
    height, width = 68, 72
    matrices = projection_matrices((height, width), CENTRE, TILTS, axis, x_tilt, rng.normal(0, 1, (len(TILTS), 2)))
    y, x = np.mgrid[:height, :width]
    envelope = np.exp(-((y - height / 2) ** 2 + (x - width / 2) ** 2) / (2 * 9**2))
    # little at the end of the band, where its limit is that of the flat slice
    images = gaussian_filter(rng.normal(size=(len(TILTS), height, width)), (0, 1, 1)) * envelope
    return TiltSeries(
        images.astype(np.float32), matrices, PIXEL, ctf=ctf_of(len(TILTS)), hand=hand, rotation_centre=CENTRE
    )


def exact_adjoint(series: TiltSeries, points: NDArray[np.float64], hand: int) -> NDArray[np.float64]:
    """Sum over all images and frequencies, each point with the CTF of its own defocus."""
    assert series.ctf is not None
    side, wavelength = 160, electron_wavelength(300)
    q = np.fft.fftfreq(side)
    qx, qy = np.meshgrid(q, q)
    squared = (qx**2 + qy**2) / PIXEL**2
    total = np.zeros(len(points))
    for tilt, matrix in enumerate(series.projections):
        image = np.asarray(series.images[tilt], float)
        spectrum = np.fft.fft2(image, (side, side))
        k = qx[..., None] * matrix[0, :3] + qy[..., None] * matrix[1, :3]
        t = np.clip((STOP**2 - (k**2).sum(-1)) / (STOP**2 - PASS**2), 0, 1)
        spectrum *= t * t * (3 - 2 * t)
        xx, xy, yy, quartic, constant = phase_coefficients(series.ctf, tilt)
        chi = (xx * qx * qx + xy * qx * qy + yy * qy * qy) / PIXEL**2 + quartic * squared**2 + constant
        for i, point in enumerate(points):
            u, v, depth = matrix[:3] @ np.append(point, 1)
            values = np.sin(chi + np.pi * wavelength * squared * hand * depth * PIXEL)
            total[i] += (values * spectrum * np.exp(2j * np.pi * (qx * u + qy * v))).sum().real / side**2
    return total


@pytest.mark.parametrize(
    ("hand", "axis", "x_tilt", "origin", "error"),
    [(1, 85.0, 0.0, (0.0, 0, 0), 5e-5), (-1, 85.0, 8.0, (0.0, 0, 0), 1e-4), (-1, -5.0, 4.0, (-10.0, 5, 7), 1e-4)],
)
def test_insertion_is_the_adjoint_of_exact_images(
    hand: int, axis: float, x_tilt: float, origin: tuple[float, float, float], error: float
) -> None:
    """Tilt axes along x and y, beams that lean along it, boxes about another place: both signs of the hand."""
    series, region = series_of(hand, axis, x_tilt), Region(origin, SHAPE)
    volume = reconstruct(series, region, Sum(), ctf_mode="multiply", ctf_depth="on", precision="high", keep_mean=True)
    points = np.random.default_rng(0).integers(0, SHAPE[::-1], (25, 3))
    found = volume.data[points[:, 2], points[:, 1], points[:, 0]]
    exact, other = (exact_adjoint(series, points + np.array(origin), sign * hand) for sign in (1, -1))
    assert np.linalg.norm(found - exact) < error * np.linalg.norm(exact)
    assert np.linalg.norm(found - other) > 50 * error * np.linalg.norm(exact)


@pytest.mark.parametrize("weighting", ["none", "wiener:snr=10", "preweight:snr=10"])
def test_volumes_share_and_scratch_files_hold_both_sheets(
    weighting: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Half volumes from shared samples are those of their images alone; samples on disk give the same voxels."""
    series, region, half = series_of(x_tilt=8.0), Region((0.0, 0, 0), SHAPE), (0, 2, 4)
    made: dict[object, NDArray[np.float32]] = {}

    def order(tilts: tuple[int, ...] | None) -> VolumeOrder:
        @contextmanager
        def open_volume() -> Iterator[SlabWriter]:
            made[tilts] = np.empty(SHAPE, np.float32)
            yield lambda z, slab: made[tilts].__setitem__(z, slab)

        return VolumeOrder(
            series=series, open=open_volume, region=region, weighting=read_weighting(weighting), tilts=tilts
        )

    settings = Settings(ctf_depth="on", n_threads=1)
    reconstruct_many([order(None), order(half)], settings)
    alone = reconstruct(series.select(half), region, weighting, ctf_depth="on", n_threads=1).data
    assert np.abs(made[half] - alone).max() < 1e-5 * np.abs(alone).max()
    whole = made[None].copy()
    storage = Storage(memory=0, scratch=0, planes_on_disk=True, samples_on_disk=True, block=5, slabs=3)
    monkeypatch.setattr(task, "choose_storage", lambda *_, **__: storage)
    reconstruct_many([order(None)], replace(settings, scratch=tmp_path))
    np.testing.assert_allclose(made[None], whole, atol=1e-6 * np.abs(whole).max())


def test_both_sheets_share_samples_where_beams_do_not_lean() -> None:
    region = Region((0.0, 0, 0), SHAPE)
    settings = Settings(ctf_depth="on")
    plan = Plan.of(series_of(), region, Wiener(10.0), settings)
    assert plan.lines_per_image == 1
    assert plan.bytes_per_sample == 8  # weights are made as they are needed


@pytest.mark.parametrize("weighting", ["wiener:snr=10", "preweight:snr=10", "ramp:snr=10", "exact:snr=10", "sirtlike"])
def test_flat_where_the_bound_says_so(weighting: str) -> None:
    """Both ways agree to the bound on the phase error where that is small, and ``auto`` takes the cheaper one."""
    series, region = series_of(), Region((4.0, 2, 0), (6, 8, 8), 4.0)
    bound = phase_error(series, region)
    assert bound < FLAT
    on, off, auto = (reconstruct(series, region, weighting, ctf_depth=how).data for how in ("on", "off", "auto"))
    np.testing.assert_array_equal(auto, off)
    assert np.linalg.norm(on - off) < bound * np.linalg.norm(off)


def test_a_constant_ctf_loses_what_both_sheets_keep() -> None:
    """Exact images of a slab 30 nm deep at 1.2 Å: correlation with the truth from half of Nyquist's frequency on."""
    pixel, shape, size = 1.2, (240, 24, 240), (240.0, 24.0, 240.0)
    rng = np.random.default_rng(3)
    specimen = Gaussians(
        rng.uniform((-60, -10, 0), (300, 34, 240), (600, 3)), rng.uniform(0.7, 1, 600), rng.normal(size=600)
    )
    tilts, centre = np.linspace(-60, 60, 21), (120.0, 12.0, 120.0)
    ctf = ctf_of(21, 6000)
    matrices = projection_matrices((56, 300), centre, tilts)
    images = project_with_ctf(specimen, matrices, (56, 300), ctf, pixel, hand=-1, margin=ctf_margin(ctf, pixel))
    series = TiltSeries(images, matrices, pixel, ctf=ctf, hand=-1, size=size, rotation_centre=centre)
    region = Region((0.0, 0, 0), shape)
    truth = specimen.density(region)
    squared = sum(
        np.fft.fftfreq(n).reshape([-1 if i == axis else 1 for i in range(3)]) ** 2 for axis, n in enumerate(shape)
    )
    fine = (squared > 0.28**2) & (squared < 0.42**2)

    def correlation(hand: int, depth: str) -> float:
        made = reconstruct(replace(series, hand=hand), region, "wiener:snr=100", ctf_depth=depth).data
        one, two = (np.fft.fftn(volume)[fine] for volume in (made, truth))
        return float((one * two.conj()).real.sum() / np.linalg.norm(one) / np.linalg.norm(two))

    right, flat, wrong = correlation(-1, "on"), correlation(-1, "off"), correlation(1, "on")
    assert right > 1.2 * flat
    assert flat > 1.2 * wrong


def test_corrections_of_the_alignment_keep_the_defocus_of_each_point() -> None:
    """A flipped hand gives the mirror image, a shift along z the same specimen in another place."""
    series, region = series_of(), Region((0.0, 0, 0), (25, 36, 40))
    made = reconstruct(series, region, "wiener:snr=10", ctf_depth="on").data
    flipped = AlignmentCorrections(flip_hand=True).apply(series)
    assert flipped.hand == -1
    mirrored = reconstruct(flipped, region, "wiener:snr=10", ctf_depth="on").data
    assert np.abs(mirrored - made[::-1]).max() < 1e-3 * np.abs(made).max()
    shifted = AlignmentCorrections(z_shift=3).apply(series)
    moved = reconstruct(shifted, Region((0.0, 0, -3), (25, 36, 40)), "wiener:snr=10", ctf_depth="on").data
    assert np.abs(moved - made).max() < 1e-3 * np.abs(made).max()


def test_parts_are_weighted_as_in_the_whole() -> None:
    size = (40.0, 36.0, 24.0)
    series = replace(series_of(), size=size)
    whole = reconstruct(series, Region((0.0, 0, 0), SHAPE), "preweight:snr=10,thickness=48", ctf_depth="on").data
    part = reconstruct(series, Region((8.0, 10, 4), (10, 12, 14)), "preweight:snr=10,thickness=48", ctf_depth="on").data
    cut = whole[4:14, 10:22, 8:22]
    assert np.linalg.norm(part - cut) < 0.01 * np.linalg.norm(cut)


def test_what_weights_hold_is_the_mean_over_the_specimen() -> None:
    """The closed form against a mean over points of the box; compiled tables against both."""
    region = Region((-900.0, -700, -300), (600, 1400, 1800))
    series = series_of(-1, x_tilt=4.0)
    transfer = Transfer.of(series, Correction(ctf_depth="on"), region=region)
    assert transfer.depth is not None
    fx, fy = np.linspace(0, 0.24, 40), np.linspace(-0.1, 0.08, 40)
    points = np.stack(
        np.meshgrid(
            *((np.arange(n) + 0.5) / n * side for n, side in zip((60, 50, 30), region.shape[::-1], strict=True))
        ),
        axis=-1,
    ).reshape(-1, 3) + (np.asarray(region.origin) - 0.5)
    assert series.ctf is not None
    for tilt in (0, 3):
        xx, xy, yy, quartic, constant = phase_coefficients(series.ctf, tilt)
        squared = fx**2 + fy**2
        chi = xx * fx * fx + xy * fx * fy + yy * fy * fy + quartic * squared**2 + constant
        depths = (points @ series.projections[tilt, 2, :3] + series.projections[tilt, 2, 3]) * PIXEL
        waves = np.sin(chi - np.pi * electron_wavelength(300) * squared * depths[:, None])
        np.testing.assert_allclose(transfer.weight(tilt, fx, fy), (waves**2).mean(0), atol=2e-3)


def test_modes_that_know_no_depth() -> None:
    series, region = series_of(), Region((0.0, 0, 0), SHAPE)
    with pytest.raises(UsageError, match='needs ctf_mode="wiener" or ctf_mode="multiply": a phase'):
        reconstruct(series, region, "wiener:snr=10", ctf_mode="phase-flip", ctf_depth="on")
    volume = reconstruct(series, region, "wiener:snr=10", ctf_mode="phase-flip")
    assert "phase-flip, one CTF for each image" in volume.label
    on = reconstruct(series, region, "wiener:snr=10", ctf_depth="on")
    assert "CTF wiener at each depth" in on.label


def test_a_hand_that_is_only_assumed_switches_nothing_on() -> None:
    region = Region((-900.0, -700, -300), (600, 1400, 1800))
    unknown = series_of(None)
    flipped = AlignmentCorrections(flip_hand=True).apply(unknown)
    for series, used in ((unknown, -1), (flipped, 1)):
        auto = Transfer.of(series, Correction(), region=region)
        assert auto.depth is None
        assert "the source does not give the hand" in auto.depth_words
        asked = Transfer.of(series, Correction(ctf_depth="on"), region=region)
        assert asked.depth is not None
        assert asked.depth.hand == used
        given = Transfer.of(series, Correction(defocus_hand=-used), region=region)
        assert given.depth is not None
        assert given.depth.hand == -used


def test_half_volumes_take_what_the_whole_takes() -> None:
    """Without the steep tilts one CTF would do; with the others it does not."""
    series = series_of()
    flat = series.select([2])
    region = Region((-60.0, -60, -8), (40, 140, 160))
    assert phase_error(flat, region) < FLAT < phase_error(series, region)
    order = VolumeOrder(
        series=series,
        open=lambda: nullcontext(lambda z, slab: None),
        region=region,
        weighting=read_weighting("preweight:snr=1"),
    )
    groups = share([order, replace(order, tilts=(2,))], Settings())
    assert all(group.task.plan.curved is not None for group in groups)
