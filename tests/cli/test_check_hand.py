"""The command check-hand, and what reconstruct says of the CTF at each depth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fourierrecon.cli.app import main
from fourierrecon.io.relion.write import write_relion4_set
from tests.quality.test_defocus_hand import slab


def words_of(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_a_wrong_hand_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    series = slab(1, (400, 160, 40), 3000, (-60, -50, -40, 40, 50, 60), noise=1.0)
    for told, status in ((1, 0), (-1, 1)):
        source = write_relion4_set(tmp_path / f"{told}", replace(series, exposure=None), hand=told)
        assert main(["check-hand", "--t", str(source), "--j", "1"]) == status
        words = words_of(capsys)
        assert "the images show hand +1" in words
        assert ("--defocus_hand 1; or" in words) == (status == 1)


def test_what_was_taken_is_said_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    series = slab(-1, (200, 40, 40), 300, (-60, -30, 0, 30, 60), noise=1.0)
    source, volume = write_relion4_set(tmp_path, series, hand=-1), tmp_path / "v.mrc"
    for options, expected in (
        (("--bin", "1"), "at each depth: hand -1, as the source gives it; defocus that of the middle of the tomogram"),
        (("--bin", "1", "--defocus_hand", "1"), "at each depth: hand +1, as given"),
        (("--bin", "4"), "and 0.3 rad do not matter"),
        (("--bin", "1", "--ctf_depth", "off"), "off, as asked for"),
        (("--bin", "1", "--profile", "relion4"), "off, as asked for"),
        (("--bin", "1", "--ctf_mode", "phase-flip"), "this mode cannot follow the depth"),
    ):
        assert main(["reconstruct", "--t", str(source), "--o", str(volume), "--passport", "--SNR", "10", *options]) == 0
        assert expected in words_of(capsys)
        transfer = json.loads((tmp_path / "v.passport.json").read_text())["transfer"]
        assert expected in transfer["ctf_depth"]
        assert (transfer["by_depth"] is not None) == ("at each depth" in expected)
    assert main(["info", str(volume)]) == 0
    assert "this mode cannot follow the depth" in words_of(capsys)
