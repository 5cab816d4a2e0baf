"""Small sets for tests of batches: tilt series of noise as RELION 5 sets, and what a run leaves behind."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fourierrecon import TiltSeries
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.io.relion.import_set import Version, write_set
from fourierrecon.tilt_series import ImageStack

#: Makes the tomograms of a small set.
SET = "reconstruct --t set/tomograms.star --noctf --bin 2 --o out/"
Run = Callable[..., tuple[int, str, str]]


def small_series(number: int, scale: int = 1) -> TiltSeries:
    """Give TS_NUMBER: 5 images of noise; odd and even sizes come in turns."""
    width, height, depth = scale * 40 + number % 2, scale * 36 + number % 3, scale * 16
    centre = (width // 2, height // 2, depth // 2)
    images = np.random.default_rng(number).normal(size=(5, height, width)).astype(np.float32)
    matrices = projection_matrices((height, width), centre, np.linspace(-45, 45, 5), 3.0)
    name = f"TS_{number:02d}"
    return TiltSeries(images, matrices, 10.0, name, size=(width, height, depth), rotation_centre=centre)


def write_small_set(
    folder: Path, n: int, *, scale: int = 1, halves: bool = False, version: Version = "relion5", first: int = 1
) -> Path:
    """Write a set of n small series; give its STAR file."""
    found: list[tuple[TiltSeries, dict[str, ImageStack]]] = []
    for number in range(first, first + n):
        series = small_series(number, scale)
        images = np.asarray(series.images)
        found.append((series, {"Even": images + 1, "Odd": images - 1} if halves else {}))
    path, _ = write_set(folder, found, version)
    return path


def command(line: str, *, cwd: Path, **more: Any) -> subprocess.Popen[str]:
    """Start a command line as a process of its own."""
    code = "import sys; from fourierrecon.cli.app import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *line.split()],
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **more,
    )


def finish(line: str, *, cwd: Path, seconds: float = 120, **more: Any) -> tuple[int, str]:
    """Run a command line as a process of its own: ``(exit status, output)``."""
    process = command(line, cwd=cwd, **more)
    try:
        out, _ = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return process.returncode, out


def contents(folder: Path) -> dict[str, bytes]:
    """Give all files but the lock's and the times that things took, by their path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith((".fourierrecon.lock", "outcomes"))
    }


def volumes(folder: Path) -> dict[str, bytes]:
    """Give the volumes, by their path."""
    left_out = ("tomograms.star", "thumbnails/")
    return {name: data for name, data in contents(folder).items() if not name.startswith(left_out)}


def reasons(out: str) -> dict[str, str]:
    """Give what was said of each tomogram: why it was made, or that it was there already."""
    found = re.findall(r"^\d+/\d+ +(\S+): \S+(?: and \d+ more)? \((?:made in [\d.]+ s: )?(.*)\)$", out, re.MULTILINE)
    return dict(found)


def names(out: str) -> list[str]:
    """Give the tomograms that were begun, in their order."""
    return [line.split()[1].rstrip(":") for line in out.splitlines() if line[0].isdecimal()]
