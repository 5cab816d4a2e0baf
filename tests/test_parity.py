"""RELION's own volumes, and a real tilt series: the same sizes, the same places, the same structures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.io import read_tilt_series
from fourierrecon.io.volumes.mrc import read_mrc_volume
from fourierrecon.quality.fsc import fourier_shell_correlation
from fourierrecon.quality.spectrum import fourier_filter
from fourierrecon.weighting import NoWeighting, PreWeight, Weighting
from tests.helpers.real_data import real_data
from tests.helpers.reference import border_distance, relative_error, world_points

REGION = {"origin": (31.0, 21.0, 11.0), "size": (80.0, 88.0, 40.0)}


def volume(
    series: TiltSeries, region: Region, weighting: Weighting | None = None, **options: Any
) -> NDArray[np.float32]:
    return reconstruct(series, region, weighting or NoWeighting(), ctf=False, n_threads=2, **options).data


def seen_by_all(series: TiltSeries, region: Region) -> NDArray[np.float32]:
    """A soft mask of the voxels that all images see, as RELION has them.

    RELION makes binned images an even number of pixels wide, ``int(n / B)`` less one if odd, and leaves rows
    blank that the images see: they do not count here.
    """
    height, width = series.image_shape
    if region.binning > 1.01:
        height, width = (int((int(n / region.binning) // 2 * 2 - 1) * region.binning) + 1 for n in (height, width))
    points, nearest = world_points(region), np.full(np.prod(region.shape), np.inf)
    for projection in series.projections:
        np.minimum(nearest, border_distance(projection[None], points, (height, width))[0], out=nearest)
    mask = 0.5 - 0.5 * np.cos(np.pi * np.clip(nearest / region.binning / 8, 0, 1))
    return np.asarray(mask.reshape(region.shape), np.float32)


def correlations(
    a: NDArray[np.float32], b: NDArray[np.float32], mask: NDArray[np.float32] | None = None
) -> tuple[float, float]:
    """Lowest Fourier shell correlation up to half of Nyquist and up to 0.8 of it."""
    frequency, correlation = fourier_shell_correlation(a, b, mask=mask)
    known = frequency > 0.02
    return (
        float(correlation[known & (frequency <= 0.25)].min()),
        float(correlation[known & (frequency <= 0.4)].min()),
    )


CASES = {
    "cell, bin 4": ("mycoplasma/tomograms.star", "mycoplasma/relion_out/r4_plain_bin4.mrc", 4.0, {}),
    "bin 1": ("relion_small/relion4/tomograms.star", "relion_small/relion_out/r4_plain_bin1.mrc", 1.0, {}),
    "bin 2": ("relion_small/relion4/tomograms.star", "relion_small/relion_out/r4_plain_bin2.mrc", 2.0, {}),
    "bin 3.3": ("relion_small/relion4/tomograms.star", "relion_small/relion_out/r4_plain_bin3.3.mrc", 3.3, {}),
    "region": ("relion_small/relion4/tomograms.star", "relion_small/relion_out/r4_plain_bin2_region.mrc", 2.0, REGION),
    "RELION 5": ("relion_small/relion5/tomograms.star", "relion_small/relion_out/r5_plain_bin2.mrc", 2.0, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_plain_volume_correlates_with_relions(name: str) -> None:
    star, reference, binning, box = CASES[name]
    series = read_tilt_series(real_data(star))
    region = Region.of(series, binning=binning, **box)
    theirs = read_mrc_volume(real_data(reference))
    ours = volume(series, region)
    assert ours.shape == theirs.data.shape
    half, most = correlations(ours, theirs.data, seen_by_all(series, region))
    assert half >= 0.99
    assert most >= 0.9


@pytest.mark.parametrize(("name", "least"), [("bin 1", 0.97), ("bin 2", 0.99), ("RELION 5", 0.99)])
def test_plain_volume_correlates_with_relions_up_to_the_faces(name: str, least: float) -> None:
    # unbinned images fade out over three voxels beyond their border, for exactness up to it: RELION cuts them off
    star, reference, binning, _ = CASES[name]
    series = read_tilt_series(real_data(star))
    half, most = correlations(
        volume(series, Region.of(series, binning=binning)), read_mrc_volume(real_data(reference)).data
    )
    assert half >= least
    assert most >= 0.9


@pytest.mark.parametrize("name", ["bin 1", "bin 2", "bin 3.3", "region"])
def test_grey_values_are_relions(name: str) -> None:
    # plain volumes are means over images in both: the same scale, not only the same shape
    star, reference, binning, box = CASES[name]
    series = read_tilt_series(real_data(star))
    region = Region.of(series, binning=binning, **box)
    mask = seen_by_all(series, region)
    # low frequencies: interpolated bilinearly, theirs fade towards Nyquist
    ours, theirs = (
        fourier_filter(v * mask, None, 0.1)[mask > 0.5]
        for v in (volume(series, region), read_mrc_volume(real_data(reference)).data)
    )
    assert np.polyfit(theirs, ours, 1)[0] == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("binning", [4.0, 5.3])
def test_both_sets_of_the_cell_give_one_volume(binning: float) -> None:
    four, five = (read_tilt_series(real_data(f"mycoplasma/{n}")) for n in ("tomograms.star", "relion5_tomograms.star"))
    volumes = [volume(s, Region.of(s, binning=binning)) for s in (four, five)]
    assert relative_error(volumes[1], volumes[0]) <= 1e-5


@pytest.mark.parametrize("binning", [1.0, 2.0, 3.3])
@pytest.mark.parametrize("weighting", [NoWeighting(), PreWeight()], ids=lambda w: w.name)
def test_both_sets_of_the_phantom_give_one_volume(binning: float, weighting: Weighting) -> None:
    four, five = (read_tilt_series(real_data(f"relion_small/relion{n}/tomograms.star")) for n in (4, 5))
    volumes = [volume(s, Region.of(s, binning=binning), weighting) for s in (four, five)]
    assert relative_error(volumes[1], volumes[0]) <= 1e-5


def test_halves_are_those_of_relion_and_add_up_to_the_full_volume() -> None:
    star = real_data("relion_small/relion5/tomograms.star")
    full, even, odd = (read_tilt_series(star, images=w) for w in ("full", "even", "odd"))
    region = Region.of(full, binning=2)
    # as the images are: what replaces a hot pixel is no sum of what replaces it in the halves
    halves = [volume(s, region, hot_pixels=False) for s in (even, odd)]
    # frames are added up in these stacks: a half has half the counts
    assert relative_error(halves[0] + halves[1], volume(full, region, hot_pixels=False)) < 1e-4
    mask = seen_by_all(full, region)
    theirs = [read_mrc_volume(real_data(f"relion_small/relion_out/r5_plain_bin2_half{n}.mrc")).data for n in (1, 2)]
    for i in range(2):
        assert correlations(halves[i], theirs[i], mask)[0] >= 0.99
        # each is the half that it says it is
        assert correlations(halves[i], theirs[1 - i], mask)[1] < correlations(halves[i], theirs[i], mask)[1] - 0.05
