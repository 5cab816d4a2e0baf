"""Gold beads are found where several images show them, and erased with their streaks; what is no bead stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fourierrecon import DataError, TiltSeries, UsageError, reconstruct
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.images import RepairedImages, Repairs, lines_on, repaired
from fourierrecon.images.beads import Beads
from fourierrecon.images.repair import alike

TILTS = np.arange(-60.0, 61.0, 5.0)
SIZE = (128, 128, 48)
POINTS = np.array([(40.0, 50, 10), (80, 30, 30), (60, 95, 24), (100, 80, 40), (25, 100, 20)])


def make(depth: float, *, diameter: float = 8.0, noise: float = 1.0, missing: int | None = None) -> TiltSeries:
    """Give noise with beads of 8 nm, 10 Å/px; from one image all beads are missing."""
    matrices = projection_matrices(SIZE[1::-1], (64.0, 64.0, 24.0), TILTS, tilt_axis_angle=86.0)
    images = noise * np.random.default_rng(0).normal(size=(len(TILTS), 128, 128))
    v, u = np.mgrid[:128, :128]
    for tilt, matrix in enumerate(matrices):
        for x, y in POINTS @ matrix[:2, :3].T + matrix[:2, 3]:
            if tilt != missing:
                images[tilt] -= depth * np.sqrt(np.clip(1 - ((u - x) ** 2 + (v - y) ** 2) / (diameter / 2) ** 2, 0, 1))
    return TiltSeries(images.astype(np.float32), matrices, pixel_size=10.0, size=SIZE, name="TS_01")


def beads_of(series: TiltSeries) -> Beads:
    assert isinstance(series.images, RepairedImages)
    series.images.look()
    assert series.images.common.beads is not None
    return series.images.common.beads


@pytest.mark.parametrize("sign", [1, -1])
def test_beads_are_found_in_3d(sign: int) -> None:
    series = repaired(make(sign * 8.0), Repairs(erase_beads=8.0))
    beads = beads_of(series)
    distances = np.linalg.norm(beads.points[:, None] - POINTS, axis=2)
    assert len(beads) == len(POINTS)
    assert beads.dark is (sign > 0)
    assert distances.min(0).max() < 0.5
    assert "5 gold beads of 8 nm" in lines_on(series)[-1]


def test_streaks_go_and_the_rest_stays() -> None:
    with_beads, without = make(8.0), make(0.0)
    erased = repaired(with_beads, Repairs(erase_beads=8.0))
    clean, dirty, done = (
        reconstruct(series, weighting="wiener:snr=10", binning=2, ctf=False).data
        for series in (without, with_beads, erased)
    )
    z, y, x = np.indices(clean.shape) * 2
    distance = np.min([np.sqrt((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) for a, b, c in POINTS], 0)

    def streak(volume: np.ndarray) -> float:
        # along what is the same for all beads: x and z about each, in its own section
        patches = [(volume - clean)[c // 2 - 5 : c // 2 + 6, b // 2, a // 2 - 12 : a // 2 + 13] for a, b, c in INNER]
        mean = np.mean(patches, 0)
        mean[:, 8:17] = 0
        return float(np.abs(mean).mean())

    assert streak(dirty) > 5 * streak(done)
    far = distance > 12
    assert np.corrcoef(done[far], clean[far])[0, 1] > 0.95
    assert abs((done[far] * clean[far]).sum() / (clean[far] ** 2).sum() - 1) < 0.06


INNER = [(80, 30, 30), (60, 95, 24)]


def test_a_bead_is_erased_where_one_image_does_not_show_it() -> None:
    series = make(8.0, missing=3)
    erased = repaired(series, Repairs(erase_beads=8.0, hot_pixels=False))
    assert (np.asarray(erased.images[3]) != np.asarray(series.images[3])).sum() > 200


def test_even_and_odd_images_lose_the_same_discs() -> None:
    whole = repaired(make(8.0), Repairs(erase_beads=8.0, hot_pixels=False))
    faint = np.array(make(0.0, noise=5.0).images)
    half = alike(whole, {"Even": faint})["Even"]
    pairs = (whole.images[4], make(8.0).images[4]), (half[4], faint[4])
    changed = [np.asarray(image) != np.asarray(raw) for image, raw in pairs]
    assert (changed[0] == changed[1]).mean() > 0.999


def test_no_beads_is_a_warning() -> None:
    series = repaired(make(0.0), Repairs(erase_beads=8.0))
    with pytest.warns(UserWarning, match="no beads of 8 nm found in the images of TS_01, so none is erased"):
        series.images[0]
    assert lines_on(series) == ()


def test_beads_of_another_size_are_a_warning() -> None:
    series = repaired(make(8.0), Repairs(erase_beads=22.0))
    with pytest.warns(UserWarning, match="beads of 22 nm in TS_01 look .* nm wide, so none is erased"):
        series.images[0]


@pytest.mark.parametrize(
    ("diameter", "message"),
    [
        (0.0, "must be the diameter of gold beads, 1 to 100 nm"),
        (float("nan"), "must be the diameter of gold beads"),
        (1.5, "is 1.5 px in images of 10 Å/px"),
        (50.0, "is 50 px in images of 128 x 128 px"),
    ],
)
def test_diameters_that_make_no_sense_are_refused(diameter: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        repaired(make(0.0), Repairs(erase_beads=diameter))


def test_repairs_pass_to_selections() -> None:
    whole = repaired(make(8.0), Repairs(erase_beads=8.0))
    part = repaired(whole.select([4, 7]), Repairs())
    assert np.array_equal(part.images[1], whole.images[7])
    assert replace(part, name="TS_02").images is part.images


def test_an_image_that_is_not_finite_is_refused_by_name() -> None:
    series = make(8.0)
    np.asarray(series.images)[3, 5, 5] = np.nan
    with pytest.raises(DataError, match=r"image 4 of 25 .* NaN"):
        reconstruct(series, binning=4, weighting="none", ctf=False, erase_beads=8.0)
