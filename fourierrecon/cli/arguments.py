"""Turns options of the command line into requests: of one tomogram, or of a set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fourierrecon.cli.option_groups_output import choice_of, finish_of, fit_of, ome_version_of
from fourierrecon.cli.values import (
    check_known,
    choose_binning,
    choose_dtype,
    choose_halves,
    choose_weighting,
    only_one,
    parse_length,
    with_profile,
)
from fourierrecon.errors import UsageError
from fourierrecon.geometry.corrections import AlignmentCorrections
from fourierrecon.geometry.region import DEFAULT_VOXEL, Length, Region
from fourierrecon.io import Supplement, read_tilt_series
from fourierrecon.text import quoted
from fourierrecon.tomogram.fitting import check_depth
from fourierrecon.tomogram.request import Request

if TYPE_CHECKING:
    from fourierrecon.cli.option_groups import (
        AlignmentOptions,
        MicroscopeOptions,
        RegionOptions,
        SourceOptions,
        TomogramOptions,
    )
    from fourierrecon.cli.option_groups_of_sets import ProductOptions
    from fourierrecon.engine.settings import Settings
    from fourierrecon.sets.recipe import Recipe
    from fourierrecon.tilt_series import TiltSeries


def read_request(
    source: SourceOptions, supplement: Supplement, alignment: AlignmentCorrections, options: TomogramOptions
) -> Request:
    """Read the tilt series that the options name, and work out what they ask for.

    Parameters
    ----------
    source
        Set and name of the tomogram.
    supplement
        Facts and files that the set lacks.
    alignment
        Corrections to the alignment.
    options
        All other options of one tomogram.

    Raises
    ------
    UsageError
        If an option makes no sense, or two contradict each other.
    DataError
        If the set cannot be used.
    """
    path = choose_source(source)
    name = only_one(source.tn, "--tn")
    region = options.region
    binning = only_one(region.binning, "--bin")
    chosen = with_profile(options.weighting_and_ctf)
    text = only_one(chosen.weighting, "--weighting")
    check_binning(region)
    check_pixel_size(path, supplement)
    weighting = choose_weighting(chosen, text)
    size = read_size(region)
    finish, choice, origin = finish_of(options.finish), choice_of(options.finish), (region.x0, region.y0, region.z0)
    to_fit = fit_of(options.finish, finish, depth=check_depth(size, origin))
    series = alignment.apply(read_tilt_series(path, name, supplement))
    series, kept = choice.apply(series)
    if options.alignment.local and series.local is None:
        raise UsageError(f"--local on: {path} has no local alignment of {series.name}; leave it out")
    factor = choose_binning(binning, region.binned_angpix, series)
    finish.check(factor * series.pixel_size)
    voxels = Region.of(series, binning=factor, origin=origin, size=size)
    if binning is None and region.binned_angpix is None:
        by_default = f"voxels of about {DEFAULT_VOXEL:g} Å by default (--bin, --binned_angpix)"
        voxels = replace(voxels, note="; ".join(filter(None, [voxels.note, by_default])))
    return Request(
        source=path,
        extras=supplement,
        series=series,
        region=voxels,
        weighting=weighting,
        kept=kept if choice else None,
        origin=origin,
        size=size,
        to_fit=to_fit,
    )


def read_recipe(
    source: Path,
    folder: Path,
    supplement: Supplement,
    alignment: AlignmentCorrections,
    options: TomogramOptions,
    products: ProductOptions,
    *,
    report: bool = False,
) -> Recipe:
    """Work out what the options ask for of every tomogram of a set.

    Parameters
    ----------
    source
        The set, or the folder that is watched.
    folder
        Folder for the products.
    supplement, alignment, options
        As for :func:`read_request`, with any number of weightings and binnings.
    products
        Products of each tomogram; of :class:`SetOptions` those for a complete set as well.
    report
        A report follows, which takes memory too.

    Raises
    ------
    UsageError
        If an option makes no sense, or two contradict each other.
    """
    from fourierrecon.cli.option_groups_of_sets import SetOptions
    from fourierrecon.geometry.axis_order import LIKE
    from fourierrecon.sets.recipe import Projection, Recipe

    whole = products if isinstance(products, SetOptions) else SetOptions(**asdict(products))
    halves = choose_halves(whole)
    companions = companions_of(whole.companions)
    region, like = options.region, options.volume.like
    check_binning(region)
    check_pixel_size(source, supplement)
    if region.binned_angpix is not None and not region.binned_angpix > 0:
        raise UsageError(f"--binned_angpix {region.binned_angpix:g} must be above 0 (Å)")
    if "denoising" in companions and halves is None:
        raise UsageError("--companions denoising lists half volumes; give --halves frames or --halves tilts, too")
    check_known("--format", whole.ending, ("mrc", "zarr"))
    check_known("--like", like, LIKE)
    chosen = with_profile(options.weighting_and_ctf)
    texts: Sequence[str | None] = chosen.weighting or [None]
    weightings = [choose_weighting(chosen, text) for text in texts]
    binnings = region.binning or [0.0]
    finish, size = finish_of(options.finish), read_size(region)
    origin = (region.x0, region.y0, region.z0)
    return Recipe(
        source=source,
        extras=supplement,
        corrections=alignment,
        folder=folder,
        weightings=tuple(dict.fromkeys(weightings)),
        binnings=tuple(dict.fromkeys(binnings)) if region.binned_angpix is None else (-region.binned_angpix,),
        origin=origin,
        size=size,
        settings=settings_of(options),
        halves=halves,
        projection=Projection(whole.centre_proj, whole.thickness_proj) if whole.do_proj else None,
        dtype=choose_dtype(options.volume),
        ending=f".{whole.ending}",
        like=like,
        passport=options.volume.passport,
        resume=whole.resume or whole.only_do_unfinished,
        redo=("inputs", "options", "version") if whole.redo else (),
        skip_bad_images=options.images.skip_bad_images,
        thumbnails=whole.thumbnails,
        companions=companions,
        tilts=choice_of(options.finish),
        fit=fit_of(options.finish, finish, depth=check_depth(size, origin)),
        finish=finish,
        ome_version=ome_version_of(options.finish, zarr=whole.ending == "zarr"),
        report_memory=_report_memory() if report else None,
    )


def companions_of(names: Sequence[str] | None) -> tuple[str, ...]:
    """Give what goes with each volume, each once.

    Raises
    ------
    UsageError
        If there is no such companion.
    """
    from fourierrecon.sets.hand_over import HAND_OVER
    from fourierrecon.tomogram.companions import VOLUMES

    for name in names or ():
        check_known("--companions", name, (*VOLUMES, *HAND_OVER))
    return tuple(dict.fromkeys(names or ()))


def supplement_of(options: MicroscopeOptions) -> Supplement:
    """Give the facts and files that the files of a tilt series lack.

    Parameters
    ----------
    options
        Of :class:`SupplementOptions` the stack and the notes as well.
    """
    from fourierrecon.cli.option_groups import SupplementOptions

    files = (options.stack, options.mdoc) if isinstance(options, SupplementOptions) else (None, None)
    return Supplement(
        stack=files[0],
        pixel_size=options.angpix,
        mdoc=files[1],
        voltage=options.voltage,
        spherical_aberration=options.cs,
        amplitude_contrast=options.q0,
    )


def corrections_of(options: AlignmentOptions) -> AlignmentCorrections:
    """Give the corrections to the alignment.

    Parameters
    ----------
    options
        Options of the command line.
    """
    return AlignmentCorrections(
        tilt_angle=options.tiltangle_offset,
        x_tilt=options.x_tilt,
        z_shift=options.z_shift,
        flip_hand=options.flip_hand,
        local=options.local is not False,
    )


def settings_of(options: TomogramOptions) -> Settings:
    """Give the settings of a reconstruction.

    Parameters
    ----------
    options
        Options of the command line.
    """
    from fourierrecon.engine.settings import Settings

    correction, images, running = with_profile(options.weighting_and_ctf), options.images, options.running
    settings = Settings(
        ctf=correction.ctf,
        n_threads=running.j,
        keep_mean=images.keep_mean,
        flatten=images.flatten,
        taper_distance=images.td,
        taper_falloff=images.tf,
        memory=running.memory,
        scratch=running.scratch,
        ctf_mode=correction.ctf_mode,
        exposure=correction.exposure,
        tilt_weight=correction.tilt_weight,
        ctf_depth=correction.ctf_depth,
        defocus_hand=correction.defocus_hand,
        local=options.alignment.local is not False,
        residual=options.tiles.local_residual,
        hot_pixels=read_switch("--hot_pixels", options.repairs.hot_pixels),
        intensities=read_switch("--intensities", options.repairs.intensities),
        erase_beads=options.repairs.erase_beads,
    )
    # these two are made anew for each tomogram: what makes no sense is said before a set is begun
    _ = settings.repairs, settings.correction
    return settings


def read_switch(name: str, text: str) -> bool:
    """Read the value of an option that is ``on`` or ``off``.

    Raises
    ------
    UsageError
        If it is something else.
    """
    check_known(name, text, ("on", "off"))
    return text == "on"


def check_binning(region: RegionOptions) -> None:
    """Refuse two sizes of voxels.

    Raises
    ------
    UsageError
        If both are given.
    """
    if region.binning and region.binned_angpix is not None:
        raise UsageError("--bin and --binned_angpix exclude each other; give one of them")


def read_size(region: RegionOptions) -> tuple[Length, Length, Length]:
    """Read the sides of the region.

    Raises
    ------
    UsageError
        If one is neither a number nor ``auto``.
    """
    return parse_length(region.w, "--w"), parse_length(region.h, "--h"), parse_length(region.d, "--d")


def choose_source(options: SourceOptions) -> Path:
    """Give the file of ``--t``, else that of ``--i``.

    Raises
    ------
    UsageError
        If there is neither.
    """
    source = options.t or options.i
    if source is None:
        raise UsageError("no set given; use --t TOMOGRAMS.star or --i OPTIMISATION_SET.star")
    return source


def check_pixel_size(source: Path, supplement: Supplement) -> None:
    """Refuse a pixel size for a set that has its own: most people who give one mean the voxels.

    Raises
    ------
    UsageError
        If there is one.
    """
    if source.suffix.lower() == ".star" and supplement.pixel_size is not None:
        size = f"{supplement.pixel_size:g}"
        raise UsageError(
            f"--angpix {size}: {source} holds the pixel size of its images; for voxels of {size} Å give "
            f"--binned_angpix {size}"
        )


def check_one(source: Path, names: Sequence[str] | None, output: str) -> None:
    """Refuse a file for the tomograms of a whole set.

    Parameters
    ----------
    source
        Set or tilt series.
    names
        Values of ``--tn``.
    output
        Value of ``--o``, which is no folder.

    Raises
    ------
    UsageError
        If the set holds several tomograms, and none is chosen.
    DataError
        If it cannot be read.
    """
    if source.suffix.lower() != ".star" or (names and not any(set(name) & set("*?[") for name in names)):
        return
    from fourierrecon.sets.run import choose_names

    found = choose_names(source, names or [], Supplement())
    if len(found) > 1:
        folder = quoted(f"{Path(output).with_suffix('')}/")
        raise UsageError(
            f"{len(found)} tomograms of {source} need a folder, and --o {quoted(output)} is one file; give "
            f"--o {folder}, with a slash, for all of them, or --tn {quoted(found[0])} for one"
        )


def repeat(extras: Supplement) -> str:
    """Give the options that stand for facts and files, each with a space before it.

    Parameters
    ----------
    extras
        Facts and files that the user gave.
    """
    values = {
        "--stack": extras.stack,
        "--angpix": extras.pixel_size,
        "--mdoc": extras.mdoc,
        "--voltage": extras.voltage,
        "--Cs": extras.spherical_aberration,
        "--Q0": extras.amplitude_contrast,
    }
    return "".join(f" {option} {quoted(str(value))}" for option, value in values.items() if value is not None)


def _report_memory() -> Callable[[TiltSeries, tuple[int, int, int], int], int]:
    """Give what estimates the memory of a report; its imports take time that runs without reports need not spend."""
    from fourierrecon.report.assessment import report_memory

    return report_memory
