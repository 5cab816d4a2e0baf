"""Real data that some tests read: where they lie, and the tests that go without them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CELL = "mycoplasma/"


def find_real_data(name: str) -> Path | None:
    """Give the path of a file or folder, such as ``mycoplasma/tomograms.star``, if it is on this machine.

    The environment variable ``FOURIERRECON_DATA`` names the folder of the real data; without it they are looked for
    in ``../shared/data`` beside the checkout. The cell, ``mycoplasma``, may also come from ``fourierrecon sample``:
    ``FOURIERRECON_SAMPLE`` names its folder, as in the notebooks.
    """
    folder = os.environ.get("FOURIERRECON_DATA")
    places = [(Path(folder) if folder else ROOT.parent / "shared" / "data") / name]
    sample = os.environ.get("FOURIERRECON_SAMPLE")
    if sample and name.startswith(CELL):
        places.append(Path(sample) / name.removeprefix(CELL))
    return next((path.resolve() for path in places if path.exists()), None)


def real_data(name: str) -> Path:
    """Give the path of a file or folder of the real data; without it, skip the test."""
    path = find_real_data(name)
    if path is None:
        pytest.skip("no real data: set FOURIERRECON_DATA to their folder")
    return path
