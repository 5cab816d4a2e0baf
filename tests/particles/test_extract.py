"""Boxes in files: what RELION reads, what is left out, and going on after an interruption."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile

from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import simulate, write_simulation

Run = Callable[..., tuple[int, str, str]]
SIZE = (72, 64, 32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("simulated")
    optics = realistic_ctf(11, seed=1)
    write_simulation(path, simulate(cell_like_specimen(SIZE), SIZE, ctf=optics, tilt_angles=range(-60, 61, 12)))
    # voxels of the unbinned tomogram: two within, one so near to its corner that no image holds its box
    (path / "picks.csv").write_text("tomogram,x,y,z\nTS_01,36,32,16\nTS_01,30,35,14\nTS_01,0,0,16\n")
    return path


@pytest.mark.parametrize("kind", ["volumes", "relion", "relion-stacks"])
def test_what_relion_reads(run: Run, folder: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "particles"
    line = ["--t", str(folder / "tomograms.star"), "--picks", str(folder / "picks.csv"), "--box", "16", "--o", str(out)]
    code, shown, error = run("extract", *line, "--kind", kind, "--window", "16")
    assert (code, error) == (0, "")
    assert "2 made, 1 in no image" in shown
    tables = starfile.read(out / "particles.star", always_dict=True)
    particles, optics = tables["particles"], tables["optics"]
    assert list(particles["rlnTomoParticleName"]) == ["TS_01/1", "TS_01/2"]
    # RELION 5: Å about int(size / 2) of the tomogram
    np.testing.assert_allclose(particles["rlnCenteredCoordinateXAngst"], [0, -60])
    np.testing.assert_allclose(particles["rlnCenteredCoordinateYAngst"], [0, 30])
    np.testing.assert_allclose(particles["rlnCenteredCoordinateZAngst"], [0, -20])
    assert (optics["rlnImageSize"][0], optics["rlnImagePixelSize"][0]) == (16, 10.0)
    assert int(tables["general"]["rlnTomoSubTomosAre2DStacks"]) == (kind == "relion-stacks")
    assert int(optics["rlnCtfDataAreCtfPremultiplied"][0]) == (kind != "volumes")
    assert particles["rlnTomoVisibleFrames"][0] == "[1,1,1,1,1,1,1,1,1,1,1]"
    with mrcfile.open(particles["rlnImageName"][0]) as file:
        assert file.data.shape == ((11 if kind == "relion-stacks" else 16), 16, 16)
        assert file.voxel_size.x == 10
    if kind != "relion-stacks":
        with mrcfile.open(particles["rlnCtfImage"][0]) as file:
            # half of Fourier space; CTF² above, multiplicity below, which is the number of slices at the origin
            assert file.data.shape == (32, 16, 9)
            assert file.data[16, 0, 0] == pytest.approx(11)


@pytest.mark.parametrize("kind", ["relion-stacks", "warp-stacks"])
def test_boxes_without_ctf_are_not_said_to_be_multiplied_with_it(
    run: Run, folder: Path, tmp_path: Path, kind: str
) -> None:
    line = ["--t", str(folder / "tomograms.star"), "--picks", str(folder / "picks.csv"), "--box", "16"]
    code, _, error = run("extract", *line, "--o", str(tmp_path), "--kind", kind, "--window", "16", "--noctf")
    assert (code, error) == (0, "")
    lists = [starfile.read(path, always_dict=True) for path in tmp_path.glob("*.star")]
    optics = [table for tables in lists for table in tables.values() if "rlnCtfDataAreCtfPremultiplied" in table]
    assert [int(each["rlnCtfDataAreCtfPremultiplied"][0]) for each in optics] == [0]


def test_a_run_goes_on_and_tells_other_options(run: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "particles"
    line = ["--t", str(folder / "tomograms.star"), "--picks", str(folder / "picks.csv"), "--o", str(out), "--box"]
    assert run("extract", *line, "16")[0] == 0
    first = out / "Subtomograms" / "TS_01" / "1.mrc"
    before, stamp = first.read_bytes(), first.stat().st_mtime_ns
    (out / "Subtomograms" / "TS_01" / "2.mrc").unlink()
    code, _, error = run("extract", *line, "16", "--no_resume")
    assert code == 2
    assert "--resume" in error
    code, shown, _ = run("extract", *line, "16")
    assert (code, "1 made, 1 there already" in shown) == (0, True)
    assert (first.read_bytes(), first.stat().st_mtime_ns) == (before, stamp)
    code, _, error = run("extract", *line, "20")
    assert (code, "other options" in error) == (2, True)


def test_bad_picks(run: Run, folder: Path, tmp_path: Path) -> None:
    line = ["--t", str(folder / "tomograms.star"), "--o", str(tmp_path / "out"), "--box", "16", "--picks"]
    (tmp_path / "a.csv").write_text("tomogram,x,y,z\nTS_07,36,32,16\n")
    code, _, error = run("extract", *line, str(tmp_path / "a.csv"))
    assert (code, "it names TS_07" in error) == (1, True)
    code, _, error = run("extract", *line, str(folder / "picks.csv"), "--SNR", "0")
    assert (code, "--SNR 0 must be above 0" in error) == (2, True)
    (tmp_path / "b.star").write_text(
        "data_\n\nloop_\n_rlnTomoName\n" + "".join(f"_rlnCoordinate{axis}\n" for axis in "XYZ") + "TS_01 1 2 3\n\n"
    )
    code, _, error = run("extract", *line, str(tmp_path / "b.star"))
    assert (code, "--from relion4" in " ".join(error.split())) == (2, True)


@pytest.mark.parametrize(
    ("options", "text"),
    [("--box 15", "--box 15 must be an even"), ("--box 16 --from mars", "unknown frame"),
     ("--box 16 --kind cubes", "--kind cubes: unknown"), ("--box 16 --window 9", "--window 9 must be")],
)  # fmt: skip
def test_options_that_make_no_sense_leave_no_folder(
    run: Run, folder: Path, tmp_path: Path, options: str, text: str
) -> None:
    out = tmp_path / "out"
    line = ["--t", str(folder / "tomograms.star"), "--picks", str(folder / "picks.csv"), "--o", str(out)]
    code, _, error = run("extract", *line, *options.split())
    assert (code, text in " ".join(error.split())) == (2, True)
    assert not out.exists()
