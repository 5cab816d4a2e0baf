"""The specimen's slab in volumes: slabs of known thickness and tilt, simulated and reconstructed; and none at all."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from fourierrecon import Region, Volume, reconstruct
from fourierrecon.errors import UsageError
from fourierrecon.geometry.projection import rotation
from fourierrecon.io import map_volume, write_mrc
from fourierrecon.quality.specimen_slab import SpecimenSlab, estimate_slab
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.simulate import Simulation, simulate
from fourierrecon.weighting import Wiener

PIXEL = 10.0


def turned(tilt_x: float, tilt_y: float) -> NDArray[np.float64]:
    return np.asarray(rotation("x", tilt_x) @ rotation("y", tilt_y))


@cache
def series(size: tuple[int, int, int], thickness: float, tilt_x: float, tilt_y: float, snr: float) -> Simulation:
    """Simulate a slab full of small things; it goes on beyond the field."""
    rng = np.random.default_rng(0)
    width, height, depth = size
    points = rng.uniform(-0.5, 0.5, (3500, 3)) * [1.8 * width, 1.8 * height, thickness / PIXEL]
    centres = points @ turned(tilt_x, tilt_y).T + [width // 2, height // 2, depth // 2]
    specimen = Gaussians(centres, rng.uniform(1.2, 2.5, len(points)), rng.uniform(0.3, 1, len(points)))
    return simulate(specimen, size, pixel_size=PIXEL, snr=snr, seed=1)


def filled(
    shape: tuple[int, int, int], thickness: float, tilt_x: float, tilt_y: float, centre: float = 0.0, noise: float = 0.3
) -> Volume:
    """Make a volume with a slab of random density, lengths in voxels."""
    rng = np.random.default_rng(2)
    grey = gaussian_filter(rng.normal(size=shape), 1.2)
    z, y, x = (np.arange(n, dtype=float) - (n - 1) / 2 for n in shape)
    normal = turned(tilt_x, tilt_y)[:, 2]
    height = normal[0] * x + normal[1] * y[:, None] + normal[2] * (z[:, None, None] - centre)
    grey = grey / grey.std() * (np.abs(height) < thickness / 2)
    noise_part = gaussian_filter(rng.normal(size=shape), 1.2)
    return Volume((grey + noise * noise_part / noise_part.std()).astype(np.float32), 12.0, (0.0, 0.0, 0.0))


def check(slab: SpecimenSlab, thickness: float, tilt_x: float, tilt_y: float, centre: float, within: float) -> None:
    assert slab.found
    assert slab.thickness == pytest.approx(thickness, abs=within)
    assert slab.centre == pytest.approx(centre, abs=0.6 * within)
    assert (slab.tilt_x, slab.tilt_y) == pytest.approx((tilt_x, tilt_y), abs=1.3)
    assert slab.contrast > 1.5


@pytest.mark.parametrize("binning", [1.0, 2.0])
@pytest.mark.parametrize(
    ("size", "thickness", "tilt_x", "tilt_y", "snr"),
    [
        ((160, 176, 90), 400.0, 0.0, 0.0, 0.1),
        ((161, 143, 91), 300.0, -5.0, 3.0, 0.3),
        ((176, 160, 130), 550.0, 4.0, -7.0, 0.3),
    ],
)
def test_slabs_in_tomograms(
    size: tuple[int, int, int], thickness: float, tilt_x: float, tilt_y: float, snr: float, binning: float
) -> None:
    tilts = series(size, thickness, tilt_x, tilt_y, snr).series
    volume = reconstruct(tilts, Region.of(tilts, binning=binning), Wiener(snr=10.0), ctf=False, n_threads=2)
    # z counts from the middle of the voxels
    depth, first = volume.data.shape[0], volume.origin[2]
    middle = first + (depth - 1) / 2 * volume.voxel_size
    check(estimate_slab(volume), thickness, tilt_x, tilt_y, size[2] // 2 * PIXEL - middle, max(36, 0.14 * thickness))


@pytest.mark.parametrize(
    ("shape", "thickness", "tilt_x", "tilt_y", "centre"),
    [
        ((80, 130, 151), 34.0, 0.0, 0.0, 0.0),
        ((90, 131, 120), 30.0, 6.0, 4.0, 7.0),
        ((101, 110, 160), 44.0, -3.0, -9.0, -5.0),
        ((64, 240, 236), 20.0, 2.0, 4.0, 3.0),
    ],
)
def test_slabs_of_noise(
    shape: tuple[int, int, int], thickness: float, tilt_x: float, tilt_y: float, centre: float
) -> None:
    slab = estimate_slab(filled(shape, thickness, tilt_x, tilt_y, centre))
    check(slab, 12 * thickness, tilt_x, tilt_y, 12 * centre, 30)
    assert len(slab.z) == len(slab.profile)
    assert slab.z[0] == pytest.approx(-slab.z[-1])
    # what is outside varies as little as the noise: 0.3² beside 1 + 0.3²
    assert slab.contrast == pytest.approx(1.09 / 0.09, rel=0.4)


def test_dense_beads_do_not_count() -> None:
    volume = filled((80, 130, 151), 34.0, 0.0, 0.0)
    data = volume.data.copy()
    for z, y, x in np.random.default_rng(0).integers([2, 20, 20], [78, 110, 130], (25, 3)):
        data[z - 2 : z + 2, y - 2 : y + 2, x - 2 : x + 2] += 60
    check(estimate_slab(replace(volume, data=data)), 12 * 34, 0, 0, 0, 36)


@pytest.mark.parametrize("noise", [0.3, 1e3])
def test_no_slab(noise: float) -> None:
    slab = estimate_slab(filled((60, 120, 130), 200.0, 2.0, -3.0, noise=noise))
    assert not slab.found
    assert "fills the depth" in slab.problem or "same at all depths" in slab.problem
    assert all(map(math.isnan, (slab.thickness, slab.centre, slab.tilt_x, slab.tilt_y)))
    assert np.isfinite(slab.profile).all()


def test_volumes_of_any_type_in_a_file_and_empty_ones(tmp_path: Path) -> None:
    volume = filled((64, 120, 111), 25.0, 3.0, -2.0)
    write_mrc(tmp_path / "a.mrc", volume)
    whole, mapped = estimate_slab(volume), estimate_slab(map_volume(tmp_path / "a.mrc"))
    assert mapped.thickness == pytest.approx(whole.thickness)
    integers = replace(volume, data=np.asarray(np.round(volume.data * 25), np.int8))
    assert estimate_slab(integers).thickness == pytest.approx(whole.thickness, rel=0.02)
    holes = volume.data.copy()
    holes[5, 7] = np.nan
    assert estimate_slab(replace(volume, data=holes)).found
    empty = estimate_slab(replace(volume, data=np.full_like(volume.data, 3)))
    assert empty.problem == "the volume has no contrast"


def test_what_makes_no_sense_is_refused() -> None:
    data = np.zeros((6, 60, 60), np.float32)
    with pytest.raises(UsageError, match="too few"):
        estimate_slab(Volume(data, 10.0, (0, 0, 0)))
    with pytest.raises(UsageError, match="voxel size"):
        estimate_slab(Volume(data, 0.0, (0, 0, 0)))
