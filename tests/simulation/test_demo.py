"""The demo from end to end on a small specimen, and its pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fourierrecon.display.panels import Panel, slices_png
from fourierrecon.errors import DataError, UsageError
from fourierrecon.io.volumes.mrc import read_mrc_volume
from fourierrecon.simulation.demo import DemoReport, run_demo
from fourierrecon.volume import Volume

SIZE = (104, 111, 48)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoReport]:
    folder = tmp_path_factory.mktemp("demo") / "new"
    return folder, run_demo(folder, n_threads=2, size=SIZE)


def test_demo_finds_the_specimen(made: tuple[Path, DemoReport]) -> None:
    _, report = made
    assert report.correlation["Wiener"] > report.correlation["plain"] + 0.05
    assert report.correlation["Wiener"] > 0.7
    assert report.n_tilts == 41
    assert report.image_shape == (104, 111)
    assert report.volume_shape == (48, 111, 104)
    assert set(report.seconds) == {"simulate", "write", "read", "plain", "Wiener", "compare"}
    assert min(report.seconds.values()) >= 0


def test_demo_writes_its_files(made: tuple[Path, DemoReport]) -> None:
    folder, report = made
    volume = read_mrc_volume(report.tomogram)
    assert report.tomogram == folder / "tomogram.mrc"
    assert volume.data.shape == report.volume_shape
    assert volume.voxel_size == pytest.approx(report.voxel_size)
    assert report.picture.read_bytes().startswith(b"\x89PNG")
    assert report.tomogram_set.is_file()
    assert report.truth.is_file()


def test_demo_is_reproducible(made: tuple[Path, DemoReport], tmp_path: Path) -> None:
    folder, report = made
    stages: set[str] = set()
    again = run_demo(tmp_path, n_threads=1, size=SIZE, progress=lambda stage, done, total: stages.add(stage))
    assert (tmp_path / "simulated/TS_01.mrcs").read_bytes() == (folder / "simulated/TS_01.mrcs").read_bytes()
    first, second = read_mrc_volume(report.tomogram).data, read_mrc_volume(again.tomogram).data
    np.testing.assert_allclose(first, second, atol=1e-5 * np.abs(first).max())
    assert "simulation" in stages
    assert len(stages) > 1


def test_demo_says_when_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot make the folder"):
        run_demo(tmp_path / "file" / "demo")


def volume(shape: tuple[int, int, int], seed: int = 0) -> Volume:
    data = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return Volume(data, 7.0, (0.0, 0.0, 0.0))


@pytest.mark.parametrize("shape", [(9, 30, 41), (40, 21, 16), (1, 8, 8), (3, 1, 5)])
def test_pictures_of_any_shape(shape: tuple[int, int, int], tmp_path: Path) -> None:
    slices_png(tmp_path / "one.png", [Panel("one", volume(shape))], dpi=50)
    slices_png(tmp_path / "two.png", [Panel("a\nb", volume(shape)), Panel("c", volume(shape), invert=True)], dpi=50)
    for name in ("one.png", "two.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_a_flat_volume_and_no_panels(tmp_path: Path) -> None:
    flat = Volume(np.zeros((4, 5, 6), np.float32), 10.0, (0.0, 0.0, 0.0))
    slices_png(tmp_path / "flat.png", [Panel("flat", flat)], dpi=50)
    with pytest.raises(UsageError, match="at least one panel"):
        slices_png(tmp_path / "none.png", [])


def test_pictures_are_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        slices_png(tmp_path / name, [Panel("same", volume((8, 20, 22)))], dpi=60)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
