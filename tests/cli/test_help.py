"""The help, groups of options, and answers to options of other programs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer

from fourierrecon.cli.app import app, main
from fourierrecon.cli.groups import USUAL, with_groups
from fourierrecon.cli.other_programs import INSTEAD
from tests.helpers.small_sets import write_small_set

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


def test_plan_takes_what_changes_size_memory_or_time() -> None:
    ours, plans = ({each.opts[0] for each in COMMANDS[name].params} for name in ("reconstruct", "plan"))
    # who does the work, what is kept of earlier runs, and what is said
    assert ours - plans == {
        "--scheduler", "--cluster", "--workers", "--tls_ca", "--tls_cert", "--tls_key", "--shard", "--resume",
        "--only_do_unfinished", "--redo", "--thumbnails", "--quiet",
    }  # fmt: skip
    assert plans - ours == {"--png"}


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
        ("-tn TS_01", "no option -tn; write it with two hyphens: --tn"),
        ("-bin=4", "no option -bin; write it with two hyphens: --bin"),
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


def test_the_help_of_the_program_is_sorted_by_task(run: Run) -> None:
    status, out, _ = run("--help")
    assert status == 0
    panels = re.findall(r"^╭─ (.+?) ─+╮$", out, re.MULTILINE)
    assert panels == [
        "Reconstruct", "Look at input and results", "Exchange files with other programs", "Try it out",
    ]  # fmt: skip
    assert "--install-completion" in out
    assert run("--version")[1].startswith("fourierrecon ")


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("fourierrecon re", {"reconstruct", "report"}),
        ("fourierrecon reconstruct --profile im", {"imod-ramp", "imod-sirtlike"}),
        ("fourierrecon reconstruct --ctf_mode p", {"phase-flip"}),
        ("fourierrecon reconstruct --halves t", {"tilts"}),
        ("fourierrecon reconstruct --weighting w", {"wiener"}),
        ("fourierrecon reconstruct --like r", {"relion"}),
    ],
)
def test_the_shell_completes(
    words: str, values: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_FOURIERRECON_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit) as ended:
        main(["fourierrecon"])
    assert ended.value.code == 0
    assert set(capsys.readouterr().out.split()) == values


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ("--o all", "2 tomograms of set/tomograms.star need a folder, and --o all is one file; give --o all/"),
        ("--o all.mrc --tn TS_*", "give --o all/, with a slash, for all of them, or --tn TS_01 for one"),
        ("--o all --tn TS_01 --halves tilts", "--halves: for sets, which need a folder: --o all/, with a slash"),
        ("--o all/ --angpix 12", "--angpix 12: set/tomograms.star holds the pixel size of its images"),
        ("--o a.mrc --tn TS_01 --angpix 12", "give --binned_angpix 12"),
        ("--o all/ --voltage 200", "names its images, pixel size and optics itself; leave --stack"),
        ("--o all/ --preview", "--preview: does nothing with --o all/: a set has thumbnails"),
    ],
)  # fmt: skip
def test_what_is_meant_for_a_set_is_answered(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, answer: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_small_set(tmp_path / "set", 2)
    status, out, err = run(f"reconstruct --t set/tomograms.star --noctf {options}")
    assert (status, out) == (2, "")
    assert answer in err
    assert not list(tmp_path.glob("all*"))


def test_facts_in_a_pipe_are_lines_without_spaces_at_their_ends(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_small_set(tmp_path / "set", 2)
    for options in ("", " --tn TS_02"):
        out = run(f"info set/tomograms.star{options}")[1]
        assert [line for line in out.splitlines() if line != line.rstrip()] == []
        assert "─" not in out
    assert len(run("info set/tomograms.star")[1].splitlines()) == 5  # head, two tomograms, frame, next
