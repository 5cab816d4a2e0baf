"""A run on a set says which options differ from those of the run before, and does not take them for other inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fourierrecon.io import write_relion5_set
from fourierrecon.tilt_series import CtfParameters
from tests.helpers.small_sets import Run, small_series


def write_with_ctf(folder: Path, defocus: float = 20000.0) -> Path:
    """Write a set of one tomogram with CTF and exposures, always with the same times of its files."""
    series = small_series(1)
    ctf = CtfParameters.of(
        series.n_tilts, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.1, defocus_u=defocus
    )
    return write_relion5_set(folder, replace(series, ctf=ctf, exposure=np.arange(0.0, 3.0 * series.n_tilts, 3.0)))


@pytest.mark.parametrize(
    ("before", "now", "which"),
    [
        ("", "--noctf", "--noctf"),
        ("--noctf", "", "--noctf no longer"),
        ("", "--exposure bfactor", "--exposure bfactor"),
        ("--noctf", "--noctf --exclude 2,4", "--exclude 2,4"),
        ("--noctf --max_tilt 30", "--noctf", "--max_tilt no longer"),
        ("--noctf", "--noctf --tiltangle_offset 2.5 --keep_mean", "--keep_mean; --tiltangle_offset 2.5"),
        ("--noctf", "--noctf --flip_hand", "--flip_hand"),
        ("--noctf", "--noctf --hot_pixels off", "--hot_pixels off"),
        ("--noctf", "--noctf --x0 3", "--x0 --y0 --z0 3, default, default"),
        ("--noctf", "--noctf --no_weight", "weighting plain back-projection, not 3D Wiener filter, SNR 10"),
        ("--noctf --bin 2", "--noctf --bin 4", "--bin 4"),
    ],
)
def test_options_that_have_changed_are_named(run: Run, tmp_path: Path, before: str, now: str, which: str) -> None:
    write_with_ctf(tmp_path / "set")
    line = f"reconstruct --t {tmp_path}/set/tomograms.star --o {tmp_path}/out/"
    before, now = (f"{options}{' --SNR 10' * ('no_weight' not in options)}" for options in (before, now))
    assert run(f"{line} {before}{' --bin 2' * ('--bin' not in before)}")[0] == 0
    status, out, _ = run(f"{line} {now}{' --bin 2' * ('--bin' not in now)}")
    assert status == 1
    what = "its size has changed" if "--bin 4" in now else "options have changed"
    assert f"rec_TS_01.mrc: {what}; --redo makes it anew, or choose another folder (--o); changed: {which}\n" in out


def test_changed_files_are_no_changed_options(run: Run, tmp_path: Path) -> None:
    write_with_ctf(tmp_path / "set")
    line = f"reconstruct --t {tmp_path}/set/tomograms.star --bin 2 --SNR 10 --o {tmp_path}/out/"
    assert run(line)[0] == 0
    (tmp_path / "out/outcomes.json").unlink()  # as of a version before
    assert "options have changed;" in run(f"{line} --noctf")[1]
    write_with_ctf(tmp_path / "set", defocus=31000.0)
    assert "inputs have changed;" in run(line)[1]
