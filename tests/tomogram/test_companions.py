"""Coverage, weights and wedges against what the geometry says; lists for denoising are read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fourierrecon import Region
from fourierrecon.engine.settings import Settings
from fourierrecon.io import read_mrc_volume
from fourierrecon.io.denoising import MARKS, Pair, write_lists
from fourierrecon.io.star.table import read_tables
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.tomogram.companions import coverage, fourier_weight, wedge
from tests.helpers.reference import Geometry

Run = Callable[..., tuple[int, str, str]]
TILTS = tuple(np.linspace(-60, 60, 13))


@pytest.mark.parametrize("axis", [4.0, 88.0])
def test_coverage_counts_the_images_that_see_a_voxel(axis: float) -> None:
    geometry = Geometry(TILTS, (40, 45), axis, centre=(20, 18, 11), shape=(22, 36, 41))
    series = geometry.series(np.ones((13, 40, 45), np.float32))
    region = Region((-6.0, -4.0, -3.0), (15, 24, 27), 2.0)
    count = np.full(region.shape, np.nan)
    for number, slab in coverage(series, region, Settings()):
        count[number] = slab
    z, y, x = np.meshgrid(*(np.arange(n) for n in region.shape), indexing="ij")
    world = np.stack([x, y, z], -1) * 2.0 + region.origin
    expected = np.zeros(region.shape)
    border = np.zeros(region.shape, bool)
    for matrix in series.projections:
        u, v = (world @ matrix[:2, :3].T + matrix[:2, 3]).transpose(3, 0, 1, 2)
        inside = np.minimum(np.minimum(u, 44 - u), np.minimum(v, 39 - v))
        expected += inside >= 0
        border |= np.abs(inside) < 2.5
    assert count.min() >= 0
    assert (expected == 0).any()
    assert (expected == 13).any()
    np.testing.assert_allclose(count[~border], expected[~border], atol=1e-4)


@pytest.mark.parametrize("axis", [0.0, 90.0])
def test_every_count_up_to_121_is_itself(axis: float) -> None:
    """1 over the mean of n images is not always n in floating point: 41 and 61 were once shown as 1."""
    region = Region((4.0, 4.0, -1.0), (3, 6, 7))
    for n in range(1, 122):
        geometry = Geometry(tuple(np.linspace(-2, 2, n)), (16, 18), axis, centre=(8, 8, 0), shape=region.shape)
        series = geometry.series(np.ones((n, 16, 18), np.float32))
        for _, slab in coverage(series, region, Settings()):
            assert (slab == n).all(), n


def test_the_weight_of_a_point_is_the_number_of_slices_near_it() -> None:
    series = Geometry(TILTS, (40, 45), 0.0, centre=(20, 18, 11)).series(
        np.ones((13, 40, 45), np.float32), ctf=realistic_ctf(13, 0)
    )
    weight = fourier_weight(series, 5.0, 30.0, ctf=False, side=24)
    assert weight.shape == (24, 24, 24)
    assert weight[12, 12, 12] == pytest.approx(13)  # all slices pass by the origin
    assert weight[12, 20, 12] == pytest.approx(13)  # and by the tilt axis
    assert weight[20, 12, 12] == 0  # along the beam nothing is measured
    assert weight[12, 12, 20] == pytest.approx(1)  # across the axis only the untilted one is near
    np.testing.assert_allclose(weight[1:, 1:, 1:], weight[1:, 1:, 1:][::-1, ::-1, ::-1], atol=1e-5)
    with_ctf = fourier_weight(series, 5.0, 30.0, ctf=True, side=24)
    assert (with_ctf <= weight + 1e-5).all()
    assert with_ctf.sum() < 0.8 * weight.sum()


def test_the_wedge() -> None:
    series = Geometry(TILTS, (40, 45), 0.0, centre=(20, 18, 11)).series(np.ones((13, 40, 45), np.float32))
    measured = wedge(series, side=25)
    k = np.arange(25) - 12
    z, _, x = np.meshgrid(k, k, k, indexing="ij")
    angle = np.degrees(np.arctan2(np.abs(z), np.abs(x)))
    far = np.hypot(z, x) > 6
    assert (measured[far & (angle < 55)] == 1).all()
    assert (measured[far & (angle > 70)] == 0).all()
    np.testing.assert_array_equal(measured, measured[::-1, ::-1, ::-1])


def test_lists_for_denoising(tmp_path: Path) -> None:
    pairs = [
        Pair(
            name,
            tmp_path / f"{name}.mrc",
            tmp_path / f"{name}_half1.mrc",
            tmp_path / f"{name}_half2.mrc",
            12.5,
            25000.0,
        )
        for name in ("TS_1", "TS_2")
    ]
    cryocare, isonet, dewedge = write_lists(tmp_path / "lists", pairs)
    read = json.loads(cryocare.read_text())
    assert read["even"] == [str(pair.half1) for pair in pairs]
    assert read["odd"] == [str(pair.half2) for pair in pairs]
    (table,) = read_tables(isonet).values()
    assert list(table.words("rlnMicrographName")) == [str(pair.full) for pair in pairs]
    assert table.numbers("rlnPixelSize").tolist() == [12.5, 12.5]
    lines = dewedge.read_text().splitlines()
    first, second = lines.index("  tomo0_files:"), lines.index("  tomo1_files:")
    assert lines[first + 1 : second] == [f'    - "{pair.half1}"' for pair in pairs]
    assert lines[second + 1 :] == [f'    - "{pair.half2}"' for pair in pairs]


def test_a_set_with_companions(run: Run, two_sets: Path) -> None:
    line = f"reconstruct --t {two_sets}/tomograms.star --noctf --bin 2 --halves tilts --o {two_sets}/out/ --j 1"
    companions = "--companions coverage --companions weight --companions wedge --companions denoising"
    status, _, err = run(f"{line} {companions}")
    assert (status, err) == (0, "")
    folder = two_sets / "out" / "tomograms"
    count = read_mrc_volume(folder / "rec_TS_01_coverage.mrc").data
    assert count.shape == read_mrc_volume(folder / "rec_TS_01.mrc").data.shape
    assert count.max() == pytest.approx(5)
    assert read_mrc_volume(folder / "rec_TS_01_wedge.mrc").data.max() == 1
    assert read_mrc_volume(folder / "rec_TS_02_weight.mrc").data.max() == pytest.approx(5)
    lists = json.loads((two_sets / "out" / "denoising" / "cryocare.json").read_text())
    assert all(Path(path).is_file() for half in ("even", "odd") for path in lists[half])
    _, out, _ = run(f"{line} {companions}")
    assert "0 done; 2 there already" in out
    (folder / "rec_TS_02_weight.mrc").unlink()
    _, out, _ = run(f"{line} {companions}")
    assert "its weight: new" in out
    assert (folder / "rec_TS_02_weight.mrc").is_file()


@pytest.mark.parametrize("name", MARKS)
def test_lists_of_others_stay(run: Run, two_sets: Path, name: str) -> None:
    line = f"reconstruct --t {two_sets}/tomograms.star --noctf --bin 2 --halves tilts --o {two_sets}/out/ --j 1"
    path = two_sets / "out" / "denoising" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    status, _, err = run(f"{line} --companions denoising")
    assert status == 2
    assert err.count("\n") == 1
    assert f"{path} was not written by a run on a set" in err
    assert "move it away" in err
    assert path.read_text() == "mine"
    assert not (two_sets / "out" / "tomograms").exists()
    path.unlink()
    for _ in range(2):  # its own lists are written anew
        write_lists(path.parent, [])


def test_companions_that_make_no_sense(run: Run, two_sets: Path) -> None:
    line = f"reconstruct --t {two_sets}/tomograms.star --noctf --o {two_sets}/out/"
    assert (
        "--companions mask: unknown; available: coverage, weight, wedge, transfer, denoising"
        in run(f"{line} --companions mask")[2]
    )
    assert "give --halves frames or --halves tilts" in run(f"{line} --companions denoising")[2]
