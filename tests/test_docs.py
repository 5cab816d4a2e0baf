"""The code on the page about weightings works as the page says, also as an installed plug-in."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from fourierrecon import Region, reconstruct
from fourierrecon.gaussians import Gaussians
from fourierrecon.quality import wedge_correlation, wedge_mask
from fourierrecon.simulate import simulate
from fourierrecon.weighting import NoWeighting, Weighting, available, from_text

PAGE = Path(__file__).parents[1] / "docs" / "weighting.md"


def block(language: str) -> str:
    """Give the only code of a language on the page."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(found) == 1
    return str(found[0])


@pytest.fixture
def ramp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Weighting]:
    """Install the page's example as pip would: a module, and its entry point in the metadata beside it."""
    (tmp_path / "my_weightings.py").write_text(block("python"), encoding="utf-8")
    ((group, points),) = tomllib.loads(block("toml"))["project"]["entry-points"].items()
    info = tmp_path / "my_weightings-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_weightings\nVersion: 1.0\n")
    lines = [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_weightings", raising=False)
    return type(from_text("ramp"))


def test_the_example_is_found_by_name(ramp: type[Weighting]) -> None:
    assert ramp.__module__ == "my_weightings"
    assert "ramp" in available()
    assert from_text("ramp:floor=0.02") == ramp(floor=0.02)  # type: ignore[call-arg]
    assert from_text("ramp") == ramp()


@pytest.mark.parametrize("axis", [85.3, -4.0])
def test_the_example_sharpens(ramp: type[Weighting], axis: float) -> None:
    size = (64, 60, 32)
    rng = np.random.default_rng(0)
    points = Gaussians(rng.uniform(8, np.array(size) - 8, (60, 3)), np.asarray(1.5), rng.uniform(0.5, 1, 60))
    simulation = simulate(points, size, tilt_axis_angle=axis, snr=None)
    region = Region.of(simulation.series)
    truth, measured = simulation.truth_volume(region).data, wedge_mask(region.shape, simulation.series.projections)

    def match(weighting: Weighting) -> float:
        volume = reconstruct(simulation.series, region, weighting, ctf=False, n_threads=2)
        return wedge_correlation(volume.data, truth, measured, margin=4)

    assert match(ramp()) > 0.9
    assert match(ramp()) > match(NoWeighting()) + 0.1


def test_the_page_is_in_step_with_the_registry() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in ("none", "preweight", "wiener"):
        assert name in available()
        assert f"| `{name}` |" in page
