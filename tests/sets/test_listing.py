"""What a run writes says how to make its volumes again: the list of tomograms, their halves, passports, coordinates."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.geometry.corrections import AlignmentCorrections
from fourierrecon.io import list_tomograms, read_tilt_series, read_volume, write_stack
from fourierrecon.io.points import read_points
from fourierrecon.io.relion.import_set import write_set
from fourierrecon.io.star.table import read_tables, write_tables
from fourierrecon.weighting import NoWeighting
from tests.helpers.small_sets import small_series, write_small_set
from tests.io.test_imod import folder  # noqa: F401  (a folder of eTomo, a fixture)

Run = Callable[..., tuple[int, str, str]]
OPTIONS = [
    "",
    "--tiltangle_offset 7",
    "--x_tilt 4",
    "--z_shift 3",
    "--flip_hand",
    "--x0 5 --y0 3 --z0 2",
    "--w 29.5 --h 26.7 --d 12.6",
    "--tiltangle_offset -4 --x_tilt 2 --z_shift -2 --flip_hand --z0 3 --d 10",
]
TILTS = (-50.0, -22.0, 3.0, 30.0, 55.0)
ALN = "\n".join(
    ["# AreTomo Alignment / Priims bprmMn", "# RawSize = 48 40 5", "# NumPatches = 0",
     "# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE     BASE     TILT",
     *(f"{i + 1} 4.5 1.0 {i - 2.5} {1.5 - i} 1.0 1.0 1.0 0.0 {tilt}" for i, tilt in enumerate(TILTS)), ""]
)  # fmt: skip
XML = """<?xml version="1.0" encoding="utf-8"?>
<TiltSeries AreAnglesInverted="False" LevelAngleX="1.5" LevelAngleY="-3" UnselectFilter="False">
  <Angles>-50\n-22\n3\n30\n55</Angles>
  <UseTilt>True\nTrue\nTrue\nTrue\nTrue</UseTilt>
  <AxisAngle>4.5\n4.5\n4.5\n4.5\n4.5</AxisAngle>
  <AxisOffsetX>12\n-8\n3\n5\n-20</AxisOffsetX>
  <AxisOffsetY>-2\n18\n13\n-5\n10</AxisOffsetY>
  <MoviePath>a.tif\nb.tif\nc.tif\nd.tif\ne.tif</MoviePath>
