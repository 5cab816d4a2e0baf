"""Import: sets of RELION 4 and 5 that hold what the source held, wherever that came from."""

from __future__ import annotations

import os
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.cli import app
from fourierrecon.errors import UsageError
from fourierrecon.geometry.corrections import AlignmentCorrections
from fourierrecon.geometry.projection import projection_matrices, rotation_centre
from fourierrecon.io import Supplement, read_tilt_series, write_relion4_set, write_relion5_set, write_stack
from fourierrecon.io.relion.entries import relion5_entry
from fourierrecon.io.relion.read import read_halves
from fourierrecon.io.relion.rotations import euler_angles
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.weighting import NoWeighting
from tests.helpers.real_data import real_data
from tests.helpers.reference import Geometry, image_points
from tests.io import test_aretomo
from tests.io.test_imod import CTF, DEFOCUS, add, folder  # noqa: F401  (a folder of eTomo, a fixture)

TILTS = tuple(np.linspace(-57, 60, 7))


def run(*words: object) -> int:
    return app.main([str(word) for word in words])


def check_same(found: TiltSeries, source: TiltSeries) -> None:
    """Same images, same facts; voxels of the default region project to the same pixels."""
    assert found.name == source.name
    assert found.image_shape == source.image_shape
    assert found.pixel_size == pytest.approx(source.pixel_size, rel=1e-9)
    regions = [Region.of(series) for series in (found, source)]
    assert regions[0].shape == regions[1].shape
    depth, height, width = regions[0].shape
    corners = np.array([(x, y, z) for x in (0, width) for y in (0, height) for z in (0, depth)], float)
    at = [
        image_points(series.projections, np.asarray(region.origin) + corners)
        for series, region in zip((found, source), regions, strict=True)
    ]
    np.testing.assert_allclose(at[0], at[1], atol=1e-6)
    for i in range(source.n_tilts):
        np.testing.assert_array_equal(found.images[i], source.images[i])
    if source.exposure is None:
        assert found.exposure is None
    else:
        assert found.exposure is not None
        np.testing.assert_allclose(found.exposure, source.exposure, rtol=1e-9)
    if source.ctf is None:
        assert found.ctf is None
        return
    assert found.ctf is not None
    for field, value in vars(source.ctf).items():
        np.testing.assert_allclose(getattr(found.ctf, field), value, rtol=1e-9, atol=1e-9, err_msg=field)


def relion_series(name: str = "TS_01", seed: int = 0) -> TiltSeries:
    geometry = Geometry(TILTS, axis=85.0, shift=3.0, centre=(30.0, 33.0, 12.0))
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(len(TILTS), *geometry.image_shape)).astype(np.float32)
    return replace(
        geometry.series(images), name=name, ctf=realistic_ctf(len(TILTS), 1), size=(61.0, 66.0, 25.0),
        exposure=np.arange(7.0), rotation_centre=(30.0, 33.0, 12.0), pixel_size=5.5,
    )  # fmt: skip


@pytest.mark.parametrize("version", ["relion4", "relion5"])
@pytest.mark.parametrize("source_version", [4, 5])
@pytest.mark.parametrize("copy", [False, True])
def test_from_relion(version: str, source_version: int, copy: bool, tmp_path: Path) -> None:
    series = relion_series()
    rng = np.random.default_rng(1)
    even, odd = (rng.normal(size=series.images.shape).astype(np.float32) for _ in range(2))
    write = write_relion4_set if source_version == 4 else write_relion5_set
    source = write(tmp_path / "source", series, even=even, odd=odd, hand=1)
    assert run("import", source, "-o", tmp_path / "set", "--as", version, *(["--copy"] if copy else [])) == 0
    if copy:
        shutil.rmtree(tmp_path / "source")
    made = tmp_path / "set" / "tomograms.star"
    found = read_tilt_series(made)
    check_same(found, series)
    assert found.hand == 1
    halves = read_halves(made)
    np.testing.assert_array_equal(halves["Even"][3], even[3])
    np.testing.assert_array_equal(halves["Odd"][6], odd[6])
    assert ("rlnTomoProjX" in made.read_text()) == (version == "relion4")
    assert any((tmp_path / "set").glob("*.mrcs")) == copy


