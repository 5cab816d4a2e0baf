"""What several test modules use: the command line in this process, a small set of two tomograms, marks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fourierrecon import TiltSeries
from fourierrecon.cli import app
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.io.relion.import_set import write_set
from fourierrecon.tilt_series import ImageStack
from tests.helpers.browser import find_browser


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests with the mark ``browser`` where there is none."""
    if item.get_closest_marker("browser") and find_browser() is None:
        pytest.skip("no Chromium is installed")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line what was skipped, and why."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", ()):
        _, _, reason = report.longrepr
        reasons[reason.removeprefix("Skipped: ")] += 1
    if reasons:
        skipped = "; ".join(f"{count} ({reason})" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"skipped: {skipped}")


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, dict[str, Any] | None, dict[str, Any] | None]:
    """Escape what is not UTF-8 in a report: workers of pytest-xdist send UTF-8 only, and tests print such names."""
    data = yield
    return _in_utf8(data)  # type: ignore[no-any-return]


def _in_utf8(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case dict():
            return {_in_utf8(key): _in_utf8(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(map(_in_utf8, value))
        case _:
            return value


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line in this process: ``(exit status, output, errors)``."""

    def run(line: str, *more: str) -> tuple[int, str, str]:
        status = app.main([*line.split(), *more])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def two_sets(tmp_path: Path) -> Path:
    """A folder with a RELION 5 set of TS_01, 40 x 36 x 16 px, and TS_02, 50 x 46 x 20 px, of 10 Å."""
    found: list[tuple[TiltSeries, dict[str, ImageStack]]] = []
    for number, (width, height, depth) in enumerate([(40, 36, 16), (50, 46, 20)], 1):
        centre = (width // 2, height // 2, depth // 2)
        angles = np.linspace(-45, 45, 5)
        images = np.random.default_rng(number).normal(size=(5, height, width)).astype(np.float32)
        matrices = projection_matrices((height, width), centre, angles, 3.0)
        series = TiltSeries(
            images, matrices, 10.0, f"TS_{number:02d}", size=(width, height, depth), rotation_centre=centre
        )
        found.append((series, {}))
    write_set(tmp_path, found, "relion5")
    return tmp_path
