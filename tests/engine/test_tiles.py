"""Local alignment in tiles: the specimen comes back, tiles leave no seams, and memory is kept."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import Region, TiltSeries, reconstruct, reconstruct_to
from fourierrecon.engine import tiling
from fourierrecon.engine.settings import Settings
from fourierrecon.engine.several_volumes import VolumeOrder
from fourierrecon.errors import UsageError
from fourierrecon.geometry import tiles
from fourierrecon.geometry.displacement import FieldOf, SampledField
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.geometry.tiles import Tiling
from fourierrecon.quality import shell_correlation
from fourierrecon.reconstruction import reconstruct_many
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.tilt_series import CtfParameters
from fourierrecon.weighting import NoWeighting

Array = NDArray[np.float64]
SIZE = (96, 88, 32)
TILTS = np.arange(-60.0, 61.0, 6.0)
CENTRE = np.array([48.0, 44.0, 16.0])


def smooth(corner: float) -> FieldOf:
    """A field quadratic in x and y and linear in z, smooth over the tilts; ``corner`` px rms at the corners."""
    rng, n = np.random.default_rng(0), len(TILTS)
    course = np.stack([np.ones(n), TILTS / 60, (TILTS / 60) ** 2])
    terms = np.einsum("cmp,pn->ncm", rng.normal(size=(2, 7, 3)), course) * [1, 1, 1, 1, 1, 0.3, 0.3]

    def at(tilt: int, points: Array) -> Array:
        x, y, z = ((points - CENTRE) / CENTRE).T
        return np.asarray((terms[tilt] @ np.stack([x * x, x * y, y * y, x, y, z * x, z * y])).T)

    corners = np.array(np.meshgrid(*([0.0, n] for n in SIZE))).reshape(3, -1).T
    found = np.array([at(tilt, corners) for tilt in range(n)])
    scale = corner / np.sqrt((found**2).sum(-1).mean())
    return FieldOf(lambda tilt, points: scale * at(tilt, points))


def beads(count: int = 60) -> Gaussians:
    rng = np.random.default_rng(3)
    centres = rng.uniform(0.1, 0.9, (count, 3)) * SIZE
    return Gaussians(centres, np.full(count, 1.4), rng.uniform(0.5, 1.0, count))


def series_of(specimen: Gaussians, local: FieldOf | None = None, axis: float = 85.0) -> TiltSeries:
    shape = (SIZE[0], SIZE[1]) if abs(axis) > 45 else (SIZE[1], SIZE[0])
    matrices = projection_matrices(shape, (48.0, 44.0, 16.0), TILTS, axis)
    images = specimen.project(matrices, shape, 1, local)
    return TiltSeries(images, matrices, 10.0, size=SIZE, rotation_centre=(48.0, 44.0, 16.0), local=local)


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Take 3 x 2 x 1 tiles, whatever the field is."""
    monkeypatch.setattr(tiles, "_refined", lambda *_: ((3, 2, 1), 0.1))
    return monkeypatch


def zero(tilt: int, points: Array) -> Array:
    return np.zeros((len(points), 2))


def test_tiles_are_blended_with_weights_that_add_up_to_1() -> None:
    series = series_of(beads(1), smooth(4.0))
    region = Region.of(series)
    found = Tiling.of(series, region)
    assert max(found.counts) > 1
    total = np.zeros(region.shape)
    for tile in found.tiles:
        (x0, y0, z0), (x1, y1, z1) = tile.first, tile.stop
        x, y, z = tile.ramps
        total[z0:z1, y0:y1, x0:x1] += z[:, None, None] * y[:, None] * x
    np.testing.assert_allclose(total, 1, atol=1e-6)


