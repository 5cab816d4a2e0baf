"""What whole commands cost: reading, computing and writing, in processes of their own. See README.md in this folder.

The commands run in turn with an inverse real 3D FFT of the same region in this process, the unit of their CPU time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from speed import DUCC, PYFFTW, InverseFft, Size, clock, describe_machine, heading, white_noise_series

from fourierrecon.io import write_relion5_set
from fourierrecon.runtime.threads import available_cores

#: Options of the commands, by job.
RECONSTRUCTIONS: dict[str, tuple[str, ...]] = {
    "none": ("--noctf", "--no_weight"),
    "pre-weight": ("--noctf", "--pre_weight"),
    "Wiener with CTF": (),
}
#: What a user waits for without any work.
STARTS: dict[str, tuple[str, ...]] = {
    "python, nothing": ("-c", "pass"),
    "import fourierrecon": ("-c", "import fourierrecon"),
    "--help": ("-m", "fourierrecon", "--help"),
    "reconstruct --help": ("-m", "fourierrecon", "reconstruct", "--help"),
}
#: Starts a command and prints what it took. A process of its own, and a small one: the peak memory of a child begins
#: with what its parent held, and the resources of all children of one process add up.
WATCH = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
wall = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_CHILDREN)
peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps([wall, used.ru_utime + used.ru_stime, peak]))
if done.returncode:
    sys.exit(done.stderr)
"""
Cost = tuple[float, float, int]


def run_process(command: Sequence[str]) -> Cost:
    """Run Python with these arguments: wall and CPU seconds, and the largest resident memory, bytes."""
    watched = [sys.executable, "-c", WATCH, sys.executable, *command]
    wall, cpu, peak = json.loads(subprocess.run(watched, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return wall, cpu, peak


def run_all(folder: Path, size: Size, n_tilts: int, n_threads: int, n_runs: int) -> dict[str, list[Cost]]:
    """Run the FFT and all commands in turn, ``n_runs`` times and once before that does not count."""
    series = write_relion5_set(folder, white_noise_series(size, n_tilts))
    fft = InverseFft(size, n_threads)
    unit, transform = PYFFTW, fft.pyfftw
    if find_spec("ducc0") is not None:
        unit, transform = DUCC, fft.ducc0
    output = folder / "out" / "volume.mrc"
    fixed = ["-m", "fourierrecon", "reconstruct", "--t", str(series), "--o", str(output), "--bin", "1"]
    commands = {name: [*fixed, "--j", str(n_threads), *options] for name, options in RECONSTRUCTIONS.items()}
    commands |= {name: list(command) for name, command in STARTS.items()}
    costs: dict[str, list[Cost]] = {name: [] for name in (unit, *commands)}
    for turn in range(n_runs + 1):
        for name, runs in costs.items():
            if name == unit:
                fft.fill()
                cost = (*clock(transform), 0)
            else:
                output.unlink(missing_ok=True)
                cost = run_process(commands[name])
            label = f"run {turn} of {n_runs}" if turn else "warm-up"
            print(f"{label}: {name} {cost[0]:.2f} s", file=sys.stderr)
            if turn:
                runs.append(cost)
    return costs


def table(record: dict[str, Any]) -> str:
    """Lay the medians of a record out as a Markdown table."""
    size, costs = record["size"], record["costs"]
    volume = 4 * size[0] * size[1] * size[2]
    unit = next(iter(costs))
    cpu_of_unit = median(costs[unit]["cpu"])
    lines = [
        "| command | wall, s | CPU, s | CPU / CPU of the FFT | peak memory, GB | peak memory / volume |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in costs.items():
        wall, cpu, peak = (median(runs[key]) for key in ("wall", "cpu", "peak_bytes"))
        memory = f"{peak / 1e9:.2f}" if peak else "–"
        ratio = f"{cpu / cpu_of_unit:.2f}" if name not in STARTS else "–"
        share = f"{peak / volume:.2f}" if name in RECONSTRUCTIONS else "–"
        lines.append(f"| {name} | {wall:.2f} | {cpu:.2f} | {ratio} | {memory} | {share} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--size", nargs=3, type=int, default=(928, 960, 300), metavar=("W", "H", "D"))
    parser.add_argument("--tilts", type=int, default=41, help="number of images")
    parser.add_argument("--threads", type=int, default=min(2, available_cores()))
    parser.add_argument("--runs", type=int, default=3, help="that count, after one that does not")
    parser.add_argument("--folder", type=Path, help="where the files lie for the while; default: the system's choice")
    parser.add_argument("--json", type=Path, help="file for all single measurements", metavar="FILE")
    asked = parser.parse_args(arguments)
    size: Size = tuple(asked.size)
    if min(*size, asked.tilts, asked.threads, asked.runs) < 1:
        parser.error("sizes and numbers must be 1 or more")
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        costs = run_all(Path(folder), size, asked.tilts, asked.threads, asked.runs)
    record = {
        "date": date.today().isoformat(),
        "size": size,
        "tilts": asked.tilts,
        "threads": asked.threads,
        "runs": asked.runs,
        "machine": describe_machine(),
        "costs": {
            name: {key: [run[i] for run in runs] for i, key in enumerate(("wall", "cpu", "peak_bytes"))}
            for name, runs in costs.items()
        },
    }
    print(heading(record))
    print(table(record))
    if asked.json is not None:
        asked.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
