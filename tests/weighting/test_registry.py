"""Weightings by their names and parameters, and those of other packages."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from fourierrecon import reconstruct
from fourierrecon.engine import density_correction
from fourierrecon.errors import UsageError
from fourierrecon.weighting import (
    NoWeighting,
    PreWeight,
    TiltViews,
    Weighting,
    Wiener,
    available,
    base,
    from_text,
    register,
)
from tests.helpers.reference import (
    Array,
    Geometry,
    border_distance,
    relative_error,
    window,
    world_points,
)
from tests.helpers.weightings import by_name, every, parameters, small


def test_the_built_in_strategies_are_registered() -> None:
    assert {"none", "preweight", "wiener"} <= set(available())
    assert available() == sorted(available())
    for name in available():
        strategy = from_text(name)
        assert strategy.name == name
        assert isinstance(strategy, Weighting)


def test_text_builds_strategies() -> None:
    assert from_text("wiener") == Wiener()
    assert from_text(" wiener : snr = 5 ") == Wiener(5)
    assert from_text("preweight:snr=2.5,thickness=800") == PreWeight(2.5, 800)
    assert from_text("wiener:snr=inf") == Wiener(math.inf)
    assert from_text("wiener", snr=3.0) == Wiener(3)
    assert from_text("wiener:snr=7", snr=3.0) == Wiener(7)
    assert from_text("none", snr=3.0) == NoWeighting()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wener", r"unknown weighting 'wener'; available: cg, exact, none, preweight, .*wiener"),
        ("", "unknown weighting ''; available"),
        ("wiener:sn=5", "no parameter 'sn'; its parameters: snr"),
        ("preweight:depth=5", "no parameter 'depth'; its parameters: snr, thickness"),
        ("none:snr=5", "no parameter 'snr'; its parameters: none"),
        ("wiener:snr", "no parameter 'snr'|key=value"),
        ("wiener:snr=high", "wiener:snr=high: the value is not a number"),
        ("wiener:snr=0", "SNR 0 must be above 0"),
        ("wiener:snr=-3", "SNR -3 must be above 0"),
        ("wiener:snr=nan", "SNR nan must be above 0"),
        ("preweight:thickness=0", "thickness 0"),
        ("preweight:thickness=nan", "thickness nan"),
    ],
)
def test_wrong_text_is_answered_with_the_choices(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_text(text)


@pytest.mark.parametrize("snr", [0.0, -1.0, math.nan, -math.inf])
@by_name
def test_parameters_are_checked_at_construction(name: str, snr: float) -> None:
    if "snr" not in parameters(name):
        pytest.skip("has no SNR")
    with pytest.raises(UsageError, match="SNR"):
        type(from_text(name))(snr=snr)  # type: ignore[call-arg]


@pytest.mark.parametrize("thickness", [0.0, -10.0, math.nan])
def test_thickness_is_checked_at_construction(thickness: float) -> None:
    with pytest.raises(UsageError, match="thickness"):
        PreWeight(thickness=thickness)


@every
def test_strategies_are_frozen_and_hashable(strategy: Weighting) -> None:
    assert hash(strategy) == hash(dataclasses.replace(strategy))  # type: ignore[type-var]
    assert strategy == dataclasses.replace(strategy)  # type: ignore[type-var]
    with pytest.raises(AttributeError):
        strategy.name = "other"  # type: ignore[misc]
    if "snr" in parameters(strategy.name):
        assert strategy != dataclasses.replace(strategy, snr=77.0)  # type: ignore[type-var]


@dataclass(frozen=True)
class Halved(Weighting):
    """A third party's: plain back-projection of images at half their strength, then doubled on the grid or not."""

    name: ClassVar[str] = "halved"
    uses_weights: ClassVar[bool] = False
    divides_by_count: ClassVar[bool] = True

    factor: float = 0.5
    flip: bool = False

    def image_filter(
        self, tilt: int, frequency_x: NDArray[np.float32], frequency_y: NDArray[np.float32], views: TiltViews
    ) -> NDArray[np.float32]:
        assert frequency_x.shape[0] == 1
        assert frequency_y.shape[1] == 1
        assert views.matrices.shape[1:] == (2, 3)
        return np.full((1, 1), -self.factor if self.flip else self.factor, np.float32)


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))


@pytest.mark.usefixtures("own_registry")
def test_a_registered_strategy_reconstructs() -> None:
    assert register(Halved) is Halved
    assert "halved" in available()
    assert from_text("halved:factor=0.25,flip=true") == Halved(0.25, True)
    with pytest.raises(UsageError, match=":flip=maybe: the value is not a truth value"):
        from_text("halved:flip=maybe")
    with pytest.raises(UsageError, match="available: cg, exact, halved, none"):
        from_text("quartered")
    geometry = Geometry((-40.0, 0, 40), (60, 64), centre=(20.0, 20, 8), shape=(16, 40, 41))
    images = np.random.default_rng(0).standard_normal((3, 60, 64)) * window((60, 64), 20, 8)
    series = geometry.series(images.astype(np.float32))
    plain, halved = (
        reconstruct(series, geometry.region, s, ctf=False, keep_mean=True, n_threads=1).data
        for s in (NoWeighting(), from_text("halved:flip=yes"))
    )
    inside = (border_distance(geometry.matrices, world_points(geometry.region), (60, 64)) > 8).all(0)
    assert relative_error(halved.ravel()[inside], -0.5 * plain.ravel()[inside]) < 1e-2


