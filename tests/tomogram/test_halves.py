"""Half images, blank and absurd images, and volumes without contrast: never a wrong volume without a word."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.engine.contrast import Contrast
from fourierrecon.errors import DataError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.geometry.sound_images import LARGEST
from fourierrecon.io import read_tilt_series, read_volume, write_mrc, write_stack
from fourierrecon.io.relion.import_set import write_set
from fourierrecon.quality.bad_images import find_bad_images
from fourierrecon.report.assessment import find_out
from fourierrecon.report.subjects import Subject
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.volume import Volume
from fourierrecon.weighting import NoWeighting
from tests.helpers.small_sets import small_series

Run = Callable[..., tuple[int, str, str]]
Images = NDArray[np.float32]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(change: Callable[[Images, Images], None] = lambda even, odd: None) -> str:
    """Write a set with half images, changed; give the command that makes halves of them."""
    series = small_series(1)
    noise = np.random.default_rng(99).normal(size=series.images.shape).astype(np.float32)
    even, odd = np.asarray(series.images) + noise, np.asarray(series.images) - noise
    change(even, odd)
    path, _ = write_set(Path("set"), [(series, {"Even": even, "Odd": odd})], "relion5", copy=True)
    return f"reconstruct --t {path} --noctf --bin 2 --halves frames --o out/"


def test_half_images_of_another_size_are_refused(run: Run, here: Path) -> None:
    line = write()
    write_stack("set/TS_01_odd.mrcs", np.random.default_rng(0).normal(size=(5, 18, 20)).astype(np.float32), 20.0)
    for more in ([], ["--skip_bad_images"]):
        status, out, _ = run(line, *more)
        assert status == 1
        assert "rlnMicrographNameOdd" in out
        assert "20 x 18 px" in out
        assert "--halves tilts" in out
        assert not list(Path("out").rglob("*.mrc"))


@pytest.mark.parametrize("half", ["Even", "Odd"])
@pytest.mark.parametrize("value", [0.0, 7.0, np.nan, 1e37, -3e38])
def test_a_bad_half_image_is_named_and_left_out(run: Run, here: Path, half: str, value: float) -> None:
    def spoil(even: Images, odd: Images) -> None:
        image = (even if half == "Even" else odd)[2]
        if value in (0.0, 7.0):
            image[:] = value
        else:
            image[3, 4] = value

    line = write(spoil)
    status, out, _ = run(line)
    assert status == 1
    assert re.search(rf"image 3 of \S*/TS_01_{half.lower()}\.mrcs, rlnMicrographName{half}", out)
    assert "--skip_bad_images" in out
    status, out, _ = run(line, "--skip_bad_images")
    assert status == 0
    assert out.count("image 3 of TS_01") == 1
    kept = [0, 1, 3, 4]
    series = read_tilt_series("set/tomograms.star")
    wanted = reconstruct(series.select(kept), Region.of(series, binning=2), ctf=False)
    got = read_volume("out/tomograms/rec_TS_01.mrc")
    np.testing.assert_allclose(got.data, wanted.data, atol=1e-4 * np.abs(wanted.data).max())


def test_all_half_images_are_blank(run: Run, here: Path) -> None:
    line = write(lambda _, odd: odd.fill(0))
    status, out, _ = run(line, "--skip_bad_images")
    assert status == 1
    assert "rlnMicrographNameOdd" in out
    assert "--halves tilts" in out


@pytest.mark.parametrize("how", ["one name", "a copy", "one of them"])
def test_one_image_in_both_halves_is_refused(run: Run, here: Path, how: str) -> None:
    line = write()
    tilts = Path("set/tilt_series/TS_01.star")
    if how == "a copy":
        Path("set/TS_01_odd.mrcs").write_bytes(Path("set/TS_01_even.mrcs").read_bytes())
    else:
        name = "TS_01_odd.mrcs" if how == "one name" else "000004@set/TS_01_odd.mrcs"
        tilts.write_text(tilts.read_text().replace(name, name.replace("odd", "even")))
    status, out, _ = run(line, "--report")
    assert status == 1
    assert f"image of tilt {4 if how == 'one of them' else 1} of TS_01 are the same" in out
    assert not list(Path("out").rglob("*.mrc"))


def series_of(images: Images) -> TiltSeries:
    n, height, width = images.shape
    matrices = projection_matrices((height, width), (20, 18, 8), np.linspace(-45, 45, n), 3.0)
    return TiltSeries(images, matrices, 10.0, "a", size=(40, 36, 16), rotation_centre=(20, 18, 8))


def noise() -> Images:
    return np.random.default_rng(2).normal(size=(5, 36, 40)).astype(np.float32)


@pytest.mark.parametrize("value", [1e37, 3e38, -1e37, 2 * LARGEST])
def test_a_huge_pixel_is_named(value: float) -> None:
    images = noise()
    images[1, 7, 11] = value
    series = series_of(images)
    with pytest.raises(DataError, match=r"image 2 of 5.*1 pixel beyond 1e\+12.*x = 11, y = 7.*skip_bad_images=True"):
        reconstruct(series, ctf=False)
    assert {tilt: words.partition(":")[0] for tilt, words in find_bad_images(series).items()} == {1: "not finite"}
    images[1, 7, 11] = LARGEST / 2
    assert np.isfinite(reconstruct(series, ctf=False).data).all()


def test_an_image_of_one_grey_value_is_blank_but_where_means_are_kept() -> None:
    images = noise()
    images[1] = 3
    with pytest.raises(DataError, match="blank: every pixel is 3"):
        reconstruct(series_of(images), ctf=False)
    flat = series_of(np.full((5, 36, 40), 3, np.float32))
    mean = reconstruct(flat, weighting=NoWeighting(), ctf=False, keep_mean=True)
    np.testing.assert_allclose(mean.data[8, 10:-10, 10:-10], 3, rtol=1e-3)


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_ctf_that_is_zero_or_inverted_is_refused(run: Run, here: Path, scale: float) -> None:
    ctf = realistic_ctf(5, 0)
    some = replace(ctf, scale=np.where(np.arange(5) == 3, scale, 1.0))
    for name, one in (("some", some), ("all", replace(ctf, scale=np.full(5, scale)))):
        write_set(Path(name), [(replace(small_series(1), ctf=one), {})], "relion5", copy=True)
    for name in ("some", "all"):
        status, out, err = run(f"reconstruct --t {name}/tomograms.star --bin 2 --o {name}.mrc --quiet")
        assert status == 1
        assert f"rlnCtfScalefactor) is {scale:g}" in err
        assert not Path(f"{name}.mrc").exists()
        assert run(f"reconstruct --t {name}/tomograms.star --bin 2 --o {name}.mrc --noctf")[0] == 0
    skipping = "--bin 2 --skip_bad_images --report --o"
    status, out, err = run(f"reconstruct --t some/tomograms.star {skipping} one/")
    assert status == 0
    assert "image 4 of TS_01" in out
    assert "no CTF: image 4" in out
    assert run(f"reconstruct --t all/tomograms.star {skipping} two/")[0] == 1


def test_a_volume_without_contrast_is_no_result(tmp_path: Path) -> None:
    contrast = Contrast("set", flat=False)
    for slab in np.zeros((3, 4, 5), np.float32):
        contrast.look(slab)
    with pytest.raises(DataError, match="set: every voxel of the tomogram is 0"):
        contrast.finish()
    contrast.look(np.eye(4, dtype=np.float32))
    contrast.finish()
    with pytest.raises(DataError, match="not finite"):
        contrast.look(np.full((2, 2), np.nan, np.float32))
    for value, text in ((0.0, "every voxel is 0"), (2.5, "every voxel is 2.5"), (np.nan, "100.00% of its voxels")):
        path = tmp_path / f"{value}.mrc"
        write_mrc(path, Volume(np.full((6, 7, 8), value, np.float32), 10.0, (0.0, 0.0, 0.0)))
        found = find_out(Subject("a", path))
        assert found.status == "failed"
        assert text in found.error
