"""Iterative reconstructions: what they promise on problems that are small enough to be solved exactly."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from fourierrecon import Region, Settings, TiltSeries, reconstruct, reconstruct_to
from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.ctf_depth import depth_rows
from fourierrecon.geometry.displacement import FieldOf
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.operators import TomographicProjector
from fourierrecon.operators.beams import seen_parts
from fourierrecon.operators.binned import in_memory
from fourierrecon.operators.iterations import iterate
from fourierrecon.operators.least_squares import LeastSquares
from fourierrecon.simulation.depth import project_with_ctf
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.simulation.simulate import simulate
from fourierrecon.transfer import Correction, Transfer
from fourierrecon.weighting import Cg, Sirt, Tv, from_text
from fourierrecon.weighting.filtered import Filtered, RadialFilter
from tests.helpers.reference import projection_matrix


@cache
def tiny(size: tuple[int, int, int] = (10, 10, 4)) -> tuple[TiltSeries, Region]:
    rng = np.random.default_rng(0)
    blobs = Gaussians(rng.uniform(0.2, 0.8, (12, 3)) * size, np.asarray(0.9), rng.uniform(0.5, 1, 12))
    series = simulate(
        blobs, size, tilt_angles=list(range(-60, 61, 12)), snr=1.0, ctf=realistic_ctf(11), tilt_axis_angle=3.0
    ).series
    return series, Region.of(series)


@cache
def blobs() -> tuple[TiltSeries, NDArray[np.float32]]:
    size = (48, 44, 20)
    rng = np.random.default_rng(1)
    specimen = Gaussians(
        rng.uniform(6, 14, (40, 3)) * [2.4, 2.2, 1], rng.uniform(1.2, 2.5, 40), rng.uniform(0.5, 1.5, 40)
    )
    made = simulate(specimen, size, tilt_angles=list(range(-60, 61, 6)), snr=0.5, shifts=0.0, tilt_axis_angle=3.0)
    return made.series, made.truth_volume(Region.of(made.series)).data


def exact(series: TiltSeries, region: Region, ctf: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The matrix of ``S A`` and the data ``S y`` in float64, from explicit sums."""
    matrix = projection_matrix(region, series, Transfer.of(series, Correction.of(ctf), divides=False).evaluate)
    rows, data = [], []
    for tilt in range(series.n_tilts):
        weights = seen_parts(region, series, tilt).ravel().astype(float)
        level = weights / np.linalg.norm(weights)
        image = series.images[tilt].ravel().astype(float)
        block = weights[:, None] * np.column_stack([matrix[tilt], image - image.mean()])
        block -= np.outer(level, level @ block)
        rows.append(block[:, :-1])
        data.append(block[:, -1])
    return np.concatenate(rows), np.concatenate(data)


@pytest.mark.parametrize(
    ("size", "ctf", "weighting", "allowed"),
    [
        ((10, 10, 4), True, "cg:15,snr=100", 0.01),
        ((11, 9, 5), False, "cg:15,snr=100", 0.01),
        ((9, 8, 6), True, "cg:30,snr=1000", 0.01),
        ((9, 7, 4), False, "cg:5,snr=3", 0.01),
        # components that the images hardly determine take far more steps, and hold noise
        ((10, 10, 4), True, "cg:30,snr=inf", 0.1),
    ],
)
def test_cg_reaches_the_exact_least_squares_solution(
    size: tuple[int, int, int], ctf: bool, weighting: str, allowed: float
) -> None:
    series, region = tiny(size)
    matrix, data = exact(series, region, ctf)
    snr = float(weighting.partition("snr=")[2])
    n = matrix.shape[1]
    stacked = np.vstack([matrix, np.sqrt(size[2] / snr) * np.eye(n)])
    solution = np.linalg.lstsq(stacked, np.append(data, np.zeros(n)), rcond=None)[0]
    found = reconstruct(series, region, f"{weighting},stop=false", n_threads=1, ctf=ctf).data.ravel()
    residuals = [float(np.linalg.norm(matrix @ volume - data)) for volume in (found, solution)]
    assert residuals[0] == pytest.approx(residuals[1], rel=allowed)
    assert residuals[1] < 0.8 * float(np.linalg.norm(data))


def test_the_adjoint_of_the_problem_is_its_adjoint() -> None:
    series, _ = blobs()
    region = Region.of(series, binning=2)
    problem = LeastSquares(series, region, Cg(snr=9.0), Settings(ctf=False))
    rng = np.random.default_rng(2)
    volume = rng.standard_normal(region.shape).astype(np.float32)
    images = rng.standard_normal(problem.data.shape).astype(np.float32)
    drawn, summed = problem.forward(volume), problem.adjoint(images)
    one, other = np.vdot(drawn.astype(float), images), np.vdot(volume.astype(float), summed)
    assert abs(one - other) < 1e-6 * np.linalg.norm(drawn) * np.linalg.norm(images)
    # binned by two, images have a quarter of the pixels, and their grey values
    assert problem.data.shape[1:] == (22, 24)