@pytest.mark.parametrize("binning", [1.0, 2.0])
def test_the_residual_is_what_the_tiles_leave(binning: float) -> None:
    series = series_of(beads(1), smooth(4.0))
    assert series.local is not None
    region = Region.of(series, binning=binning)
    chosen = Tiling.of(series, region)
    # at voxels of all tiles, by hand
    rng = np.random.default_rng(1)
    voxels = np.stack([rng.integers(0, n, 400) for n in region.shape[::-1]], 1)
    points = np.asarray(region.origin) + binning * voxels
    off = np.zeros((len(TILTS), 400, 2))
    for tilt in range(len(TILTS)):
        off[tilt] = series.local.at(tilt, points)
        for tile in chosen.tiles:
            inside = ((voxels >= tile.first) & (voxels < tile.stop)).all(1)
            x, y, z = (voxels[inside] - tile.first).T
            share = tile.ramps[0][x] * tile.ramps[1][y] * tile.ramps[2][z]
            matrix = (tile.projections - series.projections)[tilt, :2]
            off[tilt, inside] -= share[:, None] * (points[inside] @ matrix[:, :3].T + matrix[:, 3])
    rms = np.sqrt((off**2).sum(-1).mean(0)) / binning
    assert rms.max() < 1.3 * chosen.residual
    assert chosen.residual < tiles.TOLERANCE


def test_the_tolerance_chooses_the_tiles() -> None:
    series = series_of(beads(1), smooth(4.0))
    region = Region.of(series)
    some, fine = Tiling.of(series, region, 1.0), Tiling.of(series, region, 0.2)
    assert len(some.tiles) < len(fine.tiles)
    assert some.residual < 1.0
    with pytest.raises(UsageError, match="residual=0 px must be positive"):
        Tiling.of(series, region, 0.0)
    with pytest.raises(UsageError, match="no local alignment"):
        Tiling.of(replace(series, local=None), region)


def test_an_affine_field_needs_one_tile_and_keeps_the_depth() -> None:
    linear = np.array([[0.01, -0.02, 0.015], [0.02, 0.005, -0.01]])
    local = FieldOf(lambda tilt, points: points @ linear.T + [tilt, -1.0])
    series = series_of(beads(1), local)
    chosen = Tiling.of(series, Region.of(series))
    assert chosen.counts == (1, 1, 1)
    assert chosen.residual < 1e-5
    found = chosen.tiles[0].projections
    np.testing.assert_allclose(found[:, :2, :3], series.projections[:, :2, :3] + linear, atol=1e-6)
    np.testing.assert_array_equal(found[:, 2], series.projections[:, 2])  # the depth along the beam


def test_a_lattice_of_samples_is_interpolated() -> None:
    axes = (np.array([0.0, 10.0, 30.0]), np.array([0.0, 20.0]), np.array([5.0]))
    values = np.random.default_rng(0).normal(size=(2, 3, 2, 1, 2))
    field = SampledField(axes, values)
    np.testing.assert_allclose(field.at(1, np.array([[10.0, 20.0, 9.0]]))[0], values[1, 1, 1, 0])
    middle = field.at(0, np.array([[20.0, 10.0, 0.0]]))[0]
    np.testing.assert_allclose(middle, values[0, 1:3, :, 0].mean((0, 1)))


def places(volume: NDArray[np.float32], specimen: Gaussians) -> Array:
    """How far beads lie from where they should, px, by their centres of mass."""
    found = []
    for centre in specimen.centres:
        middle = np.round(centre).astype(int)
        low = np.maximum(middle - 3, 0)
        part = volume[tuple(slice(a, m + 4) for a, m in zip(low[::-1], middle[::-1], strict=True))]
        weight = np.clip(part - np.median(part), 0, None) ** 2
        mass = [(weight * axis).sum() / weight.sum() for axis in np.indices(part.shape)]
        found.append(low + np.array(mass[::-1]) - centre)
    return np.array(found)


@pytest.mark.parametrize(
    ("weighting", "axis", "kept"),
    [
        ("wiener:snr=100", 85.0, 0.97),
        ("wiener:snr=100", 2.0, 0.97),
        ("preweight:snr=100", 85.0, 0.97),
        ("none", 85.0, 0.94),
    ],
)
def test_beads_and_correlation_come_back(weighting: str, axis: float, kept: float) -> None:
    # 3 px rms at the corners: 30 Å
    specimen = beads()
    straight, bent = series_of(specimen, None, axis), series_of(specimen, smooth(3.0), axis)
    truth = specimen.density(Region.of(straight))
    want = reconstruct(straight, weighting=weighting, ctf=False).data
    found = reconstruct(bent, weighting=weighting, ctf=False).data
    lost = reconstruct(bent, weighting=weighting, ctf=False, local=False).data
    good, mine, bad = (shell_correlation(volume, truth, 10.0).correlation for volume in (want, found, lost))
    assert np.mean(mine) > kept * np.mean(good)
    assert np.mean(bad) < 0.8 * np.mean(good)
    # beads that lie alone: the others disturb each other in all volumes
    alone = np.linalg.norm(places(want, specimen), axis=1) < 0.3
    off = np.linalg.norm(places(found, specimen)[alone] - places(want, specimen)[alone], axis=1)
    assert alone.sum() > 20
    assert off.max() < 0.25


