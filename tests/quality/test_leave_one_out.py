"""A deliberately bad image is the first in the list; sound images are not named."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from fourierrecon.quality.leave_one_out import tilt_gains
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import simulate
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.transfer import Correction, Transfer

#: Faults that are tried each time, one of each kind.
QUICK = {("shifted", 6), ("noise", 33), ("mirrored", 20), ("blurred", 20)}


@cache
def cell() -> TiltSeries:
    size = (128, 120, 40)
    return simulate(cell_like_specimen(size), size, ctf=realistic_ctf(41, seed=2), snr=0.2, seed=3).series


def gains(series: TiltSeries):  # type: ignore[no-untyped-def]
    return tilt_gains(series, Transfer.of(series, Correction()), n_threads=2)


def test_sound_images_do_not_hurt() -> None:
    rows = gains(cell())
    assert [row.number for row in rows if row.hurts] == []
    assert sorted(row.number for row in rows) == list(range(1, 42))
    assert np.median([row.signal for row in rows]) == pytest.approx(1, abs=0.25)
    assert np.median([row.agreement for row in rows]) > 0.1


def test_rounding_changes_nothing() -> None:
    series = cell()
    images = np.array(series.images)
    noise = np.random.default_rng(1).standard_normal(images.shape)
    rounded = replace(series, images=(images * (1 + 1e-6 * noise)).astype(np.float32))
    for row, other in zip(*(sorted(gains(s), key=lambda row: row.number) for s in (series, rounded)), strict=True):
        assert (row.signal, row.gain) == pytest.approx((other.signal, other.gain), abs=1e-4)


@pytest.mark.parametrize(
    ("fault", "tilt"),
    [
        pytest.param(fault, tilt, marks=[] if (fault, tilt) in QUICK else pytest.mark.slow)
        for fault in ("shifted", "noise", "mirrored", "blurred")
        for tilt in (6, 20, 33)
    ],
)
def test_a_bad_image_is_first(tilt: int, fault: str) -> None:
    series = cell()
    images = np.array(series.images)
    image = images[tilt]
    images[tilt] = {
        "shifted": np.roll(image, (9, -7), (0, 1)),
        "noise": np.random.default_rng(0).normal(image.mean(), image.std(), image.shape),
        "mirrored": image[::-1],
        "blurred": gaussian_filter(image, 6),
    }[fault]
    rows = gains(replace(series, images=images))
    assert rows[0].number == tilt + 1
    assert rows[0].hurts
    assert [row.number for row in rows[1:] if row.hurts] == []
