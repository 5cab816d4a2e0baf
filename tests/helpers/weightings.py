"""All weightings, what they see, and small series to try them on."""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from fourierrecon import CtfParameters, Region, TiltSeries
from fourierrecon.geometry.projection import projection_matrices
from fourierrecon.weighting import (
    TiltViews,
    Weighting,
    available,
    from_text,
)

SNRS = (1e-3, 1.0, 10.0, 1e4, math.inf)


def parameters(name: str) -> set[str]:
    strategy = from_text(name)
    return {f.name for f in dataclasses.fields(strategy)} if dataclasses.is_dataclass(strategy) else set()


def sweep() -> list[Weighting]:
    """Every registered strategy with its defaults, and over its signal-to-noise ratios and thicknesses."""
    strategies = []
    for name in available():
        if from_text(name).iterative:  # few steps: laws hold after any number
            strategies.append(from_text(f"{name}:iterations=2"))
            continue
        strategies.append(from_text(name))
        if "snr" in parameters(name):
            strategies += [from_text(f"{name}:snr={snr}") for snr in SNRS if snr != 10]
        if "thickness" in parameters(name):
            strategies += [from_text(f"{name}:thickness={t}") for t in (1.0, 60.0, 1e5)]
    return strategies


every = pytest.mark.parametrize("strategy", sweep(), ids=repr)
by_name = pytest.mark.parametrize("name", available())
#: One of each; steps of iterations cost time.
NAMES = [f"{name}:iterations=2" if from_text(name).iterative else name for name in available()]
one_of_each = pytest.mark.parametrize("name", NAMES)

BLOCKS = st.tuples(
    st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 11), st.sampled_from([1e-6, 1e-2, 1.0, 41.0])
)


def block(spec: tuple[int, int, int, float]) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """Gridded data and weights as they occur: no data where no image passes by, weights of any size elsewhere."""
    seed, rows, columns, largest = spec
    rng = np.random.default_rng(seed)
    weights = (largest * rng.random((rows, columns)) ** 4).astype(np.float32)
    weights[rng.random((rows, columns)) < 0.3] = 0
    data = rng.standard_normal((rows, columns)) + 1j * rng.standard_normal((rows, columns))
    return (data * np.sqrt(weights)).astype(np.complex64), weights


FX = np.linspace(0, 0.5, 17, dtype=np.float32)[None, :]
FY = np.linspace(-0.5, 0.5, 23, dtype=np.float32)[:, None]
SHAPE = (33, 36)


def optics(n: int, defocus: float = 12000.0, **more: Any) -> CtfParameters:
    return CtfParameters.of(
        n, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.07, defocus_u=defocus, **more
    )


def views(n: int = 7, depth: float = 24.0, ctf: bool = True) -> TiltViews:
    matrices = projection_matrices(SHAPE, (18.0, 16, 12), np.linspace(-60, 60, n), 4.0)
    return TiltViews(matrices[:, :2, :3], depth, 6.0, optics(n) if ctf else None)


SERIES: dict[str, tuple[tuple[float, ...], tuple[int, int, int]]] = {
    "as usual": (tuple(np.linspace(-60, 60, 7)), (12, 30, 33)),
    "one tilt": ((0.0,), (12, 30, 33)),
    "one steep tilt": ((70.0,), (12, 30, 33)),
    "one slice": (tuple(np.linspace(-60, 60, 7)), (1, 30, 33)),
    "thick": ((-50.0, 0, 50), (70, 30, 33)),
    "to 90 degrees": ((-90.0, -45, 0, 45, 90), (12, 30, 33)),
    "equal tilts": ((0.0, 0, 30, 30), (12, 30, 33)),
}


@cache
def small(name: str, axis: float = 4.0) -> tuple[TiltSeries, Region]:
    tilts, shape = SERIES[name]
    depth, height, width = shape
    matrices = projection_matrices(SHAPE, (width // 2, height // 2, depth // 2), tilts, axis)
    images = np.random.default_rng(2).standard_normal((len(tilts), *SHAPE)).astype(np.float32)
    return TiltSeries(images, matrices, 6.0, ctf=optics(len(tilts))), Region((0, 0, 0), shape)
