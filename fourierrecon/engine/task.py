"""Task: one reconstruction, checked and planned."""

from __future__ import annotations

from dataclasses import dataclass

from fourierrecon.engine.plan import Plan
from fourierrecon.engine.settings import Settings
from fourierrecon.engine.signal_to_noise import with_snr
from fourierrecon.engine.storage import ALONE, TILED, Beside, Storage, choose_storage
from fourierrecon.errors import DataError
from fourierrecon.geometry.region import Region
from fourierrecon.geometry.sound_images import list_images, without_ctf
from fourierrecon.tilt_series import TiltSeries
from fourierrecon.transfer import Correction
from fourierrecon.weighting import Weighting, read_weighting


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """What all stages need to know.

    Parameters
    ----------
    series, region, weighting, settings
        What is reconstructed, and how.
    plan
        Sizes, windows and matrices.
    storage
        Where samples and planes lie.
    """

    series: TiltSeries
    region: Region
    weighting: Weighting
    settings: Settings
    plan: Plan
    storage: Storage


def in_tiles(series: TiltSeries, settings: Settings) -> bool:
    """Tell whether a local alignment is to be applied, which takes tiles."""
    return settings.local and series.local is not None


def prepare(
    series: TiltSeries,
    region: Region | None,
    weighting: Weighting | str | None,
    settings: Settings,
    *,
    whole: bool = False,
    beside: Beside = ALONE,
    samples_on_disk: bool = False,
    tile: bool = False,
    storage: Storage | None = None,
) -> Task:
    """Check what is asked for, and plan.

    Parameters
    ----------
    series, region, weighting
        As for :func:`fourierrecon.reconstruction.reconstruct`.
    settings
        How to reconstruct.
    whole
        The volume is wanted in memory.
    beside
        What else is in memory meanwhile.
    samples_on_disk
        Samples must not stay in memory.
    tile
        The region is a tile of another one.
    storage
        Where samples and planes lie, if that is known already.

    Raises
    ------
    UsageError, DataError
        As :func:`fourierrecon.reconstruction.reconstruct`.
    """
    region = Region.of(series) if region is None else region
    correction, threads = settings.correction, settings.threads
    weighting = with_snr(
        read_weighting(weighting), series, region.binning, correction=correction, n_threads=settings.n_threads
    )
    check_ctf(series, correction)
    tiled = in_tiles(series, settings)
    plan = Plan.of(series, region, weighting, settings, tiled=tiled or tile)
    if tiled:
        # what is stored are tiles: see fourierrecon.engine.tiling
        return Task(series=series, region=region, weighting=weighting, settings=settings, plan=plan, storage=TILED)
    if storage is None:
        storage = choose_storage(
            plan, threads, settings.memory, whole=whole, beside=beside, samples_on_disk=samples_on_disk
        )
    return Task(series=series, region=region, weighting=weighting, settings=settings, plan=plan, storage=storage)


def check_ctf(series: TiltSeries, correction: Correction) -> None:
    """Check that all images have the CTF parameters that a correction needs.

    Raises
    ------
    DataError
        If one has none that make sense; the message names it.
    """
    bad = without_ctf(series) if correction.ctf_mode != "none" else {}
    if bad:
        raise DataError(
            f"{series.source or series.name}: {list_images(series, sorted(bad))} cannot be corrected, "
            f"{next(iter(bad.values()))}; correct it, leave such images out (skip_bad_images=True), or switch the CTF "
            f"off (ctf=False)"
        )
