"""300 damaged files of every reader: one line, no traceback, under 10 s and 1 GB each."""

from __future__ import annotations

import io
import json
import multiprocessing
import sys
import zlib
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fourierrecon.cli.messages import print_facts
from fourierrecon.cli.volume_info import print_volume
from fourierrecon.geometry.region import Region
from fourierrecon.io import FileImages, open_stack, read_all_tilt_series, write_mrc, write_stack
from fourierrecon.io.points import Points, read_points, write_points
from fourierrecon.io.volumes.formats import open_volume, writing_volume
from fourierrecon.report.subjects import volume_facts
from fourierrecon.sets.records import FORMAT, read_outcomes
from fourierrecon.tomogram.provenance import box_of_volume, make_passport, write_passport
from fourierrecon.volume import Volume
from fourierrecon.weighting import from_text
from tests.helpers.fuzzing import Reader, fuzz, limit
from tests.io.test_damage import FORMATS, Format
from tests.io.test_eman import CTF as EMAN_OPTICS
from tests.io.test_eman import save as save_eman
from tests.io.test_extended_header import aligned, fei, serialem, stack
from tests.tomogram.test_provenance import a_series

COUNT = 300
SHAPE = (6, 8, 10)


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def show(form: Format, folder: Path) -> None:
    series = form.read(folder)
    print_facts(console(), series)
    for i in range(series.n_tilts):
        assert series.images[i].shape == series.image_shape


def write_volume(name: str, dtype: str, folder: Path) -> None:
    rng = np.random.default_rng(3)
    with writing_volume(folder / name, SHAPE, 10.0, (1.0, 2.0, 3.0), "one\ntwo", dtype) as write:
        for z in range(SHAPE[0]):
            write(z, rng.normal(size=SHAPE[1:]).astype(np.float32))


def write_with_passport(folder: Path) -> None:
    series = a_series()
    region = Region.of(series, binning=2)
    path = folder / "v.mrc"
    write_mrc(path, Volume(np.ones(region.shape, np.float32), 20.0, (0.0, 0.0, 0.0)))
    write_passport(path, make_passport(path, series, region, from_text("wiener"), ctf=False))


def read_passport_again(folder: Path) -> None:
    path = folder / "v.mrc"
    print_volume(console(), path)
    volume_facts(path)
    box_of_volume(path)


def read_volume(name: str, folder: Path) -> None:
    volume = open_volume(folder / name)
    print_volume(console(), folder / name)
    assert volume.read().data.shape == volume.shape


def write_tiff(folder: Path, **options: object) -> None:
    import tifffile

    images = np.random.default_rng(5).integers(0, 900, SHAPE).astype(np.uint16)
    tifffile.imwrite(folder / "a.tif", images, photometric="minisblack", **options)


def read_images(name: str, folder: Path) -> None:
    images = open_stack(folder / name)
    assert images.pixel_size >= 0
    for i in range(len(images)):
        assert images[i].shape == images.shape[1:]


def write_stack_of(folder: Path) -> None:
    write_stack(folder / "a.mrc", np.random.default_rng(6).normal(size=SHAPE).astype(np.float32), 3.0)


def write_outcomes(folder: Path) -> None:
    entry = {
        "status": "done", "finished": "2026-01-01T00:00:00+00:00", "seconds": 1.5, "error": "", "notes": ["a"],
        "volumes": {"": "tomograms/rec_a.mrc"}, "source": "/set.star", "extras": {"voltage": 300.0, "stack": "a.st"},
        "offsets": {"tilt_angle": 0.0, "x_tilt": 1.0, "z_shift": 0.0, "flip_hand": False}, "binning": 4.0,
        "origin": [None, 1.0, None], "size": ["auto", 100.0, None], "like": None, "halves": "",
        "skip_bad_images": False, "how": {"weighting": "wiener"},
    }  # fmt: skip
    (folder / "outcomes.json").write_text(json.dumps({"format": FORMAT, "tomograms": {"a": entry, "b": entry}}))


