"""Messages of the library name its arguments; the command line names its options in their place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

import fourierrecon
from fourierrecon.cli.app import app
from fourierrecon.cli.messages_table import OF_COMMANDS, OPTIONS, in_options


def options_of_commands() -> dict[str, set[str]]:
    """Give the options that each command has."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in commands.items()
    }


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("give stack=... and pixel_size=... (Å)", "give --stack and --angpix (Å)"),
        ("allow more (memory=...) or n_threads=...", "allow more (--memory) or --j"),
        ('use halves="tilts" or exposure="none"', "use --halves tilts or --exposure none"),
        ("pixel_size=-3 must be positive", "--angpix -3 must be positive"),
        ("leave them out (skip_bad_images=True), or ctf=False", "leave them out (--skip_bad_images), or --noctf"),
        ("size=... and mdoc=FILE", "--w --h --d and --mdoc FILE"),
        ("set (version=relion4), or leave it out", "set (--as relion4), or leave it out"),
        ("like=eman2: unknown; available: imod", "--like eman2: unknown; available: imod"),
        ('output="out/a b.mrc" is one of the files', "--o out/a b.mrc is one of the files"),
        ("give width=96 and height=90, or depth=...", "give --w 96 and --h 90, or --d"),
        ('width="auto"', "--w auto"),
        ("part='0/3' must be I/N", "--shard 0/3 must be I/N"),
        ("scheduler=tcp://a:1: no answer", "--scheduler tcp://a:1: no answer"),
    ],
)
def test_arguments_become_options(message: str, shown: str) -> None:
    assert in_options(message) == shown


@pytest.mark.parametrize(
    "message",
    [
        "other=...; x=1",
        "weighting wiener:snr=10",
        "Wiener(snr=10.0)",
        "a/size=3.mrc: empty",
        "size=3.mrc: empty",
        "a=b",
    ],
)
def test_other_words_stay(message: str) -> None:
    assert in_options(message) == message


def test_some_commands_name_an_argument_otherwise() -> None:
    assert in_options("give voxel_size=...", "convert") == "give --angpix"
    assert in_options("give voxel_size=...", "reconstruct") == "give --binned_angpix"


def test_every_argument_that_a_message_names_has_an_option() -> None:
    for module in Path(fourierrecon.__file__).parent.rglob("*.py"):
        if module.name != "messages_table.py":
            named = set(re.findall(r"\b(\w+)=\.\.\.", module.read_text(encoding="utf-8")))
            assert named <= set(OPTIONS), module.name


def test_nothing_below_the_command_line_names_an_option() -> None:
    ours = {option for options in options_of_commands().values() for option in options if option.startswith("--")}
    package = Path(fourierrecon.__file__).parent
    for module in package.rglob("*.py"):
        # the sample is fetched with pip, which has options of its own
        if package / "cli" not in module.parents and module.name != "sample_data.py":
            named = set(re.findall(r"--[\w-]+", module.read_text(encoding="utf-8")))
            assert not named & ours, module


def test_every_option_of_the_table_exists() -> None:
    ours = options_of_commands()
    assert {option for options in OPTIONS.values() for option in options.split()} <= set().union(*ours.values())
    for command, options in OF_COMMANDS.items():
        assert set(options.values()) <= ours[command]
