"""Several volumes from one reading: each is what it would be alone, and the images are read once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.engine.settings import Settings
from fourierrecon.engine.several_volumes import VolumeOrder
from fourierrecon.errors import UsageError
from fourierrecon.reconstruction import reconstruct_many
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.volume import SlabWriter
from fourierrecon.weighting import NoWeighting, PreWeight, Weighting, Wiener
from tests.helpers.reference import Geometry, relative_error

TILTS = np.linspace(-57, 60, 9)
EVEN, ODD = tuple(range(0, 9, 2)), tuple(range(1, 9, 2))
STRATEGIES = [NoWeighting(), PreWeight(10.0), Wiener(10.0)]


class Counted:
    """Images that count how often each is read."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self.images, self.read = images, Counter[int]()
        self.shape = images.shape

    def __getitem__(self, i: int, /) -> NDArray[np.float32]:
        self.read[i] += 1
        found: NDArray[np.float32] = self.images[i]
        return found


class Collected:
    """Volumes by name, as they come."""

    def __init__(self) -> None:
        self.volumes: dict[str, NDArray[np.float32]] = {}

    def order(self, name: str, series: TiltSeries, region: Region, strategy: Weighting, **more: Any) -> VolumeOrder:
        @contextmanager
        def open_volume() -> Iterator[SlabWriter]:
            volume = self.volumes[name] = np.full(region.shape, np.nan, np.float32)

            def write(z: int, slab: NDArray[np.float32]) -> None:
                volume[z] = slab

            yield write

        return VolumeOrder(series=series, open=open_volume, region=region, weighting=strategy, **more)


def a_series(images: Any = None) -> tuple[TiltSeries, Geometry]:
    geometry = Geometry(tuple(TILTS), (40, 44), 4.0, 2.0, 1.0, 0.0, (20, 18, 11), (0.0, 0.0, 0.0), (22, 36, 41))
    if images is None:
        images = np.random.default_rng(5).normal(size=(9, 40, 44)).astype(np.float32)
    return geometry.series(images, ctf=realistic_ctf(9, 0)), geometry


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.name)
@pytest.mark.parametrize("keep_mean", [False, True])
def test_halves_are_what_they_would_be_alone(strategy: Weighting, keep_mean: bool) -> None:
    series, geometry = a_series()
    region, found = geometry.region, Collected()
    parts = {"full": None, "even": EVEN, "odd": ODD}
    orders = [found.order(name, series, region, strategy, tilts=tilts) for name, tilts in parts.items()]
    reconstruct_many(orders, Settings(n_threads=2, keep_mean=keep_mean))
    for name, tilts in parts.items():
        alone = series if tilts is None else series.select(tilts)
        expected = reconstruct(alone, region, strategy, n_threads=1, keep_mean=keep_mean).data
        # the padding of all tilts may be wider than that of a half: the same to the precision of the engine
        assert relative_error(found.volumes[name], expected) < 2e-3, name


def test_halves_of_plain_sums_add_up() -> None:
    # pre-weighting is linear once the filters are given; plain means are, weighted by how many images see a voxel
    series, geometry = a_series()
    region, found = geometry.region, Collected()
    parts = {"full": None, "even": EVEN, "odd": ODD}
    orders = [found.order(name, series, region, NoWeighting(), tilts=tilts) for name, tilts in parts.items()]
    reconstruct_many(orders, Settings(ctf=False))
    middle = (slice(8, 14), slice(12, 24), slice(14, 28))  # seen by all
    full, even, odd = (found.volumes[name][middle] for name in parts)
    np.testing.assert_allclose((5 * even + 4 * odd) / 9, full, atol=1e-5 * np.abs(full).max())


def test_images_are_read_once() -> None:
    images = Counted(np.random.default_rng(5).normal(size=(9, 40, 44)).astype(np.float32))
    series, geometry = a_series(images)
    coarse = Region.of(series, binning=2.0, origin=geometry.region.origin, size=(41, 36, 22))
    found = Collected()
    orders = [
        found.order(f"{strategy.name} {region.binning} {tilts}", series, region, strategy, tilts=tilts)
        for strategy in STRATEGIES
        for region in (geometry.region, coarse)
        for tilts in (None, EVEN, ODD)
    ]
    reconstruct_many(orders, Settings(n_threads=2))
    assert len(found.volumes) == 18
    assert set(images.read) == set(range(9))
    assert set(images.read.values()) == {1}
    expected = reconstruct(series, coarse, Wiener(10.0), n_threads=1).data
    assert relative_error(found.volumes["wiener 2.0 None"], expected) < 1e-6


def test_other_images_of_the_same_geometry() -> None:
    series, geometry = a_series()
    other, _ = a_series(np.random.default_rng(8).normal(size=(9, 40, 44)).astype(np.float32))
    found = Collected()
    orders = [
        found.order("one", series, geometry.region, Wiener()),
        found.order("two", other, geometry.region, Wiener()),
    ]
    reconstruct_many(orders, Settings())
    for name, alone in (("one", series), ("two", other)):
        expected = reconstruct(alone, geometry.region, Wiener()).data
        assert relative_error(found.volumes[name], expected) < 1e-6


def test_little_memory_goes_to_scratch_files(tmp_path: Path) -> None:
    series, geometry = a_series()
    found, enough = Collected(), Collected()
    for collected, memory in ((found, 10_000_000_000), (enough, None)):
        orders = [
            collected.order(f"{strategy.name} {tilts}", series, geometry.region, strategy, tilts=tilts)
            for strategy in STRATEGIES
            for tilts in (None, EVEN)
        ]
        reconstruct_many(orders, Settings(memory=memory, scratch=tmp_path, n_threads=1))
    for name, volume in found.volumes.items():
        assert relative_error(volume, enough.volumes[name]) < 1e-6
    assert list(tmp_path.iterdir()) == []


def test_tilts_that_see_nothing() -> None:
    series, geometry = a_series()
    found = Collected()
    with pytest.raises(UsageError, match="tilts must be chosen from 0 to 8"):
        reconstruct_many([found.order("a", series, geometry.region, PreWeight(), tilts=(20,))], Settings(ctf=False))
    with pytest.raises(UsageError, match="none of the chosen images sees the region"):
        reconstruct_many([found.order("a", series, geometry.region, Wiener(), tilts=(20,))], Settings(ctf=False))
