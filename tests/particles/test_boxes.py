"""Boxes at picks: RELION's terms as float64 sums, places to a fraction of a voxel, the depth of each box, averages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fourierrecon import Settings, TiltSeries
from fourierrecon.ctf import contrast_transfer
from fourierrecon.errors import UsageError
from fourierrecon.geometry.displacement import DisplacementField
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.geometry.region import Region
from fourierrecon.particles import BoxMaker
from fourierrecon.particles.warp_boxes import normalised, warp_box
from fourierrecon.quality import shell_correlation
from fourierrecon.simulation.depth import project_with_ctf
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.simulation.simulate import simulate

Array = NDArray[Any]
SIZE = (80, 72, 40)
POINT = np.array([38.3, 40.1, 21.7])


def series_of(snr: float | None = None, points: int = 40, n_tilts: int = 11, *, ctf: bool = True) -> TiltSeries:
    rng = np.random.default_rng(3)
    specimen = Gaussians(rng.uniform(6, np.array(SIZE) - 6, (points, 3)), np.asarray(1.5), rng.uniform(0.5, 1, points))
    angles = np.linspace(-60, 60, n_tilts)
    optics = realistic_ctf(n_tilts, seed=1, defocus=30000.0)
    return simulate(specimen, SIZE, ctf=optics if ctf else None, tilt_angles=list(angles), snr=snr).series


Function = Callable[[int, Array], Array]


def terms_in_float64(
    series: TiltSeries, point: NDArray[np.float64], size: int, signal: Function, *powers: Function
) -> list[Array]:
    """Sum up data, weights and multiplicity by their formulas, voxel by voxel, from explicit Fourier sums.

    ``signal`` and ``powers`` are functions of a tilt and its CTF: what spectra are multiplied with, and what is summed.
    """
    data, *weights, counts = np.zeros((size,) * 3, complex), *np.zeros((len(powers) + 1, *(size,) * 3))
    axis = np.fft.fftfreq(size) * size
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    k = np.stack([x, y, z])
    inside = (k**2).sum(0) < (size // 2) ** 2
    for tilt in range(series.n_tilts):
        m = series.projections[tilt, :2, :3]
        pixel = m @ point + series.projections[tilt, :2, 3]
        corner = np.rint(pixel).astype(int) - size // 2
        image = np.asarray(series.images[tilt], float)
        cut = (image - image.mean())[corner[1] : corner[1] + size, corner[0] : corner[0] + size]
        place_y, place_x = (corner[i] + np.arange(size) - pixel[i] for i in (1, 0))
        # frequencies along each axis, -size/2 to size/2, as an explicit sum
        f = np.arange(-size // 2, size // 2 + 1)
        spectrum = (
            np.exp(-2j * np.pi * np.outer(f, place_y) / size) @ cut @ np.exp(-2j * np.pi * np.outer(place_x, f) / size)
        )
        assert series.ctf is not None
        t = contrast_transfer(
            series.ctf, tilt, f[None, :] / size / series.pixel_size, f[:, None] / size / series.pixel_size
        )
        u, v = np.einsum("ij,jzyx->izyx", np.linalg.solve(m @ m.T, m), k)
        normal = np.cross(*m)
        share = np.maximum(0, 1 - np.abs(np.einsum("j,jzyx->zyx", normal / np.linalg.norm(normal), k)))
        u0, v0 = np.floor(u).astype(int), np.floor(v).astype(int)
        fits = inside & (np.abs(u) < size // 2) & (np.abs(v) < size // 2 - 1)
        share = np.where(fits, share, 0)
        for i in (0, 1):
            for j in (0, 1):
                weight = share * np.abs(1 - j - (u - u0)) * np.abs(1 - i - (v - v0))
                row, column = np.clip(v0 + i + size // 2, 0, size), np.clip(u0 + j + size // 2, 0, size)
                data += weight * (signal(tilt, t) * spectrum)[row, column]
                for total, power in zip(weights, powers, strict=True):
                    total += weight * power(tilt, t)[row, column]
        counts += share
    return [data, *weights, counts]


def test_terms_are_those_of_the_formulas() -> None:
    series, size = series_of(), 24
    maker = BoxMaker(series=series, box=size, window=size, settings=Settings(ctf_depth="off", n_threads=1))
    made = maker.make(POINT)
    assert made.seen.all()
    terms = terms_in_float64(series, POINT, size, lambda _, t: t, lambda _, t: t**2)
    for found, expected in zip((made.data, made.weights, made.counts), terms, strict=True):
        half = expected[:, :, : size // 2 + 1]
        # the plane of the highest frequency along x has no partner
        np.testing.assert_allclose(found[:, :, :-1], half[:, :, :-1], atol=1e-3 * np.abs(half).max())
        assert np.abs(found - half)[:, :, :-1].max() < 1e-4 * np.abs(half).max()


def test_weights_of_a_smaller_box_are_those_of_its_inverse_transform() -> None:
    maker = BoxMaker(series=series_of(), box=16, window=24, settings=Settings(ctf_depth="off", n_threads=1))
    for point in (POINT, POINT + 5, POINT - [0, 30, 0]):  # the last lies in fewer images
        for turn in (None, Rotation.from_euler("z", 40, degrees=True).as_matrix()):
            terms = maker.make(point, turn)
            expected = []
            for term in (terms.weights, terms.counts):
                whole = np.roll(np.fft.irfftn(term.astype(float), (24,) * 3, (0, 1, 2)), 8, axis=(0, 1, 2))
                expected.append(np.fft.rfftn(np.roll(whole[:16, :16, :16], -8, axis=(0, 1, 2))).real)
            np.testing.assert_allclose(maker.cropped_weights(terms), np.concatenate(expected), atol=1e-4)


def test_boxes_of_warp_are_those_of_its_formulas() -> None:
    size = 24
    series = replace(series_of(), exposure=3.0 * np.arange(11.0), own_exposure=np.zeros(11))
    settings = Settings(ctf_depth="off", exposure="bfactor", tilt_weight="cos", n_threads=1)
    volume, ctf = warp_box(BoxMaker(series=series, box=size, window=size, settings=settings), POINT)
    frequency = np.arange(-size // 2, size // 2 + 1) / size / series.pixel_size
    squared = frequency[:, None] ** 2 + frequency**2

    def weighted(tilt: int, t: Array) -> Array:
        # cosine of the tilt, and 4 Å² per e⁻/Å²
        return np.asarray(t * np.cos(np.radians(series.tilt_angles[tilt])) * np.exp(-4 * 3 * tilt * squared / 4))

    data, product, alone, counts = terms_in_float64(
        series, POINT, size, weighted, lambda f, t: weighted(f, t) * t, lambda _, t: np.abs(t)
    )
    share = np.minimum(counts, 1) / np.maximum(alone, 1e-6)
    # the highest frequency along an axis has no partner, and inside a sphere below it nothing is there
    expected = np.roll(np.fft.ifftn(data * share).real, size // 2, axis=(0, 1, 2))
    assert np.abs(volume - expected).max() < 1e-3 * np.abs(expected).max()
    half = (product * share)[:, :, : size // 2 + 1]
    assert ctf.shape == (size, size, size // 2 + 1)
    assert np.abs(ctf - half)[:, :, :-1].max() < 1e-3
    assert ctf.max() > 0.9
    # the volume has the CTF, and no more of it: the same specimen without one gives it times the other
    plain, _ = warp_box(
        BoxMaker(series=series_of(ctf=False), box=size, window=size, settings=Settings(ctf=False, n_threads=1)), POINT
    )
    flipped = np.fft.irfftn(np.fft.rfftn(np.roll(plain, -size // 2, axis=(0, 1, 2))) * ctf, (size,) * 3, (0, 1, 2))
    assert np.corrcoef(np.roll(flipped, size // 2, axis=(0, 1, 2)).ravel(), volume.ravel())[0, 1] > 0.9


def test_a_volume_is_normalised_outside_of_the_particle() -> None:
    rng = np.random.default_rng(0)
    volume = rng.normal(3, 5, (16, 16, 16)).astype(np.float32)
    volume[8, 8, 8] += 1e4
    made = normalised(volume, 6.0)
    z, y, x = np.indices(volume.shape) - 8
    outside = made[x * x + y * y + z * z > 36]
    assert abs(outside.mean()) < 1e-5
    assert outside.std() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(np.corrcoef(made.ravel(), volume.ravel())[0, 1], 1, rtol=1e-5)


def test_a_box_follows_the_local_alignment() -> None:
    # the alignment leaves 1.5 px of x in every image: boxes with it are those of a point that lies there without it
    series = series_of(n_tilts=3).select([1])

    class Shifted(DisplacementField):
        words = "a shift"

        def at(self, tilt: int, points: Array) -> Array:
            return np.tile([1.5, 0.0], (len(points), 1))

    local = replace(series, local=Shifted())
    settings = Settings(ctf_depth="off", n_threads=1)
    shift = np.array([*np.linalg.solve(series.projections[0, :2, :2], [1.5, 0]), 0])
    expected = BoxMaker(series=series, box=16, settings=settings).make(POINT + shift).data
    found = BoxMaker(series=local, box=16, settings=settings).make(POINT).data
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    off = BoxMaker(series=local, box=16, settings=replace(settings, local=False)).make(POINT).data
    assert np.abs(off - BoxMaker(series=series, box=16, settings=settings).make(POINT).data).max() == 0


def test_each_box_has_the_defocus_of_its_depth() -> None:
    # one image at 0°: the depth is z, from the rotation centre
    series = replace(series_of(n_tilts=3), hand=-1)
    middle = series.select([1])
    maker = BoxMaker(series=middle, box=16, settings=Settings(n_threads=1))
    flat = BoxMaker(series=middle, box=16, settings=Settings(ctf_depth="off", n_threads=1))
    centre = Region.of(middle).centre
    deep = centre + np.array([0, 0, 1000.0])
    np.testing.assert_allclose(maker.transfers(0, centre), flat.transfers(0, centre), atol=0.1)
    f = np.fft.fftfreq(32)[:, None] / middle.pixel_size, np.fft.rfftfreq(32) / middle.pixel_size
    assert middle.ctf is not None
    shifted = [d + middle.hand * 1000 * middle.pixel_size for d in (middle.ctf.defocus_u, middle.ctf.defocus_v)]  # type: ignore[operator]
    expected = contrast_transfer(replace(middle.ctf, defocus_u=shifted[0], defocus_v=shifted[1]), 0, f[1], f[0])
    offset = maker.transfers(0, deep) - expected
    # the rotation centre is the middle of the tomogram to half a voxel; 1 µm beyond, the phase is off by up to 1.5 rad
    assert np.abs(offset).max() < 0.01
    assert np.abs(flat.transfers(0, deep) - expected).max() > 0.5


@pytest.mark.parametrize("hand", [1, -1])
def test_a_bead_far_off_is_sharp_with_the_ctf_of_its_depth_only(hand: int) -> None:
    """Against images whose points have the CTF of their own depth, made without the engine."""
    tilts, centre = np.arange(-60, 61, 6.0), (40.0, 40, 20)
    matrices = projection_matrices((80, 80), centre, tilts, 4.0)
    matrices[:, 2, 3] += 500  # 1000 Å beyond the point that the defocus belongs to
    optics = realistic_ctf(len(tilts), defocus=10000.0)
    bead = Gaussians(np.array([centre]), np.asarray(1.0), np.ones(1))
    images = -project_with_ctf(bead, matrices, (80, 80), optics, 2.0, hand=hand, margin=48)
    size = (80.0, 80.0, 40.0)
    series = TiltSeries(images, matrices, 2.0, ctf=optics, hand=hand, rotation_centre=centre, size=size)

    def peak(**options: Any) -> float:
        maker = BoxMaker(series=series, box=24, settings=Settings(n_threads=1, **options))
        volume = maker.make(np.array(centre)).volume(24)
        return float(-volume[12, 12, 12] / np.linalg.norm(volume))

    sharp, flat, wrong = peak(), peak(ctf_depth="off"), peak(defocus_hand=-hand)
    assert sharp > 1.3 * flat
    assert flat > 1.1 * wrong


@pytest.mark.parametrize("binning", [1, 2])
def test_a_bead_lies_in_the_middle_of_its_box(binning: int) -> None:
    bead = np.array([41.0, 35.0, 19.0])
    specimen = Gaussians(bead[None], np.asarray(2.0 * binning), np.ones(1))
    made = simulate(specimen, SIZE, snr=None, tilt_angles=range(-60, 61, 4))
    maker = BoxMaker(series=made.series, box=16, binning=binning, settings=Settings(ctf=False, n_threads=2))
    world = Region.of(made.series).origin + bead
    for shift in (np.zeros(3), np.array([0.4, -0.3, 0.5])):
        volume = maker.make(world + binning * shift).volume(16, snr=100.0)
        dark = np.clip(volume * np.sign(volume[8, 8, 8]), 0, None) ** 2
        z, y, x = (np.arange(16) @ dark.sum(tuple(i for i in range(3) if i != axis)) / dark.sum() for axis in range(3))
        np.testing.assert_allclose([x, y, z], 8 - shift, atol=0.12)


def test_the_average_of_particles_is_the_particle() -> None:
    rng = np.random.default_rng(5)
    size, box, n = (160, 160, 60), 24, 24
    shape = Gaussians(rng.uniform(-6, 6, (12, 3)), np.asarray(0.9), rng.uniform(0.5, 1, 12))
    turns = Rotation.random(n, rng).as_matrix()
    # on a grid, none near another
    places = np.stack(np.meshgrid([28, 54, 80, 106, 132], [28, 54, 80, 106, 132], [30]), -1).reshape(-1, 3)[:n]
    places = places + rng.uniform(-0.5, 0.5, places.shape)
    specimen = Gaussians.join(
        [
            Gaussians(place + shape.centres @ turn.T, shape.sigmas, shape.weights)
            for place, turn in zip(places, turns, strict=True)
        ]
    )
    series = simulate(
        specimen, size, snr=None, ctf=realistic_ctf(21, seed=2, defocus=25000.0), tilt_angles=range(-60, 61, 6)
    ).series
    maker = BoxMaker(series=series, box=box, settings=Settings(ctf_depth="off", n_threads=2))
    made = [maker.make(Region.of(series).origin + p, turn) for p, turn in zip(places, turns, strict=True)]
    total = made[0]
    data, weights = np.sum([m.data for m in made], 0), np.sum([m.weights for m in made], 0)
    average = replace(total, data=data, weights=weights).volume(box, snr=1e4)
    grid = np.stack(np.meshgrid(*3 * [np.arange(box) - box // 2], indexing="ij")[::-1], -1)
    apart = ((grid[..., None, :] - shape.centres) ** 2).sum(-1)
    truth = (shape.weights * np.exp(-apart / (2 * shape.sigmas**2))).sum(-1)
    sign = np.sign((average * truth).sum())
    curve = shell_correlation(sign * average, truth, 1.0)
    assert curve.resolution(0.143) < 2 / 0.9


def test_what_makes_no_sense_is_refused() -> None:
    series = series_of(n_tilts=3)
    for wrong, words in (
        ({"box": 15}, "even"),
        ({"box": 16, "window": 12}, "at least"),
        ({"box": 16, "binning": 1.5}, "whole"),
    ):
        with pytest.raises(UsageError, match=words):
            BoxMaker(series=series, **wrong)
