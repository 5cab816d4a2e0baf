"""What Python users do: the twelve tasks of the docs run, positions are proved by beads, mistakes are named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fourierrecon import (
    CtfParameters,
    Region,
    TiltSeries,
    UsageError,
    Volume,
    read_tilt_series,
    read_volume,
    reconstruct,
    reconstruct_to,
    reconstruct_to_file,
    write_volume,
)
from fourierrecon.errors import FourierReconError
from fourierrecon.quality import compare_volumes, shell_correlation, tilt_agreement, wedge_mask
from fourierrecon.sets import Recipe, reconstruct_set
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import simulate, write_simulation
from fourierrecon.weighting import SnrCurve, Wiener

PAGE = Path(__file__).parents[1] / "docs/tasks.md"
TILTS, AXIS = np.linspace(-60, 60, 13), 12.0
SHIFTS = np.column_stack([np.linspace(-3, 4, len(TILTS)), np.linspace(2, -1, len(TILTS))])


def test_the_twelve_tasks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == len(re.findall(r"^## \d+\. ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)) == 12
    size = (96, 96, 48)
    write_simulation(tmp_path, simulate(cell_like_specimen(size), size, ctf=realistic_ctf(41, seed=0), snr=0.1))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"task {number}", "exec"), names)
    assert names["particle"].data.shape == (32, 32, 32)
    assert np.array_equal(names["constant"].data, names["same"].data)
    assert 80 <= names["curve"].resolution() < 400
    assert str(names["found"].orientation) == "as it is"
    assert (tmp_path / "out/tomograms/rec_TS_01.mrc").stat().st_size > 1024


def blobs(places: list[tuple[float, float, float]], shape: tuple[int, int]) -> np.ndarray:
    """Draw a dark blob where the formula of the docs puts each place: rotations written out, no code of the package."""
    images = np.zeros((len(TILTS), *shape), np.float32)
    v, u = np.indices(shape)
    for number, tilt in enumerate(np.radians(TILTS)):
        axis = np.radians(AXIS)
        for x, y, z in places:
            a, b = x * np.cos(tilt) + z * np.sin(tilt), y
            column = a * np.cos(axis) - b * np.sin(axis) + shape[1] // 2 + SHIFTS[number, 0]
            row = a * np.sin(axis) + b * np.cos(axis) + shape[0] // 2 + SHIFTS[number, 1]
            images[number] -= np.exp(-((u - column) ** 2 + (v - row) ** 2) / 8)
    return images


def test_a_bead_lies_where_angles_and_shifts_put_it() -> None:
    bead = (9.0, -6.0, 5.0)  # px from the rotation centre
    images = blobs([bead], (60, 64))
    series = TiltSeries.from_angles(images, TILTS, 5.0, tilt_axis_angle=AXIS, shifts=SHIFTS, size=(64, 60, 40))
    for region in (
        Region.of(series),
        Region.of(series, binning=2),
        Region.around(series, point=(50.0, -25.0, 20.0), size=160.0),
    ):
        volume = reconstruct(series, region, "wiener:snr=100", ctf=False)
        z, y, x = (int(n) for n in np.unravel_index(np.argmin(volume.data), volume.data.shape))
        assert np.allclose(volume.position(x, y, z), 5 * np.array(bead), atol=5.1 * region.binning / 2)
        # the darkest voxel leads to the darkest pixel of each image
        for tilt in (0, 6, 12):
            matrix = region.voxel_to_pixel(series, tilt)
            exact = (np.array(bead) - region.origin) / region.binning
            column, row = matrix @ (*exact, 1)
            assert images[tilt, round(row), round(column)] < -0.75
            assert np.hypot(*(matrix @ (x, y, z, 1) - (column, row))) <= region.binning


def test_a_region_around_a_point_has_it_in_the_middle() -> None:
    series = TiltSeries.from_angles(np.zeros((3, 60, 64)), [-20, 0, 20], 4.0)
    region = Region.around(series, (10.0, 20.0, -30.0), (80.0, 40.0, 24.0), binning=2)
    assert region.shape == (3, 5, 10)
    np.testing.assert_allclose(4 * region.centre, (10, 20, -30))


@pytest.mark.parametrize("name", ["full", "even"])
def test_the_matrix_of_a_voxel_agrees_with_a_simulated_bead(name: str) -> None:
    bead = np.array([[20.0, 18.0, 9.0]])
    series = simulate(Gaussians(bead, np.asarray(1.5), np.asarray(1.0)), (40, 36, 18), snr=None).series
    region = Region.of(series, binning=1 if name == "full" else 2)
    voxel = (bead[0] - region.origin) / region.binning
    for tilt in range(0, series.n_tilts, 8):
        column, row = region.voxel_to_pixel(series, tilt) @ (*voxel, 1)
        image = np.asarray(series.images[tilt])
        darkest = np.unravel_index(np.argmin(image), image.shape)
        assert np.abs(np.subtract(darkest, (row, column))).max() <= 0.51


def test_fsc_takes_volumes() -> None:
    noise = np.random.default_rng(0).normal(size=(3, 16, 16, 16)).astype(np.float32)
    first, second = (Volume(noise[0] + noise[i], 10.0, (0.0, 0.0, 0.0)) for i in (1, 2))
    curve = shell_correlation(first, second)
    np.testing.assert_allclose(curve.correlation, shell_correlation(first.data, second.data, 10.0).correlation)
    assert curve.limit == pytest.approx(1 / 20)
    with pytest.raises(UsageError, match="voxels of 10 and 12 Å cannot be compared"):
        shell_correlation(first, Volume(second.data, 12.0, second.origin))
    with pytest.raises(UsageError, match="voxel size is unknown; give voxel_size"):
        shell_correlation(first.data, second.data)


SERIES = TiltSeries.from_angles(np.zeros((3, 60, 64), np.float32), [-20, 0, 20], 5.0, exposure=[0, 3, 6], name="<b>")
OPTICS: dict[str, Any] = {"spherical_aberration": 2.7, "amplitude_contrast": 0.1, "defocus_u": 3e4}
VOLUME = Volume(np.random.default_rng(0).normal(size=(8, 30, 900)).astype(np.float32), 20.0, (0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    "record",
    [
        SERIES,
        VOLUME,
        Region.of(SERIES),
        Wiener(SnrCurve(tuple(np.linspace(0.01, 0.1, 200)), (1.0,) * 200)),
        Recipe(source=Path("a.star"), folder=Path("b")),
        shell_correlation(VOLUME, VOLUME),
        CtfParameters.of(41, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.07, defocus_u=3e4),
    ],
    ids=lambda record: type(record).__name__,
)
def test_representations_are_short(record: object) -> None:
    assert len(repr(record)) < 160
    assert "\n" not in repr(record)


def test_a_recipe_takes_one_of_each_as_it_is() -> None:
    recipe = Recipe(source="a.star", folder="b", weightings="wiener:snr=3", binnings=4)  # type: ignore[arg-type]
    assert (recipe.source, recipe.weightings, recipe.binnings) == (Path("a.star"), (Wiener(3.0),), (4.0,))


def test_notebooks_show_a_section_and_a_table() -> None:
    page = VOLUME._repr_html_()
    assert page.startswith("<p>Volume(900 x 30 x 8 voxels of 20 Å)</p><img")
    assert 1000 < len(page) < 100_000
    table = SERIES._repr_html_()
    assert table.count("<tr>") == 4
    assert "&lt;b&gt;" in table
    assert "<b>" not in table
    assert "exposure" in table
    assert "defocus" not in table


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reconstruct("TS_01.star"), "series is of type str 'TS_01.star'; needed: a TiltSeries"),  # type: ignore[arg-type]
        (lambda: reconstruct(SERIES, 4), "region is of type int 4; needed: a Region"),  # type: ignore[arg-type]
        (lambda: reconstruct(SERIES, binning="4"), "binning is of type str '4'; needed: a number"),  # type: ignore[arg-type]
        (lambda: reconstruct(SERIES, weighting=10), "weighting is of type int 10; needed: a weighting"),  # type: ignore[arg-type]
        (lambda: reconstruct(SERIES, ctf=False, memory=[1]), "memory is of type list"),  # type: ignore[arg-type]
        (lambda: reconstruct_to_file(SERIES, "a.mrc"), "path is of type TiltSeries; needed: the name of a file"),  # type: ignore[arg-type]
        (lambda: write_volume(VOLUME, "a.mrc"), "path is of type Volume; needed: the name of a file"),  # type: ignore[arg-type]
        (lambda: write_volume("a.mrc", VOLUME.data), "volume is of type ndarray; needed: a Volume"),  # type: ignore[arg-type]
        (lambda: read_volume(VOLUME), "path is of type Volume; needed: the name of a file"),  # type: ignore[arg-type]
        (lambda: read_tilt_series(3), "path is of type int 3; needed: the name of a file"),  # type: ignore[arg-type]
        (lambda: Volume("a.mrc", 10.0, (0, 0, 0)), "data is of type str 'a.mrc'; needed: an array"),  # type: ignore[arg-type]
        (lambda: TiltSeries.from_angles("a.mrc", [0], 5.0), "images is of type str 'a.mrc'; needed: numbers"),
        (lambda: TiltSeries.from_angles(np.zeros((3, 4, 4)), [0, 1], 5.0), "needed: one angle an image"),
        (lambda: TiltSeries.from_angles(np.zeros((3, 4, 4)), "abc", 5.0), "tilt_angles is of type str 'abc'"),
        (lambda: TiltSeries.from_angles(np.zeros((3, 4, 4)), [0, 1, 2], "5"), "pixel_size is of type str '5'"),  # type: ignore[arg-type]
        (lambda: TiltSeries.from_angles(np.zeros((3, 4, 4)), [0, 1, 2], 5, shifts=[1, 2]), r"shifts has shape \(2,\)"),
        (lambda: TiltSeries.from_angles(np.zeros((3, 4)), [0, 1, 2], 5), "needed: \\(n_tilts, height, width\\)"),
        (lambda: Region.around(SERIES, (1, 2), 5), "three numbers each"),  # type: ignore[arg-type]
        (lambda: Region.around(SERIES, (1, 2, 3), "5 nm"), "size is of type str '5 nm'; needed: numbers"),  # type: ignore[arg-type]
        (lambda: Region.of(SERIES).voxel_to_pixel(SERIES, 3), "tilt 3: the series has images 0 to 2"),
        (lambda: shell_correlation("a.mrc", VOLUME), "a is of type str 'a.mrc'; needed: a Volume"),
        (lambda: compare_volumes(VOLUME.data, VOLUME), "a is of type ndarray; needed: a Volume"),  # type: ignore[arg-type]
        (lambda: reconstruct(SERIES, ctf=False, n_threads="2"), "n_threads is of type str '2'; needed: a number"),  # type: ignore[arg-type]
        (lambda: reconstruct(SERIES, bining=2), "no argument bining=...; available: ctf, n_threads"),  # type: ignore[call-arg]
        (lambda: reconstruct(SERIES, taper_falloff="a"), "taper_falloff is of type str"),  # type: ignore[arg-type]
        (lambda: reconstruct_to("a.mrc", SERIES), "write is of type str 'a.mrc'; needed: a function"),  # type: ignore[arg-type]
        (lambda: SERIES.select("abc"), "tilts is of type str 'abc'; needed: numbers"),  # type: ignore[arg-type]
        (lambda: SERIES.select([0.5]), "tilts must be whole numbers"),  # type: ignore[list-item]
        (lambda: Region("a", (1, 2, 3)), "origin is of type str 'a'; needed: numbers"),  # type: ignore[arg-type]
        (lambda: Region.of(SERIES, size="auto"), "size is of type str 'auto'; needed: three numbers"),  # type: ignore[arg-type]
        (lambda: Region.of(SERIES, size=(1, 2)), "must be three values"),  # type: ignore[arg-type]
        (lambda: CtfParameters.of(2, voltage="300", **OPTICS), "voltage is of type str '300'"),  # type: ignore[arg-type]
        (lambda: CtfParameters.of(2, voltage=300, **OPTICS | {"defocus_u": [1, 2, 3]}), r"defocus U has shape \(3,\)"),
        (lambda: Wiener([1, 2]), "snr is of type list; needed: a number"),  # type: ignore[arg-type]
        (lambda: TiltSeries(np.zeros((3, 4, 4)), "abc", 5.0), "projections is of type str"),  # type: ignore[arg-type]
        (lambda: wedge_mask((8, 8), SERIES), "a wedge needs a shape"),  # type: ignore[arg-type]
        (lambda: tilt_agreement(VOLUME, SERIES), "series is of type Volume; needed: a TiltSeries"),  # type: ignore[arg-type]
        (lambda: Recipe(source="a", folder="b", weightings=3), "weighting is of type int 3"),  # type: ignore[arg-type]
        (lambda: Recipe(source="a", folder="b", binnings="four"), "binnings is of type str 'four'"),  # type: ignore[arg-type]
        (lambda: reconstruct_set("tomograms.star"), "recipe is of type str 'tomograms.star'; needed: a Recipe"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_wrong_types_are_named_in_a_line(call: Any, message: str) -> None:
    with pytest.raises(FourierReconError, match=message) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1
