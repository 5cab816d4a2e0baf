"""The iterations themselves: conjugate gradients, SIRT, and least squares with total variation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine.settings import Settings
from fourierrecon.errors import DataError
from fourierrecon.geometry.region import Region
from fourierrecon.operators.least_squares import LeastSquares
from fourierrecon.operators.preconditioner import Preconditioner
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.weighting import Cg, Iterative, Sirt, Tv

Voxels = NDArray[np.float32]
#: Steps of gradients below this part of the standard deviation count as smooth.
SMOOTH = 0.5


def iterate(
    series: TiltSeries, region: Region, weighting: Iterative, settings: Settings, start: Callable[[], Voxels]
) -> Voxels:
    """Reconstruct by an iteration: the volume ``(z, y, x)``.

    Parameters
    ----------
    series, region, settings
        As for :func:`fourierrecon.reconstruct`.
    weighting
        The iteration, its SNR known.
    start
        Gives the Wiener volume.

    Raises
    ------
    UsageError, DataError
        As :class:`~fourierrecon.operators.least_squares.LeastSquares`; also if the iteration does not stay finite.
    """
    problem = LeastSquares(series, region, weighting, settings)
    volume = start() if weighting.warm else np.zeros(region.shape, np.float32)
    limits = _Limits(weighting, region, series.pixel_size)
    problem.sections(lambda z: limits.keep(volume[z], z))
    solve = {Cg: _conjugate_gradients, Sirt: _sirt, Tv: _total_variation}[type(weighting)]
    solve(problem, volume, weighting, limits)  # type: ignore[operator]
    if not np.isfinite(float(volume.sum())):
        raise DataError(
            f"{series.source or series.name}: {weighting.name} ends with values that are not finite; look for absurd "
            f"grey values in the images, or give another weighting (weighting=...)"
        )
    return volume


class _Limits:
    """What a volume must keep to, section by section."""

    def __init__(self, weighting: Iterative, region: Region, pixel_size: float) -> None:
        depth = region.shape[0]
        self.positive = weighting.positive
        half = np.inf if weighting.slab is None else weighting.slab / (2 * pixel_size * region.binning)
        self.inside = np.abs(np.arange(depth) - (depth - 1) / 2) <= max(half, 0.5)

    def keep(self, section: Voxels, z: int) -> None:
        """Make a section of a volume keep to the limits, in place."""
        if not self.inside[z]:
            section[...] = 0
        elif self.positive:
            np.minimum(section, 0, out=section)


def _report(problem: LeastSquares, weighting: Iterative, done: int) -> None:
    if problem.settings.progress is not None:
        problem.settings.progress(weighting.name, done, int(weighting.iterations))


def _square(array: NDArray[np.float32]) -> float:
    """Sum of squares; sums of sections in double precision."""
    return float(sum(float(np.vdot(part, part)) for part in array))


def _conjugate_gradients(problem: LeastSquares, volume: Voxels, weighting: Cg, limits: _Limits) -> None:
    """Preconditioned conjugate gradients for least squares (CGLS), in place.

    With a bound each step is cut and begins anew. Then steps go along plain gradients: cut, others need not descend.
    """
    penalty = problem.penalty
    residual = problem.data - problem.forward(volume)
    direction = np.zeros_like(volume)
    before = 0.0
    _report(problem, weighting, 0)
    if weighting.stop and _square(residual) <= problem.noise:
        _report(problem, weighting, int(weighting.iterations))
        return
    filtered = None if limits.positive else Preconditioner(problem)
    for done in range(1, int(weighting.iterations) + 1):
        gradient = problem.adjoint(residual)

        def descend(z: int, gradient: Voxels = gradient) -> None:
            gradient[z] -= np.float32(penalty) * volume[z]
            if not limits.inside[z]:
                gradient[z] = 0

        problem.sections(descend)
        square = _square(gradient) if filtered is None else filtered.apply(gradient)
        if square <= 0:
            break
        share = np.float32(square / before if before > 0 else 0)

        def turn(z: int, gradient: Voxels = gradient, share: np.float32 = share) -> None:
            direction[z] *= share
            if limits.inside[z]:
                direction[z] += gradient[z]

        problem.sections(turn)
        del gradient, descend, turn  # its memory is that of the next projection
        drawn = problem.forward(direction)
        length = square / (_square(drawn) + penalty * _square(direction))
        enough = weighting.stop and _enough(problem.noise, residual, drawn, length)
        part = np.float32(enough or length)

        def step(z: int, part: np.float32 = part) -> None:
            volume[z] += part * direction[z]
            limits.keep(volume[z], z)

        problem.sections(step)
        if limits.positive:
            residual, before = problem.data - problem.forward(volume), 0.0
        else:
            residual -= part * drawn
            before = square
        _report(problem, weighting, done)
        if enough or (weighting.stop and _square(residual) <= problem.noise):
            break
    _report(problem, weighting, int(weighting.iterations))


def _enough(noise: float, residual: NDArray[np.float32], drawn: NDArray[np.float32], length: float) -> float:
    """Give the part of a step after which the residual is as small as the noise; 0 where all of it is needed."""
    square, along = _square(drawn), sum(float(np.vdot(a, b)) for a, b in zip(drawn, residual, strict=True))
    left = along**2 - square * (_square(residual) - noise)
    step = float(along - np.sqrt(left)) / square if left > 0 else length
    return step if 0 < step < length else 0.0


def _pull(problem: LeastSquares, volume: Voxels) -> Voxels:
    """One step of SIRT: ``(1/n) sum A_f* S* S (y_f - A_f v) / L_f``."""
    residual = problem.data - problem.forward(volume) if volume.any() else problem.data.copy()
    residual /= (problem.lengths * problem.n_tilts * problem.region.binning**2).astype(np.float32)[:, None, None]
    return problem.adjoint(residual)


def _sirt(problem: LeastSquares, volume: Voxels, weighting: Sirt, limits: _Limits) -> None:
    """Repeat steps of SIRT, in place."""
    _report(problem, weighting, 0)
    for done in range(1, int(weighting.iterations) + 1):
        pull = _pull(problem, volume)

        def step(z: int, pull: Voxels = pull) -> None:
            volume[z] += pull[z]
            limits.keep(volume[z], z)

        problem.sections(step)
        del pull, step
        _report(problem, weighting, done)


def _total_variation(problem: LeastSquares, volume: Voxels, weighting: Tv, limits: _Limits) -> None:
    """Accelerated steps down the gradient of data and variation, in place (Nesterov 1983)."""
    from fourierrecon.operators.variation import add_gradient

    sigma = float(np.sqrt(_square(volume) / volume.size))
    if sigma == 0:
        return
    smooth, weight = np.float32(SMOOTH * sigma), np.float32(-weighting.strength * sigma)
    # the curvature of the data term is 1 at the most, that of the variation 12 / smooth
    rate = np.float32(1 / (1 + 12 * weighting.strength / SMOOTH))
    ahead, momentum = volume.copy(), 1.0
    _report(problem, weighting, 0)
    for done in range(1, int(weighting.iterations) + 1):
        pull = _pull(problem, ahead)
        problem.sections(lambda z, pull=pull: add_gradient(ahead, z, smooth, weight, pull[z]))  # type: ignore[misc]
        after = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        carry, momentum = np.float32((momentum - 1) / after), after

        def step(z: int, pull: Voxels = pull, carry: np.float32 = carry) -> None:
            new = ahead[z] + rate * pull[z]
            limits.keep(new, z)
            ahead[z] = new + carry * (new - volume[z])
            volume[z] = new

        problem.sections(step)
        del pull, step
        _report(problem, weighting, done)
