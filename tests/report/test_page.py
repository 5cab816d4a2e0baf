"""Reports: what they say of a simulated set with known faults, and the page in a real browser."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.cli import app
from fourierrecon.cli.messages_table import in_options
from fourierrecon.cli.report import describe
from fourierrecon.errors import DataError
from fourierrecon.geometry.corrections import AlignmentCorrections
from fourierrecon.geometry.projection import projection_matrices, rotation
from fourierrecon.geometry.sound_images import numbers_in_source
from fourierrecon.io import read_tilt_series, read_volume, write_mrc
from fourierrecon.io.relion.import_set import write_set
from fourierrecon.quality.bad_images import find_bad_images, without_bad_images
from fourierrecon.report.assessment import find_out
from fourierrecon.report.figures import charts_of
from fourierrecon.report.findings import Findings
from fourierrecon.report.metrics import check_table
from fourierrecon.report.page import check_page, write_report
from fourierrecon.report.subjects import Subject, snr_of, subjects_in
from fourierrecon.report.svg import Axis, Guide, Trace, chart, round_ticks
from fourierrecon.sets.records import read_outcomes
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.microscope import TILT_ANGLES, realistic_ctf
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import Simulation, simulate
from fourierrecon.tilt_series import ImageStack
from fourierrecon.tomogram.provenance import make_passport, passport_path
from fourierrecon.weighting import NoWeighting
from fourierrecon.weighting.snr import SnrCurve
from tests.helpers.browser import Page, browsing
from tests.helpers.real_data import real_data

SIZE = (160, 176, 56)
Run = Callable[..., tuple[int, str, str]]


def cell(name: str, seed: int) -> Simulation:
    return simulate(
        cell_like_specimen(SIZE, seed, pixel_size=10.0, beyond=60),
        SIZE,
        ctf=realistic_ctf(len(TILT_ANGLES), 1),
        snr=0.3,
        seed=seed,
        name=name,
    )


def spoilt(simulation: Simulation, name: str) -> TiltSeries:
    """Shift an image by 12 px, give one another tilt, and blank one."""
    series = simulation.series
    images = np.array(series.images)
    images[12] = np.roll(images[12], 12, axis=1)
    images[30] = 0
    angles = series.tilt_angles.copy()
    angles[20] += 30
    centre = series.rotation_centre
    assert centre is not None
    matrices = projection_matrices(
        series.image_shape, centre, angles, simulation.tilt_axis_angle, simulation.x_tilt, simulation.shifts
    )
    return replace(series, name=name, images=images, projections=matrices, tilt_angles=angles)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set: a good tilt series, one with three faults, and one whose images are gone. Names that need care."""
    folder = tmp_path_factory.mktemp("source")
    simulation = cell("TS_2", 3)
    found: list[tuple[TiltSeries, dict[str, ImageStack]]] = [
        (simulation.series, {"Even": simulation.even, "Odd": simulation.odd}),
        (spoilt(simulation, "TS_10"), {}),
        (replace(simulation.series.select(range(20)), name="TS_<b>"), {}),
    ]
    for series, halves in found:
        write_set(folder / series.name[:5], [(series, halves)], "relion5", copy=True)
    path, _ = write_set(folder, found, "relion4", copy=True)
    stack = folder / "TS_<b>.mrcs"
    stack.write_bytes(stack.read_bytes()[:5000])
    return path


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of products with its report."""
    folder = tmp_path_factory.mktemp("made") / "out"
    line = f"reconstruct --t {source} --bin 1 --halves tilts --skip_bad_images --j 2 --report --o {folder}/"
    assert app.main(line.split()) == 1
    return folder


@pytest.fixture(scope="module")
def figures(made: Path) -> dict[str, Findings]:
    return {subject.name: find_out(subject, n_threads=2) for subject in subjects_in(made)}


def test_faults_are_named_and_nothing_else(figures: dict[str, Findings]) -> None:
    assert list(figures) == ["TS_10", "TS_2", "TS_<b>"]
    bad, good, failed = figures.values()
    assert {row.number: row.flag for row in bad.flagged} == {13: "misaligned", 21: "wrong angle", 31: "blank"}
    assert "px" in bad.flagged[0].words
    assert re.search(r"fits better than", bad.flagged[1].words)
    assert bad.flagged[2].words == "blank: every pixel is 0; left out"
    assert (good.flagged, good.status, bad.status, failed.status) == ([], "fine", "look", "failed")
    assert failed.error
    assert failed.views is None


def test_figures_of_a_good_tomogram(figures: dict[str, Findings]) -> None:
    good, bad = figures["TS_2"], figures["TS_10"]
    assert good.resolution is not None
    assert bad.resolution is not None
    # two of 40 images that do not fit cost resolution
    assert 20 <= good.resolution < bad.resolution < 400
    assert good.correlation is not None
    assert good.correlation > 0.6
    assert good.largest_shift is not None
    assert good.largest_shift < 20
    assert bad.largest_shift == pytest.approx(120, abs=30)
    assert [row.angle for row in good.tilts] == pytest.approx(list(TILT_ANGLES), abs=0.01)
    assert all(row.coverage is not None and row.coverage > 0.8 for row in good.tilts if abs(row.angle or 0) < 30)
    defocus = [row.defocus for row in good.tilts if row.defocus is not None]
    assert np.mean(defocus) == pytest.approx(3, abs=0.3)
    assert good.views is not None
    assert good.views.xy.shape == (176, 160)
    assert (good.shape, good.voxel_size) == ((56, 176, 160), 10)
    facts = dict(good.facts)
    assert facts["weighting"].startswith("3D Wiener filter, SNR measured")
    assert facts["CTF"] == "CTF wiener"
    assert good.spectrum is not None
    assert good.spectrum[1].max() == 1


def test_a_resolution_at_the_limit_of_the_voxels_is_told(figures: dict[str, Findings], tmp_path: Path) -> None:
    good = figures["TS_2"]
    assert good.curve is not None
    assert not good.at_limit
    whole = replace(good, curve=replace(good.curve, correlation=np.ones_like(good.curve.correlation)))
    assert whole.at_limit
    write_report(tmp_path / "a.html", "a", [whole])
    text = (tmp_path / "a.html").read_text("utf-8")
    assert f"<dd>≤ {whole.resolution:.1f} Å<small>" in text
    assert "voxels show no more" in text


def test_the_measured_snr_is_drawn(figures: dict[str, Findings], tmp_path: Path) -> None:
    """It is taken from the passport of the volume; a ratio that was given is a number, and no curve."""
    curve = SnrCurve((0.002, 0.01, 0.02, 0.05), (500.0, 20.0, 1.0, 0.001), "measured from <two> tilts")
    volume = tmp_path / "a.mrc"

    series = simulate(cell_like_specimen((32, 32, 16)), (32, 32, 16)).series
    whole = make_passport(volume, series, Region.of(series), NoWeighting(), ctf=False)

    def passport(snr: object) -> None:
        passport_path(volume).write_text(json.dumps({**whole, "weighting": {"name": "wiener", "snr": snr}}))

    passport(asdict(curve))
    assert snr_of(volume) == curve
    passport(10.0)
    assert snr_of(volume) is None
    assert snr_of(tmp_path / "b.mrc") is None
    for wrong in ({"frequency": [0.1, 0.2], "snr": [1]}, {"frequency": [0.1]}, {"frequency": "a", "snr": None}):
        passport(wrong)
        with pytest.raises(DataError, match=r"a\.passport\.json: weighting\.snr is no curve"):
            snr_of(volume)
    (plain,) = (chart.drawing for chart in charts_of(figures["TS_2"]) if chart.title == "Spectrum")
    assert "SNR" not in plain
    (drawn,) = (chart for chart in charts_of(replace(figures["TS_2"], snr=curve)) if chart.title == "Signal to noise")
    assert drawn.caption.startswith("Measured from <two> tilts. Power of signal over noise")
    texts = [element.text for element in ElementTree.fromstring(drawn.drawing).iter("text")]
    assert {"SNR", "period, Å", "signal = noise", "1", "100"} <= set(texts)
    # the line crosses 1 where the curve does: at 50 Å, 0.4 of the width of voxels of 10 Å
    paths = {each.get("class", ""): each.get("d", "") for each in ElementTree.fromstring(drawn.drawing).iter("path")}
    points = [tuple(map(float, point.split())) for point in re.split("[ML]", paths["trace plain"])[1:]]
    level = float(re.split("[ H]", paths["guide"])[1])
    crossing = next(x for x, y in points if y >= level)
    assert crossing == pytest.approx(50 + 0.4 * (380 - 12 - 50), abs=4)


def test_metrics(made: Path, figures: dict[str, Findings]) -> None:
    with (made / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(figures)
    bad, good, failed = (rows[name] for name in ("TS_10", "TS_2", "TS_<b>"))
    assert [bad[flag] for flag in ("misaligned", "wrong_angle", "blank", "bad")] == ["1", "1", "1", "0"]
    assert float(good["resolution_0.143_A"]) == pytest.approx(figures["TS_2"].resolution or 0, rel=1e-4)
    assert (good["width"], good["height"], good["depth"], good["voxel_size_A"]) == ("160", "176", "56", "10")
    assert failed["status"] == "failed"
    assert failed["error"]
    assert failed["resolution_0.143_A"] == ""


def test_the_page_holds_all_it_needs(made: Path) -> None:
    page = (made / "report.html").read_text("utf-8")
    assert re.findall(r"https?:|@import|url\(|<link rel=stylesheet|<script src", page) == []
    places = re.findall(r"(?:src|href)=[\"']?([^\"' >]*)", page)
    assert len(places) > 8
    assert {place.partition(":")[0] if place.startswith("data") else place[:1] for place in places} == {"data", "#"}
    for word in ("misaligned", "wrong angle", "blank", "Fourier shell correlation", "Tilt by tilt", "3D Wiener filter"):
        assert word in page
    # names are text, not markup
    assert "TS_<b>" not in page
    assert "TS_&lt;b&gt;" in page


def test_what_is_said_on_screen(run: Run, made: Path, tmp_path: Path) -> None:
    status, out, _ = run(f"report {made} --j 2 --o {tmp_path}/new/a.html")
    assert status == 0
    said = re.findall(r"^report +(.*)$", out, re.MULTILINE)
    assert len(said) == 3
    assert "misaligned: image 13; wrong angle: image 21; blank: image 31" in said[0]
    assert re.match(r"TS_2: resolution [\d.]+ Å, agreement 0\.\d+, .*nothing stands out$", said[1])
    assert said[2].startswith("TS_<b>: failed: ")
    assert f"wrote     {tmp_path}/new/a.html" in out
    assert re.search(r"^next +open .*a\.html", out, re.MULTILINE)
    assert (tmp_path / "new/metrics.csv").is_file()


@pytest.mark.parametrize("name", ["report.html", "metrics.csv"])
def test_pages_and_tables_of_others_stay(run: Run, source: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir()
    path.write_text("name,mine\n")
    make = f"reconstruct --t {source} --bin 8 --quiet --report --o {tmp_path}/out/"
    for line in (make, f"report {tmp_path}/out", f"report {tmp_path}/out --o {tmp_path}/out/report.html"):
        status, _, err = run(line)
        assert status == 2
        assert err.count("\n") == 1
        assert f"{path} was not written by a report of fourierrecon, and would be replaced; move it away" in err
        assert [path] == [*path.parent.iterdir()]
        assert path.read_text() == "name,mine\n"


def test_a_page_of_others_beside_one_tomogram_stays(run: Run, source: Path, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<!DOCTYPE html><title>mine</title>")
    status, _, err = run(f"reconstruct --t {source} --tn TS_10 --bin 8 --quiet --report --o {tmp_path}/a.mrc")
    assert status == 2
    assert "a.html was not written by a report of fourierrecon" in err
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]


def test_reports_of_before_are_written_anew(made: Path, tmp_path: Path) -> None:
    for name, check in (("report.html", check_page), ("metrics.csv", check_table)):
        check(made / name)
        check(tmp_path / name)
        (tmp_path / name).touch()
        check(tmp_path / name)


def test_a_blank_image_is_an_error_that_the_report_names(run: Run, source: Path, tmp_path: Path) -> None:
    status, out, _ = run(f"reconstruct --t {source} --tn TS_10 --bin 4 --report --quiet --o {tmp_path}/out/")
    assert status == 1
    assert "--skip_bad_images" in out
    (found,) = (find_out(subject) for subject in subjects_in(tmp_path / "out"))
    assert found.status == "failed"
    assert {row.number: row.words for row in found.flagged} == {31: "blank: every pixel is 0"}
    page = (tmp_path / "out/report.html").read_text("utf-8")
    assert "is blank" in page
    assert "image 31 at" in page


@pytest.mark.filterwarnings("always:.*left out")
def test_one_tomogram(run: Run, source: Path, tmp_path: Path) -> None:
    line = f"reconstruct --t {source} --tn TS_10 --bin 2 --skip_bad_images --report --o {tmp_path}/a.mrc"
    status, out, err = run(line)
    assert status == 0
    assert "left out" in err
    assert "misaligned: image 13; wrong angle: image 21; blank: image 31" in out
    page = (tmp_path / "a.html").read_text("utf-8")
    assert "--halves</span> tilts" in page
    assert "id=set" not in page
    status, _, err = run(f"reconstruct --t {source} --tn TS_10 --report --o {tmp_path}/a")
    assert status == 1
    status, _, err = run(f"reconstruct --t {source} --tn TS_10 --report --o {tmp_path}/a.html")
    assert status == 2


@pytest.mark.parametrize("like", ["imod", "imod-tilt"])
def test_the_order_of_the_axes_in_the_file_does_not_matter(
    run: Run, source: Path, figures: dict[str, Findings], tmp_path: Path, like: str
) -> None:
    assert run(f"reconstruct --t {source} --tn TS_2 --bin 1 --halves tilts --like {like} --o {tmp_path}/out/")[0] == 0
    (found,) = (find_out(subject) for subject in subjects_in(tmp_path / "out"))
    wanted = figures["TS_2"]
    assert found.shape == wanted.shape
    assert found.correlation == pytest.approx(wanted.correlation, abs=1e-3)
    assert found.resolution == pytest.approx(wanted.resolution, rel=1e-3)
    assert found.views is not None
    assert wanted.views is not None
    np.testing.assert_allclose(found.views.xz, wanted.views.xz, atol=1e-4)


def test_a_list_alone_and_products_that_are_gone(made: Path, tmp_path: Path) -> None:
    """Without outcomes.json, from the list of tomograms; where a volume is missing, the report says so."""
    (tmp_path / "tomograms").mkdir()
    for path in [made / "tomograms.star", *made.glob("tomograms/rec_TS_2*.mrc")]:
        (tmp_path / path.relative_to(made)).write_bytes(path.read_bytes())
    words = (tmp_path / "tomograms.star").read_text()
    (tmp_path / "tomograms.star").write_text(words.replace("/rec_TS_10", "/rec_TS_gone"))
    gone, found = (find_out(subject) for subject in subjects_in(tmp_path))
    assert (gone.subject.name, gone.status) == ("TS_10", "failed")
    assert "is gone" in gone.error
    assert found.resolution is not None
    assert found.correlation is not None
    with pytest.raises(DataError, match="neither tomograms"):
        subjects_in(tmp_path / "tomograms")
    with pytest.raises(DataError, match="no folder"):
        subjects_in(tmp_path / "nothing")


def test_outcomes_are_kept(run: Run, source: Path, tmp_path: Path) -> None:
    line = f"reconstruct --t {source} --bin 8 --quiet --o {tmp_path}/out/"
    run(line, "--tn", "TS_2")
    first = read_outcomes(tmp_path / "out")["TS_2"]
    assert (first.status, first.error) == ("done", "")
    assert first.seconds > 0
    run(line)
    second = read_outcomes(tmp_path / "out")
    assert set(second) == {"TS_2", "TS_10", "TS_<b>"}
    # nothing was made again: the time is that of the first run
    assert (second["TS_2"].status, second["TS_2"].seconds) == ("there", first.seconds)
    assert "blank" in second["TS_10"].error
    run(line, "--skip_bad_images", "--shard", "2/3")
    third = read_outcomes(tmp_path / "out")
    assert (tmp_path / "out/outcomes-2-of-3.json").is_file()
    assert third["TS_10"].error == "" or third["TS_10"].finished == second["TS_10"].finished
    kept = tmp_path / "out/outcomes.json"
    whole = json.loads(kept.read_text())
    for damaged in ("{", "[]", json.dumps(whole | {"format": "other"}), json.dumps(whole | {"tomograms": {"a": {}}})):
        kept.write_text(damaged)
        with pytest.raises(DataError, match=r"outcomes\.json"):
            read_outcomes(tmp_path / "out")


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


@pytest.mark.parametrize("axis", [85.3, -3.0])
def test_the_levelling_levels(axis: float, tmp_path: Path) -> None:
    size = (160, 176, 100)
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (3500, 3)) * [290, 320, 36]
    turned = points @ (rotation("x", 5.0) @ rotation("y", -6.0)).T + [80, 88, 50]
    specimen = Gaussians(turned, rng.uniform(1.2, 2.5, len(points)), rng.uniform(0.3, 1, len(points)))
    series = simulate(specimen, size, tilt_axis_angle=axis, snr=0.5, seed=1).series

    def findings(tilts: TiltSeries) -> Findings:
        region = Region.of(tilts, binning=2)
        write_mrc(tmp_path / "a.mrc", reconstruct(tilts, region, ctf=False))
        return find_out(Subject("a", tmp_path / "a.mrc", tilts, region))

    before = findings(series)
    assert before.levelling is not None
    assert math.hypot(*before.levelling) == pytest.approx(math.hypot(5, 6), abs=1.5)
    after = findings(AlignmentCorrections(*before.levelling).apply(series))
    assert after.slab is not None
    assert max(abs(after.slab.tilt_x), abs(after.slab.tilt_y)) < 1.2


def test_a_tomogram_too_small_to_say_much(run: Run, two_sets: Path, tmp_path: Path) -> None:
    line = f"reconstruct --t {two_sets}/tomograms.star --bin 2 --noctf --halves tilts --report --o {tmp_path}/out/"
    assert run(line)[0] == 0
    page = (tmp_path / "out/report.html").read_text("utf-8")
    assert "images were not compared with the tomogram" in page
    assert "too few to find the specimen" in page
    assert page.count("<details") == 2


def test_the_demo_makes_one(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from fourierrecon.simulation import demo

    monkeypatch.setattr(demo, "run_demo", partial(demo.run_demo, size=(104, 112, 48)))
    status, out, _ = run(f"demo --report --j 2 --o {tmp_path}/d")
    assert status == 0
    assert re.search(r"^report +TS_01: resolution [\d.]+ Å, .*nothing stands out$", out, re.MULTILINE)
    page = (tmp_path / "d/reconstructed/report.html").read_text("utf-8")
    assert "halves of even and odd frames" in page


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text("before")
    with pytest.raises(AttributeError):
        write_report(path, "a", [Findings(subject=None)])  # type: ignore[arg-type]
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["a.html"]


def test_every_text_is_escaped(figures: dict[str, Findings], tmp_path: Path) -> None:
    """Names, notes, errors and facts come from files: none of them is markup."""
    hostile = "<script>alert('\"')</script> --bin 2"
    good, bad = figures["TS_2"], figures["TS_10"]
    assert good.slab is not None
    texts = {"notes": (hostile,), "facts": ((hostile, hostile),), "no_agreement": hostile, "no_slab": hostile}
    found = [
        replace(bad, subject=replace(bad.subject, name=hostile), **texts),  # type: ignore[arg-type]
        replace(
            bad, slab=replace(good.slab, problem=hostile), tilts=(replace(bad.tilts[0], flag="bad", words=hostile),)
        ),
        replace(good, error=hostile),
    ]
    for name, several in (("set", found), ("one", found[:1])):
        write_report(tmp_path / f"{name}.html", hostile, several, advice=hostile)
        page = (tmp_path / f"{name}.html").read_text("utf-8")
        assert "<script>alert" not in page
        assert page.count("&lt;script&gt;alert(&#39;&#34;&#39;)") > 8
        # a quote of a name must not end the attribute that it stands in
        assert page.count("<script>") == 1


def test_the_screen_tells_where_images_were_not_compared(figures: dict[str, Findings]) -> None:
    assert "not compared" not in describe(figures["TS_2"])
    without = replace(figures["TS_2"], tilts=(), no_agreement="exposures are missing")
    assert "images were not compared with the tomogram (exposures are missing)" in describe(without)


def test_texts_are_worded_for_their_readers(figures: dict[str, Findings], tmp_path: Path) -> None:
    """The library names its arguments; the command line has them turned into options."""
    found = replace(figures["TS_10"], error="take less: memory=8")
    for name, wording, words in (("a", str, "memory=8"), ("b", in_options, "<span class=option>--memory 8</span>")):
        write_report(tmp_path / name, "a", [found], wording=wording)
        assert f"take less: {words}" in (tmp_path / name).read_text("utf-8")


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(1, 12))
def test_ticks_are_round_and_within(low: float, span: float, most: int) -> None:
    high = low + span
    ticks = round_ticks(low, high, most)
    assert len(ticks) <= most + 1
    if len(ticks) > 1:
        step = ticks[1][0] - ticks[0][0]
        slack = 1e-6 * step + 1e-9 * abs(high)
        assert all(low - slack <= value <= high + slack for value, _ in ticks)
        digits = step / 10 ** math.floor(math.log10(step) + 1e-6)
        # steps are differences of numbers that may be large beside them
        rounding = 4e-16 * max(abs(low), abs(high)) / step
        assert min(abs(digits - each) for each in (1, 2, 2.5, 5, 10)) < 1e-3 + 10 * rounding


def test_charts_are_whole() -> None:
    nan = math.nan
    drawn = chart(
        "a < b",
        Axis("x & y", 0, 10),
        Axis("value", -1, 1, ((0, "<0>"),)),
        [
            Trace([0, 1, 2, 3], [0, nan, 1, 5]),
            Trace([nan], [0], "area"),
            Trace([1, 2], [nan, 0], "dots", "good", ["a", "<b>"]),
            Trace([4], [-7], "crosses", "bad"),
        ],
        [Guide(0.5, upright=False, word="half"), Guide(8, word="8"), Guide(2, 3, word="<band>")],
    )
    root = ElementTree.fromstring(drawn)
    assert root.get("aria-label") == "a < b"
    texts = [element.text for element in root.iter("text")]
    assert {"x & y", "<0>", "<band>", "half"} <= set(texts)
    # values beyond the axes stay within the plot
    assert all(14 <= float(circle.get("cy", "0")) <= 160 for circle in root.iter("circle"))
    assert len(list(root.iter("circle"))) == 2


# in the browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: Page, made: Path) -> Page:
    browser.open("about:blank")
    browser.troubles.clear()
    browser.resize(1280, 900)
    browser.open((made / "report.html").as_uri())
    browser.wait("document.readyState == 'complete' && !!document.getElementById('shown').textContent")
    return browser


NAMES = "[...document.querySelectorAll('#set tbody tr')].filter(r => !r.hidden).map(r => r.cells[1].textContent)"


def press(page: Page, key: str, code: int, text: str = "") -> None:
    more = {"text": text} if text else {}
    for kind in ("keyDown" if text else "rawKeyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)


def click(page: Page, heading: str) -> None:
    page.run(
        f"[...document.querySelectorAll('#set th button')].find(b => b.textContent.startsWith('{heading}')).click()"
    )


@pytest.mark.browser
def test_every_picture_loads(page: Page) -> None:
    count, broken = page.run(
        "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth > 0, () => false)))"
        ".then(all => [all.length, all.filter(good => !good).length])"
    )
    assert (count, broken) == (2 * 4, 0)
    assert page.run("[...document.images].every(i => i.alt.includes('section of TS_'))")
    assert page.troubles == []


@pytest.mark.browser
def test_sorting(page: Page) -> None:
    click(page, "Tomogram")
    assert page.run(NAMES) == ["TS_<b>", "TS_2", "TS_10"]
    click(page, "Tomogram")
    assert page.run(NAMES) == ["TS_10", "TS_2", "TS_<b>"]
    assert page.run("document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "descending"
    click(page, "Resolution")
    assert page.run(NAMES) == ["TS_2", "TS_10", "TS_<b>"]
    click(page, "Resolution")
    # what is not known stays last
    assert page.run(NAMES) == ["TS_10", "TS_2", "TS_<b>"]
    click(page, "Findings")
    assert page.run(NAMES) == ["TS_2", "TS_10", "TS_<b>"]
    assert page.run("document.querySelectorAll('th[aria-sort]').length") == 1


def fill(page: Page, control: str, value: str) -> None:
    page.run(
        f"(() => {{ const c = document.getElementById('{control}'); c.value = '{value}';"
        "c.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


@pytest.mark.browser
def test_filtering(page: Page) -> None:
    fill(page, "words", "MISALIGNED wrong")
    assert page.run(NAMES) == ["TS_10"]
    assert page.run("document.getElementById('shown').textContent") == "1 of 3"
    assert page.run("[...document.querySelectorAll('details')].filter(d => !d.hidden).length") == 1
    fill(page, "words", "ts_")
    fill(page, "status", "failed")
    assert page.run(NAMES) == ["TS_<b>"]
    fill(page, "words", "nothing like it")
    assert page.run(NAMES) == []
    assert page.run("document.getElementById('none').offsetHeight") > 0
    page.run("document.getElementById('words').focus()")
    press(page, "Escape", 27)
    fill(page, "status", "")
    assert len(page.run(NAMES)) == 3


@pytest.mark.browser
def test_keyboard_alone(page: Page) -> None:
    page.run("document.activeElement.blur()")
    seen = []
    for _ in range(40):
        page.press("Tab")
        focus = page.run(
            "(() => { const e = document.activeElement; return [e.tagName, e.id, e.textContent.slice(0, 20),"
            " getComputedStyle(e).outlineStyle] })()"
        )
        if focus[0] == "BODY":
            break
        seen.append(focus)
        if focus[0] == "BUTTON" and focus[2].startswith("Agreement"):
            press(page, "Enter", 13, "\r")
            assert page.run("document.querySelector('th[aria-sort]').textContent.trim()").startswith("Agreement")
            assert page.run(NAMES) == ["TS_10", "TS_2", "TS_<b>"]
        if focus[0] == "A" and focus[2] == "TS_2":
            press(page, "Enter", 13, "\r")
            break
    kinds = {kind for kind, *_ in seen}
    assert {"A", "INPUT", "SELECT", "BUTTON"} <= kinds
    # whatever has the focus shows it
    assert all(outline != "none" for *_, outline in seen)
    page.wait("document.querySelector('details:target')?.open && document.activeElement.tagName == 'SUMMARY'")
    assert page.run("document.activeElement.textContent").startswith("TS_2")
    press(page, "Enter", 13, "\r")
    assert not page.run("document.querySelector('details:target').open")


OUT = (
    "[...document.querySelectorAll('body *')].filter(e => e.offsetWidth && !e.closest('.tilts .scroll, .skip')"
    " && (e.getBoundingClientRect().right > innerWidth + 0.5 || e.getBoundingClientRect().left < -0.5))"
    ".map(e => e.outerHTML.slice(0, 90))"
)


@pytest.mark.browser
@pytest.mark.parametrize("size", [(390, 844), (320, 568), (844, 390), (1280, 900), (641, 800)])
def test_nothing_overflows(page: Page, size: tuple[int, int]) -> None:
    width, height = size
    page.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.resize(width, height, phone=width < 640)
    page.wait(f"innerWidth == {width}")
    page.wait("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
    assert page.run("document.documentElement.scrollWidth") <= width
    if width < 641 or width > 1000:
        assert page.run(OUT) == []
    # texts of charts stay readable
    scale = page.run("Math.min(...[...document.querySelectorAll('svg.chart')].map(s => s.clientWidth / 380))")
    assert scale > 0.6


@pytest.mark.browser
def test_faults_stand_out_in_colour_and_words(page: Page) -> None:
    page.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    rows = page.run(
        "[...document.querySelectorAll('#t0 .tilts tbody tr')].map(r => [r.cells[2].textContent, "
        "getComputedStyle(r.cells[0]).backgroundColor, r.cells[r.cells.length - 1].textContent])"
    )
    assert len(rows) == 41
    named = {number + 1: row for number, row in enumerate(rows) if row[0]}
    assert {number: row[0] for number, row in named.items()} == {13: "misaligned", 21: "wrong angle", 31: "blank"}
    plain = rows[0][1]
    assert len({row[1] for row in named.values()} | {plain}) == 4
    assert all(row[2] for row in named.values())
    # and in the charts
    assert page.run(
        "[...document.querySelectorAll('#t0 .charts.one svg')].map(s => s.querySelectorAll('.cross').length)"
    ) == [3, 2]


@pytest.mark.browser
def test_controls_and_pictures_have_names(page: Page) -> None:
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    named = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]]
    assert {"searchbox", "combobox", "button", "link", "image"} <= {role for role, _ in named}
    for role, name in named:
        if role in ("searchbox", "combobox", "button", "link", "image", "img", "region"):
            assert name, role


@pytest.mark.browser
def test_a_single_tomogram_is_open(browser: Page, figures: dict[str, Findings], tmp_path: Path) -> None:
    write_report(tmp_path / "a.html", "one", [figures["TS_2"]])
    browser.troubles.clear()
    browser.open((tmp_path / "a.html").as_uri())
    browser.wait("document.readyState == 'complete' && document.title == 'one'")
    assert browser.run("document.querySelector('details').open")
    browser.run("document.querySelector('summary').click()")
    assert browser.run("document.querySelector('details').open")
    assert browser.troubles == []


@pytest.mark.slow
def test_the_real_cell(run: Run, tmp_path: Path) -> None:
    line = (
        f"reconstruct --t {real_data('mycoplasma/tomograms.star')} --bin 2 --SNR 100 --halves tilts --o {tmp_path}/out/"
    )
    assert run(line)[0] == 0
    (good,) = (find_out(subject) for subject in subjects_in(tmp_path / "out"))
    assert good.resolution is not None
    assert 50 < good.resolution < 75
    assert good.shift is not None
    assert good.shift < 10
    assert good.slab is not None
    assert 110 < good.slab.thickness / 10 < 170
    # both ends of the series are poor
    assert {row.number for row in good.flagged} <= {1, 41}

    series = read_tilt_series(real_data("mycoplasma/tomograms.star"))
    images = np.stack([series.images[i] for i in range(series.n_tilts)]).astype(np.float32)
    images[12] = np.roll(images[12], 12, axis=1)
    images[30] = 0
    matrices = series.projections.copy()
    matrices[18] = AlignmentCorrections(30.0).apply(series).projections[18]
    angles = series.tilt_angles.copy()
    angles[18] += 30
    broken = replace(series, name="broken", images=images, projections=matrices, tilt_angles=angles)
    path, _ = write_set(tmp_path / "set", [(broken, {})], "relion4", copy=True)
    line = f"reconstruct --t {path} --bin 2 --SNR 100 --halves tilts --skip_bad_images --o {tmp_path}/bad/"
    assert run(line)[0] == 0
    (bad,) = (find_out(subject) for subject in subjects_in(tmp_path / "bad"))
    named = {row.number: row.flag for row in bad.flagged if row.number not in (1, 41)}
    assert named == {13: "misaligned", 19: "wrong angle", 31: "blank"}
    assert bad.resolution is not None
    assert bad.resolution > 1.5 * good.resolution


def test_a_set_without_tomograms_is_no_folder_of_results(run: Run, two_sets: Path) -> None:
    status, _, err = run(f"report {two_sets}")
    assert status == 1
    assert "tomograms.star names no tomograms (rlnTomoReconstructedTomogram): give the folder" in err
    assert not (two_sets / "report.html").exists()
