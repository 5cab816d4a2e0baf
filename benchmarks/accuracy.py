"""Error of the plain volume against the explicit sum that it stands for, in float64. See README.md in this folder."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourierrecon import Region, TiltSeries, reconstruct
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.simulation.gaussians import Gaussians, mean_over_images
from fourierrecon.weighting import NoWeighting

IMAGE_SHAPE = (250, 236)  # height, width
SHAPE = (40, 121, 130)  # z, y, x: every image sees all of it
N_TILTS = 41
GEOMETRIES = {
    "axis near x, shifts": {"axis": 85.3, "x_tilt": 0.0, "magnification": 0.0},
    "axis near y, x-tilt 5°": {"axis": -4.2, "x_tilt": 5.0, "magnification": 0.0},
    "axis at 40°, magnification ±1%": {"axis": 40.0, "x_tilt": 1.0, "magnification": 0.01},
}

Float = NDArray[np.float64]


def matrices_of(geometry: dict[str, float], rng: np.random.Generator) -> Float:
    """Projection matrices with jitter from image to image, ``(N_TILTS, 4, 4)``."""
    return projection_matrices(
        IMAGE_SHAPE,
        (60.0, 60.0, 20.0),
        np.linspace(-60, 60, N_TILTS),
        geometry["axis"] + rng.normal(0, 0.3, N_TILTS),
        geometry["x_tilt"] + rng.normal(0, 0.2, N_TILTS),
        rng.normal(0, 3, (N_TILTS, 2)),
        1 + geometry["magnification"] * rng.uniform(-1, 1, N_TILTS),
    )


def noise_images(rng: np.random.Generator) -> NDArray[np.float32]:
    """White noise up to 0.44 cycles per pixel, which dies away towards the borders of the images."""

    def window(n: int) -> Float:
        t = np.clip((np.minimum(np.arange(n), np.arange(n)[::-1]) - 16) / 24, 0, 1)
        return np.asarray(0.5 - 0.5 * np.cos(np.pi * t))

    height, width = IMAGE_SHAPE
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    t = np.clip((np.hypot(fy, fx) - 0.34) / 0.10, 0, 1)
    low_pass = 1 - t**3 * (10 - 15 * t + 6 * t * t)
    images = rng.standard_normal((N_TILTS, height, width)) * window(height)[:, None] * window(width)
    return np.fft.irfft2(np.fft.rfft2(images) * low_pass, s=(height, width)).astype(np.float32)


def explicit_mean(images: NDArray[np.float32], matrices: Float, points: Float) -> Float:
    """Evaluate all images where the points fall, as trigonometric sums in float64, and average."""
    height, width = IMAGE_SHAPE
    fy, fx = np.fft.fftfreq(height), np.fft.fftfreq(width)
    total = np.zeros(len(points))
    for image, matrix in zip(images, matrices, strict=True):
        u, v = matrix[:2, :3] @ points.T + matrix[:2, 3:]
        spectrum = np.fft.fft2(image.astype(float))
        along = np.exp(2j * np.pi * np.outer(v, fy)) @ spectrum
        total += (along * np.exp(2j * np.pi * np.outer(u, fx))).sum(1).real / image.size
    return total / len(images)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--points", type=int, default=2000, help="random voxels to compare, a fifth of them on faces")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for all errors", metavar="FILE")
    asked = parser.parse_args(arguments)
    started = time.perf_counter()
    found: list[dict[str, Any]] = []
    for name, geometry in GEOMETRIES.items():
        rng = np.random.default_rng(asked.seed)
        matrices = matrices_of(geometry, rng)
        region = Region((-4.3, 0.6, 0.2), SHAPE, 1.0)
        voxels = np.stack([rng.integers(0, n, asked.points) for n in SHAPE], 1)  # z, y, x
        on_face = np.arange(0, asked.points, 5)
        axis = rng.integers(0, 3, len(on_face))
        voxels[on_face, axis] = np.where(rng.random(len(on_face)) < 0.5, 0, np.asarray(SHAPE)[axis] - 1)
        points = voxels[:, ::-1] + np.asarray(region.origin)

        noise = noise_images(rng)
        low, high = np.asarray(region.origin), np.asarray(region.origin) + np.asarray(SHAPE[::-1])
        blobs = Gaussians(rng.uniform(low, high, (300, 3)), np.asarray(2.5), rng.normal(size=300))
        projections = blobs.project(matrices, IMAGE_SHAPE)
        cases = {
            "noise": (noise, explicit_mean(noise, matrices, points)),
            "Gaussians": (projections, mean_over_images(blobs, matrices, points)),
        }
        for precision in ("default", "high"):
            errors = []
            for images, expected in cases.values():
                volume = reconstruct(
                    TiltSeries(images, matrices, 10.0),
                    region,
                    NoWeighting(),
                    ctf=False,
                    keep_mean=True,
                    precision=precision,
                    n_threads=asked.threads,
                )
                values = volume.data[tuple(voxels.T)]
                errors.append(float(np.linalg.norm(values - expected) / np.linalg.norm(expected)))
            found.append({"geometry": name, "precision": precision, "noise": errors[0], "Gaussians": errors[1]})
    record = {"date": date.today().isoformat(), "points": asked.points, "shape": SHAPE, "errors": found}
    print(table(record))
    print(f"\n{time.perf_counter() - started:.0f} s")
    if asked.json is not None:
        asked.json.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def table(record: dict[str, Any]) -> str:
    """Lay the errors of a record out in Markdown."""
    depth, height, width = record["shape"]
    lines = [
        f"{record['points']} voxels of {width} x {height} x {depth}, {record['date']}.",
        "",
        "| geometry | precision | white noise | Gaussians |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['geometry']} | {row['precision']} | {row['noise']:.1e} | {row['Gaussians']:.1e} |"
        for row in record["errors"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
