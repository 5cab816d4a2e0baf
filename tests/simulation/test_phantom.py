"""Gaussians and specimens: projections against numerical integration, mass, positions, slabs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fourierrecon.errors import UsageError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.geometry.region import Region
from fourierrecon.simulation.gaussians import Gaussians, mean_over_images
from fourierrecon.simulation.phantom import bilayer, cell_like_specimen, ribosome

Matrix = NDArray[np.float64]


def affine(seed: int, height: int, width: int, centre: tuple[float, float, float]) -> Matrix:
    """A projection with unequal magnification and shear, the centre near the middle of the image."""
    rng = np.random.default_rng(seed)
    matrix: Matrix = projection_matrices(
        (height, width), centre, rng.uniform(-70, 70), rng.uniform(-180, 180), rng.uniform(-20, 20)
    )[0]
    matrix[:2, :3] += rng.normal(0, 0.08, (2, 3))
    matrix[:2, 3] = [width / 2, height / 2] - matrix[:2, :3] @ centre + rng.uniform(-2, 2, 2)
    return matrix


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), height=st.integers(20, 33), width=st.integers(20, 33))
def test_projection_is_the_integral_along_the_beam(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    centre = (12.0, 15.0, 9.0)
    specimen = Gaussians(centre + rng.normal(0, 4, (5, 3)), rng.uniform(0.8, 3, 5), rng.normal(1, 1, 5))
    matrix = affine(seed, height, width, centre)
    image = specimen.project(matrix[None], (height, width))[0]

    # the world points that fall on a pixel are one point plus any multiple of the unit vector along the beam
    a, t = matrix[:2, :3], matrix[:2, 3]
    beam = np.cross(a[0], a[1])
    beam /= np.linalg.norm(beam)
    length = np.arange(-60, 60, 0.25)
    for u, v in rng.integers(0, [width, height], (12, 2)):
        start = np.linalg.pinv(a) @ (np.array([u, v]) - t)
        line = start + length[:, None] * beam
        distance = ((line[:, None] - specimen.centres) ** 2).sum(-1)
        density = (specimen.weights * np.exp(-distance / (2 * specimen.sigmas**2))).sum(1)
        assert image[v, u] == pytest.approx(density.sum() * 0.25, abs=3e-6 * float(np.abs(image).max()) + 1e-6)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_projection_keeps_mass_and_position(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centre = (20.0, 24.0, 11.0)
    blob = Gaussians(np.array([centre]) + rng.normal(0, 2, (1, 3)), np.array([2.1]), np.array([1.7]))
    matrix = affine(seed, 61, 58, centre)
    image = blob.project(matrix[None], (61, 58))[0].astype(float)
    a = matrix[:2, :3]
    assert image.sum() == pytest.approx(blob.mass * np.sqrt(np.linalg.det(a @ a.T)), rel=1e-5)
    v, u = np.indices(image.shape)
    found = np.array([(image * u).sum(), (image * v).sum()]) / image.sum()
    np.testing.assert_allclose(found, (matrix @ np.append(blob.centres[0], 1))[:2], atol=1e-3)


def test_a_uniform_slab_projects_to_its_path_length() -> None:
    # a lattice of Gaussians that add up to a density of 1, 21 px thick
    sigma = 1.5
    x, y, z = np.meshgrid(np.arange(-40, 80, 2.0), np.arange(-40, 80, 2.0), np.arange(21.0), indexing="ij")
    centres = np.stack([x.ravel(), y.ravel(), z.ravel()], 1)
    weight = 2 * 2 * 1 / ((2 * np.pi) ** 1.5 * sigma**3)
    slab = Gaussians(centres, np.array(sigma), np.array(weight))
    tilts = [0.0, 45.0]
    images = slab.project(projection_matrices((16, 15), (20, 20, 10), tilts), (16, 15))
    for tilt, image in zip(tilts, images, strict=True):
        np.testing.assert_allclose(image, 21 / np.cos(np.radians(tilt)), rtol=2e-3)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_density_is_sampled_at_the_voxels(n_threads: int) -> None:
    rng = np.random.default_rng(1)
    specimen = Gaussians(rng.uniform(0, 20, (7, 3)), rng.uniform(1, 4, 7), rng.normal(0, 1, 7))
    region = Region((-1.5, 2.0, 0.25), (5, 8, 11), 1.7)
    z, y, x = np.indices(region.shape)
    where = np.stack([x, y, z], -1) * 1.7 + region.origin
    squared = ((where[..., None, :] - specimen.centres) ** 2).sum(-1)
    expected = (specimen.weights * np.exp(-squared / (2 * specimen.sigmas**2))).sum(-1)
    density = specimen.density(region, n_threads)
    assert density.dtype == np.float32
    np.testing.assert_allclose(density, expected, atol=1e-6)


def test_untilted_projection_is_the_sum_of_the_density() -> None:
    specimen = cell_like_specimen((48, 45, 36))
    density = specimen.density(Region((0, 0, -20), (76, 45, 48)))
    image = specimen.project(projection_matrices((45, 48), (24, 22, 0), 0.0), (45, 48))[0]
    np.testing.assert_allclose(image, density.sum(0), atol=3e-3 * image.max())


def test_projections_do_not_depend_on_threads() -> None:
    specimen = cell_like_specimen((48, 45, 36))
    matrices = projection_matrices((45, 48), (24, 22, 18), [-50, 0, 31], 85.0)
    one, two = (specimen.project(matrices, (45, 48), n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_mean_over_images_is_the_mean_of_the_pixels() -> None:
    rng = np.random.default_rng(4)
    specimen = Gaussians(rng.uniform(5, 25, (9, 3)), rng.uniform(1, 3, 9), rng.uniform(0, 1, 9))
    matrices = projection_matrices((31, 28), (15, 14, 12), [0, 0, 0], [0, 90, 180], shifts=[[0, 0], [3, 1], [-2, 0]])
    points = rng.integers(0, 28, (40, 3)).astype(float)  # they fall on pixels
    images = specimen.project(matrices, (31, 28)).astype(float)
    expected = np.zeros(len(points))
    for i, point in enumerate(points):
        at = np.rint((matrices @ np.append(point, 1))[:, :2]).astype(int)
        values = [images[f, v, u] for f, (u, v) in enumerate(at) if 0 <= u < 28 and 0 <= v < 31]
        expected[i] = np.mean(values) if values else 0
    found = mean_over_images(specimen, matrices, points, (31, 28))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    everywhere = mean_over_images(specimen, matrices, points)
    inside = [bool(((p > 6) & (p < 20)).all()) for p in points[:, :2]]
    np.testing.assert_allclose(everywhere[inside], expected[inside], atol=1e-5)


def test_mean_over_images_peaks_at_a_blob() -> None:
    blob = Gaussians(np.array([[10.0, 11.0, 9.0]]), np.array([2.0]), np.array([3.0]))
    matrices = projection_matrices((40, 41), (8, 8, 8), np.arange(-60, 61, 10), 12.0)
    value = mean_over_images(blob, matrices, blob.centres)
    assert value[0] == pytest.approx(3 * 2 * np.sqrt(2 * np.pi))


def test_bilayer_has_two_leaflets_of_density_one() -> None:
    membrane = bilayer(np.array([30.0, 30, 30]), np.array([20.0, 20, 20]), 10.0)
    profile = membrane.density(Region((30, 30, 30), (1, 1, 240), 1.0))[0, 0]
    fine = membrane.density(Region((30 + 17.9 - 1e-9, 30, 30), (1, 1, 1)))[0, 0, 0]
    assert fine == pytest.approx(1, abs=0.02)
    assert profile[22] == pytest.approx(1, abs=0.05)
    assert profile[20] < 0.5
    assert profile[:12].max() < 1e-3
    area = 4 * np.pi * (17.9**2 + 22.1**2)
    assert membrane.mass == pytest.approx(area * np.sqrt(2 * np.pi) * 1.1, rel=0.01)


def test_ribosomes_are_one_molecule_in_any_orientation() -> None:
    rng = np.random.default_rng(0)
    one, two = (ribosome(np.zeros(3), 10.0, rng) for _ in range(2))
    apart = [np.linalg.norm(r.centres[:, None] - r.centres[None], axis=-1) for r in (one, two)]
    np.testing.assert_allclose(apart[0], apart[1], atol=1e-9)
    assert not np.allclose(one.centres, two.centres)
    assert 16 < apart[0].max() < 26


@pytest.mark.parametrize("size", [(64, 60, 24), (41, 100, 64), (30, 30, 6), (8, 9, 3)])
@pytest.mark.parametrize("pixel_size", [4.0, 10.0, 18.0])
def test_specimens_of_any_size_lie_in_the_slab(size: tuple[int, int, int], pixel_size: float) -> None:
    specimen = cell_like_specimen(size, 3, pixel_size=pixel_size)
    assert len(specimen) > 0
    spread = 13 * 10 / pixel_size + 2
    assert specimen.centres[:, 2].min() > -spread
    assert specimen.centres[:, 2].max() < size[2] + spread


def test_specimen_is_reproducible_and_goes_on_beyond_the_field() -> None:
    size = (80, 70, 40)
    one, two = cell_like_specimen(size, 5), cell_like_specimen(size, 5)
    np.testing.assert_array_equal(one.centres, two.centres)
    np.testing.assert_array_equal(one.weights, two.weights)
    assert not np.array_equal(one.centres[:100], cell_like_specimen(size, 6).centres[-100:])
    wide = cell_like_specimen(size, 5, beyond=60)
    assert len(wide) > 1.5 * len(one)
    assert wide.centres[:, 0].min() < -40
    assert wide.centres[:, 1].max() > 110


def test_wrong_records_are_refused() -> None:
    with pytest.raises(UsageError, match="needed: \\(n, 3\\)"):
        Gaussians(np.zeros((3, 2)), np.ones(3), np.ones(3))
    with pytest.raises(UsageError, match="sigmas have shape"):
        Gaussians(np.zeros((3, 3)), np.ones(2), np.ones(3))
    with pytest.raises(UsageError, match="positive"):
        Gaussians(np.zeros((3, 3)), np.zeros(3), np.ones(3))
    with pytest.raises(UsageError, match="half axes"):
        bilayer(np.zeros(3), np.array([9.0, 9, 2]), 10.0)
    assert len(Gaussians.join([])) == 0
