"""The help, groups of options, and answers to options of other programs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer

from fourierrecon.cli.app import app
from fourierrecon.cli.groups import USUAL, with_groups
from fourierrecon.cli.other_programs import INSTEAD

Run = Callable[..., tuple[int, str, str]]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: Annotated[int, typer.Option("--size")] = 3


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: Annotated[str, typer.Option("--name")]
    inner: Inner


def test_a_command_gets_its_options_in_groups() -> None:
    got: list[object] = []
    small = typer.Typer()

    @small.command()
    @with_groups("flag")
    def command(
        path: str, *, outer: Outer, flag: Annotated[bool, typer.Option("--flag", rich_help_panel="Other")] = False
    ) -> None:
        got.extend([path, outer, flag])

    made = typer.main.get_command(small)
    made.main(["a", "--name", "b", "--size", "4", "--flag"], standalone_mode=False)
    assert got == ["a", Outer(name="b", inner=Inner(size=4)), True]
    assert [parameter.name for parameter in made.params[:4]] == ["path", "flag", "name", "size"]
    assert made.params[1].rich_help_panel == USUAL  # type: ignore[attr-defined]


def test_the_help_opens_with_examples_and_eight_options(run: Run) -> None:
    status, out, _ = run("reconstruct --help")
    assert status == 0
    assert len(re.findall(r"^ *fourierrecon reconstruct --t", out, re.MULTILINE)) == 3
    first, second = re.findall(r"^╭─ (.+?) ─+╮$", out, re.MULTILINE)[:2]
    assert (first, second) == (USUAL, "Input")
    usual = [option for option in COMMANDS["reconstruct"].params if option.rich_help_panel == USUAL]
    assert [option.opts[0] for option in usual] == [
        "--t", "--tn", "--o", "--bin", "--d", "--SNR", "--halves", "--preview",
    ]  # fmt: skip


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_no_box_of_the_help_holds_the_help_alone(run: Run, command: str) -> None:
    status, out, err = run(f"{command} --help")
    assert (status, err) == (0, "")
    assert "─ Options ─" not in out


@pytest.mark.parametrize("command", ["plan", "watch"])
def test_options_of_reconstruct_have_one_help(command: str) -> None:
    ours = {option.name: option for option in COMMANDS["reconstruct"].params}
    shared = [
        option for option in COMMANDS[command].params if option.name in ours and option.name not in ("o", "folder")
    ]
    assert len(shared) > 30
    for option in shared:
        other = ours[option.name]
        assert (option.help, option.opts, option.default) == (other.help, other.opts, other.default)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("--gpu 0", "no option --gpu; everything runs on the CPU"),
        ("--dont_invert", "no option --dont_invert; grey values keep"),
        ("-EXCLUDELIST 3", "no option -EXCLUDELIST; use --exclude"),
        ("--OutBin 4", "no option --OutBin; use --bin"),
        ("-OutBin 4", "no option -OutBin; use --bin"),
        ("-VolZ 1200", "no option -VolZ; the depth of the tomogram is --d"),
        ("-THICKNESS 1200", "no option -THICKNESS; the depth of the tomogram is --d"),
        ("--do_even_odd", "no option --do_even_odd; use --halves frames"),
        ("--do-even-odd", "no option --do-even-odd; use --halves frames"),
        ("--output_angpix=10", "no option --output_angpix; use --bin, or --binned_angpix"),
    ],
)
def test_options_of_other_programs_are_answered_with_ours(run: Run, words: str, answer: str) -> None:
    status, out, err = run(f"reconstruct --t a.star --o b.mrc {words}")
    assert (status, out) == (2, "")
    assert answer in err


def test_answers_name_options_that_exist_and_are_for_options_that_do_not() -> None:
    ours = {name for option in COMMANDS["reconstruct"].params for name in option.opts}
    assert not {f"--{name}" for name in INSTEAD} & ours
    for answer in INSTEAD.values():
        assert set(re.findall(r"--\w+", answer)) <= ours
