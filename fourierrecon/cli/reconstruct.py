"""The command ``reconstruct``: one tomogram into a file, or those of a set into a folder."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fourierrecon.cli.groups import with_groups
from fourierrecon.cli.option_groups import SourceOptions, SupplementOptions, TomogramOptions
from fourierrecon.cli.option_groups_of_sets import ClusterOptions, SetOptions
from fourierrecon.cli.option_groups_output import BesideOptions, finish_of, ome_version_of
from fourierrecon.cli.options import Quiet, output_option
from fourierrecon.text import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from fourierrecon.engine.settings import Settings
    from fourierrecon.tilt_series import TiltSeries
    from fourierrecon.tomogram.finish import Finish
    from fourierrecon.tomogram.request import Request
    from fourierrecon.weighting import Weighting


@with_groups("t", "tn", "output", "binning", "d", "snr", "halves", "preview")
def reconstruct(
    context: typer.Context,
    *,
    source: SourceOptions,
    supplement: SupplementOptions,
    output: Annotated[
        str,
        output_option(
            "FILE",
            "Tomogram to write: MRC, or OME-Zarr if its name ends in .zarr; a file of that name is replaced at the "
            "very end. FOLDER/, with a slash, for a set: FOLDER/tomograms/rec_NAME.mrc and "
            "FOLDER/tomograms.star",
            "--o",
        ),
    ],
    besides: BesideOptions,
    options: TomogramOptions,
    products: SetOptions,
    workers: ClusterOptions,
    quiet: Quiet = False,
) -> None:
    """Reconstruct a tomogram, or all of a set (--o FOLDER/), from tilt series of any program.

    \b
    fourierrecon reconstruct --t tomograms.star --tn TS_01 --bin 4 --o TS_01.mrc
    fourierrecon reconstruct --t tomograms.star --bin 8 --halves tilts --o all/
    fourierrecon reconstruct --t etomo/TS_01/ --bin 4 --d 1200 --o TS_01.mrc

    Options are named as in relion_tomo_reconstruct_tomogram. Hyphens may stand for underscores.
    """  # noqa: D301 (the help needs the control character itself)
    from fourierrecon.cli import arguments
    from fourierrecon.cli.console import screen
    from fourierrecon.cli.values import choose_dtype, refuse_for_one
    from fourierrecon.io.volumes.formats import is_zarr
    from fourierrecon.tomogram.output_paths import is_folder

    dtype = choose_dtype(options.volume)
    extras, offsets = arguments.supplement_of(supplement), arguments.corrections_of(options.alignment)
    console, n_threads = screen(), options.running.j
    if is_folder(output):
        from fourierrecon.cli.set_progress import show_set

        path = arguments.choose_source(source)
        if besides.aligned_stack:
            products = replace(products, companions=[*(products.companions or []), "aligned_stack"])
        recipe = arguments.read_recipe(path, Path(output), extras, offsets, options, products, report=besides.report)
        if besides.report:
            from fourierrecon.cli.report import PAGE, check_replaceable

            check_replaceable(recipe.folder / PAGE)
        status = show_set(console, recipe, source.tn or [], part=products.part, quiet=quiet, cluster=workers.chosen())
        if besides.report:
            from fourierrecon.cli.report import report_folder

            report_folder(console, recipe.folder, n_threads=n_threads, memory=options.running.memory)
        raise typer.Exit(status)
    of_sets = {"--redo": products.redo, "--shard": products.part}
    refuse_for_one(products, output, of_sets | {f"--{name}": value for name, value in vars(workers).items()})
    arguments.check_one(arguments.choose_source(source), source.tn, output)
    settings = arguments.settings_of(options)
    finish, companions = finish_of(options.finish), arguments.companions_of(products.companions)
    ome_version = ome_version_of(options.finish, zarr=is_zarr(output))
    request = arguments.read_request(source, extras, offsets, options)
    if quiet:
        console.quiet = True
    given = {name: value for name, value in context.params.items() if value is not None}
    _reconstruct_one(
        console, request, Path(output), settings, like=options.volume.like, dtype=dtype,
        passport=given if options.volume.passport else None, preview=besides.preview, report=besides.report,
        skip_bad_images=options.images.skip_bad_images,
        companions=tuple(name for name in companions if name != "aligned_stack"), finish=finish,
        ome_version=ome_version, aligned_stack=besides.aligned_stack or "aligned_stack" in companions,
    )  # fmt: skip


def _measure(
    console: Console, request: Request, series: TiltSeries, kept: list[int] | None, settings: Settings
) -> Weighting:
    """Give the weighting with its SNR measured, where this is asked for, and print the SNR."""
    from fourierrecon.cli.console import say
    from fourierrecon.engine.signal_to_noise import with_snr
    from fourierrecon.images.repair import alike
    from fourierrecon.tomogram.halves import halves_for_snr
    from fourierrecon.weighting.snr import SnrCurve, snr_words

    weighting = with_snr(
        request.weighting, series, request.region.binning, correction=settings.correction,
        halves=alike(series, halves_for_snr(request.source, series.name, kept)), n_threads=settings.n_threads,
    )  # fmt: skip
    curve = getattr(weighting, "snr", None)
    if isinstance(curve, SnrCurve):
        say(console, "SNR", snr_words(curve).removeprefix("SNR "))
    return weighting


def _reconstruct_one(
    console: Console,
    request: Request,
    o: Path,
    settings: Settings,
    *,
    like: str | None,
    dtype: str,
    passport: Mapping[str, object] | None,
    preview: bool,
    report: bool,
    skip_bad_images: bool,
    companions: tuple[str, ...] = (),
    finish: Finish,
    ome_version: str,
    aligned_stack: bool,
) -> None:
    """Reconstruct one tomogram into a file, say what goes on, and make what goes with it.

    ``passport`` are the options to be written into it; None: there is to be none.
    """
    from fourierrecon.cli.console import ProgressBars, program, say, screen, size_of
    from fourierrecon.cli.messages import describe_region, describe_request, print_warnings
    from fourierrecon.display.preview import preview_memory
    from fourierrecon.engine.room import check_room
    from fourierrecon.images.repair import lines_on, look, repaired
    from fourierrecon.report.assessment import report_memory
    from fourierrecon.runtime.memory import release
    from fourierrecon.runtime.threads import available_cores
    from fourierrecon.tomogram import checks
    from fourierrecon.tomogram.aligned_stack import aligned_paths, write_aligned_stack
    from fourierrecon.tomogram.companions import companion_memory, companion_path, write_companion
    from fourierrecon.tomogram.file import TomogramFile, grouped, order_for, with_copy
    from fourierrecon.tomogram.finish import view_path
    from fourierrecon.tomogram.fitting import fit
    from fourierrecon.tomogram.inputs import input_files, protect
    from fourierrecon.tomogram.output_paths import beside, folders_of
    from fourierrecon.tomogram.provenance import passport_path

    started = time.perf_counter()
    picture = beside(o, ".png", "preview") if preview else None
    page = beside(o, ".html", "report") if report else None
    record = passport_path(o) if passport is not None else None
    stack = aligned_paths(o) if aligned_stack else ()
    others = [("viewing_copy", view_path(o) if finish.viewing_copy else None), *(("aligned_stack", p) for p in stack)]
    for argument, path in (("output", o), ("preview", picture), ("report", page), ("passport", record), *others):
        if path is not None:
            protect([path], input_files(request.source, request.extras), argument)
    if page is not None:
        from fourierrecon.cli.report import check_replaceable

        check_replaceable(page, table=False)
    protect([companion_path(o, name) for name in companions], input_files(request.source, request.extras), "companions")
    describe_request(console, request, settings)
    corrected = settings.correction.ctf_mode != "none"
    shared, whole = checks.shared_warnings(request.source, request.series), request.series
    if skip_bad_images:
        from fourierrecon.quality.bad_images import without_bad_images

        before = request.kept or list(range(request.series.n_tilts))
        sound, rest = without_bad_images(request.series, ctf=corrected, n_threads=settings.n_threads)
        request = replace(request, series=sound, kept=[before[i] for i in rest])
    unfitted = repaired(request.series, settings.repairs)
    look(unfitted, settings.threads)
    request = replace(request, series=unfitted)
    fitted = fit(unfitted, request.to_fit, request.size, n_threads=settings.n_threads, memory=settings.memory)
    if fitted.words:
        say(console, "specimen", fitted.words)
        request = request.fitted(fitted)
        if str(fitted.level) or fitted.size is not None:
            say(console, "region", describe_region(request.region, request.series.pixel_size))
    series, region, kept = request.series, request.region, request.kept
    found = [*checks.warnings_of(series, region, ctf=corrected), *shared]
    print_warnings(screen() if console.quiet else console, found)
    request = replace(request, weighting=_measure(console, request, series, kept, settings))
    with folders_of(o), ProgressBars(console) as stages:
        file = TomogramFile(
            path=o, series=series, region=region, weighting=request.weighting,
            settings=replace(settings, progress=stages), like=like, dtype=dtype, finish=finish, fit=fitted,
            ome_version=ome_version,
        )  # fmt: skip
        files = with_copy(file)
        file = files[0]
        for each in files:
            each.check()
        if preview:
            check_room("--preview", file.memory_after(preview_memory(region.shape)), settings.memory)
        if report:
            needed = report_memory(series, region.shape, settings.n_threads or available_cores())
            check_room("--report", file.memory_after(needed), settings.memory)
        for name in companions:
            check_room("--companions", file.memory_after(companion_memory(region, name)), settings.memory)
        from fourierrecon.reconstruction import reconstruct_many

        orders = [order_for(group) for group in grouped(files)]
        reconstruct_many(orders, replace(settings, progress=stages, scratch=file.scratch))
        for name in companions:
            write_companion(name, o, series, region, request.weighting, settings, file.header[2])
        for each in files:
            each.finish_passport(passport is not None, request.source, passport)
        written = passport_path(o) if passport is not None else None
        if aligned_stack:
            write_aligned_stack(o, series, region, n_threads=settings.n_threads)
    if written is not None:
        say(console, "passport", str(written))
    for line in lines_on(series):
        say(console, "images", line)
    seconds = time.perf_counter() - started
    say(console, "wrote", f"{o} ({size_of(o)}) after {seconds:.1f} s")
    for name in companions:
        say(console, name, str(companion_path(o, name)))
    for each in files[1:]:
        say(console, "copy", f"{each.path} ({size_of(each.path)}) for eyes: {each.finish.all_words}")
    for path in stack:
        say(console, "aligned", f"{path} ({size_of(path)})")
    release()
    if picture is not None:
        from fourierrecon.display.preview import preview_png
        from fourierrecon.io import map_volume

        preview_png(picture, [(o.name, map_volume(o, file.scratch))])
        say(console, "picture", str(picture))
    if page is not None:
        from fourierrecon.cli.report import report_one

        report_one(
            console, page, o, replace(request, series=repaired(fitted.apply(whole, unfitted), settings.repairs)),
            repairs=lines_on(series), correction=settings.correction, like=like, seconds=seconds,
            skipped=skip_bad_images, notes=found, specimen=fitted.specimen, n_threads=settings.n_threads,
        )  # fmt: skip
    finer = max(1.0, region.binning / 2)
    hint = f"; finer: --bin {finer:g}" if finer < region.binning else ""
    say(console, "next", f"look at it: {program()} view {quoted(str(o))}{hint}")
