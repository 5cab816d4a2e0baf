"""What half volumes and more binnings cost beside one volume, and what a set takes in memory. See README.md.

Each job is a process of its own, in turn; CPU seconds are those of the whole command.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

from process import run_process
from speed import white_noise_series

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
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=3, default=(1856, 1920, 600), metavar=("W", "H", "D"))
    parser.add_argument("--tilts", type=int, default=41)
    parser.add_argument("--bin", type=float, nargs="+", default=[4.0, 8.0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="for 1 GB of files; default: that of temporary files")
    options = parser.parse_args()
    width, height, depth = options.size
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        series = white_noise_series((width, height, depth), options.tilts)
        found: list[tuple[TiltSeries, dict[str, ImageStack]]] = [(series, {})]
        path, _ = write_set(folder / "set", found, "relion5")
        print(f"{options.tilts} images of {width} x {height} px, median of {options.runs} runs.\n")
        print("| binning | job | wall, s | CPU, s | CPU / CPU of one | peak memory, GB |\n|---|---|---|---|---|---|")
        for binning in options.bin:
            measure(folder, path, binning, options.runs)


def measure(folder: Path, path: Path, binning: float, n_runs: int) -> None:
    """Run all jobs in turn, once more than counts, and print their rows."""
    costs: dict[str, list[tuple[float, float, int]]] = {name: [] for name in JOBS}
    for turn in range(n_runs + 1):
        for name, words in JOBS.items():
            given = [{"B": f"{binning:g}", "2B": f"{2 * binning:g}"}.get(word, word) for word in words]
            output = f"{folder / 'out'}/"
            command = ["-m", "fourierrecon", "reconstruct", "--t", str(path), "--o", output, "--no_resume", *given]
            cost = run_process(command)
            print(f"turn {turn}: {name} {cost[0]:.1f} s", file=sys.stderr)
            costs[name] += [cost] * (turn > 0)
    one = median(cost[1] for cost in costs["one"])
    for name, runs in costs.items():
        wall, cpu, peak = (median(values) for values in zip(*runs, strict=True))
        print(f"| {binning:g} | {name} | {wall:.1f} | {cpu:.1f} | {cpu / one:.2f} | {peak / 1e9:.2f} |")


if __name__ == "__main__":
    main()
