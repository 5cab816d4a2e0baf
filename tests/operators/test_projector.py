"""The projector: forward is the exact sum, and its adjoint is its adjoint, with every option."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import LinearOperator

from fourierrecon import CtfParameters, Region, TiltSeries, reconstruct
from fourierrecon.engine.settings import Settings
from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.displacement import FieldOf, SampledField
from fourierrecon.geometry.tiles import Tiling, tile_series
from fourierrecon.operators import TomographicProjector
from fourierrecon.transfer import Correction, Transfer
from tests.helpers.reference import Geometry, projection, projection_by_depth, relative_error

TILTS = (-60.0, -20.0, 30.0)
PLAIN = Geometry(TILTS, (34, 37), 4.0, 2.0, 2.0, centre=(17.0, 15, 8), shape=(16, 30, 33))
TURNED = Geometry(TILTS, (37, 34), 87.0, 2.0, 1.0, 0.003, centre=(17.0, 15, 8), shape=(15, 31, 32))
BINNED = Geometry(TILTS, (48, 53), 87.0, 2.0, 1.0, centre=(26.0, 24, 11), shape=(11, 22, 24), binning=2.0)
SMALL = Geometry(TILTS, (7, 9), 4.0, 0.5, 1.0, centre=(4.0, 3, 2), shape=(4, 7, 9))
PART = Geometry(
    TILTS[:2], (250, 244), 3.0, 2.0, 1.0, centre=(120.0, 120, 20), origin=(110.0, 105, 12), shape=(12, 18, 20)
)
CASES: dict[str, tuple[Geometry, dict[str, Any]]] = {
    "plain": (PLAIN, {"ctf": False}),
    "ctf": (PLAIN, {}),
    "axis near x": (TURNED, {"exposure": "grant"}),
    "binned": (BINNED, {"ctf": False}),
    "binned, ctf": (BINNED, {"exposure": "bfactor", "tilt_weight": "cos"}),
    "odd binning": (replace(BINNED, binning=1.7), {"ctf_mode": "phase-flip"}),
    "few pixels": (SMALL, {"ctf": False}),
    "part": (PART, {}),
    "part, no ctf": (PART, {"ctf": False}),
    "taper": (BINNED, {"taper_distance": 2.0, "taper_falloff": 4.0}),
    "taper, no ctf": (PLAIN, {"ctf": False, "taper_distance": 2.0, "taper_falloff": 4.0}),
    "high precision": (PLAIN, {"precision": "high"}),
}
every = pytest.mark.parametrize("case", CASES)


def series_of(geometry: Geometry) -> TiltSeries:
    n = len(geometry.tilts)
    ctf = CtfParameters.of(
        n, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.07,
        defocus_u=np.linspace(9000, 12000, n), defocus_v=9500.0, defocus_angle=30.0,
    )  # fmt: skip
    images = np.zeros((n, *geometry.image_shape), np.float32)
    return geometry.series(images, ctf=ctf, exposure=10.0 * np.arange(n))


def projector(case: str) -> tuple[TomographicProjector, TiltSeries]:
    geometry, options = CASES[case]
    series = series_of(geometry)
    return TomographicProjector(series, geometry.region, n_threads=2, **options), series


@every
def test_the_adjoint_is_the_adjoint(case: str) -> None:
    operator, _ = projector(case)
    rng = np.random.default_rng(1)
    volume, images = rng.standard_normal(operator.volume_shape), rng.standard_normal(operator.image_shape)
    drawn, summed = operator.forward(volume), operator.adjoint(images)
    one, other = np.vdot(drawn.astype(float), images), np.vdot(volume, summed.astype(float))
    assert abs(one - other) < 1e-6 * np.linalg.norm(drawn) * np.linalg.norm(images)
    assert abs(one - other) < 1e-3 * abs(one)


@every
def test_forward_is_the_exact_sum(case: str) -> None:
    operator, series = projector(case)
    geometry, options = CASES[case]
    volume = np.random.default_rng(2).standard_normal(operator.volume_shape)
    correction = Correction.of(options.get("ctf", True), *map(options.get, ("ctf_mode", "exposure", "tilt_weight")))
    transfer = Transfer.of(series, correction, divides=False)
    expected = projection(volume, geometry.region, series, transfer.evaluate)
    mask = np.ones(())
    if "taper_distance" in options:
        y, x = (np.minimum(np.arange(n), np.arange(n)[::-1]) for n in geometry.image_shape)
        start, width = (options[f"taper_{name}"] * geometry.binning for name in ("distance", "falloff"))
        t = np.clip((np.minimum(y[:, None], x) - start) / width, 0, 1)
        mask = t * t * (3 - 2 * t)
    allowed = 1e-3 if options.get("ctf_mode") == "phase-flip" else 5e-4
    assert relative_error(operator.forward(volume), expected * mask) < allowed


WIDE = Geometry(TILTS[:2], (48, 50), 4.0, 0.0, 2.0, centre=(10.0, 9, 5), shape=(10, 18, 20))
DEPTHS: dict[str, tuple[Geometry, dict[str, Any], int]] = {
    "both sheets share samples": (WIDE, {}, 1),
    "beams lean": (replace(WIDE, axis=87.0, x_tilt=8.0, magnification=0.003), {"exposure": "grant"}, -1),
    "binned": (
        replace(WIDE, x_tilt=2.0, centre=(15.0, 14, 8), shape=(8, 14, 15), binning=2.0),
        {"taper_distance": 2.0},
        1,
    ),
}


@pytest.mark.parametrize("case", DEPTHS)
def test_every_voxel_has_the_ctf_of_its_depth(case: str) -> None:
    geometry, options, hand = DEPTHS[case]
    series = series_of(geometry)
    assert series.ctf is not None
    optics = replace(series.ctf, defocus_u=series.ctf.defocus_u - 7000, defocus_v=series.ctf.defocus_v - 7000)
    matrices = series.projections.copy()
    matrices[:, 2, 3] += 250  # far from where the defocus is that of the image
    series = replace(
        series, projections=matrices, pixel_size=2.0, ctf=optics, hand=hand, rotation_centre=geometry.centre
    )
    operator = TomographicProjector(series, geometry.region, ctf_depth="on", n_threads=2, **options)
    rng = np.random.default_rng(1)
    volume, images = rng.standard_normal(operator.volume_shape), rng.standard_normal(operator.image_shape)
    drawn, summed = operator.forward(volume), operator.adjoint(images)
    one, other = np.vdot(drawn.astype(float), images), np.vdot(volume, summed.astype(float))
    assert abs(one - other) < 1e-6 * np.linalg.norm(drawn) * np.linalg.norm(images)
    transfer = Transfer.of(series, Correction.of(True, None, options.get("exposure"), None), divides=False)
    exact = operator.mask * projection_by_depth(volume, geometry.region, series, hand, transfer.damped)
    assert relative_error(drawn, exact) < 5e-4
    for other in ({"ctf_depth": "off"}, {"ctf_depth": "on", "defocus_hand": -hand}):
        wrong = TomographicProjector(series, geometry.region, **options, **other)
        assert relative_error(wrong.forward(volume), exact) > 0.1


def test_it_is_a_linear_operator_of_scipy() -> None:
    operator, _ = projector("plain")
    assert isinstance(operator, LinearOperator)
    n, m = len(TILTS) * 34 * 37, int(np.prod(PLAIN.shape))
    assert operator.shape == (n, m)
    assert operator.dtype == np.float32
    volume, images = np.ones(m), np.ones(n)
    np.testing.assert_array_equal(operator @ volume, operator.forward(volume.reshape(PLAIN.shape)).ravel())
    np.testing.assert_array_equal(operator.H @ images, operator.rmatvec(images))
    assert (operator.T @ images).shape == (m,)
    assert not operator.adjoint(np.zeros(operator.image_shape)).any()
    assert not operator.forward(np.zeros(operator.volume_shape)).any()


def test_a_flat_slab_projects_to_its_thickness() -> None:
    # sums of voxels along the beam, whatever the binning
    geometry = Geometry((0.0, 60.0), (96, 96), 0.0, centre=(48.0, 48, 12), shape=(24, 96, 96))
    series = geometry.series(np.zeros((2, 96, 96), np.float32), size=(96.0, 96.0, 24.0))
    for binning in (1, 2):
        operator = TomographicProjector(series, Region.of(series, binning=binning), ctf=False)
        images = operator.forward(np.ones(operator.volume_shape))
        middle = images[:, 40:56, 44:52].mean((1, 2))
        np.testing.assert_allclose(middle, np.array([24, 48]) / binning, rtol=0.02)


def test_the_adjoint_is_the_sum_that_plain_back_projection_divides() -> None:
    series = series_of(PLAIN)
    rng = np.random.default_rng(3)
    images = rng.standard_normal((len(TILTS), *PLAIN.image_shape)).astype(np.float32)
    images *= np.pad(np.ones((14, 17), np.float32), 10)
    region = Region((12.0, 12.0, 6.0), (4, 6, 8))  # all images see it
    series = replace(series, images=images)
    mean = reconstruct(series, region, "none", ctf=False, keep_mean=True).data
    summed = TomographicProjector(series, region, ctf=False).adjoint(images)
    assert relative_error(summed, len(TILTS) * mean) < 5e-3


def test_what_makes_no_sense_is_refused() -> None:
    series = series_of(PLAIN)
    operator = TomographicProjector(series, PLAIN.region)
    with pytest.raises(UsageError, match="volume of shape"):
        operator.forward(np.ones((3, 4, 5)))
    with pytest.raises(UsageError, match="images of shape"):
        operator.adjoint(np.ones((3, 4, 5)))
    with pytest.raises(UsageError, match="no projection"):
        TomographicProjector(series, PLAIN.region, ctf_mode="wiener")
    with pytest.raises(DataError, match="CTF needs"):
        TomographicProjector(replace(series, ctf=None), PLAIN.region)
    with pytest.raises(DataError, match=r"of memory.*allow more \(memory=\.\.\.\)") as caught:
        TomographicProjector(series, PLAIN.region, memory="1MB")
    assert "reconstruct_to_file" not in str(caught.value)
    with pytest.raises(UsageError, match="region is of type tuple"):
        TomographicProjector(series, (1, 2, 3))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="complex numbers"):
        operator.forward(1j * np.ones(operator.volume_shape))
    bent = replace(series, local=FieldOf(lambda tilt, points: np.sin(points[:, :2] / 40)))
    with pytest.raises(UsageError, match="local alignment, which is applied in tiles with one CTF for each image"):
        TomographicProjector(bent, PLAIN.region, ctf_depth="on")


@pytest.mark.parametrize("switch", ["ctf", "keep_mean", "flatten", "local", "hot_pixels", "intensities"])
def test_a_switch_is_no_text(switch: str) -> None:
    with pytest.raises(UsageError, match=f"{switch} is of type str 'off'; needed: True or False"):
        TomographicProjector(series_of(PLAIN), PLAIN.region, **{switch: "off"})  # type: ignore[arg-type]
    Settings.of({switch: np.bool_(True)})  # type: ignore[misc]


@pytest.mark.parametrize(("columns", "value", "words"), [(3, 0.0, "shape"), (2, np.nan, "finite")])
def test_a_field_that_makes_no_sense_is_named(columns: int, value: float, words: str) -> None:
    field = FieldOf(lambda tilt, points: np.full((len(points), columns), value), "bent ice")
    with pytest.raises(DataError, match=f"bent ice.*image 1.*{words}"):
        TomographicProjector(replace(series_of(PLAIN), local=field), PLAIN.region)


def test_a_lattice_that_makes_no_sense_is_named() -> None:
    axes, values = (np.arange(3.0), np.arange(2.0), np.zeros(1)), np.zeros((5, 3, 2, 1, 2))
    SampledField(axes, values)
    with pytest.raises(DataError, match="must ascend"):
        SampledField((axes[0][::-1], *axes[1:]), values)
    with pytest.raises(DataError, match=r"needed: \(n_tilts, \*\(3, 2, 1\), 2\)"):
        SampledField(axes, values[..., 0])
    with pytest.raises(DataError, match="not finite"):
        SampledField(axes, values + np.nan)


BENT: dict[str, tuple[Geometry, dict[str, Any]]] = {
    "plain": (Geometry(TILTS[:2], (44, 41), 4.0, 2.0, 1.0, centre=(19.0, 21, 2), shape=(4, 42, 39)), {"ctf": False}),
    "ctf, axis near x": (
        Geometry(TILTS[:2], (39, 44), 87.0, 2.0, 1.0, centre=(19.0, 21, 2), shape=(5, 42, 39)),
        {"exposure": "grant", "taper_distance": 2.0},
    ),
    "binned": (replace(BINNED, tilts=TILTS[1:], image_shape=(78, 80), shape=(3, 40, 39), centre=(39.0, 40, 3)), {}),
    # some tiles are beside the images
    "wide": (Geometry(TILTS[1:], (30, 32), 4.0, centre=(45.0, 15, 2), shape=(4, 30, 110)), {}),
}


@pytest.mark.parametrize("case", BENT)
def test_a_local_alignment_is_projected_in_tiles(case: str) -> None:
    geometry, options = BENT[case]
    field = FieldOf(lambda tilt, points: np.sin(points[:, :2] / 40 + 3 * tilt))
    series = replace(series_of(geometry), local=field)
    operator = TomographicProjector(series, geometry.region, residual=0.03, n_threads=2, **options)
    rng = np.random.default_rng(1)
    volume, images = rng.standard_normal(operator.volume_shape), rng.standard_normal(operator.image_shape)
    drawn, summed = operator.forward(volume), operator.adjoint(images)
    one, other = np.vdot(drawn.astype(float), images), np.vdot(volume, summed.astype(float))
    assert abs(one - other) < 1e-6 * np.linalg.norm(drawn) * np.linalg.norm(images)
    # a shear brings the corners of the band beyond Nyquist's frequency of the images
    volume = gaussian_filter(volume, 1.2)
    drawn = operator.forward(volume)
    transfer = Transfer.of(
        series, Correction.of(options.get("ctf", True), None, options.get("exposure"), None), divides=False
    )
    tiles = Tiling.of(series, geometry.region, 0.03).tiles
    assert len(tiles) > 1
    exact = np.zeros(operator.image_shape)
    for tile in tiles:
        (x0, y0, z0), (x1, y1, z1) = tile.first, tile.stop
        x, y, z = tile.ramps
        part = volume[z0:z1, y0:y1, x0:x1] * z[:, None, None] * y[:, None] * x
        exact += projection(part, tile.region(geometry.region), tile_series(series, tile), transfer.evaluate)
    assert relative_error(drawn, operator.mask * exact) < 7e-4  # tiles are small beside the images
    straight = TomographicProjector(series, geometry.region, local=False, **options)
    assert relative_error(straight.forward(volume), drawn) > 0.2
