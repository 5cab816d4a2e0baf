"""Pages of the documentation are in step with the program: options, RELION's options, code that readers copy."""

from __future__ import annotations

import re
import runpy
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from fourierrecon import Region, Volume, __version__, read_volume, reconstruct, write_volume
from fourierrecon.cli.app import app
from fourierrecon.quality.wedge import wedge_correlation, wedge_mask
from fourierrecon.simulation.gaussians import Gaussians
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.simulation.simulate import simulate, write_simulation
from fourierrecon.tomogram.profiles import PROFILES
from fourierrecon.weighting import NoWeighting, Weighting, available, from_text
from fourierrecon.weighting.snr import snr_words

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "weighting.md"
#: Options of `relion_tomo_reconstruct_tomogram`: of 4.0.2, 5.0.1 and 5.1, of one of them, and of all programs.
RELION = [
    "i", "t", "tn", "o", "no_weight", "pre_weight", "Fc", "SNR", "keep_mean", "td", "tf", "x0", "y0", "z0", "w",
    "h", "d", "bin", "j", "theme", "noctf", "ctf", "skip_wiener", "binned_angpix", "generate_split_tomograms",
    "fourier", "lambda", "ctf_intact_first_peak", "only_do_unfinished", "tiltangle_offset", "bfactor_per_edose",
    "do_proj", "centre_proj", "thickness_proj", "list_themes", "version", "help", "skip_fourier_wiener",
]  # fmt: skip


