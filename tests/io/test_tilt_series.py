"""One door for all files that name a tilt series: RELION's, IMOD's, AreTomo's, Warp's."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from fourierrecon import Region, reconstruct
from fourierrecon.errors import DataError, UsageError
from fourierrecon.io import Supplement, read_all_series, read_series
from fourierrecon.weighting import NoWeighting
from tests.helpers.real_data import real_data


def test_the_cell_by_warp_is_the_cell_by_relion_upside_down() -> None:
    # Warp's z axis points the other way; it turns about another half pixel, so positions agree to 0.2 px
    relion = read_series(real_data("mycoplasma/tomograms.star"))
    warp = read_series(
        real_data("mycoplasma/warp_import_00254.xml"), None, Supplement(real_data("mycoplasma/00254.mrcs"))
    )
    assert [
        s.name
        for s in read_all_series(
            real_data("mycoplasma/warp_import_00254.xml"), Supplement(real_data("mycoplasma/00254.mrcs"))
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
    relion = read_series(real_data("mycoplasma/tomograms.star"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a lone .xf does not say
        imod = read_series(
            real_data("mycoplasma/imod/00254.xf"), None, Supplement(real_data("mycoplasma/00254.mrcs"), 10.0)
        )
    assert imod.world_origin == relion.world_origin == 1
    # without tilt.com the depth is not known: 300 nm are assumed, and the middle lies there
    lower = (300 - 256) / 2
    moved = relion.projections.copy()
    moved[:, :, 3] -= moved[:, :, 2] * lower
    np.testing.assert_allclose(imod.projections[:, :2], moved[:, :2], atol=1e-4)


def test_names_and_images_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--tn 'other' is not in .*; leave --tn out"):
        read_series(
            real_data("mycoplasma/warp_import_00254.xml"), "other", Supplement(real_data("mycoplasma/00254.mrcs"))
        )
    with pytest.raises(UsageError, match=r"leave stack=..., pixel_size=..., voltage=..."):
        read_series(real_data("mycoplasma/tomograms.star"), None, Supplement(real_data("mycoplasma/00254.mrcs")))


@pytest.mark.parametrize("name", ["x.xml", "x.tomostar", "x.aln", "x.xf", "tilt.com", "x.star", "x"])
def test_missing_files_are_named(tmp_path: Path, name: str) -> None:
    for read in (read_series, read_all_series):
        with pytest.raises(DataError, match=name):
            read(tmp_path / name)


def test_optics_are_refused_where_the_file_has_them(tmp_path: Path) -> None:
    for name in ("x.xml", "x.tomostar", "x.star"):
        with pytest.raises(UsageError, match=r"voltage=..., spherical_aberration=... and amplitude_contrast=... out"):
            read_series(tmp_path / name, None, Supplement(voltage=300.0))
