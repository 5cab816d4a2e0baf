"""IMOD's geometry against formulas of its programs newstack and tilt, written here once more, and against their output.

The formulas go the way of the programs: a voxel of what tilt writes, numbered from 1, its place in the aligned stack,
and that in the raw images. Where the shared cases lie beside the checkout, beads in a volume that IMOD itself computed
show that the formulas are right.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.errors import DataError
from fourierrecon.geometry.axis_order import Orientation
from fourierrecon.geometry.coordinate_frames import Box, conversion, convert
from fourierrecon.geometry.corrections import AlignmentCorrections
from fourierrecon.io import read_mrc_volume, write_stack
from fourierrecon.io.imod.alignment import read_imod
from tests.helpers.real_data import real_data

ANGLES = [-57.0, -31.5, -2.0, 14.0, 44.0, 62.5]


@dataclass
class Setup:
    """What the command files of a series say; lengths are unbinned px where the stack is binned."""

    raw: tuple[int, int] = (96, 88)
    thickness: int = 32
    width: int | None = None
    slices: tuple[int, int] | None = None
    binning: float = 1
    filtered: bool = True
    output: tuple[int, int] | None = None
    full: tuple[int, int] | None = None
    start: tuple[int, int] | None = None
    offset: tuple[float, float] = (0, 0)
    shift: tuple[float, float] = (0, 0)
    axis_tilt: float = 0
    x_tilt: float = 0
    rotation: float = 10

    def write(self, folder: Path, newst: bool = True) -> Path:
        """Write the files of eTomo, and give ``tilt.com``."""
        rng = np.random.default_rng(4)
        width, height = self.raw
        write_stack(folder / "ts.st", np.zeros((len(ANGLES), height, width), np.float32), 2.0)
        turn = np.radians(self.rotation + rng.uniform(-1, 1, len(ANGLES)))
        rows = [np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn), *rng.uniform(-9, 9, (2, len(ANGLES)))]
        np.savetxt(folder / "ts.xf", np.transpose(rows), "%12.7f")
        np.savetxt(folder / "ts.tlt", ANGLES, "%.2f")
        np.savetxt(folder / "ts.xtilt", np.full(len(ANGLES), self.x_tilt), "%.2f")
        tilt = {
            "InputProjections": "ts.ali", "TILTFILE": "ts.tlt", "XTILTFILE": "ts.xtilt", "THICKNESS": self.thickness,
            "IMAGEBINNED": round(self.binning), "WIDTH": self.width, "SLICE": self.slices, "FULLIMAGE": self.full,
            "SUBSETSTART": self.start, "OFFSET": self.offset, "SHIFT": self.shift, "XAXISTILT": self.axis_tilt,
        }  # fmt: skip
        stack: dict[str, object] = {"InputFile": "ts.st", "TransformFile": "ts.xf", "SizeToOutputInXandY": self.output}
        if self.binning != int(self.binning):
            stack["ShrinkByFactor"] = self.binning
        else:
            stack["BinByFactor"] = self.binning
            stack["AntialiasFilter"] = -1 if self.filtered else None
        for name, program, options in (("tilt", "tilt", tilt), ("newst", "newstack", stack)):
            words = {key: " ".join(map(str, v)) if isinstance(v, tuple) else v for key, v in options.items()}
            lines = [f"{key} {word}" for key, word in words.items() if word is not None]
            if name == "tilt" or newst:
                (folder / f"{name}.com").write_text("\n".join([f"${program} -StandardInput", *lines, ""]))
        return folder / "tilt.com"


def binned(n: int, setup: Setup) -> tuple[int, float]:
    """Size of a side that newstack has reduced, and where its edge lies, raw px from the raw edge."""
    if setup.binning == 1:
        return n, 0.0
    if setup.filtered:
        size = int(n / setup.binning)
        return size, (n - size * setup.binning) / 2
    factor = int(setup.binning)
    size, rest = n // factor, n % factor
    if size % 2 == n % 2:
        size += 2 if rest > 1 else 0
    else:
        size, rest = size + 1, rest + factor
    return size, -(factor - rest // 2) if rest > 1 else 0


def shape_of_tilt(setup: Setup) -> tuple[int, int, int]:
    """Size of what tilt writes: columns, rows of a slice, slices."""
    by = round(setup.binning)
    (nx, _), (ny, _) = (binned(n, setup) for n in setup.raw)
    nx, ny = setup.output or (nx, ny)
    first, last = (s // by for s in setup.slices) if setup.slices else (0, ny - 1)
    return (setup.width // by if setup.width else nx), setup.thickness // by, last - first + 1


def raw_pixels(setup: Setup, folder: Path, voxel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Raw pixels, from 0, of a voxel ``(column, row of the slice, slice)``, from 1, that tilt writes, ``(n, 2)``."""
    by = round(setup.binning)
    (nx_in, edge_x), (ny_in, edge_y) = (binned(n, setup) for n in setup.raw)
    nx, ny = setup.output or (nx_in, ny_in)
    start = setup.start or (0, 0)
    full = setup.full or (nx * by, ny * by)
    full_x, full_y = ((f + by - 1) // by for f in full)
    wide, thick, _ = shape_of_tilt(setup)
    sub_x, sub_y = (int(s / by) for s in start)
    # where the tilt axis cuts the aligned images, and the volume
    axis_in = full_x / 2 + 0.5 - sub_x + setup.offset[1] / by
    axis_line = full_y / 2 + 0.5 - sub_y
    to_middle = (int((nx * by - full[0]) / 2) + start[0]) / by
    axis_column = wide // 2 + 0.5 + setup.offset[1] / by + setup.shift[0] / by - to_middle
    axis_row = thick // 2 + 0.5 + setup.shift[1] / by
    first = setup.slices[0] // by if setup.slices else 0
    column, row, line = voxel[0] - axis_column, voxel[1] - axis_row, voxel[2] + first - axis_line
    found = []
    for angle, xf in zip(ANGLES, np.loadtxt(folder / "ts.xf"), strict=True):
        # rows of slices count downwards, so both angles change their signs
        beta, alpha = -np.radians(angle + setup.offset[0]), -np.radians(setup.x_tilt - setup.axis_tilt)
        x = column * np.cos(beta) + (line * np.sin(alpha) + row * np.cos(alpha)) * np.sin(beta) + axis_in
        y = line * np.cos(alpha) - row * np.sin(alpha) + axis_line
        # newstack: edges count from 0, half a pixel before the middle of the first
        d = xf[4:] / setup.binning
        aligned = np.array([x - 0.5 - nx / 2 - d[0], y - 0.5 - ny / 2 - d[1]])
        middle = np.linalg.solve(xf[:4].reshape(2, 2), aligned) + np.array([nx_in, ny_in]) / 2
        found.append(middle * setup.binning + [edge_x, edge_y] - 0.5)
    return np.array(found)


SETUPS = {
    "plain": Setup(),
    "OFFSET": Setup(offset=(3.5, 0)),
    "OFFSET with an axis beside the middle": Setup(offset=(-2, 6.25)),
    "SHIFT x": Setup(shift=(7, 0)),
    "SHIFT z": Setup(shift=(0, 5)),
    "SHIFT both": Setup(shift=(-4.5, -7.5)),
    "XAXISTILT": Setup(axis_tilt=6),
    "XAXISTILT against .xtilt": Setup(axis_tilt=-4, x_tilt=1.5),
    ".xtilt": Setup(x_tilt=3),
    "XAXISTILT and SHIFT z": Setup(axis_tilt=8, shift=(2, 6)),
    "odd THICKNESS": Setup(thickness=33),
    "odd THICKNESS, XAXISTILT, SHIFT": Setup(thickness=31, axis_tilt=5, shift=(1, -3)),
    "odd WIDTH": Setup(width=71),
    "even WIDTH of odd images": Setup(raw=(95, 87), width=60),
    "odd images": Setup(raw=(95, 87), thickness=21),
    "odd width": Setup(raw=(95, 88)),
    "odd height": Setup(raw=(96, 87), axis_tilt=3),
    "WIDTH and OFFSET": Setup(width=64, offset=(1, -8), shift=(3, 2)),
    "SLICE": Setup(slices=(10, 59), axis_tilt=-5),
    "SLICE and odd sizes": Setup(raw=(95, 87), slices=(7, 40), thickness=29, shift=(0, 4)),
    "larger aligned stack": Setup(output=(120, 110), full=(96, 88), start=(-12, -11)),
    "smaller aligned stack, odd": Setup(output=(75, 61), full=(96, 88), start=(10, 13)),
    "subset beside the middle": Setup(full=(120, 100), start=(2, 1), shift=(1, 2)),
    "swapped axes": Setup(rotation=86, output=(88, 96), full=(96, 88), start=(4, -4)),
    "swapped axes, x tilt, SHIFT": Setup(
        rotation=-93, output=(88, 96), full=(96, 88), start=(4, -4), axis_tilt=4, shift=(0, 9), offset=(2, 3)
    ),
    "binned with a filter": Setup(binning=2, thickness=64, shift=(4, 6)),
    "binned with a filter, odd": Setup(raw=(95, 87), binning=2, thickness=62, full=(95, 87), start=(0, 0)),
    "binned": Setup(binning=2, filtered=False, thickness=64, offset=(1, 4), axis_tilt=5),
    "binned, odd": Setup(raw=(95, 87), binning=2, filtered=False, thickness=50),
    "binned by 3": Setup(raw=(97, 88), binning=3, filtered=False, thickness=64, shift=(3, -6)),
    "binned by 4, with a remainder": Setup(raw=(94, 90), binning=4, filtered=False, thickness=66, full=(94, 90)),
    "binned by 7": Setup(binning=7, filtered=False, thickness=70, full=(96, 88), start=(0, 0)),
    "binned by 2, swapped axes": Setup(
        binning=2, rotation=88, output=(44, 48), full=(96, 88), start=(4, -4), thickness=60, width=70
    ),
    "binned, SLICE and WIDTH": Setup(binning=2, slices=(8, 61), width=58, thickness=44, shift=(2, 2), axis_tilt=2),
    "shrunk by 2.5": Setup(binning=2.5, thickness=64),
}  # fmt: skip


def voxels_of(setup: Setup) -> NDArray[np.float64]:
    """Corners, the middle and random voxels of what tilt writes, from 1."""
    shape = np.array(shape_of_tilt(setup))
    inside = np.random.default_rng(1).uniform(1, shape, (8, 3))
    return np.array([[1.0, 1.0, 1.0], shape, (shape + 1) / 2, *inside])


def pixels_of(series: TiltSeries, setup: Setup, voxels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Raw pixels where the series sees voxels of what tilt writes, ``(n, n_tilts, 2)``."""
    column, row, line = voxels.T
    turned = np.stack([column, line, shape_of_tilt(setup)[1] + 1 - row], 1)  # trimvol -rx
    world = setup.binning * (turned - 0.5) + 0.5
    return np.asarray(np.einsum("fij,nj->nfi", series.projections[:, :2], np.insert(world, 3, 1, axis=1)))


@pytest.mark.parametrize("name", SETUPS)
def test_voxels_are_seen_where_imod_sees_them(name: str, tmp_path: Path) -> None:
    setup = SETUPS[name]
    series = read_imod(setup.write(tmp_path))
    voxels = voxels_of(setup)
    wanted = np.array([raw_pixels(setup, tmp_path, voxel) for voxel in voxels])
    np.testing.assert_allclose(pixels_of(series, setup, voxels), wanted, atol=1e-6)
    columns, rows, lines = (setup.binning * n for n in shape_of_tilt(setup))
    assert series.size == (columns, lines, rows)
    if setup.binning == 1:
        # points of a model on what tilt writes, and on eTomo's final volume
        box = Box.of(series)
        model = voxels - [0.5, 0.5, 1]
        world = convert(model, conversion("imod-tilt", "volume", box)) + Region.of(series).origin
        found = np.einsum("fij,nj->nfi", series.projections[:, :2], np.insert(world, 3, 1, axis=1))
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        final = convert(model, conversion("imod-tilt", "imod-voxel", box))
        np.testing.assert_allclose(final, np.stack([voxels[:, 0], voxels[:, 2], rows + 1 - voxels[:, 1]], 1))


@pytest.mark.parametrize("name", [name for name, s in SETUPS.items() if s.offset[1] == 0 and not s.x_tilt])
def test_options_of_the_command_line_are_those_of_imod(name: str, tmp_path: Path) -> None:
    """A volume's command file without them, and the command line with them, is the same as the command file."""
    setup = SETUPS[name]
    whole = read_imod(setup.write(tmp_path))
    offsets = AlignmentCorrections(
        setup.offset[0], setup.axis_tilt, setup.shift[1] * setup.binning / round(setup.binning)
    )
    setup = Setup(**{**vars(setup), "offset": (0, 0), "axis_tilt": 0, "shift": (setup.shift[0], 0)})
    series = offsets.apply(read_imod(setup.write(tmp_path)))
    np.testing.assert_allclose(series.projections[:, :2], whole.projections[:, :2], atol=1e-6)
    assert series.pivot == pytest.approx(whole.pivot)


@pytest.mark.parametrize(
    ("output", "start"), [((120, 110), (-12, -11)), ((76, 62), (10, 13)), ((88, 96), (4, -4)), ((96, 88), (0, 0))]
)
def test_a_subset_tells_the_aligned_stack(output: tuple[int, int], start: tuple[int, int], tmp_path: Path) -> None:
    setup = Setup(output=output, full=(96, 88), start=start)
    whole = read_imod(setup.write(tmp_path))
    (tmp_path / "newst.com").unlink()
    series = read_imod(tmp_path / "tilt.com")
    np.testing.assert_allclose(series.projections, whole.projections, atol=1e-9)
    assert series.size == whole.size == (*output, 32)


@pytest.mark.parametrize(
    "setup",
    [Setup(full=(120, 100), start=(2, 1)), Setup(full=(60, 50), start=(0, 0)), Setup(full=(96, 88), start=(50, 2))],
)
def test_a_subset_that_does_not_tell_it(setup: Setup, tmp_path: Path) -> None:
    path = setup.write(tmp_path, newst=False)
    with pytest.raises(DataError, match=r"FULLIMAGE: it and SUBSETSTART.* do not fit raw images of 96 x 88 px"):
        read_imod(path)
    path.write_text(path.read_text().replace("FULLIMAGE", "#FULLIMAGE"))
    if any(setup.start or ()):
        with pytest.raises(DataError, match=r"SUBSETSTART: a subset without FULLIMAGE"):
            read_imod(path)


@pytest.mark.parametrize(
    "name", ["binned", "binned with a filter, odd", "binned by 3", "binned by 4, with a remainder", "swapped axes"]
)
def test_the_aligned_stack_tells_its_size(name: str, tmp_path: Path) -> None:
    setup = SETUPS[name]
    whole = read_imod(setup.write(tmp_path))
    (tmp_path / "newst.com").unlink()
    columns, _, lines = shape_of_tilt(setup)
    write_stack(tmp_path / "ts.ali", np.zeros((len(ANGLES), lines, columns), np.float32), 2.0 * setup.binning)
    np.testing.assert_allclose(read_imod(tmp_path / "tilt.com").projections, whole.projections, atol=1e-9)


def test_a_thickness_below_the_binning(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"THICKNESS: 1 px, less than IMAGEBINNED 2; give unbinned px"):
        read_imod(Setup(binning=2, thickness=1).write(tmp_path))


# what IMOD wrote


def beads(volume: NDArray[np.float32]) -> NDArray[np.float64]:
    """Find the three bright beads: ``(column, row, section)``, from 0, the fastest axis first."""
    smooth = ndimage.gaussian_filter(volume, 1.2)
    for axis in range(3):
        np.moveaxis(smooth, axis, 0)[[0, -1]] = smooth.min()
    found = []
    for _ in range(3):
        top = np.array(np.unravel_index(np.argmax(smooth), smooth.shape))
        place = []
        for axis in range(3):
            low, middle, high = (
                float(smooth[tuple(top + step)]) for step in np.eye(3, dtype=int)[axis] * [[-1], [0], [1]]
            )
            place.append(top[axis] + (low - high) / 2 / (low - 2 * middle + high))
        found.append(place[::-1])
        smooth[tuple(slice(max(0, c - 4), c + 5) for c in top)] = smooth.min()
    return np.array(sorted(found))


@pytest.mark.filterwarnings("ignore:.*its header says 1 Å a pixel:UserWarning")
@pytest.mark.parametrize(
    ("case", "places"),
    [
        ("imod_z_direction", [(29, 7, 24), (39, 25, 65), (59, 19, 43)]),
        ("imod_xaxistilt", [(29, 9.1, 23.2), (39, 22.7, 65.9), (59, 19, 43.4)]),
        ("imod_shift_z", [(29, 12, 24), (39, 30, 65), (59, 24, 43)]),
    ],
)
def test_beads_are_where_imod_shows_them(case: str, places: list[tuple[float, float, float]]) -> None:
    real = real_data("../cases")
    imod = read_mrc_volume(real / case / "ts.rec").data
    wanted = beads(imod)
    np.testing.assert_allclose(wanted, places, atol=0.5)  # one lies at the border
    series = read_imod(real / case / "tilt.com")
    volume = reconstruct(series, Region.of(series), ctf=False).data
    found = beads(volume)
    model = convert(found, conversion("volume", "imod-tilt", Box.of(series))) - [0.5, 0.5, 0]
    np.testing.assert_allclose(model, wanted, atol=0.15)
    orientation = Orientation.like("imod-tilt", series)
    assert orientation.axes == ("x", "-z", "y")
    written = volume[::-1].transpose(1, 0, 2)
    assert written.shape == imod.shape == orientation.shape(volume.shape)
    np.testing.assert_allclose(beads(written), wanted, atol=0.15)
    assert np.corrcoef(written.ravel(), imod.ravel())[0, 1] > 0.8
