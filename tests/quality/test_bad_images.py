"""Images that cannot be used are found, and left out of the halves as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fourierrecon import TiltSeries, reconstruct
from fourierrecon.errors import DataError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.geometry.sound_images import numbers_in_source
from fourierrecon.io import read_tilt_series, read_volume
from fourierrecon.io.relion.import_set import write_set
from fourierrecon.quality.bad_images import find_bad_images, without_bad_images

Run = Callable[..., tuple[int, str, str]]


def test_bad_images_are_found() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(100, 5, (9, 40, 50)).astype(np.float32)
    images[1] = 0
    images[3] = 7
    images[4, 5, 6] = np.nan
    images[6] = 100 + rng.normal(0, 0.01, (40, 50))
    images[8, :2, :2] = 1e6
    images[3, 0, 0] = 1e4
    series = TiltSeries(images, projection_matrices((40, 50), (25, 20, 8), np.linspace(-40, 40, 9)), 10.0)
    found = find_bad_images(series)
    assert {tilt: words.partition(":")[0] for tilt, words in found.items()} == {
        1: "blank", 3: "blank", 4: "not finite", 6: "blank"
    }  # fmt: skip
    excluded = replace(series, excluded=(2, 11))
    assert numbers_in_source(excluded) == [1, 3, 4, 5, 6, 7, 8, 9, 10]
    with pytest.warns(UserWarning, match="left out") as said:
        rest, kept = without_bad_images(excluded)
    assert kept == [0, 2, 5, 7, 8]
    assert rest.excluded == (2, 3, 5, 6, 8, 11)
    assert [str(each.message).split()[1] for each in said] == ["3", "5", "6", "8"]
    np.testing.assert_array_equal(rest.images[1], images[2])
    assert without_bad_images(series.select([0, 2, 5]))[1] == [0, 1, 2]
    with pytest.raises(DataError, match="no image"):
        without_bad_images(series.select([1, 3]))


def test_bad_images_go_from_the_halves_as_well(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    even, odd = (rng.normal(size=(7, 36, 40)).astype(np.float32) for _ in range(2))
    images = (even + odd) / 2
    images[2] = 0
    matrices = projection_matrices((36, 40), (20, 18, 8), np.linspace(-45, 45, 7), 3.0)
    series = TiltSeries(images, matrices, 10.0, "a", size=(40, 36, 16), rotation_centre=(20, 18, 8))
    path, _ = write_set(tmp_path / "set", [(series, {"Even": even, "Odd": odd})], "relion5")
    line = f"reconstruct --t {path} --bin 1 --noctf --halves frames --skip_bad_images --quiet --o {tmp_path}/out/"
    assert run(line)[0] == 0
    kept = [0, 1, 3, 4, 5, 6]
    whole = read_tilt_series(path)
    for ending, stack in (("", images), ("_half1", even), ("_half2", odd)):
        chosen = replace(whole, images=stack).select(kept)
        wanted = reconstruct(chosen, ctf=False)
        got = read_volume(tmp_path / f"out/tomograms/rec_a{ending}.mrc")
        np.testing.assert_allclose(got.data, wanted.data, atol=1e-4 * np.abs(wanted.data).max())
    # what is there fits its key
    assert "1 there already" in run(line)[1]
