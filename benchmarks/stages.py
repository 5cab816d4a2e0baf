"""Where the time of `reconstruct()` goes, stage by stage, with AVX2 and with AVX-512. See README.md in this folder.

CPU seconds of one thread, the least of several runs. Each width of vectors has a process of its own, in which numba
compiles for such a processor; ducc0 is what its package is, whatever the width.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from speed import RECONSTRUCTIONS, InverseFft, Size, clock, describe_machine, white_noise_series

from fourierrecon import Region, reconstruct
from fourierrecon.runtime import threads

#: Processors that numba compiles for, by the name of the width.
WIDTHS = {"AVX2": "haswell", "AVX-512": "skylake-avx512"}
#: Functions whose time, with all that they call, is that of a stage: file and name, and the caller where that matters.
STAGES: dict[str, tuple[tuple[str, ...], ...]] = {
    "look at all images: intensities, normalised stacks": (("repair.py", "look", "reconstruct"),),
    "read images, find hot pixels": (("preprocess.py", "load_image"),),
    "subtract, continue and mask images, cut windows": (("images.py", "prepare"), ("preprocess.py", "cut_window")),
    "FFTs of images, with 2D filters": (("central_slices.py", "spectrum"),),
    "sample lines (6 taps)": (("central_slices.py", "sample_lines"),),
    "CTF at the samples": (("central_slices.py", "apply_transfer"),),
    "consistency near the tilt axis": (("density_correction.py", "correct"),),
    "spread samples (6 x 6 or 4 x 4 taps, with weights)": (("density_correction.py", "spread", "insert_plane"),),
    "weights apart, divide": (("grid_weights.py", "separate", "insert_plane"), ("wiener.py", "normalise")),
    "FFTs of planes": (("fft.py", "transform_rows"),),
    "transpose": (("transposing.py", "transpose", "insert_plane"),),
    "crop, deapodise, store": (("insertion.py", "_store"),),
    "last FFT": (("fft.py", "real_backward"),),
    "count of images, division, copy to the volume": (("slabs.py", "_voxels_of_slab"),),
    "look at the volume": (("contrast.py", "look"),),
}
TOTAL, FFT, REST = "all", "inverse FFT of the region, ducc0", "all else"


def one_after_another(n: int, work: Callable[[Any, int], None], *, state: Callable[[], Any], **_: Any) -> None:
    """Stand in for the threads: a profile sees only its own."""
    mine = state()
    for i in range(n):
        work(mine, i)


def seconds_in(profile: cProfile.Profile) -> dict[str, float]:
    """Add up the CPU seconds of each stage, with all else; those of the whole are measured without a profile."""
    found: Any = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    seconds = dict.fromkeys(STAGES, 0.0)
    for stage, functions in STAGES.items():
        for file, name, *caller in functions:
            for (path, _, function), (_, _, _, within, callers) in found.items():
                if Path(path).name == file and function == name:
                    whole = [times[3] for (_, _, who), times in callers.items() if not caller or who in caller]
                    seconds[stage] += sum(whole) if caller else within
    return seconds


def measure(size: Size, n_tilts: int, n_runs: int) -> dict[str, dict[str, float]]:
    """Measure in this process: seconds by job and stage."""
    series = white_noise_series(size, n_tilts)
    region, fft = Region.of(series), InverseFft(size, 1)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in RECONSTRUCTIONS}
    unit = []
    for turn in range(n_runs + 1):
        fft.fill()
        cost = clock(fft.ducc0)[1]
        unit += [cost] if turn else []
        for name, (weighting, ctf) in RECONSTRUCTIONS.items():

            def run(weighting: Any = weighting, ctf: bool = ctf) -> None:
                reconstruct(series, region, weighting, ctf=ctf, n_threads=1)

            whole = clock(run)[1]
            plain, profile = threads.for_each, cProfile.Profile(time.process_time)
            for module in [m for m in sys.modules.values() if getattr(m, "for_each", None) is plain]:
                module.for_each = one_after_another  # type: ignore[attr-defined]
            profile.runcall(run)
            for module in [m for m in sys.modules.values() if getattr(m, "for_each", None) is one_after_another]:
                module.for_each = plain  # type: ignore[attr-defined]
            if turn:
                runs[name].append({**seconds_in(profile), TOTAL: whole})
    least = {name: {stage: min(run[stage] for run in each) for stage in each[0]} for name, each in runs.items()}
    for stages in least.values():
        stages[REST] = stages[TOTAL] - sum(seconds for stage, seconds in stages.items() if stage != TOTAL)
        stages[FFT] = min(unit)
    return least


def table(record: dict[str, Any]) -> str:
    """Lay a record out as a Markdown table."""
    seconds: dict[str, dict[str, dict[str, float]]] = record["seconds"]
    columns = [(width, job) for width in seconds for job in seconds[width]]
    width, height, depth = record["size"]
    machine = ", ".join(f"{key} {value}" for key, value in record["machine"].items())
    lines = [
        f"CPU seconds of one thread, {record['tilts']} images of {width} x {height} px -> {width} x {height} x {depth} "
        f"voxels, the least of {record['runs']} runs, {record['date']}.\n{machine}.\n",
        f"| stage | {' | '.join(f'{job}, {width}' for width, job in columns)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for stage in (*STAGES, REST, TOTAL, FFT):
        values = [seconds[width][job][stage] for width, job in columns]
        shown = " | ".join("–" if value < 0.0005 and stage in STAGES else f"{value:.2f}" for value in values)
        lines.append(f"| {stage} | {shown} |")
    ratios = [seconds[width][job][TOTAL] / seconds[width][job][FFT] for width, job in columns]
    lines.append(f"| ratio of both | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--size", nargs=3, type=int, default=(928, 960, 300), metavar=("W", "H", "D"))
    parser.add_argument("--tilts", type=int, default=41, help="number of images")
    parser.add_argument("--runs", type=int, default=5, help="that count, after one that does not")
    parser.add_argument("--json", type=Path, help="file for the measurements", metavar="FILE")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    size: Size = tuple(asked.size)
    if asked.here:
        print(json.dumps(measure(size, asked.tilts, asked.runs)))
        return
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else "avx512f"
    rest = ["--size", *map(str, size), "--tilts", str(asked.tilts), "--runs", str(asked.runs), "--here"]
    seconds = {}
    for width, processor in WIDTHS.items():
        if width == "AVX-512" and "avx512f" not in flags:
            continue
        result = subprocess.run(
            [sys.executable, __file__, *rest],
            env={**os.environ, "NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""},
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        seconds[width] = json.loads(result.stdout)
    record = {
        "date": date.today().isoformat(), "size": list(size), "tilts": asked.tilts, "runs": asked.runs,
        "machine": describe_machine(), "seconds": seconds,
    }  # fmt: skip
    print(table(record))
    if asked.json is not None:
        asked.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
