"""`plan` before a reconstruction: what images see, what looks like a mistake, what it will take."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import Region, TiltSeries
from fourierrecon.cli import app, plan
from fourierrecon.cli.console import screen
from fourierrecon.cli.messages_table import in_options
from fourierrecon.cli.values import parse_length
from fourierrecon.display.panels import footprint_png
from fourierrecon.engine import room
from fourierrecon.engine.plan import Plan
from fourierrecon.engine.settings import Settings
from fourierrecon.engine.storage import Storage, sample_bytes
from fourierrecon.errors import UsageError
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.geometry.region import footprint
from fourierrecon.io import read_mrc_volume, write_relion4_set, write_relion5_set
from fourierrecon.runtime.sizes import parse_memory
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.tomogram import checks
from fourierrecon.tomogram.forecast import Forecast, Halves, forecast
from fourierrecon.weighting import NoWeighting, Wiener, from_text
from tests.helpers.reference import Geometry, border_distance, world_points

TILTS = tuple(np.linspace(-60, 60, 13))


def series_of(
    image_shape: tuple[int, int] = (90, 61), axis: float = 3.0, tilts: tuple[float, ...] = TILTS, pixel: float = 5.0
) -> TiltSeries:
    height, width = image_shape
    matrices = projection_matrices(image_shape, (width // 2, height // 2, 10.0), tilts, axis)
    images = np.random.default_rng(0).normal(size=(len(tilts), height, width)).astype(np.float32)
    exposure = np.linspace(0.0, 100.0, len(tilts))
    return TiltSeries(
        images, matrices, pixel, ctf=realistic_ctf(len(tilts), 0), exposure=exposure, tilt_angles=np.array(tilts),
        size=(float(width), float(height), 20.0),
    )  # fmt: skip


def region_of(series: TiltSeries, size: tuple[float, float, float] | None = None, binning: float = 1.0) -> Region:
    return Region.of(series, size=size, binning=binning)


# what images see


@pytest.mark.parametrize("axis", [0.0, 4.0, 86.0])
def test_visibility_is_that_of_all_voxels(axis: float) -> None:
    geometry = Geometry(TILTS, axis=axis, shift=4.0, shape=(9, 40, 39))
    series = geometry.series(np.ones((len(TILTS), *geometry.image_shape), np.float32))
    found = checks.visibility(series, geometry.region).mean(1)
    points = world_points(geometry.region)
    expected = (border_distance(series.projections, points, geometry.image_shape) >= -0.5).mean(1)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_visibility_of_a_large_region_is_sampled_evenly() -> None:
    series = series_of((300, 320))
    region = region_of(series)
    found = checks.visibility(series, region)
    assert found.shape[1] <= np.prod(checks.POINTS)
    points = world_points(region)[::7]
    expected = (border_distance(series.projections, points, series.image_shape) >= -0.5).mean(1)
    np.testing.assert_allclose(found.mean(1), expected, atol=0.02)


# what looks like a mistake


def test_a_sound_set_gives_no_warning() -> None:
    series = series_of()
    assert checks.warnings_of(series, region_of(series)) == []
    assert checks.warnings_of(series, region_of(series, binning=4.0)) == []


WRONG_SIZES = {
    "look swapped": ((90.0, 61.0, 20.0), 1.0),
    "in Å": ((305.0, 450.0, 20.0), 1.0),
    "over the binning": ((30.5, 45.0, 20.0), 2.0),
}


@pytest.mark.parametrize("text", WRONG_SIZES)
@pytest.mark.parametrize("axis", [3.0, 87.0])
def test_wrong_sizes_are_noticed(text: str, axis: float) -> None:
    series = series_of(axis=axis)
    (width, height, depth), binning = WRONG_SIZES[text]
    size = (width, height, depth) if axis < 45 else (height, width, depth)
    found = [line for line in checks.warnings_of(series, region_of(series, size, binning)) if text in line]
    assert len(found) == 1
    wide, high = footprint(series)[1][:2]
    assert f"width={wide:g} and height={high:g}" in found[0]
    assert f"give --w {wide:g} and --h {high:g}, or --w auto and --h auto" in in_options(found[0])


def test_a_region_beside_the_images_is_noticed() -> None:
    series = series_of()
    for shift, text in ((30.0, "fewer than half of the images see"), (1000.0, "lies outside of all images")):
        found = checks.warnings_of(series, Region((shift, 0.0, 0.0), (20, 90, 61)))
        assert any(text in line and "origin=..." in line for line in found)
        assert not any(" 0 %" in line for line in found)


@pytest.mark.parametrize(
    ("tilts", "text"),
    [
        (tuple(np.radians(TILTS)), "radians"),
        (tuple(np.linspace(0, 60, 13)), "one side"),
        (tuple(np.linspace(-60, -3, 13)), "one side"),
    ],
)
def test_odd_angles_are_noticed(tilts: tuple[float, ...], text: str) -> None:
    series = series_of(tilts=tilts)
    assert any(text in line for line in checks.warnings_of(series, region_of(series)))


@pytest.mark.parametrize(
    "exposure", [-np.ones(13), np.full(13, np.nan), np.zeros(13), np.linspace(0, 1000, 13), np.full(13, 3.0)]
)
def test_odd_exposures_are_noticed(exposure: NDArray[np.float64]) -> None:
    series = dataclasses.replace(series_of(), exposure=exposure)
    found = checks.warnings_of(series, region_of(series))
    assert len(found) == 1
    assert found[0].startswith("exposures look wrong")


def test_pixel_sizes_that_disagree_are_noticed(tmp_path: Path) -> None:
    from fourierrecon.io import MrcStack, write_stack

    series = series_of()
    for pixel, n in ((5.0, 0), (5.4, 1), (1.0, 0)):
        path = tmp_path / f"{pixel}.mrcs"
        write_stack(path, series.images, pixel)
        found = checks.warnings_of(dataclasses.replace(series, images=MrcStack(path)), region_of(series))
        assert len(found) == n
        assert all("5.4" in line and str(path) in line for line in found)


# what it takes


@pytest.mark.parametrize("weighting", [NoWeighting(), Wiener()], ids=lambda w: w.name)
def test_a_forecast_names_memory_and_time(weighting: NoWeighting | Wiener, tmp_path: Path) -> None:
    series = series_of()
    region = region_of(series)
    needs = forecast(series, region, weighting, n_threads=1, output=tmp_path / "new" / "x.mrc")
    assert needs.file_size == 1024 + 4 * 20 * 90 * 61
    assert 0 < needs.seconds < 60
    assert needs.storage.scratch == 0
    assert needs.output_folder == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_less_memory_takes_scratch_space() -> None:
    # planned, not computed
    series, region = series_of((400, 401)), Region((0, 0, 0), (400, 400, 401))
    needs = forecast(series, region, NoWeighting(), ctf=False, n_threads=1)
    less = forecast(series, region, NoWeighting(), ctf=False, n_threads=1, memory=needs.storage.memory - 50_000_000)
    assert less.storage.scratch > 4 * 400 * 400 * 401
    assert less.storage.memory < needs.storage.memory


@pytest.mark.parametrize(("scratch", "free", "warned"), [(500, 1400, True), (500, 1600, False), (0, 900, True)])
def test_space_is_needed_for_tomogram_and_scratch_files_together(
    scratch: int, free: int, warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(plan, "disk_usage", lambda _: SimpleNamespace(free=free))
    storage = Storage(
        memory=10**9, scratch=scratch, planes_on_disk=scratch > 0, samples_on_disk=False, block=1, slabs=1
    )
    plan.print_forecast(screen(), Forecast(storage, {"tomogram": 1000}, tmp_path, tmp_path, 2, 1.0), None)
    assert ("free some" in capsys.readouterr().out) == warned


def test_the_footprint_is_drawn(tmp_path: Path) -> None:
    series = series_of(axis=20.0)
    footprint_png(tmp_path / "x.png", series, region_of(series))
    assert (tmp_path / "x.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


# options


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("6GB", 6_000_000_000), ("512 mb", 512_000_000), ("2.5GiB", 2_684_354_560), ("500000000", 500_000_000),
        ("1T", 10**12), (" 3e0GB ", None), ("", None), ("lots", None), ("6", None), ("-6GB", None), ("6GBs", None),
        ("1" * 400, None),
    ],
)  # fmt: skip
def test_sizes_of_memory(text: str, size: int | None) -> None:
    if size is None:
        with pytest.raises(UsageError):
            parse_memory(text)
    else:
        assert parse_memory(text) == size


def test_lengths_may_be_auto() -> None:
    assert parse_length(None, "--w") is None
    assert parse_length(" AUTO ", "--w") == "auto"
    assert parse_length("31.5", "--w") == 31.5
    with pytest.raises(UsageError, match=r"--w 'wide' is no number; .* auto"):
        parse_length("wide", "--w")


def test_auto_is_the_footprint_even_where_the_set_has_a_size() -> None:
    series = dataclasses.replace(series_of(axis=88.0), size=(10.0, 11.0, 12.0), world_origin=1.0)
    corner, (width, height, depth) = footprint(series)
    region = Region.of(series, size=("auto", "auto", "auto"))
    assert region.shape == (int(depth), int(height + 0.5), int(width + 0.5))
    assert region.origin == corner
    assert "footprint" in region.note
    some = Region.of(series, size=("auto", None, 14.0))
    assert some.shape == (14, 11, int(width + 0.5))
    assert some.origin == (corner[0], 1.0, 1.0)


# the command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a RELION 4 set in ``four/`` and a RELION 5 set in ``five/``."""
    write_relion4_set(tmp_path / "four", series_of())
    write_relion5_set(tmp_path / "five", series_of())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = app.main(line.split())
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_plan_says_it_all_and_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.rglob("*"))
    status, out, err = run("plan --t four/tomograms.star --bin 2 --w 90 --h 61 --no-weight --j 1 --o new/x.mrc", capsys)
    assert status == 0, err
    labels = [line.split()[0] for line in out.splitlines() if line[:1] != " "]
    for label in ("tomogram", "frame", "region", "weighting", "CTF", "coverage", "output", "memory", "time"):
        assert label in labels
    assert "warning   the region is 90 x 62 px (w x h), the images cover 61 x 90: width and height look swapped" in out
    assert "13 of 13" not in out
    assert "tilt 7 (0.0°): " in out
    assert sorted(folder.rglob("*")) == before