def block(language: str, page: Path = PAGE) -> str:
    """Give the only code of a language on a page."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
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
    return type(from_text("softramp"))


def test_the_example_is_found_by_name(ramp: type[Weighting]) -> None:
    assert ramp.__module__ == "my_weightings"
    assert "softramp" in available()
    assert from_text("softramp:floor=0.02") == ramp(floor=0.02)  # type: ignore[call-arg]
    assert from_text("softramp") == ramp()


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


def test_the_page_of_options_is_that_of_the_command_line() -> None:
    written = runpy.run_path(str(DOCS / "options_page.py"))["page"]()
    assert (DOCS / "options.md").read_text(encoding="utf-8") == written, "run: python docs/options_page.py"


def test_commands_on_the_pages_have_these_options() -> None:
    command: Any = typer.main.get_command(app)
    pages = [DOCS.parent / "README.md", *DOCS.glob("*.md")]
    seen = 0
    for page in pages:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        blocks = "\n".join(re.findall(r"^ *```.*?^ *```", text, re.DOTALL | re.MULTILINE))
        lines = re.findall(r"^ *fourierrecon ([a-z][^\n#]*)", blocks, re.MULTILINE)
        for line in [*lines, *re.findall(r"`fourierrecon ([a-z][^`\n]*)`", text)]:
            name, *words = line.split()
            assert name in command.commands, f"{page.name}: {line}"
            ours = {o for p in command.commands[name].params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
            used = {word.partition("=")[0] for word in words if re.match("--?[a-zA-Z]", word)}
            assert used <= ours, f"{page.name}: {line}"
            seen += 1
    assert seen > 60


def test_every_option_of_relion_has_its_row_and_ours_exist() -> None:
    page = (DOCS / "relion.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `--")]
    listed = [option for cells in rows for option in re.findall(r"`--([a-zA-Z0-9_]+)", cells[0])]
    assert sorted(set(RELION) - set(listed)) == []
    command: Any = typer.main.get_command(app)
    ours = {name for p in command.commands["reconstruct"].params for name in (*p.opts, *p.secondary_opts)}
    ours |= {"--version", "--help"}
    for cells in rows:
        exists = {f"--{option}" in ours for option in re.findall(r"`--([a-zA-Z0-9_]+)", cells[0])}
        if len(cells) == 6:  # the tables of options, not that of whole command lines
            assert exists == {not cells[5].startswith("**not ")}, cells[0]


def test_what_to_cite_is_this_version() -> None:
    assert f"\nversion: {__version__}\n" in (DOCS.parent / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version = {{{__version__}}}" in (DOCS / "cite.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "docs/large.md", "docs/api.md"])
def test_code_on_the_pages_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specimen = Gaussians(np.array([[20.0, 18, 9]]), np.asarray(2.0), np.asarray(1.0))
    series = simulate(specimen, (40, 36, 18), tilt_angles=(-40, 0, 40), ctf=realistic_ctf(3, seed=0), snr=None)
    write_simulation(tmp_path, series)
    monkeypatch.chdir(tmp_path)
    exec(compile(block("python", DOCS.parent / page), page, "exec"), {})
    assert (tmp_path / "TS_01.mrc").stat().st_size > 1024


def test_code_on_the_page_of_profiles_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specimen = Gaussians(np.array([[20.0, 18, 9]]), np.asarray(2.0), np.asarray(1.0))
    tilts = tuple(range(-40, 41, 20))
    made = simulate(specimen, (40, 36, 18), tilt_angles=tilts, ctf=realistic_ctf(5, seed=0), snr=None)
    write_simulation(tmp_path, made)
    monkeypatch.chdir(tmp_path)
    density = made.truth.density(Region((8.0, 6.0, 0.0), (18, 24, 24))).astype(np.float32)
    write_volume("template.mrc", Volume(density, 8.0, (0, 0, 0)))
    write_volume("TS_01_transfer.mrc", Volume(np.full((96, 96, 96), 0.5, np.float32), 8.0, (0, 0, 0)))
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / "profiles.md").read_text(encoding="utf-8"), re.DOTALL | re.M)
    assert len(blocks) == 2
    for code in blocks:
        exec(code, {})
    assert (tmp_path / "TS_01.mrc").stat().st_size > 1024
    seen, template = read_volume("template_seen.mrc").data, read_volume("template.mrc").data
    np.testing.assert_allclose(seen[39:57, 36:60, 36:60], template / 2, atol=1e-5)


def test_the_weighting_on_the_page_of_plug_ins_divides(tmp_path: Path) -> None:
    (tmp_path / "gentle.py").write_text(block("python", DOCS / "plugins.md"), encoding="utf-8")
    gentle = runpy.run_path(str(tmp_path / "gentle.py"))["Gentle"]
    data = np.full((2, 3), 4, np.complex64)
    gentle(floor=0.0).normalise(data, np.full((2, 3), 4, np.float32))
    np.testing.assert_allclose(data, 2)


def test_the_readme_is_one_page_and_its_files_exist() -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 120
    targets = re.findall(r"\]\(([^)#]+)", readme)
    assert len(targets) > 10
    assert [target for target in targets if not (DOCS.parent / target).is_file()] == []


def test_files_that_the_pages_name_exist() -> None:
    root = DOCS.parent
    pages = [root / "README.md", root / "benchmarks" / "README.md", *DOCS.glob("*.md")]
    named = {
        name
        for page in pages
        for name in re.findall(
            r"`((?:fourierrecon|engine|weighting|tests|benchmarks)/[a-z0-9_/]+(?:\.py|/))`",
            page.read_text(encoding="utf-8"),
        )
    }
    assert len(named) > 15
    assert sorted(name for name in named if not any((at / name).exists() for at in (root, root / "fourierrecon"))) == []


def test_the_drawings_of_the_rooms_are_the_contract_of_ci() -> None:
    root = DOCS.parent
    contracts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    floors = [set(layer.split(" : ")) for layer in layers]
    drawing = (root / "README.md").read_text(encoding="utf-8").split("```text\n")[1].split("```")[0]
    rows = [line[:46].replace(".py", "").split() for line in drawing.splitlines() if "↓" not in line]
    assert [set(row) for row in rows] == floors
    line = " ".join((DOCS / "house.md").read_text(encoding="utf-8").split("```text\n")[1].split("```")[0].split())
    assert [set(floor.replace(".py", "").split(", ")) for floor in line.split(" -> ")] == floors


def test_the_page_of_profiles_lists_what_is_done() -> None:
    rows = re.findall(
        r"^\| `(\S+?)(?::N)?` \|(.*)\|$", (DOCS / "profiles.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    rows = [(name, rest) for name, rest in rows if name != "--profile"]
    assert [name for name, _ in rows] == list(PROFILES)
    for name, rest in rows:
        profile = PROFILES[name]
        weighting, snr, ctf_mode, exposure, tilt_weight = (cell.strip() for cell in rest.split("|"))
        assert weighting.removesuffix(",n_iterations=N") == profile.weighting
        if name != "imod-sirtlike":
            measured = "SNR measured"
            assert snr == ("auto" if snr_words(profile.snr) == measured else f"{profile.snr:g}")
        for cell, value in ((ctf_mode, profile.ctf_mode), (exposure, profile.exposure)):
            assert cell == (value or "–")
        assert tilt_weight == (profile.tilt_weight or "–")
