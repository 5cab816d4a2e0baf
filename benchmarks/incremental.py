"""What the last image of a tilt series costs where those before it are kept, beside all images. See README.md.

Each run makes the tomogram of all images but the last, and then, in the same process, that of all: with what was kept
of the first, and without. CPU seconds are those of the second.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
from speed import white_noise_series

from fourierrecon import Settings
from fourierrecon.io.relion.import_set import write_set
from fourierrecon.sets.incremental import folder_of
from fourierrecon.sets.one import process
from fourierrecon.sets.recipe import Recipe
from fourierrecon.weighting import read_weighting

#: What is made, by name: with what was kept, and with which weighting.
JOBS = {
    "all images": (False, "wiener"),
    "kept samples": (True, "wiener"),
    "all images, `--SNR 10`": (False, "wiener:snr=10"),
    "kept samples, `--SNR 10`": (True, "wiener:snr=10"),
}
STAGES = ("images", "planes", "slabs and file", "all")


def main() -> None:
    """Measure, and print a table; it goes to a file if one is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=3, default=(1856, 1920, 600), metavar=("W", "H", "D"))
    parser.add_argument("--tilts", type=int, default=41)
    parser.add_argument("--bin", type=float, nargs="+", default=[4.0, 8.0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="for 2 GB of files; default: that of temporary files")
    parser.add_argument("--json", type=Path, help="file for the table", metavar="FILE")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        series = white_noise_series(tuple(options.size), options.tilts)
        order = [int(i) for i in np.argsort(np.abs(series.tilt_angles), kind="stable")]
        counts = 40 * np.cos(np.radians(series.tilt_angles))[order, None, None].astype(np.float32)
        images = counts + np.sqrt(counts) * np.asarray(series.images)[order]
        series = replace(series.select(order), images=images, name="TS_01")
        write_set(folder / "before", [(series.select(range(options.tilts - 1)), {})], "relion5")
        write_set(folder / "after", [(series, {})], "relion5")
        for binning in options.bin:
            rows += measure(folder, binning, options.runs)
    record = {
        "how": f"`--size {' '.join(map(str, options.size))}`, the last of {options.tilts} images, least CPU seconds of "
        f"{options.runs} runs",
        "date": date.today().isoformat(),
        "columns": ["binning", "from", *STAGES, "kept on disk, GB"],
        "rows": rows,
    }
    print("\n".join(" | ".join(map(str, row)) for row in (record["columns"], *rows)))
    if options.json is not None:
        options.json.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def measure(folder: Path, binning: float, n_runs: int) -> list[list[object]]:
    """Run both ways in turn, once more than counts; give the rows of the table."""
    costs: dict[str, list[list[float]]] = {name: [] for name in JOBS}
    kept = dict.fromkeys(JOBS, "–")
    for turn in range(n_runs + 1):
        for number, (name, (incremental, weighting)) in enumerate(JOBS.items()):
            out = folder / f"out{binning:g}_{turn}_{number}"
            recipe = Recipe(
                source=folder / "set", folder=out, binnings=(binning,), weightings=(read_weighting(weighting),),
                redo=("inputs",), incremental=incremental,
            )  # fmt: skip
            shutil.rmtree(folder / "set", ignore_errors=True)
            shutil.copytree(folder / "before", folder / "set")
            take_tables(folder / "set", folder / "before")
            one(recipe)
            grow(folder / "set", folder / "after")
            cost = one(recipe)
            costs[name] += [cost] * (turn > 0)
            if incremental:
                kept[name] = f"{sum(path.stat().st_size for path in folder_of(recipe, 'TS_01').iterdir()) / 1e9:.2f}"
            shutil.rmtree(out)
    return [
        [f"{binning:g}", name, *(f"{seconds:.2f}" for seconds in np.min(runs, axis=0)), kept[name]]
        for name, runs in costs.items()
    ]


def take_tables(folder: Path, other: Path) -> None:
    """Let a set have the tables of another one."""
    for path in other.rglob("*.star"):
        text = path.read_text().replace(f"{other}/", f"{folder}/")
        (folder / path.relative_to(other)).write_text(text)


def grow(folder: Path, after: Path) -> None:
    """Add the last image to the stack of a set, as programs do during collection, and replace its tables."""
    take_tables(folder, after)
    (stack,) = folder.rglob("*.mrcs")
    with stack.open("r+b") as mine, (after / stack.relative_to(folder)).open("rb") as grown:
        mine.write(grown.read(1024))
        mine.seek(0, 2)
        grown.seek(mine.tell())
        mine.write(grown.read())


def one(recipe: Recipe) -> list[float]:
    """Make the tomogram; give the CPU seconds until its images, planes and sections are done, and those of all."""
    ends: dict[str, float] = {}
    begin = time.process_time()

    def progress(stage: str, done: int, total: int) -> None:
        if done == total:
            ends[stage] = time.process_time() - begin

    source = recipe.source / "tomograms.star"
    outcome = process(replace(recipe, source=source, settings=Settings(n_threads=2)), "TS_01", progress)
    if outcome.error or outcome.status != "done":
        raise SystemExit(f"no tomogram: {outcome}")
    whole = time.process_time() - begin
    return [ends["images"], ends["planes"] - ends["images"], whole - ends["planes"], whole]


if __name__ == "__main__":
    main()