LINE = "--t five/tomograms.star --bin 2 --noctf --no_weight --j 1"


def test_plan_names_all_that_reconstruct_writes(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = f"{LINE} --dtype float16 --do_proj --viewing_copy --halves tilts --no_thumbnails --o all/"
    options += " --companions coverage --companions wedge --companions aligned_stack"
    told: list[Forecast] = []
    monkeypatch.setattr(plan, "print_forecast", lambda _, needs, output: told.append(needs))
    assert run(f"plan {options.replace('--no_thumbnails', '')}", capsys)[0] == 0
    assert not Path("all").exists()
    assert run(f"reconstruct {options}", capsys)[0] == 0
    name = next(path.stem for path in folder.rglob("all/aligned/*.mrc"))
    projections = [*folder.rglob("all/projections/*.mrc")]
    volumes = {path.name.removeprefix("rec_"): path.stat().st_size for path in folder.rglob("all/tomograms/*.mrc")}
    assert told[0].files == {
        "tomogram": volumes.pop(f"{name}.mrc"),
        "half volumes": volumes.pop(f"{name}_half1.mrc") + volumes.pop(f"{name}_half2.mrc"),
        "viewing copy": volumes.pop(f"{name}_view.mrc"),
        "projections": sum(path.stat().st_size for path in projections),
        "coverage": volumes.pop(f"{name}_coverage.mrc"),
        "wedge": volumes.pop(f"{name}_wedge.mrc"),
        "aligned stack": sum(path.stat().st_size for path in folder.rglob("all/aligned/*.mrc")),
    }
    assert not volumes


@pytest.mark.parametrize("halves", ["tilts", "frames"])
@pytest.mark.parametrize("weighting", ["none", "preweight:snr=5"])
def test_halves_take_memory_for_samples_of_their_own(
    halves: Halves, weighting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "resident_memory", lambda: 0)  # that of this process grows from test to test
    series, settings = series_of(), Settings(n_threads=1, ctf=False)
    region, chosen = region_of(series), from_text(weighting)
    needs = forecast(series, region, chosen, ctf=False, n_threads=1, halves=halves)
    alone = forecast(series, region, chosen, ctf=False, n_threads=1)
    # the halves have samples of their own, unless they can take those of the whole
    apart = 2 if halves == "frames" else weighting != "none"
    more = apart * sample_bytes(Plan.of(series, region, chosen, settings))
    assert needs.storage.memory - alone.storage.memory == pytest.approx(more, rel=0.02)
    assert alone.seconds < needs.seconds < 4 * alone.seconds + 1


def test_a_preview_takes_memory(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for more in ("", "--preview"):
        status, out, err = run(f"plan {LINE} {more}", capsys)
        assert status == 0, err
        found.append(next(float(line.split()[1]) for line in out.splitlines() if line.startswith("memory")))
    assert found[1] > found[0] + 50  # MB, of the library that draws
    assert run(f"plan {LINE} --halves tilts --o x.mrc", capsys)[0] == 2  # as reconstruct


@pytest.mark.parametrize("name", ["four", "five"])
def test_plan_draws_a_picture(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    status, out, err = run(f"plan --t {name}/tomograms.star --bin 3 --noctf --no_weight --png out/x.png", capsys)
    assert status == 0, err
    assert "out/x.png" in out
    assert [path.name for path in Path("out").iterdir()] == ["x.png"]


@pytest.mark.parametrize("name", ["four", "five"])
def test_auto_on_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    status, out, err = run(f"reconstruct --t {name}/tomograms.star --bin 2 --w auto --h AUTO --o x.mrc", capsys)
    assert status == 0, err
    assert "width and height from the footprint of the images" in out
    assert read_mrc_volume("x.mrc").data.shape == (10, 45, 31)


@pytest.mark.parametrize("command", ["plan", "reconstruct --o new/x.mrc"])
@pytest.mark.parametrize(
    ("options", "part"),
    [
        ("--memory lots", "'lots' is no size of memory"),
        ("--memory 6", "unit"),
        ("--w wide", "--w 'wide' is no number"),
        ("--scratch nowhere", "nowhere"),
    ],
)
def test_bad_options(folder: Path, capsys: pytest.CaptureFixture[str], command: str, options: str, part: str) -> None:
    status, _, err = run(f"{command} --t four/tomograms.star --bin 2 {options}", capsys)
    assert status == 2
    assert part in err
    assert len(err.splitlines()) <= 2
    assert not Path("new").exists()


@pytest.mark.parametrize("option", ["--o", "--png"])
def test_plan_spares_what_is_read(folder: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    status, _, err = run(f"plan --t five/tomograms.star {option} five/tomogram.mrcs", capsys)
    assert status == 2
    assert f"{option} five/tomogram.mrcs is one of the files that are read" in err


def test_plan_warns_before_it_gives_up(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run("plan --t four/tomograms.star --bin 2 --x0 5000", capsys)
    assert status == 2
    assert "warning   the region lies outside of all images" in out
    assert "no image sees" in err
