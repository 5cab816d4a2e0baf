"""Several volumes from one reading of the images: halves and the whole, weightings, binnings.

Each image is loaded once and transformed once; what depends on binning and weighting begins with the crop in Fourier
space. Volumes of one binning and weighting that differ only in the tilts they take share the samples as well: each
inserts those of its tilts. So a half volume is what a reconstruction from those images alone gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine import slabs
from fourierrecon.engine.fft import forget_plans
from fourierrecon.engine.images import Sampler, sample_images
from fourierrecon.engine.plan import Plan
from fourierrecon.engine.planes import insert_planes
from fourierrecon.engine.settings import Settings
from fourierrecon.engine.signal_to_noise import estimate_snr
from fourierrecon.engine.storage import ALONE, Beside, PlaneStore, SampleStore, sample_bytes
from fourierrecon.engine.task import Task, prepare
from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.region import Region
from fourierrecon.runtime.memory import trim
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.volume import SlabWriter
from fourierrecon.weighting import SnrCurve, Weighting, Wiener


@dataclass(frozen=True, eq=False)
class VolumeOrder:
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
    open: Callable[[], AbstractContextManager[SlabWriter]]
    region: Region | None = None
    strategy: Weighting | None = None
    tilts: tuple[int, ...] | None = None
    beside: Beside = ALONE


@dataclass(eq=False)
class _Group:
    """Orders that share samples."""

    task: Task
    orders: list[VolumeOrder]


def reconstruct_many(orders: Sequence[VolumeOrder], settings: Settings) -> None:
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
        sample_images(samplers, threads, settings.progress)
        _tidy()
        for group, sampler in zip(groups, samplers, strict=True):
            for number, order in enumerate(group.orders):
                _finish(group.task, sampler, order, last=number + 1 == len(group.orders))


def _share(orders: Sequence[VolumeOrder], settings: Settings) -> list[_Group]:
    """Group the orders by what they can share; those that take some tilts come before those that take all."""
    grouped: dict[object, list[VolumeOrder]] = {}
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


def _plan_all(groups: list[list[VolumeOrder]], settings: Settings) -> list[Task]:
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


def _finish(task: Task, sampler: Sampler, order: VolumeOrder, *, last: bool) -> None:
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
        insert_planes(task, samples, planes, tilts)
        if last:
            samples.close()
        _tidy()
        with order.open() as write:
            slabs.finish_slabs(task, levels, planes, write)
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