@pytest.mark.usefixtures("own_registry")
def test_entry_points_are_found_and_do_not_replace_built_in_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [SimpleNamespace(name=n, load=lambda: Halved) for n in ("halved", "wiener")]
    monkeypatch.setattr(base, "entry_points", lambda group: points if group == "fourierrecon.weighting" else [])
    assert "halved" in available()
    assert from_text("halved") == Halved()
    assert from_text("wiener") == Wiener()


def test_a_strategy_without_hooks_is_plain_back_projection() -> None:
    class Bare(Weighting):
        name: ClassVar[str] = "bare"
        divides_by_count: ClassVar[bool] = True

    assert not Bare().has_filter
    series, region = small("as usual")
    one, two = (reconstruct(series, region, s, ctf=False, n_threads=1).data for s in (Bare(), NoWeighting()))
    np.testing.assert_array_equal(one, two)


def test_a_strategy_sees_weights_of_one_on_a_lonely_slice() -> None:
    # the scale of the weights: one image alone has about CTF² on its own slice, so the strategy's numbers mean what
    # they say
    largest: list[Array] = []

    @dataclass(frozen=True)
    class Spy(Weighting):
        name: ClassVar[str] = "spy"
        uses_weights: ClassVar[bool] = True

        def normalise(  # type: ignore[override]  # it has no use for the frequency
            self, data: NDArray[np.complex64], weights: NDArray[np.float32]
        ) -> None:
            largest.append(weights.max(initial=0))

    for tilt in (0.0, 25.0, 60.0):
        geometry = Geometry((tilt,), (48, 50), 0, centre=(24.0, 24, 15), shape=(30, 44, 46))
        images = np.random.default_rng(0).standard_normal((1, 48, 50)).astype(np.float32)
        largest.clear()
        reconstruct(geometry.series(images), geometry.region, Spy(), ctf=False, n_threads=1)
        assert 0.95 <= max(largest) <= 1.25


@pytest.mark.parametrize("x_tilt", [0.0, 3.0])
def test_the_correction_near_the_axis_needs_few_columns(x_tilt: float, monkeypatch: pytest.MonkeyPatch) -> None:
    tilts = tuple(np.linspace(-60, 60, 21))
    geometry = Geometry(tilts, (40, 400), 2.0, x_tilt, centre=(200, 20, 100), shape=(200, 30, 400))
    images = np.random.default_rng(4).standard_normal((21, 40, 400)).astype(np.float32)
    series = geometry.series(images)

    def volume() -> NDArray[np.float32]:
        return reconstruct(series, geometry.region, Wiener(10), ctf=False, n_threads=1).data

    few = volume()
    monkeypatch.setattr(density_correction, "ROOM", 100)  # all columns
    every = volume()
    monkeypatch.setattr(density_correction.AxisCorrection, "correct", lambda *_: None)
    none = volume()
    error, correction = np.linalg.norm(few - every), np.linalg.norm(none - every)
    assert error > 0  # there is a difference, so few columns were used
    assert error < 0.1 * correction


@dataclass(frozen=True)
class Quotient(Weighting):
    """A third party's: data over weights, and nothing else."""

    name: ClassVar[str] = "quotient"
    uses_weights: ClassVar[bool] = True

    def normalise(  # type: ignore[override]  # it has no use for the frequency
        self, data: NDArray[np.complex64], weights: NDArray[np.float32]
    ) -> None:
        data /= np.maximum(weights, np.float32(0.1))


class Uncorrected(Quotient):
    """The same, without the correction near the tilt axis."""

    corrects_near_axis: ClassVar[bool] = False


def test_a_plug_in_can_refuse_the_correction_near_the_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = Geometry(tuple(np.linspace(-60, 60, 21)), (40, 90), 2.0, centre=(45, 20, 30), shape=(60, 30, 90))
    images = np.random.default_rng(4).standard_normal((21, 40, 90)).astype(np.float32)
    series = geometry.series(images)

    def volume(weighting: Weighting) -> NDArray[np.float32]:
        return reconstruct(series, geometry.region, weighting, ctf=False, n_threads=1).data

    corrected, refused = volume(Quotient()), volume(Uncorrected())
    assert relative_error(refused, corrected) > 0.05
    monkeypatch.setattr(density_correction.AxisCorrection, "correct", lambda *_: None)
    np.testing.assert_array_equal(volume(Quotient()), refused)
