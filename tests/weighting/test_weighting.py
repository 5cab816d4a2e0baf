"""Weighting strategies: one battery of laws for all in the registry, then what each of them promises."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fourierrecon import reconstruct
from fourierrecon.weighting import (
    Weighting,
    from_text,
)
from tests.helpers.reference import (
    relative_error,
)
from tests.helpers.weightings import (
    BLOCKS,
    FX,
    FY,
    SERIES,
    block,
    by_name,
    every,
    one_of_each,
    parameters,
    small,
    views,
)


def normalise(strategy: Weighting, data: NDArray[np.complex64], weights: NDArray[np.float32]) -> None:
    """Normalise as the engine does, at some frequencies up to 1/10 Å."""
    if strategy.uses_frequency:
        frequency = np.linspace(0, 0.1, data.size, dtype=np.float32).reshape(data.shape)
        strategy.normalise(data, weights, ((frequency + frequency[::-1, ::-1]) / 2).astype(np.float32))
    else:
        strategy.normalise(data, weights)


# -- the battery: blocks of the grid ---------------------------------------------------------------------------------


@every
@settings(deadline=None, max_examples=20)
@given(spec=BLOCKS)
def test_finite_stays_finite_and_nothing_stays_nothing(strategy: Weighting, spec: tuple[int, int, int, float]) -> None:
    data, weights = block(spec)
    kept = weights.copy()
    normalise(strategy, data, weights)
    assert np.isfinite(data).all()
    assert (data[weights == 0] == 0).all()
    np.testing.assert_array_equal(weights, kept)


@every
@settings(deadline=None, max_examples=20)
@given(spec=BLOCKS, scale=st.floats(-50, 50))
def test_normalisation_is_linear_in_the_data(
    strategy: Weighting, spec: tuple[int, int, int, float], scale: float
) -> None:
    if not strategy.linear:
        pytest.skip("does not claim to be linear")
    one, weights = block(spec)
    other = one[::-1] * (weights > 0)
    total = (one + np.float32(scale) * other).astype(np.complex64)
    largest = float(np.abs(one).max() + abs(scale) * np.abs(other).max())
    parts = [one.copy(), other.copy()]
    for part in (*parts, total):
        normalise(strategy, part, weights)
    gain = max(float(np.abs(p).max()) for p in parts) + 1e-30
    np.testing.assert_allclose(
        total, parts[0] + np.float32(scale) * parts[1], atol=2e-6 * gain * (1 + abs(scale)) + 1e-6 * largest
    )


@every
@settings(deadline=None, max_examples=20)
@given(spec=BLOCKS)
def test_hermitian_planes_stay_hermitian(strategy: Weighting, spec: tuple[int, int, int, float]) -> None:
    data, weights = block(spec)
    data, weights = data + data[::-1, ::-1].conj(), weights + weights[::-1, ::-1]
    normalise(strategy, data, weights)
    np.testing.assert_allclose(data, data[::-1, ::-1].conj(), rtol=1e-6)


@by_name
@settings(deadline=None, max_examples=30)
@given(spec=BLOCKS, snrs=st.tuples(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6)))
def test_gain_grows_with_the_signal(name: str, spec: tuple[int, int, int, float], snrs: tuple[float, float]) -> None:
    if "snr" not in parameters(name):
        pytest.skip("has no SNR")
    low, high = (from_text(f"{name}:snr={snr!r}") for snr in sorted(snrs))
    (one, weights), (two, _) = block(spec), block(spec)
    low.normalise(one, weights)
    high.normalise(two, weights)
    assert (np.abs(two) >= np.abs(one) * (1 - 1e-6)).all()
    filters = [s.image_filter(1, FX, FY, views()) for s in (low, high)]
    assert (filters[1] >= filters[0] * (1 - 1e-6)).all()


# -- the battery: small reconstructions ------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("ctf", [False, True])
@pytest.mark.parametrize("name", SERIES)
def test_volumes_are_finite(strategy: Weighting, name: str, ctf: bool) -> None:
    series, region = small(name)
    volume = reconstruct(series, region, strategy, ctf=ctf, n_threads=1).data
    assert np.isfinite(volume).all()
    assert volume.std() > 0


@every
@pytest.mark.parametrize("ctf", [False, True])
def test_volumes_scale_with_the_images(strategy: Weighting, ctf: bool) -> None:
    series, region = small("as usual")
    scaled = dataclasses.replace(series, images=-512 * np.stack([series.images[f] for f in range(series.n_tilts)]))
    one, two = (reconstruct(s, region, strategy, ctf=ctf, n_threads=1).data for s in (series, scaled))
    assert relative_error(two / -512, one) < 1e-5


@every
@pytest.mark.parametrize("ctf", [False, True])
def test_volumes_add_up(strategy: Weighting, ctf: bool) -> None:
    if not strategy.linear:
        pytest.skip("does not claim to be linear")
    series, region = small("as usual", 86.0)
    rng = np.random.default_rng(7)
    parts = [rng.standard_normal(series.images.shape).astype(np.float32) for _ in range(2)]
    one, two, both = (
        reconstruct(dataclasses.replace(series, images=i), region, strategy, ctf=ctf, n_threads=1).data
        for i in (parts[0], parts[1], parts[0] - 3 * parts[1])
    )
    assert relative_error(one - 3 * two, both) < 1e-5


@one_of_each
@pytest.mark.parametrize("axis", [4.0, 86.0])
def test_a_world_turned_by_180_degrees_gives_the_turned_volume(name: str, axis: float) -> None:
    # nothing prefers a side: world and region turned about z, the same images
    series, region = small("as usual", axis)
    turn = np.diag([-1.0, -1, 1, 1])
    turn[:2, 3] = [region.shape[2] - 1, region.shape[1] - 1]
    turned = dataclasses.replace(series, projections=series.projections @ turn)
    one, two = (reconstruct(s, region, from_text(name), n_threads=1).data for s in (series, turned))
    assert relative_error(two[:, ::-1, ::-1], one) < 0.02


@one_of_each
def test_the_order_of_tilts_does_not_matter(name: str) -> None:
    series, region = small("as usual")
    one, two = (
        reconstruct(s, region, from_text(name), n_threads=1).data
        for s in (series, series.select([3, 6, 0, 1, 5, 4, 2]))
    )
    assert relative_error(two, one) < 1e-5
