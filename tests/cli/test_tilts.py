"""The command ``tilts``: the bad image is named with its number in the source, on the screen and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from fourierrecon.simulation.phantom import cell_like_specimen
from fourierrecon.simulation.simulate import simulate, write_simulation

Run = Callable[..., tuple[int, str, str]]


def test_a_bad_image_is_named(run: Run, tmp_path: Path) -> None:
    size = (80, 72, 24)
    made = simulate(cell_like_specimen(size), size, tilt_angles=range(-60, 61, 6), snr=1.0)
    images = np.array(made.series.images)
    images[8] = images[8, ::-1]
    write_simulation(tmp_path, replace(made, series=replace(made.series, images=images)))
    line = ["--t", str(tmp_path / "tomograms.star"), "--png", str(tmp_path / "tilts.png")]
    code, shown, error = run("tilts", *line)
    assert (code, error) == (0, "")
    assert "image 9 at -12.0°" in shown.splitlines()[1]
    assert "--exclude 9" in shown
    assert (tmp_path / "tilts.png").read_bytes().startswith(b"\x89PNG")
    code, shown, _ = run("tilts", *line, "--json")
    rows = json.loads(shown)["images"]
    assert (code, rows[0]["number"], [row["number"] for row in rows if row["hurts"]]) == (0, 9, [9])
    for thickness in ("-5", "0", "nan"):
        code, _, error = run("tilts", *line, "--thickness", thickness)
        assert (code, f"--thickness {thickness} must be above 0" in error) == (2, True)