@pytest.mark.parametrize("weighting", ["wiener:snr=10", "preweight:snr=10", "ramp", "none"])
def test_tiles_leave_no_seams(forced: pytest.MonkeyPatch, weighting: str) -> None:
    series = replace(series_of(beads()), local=FieldOf(zero))
    tiled = reconstruct(series, weighting=weighting, ctf=False).data
    forced.setattr(tiles, "_refined", lambda *_: ((1, 1, 1), 0.1))
    whole = reconstruct(replace(series), weighting=weighting, ctf=False).data
    away = tiled - whole
    assert np.linalg.norm(away) < 1e-3 * np.linalg.norm(whole)
    # the grid of the tiles in the spectrum, over the strongest amplitude there is
    spectrum = np.abs(np.fft.fftn(away))
    assert spectrum.max() < 1e-3 * np.abs(np.fft.fftn(whole)).max()


def test_a_field_of_zeros_changes_next_to_nothing(forced: pytest.MonkeyPatch) -> None:
    plain = series_of(beads())
    series = replace(plain, local=FieldOf(zero))
    for weighting in ("none", "preweight:snr=10"):
        want = reconstruct(plain, weighting=weighting, ctf=False).data
        found = reconstruct(series, weighting=weighting, ctf=False).data
        assert np.linalg.norm(found - want) < 4e-3 * np.linalg.norm(want)


def test_scratch_files_give_the_same(forced: pytest.MonkeyPatch) -> None:
    series = series_of(beads(), smooth(3.0))
    want = reconstruct(series, weighting="wiener:snr=10", ctf=False).data
    found = np.empty_like(want)

    def write(z: int, slab: NDArray[np.float32]) -> None:
        found[z] = slab

    forced.setattr(tiling, "_plan", on_disk(tiling._plan))
    reconstruct_to(write, series, weighting="wiener:snr=10", ctf=False)
    np.testing.assert_allclose(found, want, atol=1e-6 * np.abs(want).max())


def test_halves_are_those_of_their_images(forced: pytest.MonkeyPatch) -> None:
    series = series_of(beads(), smooth(3.0))
    volume = np.empty(Region.of(series).shape, np.float32)

    def write(z: int, slab: NDArray[np.float32]) -> None:
        volume[z] = slab

    even = tuple(range(0, len(TILTS), 2))
    order = VolumeOrder(series=series, open=lambda: nullcontext(write), weighting=NoWeighting(), tilts=even)
    reconstruct_many(
        [order, replace(order, tilts=None, open=lambda: nullcontext(lambda z, slab: None))], Settings(ctf=False)
    )
    alone = reconstruct(series.select(even), weighting="none", ctf=False).data
    np.testing.assert_allclose(volume, alone, atol=2e-3 * np.abs(alone).max())


def on_disk(plan: object) -> object:
    """Let images and volumes of tiles lie in scratch files."""

    def changed(group: object, whole: bool) -> object:
        return replace(plan(group, whole), images_on_disk=True, volumes_on_disk=True)  # type: ignore[operator]

    return changed


def test_the_ctf_is_applied_before_images_are_cut() -> None:
    ctf = CtfParameters.of(
        len(TILTS), voltage=300, spherical_aberration=2.7, amplitude_contrast=0.07, defocus_u=25000.0
    )
    specimen = beads()
    straight = replace(series_of(specimen), ctf=ctf)
    bent = replace(straight, local=FieldOf(zero))
    want = reconstruct(straight, weighting="wiener:snr=10").data
    found = reconstruct(bent, weighting="wiener:snr=10").data
    correlation = shell_correlation(found, want, 10.0).correlation
    # the gridding kernel mixes what neighbours are divided by, most where the CTF changes fastest
    assert np.mean(correlation[:24]) > 0.97
