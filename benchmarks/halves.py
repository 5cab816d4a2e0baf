"""What half volumes and more binnings cost beside one volume, and what a set takes in memory. See README.md.

Each job is a process of its own, in turn; CPU seconds are those of the whole command.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from process import run_process
from speed import describe_machine, white_noise_series

from fourierrecon import TiltSeries
from fourierrecon.io.relion.import_set import write_set
from fourierrecon.tilt_series import ImageStack

#: Options of the jobs; B is the binning, 2B twice that.
JOBS = {
    "one": ["--bin", "B"],
    "one and its halves": ["--bin", "B", "--halves", "tilts"],
    "one and its halves, at two binnings": ["--bin", "B", "--bin", "2B", "--halves", "tilts"],
    "three weightings": ["--bin", "B", "--weighting", "wiener", "--weighting", "preweight", "--weighting", "none"],
}


def main() -> None:
    """Measure, and print a table; all single measurements go to a file if one is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=3, default=(1856, 1920, 600), metavar=("W", "H", "D"))
    parser.add_argument("--tilts", type=int, default=41)
    parser.add_argument("--bin", type=float, nargs="+", default=[4.0, 8.0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="for 1 GB of files; default: that of temporary files")
    parser.add_argument("--json", type=Path, help="file for all single measurements", metavar="FILE")
    options = parser.parse_args()
    width, height, depth = options.size
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        series = white_noise_series((width, height, depth), options.tilts)
        found: list[tuple[TiltSeries, dict[str, ImageStack]]] = [(series, {})]
        path, _ = write_set(folder / "set", found, "relion5")
        record = {
            "date": date.today().isoformat(),
            "tilts": options.tilts,
            "size": options.size,
            "runs": options.runs,
            "machine": describe_machine(),
            "costs": [row for binning in options.bin for row in measure(folder, path, binning, options.runs)],
        }
    print(table(record))
    if options.json is not None:
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def measure(folder: Path, path: Path, binning: float, n_runs: int) -> list[dict[str, Any]]:
    """Run all jobs in turn, once more than counts: what every run of each took."""
    costs: dict[str, list[tuple[float, float, int]]] = {name: [] for name in JOBS}
    for turn in range(n_runs + 1):
        for name, words in JOBS.items():
            given = [{"B": f"{binning:g}", "2B": f"{2 * binning:g}"}.get(word, word) for word in words]
            output = f"{folder / 'out'}/"
            command = ["-m", "fourierrecon", "reconstruct", "--t", str(path), "--o", output, "--no_resume", *given]
            cost = run_process(command)
            print(f"turn {turn}: {name} {cost[0]:.1f} s", file=sys.stderr)
            costs[name] += [cost] * (turn > 0)
    kinds = ("wall", "cpu", "peak_bytes")
    return [
        {"binning": binning, "job": name, **{kind: [run[i] for run in runs] for i, kind in enumerate(kinds)}}
        for name, runs in costs.items()
    ]


def table(record: dict[str, Any]) -> str:
    """Lay the medians of a record out in Markdown; ``one``, the first job of a binning, is the unit of CPU time."""
    width, height, _ = record["size"]
    lines = [
        f"{record['tilts']} images of {width} x {height} px, median of {record['runs']} runs, {record['date']}.",
        "",
        "| binning | job | wall, s | CPU, s | CPU / CPU of one | peak memory, GB |",
        "|---|---|---|---|---|---|",
    ]
    units = {row["binning"]: median(row["cpu"]) for row in record["costs"] if row["job"] == "one"}
    for row in record["costs"]:
        wall, cpu, peak = median(row["wall"]), median(row["cpu"]), median(row["peak_bytes"])
        share = cpu / units[row["binning"]]
        lines.append(f"| {row['binning']:g} | {row['job']} | {wall:.1f} | {cpu:.1f} | {share:.2f} | {peak / 1e9:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
