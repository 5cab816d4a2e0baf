"""Options that do nothing are refused, or named where RELION takes them; so are options that are given twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

from fourierrecon.cli.app import app
from fourierrecon.cli.needs import NEEDS, Need
from tests.helpers.small_sets import write_small_set

Run = Callable[..., tuple[int, str, str]]
COMMANDS: Mapping[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


#: Values that fit the options of the table; the others take a number.
VALUES = {
    "--i": "b.star", "--format": "zarr", "--from": "volume",
    **dict.fromkeys(("--defocus_hand", "--local_residual"), "1"),
    **dict.fromkeys(("--redo", "--only_do_unfinished", "--generate_split_tomograms", "--rotations_only"), ""),
    **dict.fromkeys(("--ctf_depth", "--preview"), ""),
}  # fmt: skip


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: f"{need.options[0]} {need.example.split()[0]}")
def test_an_option_that_does_nothing_is_named(
    tmp_path: Path, run: Run, need: Need, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for option in need.options:
        status, _, err = run(need.example.replace("*", f"{option} {VALUES.get(option, '3')}"))
        assert status == (1 if need.harmless else 2), err  # then the files are missed
        assert f"{option}: does nothing with" in err
        assert "leave it out" in err


def test_every_option_of_the_table_exists() -> None:
    for need in NEEDS:
        for option in need.options:
            assert any(option in each.opts for command in COMMANDS.values() for each in command.params), option


WITH_EFFECT = """
reconstruct --t {t} --o out/ --do_proj --thickness_proj 4 --bin 2
reconstruct --t {t} --o out/ --weighting sirtlike --weighting wiener --SNR 5 --bin 2
reconstruct --t {t} --o out.mrc --weighting preweight --SNR 5 --bin 2
reconstruct --t {t} --o out.mrc --profile eyes --SNR 5 --bin 2
reconstruct --t {t} --o out.mrc --defocus_hand -1 --profile eyes --bin 2
reconstruct --t {t} --o out.zarr --format zarr --bin 2
plan --t {t} --bin 2 --SNR 5
"""


@pytest.mark.parametrize("line", WITH_EFFECT.strip().splitlines())
def test_what_does_something_is_not_named(tmp_path: Path, run: Run, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, _, err = run(line.format(t="nowhere.star"))
    assert "nowhere.star" in err
    assert "does nothing" not in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--defocus_hand 1 --ctf_mode phase-flip", "with --ctf_mode phase-flip"),
        ("--defocus_hand 1 --ctf_depth off", "with --ctf_depth off"),
        ("--defocus_hand 1 --profile relion4", "with --profile relion4"),
        ("--SNR 5 --profile imod-sirtlike:20", "which takes none"),
        ("--SNR 5 --weighting wiener:snr=3", "has its own"),
        ("--exclude 3,,4 --bin 2", "--exclude 3,,4: '' is no number"),
        ("--exclude 3, --bin 2", "--exclude 3,: '' is no number"),
        ("--weighting ramp:cutoff=0.3,,sigma=0.1", "no parameter ''"),
        ("--weighting wiener:", "no parameter ''"),
        ("--lowpass 30 --bin 2", "--lowpass 30 does nothing: voxels of 20 Å hold nothing finer than 40 Å"),
        ("--local on", "has no local alignment of TS_01"),
        ("--profile eyes --profile warp", "--profile eyes and --profile warp: an option counts once"),
        ("--ctf --noctf", "--ctf and --noctf"),
        ("--d=16 --d 20", "--d 16 and --d 20"),
        ("--z-shift 1 --z_shift=-1", "--z_shift 1 and --z_shift -1"),
    ],
)
def test_refused(tmp_path: Path, run: Run, options: str, said: str) -> None:
    source = write_small_set(tmp_path / "set", 1)
    status, _, err = run(f"reconstruct --t {source} --tn TS_01 --o {tmp_path}/x.mrc {options}")
    assert status == 2
    assert said in err
    assert len(err.splitlines()) <= 2
    assert not (tmp_path / "x.mrc").exists()


def test_a_value_twice_is_the_same_as_once(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for options in ("--keep_mean --keep-mean --j 2 --j=2", "--bin 2 --bin 4"):  # sets take several binnings
        _, _, err = run(f"reconstruct --t nowhere.star --o out/ {options}")
        assert "nowhere.star" in err
        assert "counts once" not in err
