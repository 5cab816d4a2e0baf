"""Beads decide: one real tilt series, read from the files of four programs, shows the same beads at the same places."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.geometry.coordinate_frames import Box, conversion, convert
from fourierrecon.io import Supplement, read_tilt_series
from fourierrecon.weighting import PreWeight
from tests.helpers.real_data import real_data

SIZE, BINNING = (652, 630, 256), 2


def read(program: str, folder: Path) -> TiltSeries:
    """Read the series as one program left it; IMOD and Warp find their stack beside their files."""
    stack = Supplement(stack=real_data("mycoplasma/00254.mrcs"), pixel_size=10.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if program == "relion4":
            return read_tilt_series(real_data("mycoplasma/tomograms.star"))
        if program == "relion5":
            return read_tilt_series(real_data("mycoplasma/relion5_tomograms.star"))
        if program == "imod":
            for path in real_data("mycoplasma/imod").iterdir():
                shutil.copy(path, folder)
            return read_tilt_series(folder / "00254.xf", None, stack)
        shutil.copy(real_data("mycoplasma/warp_import_00254.xml"), folder / "00254.xml")
        return read_tilt_series(folder / "00254.xml", None, stack)


def beads(volume: NDArray[np.float32]) -> NDArray[np.float64]:
    """Find dark beads: minima by parabolas through their neighbours, ``(n, 3)``: x, y, z in voxels."""
    smooth = ndimage.gaussian_filter(volume, 1.5)
    lowest = (smooth == ndimage.minimum_filter(smooth, 9)) & (smooth < smooth.mean() - 8 * smooth.std())
    places = [p for p in np.argwhere(lowest) if (p > 3).all() and (p < np.array(volume.shape) - 4).all()]
    found = []
    for z, y, x in places:
        around = smooth[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2].astype(float)
        lines = [around[1, 1], around[1, :, 1], around[:, 1, 1]]
        found.append([c + (a[0] - a[2]) / 2 / (a[0] - 2 * a[1] + a[2]) for c, a in zip((x, y, z), lines, strict=True)])
    return np.array(found)


def look(program: str, folder: Path) -> tuple[NDArray[np.float64], float]:
    """Give the beads' places, unbinned voxels of RELION's frame, and the kurtosis of the volume around them."""
    series = read(program, folder)
    region = Region.of(series, binning=BINNING, size=SIZE)
    volume = reconstruct(series, region, PreWeight(snr=10.0), ctf=False, n_threads=2).data
    found = beads(volume)
    matrix = conversion("volume", "relion5-px", Box.of(series, region), source_binning=BINNING)
    apart = volume - volume.mean()
    return convert(found, matrix), float((apart**4).mean() / (apart**2).mean() ** 2)


@pytest.fixture(scope="module")
def relion4(tmp_path_factory: pytest.TempPathFactory) -> tuple[NDArray[np.float64], float]:
    return look("relion4", tmp_path_factory.mktemp("relion4"))


@pytest.mark.parametrize(("program", "tolerance"), [("relion5", 0.02), ("imod", 0.02), ("warp", 0.2)])
def test_beads_are_where_relion_4_shows_them(
    program: str, tolerance: float, tmp_path: Path, relion4: tuple[NDArray[np.float64], float]
) -> None:
    (expected, sharpness), (found, sharpness_found) = relion4, look(program, tmp_path)
    assert len(expected) > 12
    apart = found[None] - expected[:, None]
    nearest = np.linalg.norm(apart, axis=2).argmin(1)
    difference = apart[np.arange(len(expected)), nearest]
    assert np.abs(difference).max() < tolerance  # px; a voxel is 2 px
    # Warp's import turns half a pixel beside IMOD's axis: its beads are a trace less sharp
    assert sharpness_found == pytest.approx(sharpness, rel=0.02)
