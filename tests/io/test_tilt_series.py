"""One door for all files that name a tilt series: RELION's, IMOD's, AreTomo's, Warp's."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from fourierrecon import Region, reconstruct
from fourierrecon.errors import DataError, UsageError
from fourierrecon.io import (
    FileImages,
    Supplement,
    list_tomograms,
    open_stack,
    read_all_tilt_series,
    read_tilt_series,
    write_stack,
)
from fourierrecon.tilt_series import ImagesInFiles, ImageStack, chosen_images
from fourierrecon.weighting import NoWeighting
from tests.helpers.real_data import real_data


def test_the_cell_by_warp_is_the_cell_by_relion_upside_down() -> None:
    # Warp's z axis points the other way; it turns about another half pixel, so positions agree to 0.2 px
    relion = read_tilt_series(real_data("mycoplasma/tomograms.star"))
    warp = read_tilt_series(real_data("mycoplasma/warp_import_00254.xml"), stack=real_data("mycoplasma/00254.mrcs"))
    assert [
        s.name
        for s in read_all_tilt_series(
            real_data("mycoplasma/warp_import_00254.xml"), Supplement(stack=real_data("mycoplasma/00254.mrcs"))
        )
    ] == [warp.name]
    binning = 8.0
    one = Region.of(relion, binning=binning)
    # world points of RELION's voxels in Warp's frame, read from the bottom
    depth = binning * (one.shape[0] - 1)
    other = Region((-326.0, -315.0, 127.5 - depth), one.shape, binning)
    volumes = [reconstruct(s, r, NoWeighting(), ctf=False).data for s, r in ((relion, one), (warp, other))]
    inner = slice(2, -2), slice(8, -8), slice(8, -8)
    found = np.corrcoef(volumes[0][inner].ravel(), volumes[1][::-1][inner].ravel())[0, 1]
    assert found > 0.9999


def test_the_cell_by_imod_is_the_cell_by_relion() -> None:
    relion = read_tilt_series(real_data("mycoplasma/tomograms.star"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a lone .xf does not say
        imod = read_tilt_series(
            real_data("mycoplasma/imod/00254.xf"),
            None,
            Supplement(stack=real_data("mycoplasma/00254.mrcs"), pixel_size=10.0),
        )
    assert imod.world_origin == relion.world_origin == 1
    # without tilt.com the depth is not known: 300 nm are assumed, and the middle lies there
    lower = (300 - 256) / 2
    moved = relion.projections.copy()
    moved[:, :, 3] -= moved[:, :, 2] * lower
    np.testing.assert_allclose(imod.projections[:, :2], moved[:, :2], atol=1e-4)


def test_names_and_images_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match=r"holds no tomogram 'other', only .*; leave name=... out"):
        read_tilt_series(
            real_data("mycoplasma/warp_import_00254.xml"), "other", stack=real_data("mycoplasma/00254.mrcs")
        )
    with pytest.raises(UsageError, match=r"leave stack=..., pixel_size=..., voltage=..."):
        read_tilt_series(real_data("mycoplasma/tomograms.star"), stack=real_data("mycoplasma/00254.mrcs"))


@pytest.mark.parametrize("name", ["x.xml", "x.tomostar", "x.aln", "x.xf", "tilt.com", "x.star", "x"])
def test_missing_files_are_named(tmp_path: Path, name: str) -> None:
    for read in (read_tilt_series, read_all_tilt_series):
        with pytest.raises(DataError, match=name):
            read(tmp_path / name)


def test_optics_are_refused_where_the_file_has_them(tmp_path: Path) -> None:
    for name in ("x.xml", "x.tomostar", "x.star"):
        with pytest.raises(UsageError, match=r"voltage=..., spherical_aberration=... and amplitude_contrast=... out"):
            read_tilt_series(tmp_path / name, voltage=300.0)


def test_arguments_win_over_the_record_of_them(tmp_path: Path) -> None:
    images = np.random.default_rng(1).normal(size=(3, 8, 10)).astype(np.float32)
    write_stack(tmp_path / "TS_01.mrc", images, 2.0)
    lines = [
        "# AreTomo Alignment / Priims bprmMn",
        "# RawSize = 10 8 3",
        "# NumPatches = 0",
        "# SEC ROT GMAG TX TY SMEAN SFIT SCALE BASE TILT",
    ]
    lines += [f"{i + 1} 84.0 1.0 0.0 0.0 1.0 1.0 1.0 1.0 {tilt:.2f}" for i, tilt in enumerate((-30, 0, 30))]
    (tmp_path / "TS_01.aln").write_text("\n".join(lines) + "\n")
    record = Supplement(stack=tmp_path / "TS_01.mrc", pixel_size=5.0)
    assert read_tilt_series(tmp_path / "TS_01.aln", None, record).pixel_size == 5
    series = read_tilt_series(str(tmp_path / "TS_01.aln"), "TS_01", record, pixel_size=4.0)
    assert series.pixel_size == 4
    np.testing.assert_array_equal(series.images[2], images[2])
    assert list_tomograms(tmp_path / "TS_01.aln", record) == ["TS_01"]
    with pytest.raises(UsageError, match=r"names no half images.*leave images=... out"):
        read_tilt_series(tmp_path / "TS_01.aln", stack=record.stack, images="even")


def test_images_say_which_files_they_lie_in(tmp_path: Path) -> None:
    images = np.zeros((3, 8, 10), np.float32)
    path = tmp_path / "a.mrc"
    write_stack(path, images, 2.0)
    stacks: list[ImageStack] = [open_stack(path), FileImages([(path, 2), (path, 0), (path, 1)])]
    for stack, numbers in zip(stacks, ([0, 1, 2], [2, 0, 1]), strict=True):
        chosen = chosen_images(stack, [2, 0])
        for found, wanted in ((stack, numbers), (chosen, [numbers[2], numbers[0]])):
            assert isinstance(found, ImagesInFiles)
            assert found.sections == found.places == [(path, number) for number in wanted]
            assert [file.path for file in found.stacks] == [path]
            assert found.column == ""
    assert not isinstance(images, ImagesInFiles)
    assert not isinstance(chosen_images(images, [0]), ImagesInFiles)
