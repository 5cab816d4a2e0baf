"""Tilt series that grow: what is made from kept samples equals what is made from all images, whatever has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import CtfParameters, Settings, TiltSeries, read_volume
from fourierrecon.engine import preprocess, task
from fourierrecon.engine.storage import Storage, choose_storage
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.io.relion.import_set import write_set
from fourierrecon.sets import Recipe, reconstruct_set
from fourierrecon.sets.incremental import FOUND, STATE, folder_of
from fourierrecon.tilt_series import ImageStack

WIDTH, HEIGHT, DEPTH = 88, 72, 32
#: Angles in the order of collection.
ANGLES = np.array([0.0, 6.0, -6.0, -12.0, 12.0, 18.0, -18.0, -24.0, 24.0])
RNG = np.random.default_rng(0)
IMAGES = (RNG.normal(size=(9, HEIGHT, WIDTH)) + 20).astype(np.float32)
IMAGES[2, 30, 30] = 90
SHIFTS = RNG.normal(0, 2, (9, 2))
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def grown(n: int, images: NDArray[np.float32] = IMAGES, *, ctf: bool = False, **more: Any) -> TiltSeries:
    """Give the first images of a tilt series."""
    centre = (WIDTH // 2, HEIGHT // 2, DEPTH // 2)
    matrices = projection_matrices((HEIGHT, WIDTH), centre, ANGLES[:n], 3.0, shifts=SHIFTS[:n])
    microscope = {"voltage": 300.0, "spherical_aberration": 2.7, "amplitude_contrast": 0.07}
    optics = CtfParameters.of(n, defocus_u=20000.0 + 50 * np.arange(n), **microscope) if ctf else None
    return TiltSeries(
        images[:n], matrices, 10.0, "TS_01", size=(WIDTH, HEIGHT, DEPTH), rotation_centre=centre, ctf=optics, **more
    )


def recipe(**more: Any) -> Recipe:
    """Give the recipe of a tomogram that grows."""
    known: dict[str, Any] = {"folder": Path("out"), "settings": Settings(ctf=False), "binnings": (2.0,)}
    return Recipe(source=Path("set/tomograms.star"), incremental=True, redo=("inputs",), **known | more)


def read_in(how: Recipe) -> str:
    """Make a tomogram, and give the line on what was read."""
    (outcome,) = reconstruct_set(how)
    assert outcome.status == "done", outcome
    return outcome.images[0]


def made(series: TiltSeries, how: Recipe, tolerance: float = 1e-7, *, written: bool = False) -> str:
    """Write a set, make its tomogram, compare it with what all images give, and give the line on what was read."""
    images = np.asarray(series.images)
    halves: dict[str, ImageStack] = {"Even": images + 1, "Odd": images - 1} if how.halves == "frames" else {}
    if not written:
        write_set(Path("set"), [(series, halves)], "relion5")
    (outcome,) = reconstruct_set(how)
    assert outcome.status == "done", outcome
    whole = replace(how, folder=Path("clean"), incremental=False, redo=("inputs", "options"))
    (other,) = reconstruct_set(whole)
    assert outcome.snr == other.snr
    for mine, theirs in zip(outcome.made, other.made, strict=True):
        a, b = read_volume(mine.path).data, read_volume(theirs.path).data
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * b.std())
    return outcome.images[0]


def test_a_new_image_is_all_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    how = recipe()
    assert made(grown(7), how) == "7 images read, 0 kept"
    prepared: list[int] = []
    prepare = preprocess.prepare_image

    def counting(*given: Any, **more: Any) -> Any:
        prepared.append(1)
        return prepare(*given, **more)

    monkeypatch.setattr(preprocess, "prepare_image", counting)
    write_set(Path("set"), [(grown(8), {})], "relion5")
    assert (read_in(how), len(prepared)) == ("1 image read, 7 kept", 1)
    # the rest of it, as of a stack that another program writes sorted by angle
    order = np.argsort(ANGLES)
    series = grown(9).select([int(i) for i in order])
    assert made(replace(series, images=IMAGES[order]), how) == "1 image read, 8 kept"


@pytest.mark.parametrize(
    "more",
    [
        {"settings": Settings(ctf_depth="on", defocus_hand=-1), "binnings": (1.0, 2.0)},
        {"settings": Settings(exposure="grant", memory=None), "halves": "tilts"},
        {"weightings": ("none",), "settings": Settings(ctf=False, keep_mean=True)},
        {
            "weightings": ("wiener:snr=10", "none"),
            "settings": Settings(taper_distance=3, taper_falloff=3, flatten=True),
        },
    ],
    ids=["depth", "exposure, halves", "levels", "two weightings"],
)
def test_options(more: dict[str, Any]) -> None:
    how = recipe(**more)
    for n in (8, 9):
        line = made(grown(n, ctf=True, exposure=3.0 * np.arange(n)), how)
    assert line == "1 image read, 8 kept"


def test_frames() -> None:
    lines = [made(grown(n), recipe(halves="frames")) for n in (7, 8)]
    assert lines == ["21 images read, 0 kept", "3 images read, 21 kept"]


def test_samples_in_scratch_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_disk(*given: Any, **more: Any) -> Storage:
        return replace(choose_storage(*given, **more), planes_on_disk=True, samples_on_disk=True, block=5, slabs=2)

    how = recipe(settings=Settings(ctf_depth="on", defocus_hand=-1))
    with monkeypatch.context() as patch:
        patch.setattr(task, "choose_storage", on_disk)
        assert [made(grown(n, ctf=True), how) for n in (8, 9)][1] == "1 image read, 8 kept"
    # the same samples wherever they lie meanwhile
    how = replace(how, redo=("options",), dtype="float16")
    assert read_in(how) == "0 images read, 9 kept"


def test_a_stack_that_grows_in_place() -> None:
    how, stack, aside = recipe(), Path("set/TS_01.mrcs"), Path("aside.mrcs")

    def rewritten(n: int, images: NDArray[np.float32]) -> str:
        """Write the tables anew, and the same file of images."""
        stack.rename(aside)
        write_set(Path("set"), [(grown(n, images), {})], "relion5")
        data = stack.read_bytes()
        aside.rename(stack)
        stack.write_bytes(data)
        return made(grown(n, images), how, written=True)

    made(grown(7), how)
    assert rewritten(8, IMAGES) == "1 image read, 7 kept"
    other = IMAGES.copy()
    other[3, 40:50, 41] += 1
    assert rewritten(9, other) == "2 images read, 7 kept"
    # not longer: every pixel counts
    other[5, 41, 41] += 1
    assert rewritten(9, other) == "1 image read, 8 kept"


def test_what_changed_is_made_anew_and_named() -> None:
    how = recipe(settings=Settings(exposure="none"))
    made(grown(8, ctf=True), how)
    # one image in the middle of a stack that was written anew
    other = IMAGES.copy()
    other[3, 40, 41] += 1
    assert made(grown(9, other, ctf=True), how) == "2 images read, 7 kept"
    series = grown(9, other, ctf=True)
    assert series.ctf is not None
    defocus = series.ctf.defocus_u.copy()
    defocus[5] += 200
    line = made(replace(series, ctf=replace(series.ctf, defocus_u=defocus)), how)
    assert line == "1 image read, 8 kept: another CTF, exposure or weight"
    moved = series.projections.copy()
    moved[:, 0, 3] += 1.5
    line = made(replace(series, projections=moved), how)
    assert line == "starts over, 9 images read, 0 kept: another CTF, exposure or weight, another alignment"
    # a larger image shift than all before takes longer lines
    moved[0, 1, 3] += 25
    line = made(replace(series, projections=moved), how)
    assert line.startswith("starts over")
    assert "other sizes of the plan" in line
    how = replace(how, settings=Settings(exposure="none", flatten=True), redo=("inputs", "options"))
    assert "other options" in made(replace(series, projections=moved), how)


def test_intensities_are_made_up_for() -> None:
    # the last image tells that one of before was exposed for longer
    images = IMAGES.copy()
    images[4] *= 1.5
    how = recipe()
    lines = [made(grown(n, images), how, 1e-5) for n in (7, 8, 9)]
    assert lines[1:] == ["1 image read, 7 kept", "1 image read, 8 kept"]


def test_a_normalised_stack() -> None:
    # of equal variances; the signal of steep images is less
    x = np.cumsum(RNG.normal(size=(HEIGHT, WIDTH)), axis=0)
    signal = 4 * (x - x.mean()) / x.std() * np.cos(np.radians(3 * ANGLES))[:, None, None] ** 2
    images = (IMAGES - 20 + signal).astype(np.float32)
    images /= images.std((1, 2), keepdims=True)
    how = recipe()
    lines = [made(grown(n, images), how, 1e-5) for n in (8, 9)]
    assert lines[1] == "1 image read, 8 kept"
    with np.load(folder_of(how, "TS_01") / FOUND) as found:
        assert len(found["coarsened"]) == 9


def test_damaged_and_missing_files() -> None:
    how = recipe()
    made(grown(7), how)
    folder = folder_of(how, "TS_01")
    first, second, third, *_ = sorted(folder.glob("*.samples"))
    data = bytearray(first.read_bytes())
    data[-100] ^= 1
    first.write_bytes(bytes(data))
    second.write_bytes(second.read_bytes()[:-8])
    third.unlink()
    line = made(grown(8), how)
    assert line == "4 images read, 4 kept: samples gone or damaged"
    (folder / FOUND).write_bytes(b"PK\x03\x04 nothing")
    (folder / STATE).write_text((folder / STATE).read_text().replace("[", "[[7], "))
    assert made(grown(9), how) == "1 image read, 8 kept"
    assert len(list(folder.glob("*"))) == 11


def test_what_is_old_goes() -> None:
    how = recipe()
    old, young, foreign = (folder_of(how, name) for name in ("TS_02", "TS_03", "TS_04"))
    for folder in (old, young, foreign):
        folder.mkdir(parents=True)
        for name in (STATE, "a.samples"):
            (folder / name).touch()
    (foreign / "notes.txt").touch()
    for folder in (old, foreign):
        os.utime(folder / STATE, (0, 0))
    made(grown(3), how)
    assert sorted(path.name for path in old.parent.iterdir()) == ["rec_TS_01", "rec_TS_03", "rec_TS_04"]
    assert [path.name for path in foreign.iterdir()] == ["notes.txt"]


def test_what_cannot_be_kept_is_named() -> None:
    assert made(grown(5), recipe(weightings=("preweight",))) == "all images read: preweight filters each by all others"
    # a folder that cannot be written costs no tomogram
    Path("scratch").mkdir()
    Path("scratch/incremental").write_text("a file of somebody")
    write_set(Path("set"), [(grown(6), {})], "relion5")
    (outcome,) = reconstruct_set(recipe(settings=Settings(ctf=False, scratch=Path("scratch")), folder="more"))
    assert outcome.status == "done", outcome
    assert any("scratch/incremental" in note for note in outcome.notes)


def test_watch(run: Run) -> None:
    line = "watch set --o out --noctf --bin 2 --every 0.1 --idle 0 --incremental --scratch kept"
    Path("kept").mkdir()
    for n in (7, 8):
        write_set(Path("set"), [(grown(n), {})], "relion5")
        status, out, _ = run(line)
        assert status == 0
        time.sleep(0.05)
    assert "inputs have changed; 1 image read, 7 kept" in out
    status, out, _ = run(line)
    assert "0 done; 1 there already; 0 failed" in out