def write_points_of(name: str, folder: Path) -> None:
    values = np.random.default_rng(7).uniform(0, 50, (9, 3))
    columns: dict[str, list[object]] = {"score": [0.5] * 9, "object_id": [0, 1, 1] * 3, "rlnAngleRot": ["30"] * 9}
    write_points(folder / name, Points(values, ["TS_1"] * 9, columns))


def convert_points(name: str, folder: Path) -> None:
    points = read_points(folder / name)
    for suffix in (".csv", ".star", ".json", ".mod"):
        if len(points):
            write_points(folder / f"out{suffix}", Points(points.coordinates, None, points.columns, points.blocks))


def write_noted(records: str, folder: Path) -> None:
    aligned(folder)
    if records == "FEI":
        stack(folder / "ts.st", fei(b"FEI1"), b"FEI1")
    else:
        extended, size = serialem(1 | 32)
        stack(folder / "ts.st", extended, b"SERI", size, 33)


def read_noted(folder: Path) -> None:
    print_facts(console(), read_all_tilt_series(folder / "ts.xf")[0])


def write_eman(folder: Path) -> None:
    save_eman(folder, **EMAN_OPTICS)
    write_stack(folder / "tiltseries" / "ts.mrcs", np.zeros((5, 41, 48), np.float32), 2.65)


def read_eman_again(folder: Path) -> None:
    print_facts(console(), read_all_tilt_series(folder / "info" / "ts_info.json")[0])


def read_single(folder: Path) -> None:
    assert FileImages([(folder / "a.mrc", 1), (folder / "a.mrc", 0)])[0].shape


READERS: dict[str, Reader] = {
    **{name: Reader(form.write, (form.damaged,), partial(show, form)) for name, form in FORMATS.items()},
    "EMAN2": Reader(write_eman, ("info/ts_info.json",), read_eman_again),
    "MRC stack": Reader(write_stack_of, ("a.mrc",), partial(read_images, "a.mrc")),
    "MRC images": Reader(write_stack_of, ("a.mrc",), read_single),
    "FEI's header": Reader(partial(write_noted, "FEI"), ("ts.st",), read_noted),
    "SerialEM's header": Reader(partial(write_noted, "SERI"), ("ts.st",), read_noted),
    "TIFF": Reader(write_tiff, ("a.tif",), partial(read_images, "a.tif")),
    "TIFF, compressed": Reader(
        partial(write_tiff, compression="zlib", resolution=(1e7, 1e7)), ("a.tif",), partial(read_images, "a.tif")
    ),
    "TIFF of ImageJ": Reader(partial(write_tiff, imagej=True), ("a.tif",), partial(read_images, "a.tif")),
    "MRC volume": Reader(partial(write_volume, "v.mrc", "int8"), ("v.mrc",), partial(read_volume, "v.mrc")),
    "Zarr": Reader(
        partial(write_volume, "v.zarr", "int16"),
        ("v.zarr/zarr.json", "v.zarr/0/zarr.json", "v.zarr/0/c/0/0/0"),
        partial(read_volume, "v.zarr"),
    ),
    "passport": Reader(write_with_passport, ("v.passport.json",), read_passport_again),
    "outcomes": Reader(write_outcomes, ("outcomes.json",), read_outcomes),
    **{
        f"points{suffix}": Reader(
            partial(write_points_of, f"p{suffix}"), (f"p{suffix}",), partial(convert_points, f"p{suffix}")
        )
        for suffix in (".csv", ".star", ".mod", ".json")
    },
}


def damage(name: str, folder: Path, count: int) -> list[str]:
    """In a process of its own."""
    return fuzz(READERS[name], folder, count, zlib.crc32(name.encode()))


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_end_in_one_line(name: str, tmp_path: Path) -> None:
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned, initializer=limit) as pool:
        assert pool.submit(damage, name, tmp_path, COUNT).result() == []


if __name__ == "__main__":
    # python tests/test_fuzz.py COUNT [NAME]
    import tempfile

    limit()
    for reader in sys.argv[2:] or READERS:
        with tempfile.TemporaryDirectory() as place:
            for fault in damage(reader, Path(place), int(sys.argv[1])):
                print(f"{reader}: {fault}")
