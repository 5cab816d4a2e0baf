"""Several volumes from one reading of the images: what halves, weightings and binnings can share.

Each image is loaded once and transformed once; what depends on binning and weighting begins with the crop in Fourier
space. Volumes of one binning and weighting that differ only in the tilts they take share the samples as well: each
inserts the samples of its own tilts. So a half volume is what a reconstruction from those images alone gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fourierrecon.engine.fft import forget_plans
from fourierrecon.engine.plan import Plan
from fourierrecon.engine.settings import Settings
from fourierrecon.engine.signal_to_noise import estimate_snr
from fourierrecon.engine.storage import ALONE, Beside, sample_bytes
from fourierrecon.engine.task import Task, in_tiles, prepare
from fourierrecon.engine.windows import NothingSeen
from fourierrecon.errors import DataError
from fourierrecon.geometry.region import Region
from fourierrecon.runtime.memory import trim
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.transfer import Transfer
from fourierrecon.volume import SlabWriter
from fourierrecon.weighting import SnrCurve, Weighting, read_weighting


@dataclass(frozen=True, eq=False, kw_only=True)
class VolumeOrder:
    """One volume that is wanted.

    Parameters
    ----------
    series
        Tilt series; the series of several orders may differ in their images only.
    open
        Called when the volume is about to come; the context gives ``write(z, slab)``, see
        :func:`fourierrecon.reconstruction.reconstruct_to`.
    region
        Voxels to reconstruct; default: all, unbinned.
    weighting
        Weighting; default: :class:`~fourierrecon.weighting.Wiener`, its SNR measured from the series.
    tilts
        0-based numbers of the images to take; None: all.
    beside
        Memory that the writer takes: ``slabs`` and ``end`` count.
    ctf_depth
        In place of that of the settings: what was chosen for all tilts holds for some of them, too.
    """

    series: TiltSeries
    open: Callable[[], AbstractContextManager[SlabWriter]]
    region: Region | None = None
    weighting: Weighting | None = None
    tilts: tuple[int, ...] | None = None
    beside: Beside = ALONE
    ctf_depth: str | None = None


@dataclass(eq=False)
class Group:
    """Orders that share samples, and the task that makes them."""

    task: Task
    orders: list[VolumeOrder]


def share(orders: Sequence[VolumeOrder], settings: Settings) -> list[Group]:
    """Group the orders by what they can share; those that take some tilts come before those that take all."""
    grouped: dict[object, list[VolumeOrder]] = {}
    measured: dict[tuple[int, float], SnrCurve] = {}
    for order in orders:
        weighting = read_weighting(order.weighting)
        binning = 1.0 if order.region is None else order.region.binning
        weighting = weighting.resolved(partial(_measured, measured, order.series, binning, settings))
        order = replace(order, weighting=weighting, ctf_depth=_depth_of(order, weighting, settings))
        if order.tilts is not None and weighting.has_filter:
            # the filter of an image depends on which others there are
            order = replace(order, series=order.series.select(order.tilts), tilts=None)
        grouped.setdefault((id(order.series), order.region, weighting, order.ctf_depth), []).append(order)
    tasks = _plan_all(list(grouped.values()), settings)
    return [
        Group(task, sorted(found, key=lambda order: order.tilts is None))
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
            prepare(
                order.series,
                order.region,
                order.weighting,
                replace(how, ctf_depth=order.ctf_depth),
                beside=each,
                samples_on_disk=on_disk,
            )
            for order, each in zip(firsts, beside, strict=True)
        ]

    if len(firsts) <= 1 or in_tiles(firsts[0].series, settings):
        return plan(writers, False)
    # plan without a limit first, to learn how much memory each group takes
    tasks = plan(writers, False, replace(settings, memory=1 << 62))
    threads, plans = settings.threads, [task.plan for task in tasks]
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


def _depth_of(order: VolumeOrder, weighting: Weighting, settings: Settings) -> str | None:
    """Choose between the CTF at each depth and one for each image, for all tilts of a series."""
    if order.ctf_depth is not None or settings.ctf_depth in ("on", "off"):
        return order.ctf_depth or settings.ctf_depth
    region = Region.of(order.series) if order.region is None else order.region
    transfer = Transfer.of(order.series, settings.correction, divides=weighting.divides, region=region)
    return "off" if transfer.depth is None else "on"


def _measured(
    known: dict[tuple[int, float], SnrCurve], series: TiltSeries, binning: float, settings: Settings
) -> SnrCurve:
    """Give the SNR of a series; it is measured once for all orders."""
    name = id(series), binning
    if name not in known:
        known[name] = estimate_snr(series, binning, correction=settings.correction, n_threads=settings.n_threads)
    return known[name]


def tidy() -> None:
    """Give back memory that a stage which is over still holds."""
    forget_plans()
    trim()


def part_of(task: Task, tilts: tuple[int, ...] | None) -> tuple[Task, NDArray[np.int64] | None]:
    """Give the part of a task that some of its tilts make; filters were applied before.

    Parameters
    ----------
    task
        The task of all tilts.
    tilts
        0-based numbers in the tilt series; None: all.

    Returns
    -------
    part, chosen
        The task, and the numbers of its tilts among the samples; None: all.

    Raises
    ------
    UsageError
        If none of the tilts sees the region.
    """
    if tilts is None:
        return task, None
    plan = task.plan
    chosen = np.flatnonzero(np.isin(plan.used, tilts))
    if len(chosen) == 0:
        raise NothingSeen("none of the chosen images sees the region")
    s = plan.slices
    part = replace(
        plan,
        slices=replace(s, matrices=s.matrices[chosen], offsets=s.offsets[chosen]),
        used=plan.used[chosen],
        windows=plan.windows[chosen],
        along=plan.along[chosen],
        borders=plan.borders[chosen],
        curved=None if plan.curved is None else plan.curved.select(chosen),
    )
    return replace(task, plan=part), chosen
