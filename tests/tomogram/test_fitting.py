"""Tomograms that are fitted to their specimens: level, depth, lists and aligned images that agree with the volume."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.errors import DataError
from fourierrecon.geometry.corrections import levelling
from fourierrecon.geometry.projection import projection_matrices, rotation
from fourierrecon.io import read_mrc_volume
from fourierrecon.io.relion.import_set import write_set
from fourierrecon.report.assessment import find_out
from fourierrecon.report.subjects import subjects_in
from fourierrecon.sets.fits import plain
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.simulate import simulate
from fourierrecon.tomogram.aligned_stack import aligned_paths, write_aligned_stack
from fourierrecon.tomogram.fitting import Fit, FitRequest, fit
from fourierrecon.tomogram.specimen import Specimen, find_specimen
from fourierrecon.weighting import Wiener

Run = Callable[..., tuple[int, str, str]]
PIXEL = 25.0


@cache
def slab(thickness: float, tilt_x: float, tilt_y: float, off: float = 0.0, axis: float = 85.0) -> TiltSeries:
    """Simulate a slab full of small things, lengths in Å; it goes on beyond the field of 0.36 µm."""
    rng = np.random.default_rng(0)
    width, height, depth = 144, 140, 80
    across, t = 1.6 * width + 2.5 * thickness / PIXEL, thickness / PIXEL
    n = int(0.006 * across**2 * t)
    points = rng.uniform(-0.5, 0.5, (n, 3)) * [across, across, t] + [0, 0, off / PIXEL]
    turn = rotation("x", tilt_x) @ rotation("y", tilt_y)
    centres = points @ turn.T + [width // 2, height // 2, depth // 2]
    specimen = Gaussians(centres, rng.uniform(0.9, 1.2, n), rng.uniform(0.3, 1, n))
    made = simulate(specimen, (width, height, depth), pixel_size=PIXEL, snr=1.0, seed=1, tilt_axis_angle=axis)
    return replace(made.series, images=np.asarray(made.series.images), name="TS_01")


def test_too_little_memory_to_measure_names_what_helps() -> None:
    with pytest.raises(DataError, match=r"^to measure the specimen.*allow more \(memory=.*leave out .*normalise=True$"):
        find_specimen(slab(800.0, 12.0, -12.0), memory=1_000_000)


def normal_of(tilt_x: float, tilt_y: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.asarray((rotation("x", tilt_x) @ rotation("y", tilt_y))[:, 2])


@pytest.mark.parametrize(
    ("thickness", "tilt_x", "tilt_y", "off"),
    [(800.0, 12.0, -12.0, 0.0), pytest.param(1600.0, -9.0, 6.0, 200.0, marks=pytest.mark.slow)],
)
def test_level_and_depth(thickness: float, tilt_x: float, tilt_y: float, off: float) -> None:
    series = slab(thickness, tilt_x, tilt_y, off)
    fitted = fit(series, FitRequest(level=True, depth=True))
    assert fitted.size is not None
    assert fitted.size[2] * PIXEL == pytest.approx(thickness, rel=0.1)
    levelled = fitted.apply(series)
    # the true normal, carried into the fitted world
    left = fitted.level.motion(series)[:3, :3].T @ normal_of(tilt_x, tilt_y)
    assert np.degrees(np.abs(np.arctan(left[:2] / left[2]))).max() < 0.5
    # the middle of the slab is the middle of the tomogram: its projections agree in the untilted image
    region = Region.of(levelled)
    assert region.shape[0] == fitted.size[2]
    assert fitted.specimen is not None
    middle = region.origin[2] + (region.shape[0] - 1) / 2
    assert fitted.specimen.point[2] == pytest.approx(middle, abs=1.5)
    found = find_specimen(levelled)
    assert (abs(found.normal[0]), abs(found.normal[1])) < (0.014, 0.014)
    assert Fit.from_record(plain(asdict(fitted))) == fitted


@pytest.mark.slow
def test_depth_of_a_specimen_that_stays_tilted() -> None:
    series = slab(800.0, 12.0, -12.0)
    fitted = fit(series, FitRequest(depth=True))
    assert fitted.size is not None
    tan = math.tan(math.radians(12))
    wanted = 800 / PIXEL / math.cos(math.radians(12)) ** 2 + tan * 140 + tan / math.cos(math.radians(12)) * 144
    assert fitted.size[2] == pytest.approx(wanted, rel=0.1)
    assert not str(fitted.level)


def test_no_specimen_no_change() -> None:
    rng = np.random.default_rng(0)
    noise = replace(slab(800.0, 12.0, -12.0), images=rng.normal(size=(41, 140, 144)).astype(np.float32))
    with pytest.warns(UserWarning, match="was not found"):
        fitted = fit(noise, FitRequest(level=True, depth=True))
    assert fitted.apply(noise) is noise


def test_levelling_turns_any_normal_to_z() -> None:
    series = slab(800.0, 12.0, -12.0)
    for normal in ([0.2, -0.1, 0.97], [-0.25, 0.2, 0.9], [0.0, 0.0, 1.0]):
        level = levelling(series, np.array(normal))
        turned = level.motion(series)[:3, :3].T @ (np.array(normal) / np.linalg.norm(normal))
        np.testing.assert_allclose(turned, [0, 0, 1], atol=1e-9)
        again = levelling(level.apply(series), level.motion(series)[:3, :3].T @ np.array([0.1, 0.15, 0.98]))
        assert abs(again.x_tilt) < 40


@pytest.mark.parametrize("version", ["relion4", pytest.param("relion5", marks=pytest.mark.slow)])
def test_lists_give_the_volume_back(run: Run, tmp_path: Path, version: str) -> None:
    star, _ = write_set(
        tmp_path / "in", [(slab(800.0, 12.0, -12.0), {})], "relion4" if version == "relion4" else "relion5"
    )
    options = "--noctf --bin 4 --j 2 --snr 10"
    line = f"reconstruct --t {star} {options} --level auto --d auto --exclude 1,3 --o {tmp_path}/out/"
    status, out, err = run(line)
    assert (status, err, "nm thick; turned level by tilt angles" in out) == (0, "", True)
    assert run(f"reconstruct --t {tmp_path}/out/tomograms.star {options} --o {tmp_path}/back.mrc")[0] == 0
    first, back = (read_mrc_volume(p) for p in (tmp_path / "out/tomograms/rec_TS_01.mrc", tmp_path / "back.mrc"))
    np.testing.assert_allclose(first.data, back.data, atol=2e-3 * first.data.std())
    assert "1 there already" in run(line)[1]
    # in a volume as deep as the specimen nothing stands out; the report shows what was measured in the images
    (subject,) = subjects_in(tmp_path / "out")
    slab_found = find_out(subject).slab
    assert slab_found is not None
    assert slab_found.thickness == pytest.approx(800, rel=0.1)
    assert abs(slab_found.centre) < 2 * PIXEL


def test_a_specimen_in_a_region() -> None:
    series = slab(800.0, 12.0, -12.0)
    x, y, z = normal_of(12.0, -12.0)
    specimen = Specimen(thickness=800.0, normal=(float(x), float(y), float(z)), point=(10.0, 20.0, 30.0))
    region = Region((4.0, 6.0, 8.0), (11, 21, 31), 3.0)
    found = specimen.slab_in(region, series.pixel_size)
    assert found is not None
    middle = np.array([4.0, 6.0, 8.0]) + 3 * (np.array([31, 21, 11]) - 1) / 2
    middle[2] += found.centre / series.pixel_size
    assert (middle - specimen.point) @ np.array([x, y, z]) == pytest.approx(0, abs=1e-9)
    assert math.tan(math.radians(found.tilt_x)) == pytest.approx(-y / z)
    assert math.tan(math.radians(found.tilt_y)) == pytest.approx(x / z)
    assert Specimen(problem="none").slab_in(region, series.pixel_size) is None


def test_aligned_images_reconstruct_the_tomogram(tmp_path: Path) -> None:
    series = slab(800.0, 0.0, 0.0, axis=85.0)
    region = Region.of(series, binning=2)
    stack, angles = write_aligned_stack(tmp_path / "a.mrc", series, region)
    assert (stack, angles) == aligned_paths(tmp_path / "a.mrc")
    images = read_mrc_volume(stack).data
    depth, height, width = region.shape
    centre = (width // 2, height // 2, (depth - 1) / 2)
    matrices = projection_matrices((height, width), centre, np.loadtxt(angles))
    aligned = TiltSeries(images, matrices, 2 * PIXEL, size=(width, height, depth))
    ours = reconstruct(series, region, Wiener(snr=1.0), ctf=False).data
    theirs = reconstruct(aligned, Region.of(aligned), Wiener(snr=1.0), ctf=False).data
    inside = (slice(None), slice(10, -10), slice(10, -10))
    assert np.corrcoef(ours[inside].ravel(), theirs[inside].ravel())[0, 1] > 0.97
