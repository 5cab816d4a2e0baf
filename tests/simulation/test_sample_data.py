"""The sample: its geometry is that of the alignment it comes with, and it appears whole or not at all."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from fourierrecon.errors import DataError
from fourierrecon.geometry.region import Region
from fourierrecon.io import read_tilt_series, write_stack
from fourierrecon.simulation import sample_data
from tests.helpers.real_data import find_real_data, real_data

XF = """
   0.9971855  -0.0749783   0.0749783   0.9971855     -27.094      -2.191
   0.9971855  -0.0749783   0.0749783   0.9971855       2.5         1.25
"""
XML = """\ufeff<?xml version="1.0" encoding="utf-8"?>
<TiltSeries><Dose>3
0</Dose><CTF><Param Name="Voltage" Value="300.0" /><Param Name="Cs" Value="2.7" />
<Param Name="Amplitude" Value="0.1" /></CTF>
<GridCTF><Node Value="1.5" /><Node Value="1.75" /></GridCTF>
<GridCTFDefocusDelta><Node Value="0.01" /><Node Value="0.02" /></GridCTFDefocusDelta>
<GridCTFDefocusAngle><Node Value="69" /><Node Value="70" /></GridCTFDefocusAngle></TiltSeries>
"""


def quiet(_: str) -> None:
    return None


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small archive laid out as the real one, and taken for it."""
    stack = np.arange(2 * 12 * 14, dtype=np.float32).reshape(2, 12, 14)
    write_stack(tmp_path / "stack.mrc", stack, 10.0)
    contents = {
        "stack": (tmp_path / "stack.mrc").read_bytes(),
        "xf": XF.encode(),
        "tlt": b" -60.01\n 3.00\n",
        "ctf": XML.encode(),
        "licence": b"MIT\n",
    }
    path = tmp_path / "sample.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for part, content in contents.items():
            member = tarfile.TarInfo(sample_data.MEMBERS[part])
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(sample_data, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def left_over(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name not in ("stack.mrc", "sample.tar.gz"))


def test_both_sets_of_the_sample(tmp_path: Path, archive: Path) -> None:
    lines: list[str] = []
    path = sample_data.fetch_sample(tmp_path / "new" / "cell", lines.append, archive=archive)
    assert path == tmp_path / "new" / "cell" / "tomograms.star"
    assert lines
    assert left_over(path.parent) == [
        "00254.mrcs",
        "LICENSE.txt",
        "README.txt",
        "imod",
        "optimisation_set.star",
        "relion5_tomograms.star",
        "tilt_series",
        "tomograms.star",
        "warp",
    ]
    stack = path.with_name("00254.mrcs")
    imod = read_tilt_series(path.parent / "imod" / "00254.xf", stack=stack)
    np.testing.assert_allclose(imod.tilt_angles, [-60.01, 3])
    four, five = read_tilt_series(path), read_tilt_series(path.with_name("relion5_tomograms.star"))
    for series in (four, five):
        assert series.name == "mycoplasma"
        assert series.size == (14, 12, 256)
        assert series.ctf is not None
        np.testing.assert_allclose(series.ctf.defocus_u, [15100, 17700])
        np.testing.assert_allclose(series.ctf.defocus_v, [14900, 17300])
        np.testing.assert_allclose(series.ctf.defocus_angle, [69, 70])
        assert series.exposure is not None
        np.testing.assert_allclose(series.exposure, [3, 0])
        np.testing.assert_array_equal(series.images[1], np.arange(168, 336).reshape(12, 14))
    # the middle of the tomogram is seen where the alignment puts the middle of the aligned images
    matrix, shift = np.array([[0.9971855, -0.0749783], [0.0749783, 0.9971855]]), np.array([2.5, 1.25])
    middle = np.array([6.5, 5.5]) - np.linalg.solve(matrix, shift)
    for series in (four, five):
        centre = np.asarray(Region.of(series).origin) + np.array([6.5, 5.5, 127.5])
        np.testing.assert_allclose(series.projections[1, :2] @ [*centre, 1], middle, atol=1e-4)
    # a second time nothing is done
    lines.clear()
    archive.unlink()
    assert sample_data.fetch_sample(path.parent, lines.append, archive=archive) == path
    assert "already" in lines[0]


def test_alignment_of_the_real_series() -> None:
    transforms, tilts = (np.loadtxt(real_data(f"mycoplasma/imod/00254.{ending}")) for ending in ("xf", "tlt"))
    made = sample_data.imod_projections(transforms, tilts, (652, 630, 256))
    expected = read_tilt_series(real_data("mycoplasma/tomograms.star")).projections
    np.testing.assert_allclose(made, expected, atol=1e-6)


def test_empty_folder_is_taken_a_full_one_refused(tmp_path: Path, archive: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert sample_data.fetch_sample(tmp_path / "empty", quiet, archive=archive).is_file()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(DataError, match="not an empty folder"):
        sample_data.fetch_sample(tmp_path / "full", quiet, archive=archive)
    with pytest.raises(DataError, match="not an empty folder"):
        sample_data.fetch_sample(archive, quiet, archive=archive)
    with pytest.raises(DataError, match=r"cannot write the sample to .*sample\.tar\.gz"):
        sample_data.fetch_sample(archive / "inside", quiet, archive=archive)
    assert left_over(tmp_path) == ["empty", "full"]


def test_wrong_archives(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"cannot read .*gone.tar.gz: No such file"):
        sample_data.fetch_sample(tmp_path / "cell", quiet, archive=tmp_path / "gone.tar.gz")
    content = archive.read_bytes()
    archive.write_bytes(content + b"x")
    with pytest.raises(DataError, match=r"SHA-256 .* expected .*remove it"):
        sample_data.fetch_sample(tmp_path / "cell", quiet, archive=archive)
    for spoilt in (content[: len(content) // 2], b"not a tar"):
        archive.write_bytes(spoilt)
        monkeypatch.setattr(sample_data, "SHA256", hashlib.sha256(spoilt).hexdigest())
        with pytest.raises(DataError, match="cannot be unpacked"):
            sample_data.fetch_sample(tmp_path / "cell", quiet, archive=archive)
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../outside"))
    monkeypatch.setattr(sample_data, "SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
    with pytest.raises(DataError, match=r"00254\.stack\.mrc"):
        sample_data.fetch_sample(tmp_path / "cell", quiet, archive=archive)
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        (
            "WARNING: retrying\nERROR: No matching distribution found\n",
            "ERROR: No matching distribution found",
        ),
        ("/usr/bin/python: No module named pip\n", "No module named pip"),
        ("", "pip said nothing"),
    ],
)
def test_pip_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stderr: str, message: str) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, "", stderr)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(DataError, match=f"pip could not download.*{message}.*Check the network"):
        sample_data.fetch_sample(tmp_path / "cell", quiet)
    assert commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert left_over(tmp_path) == []


def test_interruption_leaves_nothing(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sample_data, "write_relion5_set", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sample_data.fetch_sample(tmp_path / "cell", quiet, archive=archive)
    assert left_over(tmp_path) == []


@pytest.mark.slow
def test_the_real_sample(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if "slow" not in request.config.option.markexpr:
        pytest.skip("downloads 56 MB; run it with -m slow")
    try:
        path = sample_data.fetch_sample(tmp_path / "cell", quiet)
    except DataError as error:
        if "pip could not download" in str(error):
            pytest.skip(f"offline: {error}")
        raise
    series = read_tilt_series(path)
    assert series.images.shape == (41, 630, 652)
    beside = find_real_data("mycoplasma/imod")
    if beside is not None:
        for name in ("tomograms.star", "relion5_tomograms.star"):
            made, expected = (read_tilt_series(folder / name) for folder in (path.parent, beside.parent))
            np.testing.assert_allclose(made.projections, expected.projections, atol=1e-3)
            assert made.ctf is not None
            assert expected.ctf is not None
            for key in ("defocus_u", "defocus_v", "defocus_angle"):
                np.testing.assert_allclose(getattr(made.ctf, key), getattr(expected.ctf, key), atol=0.01)
            np.testing.assert_array_equal(made.images[20], expected.images[20])
