"""Time and memory of `reconstruct()` against one inverse real 3D FFT of the same region.

All jobs run in one process, in turn, so that each meets the same machine. See README.md in this folder.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyfftw

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.runtime.threads import available_cores
from fourierrecon.simulation.microscope import realistic_ctf
from fourierrecon.weighting import NoWeighting, PreWeight, Weighting, Wiener

try:
    import ducc0.fft as ducc_fft
except ImportError:  # the extra `fast` is not installed
    ducc_fft = None

Size = tuple[int, int, int]

#: Weighting, and whether the CTF is corrected. The SNR is given: measuring it is no part of a reconstruction's speed.
RECONSTRUCTIONS: dict[str, tuple[Weighting, bool]] = {
    "none": (NoWeighting(), False),
    "pre-weight": (PreWeight(snr=10.0), False),
    "Wiener with CTF": (Wiener(snr=10.0), True),
}
PYFFTW, DUCC = "inverse FFT, pyfftw", "inverse FFT, ducc0"
PIXEL_SIZE = 10.0
#: Numbers of images that `--scaling` compares; the ratio is to the first.
SCALING_TILTS = (41, 61, 121)
#: Packages whose versions the tables name.
PACKAGES = ("fourierrecon", "numpy", "numba", "pyfftw", "ducc0")


def white_noise_series(size: Size, n_tilts: int, seed: int = 0) -> TiltSeries:
    """Make a tilt series of white noise, -60 to 60 degrees, with an alignment as real ones have it.

    Parameters
    ----------
    size
        ``(width, height, depth)`` of the region; the images are ``width`` x ``height`` px.
    n_tilts
        Number of images.
    seed
        Of noise, tilt axes and shifts.
    """
    width, height, depth = size
    rng = np.random.default_rng(seed)
    centre = (float(width // 2), float(height // 2), float(depth // 2))
    matrices = projection_matrices(
        (height, width),
        centre,
        np.linspace(-60, 60, n_tilts),
        85.3 + rng.normal(0, 0.3, n_tilts),
        shifts=rng.normal(0, 8, (n_tilts, 2)) / np.sqrt(2),
    )
    return TiltSeries(
        rng.standard_normal((n_tilts, height, width), np.float32),
        matrices,
        PIXEL_SIZE,
        ctf=realistic_ctf(n_tilts, seed),
        size=(float(width), float(height), float(depth)),
        rotation_centre=centre,
    )


class InverseFft:
    """One inverse real 3D FFT of a region, float32, not normalised, on arrays that are kept.

    Parameters
    ----------
    size
        ``(width, height, depth)``.
    n_threads
        Of the transform.
    """

    def __init__(self, size: Size, n_threads: int) -> None:
        width, height, depth = size
        self.n_threads = n_threads
        self.width = width
        self.spectrum = pyfftw.empty_aligned((depth, height, width // 2 + 1), np.complex64)
        self.volume = pyfftw.empty_aligned((depth, height, width), np.float32)
        self.plan: Any = pyfftw.FFTW(
            self.spectrum,
            self.volume,
            axes=(0, 1, 2),
            direction="FFTW_BACKWARD",
            flags=("FFTW_ESTIMATE",),
            threads=n_threads,
        )
        self.volume[...] = 0

    def fill(self) -> None:
        """Put a spectrum in; pyfftw's transform destroys it, and numbers must not grow from run to run."""
        rng = np.random.default_rng(0)
        section = rng.standard_normal((*self.spectrum.shape[1:], 2), np.float32).view(np.complex64)[..., 0]
        for z, factor in enumerate(rng.standard_normal(len(self.spectrum), np.float32)):
            np.multiply(section, factor, out=self.spectrum[z])

    def pyfftw(self) -> None:
        self.plan.execute()

    def ducc0(self) -> None:
        ducc_fft.c2r(
            self.spectrum,
            axes=(0, 1, 2),
            lastsize=self.width,
            forward=False,
            out=self.volume,
            nthreads=self.n_threads,
        )


