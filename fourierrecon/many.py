"""Several volumes from one reading of the images: halves and the whole, weightings, binnings.

Each image is loaded once and transformed once; what depends on binning and weighting begins with the crop in Fourier
space. Volumes of one binning and weighting that differ only in the tilts they take share the samples as well: each
inserts those of its tilts. So a half volume is what a reconstruction from those images alone gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourierrecon import parallel, stages
from fourierrecon.bad_images import list_images, without_ctf
from fourierrecon.errors import DataError, UsageError
from fourierrecon.fourier import forget_plans
from fourierrecon.geometry import Region
from fourierrecon.memory import trim
from fourierrecon.parallel import Progress
from fourierrecon.plan import PRECISIONS, Plan, mask_of
from fourierrecon.signal_to_noise import estimate_snr, with_snr
from fourierrecon.stages import Sampler, Task, Write
from fourierrecon.storage import ALONE, Beside, PlaneStore, SampleStore, choose_storage, sample_bytes
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.transfer import Correction
from fourierrecon.weighting import SnrCurve, Weighting, Wiener


@dataclass(frozen=True)
class Settings:
    """How to reconstruct, whatever it is: see :func:`fourierrecon.reconstruction.reconstruct`.

    ``binnings`` are all that there may be volumes of, whether they are asked for at once or later: a volume does not
    depend on which others are made along with it.
    """

    ctf: bool = True
    n_threads: int | None = None
    keep_mean: bool = False
    taper_distance: float = 0.0
    taper_falloff: float = 0.0
    precision: str = "default"
    memory: int | None = None
    scratch: Path | None = None
    progress: Progress | None = None
    binnings: tuple[float, ...] = ()
    ctf_mode: str | None = None
    exposure: str | None = None
    tilt_weight: str | None = None

    @cached_property
    def correction(self) -> Correction:
        """What is done about all that acts on the signal in the images.

        Raises
        ------
        UsageError
            If a name is unknown, or two contradict each other.
        """
        return Correction.of(self.ctf, self.ctf_mode, self.exposure, self.tilt_weight)


@dataclass(frozen=True, eq=False)
class Order:
    """One volume that is wanted.

    Parameters
    ----------
    series
        Its tilt series; those of several orders may differ in their images only.
    open
        Called when the volume is about to come; what it opens gives ``write(z, slab)``, see
        :func:`fourierrecon.reconstruction.reconstruct_to`.
    region
        Its voxels; default: all, unbinned.
    strategy
        Its weighting; default: :class:`~fourierrecon.weighting.Wiener`, its SNR measured from the series.
    tilts
        0-based numbers of the images to take; None: all.
    beside
        What its writer takes of the memory: ``slabs`` and ``end`` of it.
    """

    series: TiltSeries
    open: Callable[[], AbstractContextManager[Write]]
    region: Region | None = None
    strategy: Weighting | None = None
    tilts: tuple[int, ...] | None = None
    beside: Beside = ALONE


@dataclass(eq=False)
class _Group:
    """Orders that share samples."""

    task: Task
    orders: list[Order]


def reconstruct_many(orders: Sequence[Order], settings: Settings) -> None:
    """Reconstruct several volumes of one tilt series; each is written as soon as it is done.

    Parameters
    ----------
    orders
        What is wanted.
    settings
        How.

    Raises
    ------
    UsageError, DataError
        As :func:`fourierrecon.reconstruction.reconstruct_to`. Volumes that are written by then stay.
    """
    groups = _share(orders, settings)
    threads = groups[0].task.n_threads
    with ExitStack() as stack:
        stores = []
        for group in groups:
            s, task = group.task.plan.slices, group.task
            store = SampleStore(s, task.plan.weighted, task.storage, task.scratch, threads)
            stores.append(stack.enter_context(closing(store)))
        samplers = [Sampler(group.task, store) for group, store in zip(groups, stores, strict=True)]
        stages.sample_images(samplers, threads, settings.progress)
        _tidy()
        for group, sampler in zip(groups, samplers, strict=True):
            for number, order in enumerate(group.orders):
                _finish(group.task, sampler, order, last=number + 1 == len(group.orders))


def prepare(
    series: TiltSeries,
    region: Region | None,
    weighting: Weighting | None,
    settings: Settings,
    *,
    whole: bool = False,
    beside: Beside = ALONE,
    samples_on_disk: bool = False,
) -> Task:
    """Check what is asked for, and plan.

    Parameters
    ----------
    series, region, weighting, settings
        As for :class:`Order`.
    whole
        The volume is wanted in memory.
    beside
        What else is in memory meanwhile.
    samples_on_disk
        Samples must not stay in memory.

    Raises
    ------
    UsageError, DataError
        As :func:`fourierrecon.reconstruction.reconstruct`.
    """
    region = Region.of(series) if region is None else region
    strategy: Weighting = Wiener() if weighting is None else weighting
    strategy = with_snr(
        strategy, series, region.binning, correction=settings.correction, n_threads=settings.n_threads
    )  # fmt: skip
    threads = parallel.available_cores() if settings.n_threads is None else settings.n_threads
    if threads < 1:
        raise UsageError(f"number of threads {threads} must be 1 or more")
    if settings.precision not in PRECISIONS:
        raise UsageError(f"unknown precision {settings.precision!r}; available: {', '.join(PRECISIONS)}")
    bad = without_ctf(series) if settings.correction.ctf_mode != "none" else {}
    if bad:
        raise DataError(
            f"{series.source or series.name}: {list_images(series, sorted(bad))} cannot be corrected, "
            f"{next(iter(bad.values()))}; correct it, leave such images out (--skip_bad_images), or switch the CTF off "
            f"(--noctf, ctf=False)"
        )
    mask = mask_of(series.image_shape, region.binning, settings.taper_distance, settings.taper_falloff)
    plan = Plan.of(series, region, strategy, mask, settings.correction, settings.precision, settings.binnings)
    storage = choose_storage(
        plan, threads, settings.memory, whole=whole, beside=beside, samples_on_disk=samples_on_disk
    )
    return Task(
        series, region, strategy, plan, mask, settings.keep_mean, storage, settings.scratch, threads, settings.progress
    )


def _share(orders: Sequence[Order], settings: Settings) -> list[_Group]:
    """Group the orders by what they can share; those that take some tilts come before those that take all."""
    grouped: dict[object, list[Order]] = {}
    measured: dict[tuple[int, float], SnrCurve] = {}
    for order in orders:
        strategy: Weighting = Wiener() if order.strategy is None else order.strategy
        binning = 1.0 if order.region is None else order.region.binning
        strategy = strategy.resolved(partial(_measured, measured, order.series, binning, settings))
        order = replace(order, strategy=strategy)
        if order.tilts is not None and strategy.has_filter:
            # the filter of an image depends on which others there are
            order = replace(order, series=order.series.select(order.tilts), tilts=None)
        grouped.setdefault((id(order.series), order.region, strategy), []).append(order)
    tasks = _plan_all(list(grouped.values()), settings)
    return [
        _Group(task, sorted(found, key=lambda order: order.tilts is None))
        for task, found in zip(tasks, grouped.values(), strict=True)
    ]


def _plan_all(groups: list[list[Order]], settings: Settings) -> list[Task]:
    """Plan all groups so that they fit into the memory together: their samples are there while planes of one are."""
    firsts = [group[0] for group in groups]
    several = sum(map(len, groups)) > 1
    writers = [
        Beside(
            always=max(o.beside.always for o in group) if several else 0,
            slabs=max(o.beside.slabs for o in group),
            end=max(o.beside.end for o in group),
        )
        for group in groups
    ]

    def plan(beside: list[Beside], on_disk: bool, how: Settings = settings) -> list[Task]:
        return [
            prepare(order.series, order.region, order.strategy, how, beside=each, samples_on_disk=on_disk)
            for order, each in zip(firsts, beside, strict=True)
        ]

    if len(firsts) == 1:
        return plan(writers, False)
    # to know what they take
    tasks = plan(writers, False, replace(settings, memory=1 << 62))
    threads, plans = tasks[0].n_threads, [task.plan for task in tasks]
    try:
        return plan([_with_others(own, i, plans, threads, False) for i, own in enumerate(writers)], False)
    except DataError:
        return plan([_with_others(own, i, plans, threads, True) for i, own in enumerate(writers)], True)


def _with_others(own: Beside, number: int, plans: list[Plan], n_threads: int, on_disk: bool) -> Beside:
    """Add what the other groups take: their samples, or buffers for them, and images on grids of their own."""
    others = [plan for i, plan in enumerate(plans) if i != number]
    grids = {plan.sampling: plan.image_bytes for plan in others if plan.sampling != plans[number].sampling}
    images = n_threads * sum(grids.values())
    samples = sum(sample_bytes(plan) // (len(plan.used) if on_disk else 1) for plan in others)
    return replace(
        own, images=images + n_threads * samples if on_disk else images, always=own.always + (0 if on_disk else samples)
    )


def _measured(
    known: dict[tuple[int, float], SnrCurve], series: TiltSeries, binning: float, settings: Settings
) -> SnrCurve:
    """Give the SNR of a series; it is measured once for all orders."""
    name = id(series), binning
    if name not in known:
        known[name] = estimate_snr(series, binning, correction=settings.correction, n_threads=settings.n_threads)
    return known[name]


def _finish(task: Task, sampler: Sampler, order: Order, *, last: bool) -> None:
    """Insert the samples of the order's tilts, and write its volume."""
    samples, levels = sampler.store, sampler.levels
    tilts: NDArray[np.int64] | None = None
    if order.tilts is not None:
        tilts = np.flatnonzero(np.isin(task.plan.used, order.tilts))
        if len(tilts) == 0:
            raise UsageError("none of the chosen images sees the region")
        task = replace(task, plan=_part(task.plan, tilts))
        levels = levels[tilts] if len(levels) else levels
    planes = PlaneStore(task.plan.slices, task.storage, task.scratch, task.n_threads)
    with closing(planes):
        stages.insert_planes(task, samples, planes, tilts)
        if last:
            samples.close()
        _tidy()
        with order.open() as write:
            stages.finish_slabs(task, levels, planes, write)
            # to complete the file may take as much
            planes.close()
            _tidy()


def _tidy() -> None:
    """Give back what a stage that is over still holds."""
    forget_plans()
    trim()


def _part(plan: Plan, tilts: NDArray[np.int64]) -> Plan:
    """Give the plan for some of its tilts; filters were applied before."""
    s = plan.slices
    return replace(
        plan,
        slices=replace(s, matrices=s.matrices[tilts], offsets=s.offsets[tilts]),
        used=plan.used[tilts],
        windows=plan.windows[tilts],
        along=plan.along[tilts],
        borders=plan.borders[tilts],
    )
