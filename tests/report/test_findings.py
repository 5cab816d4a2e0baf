"""What a report finds: known faults, resolution, slab and tilt of the specimen, the SNR."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.errors import DataError
from fourierrecon.geometry.corrections import AlignmentCorrections
from fourierrecon.geometry.projection import rotation
from fourierrecon.io import read_tilt_series, write_mrc
from fourierrecon.io.relion.import_set import write_set
from fourierrecon.report.assessment import find_out
from fourierrecon.report.figures import charts_of
from fourierrecon.report.findings import Findings
from fourierrecon.report.page import write_report
from fourierrecon.report.subjects import Subject, snr_of, subjects_in
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.microscope import TILT_ANGLES
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import simulate
from fourierrecon.tomogram.provenance import make_passport, passport_path
from fourierrecon.weighting import NoWeighting
from fourierrecon.weighting.snr import SnrCurve
from tests.helpers.real_data import real_data

Run = Callable[..., tuple[int, str, str]]


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
