"""Previews: sections of volumes in memory and in files, sheets, walks through z, and the command."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from fourierrecon.cli import app
from fourierrecon.display.preview import preview_movie, preview_png
from fourierrecon.display.sections import greys, sections, thickness_in_voxels, walk
from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.io import map_volume, write_mrc, write_relion5_set
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.volume import Volume

Shape = tuple[int, int, int]
Run = Callable[..., tuple[int, str, str]]


def volume(shape: Shape, voxel_size: float = 10.0) -> Volume:
    data = np.random.default_rng(1).normal(3, 1, shape).astype(np.float32)
    return Volume(data, voxel_size, (0.0, 0.0, 0.0))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        status = app.main(list(words))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def grey_picture(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


@pytest.mark.parametrize("shape", [(9, 20, 31), (16, 15, 8), (1, 6, 7)])
@pytest.mark.parametrize("thick", [1, 4, 99])
def test_sections_are_means_over_slabs_in_the_middle(shape: Shape, thick: int) -> None:
    v = volume(shape)
    cut = sections(v, thick)
    for axis, (found, name) in enumerate(((cut.xy, "xy"), (cut.xz, "xz"), (cut.yz.T, "yz"))):
        n = min(thick, shape[axis])
        start = [s for s in range(shape[axis] - n + 1) if abs(s + n / 2 - shape[axis] / 2) <= 0.5]
        means = [v.data.take(range(s, s + n), axis).mean(axis) for s in start]
        assert any(np.allclose(found, mean, atol=1e-5) for mean in means), name


@pytest.mark.parametrize("dtype", ["f4", "i2", "u2", "i1", ">f4", "f2"])
def test_files_of_any_type_are_mapped(dtype: str, tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 100, (6, 9, 11)).astype(dtype)
    kind: DTypeLike = np.dtype(dtype)
    with mrcfile.new(tmp_path / "x.mrc") as mrc:
        mrc.set_data(data.astype(np.dtype(kind).newbyteorder("=")))
        mrc.voxel_size = 7.5
    if dtype.startswith(">"):
        raw = bytearray((tmp_path / "x.mrc").read_bytes())
        header = np.frombuffer(bytes(raw[:1024]), mrcfile.dtypes.HEADER_DTYPE).byteswap()
        header = header.view(header.dtype.newbyteorder(">")).copy()
        header["machst"] = (0x11, 0x11, 0, 0)
        header["map"] = b"MAP "
        (tmp_path / "x.mrc").write_bytes(header.tobytes() + data.tobytes())
    mapped = map_volume(tmp_path / "x.mrc")
    assert isinstance(mapped.data, np.memmap)
    assert mapped.voxel_size == pytest.approx(7.5)
    whole = Volume(np.asarray(data, np.float32), 7.5, (0, 0, 0))
    for found, expected in zip(sections(mapped, 3), sections(whole, 3), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    preview_png(tmp_path / "x.png", [("x", mapped)], dpi=40)


def test_a_walk_goes_from_the_first_section_to_the_last() -> None:
    v = volume((23, 5, 6))
    steps = list(walk(v, 4, 100))
    assert [z for z, _ in steps] == [k + 1.5 for k in range(20)]
    np.testing.assert_allclose(steps[7][1], v.data[7:11].mean(0), rtol=1e-5)
    few = [z for z, _ in walk(v, 4, 5)]
    assert len(few) == 5
    assert (few[0], few[-1]) == (1.5, 20.5)
    assert len(list(walk(v, 99, 5))) == 1


def test_thickness_in_nm_and_voxels() -> None:
    assert thickness_in_voxels(None, 10.0) == 10
    assert thickness_in_voxels(None, 0) == 5
    assert thickness_in_voxels("6", 20.0) == thickness_in_voxels("6nm", 20.0) == thickness_in_voxels("3vx", 20.0) == 3
    assert thickness_in_voxels("0.1 nm", 20.0) == 1
    assert thickness_in_voxels("7 voxels", 0) == 7
    for wrong in ("thick", "0", "-3", "5 km", ""):
        with pytest.raises(UsageError, match="makes no sense"):
            thickness_in_voxels(wrong, 10.0)
    with pytest.raises(UsageError, match="needs a voxel size"):
        thickness_in_voxels("5nm", 0)


def test_greys_are_robust() -> None:
    values = np.random.default_rng(0).normal(5, 1, (100, 100))
    black, white = greys(values)
    spoilt = values.copy()
    spoilt[:50] = 0  # what no image sees
    spoilt[60, :5] = np.nan
    spoilt[61, :5] = 1e9
    again = greys(spoilt)
    assert again[0] == pytest.approx(black, abs=0.3)
    assert again[1] == pytest.approx(white, abs=0.3)
    assert greys(np.full((3, 3), np.nan)) == (0, 1)
    assert greys(np.zeros((3, 3)))[1] > 0


@pytest.mark.parametrize("shape", [(20, 64, 60), (61, 30, 21), (1, 7, 300), (300, 5, 4)])
def test_previews_of_any_shape(shape: Shape, tmp_path: Path) -> None:
    preview_png(tmp_path / "one.png", [("x.mrc", volume(shape))], dpi=40)
    preview_png(tmp_path / "unknown.png", [("x.mrc", volume(shape, 0.0))], "3vx", dpi=40)
    assert preview_movie(tmp_path / "x.webp", "x", volume(shape), f"{max(1, shape[0] - 3)}vx")[0] in (1, 4)
    for name in ("one", "unknown"):
        assert grey_picture(tmp_path / f"{name}.png").std() > 5


def test_the_three_sections_share_their_axes(tmp_path: Path) -> None:
    data = np.full((20, 40, 60), 5, np.float32)
    data += np.random.default_rng(0).normal(0, 0.01, data.shape).astype(np.float32)
    data[12:14, 9:11, 40:43] = 0  # one dark spot, off the middle
    preview_png(tmp_path / "x.png", [("x", Volume(data, 10.0, (0, 0, 0)))], "99vx", dpi=100)
    picture = grey_picture(tmp_path / "x.png").astype(float)
    # black within frames; text and scale bar are outside of where the spots are
    scale = 100 * 8 / (60 + 20)
    left, top, gap = 10, 50, 5
    for row, column in (
        (top + 10 * scale, left + 41.5 * scale),
        (top + 10 * scale, left + 60 * scale + gap + 13 * scale),
        (top + 40 * scale + gap + 13 * scale, left + 41.5 * scale),
    ):
        y, x = round(row), round(column)
        assert picture[y - 3 : y + 4, x - 3 : x + 4].mean() < 40, (row, column)
        assert picture[y - 30 : y + 30, x - 30 : x + 30].mean() > 80


def test_a_sheet_holds_all_volumes(tmp_path: Path) -> None:
    one, sheet = tmp_path / "one.png", tmp_path / "sheet.png"
    names = [(f"{'long' * 20}_{n}.mrc", volume((8 + n, 30, 20 + 7 * n))) for n in range(5)]
    preview_png(one, names[:1], dpi=40)
    preview_png(sheet, names, dpi=40)
    height, width = grey_picture(sheet).shape
    assert 0.5 < width / height < 2
    with pytest.raises(UsageError, match="at least one"):
        preview_png(tmp_path / "none.png", [])


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_a_film_shows_what_it_walks_through(ending: str, tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(0, 1, (12, 30, 41)).astype(np.float32)
    data[8:, :, :20] -= 50  # dark only deep down
    frames, thick = preview_movie(tmp_path / f"x.{ending}", "x.mrc", Volume(data, 20.0, (0, 0, 0)), "4nm")
    assert (frames, thick) == (11, 2)
    with Image.open(tmp_path / f"x.{ending}") as film:
        assert film.n_frames == frames  # type: ignore[attr-defined]
        seen = []
        for number in (0, frames - 1):
            film.seek(number)
            seen.append(np.asarray(film.convert("L"), float)[60:-60])
    middle = seen[0].shape[1] // 2
    assert abs(seen[0][:, : middle - 20].mean() - seen[0][:, middle + 20 :].mean()) < 20
    assert seen[1][:, middle + 20 :].mean() - seen[1][:, : middle - 20].mean() > 100


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg on this machine")
def test_ffmpeg_makes_mp4(tmp_path: Path) -> None:
    preview_movie(tmp_path / "x.mp4", "x", volume((5, 31, 41)), "1vx")
    assert (tmp_path / "x.mp4").read_bytes()[4:8] == b"ftyp"
    assert [p.name for p in tmp_path.iterdir()] == ["x.mp4"]


def test_mp4_without_ffmpeg_or_with_a_broken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"ffmpeg; install it, or give \.webp or \.gif"):
        preview_movie(tmp_path / "x.mp4", "x", volume((5, 31, 41)))
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\necho no such codec >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(DataError, match="no such codec"):
        preview_movie(tmp_path / "x.mp4", "x", volume((5, 31, 41)))
    assert [p.name for p in tmp_path.iterdir()] == ["ffmpeg"]
    with pytest.raises(UsageError, match="walk through a volume is a"):
        preview_movie(tmp_path / "x.avi", "x", volume((5, 31, 41)))


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mrc", "b.mrc"):
        write_mrc(name, volume((9, 22, 25)))
    status, out, err = run("preview", "a.mrc")
    assert (status, err) == (0, "")
    assert "a.png" in out
    assert run("preview", "a.mrc", "b.mrc")[0] == 0
    assert run("preview", "a.mrc", "b.mrc", "--o", "new/sheet.png", "--thickness", "3vx")[0] == 0
    assert run("preview", "a.mrc", "--animate", "--thickness", "20")[0] == 0
    assert run("preview", "b.mrc", "-o", "b.webp")[0] == 0
    made = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert made == {"a.mrc", "b.mrc", "a.png", "preview.png", "new/sheet.png", "a.gif", "b.webp"}
    assert grey_picture(Path("preview.png")).shape[1] > grey_picture(Path("a.png")).shape[1] * 0.5


@pytest.mark.parametrize(
    ("words", "status", "part"),
    [
        (["a.mrc", "nowhere.mrc"], 1, "nowhere.mrc"),
        (["a.mrc", "b.mrc", "--animate"], 2, "one volume, not 2"),
        (["a.mrc", "--o", "x.jpg"], 2, ".png"),
        (["a.mrc", "--animate", "--o", "x.png"], 2, ".gif"),
        (["a.mrc", "--thickness", "wide"], 2, "thickness"),
        (["a.mrc", "--thickness", "wide", "--o", "new/x.png"], 2, "thickness"),
        (["x.png", "--o", "x.png"], 2, "one of the files that are read"),
    ],
)
def test_what_the_command_refuses(
    words: list[str], status: int, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mrc", "b.mrc", "x.png"):
        write_mrc(name, volume((9, 22, 25)))
    found, out, err = run("preview", *words)
    assert (found, out) == (status, "")
    assert part in err
    assert err.startswith("error: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mrc", "b.mrc", "x.png"]


def test_reconstruct_draws_a_preview_beside_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).normal(10, 1, (7, 36, 40)).astype(np.float32)
    matrices = projection_matrices((36, 40), (20, 18, 8), np.linspace(-45, 45, 7), 3.0)
    series = TiltSeries(images, matrices, 10.0, "TS_01", size=(40, 36, 16), rotation_centre=(20, 18, 8))
    write_relion5_set("set", series)
    line = ["reconstruct", "--t", "set/tomograms.star", "--noctf", "--bin", "2", "--preview", "--o"]
    status, out, err = run(*line, "out/x.mrc")
    assert (status, err) == (0, "")
    assert "out/x.png" in out
    assert grey_picture(Path("out/x.png")).std() > 5
    status, _, err = run(*line, "out/y.png")
    assert status == 2
    assert "unknown ending .png; available: .mrc" in err
    assert sorted(p.name for p in Path("out").iterdir()) == ["x.mrc", "x.png"]
