"""Reports on a simulated set: the page, the table of metrics, what is said on screen, and what is never replaced."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fourierrecon.cli.messages_table import in_options
from fourierrecon.cli.report import describe
from fourierrecon.errors import DataError
from fourierrecon.report.assessment import find_out
from fourierrecon.report.findings import Findings
from fourierrecon.report.metrics import check_table
from fourierrecon.report.page import check_page, write_report
from fourierrecon.report.subjects import subjects_in
from fourierrecon.sets.records import read_outcomes

Run = Callable[..., tuple[int, str, str]]


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


def test_a_set_without_tomograms_is_no_folder_of_results(run: Run, two_sets: Path) -> None:
    status, _, err = run(f"report {two_sets}")
    assert status == 1
    assert "tomograms.star names no tomograms (rlnTomoReconstructedTomogram): give the folder" in err
    assert not (two_sets / "report.html").exists()