</TiltSeries>
"""
MAKE = "--noctf --no_weight --bin 2 --halves tilts"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_matrices(path: Path) -> None:
    """Put the matrices into a set of RELION 5, in place of the angles."""
    own = path.parent / "tilt_series" / "TS_01.star"
    table = read_tables(own)["TS_01"].columns
    matrices = read_tilt_series(path).projections
    columns = {
        f"rlnTomoProj{a}": [f"[{','.join(f'{v:.12g}' for v in row)}]" for row in matrices[:, i]]
        for i, a in enumerate("XYZW")
    }
    kept = {k: list(v) for k, v in table.items() if k.startswith("rlnMicrograph") or k == "rlnTomoYTilt"}
    write_tables(own, {"TS_01": kept | columns})


def source_of_kind(kind: str, here: Path, etomo: Path) -> str:
    """Make tilt series of one kind; give what --t takes."""
    if kind.startswith("relion"):
        path = write_small_set(Path("set"), 1, version="relion4" if kind == "relion4" else "relion5")
        if kind == "relion5_matrices":
            with_matrices(path)
        return str(path)
    if kind in ("aretomo", "warp"):
        write_stack(here / "TS_01.mrc", np.random.default_rng(1).normal(size=(5, 40, 48)).astype(np.float32), 10.0)
        (here / "TS_01.aln").write_text(ALN)
        (here / "TS_01.xml").write_text(XML)
        return f"TS_01.{'aln' if kind == 'aretomo' else 'xml'} --w 44 --h 37 --d 15"
    if kind == "imod_magnified":
        return str(etomo)
    table = np.loadtxt(etomo / "ts.xf")  # rotations without magnification: RELION 5 has no other
    table[:, :4] /= np.sqrt(table[:, :1] * table[:, 3:4] - table[:, 1:2] * table[:, 2:3])
    np.savetxt(etomo / "ts.xf", table, "%.12f")
    return str(etomo)


def check_same(first: np.ndarray, second: np.ndarray) -> None:
    assert first.shape == second.shape
    np.testing.assert_allclose(second, first, atol=1e-3 * np.abs(first).max())


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    "kind", ["relion5", "relion5_matrices", "relion4", "imod", "imod_magnified", "aretomo", "warp"]
)
def test_a_list_gives_back_its_volumes(kind: str, options: str, here: Path, folder: Path, run: Run) -> None:  # noqa: F811
    if kind in ("aretomo", "warp") and "--d" in options:
        pytest.skip("its size is given already")
    source = source_of_kind(kind, here, folder)
    status, out, _ = run(f"reconstruct --t {source} {MAKE} --passport --o out/ {options}")
    assert status == 0, out
    assert "the list of tomograms" in out
    (name,) = list_tomograms("out/tomograms.star")
    assert run(f"reconstruct --t out/tomograms.star {MAKE} --o again/")[0] == 0
    for half in ("", "_half1", "_half2"):
        one, other = (read_volume(here / f"{at}/tomograms/rec_{name}{half}.mrc") for at in ("out", "again"))
        check_same(one.data, other.data)
    # so does the passport, and so do points of it
    listed = read_tilt_series("out/tomograms.star")
    volume = here / f"out/tomograms/rec_{name}.mrc"
    passport = json.loads(volume.with_name(f"rec_{name}.passport.json").read_text())
    p, to_world = passport["frame"]["pixel_size_angstrom"], np.array(passport["matrices"]["voxel_to_world_px"])
    projections = np.tile(np.eye(4), (listed.n_tilts, 1, 1))
    projections[:, :2] = np.array(passport["matrices"]["world_angstrom_to_tilt_pixel"]) @ np.diag([p, p, p, 1])
    projections[:, 2, :3] = np.cross(projections[:, 0, :3], projections[:, 1, :3])
    made = read_volume(volume).data
    x, y, z = to_world[:3, 3]
    depth, height, width = made.shape
    series = TiltSeries(listed.images, projections, p)
    region = Region((x, y, z), (depth, height, width), float(to_world[0, 0]))
    check_same(made, reconstruct(series, region, NoWeighting(), ctf=False).data)
    voxel = np.array([3.0, 2, 1])
    Path("points.csv").write_text("x,y,z\n3,2,1\n")
    convert = "convert-coords points.csv there.csv --from volume --to relion5-px --from_bin 2"
    assert run(f"{convert} --t out/tomograms.star")[0] == 0
    there = np.append(read_points(Path("there.csv")).coordinates[0] + listed.world_origin, 1.0)
    to_pixel = np.array(passport["matrices"]["voxel_to_tilt_pixel"])
    np.testing.assert_allclose(listed.projections[:, :2] @ there, to_pixel @ np.append(voxel, 1), atol=1e-4)


def test_only_what_differs_is_written_anew(here: Path, run: Run) -> None:
    write_small_set(here / "set", 2)
    own = here / "out/tilt_series"
    for options in ("", "--w 30 --h 20 --d 10", "--x0 0"):
        assert run(f"reconstruct --t set/tomograms.star {MAKE} --o out/ {options} --redo")[0] == 0
        assert not own.exists()
    assert run(f"reconstruct --t set/tomograms.star {MAKE} --o out/ --tiltangle_offset 12 --tn TS_02 --redo")[0] == 0
    assert [path.name for path in own.iterdir()] == ["TS_02.star"]
    source, listed = (read_tilt_series(f"{at}/tomograms.star", "TS_02") for at in ("set", "out"))
    np.testing.assert_allclose(listed.tilt_angles, source.tilt_angles + 12, atol=1e-9)


@pytest.mark.parametrize("version", ["relion4", "relion5"])
def test_a_flipped_hand_is_listed(version: str, here: Path, run: Run) -> None:
    write_set(here / "set", [(small_series(1), {})], version)  # type: ignore[arg-type]
    assert run(f"reconstruct --t set/tomograms.star {MAKE} --o out/ --flip_hand")[0] == 0
    assert read_tilt_series("set/tomograms.star").hand == -1
    assert read_tilt_series("out/tomograms.star").hand == 1


def test_images_that_were_left_out_are_not_listed(here: Path, run: Run) -> None:
    series = small_series(1)
    images = np.array(series.images)
    images[2] = 0
    write_stack(here / "images.mrcs", images, 10.0)
    path = write_small_set(here / "set", 1)
    shutil.move("images.mrcs", "set/TS_01.mrcs")
    make = f"reconstruct --t {path} {MAKE} --o out/"
    assert run(f"{make} --skip_bad_images --x_tilt 2")[0] == 0
    kept = [0, 1, 3, 4]
    want = AlignmentCorrections(x_tilt=2).apply(series).select(kept)
    listed = read_tilt_series("out/tomograms.star")
    np.testing.assert_allclose(listed.projections[:, :2], want.projections[:, :2], atol=1e-6)
    assert run(f"reconstruct --t out/tomograms.star {MAKE} --o again/")[0] == 0
    check_same(*(read_volume(here / f"{at}/tomograms/rec_TS_01.mrc").data for at in ("out", "again")))


def test_volumes_that_relion_cannot_read_are_not_listed(here: Path, run: Run) -> None:
    write_small_set(here / "set", 1)
    make = f"reconstruct --t set/tomograms.star {MAKE} --o out/"
    path = here / "out/tomograms.star"
    assert run(f"{make} --like relion")[0] == 0
    assert path.exists()
    # the file of the same name holds something else now
    status, out, _ = run(f"{make} --like imod-tilt --redo")
    assert status == 0
    assert "the axes of the volumes are those of --like imod-tilt" in " ".join(out.split())
    assert not path.exists()
    assert run(f"{make} --redo")[0] == 0
    before = path.read_bytes()
    pytest.importorskip("zarr", reason="zarr is not installed")
    status, out, _ = run(f"{make} --format zarr")
    assert status == 0
    assert "RELION does not read Zarr" in " ".join(out.split())
    assert path.read_bytes() == before


def test_the_exposures_of_an_mdoc_are_listed(here: Path, run: Run) -> None:
    write_small_set(here / "set", 1)
    angles = np.linspace(-45, 45, 5)
    Path("TS_01.mdoc").write_text(
        "".join(f"[ZValue = {i}]\nTiltAngle = {a}\nPriorRecordDose = {i + 1}\n" for i, a in enumerate(angles))
    )
    assert run(f"reconstruct --t set/tomograms.star {MAKE} --o out/ --mdoc TS_01.mdoc")[0] == 0
    exposure = read_tilt_series("out/tomograms.star").exposure
    assert exposure is not None
    np.testing.assert_allclose(exposure, [1, 2, 3, 4, 5])


def test_notes_of_one_tilt_series_are_not_those_of_several(here: Path, run: Run) -> None:
    write_small_set(here / "set", 2)
    Path("TS_01.mdoc").write_text(
        "".join(
            f"[ZValue = {i}]\nTiltAngle = {a}\nPriorRecordDose = {i + 1}\n" for i, a in enumerate(range(-45, 46, 22))
        )
    )
    for words in (f"reconstruct {MAKE} --o out/ --t", "import -o new", "info"):
        status, _, err = run(f"{words} set/tomograms.star --mdoc TS_01.mdoc")
        assert status == 2
        assert "--mdoc TS_01.mdoc is of one tilt series, but 2 are read: TS_01, TS_02; give one at a time (--tn)" in err
    assert not (here / "out").exists()
    # the other one stays in the list as it was
    assert run(f"reconstruct --t set/tomograms.star {MAKE} --o out/")[0] == 0
    assert run(f"reconstruct --t set/tomograms.star {MAKE} --o out/ --tn TS_01 --mdoc TS_01.mdoc --redo")[0] == 0
    first, second = (read_tilt_series("out/tomograms.star", f"TS_0{i}").exposure for i in (1, 2))
    assert first is not None
    assert second is None
