"""Simulated tilt series: CTF, noise, halves, exposures, and the sets on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fourierrecon.ctf import contrast_transfer
from fourierrecon.errors import UsageError
from fourierrecon.geometry.region import Region
from fourierrecon.io import read_tilt_series
from fourierrecon.io.volumes.mrc import read_mrc_volume
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.microscope import apply_ctf, ctf_margin, dose_symmetric_exposures, realistic_ctf
from fourierrecon.simulation.simulate import Simulation, simulate, write_simulation
from fourierrecon.simulation.voxels import Voxels
from fourierrecon.tilt_series import CtfParameters

SIZE = (45, 38, 21)
TILTS = (-40.0, -20.0, 0.0, 20.0, 40.0)


def small(seed: int = 3, snr: float | None = 0.5, n_threads: int | None = None) -> Simulation:
    rng = np.random.default_rng(0)
    specimen = Gaussians(rng.uniform(8, [37, 30, 16], (30, 3)), np.array(1.5), np.array(1.0))
    return simulate(
        specimen,
        SIZE,
        tilt_angles=TILTS,
        x_tilt=2.0,
        ctf=realistic_ctf(5, 1),
        snr=snr,
        seed=seed,
        n_threads=n_threads,
    )


@pytest.mark.parametrize("shape", [(48, 45), (45, 48), (25, 27)])  # sizes that the FFT takes without padding
def test_a_point_becomes_the_ctf(shape: tuple[int, int]) -> None:
    ctf = CtfParameters.of(
        2,
        voltage=200,
        spherical_aberration=2.0,
        amplitude_contrast=0.1,
        defocus_u=[21000, 26000],
        defocus_v=20000,
        defocus_angle=[30, -70],
        phase_shift=[0, 40],
        scale=[1, 0.7],
    )
    point = np.zeros((2, *shape), np.float32)
    point[:, 0, 0] = 1
    images = apply_ctf(point, ctf, 7.0, 0)
    fx, fy = np.fft.fftfreq(shape[1], 7.0), np.fft.fftfreq(shape[0], 7.0)[:, None]
    for tilt in range(2):
        found, expected = np.fft.fft2(images[tilt]), contrast_transfer(ctf, tilt, fx, fy)
        # at the highest frequency of an even side only what both signs share is left of an astigmatic CTF
        keep = (np.abs(fx) < 0.499 / 7) & (np.abs(fy) < 0.499 / 7)
        np.testing.assert_allclose(found[keep].real, expected[keep], atol=2e-5)
        np.testing.assert_allclose(found.imag, 0, atol=2e-5)


@pytest.mark.parametrize("pixel_size", [4.0, 10.0])
def test_the_point_spread_function_stays_within_the_margin(pixel_size: float) -> None:
    ctf = realistic_ctf(1)
    images = []
    margin = ctf_margin(ctf, pixel_size)
    for wide in (margin, 3 * margin):
        image = np.zeros((1, 20 + 2 * wide, 23 + 2 * wide), np.float32)
        # a blob just outside of the image leaks into it
        v, u = np.indices(image.shape[1:])
        image[0] = np.exp(-((v - wide + 2) ** 2 + (u - wide - 5) ** 2) / (2 * 1.3**2))
        images.append(apply_ctf(image, ctf, pixel_size, wide)[0])
    assert images[0].shape == (20, 23)
    np.testing.assert_allclose(images[0], images[1], atol=2e-3 * np.abs(images[1]).max())


def test_halves_average_to_the_full_series() -> None:
    made = small()
    full = np.asarray(made.series.images)
    assert full.shape == (5, 45, 38)  # the tilt axis lies near the images' x
    assert full.dtype == np.float32
    np.testing.assert_allclose((made.even + made.odd) / 2, full, atol=1e-4)
    clean = np.asarray(small(snr=None).series.images)
    noise = [half - clean for half in (made.even, made.odd)]
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.05
    signal = clean.var(axis=(1, 2)).mean()
    assert signal / (full - clean).var() == pytest.approx(0.5, rel=0.05)
    assert noise[0].var() == pytest.approx(2 * signal / 0.5, rel=0.05)


def test_without_noise_both_halves_are_the_full_series() -> None:
    made = small(snr=None)
    np.testing.assert_array_equal(made.even, made.odd)
    np.testing.assert_array_equal(made.even, np.asarray(made.series.images))


def test_dense_is_dark_where_the_matrices_say() -> None:
    blob = Gaussians(np.array([[30.0, 12.0, 14.0]]), np.array([2.0]), np.array([1.0]))
    made = simulate(blob, SIZE, tilt_angles=TILTS, snr=None, grey=50.0)
    images = np.asarray(made.series.images)
    for image, matrix in zip(images, made.series.projections, strict=True):
        u, v = (matrix @ [30, 12, 14, 1])[:2]
        assert image[0, 0] == pytest.approx(50)
        assert image[round(v), round(u)] == image.min() < 46
        dark = 50 - image.astype(float)
        rows, columns = np.indices(image.shape)
        np.testing.assert_allclose(
            [(dark * columns).sum() / dark.sum(), (dark * rows).sum() / dark.sum()], [u, v], atol=1e-3
        )
    truth = made.truth_volume(Region.of(made.series)).data
    assert truth[14, 12, 30] == truth.min() == pytest.approx(-1)


def test_the_ctf_keeps_dark_dark() -> None:
    made = small(snr=None)
    ideal = simulate(made.truth, SIZE, tilt_angles=TILTS, x_tilt=2.0, snr=None, seed=3)
    for image, plain in zip(np.asarray(made.series.images), np.asarray(ideal.series.images), strict=True):
        assert np.corrcoef(image.ravel(), plain.ravel())[0, 1] > 0.2


def test_exposures_are_dose_symmetric() -> None:
    angles = [-9, -6, -3, 0, 3, 6, 9]
    np.testing.assert_array_equal(dose_symmetric_exposures(angles, 2), [12, 6, 4, 0, 2, 8, 10])
    np.testing.assert_array_equal(dose_symmetric_exposures([5.0]), [0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("one")
    write_simulation(place, small(n_threads=1))
    return place


def test_same_seed_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_simulation(tmp_path, small(n_threads=2))
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert len(files) == 8
    for name in files:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name
    other = np.asarray(small(seed=4).series.images)
    assert not np.array_equal(other, np.asarray(small().series.images))


@pytest.mark.parametrize("star", ["tomograms.star", "tomograms_relion4.star", "optimisation_set.star"])
def test_sets_are_read_back(folder: Path, star: str) -> None:
    made = small()
    series = read_tilt_series(folder / star)
    assert series.name == "TS_01"
    assert series.pixel_size == 10
    assert series.size == SIZE
    # voxel 0 of the default region is one point of the specimen in both
    shift = np.eye(4)
    shift[:3, 3] = series.world_origin
    np.testing.assert_allclose(series.projections @ shift, made.series.projections, atol=1e-6)
    np.testing.assert_array_equal([series.images[i] for i in range(5)], np.asarray(made.series.images))
    assert series.ctf is not None
    assert made.series.ctf is not None
    np.testing.assert_allclose(series.ctf.defocus_u, made.series.ctf.defocus_u)
    np.testing.assert_allclose(series.ctf.defocus_angle, made.series.ctf.defocus_angle)
    assert series.exposure is not None
    np.testing.assert_allclose(series.exposure, [9, 6, 0, 3, 12])
    even = read_tilt_series(folder / star, images="even")
    np.testing.assert_array_equal(even.images[3], made.even[3])


def test_the_truth_is_written(folder: Path) -> None:
    made = small()
    volume = read_mrc_volume(folder / "truth.mrc")
    assert volume.data.shape == (21, 38, 45)
    assert volume.voxel_size == pytest.approx(10)
    np.testing.assert_array_equal(volume.data, -made.truth.density(Region((0, 0, 0), (21, 38, 45))))


def test_the_tilt_axis_decides_how_images_lie() -> None:
    blob = Gaussians(np.array([[20.0, 18.0, 9.0]]), np.array([2.0]), np.array([1.0]))
    assert simulate(blob, SIZE, tilt_angles=[0], tilt_axis_angle=5.0).series.image_shape == (38, 45)
    assert simulate(blob, SIZE, tilt_angles=[0], tilt_axis_angle=-95).series.image_shape == (45, 38)
    assert simulate(blob, SIZE, tilt_angles=[0], image_shape=(20, 21)).series.image_shape == (20, 21)
    with pytest.raises(UsageError, match="signal-to-noise"):
        simulate(blob, SIZE, snr=0)


def test_voxels_project_as_what_they_were_sampled_from() -> None:
    rng = np.random.default_rng(0)
    specimen = Gaussians(rng.uniform(8, [37, 30, 16], (30, 3)), np.array(1.8), np.array(1.0))
    width, height, depth = SIZE
    region = Region((0, 0, 0), (depth, height, width))
    voxels = Voxels(specimen.density(region))
    one, other = (
        simulate(each, SIZE, tilt_angles=TILTS, ctf=realistic_ctf(5, 1), snr=None, n_threads=1)
        for each in (specimen, voxels)
    )
    images = [np.stack([s.series.images[f] for f in range(5)]) for s in (one, other)]
    assert float((images[0] - images[1]).std()) < 0.004 * float(images[0].std())
    part = Region((8.0, 10.0, 4.0), (4, 5, 6), 2.0)
    np.testing.assert_allclose(other.truth_volume(part).data, one.truth_volume(part).data, atol=1e-5)
