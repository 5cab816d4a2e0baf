"""One reconstruction, checked and planned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fourierrecon.engine.coverage import Mask
from fourierrecon.engine.plan import PRECISIONS, Plan, mask_of
from fourierrecon.engine.settings import Settings
from fourierrecon.engine.signal_to_noise import with_snr
from fourierrecon.engine.storage import ALONE, Beside, Storage, choose_storage
from fourierrecon.errors import DataError, UsageError
from fourierrecon.geometry.region import Region
from fourierrecon.geometry.sound_images import list_images, without_ctf
from fourierrecon.runtime.threads import Progress, available_cores
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.weighting import Weighting, Wiener


@dataclass(frozen=True, eq=False)
class Task:
    """What all stages need to know."""

    series: TiltSeries
    region: Region
    strategy: Weighting
    plan: Plan
    mask: Mask
    keep_mean: bool
    storage: Storage
    scratch: Path | None
    n_threads: int
    progress: Progress | None


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
        As for :class:`VolumeOrder`.
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
    threads = available_cores() if settings.n_threads is None else settings.n_threads
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
