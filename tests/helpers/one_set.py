"""A set of one small tomogram with CTF, for tests of the command line; what spoils it, and how errors are to be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.io import read_mrc_volume, write_relion5_set
from fourierrecon.tilt_series import CtfParameters, TiltSeries

WIDTH, HEIGHT, DEPTH, TILTS = 40, 36, 16, 7
Run = Callable[..., tuple[int, str, str]]
#: The set in the working folder of a test.
T = "--t set/tomograms.star"


def make_series(name: str = "TS_01", *, ctf: bool = True, size: bool = True) -> TiltSeries:
    """A few small images with a dark spot in the middle, in RELION 5's frame."""
    angles = np.linspace(-45, 45, TILTS)
    centre = (WIDTH // 2, HEIGHT // 2, DEPTH // 2)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    spot = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / 8.0)
    noise = np.random.default_rng(3).normal(0, 0.05, (TILTS, HEIGHT, WIDTH))
    parameters = CtfParameters.of(TILTS, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.1, defocus_u=20000)
    return TiltSeries(
        (10 - spot + noise).astype(np.float32),
        projection_matrices((HEIGHT, WIDTH), centre, angles, 3.0),
        10.0,
        name,
        ctf=parameters if ctf else None,
        exposure=np.arange(0.0, 3.0 * TILTS, 3.0),
        size=(WIDTH, HEIGHT, DEPTH) if size else None,
        rotation_centre=centre,
    )


def volume(path: str) -> NDArray[np.float32]:
    return read_mrc_volume(path).data


def drop_columns(path: Path, *labels: str) -> None:
    """Take columns out of the loops of a STAR file."""
    lines, kept = path.read_text().splitlines(), []
    columns: list[str] = []
    for line in lines:
        if line.strip() == "loop_":
            columns = []
        if line.startswith("_"):
            columns.append(line.split()[0][1:])
            if columns[-1] in labels:
                continue
            line = line.split()[0]
        elif line.strip() and not line.startswith(("data_", "loop_", "#")) and columns:
            words = line.split()
            line = " ".join(w for w, c in zip(words, columns, strict=True) if c not in labels)
        kept.append(line)
    path.write_text("\n".join(kept) + "\n")


def change(path: Path, label: str, value: str) -> None:
    """Set a column of the first table of a STAR file that has it."""
    lines = path.read_text().splitlines()
    index = next(i for i, line in enumerate(lines) if line.split()[:1] == [f"_{label}"])
    first = index - next(k for k in range(index) if not lines[index - k - 1].startswith("_"))
    row = next(i for i in range(index, len(lines)) if lines[i].strip() and not lines[i].startswith("_"))
    words = lines[row].split()
    words[index - first] = value
    lines[row] = " ".join(words)
    path.write_text("\n".join(lines) + "\n")


def two_tomograms() -> str:
    """A RELION 5 set with two tomograms, in ``two/``."""
    write_relion5_set("two", make_series("TS_01"))
    overview = Path("two/tomograms.star").read_text().rstrip("\n")
    write_relion5_set("two", make_series("TS_02"))
    row = Path("two/tomograms.star").read_text().rstrip("\n").splitlines()[-1]
    Path("two/tomograms.star").write_text(f"{overview}\n{row}\n")
    return "two/tomograms.star"


def check_refusal(result: tuple[int, str, str], status: int, parts: list[str]) -> None:
    """Check the exit status, and that one or two lines name the culprit and the remedy."""
    got, _, err = result
    assert got == status, err
    assert err.startswith("error: ")
    assert 1 <= len(err.strip().splitlines()) <= 2, err
    assert "Traceback" not in err
    for part in parts:
        assert part in err