def test_cg_stops_where_the_residual_is_the_noise() -> None:
    series, truth = blobs()
    steps: list[int] = []
    weighting = Cg(30, snr=0.5, start=False)
    reconstruct(series, weighting=weighting, ctf=False, progress=lambda s, d, n: steps.append(d) if s == "cg" else None)
    assert steps[-1] == 30  # progress ends at its end
    assert len(steps) < 30
    problem = LeastSquares(series, Region.of(series), weighting, Settings(ctf=False))
    # what the SNR leaves as noise is near the noise that was put in
    residual = problem.data - problem.forward(truth)
    assert problem.noise == pytest.approx(float((residual.astype(float) ** 2).sum()), rel=0.3)


def test_every_iteration_comes_nearer_to_the_images() -> None:
    series, truth = blobs()
    region = Region.of(series)
    problem = LeastSquares(series, region, Sirt(), Settings(ctf=False))

    def misfit(text: str, likeness: float = 0.3) -> float:
        volume = reconstruct(series, weighting=text, ctf=False).data
        assert np.corrcoef(volume.ravel(), truth.ravel())[0, 1] > likeness
        return float(np.linalg.norm(problem.data - problem.forward(volume)))

    few, more = misfit("sirt:3"), misfit("sirt:12")
    assert more < few < float(np.linalg.norm(problem.data))
    # at an SNR that is far too high it fits noise soon
    assert misfit("cg:2,snr=1000,start=false", 0.1) < more


def test_variation_smooths() -> None:
    series, truth = blobs()
    volumes = [reconstruct(series, weighting=f"tv:{s},snr=100,iterations=15", ctf=False).data for s in (0.0, 0.05)]
    rough = [float(np.abs(np.diff(volume, axis=2)).mean()) for volume in volumes]
    assert rough[1] < 0.7 * rough[0]
    likeness = [float(np.corrcoef(volume.ravel(), truth.ravel())[0, 1]) for volume in volumes]
    assert likeness[1] > likeness[0]


@pytest.mark.parametrize("text", ["cg:3,snr=10", "sirt:3", "tv:0.02,iterations=3,snr=10"])
def test_limits_are_kept(text: str) -> None:
    series, _ = blobs()
    free = reconstruct(series, weighting=text, ctf=False).data
    assert free.max() > 0
    slab = 8 * series.pixel_size
    volume = reconstruct(series, weighting=f"{text},positive=true,slab={slab}", ctf=False).data
    assert volume.max() <= 0
    assert volume[8].std() > 0
    assert not volume[:6].any()
    assert not volume[14:].any()


@cache
def deep() -> tuple[TiltSeries, Region, NDArray[np.float32]]:
    """Blobs 800 Å below the point that the defocus belongs to, each point with the CTF of its own depth."""
    rng = np.random.default_rng(3)
    size, tilts = (40, 36, 20), np.arange(-60, 61, 6.0)
    specimen = Gaussians(rng.uniform(6, 14, (30, 3)) * [2, 1.8, 1], np.asarray(1.1), rng.uniform(0.5, 1.5, 30))
    matrices = projection_matrices((64, 64), (20.0, 18, 10), tilts, 4.0)
    matrices[:, 2, 3] += 400
    optics = realistic_ctf(len(tilts), defocus=6000.0)
    images = -project_with_ctf(specimen, matrices, (64, 64), optics, 2.0, hand=1, margin=32)
    images += np.random.default_rng(4).normal(0, 2 * images.std(), images.shape).astype(np.float32)
    series = TiltSeries(images, matrices, 2.0, ctf=optics, hand=1, rotation_centre=(20.0, 18, 10))
    z, y, x = np.indices(size[::-1])
    apart = ((np.stack([x, y, z], -1)[..., None, :] - specimen.centres) ** 2).sum(-1)
    truth = -(specimen.weights * np.exp(-apart / (2 * 1.1**2))).sum(-1)
    return series, Region((0.0, 0, 0), size[::-1]), truth.astype(np.float32)


