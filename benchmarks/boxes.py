"""Boxes a second: `extract` at many points of one tilt series, in each layout, files included.

Layouts run in turn in one process, so that each meets the same machine. See README.md in this folder.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from speed import describe_machine, white_noise_series

from fourierrecon import Settings
from fourierrecon.particles import BoxMaker, Extraction
from fourierrecon.particles.extraction import LAYOUTS
from fourierrecon.particles.files import files_of, write_particle
from fourierrecon.runtime.memory import Workspace
from fourierrecon.runtime.threads import available_cores, for_each


def main() -> None:
    """Measure, print the table, and write all single measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", nargs=2, type=int, default=[928, 960], help="of the images, px", metavar=("W", "H"))
    parser.add_argument("--tilts", type=int, default=41)
    parser.add_argument("--box", type=int, default=96)
    parser.add_argument("--boxes", type=int, default=16, help="in each run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="for the files; default: that of temporary files")
    parser.add_argument("--json", type=Path, help="file for all single measurements", metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        record = measure(options, Path(folder))
    print(table(record))
    if options.json is not None:
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run all layouts in turn, once more than counts: what every run of each took."""
    width, height = options.size
    series = white_noise_series((width, height, 300), options.tilts)
    middle = np.array([width / 2, height / 2, 150])
    points = middle + np.random.default_rng(1).uniform(-40, 40, (options.boxes, 3))
    started = time.perf_counter(), time.process_time()
    BoxMaker(series=series, box=options.box, settings=Settings(n_threads=options.threads))
    reading = time.perf_counter() - started[0], time.process_time() - started[1]
    jobs = [(layout, window) for window in (2 * options.box, options.box) for layout in LAYOUTS]
    costs: dict[tuple[str, int], list[tuple[float, float]]] = {job: [] for job in jobs}
    makers = {
        window: BoxMaker(series=series, box=options.box, window=window, settings=Settings(n_threads=options.threads))
        for _, window in jobs
    }
    for turn in range(options.runs + 1):
        for layout, window in jobs:
            wanted = Extraction(
                source=folder, picks=folder, folder=folder, box=options.box, window=window, layout=layout
            )
            maker = makers[window]
            assert all(maker.visible(point).all() for point in points)

            def one(workspace: Workspace, i: int, *, wanted: Extraction = wanted, maker: BoxMaker = maker) -> None:
                write_particle(wanted, maker, points[i], files_of(wanted, folder, "TS_01", i + 1, 10.0), workspace)

            before = time.perf_counter(), time.process_time()
            for_each(len(points), one, state=Workspace, n_threads=options.threads)
            cost = time.perf_counter() - before[0], time.process_time() - before[1]
            print(f"turn {turn}: {layout}, window {window}: {cost[0]:.1f} s", file=sys.stderr)
            costs[layout, window] += [cost] * (turn > 0)
    return {
        "date": date.today().isoformat(),
        "tilts": options.tilts,
        "size": [width, height],
        "box": options.box,
        "boxes": options.boxes,
        "runs": options.runs,
        "threads": options.threads,
        "cores": available_cores(),
        "machine": describe_machine(),
        "reading": {"wall": reading[0], "cpu": reading[1]},
        "costs": [
            {"layout": layout, "window": window, "wall": [run[0] for run in runs], "cpu": [run[1] for run in runs]}
            for (layout, window), runs in costs.items()
        ],
    }


def table(record: dict[str, Any]) -> str:
    """Lay a record out in Markdown; of the runs the least counts, as others may use the machine."""
    width, height = record["size"]
    n, threads = record["boxes"], record["threads"]
    lines = [
        f"{record['tilts']} images of {width} x {height} px, boxes of {record['box']}³ voxels, {n} in a run, {threads} "
        f"threads, least of {record['runs']} runs, {record['date']}. Reading and binning the images took "
        f"{record['reading']['cpu']:.1f} s of CPU time, once.",
        "",
        f"| `--kind` | `--window` | CPU, ms a box | boxes a second, wall | boxes a second of {threads} free cores |",
        "|---|---|---|---|---|",
    ]
    for row in record["costs"]:
        wall, cpu = min(row["wall"]), min(row["cpu"])
        lines.append(
            f"| {row['layout']} | {row['window']} | {1000 * cpu / n:.0f} | {n / wall:.0f} | {threads * n / cpu:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
