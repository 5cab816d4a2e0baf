"""Sets from Python: outcomes come one by one, nothing is printed, and keys hold only what is used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fourierrecon.engine.settings import Settings
from fourierrecon.sets import Recipe, reconstruct_set
from fourierrecon.sets.keys import make_key
from fourierrecon.transfer import Correction
from fourierrecon.weighting import NoWeighting, SnrCurve, Wiener
from tests.helpers.small_sets import small_series, write_small_set


def test_outcomes_are_given_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = Recipe(
        source=write_small_set(tmp_path / "set", 2), folder=tmp_path / "out", weightings=(NoWeighting(),),
        binnings=(2.0,), settings=Settings(ctf=False),
    )  # fmt: skip
    assert [(each.name, each.status) for each in reconstruct_set(recipe)] == [("TS_01", "done"), ("TS_02", "done")]
    assert (tmp_path / "out/tomograms.star").is_file()
    assert [each.status for each in reconstruct_set(recipe, ["TS_02"])] == ["there"]
    assert capsys.readouterr() == ("", "")


def test_a_key_holds_exposures_only_where_they_are_used() -> None:
    one = replace(small_series(1), exposure=np.arange(5.0))
    other = replace(one, exposure=np.arange(5.0) + 1)
    unused, used = Correction("none", "none"), Correction("none", "bfactor")
    assert make_key(one, [], unused) == make_key(other, [], unused)
    assert make_key(one, [], used) != make_key(other, [], used)


def test_all_of_an_option_counts_in_a_key() -> None:
    series = small_series(1)
    curves = [SnrCurve((0.01, 0.02), (10.0, last), "given") for last in (1.0, 1.0, 1.0000001)]
    assert len({repr(curve) for curve in curves}) == 1
    first, same, other = (make_key(series, [Wiener(curve)]) for curve in curves)
    assert first == same != other