@pytest.mark.parametrize("version", ["relion4", "relion5"])
def test_from_imod_without_excluded_views(version: str, folder: Path, tmp_path: Path) -> None:  # noqa: F811
    # rotations without magnification: RELION 5 has no other
    table = np.loadtxt(folder / "ts.xf")
    table[:, :4] /= np.sqrt(table[:, :1] * table[:, 3:4] - table[:, 1:2] * table[:, 2:3])
    np.savetxt(folder / "ts.xf", table, "%.12f")
    add(folder, "EXCLUDELIST 2")
    (folder / "ctfcorrection.com").write_text(CTF)
    (folder / "ts.defocus").write_text(DEFOCUS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # views that are left out
        assert run("import", folder, "-o", tmp_path / "set", "--as", version) == 0
        source = read_tilt_series(folder)
    assert source.excluded == (2,)
    check_same(read_tilt_series(tmp_path / "set" / "tomograms.star"), source)
    # RELION 4 knows no left out images: it gets a stack of its own
    assert (tmp_path / "set" / "ts.mrcs").exists() == (version == "relion4")


def test_magnified_alignments_need_relion4(
    folder: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("import", folder, "-o", tmp_path / "set") == 2
    assert "(--as relion4)" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
    assert run("import", folder, "-o", tmp_path / "set", "--as", "relion4") == 0
    check_same(read_tilt_series(tmp_path / "set" / "tomograms.star"), read_tilt_series(folder))


def magnified_series(scale: np.ndarray | float) -> TiltSeries:
    """Give a series of images of 2000 px whose first two rows are multiplied, ``(n_tilts, 2)`` or a number."""
    geometry = Geometry(TILTS, axis=85.0, shift=3.0, centre=(1000.0, 1000.0, 200.0), image_shape=(2000, 2000))
    series = geometry.series(np.broadcast_to(np.float32(1), (len(TILTS), 2000, 2000)))
    projections = series.projections.copy()
    projections[:, :2, :3] *= np.broadcast_to(np.asarray(scale), (len(TILTS), 2))[:, :, None]
    return replace(series, projections=projections, size=(2000.0, 2000.0, 400.0), rotation_centre=(1000.0, 1000, 200))


def test_rotations_are_the_nearest_ones_and_say_what_they_leave_out() -> None:
    names = {"": [f"{i + 1:06d}@a.mrcs" for i in range(len(TILTS))]}
    plain = relion5_entry(magnified_series(1.0), names)
    assert plain.rotations is not None
    assert plain.rotations.rest == ""
    # matrices of three decimals: no magnification was measured; 1000 px from the middle 0.5 px, more at the corners
    rounded = relion5_entry(magnified_series(1.0005), names)
    assert rounded.rotations is not None
    assert rounded.rotations.magnified == pytest.approx(5e-4 * np.hypot(1000, 1000), rel=0.1)
    assert rounded.rotations.distorted < 1e-6
    assert "a magnification of +0.05 % (up to 0.7" in rounded.rotations.rest
    for column in ("rlnTomoXTilt", "rlnTomoYTilt", "rlnTomoZRot"):
        want = np.array(plain.tilts[column], float)
        np.testing.assert_allclose(np.array(rounded.tilts[column], float), want, atol=1e-9)
    # stretch below 0.1 px passes, more does not, nor does magnification that is a measurement
    assert relion5_entry(magnified_series(np.array([1 + 1e-5, 1 - 1e-5])), names)
    for scale in (np.array([1 + 2e-4, 1 - 2e-4]), np.linspace(0.998, 1.002, len(TILTS))[:, None], 1.01):
        with pytest.raises(
            UsageError, match=r"which RELION 5 sets cannot hold: .*version=relion4.*rotations_only=True"
        ):
            relion5_entry(magnified_series(scale), names)
        assert relion5_entry(magnified_series(scale), names, rotations_only=True)


def test_sides_that_warp_has_rounded_are_told_and_taken() -> None:
    names = {"": [f"{i + 1:06d}@a.mrcs" for i in range(len(TILTS))]}
    stretched = magnified_series(np.array([1 + 4e-4, 1 - 4e-4]))  # 0.8 of 2000 px
    entry = relion5_entry(replace(stretched, z_reversed=True), names)
    assert entry.rotations is not None
    assert "stretch and shear (up to 0.5" in entry.rotations.rest
    with pytest.raises(UsageError, match="stretch and shear"):
        relion5_entry(stretched, names)
    with pytest.raises(UsageError, match="stretch and shear"):
        relion5_entry(replace(magnified_series(np.array([1 + 6e-4, 1 - 6e-4])), z_reversed=True), names)


def test_tilts_beyond_90_degrees_keep_the_x_tilt() -> None:
    tilts = np.array([-120.0, -90, -60, 0, 60, 90, 100])
    turn = projection_matrices((10, 10), (0.0, 0, 0), tilts, 85.0, 0.0)[:, :2, :3]
    for found, want in zip(euler_angles(turn), (tilts, np.full(7, 85.0), np.zeros(7)), strict=True):
        np.testing.assert_allclose(found, want, atol=1e-4)


def test_rotations_only_is_an_option(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    assert run("import", folder, "-o", tmp_path / "set", "--rotations_only") == 0
    assert "the nearest ones, without a magnification of" in " ".join(capsys.readouterr().out.split())
    found, source = read_tilt_series(tmp_path / "set" / "tomograms.star"), read_tilt_series(folder)
    np.testing.assert_allclose(found.tilt_angles, source.tilt_angles, atol=0.1)


@pytest.mark.parametrize("version", ["relion4", "relion5"])
@pytest.mark.parametrize("source_hand", [1, -1])
def test_a_flipped_hand_turns_that_of_the_defocus(version: str, source_hand: int, tmp_path: Path) -> None:
    series = relion_series()
    source = write_relion4_set(tmp_path / "source", series, hand=source_hand)
    assert run("import", source, "-o", tmp_path / "set", "--flip_hand", "--as", version) == 0
    found = read_tilt_series(tmp_path / "set" / "tomograms.star")
    assert found.hand == -source_hand
    # the same defocus for what is seen at the same pixel: hand times depth stays, and the matrices are rotations
    assert (np.linalg.det(found.projections[:, :3, :3]) > 0.99).all()
    centre = np.append(rotation_centre(series), 1)
    points = centre + np.array([[3.0, 5, 7, 0], [-9, 2, -4, 0], [0, 0, 6, 0]])
    mirrored = 2 * centre - points
    mirrored[:, :2] = points[:, :2]
    flipped = AlignmentCorrections(flip_hand=True).apply(replace(series, hand=source_hand))
    assert flipped.hand == -source_hand
    np.testing.assert_allclose(flipped.projections[:, :2] @ mirrored.T, series.projections[:, :2] @ points.T)
    depth = series.projections[:, 2] @ (points - centre).T
    np.testing.assert_allclose(flipped.projections[:, 2] @ (mirrored - centre).T, -depth, atol=1e-12)


def test_a_hand_that_is_not_known_is_turned_from_the_usual_one(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    for words, hand in (((), -1), (("--flip_hand",), 1)):
        assert run("import", folder, "-o", tmp_path / "set", "--as", "relion4", "--overwrite", *words) == 0
        assert read_tilt_series(tmp_path / "set" / "tomograms.star").hand == hand


@pytest.mark.parametrize("version", ["relion4", "relion5"])
def test_several_series_make_one_set(version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    all_series = [relion_series(name, i) for i, name in enumerate(("TS_01", "TS_02"))]
    sources = [write_relion5_set(tmp_path / series.name, series) for series in all_series]
    made = tmp_path / "set" / "tomograms.star"
    assert run("import", *sources, "-o", tmp_path / "set", "--as", version) == 0
    assert "2 tomograms" in capsys.readouterr().out
    for series in all_series:
        check_same(read_tilt_series(made, series.name), series)
    # and from there on, one by one
    assert run("import", made, "--tn", "TS_02", "-o", tmp_path / "one") == 0
    check_same(read_tilt_series(tmp_path / "one" / "tomograms.star"), all_series[1])


def test_images_below_the_working_directory_are_named_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = relion_series()
    write_relion5_set(tmp_path / "data", series)
    monkeypatch.chdir(tmp_path)
    assert run("import", "data/tomograms.star", "-o", "set", "--as", "relion4") == 0
    assert "data/TS_01.mrcs" in Path("set/tomograms.star").read_text()
    assert str(tmp_path) not in Path("set/tomograms.star").read_text()
    monkeypatch.chdir("/")
    check_same(read_tilt_series(tmp_path / "set" / "tomograms.star"), series)


def test_the_tomogram_stays_the_same(tmp_path: Path) -> None:
    series = relion_series()
    source = write_relion4_set(tmp_path / "source", series)
    assert run("import", source, "-o", tmp_path / "set") == 0
    volumes = [
        reconstruct(read_tilt_series(path), None, NoWeighting(), ctf=False).data
        for path in (source, tmp_path / "set" / "tomograms.star")
    ]
    np.testing.assert_allclose(volumes[1], volumes[0], atol=1e-5 * np.abs(volumes[0]).max())


def test_offsets_are_written_into_the_alignment(tmp_path: Path) -> None:
    source = write_relion5_set(tmp_path / "source", relion_series())
    assert run("import", source, "-o", tmp_path / "set", "--tiltangle_offset", 4, "--as", "relion5") == 0
    found = read_tilt_series(tmp_path / "set" / "tomograms.star")
    np.testing.assert_allclose(found.tilt_angles, np.array(TILTS) + 4, atol=1e-9)


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_relion5_set(tmp_path / "source", relion_series())
    made = tmp_path / "set"
    assert run("import", source, "-o", made) == 0
    before = (made / "tomograms.star").read_text()
    for words, text in (
        ((source, "-o", made), "give --overwrite"),
        ((source, "-o", tmp_path / "other", "--as", "relion3"), "available: relion4, relion5"),
        ((source, source, "-o", tmp_path / "other"), "two tomograms have the name 'TS_01'"),
        ((made / "tomograms.star", "-o", made, "--overwrite"), "give another folder"),
        ((source, "-o", tmp_path / "source", "--overwrite", "--copy"), "give another folder"),
        ((tmp_path / "nothing.star", "-o", tmp_path / "other"), "nothing.star"),
    ):
        assert run("import", *words) in (1, 2)
        error = capsys.readouterr().err
        assert text in error
        assert "Traceback" not in error
    assert not (tmp_path / "other").exists()
    assert (made / "tomograms.star").read_text() == before
    plain = write_relion5_set(tmp_path / "plain", replace(relion_series("TS_02"), ctf=None))
    assert run("import", source, plain, "-o", tmp_path / "other") == 2
    assert "rlnVoltage" in capsys.readouterr().err
    assert run("import", source, "-o", made, "--overwrite", "--as", "relion4") == 0
    assert "rlnTomoProjX" in (made / "tomograms.star").read_text()


@pytest.mark.parametrize("version", ["relion4", "relion5"])
def test_the_cell_from_warp(version: str, tmp_path: Path) -> None:
    stack = real_data("mycoplasma/00254.mrcs")
    made = tmp_path / "set"
    assert (
        run("import", real_data("mycoplasma/warp_import_00254.xml"), "--stack", stack, "-o", made, "--as", version) == 0
    )
    source = read_tilt_series(real_data("mycoplasma/warp_import_00254.xml"), None, Supplement(stack=stack))
    found = read_tilt_series(made / "tomograms.star")
    middle = [Region.of(series) for series in (found, source)]
    assert middle[0].shape == middle[1].shape
    corners = np.array([(0.0, 0, 0), (900, 0, 200), (0, 900, 100), (900, 900, 0)])
    at = [
        image_points(series.projections, np.asarray(region.origin) + corners)
        for series, region in zip((found, source), middle, strict=True)
    ]
    np.testing.assert_allclose(at[0], at[1], atol=1e-5)
    assert os.path.samefile(found.images.stacks[0].path, stack)  # type: ignore[attr-defined]


def test_nothing_is_written_where_the_set_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_relion5_set(tmp_path / "source", relion_series())
    assert run("import", source, source, "-o", tmp_path / "set", "--copy") == 2
    assert "two tomograms have the name" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
    with pytest.raises(UsageError, match="unknown tomogram 'TS_09'"):
        read_halves(source, "TS_09")


@pytest.mark.parametrize("version", ["relion4", "relion5"])
def test_from_aretomo_with_optics_and_notes_from_the_command_line(version: str, tmp_path: Path) -> None:
    images = np.random.default_rng(1).normal(size=(4, 8, 10)).astype(np.float32)
    write_stack(tmp_path / "TS_01.mrc", images, 4.0)
    aln = tmp_path / "TS_01.aln"
    aln.write_text(test_aretomo.ALN.replace("1.00200", "1.00000"))
    aln.with_name("TS_01_CTF.txt").write_text(test_aretomo.CTF)
    mdoc = tmp_path / "TS_01.mdoc"
    sections = (
        f"[ZValue = {z}]\nTiltAngle = {angle}\nExposureDose = 3\nDateTime = 01-Jan-24  10:0{z}:00\n"
        for z, angle in enumerate((-56.2, -24.2, 3.8, 54.2))
    )
    mdoc.write_text("PixelSpacing = 4\nVoltage = 200\nImageFile = TS_01.mrc\n\n" + "\n".join(sections))
    words = ("--voltage", 200, "--Q0", 0.1, "--mdoc", mdoc)
    assert run("import", aln, "-o", tmp_path / "set", "--as", version, *words) == 0
    found = read_tilt_series(tmp_path / "set" / "tomograms.star")
    source = read_tilt_series(aln, None, Supplement(voltage=200.0, amplitude_contrast=0.1, mdoc=mdoc))
    assert source.ctf is not None
    assert (source.ctf.voltage, source.ctf.spherical_aberration, source.ctf.amplitude_contrast) == (200, 2.7, 0.1)
    assert source.exposure is not None
    np.testing.assert_allclose(np.sort(source.exposure), [0, 3, 6, 9])
    check_same(found, source)
