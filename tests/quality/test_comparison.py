"""Comparison of volumes: orientation, shift, grey values, voxel sizes, the curve; picture, screen and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from fourierrecon import Region, Volume
from fourierrecon.cli import app
from fourierrecon.display.comparison import comparison_png
from fourierrecon.errors import DataError
from fourierrecon.io import write_mrc
from fourierrecon.quality.comparison import Comparison, compare_volumes
from fourierrecon.quality.registration import ORIENTATIONS, Orientation, phase_shift, shifted, small_copy
from fourierrecon.simulation.gaussians import Gaussians

Shape = tuple[int, int, int]
Run = Callable[..., tuple[int, str, str]]
SHAPE = (23, 36, 31)


@cache
def specimen() -> Gaussians:
    """Blobs without any symmetry, also beyond the box of ``SHAPE``."""
    rng = np.random.default_rng(4)
    return Gaussians(rng.uniform(-10, 60, (700, 3)), rng.uniform(1.2, 2.5, 700), rng.uniform(0.3, 1, 700))


def box(shape: Shape = SHAPE, origin: tuple[float, float, float] = (0, 0, 0), binning: float = 1.0) -> Volume:
    """The specimen as it is sampled in a box; voxels of 10 Å times the binning."""
    return Volume(specimen().density(Region(origin, shape, binning), 2), 10.0 * binning, (0, 0, 0))


def changed(volume: Volume, data: NDArray[np.floating]) -> Volume:
    return Volume(np.ascontiguousarray(data, np.float32), volume.voxel_size, (0, 0, 0))


def noise(shape: Shape, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        status = app.main(list(words))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_a_volume_agrees_with_itself() -> None:
    found = compare_volumes(box(), box())
    assert found.orientation == Orientation()
    assert found.fit == pytest.approx(1, abs=1e-4)
    assert abs(found.runner_up_fit) < 0.5
    assert found.shift == pytest.approx((0, 0, 0), abs=1e-4)
    assert (found.slope, found.offset) == pytest.approx((1, 0), abs=1e-5)
    assert found.correlation == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(found.curve.correlation, 1, atol=1e-4)
    assert found.curve.resolution() == pytest.approx(20)
    assert found.whole
    assert not found.magnified


@pytest.mark.parametrize("number", [1, 10, 19, 28, 37, 46])
def test_every_orientation_is_found(number: int) -> None:
    orientation = ORIENTATIONS[number]
    # what undoes it is an orientation too
    a = box()
    laid = changed(a, orientation.apply(a.data))
    found = compare_volumes(laid, a)
    assert found.orientation == orientation
    assert found.shift == pytest.approx((0, 0, 0), abs=0.01)
    back = compare_volumes(a, laid).orientation
    np.testing.assert_array_equal(back.apply(orientation.apply(a.data)), a.data)
    assert back.mirrors == orientation.mirrors


def test_orientations_are_all_different_and_half_of_them_mirror() -> None:
    data = noise((3, 4, 5))
    assert len({orientation.apply(data).tobytes() for orientation in ORIENTATIONS}) == 48
    assert sum(orientation.mirrors for orientation in ORIENTATIONS) == 24
    xzy = Orientation("xzy", (False, False, True))
    np.testing.assert_array_equal(xzy.apply(data), data.transpose(1, 0, 2)[::-1])
    assert str(xzy) == "axes in the order x, z, y, z flipped"
    assert str(Orientation()) == "as it is"
    # a quarter turn about z is no mirror
    assert not Orientation("yxz", (True, False, False)).mirrors


@pytest.mark.parametrize("move", [(0.3, -0.45, 0.2), (3.25, -6.5, 2.1), (-7.0, 5.7, -3.4)])
def test_shifts_are_found_to_a_fraction_of_a_voxel(move: tuple[float, float, float]) -> None:
    # the specimen lies at +move in B
    b = box(origin=(-move[0], -move[1], -move[2]))
    found = compare_volumes(box(), changed(b, -2 * b.data + 5))
    assert found.orientation == Orientation()
    assert found.fit < 0
    assert found.shift == pytest.approx(move, abs=0.03)
    assert found.slope == pytest.approx(-2, rel=0.02)
    assert found.offset == pytest.approx(5, abs=0.05)
    assert found.correlation == pytest.approx(-1, abs=0.01)
    assert found.curve.correlation[:7].min() > 0.98


def test_noise_does_not_flatten_the_slope_and_lowers_the_curve() -> None:
    a = box()
    noisy = changed(a, 3 * a.data - 1 + 1.5 * a.data.std() * noise(SHAPE))
    found = compare_volumes(a, noisy)
    assert found.slope == pytest.approx(3, rel=0.05)
    assert found.offset == pytest.approx(-1, abs=0.1)
    assert found.correlation < 0.95
    assert found.curve.correlation[0] > 0.98
    assert 20 < found.curve.resolution(0.5) < 100
    assert abs(found.curve.correlation[-1]) < 0.2


def test_a_part_is_found_in_the_whole() -> None:
    a = box()
    found = compare_volumes(a, changed(a, a.data[3:21, 8:, :24]))
    assert found.shift == pytest.approx((0, -8, -3), abs=0.01)
    assert found.a.shape == (18, 28, 24)
    assert found.correlation == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("binning", [2.0, 1.3])
def test_voxels_of_another_size(binning: float) -> None:
    fine = box((40, 64, 60))
    smooth = changed(fine, gaussian_filter(fine.data, 1.5))
    shape = tuple(int(n / binning) for n in (40, 64, 60))
    # the same smoothed specimen: Gaussians convolved with a Gaussian
    s = specimen()
    wide = np.sqrt(s.sigmas**2 + 1.5**2)
    broad = Gaussians(s.centres, wide, s.weights * (s.sigmas / wide) ** 3)
    coarse = Volume(
        broad.density(Region((0, 0, 0), (shape[0], shape[1], shape[2]), binning), 2), 10 * binning, (0, 0, 0)
    )
    for a, b in ((smooth, coarse), (coarse, smooth)):
        found = compare_volumes(a, b)
        assert found.voxel_size == pytest.approx(10 * binning)
        assert not found.magnified
        assert found.shift == pytest.approx((0, 0, 0), abs=0.05)
        assert found.slope == pytest.approx(1, rel=0.03)
        assert found.correlation > 0.98


def test_a_wrong_voxel_size_in_the_header_is_noticed() -> None:
    a = box()
    found = compare_volumes(a, Volume(a.data, 13.0, (0, 0, 0)))
    assert found.magnified
    assert found.voxel_size == 10
    assert found.correlation == pytest.approx(1, abs=1e-4)
    unknown = compare_volumes(a, Volume(a.data, 0.0, (0, 0, 0)))
    assert not unknown.magnified
    assert unknown.voxel_size == 10


def test_large_volumes_are_compared_in_their_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourierrecon.quality.comparison.MOST", 12000)
    found = compare_volumes(box(), box(origin=(2, 0, 0)))
    assert not found.whole
    assert 9000 < found.a.size <= 12000
    assert found.shift == pytest.approx((-2, 0, 0), abs=0.03)


def test_noise_has_nothing_in_common() -> None:
    found = compare_volumes(changed(box(), noise(SHAPE)), changed(box(), noise(SHAPE, 1)))
    assert abs(found.fit) < 0.15
    assert abs(found.correlation) < 0.15


def test_the_wedge_is_left_out_of_the_curve() -> None:
    from fourierrecon.quality.spectrum import fourier_filter
    from fourierrecon.quality.wedge import tilt_range_mask

    a = box((40, 44, 42))
    inside = tilt_range_mask((40, 44, 42), (-50, 50))
    measured = fourier_filter(a.data, inside)
    spoilt = [changed(a, measured + fourier_filter(0.5 * noise((40, 44, 42), seed), ~inside)) for seed in (1, 2)]
    blind, aware = (compare_volumes(*spoilt, tilt_range=r).curve.correlation for r in (None, (-50.0, 50.0)))
    assert np.nanmean(aware[3:12]) > np.nanmean(blind[3:12]) + 0.1


def test_what_cannot_be_compared_is_refused() -> None:
    a = box()
    with pytest.raises(DataError, match="volume B of 31 x 36 x 2 voxels is too small"):
        compare_volumes(a, changed(a, a.data[:2]))
    with pytest.raises(DataError, match="constant"):
        compare_volumes(a, changed(a, np.ones(SHAPE)))
    holes = a.data.copy()
    holes[3, 4, 5] = np.nan
    with pytest.raises(DataError, match="volume A holds values that are not finite"):
        compare_volumes(changed(a, holes), a)


# -- the parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(16, 20, 18), (21, 15, 30)])
def test_shifting_moves_periodically(shape: Shape) -> None:
    data = noise(shape)
    np.testing.assert_allclose(
        shifted(data, np.array([3.0, -2.0, 1.0])), np.roll(data, (-1, 2, -3), (0, 1, 2)), atol=1e-5
    )


def test_phase_correlation_reaches_as_far_as_told() -> None:
    a = box()
    b = box(origin=(-7, 0, 0))
    # the faces fade out where they are, which holds the shift back
    assert phase_shift(a.data, b.data, 10)[0] == pytest.approx(7, abs=0.6)
    assert abs(phase_shift(a.data, b.data, 3)[0]) < 5


@pytest.mark.parametrize(("size", "target"), [(1.0, 3.0), (1.0, 2.5), (2.0, 2.0)])
def test_small_copies_keep_their_places(size: float, target: float) -> None:
    z, y, x = np.mgrid[:20, :25, :31].astype(np.float32)
    copy = small_copy(x + 100 * y + 10000 * z, size, target)
    k, j, i = np.mgrid[: copy.shape[0], : copy.shape[1], : copy.shape[2]]
    expected = (target / size) * (i + 100 * j + 10000 * k)
    inner = (slice(1, -2),) * 3
    np.testing.assert_allclose(copy[inner], expected[inner], rtol=1e-4)


# -- picture and command ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(23, 36, 31), (6, 60, 20), (40, 8, 9)])
def test_pictures_of_any_shape(shape: Shape, tmp_path: Path) -> None:
    a = box(shape)
    found = compare_volumes(a, changed(a, 2 * a.data + 0.1 * noise(shape)))
    comparison_png(tmp_path / "x.png", found, ("a.mrc", "b" * 99), dpi=50)
    with Image.open(tmp_path / "x.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5


def check(found: dict[str, object], comparison: Comparison) -> None:
    assert found["shift_voxels"] == pytest.approx(comparison.shift, abs=1e-5)
    assert found["grey_slope"] == pytest.approx(comparison.slope, rel=1e-3)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.chdir(tmp_path)
    a = box()
    b = changed(a, box(origin=(-1.5, 0, 0)).data[::-1] * -2)
    write_mrc("a.mrc", a)
    write_mrc("b.mrc", b)
    status, out, err = run("compare", "a.mrc", "b.mrc", "--o", "new/report.png")
    assert (status, err) == (0, "")
    for part in ("z flipped (the other hand), contrast inverted", "1.50, 0.00, 0.00 voxels (1.50, 0.00, 0.00 nm)"):
        assert part in out
    assert re.search(r"B = -(2|1\.9\d+|2\.0\d+) A", out)
    assert "0.143 (half maps)" in out
    assert Path("new/report.png").stat().st_size > 10000
    status, out, err = run("compare", "a.mrc", "b.mrc", "--json", "--tilt_range", "-60", "60")
    assert (status, err) == (0, "")
    facts = json.loads(out)
    check(facts, compare_volumes(a, b))
    assert facts["orientation"]["flipped"] == ["z"]
    assert facts["orientation"]["mirrored"] is True
    assert len(facts["fsc"]["frequency"]) == len(facts["fsc"]["correlation"])


def test_the_command_warns_where_nothing_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("a.mrc", "b.mrc")):
        write_mrc(name, changed(box(), noise(SHAPE, seed)))
    status, out, _ = run("compare", "a.mrc", "b.mrc")
    assert status == 0
    assert "no orientation fits clearly better" in out


@pytest.mark.parametrize(
    ("words", "status", "part"),
    [
        (["a.mrc", "nowhere.mrc"], 1, "nowhere.mrc"),
        (["a.mrc", "a.mrc", "--o", "x.jpg"], 2, ".png"),
        (["a.mrc", "x.png", "--o", "x.png"], 2, "one of the files that are read"),
        (["a.mrc", "a.mrc", "--tilt_range", "60", "-60", "--o", "new/x.png"], 2, "tilt range"),
        (["a.mrc"], 2, "B"),
    ],
)
def test_what_the_command_refuses(
    words: list[str], status: int, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mrc", "x.png"):
        write_mrc(name, box())
    found, out, err = run("compare", *words)
    assert (found, out) == (status, "")
    assert part in err
    assert err.startswith("error: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mrc", "x.png"]
