"""Files for other programs, read by the programs themselves where they are installed, else by what they look up."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fourierrecon import Volume, read_volume, write_volume
from fourierrecon.errors import UsageError
from fourierrecon.io.pytom import Matching, write_pytom
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.tilt_series import TiltSeries
from tests.helpers.small_sets import small_series


def volume() -> Volume:
    data = np.random.default_rng(0).normal(size=(70, 66, 72)).astype(np.float32)
    return Volume(data, 10.0, (10.0, -20.0, 30.0), "made for a test")


def series_with_ctf() -> TiltSeries:
    series = small_series(1)
    exposure = np.array([6.0, 3.0, 0.0, 9.0, 12.0])
    return replace(series, ctf=realistic_ctf(5), exposure=exposure)


def test_ome_zarr_0_4(tmp_path: Path) -> None:
    pytest.importorskip("zarr", reason="needs the extra zarr")
    made = volume()
    write_volume(tmp_path / "a.zarr", made, ome_version="0.4")
    read = read_volume(tmp_path / "a.zarr")
    np.testing.assert_array_equal(read.data, made.data)
    assert (read.voxel_size, read.origin, read.label) == (10.0, made.origin, "made for a test")
    attributes: dict[str, Any] = json.loads((tmp_path / "a.zarr" / ".zattrs").read_text())
    # the specification of 0.4: version and datasets stand in the group's own attributes, arrays are of Zarr 2
    (multiscale,) = attributes["multiscales"]
    assert multiscale["version"] == "0.4"
    assert [axis["name"] for axis in multiscale["axes"]] == ["z", "y", "x"]
    assert [found["path"] for found in multiscale["datasets"]] == ["0", "1"]
    scale, shift = multiscale["datasets"][0]["coordinateTransformations"]
    assert (scale, shift["translation"]) == ({"type": "scale", "scale": [10.0] * 3}, [30.0, -20.0, 10.0])
    array = json.loads((tmp_path / "a.zarr" / "0" / ".zarray").read_text())
    assert (array["zarr_format"], array["dimension_separator"], array["shape"]) == (2, "/", [70, 66, 72])
    assert (tmp_path / "a.zarr" / "0" / "1" / "0" / "1").is_file()
    with pytest.raises(UsageError, match=r'"0\.3" is unknown'):
        write_volume(tmp_path / "b.zarr", made, ome_version="0.3")


def test_copick_reads_0_4(tmp_path: Path) -> None:
    copick = pytest.importorskip("copick", reason="copick is not installed")
    made = volume()
    write_volume(tmp_path / "ExperimentRuns" / "TS_01" / "VoxelSpacing10.000" / "wbp.zarr", made, ome_version="0.4")
    place = {"auto_mkdir": True}
    config = {
        "name": "test", "description": "", "version": "0.5.0", "pickable_objects": [], "config_type": "filesystem",
        "overlay_root": f"local://{tmp_path}/", "static_root": f"local://{tmp_path}/", "overlay_fs_args": place,
        "static_fs_args": place,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    run = copick.from_file(str(tmp_path / "config.json")).get_run("TS_01")
    found = run.get_voxel_spacing(10.0).get_tomogram("wbp").numpy()
    np.testing.assert_array_equal(found, made.data)


@pytest.mark.parametrize(
    ("mode", "damaged", "wanted", "absent"),
    [
        ("none", True, {"--defocus", "--dose-accumulation"}, {"--tomogram-ctf-model"}),
        ("phase-flip", True, {"--defocus", "--tomogram-ctf-model"}, set()),
        ("wiener", True, {"--dose-accumulation"}, {"--defocus", "--tomogram-ctf-model"}),
        ("wiener", False, set(), {"--defocus", "--dose-accumulation"}),
    ],
)
def test_pytom_gets_what_is_left_in_the_tomogram(
    tmp_path: Path, mode: str, damaged: bool, wanted: set[str], absent: set[str]
) -> None:
    series = series_with_ctf()
    volume_file = tmp_path / "a b.mrc"
    script, *_ = write_pytom(tmp_path, Matching(volume=volume_file, series=series, ctf_mode=mode, damaged=damaged))
    lines = [line for line in script.read_text().splitlines() if not line.startswith("#")]
    words = shlex.split(" ".join(line.removesuffix("\\") for line in lines))
    assert words[:2] == ["pytom_match_template.py", "$@"]
    assert words[words.index("--tomogram") + 1] == str(volume_file)
    assert wanted <= set(words)
    assert not absent & set(words)
    angles = Path(words[words.index("--tilt-angles") + 1])
    assert angles.suffix == ".rawtlt"
    assert np.loadtxt(angles) == pytest.approx(series.tilt_angles, abs=1e-4)
    if "--dose-accumulation" in wanted:
        assert np.loadtxt(words[words.index("--dose-accumulation") + 1]).tolist() == [6, 3, 0, 9, 12]
    if "--defocus" in wanted:
        assert series.ctf is not None
        mean = (series.ctf.defocus_u + series.ctf.defocus_v) / 2e4
        assert np.loadtxt(words[words.index("--defocus") + 1]) == pytest.approx(mean, abs=1e-4)
    (tmp_path / "TS_01.sh").write_text("mine")
    with pytest.raises(UsageError, match="was not written by a run on a set"):
        write_pytom(tmp_path, Matching(volume=volume_file, series=series, ctf_mode=mode, damaged=damaged))


def test_pytom_reads_them(tmp_path: Path) -> None:
    reader = pytest.importorskip("pytom_tm.io", reason="pytom-match-pick is not installed")
    series = series_with_ctf()
    files = write_pytom(tmp_path, Matching(volume=tmp_path / "a.mrc", series=series, ctf_mode="none", damaged=True))
    _, angles, exposures, defocus = files
    assert reader.read_tlt_file(angles) == pytest.approx(series.tilt_angles.tolist(), abs=1e-4)
    assert reader.read_dose_file(exposures) == [6, 3, 0, 9, 12]
    assert len(reader.read_defocus_file(defocus)) == 5
