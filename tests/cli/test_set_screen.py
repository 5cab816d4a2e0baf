"""What a run on a set shows: on a terminal a bar and a line that go again, in a pipe a line a tomogram."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fourierrecon.cli import set_progress
from fourierrecon.cli.console import ProgressBars, screen
from fourierrecon.cli.set_bars import SetBars, duration
from fourierrecon.cli.set_progress import show_set, show_watch
from fourierrecon.sets.outcomes import Made, Outcome
from fourierrecon.sets.recipe import Recipe
from fourierrecon.weighting import NoWeighting, Wiener
from tests.helpers.terminal import Terminal

RECIPE = Recipe(source=Path("set.star"), folder=Path("out"), binnings=(4.0,), weightings=(Wiener(10.0), NoWeighting()))
NAMES = [f"TS_{number:03d}" for number in range(1, 201)]


def outcome(number: int, **more: Any) -> Outcome:
    """Give the outcome of a tomogram with two volumes."""
    name = NAMES[number]
    one = Made(
        path=Path(f"out/tomograms/rec_{name}.mrc"), picture=None, part="", binning=4.0, size=(9.0, 9.0, 9.0),
        reason="new", origin=(0.0, 0.0, 0.0),
    )  # fmt: skip
    return Outcome(name=name, made=(one, one), seconds=2.0, **more)


def make(outcomes: list[Outcome], seen: list[list[str]], terminal: Terminal | None) -> Any:
    """Give what stands for ``reconstruct_set`` and ``watch``: reports outcomes, and keeps what is on the screen."""

    def run(*_: Any, follower: Any, **__: Any) -> Iterator[Outcome]:
        follower.starts([each.name for each in outcomes])
        for each in outcomes:
            step = follower.begins(each.name)
            if step is not None:
                for stage in ("images", "planes"):
                    for done in (0, 1, 2):
                        step(stage, done, 2)
            if terminal is not None:
                terminal.console._live_stack[-1].refresh()
                seen.append(terminal.lines())
            yield each
        follower.lists(Path("out/tomograms.star"))

    return run


def test_a_set_of_200_leaves_a_dozen_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [
        outcome(i, notes=(f"image {i} is dark",), error=f"{NAMES[i]}.mrc is damaged" if i % 5 == 4 else "")
        for i in range(200)
    ]
    terminal, seen = Terminal(), list[list[str]]()
    monkeypatch.setattr(set_progress, "reconstruct_set", make(outcomes, seen, terminal))
    assert show_set(terminal.console, RECIPE) == 1
    # while it runs: how far the set is, what is left, what failed, and one line for the tomogram
    halfway = seen[100]
    assert halfway[-2].startswith("progress  ")
    assert "100/200, 20 failed, " in halfway[-2]
    assert halfway[-2].endswith(" left")
    assert halfway[-1].startswith("TS_101  ")
    assert halfway[-1].endswith("planes 2/2")
    assert sum("TS_" in line and "/2" in line for line in halfway) == 1
    # how they are made is said once, in words
    left = terminal.lines()
    assert left[:3] == [
        "set       200 tomograms of set.star into out",
        "voxels    binning 4",
        "weighting 3D Wiener filter, SNR 10; plain back-projection",
    ]
    assert left[3].startswith("CTF       wiener: data times CTF, divided by CTF²; multiply: data times CTF, ")
    assert len(left) < 30
    assert not any("━" in line for line in left)
    assert sum(line.startswith("warning") for line in left) == 4
    assert "warning   197 more tomograms in the same way; out/outcomes.json lists them" in left
    assert "failed    37 more tomograms in the same way; out/outcomes.json lists them" in left
    assert "summary   160 done, 2.0 s each; 0 there already; 40 failed" in left
    assert any(line.startswith("next      correct what the errors name") for line in left)


def test_a_pipe_gets_a_line_a_tomogram(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [outcome(0), outcome(1, stale="options have changed"), outcome(2, error="it is damaged")]
    monkeypatch.setattr(set_progress, "reconstruct_set", make(outcomes, [], None))
    assert show_set(screen(), RECIPE) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line[0].isdecimal()] == [
        "1/3       TS_001: out/tomograms/rec_TS_001.mrc and 1 more (made in 2.0 s: new)",
        "2/3       TS_002 stale: options have changed",
        "3/3       TS_003 failed: it is damaged",
    ]
    assert {"stale     TS_002: options have changed", "failed    TS_003: it is damaged"} <= set(lines)
    assert not any("\x1b" in line for line in lines)


def test_a_mistake_of_the_program_is_not_cured_by_running_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mistake = outcome(0, error="KeyError: 'a'; this should not happen, please report it")
    monkeypatch.setattr(set_progress, "reconstruct_set", make([mistake], [], None))
    assert show_set(screen(), RECIPE) == 1
    assert "run the same command again" not in capsys.readouterr().out


def test_a_watched_folder_has_one_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, seen = Terminal(), list[list[str]]()

    def run(*_: Any, follower: Any, **__: Any) -> Iterator[Outcome]:
        follower.waits("waiting for TS_001: its images are not there")
        terminal.console._live_stack[-1].refresh()
        seen.append(terminal.lines())
        for each in (outcome(0), outcome(1, error="it is damaged"), outcome(1)):
            yield each
            terminal.console._live_stack[-1].refresh()
            seen.append(terminal.lines())

    monkeypatch.setattr(set_progress, "watch", run)
    assert show_watch(terminal.console, RECIPE, every=1, idle=None) == 0
    assert "0 done, waiting for TS_001: its images" in " ".join(seen[0])
    assert [line[-1].split("━ ")[-1] for line in seen[1:]] == ["1 done", "1 done, 1 failed", "2 done"]
    left = terminal.lines()
    assert not any("━" in line or "rec_TS_001" in line for line in left)
    assert "failed    TS_002: it is damaged; tried again when its files change" in left
    assert "summary   2 done; 0 failed" in left


def test_bars_of_one_tomogram_go_when_it_is_done() -> None:
    terminal = Terminal()
    with ProgressBars(terminal.console) as bars:
        assert terminal.lines() == []  # nothing before the first stage
        for stage in ("images", "planes"):
            for done in range(4):
                bars(stage, done, 3)
        terminal.console._live_stack[-1].refresh()
        assert [line.split()[0] for line in terminal.lines()] == ["images", "planes"]
        assert all("3/3" in line for line in terminal.lines())
    assert terminal.lines() == []


def test_long_names_and_times_stay_short() -> None:
    terminal = Terminal()
    with SetBars(terminal.console, 3) as bars:
        bars.begin("a_very_long_name_of_a_tilt_series\x1b[2J")
        bars.step("images", 1, 2)
        terminal.console._live_stack[-1].refresh()
        line = terminal.lines()[-1]
        assert "a_very_l…" in line
        assert len(line) < 80
    assert [duration(seconds) for seconds in (3.2, 99, 600, 7200, 100_000)] == [
        "3 s",
        "99 s",
        "10 min",
        "2.0 h",
        "27.8 h",
    ]
