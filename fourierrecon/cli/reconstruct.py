"""The command ``reconstruct``: one tomogram into a file, or those of a set into a folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fourierrecon.cli.options import (
    X0,
    Y0,
    Z0,
    Aberration,
    Binnings,
    ClusterKind,
    Companions,
    Contrast,
    Ctf,
    CtfMode,
    Depth,
    DoProjection,
    Dtype,
    Ending,
    Exposure,
    FlipHand,
    Float16,
    HalfVolumes,
    Height,
    KeepMean,
    Like,
    Memory,
    Notes,
    NoWeight,
    OnlyUnfinished,
    OptimisationSet,
    Output,
    Passport,
    PixelSize,
    Preview,
    PreWeight,
    ProjectionCentre,
    ProjectionThickness,
    Quiet,
    Redo,
    Report,
    Resume,
    Scheduler,
    ScratchFolder,
    Shard,
    SkipBadImages,
    Snr,
    SplitTomograms,
    Stack,
    TaperDistance,
    TaperFalloff,
    Threads,
    TiltOffset,
    TiltWeight,
    TlsAuthority,
    TlsCertificate,
    TlsKey,
    TomogramNames,
    TomogramSet,
    Voltage,
    VoxelSize,
    Weightings,
    Width,
    Workers,
    XTilt,
    ZShift,
)
from fourierrecon.text import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from fourierrecon.engine.settings import Settings
    from fourierrecon.sets.cluster import Cluster
    from fourierrecon.tilt_series import TiltSeries
    from fourierrecon.tomogram.request import Request
    from fourierrecon.weighting import Weighting


def reconstruct(
    context: typer.Context,
    *,
    i: OptimisationSet = None,
    t: TomogramSet = None,
    tn: TomogramNames = None,
    stack: Stack = None,
    angpix: PixelSize = None,
    mdoc: Notes = None,
    voltage: Voltage = None,
    cs: Aberration = None,
    q0: Contrast = None,
    output: Output,
    like: Like = None,
    passport: Passport = False,
    preview: Preview = False,
    report: Report = False,
    dtype: Dtype = None,
    float16: Float16 = False,
    no_weight: NoWeight = False,
    pre_weight: PreWeight = False,
    weighting: Weightings = None,
    snr: Snr = None,
    ctf: Ctf = True,
    ctf_mode: CtfMode = None,
    exposure: Exposure = None,
    tilt_weight: TiltWeight = None,
    keep_mean: KeepMean = False,
    skip_bad_images: SkipBadImages = False,
    td: TaperDistance = 0.0,
    tf: TaperFalloff = 0.0,
    tiltangle_offset: TiltOffset = 0.0,
    x_tilt: XTilt = 0.0,
    z_shift: ZShift = 0.0,
    flip_hand: FlipHand = False,
    x0: X0 = None,
    y0: Y0 = None,
    z0: Z0 = None,
    w: Width = None,
    h: Height = None,
    d: Depth = None,
    binning: Binnings = None,
    binned_angpix: VoxelSize = None,
    halves: HalfVolumes = None,
    generate_split_tomograms: SplitTomograms = False,
    do_proj: DoProjection = False,
    centre_proj: ProjectionCentre = 0,
    thickness_proj: ProjectionThickness = 10,
    companions: Companions = None,
    ending: Ending = "mrc",
    resume: Resume = True,
    redo: Redo = False,
    only_do_unfinished: OnlyUnfinished = False,
    part: Shard = None,
    j: Threads = None,
    memory: Memory = None,
    scratch: ScratchFolder = None,
    quiet: Quiet = False,
    scheduler: Scheduler = None,
    cluster: ClusterKind = None,
    workers: Workers = None,
    tls_ca: TlsAuthority = None,
    tls_cert: TlsCertificate = None,
    tls_key: TlsKey = None,
) -> None:
    """Reconstruct a tomogram, or all of a set (--o FOLDER/), from tilt series of any program.

    Options as in relion_tomo_reconstruct_tomogram; hyphens do for underscores.
    """
    from fourierrecon.cli import arguments
    from fourierrecon.cli.console import screen
    from fourierrecon.engine.settings import Settings
    from fourierrecon.geometry.corrections import AlignmentCorrections
    from fourierrecon.io import Supplement
    from fourierrecon.tomogram.output_paths import is_folder

    kind = arguments.choose_dtype(dtype, float16)
    extras = Supplement(stack, angpix, mdoc, voltage, cs, q0)
    offsets = AlignmentCorrections(tiltangle_offset, x_tilt, z_shift, flip_hand)
    settings = Settings(
        ctf=ctf, n_threads=j, keep_mean=keep_mean, taper_distance=td, taper_falloff=tf, memory=memory, scratch=scratch,
        ctf_mode=ctf_mode, exposure=exposure, tilt_weight=tilt_weight,
    )  # fmt: skip
    console = screen()
    if is_folder(output):
        from fourierrecon.cli.set_progress import reconstruct_set
        from fourierrecon.sets.recipe import Projection

        recipe = arguments.read_recipe(
            (t, i),
            extras,
            offsets,
            Path(output),
            (no_weight, pre_weight, weighting or [], snr),
            (binning or [], binned_angpix),
            (x0, y0, z0),
            (w, h, d),
            settings,
            halves="frames" if generate_split_tomograms else halves,
            projection=Projection(centre_proj, thickness_proj) if do_proj else None,
            dtype=kind,
            companions=companions or [],
            ending=ending,
            like=like,
            passport=passport,
            resume=resume or only_do_unfinished,
            redo=redo,
            skip_bad_images=skip_bad_images,
            report=report,
        )
        place: Cluster | None = None
        if scheduler is not None or cluster is not None or workers is not None or tls_ca or tls_cert or tls_key:
            from fourierrecon.sets.cluster import Cluster

            place = Cluster(scheduler, cluster, workers, (tls_ca, tls_cert, tls_key))
        status = reconstruct_set(console, recipe, tn or [], part=part, quiet=quiet, cluster=place)
        if report:
            from fourierrecon.cli.report import report_folder

            report_folder(console, recipe.folder, n_threads=j)
        raise typer.Exit(status)
    for_sets: dict[str, object] = {
        "--halves": halves,
        "--generate_split_tomograms": generate_split_tomograms,
        "--do_proj": do_proj,
        "--companions": companions,
        "--redo": redo,
        "--shard": part,
        "--scheduler": scheduler,
        "--cluster": cluster,
        "--workers": workers,
        "--tls_ca": tls_ca,
        "--tls_cert": tls_cert,
        "--tls_key": tls_key,
    }
    arguments.refuse_for_one(for_sets)
    request = arguments.read_request(
        (t, i),
        arguments.only_one(tn, "--tn"),
        extras,
        offsets,
        (no_weight, pre_weight, arguments.only_one(weighting, "--weighting"), snr),
        (arguments.only_one(binning, "--bin"), binned_angpix),
        (x0, y0, z0),
        (w, h, d),
    )
    if quiet:
        console.quiet = True
    options = {name: value for name, value in context.params.items() if value is not None} if passport else None
    _reconstruct_one(
        console, request, Path(output), settings, like=like, dtype=kind, passport=options, preview=preview,
        report=report, skip_bad_images=skip_bad_images,
    )  # fmt: skip


def _measure(
    console: Console, request: Request, series: TiltSeries, kept: list[int] | None, settings: Settings
) -> Weighting:
    """Give the strategy with its SNR measured, where that is asked for, and say what it is."""
    from fourierrecon.cli.console import say
    from fourierrecon.engine.signal_to_noise import with_snr
    from fourierrecon.io.relion.read import halves_at_hand
    from fourierrecon.weighting.snr import SnrCurve, snr_words

    strategy = with_snr(
        request.strategy, series, request.region.binning, correction=settings.correction,
        halves=halves_at_hand(request.source, series.name, kept), n_threads=settings.n_threads,
    )  # fmt: skip
    curve = getattr(strategy, "snr", None)
    if isinstance(curve, SnrCurve):
        say(console, "SNR", snr_words(curve).removeprefix("SNR "))
    return strategy


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
) -> None:
    """Reconstruct one tomogram into a file, say what goes on, and make what goes with it.

    ``passport`` are the options to be written into it; None: there is to be none.
    """
    from dataclasses import replace

    from fourierrecon.cli.console import ProgressBars, program, say, screen, size_of
    from fourierrecon.cli.messages import describe_request, print_warnings
    from fourierrecon.engine.storage import check_room
    from fourierrecon.runtime.memory import release
    from fourierrecon.tomogram import checks
    from fourierrecon.tomogram.file import TomogramFile
    from fourierrecon.tomogram.inputs import input_files, protect
    from fourierrecon.tomogram.output_paths import beside, folders_of
    from fourierrecon.tomogram.provenance import passport_path

    started = time.perf_counter()
    series, region, kept = request.series, request.region, None
    picture = beside(o, ".png", "--preview") if preview else None
    page = beside(o, ".html", "--report") if report else None
    record = passport_path(o) if passport is not None else None
    for option, path in (("--o", o), ("--preview", picture), ("--report", page), ("--passport", record)):
        if path is not None:
            protect([path], input_files(request.source, request.extras), option)
    describe_request(console, request, settings.correction)
    corrected = settings.correction.ctf_mode != "none"
    found = [*checks.warnings_of(series, region, ctf=corrected), *checks.shared_warnings(request.source, series)]
    print_warnings(screen() if console.quiet else console, found)
    if skip_bad_images:
        from fourierrecon.quality.bad_images import without_bad_images

        series, kept = without_bad_images(series, ctf=corrected, n_threads=settings.n_threads)
    request = replace(request, strategy=_measure(console, request, series, kept, settings))
    with folders_of(o), ProgressBars(console) as stages:
        file = TomogramFile(o, series, region, request.strategy, replace(settings, progress=stages), like, dtype)
        file.check()
        for option, needed in file.memory_of(preview, report).items():
            check_room(option, needed, settings.memory)
        from fourierrecon.engine.several_volumes import VolumeOrder
        from fourierrecon.reconstruction import reconstruct_many

        order = VolumeOrder(series, file.writing, region, request.strategy, beside=file.beside)
        reconstruct_many([order], replace(settings, progress=stages, scratch=file.scratch))
        written = file.finish_passport(passport is not None, request.source, passport)
    if written is not None:
        say(console, "passport", str(written))
    seconds = time.perf_counter() - started
    say(console, "wrote", f"{o} ({size_of(o)}) after {seconds:.1f} s")
    release()
    if picture is not None:
        from fourierrecon.display.preview import preview_png
        from fourierrecon.io import map_volume

        preview_png(picture, [(o.name, map_volume(o, file.scratch))])
        say(console, "picture", str(picture))
    if page is not None:
        from fourierrecon.cli.report import report_one

        report_one(
            console, page, o, request, correction=settings.correction, like=like, seconds=seconds,
            skipped=skip_bad_images, notes=found, n_threads=settings.n_threads,
        )  # fmt: skip
    finer = max(1.0, region.binning / 2)
    hint = f"; finer: --bin {finer:g}" if finer < region.binning else ""
    say(console, "next", f"look at it: {program()} view {quoted(str(o))}{hint}")