def test_the_ctf_at_each_depth_counts() -> None:
    series, region, truth = deep()

    def likeness(weighting: str, **options: Any) -> float:
        volume = reconstruct(series, region, weighting, n_threads=2, **options).data
        return float(np.corrcoef(volume.ravel(), truth.ravel())[0, 1])

    by_depth = {text: likeness(text) for text in ("wiener:snr=0.25", "cg:12,snr=0.25,stop=false", "sirt:6")}
    assert by_depth["cg:12,snr=0.25,stop=false"] > by_depth["wiener:snr=0.25"]
    for text, value in by_depth.items():
        flat = likeness(text, ctf_depth="off")
        assert value > flat + 0.02
        assert flat > likeness(text, defocus_hand=-1) + 0.05


@pytest.mark.parametrize("told", [True, False])
def test_binned_images_keep_their_depths(told: bool) -> None:
    series, region, _ = deep()
    if not told:  # depths count from the middle of the tomogram
        series = replace(series, rotation_centre=None, size=(64.0, 64.0, 32.0))
    small, binned, images = in_memory(series, replace(region, binning=2.0), keep_mean=False, n_threads=1)
    assert images.shape[1:] == (32, 32)
    assert binned.binning == 1
    point = np.array([3.0, 5, 7])
    depths = [rows[:, :3] @ point / n + rows[:, 3] for rows, n in ((depth_rows(series), 1), (depth_rows(small), 2))]
    np.testing.assert_allclose(depths[0], 2 * depths[1], rtol=1e-9)


@pytest.mark.parametrize("binning", [1, 2])
def test_a_local_alignment_is_fitted(binning: int) -> None:
    series, truth = blobs()
    field = FieldOf(lambda tilt, points: 2 * np.sin(points[:, :2] / 40 + 2 * tilt))
    bent = replace(series, local=field)
    drawn = TomographicProjector(bent, ctf=False, residual=0.1).forward(truth)
    noise = np.random.default_rng(5).normal(0, 0.2 * drawn.std(), drawn.shape)
    bent = replace(bent, images=(drawn + noise).astype(np.float32))

    smooth = gaussian_filter(truth, binning - 1)[::binning, ::binning, ::binning]

    def likeness(**options: Any) -> float:
        volume = reconstruct(bent, binning=binning, weighting="cg:20,snr=30,stop=false", ctf=False, **options).data
        return float(np.corrcoef(volume.ravel(), smooth.ravel())[0, 1])

    assert likeness(residual=0.3) > likeness(local=False) + 0.03


def test_the_same_comes_section_by_section_and_of_some_tilts() -> None:
    series, _ = blobs()
    whole = reconstruct(series, binning=2, weighting="sirt:2", ctf=False)
    found = np.zeros_like(whole.data)

    def write(z: int, section: NDArray[np.float32]) -> None:
        found[z] = section

    reconstruct_to(write, series, binning=2, weighting="sirt:2", ctf=False)
    np.testing.assert_allclose(found, whole.data, atol=1e-6 * float(np.abs(whole.data).max()))
    assert "SIRT, 2 iterations" in whole.label


def test_a_beam_is_counted_by_its_part_in_the_region() -> None:
    series, _ = blobs()
    flat = seen_parts(Region.of(series), series, 10)
    steep = seen_parts(Region.of(series), series, 0)
    np.testing.assert_allclose(flat[4:-4, 4:-4], 1, rtol=1e-5)
    assert steep[22, 24] == pytest.approx(1)
    assert steep[22, 0] == 0
    assert 0 < steep[22, 9] < 1


def test_what_makes_no_sense_is_refused() -> None:
    series, region = tiny()
    with pytest.raises(DataError, match=r"sirt keeps 2 volumes .* weighting that does not iterate"):
        reconstruct(series, weighting="sirt", memory="1MB")
    with pytest.raises(UsageError, match="fits projections that hold the CTF"):
        reconstruct(series, weighting="cg", ctf_mode="multiply")
    with pytest.raises(UsageError, match=r"lowpass=.* acts on the Fourier grid, and cg iterates"):
        Filtered(Cg(), RadialFilter(10.0, lowpass=40.0))
    with pytest.raises(UsageError, match="whole number from 1"):
        from_text("sirt:0")
    with pytest.raises(UsageError, match="slab=-1 must be above 0"):
        from_text("cg:slab=-1")
    with pytest.raises(UsageError, match="strength=-1"):
        from_text("tv:-1")
    assert from_text("sirt:30") == Sirt(30)
    assert from_text("cg:7,snr=3") == Cg(7, snr=3.0)
    assert from_text("tv:0.1") == Tv(strength=0.1)
    bad = replace(series, images=np.full(series.images.shape, 1e30, np.float32) * np.arange(10))
    with pytest.raises(DataError):
        iterate(bad, region, Sirt(1), Settings(ctf=False), lambda: np.zeros(region.shape, np.float32))