def time_jobs(size: Size, n_tilts: int, n_threads: int, n_runs: int) -> dict[str, list[tuple[float, float]]]:
    """Run all jobs in turn, ``n_runs`` times and once before that does not count: ``(wall, CPU)`` seconds each."""
    series = white_noise_series(size, n_tilts)
    region = Region.of(series)
    assert region.shape == size[::-1]
    fft = InverseFft(size, n_threads)

    def reconstruction(name: str) -> Callable[[], None]:
        weighting, ctf = RECONSTRUCTIONS[name]

        def run() -> None:
            reconstruct(series, region, weighting, ctf=ctf, n_threads=n_threads)

        return run

    jobs = {PYFFTW: fft.pyfftw}
    if ducc_fft is not None:
        jobs[DUCC] = fft.ducc0
    jobs |= {name: reconstruction(name) for name in RECONSTRUCTIONS}

    def before(name: str) -> None:
        if name in (PYFFTW, DUCC):
            fft.fill()

    return take_turns(jobs, n_runs, before)


def time_scaling(size: Size, n_threads: int, n_runs: int) -> dict[tuple[str, int, int], list[tuple[float, float]]]:
    """Run all reconstructions in turn with several numbers of images and of threads: seconds by job and numbers."""
    series = {n: white_noise_series(size, n) for n in SCALING_TILTS}

    def reconstruction(name: str, n_tilts: int, n: int) -> Callable[[], None]:
        weighting, ctf = RECONSTRUCTIONS[name]

        def run() -> None:
            reconstruct(series[n_tilts], Region.of(series[n_tilts]), weighting, ctf=ctf, n_threads=n)

        return run

    keys = [(name, tilts, n) for name in RECONSTRUCTIONS for tilts in SCALING_TILTS for n in sorted({1, n_threads})]
    labels = {f"{name}, {tilts} images, {n} threads": (name, tilts, n) for name, tilts, n in keys}
    times = take_turns({label: reconstruction(*key) for label, key in labels.items()}, n_runs, lambda _: None)
    return {labels[label]: runs for label, runs in times.items()}


def clock(job: Callable[[], None]) -> tuple[float, float]:
    """Time one run: wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    job()
    return time.perf_counter() - wall, time.process_time() - cpu


def take_turns(
    jobs: dict[str, Callable[[], None]], n_runs: int, before: Callable[[str], None]
) -> dict[str, list[tuple[float, float]]]:
    """Run all jobs in turn, ``n_runs`` times and once before that does not count: ``(wall, CPU)`` seconds each.

    Parameters
    ----------
    jobs
        By name.
    n_runs
        That count.
    before
        Called with the name of each job before it is timed.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for turn in range(n_runs + 1):
        for name, job in jobs.items():
            before(name)
            wall, cpu = clock(job)
            label = f"run {turn} of {n_runs}" if turn else "warm-up"
            print(f"{label}: {name} {wall:.2f} s", file=sys.stderr)
            if turn:
                times[name].append((wall, cpu))
    return times


