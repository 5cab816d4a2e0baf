"""``--profile``: settings by name, and other options that win over them."""

from __future__ import annotations

from typing import Any

import pytest

from fourierrecon.cli.option_groups import WeightingOptions
from fourierrecon.cli.values import choose_weighting, with_profile
from fourierrecon.errors import UsageError
from fourierrecon.tomogram.profiles import PROFILES, find
from fourierrecon.transfer import Correction
from fourierrecon.weighting import PreWeight, Ramp, SirtLike, Wiener


def chosen(**options: Any) -> tuple[Any, WeightingOptions]:
    filled = with_profile(WeightingOptions(**options))
    return choose_weighting(filled, filled.weighting[0] if filled.weighting else None), filled


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_makes_sense(name: str) -> None:
    weighting, filled = chosen(profile=name)
    assert weighting.words
    correction = Correction.of(True, filled.ctf_mode, filled.exposure, filled.tilt_weight)
    assert correction.words(weighting.divides)


def test_what_some_profiles_are() -> None:
    assert chosen(profile="matching")[0] == Wiener(10.0)
    assert chosen(profile="eyes")[0] == Wiener()
    assert chosen(profile="imod-ramp")[0] == Ramp(float("inf"), cutoff=0.35, sigma=0.035)
    assert chosen(profile="imod-sirtlike:15")[0] == SirtLike(15.0, cutoff=0.35, sigma=0.035)
    assert chosen(profile="imod-sirtlike")[0] == SirtLike(10.0, cutoff=0.35, sigma=0.035)
    assert chosen(profile="relion5-fourier")[1].ctf_mode == "first-peak"


def test_other_options_win() -> None:
    assert chosen(profile="matching", snr=3.0)[0] == Wiener(3.0)
    assert chosen(profile="matching", pre_weight=True)[0] == PreWeight(10.0)
    assert chosen(profile="matching", weighting=["preweight:snr=5"])[0] == PreWeight(5.0)
    assert chosen(profile="imod-ramp", ctf_mode="multiply")[1].ctf_mode == "multiply"
    assert chosen(profile="imod-ramp", ctf=False)[1].ctf_mode is None
    filled = chosen(profile="warp", exposure="none", tilt_weight="none")[1]
    assert (filled.exposure, filled.tilt_weight) == ("none", "none")


@pytest.mark.parametrize("text", ["eye", "", "eyes:3", "imod-sirtlike:0", "imod-sirtlike:x", "imod-sirtlike:1.5"])
def test_unknown_profiles_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"available: eyes, matching|no number of iterations"):
        find(text)
