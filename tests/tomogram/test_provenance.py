"""Passports: every number in them leads back to the geometry that the volume was made with."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from fourierrecon import Region, TiltSeries
from fourierrecon.errors import DataError
from fourierrecon.geometry.axis_order import LIKE, Orientation
from fourierrecon.geometry.coordinate_frames import Box
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.io import read_mrc_volume
from fourierrecon.tomogram.provenance import box_of_volume, make_passport, read_passport, write_passport
from fourierrecon.weighting import Wiener

Run = Callable[..., tuple[int, str, str]]


def test_a_passport_leads_from_voxels_to_image_pixels(tmp_path: Path) -> None:
    series = a_series()
    region = Region.of(series, binning=1.5, origin=(3, 4, 2))
    path = tmp_path / "volume.mrc"
    for like in (None, *LIKE):
        passport = make_passport(path, series, region, Wiener(5), ctf=False, like=like)
        write_passport(path, passport)
        read = read_passport(path)
        assert read == json.loads(json.dumps(passport))
        voxel = np.array([2, 1, 3, 1.0])
        x, y, z, _ = Orientation.like(like, series).matrix(region.shape) @ voxel
        world = np.append(np.array(region.origin) + 1.5 * np.array([x, y, z]), 1)
        expected = (series.projections @ world)[:, :2]
        matrices = {name: np.array(values) for name, values in passport["matrices"].items()}
        np.testing.assert_allclose(matrices["voxel_to_tilt_pixel"] @ voxel, expected)
        angstrom = matrices["voxel_to_world_angstrom"] @ voxel
        np.testing.assert_allclose(matrices["world_angstrom_to_tilt_pixel"] @ angstrom, expected)
        box = box_of_volume(path)
        assert box == Box.of(series, region)


def test_passports_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "volume.mrc"
    with pytest.raises(DataError, match=r"no passport volume\.passport\.json beside it"):
        box_of_volume(path)
    (tmp_path / "volume.passport.json").write_text("{")
    with pytest.raises(DataError, match=r"volume\.passport\.json: .*make the passport anew"):
        read_passport(path)
    (tmp_path / "volume.passport.json").write_text('{"format": "other"}')
    with pytest.raises(DataError, match="format is 'other'; this version reads"):
        read_passport(path)


@pytest.mark.parametrize(
    ("field", "value"), [("transfer", 1.5), ("local_alignment", "x"), ("images", []), ("frame", 3)]
)
def test_a_passport_with_a_damaged_field_is_refused(tmp_path: Path, field: str, value: object) -> None:
    path, series = tmp_path / "volume.mrc", a_series()
    region = Region.of(series, binning=2)
    write_passport(path, {**make_passport(path, series, region, Wiener(5), ctf=False), field: value})
    with pytest.raises(DataError, match=f"field {field} is not whole"):
        read_passport(path)


def a_series() -> TiltSeries:
    angles = np.linspace(-60, 60, 7)
    images = np.zeros((7, 36, 41), np.float32)
    matrices = projection_matrices((36, 41), (21.0, 19.0, 11.0), angles, 3.0)
    return TiltSeries(images, matrices, 10.0, tilt_angles=angles, size=(41, 36, 21), world_origin=1.0)


def test_the_passport_tells_the_profile_and_what_it_stands_for(run: Run, two_sets: Path) -> None:
    line = f"reconstruct --t {two_sets}/tomograms.star --tn TS_01 --bin 2 --noctf --j 1 --profile imod-sirtlike:5"
    status, _, err = run(f"{line} --o {two_sets}/x.mrc --passport")
    assert (status, err) == (0, "")
    passport = read_passport(two_sets / "x.mrc")
    assert passport is not None
    assert passport["options"]["profile"] == "imod-sirtlike:5"
    assert passport["weighting"]["name"] == "sirtlike"
    assert passport["weighting"]["n_iterations"] == 5
    with mrcfile.open(two_sets / "x.mrc") as file:
        assert "SIRT-like filter, 5 iterations" in " ".join(map(str, file.get_labels()))


def test_reconstruct_writes_a_passport(run: Run, two_sets: Path) -> None:
    line = f"reconstruct --t {two_sets}/tomograms.star --tn TS_01 --bin 2 --noctf --no_weight --j 1"
    status, _, err = run(f"{line} --o {two_sets}/plain.mrc")
    assert (status, err) == (0, "")
    status, out, err = run(f"{line} --o {two_sets}/turned.mrc --like imod-tilt --passport")
    assert (status, err) == (0, "")
    assert "turned.passport.json" in out
    plain, turned = (read_mrc_volume(two_sets / f"{name}.mrc") for name in ("plain", "turned"))
    np.testing.assert_array_equal(turned.data, plain.data[::-1].transpose(1, 0, 2))
    passport = read_passport(two_sets / "turned.mrc")
    assert passport is not None
    assert passport["options"]["like"] == "imod-tilt"
    assert passport["weighting"] == {"name": "none", "words": "plain back-projection"}
    assert passport["volume"]["axes_fastest_first"] == ["x", "-z", "y"]
    read = {Path(source["file"]).name: source["sha256"] for source in passport["sources"]}
    assert read["tomograms.star"] == sha256((two_sets / "tomograms.star").read_bytes()).hexdigest()
    assert "TS_01.mrcs" in read
    status, out, err = run(f"info {two_sets}/turned.mrc")
    assert (status, err) == (0, "")
    for text in ("20 x 8 x 18 voxels", "x, -z, y of the frame", "like imod-tilt", "--flip_hand", "not corrected"):
        assert text in out
    _, out, _ = run(f"info {two_sets}/plain.mrc")
    assert "--passport writes one" in out


def test_like_says_what_there_is(run: Run, two_sets: Path) -> None:
    line = f"reconstruct --t {two_sets}/tomograms.star --tn TS_01 --noctf --o {two_sets}/a.mrc"
    status, _, err = run(f"{line} --like eman2")
    assert status == 2
    assert "--like eman2: unknown; available: relion, imod, imod-tilt, aretomo, aretomo-flipvol, warp" in err
    assert not (two_sets / "a.mrc").exists()


def test_the_passport_of_an_older_volume_goes(run: Run, two_sets: Path) -> None:
    line = f"reconstruct --t {two_sets}/tomograms.star --tn TS_01 --noctf --j 1 --o {two_sets}/a.mrc"
    assert run(f"{line} --bin 2 --passport")[0] == 0
    assert read_passport(two_sets / "a.mrc") is not None
    assert run(f"{line} --bin 4")[0] == 0
    assert read_passport(two_sets / "a.mrc") is None


def test_plan_refuses_the_same_orientations(run: Run, two_sets: Path) -> None:
    status, _, err = run(f"plan --t {two_sets}/tomograms.star --tn TS_01 --noctf --like eman2")
    assert (status, "--like eman2: unknown" in err) == (2, True)


def test_certificates_are_for_schedulers(run: Run, two_sets: Path) -> None:
    status, _, err = run(f"reconstruct --t {two_sets}/tomograms.star --tn TS_01 --o {two_sets}/a.mrc --tls_ca ca.pem")
    assert (status, "--tls_ca: does nothing without --scheduler tls://" in err) == (2, True)
