"""Real sets of RELION 4 and 5, and a whole project."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon.errors import DataError
from fourierrecon.io import (
    MrcStack,
    list_tomograms,
    read_tilt_series,
)
from fourierrecon.io.relion.read import Which
from tests.helpers.real_data import real_data
from tests.helpers.relion_sets import image_points


@pytest.mark.parametrize(
    ("four", "five", "tolerance"),
    [
        ("mycoplasma/optimisation_set.star", "mycoplasma/relion5_tomograms.star", 1e-3),
        ("relion_small/relion4/optimisation_set.star", "relion_small/relion5/tomograms.star", 1e-3),
    ],
)
def test_shared_sets_of_both_versions_agree(four: str, five: str, tolerance: float) -> None:
    a, b = read_tilt_series(real_data(four)), read_tilt_series(real_data(five))
    assert (a.world_origin, b.world_origin) == (1, 0)
    np.testing.assert_allclose(image_points(a), image_points(b), atol=tolerance)
    assert a.ctf is not None
    assert b.ctf is not None
    np.testing.assert_allclose(a.ctf.defocus_u, b.ctf.defocus_u)
    np.testing.assert_allclose(a.tilt_angles, b.tilt_angles, atol=1e-3)
    np.testing.assert_array_equal(a.images[3], b.images[3])


def test_shared_half_sets() -> None:
    path = real_data("relion_small/relion5/tomograms.star")
    choices: tuple[Which, ...] = ("full", "even", "odd")
    full, even, odd = (read_tilt_series(path, images=which).images[0].astype(float) for which in choices)
    assert not np.array_equal(even, odd)
    assert np.corrcoef(full.ravel(), (even + odd).ravel())[0, 1] > 0.9


class Blank:
    """Stands for images that are not there."""

    def __init__(self, sources: list[object]) -> None:
        self.shape = (len(sources), 8, 10)

    def __getitem__(self, index: int, /) -> NDArray[np.float32]:
        return np.zeros(self.shape[1:], np.float32)


def test_a_whole_relion5_project(monkeypatch: pytest.MonkeyPatch) -> None:
    project = real_data("metadata/relion5-tutorial_EMPIAR-10164_metadata")
    names = ["TS_01", "TS_03", "TS_43", "TS_45", "TS_54"]
    aligned = [
        project / "AlignTiltSeries" / "job005" / "aligned_tilt_series.star",
        project / "Tomograms" / "job006" / "tomograms.star",
        project / "CtfRefine" / "job027" / "optimisation_set.star",
        project / "Polish" / "job030" / "tomograms.star",
    ]
    for path in aligned:
        assert list_tomograms(path) == names
        for name in names:
            with pytest.raises(DataError, match=r"rlnMicrographName, row 1: file MotionCorr/.* not found; looked in"):
                read_tilt_series(path, name)
    with pytest.raises(DataError, match="rlnTomoTiltSeriesPixelSize is missing"):
        read_tilt_series(project / "Import" / "job001" / "tilt_series.star", "TS_01")
    with pytest.raises(DataError, match=r"missing rlnTomoYTilt.*aligned\?"):
        read_tilt_series(project / "CtfFind" / "job003" / "tilt_series_ctf.star", "TS_01")
    monkeypatch.setattr("fourierrecon.io.relion.read.FileImages", Blank)
    monkeypatch.setattr("fourierrecon.io.relion.read._find_image", lambda *_: Path(os.devnull))
    for path in aligned:
        for name in names:
            series = read_tilt_series(path, name)
            assert series.n_tilts == 40 or name != "TS_01"
            assert series.pixel_size == 1.35
            assert series.ctf is not None
            assert series.size in (None, (4000, 4000, 2000))


def test_odd_headers_of_real_stacks() -> None:
    for path in real_data("needle").glob("*.mrc"):
        with pytest.warns(UserWarning, match="no MAP mark"):
            images = MrcStack(path)
        assert images[0].shape == images.shape[1:]
