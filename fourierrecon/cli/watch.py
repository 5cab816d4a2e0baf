"""The command ``watch``: tomograms of tilt series as they arrive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fourierrecon.cli.options import (
    X0,
    Y0,
    Z0,
    Aberration,
    Binnings,
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
    NoWeight,
    Passport,
    PixelSize,
    PreWeight,
    ProjectionCentre,
    ProjectionThickness,
    Quiet,
    Redo,
    ScratchFolder,
    SkipBadImages,
    Snr,
    TaperDistance,
    TaperFalloff,
    Threads,
    TiltOffset,
    TiltWeight,
    Voltage,
    VoxelSize,
    Weightings,
    Width,
    XTilt,
    ZShift,
    output_option,
    running_option,
)


def watch(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", exists=True, file_okay=False, help="Where tilt series arrive, three folders deep at most."
        ),
    ],
    *,
    o: Annotated[Path, output_option("FOLDER", "For the products, as those of reconstruct --o FOLDER/", "--o")],
    every: Annotated[
        float, running_option("SECONDS", "Time between two looks. Default: 10", "--every", least=0)
    ] = 10.0,
    idle: Annotated[
        float | None,
        running_option("MINUTES", "End when nothing is new for so long. Default: never", "--idle", least=0),
    ] = None,
    angpix: PixelSize = None,
    voltage: Voltage = None,
    cs: Aberration = None,
    q0: Contrast = None,
    like: Like = None,
    passport: Passport = False,
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
    do_proj: DoProjection = False,
    centre_proj: ProjectionCentre = 0,
    thickness_proj: ProjectionThickness = 10,
    ending: Ending = "mrc",
    redo: Redo = False,
    j: Threads = None,
    memory: Memory = None,
    scratch: ScratchFolder = None,
    quiet: Quiet = False,
) -> None:
    """Reconstruct tilt series as they arrive in a folder, each once, until Ctrl-C.

    Looked for are tomogram sets of RELION, new tomograms in them included, and alignments of AreTomo (.aln), IMOD
    (tilt.com; .xf with .tlt) and Warp (.xml, .tomostar). A series is taken when its files have stopped changing and all
    its images are there; one that fails is tried again when they change. A new start goes on where the last one ended.
    """
    from fourierrecon.cli import arguments
    from fourierrecon.cli.console import screen
    from fourierrecon.engine.settings import Settings
    from fourierrecon.geometry.corrections import AlignmentCorrections
    from fourierrecon.io import Supplement
    from fourierrecon.sets.recipe import Projection
    from fourierrecon.sets.watch import watch_folder

    recipe = arguments.read_recipe(
        (folder, None),
        Supplement(pixel_size=angpix, voltage=voltage, spherical_aberration=cs, amplitude_contrast=q0),
        AlignmentCorrections(tiltangle_offset, x_tilt, z_shift, flip_hand),
        o,
        (no_weight, pre_weight, weighting or [], snr),
        (binning or [], binned_angpix),
        (x0, y0, z0),
        (w, h, d),
        Settings(
            ctf=ctf,
            n_threads=j,
            keep_mean=keep_mean,
            taper_distance=td,
            taper_falloff=tf,
            memory=memory,
            scratch=scratch,
            ctf_mode=ctf_mode,
            exposure=exposure,
            tilt_weight=tilt_weight,
        ),
        halves=halves,
        projection=Projection(centre_proj, thickness_proj) if do_proj else None,
        dtype=arguments.choose_dtype(dtype, float16),
        ending=ending,
        like=like,
        passport=passport,
        companions=[],
        resume=True,
        skip_bad_images=skip_bad_images,
        redo=redo,
    )
    seconds = None if idle is None else 60 * idle
    raise typer.Exit(watch_folder(screen(), recipe, every=every, idle=seconds, quiet=quiet))
