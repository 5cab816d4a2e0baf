"""Whole sets: what is made, what is left, what is said, and what survives every way to end."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fourierrecon.errors import UsageError
from fourierrecon.io import list_tomograms, read_tilt_series, read_volume
from fourierrecon.io.relion.read import read_halves
from fourierrecon.io.stacks.write import write_stack
from fourierrecon.io.star.table import read_tables
from fourierrecon.sets import keys
from fourierrecon.sets.run import choose_part
from fourierrecon.tilt_series import TiltSeries
from tests.helpers.real_data import real_data
from tests.helpers.small_sets import SET, Run, names, reasons, small_series, volumes, write_small_set

# what is made


def test_a_set_is_what_its_tomograms_are_alone(run: Run, here: Path) -> None:
    status, out, err = run(SET)
    assert (status, err) == (0, "")
    assert names(out) == ["TS_01", "TS_02", "TS_03"]
    assert "3 done" in out
    assert "0 failed" in out
    for name in names(out):
        assert run(f"reconstruct --t set/tomograms.star --tn {name} --noctf --bin 2 --o {name}.mrc")[0] == 0
        mine, alone = read_volume(here / f"out/tomograms/rec_{name}.mrc"), read_volume(here / f"{name}.mrc")
        np.testing.assert_allclose(mine.data, alone.data, atol=1e-6)
        assert (mine.voxel_size, mine.origin) == (alone.voxel_size, alone.origin)


def test_the_list_is_read_back(run: Run, here: Path) -> None:
    shutil.rmtree("set")
    write_small_set(here / "set", 2, halves=True)
    assert run(f"{SET} --halves frames --do_proj")[0] == 0
    path = here / "out/tomograms.star"
    assert list_tomograms(path) == ["TS_01", "TS_02"]
    table = next(iter(read_tables(path).values()))
    for half, ending in (("", ""), ("Half1", "_half1"), ("Half2", "_half2")):
        files = table.words(f"rlnTomoReconstructedTomogram{half}")
        assert list(files) == [f"out/tomograms/rec_TS_0{i}{ending}.mrc" for i in (1, 2)]
        pictures = table.words(f"rlnTomogramProjection{half}")
        assert all(Path(file).is_file() for file in (*files, *pictures))
    assert list(table.numbers("rlnTomoTomogramBinning")) == [2, 2]
    # it is a set itself, wherever it is read from
    os.chdir("/")
    for number in (1, 2):
        again, first = read_tilt_series(path, f"TS_0{number}"), small_series(number)
        np.testing.assert_allclose(again.projections, first.projections, atol=1e-6)
        assert again.size == first.size
        halves = read_halves(path, again.name)
        np.testing.assert_array_equal(halves["Even"][3], np.asarray(first.images)[3] + 1)
        np.testing.assert_array_equal(halves["Odd"][3], np.asarray(first.images)[3] - 1)


def test_halves_are_those_of_even_and_odd_images(run: Run, here: Path) -> None:
    shutil.rmtree("set")
    write_small_set(here / "set", 1, halves=True)
    assert run(f"{SET} --halves frames --no_weight --keep_mean")[0] == 0
    full, even, odd = (read_volume(here / f"out/tomograms/rec_TS_01{end}.mrc").data for end in ("", "_half1", "_half2"))
    middle = (slice(3, 5), slice(7, 11), slice(8, 12))
    np.testing.assert_allclose((even + odd)[middle] / 2, full[middle], atol=1e-4)
    np.testing.assert_allclose((even - odd)[middle], 2, atol=0.02)


def test_a_relion_4_set_from_elsewhere(run: Run, here: Path) -> None:
    shutil.rmtree("set")
    write_small_set(here / "set", 2, halves=True, version="relion4")
    os.chdir("set")
    shutil.move("../set/TS_01_odd.mrcs", "../kept")
    assert (
        run("reconstruct --t tomograms.star --noctf --bin 2 --o ../out/")[0] == 0
    )  # images that were not needed may be missing
    os.chdir("..")
    assert list_tomograms("out/tomograms.star") == ["TS_01", "TS_02"]
    np.testing.assert_array_equal(read_halves("out/tomograms.star", "TS_02")["Odd"][0], small_series(2).images[0] - 1)


def test_a_single_alignment(run: Run, here: Path) -> None:
    # no set of RELION: the list is made from scratch
    (here / "TS_09.aln").write_text(
        "# AreTomo Alignment / Priims bprmMn\n# RawSize = 41 36 3\n# NumPatches = 0\n"
        "# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE     BASE     TILT\n"
        + "".join(
            f"    {i}   3.0   1.00000   0.0   0.0   1.00   1.00   1.00   0.00   {20 * i - 20}.0\n" for i in range(3)
        )
    )
    write_stack(here / "TS_09.mrc", np.random.default_rng(1).normal(size=(3, 36, 41)).astype(np.float32), 10.0)
    line = "reconstruct --t TS_09.aln --noctf --bin 2 --d 16 --o out/"
    status, _, err = run(line)
    assert (status, err) == (0, "")
    assert list_tomograms("out/tomograms.star") == ["TS_09"]
    assert reasons(run(line)[1]) == {"TS_09": "there already"}
    assert {"out/tomograms.star", "out/tilt_series/TS_09.star", "out/tomograms/rec_TS_09.mrc"} <= {
        str(path) for path in Path("out").rglob("*")
    }


@pytest.mark.parametrize("patterns", [["TS_0[13]"], ["TS_03", "TS_01"]])
def test_patterns_of_names(run: Run, here: Path, patterns: list[str]) -> None:
    status, out, _ = run(SET, *(word for pattern in patterns for word in ("--tn", pattern)))
    assert status == 0
    assert names(out) == ["TS_01", "TS_03"]
    status, _, err = run(SET, "--tn", "TS_1*")
    assert status == 2
    assert "available: TS_01, TS_02, TS_03" in err


def test_shards_make_all_between_them(run: Run, here: Path) -> None:
    found = []
    for part in ("2/2", "1/2"):
        status, out, _ = run(f"{SET} --shard {part}")
        assert status == 0
        assert f"(part {part})" in out
        found.append(names(out))
    assert found == [["TS_02"], ["TS_01", "TS_03"]]
    # the list has what others made, too
    assert list_tomograms("out/tomograms.star") == ["TS_01", "TS_02", "TS_03"]
    for wrong in ("0/2", "3/2", "1", "a/b", "-1/2"):
        status, _, err = run(f"{SET} --shard {wrong}")
        assert status == 2
        assert "I/N" in err


# what is made again, and why


def test_resume_says_why(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(reasons(run(SET)[1]).values()) == {"new"}
    first = volumes(here / "out")
    status, out, _ = run(SET)
    assert (status, set(reasons(out).values())) == (0, {"there already"})
    assert "3 there already" in out

    (here / "out/tomograms/rec_TS_01.mrc").unlink()
    os.truncate(here / "out/tomograms/rec_TS_02.mrc", 3000)
    (here / "out/tomograms/rec_TS_03.mrc").write_bytes(b"")
    whole = reasons(run(SET)[1])
    assert whole == {"TS_01": "new", "TS_02": "the file is broken", "TS_03": "the file is broken"}
    assert volumes(here / "out") == first


def test_what_is_there_and_does_not_fit_stays(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(SET)[0] == 0
    first, listed = volumes(here / "out"), (here / "out/tomograms.star").read_bytes()
    os.utime("set/TS_03.mrcs", (1, 1))
    (here / "out/tomograms/rec_TS_01.mrc").unlink()
    for option, number, why in (
        ("", 3, "inputs have changed"),
        ("--SNR 5", 2, "options have changed"),
        ("--w 30", 2, "its size has changed"),
    ):
        status, out, err = run(f"{SET} {option}")
        assert (status, err) == (1, "")
        assert f"stale     TS_0{number}: rec_TS_0{number}.mrc: {why}" in out
        assert "stale     TS_03: " in out
        assert ("TS_02: rec_TS_02.mrc: " in out) == bool(option)
        assert "--redo makes it anew" in out
        (here / "out/tomograms/rec_TS_01.mrc").unlink()  # what was missing was made
        assert {name: first[name] for name in volumes(here / "out")} == volumes(here / "out")
    run(SET)
    assert volumes(here / "out") == first
    # of TS_03 there is another alignment now, for all that is known: the list does not claim it
    assert list_tomograms("out/tomograms.star") == ["TS_01", "TS_02"]
    status, out, _ = run(f"{SET} --redo")
    assert (status, reasons(out)) == (
        0,
        {"TS_01": "there already", "TS_02": "there already", "TS_03": "inputs have changed"},
    )
    assert (here / "out/tomograms.star").read_bytes() == listed
    # what another version made is what was asked for
    monkeypatch.setattr(keys, "__version__", "99.0")
    status, out, _ = run(SET)
    assert status == 0
    assert out.count("made by version 0.1.0; it is left as it is") == 3
    assert out.count("there already") == 4
    assert set(reasons(run(f"{SET} --redo")[1]).values()) == {"made by version 0.1.0"}
    assert set(reasons(run(f"{SET} --no_resume")[1]).values()) == {"asked for"}


def test_tomograms_of_two_runs_in_one_list(run: Run, here: Path) -> None:
    assert run(f"{SET} --tn TS_01")[0] == 0
    assert run(f"{SET.replace('--bin 2', '--bin 4')} --tn TS_02")[0] == 0
    assert list_tomograms("out/tomograms.star") == ["TS_01", "TS_02"]
    table = read_tables(here / "out/tomograms.star")["global"]
    assert list(table.numbers("rlnTomoTomogramBinning")) == [2, 4]


def test_nothing_lies_beside_what_it_does_not_belong_to(run: Run, here: Path) -> None:
    line = f"{SET} --tn TS_01"
    assert run(f"{line} --halves tilts --do_proj --companions coverage")[0] == 0
    before = volumes(here / "out")
    # each of these would leave some of the others beside another volume
    for more, left in (
        ("", "projections/rec_TS_01.mrc"),
        ("--halves tilts", "projections/rec_TS_01.mrc"),
        ("--halves tilts --do_proj", "_coverage.mrc"),
        ("--do_proj --companions coverage", "_half1.mrc"),
    ):
        status, out, _ = run(f"{line} --SNR 5 --redo {more}")
        assert status == 1
        (why,) = {line for line in out.splitlines() if line.startswith("stale")}
        assert left in why
        assert "is not asked for" in why
        assert volumes(here / "out") == before
    # a run that was killed between halves and whole, and was not asked for halves again
    (here / "out/tomograms/rec_TS_01.mrc").unlink()
    assert run(f"{line} --SNR 5")[0] == 1
    assert run(line)[0] == 0
    assert volumes(here / "out") == before
    status, out, _ = run(f"{line} --SNR 5 --halves tilts --do_proj --companions coverage --redo")
    assert status == 0
    assert set(reasons(out).values()) == {"options have changed"}
    # the picture alone was of other slices
    status, out, _ = run(f"{line} --SNR 5 --do_proj --thickness_proj 2")
    assert status == 1
    assert "its projection: options have changed" in out


def test_what_no_run_made_stays(run: Run, here: Path) -> None:
    (here / "out/tomograms").mkdir(parents=True)
    shutil.copy("set/TS_02.mrcs", "out/tomograms/rec_TS_01.mrc")
    (here / "out/tomograms/rec_TS_02.mrc").write_text("notes")
    before = volumes(here / "out")
    for option in ("", "--redo", "--no_resume"):
        status, out, _ = run(f"{SET} {option}")
        assert status == 1
        assert out.count("it has no key, so no run on a set made it; move it away, or choose another folder") == 4
        assert {name: volumes(here / "out")[name] for name in before} == before


def test_another_alignment_is_another_input(run: Run, here: Path) -> None:
    assert run(SET)[0] == 0
    path = here / "set/tilt_series/TS_02.star"
    assert "\t-45\t" in path.read_text()
    path.write_text(path.read_text().replace("\t-45\t", "\t-45.5\t"))
    assert reasons(run(f"{SET} --redo")[1]) == {
        "TS_01": "there already",
        "TS_02": "inputs have changed",
        "TS_03": "there already",
    }


def test_what_goes_with_a_volume_is_looked_for(run: Run, here: Path) -> None:
    line = f"{SET} --do_proj --passport --tn TS_01"
    assert run(line)[0] == 0
    assert run(line)[1].count("there already") == 2
    (here / "out/projections/rec_TS_01.mrc").unlink()
    assert reasons(run(line)[1])["TS_01"] == "its projection: new"
    passport = here / "out/tomograms/rec_TS_01.passport.json"
    passport.unlink()
    assert reasons(run(line)[1])["TS_01"] == "its passport is missing, or that of another volume"
    # a process was killed after it wrote the volume, before it wrote its passport
    found = json.loads(passport.read_text())
    passport.write_text(json.dumps(found | {"key": "key of another"}))
    assert reasons(run(line)[1])["TS_01"].startswith("its passport")
    # and one that is not asked for does not stay with another volume
    assert run(f"{SET} --tn TS_01 --do_proj --SNR 5 --redo")[0] == 0
    assert not passport.exists()


def test_zarr_resumes(run: Run, here: Path) -> None:
    pytest.importorskip("zarr")
    line = f"{SET} --format zarr --dtype int8"
    assert set(reasons(run(line)[1]).values()) == {"new"}
    assert set(reasons(run(line)[1]).values()) == {"there already"}
    assert run(f"{SET} --format zarr")[1].count("options have changed") == 6
    assert set(reasons(run(f"{SET} --format zarr --redo")[1]).values()) == {"options have changed"}


def test_turned_tiff_images_are_not_read_for_keys(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(here / "TS_09.tif", np.asarray(small_series(9).images))
    series = small_series(9)
    from fourierrecon.io.stacks.open import FileImages

    images = FileImages([(here / "TS_09.tif", i) for i in range(5)])
    monkeypatch.setattr(FileImages, "__getitem__", lambda *_: pytest.fail("read an image"))
    found = TiltSeries(images, series.projections, 10.0, "TS_09")
    before = keys.make_key(found, [])
    os.utime(here / "TS_09.tif", (1, 1))
    assert keys.make_key(found, []) != before


def test_each_tomogram_has_a_thumbnail(run: Run, here: Path) -> None:
    assert run(f"{SET} --halves tilts")[0] == 0
    pictures = sorted(path.name for path in (here / "out/thumbnails").iterdir())
    assert pictures == [f"rec_TS_0{number}.png" for number in (1, 2, 3)]
    picture = here / "out/thumbnails/rec_TS_02.png"
    with Image.open(picture) as drawn:
        volume = read_volume(here / "out/tomograms/rec_TS_02.mrc")
        assert (drawn.mode, drawn.size) == ("L", volume.data.shape[:0:-1])
        middle = volume.data[1:6].mean(0)  # 10 nm of 20 Å, the middle of 8 sections
        assert np.corrcoef(np.asarray(drawn).ravel(), middle.ravel())[0, 1] > 0.99
    # whichever way the axes of the file run, it is the XY section
    assert run(f"{SET.replace('out/', 'turned/')} --like imod-tilt --tn TS_02")[0] == 0
    with Image.open(here / "turned/thumbnails/rec_TS_02.png") as turned:
        middle = volume.data[2:7].mean(0)  # z runs the other way
        assert np.corrcoef(np.asarray(turned).ravel(), middle.ravel())[0, 1] > 0.99
    # one that is missing is drawn, one of somebody else stays
    drawn_before = picture.read_bytes()
    picture.unlink()
    Image.new("L", (8, 8)).save(here / "out/thumbnails/rec_TS_01.png")
    status, out, _ = run(f"{SET} --halves tilts --tn TS_02")
    assert (status, picture.read_bytes()) == (0, drawn_before)
    assert run(f"{SET} --halves tilts --tn TS_01")[0] == 0
    status, out, _ = run(f"{SET} --halves tilts --tn TS_01 --SNR 3 --redo")
    assert status == 1
    assert "is no thumbnail that this program made; move it away" in out
    assert run(f"{SET.replace('out/', 'bare/')} --no_thumbnails")[0] == 0
    assert not (here / "bare/thumbnails").exists()


# a real project


def test_a_project_of_relion_5(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(real_data("metadata/relion5-tutorial_EMPIAR-10164_metadata"), tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    table = "Tomograms/job006/tomograms.star"
    wanted = list_tomograms(table)
    for name in wanted:
        (tilts,) = read_tables(Path(f"Tomograms/job006/tilt_series/{name}.star")).values()
        for seed, half in enumerate(("", "Even", "Odd")):
            for i, file in enumerate(tilts.words(f"rlnMicrographName{half}")):
                image = np.random.default_rng((seed, i)).normal(size=(1, 29, 30)).astype(np.float32)
                write_stack(Path(file), image, 1.35)
    before = {name: (tmp_path / "project" / name).read_bytes() for name in (table,)}
    # without weights, which would be made for the depth of the tomogram, 2000 px
    line = f"reconstruct --t {table} --no_weight --w 30 --h 29 --d 20 --bin 2 --generate_split_tomograms "
    line += "--do_proj --o here/"
    status, out, err = run(f"{line} --ctf")
    assert (status, err) == (0, ""), out
    assert f"{len(wanted)} done" in out
    assert Path(table).read_bytes() == before[table]
    assert len(list(Path("here/tomograms").glob("*.mrc"))) == 3 * len(wanted)
    listed = read_tables(Path("here/tomograms.star"))["global"]
    assert list(listed.words("rlnTomoName")) == wanted
    # what RELION had of its own is carried over, but for what is new
    theirs = read_tables(Path(table))["global"]
    assert list(listed.words("rlnEtomoDirectiveFile")) == list(theirs.words("rlnEtomoDirectiveFile"))
    assert list(listed.words("rlnTomoReconstructedTomogramHalf2")) == [
        f"here/tomograms/rec_{name}_half2.mrc" for name in wanted
    ]
    assert list(listed.numbers("rlnTomoSizeZ")) == [20] * len(wanted)
    assert read_tilt_series("here/tomograms.star", wanted[0]).n_tilts == 40
    assert "there already" in run(line)[1]


def test_names_and_shards_directly() -> None:
    assert choose_part(["a", "b", "c"], None) == ["a", "b", "c"]
    parts = [choose_part([str(i) for i in range(10)], f"{i}/3") for i in (1, 2, 3)]
    assert sorted(number for part in parts for number in part) == [str(i) for i in range(10)]
    with pytest.raises(UsageError, match="1 to N"):
        choose_part(["a"], "2/1")