def peak_memory() -> int:
    """Give the largest resident memory that this process has had, bytes."""
    try:
        # getrusage's value would count what the parent process held when it started this one
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def measure_memory(name: str, size: Size, n_tilts: int, n_threads: int) -> dict[str, int]:
    """Run one reconstruction in a process of its own: its peak, and what it held before (images, libraries), bytes."""
    command = [sys.executable, __file__, "--memory-of", name, "--tilts", str(n_tilts), "--threads", str(n_threads)]
    command += ["--size", *map(str, size)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    measured: dict[str, int] = json.loads(result.stdout)
    return measured


def report_memory(name: str, size: Size, n_tilts: int, n_threads: int) -> None:
    """Be that process."""
    series = white_noise_series(size, n_tilts)
    weighting, ctf = RECONSTRUCTIONS[name]
    before = peak_memory()
    volume = reconstruct(series, Region.of(series), weighting, ctf=ctf, n_threads=n_threads)
    print(json.dumps({"peak": peak_memory(), "before": before, "volume": volume.data.nbytes}))


def describe_machine(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Name the processor and the versions of all that is measured."""

    def of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    versions = {name: of(name) for name in packages}
    return {"processor": processor, "python": platform.python_version(), **versions}


def heading(record: dict[str, Any]) -> str:
    """Give the lines above a table: what was measured, when, and with which versions."""
    width, height, depth = record["size"]
    machine = ", ".join(f"{key} {value}" for key, value in record["machine"].items())
    return (
        f"{record['tilts']} images of {width} x {height} px -> {width} x {height} x {depth} voxels, "
        f"{record['threads']} threads, median of {record['runs']} runs, {record['date']}.\n{machine}.\n"
    )


def table(record: dict[str, Any]) -> str:
    """Lay the times of a record out as a Markdown table: medians, and the least.

    Other work on the machine and fresh memory only ever add time, so the least is nearest to what a job needs.
    """
    times, memory = record["seconds"], record["memory_bytes"]
    wall = {name: median(runs["wall"]) for name, runs in times.items()}
    least = {name: min(runs["wall"]) for name, runs in times.items()}
    cpu = {name: median(runs["cpu"]) for name, runs in times.items()}
    lines = [
        "| job | wall, s | least, s | CPU, s | wall / pyfftw | wall / ducc0 | least / ducc0 | peak memory / volume |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in times:
        to_ducc, least_to_ducc = (f"{t[name] / t[DUCC]:.2f}" if DUCC in t else "–" for t in (wall, least))
        used = f"{memory[name]['peak'] / memory[name]['volume']:.2f}" if name in memory else "–"
        seconds = f"{wall[name]:.2f} | {least[name]:.2f} | {cpu[name]:.2f}"
        to_pyfftw = f"{wall[name] / wall[PYFFTW]:.2f}"
        lines.append(f"| {name} | {seconds} | {to_pyfftw} | {to_ducc} | {least_to_ducc} | {used} |")
    return "\n".join(lines)


def scaling_table(record: dict[str, Any]) -> str:
    """Lay the medians of the wall time out: how they grow with the images, and shrink with the threads."""
    n_threads = record["threads"]
    wall = {(run["job"], run["tilts"], run["threads"]): median(run["wall"]) for run in record["scaling"]}
    first = SCALING_TILTS[0]
    lines = [
        f"| job | images | wall, 1 thread, s | wall, {n_threads} threads, s | wall / {first} images "
        f"| gain of {n_threads} threads |",
        "|---|---|---|---|---|---|",
    ]
    for name in RECONSTRUCTIONS:
        for tilts in SCALING_TILTS:
            one, many = wall[name, tilts, 1], wall[name, tilts, n_threads]
            ratio = many / wall[name, first, n_threads]
            lines.append(f"| {name} | {tilts} | {one:.2f} | {many:.2f} | {ratio:.2f} | {one / many:.2f} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--size", nargs=3, type=int, default=(928, 960, 300), metavar=("W", "H", "D"))
    parser.add_argument("--tilts", type=int, default=41, help="number of images")
    parser.add_argument("--threads", type=int, default=min(2, available_cores()))
    parser.add_argument("--runs", type=int, default=5, help="that count, after one that does not")
    parser.add_argument(
        "--scaling", action="store_true", help="a second table: 41, 61 and 121 images, 1 thread and --threads"
    )
    parser.add_argument("--json", type=Path, help="file for all single measurements", metavar="FILE")
    parser.add_argument("--memory-of", choices=list(RECONSTRUCTIONS), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    size: Size = tuple(asked.size)
    if min(*size, asked.tilts, asked.threads, asked.runs) < 1:
        parser.error("sizes and numbers must be 1 or more")
    if asked.memory_of is not None:
        report_memory(asked.memory_of, size, asked.tilts, asked.threads)
        return
    memory = {}
    for name in RECONSTRUCTIONS:
        # a small run first: what compiling the loops takes is not the reconstruction's
        measure_memory(name, (64, 64, 32), 3, asked.threads)
        memory[name] = measure_memory(name, size, asked.tilts, asked.threads)
        print(f"memory: {name} {memory[name]['peak'] / 1e9:.2f} GB", file=sys.stderr)
    times = time_jobs(size, asked.tilts, asked.threads, asked.runs)
    scaling = time_scaling(size, asked.threads, asked.runs) if asked.scaling else {}
    record = {
        "date": date.today().isoformat(),
        "size": size,
        "tilts": asked.tilts,
        "threads": asked.threads,
        "runs": asked.runs,
        "machine": describe_machine(),
        "memory_bytes": memory,
        "seconds": {name: {"wall": [w for w, _ in runs], "cpu": [c for _, c in runs]} for name, runs in times.items()},
        "scaling": [
            {"job": name, "tilts": tilts, "threads": n, "wall": [w for w, _ in runs], "cpu": [c for _, c in runs]}
            for (name, tilts, n), runs in scaling.items()
        ],
    }
    print(heading(record))
    print(table(record))
    if scaling:
        print(f"\n{scaling_table(record)}")
    if asked.json is not None:
        asked.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
