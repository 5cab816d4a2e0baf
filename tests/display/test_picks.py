"""Points over a volume: the voxel of the same density, whatever program wrote them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fourierrecon.display.picks import read_picks
from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.coordinate_frames import Box
from fourierrecon.io.points import Points, write_points

#: Voxels of a volume at binning 4, which begins at pixel (40, 8, 4) of a tomogram of 400 x 300 x 200 px of 2.5 Å.
VOXELS = np.array([[3.0, 5.0, 7.0], [20.5, 0.0, 11.25]])
SHAPE, SIZE, BOX = (30, 50, 60), 10.0, Box((400, 300, 200), 2.5, corner=(40, 8, 4))
PIXELS = 4 * VOXELS + [40, 8, 4]


def star(path: Path, labels: str, values: np.ndarray, name: str = "TS_01") -> Path:
    head = "".join(f"_{label} #{i}\n" for i, label in enumerate(labels.split(), 1))
    rows = "".join(f"{name} {' '.join(map(str, row))}\n" for row in values)
    path.write_text(f"data_particles\n\nloop_\n{head}{rows}\n")
    return path


def test_centred_coordinates_of_relion_5(tmp_path: Path) -> None:
    labels = "rlnTomoName rlnCenteredCoordinateXAngst rlnCenteredCoordinateYAngst rlnCenteredCoordinateZAngst"
    path = star(tmp_path / "particles.star", labels, 2.5 * (PIXELS - [200, 150, 100]))
    picks = read_picks(path, SHAPE, SIZE, box=BOX)
    np.testing.assert_allclose(picks.voxels, VOXELS)
    assert picks.name == "particles"
    with pytest.raises(UsageError, match="no passport beside it"):
        read_picks(path, SHAPE, SIZE)


@pytest.mark.parametrize(("frame", "first"), [("relion4", 1), ("relion5-px", 0)])
def test_unbinned_coordinates(tmp_path: Path, frame: str, first: int) -> None:
    labels = "rlnTomoName rlnCoordinateX rlnCoordinateY rlnCoordinateZ"
    path = star(tmp_path / "particles.star", labels, PIXELS + first)
    np.testing.assert_allclose(read_picks(path, SHAPE, SIZE, frame=frame, box=BOX).voxels, VOXELS)
    with pytest.raises(UsageError, match="may count from 0 or 1"):
        read_picks(path, SHAPE, SIZE, box=BOX)
    with pytest.raises(DataError, match="no points of tomogram 'TS_02'; it names TS_01"):
        read_picks(path, SHAPE, SIZE, frame=frame, box=BOX, tomogram="TS_02")


def test_picks_of_the_volume_itself(tmp_path: Path) -> None:
    # 3dmod's model on our volume: the middle of the first voxel is (1/2, 1/2, 0)
    pytest.importorskip("imodmodel")
    write_points(tmp_path / "a.mod", Points(VOXELS + np.array([0.5, 0.5, 0.0])))
    write_points(tmp_path / "a.csv", Points(VOXELS))
    where = [{"location": dict(zip("xyz", map(float, xyz), strict=True))} for xyz in 10.0 * VOXELS]
    (tmp_path / "a.json").write_text(json.dumps({"run_name": "TS_01", "points": where}))
    for ending in ("mod", "csv", "json"):
        for box in (None, BOX):
            picks = read_picks(tmp_path / f"a.{ending}", SHAPE, SIZE, box=box)
            np.testing.assert_allclose(picks.voxels, VOXELS, atol=1e-5)


def test_view_names_the_option(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    from fourierrecon import Volume
    from fourierrecon.io import write_mrc

    write_mrc(tmp_path / "a.mrc", Volume(np.ones((4, 5, 6), np.float32), 10.0, (0.0, 0.0, 0.0)))
    labels = "rlnTomoName rlnCoordinateX rlnCoordinateY rlnCoordinateZ"
    path = star(tmp_path / "p.star", labels, PIXELS)
    code, _, error = run("view", str(tmp_path / "a.mrc"), "--points", str(path), "--no_browser")
    assert code == 2
    assert "--from relion4" in " ".join(error.split())
